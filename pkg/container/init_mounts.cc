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
#include <optional>

#include "base/strings.h"
#include "container/mount_options.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

constexpr int kDetach = 2;  // MNT_DETACH: sys/mount.h cannot be included beside linux/mount.h with this glibc
constexpr std::uint64_t kReadOnly = MOUNT_ATTR_RDONLY;
constexpr std::uint64_t kSealedAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// What the steps of one build_root share.
struct Building {
  const InitSpec& spec;
  const sys::Root& root;
  bool by_path = false;                // /proc is the host's: paths below /proc/self/fd name our descriptors
  std::optional<sys::Root> fresh_dev;  // the tmpfs at /dev that nobody but us has seen
};

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
  if (!target && target.error().os_errno() == ELOOP) return fail(Code::kFailedPrecondition, cat(destination, " must be mounted on ordinary directory: it is a symbolic link in the image"));
  return target;
}

// Views of all hierarchies below a tmpfs, each by two calls; what they may is set for all at the end.
Result<bool> mount_views_at_once(const Building& building, const Mount& mount, const MountOptions& options, int target) {
  if (!building.by_path || !sys::mount_at_once("tmpfs", "cgroup", {{"mode", "755"}, {"size", "64k"}}, kSealedAttributes, sys::fd_path(target))) return false;
  TRY_ASSIGN(sys::Fd tree, building.root.open_no_symlinks(mount.destination, O_PATH));
  for (const auto& [name, path] : building.spec.cgroup_views) {
    if (::mkdirat(tree.get(), name.c_str(), 0755) < 0) return fail_errno(cat("make ", name));
    TRY(sys::bind_at_once(path, cat(sys::fd_path(tree.get()), "/", name)));
  }
  sys::MountAttributes attributes = options.attributes;
  attributes.propagation = kPropagationPrivate;
  TRY(sys::set_mount_attributes(tree.get(), attributes, true));
  leave_open(std::move(tree));
  return true;
}

Result<> mount_cgroups(const Building& building, const Mount& mount, const MountOptions& options) {
  const InitSpec& spec = building.spec;
  TRY_ASSIGN(sys::Fd target, make_target(building.root, mount.destination, true, false));
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
  TRY_ASSIGN(bool done, mount_views_at_once(building, mount, options, target.get()));
  if (done) {
    leave_open(std::move(target));
    return {};
  }
  TRY_ASSIGN(sys::Fd tree, sys::make_file_system("tmpfs", "cgroup", {{"mode", "755"}, {"size", "64k"}}, kSealedAttributes));
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
  return open_bind_source(mount);
}

Result<> mount_bind(const sys::Root& root, const Mount& mount, const MountOptions& options) {
  TRY_ASSIGN(sys::Fd source, open_source(mount));
  struct ::stat info = {};
  if (::fstat(source.get(), &info) < 0) return fail_errno(cat("stat ", mount.source));
  TRY_ASSIGN(sys::Fd target, make_target(root, mount.destination, S_ISDIR(info.st_mode), true));
  if (mount.source_fd >= 0) return sys::attach_mount(source.get(), target.get());  // the parent gave it its attributes
  TRY_ASSIGN(sys::Fd copy, sys::clone_mount(source.get(), options.bind_recursive));
  TRY(set_bind_attributes(copy.get(), options));
  TRY(sys::attach_mount(copy.get(), target.get()));
  for (sys::Fd* fd : {&source, &target, &copy}) leave_open(std::move(*fd));
  return {};
}

// A tmpfs shows the directory that it covers: its mode, and with tmpcopyup what it holds.
Result<> take_mode(const Mount& mount, MountOptions& options, int target) {
  bool has_mode = std::any_of(options.data.begin(), options.data.end(), [](const auto& entry) { return entry.first == "mode"; });
  if (has_mode) return {};
  struct ::stat info = {};
  if (::fstat(target, &info) < 0) return fail_errno(cat("stat ", mount.destination));
  std::array<char, 8> octal = {};
  auto [end, ec] = std::to_chars(octal.data(), octal.data() + octal.size(), info.st_mode & 07777U, 8);
  if (ec == std::errc()) options.data.emplace_back("mode", std::string(octal.data(), end));
  return {};
}

// Nothing but attributes and options to say, so that mount(2) says it: most system mounts are such.
bool is_plain(const Building& building, const MountOptions& options) {
  return building.by_path && !options.copy_up && options.propagation == 0;
}

// "/dev/pts" in the /dev that we have just made: no link can be on the way.
Result<bool> mount_in_fresh_dev(const Building& building, const Mount& mount, MountOptions& options) {
  std::string_view name = mount.destination;
  if (!building.fresh_dev || !name.starts_with("/dev/") || !is_plain(building, options) || (options.attributes.set & kReadOnly) != 0) return false;
  name.remove_prefix(5);
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) return false;
  int dev = building.fresh_dev->fd();
  if (::mkdirat(dev, std::string(name).c_str(), 0755) < 0) return false;  // there is something already
  bool has_mode = std::any_of(options.data.begin(), options.data.end(), [](const auto& entry) { return entry.first == "mode"; });
  std::vector<std::pair<std::string, std::string>> data = options.data;
  if (mount.type == "tmpfs" && !has_mode) data.emplace_back("mode", "755");
  return sys::mount_at_once(mount.type, mount.source.empty() ? mount.type : mount.source, data, options.attributes.set, cat(sys::fd_path(dev), "/", name));
}

Result<> mount_file_system(Building& building, const Mount& mount, MountOptions& options) {
  const InitSpec& spec = building.spec;
  bool system = mount.type == "proc" || mount.type == "sysfs" || mount.type == "devpts" || mount.type == "mqueue" || mount.destination == "/dev";
  bool tmpfs = mount.type == "tmpfs";
  if (!spec.config.mount_label.empty() && (tmpfs || mount.type == "devpts" || mount.type == "mqueue")) options.data.emplace_back("context", spec.config.mount_label);
  TRY_ASSIGN(bool done, mount_in_fresh_dev(building, mount, options));
  if (done) return {};
  // An image that has a symlink where a system mount goes would lead it elsewhere (CVE-2019-19921, CVE-2023-27561).
  TRY_ASSIGN(sys::Fd target, make_target(building.root, mount.destination, true, !system));
  if (tmpfs) TRY(take_mode(mount, options, target.get()));
  bool dev = mount.destination == "/dev" && tmpfs;
  // Read-only comes last where something is still to be written.
  std::uint64_t first = options.copy_up || mount.destination == "/dev" ? options.attributes.set & ~kReadOnly : options.attributes.set;
  const std::string& source = mount.source.empty() ? mount.type : mount.source;
  sys::Fd made;
  // Read-only is said of the mount when it is there: where no link can have led elsewhere, it is found again.
  bool attached = is_plain(building, options) && (system || (first & kReadOnly) == 0) &&
                  sys::mount_at_once(mount.type, source, options.data, first & ~kReadOnly, sys::fd_path(target.get()));
  if (attached) {
    leave_open(std::move(target));
    if (!dev && (first & kReadOnly) == 0) return {};
    TRY_ASSIGN(made, building.root.open_no_symlinks(mount.destination, O_PATH));
    TRY(sys::set_mount_attributes(made.get(), {first & kReadOnly, 0, 0}, false));
    if (!dev) {
      leave_open(std::move(made));
      return {};
    }
  } else {
    TRY_ASSIGN(made, sys::make_file_system(mount.type, source, options.data, first));
  }
  sys::Root top(std::move(made));
  bool nodes = true;
  if (dev) {
    TRY_ASSIGN(nodes, fill_dev(top, spec.config));
  }
  if (options.copy_up && tmpfs) TRY(copy_tree(target.get(), top.fd()));
  if (!attached) TRY(sys::attach_mount(top.fd(), target.get()));
  if (!nodes) TRY(bind_devices(top, spec.config));
  if (first != options.attributes.set) TRY(sys::set_mount_attributes(top.fd(), {kReadOnly, 0, 0}, false));
  if (options.propagation != 0) TRY(sys::set_mount_attributes(top.fd(), {0, 0, options.propagation}, options.propagation_recursive));
  if (dev && first == options.attributes.set) building.fresh_dev = std::move(top);
  return {};
}

Result<> mount_one(Building& building, const Mount& mount) {
  const sys::Root& root = building.root;
  MountOptions options = parse_mount_options(mount);
  if (options.remount) {
    TRY_ASSIGN(sys::Fd target, root.open_file(mount.destination, O_PATH));
    TRY(sys::set_mount_attributes(target.get(), options.attributes, false));
    return sys::set_mount_attributes(target.get(), options.recursive, true);
  }
  if (options.bind) return mount_bind(root, mount, options);
  if (mount.type == "cgroup" || mount.type == "cgroup2") return mount_cgroups(building, mount, options);
  return mount_file_system(building, mount, options);
}

// /dev where the image's own directory stays: nodes are made in it. A /dev that is bound is as its owner made it.
Result<> fill_plain_dev(const sys::Root& root, const ContainerConfig& config) {
  for (const Mount& mount : config.mounts) {
    if (mount.destination != "/dev" && mount.destination != "/dev/") continue;
    if (mount.type == "tmpfs" || parse_mount_options(mount).bind) return {};
  }
  TRY_ASSIGN(sys::Fd directory, root.make_directories("/dev"));
  sys::Root dev(std::move(directory));
  TRY_ASSIGN(bool nodes, fill_dev(dev, config));
  return nodes ? Result<>() : bind_devices(dev, config);
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

// What the root file system stands on, which pivot_root wants unshared: it is where nothing of the host is shared here.
Result<> make_parent_private(int directory, std::uint64_t propagation) {
  if (propagation != kPropagationShared) return {};
  // Where the directory is a mount of its own this is enough; else it changes nothing.
  (void)sys::set_mount_attributes(directory, {0, 0, kPropagationPrivate}, false);
  TRY_ASSIGN(std::string point, sys::find_mount_point(directory));
  sys::Fd parent(::open(point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return fail_errno(cat("open ", point));
  return sys::set_mount_attributes(parent.get(), {0, 0, kPropagationPrivate}, false);
}

Result<sys::Fd> attach_root(const std::string& path, std::uint64_t of_host) {
  sys::Fd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(cat("open root file system ", path));
  TRY(make_parent_private(directory.get(), of_host));
  TRY_ASSIGN(sys::Fd mount, sys::clone_mount(directory.get(), true, {0, 0, kPropagationPrivate}));
  TRY(sys::attach_mount(mount.get(), directory.get()));
  leave_open(std::move(directory));
  return mount;
}

// On top of "/", which absolute paths still start below of.
Result<sys::Fd> attach_given_root(int root_fd) {
  sys::Fd host(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host) return fail_errno("open host root");
  sys::Fd mount(::fcntl(root_fd, F_DUPFD_CLOEXEC, 3));
  TRY(sys::attach_mount(mount.get(), host.get()));
  return mount;
}

}  // namespace

Result<sys::Root> build_root(const InitSpec& spec, const std::function<Result<>()>& before_pivot) {
  const ContainerConfig& config = spec.config;
  // Nothing that we mount may reach the host; what the host mounts later may reach us only where a mount asks for it.
  std::uint64_t propagation = find_propagation(config.rootfs_propagation).value_or(Propagation{kPropagationSlave, true}).flag;
  std::uint64_t of_host = propagation == kPropagationShared || propagation == kPropagationPrivate ? propagation : kPropagationSlave;
  TRY(sys::set_propagation("/", of_host, true));

  TRY_ASSIGN(sys::Fd mount, spec.root_fd >= 0 ? attach_given_root(spec.root_fd) : attach_root(config.rootfs, of_host));
  sys::Root root(std::move(mount));


  // A mount namespace that was joined, and one of a user namespace, have mounts that somebody else chose.
  const Namespace* joined = find_namespace(config, NamespaceType::kMount);
  Building building{spec, root, (joined == nullptr || joined->path.empty()) && find_namespace(config, NamespaceType::kUser) == nullptr, std::nullopt};
  for (const Mount& one : config.mounts) {
    Result<> mounted = mount_one(building, one);
    if (!mounted) return fail(std::move(mounted).error().with(cat("mount ", one.destination)));
  }
  TRY(fill_plain_dev(root, config));
  TRY(make_other_devices(root, config));
  // Created while the root can still be written.
  if (config.process.cwd != "/" && !root.stat(config.process.cwd)) (void)root.make_directories(config.process.cwd);
  if (before_pivot) TRY(before_pivot());
  TRY(hide_paths(root, config, building.by_path));
  if (config.rootfs_readonly) TRY(sys::set_mount_attributes(root.fd(), {MOUNT_ATTR_RDONLY, 0, 0}, false));
  TRY(change_root(root, spec.pivot));
  if (propagation == kPropagationShared || propagation == kPropagationUnbindable) TRY(sys::set_mount_attributes(root.fd(), {0, 0, propagation}, false));
  return root;
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
