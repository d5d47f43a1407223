#include "build/copy.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "base/strings.h"
#include "build/limits.h"
#include "build/words.h"
#include "image/digest.h"

namespace monopod::build {

std::string clean_path(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") parts.emplace_back(part);
    else if (!parts.empty()) parts.pop_back();
  }
  return "/" + join(parts, "/");
}

namespace {

std::string join_path(const std::string& parent, std::string_view name) { return parent.empty() || parent == "." ? std::string(name) : cat(parent, "/", name); }

// As clean_path, for a root: "." is the root itself.
std::string path_in_root(std::string_view path) {
  std::string out = clean_path(path).substr(1);
  return out.empty() ? "." : out;
}

Result<std::vector<std::string>> names_below(const sys::Root& root, const std::string& path) {
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, root.read_directory(path));
  std::vector<std::string> out;
  for (sys::DirEntry& entry : entries) out.push_back(std::move(entry.name));
  std::ranges::sort(out);
  return out;
}

bool ignored(const CopySource& from, const std::string& path) { return from.ignore != nullptr && path != "." && from.ignore->ignores(path); }

const IgnoreList* excluded(const CopySource& from, const std::string& path, const std::string& relative, const struct ::stat& st) {
  if (from.exclude == nullptr || (relative.empty() && S_ISDIR(st.st_mode))) return nullptr;
  return from.exclude->ignores(relative.empty() ? path.substr(path.rfind('/') + 1) : relative) ? from.exclude : nullptr;
}

Result<> match(const CopySource& from, const std::string& at, const std::vector<std::string_view>& parts, std::size_t index, std::vector<std::string>& out) {
  if (index == parts.size()) {
    if (!ignored(from, at)) out.push_back(at);
    return {};
  }
  auto names = names_below(from.root, at);
  if (!names) return {};  // no directory: nothing matches there
  for (const std::string& name : *names)
    if (matches_path(parts[index], name)) TRY(match(from, join_path(at, name), parts, index + 1, out));
  return {};
}

// Visits a tree in order. visit gets the path below the source's root, the path relative to where it began, and lstat.
template <typename Visit>
Result<> walk(const CopySource& from, const std::string& path, const std::string& relative, std::size_t depth, std::size_t& entries, Visit& visit) {
  if (depth > kPathDepthMax) return fail(Code::kInvalidArgument, cat(path.substr(0, 200), ": nested too deep"));
  if (++entries > kContextEntriesMax) return fail(Code::kResourceExhausted, cat("more than ", kContextEntriesMax, " files"));
  // What a word names is followed, what stands below it is not.
  TRY_ASSIGN(struct ::stat st, depth == 0 ? from.root.stat(path) : from.root.lstat(path));
  const IgnoreList* by = ignored(from, path) ? from.ignore : excluded(from, path, relative, st);
  if (by != nullptr && !(S_ISDIR(st.st_mode) && by->has_exceptions())) return {};
  if (by == nullptr) TRY(visit(path, relative, st));
  if (!S_ISDIR(st.st_mode)) return {};
  TRY_ASSIGN(std::vector<std::string> names, names_below(from.root, path));
  for (const std::string& name : names) TRY(walk(from, join_path(path, name), join_path(relative, name), depth + 1, entries, visit));
  return {};
}

Result<sys::Fd> open_source(const CopySource& from, const std::string& path, bool follow) { return from.root.open_file(path, O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW)); }

class Copier {
 public:
  Copier(const CopySource& from, const sys::Root& into, const CopyOptions& options) : from_(from), into_(into), options_(options) {}

  // target: where the source itself goes; a directory is merged into what is there.
  Result<> copy(const std::string& path, const std::string& target, bool keep_target) {
    std::size_t entries = 0;
    std::vector<std::pair<std::string, struct ::stat>> directories;
    auto visit = [&](const std::string& at, const std::string& relative, const struct ::stat& st) -> Result<> {
      std::string to = relative.empty() ? target : join_path(target, relative);
      bool top = relative.empty();
      if (S_ISDIR(st.st_mode)) {
        auto there = into_.stat(to);
        if (there && !S_ISDIR(there->st_mode)) return fail(Code::kInvalidArgument, cat("cannot copy directory ", at, " over the file /", to));
        TRY(make_directories(to));
        if (!top || !keep_target || !there) directories.emplace_back(to, st);
        return {};
      }
      if (S_ISLNK(st.st_mode)) return copy_link(at, to, st);
      if (S_ISREG(st.st_mode)) return copy_file(at, to, st, top);
      return fail(Code::kUnimplemented, cat(at, ": not a file, directory or symbolic link"));
    };
    TRY(walk(from_, path, "", 0, entries, visit));
    // Deepest first: what is put into a directory changes its time.
    for (auto& [to, st] : std::views::reverse(directories)) {
      TRY_ASSIGN(sys::Fd fd, into_.open_file(to, O_RDONLY | O_DIRECTORY));
      TRY(set_attributes(fd, to, st));
    }
    return {};
  }

 private:
  // Those that the copy has to make belong to whom its files do.
  Result<> make_directories(const std::string& path) {
    if (!options_.owner) return void_of(into_.make_directories(path, 0755));
    std::string at;
    for (std::string_view part : split(path, '/')) {
      at = join_path(at, part);
      if (into_.stat(at)) continue;
      TRY(into_.make_directory(at, 0755));
      TRY_ASSIGN(sys::Fd fd, into_.open_file(at, O_RDONLY | O_DIRECTORY));
      if (::fchown(fd.get(), options_.owner->first, options_.owner->second) != 0) return fail_errno(cat("set the owner of /", at));
    }
    return {};
  }
  // A directory that is ignored was passed over, though something in it is taken back.
  Result<> make_parent(const std::string& to) {
    std::size_t slash = to.rfind('/');
    return slash == std::string::npos ? Result<>{} : make_directories(to.substr(0, slash));
  }
  static Result<> void_of(Result<sys::Fd> made) { return made ? Result<>{} : fail(std::move(made).error()); }

  Result<> make_way(const std::string& to) {
    auto there = into_.lstat(to);
    if (!there) return {};
    if (S_ISDIR(there->st_mode)) return fail(Code::kInvalidArgument, cat("cannot copy a file over the directory /", to));
    return into_.remove_file(to);
  }

  std::pair<uid_t, gid_t> owner_of(const struct ::stat& st) const {
    if (options_.owner) return *options_.owner;
    return from_.keep_owner ? std::pair<uid_t, gid_t>{st.st_uid, st.st_gid} : std::pair<uid_t, gid_t>{0, 0};
  }

  Result<> set_attributes(const sys::Fd& fd, const std::string& to, const struct ::stat& st) {
    auto [uid, gid] = owner_of(st);
    ::timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, st.st_mtim};
    if (::fchown(fd.get(), uid, gid) != 0 || ::fchmod(fd.get(), options_.mode ? options_.mode->apply(st.st_mode & 07777, S_ISDIR(st.st_mode)) : st.st_mode & 07777) != 0 || ::futimens(fd.get(), times) != 0) return fail_errno(cat("set attributes of /", to));
    return {};
  }

  Result<> copy_link(const std::string& at, const std::string& to, const struct ::stat& st) {
    TRY_ASSIGN(std::string link, from_.root.read_link(at));
    TRY(make_way(to));
    TRY(make_parent(to));
    TRY(into_.make_symlink(link, to));
    TRY_ASSIGN(sys::Root::Parent parent, into_.open_parent(to));
    auto [uid, gid] = owner_of(st);
    ::timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, st.st_mtim};
    if (::fchownat(parent.directory.get(), parent.name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0 || ::utimensat(parent.directory.get(), parent.name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(cat("set attributes of /", to));
    return {};
  }

  Result<> copy_file(const std::string& at, const std::string& to, const struct ::stat& st, bool follow) {
    TRY_ASSIGN(sys::Fd source, open_source(from_, at, follow));
    TRY(make_way(to));
    TRY(make_parent(to));
    TRY_ASSIGN(sys::Fd target, into_.open_file(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    for (;;) {
      ssize_t n = ::sendfile(target.get(), source.get(), nullptr, 16U << 20);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(cat("copy ", at));
      if (n == 0) break;
    }
    TRY(set_attributes(target, to, st));
    return copy_capability(source, target, to);
  }

  // Of another stage: a program's capabilities are part of it.
  Result<> copy_capability(const sys::Fd& source, const sys::Fd& target, const std::string& to) {
    if (!from_.keep_owner) return {};
    std::array<char, 64> value;
    ssize_t n = ::fgetxattr(source.get(), "security.capability", value.data(), value.size());
    if (n <= 0) return {};
    if (::fsetxattr(target.get(), "security.capability", value.data(), static_cast<std::size_t>(n), 0) != 0) return fail_errno(cat("set capabilities of /", to));
    return {};
  }

  const CopySource& from_;
  const sys::Root& into_;
  const CopyOptions& options_;
};

}  // namespace

Result<std::vector<std::string>> find_sources(const CopySource& from, const std::vector<std::string>& words) {
  std::vector<std::string> out;
  for (const std::string& word : words) {
    std::string path = path_in_root(word);
    if (path.find_first_of("*?[") == std::string::npos) {
      if (!from.root.stat(path) || ignored(from, path)) {
        // An ignored directory may hold what was taken back.
        auto st = from.root.stat(path);
        if (!st || !S_ISDIR(st->st_mode) || !from.ignore->has_exceptions()) return fail(Code::kNotFound, cat("\"/", path, "\": not found", st ? " (excluded by .dockerignore)" : ""));
      }
      out.push_back(std::move(path));
      continue;
    }
    std::size_t before = out.size();
    TRY(match(from, ".", split(path, '/'), 0, out));
    if (out.size() == before) return fail(Code::kNotFound, cat("no files match \"", word, "\""));
  }
  return out;
}

Result<std::vector<std::size_t>> find_cuts(const CopySource& from, const std::vector<std::string>& words) {
  std::vector<std::size_t> out;
  for (const std::string& word : words) {
    TRY_ASSIGN(std::vector<std::string> paths, find_sources(from, {word}));
    const std::size_t pivot = word.find("/./");
    const std::string before = pivot == std::string::npos ? "." : path_in_root(std::string_view(word).substr(0, pivot));
    out.insert(out.end(), paths.size(), before == "." ? 0 : static_cast<std::size_t>(std::ranges::count(before, '/')) + 1);
  }
  return out;
}

Result<std::string> digest_sources(const CopySource& from, const std::vector<std::string>& paths) {
  image::Hash hash;
  std::vector<std::byte> buffer(256U << 10);
  auto visit = [&](const std::string& path, const std::string& relative, const struct ::stat& st) -> Result<> {
    hash.update(as_bytes(cat(relative, std::string_view("\0", 1), st.st_mode, ":", from.keep_owner ? st.st_uid : 0, ":", from.keep_owner ? st.st_gid : 0, ":", S_ISREG(st.st_mode) ? st.st_size : 0, ";")));
    if (S_ISLNK(st.st_mode)) {
      TRY_ASSIGN(std::string link, from.root.read_link(path));
      hash.update(as_bytes(cat(link, std::string_view("\0", 1))));
    }
    if (!S_ISREG(st.st_mode)) return {};
    TRY_ASSIGN(sys::Fd file, open_source(from, path, relative.empty()));
    for (;;) {
      ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
      if (n < 0) return fail_errno(cat("read ", path));
      if (n == 0) return {};
      hash.update(std::span(buffer).first(static_cast<std::size_t>(n)));
    }
  };
  for (const std::string& path : paths) {
    // The name counts: a file keeps it at its destination.
    hash.update(as_bytes(cat(path.substr(path.rfind('/') + 1), std::string_view("\0", 1))));
    std::size_t entries = 0;
    TRY(walk(from, path, "", 0, entries, visit));
  }
  return hash.finish();
}

Result<> copy_sources(const CopySource& from, const std::vector<std::string>& paths, const sys::Root& into, const CopyOptions& options) {
  std::string target = path_in_root(options.destination);
  auto there = into.stat(target);
  const bool directory = options.destination.ends_with('/') || paths.size() > 1 || (there && S_ISDIR(there->st_mode));
  Copier copier(from, into, options);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string& path = paths[i];
    TRY_ASSIGN(struct ::stat st, from.root.stat(path));
    if (!options.cuts.empty()) {
      std::string_view rest = path == "." ? std::string_view() : path;
      for (std::size_t cut = options.cuts.at(i); cut > 0 && !rest.empty(); --cut) rest.remove_prefix(std::min(rest.find('/'), rest.size() - 1) + 1);
      TRY(copier.copy(path, rest.empty() ? target : join_path(target, rest), rest.empty()));
    } else if (S_ISDIR(st.st_mode)) TRY(copier.copy(path, target, true));
    else TRY(copier.copy(path, directory ? join_path(target, path.substr(path.rfind('/') + 1)) : target, false));
  }
  return {};
}

Result<> copy_tree(const CopySource& from, const sys::Root& into, const CopyOptions& options) { return copy_sources(from, {"."}, into, options); }

}  // namespace monopod::build
