// Backups of a running store. The copy is made by SQLite (VACUUM INTO) beside the database, compressed from there, and removed.
#pragma once

#include <memory>
#include <string>

#include "async/pool.h"
#include "backup/backup_file.h"
#include "base/clock.h"
#include "store/sqlite_backend.h"

namespace monopod::backup {

// Where a store's copies are made, and what makes them. References outlive their user.
struct Source {
  store::SqliteBackend& store;
  std::string folder{};  // the data directory: needs room for one more database
  const Clock& clock;
};

// A consistent copy of the store at path, mode 0600, gone with this object.
class Copy {
 public:
  explicit Copy(std::string path) : path_(std::move(path)) {}
  ~Copy();
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};
async::Task<Result<std::unique_ptr<Copy>>> take_copy(const Source& source);

// The bytes of a backup, for sending. The copy is as old as this object; make few at a time.
struct Stream {
  std::unique_ptr<Copy> copy;
  std::unique_ptr<Encoder> encoder;  // next() blocks: call it on pool
};
async::Task<Result<std::unique_ptr<Stream>>> open_stream(const Source& source, async::Pool& pool);

// A whole backup at path, or none: temporary file, fsync, rename.
async::Task<Result<Info>> save(const Source& source, async::Pool& pool, std::string path);

// What a process that was killed left behind. Blocking; returns how many files were removed. Copies: call it with the data directory before
// the first backup of this process.
std::size_t remove_copies(const std::string& folder);
std::size_t remove_partial_backups(const std::string& folder);

}  // namespace monopod::backup
