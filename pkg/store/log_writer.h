// Joins what SQLite writes into its write-ahead log, two small writes a page, to one write a commit. Where the file system takes them, that write
// goes past the page cache (open(2), O_DIRECT): whole sectors instead of whole pages of memory, which is a third of the bytes for a small commit,
// and nothing for fsync to look for.
//
// What is joined reaches the file before any sync, read or truncation through this connection, so only a power cut or a kill between two syncs can
// tell: then less of an unfinished commit is there. Only for connections that sync each commit; without the sync, others would not see it.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "sys/fd.h"

namespace monopod::store {

// Puts itself before the methods of a connection's log (sqlite.org/c3ref/io_methods.html), as WriteCounter does for the file. Neither copied nor
// moved; outlives the connection.
class LogWriter {
 public:
  LogWriter() = default;
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // log_path: the log's, for writes past the page cache; empty: only joined (another VFS). Does nothing where the connection has no log.
  void attach(sqlite3* db, const std::string& log_path);
  bool direct() const { return static_cast<bool>(direct_); }

 private:
  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset);
  static int read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset);
  static int truncate(sqlite3_file* file, sqlite3_int64 size);
  static int sync(sqlite3_file* file, int flags);
  static int size(sqlite3_file* file, sqlite3_int64* out);
  static int close(sqlite3_file* file);
  static LogWriter& of(sqlite3_file* file);

  int append(sqlite3_file* file, const char* data, std::size_t size, std::int64_t offset);
  int flush(sqlite3_file* file, bool durably = false);  // durably: if that needs no more than this write
  int write_direct(std::int64_t first, std::size_t length, bool durably);  // of buffer_
  void lengthen();

  struct Methods : sqlite3_io_methods {
    LogWriter* writer = nullptr;
  };
  struct Free {
    void operator()(char* at) const;
  };
  Methods methods_{};
  const sqlite3_io_methods* original_ = nullptr;

  // The joined bytes: buffer_[lead_, lead_ + length_) belong at begin_; lead_ is begin_ within its sector, so the buffer is made of sectors.
  std::unique_ptr<char, Free> buffer_{};
  std::int64_t begin_ = 0;
  std::size_t lead_ = 0;
  std::size_t length_ = 0;

  sys::Fd direct_{};
  std::size_t sector_ = 512;
  std::int64_t end_ = 0;     // of what the log holds: bytes behind it count for nobody
  std::int64_t size_ = 0;    // of the file
  bool synced_ = false;      // nothing was written since the last sync
  bool tail_known_ = false;  // buffer_[0, end_ % sector_) is what the log holds of the sector end_ lies in
};

}  // namespace monopod::store
