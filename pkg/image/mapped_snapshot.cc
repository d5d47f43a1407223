// Layers that are attached, under other ids too: each is cloned, with a map, the clones stand in a mount namespace that ends with this call, and the overlay over them is all that leaves it.
#include "image/mapped_snapshot.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "image/layer_mount.h"
#include "sys/mounts.h"

namespace monopod::image {
namespace {

Result<std::uint32_t> outside(const std::vector<sys::IdMap>& maps, std::uint32_t id) {
  for (const sys::IdMap& line : maps)
    if (id >= line.inside && id - line.inside < line.size) return line.outside + (id - line.inside);
  return fail(Code::kFailedPrecondition, cat("id ", id, " is not mapped"));
}

// The top of what the container sees: its own from the beginning.
Result<> give_upper(const Snapshot& snapshot, const sys::IdMaps& maps) {
  TRY_ASSIGN(OpenLayer first, open_layer(snapshot.lowerdirs.front()));
  struct ::stat top = {};
  if (::fstat(first.fs.fd(), &top) != 0) return fail_errno(cat("stat ", snapshot.lowerdirs.front()));
  TRY_ASSIGN(std::uint32_t uid, outside(maps.uids, top.st_uid));
  TRY_ASSIGN(std::uint32_t gid, outside(maps.gids, top.st_gid));
  if (::chown(snapshot.upperdir.c_str(), uid, gid) != 0 || ::chmod(snapshot.upperdir.c_str(), top.st_mode & 07777) != 0) return fail_errno(cat("give away ", snapshot.upperdir));
  return {};
}

// A mount of the layer that nothing else refers to; of an image, the whole of it.
Result<sys::Fd> mount_layer(const std::string& layer, const OpenLayer* open) {
  if (open == nullptr) return sys::clone_mount(layer, false);
  auto clone = sys::clone_mount(open->mount.get(), false);
  if (clone || clone.error().os_errno() != EINVAL) return clone;
  return mount_layer_image(find_layer_image(layer).value_or(layer));  // before Linux 6.15 a mount that is attached nowhere has no clones
}

Result<> attach_layer(const std::string& layer, const OpenLayer* open, int map, int directory, const std::string& name) {
  TRY_ASSIGN(sys::Fd mount, mount_layer(layer, open));
  Result<> mapped = sys::set_mount_attributes(mount.get(), {.set = MOUNT_ATTR_RDONLY, .id_map = map}, false);
  if (!mapped && mapped.error().os_errno() == EINVAL) return fail(Code::kInvalidArgument, cat("layer ", layer, ": its file system may have no id-mapped mounts"));
  TRY(std::move(mapped));
  if (::mkdirat(directory, name.c_str(), 0700) != 0) return fail_errno(cat("make ", name));
  return sys::attach_mount_at(mount.get(), directory, name.c_str());
}

// In a mount namespace of its own, below a tmpfs over the target that nobody else sees. The overlay as a detached mount.
Result<sys::Fd> build(const Snapshot& snapshot, const std::string& target, int map) {
  if (!sys::mount_at_once("tmpfs", "layers", {{"mode", "700"}}, 0, target)) return fail_errno(cat("mount tmpfs on ", target));
  sys::Fd directory(::open(target.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(cat("open ", target));
  Snapshot mapped = snapshot;
  for (std::size_t i = 0; i < mapped.lowerdirs.size(); ++i) {
    const std::string name = cat(i);
    const OpenLayer* open = snapshot.open[i].get();
    TRY(attach_layer(snapshot.lowerdirs[i], open, map, directory.get(), name));
    mapped.lowerdirs[i] = cat(target, "/", name, open != nullptr ? "/fs" : "");
    mapped.open[i] = nullptr;
  }
  std::string merged = target + "/merged";
  if (::mkdirat(directory.get(), "merged", 0700) != 0) return fail_errno(cat("make ", merged));
  TRY(mount_snapshot(mapped, merged));
  return sys::clone_mount(merged, false);
}

}  // namespace

Result<> mount_attached(const Snapshot& given, const std::string& target, int map) {
  Snapshot snapshot = given;
  LayerMounts own;
  if (snapshot.open.empty()) TRY(own.open(snapshot));
  sys::Fd overlay;
  TRY(sys::run_with_private_mounts([&]() -> Result<> {
    TRY_ASSIGN(overlay, build(snapshot, target, map));
    return {};
  }));
  sys::Fd at(::open(target.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return fail_errno(cat("open ", target));
  return sys::attach_mount(overlay.get(), at.get());
}

Result<> mount_mapped_snapshot(const Snapshot& snapshot, const std::string& target, const sys::IdMaps& maps) {
  if (snapshot.lowerdirs.empty()) return fail(Code::kInvalidArgument, cat("mount ", target, ": snapshot without layers"));
  if (!snapshot.upperdir.empty()) TRY(give_upper(snapshot, maps));
  TRY_ASSIGN(sys::Fd map, sys::make_user_namespace(maps.uids, maps.gids));
  return mount_attached(snapshot, target, map.get());
}

Result<> check_mapped_snapshots(const std::string& directory) {
  if (!sys::in_initial_user_namespace()) return fail(Code::kFailedPrecondition, "this process is in a user namespace itself");
  std::vector<sys::IdMap> one{{0, 1, 1}};
  TRY_ASSIGN(sys::Fd map, sys::make_user_namespace(one, one));
  TRY_ASSIGN(sys::Fd clone, sys::clone_mount(directory, false));
  Result<> mapped = sys::set_mount_attributes(clone.get(), {.id_map = map.get()}, false);
  return mapped ? Result<>() : fail(std::move(mapped).error().with(cat("the file system of ", directory, " may have no id-mapped mounts")));
}

}  // namespace monopod::image
