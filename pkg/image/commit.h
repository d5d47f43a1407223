// A directory of changes over an image becomes an image.
#pragma once

#include <atomic>
#include <optional>

#include "image/assembler.h"
#include "image/store.h"

namespace monopod::image {

// Blocking; publishes. The layer is packed to a gzip blob in staging, then taken as an import's: what is unpacked is what was packed.
// sources: the image of each of options.layers.
Result<StoredImage> commit_image(const Content& content, const Limits& limits, const std::optional<StoredImage>& base, const std::vector<StoredImage>& sources, const CommitOptions& options, const std::atomic<bool>& stop);

}  // namespace monopod::image
