// SqliteBackend: the store in one SQLite file. README.md has the picture, the format and the guarantees.
//
//   CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open({.path = dir + "/state.db"}, pool, time, rng));
//   ...
//   co_await store->close();   // required before destruction
//
// Threads: everything is called on the loop that opened it; commits run on a thread of its own, reads of values on pool.
#pragma once

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/metrics_text.h"
#include "base/rng.h"
#include "store/backend.h"
#include "store/dump.h"
#include "store/limits.h"

namespace monopod::store {

enum class Durability {
  kAlways,  // fsync before every acknowledgement: loses nothing acknowledged
  kBatch,   // fsync at most every 10 ms, acknowledgements do not wait: a power cut may lose the last 10 ms and some, a killed process nothing
  kOs,      // never fsync but at checkpoints: a power cut may lose the last seconds, a killed process nothing
};
Result<Durability> parse_durability(std::string_view text);  // always | batch | os

struct CompactionPolicy {
  std::int64_t keep_revisions = 10'000;        // history kept beyond the live keys; 0: never compacts by count
  std::chrono::seconds keep_age{300};          // history younger than this is kept whatever its count; 0: no age bound
  std::int64_t file_bytes_max = 0;             // larger: all history beyond keep_age goes, whatever its count; 0: no bound by size
  std::chrono::seconds interval{300};          // how often the policy looks; 0: only manual compaction
};

struct SqliteOptions {
  std::string path{};  // the file (made 0600, its directory 0700), or ":memory:" for tests
  Durability durability = Durability::kAlways;
  CompactionPolicy compaction{};
  // Keys under these prefixes (kube-node-lease Leases) are never written to disk and are gone after a restart. Revisions, watches and
  // transactions treat them like all others; revisions they used are not used again, since blocks are reserved durably. After a
  // restart, reads and watches over them from an earlier revision fail with kOutOfRange compacted.
  std::vector<std::string> volatile_prefixes{};
  std::size_t value_cache_bytes = kValueCacheBytes;  // of values used last, expanded, in memory
  // Of a command that makes a few commits and ends: while the log is short (limits.h) it is neither lengthened ahead nor moved into the file, but left to
  // whoever opens next. Each of its commits is synced as any.
  bool brief = false;
  const char* vfs = nullptr;  // SQLite VFS name; tests hand in the crash VFS
  async::Pool* commit_pool = nullptr;  // where commits run, one at a time, instead of on a thread of the store's own; for simulations
};

// Bounds of etcd's disk histograms.
inline constexpr double kDiskSeconds[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192};

// Numbers since open, for status and metrics.
struct StoreStats {
  std::int64_t keys = 0;            // live
  std::int64_t versions = 0;        // live and historical, tombstones too
  std::int64_t commits = 0;         // group commits (fsyncs in mode always)
  std::int64_t txns = 0;            // write transactions committed
  std::int64_t payload_bytes = 0;   // keys and values acknowledged
  std::int64_t file_bytes = 0;      // database file
  std::int64_t file_bytes_in_use = 0;
  std::int64_t ranges = 0;          // reads, those within transactions not counted
  std::int64_t puts = 0;            // committed, within transactions too
  std::int64_t deletes = 0;         // keys deleted, by an ended lease too
  std::int64_t leases = 0;
  std::int64_t watchers = 0;        // now
  std::int64_t slow_watchers = 0;   // of them: not at the newest revision yet
  metrics::Histogram commit_seconds{kDiskSeconds};  // one group commit with its fsync
  std::int64_t wal_bytes_written = 0;   // appended to the write-ahead log, page granular
  std::int64_t file_bytes_written = 0;  // by checkpoints into the database file
  std::chrono::seconds open_for{0};
};

// Blocks until no process has the database file at path open (made or not; its directory is made): a killed predecessor takes a moment to go.
// kUnavailable "data dir in use" if one has it for longer.
Result<> wait_until_unused(const std::string& path, std::chrono::milliseconds longest);

class SqliteBackend : public Backend {
 public:
  // Opens or creates. Errors are one line that says what to do:
  //   kUnavailable         "data dir in use": another process has it open
  //   kFailedPrecondition  not ours, from a newer version, or altered schema; nothing was changed
  //   kDataLoss            truncated or corrupt; nothing was changed
  //   kInvalidArgument     a negative retention
  static async::Task<Result<std::unique_ptr<SqliteBackend>>> open(SqliteOptions options, async::Pool& pool, async::Time& time, Rng& rng);

  // Waits for what is queued, then closes the file. Later calls fail with kUnavailable. A coroutine that was cancelled cannot wait:
  // it does `co_await async::asio::this_coro::reset_cancellation_state();` first.
  virtual async::Task<Result<>> close() = 0;

  // The node's other small memory, in the same file, sharing the same group commit.
  virtual async::StateStore& state() = 0;

  // Empty while healthy; else why every write fails now.
  virtual std::optional<Error> failure() const = 0;
  // Fails with it once there is one. forever: there may never be.
  virtual async::Task<Result<>> until_failure() = 0;
  virtual async::Task<Result<StoreStats>> stats() = 0;
  // Of the database file as of the newest commit, free pages too; costs nothing.
  virtual std::int64_t file_bytes() const = 0;
  // A consistent copy of the whole file (VACUUM INTO) at path, which must not exist. It is not fsynced: who keeps it does that.
  virtual async::Task<Result<>> snapshot(std::string path) = 0;
  // A consistent reading of everything (dump.h): to be used on a pool thread, and destroyed on the loop before close() can end. Rows that
  // a finished compact() dropped are gone from it. Keys that live in memory only are not in it.
  virtual async::Task<Result<std::unique_ptr<Dump>>> dump() = 0;
  // Where the keys that exist at revision were last put: of those put no later than newest. Keys in memory only do not count.
  struct Places {
    std::int64_t keys = 0;                                     // all that exist
    std::vector<std::pair<std::int64_t, std::int64_t>> kept{};  // (revision, sub), sorted
  };
  virtual async::Task<Result<Places>> places_at(Revision revision, Revision newest) = 0;
  // Returns when what the compactions so far have dropped is gone from the file.
  virtual async::Task<Result<>> finish_compaction() = 0;
  // Gives every free page back to the file system, in steps between commits, and empties the write-ahead log. While a reader (a dump) is
  // open the file cannot shrink: kUnavailable after some seconds.
  virtual async::Task<Result<>> defragment() = 0;
};

}  // namespace monopod::store
