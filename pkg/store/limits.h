// Every limit of the store, with its unit and its reason.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace monopod::store {

inline constexpr std::size_t kTxnOperationsMax = 10'000;         // operations in one transaction, nested ones counted (the etcd service has its own, 128)
inline constexpr std::size_t kTxnDepthMax = 8;                   // nesting; recursion stays small
inline constexpr std::size_t kKeyBytesMax = 64 * 1024;           // a key lives in memory
inline constexpr std::size_t kValueBytesMax = 8 * 1024 * 1024;   // one value; etcd's request limit is 1.5 MB
inline constexpr int kSubBits = 20;                              // changes in one revision: 1,048,575; revisions: 2^43
inline constexpr std::int64_t kSubMax = (std::int64_t{1} << kSubBits) - 1;
inline constexpr std::int64_t kRevisionMax = (std::int64_t{1} << (63 - kSubBits)) - 1;

inline constexpr std::size_t kTailBytesMax = 4 * 1024 * 1024;    // newest changes kept in memory for watchers that lag a little
inline constexpr std::size_t kTailRevisionsMax = 4096;
inline constexpr std::size_t kGroupBatchesMax = 1024;            // undelivered batches kept for the watchers of one range
inline constexpr std::size_t kValueCacheBytes = 4 * 1024 * 1024;  // unless the options say otherwise
inline constexpr std::size_t kCatchUpRows = 512;                 // log rows one catch-up read looks at
inline constexpr std::size_t kRangeSliceKeys = 4096;             // index steps before the loop gets its turn
inline constexpr std::size_t kCommitBytesMax = 16 * 1024 * 1024; // of values in one group commit; the rest waits for the next
inline constexpr std::size_t kCompactSliceRows = 500;            // log rows one compaction step deletes
inline constexpr std::size_t kStateValueBytesMax = 1024 * 1024;  // StateStore value
inline constexpr std::int64_t kBriefLogBytesMax = 1024 * 1024;   // of a log that a brief command leaves as it is: the next open reads it through

inline constexpr std::chrono::seconds kLeaseTtlMax{9'000'000'000};  // etcd's
inline constexpr std::chrono::seconds kLeaseTtlMin{1};              // less is raised to it, as etcd does
inline constexpr std::size_t kLeaseKeysMax = 1'000'000;             // of one lease: they go in one revision, which holds kSubMax changes

}  // namespace monopod::store
