// Limits of a build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monopod::build {

inline constexpr std::size_t kDockerfileBytesMax = 1U << 20;
inline constexpr std::size_t kInstructionsMax = 10'000;
inline constexpr std::size_t kStagesMax = 200;
inline constexpr std::size_t kExpandedBytesMax = 1U << 20;  // one instruction after substitution: ${a//x/yy} may grow
inline constexpr std::size_t kExpansionDepthMax = 32;       // ${a:-${b:-...}}
inline constexpr std::size_t kContextEntriesMax = 1'000'000;
inline constexpr std::size_t kPathDepthMax = 256;
inline constexpr std::size_t kJobsMax = 8;                          // stages at once where nobody says how many
inline constexpr std::uint64_t kJobBytes = 512ULL << 20;            // of free memory that one such stage is thought to need
inline constexpr std::size_t kLineBytesMax = 64U << 10;             // of a step's output that is held back for its line to end
inline constexpr std::size_t kCacheRecordsMax = 50'000;             // of an imported cache: five for each instruction of the longest Dockerfile

}  // namespace monopod::build
