// What a RUN's --mount= flags bind, and who uses which cache.
#include "build/run_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "image/digest.h"
#include "image/snapshot.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

constexpr std::size_t kSecretBytesMax = 500U << 10;

// Where links lead, they lead inside: the path of what was opened.
Result<std::string> path_of(const sys::Root& root, const std::string& path) {
  TRY_ASSIGN(sys::Fd fd, root.open_file(path, O_PATH));
  std::string real(4096, '\0');
  ssize_t n = ::readlink(sys::fd_path(fd.get()).c_str(), real.data(), real.size());
  if (n < 0) return fail_errno("find the mount's source");
  return real.substr(0, static_cast<std::size_t>(n));
}

// A cache that is not there yet. Beside its place, and renamed: two that fill one at once have the same to put there.
Result<> make_cache(const MountSource& source, const std::string& staging) {
  if (sys::path_exists(source.host_path)) return {};
  TRY(sys::make_directories(source.host_path.substr(0, source.host_path.rfind('/')), 0700));
  if (::mkdir(staging.c_str(), 0755) != 0) return fail_errno(cat("make directory ", staging));
  auto fill = [&]() -> Result<> {
    TRY_ASSIGN(sys::Root from, sys::Root::open(source.filled_from));
    TRY_ASSIGN(sys::Root into, sys::Root::open(staging));
    return copy_tree({.root = from, .keep_owner = true}, into, {.destination = "/"});
  };
  Result<> done = source.filled_from.empty() ? Result<>{} : fill();
  const RunMount& mount = source.mount;
  if (done && (::chmod(staging.c_str(), mount.mode.value_or(0755)) != 0 || ::chown(staging.c_str(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0)) done = fail_errno(cat("set attributes of ", staging));
  if (done && ::rename(staging.c_str(), source.host_path.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST) done = fail_errno(cat("rename to ", source.host_path));
  if (sys::path_exists(staging)) {
    Result<> removed = sys::remove_tree(staging);
    if (done) done = std::move(removed);
  }
  return done;
}

}  // namespace

using async::Task;

Result<> WritableBinds::make(RunStep& step) {
  for (MountSource& source : step.mounts) {
    if (source.mount.type != RunMount::Type::kBind || source.mount.read_only) continue;
    const std::string tree = cat(base_, "-", trees_.size());
    struct ::stat st;
    if (::stat(source.host_path.c_str(), &st) != 0) return fail_errno(cat("look at ", source.host_path));
    if (::mkdir(tree.c_str(), 0700) != 0) return fail_errno(cat("make directory ", tree));
    trees_.push_back(tree);
    if (!S_ISDIR(st.st_mode)) {
      const std::size_t slash = source.host_path.rfind('/');
      TRY_ASSIGN(sys::Root from, sys::Root::open(source.host_path.substr(0, slash)));
      TRY_ASSIGN(sys::Root into, sys::Root::open(tree));
      TRY(copy_sources({.root = from, .keep_owner = true}, {source.host_path.substr(slash + 1)}, into, {.destination = "/file"}));
      source.host_path = tree + "/file";
      continue;
    }
    for (const char* name : {"/fs", "/work", "/merged"})
      if (::mkdir((tree + name).c_str(), 0700) != 0) return fail_errno(cat("make directory ", tree, name));
    // The merged directory itself shows the upper one's attributes.
    if (::chown((tree + "/fs").c_str(), st.st_uid, st.st_gid) != 0 || ::chmod((tree + "/fs").c_str(), st.st_mode & 07777) != 0) return fail_errno(cat("set attributes of ", tree, "/fs"));
    TRY(image::mount_snapshot({.container_id = {}, .image_id = {}, .lowerdirs = {source.host_path}, .upperdir = tree + "/fs", .workdir = tree + "/work"}, tree + "/merged"));
    source.host_path = tree + "/merged";
  }
  return {};
}

void WritableBinds::clear() {
  for (const std::string& tree : std::exchange(trees_, {}))
    if (Result<> removed = sys::remove_tree(tree); !removed) log::warn("what a step wrote into a bind could not be removed: the next build does it", {{"path", tree}, {"error", removed.error()}});
}

Build::Caches::~Caches() {
  for (const std::string& path : held_)
    if (auto use = build_.caches_.find(path); --use->second.users == 0) build_.caches_.erase(use);
  if (!held_.empty()) build_.changed_->wake_all();
}

bool Build::Caches::try_take(RunStep& step) {
  std::map<std::string, bool> wanted;  // path -> locked
  std::vector<std::string> paths;
  for (const MountSource& source : step.mounts) {
    if (source.mount.type != RunMount::Type::kCache) continue;
    std::string path = source.host_path;
    if (source.mount.sharing == RunMount::Sharing::kPrivate) {
      for (int n = 1; build_.caches_.contains(path); ++n) path = cat(source.host_path, "-", n);
    } else if (auto use = build_.caches_.find(path); use != build_.caches_.end() && (use->second.locked || source.mount.sharing == RunMount::Sharing::kLocked)) {
      return false;
    }
    wanted[path] = wanted[path] || source.mount.sharing == RunMount::Sharing::kLocked;
    paths.push_back(std::move(path));
  }
  for (const auto& [path, locked] : wanted) {
    CacheUse& use = build_.caches_[path];
    ++use.users;
    use.locked = use.locked || locked;
    held_.push_back(path);
  }
  std::size_t next = 0;
  for (MountSource& source : step.mounts)
    if (source.mount.type == RunMount::Type::kCache) source.host_path = paths[next++];
  return true;
}

Task<Result<>> Build::Caches::take(RunStep& step) {
  while (!try_take(step)) CO_TRY(co_await build_.changed_->wait());  // forever: their users end, or the build does
  for (const MountSource& source : step.mounts) {
    if (source.mount.type != RunMount::Type::kCache) continue;
    const std::string staging = cat(build_.options_.work_dir, "/cache-", build_.parts_.rng.uuid());
    CO_TRY(co_await build_.parts_.pool.run([&] { return make_cache(source, staging); }));
  }
  co_return Result<>{};
}

Task<Result<>> Build::collect_mounts(Current& at, const Instruction& instruction, RunStep& step, std::string& key) {
  FindVariable find = variables(at);
  for (const Flag& flag : instruction.flags) {
    if (flag.name == "security" && flag.value != "sandbox") co_return fail(Code::kUnimplemented, cat("RUN --security=", flag.value, " is not supported"));
    if (flag.name == "network") {
      if (flag.value != "none" && flag.value != "host" && flag.value != "default") co_return fail(Code::kInvalidArgument, cat("RUN --network=", flag.value, ": want default, none or host"));
      step.network = flag.value != "none";
      key += cat("network ", flag.value, "\n");
    }
    if (flag.name != "mount") continue;
    CO_TRY_ASSIGN(std::string text, expand(flag.value, find, {.escape = file_.escape}));
    MountSource source;
    CO_TRY_ASSIGN(source.mount, parse_run_mount(text, at.image.working_dir()));
    key += cat("mount ", text, "\n");
    const RunMount& mount = source.mount;
    if (mount.type == RunMount::Type::kBind) {
      std::string root_path = options_.context;
      if (!mount.from.empty()) {
        CO_TRY_ASSIGN(std::string id, co_await source_image(at, mount.from));
        CO_TRY_ASSIGN(root_path, co_await mount_kept(id));
      }
      CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(root_path));
        CopySource below{.root = root, .ignore = mount.from.empty() ? &ignore_ : nullptr, .keep_owner = !mount.from.empty()};
        TRY_ASSIGN(std::vector<std::string> paths, find_sources(below, {mount.source.empty() ? "." : mount.source}));
        TRY_ASSIGN(std::string digest, digest_sources(below, paths));
        key += cat(digest, "\n");
        TRY_ASSIGN(source.host_path, path_of(root, paths.front()));
        return {};
      }));
    } else if (mount.type == RunMount::Type::kCache) {
      std::string what = mount.id;
      if (!mount.from.empty()) {
        CO_TRY_ASSIGN(std::string id, co_await source_image(at, mount.from));
        CO_TRY_ASSIGN(std::string root_path, co_await mount_kept(id));
        CO_TRY_ASSIGN(sys::Root root, sys::Root::open(root_path));
        CO_TRY_ASSIGN(source.filled_from, path_of(root, mount.source.empty() ? "." : mount.source));
        what += cat("\n", id, "\n", mount.source);
        key += cat(id, "\n");
      }
      source.host_path = cat(options_.work_dir, "/cache/", image::digest_hex(image::digest_of(what)));
    } else if (mount.type == RunMount::Type::kSecret) {
      auto given = options_.secrets.find(mount.id);
      if (given == options_.secrets.end()) {
        if (mount.required) co_return fail(Code::kInvalidArgument, cat("secret ", mount.id, ": not found: give it with --secret id=", mount.id, ",src=FILE"));
        continue;
      }
      CO_TRY_ASSIGN(std::string secret, sys::read_host_file(given->second, kSecretBytesMax));
      if (!mount.env.empty()) step.env.push_back(cat(mount.env, "=", secret));
      if (mount.target.empty()) continue;
      // On a file of its own: the mode and owner are those asked for.
      source.host_path = cat(step.bundle, ".secret-", step.mounts.size());
      sys::Fd file(::open(source.host_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      if (!file) co_return fail_errno(cat("create ", source.host_path));
      CO_TRY(sys::write_all(file.get(), secret));
      if (::fchown(file.get(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0 || ::fchmod(file.get(), mount.mode.value_or(0400)) != 0) co_return fail_errno(cat("set attributes of ", source.host_path));
      source.mount.read_only = true;
    } else if (mount.type == RunMount::Type::kSsh) {
      auto given = options_.ssh.find(mount.id);
      if (given == options_.ssh.end()) {
        if (mount.required) co_return fail(Code::kInvalidArgument, cat("ssh agent ", mount.id, ": not found: give it with --ssh ", mount.id, "[=SOCKET]"));
        continue;
      }
      source.host_path = given->second;
      step.env.push_back("SSH_AUTH_SOCK=" + mount.target);
    }
    step.mounts.push_back(std::move(source));
  }
  co_return Result<>{};
}

}  // namespace monopod::build
