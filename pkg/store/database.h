// Database: the SQLite file, blocking. One writing connection for the commit thread, reading connections for pool threads.
// README.md describes tables and columns. Only database.cc, open_database.cc, dump.cc and fsck.cc speak SQL.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "store/dump.h"
#include "store/log_writer.h"
#include "store/offline.h"
#include "store/row.h"
#include "store/sqlite_backend.h"
#include "store/statement.h"
#include "store/value_coding.h"
#include "store/write_counter.h"
#include "sys/fd.h"

namespace monopod::store {

struct LogRow {
  RowId id = 0;
  Version version{};
  std::string key{};
  SharedBytes value{};
};

struct StateWrite {
  std::string bucket{};
  std::string key{};
  std::optional<std::string> value{};  // nullopt: remove
};

struct LeaseRow {
  std::int64_t id = 0;
  std::int64_t ttl_s = 0;
  std::int64_t remaining_ms = 0;
};
struct LeaseWrite {
  LeaseRow row{};
  bool remove = false;
};

// What one caller wants written, all in one SQLite transaction with others.
struct Writes {
  std::vector<Change> changes{};
  std::vector<RowId> delete_rows{};
  std::vector<StateWrite> state{};
  std::vector<LeaseWrite> leases{};
  std::optional<std::int64_t> compact_revision{};
  std::optional<std::int64_t> reserved_revision{};
  int vacuum_pages = 0;  // give up to so many free pages back to the file system

  bool empty() const;  // nothing for the disk
  std::size_t bytes() const;  // of keys and values
};

struct Meta {
  std::int64_t compact_revision = 0;
  std::int64_t reserved_revision = 0;
};

using StatePairs = std::vector<std::pair<std::string, std::string>>;

Result<Meta> read_meta(Connection& connection);
Result<StatePairs> read_state(Connection& connection, const std::string& bucket);

class Database {
 public:
  // Locks, checks, creates if absent, opens, migrates. See SqliteBackend::open for errors.
  static Result<std::unique_ptr<Database>> open(const SqliteOptions& options);
  // For reading alone (export.cc): changes nothing, shares the lock with other readers.
  static Result<std::unique_ptr<Database>> open_read_only(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Of the file at path, made or not: kUnavailable if another process has it. Its directory is made if absent.
  static Result<sys::Fd> lock(const std::string& path);
  static Result<> sync_directory_of(const std::string& path);

  // --- on the opening thread, before anything else
  Result<Meta> read_meta() { return store::read_meta(*writer_); }
  Result<std::vector<LeaseRow>> read_leases();
  // Every row's metadata and key in log order. Stops at the first error of on_row.
  Result<> scan(const std::function<Result<>(const Version& version, std::string_view key)>& on_row);

  // --- on the commit thread
  // All or nothing. Loads prev_value of the changes that want it. On an error the transaction was rolled back, unless broken().
  Result<> commit(std::span<Writes* const> batch);
  // An I/O error or corruption hit the writing side; what is on disk is unknown until the file is opened again. Never reset.
  bool broken() const { return broken_; }
  // Moves the write-ahead log into the file. kResourceExhausted when full: try later.
  Result<> checkpoint();
  // Waits for no reader: false while one is in the way. True: the log file is empty and the database file as short as its pages.
  Result<bool> checkpoint_and_truncate();
  std::int64_t wal_pages() const { return wal_pages_; }
  std::int64_t page_bytes() const { return page_bytes_; }
  // fdatasync of the write-ahead log, for durability batch.
  Result<> sync_wal();
  std::int64_t wal_bytes_written() const { return wal_bytes_written_; }
  std::int64_t file_bytes_written() const { return file_writes_.bytes.load(std::memory_order_relaxed); }
  // fsck.cc
  Result<FsckReport> check_everything(const OnProgress& progress);

  Result<FileSummary> summary();  // export.cc

  // --- on any thread, any number at a time
  // One per row, null where the row is gone. kDataLoss if a checksum fails.
  Result<std::vector<SharedBytes>> read_values(std::span<const RowId> rows);
  struct LogSlice {
    std::vector<LogRow> rows{};           // in the key range, whole revisions only
    std::int64_t next_revision = 0;       // where to go on
  };
  // Looks at about kCatchUpRows rows from revision on, none beyond last.
  Result<LogSlice> read_log(std::int64_t revision, std::int64_t last, std::string_view begin, std::string_view end);
  Result<StatePairs> read_state(const std::string& bucket);
  struct FileSize {
    std::int64_t pages = 0;
    std::int64_t free_pages = 0;
    std::int64_t page_bytes = 0;
  };
  Result<FileSize> file_size();
  // As of the newest commit, without asking the file.
  std::int64_t file_bytes() const { return file_bytes_; }
  Result<std::unique_ptr<Dump>> dump();  // dump.cc
  Result<> snapshot(const std::string& path);

 private:
  friend struct DatabaseOpener;
  struct ReadConnection {
    std::unique_ptr<Connection> sql{};
    ValueDecoder decoder{};
  };
  class Reader;  // one of them, borrowed
  Database() = default;

  Result<> write(Writes& writes);
  Result<> load_previous(Change& change);
  Result<bool> run_checkpoint(int mode);
  Result<> check(Result<> result);  // notes a broken writing side
  Result<> check_commit(Result<> result);
  Result<> run_prepared(const char* sql, std::string_view what);
  bool open_log();
  void watch_writes(Durability durability);  // counts pages of the log and bytes of the file, joins writes into the log
  std::string path_;
  bool brief_ = false;
  const char* vfs_ = nullptr;
  bool memory_ = false;  // or read-only: the one connection is for all threads
  sys::Fd lock_;
  sys::Fd wal_fd_{};  // of the write-ahead log, opened when first needed
  WriteCounter file_writes_;  // outlives writer_
  LogWriter log_writer_;      // likewise
  std::unique_ptr<Connection> writer_;
  ValueEncoder encoder_;  // of the commit thread, as the next
  ValueDecoder decoder_;
  std::mutex memory_mutex_;  // ":memory:" has the one connection for all threads
  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<ReadConnection>> idle_readers_;
  std::atomic<bool> broken_{false};
  std::atomic<std::int64_t> file_bytes_{0};
  std::int64_t wal_pages_ = 0;
  std::int64_t wal_bytes_written_ = 0;
  std::int64_t page_bytes_ = 0;
};

}  // namespace monopod::store
