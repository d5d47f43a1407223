#include "sys/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "sys/mounts.h"
#include "sys/root.h"

namespace monopod::sys {

Result<> make_directories(const std::string& path, unsigned mode) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    std::string prefix = path.substr(0, at);
    if (at != std::string::npos) ++at;
    if (::mkdir(prefix.c_str(), mode) != 0 && errno != EEXIST) return fail_errno(cat("mkdir ", prefix));
  }
  return {};
}

Result<> replace_file(const std::string& path, std::string_view bytes, unsigned mode) {
  std::string temporary = path + ".new";
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail_errno(cat("open ", temporary));
  if (::fchmod(fd.get(), mode) != 0) return fail_errno(cat("chmod ", temporary));
  TRY(write_all(fd.get(), bytes));
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno(cat("rename ", path));
  return {};
}

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> out;
  DIR* dir = ::opendir(path.c_str());
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(dir);
  std::ranges::sort(out);
  return out;
}

bool path_exists(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) == 0;
}

namespace {

// Octal escapes of /proc/self/mountinfo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// In the order they were mounted.
std::vector<std::string> mounts_below(const std::string& path) {
  std::vector<std::string> out;
  auto text = read_host_file("/proc/self/mountinfo", 64U << 20);
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    std::vector<std::string_view> words = split(line, ' ');
    if (words.size() < 5) continue;
    std::string target = unescape(words[4]);
    if (target == path || target.starts_with(path + "/")) out.push_back(std::move(target));
  }
  return out;
}

}  // namespace

bool is_mount_point(const std::string& path) { return std::ranges::any_of(mounts_below(path), [&](const std::string& m) { return m == path; }); }

Result<> unmount_all(const std::string& path) {
  std::vector<std::string> mounts = mounts_below(path);
  for (auto it = mounts.rbegin(); it != mounts.rend(); ++it)
    TRY(detach_mount(*it));
  return {};
}

Result<> remove_tree(const std::string& path) {
  if (!path_exists(path)) return {};
  TRY(unmount_all(path));
  std::size_t slash = path.rfind('/');
  TRY_ASSIGN(Root parent, Root::open(path.substr(0, slash)));
  return parent.remove_tree(path.substr(slash + 1));
}

Result<> mount_tmpfs(const std::string& path, const std::vector<std::pair<std::string, std::string>>& options) {
  TRY(make_directories(path));
  if (is_mount_point(path)) return {};
  TRY_ASSIGN(Fd made, make_file_system("tmpfs", "tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  Fd target(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target) return fail_errno(cat("open ", path));
  return attach_mount(made.get(), target.get());
}

}  // namespace monopod::sys
