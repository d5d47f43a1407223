#include "container/prepared_mounts.h"

#include <fcntl.h>

#include "base/strings.h"
#include "container/mount_options.h"
#include "sys/namespaces.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

Result<> map_ids(int mount_fd, const ContainerConfig& config, const Mount& mount, bool recursive) {
  bool own = !mount.uid_mappings.empty();
  TRY_ASSIGN(sys::Fd maps, sys::make_user_namespace(own ? mount.uid_mappings : config.uid_mappings, own ? mount.gid_mappings : config.gid_mappings));
  sys::MountAttributes mapped;
  mapped.id_map = maps.get();
  Result<> set = sys::set_mount_attributes(mount_fd, mapped, recursive);
  if (!set && set.error().os_errno() == EINVAL) return fail(std::move(set).error().with(cat("the file system of ", mount.source, " may have no id-mapped mounts")));
  return set;
}

// Empty: it is left to the first stage.
Result<sys::Fd> prepare(const ContainerConfig& config, const Mount& mount, const MountOptions& options) {
  TRY_ASSIGN(sys::Fd source, open_bind_source(mount));
  Result<sys::Fd> copy = sys::clone_mount(source.get(), options.bind_recursive);
  if (!copy) return options.id_map ? std::move(copy) : sys::Fd();  // rootless: the first stage may do in its own namespace what we may not
  if (options.id_map) TRY(map_ids(copy->get(), config, mount, options.id_map_recursive));
  TRY(set_bind_attributes(copy->get(), options));
  return copy;
}

}  // namespace

Result<> prepare_mounts(ContainerConfig& config, bool all, std::vector<sys::Fd>& out) {
  for (Mount& mount : config.mounts) {
    MountOptions options = parse_mount_options(mount);
    if (options.remount || !options.bind || (!options.id_map && !all)) continue;
    Result<sys::Fd> made = prepare(config, mount, options);
    if (!made) return fail(std::move(made).error().with(cat("mount ", mount.destination)));
    if (!*made) continue;
    mount.source_fd = 0;
    out.push_back(std::move(*made));
  }
  return {};
}

Result<sys::Fd> prepare_root(const std::string& path) {
  sys::Fd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(cat("open root file system ", path));
  Result<sys::Fd> mount = sys::clone_mount(directory.get(), true);
  if (!mount) return sys::Fd();
  TRY(sys::set_mount_attributes(mount->get(), {0, 0, kPropagationPrivate}, true));
  return mount;
}

}  // namespace monopod::container
