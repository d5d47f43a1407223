// A directory as the whole world: every path that an image, a container, a guest or a client can influence is resolved by
// openat2(RESOLVE_IN_ROOT) below one directory descriptor, and acted on by descriptor. "..", absolute symlinks and
// magic links cannot leave it, also while another process swaps path components (CVE-2021-30465, CVE-2024-45310 classes).
//
// Paths are relative to the root; a leading "/" means the root itself. Where the last component is created, removed or
// renamed it is never followed: its parent is resolved first, then the name is acted on by the *at call.
// Errors: kInvalidArgument for an empty, over-long, NUL or ".." last component; else the errno's code.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.h"

namespace monopod::sys {

inline constexpr std::size_t kPathBytesMax = 4095;

struct DirEntry {
  std::string name;
  unsigned char type = 0;  // DT_*
  std::uint64_t inode = 0;
};

class Root {
 public:
  // The directory itself is the host's and trusted: symlinks on the way to it are followed.
  static Result<Root> open(const std::string& path);
  explicit Root(Fd directory) : directory_(std::move(directory)) {}

  int fd() const { return directory_.get(); }
  Result<Root> duplicate() const;

  // openat2 with O_CLOEXEC added. Symlinks are followed inside the root; pass O_NOFOLLOW to refuse one as the last component
  // (with O_PATH: to get the link itself). mode only with O_CREAT.
  Result<Fd> open_file(std::string_view path, int flags, mode_t mode = 0) const;
  // As open_file, but any symlink on the way is an error (ELOOP).
  Result<Fd> open_no_symlinks(std::string_view path, int flags, mode_t mode = 0) const;
  // A directory below as a root of its own: nothing resolved through it gets above it.
  Result<Root> open_root(std::string_view path) const;

  // The descriptor (O_PATH) of the parent and the last component, for *at calls.
  struct Parent {
    Fd directory;
    std::string name;
  };
  Result<Parent> open_parent(std::string_view path) const;

  // Makes what is missing with this mode (umask applies), following symlinks inside the root. Returns the directory, O_PATH.
  Result<Fd> make_directories(std::string_view path, mode_t mode = 0755) const;
  Result<> make_directory(std::string_view path, mode_t mode) const;  // one level; kAlreadyExists
  Result<> make_symlink(std::string_view target, std::string_view path) const;
  // Existing name, not followed if it is a symlink.
  Result<> make_hard_link(std::string_view existing, std::string_view path) const;
  Result<> make_node(std::string_view path, mode_t type_and_mode, dev_t device) const;

  Result<> remove_file(std::string_view path) const;       // kNotFound where absent
  Result<> remove_directory(std::string_view path) const;  // empty ones
  // The name and all below it, never following a symlink and never leaving the file system that the name is on. Absent is no error.
  Result<> remove_tree(std::string_view path) const;
  Result<> rename(std::string_view from, std::string_view to) const;

  Result<struct ::stat> stat(std::string_view path) const;   // follows inside the root
  Result<struct ::stat> lstat(std::string_view path) const;  // the name itself
  Result<std::string> read_link(std::string_view path) const;
  // Without "." and "..", in the order of the file system.
  Result<std::vector<DirEntry>> read_directory(std::string_view path) const;

  Result<std::string> read_file(std::string_view path, std::size_t bytes_max) const;  // kResourceExhausted past the limit
  // Creates or truncates; the last component is not followed.
  Result<> write_file(std::string_view path, std::string_view bytes, mode_t mode) const;

 private:
  Fd directory_;
};

// "/proc/self/fd/N": for calls that take only a path but should act on a descriptor.
std::string fd_path(int fd);

// Whole content of a regular, pipe or proc file; kResourceExhausted past bytes_max.
Result<std::string> read_all(int fd, std::size_t bytes_max);
Result<> write_all(int fd, std::string_view bytes);
Result<std::string> read_host_file(const std::string& path, std::size_t bytes_max = 1 << 20);
// One write(2) to an existing file (proc, cgroup): the kernel sees it whole.
Result<> write_host_file(const std::string& path, std::string_view bytes);

}  // namespace monopod::sys
