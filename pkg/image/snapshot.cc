#include "image/snapshot.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/strings.h"
#include "image/layer_mount.h"
#include "image/mapped_snapshot.h"
#include "sys/fd.h"
#include "sys/namespaces.h"
#include "sys/root.h"

namespace monopod::image {
namespace {

constexpr std::size_t kOptionBytesMax = 3900;  // mount(2) takes one page

// ':' and ',' part the options, '\' escapes: such paths go by descriptor.
bool is_plain(const std::string& path) { return path.find_first_of(":,\\") == std::string::npos; }

// Of layers that are directories, as far as their names go.
Result<> mount_overlay(const Snapshot& snapshot, const std::string& target) {
  std::size_t bytes = snapshot.upperdir.size() + snapshot.workdir.size() + 64;
  bool plain = is_plain(snapshot.upperdir) && is_plain(snapshot.workdir);
  for (const std::string& dir : snapshot.lowerdirs) {
    bytes += dir.size() + 1;
    plain = plain && is_plain(dir);
  }
  std::vector<sys::Fd> held;
  bool by_fd = !plain || bytes > kOptionBytesMax;
  auto name_of = [&held, by_fd](const std::string& dir) -> Result<std::string> {
    if (!by_fd) return dir;
    sys::Fd fd(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_errno(cat("open ", dir));
    std::string name = sys::fd_path(fd.get());
    held.push_back(std::move(fd));
    return name;
  };
  // No features that a later mount with other kernel defaults would refuse or misread.
  std::string options = cat("index=off,metacopy=off,", sys::in_initial_user_namespace() ? "" : "userxattr,", "lowerdir=");
  for (std::size_t i = 0; i < snapshot.lowerdirs.size(); ++i) {
    TRY_ASSIGN(std::string name, name_of(snapshot.lowerdirs[i]));
    if (i > 0) options += ':';
    options += name;
  }
  if (!snapshot.upperdir.empty()) {
    TRY_ASSIGN(std::string upper, name_of(snapshot.upperdir));
    TRY_ASSIGN(std::string work, name_of(snapshot.workdir));
    options += cat(",upperdir=", upper, ",workdir=", work);
  }
  if (options.size() > kOptionBytesMax) return fail(Code::kResourceExhausted, cat("mount ", target, ": too many layers"));
  unsigned long flags = snapshot.upperdir.empty() ? MS_RDONLY : 0;
  if (::mount("overlay", target.c_str(), "overlay", flags, options.c_str()) != 0) return fail_errno(cat("mount overlay on ", target));
  return {};
}

}  // namespace

Result<> mount_snapshot(const Snapshot& given, const std::string& target) {
  if (given.lowerdirs.empty()) return fail(Code::kInvalidArgument, cat("mount ", target, ": snapshot without layers"));
  Snapshot snapshot = given;
  LayerMounts own;
  if (snapshot.open.empty()) TRY(own.open(snapshot));
  bool images = false;
  for (std::size_t i = 0; i < snapshot.lowerdirs.size(); ++i) {
    if (!snapshot.open[i]) continue;
    images = true;
    snapshot.lowerdirs[i] = sys::fd_path(snapshot.open[i]->fs.fd());
  }
  Result<> mounted = mount_overlay(snapshot, target);
  // Before Linux 6.15 overlayfs takes no layer from a mount that is attached nowhere.
  if (!mounted && images && mounted.error().os_errno() == EINVAL) return mount_attached(given, target, -1);
  return mounted;
}

std::string overlay_xattr(std::string_view name) { return cat(sys::in_initial_user_namespace() ? "trusted" : "user", ".overlay.", name); }

Result<> unmount_snapshot(const std::string& target) {
  if (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) return {};
  return fail_errno(cat("unmount ", target));
}

}  // namespace monopod::image
