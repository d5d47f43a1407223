// From a layer blob's bytes to a verified, staged lower directory; and to its key once the layers below are known.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "image/content.h"
#include "image/limits.h"
#include "image/unpack.h"

namespace monopod::image {

// Reads raw to its end: detects the compression, unpacks, and computes both digests. meta.key stays empty.
Result<StagedLayer> stage_layer(const Content& content, codec::ByteSource& raw, const Limits& limits, const std::atomic<bool>& stop);

// Gives the layer its key: the diff id, or if it has implicit directories, the chain id; these then take their attributes from
// the layers below. parents: for open_layer(), topmost first.
Result<> settle_layer(const Content& content, StagedLayer& layer, const std::string& chain, const std::vector<std::string>& parents);

}  // namespace monopod::image
