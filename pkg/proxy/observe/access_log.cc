#include "proxy/observe/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

Result<sys::Fd> open_log(const std::string& path) {
  // An inherited stream may be a pipe or a socket, which cannot be opened by its name.
  if (path == "/dev/stdout" || path == "/dev/stderr") {
    sys::Fd fd(::fcntl(path == "/dev/stdout" ? 1 : 2, F_DUPFD_CLOEXEC, 3));
    if (!fd) return fail_errno(cat("open ", path));
    return fd;
  }
  sys::Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
  if (!fd) return fail_errno(cat("open access log ", path));
  return fd;
}

}  // namespace

Result<std::unique_ptr<AccessLogFile>> AccessLogFile::open(const AccessLogSpec& spec) {
  auto out = std::make_unique<AccessLogFile>();
  out->path_ = spec.path;
  if (spec.rotate_mb == 0) {
    TRY_ASSIGN(out->fd_, open_log(spec.path));
    return out;
  }
  TRY_ASSIGN(out->rotating_, sys::RotatingFile::open(spec.path, {.bytes_max = std::uint64_t{spec.rotate_mb} << 20, .old_files_max = static_cast<int>(spec.old_files_max)}));
  return out;
}

bool AccessLogFile::append(const LogFormat& format, const LogRecord& record) {
  bool first = lines_.empty();
  format.append(record, start_, lines_);
  if (lines_.size() < kLogBytesBuffered) return first;
  flush();
  return false;
}

void AccessLogFile::flush() {
  if (rotating_ && !lines_.empty()) {
    if (!rotating_->write(lines_, RealClock().wall())) ++dropped_;
    lines_.clear();
  }
  for (std::size_t at = 0; at < lines_.size();) {
    ssize_t n = ::write(fd_.get(), lines_.data() + at, lines_.size() - at);
    if (n <= 0) {
      ++dropped_;
      break;
    }
    at += static_cast<std::size_t>(n);
  }
  lines_.clear();
  if (lines_.capacity() > 2 * kLogBytesBuffered) lines_.shrink_to_fit();
}

void AccessLogFile::reopen() {
  flush();
  if (rotating_) return;
  if (Result<sys::Fd> fd = open_log(path_)) fd_ = std::move(*fd);
}

}  // namespace monopod::proxy
