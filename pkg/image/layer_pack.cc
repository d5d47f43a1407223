#include "image/layer_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/strings.h"
#include "image/limits.h"
#include "image/snapshot.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

constexpr std::size_t kXattrBytesMax = 64U << 10;

class Packer {
 public:
  Packer(const sys::Root& root, codec::ByteSink& output, const PackOptions& options, const std::atomic<bool>& stop) : root_(root), tar_(output), options_(options), stop_(stop) {}

  Result<Packed> run() {
    TRY(pack_directory("", 0));
    TRY(tar_.finish());
    return packed_;
  }

 private:
  Result<> pack_directory(const std::string& path, std::size_t depth) {
    if (depth > kPathDepthMax) return fail(Code::kInvalidArgument, cat(path.substr(0, 200), ": nested too deep"));
    TRY_ASSIGN(std::vector<sys::DirEntry> entries, root_.read_directory(path.empty() ? "." : path));
    std::ranges::sort(entries, {}, &sys::DirEntry::name);
    for (const sys::DirEntry& entry : entries) {
      if (stop_) return fail(Code::kCancelled, "pack: cancelled");
      TRY(pack_entry(path, entry.name, depth));
    }
    return {};
  }

  Result<> pack_entry(const std::string& parent, const std::string& name, std::size_t depth) {
    std::string path = parent.empty() ? name : cat(parent, "/", name);
    TRY_ASSIGN(struct ::stat st, root_.lstat(path));
    TarEntry entry;
    entry.name = path;
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    entry.mtime_seconds = st.st_mtim.tv_sec;
    entry.mtime_nanos = static_cast<std::uint32_t>(st.st_mtim.tv_nsec);
    if (options_.mtime_max_seconds && entry.mtime_seconds >= *options_.mtime_max_seconds) {
      entry.mtime_seconds = *options_.mtime_max_seconds;
      entry.mtime_nanos = 0;
    }
    if (S_ISCHR(st.st_mode) && st.st_rdev == 0) return whiteout(entry, parent, cat(".wh.", name));
    if (name.starts_with(".wh.")) return fail(Code::kInvalidArgument, cat(path.substr(0, 200), ": a file of this name cannot be in a layer"));
    bool opaque = false;
    TRY(read_xattrs(path, st, entry, opaque));
    if (S_ISDIR(st.st_mode)) {
      entry.type = TarEntry::Type::kDirectory;
      entry.name += '/';
      if (!options_.undescribed.contains(path)) TRY(put(entry));
      if (opaque) TRY(whiteout(entry, path, ".wh..wh..opq"));
      return pack_directory(path, depth + 1);
    }
    if (st.st_nlink > 1) {
      auto [known, fresh] = links_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!fresh) {
        entry.type = TarEntry::Type::kHardLink;
        entry.link = known->second;
        entry.xattrs.clear();
        return put(entry);
      }
    }
    if (S_ISREG(st.st_mode)) return pack_file(path, entry, static_cast<std::uint64_t>(st.st_size));
    if (S_ISLNK(st.st_mode)) {
      entry.type = TarEntry::Type::kSymlink;
      TRY_ASSIGN(entry.link, root_.read_link(path));
      return put(entry);
    }
    if (S_ISSOCK(st.st_mode)) return {};  // it means nothing without its process
    entry.type = S_ISFIFO(st.st_mode) ? TarEntry::Type::kFifo : S_ISCHR(st.st_mode) ? TarEntry::Type::kCharDevice : TarEntry::Type::kBlockDevice;
    entry.device_major = major(st.st_rdev);
    entry.device_minor = minor(st.st_rdev);
    return put(entry);
  }

  Result<> put(const TarEntry& entry) {
    ++packed_.entries;
    return tar_.begin(entry);
  }

  Result<> whiteout(const TarEntry& from, const std::string& directory, const std::string& name) {
    TarEntry entry;
    entry.name = directory.empty() ? name : cat(directory, "/", name);
    entry.mode = 0;
    entry.mtime_seconds = from.mtime_seconds;
    return put(entry);
  }

  Result<> pack_file(const std::string& path, TarEntry& entry, std::uint64_t size) {
    TRY_ASSIGN(sys::Fd file, root_.open_file(path, O_RDONLY | O_NOFOLLOW));
    entry.size = entry.data_bytes = size;
    TRY(put(entry));
    packed_.bytes += size;
    for (std::uint64_t rest = size; rest > 0;) {
      ssize_t n = ::read(file.get(), buffer_.data(), static_cast<std::size_t>(std::min<std::uint64_t>(rest, buffer_.size())));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(cat("read ", path));
      if (n == 0) return fail(Code::kAborted, cat(path, ": became shorter while it was read"));
      TRY(tar_.write(std::span(buffer_).first(static_cast<std::size_t>(n))));
      rest -= static_cast<std::uint64_t>(n);
    }
    return {};
  }

  // By the path of a descriptor: the name itself, never followed.
  Result<> read_xattrs(const std::string& path, const struct ::stat& st, TarEntry& entry, bool& opaque) {
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return {};
    TRY_ASSIGN(sys::Fd fd, root_.open_file(path, O_PATH | O_NOFOLLOW));
    std::string at = sys::fd_path(fd.get());
    std::array<char, kXattrBytesMax> names;
    ssize_t n = ::listxattr(at.c_str(), names.data(), names.size());
    if (n < 0 && errno == ENOTSUP) return {};
    if (n < 0) return fail_errno(cat("list attributes of ", path));
    for (std::string_view name : split(std::string_view(names.data(), static_cast<std::size_t>(n)), '\0')) {
      std::string key(name);
      if (name == overlay_xattr("redirect") || name == overlay_xattr("metacopy")) return fail(Code::kUnimplemented, cat(path, ": the kernel's overlayfs only refers to its content (", name, ")"));
      const bool mark = name == overlay_xattr("opaque");
      const bool keep = name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."));
      if (!mark && !keep) continue;
      std::string value(kXattrBytesMax, '\0');
      ssize_t size = ::getxattr(at.c_str(), key.c_str(), value.data(), value.size());
      if (size < 0) return fail_errno(cat("read attribute ", name, " of ", path));
      value.resize(static_cast<std::size_t>(size));
      if (mark) opaque = value == "y";
      else entry.xattrs.insert_or_assign(std::move(key), std::move(value));
    }
    return {};
  }

  const sys::Root& root_;
  TarWriter tar_;
  const PackOptions& options_;
  const std::atomic<bool>& stop_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  std::array<std::byte, 256U << 10> buffer_;
  Packed packed_;
};

}  // namespace

Result<Packed> pack_layer(const sys::Root& root, codec::ByteSink& output, const PackOptions& options, const std::atomic<bool>& stop) {
  return std::make_unique<Packer>(root, output, options, stop)->run();
}

Result<bool> has_changes(const sys::Root& root) {
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, root.read_directory("."));
  return !entries.empty();
}

}  // namespace monopod::image
