// Bounds of the Docker API.
#pragma once

#include <chrono>
#include <cstddef>

#include "base/clock.h"

namespace monopod::docker {

inline constexpr int kApiMinorMax = 50;  // 1.50: advertised
inline constexpr int kApiMinorMin = 41;  // 1.41: Docker 20.10
inline constexpr int kImagesMinorMin = 22;  // 1.22: what skopeo, buildah and podman of Debian 12 say for docker-daemon: images; those answers have not changed
inline constexpr std::size_t kBodyBytesMax = 512U << 10;       // a JSON body; a container's record has to fit the StateStore's value
inline constexpr std::size_t kAuthBytesMax = 64U << 10;        // X-Registry-Auth, decoded
inline constexpr std::size_t kContainersMax = 1'000;
inline constexpr std::size_t kNetworksMax = 64;
inline constexpr std::size_t kVolumesMax = 10'000;
inline constexpr std::size_t kExecsMax = 10'000;               // remembered; those that ended go first
inline constexpr std::size_t kEventsKept = 1'024;              // for events?since=
inline constexpr std::size_t kEventQueueMax = 4'096;           // of one listener that does not read, before it is dropped
inline constexpr std::size_t kNameBytesMax = 255;
inline constexpr std::size_t kArchiveEntriesMax = 1'000'000;   // of cp
inline constexpr Duration kAttachWait = std::chrono::seconds(10);  // of a start for clients that asked to attach before it
inline constexpr Duration kStopGrace = std::chrono::seconds(10);
inline constexpr Duration kRestartDelayMin = std::chrono::milliseconds(100);
inline constexpr Duration kRestartDelayMax = std::chrono::minutes(1);
inline constexpr Duration kStableRun = std::chrono::seconds(10);   // a container that ran this long restarts without delay again

}  // namespace monopod::docker
