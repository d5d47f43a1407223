// An overlay over layers that have to be attached somewhere while it is mounted: in a mount namespace that ends with the call.
#pragma once

#include <string>

#include "image/snapshot.h"

namespace monopod::image {

// map: a user namespace whose ids the layers are seen under; -1: their own. Else as mount_snapshot().
Result<> mount_attached(const Snapshot& snapshot, const std::string& target, int map);

}  // namespace monopod::image
