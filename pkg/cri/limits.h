// Bounds of the CRI service.
#pragma once

#include <cstddef>

#include "base/clock.h"

namespace monopod::cri {

inline constexpr std::size_t kRequestBytesMax = 512U << 10;  // what is kept of one has to fit the StateStore's value, written as JSON
inline constexpr std::size_t kMessageDepthMax = 16;          // the deepest message has 6
inline constexpr std::size_t kSandboxesMax = 1'000;
inline constexpr std::size_t kContainersMax = 1'000;         // the container engine's own
inline constexpr std::size_t kExecSyncBytesMax = 16U << 20;  // of each output; what is more is thrown away (CVE-2022-1708)
inline constexpr std::size_t kListChunk = 100;               // items of one message of the Stream calls
inline constexpr std::size_t kEventQueueMax = 1'024;         // of one listener that does not read, before it is dropped
inline constexpr std::size_t kTokensMax = 1'000;             // streams that were asked for and not opened
inline constexpr Duration kTokenLife = std::chrono::minutes(1);
inline constexpr std::size_t kProfileBytesMax = 4U << 20;    // of a seccomp profile

}  // namespace monopod::cri
