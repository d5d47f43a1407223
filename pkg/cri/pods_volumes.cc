// Images as volumes (KEP-4639), and all that a container has mounted. A volume is a snapshot of its own, "cri-<container>.v<number of the mount>", mounted beside
// the container's root and bound into it read-only.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "cri/messages.h"
#include "cri/pods.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::cri {

using async::Task;

// The container's record tells which image each is: image_ref.
Task<Result<>> Pods::mount_volumes(ContainerPtr c, const sys::IdMaps& maps) {
  const json::Array* mounts = json::get_array(c->config, {"mounts"});
  std::size_t count = mounts == nullptr ? 0 : mounts->size();
  for (std::size_t i = 0; i < count; ++i) {
    json::Value& mount = c->config.get_object()["mounts"].get_array()[i];
    if (json::find(mount, {"image"}) == nullptr) continue;
    std::string wanted(json::get_string(mount, {"image", "image"}));
    std::optional<image::Image> image = parts_.images.find(wanted);
    if (!image) co_return refuse(Code::kNotFound, {"mount ", json::get_string(mount, {"container_path"}), ": failed to resolve image \"", wanted, "\": not found"});
    json::at_path(mount, {"image", "image_ref"}) = image->id;
    CO_TRY(co_await mount_image(cat(runtime_id(c->id), ".v", i), image->id, directories_.volume(c->id, i), maps));
  }
  co_return Result<>();
}

Task<Result<>> Pods::mount_image(std::string snapshot, std::string image_id, std::string target, const sys::IdMaps& maps) {
  CO_TRY(co_await parts_.images.prepare_snapshot(snapshot, std::move(image_id)));
  CO_TRY(co_await on_pool([&] { return sys::make_directories(target, 0711); }));
  co_return co_await parts_.images.mount(std::move(snapshot), std::move(target), maps);
}

// What an image declares as volumes stays writable below a read-only root: in another snapshot of the image, which begins with what is there.
Task<Result<std::string>> Pods::mount_declared(std::string id, std::string image_id, std::vector<std::string> volumes, const sys::IdMaps& maps) {
  std::string target = directories_.runtime(id) + "/volumes";
  CO_TRY(co_await mount_image(runtime_id(id) + ".own", std::move(image_id), target, maps));
  CO_TRY(co_await on_pool([&]() -> Result<> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(target));
    for (const std::string& path : volumes) {
      TRY_ASSIGN(sys::Fd made, root.make_directories(path.substr(1)));
      struct ::stat st = {};  // one that the image lacks belongs to the node's root
      bool made_now = !maps.empty() && ::fstat(made.get(), &st) == 0 && st.st_uid == 0;
      if (made_now && ::fchownat(made.get(), "", maps.uids[0].outside, maps.gids[0].outside, AT_EMPTY_PATH) != 0) return fail_errno(cat("give away ", path));
    }
    return {};
  }));
  co_return target;
}

// Of a container, or what looks like one.
Task<> Pods::unmount(std::string id) {
  warn("cannot unmount a container's root", id, co_await parts_.images.unmount(directories_.rootfs(id)));
  std::string directory = directories_.runtime(id);
  for (const std::string& name : sys::list_directory(directory))
    if (name.starts_with("volume")) warn("cannot unmount an image's volume", id, co_await parts_.images.unmount(cat(directory, "/", name)));
}

Task<> Pods::remove_snapshots(std::string id) {
  std::string own = runtime_id(id), volumes = own + ".";
  for (const std::string& name : parts_.images.list_snapshots())
    if (name == own || name.starts_with(volumes)) warn("cannot remove a snapshot", id, co_await parts_.images.remove_snapshot(name));
}

}  // namespace monopod::cri
