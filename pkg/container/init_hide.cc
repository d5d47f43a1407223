// Masked and read-only paths: what the kernel shows and a container must not see or change.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "base/strings.h"
#include "container/init_steps.h"
#include "container/mount_options.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

constexpr std::uint64_t kSealed = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Covers for masked paths: the null device over files, an empty directory over directories.
class Covers {
 public:
  Covers(const sys::Root& root, bool by_path) : root_(root), by_path_(by_path) {}

  Result<> put_over(int target, const std::string& path) {
    struct ::stat info = {};
    if (::fstat(target, &info) < 0) return fail_errno("stat");
    return S_ISDIR(info.st_mode) ? hide_directory(target, path) : hide_file(target);
  }
  void done() {
    leave_open(std::move(null_device_));
    leave_open(std::move(empty_directory_));
  }

 private:
  Result<> hide_file(int target) {
    // A null device that the image or a volume has put there instead would be bound over what must be hidden (CVE-2025-31133).
    if (!null_device_) {
      TRY_ASSIGN(null_device_, root_.open_file("/dev/null", O_PATH | O_NOFOLLOW));
      struct ::stat info = {};
      if (::fstat(null_device_.get(), &info) < 0) return fail_errno("stat /dev/null");
      if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) return fail(Code::kFailedPrecondition, "/dev/null of the container is not the null device");
    }
    if (by_path_) return sys::bind_at_once(sys::fd_path(null_device_.get()), sys::fd_path(target));
    TRY_ASSIGN(sys::Fd cover, sys::clone_mount(null_device_.get(), false));
    return sys::attach_mount(cover.get(), target);
  }

  // All directories by one.
  Result<> hide_directory(int target, const std::string& path) {
    if (by_path_ && empty_directory_) return sys::bind_at_once(sys::fd_path(empty_directory_.get()), sys::fd_path(target));
    if (by_path_ && sys::mount_at_once("tmpfs", "tmpfs", {{"ro", ""}, {"nr_blocks", "1"}, {"nr_inodes", "1"}}, kSealed & ~static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY), sys::fd_path(target))) {
      TRY_ASSIGN(empty_directory_, root_.open_file(path, O_PATH));
      return {};
    }
    if (!empty_directory_) {
      // The first is attached itself and the others are copies of it: a copy of a mount that is not attached needs 6.15.
      TRY_ASSIGN(empty_directory_, sys::make_file_system("tmpfs", "tmpfs", {{"nr_blocks", "1"}, {"nr_inodes", "1"}}, kSealed));
      return sys::attach_mount(empty_directory_.get(), target);
    }
    TRY_ASSIGN(sys::Fd cover, sys::clone_mount(empty_directory_.get(), false));
    return sys::attach_mount(cover.get(), target);
  }

  const sys::Root& root_;
  bool by_path_;
  sys::Fd null_device_;
  sys::Fd empty_directory_;
};

Result<> make_read_only(int target) {
  TRY_ASSIGN(sys::Fd copy, sys::clone_mount(target, true, {MOUNT_ATTR_RDONLY, 0, kPropagationPrivate}));
  TRY(sys::attach_mount(copy.get(), target));
  leave_open(std::move(copy));
  return {};
}

// Nothing there to hide. Any other error leaves open whether there is.
bool is_absent(const Error& error) { return error.os_errno() == ENOENT || error.os_errno() == ENOTDIR; }

}  // namespace

Result<> hide_paths(const sys::Root& root, const ContainerConfig& config, bool by_path) {
  Covers covers(root, by_path);
  for (const std::string& path : config.masked_paths) {
    Result<sys::Fd> target = root.open_file(path, O_PATH);
    if (!target && is_absent(target.error())) continue;
    if (!target) return fail(std::move(target).error().with(cat("mask ", path)));
    Result<> hidden = covers.put_over(target->get(), path);
    if (!hidden) return fail(std::move(hidden).error().with(cat("mask ", path)));
    leave_open(std::move(*target));
  }
  covers.done();
  for (const std::string& path : config.readonly_paths) {
    Result<sys::Fd> target = root.open_file(path, O_PATH);
    if (!target && is_absent(target.error())) continue;
    if (!target) return fail(std::move(target).error().with(cat("make read-only ", path)));
    Result<> done = make_read_only(target->get());
    if (!done) return fail(std::move(done).error().with(cat("make read-only ", path)));
    leave_open(std::move(*target));
  }
  return {};
}

}  // namespace monopod::container
