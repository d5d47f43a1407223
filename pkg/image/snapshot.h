// A container's root file system: overlayfs over the image's unpacked layers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/namespaces.h"

namespace monopod::image {

struct OpenLayer;

// Plain mount instructions; the directories belong to the ImageStore and live until remove_snapshot().
struct Snapshot {
  std::string container_id;
  std::string image_id;
  std::vector<std::string> lowerdirs;  // topmost layer first, never empty; not there where the layer is an image (layer_mount.h)
  std::string upperdir;                // empty: read-only
  std::string workdir;
  std::vector<std::shared_ptr<const OpenLayer>> open = {};  // by LayerMounts, for a mount: as many as lowerdirs, null for directories
};

// "trusted.overlay.opaque"; "user.overlay.opaque" in a user namespace, where the kernel reads that one (mount option userxattr).
std::string overlay_xattr(std::string_view name);

// Blocking; mounts in the calling thread's mount namespace. target must be an existing directory.
// Any number of layers works: where the option text would not fit a page, directories are passed as /proc/self/fd. Images of layers that are not open
// yet are mounted for this snapshot alone.
Result<> mount_snapshot(const Snapshot& snapshot, const std::string& target);
// The same for a container of a user namespace: what is id 0's in the layers is that of its root, and so on; what the container writes is kept under the ids
// outside. Layers are seen through id-mapped mounts (overlayfs takes them since 5.19), of which none stays in sight: kInvalidArgument where their file system
// has none. Once for each snapshot, and no other mount of it after.
Result<> mount_mapped_snapshot(const Snapshot& snapshot, const std::string& target, const sys::IdMaps& maps);
// Whether that works with layers below directory; the error says why not.
Result<> check_mapped_snapshots(const std::string& directory);
// Idempotent: a target that is not a mount point is no error. Lazy (MNT_DETACH).
Result<> unmount_snapshot(const std::string& target);

}  // namespace monopod::image
