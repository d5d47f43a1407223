#include "agent/volumes/volumes.h"

#include <ftw.h>
#include <sys/stat.h>

#include "sys/files.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

std::string_view directory_of(Volume::Kind kind) {
  switch (kind) {
    case Volume::Kind::kEmptyDir: return "empty-dir";
    case Volume::Kind::kProjected: return "projected";
    default: return "other";
  }
}

Error mount_error(const Volume& volume, const Error& error) {
  return Error(error.code(), cat("MountVolume.SetUp failed for volume \"", volume.name, "\" : ", error.message()));
}

}  // namespace

async::Task<Result<std::map<std::string, std::string>>> VolumeManager::set_up(const Pod& pod, PodFacts facts) {
  std::map<std::string, std::string> out;
  CO_TRY(check_path_name(pod.uid));
  bool tokens_asked = false;
  Tokens tokens;
  CO_TRY_ASSIGN(ReferencedObjects objects, co_await read_references(objects_, pod));
  for (const Volume& volume : pod.volumes) {
    if (auto named = check_path_name(volume.name); !named) co_return fail(mount_error(volume, named.error()));
    std::string path = paths_.volume(pod.uid, directory_of(volume.kind), volume.name);
    Result<> made;
    switch (volume.kind) {
      case Volume::Kind::kEmptyDir:
        made = co_await pool_.run([&] { return set_up_empty_dir(volume, path, pod.security.fs_group); });
        break;
      case Volume::Kind::kHostPath:
        path = volume.path;
        made = co_await pool_.run([&] { return check_host_path(volume); });
        break;
      case Volume::Kind::kProjected: {
        if (!tokens_asked) {
          auto got = co_await tokens_.get(pod);
          if (!got) co_return fail(mount_error(volume, got.error()));
          tokens = std::move(*got);
          tokens_asked = true;
        }
        auto payload = make_payload(pod, volume, objects, tokens, facts);
        if (!payload) {
          made = fail(std::move(payload).error());
          break;
        }
        ProjectionOwner owner;
        if (pod.security.run_as_user) owner.uid = static_cast<int>(*pod.security.run_as_user);
        if (pod.security.fs_group) {
          owner.uid = -1;
          owner.gid = static_cast<int>(*pod.security.fs_group);
          apply_fs_group(*payload);
        }
        made = co_await pool_.run([&] { return set_up_projected(*payload, path, owner, time_.wall()); });
        break;
      }
      case Volume::Kind::kPersistentClaim: {
        auto claimed = co_await set_up_claim(pod, volume);
        if (claimed) path = std::move(*claimed);
        else made = fail(std::move(claimed).error());
        break;
      }
      case Volume::Kind::kLocal:  // of no pod itself
      case Volume::Kind::kImage:
      case Volume::Kind::kUnsupported:
        made = fail(Code::kUnimplemented, cat("no volume plugin matched: ", volume.source, " volumes are not supported by this node"));
        break;
    }
    if (!made) co_return fail(mount_error(volume, made.error()));
    out[volume.name] = path;
  }
  co_return out;
}

// A host path stays as it is; a local volume is the pod's, and its group's.
async::Task<Result<std::string>> VolumeManager::set_up_claim(const Pod& pod, const Volume& volume) {
  CO_TRY_ASSIGN(Volume found, co_await resolve_claim(api_, pod, volume));
  if (found.kind == Volume::Kind::kHostPath) {
    CO_TRY(co_await pool_.run([&] { return check_host_path(found); }));
    co_return found.path;
  }
  CO_TRY(co_await pool_.run([&] { return check_local(found); }));
  std::optional<std::int64_t> group = volume.read_only ? std::nullopt : pod.security.fs_group;
  if (!group || given_[pod.uid].contains(volume.name)) co_return found.path;
  bool root_says = pod.security.fs_group_change_policy == "OnRootMismatch";
  CO_TRY(co_await pool_.run([&] { return root_says && is_of_group(found.path, *group) ? Result<>() : give_to_group(found.path, *group); }));
  given_[pod.uid].insert(volume.name);
  co_return found.path;
}

async::Task<Result<>> VolumeManager::tear_down(std::string pod_uid) {
  CO_TRY(check_path_name(pod_uid));
  given_.erase(pod_uid);
  tokens_.forget(pod_uid);
  std::string path = paths_.pod(pod_uid) + "/volumes";
  co_return co_await pool_.run([&] { return sys::remove_tree(path); });
}

async::Task<Result<>> VolumeManager::unmount(std::string pod_uid) {
  CO_TRY(check_path_name(pod_uid));
  std::string path = paths_.pod(pod_uid) + "/volumes";
  co_return co_await pool_.run([&] { return sys::unmount_all(path); });
}

async::Task<std::map<std::string, std::int64_t>> VolumeManager::empty_dir_usage(const Pod& pod) {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const Volume& v : pod.volumes)
    if (v.kind == Volume::Kind::kEmptyDir && !v.memory) paths.emplace_back(v.name, paths_.volume(pod.uid, "empty-dir", v.name));
  co_return co_await pool_.run([&] {
    std::map<std::string, std::int64_t> out;
    for (const auto& [name, path] : paths) {
      static thread_local std::int64_t total;  // nftw has no context argument
      total = 0;
      ::nftw(path.c_str(), [](const char*, const struct stat* st, int, struct FTW*) { total += st->st_blocks * 512; return 0; }, 16, FTW_PHYS | FTW_MOUNT);
      out[name] = total;
    }
    return out;
  });
}

}  // namespace monopod::agent
