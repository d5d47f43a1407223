// The file a snapshot is written to: as etcd's, the database and the SHA-256 of its bytes.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "pki/digest.h"
#include "sys/fd.h"

namespace monopod::etcd {

inline constexpr std::int64_t kSha256Bytes = 32;
inline constexpr std::int64_t kSectorBytes = 512;  // a size that is 32 more than a multiple of it has a hash behind it
inline constexpr std::size_t kHashSliceBytes = 1024 * 1024;

// A file that appears at path complete or not at all; mode 0600.
class NewFile {
 public:
  static Result<NewFile> create(const std::string& path);
  ~NewFile();
  NewFile(NewFile&&) = default;
  NewFile& operator=(NewFile&&) = delete;
  int fd() const { return fd_.get(); }
  // Synced, then at path. kAlreadyExists if something is there by now.
  Result<> publish();

 private:
  NewFile(std::string path, sys::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string part() const { return path_ + ".part"; }
  std::string path_;
  sys::Fd fd_;  // none once published or moved from
};

// An unnamed file in directory: it is gone with its descriptor, however the process ends.
Result<sys::Fd> open_unnamed(const std::string& directory);

// The hash of the first bytes of the file goes behind them.
Result<> append_sha256(int fd, std::int64_t bytes);

}  // namespace monopod::etcd
