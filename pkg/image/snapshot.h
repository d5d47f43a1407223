// A container's root file system: overlayfs over the image's unpacked layers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::image {

// Plain mount instructions; the directories belong to the ImageStore and live until remove_snapshot().
struct Snapshot {
  std::string container_id;
  std::string image_id;
  std::vector<std::string> lowerdirs;  // topmost layer first, never empty
  std::string upperdir;                // empty: read-only
  std::string workdir;
};

// "trusted.overlay.opaque"; "user.overlay.opaque" in a user namespace, where the kernel reads that one (mount option userxattr).
std::string overlay_xattr(std::string_view name);

// Blocking; mounts in the calling thread's mount namespace. target must be an existing directory.
// Any number of layers works: where the option text would not fit a page, directories are passed as /proc/self/fd.
Result<> mount_snapshot(const Snapshot& snapshot, const std::string& target);
// Idempotent: a target that is not a mount point is no error. Lazy (MNT_DETACH).
Result<> unmount_snapshot(const std::string& target);

}  // namespace monopod::image
