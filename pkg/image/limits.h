// Limits on what an image, its archive and its layers may ask for. All are upper bounds that real images stay far below.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monopod::image {

struct Limits {
  std::size_t document_bytes_max = 4U << 20;        // one manifest, index or configuration (registries: 4 MiB)
  std::size_t documents_bytes_max = 64U << 20;      // of one archive together: they are held in memory
  std::size_t archive_entries_max = 20'000;
  std::size_t manifests_max = 1'000;                // in one index
  std::size_t index_depth_max = 4;
  std::size_t layers_max = 500;                     // overlayfs itself stops at 500 lower directories
  std::uint64_t layer_bytes_max = 64ULL << 30;      // one layer unpacked
  std::uint64_t import_bytes_max = 256ULL << 30;    // one archive unpacked
  std::uint64_t compression_ratio_max = 200;        // past compression_floor_bytes of output
  std::uint64_t compression_floor_bytes = 256U << 20;
  std::size_t layer_entries_max = 4'000'000;
};

// Tar (tar.h)
inline constexpr std::size_t kNameBytesMax = 4095;          // PATH_MAX without its NUL
inline constexpr std::size_t kComponentBytesMax = 255;
inline constexpr std::size_t kPathDepthMax = 512;
inline constexpr std::size_t kPaxBytesMax = 1U << 20;       // one extended header
inline constexpr std::size_t kXattrsMax = 128;
inline constexpr std::size_t kSparseExtentsMax = 100'000;

// Configuration (config.h)
inline constexpr std::size_t kConfigListMax = 4'096;        // env, cmd, labels, ... each
inline constexpr std::size_t kConfigStringBytesMax = 128U << 10;  // one argument or variable: the kernel's MAX_ARG_STRLEN

}  // namespace monopod::image
