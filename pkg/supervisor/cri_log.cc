#include "supervisor/cri_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::supervisor {

void LineCutter::entry(std::string_view stamp, char tag, std::string_view bytes, std::string& out) const {
  out += stamp;
  out += ' ';
  out += stream_;
  out += ' ';
  out += tag;
  out += ' ';
  out += bytes;
  out += '\n';
}

void LineCutter::feed(std::string_view bytes, WallTime now, std::string& out) {
  std::string stamp = format_rfc3339_nano(now);
  while (!bytes.empty()) {
    std::size_t room = kLogLineBytesMax - rest_.size();
    std::size_t end = bytes.substr(0, room + 1).find('\n');
    if (end != std::string_view::npos) {
      if (rest_.empty()) {
        entry(stamp, 'F', bytes.substr(0, end), out);
      } else {
        rest_ += bytes.substr(0, end);
        entry(stamp, 'F', rest_, out);
        rest_.clear();
      }
      bytes.remove_prefix(end + 1);
    } else if (bytes.size() > room) {
      rest_ += bytes.substr(0, room);
      entry(stamp, 'P', rest_, out);
      rest_.clear();
      bytes.remove_prefix(room);
    } else {
      rest_ += bytes;
      return;
    }
  }
}

void LineCutter::finish(WallTime now, std::string& out) {
  if (!rest_.empty()) entry(format_rfc3339_nano(now), 'F', rest_, out);
  rest_.clear();
}

Result<LogFile> LogFile::open(const std::string& path, std::uint64_t bytes_max, int files_max) {
  LogFile out;
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size()) return fail(Code::kInvalidArgument, cat("log path ", path, " is not absolute"));
  out.directory_ = sys::Fd(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out.directory_) return fail_errno(cat("open log directory of ", path));
  out.name_ = path.substr(slash + 1);
  out.bytes_max_ = std::max<std::uint64_t>(bytes_max, 4096);
  out.files_max_ = std::clamp(files_max, 1, 100);
  TRY(out.open_current());
  return out;
}

Result<> LogFile::open_current() {
  file_ = sys::Fd(::openat(directory_.get(), name_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640));
  if (!file_) return fail_errno(cat("open log ", name_));
  struct ::stat info = {};
  if (::fstat(file_.get(), &info) < 0 || !S_ISREG(info.st_mode)) {
    file_.reset();
    return fail(Code::kFailedPrecondition, cat("log ", name_, " is not a regular file"));
  }
  bytes_ = static_cast<std::uint64_t>(info.st_size);
  return {};
}

Result<> LogFile::rotate() {
  int dir = directory_.get();
  ::unlinkat(dir, cat(name_, ".", files_max_ - 1).c_str(), 0);
  for (int i = files_max_ - 2; i >= 1; --i) ::renameat(dir, cat(name_, ".", i).c_str(), dir, cat(name_, ".", i + 1).c_str());
  if (files_max_ > 1) {
    if (::renameat(dir, name_.c_str(), dir, cat(name_, ".1").c_str()) < 0 && errno != ENOENT) return fail_errno(cat("rotate log ", name_));
  } else if (::ftruncate(file_.get(), 0) < 0) {
    return fail_errno(cat("truncate log ", name_));
  }
  return open_current();
}

Result<> LogFile::write(std::string_view entries) {
  while (!entries.empty()) {
    std::string_view now = entries;
    if (bytes_ + now.size() > bytes_max_) {
      // As many whole entries as fit; at least one goes into an empty file.
      std::size_t room = bytes_max_ > bytes_ ? static_cast<std::size_t>(bytes_max_ - bytes_) : 0;
      std::size_t end = room == 0 ? std::string_view::npos : now.rfind('\n', room - 1);
      if (end == std::string_view::npos) {
        if (bytes_ > 0) {
          TRY(rotate());
          if (bytes_ > 0) return fail(Code::kFailedPrecondition, cat("log ", name_, " does not rotate"));
          continue;
        }
        end = now.find('\n');
      }
      if (end != std::string_view::npos) now = now.substr(0, end + 1);
    }
    Result<> written = sys::write_all(file_.get(), now);
    if (!written) return written;
    bytes_ += now.size();
    entries.remove_prefix(now.size());
  }
  return {};
}

}  // namespace monopod::supervisor
