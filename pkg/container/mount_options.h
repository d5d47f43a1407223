// The option words of an OCI mount (runtime-spec config.md "Linux mount options"), sorted by who acts on them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "container/config.h"
#include "sys/mounts.h"

namespace monopod::container {

struct MountOptions {
  bool bind = false;
  bool bind_recursive = false;
  bool remount = false;             // attributes of what is mounted there already
  bool copy_up = false;             // tmpfs: begins with what the directory below holds
  bool id_map = false;              // idmap, ridmap: by the mount's own maps, else by those of the container's user namespace
  bool id_map_recursive = false;
  sys::MountAttributes attributes;
  sys::MountAttributes recursive;   // rro, rnosuid, ...: of all mounts below, too
  std::uint64_t propagation = 0;
  bool propagation_recursive = false;
  std::vector<std::pair<std::string, std::string>> data;  // for the file system; a flag has an empty value
};
MountOptions parse_mount_options(const Mount& mount);

// What is bound, by its path, or below it where a volume's subPath is (source_below: never out of it).
Result<sys::Fd> open_bind_source(const Mount& mount);

// A detached copy of what is bound: private unless asked otherwise, with its attributes.
Result<> set_bind_attributes(int mount_fd, const MountOptions& options);

struct Propagation {
  std::uint64_t flag = 0;  // MS_PRIVATE, ...
  bool recursive = false;
};
std::optional<Propagation> find_propagation(std::string_view word);  // private, rprivate, slave, ...

inline constexpr std::uint64_t kPropagationPrivate = 1U << 18;
inline constexpr std::uint64_t kPropagationSlave = 1U << 19;
inline constexpr std::uint64_t kPropagationShared = 1U << 20;
inline constexpr std::uint64_t kPropagationUnbindable = 1U << 17;

// What `features` lists.
std::vector<std::string> mount_option_names();

}  // namespace monopod::container
