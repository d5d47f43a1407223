#include "etcd/snapshot/snapshot_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "base/strings.h"
#include "etcd/snapshot/bolt_reader.h"

namespace monopod::etcd {
namespace {

std::string directory_of(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? "." : directory;
}

}  // namespace

Result<sys::Fd> open_unnamed(const std::string& directory) {
  sys::Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  if (errno != EOPNOTSUPP && errno != EISDIR) return fail_errno(cat("create a file in ", directory));
  // File systems without O_TMPFILE (overlayfs of old kernels).
  std::string name = directory + "/.snapshot-XXXXXX";
  fd = sys::Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return fail_errno(cat("create a file in ", directory));
  ::unlink(name.c_str());
  return fd;
}

Result<NewFile> NewFile::create(const std::string& path) {
  std::string part = path + ".part";
  ::unlink(part.c_str());  // of a run that was killed
  sys::Fd fd(::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(cat("create ", part));
  return NewFile(path, std::move(fd));
}

NewFile::~NewFile() {
  if (fd_) ::unlink(part().c_str());
}

Result<> NewFile::publish() {
  if (::fsync(fd_.get()) < 0) return fail_errno(cat("write ", path_));
  if (::renameat2(AT_FDCWD, part().c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) < 0) return fail_errno(cat("write ", path_));
  fd_.reset();
  sys::Fd directory(::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) < 0) return fail_errno(cat("write ", path_));
  return {};
}

Result<> append_sha256(int fd, std::int64_t bytes) {
  pki::Sha256 digest;
  FileSource source(fd, static_cast<std::uint64_t>(bytes));
  for (std::int64_t at = 0; at < bytes;) {
    auto n = static_cast<std::size_t>(std::min<std::int64_t>(kHashSliceBytes, bytes - at));
    TRY_ASSIGN(std::string slice, source.read(static_cast<std::uint64_t>(at), n));
    digest.update(slice);
    at += static_cast<std::int64_t>(n);
  }
  std::string sum = digest.finish();
  if (::pwrite(fd, sum.data(), sum.size(), static_cast<off_t>(bytes)) != static_cast<ssize_t>(sum.size())) return fail_errno("write the hash");
  return {};
}

}  // namespace monopod::etcd
