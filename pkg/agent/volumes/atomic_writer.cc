#include "agent/volumes/atomic_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::agent {

namespace {

constexpr std::string_view kDataLink = "..data";
constexpr std::string_view kNewDataLink = "..data_tmp";
constexpr std::size_t kFileBytesMax = 4U << 20;  // an object is at most 3 MiB or so

// 2026_01_02_03_04_05.123456789
std::string directory_name(WallTime now) {
  std::string text = format_rfc3339_nano(now);
  text.pop_back();  // Z
  for (char& c : text)
    if (c == '-' || c == ':' || c == 'T') c = '_';
  return ".." + text;
}

bool matches(const sys::Root& root, const Payload& payload) {
  auto link = root.read_link(kDataLink);
  if (!link) return false;
  std::set<std::string> seen;
  for (const auto& [path, file] : payload) {
    auto stat = root.stat(cat(*link, "/", path));
    if (!stat || (stat->st_mode & 07777U) != static_cast<unsigned>(file.mode)) return false;
    auto text = root.read_file(cat(*link, "/", path), kFileBytesMax);
    if (!text || *text != file.bytes) return false;
    seen.insert(path.substr(0, path.find('/')));
  }
  auto entries = root.read_directory(*link);
  return entries && entries->size() == seen.size();
}

Result<> write_files(const sys::Root& root, const std::string& name, const Payload& payload, ProjectionOwner owner) {
  auto own = [&](int fd) { return owner.uid < 0 && owner.gid < 0 ? 0 : ::fchown(fd, static_cast<uid_t>(owner.uid), static_cast<gid_t>(owner.gid)); };
  for (const auto& [path, file] : payload) {
    std::string full = cat(name, "/", path);
    std::size_t slash = full.rfind('/');
    TRY_ASSIGN(sys::Fd parent, root.make_directories(full.substr(0, slash), 0755));
    TRY_ASSIGN(sys::Fd fd, root.open_file(full, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    TRY(sys::write_all(fd.get(), file.bytes));
    if (own(fd.get()) != 0) return fail_errno(cat("chown ", path));
    if (::fchmod(fd.get(), static_cast<mode_t>(file.mode)) != 0) return fail_errno(cat("chmod ", path));
  }
  return {};
}

}  // namespace

Result<> check_payload_path(const std::string& path) {
  bool bad = path.empty() || path[0] == '/' || path.starts_with("..");
  for (std::string_view part : split(path, '/')) bad = bad || part == ".." || part.empty();
  if (bad) return fail(Code::kInvalidArgument, cat("invalid path \"", path, "\": must be relative and may not contain '..'"));
  return {};
}

Result<bool> write_payload(const std::string& directory, const Payload& payload, ProjectionOwner owner, WallTime now) {
  for (const auto& [path, file] : payload) TRY(check_payload_path(path));
  TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
  if (matches(root, payload)) return false;

  std::string before = root.read_link(kDataLink).value_or("");
  std::string name = directory_name(now);
  while (name == before) name += "_";
  TRY(root.remove_tree(name));
  TRY(root.make_directory(name, 0755));
  if (::fchmodat(root.fd(), name.c_str(), 0755, 0) != 0) return fail_errno(cat("chmod ", name));
  TRY(write_files(root, name, payload, owner));

  if (auto old = root.remove_file(kNewDataLink); !old && old.error().code() != Code::kNotFound) return fail(std::move(old).error());
  TRY(root.make_symlink(name, kNewDataLink));
  TRY(root.rename(kNewDataLink, kDataLink));

  // The names that users see.
  std::set<std::string> visible;
  for (const auto& [path, file] : payload) visible.insert(path.substr(0, path.find('/')));
  for (const std::string& top : visible)
    if (!root.lstat(top)) TRY(root.make_symlink(cat(kDataLink, "/", top), top));
  TRY_ASSIGN(auto entries, root.read_directory("."));
  for (const sys::DirEntry& e : entries) {
    if (e.name == kDataLink || e.name == name || visible.contains(e.name)) continue;
    TRY(root.remove_tree(e.name));
  }
  return true;
}

}  // namespace monopod::agent
