// Clusters of a compressed EROFS file: 64 KiB of it, or what is left at its end, as one zstd frame. What a page fault unpacks at most.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace monopod::image {

class ClusterCompressor {
 public:
  static constexpr unsigned kLog = 16;
  static constexpr std::size_t kBytes = 1U << kLog;
  virtual ~ClusterCompressor() = default;
  // The frame, ours until the next call; empty where it would not be smaller than bytes_max.
  virtual Result<std::span<const std::byte>> pack(std::span<const std::byte> raw, std::size_t bytes_max) = 0;
};
std::unique_ptr<ClusterCompressor> make_cluster_compressor();

}  // namespace monopod::image
