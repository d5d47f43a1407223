#include "store/log_writer.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace monopod::store {
namespace {

constexpr std::size_t kJoinBytesMax = 256 << 10;
constexpr std::size_t kSectorMin = 512;
constexpr std::size_t kSectorMax = 4096;
constexpr int kLogHeaderBytes = 32;  // sqlite.org/fileformat2.html section 4.1
constexpr std::int64_t kAheadBytes = 1 << 20;  // rarely: the commit that does it takes ten times as long
constexpr std::int64_t kAheadStep = 128 << 10;
constexpr std::int64_t kAheadMax = 8 << 20;  // where a checkpoint lets the log start over, no longer than it is

}  // namespace

void LogWriter::Free::operator()(char* at) const { std::free(at); }

LogWriter& LogWriter::of(sqlite3_file* file) { return *static_cast<const Methods*>(file->pMethods)->writer; }

void LogWriter::attach(sqlite3* db, const std::string& log_path) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return;
  buffer_.reset(static_cast<char*>(std::aligned_alloc(kSectorMax, kSectorMax + kJoinBytesMax + kSectorMax)));
  if (!buffer_) return;
  original_ = file->pMethods;
  sqlite3_int64 size = 0;
  if (original_->xFileSize(file, &size) != SQLITE_OK) return;
  end_ = size_ = size;  // what is there may count until the log begins anew
  if (!log_path.empty()) direct_ = sys::Fd(::open(log_path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW));
  static_cast<sqlite3_io_methods&>(methods_) = *original_;
  methods_.xWrite = write;
  methods_.xRead = read;
  methods_.xTruncate = truncate;
  methods_.xSync = sync;
  methods_.xFileSize = LogWriter::size;
  methods_.xClose = close;
  methods_.writer = this;
  file->pMethods = &methods_;
}

int LogWriter::write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  return of(file).append(file, static_cast<const char*>(data), static_cast<std::size_t>(size), offset);
}

int LogWriter::append(sqlite3_file* file, const char* data, std::size_t size, std::int64_t offset) {
  if (length_ > 0 && (offset != begin_ + static_cast<std::int64_t>(length_) || length_ + size > kJoinBytesMax)) {
    if (int rc = flush(file); rc != SQLITE_OK) return rc;
  }
  if (size > kJoinBytesMax) {
    tail_known_ = false;
    end_ = std::max(end_, offset + static_cast<std::int64_t>(size));
    size_ = std::max(size_, end_);
    synced_ = false;
    return original_->xWrite(file, data, static_cast<int>(size), offset);
  }
  if (length_ == 0) {
    if (offset == 0 && size == kLogHeaderBytes) end_ = 0;  // the log begins anew: frames behind have another salt and count no more
    tail_known_ = tail_known_ && offset == end_;
    begin_ = offset;
    lead_ = static_cast<std::size_t>(offset) % sector_;
  }
  std::memcpy(buffer_.get() + lead_ + length_, data, size);
  length_ += size;
  return SQLITE_OK;
}

// An error leaves nothing joined: SQLite takes the transaction back and writes its successor to the same place.
int LogWriter::flush(sqlite3_file* file, bool durably) {
  if (length_ == 0) return SQLITE_OK;
  const std::size_t length = std::exchange(length_, 0), sector = sector_;
  const std::int64_t first = begin_ - static_cast<std::int64_t>(lead_);
  if (lead_ > 0 && !tail_known_) tail_known_ = original_->xRead(file, buffer_.get(), static_cast<int>(lead_), first) == SQLITE_OK;
  const bool whole = lead_ == 0 || tail_known_;
  // A large transaction rewrites pages of its own in the middle: there the sector's other bytes count.
  const bool at_end = begin_ >= end_;
  const bool nothing_else = std::exchange(synced_, false);
  int direct = direct_ && whole && at_end ? write_direct(first, lead_ + length, durably && nothing_else) : SQLITE_NOTFOUND;
  if (direct == SQLITE_OK) {
    synced_ = durably && nothing_else;
  } else if (direct != SQLITE_NOTFOUND) {
    tail_known_ = false;
    return direct;
  } else {
    if (int rc = original_->xWrite(file, buffer_.get() + lead_, static_cast<int>(length), begin_); rc != SQLITE_OK) {
      tail_known_ = false;
      return rc;
    }
  }
  end_ = std::max(end_, begin_ + static_cast<std::int64_t>(length));
  size_ = std::max(size_, end_);
  const std::size_t tail = (lead_ + length) % sector_;
  std::memmove(buffer_.get(), buffer_.get() + lead_ + length - tail, tail);
  tail_known_ = whole && at_end && sector == sector_;
  return SQLITE_OK;
}

// SQLITE_NOTFOUND: not all of it was written, the ordinary way is open. A sync that failed is an error: it is never tried again.
int LogWriter::write_direct(std::int64_t first, std::size_t length, bool durably) {
  const std::size_t bytes = (length + sector_ - 1) / sector_ * sector_;
  std::memset(buffer_.get() + length, 0, bytes - length);
  for (std::size_t done = 0; done < bytes;) {
    const iovec rest{.iov_base = buffer_.get() + done, .iov_len = bytes - done};
    const ssize_t n = ::pwritev2(direct_.get(), &rest, 1, first + static_cast<std::int64_t>(done), durably ? RWF_DSYNC : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL) {
      if (sector_ == kSectorMax) direct_ = {};
      sector_ = kSectorMax;  // from the next on
    }
    if (n < 0 && errno == EIO && durably) return SQLITE_IOERR_FSYNC;
    if (n <= 0 || static_cast<std::size_t>(n) % kSectorMin != 0) return SQLITE_NOTFOUND;
    done += static_cast<std::size_t>(n);
  }
  return SQLITE_OK;
}

int LogWriter::read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  LogWriter& self = of(file);
  const bool joined = self.length_ > 0 && offset < self.begin_ + static_cast<std::int64_t>(self.length_) && offset + size > self.begin_;
  if (joined)
    if (int rc = self.flush(file); rc != SQLITE_OK) return rc;
  return self.original_->xRead(file, data, size, offset);
}

int LogWriter::truncate(sqlite3_file* file, sqlite3_int64 size) {
  LogWriter& self = of(file);
  if (int rc = self.flush(file); rc != SQLITE_OK) return rc;
  self.tail_known_ = false;
  int rc = self.original_->xTruncate(file, size);
  self.synced_ = false;
  if (rc == SQLITE_OK) {
    self.size_ = size;
    self.end_ = std::min<std::int64_t>(self.end_, size);
  }
  return rc;
}

int LogWriter::sync(sqlite3_file* file, int flags) {
  LogWriter& self = of(file);
  const bool lengthen = self.direct_ && self.size_ - self.end_ - static_cast<std::int64_t>(self.length_) < kAheadStep / 2 && self.end_ < kAheadMax;
  if (int rc = self.flush(file, !lengthen); rc != SQLITE_OK) return rc;
  if (lengthen) self.lengthen();
  if (self.synced_) return SQLITE_OK;
  const int rc = self.original_->xSync(file, flags);
  self.synced_ = rc == SQLITE_OK;
  return rc;
}

// A write that makes the log longer has its sync write the file's inode and extents as well: twice the time, twice the requests to the disk. So the
// log is kept longer than what it holds, by zeros, which end the log for whoever reads it. Where that fails, commits lengthen it themselves.
// The size is kept here: a file that was asked for it (fstat) has the next sync write its inode, as its time of change must differ from the one told
// (multigrain timestamps, Linux 6.13).
void LogWriter::lengthen() {
  std::unique_ptr<char, Free> zeros(static_cast<char*>(std::aligned_alloc(kSectorMax, kAheadStep)));
  if (!zeros) return;
  std::memset(zeros.get(), 0, kAheadStep);
  constexpr auto kSector = static_cast<std::int64_t>(kSectorMax);
  std::int64_t at = (std::max(size_, end_) + kSector - 1) / kSector * kSector;
  for (const std::int64_t end = at + kAheadBytes; at < end; at = size_) {
    if (::pwrite(direct_.get(), zeros.get(), kAheadStep, at) != kAheadStep) return;
    size_ = at + kAheadStep;
  }
}

int LogWriter::size(sqlite3_file* file, sqlite3_int64* out) {
  LogWriter& self = of(file);
  if (int rc = self.flush(file); rc != SQLITE_OK) return rc;
  return self.original_->xFileSize(file, out);
}

int LogWriter::close(sqlite3_file* file) {
  LogWriter& self = of(file);
  const int flushed = self.flush(file);
  file->pMethods = self.original_;
  const int closed = self.original_->xClose(file);
  return flushed != SQLITE_OK ? flushed : closed;
}

}  // namespace monopod::store
