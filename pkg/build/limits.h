// Limits of a build.
#pragma once

#include <cstddef>

namespace monopod::build {

inline constexpr std::size_t kDockerfileBytesMax = 1U << 20;
inline constexpr std::size_t kInstructionsMax = 10'000;
inline constexpr std::size_t kStagesMax = 200;
inline constexpr std::size_t kExpandedBytesMax = 1U << 20;  // one instruction after substitution: ${a//x/yy} may grow
inline constexpr std::size_t kExpansionDepthMax = 32;       // ${a:-${b:-...}}
inline constexpr std::size_t kContextEntriesMax = 1'000'000;
inline constexpr std::size_t kPathDepthMax = 256;
inline constexpr std::size_t kCacheRecordsMax = 50'000;             // of an imported cache: five for each instruction of the longest Dockerfile

}  // namespace monopod::build
