#include "sys/mounts.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

// glibc 2.36 has no wrappers for these, and its sys/mount.h clashes with linux/mount.h.
constexpr int kMntDetach = 2;
constexpr int kUmountNofollow = 8;
constexpr unsigned long kMsBind = 4096;

// What mount(2) calls an attribute. Read-only is not among them: it would be of the file system, which others may see through other mounts.
struct AttributeFlag {
  std::uint64_t attribute;
  unsigned long flag;
};
constexpr std::array kAttributeFlags = {AttributeFlag{MOUNT_ATTR_NOSUID, 2},          AttributeFlag{MOUNT_ATTR_NODEV, 4},
                                        AttributeFlag{MOUNT_ATTR_NOEXEC, 8},          AttributeFlag{MOUNT_ATTR_NOATIME, 1024},
                                        AttributeFlag{MOUNT_ATTR_STRICTATIME, 1UL << 24}, AttributeFlag{MOUNT_ATTR_NODIRATIME, 2048},
                                        AttributeFlag{MOUNT_ATTR_NOSYMFOLLOW, 256}};
// Flags of a file system that mount(2) wants as bits of its own, not as text.
constexpr std::array<std::string_view, 6> kFlagOptions = {"sync", "dirsync", "lazytime", "mand", "iversion", "rw"};
constexpr unsigned long kMsReadOnly = 1;
constexpr unsigned long kMsRecursive = 16384;
constexpr long kOpenTreeAttr = 467;  // open_tree_attr(2): glibc 2.36 does not know it


int fsopen(const char* type, unsigned flags) { return static_cast<int>(::syscall(SYS_fsopen, type, flags)); }
int fsconfig(int fd, unsigned command, const char* key, const void* value) { return static_cast<int>(::syscall(SYS_fsconfig, fd, command, key, value, 0)); }
int fsmount(int fd, unsigned flags, unsigned attributes) { return static_cast<int>(::syscall(SYS_fsmount, fd, flags, attributes)); }
int open_tree(int fd, const char* path, unsigned flags) { return static_cast<int>(::syscall(SYS_open_tree, fd, path, flags)); }
int move_mount(int from, int to, unsigned flags) { return static_cast<int>(::syscall(SYS_move_mount, from, "", to, "", flags)); }
int mount_setattr(int fd, unsigned flags, const struct mount_attr& attr) {
  return static_cast<int>(::syscall(SYS_mount_setattr, fd, "", flags, &attr, sizeof attr));
}

// Messages that the kernel left on a file system context: "e tmpfs: Bad value for 'size'".
std::string context_log(int context) {
  std::string out;
  std::array<char, 512> line;
  for (;;) {
    ssize_t n = ::read(context, line.data(), line.size());
    if (n <= 0) return out;
    std::string_view text = trim(std::string_view(line.data(), static_cast<std::size_t>(n)));
    if (text.size() > 2) out = cat(out, out.empty() ? "" : "; ", text.substr(2));
  }
}

std::unexpected<Error> fail_context(int context, std::string what) {
  int saved = errno;
  std::string said = context_log(context);
  return fail(errno_error(saved, said.empty() ? what : cat(what, " (", said, ")")));
}

}  // namespace

Result<Fd> make_file_system(const std::string& type, const std::string& source, const std::vector<std::pair<std::string, std::string>>& options,
                            std::uint64_t attributes) {
  Fd context(fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return fail_errno(cat("mount ", type));
  if (!source.empty() && fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str()) < 0)
    return fail_context(context.get(), cat("mount ", type, ": source ", source));
  for (const auto& [key, value] : options) {
    int done = value.empty() ? fsconfig(context.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr)
                             : fsconfig(context.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str());
    if (done < 0) return fail_context(context.get(), cat("mount ", type, ": option ", key));
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr) < 0) return fail_context(context.get(), cat("mount ", type));
  Fd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return fail_context(context.get(), cat("mount ", type));
  return mount;
}

bool mount_at_once(const std::string& type, const std::string& source, const std::vector<std::pair<std::string, std::string>>& options, std::uint64_t attributes,
                   const std::string& target) {
  unsigned long flags = 0;
  for (const AttributeFlag& row : kAttributeFlags) {
    if ((attributes & row.attribute) != 0) flags |= row.flag;
    attributes &= ~row.attribute;
  }
  if (attributes != 0) return false;
  std::string data;
  for (const auto& [key, value] : options) {
    if (key == "ro") {
      flags |= kMsReadOnly;
      continue;
    }
    if (std::find(kFlagOptions.begin(), kFlagOptions.end(), key) != kFlagOptions.end() || value.find(',') != std::string::npos) return false;
    data += cat(data.empty() ? "" : ",", key, value.empty() ? "" : "=", value);
  }
  return ::syscall(SYS_mount, source.c_str(), target.c_str(), type.c_str(), flags, data.c_str()) == 0;
}

Result<> bind_at_once(const std::string& source, const std::string& target) {
  if (::syscall(SYS_mount, source.c_str(), target.c_str(), nullptr, kMsBind, nullptr) < 0) return fail_errno(cat("mount ", source));
  return {};
}

namespace {

unsigned clone_flags(bool recursive) { return OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U); }

// flags: also AT_EMPTY_PATH.
Result<Fd> clone_with_attributes(int fd, const char* path, unsigned flags, const MountAttributes& attributes) {
  struct mount_attr attr = {};
  attr.attr_set = attributes.set;
  attr.attr_clr = attributes.clear;
  attr.propagation = attributes.propagation;
  if (attributes.id_map < 0) {
    Fd out(static_cast<int>(::syscall(kOpenTreeAttr, fd, path, flags, &attr, sizeof attr)));
    if (out || errno != ENOSYS) return out ? Result<Fd>(std::move(out)) : fail_errno(cat("copy mount ", path));
  }
  Fd out(open_tree(fd, path, flags));
  if (!out) return fail_errno(cat("copy mount ", path));
  TRY(set_mount_attributes(out.get(), attributes, (flags & AT_RECURSIVE) != 0));
  return out;
}

}  // namespace

Result<Fd> clone_mount(int fd, bool recursive) {
  Fd out(open_tree(fd, "", clone_flags(recursive) | AT_EMPTY_PATH));
  if (!out) return fail_errno("copy mount");
  return out;
}

Result<Fd> clone_mount(int fd, bool recursive, const MountAttributes& attributes) {
  return clone_with_attributes(fd, "", clone_flags(recursive) | AT_EMPTY_PATH, attributes);
}

Result<Fd> clone_mount(const std::string& path, bool recursive) {
  Fd out(open_tree(AT_FDCWD, path.c_str(), clone_flags(recursive)));
  if (!out) return fail_errno(cat("copy mount ", path));
  return out;
}

Result<Fd> clone_mount(const std::string& path, bool recursive, const MountAttributes& attributes) {
  return clone_with_attributes(AT_FDCWD, path.c_str(), clone_flags(recursive), attributes);
}

Result<> attach_mount_at(int mount_fd, int directory, const char* name) {
  if (::syscall(SYS_move_mount, mount_fd, "", directory, name, MOVE_MOUNT_F_EMPTY_PATH) < 0) return fail_errno(cat("attach mount ", name));
  return {};
}

Result<> set_mount_attributes(int mount_fd, const MountAttributes& attributes, bool recursive) {
  struct mount_attr attr = {};
  attr.attr_set = attributes.set;
  attr.attr_clr = attributes.clear;
  attr.propagation = attributes.propagation;
  if (attributes.id_map >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = static_cast<__u64>(attributes.id_map);
  }
  if (attr.attr_set == 0 && attr.attr_clr == 0 && attr.propagation == 0) return {};
  if (mount_setattr(mount_fd, static_cast<unsigned>(AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0)), attr) < 0) return fail_errno("set mount attributes");
  return {};
}

Result<> set_propagation(const char* path, std::uint64_t propagation, bool recursive) {
  if (::syscall(SYS_mount, nullptr, path, nullptr, propagation | (recursive ? kMsRecursive : 0UL), nullptr) < 0) return fail_errno(cat("set propagation of ", path));
  return {};
}

Result<> attach_mount(int mount_fd, int target_fd) {
  if (move_mount(mount_fd, target_fd, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) return fail_errno("attach mount");
  return {};
}

Result<> move_mount_to_root(int mount_fd) {
  Fd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno("open root");
  return attach_mount(mount_fd, root.get());
}

Result<> detach_mount(const std::string& path) {
  if (::syscall(SYS_umount2, path.c_str(), kMntDetach | kUmountNofollow) < 0 && errno != EINVAL && errno != ENOENT) return fail_errno(cat("unmount ", path));
  return {};
}

Result<std::string> find_mount_point(int fd) {
  struct ::statx info = {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0) return fail_errno("stat mount");
  TRY_ASSIGN(std::string text, read_host_file("/proc/self/mountinfo", 16U << 20));
  for (std::string_view line : split(text, '\n')) {
    auto fields = split(line, ' ');
    if (fields.size() < 5 || parse_int<std::uint64_t>(fields[0]) != info.stx_mnt_id) continue;
    // Spaces and their like stand in octal.
    std::string out;
    for (std::size_t i = 0; i < fields[4].size(); ++i) {
      bool escaped = fields[4][i] == '\\' && i + 3 < fields[4].size();
      out += escaped ? static_cast<char>((fields[4][i + 1] - '0') * 64 + (fields[4][i + 2] - '0') * 8 + (fields[4][i + 3] - '0')) : fields[4][i];
      if (escaped) i += 3;
    }
    return out;
  }
  return fail(Code::kNotFound, "a mount is not in this namespace");
}

Result<std::uint64_t> file_system_magic(int fd) {
  struct statfs info = {};
  if (::fstatfs(fd, &info) < 0) return fail_errno("stat file system");
  return static_cast<std::uint64_t>(info.f_type);
}

}  // namespace monopod::sys
