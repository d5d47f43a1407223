#include "sys/root.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "sys/resolve.h"

namespace monopod::sys {
namespace {

constexpr std::size_t kReadAtOnceBytesMax = 1U << 16;
constexpr int kAgainMax = 128;  // openat2 gives EAGAIN while a rename races with ".."

Result<> check_path(std::string_view path) {
  if (path.size() > kPathBytesMax) return fail(Code::kInvalidArgument, "path is too long");
  if (path.find('\0') != std::string_view::npos) return fail(Code::kInvalidArgument, "path contains a NUL byte");
  return {};
}

// Walks dir (owned), removing everything that is on device.
Result<> remove_below(Fd dir, dev_t device) {
  int raw = dir.release();
  DIR* stream = ::fdopendir(raw);
  if (stream == nullptr) {
    int saved = errno;
    ::close(raw);
    errno = saved;
    return fail_errno("read directory");
  }
  struct Closer {
    DIR* d;
    ~Closer() { ::closedir(d); }
  } closer{stream};
  while (struct dirent* entry = ::readdir(stream)) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct ::stat info = {};
    if (::fstatat(raw, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) continue;
      return fail_errno(cat("stat ", name));
    }
    bool is_directory = S_ISDIR(info.st_mode);
    if (is_directory) {
      if (info.st_dev != device) return fail(Code::kFailedPrecondition, cat(name, " is a mount point"));
      Fd child(::openat(raw, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child) return fail_errno(cat("open ", name));
      TRY(remove_below(std::move(child), device));
    }
    if (::unlinkat(raw, entry->d_name, is_directory ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT) return fail_errno(cat("remove ", name));
  }
  return {};
}

}  // namespace

Result<Fd> open_resolved(int directory, std::string_view path, int flags, mode_t mode, std::uint64_t resolve) {
  TRY(check_path(path));
  std::string text(path.empty() ? "." : path);
  struct open_how how = {};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = resolve;
  for (int tries = 0;; ++tries) {
    long fd = ::syscall(SYS_openat2, directory, text.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if ((errno == EAGAIN && tries < kAgainMax) || errno == EINTR) continue;
    return fail_errno(cat("open ", text));
  }
}

Result<std::pair<std::string_view, std::string_view>> split_parent(std::string_view path) {
  TRY(check_path(path));
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  std::size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return fail(Code::kInvalidArgument, cat("path \"", path, "\" has no last component"));
  return std::pair(slash == std::string_view::npos ? std::string_view() : path.substr(0, slash + 1), name);
}

std::string fd_path(int fd) { return cat("/proc/self/fd/", fd); }

Result<std::string> read_all(int fd, std::size_t bytes_max) {
  std::string out;
  std::size_t chunk = 4096;
  for (;;) {
    std::size_t before = out.size();
    out.resize(before + chunk);
    ssize_t n = ::read(fd, out.data() + before, chunk);
    if (n < 0 && errno == EINTR) {
      out.resize(before);
      continue;
    }
    if (n < 0) return fail_errno("read");
    out.resize(before + static_cast<std::size_t>(n));
    if (out.size() > bytes_max) return fail(Code::kResourceExhausted, cat("file is larger than ", bytes_max, " bytes"));
    if (n == 0) return out;
    chunk = std::min<std::size_t>(chunk * 2, 1 << 20);
  }
}

Result<> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> read_host_file(const std::string& path, std::size_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("open ", path));
  Result<std::string> out = read_all(fd.get(), bytes_max);
  if (!out) return fail(std::move(out).error().with(cat("read ", path)));
  return out;
}

Result<> write_host_file(const std::string& path, std::string_view bytes) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("open ", path));
  ssize_t n;
  do n = ::write(fd.get(), bytes.data(), bytes.size());
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno(cat("write ", bytes.substr(0, 40), " to ", path));
  return {};
}

Result<Root> Root::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("open directory ", path));
  return Root(std::move(fd));
}

Result<Root> Root::duplicate() const {
  TRY_ASSIGN(Fd copy, directory_.duplicate());
  return Root(std::move(copy));
}

Result<Fd> Root::open_file(std::string_view path, int flags, mode_t mode) const {
  return open_resolved(fd(), path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

Result<Fd> Root::open_no_symlinks(std::string_view path, int flags, mode_t mode) const {
  return open_resolved(fd(), path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

Result<Root> Root::open_root(std::string_view path) const {
  TRY_ASSIGN(Fd directory, open_file(path, O_PATH | O_DIRECTORY));
  return Root(std::move(directory));
}

Result<Root::Parent> Root::open_parent(std::string_view path) const {
  TRY_ASSIGN(auto parts, split_parent(path));
  TRY_ASSIGN(Fd directory, open_file(parts.first, O_PATH | O_DIRECTORY));
  return Parent{std::move(directory), std::string(parts.second)};
}

Result<Fd> Root::make_directories(std::string_view path, mode_t mode) const {
  TRY(check_path(path));
  // The usual case first: all of it is there.
  Result<Fd> whole = open_file(path, O_PATH | O_DIRECTORY);
  if (whole || whole.error().code() != Code::kNotFound) return whole;
  std::string walked;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    walked += '/';
    walked += part;
    Result<Fd> there = open_file(walked, O_PATH | O_DIRECTORY);
    if (there) continue;
    if (there.error().code() != Code::kNotFound) return there;
    // A dangling symlink shows as absent here and as existing to mkdirat: an error, not a directory somewhere else.
    Result<> made = make_directory(walked, mode);
    if (!made && made.error().code() != Code::kAlreadyExists) return fail(std::move(made).error());
  }
  return open_file(path, O_PATH | O_DIRECTORY);
}

Result<> Root::make_directory(std::string_view path, mode_t mode) const {
  TRY_ASSIGN(Parent parent, open_parent(path));
  if (::mkdirat(parent.directory.get(), parent.name.c_str(), mode) < 0) return fail_errno(cat("make directory ", path));
  return {};
}

Result<> Root::make_symlink(std::string_view target, std::string_view path) const {
  TRY(check_path(target));
  TRY_ASSIGN(Parent parent, open_parent(path));
  if (::symlinkat(std::string(target).c_str(), parent.directory.get(), parent.name.c_str()) < 0) return fail_errno(cat("make symlink ", path));
  return {};
}

Result<> Root::make_hard_link(std::string_view existing, std::string_view path) const {
  TRY_ASSIGN(Parent from, open_parent(existing));
  TRY_ASSIGN(Parent to, open_parent(path));
  if (::linkat(from.directory.get(), from.name.c_str(), to.directory.get(), to.name.c_str(), 0) < 0)
    return fail_errno(cat("make hard link ", path, " to ", existing));
  return {};
}

Result<> Root::make_node(std::string_view path, mode_t type_and_mode, dev_t device) const {
  TRY_ASSIGN(Parent parent, open_parent(path));
  if (::mknodat(parent.directory.get(), parent.name.c_str(), type_and_mode, device) < 0) return fail_errno(cat("make node ", path));
  return {};
}

Result<> Root::remove_file(std::string_view path) const {
  TRY_ASSIGN(Parent parent, open_parent(path));
  if (::unlinkat(parent.directory.get(), parent.name.c_str(), 0) < 0) return fail_errno(cat("remove ", path));
  return {};
}

Result<> Root::remove_directory(std::string_view path) const {
  TRY_ASSIGN(Parent parent, open_parent(path));
  if (::unlinkat(parent.directory.get(), parent.name.c_str(), AT_REMOVEDIR) < 0) return fail_errno(cat("remove directory ", path));
  return {};
}

Result<> Root::remove_tree(std::string_view path) const {
  Result<Parent> parent = open_parent(path);
  if (!parent) {
    if (parent.error().code() == Code::kNotFound) return {};
    return fail(std::move(parent).error());
  }
  int dir = parent->directory.get();
  const char* name = parent->name.c_str();
  if (::unlinkat(dir, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail_errno(cat("remove ", path));
  Fd child(::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!child) return fail_errno(cat("remove ", path));
  struct ::stat info = {};
  if (::fstat(child.get(), &info) < 0) return fail_errno(cat("remove ", path));
  Result<> below = remove_below(std::move(child), info.st_dev);
  if (!below) return fail(std::move(below).error().with(cat("remove ", path)));
  if (::unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) return fail_errno(cat("remove ", path));
  return {};
}

Result<> Root::rename(std::string_view from, std::string_view to) const {
  TRY_ASSIGN(Parent source, open_parent(from));
  TRY_ASSIGN(Parent target, open_parent(to));
  if (::renameat(source.directory.get(), source.name.c_str(), target.directory.get(), target.name.c_str()) < 0)
    return fail_errno(cat("rename ", from, " to ", to));
  return {};
}

Result<struct ::stat> Root::stat(std::string_view path) const {
  TRY_ASSIGN(Fd file, open_file(path, O_PATH));
  struct ::stat out = {};
  if (::fstat(file.get(), &out) < 0) return fail_errno(cat("stat ", path));
  return out;
}

Result<struct ::stat> Root::lstat(std::string_view path) const {
  TRY_ASSIGN(Fd file, open_file(path, O_PATH | O_NOFOLLOW));
  struct ::stat out = {};
  if (::fstat(file.get(), &out) < 0) return fail_errno(cat("stat ", path));
  return out;
}

Result<std::string> Root::read_link(std::string_view path) const {
  TRY_ASSIGN(Fd link, open_file(path, O_PATH | O_NOFOLLOW));
  std::string out(kPathBytesMax + 1, '\0');
  ssize_t n = ::readlinkat(link.get(), "", out.data(), out.size());
  if (n < 0) return fail_errno(cat("read link ", path));
  out.resize(static_cast<std::size_t>(n));
  return out;
}

Result<std::vector<DirEntry>> Root::read_directory(std::string_view path) const {
  TRY_ASSIGN(Fd file, open_file(path, O_RDONLY | O_DIRECTORY));
  DIR* stream = ::fdopendir(file.get());
  if (stream == nullptr) return fail_errno(cat("read directory ", path));
  (void)file.release();
  std::vector<DirEntry> out;
  errno = 0;
  while (struct dirent* entry = ::readdir(stream)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.push_back({std::string(name), entry->d_type, entry->d_ino});
    errno = 0;
  }
  int saved = errno;
  ::closedir(stream);
  if (saved != 0) return fail(errno_error(saved, cat("read directory ", path)));
  return out;
}

Result<std::string> Root::read_file(std::string_view path, std::size_t bytes_max) const {
  TRY_ASSIGN(Fd file, open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct ::stat info = {};
  if (::fstat(file.get(), &info) < 0) return fail_errno(cat("stat ", path));
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidArgument, cat(path, " is not a regular file"));
  // A file of a disk ends where it says it ends: no second read(2) to find that out. Those of proc and cgroup say nothing.
  auto size = static_cast<std::size_t>(info.st_size);
  if (size > 0 && size <= std::min(bytes_max, kReadAtOnceBytesMax)) {
    std::string text(size + 1, '\0');
    ssize_t n = ::read(file.get(), text.data(), text.size());
    if (n >= 0 && static_cast<std::size_t>(n) <= size) {
      text.resize(static_cast<std::size_t>(n));
      return text;
    }
    if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno(cat("read ", path));
  }
  Result<std::string> out = read_all(file.get(), bytes_max);
  if (!out) return fail(std::move(out).error().with(cat("read ", path)));
  return out;
}

Result<> Root::write_file(std::string_view path, std::string_view bytes, mode_t mode) const {
  TRY_ASSIGN(Fd file, open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NOCTTY, mode));
  Result<> written = write_all(file.get(), bytes);
  if (!written) return fail(std::move(written).error().with(cat("write ", path)));
  return {};
}

}  // namespace monopod::sys
