#include "store/write_counter.h"

namespace monopod::store {

void WriteCounter::attach(sqlite3* db) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return;
  original_ = file->pMethods;
  static_cast<sqlite3_io_methods&>(methods_) = *original_;
  methods_.xWrite = write;
  methods_.counter = this;
  file->pMethods = &methods_;
}

int WriteCounter::write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  WriteCounter& self = *static_cast<const Methods*>(file->pMethods)->counter;
  int rc = self.original_->xWrite(file, data, size, offset);
  if (rc == SQLITE_OK) self.bytes.fetch_add(size, std::memory_order_relaxed);
  return rc;
}

}  // namespace monopod::store
