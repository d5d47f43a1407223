#include "backup/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/failpoint.h"
#include "base/strings.h"

namespace monopod::backup {

Result<std::unique_ptr<PendingFile>> PendingFile::create(const std::string& path) {
  std::string pending = path + kSuffix;
  ::unlink(pending.c_str());
  sys::Fd fd(::open(pending.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("create " + pending);
  return std::unique_ptr<PendingFile>(new PendingFile(path, std::move(fd)));
}

PendingFile::~PendingFile() {
  if (fd_) ::unlink(pending_.c_str());
}

Result<> PendingFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write " + pending_);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    bytes_ += n;
  }
  return {};
}

Result<> PendingFile::commit() {
  if (::fsync(fd_.get()) != 0) return fail_errno("fsync " + pending_);
  TRY(failpoint("backup.before_rename"));
  if (::rename(pending_.c_str(), path_.c_str()) != 0) return fail_errno(cat("rename ", pending_, " to ", path_));
  fd_.reset();
  std::string folder = std::filesystem::path(path_).parent_path();
  return sync_folder(folder.empty() ? "." : folder);
}

Result<std::size_t> FileSource::read(std::span<std::byte> into) {
  std::size_t want = static_cast<std::size_t>(std::min<std::int64_t>(static_cast<std::int64_t>(into.size()), end_ - at_));
  for (;;) {
    ssize_t n = ::pread(fd_.get(), into.data(), want, at_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read");
    at_ += n;
    return static_cast<std::size_t>(n);
  }
}

Result<sys::Fd> open_file(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open " + path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("inspect " + path);
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidArgument, path + ": not a file");
  return fd;
}

Result<std::int64_t> file_size(const sys::Fd& fd) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("inspect file");
  return info.st_size;
}

Result<> sync_folder(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("open " + path);
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path);
  return {};
}

}  // namespace monopod::backup
