// Mounts by descriptor (the mount API of Linux 5.2, mount_setattr of 5.12): a mount is made detached, given its attributes, and attached to
// a directory that was resolved before, so that no path is looked up twice (CVE-2021-30465, CVE-2025-31133 classes).
// Not named mount.h: pkg/ is an include directory, and <sys/mount.h> is glibc's.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sys/fd.h"

namespace monopod::sys {

struct MountAttributes {
  std::uint64_t set = 0;          // MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC, ...
  std::uint64_t clear = 0;
  std::uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0: as it is
  int id_map = -1;                // a user namespace whose maps the mount is seen through; once, while it is detached
};

// fsopen, fsconfig, fsmount: a detached mount. An option with an empty value is a flag. The kernel's own explanation is added to the error.
Result<Fd> make_file_system(const std::string& type, const std::string& source, const std::vector<std::pair<std::string, std::string>>& options,
                            std::uint64_t attributes);
// The same by mount(2), and attached, in one call instead of a dozen: target is a path that names a directory resolved before (fd_path), or a name in
// one that nobody else can change. false: it cannot be said that way (read-only is of the whole file system there), or the kernel does not take it;
// make_file_system tells why.
bool mount_at_once(const std::string& type, const std::string& source, const std::vector<std::pair<std::string, std::string>>& options, std::uint64_t attributes,
                   const std::string& target);
// The option {"ro", ""} makes the whole file system read-only.
// What source names is seen at target too; both paths as above. Attributes come along.
Result<> bind_at_once(const std::string& source, const std::string& target);
// A detached copy of what is mounted at the descriptor (bind).
Result<Fd> clone_mount(int fd, bool recursive);
Result<Fd> clone_mount(int fd, bool recursive, const MountAttributes& attributes);  // by one call since 6.15
Result<> set_mount_attributes(int mount_fd, const MountAttributes& attributes, bool recursive);
// The same of a path of the host's.
Result<Fd> clone_mount(const std::string& path, bool recursive);
Result<Fd> clone_mount(const std::string& path, bool recursive, const MountAttributes& attributes);
// MS_PRIVATE, MS_SLAVE, MS_SHARED of the mount at a path of the host's.
Result<> set_propagation(const char* path, std::uint64_t propagation, bool recursive);
// Onto name in a directory that nobody else can change.
Result<> attach_mount_at(int mount_fd, int directory, const char* name);
// Onto the very file or directory that target refers to.
Result<> attach_mount(int mount_fd, int target_fd);
// Moves what is mounted at the descriptor on top of "/" of this mount namespace (where pivot_root cannot work: an initramfs).
Result<> move_mount_to_root(int mount_fd);
// Lazily; what is not mounted is no error.
Result<> detach_mount(const std::string& path);

// Where the mount that a descriptor is on is mounted, in our own mount namespace.
Result<std::string> find_mount_point(int fd);

// The magic number of the file system a descriptor is on (PROC_SUPER_MAGIC, ...).
Result<std::uint64_t> file_system_magic(int fd);

}  // namespace monopod::sys
