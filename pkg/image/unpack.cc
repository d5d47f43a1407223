#include "image/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "image/fd_streams.h"
#include "image/layer_names.h"
#include "image/layer_record.h"
#include "image/snapshot.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

constexpr std::size_t kCopyBytes = 256U << 10;

Result<> mark_opaque(int directory) {
  if (::fsetxattr(directory, overlay_xattr("opaque").c_str(), "y", 1, 0) != 0) return fail_errno("mark a directory opaque");
  return {};
}

bool is_whiteout(const struct ::stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

struct DirectoryTime {
  std::string path;
  ::timespec mtime;
};

class Unpacker {
 public:
  Unpacker(TarReader& reader, const sys::Root& root, const UnpackLimits& limits, LayerRecorder* recorder) : reader_(reader), root_(root), limits_(limits), recorder_(recorder), buffer_(kCopyBytes) {}

  Result<> apply(const TarEntry& entry);
  Result<> finish();
  Unpacked& result() { return result_; }

 private:
  Result<int> parent_of(std::string_view directory);
  Result<> make_parents(std::string_view directory);
  Result<> white_out(const LayerName& name);
  Result<> describe_root(const TarEntry& entry);
  Result<> make_opaque(int parent, const std::string& leaf);
  Result<> make_directory(int parent, const std::string& path, const std::string& leaf, const TarEntry& entry);
  Result<> make_file(int parent, const std::string& path, const std::string& leaf, const TarEntry& entry);
  Result<> make_special(int parent, const std::string& leaf, const TarEntry& entry);
  Result<> make_link(int parent, const std::string& leaf, const TarEntry& entry);
  Result<> set_attributes(int fd, const TarEntry& entry);
  Result<> copy(int fd, std::uint64_t offset, std::uint64_t bytes);
  Result<> clear(const std::string& path, int parent, const std::string& leaf);
  void forget_parent() {
    parent_.reset();
    parent_path_.clear();
  }

  TarReader& reader_;
  const sys::Root& root_;
  const UnpackLimits& limits_;
  LayerRecorder* recorder_;
  std::vector<std::byte> buffer_;
  Unpacked result_;
  std::set<std::string> implicit_;
  std::vector<DirectoryTime> times_;
  sys::Fd parent_;  // of the last entry: entries of one directory follow each other
  std::string parent_path_;
};

::timespec mtime_of(const TarEntry& entry) { return {.tv_sec = entry.mtime_seconds, .tv_nsec = entry.mtime_nanos}; }

Result<int> Unpacker::parent_of(std::string_view directory) {
  if (directory.empty()) return root_.fd();
  if (parent_ && parent_path_ == directory) return parent_.get();
  forget_parent();
  auto opened = root_.open_file(directory, O_PATH | O_DIRECTORY);
  if (!opened) {
    TRY(make_parents(directory));
    opened = root_.open_file(directory, O_PATH | O_DIRECTORY);
  }
  if (!opened) return fail(std::move(opened).error());
  parent_ = *std::move(opened);
  parent_path_ = directory;
  return parent_.get();
}

Result<> Unpacker::make_parents(std::string_view directory) {
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = directory.find('/', end + 1);
    std::string prefix(directory.substr(0, end));
    if (root_.open_file(prefix, O_PATH | O_DIRECTORY)) continue;
    TRY_ASSIGN(sys::Root::Parent at, root_.open_parent(prefix));
    struct ::stat st;
    bool hidden = ::fstatat(at.directory.get(), at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(st);
    if (hidden && ::unlinkat(at.directory.get(), at.name.c_str(), 0) != 0) return fail_errno(cat("remove ", prefix));
    if (::mkdirat(at.directory.get(), at.name.c_str(), 0755) != 0) return fail_errno(cat("make directory ", prefix));
    if (hidden) TRY(make_opaque(at.directory.get(), at.name));
    if (++result_.entries > limits_.entries_max) return fail(Code::kResourceExhausted, "too many entries");
    implicit_.insert(std::move(prefix));
  }
  return {};
}

Result<> Unpacker::make_opaque(int parent, const std::string& leaf) {
  sys::Fd fd(::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open directory");
  return mark_opaque(fd.get());
}

// A whiteout hides what lower layers have, never what this layer brings.
Result<> Unpacker::white_out(const LayerName& name) {
  TRY_ASSIGN(int parent, parent_of(name.directory));
  if (name.kind == LayerName::Kind::kOpaque) return make_opaque(parent, ".");
  struct ::stat st;
  if (::fstatat(parent, name.leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return S_ISDIR(st.st_mode) ? make_opaque(parent, name.leaf) : Result<>{};
  if (::mknodat(parent, name.leaf.c_str(), S_IFCHR, 0) != 0) return fail_errno("make whiteout");
  return {};
}

Result<> Unpacker::clear(const std::string& path, int parent, const std::string& leaf) {
  struct ::stat st;
  if (::fstatat(parent, leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (recorder_ != nullptr) TRY(recorder_->keep(parent, leaf));
  if (!S_ISDIR(st.st_mode)) {
    if (::unlinkat(parent, leaf.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("replace");
    return {};
  }
  return root_.remove_tree(path);
}

Result<> Unpacker::set_attributes(int fd, const TarEntry& entry) {
  if (::fchown(fd, entry.uid, entry.gid) != 0) return fail_errno("set owner");
  if (::fchmod(fd, entry.mode) != 0) return fail_errno("set mode");
  for (const auto& [name, value] : entry.xattrs) {
    if (!keeps_xattr(name) || name.find('\0') != std::string::npos) continue;
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0 && errno != ENOTSUP) return fail_errno(cat("set attribute ", shown_name(name)));
  }
  return {};
}

Result<> Unpacker::make_directory(int parent, const std::string& path, const std::string& leaf, const TarEntry& entry) {
  struct ::stat st;
  bool exists = ::fstatat(parent, leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  bool opaque = exists && is_whiteout(st);
  if (exists && !S_ISDIR(st.st_mode)) {
    TRY(clear(path, parent, leaf));
    exists = false;
  }
  if (!exists && ::mkdirat(parent, leaf.c_str(), 0700) != 0) return fail_errno("make directory");
  if (opaque) TRY(make_opaque(parent, leaf));
  sys::Fd fd(::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open directory");
  TRY(set_attributes(fd.get(), entry));
  implicit_.erase(path);
  times_.push_back({path, mtime_of(entry)});
  return {};
}

Result<> Unpacker::copy(int fd, std::uint64_t offset, std::uint64_t bytes) {
  while (bytes > 0) {
    std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, buffer_.size()));
    TRY_ASSIGN(std::size_t n, reader_.read(std::span(buffer_).first(want)));
    if (n == 0) return fail(Code::kInvalidArgument, "truncated");
    TRY(write_all_at(fd, std::span(buffer_).first(n), offset));
    offset += n;
    bytes -= n;
  }
  return {};
}

Result<> Unpacker::make_file(int parent, const std::string& path, const std::string& leaf, const TarEntry& entry) {
  sys::Fd fd(::openat(parent, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("create");
  struct ::stat st;
  if (recorder_ != nullptr && ::fstat(fd.get(), &st) != 0) return fail_errno("stat");
  auto take = [&](std::uint64_t offset, std::uint64_t bytes) -> Result<> {
    if (recorder_ != nullptr) TRY(recorder_->expect_file(path, st.st_ino, offset, bytes));
    return copy(fd.get(), offset, bytes);
  };
  if (entry.sparse) {
    if (::ftruncate(fd.get(), static_cast<off_t>(entry.size)) != 0) return fail_errno("set size");
    for (const auto& extent : entry.extents) TRY(take(extent.offset, extent.bytes));
  } else {
    TRY(take(0, entry.size));
  }
  TRY(set_attributes(fd.get(), entry));
  ::timespec times[2] = {mtime_of(entry), mtime_of(entry)};
  if (::futimens(fd.get(), times) != 0) return fail_errno("set times");
  return {};
}

Result<> Unpacker::make_special(int parent, const std::string& leaf, const TarEntry& entry) {
  const char* name = leaf.c_str();
  if (entry.type == TarEntry::Type::kSymlink) {
    if (entry.link.empty()) return fail(Code::kInvalidArgument, "symbolic link to nothing");
    if (::symlinkat(entry.link.c_str(), parent, name) != 0) return fail_errno("make symbolic link");
  } else {
    mode_t type = entry.type == TarEntry::Type::kCharDevice ? S_IFCHR : entry.type == TarEntry::Type::kBlockDevice ? S_IFBLK : S_IFIFO;
    dev_t device = type == S_IFIFO ? 0 : ::makedev(entry.device_major, entry.device_minor);
    if (::mknodat(parent, name, type | 0600, device) != 0) return fail_errno("make node");
  }
  sys::Fd fd(::openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open");
  if (::fchownat(fd.get(), "", entry.uid, entry.gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("set owner");
  if (entry.type != TarEntry::Type::kSymlink && ::chmod(sys::fd_path(fd.get()).c_str(), entry.mode) != 0) return fail_errno("set mode");
  ::timespec times[2] = {mtime_of(entry), mtime_of(entry)};
  if (::utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("set times");
  return {};
}

// To a name of this layer. The inode keeps its attributes: they came with the first name.
Result<> Unpacker::make_link(int parent, const std::string& leaf, const TarEntry& entry) {
  TRY_ASSIGN(std::string target, clean_path(entry.link));
  if (target.empty()) return fail(Code::kInvalidArgument, "hard link to the root");
  auto at = root_.open_parent(target);
  if (!at) return fail(std::move(at).error().with(cat("hard link to ", shown_name(entry.link))));
  struct ::stat st;
  if (::fstatat(at->directory.get(), at->name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(cat("hard link to ", shown_name(entry.link)));
  if (S_ISDIR(st.st_mode) || is_whiteout(st)) return fail(Code::kInvalidArgument, cat("hard link to ", shown_name(entry.link), ": not a file"));
  struct ::stat own;
  if (::fstatat(parent, leaf.c_str(), &own, AT_SYMLINK_NOFOLLOW) == 0) {
    if (own.st_ino == st.st_ino && own.st_dev == st.st_dev) return {};
  }
  if (::linkat(at->directory.get(), at->name.c_str(), parent, leaf.c_str(), 0) != 0) return fail_errno(cat("hard link to ", shown_name(entry.link)));
  return {};
}

Result<> Unpacker::describe_root(const TarEntry& entry) {
  result_.has_root = true;
  times_.push_back({"", mtime_of(entry)});
  sys::Fd fd(::openat(root_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("open root");
  return set_attributes(fd.get(), entry);
}

Result<> Unpacker::apply(const TarEntry& entry) {
  TRY(count_entry(entry, limits_, result_));
  TRY_ASSIGN(const LayerName name, read_layer_name(entry));
  switch (name.kind) {
    case LayerName::Kind::kNothing: return {};
    case LayerName::Kind::kRoot: return describe_root(entry);
    case LayerName::Kind::kWhiteout:
    case LayerName::Kind::kOpaque: return white_out(name);
    case LayerName::Kind::kEntry: break;
  }
  TRY_ASSIGN(int parent, parent_of(name.directory));
  if (entry.type == TarEntry::Type::kDirectory) return make_directory(parent, name.path, name.leaf, entry);
  bool same_name = false;
  if (entry.type == TarEntry::Type::kHardLink) {
    TRY_ASSIGN(std::string target, clean_path(entry.link));
    same_name = target == name.path;  // must not remove what it links to
  }
  if (!same_name) TRY(clear(name.path, parent, name.leaf));
  if (entry.type == TarEntry::Type::kHardLink) return make_link(parent, name.leaf, entry);
  return entry.type == TarEntry::Type::kFile ? make_file(parent, name.path, name.leaf, entry) : make_special(parent, name.leaf, entry);
}

// Directory times last: every entry made inside changed them.
Result<> Unpacker::finish() {
  forget_parent();
  for (const DirectoryTime& item : times_) {
    sys::Fd fd;
    if (item.path.empty()) {
      fd = sys::Fd(::openat(root_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    } else {
      auto opened = root_.open_file(item.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!opened) continue;  // replaced by a later entry
      fd = *std::move(opened);
    }
    ::timespec times[2] = {item.mtime, item.mtime};
    if (!fd || ::futimens(fd.get(), times) != 0) return fail_errno("set directory times");
  }
  for (const std::string& path : implicit_)
    if (root_.open_file(path, O_PATH | O_DIRECTORY | O_NOFOLLOW)) result_.implicit_directories.push_back(path);
  return {};
}

}  // namespace

Result<> count_entry(const TarEntry& entry, const UnpackLimits& limits, Unpacked& unpacked) {
  if (++unpacked.entries > limits.entries_max) return fail(Code::kResourceExhausted, cat("more than ", limits.entries_max, " entries"));
  if (entry.size > limits.bytes_max - unpacked.bytes) return fail(Code::kResourceExhausted, cat("layer exceeds ", limits.bytes_max, " bytes unpacked"));
  unpacked.bytes += entry.size;
  return {};
}

Result<> for_each_entry(TarReader& reader, const std::atomic<bool>& stop, const std::function<Result<>(const TarEntry&)>& apply) {
  TarEntry entry;
  for (;;) {
    if (stop.load(std::memory_order_relaxed)) return fail(Code::kCancelled, "unpack: stopped");
    TRY_ASSIGN(bool more, reader.next(entry));
    if (!more) return {};
    Result<> applied = apply(entry);
    if (!applied) return fail(std::move(applied).error().with(cat("unpack ", shown_name(entry.name))));
  }
}

Result<Unpacked> unpack_layer(codec::ByteSource& tar, const sys::Root& root, const UnpackLimits& limits, const std::atomic<bool>& stop, LayerRecorder* recorder) {
  TarReader reader(tar);
  Unpacker unpacker(reader, root, limits, recorder);
  TRY(for_each_entry(reader, stop, [&unpacker](const TarEntry& entry) { return unpacker.apply(entry); }));
  TRY(unpacker.finish());
  return std::move(unpacker.result());
}

Result<std::optional<DirectoryState>> find_directory(const std::vector<sys::Root>& parents_top_first, const std::string& path) {
  for (const sys::Root& parent : parents_top_first) {
    auto theirs = parent.open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!theirs) continue;
    DirectoryState out;
    if (::fstat(theirs->get(), &out.stat) != 0) return fail_errno(cat("stat ", path));
    std::string names(4096, '\0');
    ssize_t size = ::flistxattr(theirs->get(), names.data(), names.size());
    for (std::string_view name : split(std::string_view(names).substr(0, size > 0 ? static_cast<std::size_t>(size) : 0), '\0')) {
      if (!keeps_xattr(name)) continue;
      std::string key(name), value(65536, '\0');
      ssize_t n = ::fgetxattr(theirs->get(), key.c_str(), value.data(), value.size());
      if (n >= 0) out.xattrs.insert_or_assign(std::move(key), value.substr(0, static_cast<std::size_t>(n)));
    }
    return out;
  }
  return std::nullopt;
}

Result<> adopt_attributes(const sys::Root& root, const std::vector<std::string>& implicit_directories, const std::vector<sys::Root>& parents_top_first) {
  for (const std::string& path : implicit_directories) {
    auto own = root.open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!own) return fail(std::move(own).error().with(path));
    TRY_ASSIGN(auto theirs, find_directory(parents_top_first, path));
    if (!theirs) continue;
    const struct ::stat& st = theirs->stat;
    if (::fchown(own->get(), st.st_uid, st.st_gid) != 0 || ::fchmod(own->get(), st.st_mode & 07777) != 0) return fail_errno(cat("set attributes of ", path));
    ::timespec times[2] = {st.st_mtim, st.st_mtim};
    if (::futimens(own->get(), times) != 0) return fail_errno(cat("set times of ", path));
    for (const auto& [name, value] : theirs->xattrs) (void)::fsetxattr(own->get(), name.c_str(), value.data(), value.size(), 0);
  }
  return {};
}

}  // namespace monopod::image
