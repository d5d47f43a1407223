#include "docker/tree_tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "codec/compress.h"
#include "docker/limits.h"
#include "image/layer_mount.h"
#include "image/tar.h"

namespace monopod::docker {
namespace {

using Type = image::TarEntry::Type;

constexpr std::size_t kDepthMax = 512;

std::uint32_t go_mode(mode_t mode) {
  std::uint32_t out = mode & 0777U;
  if (S_ISDIR(mode)) out |= 1U << 31;
  if (S_ISLNK(mode)) out |= 1U << 27;
  if (S_ISBLK(mode)) out |= 1U << 26;
  if (S_ISCHR(mode)) out |= 1U << 26 | 1U << 21;
  if (S_ISFIFO(mode)) out |= 1U << 25;
  if (S_ISSOCK(mode)) out |= 1U << 24;
  if ((mode & S_ISUID) != 0) out |= 1U << 23;
  if ((mode & S_ISGID) != 0) out |= 1U << 22;
  if ((mode & S_ISVTX) != 0) out |= 1U << 20;
  return out;
}

std::string last_name(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos || path == "/" ? path : path.substr(slash + 1));
}

image::TarEntry entry_of(const struct ::stat& st, std::string name) {
  image::TarEntry e{.name = std::move(name), .mode = st.st_mode & 07777U, .uid = st.st_uid, .gid = st.st_gid, .mtime_seconds = st.st_mtim.tv_sec, .mtime_nanos = static_cast<std::uint32_t>(st.st_mtim.tv_nsec)};
  switch (st.st_mode & S_IFMT) {
    case S_IFDIR: e.type = Type::kDirectory; break;
    case S_IFLNK: e.type = Type::kSymlink; break;
    case S_IFCHR: e.type = Type::kCharDevice; break;
    case S_IFBLK: e.type = Type::kBlockDevice; break;
    case S_IFIFO: e.type = Type::kFifo; break;
    default: e.type = Type::kFile; break;
  }
  if (e.type == Type::kCharDevice || e.type == Type::kBlockDevice) {
    e.device_major = ::major(st.st_rdev);
    e.device_minor = ::minor(st.st_rdev);
  }
  return e;
}

Result<> write_file(const sys::Root& root, const std::string& path, image::TarEntry entry, image::TarWriter& tar) {
  TRY_ASSIGN(sys::Fd fd, root.open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct ::stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno("stat");
  entry.size = entry.data_bytes = static_cast<std::uint64_t>(st.st_size);
  TRY(tar.begin(entry));
  std::vector<std::byte> buffer(64U << 10);
  for (std::uint64_t left = entry.size; left > 0;) {
    std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
    ssize_t n = ::read(fd.get(), buffer.data(), want);
    if (n < 0) return fail_errno(cat("read ", path));
    if (n == 0) {  // it shrank meanwhile: the header's length holds
      std::ranges::fill(buffer, std::byte{0});
      n = static_cast<ssize_t>(want);
    }
    TRY(tar.write(std::span(buffer).first(static_cast<std::size_t>(n))));
    left -= static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<> write_below(const sys::Root& root, const std::string& path, const std::string& name, std::size_t depth, std::size_t& entries, image::TarWriter& tar) {
  if (depth > kDepthMax) return fail(Code::kInvalidArgument, cat(path.substr(0, 200), ": nested too deep"));
  if (++entries > kArchiveEntriesMax) return fail(Code::kResourceExhausted, cat("more than ", kArchiveEntriesMax, " files"));
  TRY_ASSIGN(struct ::stat st, root.lstat(path));
  if (S_ISSOCK(st.st_mode)) return {};
  image::TarEntry entry = entry_of(st, S_ISDIR(st.st_mode) ? name + "/" : name);
  if (S_ISREG(st.st_mode)) return write_file(root, path, std::move(entry), tar);
  if (S_ISLNK(st.st_mode)) {
    TRY_ASSIGN(entry.link, root.read_link(path));
  }
  TRY(tar.begin(entry));
  if (!S_ISDIR(st.st_mode)) return {};
  TRY_ASSIGN(std::vector<sys::DirEntry> children, root.read_directory(path));
  std::ranges::sort(children, {}, &sys::DirEntry::name);
  for (const sys::DirEntry& child : children) TRY(write_below(root, cat(path == "/" ? "" : path, "/", child.name), cat(name, "/", child.name), depth + 1, entries, tar));
  return {};
}

// "./a//b/" -> "a/b"; kInvalidArgument for "..".
Result<std::string> clean_name(std::string_view name) {
  std::string out;
  for (std::string_view part : split(name, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(Code::kInvalidArgument, cat("\"", name.substr(0, 200), "\" is outside of \"/\""));
    out += cat(out.empty() ? "" : "/", part);
  }
  return out;
}

class Extractor {
 public:
  Extractor(image::TarReader& tar, const sys::Root& root, const ExtractOptions& options) : tar_(tar), root_(root), options_(options) {}

  Result<> run() {
    image::TarEntry entry;
    for (std::size_t entries = 0;;) {
      TRY_ASSIGN(bool more, tar_.next(entry));
      if (!more) break;
      if (++entries > kArchiveEntriesMax) return fail(Code::kResourceExhausted, cat("more than ", kArchiveEntriesMax, " entries"));
      TRY_ASSIGN(std::string name, clean_name(entry.name));
      if (!options_.keep_owner) {
        entry.uid = ::geteuid();
        entry.gid = ::getegid();
      }
      Result<> put = put_entry(entry, name);
      if (!put) return fail(std::move(put).error().with(name.substr(0, 200)));
    }
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) TRY(set_times(it->first, it->second));
    return {};
  }

 private:
  Result<> put_entry(const image::TarEntry& entry, const std::string& name) {
    if (name.empty()) return {};  // the directory itself stays as it is
    std::size_t slash = name.rfind('/');
    if (slash != std::string::npos) TRY(root_.make_directories(name.substr(0, slash), 0755));
    auto there = root_.lstat(name);
    bool directory = entry.type == Type::kDirectory;
    if (there) {
      bool is_directory = S_ISDIR(there->st_mode);
      if (options_.keep_kinds && is_directory != directory)
        return fail(Code::kInvalidArgument, is_directory ? cat("cannot overwrite directory \"", name, "\" with non-directory") : cat("cannot overwrite non-directory \"", name, "\" with directory"));
      if (!(is_directory && directory)) TRY(root_.remove_tree(name));
    }
    switch (entry.type) {
      case Type::kDirectory: {
        auto made = root_.make_directory(name, 0755);
        if (!made && made.error().code() != Code::kAlreadyExists) return made;
        directories_.emplace_back(name, entry);
        return set_attributes(name, entry);
      }
      case Type::kFile: return put_file(entry, name);
      case Type::kSymlink: {
        TRY(root_.make_symlink(entry.link, name));
        TRY_ASSIGN(sys::Root::Parent parent, root_.open_parent(name));
        if (::fchownat(parent.directory.get(), parent.name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("chown");
        return {};
      }
      case Type::kHardLink: {
        TRY_ASSIGN(std::string target, clean_name(entry.link));
        return root_.make_hard_link(target, name);
      }
      case Type::kCharDevice:
      case Type::kBlockDevice:
      case Type::kFifo: {
        mode_t type = entry.type == Type::kFifo ? S_IFIFO : entry.type == Type::kCharDevice ? S_IFCHR : S_IFBLK;
        TRY(root_.make_node(name, type | (entry.mode & 07777U), ::makedev(entry.device_major, entry.device_minor)));
        return set_attributes(name, entry);
      }
    }
    return {};
  }

  Result<> put_file(const image::TarEntry& entry, const std::string& name) {
    if (entry.sparse) return fail(Code::kUnimplemented, "sparse entries are not supported here");
    TRY_ASSIGN(sys::Fd fd, root_.open_file(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    std::vector<std::byte> buffer(64U << 10);
    for (;;) {
      TRY_ASSIGN(std::size_t n, tar_.read(buffer));
      if (n == 0) break;
      TRY(sys::write_all(fd.get(), as_text(std::span(buffer).first(n))));
    }
    if (::fchown(fd.get(), entry.uid, entry.gid) != 0 || ::fchmod(fd.get(), entry.mode & 07777U) != 0) return fail_errno("set attributes");
    timespec times[2] = {{entry.mtime_seconds, static_cast<long>(entry.mtime_nanos)}, {entry.mtime_seconds, static_cast<long>(entry.mtime_nanos)}};
    (void)::futimens(fd.get(), times);
    return {};
  }

  Result<> set_attributes(const std::string& name, const image::TarEntry& entry) {
    TRY_ASSIGN(sys::Root::Parent parent, root_.open_parent(name));
    if (::fchownat(parent.directory.get(), parent.name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("chown");
    TRY_ASSIGN(sys::Fd fd, root_.open_file(name, O_PATH | O_NOFOLLOW));
    if (::chmod(sys::fd_path(fd.get()).c_str(), entry.mode & 07777U) != 0) return fail_errno("chmod");
    return {};
  }

  Result<> set_times(const std::string& name, const image::TarEntry& entry) {
    TRY_ASSIGN(sys::Root::Parent parent, root_.open_parent(name));
    timespec times[2] = {{entry.mtime_seconds, static_cast<long>(entry.mtime_nanos)}, {entry.mtime_seconds, static_cast<long>(entry.mtime_nanos)}};
    (void)::utimensat(parent.directory.get(), parent.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return {};
  }

  image::TarReader& tar_;
  const sys::Root& root_;
  const ExtractOptions& options_;
  std::vector<std::pair<std::string, image::TarEntry>> directories_;  // their times last: what is put in changes them
};

// The first bytes looked at, then handed on.
class PeekedSource final : public codec::ByteSource {
 public:
  explicit PeekedSource(codec::ByteSource& input) : input_(input) {}
  Result<codec::Compression> detect() {
    head_.resize(8);
    TRY_ASSIGN(std::size_t n, codec::read_full(input_, head_));
    head_.resize(n);
    return codec::detect_compression(head_);
  }
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (at_ == head_.size()) return input_.read(into);
    std::size_t n = std::min(into.size(), head_.size() - at_);
    std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(at_), n, into.begin());
    at_ += n;
    return n;
  }

 private:
  codec::ByteSource& input_;
  std::vector<std::byte> head_;
  std::size_t at_ = 0;
};

class Changes {
 public:
  Changes(const sys::Root& upper, const std::vector<image::OpenLayer>& lowers, const std::vector<std::string>& mount_points) : upper_(upper), lowers_(lowers), mount_points_(mount_points) {}

  Result<> walk(const std::string& directory, std::size_t depth) {
    if (depth > kDepthMax) return fail(Code::kInvalidArgument, "nested too deep");
    TRY_ASSIGN(std::vector<sys::DirEntry> children, upper_.read_directory(directory.empty() ? "/" : directory));
    std::ranges::sort(children, {}, &sys::DirEntry::name);
    for (const sys::DirEntry& child : children) {
      std::string path = cat(directory, "/", child.name);
      TRY_ASSIGN(struct ::stat st, upper_.lstat(path));
      bool gone = S_ISCHR(st.st_mode) && st.st_rdev == 0;
      bool below = std::ranges::any_of(lowers_, [&](const image::OpenLayer& lower) { return lower.fs.lstat(path).has_value(); });
      if (std::ranges::find(mount_points_, path) != mount_points_.end()) continue;
      std::size_t before = out_.size();
      if (!gone) out_.push_back(json::Object{{"Path", path}, {"Kind", below ? 0 : 1}});
      else if (below) out_.push_back(json::Object{{"Path", path}, {"Kind", 2}});
      if (!S_ISDIR(st.st_mode)) continue;
      std::size_t inside = out_.size();
      TRY(walk(path, depth + 1));
      bool holds_mounts = std::ranges::any_of(mount_points_, [&](const std::string& m) { return m.starts_with(path + "/"); });
      if (out_.size() == inside && (below || holds_mounts)) out_.resize(before);  // only there for a mount
    }
    return {};
  }
  json::Array take() { return std::move(out_); }

 private:
  const sys::Root& upper_;
  const std::vector<image::OpenLayer>& lowers_;
  const std::vector<std::string>& mount_points_;
  json::Array out_;
};

}  // namespace

Result<json::Value> describe_path(const sys::Root& root, const std::string& path) {
  bool trailing = path.size() > 1 && (path.ends_with('/') || path.ends_with("/."));
  TRY_ASSIGN(struct ::stat st, trailing ? root.stat(path) : root.lstat(path));
  std::string target;
  if (S_ISLNK(st.st_mode)) {
    TRY_ASSIGN(target, root.read_link(path));
    if (!target.starts_with('/')) target = cat(path.substr(0, path.rfind('/') + 1), target);
  }
  WallTime at{std::chrono::seconds(st.st_mtim.tv_sec) + std::chrono::nanoseconds(st.st_mtim.tv_nsec)};
  std::string whole = path.ends_with("/.") ? path.substr(0, path.size() - 1) : path;
  return json::Object{{"name", last_name(whole)}, {"size", st.st_size}, {"mode", go_mode(st.st_mode)}, {"mtime", format_rfc3339_nano(at)}, {"linkTarget", target}};
}

Result<> write_tree(const sys::Root& root, const std::string& path, const std::string& base, codec::ByteSink& output) {
  image::TarWriter tar(output);
  std::size_t entries = 0;
  std::string clean = path;
  while (clean.size() > 1 && (clean.ends_with('/') || clean.ends_with("/."))) clean.resize(clean.rfind('/') == 0 ? 1 : clean.rfind('/'));
  TRY(write_below(root, clean, base, 0, entries, tar));
  return tar.finish();
}

Result<> extract_tree(codec::ByteSource& input, const sys::Root& root, const std::string& path, const ExtractOptions& options) {
  TRY_ASSIGN(struct ::stat st, root.stat(path));
  if (!S_ISDIR(st.st_mode)) return fail(Code::kInvalidArgument, "extraction point is not a directory");
  TRY_ASSIGN(sys::Root into, root.open_root(path));
  PeekedSource peeked(input);
  TRY_ASSIGN(codec::Compression compression, peeked.detect());
  std::unique_ptr<codec::ByteSource> plain;
  if (compression != codec::Compression::kNone) plain = codec::make_decompressor(compression, peeked);
  image::TarReader tar(plain ? *plain : peeked, {.may_lack_padding = true});
  return Extractor(tar, into, options).run();
}

Result<json::Array> find_changes(const std::string& upper, const std::vector<std::string>& lowers, const std::vector<std::string>& mount_points) {
  TRY_ASSIGN(sys::Root root, sys::Root::open(upper));
  std::vector<image::OpenLayer> layers;
  for (const std::string& lower : lowers) {
    TRY_ASSIGN(image::OpenLayer one, image::open_layer(lower));
    layers.push_back(std::move(one));
  }
  Changes changes(root, layers, mount_points);
  TRY(changes.walk("", 0));
  return changes.take();
}

}  // namespace monopod::docker
