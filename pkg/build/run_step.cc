#include "build/run_step.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ranges>

#include "base/strings.h"
#include "codec/json.h"
#include "container/users.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

// Names that do not exist before, and the directories they are made in.
class MountPoints {
 public:
  explicit MountPoints(sys::Root root) : root_(std::move(root)) {}

  void note(const std::string& path) {
    std::string at, existing = ".";
    for (std::string_view part : split(path, '/')) {
      if (part.empty()) continue;
      at += cat(at.empty() ? "" : "/", part);
      if (root_.lstat(at)) existing = at;
      else if (std::ranges::find(made_, at) == made_.end()) made_.push_back(at);
    }
    std::string parent = existing;
    if (auto st = root_.stat(parent); st && S_ISDIR(st->st_mode) && std::ranges::find(parents_, parent, &Parent::path) == parents_.end()) parents_.push_back({parent, st->st_mtim});
  }

  // Only what is still empty: the step may have put something of its own there.
  void remove() {
    for (const std::string& path : std::views::reverse(made_)) {
      auto st = root_.lstat(path);
      if (!st) continue;
      if (S_ISDIR(st->st_mode)) {
        if (root_.remove_directory(path)) touched_ = true;
      } else if (S_ISREG(st->st_mode) && st->st_size == 0) {
        if (root_.remove_file(path)) touched_ = true;
      }
    }
    if (!touched_) return;
    for (const Parent& parent : std::views::reverse(parents_)) {
      // Setting a time would bring a directory of the layers below into this one.
      auto st = root_.stat(parent.path);
      if (!st || (st->st_mtim.tv_sec == parent.mtime.tv_sec && st->st_mtim.tv_nsec == parent.mtime.tv_nsec)) continue;
      auto fd = root_.open_file(parent.path, O_RDONLY | O_DIRECTORY);
      ::timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, parent.mtime};
      if (fd) (void)::futimens(fd->get(), times);
    }
  }

 private:
  struct Parent {
    std::string path;
    ::timespec mtime;
  };
  sys::Root root_;
  std::vector<std::string> made_;
  std::vector<Parent> parents_;
  bool touched_ = false;
};

container::Mount bind(std::string source, std::string destination, bool read_only) {
  container::Mount out{.destination = std::move(destination), .type = "bind", .source = std::move(source), .options = {"bind", read_only ? "ro" : "rw"}};
  return out;
}

class Bundle final : public StepBundle {
 public:
  Bundle(sys::Root root, std::string path) : points_(std::move(root)), path_(std::move(path)) {}
  ~Bundle() override {
    points_.remove();
    (void)::unlink(cat(path_, "/config.json").c_str());
    (void)::rmdir(path_.c_str());
  }
  Result<> write(const container::ContainerConfig& config) {
    for (const container::Mount& mount : config.mounts) points_.note(mount.destination);
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(cat("make directory ", path_));
    TRY_ASSIGN(sys::Root bundle, sys::Root::open(path_));
    json::Value document = container::format_config(config);
    return bundle.write_file("config.json", json::format(document), 0600);
  }

 private:
  MountPoints points_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<StepBundle>> StepBundle::make(const RunStep& step) {
  TRY_ASSIGN(sys::Root root, sys::Root::open(step.root));
  container::ContainerConfig config = container::default_config();
  config.rootfs = step.root;
  config.hostname = step.hostname;
  if (!step.network) config.namespaces.push_back({container::NamespaceType::kNetwork, {}});
  TRY_ASSIGN(container::ResolvedUser user, container::resolve_user_in(root, step.user));
  config.process.args = step.args;
  config.process.cwd = step.cwd;
  config.process.user = {.uid = user.uid, .gid = user.gid, .additional_gids = user.additional_gids, .umask = {}};
  config.process.env = step.env;
  auto has = [&](std::string_view name) { return std::ranges::any_of(config.process.env, [&](const std::string& entry) { return entry.starts_with(name); }); };
  if (!has("PATH=")) config.process.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  if (!has("HOME=")) config.process.env.push_back("HOME=" + (user.uid == 0 ? std::string("/root") : user.home));
  for (const char* file : {"/etc/resolv.conf", "/etc/hosts"})
    if (::access(file, R_OK) == 0) config.mounts.push_back(bind(file, file, true));
  for (const MountSource& source : step.mounts) {
    if (source.mount.type != RunMount::Type::kTmpfs) {
      config.mounts.push_back(bind(source.host_path, source.mount.target, source.mount.read_only));
      continue;
    }
    container::Mount tmpfs{.destination = source.mount.target, .type = "tmpfs", .source = "tmpfs", .options = {"nosuid", "nodev", "mode=1777"}};
    if (!source.mount.size.empty()) tmpfs.options.push_back("size=" + source.mount.size);
    config.mounts.push_back(std::move(tmpfs));
  }
  TRY(container::validate_config(config));
  auto out = std::make_unique<Bundle>(std::move(root), step.bundle);
  TRY(out->write(config));
  return out;
}

}  // namespace monopod::build
