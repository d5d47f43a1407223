// One pull: documents and missing layers from a registry into an Assembler, published.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "async/pool.h"
#include "async/time.h"
#include "image/assembler.h"
#include "image/registry.h"

namespace monopod::image {

struct PullContext {
  const Content& content;
  const Limits& limits;
  async::Pool& pool;
  async::Time& time;
  const std::atomic<bool>& stop;
  Platform platform = host_platform();
  std::function<void(std::uint64_t done, std::uint64_t total, const std::string& step)> progress;  // on the loop; may be empty
};

// Layers are unpacked as they arrive. The references of the result hold the reference (without digest), if it has a tag.
async::Task<Result<StoredImage>> pull_image(const PullContext& context, Reference reference, RegistryOptions options);

}  // namespace monopod::image
