// Limits of the registry.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace monopod::registry {

struct Limits {
  std::size_t manifest_bytes_max = 4U << 20;          // distribution-spec: at least 4 MiB must be taken
  std::uint64_t blob_bytes_max = 64ULL << 30;         // one blob: as image::Limits::layer_bytes_max
  std::size_t uploads_max = 1'000;                    // open at once; a file, a hash and no buffer each while idle
  std::size_t page_entries_max = 10'000;              // of one listing, whatever n= asks for; more follow by Link
  std::size_t page_bytes_max = 3U << 20;              // of one answer to referrers
  Duration upload_idle_max = std::chrono::hours(1);   // an upload that nobody goes on with is dropped
  Duration unreferenced_min = std::chrono::hours(24); // a blob that no manifest names stays as long: a push is in between
  Duration sweep_interval = std::chrono::minutes(10);
};

inline constexpr std::size_t kNameBytesMax = 255;     // distribution-spec: a repository's name with its slashes
inline constexpr std::size_t kTagBytesMax = 128;
inline constexpr std::size_t kTagsAtOnceMax = 50;     // of one manifest's PUT, as tag=: each is a header of the answer
inline constexpr std::size_t kChunkBytes = 256U << 10;  // of a blob in memory, per request being served
inline constexpr std::size_t kReferencesMax = 10'000;   // descriptors of one manifest

}  // namespace monopod::registry
