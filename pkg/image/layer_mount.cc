#include "image/layer_mount.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>

#include "base/strings.h"
#include "image/erofs_layer.h"
#include "image/snapshot.h"
#include "sys/mounts.h"

namespace monopod::image {
namespace {

constexpr char kNeeds[] =
    "layers as erofs need root of the host and a kernel with CONFIG_EROFS_FS and CONFIG_EROFS_FS_BACKED_BY_FILE (since Linux 6.12) or loop devices; erofs-zstd CONFIG_EROFS_FS_ZIP_ZSTD (since 6.10)";

// Where the kernel mounts no files, or none of this file system (a tmpfs). The device goes with the mount.
Result<sys::Fd> mount_through_loop(const std::string& image) {
  constexpr int kTries = 16;  // another may take the number that was free
  sys::Fd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(cat("open ", image));
  sys::Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return fail_errno("open /dev/loop-control");
  for (int i = 0; i < kTries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return fail_errno("find a free loop device");
    const std::string path = cat("/dev/loop", number);
    sys::Fd device(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!device) return fail_errno(cat("open ", path));
    struct ::loop_config config = {};
    config.fd = static_cast<__u32>(file.get());
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return sys::make_file_system("erofs", path, {{"ro", ""}}, MOUNT_ATTR_RDONLY);
    if (errno != EBUSY) return fail_errno(cat("set up ", path));
  }
  return fail(Code::kUnavailable, "no loop device stays free");
}

}  // namespace

Result<LayerForm> parse_layer_form(std::string_view text) {
  if (text == "directory") return LayerForm::kDirectory;
  if (text == "erofs") return LayerForm::kErofs;
  if (text == "erofs-zstd") return LayerForm::kErofsZstd;
  return fail(Code::kInvalidArgument, cat("layers \"", text.substr(0, 50), "\": want directory, erofs or erofs-zstd"));
}

Result<sys::Fd> mount_layer_image(const std::string& image) {
  auto mount = sys::make_file_system("erofs", image, {}, MOUNT_ATTR_RDONLY);
  if (mount) return mount;
  const int why = mount.error().os_errno();
  if (why == ENOTBLK || why == EINVAL) {
    auto through_loop = mount_through_loop(image);
    if (through_loop) return through_loop;
    mount = fail(std::move(through_loop).error());
  }
  if (constexpr std::array kLacks = {ENOTBLK, ENODEV, ENXIO, ENOENT, EPERM, EOPNOTSUPP, EINVAL}; std::ranges::find(kLacks, mount.error().os_errno()) != kLacks.end())
    return fail(Code::kFailedPrecondition, cat(mount.error().message(), ": ", kNeeds));
  return fail(std::move(mount).error());
}

Result<OpenLayer> open_layer_image(const std::string& image) {
  TRY_ASSIGN(sys::Fd mount, mount_layer_image(image));
  sys::Fd fs(::openat(mount.get(), "fs", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fs) return fail_errno(cat("open ", image));
  std::optional<sys::Root> kept;
  if (sys::Fd found(::openat(mount.get(), "kept", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); found) kept.emplace(std::move(found));
  return OpenLayer{.mount = std::move(mount), .fs = sys::Root(std::move(fs)), .kept = std::move(kept)};
}

std::optional<std::string> find_layer_image(const std::string& directory) {
  if (::access(directory.c_str(), F_OK) == 0) return std::nullopt;
  std::string image = directory.substr(0, directory.rfind('/')) + "/erofs";
  if (::access(image.c_str(), F_OK) != 0) return std::nullopt;
  return image;
}

Result<OpenLayer> open_layer(const std::string& directory) {
  if (auto image = find_layer_image(directory)) return open_layer_image(*image);
  TRY_ASSIGN(sys::Root fs, sys::Root::open(directory));
  return OpenLayer{.mount = {}, .fs = std::move(fs), .kept = {}};
}

Result<> LayerMounts::open(Snapshot& snapshot) {
  std::lock_guard lock(mutex_);
  std::erase_if(open_, [](const auto& item) { return item.second.expired(); });
  snapshot.open.assign(snapshot.lowerdirs.size(), nullptr);
  for (std::size_t i = 0; i < snapshot.lowerdirs.size(); ++i) {
    auto image = find_layer_image(snapshot.lowerdirs[i]);
    if (!image) continue;
    std::weak_ptr<const OpenLayer>& known = open_[*image];
    snapshot.open[i] = known.lock();
    if (snapshot.open[i]) continue;
    TRY_ASSIGN(OpenLayer opened, open_layer_image(*image));
    known = snapshot.open[i] = std::make_shared<const OpenLayer>(std::move(opened));
  }
  return {};
}

Result<> check_layer_form(const sys::Root& directory, LayerForm form) {
  if (form == LayerForm::kDirectory) return {};
  constexpr char kName[] = "probe";
  TRY_ASSIGN(sys::Fd file, directory.open_no_symlinks(kName, O_RDWR | O_CREAT | O_TRUNC, 0600));
  const std::string path = cat(sys::fd_path(directory.fd()), "/", kName);
  ErofsLayer layer(std::move(file), form == LayerForm::kErofsZstd);
  const std::string nothing(2 * kTarBlock, '\0');
  codec::MemorySource tar(nothing);
  auto unpacked = layer.unpack(tar, {}, std::atomic<bool>(false), nullptr);
  Result<> done = unpacked ? layer.finish() : fail(std::move(unpacked).error());
  if (done) {
    auto mount = mount_layer_image(path);
    if (!mount) done = fail(std::move(mount).error());
  }
  TRY(directory.remove_file(kName));
  return done;
}

}  // namespace monopod::image
