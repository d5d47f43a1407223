#pragma once

#include <map>
#include <string>

#include "base/error.h"

namespace monopod::container::oci {

// linux.netDevices: each device of our network namespace goes into that of the process, under its new name. They come back when that namespace ends,
// where they are physical ones.
Result<> move_net_devices(const std::map<std::string, std::string>& devices, int pid);

}  // namespace monopod::container::oci
