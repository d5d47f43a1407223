// The API server's bounds. Each says why; tests stand at the limit and one past it.
#pragma once

#include <chrono>
#include <cstddef>

namespace monopod::api {

inline constexpr std::size_t kBodyBytesMax = 3U << 20;            // as upstream's apiserver: the largest request body
inline constexpr std::size_t kTargetBytesMax = 16U << 10;         // path and query; selectors are the longest part
inline constexpr std::size_t kPathSegmentsMax = 64;
inline constexpr std::size_t kBodyOnLoopBytesMax = 128U << 10;    // larger bodies are parsed on the pool
inline constexpr int kSeatsTotal = 100;                           // requests answered at once (flow/): enough for one sync of all writers, few enough that a turn of the loop is short; watches and streams are free
inline constexpr int kSeatsOfListMax = 10;                        // as upstream: of one large list
inline constexpr std::size_t kObjectsPerSeat = 100;               // as upstream: what of a list one seat stands for
inline constexpr std::chrono::seconds kQueueWaitMax{15};          // as upstream: a quarter of a request's minute; then 429
inline constexpr std::size_t kWatcherEventsMax = 1000;            // queued for one slow watcher, then it is closed
inline constexpr std::size_t kWatcherBytesSoftMax = 1U << 20;     // ... and more than this many bytes
inline constexpr std::size_t kWatcherBytesMax = 8U << 20;         // ... or this many, however few the events
inline constexpr std::size_t kRingBytesMax = 1U << 20;            // of past events a resource, beside their number
inline constexpr std::size_t kListChunkBytes = 64U << 10;         // one slice of a large answer
inline constexpr std::size_t kCredentialsKnownMax = 512;          // verified certificates and token signatures remembered, each
inline constexpr std::size_t kGzipBytesMin = 128U << 10;          // answers below are sent plain, as upstream
inline constexpr std::size_t kNodeStatsBytesMax = 16U << 20;      // of one node's /stats/summary: 250 pods of some containers are 1 MB
inline constexpr std::size_t kListLimitMax = 100'000;             // of ?limit
inline constexpr int kWriteRetriesMax = 10;                       // of a read-modify-write without resourceVersion
inline constexpr std::chrono::seconds kQuotaTurnMax{10};          // as upstream: a write waits this long for the quotas of its namespace
inline constexpr int kGenerateNameTriesMax = 8;
inline constexpr std::chrono::seconds kBookmarkEvery{60};
inline constexpr std::chrono::seconds kWatchMinimum{1800};        // watches without timeoutSeconds end between this and twice it
inline constexpr std::chrono::seconds kConsistentReadMax{3};      // the cache may lag the store this long, then 504
inline constexpr std::chrono::milliseconds kSliceMax{2};          // of the loop, for one request, between two yields

}  // namespace monopod::api
