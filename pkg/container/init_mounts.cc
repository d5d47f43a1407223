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
#include <charconv>

#include "base/strings.h"
#include "container/mount_options.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

constexpr int kDetach = 2;  // MNT_DETACH: sys/mount.h cannot be included beside linux/mount.h with this glibc

// Where a mount goes. Directories and files that are missing are made, inside the root and by descriptor only.
Result<sys::Fd> make_target(const sys::Root& root, const std::string& destination, bool directory, bool follow) {
  auto open = [&]() { return follow ? root.open_file(destination, O_PATH) : root.open_no_symlinks(destination, O_PATH); };
  Result<sys::Fd> target = open();
  if (!target && target.error().code() == Code::kNotFound) {
    if (directory) {
      // As a rule only the last component is missing.
      if (!root.make_directory(destination, 0755)) TRY(root.make_directories(destination));
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

Result<> mount_cgroups(const sys::Root& root, const Mount& mount, const MountOptions& options, const InitSpec& spec) {
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, true, false));
  auto view_of = [&](const std::string& from) -> Result<sys::Fd> {
    TRY_ASSIGN(sys::Fd view, sys::clone_mount(from, false));
    sys::MountAttributes attributes = options.attributes;
    attributes.propagation = kPropagationPrivate;
    TRY(sys::set_mount_attributes(view.get(), attributes, false));
    return view;
  };
  if (spec.cgroup_views.size() == 1 && spec.cgroup_views[0].first.empty()) {
    TRY_ASSIGN(sys::Fd view, view_of(spec.cgroup_views[0].second));
    return sys::attach_mount(view.get(), target.get());
  }
  TRY_ASSIGN(sys::Fd tree, sys::make_file_system("tmpfs", "cgroup", {{"mode", "755"}, {"size", "64k"}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  for (const auto& [name, path] : spec.cgroup_views) {
    if (::mkdirat(tree.get(), name.c_str(), 0755) < 0) return fail_errno(cat("make ", name));
  }
  TRY(sys::attach_mount(tree.get(), target.get()));
  for (const auto& [name, path] : spec.cgroup_views) {
    TRY_ASSIGN(sys::Fd view, view_of(path));
    TRY(sys::attach_mount_at(view.get(), tree.get(), name.c_str()));
  }
  sys::MountAttributes readonly;
  readonly.set = options.attributes.set & MOUNT_ATTR_RDONLY;
  return sys::set_mount_attributes(tree.get(), readonly, false);
}

// What is bound: a mount that the parent made, or the host's file.
Result<sys::Fd> open_source(const Mount& mount) {
  if (mount.source_fd >= 0) return sys::Fd(::fcntl(mount.source_fd, F_DUPFD_CLOEXEC, 3));
  if (!mount.source_below.empty()) {
    TRY_ASSIGN(sys::Root base, sys::Root::open(mount.source));
    return base.open_file(mount.source_below, O_PATH);
  }
  sys::Fd source(::open(mount.source.c_str(), O_PATH | O_CLOEXEC));
  if (!source) return fail_errno(cat("open ", mount.source));
  return source;
}

Result<> mount_bind(const sys::Root& root, const Mount& mount, const MountOptions& options) {
  TRY_ASSIGN(sys::Fd source, open_source(mount));
  struct ::stat info = {};
  if (::fstat(source.get(), &info) < 0) return fail_errno(cat("stat ", mount.source));
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, S_ISDIR(info.st_mode), true));
  if (mount.source_fd >= 0) return sys::attach_mount(source.get(), target.get());  // the parent gave it its attributes
  TRY_ASSIGN(sys::Fd copy, sys::clone_mount(source.get(), options.bind_recursive));
  TRY(set_bind_attributes(copy.get(), options));
  return sys::attach_mount(copy.get(), target.get());
}

// A tmpfs shows the directory that it covers: its mode, and with tmpcopyup what it holds.
Result<> mount_tmpfs(const Mount& mount, MountOptions& options, int target) {
  struct ::stat info = {};
  if (::fstat(target, &info) < 0) return fail_errno(cat("stat ", mount.destination));
  bool has_mode = std::any_of(options.data.begin(), options.data.end(), [](const auto& entry) { return entry.first == "mode"; });
  std::array<char, 8> octal = {};
  auto [end, ec] = std::to_chars(octal.data(), octal.data() + octal.size(), info.st_mode & 07777U, 8);
  if (!has_mode && ec == std::errc()) options.data.emplace_back("mode", std::string(octal.data(), end));
  return {};
}

Result<> mount_file_system(const sys::Root& root, const Mount& mount, MountOptions& options, const InitSpec& spec) {
  bool system = mount.type == "proc" || mount.type == "sysfs" || mount.type == "devpts" || mount.type == "mqueue" || mount.destination == "/dev";
  // An image that has a symlink where a system mount goes would lead it elsewhere (CVE-2019-19921, CVE-2023-27561).
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, true, !system));
  bool tmpfs = mount.type == "tmpfs";
  if (tmpfs) TRY(mount_tmpfs(mount, options, target.get()));
  if (!spec.config.mount_label.empty() && (tmpfs || mount.type == "devpts" || mount.type == "mqueue")) options.data.emplace_back("context", spec.config.mount_label);
  // Read-only comes last where something is still to be written.
  std::uint64_t first = options.copy_up || mount.destination == "/dev" ? options.attributes.set & ~static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY) : options.attributes.set;
  TRY_ASSIGN(sys::Fd made, sys::make_file_system(mount.type, mount.source.empty() ? mount.type : mount.source, options.data, first));
  bool nodes = true;
  if (mount.destination == "/dev" && tmpfs) {
    TRY_ASSIGN(nodes, fill_dev(made.get(), spec.config));
  }
  if (options.copy_up && tmpfs) TRY(copy_tree(target.get(), made.get()));
  TRY(sys::attach_mount(made.get(), target.get()));
  if (!nodes) {
    sys::Root dev(std::move(made));
    TRY(bind_devices(dev, spec.config));
    made = sys::Fd(::fcntl(dev.fd(), F_DUPFD_CLOEXEC, 3));
  }
  if (first != options.attributes.set) TRY(sys::set_mount_attributes(made.get(), {MOUNT_ATTR_RDONLY, 0, 0}, false));
  if (options.propagation != 0) TRY(sys::set_mount_attributes(made.get(), {0, 0, options.propagation}, options.propagation_recursive));
  return {};
}

Result<> mount_one(const sys::Root& root, const Mount& mount, const InitSpec& spec) {
  MountOptions options = parse_mount_options(mount);
  if (options.remount) {
    TRY_ASSIGN(sys::Fd target, root.open_file(mount.destination, O_PATH));
    TRY(sys::set_mount_attributes(target.get(), options.attributes, false));
    return sys::set_mount_attributes(target.get(), options.recursive, true);
  }
  if (options.bind) return mount_bind(root, mount, options);
  if (mount.type == "cgroup" || mount.type == "cgroup2") return mount_cgroups(root, mount, options, spec);
  return mount_file_system(root, mount, options, spec);
}

// /dev where the image's own directory stays: nodes are made in it. A /dev that is bound is as its owner made it.
Result<> fill_plain_dev(const sys::Root& root, const ContainerConfig& config) {
  for (const Mount& mount : config.mounts) {
    if (mount.destination != "/dev" && mount.destination != "/dev/") continue;
    if (mount.type == "tmpfs" || parse_mount_options(mount).bind) return {};
  }
  TRY_ASSIGN(sys::Fd dev, root.make_directories("/dev"));
  TRY_ASSIGN(bool nodes, fill_dev(dev.get(), config));
  return nodes ? Result<>() : bind_devices(sys::Root(std::move(dev)), config);
}

// The old root lands on top of the new one and is then lifted off (pivot_root(2)).
Result<> change_root(const sys::Root& root, bool pivot) {
  if (::fchdir(root.fd()) < 0) return fail_errno("enter root file system");
  if (pivot) {
    if (::syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot root");
    if (::syscall(SYS_umount2, ".", kDetach) < 0) return fail_errno("detach host root");
  } else {
    TRY(sys::move_mount_to_root(root.fd()));
    if (::chroot(".") < 0) return fail_errno("change root");
  }
  if (::chdir("/") < 0) return fail_errno("enter root");
  return {};
}

// What the root file system stands on, which pivot_root wants unshared.
Result<> make_parent_private(int directory, std::uint64_t propagation) {
  // Where the directory is a mount of its own this is enough; else it changes nothing.
  (void)sys::set_mount_attributes(directory, {0, 0, kPropagationPrivate}, false);
  if (propagation != kPropagationShared) return {};
  TRY_ASSIGN(std::string point, sys::find_mount_point(directory));
  sys::Fd parent(::open(point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return fail_errno(cat("open ", point));
  return sys::set_mount_attributes(parent.get(), {0, 0, kPropagationPrivate}, false);
}

Result<sys::Fd> attach_root(const std::string& path, std::uint64_t of_host) {
  sys::Fd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(cat("open root file system ", path));
  TRY(make_parent_private(directory.get(), of_host));
  TRY_ASSIGN(sys::Fd mount, sys::clone_mount(directory.get(), true));
  TRY(sys::set_mount_attributes(mount.get(), {0, 0, kPropagationPrivate}, true));
  TRY(sys::attach_mount(mount.get(), directory.get()));
  return mount;
}

// On top of "/", which absolute paths still start below of.
Result<sys::Fd> attach_given_root(int root_fd, int host) {
  sys::Fd mount(::fcntl(root_fd, F_DUPFD_CLOEXEC, 3));
  TRY(sys::attach_mount(mount.get(), host));
  return mount;
}

}  // namespace

Result<sys::Root> build_root(const InitSpec& spec, const std::function<Result<>()>& before_pivot) {
  const ContainerConfig& config = spec.config;
  // Nothing that we mount may reach the host; what the host mounts later may reach us only where a mount asks for it.
  sys::Fd host(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host) return fail_errno("open host root");
  std::uint64_t propagation = find_propagation(config.rootfs_propagation).value_or(Propagation{kPropagationSlave, true}).flag;
  std::uint64_t of_host = propagation == kPropagationShared || propagation == kPropagationPrivate ? propagation : kPropagationSlave;
  TRY(sys::set_mount_attributes(host.get(), {0, 0, of_host}, true));

  TRY_ASSIGN(sys::Fd mount, spec.root_fd >= 0 ? attach_given_root(spec.root_fd, host.get()) : attach_root(config.rootfs, of_host));
  sys::Root root(std::move(mount));

  for (const Mount& one : config.mounts) {
    Result<> mounted = mount_one(root, one, spec);
    if (!mounted) return fail(std::move(mounted).error().with(cat("mount ", one.destination)));
  }
  TRY(fill_plain_dev(root, config));
  TRY(make_other_devices(root, config));
  // Created while the root can still be written.
  if (!root.stat(config.process.cwd)) (void)root.make_directories(config.process.cwd);
  if (before_pivot) TRY(before_pivot());
  if (config.rootfs_readonly) TRY(sys::set_mount_attributes(root.fd(), {MOUNT_ATTR_RDONLY, 0, 0}, false));
  TRY(change_root(root, spec.pivot));
  if (propagation == kPropagationShared || propagation == kPropagationUnbindable) TRY(sys::set_mount_attributes(root.fd(), {0, 0, propagation}, false));
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
    TRY(sys::set_mount_attributes(copy.get(), {MOUNT_ATTR_RDONLY, 0, kPropagationPrivate}, true));
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
