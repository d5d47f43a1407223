// Bounds of this package that no configuration changes. Each says why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monopod::proxy {

inline constexpr std::size_t kConfigBytesMax = 16U << 20;      // of a configuration file
inline constexpr std::size_t kListenersMax = 1'000;
inline constexpr std::size_t kClustersMax = 10'000;
inline constexpr std::size_t kEndpointsMax = 10'000;           // of one cluster
inline constexpr std::size_t kNamesMax = 100;                   // of one cluster, looked up by each worker
inline constexpr std::size_t kAddressesOfNameMax = 256;         // that one answer gives
inline constexpr std::size_t kOriginalDestinationsMax = 4096;         // of one cluster, kept by a worker
inline constexpr std::uint64_t kOriginalDestinationIdleMs = 600'000;  // one that is unused for so long may be forgotten
inline constexpr std::size_t kRoutesMax = 10'000;              // of one virtual host: they are looked at in order
inline constexpr std::size_t kRouteSeriesMax = 2'000;           // of metrics; routes beyond share one
inline constexpr std::size_t kPatternStepsMax = 200'000;       // of all regular expressions for one request: a millisecond or two, then 400
inline constexpr std::uint32_t kStreamsMax = 100;               // of a connection of HTTP/2, at a time
inline constexpr std::int32_t kConnectionWindowBytes = 1 << 20;  // of HTTP/2; streams have that of http::Limits
inline constexpr std::uint64_t kSilenceMs = 1'000;             // a request that is given up after so long, with nothing heard meanwhile: its connection of HTTP/2 takes no more
inline constexpr std::size_t kTextBytesKeptMax = 2U << 10;     // of a stream's content or trailer, whose room is used again
inline constexpr std::size_t kRestStreamsMin = 32;             // streams of HTTP/2 that run at a time, where a worker rests when little came
inline constexpr std::size_t kRestToldPerMsMin = 64;            // at such a rate
inline constexpr std::size_t kRestToldMax = 64;                // and so many things that happened to them are much
inline constexpr std::size_t kRestMicrosPerStream = 2;         // it rests so long for each that is open
inline constexpr std::size_t kRestMicrosMax = 160;             // and no longer
inline constexpr std::size_t kMirrorBytesMax = 16U << 20;      // of bodies that a worker keeps for mirrors while they pass; past it copies are not made
inline constexpr int kInformationalMax = 16;                   // 1xx answers of one request
inline constexpr std::uint64_t kSpliceBytesMin = 64U << 10;    // a body that is longer moves within the kernel
inline constexpr int kPipeBytes = 1 << 20;                     // of a pipe that splices: the measured optimum
inline constexpr std::size_t kPipesKeptMax = 16;
inline constexpr std::uint32_t kJoinsMax = 128;                // connections of a worker that the kernel carries: what waits for slow readers is theirs times the next
inline constexpr std::uint64_t kJoinBytesAhead = 2U << 20;     // that wait in the kernel for a slow reader, each way
inline constexpr int kJoinWindowBytes = 128 << 10;             // of a joined socket's receive buffer: what is left over is copied
inline constexpr std::uint64_t kJoinTickMs = 8;                // how often it is looked whether the kernel is done
inline constexpr std::uint64_t kLateRequestMs = 500;           // of HTTP/2, behind a whole answer: how long what is left of the request is judged before it is reset
inline constexpr std::size_t kLateRequestBytesMax = 32U << 10;  // and how much of it may come
inline constexpr std::uint64_t kLingerMs = 2'000;              // an answer to a request that is not read to its end: how long for the client to take it
inline constexpr std::uint64_t kTunnelIdleMsMin = 3'600'000;   // an hour: WebSockets and TCP are quiet at times
inline constexpr std::uint64_t kAcceptPauseMs = 100;           // out of descriptors: nothing is accepted for so long
inline constexpr std::uint64_t kPeerSweepMs = 1'000;           // how often connections are looked at whose peer's certificate may be over
inline constexpr std::size_t kOcspBytesMax = 64U << 10;         // of a responder's answer
inline constexpr std::int64_t kOcspSkewS = 300;                // that its clock may be ahead of ours
inline constexpr std::int64_t kOcspPauseS = 5, kOcspPauseMaxS = 600;  // behind a failure: doubles
inline constexpr int kAcceptsPerTurn = 64;
inline constexpr int kStepsPerTurn = 32;                       // reads of one connection before others have their turn

}  // namespace monopod::proxy
