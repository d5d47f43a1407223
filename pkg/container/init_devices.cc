// Device nodes of a container, by descriptor below its own /dev; where nodes may not be made (user namespaces), the host's are bound.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/strings.h"
#include "container/init_steps.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

constexpr std::size_t kCopyDepthMax = 64;

const std::array kStandardDevices = {Device{"/dev/null", 'c', 1, 3},   Device{"/dev/zero", 'c', 1, 5},    Device{"/dev/full", 'c', 1, 7},
                                     Device{"/dev/random", 'c', 1, 8}, Device{"/dev/urandom", 'c', 1, 9}, Device{"/dev/tty", 'c', 5, 0}};
constexpr std::array kDevLinks = {std::pair("fd", "/proc/self/fd"), std::pair("stdin", "/proc/self/fd/0"), std::pair("stdout", "/proc/self/fd/1"),
                                  std::pair("stderr", "/proc/self/fd/2"), std::pair("ptmx", "pts/ptmx")};

mode_t node_type(const Device& device) { return device.type == 'b' ? S_IFBLK : device.type == 'p' ? S_IFIFO : S_IFCHR; }

bool is_device(const struct ::stat& info, const Device& device) {
  return (info.st_mode & S_IFMT) == node_type(device) && (device.type == 'p' || info.st_rdev == makedev(device.major, device.minor));
}

Result<> own_node(int directory, const char* name, const Device& device) {
  if (device.uid == 0 && device.gid == 0) return {};  // as it was made
  if (::fchownat(directory, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(cat("own ", device.path));
  return {};
}

// path: as it is called inside of root. What is there already stays where it is that device, and is an error where it is something else.
Result<> make_node(const sys::Root& root, const std::string& path, const Device& device) {
  mode_t mode = node_type(device) | (device.file_mode & 07777);
  dev_t number = makedev(device.major, device.minor);
  // A plain name needs no walk.
  bool plain = path.find('/') == std::string::npos;
  if (plain && ::mknodat(root.fd(), path.c_str(), mode, number) == 0) return own_node(root.fd(), path.c_str(), device);
  Result<> made = root.make_node(path, mode, number);
  if (!made && made.error().os_errno() == EEXIST) {
    TRY_ASSIGN(struct ::stat info, root.lstat(path));
    if (!is_device(info, device)) return fail(Code::kFailedPrecondition, cat(device.path, " of the container is not the device that it should be"));
  } else {
    TRY(std::move(made));
  }
  TRY_ASSIGN(sys::Root::Parent parent, root.open_parent(path));
  return own_node(parent.directory.get(), parent.name.c_str(), device);
}

Result<> bind_node(const sys::Root& root, const std::string& path, const Device& device) {
  sys::Fd host(::open(device.path.c_str(), O_PATH | O_CLOEXEC));
  if (!host) return fail_errno(cat("open the host's ", device.path));
  struct ::stat info = {};
  if (::fstat(host.get(), &info) < 0) return fail_errno(cat("stat ", device.path));
  if (!is_device(info, device)) return fail(Code::kFailedPrecondition, cat("the host's ", device.path, " is another device, and a node may not be made here"));
  Result<sys::Fd> file = root.open_file(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0644);
  if (!file && file.error().os_errno() != EEXIST) return fail(std::move(file).error());
  TRY_ASSIGN(sys::Fd target, root.open_no_symlinks(path, O_PATH));
  TRY_ASSIGN(sys::Fd copy, sys::clone_mount(host.get(), false));
  return sys::attach_mount(copy.get(), target.get());
}

// Every device of /dev with its name below it.
template <typename F>
Result<> for_each_device(const sys::Root& dev, const ContainerConfig& config, F make) {
  auto listed = [&](const std::string& path) {
    return std::any_of(config.devices.begin(), config.devices.end(), [&](const Device& d) { return d.path == path; });
  };
  for (const Device& device : kStandardDevices) {
    if (!listed(device.path)) TRY(make(device.path.substr(5), device));
  }
  for (const Device& device : config.devices) {
    if (!device.path.starts_with("/dev/")) continue;
    std::string name = device.path.substr(5);
    if (std::size_t slash = name.rfind('/'); slash != std::string::npos) TRY(dev.make_directories(name.substr(0, slash)));
    TRY(make(name, device));
  }
  return {};
}

Result<> copy_below(sys::Fd from_fd, sys::Fd to_fd, std::size_t depth) {
  if (depth > kCopyDepthMax) return fail(Code::kResourceExhausted, "copy to tmpfs: directories are nested too deeply");
  sys::Root from(std::move(from_fd));
  sys::Root to(std::move(to_fd));
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, from.read_directory("."));
  for (const sys::DirEntry& entry : entries) {
    TRY_ASSIGN(struct ::stat info, from.lstat(entry.name));
    mode_t mode = info.st_mode & 07777;
    if (S_ISDIR(info.st_mode)) {
      TRY(to.make_directory(entry.name, mode));
      TRY_ASSIGN(sys::Fd below, from.open_file(entry.name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      TRY_ASSIGN(sys::Fd copy, to.open_file(entry.name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      TRY(copy_below(std::move(below), std::move(copy), depth + 1));
    } else if (S_ISLNK(info.st_mode)) {
      TRY_ASSIGN(std::string link, from.read_link(entry.name));
      TRY(to.make_symlink(link, entry.name));
    } else if (S_ISREG(info.st_mode)) {
      TRY_ASSIGN(sys::Fd in, from.open_file(entry.name, O_RDONLY | O_NOFOLLOW));
      TRY_ASSIGN(sys::Fd out, to.open_file(entry.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
      for (ssize_t n = 1; n > 0;) {
        n = ::sendfile(out.get(), in.get(), nullptr, 1U << 30);
        if (n < 0) return fail_errno(cat("copy ", entry.name));
      }
    } else {
      TRY(to.make_node(entry.name, info.st_mode, info.st_rdev));
    }
    TRY_ASSIGN(sys::Root::Parent parent, to.open_parent(entry.name));
    if (::fchownat(parent.directory.get(), parent.name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno(cat("own ", entry.name));
    if (!S_ISLNK(info.st_mode) && ::fchmodat(parent.directory.get(), parent.name.c_str(), mode, 0) < 0) return fail_errno(cat("copy mode of ", entry.name));
  }
  return {};
}

}  // namespace

Result<bool> fill_dev(const sys::Root& dev, const ContainerConfig& config) {
  for (const auto& [name, target] : kDevLinks) {
    if (::symlinkat(target, dev.fd(), name) < 0 && errno != EEXIST) return fail_errno(cat("make /dev/", name));
  }
  if (config.process.terminal) {
    Result<sys::Fd> console = dev.open_file("console", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0620);
    if (!console && console.error().os_errno() != EEXIST) return fail(std::move(console).error());
  }
  Result<> made = for_each_device(dev, config, [&](const std::string& name, const Device& device) { return make_node(dev, name, device); });
  if (!made && made.error().os_errno() == EPERM) return false;
  if (!made) return fail(std::move(made).error());
  return true;
}

Result<> bind_devices(const sys::Root& dev, const ContainerConfig& config) {
  return for_each_device(dev, config, [&](const std::string& name, const Device& device) { return bind_node(dev, name, device); });
}

Result<> make_other_devices(const sys::Root& root, const ContainerConfig& config) {
  for (const Device& device : config.devices) {
    if (device.path.starts_with("/dev/")) continue;
    TRY(root.make_directories(device.path.substr(0, device.path.rfind('/') + 1)));
    Result<> made = make_node(root, device.path, device);
    if (!made && made.error().os_errno() == EPERM) made = bind_node(root, device.path, device);
    TRY(std::move(made));
  }
  return {};
}

Result<> copy_tree(int from, int to) {
  return copy_below(sys::Fd(::fcntl(from, F_DUPFD_CLOEXEC, 3)), sys::Fd(::fcntl(to, F_DUPFD_CLOEXEC, 3)), 0);
}

}  // namespace monopod::container
