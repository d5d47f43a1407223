#include "container/init_steps.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/strings.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

// linux/mount.h has these, sys/mount.h cannot be included beside it with this glibc.
constexpr std::uint64_t kPrivate = 1U << 18;
constexpr std::uint64_t kSlave = 1U << 19;
constexpr std::uint64_t kShared = 1U << 20;
constexpr std::uint64_t kUnbindable = 1U << 17;
constexpr int kDetach = 2;

struct Word {
  std::string_view name;
  std::uint64_t set;
  std::uint64_t clear;
};
constexpr std::array kAttributeWords = {
    Word{"ro", MOUNT_ATTR_RDONLY, 0},           Word{"rw", 0, MOUNT_ATTR_RDONLY},          Word{"nosuid", MOUNT_ATTR_NOSUID, 0},
    Word{"suid", 0, MOUNT_ATTR_NOSUID},         Word{"nodev", MOUNT_ATTR_NODEV, 0},        Word{"dev", 0, MOUNT_ATTR_NODEV},
    Word{"noexec", MOUNT_ATTR_NOEXEC, 0},       Word{"exec", 0, MOUNT_ATTR_NOEXEC},        Word{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    Word{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME}, Word{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    Word{"relatime", 0, MOUNT_ATTR__ATIME}};
struct PropagationWord {
  std::string_view name;
  std::uint64_t flag;
  bool recursive;
};
constexpr std::array kPropagationWords = {
    PropagationWord{"private", kPrivate, false}, PropagationWord{"rprivate", kPrivate, true},       PropagationWord{"slave", kSlave, false},
    PropagationWord{"rslave", kSlave, true},     PropagationWord{"shared", kShared, false},         PropagationWord{"rshared", kShared, true},
    PropagationWord{"unbindable", kUnbindable, false}, PropagationWord{"runbindable", kUnbindable, true}};

struct Options {
  bool bind = false;
  bool bind_recursive = false;
  sys::MountAttributes attributes;
  bool recursive_readonly = false;
  std::uint64_t propagation = 0;
  bool propagation_recursive = false;
  std::vector<std::pair<std::string, std::string>> data;  // for the file system
};

Options parse_options(const Mount& mount) {
  Options out;
  out.bind = mount.type == "bind";
  for (const std::string& option : mount.options) {
    if (option == "bind" || option == "rbind") {
      out.bind = true;
      out.bind_recursive = option == "rbind";
      continue;
    }
    if (option == "rro") {
      out.recursive_readonly = true;
      continue;
    }
    if (option == "defaults" || option == "sync" || option == "async" || option == "newinstance" || option.empty()) continue;
    if (auto word = std::find_if(kAttributeWords.begin(), kAttributeWords.end(), [&](const Word& w) { return w.name == option; });
        word != kAttributeWords.end()) {
      out.attributes.set = (out.attributes.set & ~word->clear) | word->set;
      out.attributes.clear = (out.attributes.clear & ~word->set) | word->clear;
      continue;
    }
    if (auto word = std::find_if(kPropagationWords.begin(), kPropagationWords.end(), [&](const PropagationWord& w) { return w.name == option; });
        word != kPropagationWords.end()) {
      out.propagation = word->flag;
      out.propagation_recursive = word->recursive;
      continue;
    }
    auto [key, value] = split_once(option, '=');
    out.data.emplace_back(std::string(key), std::string(value.value_or("")));
  }
  // The kernel takes an access-time mode only together with the field cleared.
  if ((out.attributes.set & MOUNT_ATTR__ATIME) != 0) out.attributes.clear |= MOUNT_ATTR__ATIME;
  return out;
}

// Where a mount goes. Directories and files that are missing are made, inside the root and by descriptor only.
Result<sys::Fd> make_target(const sys::Root& root, const std::string& destination, bool directory, bool follow) {
  auto open = [&]() { return follow ? root.open_file(destination, O_PATH) : root.open_no_symlinks(destination, O_PATH); };
  Result<sys::Fd> target = open();
  if (!target && target.error().code() == Code::kNotFound) {
    if (directory) {
      TRY(root.make_directories(destination));
    } else {
      std::size_t slash = destination.rfind('/');
      TRY(root.make_directories(slash == 0 ? "/" : destination.substr(0, slash)));
      TRY(root.open_file(destination, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0644));
    }
    target = open();
  }
  if (!target && target.error().os_errno() == ELOOP) return fail(Code::kFailedPrecondition, cat(destination, " is a symbolic link in the image"));
  return target;
}

struct StandardDevice {
  const char* name;
  unsigned minor;
  unsigned major;
};
constexpr std::array kStandardDevices = {StandardDevice{"null", 3, 1},   StandardDevice{"zero", 5, 1},    StandardDevice{"full", 7, 1},
                                         StandardDevice{"random", 8, 1}, StandardDevice{"urandom", 9, 1}, StandardDevice{"tty", 0, 5}};
constexpr std::array kDevLinks = {std::pair("fd", "/proc/self/fd"), std::pair("stdin", "/proc/self/fd/0"), std::pair("stdout", "/proc/self/fd/1"),
                                  std::pair("stderr", "/proc/self/fd/2"), std::pair("ptmx", "pts/ptmx")};

// Nodes are made in our own detached tmpfs, before anyone can see it.
Result<> fill_dev(int mount_fd, const ContainerConfig& config) {
  TRY_ASSIGN(sys::Root dev, sys::Root(sys::Fd(::fcntl(mount_fd, F_DUPFD_CLOEXEC, 3))).duplicate());
  for (const StandardDevice& device : kStandardDevices) TRY(dev.make_node(device.name, S_IFCHR | 0666, makedev(device.major, device.minor)));
  for (const auto& [name, target] : kDevLinks) TRY(dev.make_symlink(target, name));
  for (const Device& device : config.devices) {
    std::string name = device.path.substr(5);  // after /dev/
    std::size_t slash = name.rfind('/');
    if (slash != std::string::npos) TRY(dev.make_directories(name.substr(0, slash)));
    mode_t type = device.type == 'b' ? S_IFBLK : device.type == 'p' ? S_IFIFO : S_IFCHR;
    (void)dev.remove_file(name);
    TRY(dev.make_node(name, type | (device.file_mode & 07777), makedev(device.major, device.minor)));
    TRY_ASSIGN(sys::Root::Parent parent, dev.open_parent(name));
    if (::fchownat(parent.directory.get(), parent.name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(cat("own ", device.path));
  }
  if (config.process.terminal) TRY(dev.open_file("console", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0620));
  return {};
}

Result<> mount_cgroups(const sys::Root& root, const Mount& mount, const Options& options, const InitSpec& spec) {
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, true, false));
  auto bind = [&](const std::string& from, int to) -> Result<> {
    sys::Fd source(::open(from.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!source) return fail_errno(cat("open ", from));
    TRY_ASSIGN(sys::Fd view, sys::clone_mount(source.get(), false));
    sys::MountAttributes attributes = options.attributes;
    attributes.propagation = kPrivate;
    TRY(sys::set_mount_attributes(view.get(), attributes, false));
    return sys::attach_mount(view.get(), to);
  };
  if (spec.cgroup_views.size() == 1 && spec.cgroup_views[0].first.empty()) return bind(spec.cgroup_views[0].second, target.get());
  TRY_ASSIGN(sys::Fd tree, sys::make_file_system("tmpfs", "cgroup", {{"mode", "755"}, {"size", "64k"}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  TRY_ASSIGN(sys::Fd copy, tree.duplicate());
  sys::Root inside(std::move(copy));
  for (const auto& [name, path] : spec.cgroup_views) TRY(inside.make_directory(name, 0755));
  TRY(sys::attach_mount(tree.get(), target.get()));
  for (const auto& [name, path] : spec.cgroup_views) {
    TRY_ASSIGN(sys::Fd to, inside.open_file(name, O_PATH | O_DIRECTORY));
    TRY(bind(path, to.get()));
  }
  sys::MountAttributes readonly;
  readonly.set = options.attributes.set & MOUNT_ATTR_RDONLY;
  return sys::set_mount_attributes(tree.get(), readonly, false);
}

Result<> mount_bind(const sys::Root& root, const Mount& mount, const Options& options) {
  sys::Fd source;
  if (mount.source_below.empty()) {
    source = sys::Fd(::open(mount.source.c_str(), O_PATH | O_CLOEXEC));
    if (!source) return fail_errno(cat("open ", mount.source));
  } else {
    TRY_ASSIGN(sys::Root base, sys::Root::open(mount.source));
    TRY_ASSIGN(source, base.open_file(mount.source_below, O_PATH));
  }
  struct ::stat info = {};
  if (::fstat(source.get(), &info) < 0) return fail_errno(cat("stat ", mount.source));
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, S_ISDIR(info.st_mode), true));
  TRY_ASSIGN(sys::Fd copy, sys::clone_mount(source.get(), options.bind_recursive));
  TRY(sys::set_mount_attributes(copy.get(), {0, 0, kPrivate}, true));
  TRY(sys::set_mount_attributes(copy.get(), options.attributes, false));
  if (options.recursive_readonly) TRY(sys::set_mount_attributes(copy.get(), {MOUNT_ATTR_RDONLY, 0, 0}, true));
  if (options.propagation != 0 && options.propagation != kPrivate) {
    // Slave and shared want the source's peer group, which making it private has left: a second copy keeps it.
    TRY_ASSIGN(copy, sys::clone_mount(source.get(), options.bind_recursive));
    TRY(sys::set_mount_attributes(copy.get(), options.attributes, false));
    TRY(sys::set_mount_attributes(copy.get(), {0, 0, options.propagation}, options.propagation_recursive));
    if (options.recursive_readonly) TRY(sys::set_mount_attributes(copy.get(), {MOUNT_ATTR_RDONLY, 0, 0}, true));
  }
  return sys::attach_mount(copy.get(), target.get());
}

Result<> mount_one(const sys::Root& root, const Mount& mount, const InitSpec& spec) {
  Options options = parse_options(mount);
  if (options.bind) return mount_bind(root, mount, options);
  if (mount.type == "cgroup" || mount.type == "cgroup2") return mount_cgroups(root, mount, options, spec);
  bool system = mount.type == "proc" || mount.type == "sysfs" || mount.type == "devpts" || mount.type == "mqueue" || mount.destination == "/dev";
  // An image that has a symlink where a system mount goes would lead it elsewhere (CVE-2019-19921, CVE-2023-27561).
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, true, !system));
  TRY_ASSIGN(sys::Fd made, sys::make_file_system(mount.type, mount.source.empty() ? mount.type : mount.source, options.data, options.attributes.set));
  if (mount.destination == "/dev" && mount.type == "tmpfs") TRY(fill_dev(made.get(), spec.config));
  TRY(sys::attach_mount(made.get(), target.get()));
  if (options.propagation != 0) TRY(sys::set_mount_attributes(made.get(), {0, 0, options.propagation}, options.propagation_recursive));
  return {};
}

Result<std::uint64_t> root_propagation(std::string_view word) {
  if (word.empty()) return kSlave;
  for (const PropagationWord& row : kPropagationWords) {
    if (row.name == word) return row.flag;
  }
  return fail(Code::kInvalidArgument, cat("unknown root propagation ", word));
}

}  // namespace

Result<sys::Root> build_root(const InitSpec& spec) {
  const ContainerConfig& config = spec.config;
  // Nothing that we mount may reach the host; what the host mounts later may reach us only where a mount asks for it.
  sys::Fd host(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host) return fail_errno("open host root");
  TRY_ASSIGN(std::uint64_t propagation, root_propagation(config.rootfs_propagation));
  TRY(sys::set_mount_attributes(host.get(), {0, 0, propagation == kShared ? kShared : propagation == kPrivate ? kPrivate : kSlave}, true));

  sys::Fd directory(::open(config.rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(cat("open root file system ", config.rootfs));
  // Where the directory is a mount of its own it becomes our parent, which pivot_root wants unshared; else this changes nothing.
  (void)sys::set_mount_attributes(directory.get(), {0, 0, kPrivate}, false);
  TRY_ASSIGN(sys::Fd mount, sys::clone_mount(directory.get(), true));
  TRY(sys::set_mount_attributes(mount.get(), {0, 0, kPrivate}, true));
  TRY(sys::attach_mount(mount.get(), directory.get()));
  sys::Root root(std::move(mount));

  for (const Mount& one : config.mounts) {
    Result<> mounted = mount_one(root, one, spec);
    if (!mounted) return fail(std::move(mounted).error().with(cat("mount ", one.destination)));
  }
  // Created while the root can still be written.
  if (!root.stat(config.process.cwd)) (void)root.make_directories(config.process.cwd);
  if (config.rootfs_readonly) TRY(sys::set_mount_attributes(root.fd(), {MOUNT_ATTR_RDONLY, 0, 0}, false));
  if (propagation == kShared || propagation == kUnbindable) TRY(sys::set_mount_attributes(root.fd(), {0, 0, propagation}, false));

  if (::fchdir(root.fd()) < 0) return fail_errno("enter root file system");
  // The old root lands on top of the new one and is then lifted off (pivot_root(2)).
  if (::syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot root");
  if (::syscall(SYS_umount2, ".", kDetach) < 0) return fail_errno("detach host root");
  if (::chdir("/") < 0) return fail_errno("enter root");
  return root;
}

Result<> hide_paths(const sys::Root& root, const ContainerConfig& config) {
  if (!config.masked_paths.empty()) {
    // A null device that the image or a volume has put there instead would be bound over what must be hidden (CVE-2025-31133).
    sys::Fd null_device;
    sys::Fd empty_directory;
    for (const std::string& path : config.masked_paths) {
      Result<sys::Fd> target = root.open_file(path, O_PATH);
      if (!target) continue;  // nothing there to hide
      struct ::stat info = {};
      if (::fstat(target->get(), &info) < 0) return fail_errno(cat("stat ", path));
      sys::Fd cover;
      if (S_ISDIR(info.st_mode)) {
        // The first is attached itself and the others are copies of it: a copy of a mount that is not attached needs 6.15.
        if (empty_directory) {
          TRY_ASSIGN(cover, sys::clone_mount(empty_directory.get(), false));
        } else {
          constexpr std::uint64_t kSealed = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
          TRY_ASSIGN(cover, sys::make_file_system("tmpfs", "tmpfs", {{"nr_blocks", "1"}, {"nr_inodes", "1"}}, kSealed));
          TRY_ASSIGN(empty_directory, cover.duplicate());
        }
      } else {
        if (!null_device) {
          TRY_ASSIGN(null_device, root.open_file("/dev/null", O_PATH | O_NOFOLLOW));
          struct ::stat null_info = {};
          if (::fstat(null_device.get(), &null_info) < 0) return fail_errno("stat /dev/null");
          if (!S_ISCHR(null_info.st_mode) || null_info.st_rdev != makedev(1, 3)) return fail(Code::kFailedPrecondition, "/dev/null of the container is not the null device");
        }
        TRY_ASSIGN(cover, sys::clone_mount(null_device.get(), false));
      }
      Result<> attached = sys::attach_mount(cover.get(), target->get());
      if (!attached) return fail(std::move(attached).error().with(cat("mask ", path)));
    }
  }
  for (const std::string& path : config.readonly_paths) {
    Result<sys::Fd> target = root.open_file(path, O_PATH);
    if (!target) continue;
    TRY_ASSIGN(sys::Fd copy, sys::clone_mount(target->get(), true));
    TRY(sys::set_mount_attributes(copy.get(), {MOUNT_ATTR_RDONLY, 0, kPrivate}, true));
    Result<> attached = sys::attach_mount(copy.get(), target->get());
    if (!attached) return fail(std::move(attached).error().with(cat("make read-only ", path)));
  }
  return {};
}

Result<> apply_sysctls(const ContainerConfig& config) {
  if (config.sysctl.empty()) return {};
  // A proc file system that nobody else has seen: /proc of the container may be covered (CVE-2019-16884, CVE-2025-52881).
  TRY_ASSIGN(sys::Fd mount, sys::make_file_system("proc", "proc", {}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  TRY_ASSIGN(std::uint64_t magic, sys::file_system_magic(mount.get()));
  if (magic != PROC_SUPER_MAGIC) return fail(Code::kFailedPrecondition, "proc is not a proc file system");
  sys::Root proc(std::move(mount));
  for (const auto& [name, value] : config.sysctl) {
    std::string path = "sys/" + name;
    std::replace(path.begin(), path.end(), '.', '/');
    TRY_ASSIGN(sys::Fd file, proc.open_no_symlinks(path, O_WRONLY));
    Result<> written = sys::write_all(file.get(), value);
    if (!written) return fail(std::move(written).error().with(cat("set sysctl ", name)));
  }
  return {};
}

}  // namespace monopod::container
