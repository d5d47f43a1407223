#include "sys/rotating_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

// 2026-01-02T03-04-05.006
std::string stamp(WallTime now) {
  std::string out = format_rfc3339_micro(now).substr(0, 23);
  out[13] = out[16] = '-';
  return out;
}

std::optional<WallTime> parse_stamp(std::string_view text) {
  if (text.size() != 23 || text[13] != '-' || text[16] != '-') return std::nullopt;
  std::string full(text);
  full[13] = full[16] = ':';
  auto time = parse_rfc3339(full + "Z");
  return time ? std::optional(*time) : std::nullopt;
}

}  // namespace

Result<RotatingFile> RotatingFile::open(const std::string& path, RotationLimits limits) {
  RotatingFile out;
  std::size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  out.path_ = path;
  out.name_ = slash == std::string::npos ? path : path.substr(slash + 1);
  std::size_t dot = out.name_.rfind('.');
  if (dot == 0) dot = std::string::npos;
  out.stem_ = out.name_.substr(0, dot) + "-";
  out.extension_ = dot == std::string::npos ? "" : out.name_.substr(dot);
  out.limits_ = limits;
  out.directory_ = Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.directory_) return fail_errno(cat("open folder of ", path));
  TRY(out.open_current());
  return out;
}

Result<> RotatingFile::open_current() {
  file_ = Fd(::openat(directory_.get(), name_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600));
  if (!file_) return fail_errno(cat("open ", path_));
  struct ::stat info = {};
  if (::fstat(file_.get(), &info) < 0 || !S_ISREG(info.st_mode)) {
    file_.reset();
    return fail(Code::kFailedPrecondition, cat(path_, " is not a regular file"));
  }
  if ((info.st_mode & 077) != 0 && ::fchmod(file_.get(), 0600) < 0) return fail_errno(cat("restrict ", path_));
  bytes_ = static_cast<std::uint64_t>(info.st_size);
  return {};
}

Result<> RotatingFile::rotate(WallTime now) {
  // Two within a millisecond: the later name is free.
  std::string old = cat(stem_, stamp(now), extension_);
  for (int tries = 0; ::faccessat(directory_.get(), old.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0; ++tries) {
    if (tries == 1000) return fail(Code::kFailedPrecondition, cat("rotate ", path_, ": no free name"));
    now += std::chrono::milliseconds(1);
    old = cat(stem_, stamp(now), extension_);
  }
  if (::renameat(directory_.get(), name_.c_str(), directory_.get(), old.c_str()) < 0 && errno != ENOENT) return fail_errno(cat("rotate ", path_));
  TRY(open_current());
  remove_old(now);
  return {};
}

void RotatingFile::remove_old(WallTime now) {
  if (limits_.old_files_max == 0 && limits_.age_max == Duration()) return;
  Result<Fd> again = directory_.duplicate();
  if (!again) return;
  Result<std::vector<DirEntry>> entries = Root(std::move(*again)).read_directory(".");
  if (!entries) return;
  std::vector<std::pair<WallTime, std::string>> old;
  for (DirEntry& entry : *entries) {
    std::string_view name = entry.name;
    if (!name.starts_with(stem_) || !name.ends_with(extension_) || name.size() < stem_.size() + extension_.size()) continue;
    auto time = parse_stamp(name.substr(stem_.size(), name.size() - stem_.size() - extension_.size()));
    if (time) old.emplace_back(*time, std::move(entry.name));
  }
  std::ranges::sort(old, std::greater());
  for (std::size_t i = 0; i < old.size(); ++i) {
    bool many = limits_.old_files_max > 0 && i >= static_cast<std::size_t>(limits_.old_files_max);
    bool aged = limits_.age_max > Duration() && now - old[i].first > limits_.age_max;
    if (many || aged) ::unlinkat(directory_.get(), old[i].second.c_str(), 0);
  }
}

Result<> RotatingFile::write(std::string_view lines, WallTime now) {
  struct ::stat info = {};
  if (!file_ || ::fstat(file_.get(), &info) < 0 || info.st_nlink == 0) TRY(open_current());
  while (!lines.empty()) {
    std::string_view part = lines;
    if (bytes_ + part.size() > limits_.bytes_max) {
      // As many whole lines as fit; at least one goes into an empty file.
      std::size_t room = bytes_ < limits_.bytes_max ? static_cast<std::size_t>(limits_.bytes_max - bytes_) : 0;
      std::size_t end = room == 0 ? std::string_view::npos : part.rfind('\n', room - 1);
      if (end == std::string_view::npos && bytes_ > 0) {
        TRY(rotate(now));
        if (bytes_ > 0) return fail(Code::kFailedPrecondition, cat("rotate ", path_, ": the new file is not empty"));
        continue;
      }
      part = part.substr(0, (end == std::string_view::npos ? part.find('\n') : end) + 1);
      if (part.empty()) part = lines;  // no newline at all
    }
    Result<> written = write_all(file_.get(), part);
    if (!written) {
      if (::ftruncate(file_.get(), static_cast<off_t>(bytes_)) < 0) file_.reset();
      return fail(std::move(written).error().with(cat("write ", path_)));
    }
    bytes_ += part.size();
    lines.remove_prefix(part.size());
  }
  return {};
}

}  // namespace monopod::sys
