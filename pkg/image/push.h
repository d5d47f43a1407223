// One push: what an image's manifest names, then the manifest.
#pragma once

#include <functional>

#include "async/pool.h"
#include "async/time.h"
#include "image/assembler.h"
#include "image/registry.h"

namespace monopod::image {

struct PushContext {
  const Content& content;
  const Limits& limits;
  async::Pool& pool;
  async::Time& time;
  std::function<void(std::uint64_t done, std::uint64_t total, const std::string& step)> progress;  // on the loop; may be empty
};

// A document alone: an index, whose images are there.
async::Task<Result<>> push_index(const PushContext& context, std::string document, Reference reference, RegistryOptions options);

// Blobs that the repository has are not sent. kFailedPrecondition where one is not kept here.
async::Task<Result<>> push_image(const PushContext& context, const StoredImage& image, Reference reference, RegistryOptions options);

}  // namespace monopod::image
