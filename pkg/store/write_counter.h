// Counts the bytes that one SQLite connection writes into its database file: what checkpoints cost, which SQLite has no number for.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstdint>

namespace monopod::store {

// Puts itself before the file methods of a connection (sqlite.org/c3ref/io_methods.html): all calls pass through, writes are added up.
// Neither copied nor moved: the open file points to it, so it must outlive the connection.
class WriteCounter {
 public:
  WriteCounter() = default;
  WriteCounter(const WriteCounter&) = delete;
  WriteCounter& operator=(const WriteCounter&) = delete;

  void attach(sqlite3* db);

  std::atomic<std::int64_t> bytes{0};

 private:
  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset);
  struct Methods : sqlite3_io_methods {  // what the file points to: so a call finds its counter
    WriteCounter* counter = nullptr;
  };
  Methods methods_{};
  const sqlite3_io_methods* original_ = nullptr;
};

}  // namespace monopod::store
