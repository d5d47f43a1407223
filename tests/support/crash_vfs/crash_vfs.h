// CrashVfs: an SQLite VFS over the real one for tests of power loss and of failing disks. It remembers what was written since the last
// sync of each file; lose_power() then turns the real files into something a disk might hold after a crash: any subset of the unsynced
// writes, each whole, dropped or torn at 512 bytes.
//
//   CrashVfs vfs("crash");
//   vfs.arm({.crash_at = 37});          // from the 37th write, sync or truncate on nothing works any more
//   ... open with .vfs = vfs.name(), work until errors, close ...
//   vfs.lose_power(rng);                 // all files closed; open again without or with the VFS
//
// Thread-safe. One instance per name at a time; it must outlive every connection that uses it.
#pragma once

#include <sqlite3.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/rng.h"

namespace monopod::testing {

class CrashVfs {
 public:
  struct Plan {
    std::int64_t crash_at = -1;   // operation number from which everything fails; -1: never
    std::int64_t fail_at = -1;    // first operation that fails
    std::int64_t fail_count = 1;  // how many in a row
    int fail_code = SQLITE_IOERR_WRITE;
    bool fail_syncs_only = false;  // counts and fails syncs alone
    bool index_full = false;       // the shared index of the write-ahead log cannot grow: no space
    bool syncs_lie = false;        // a sync says that it is done and is not
  };

  explicit CrashVfs(std::string name);
  ~CrashVfs();
  CrashVfs(const CrashVfs&) = delete;
  CrashVfs& operator=(const CrashVfs&) = delete;

  const char* name() const { return name_.c_str(); }
  void arm(const Plan& plan);  // restarts the count of operations
  std::int64_t operations() const;
  std::int64_t syncs() const;
  bool crashed() const;
  void lose_power(Rng& rng);

  struct Write {
    bool truncate = false;
    std::int64_t offset = 0;  // new size for truncate
    std::string bytes{};
  };
  struct FileState {
    std::string durable{};
    std::vector<Write> unsynced{};
  };
  // --- for the file methods
  // SQLITE_OK, or what the operation must return.
  int admit(bool is_sync);
  bool index_full() const;
  void record(FileState& state, Write write);
  void sync(FileState& state);
  std::shared_ptr<FileState> state_of(const std::string& path, sqlite3_file* real);
  void forget(const std::string& path);
  sqlite3_vfs* real() const { return real_; }

 private:
  std::string name_;
  sqlite3_vfs vfs_{};
  sqlite3_vfs* real_;
  mutable std::mutex mutex_;
  Plan plan_{};
  std::int64_t operations_ = 0;
  std::int64_t syncs_ = 0;
  std::map<std::string, std::shared_ptr<FileState>> files_;
};

}  // namespace monopod::testing
