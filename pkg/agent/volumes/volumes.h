// A pod's volumes on disk: made before its containers start, kept up to date while they run, removed after. One file per kind.
#pragma once

#include <map>
#include <set>
#include <string>

#include "agent/objects.h"
#include "agent/paths.h"
#include "agent/pod_worker.h"
#include "agent/volumes/tokens.h"
#include "async/pool.h"

namespace monopod::agent {

// Blocking steps, each for one volume; path is made if it is not there.
Result<> set_up_empty_dir(const Volume& volume, const std::string& path, std::optional<std::int64_t> fs_group);  // empty_dir.cc
Result<> check_host_path(const Volume& volume);                                                                   // host_path.cc
Result<> set_up_projected(const Payload& payload, const std::string& path, ProjectionOwner owner, WallTime now);  // projected.cc
// claims.cc. Whether the claim can be used for the pod: bound, and an ephemeral volume's own.
Result<> check_claim(const Pod& pod, const Volume& volume, const json::Value& claim);
// What a pod's volume is by the persistent volume of its claim: hostPath or local. kUnimplemented names any other source.
Result<Volume> claimed_volume(const Volume& wanted, const json::Value& claim, const json::Value& volume);
async::Task<Result<Volume>> resolve_claim(client::Api& api, const Pod& pod, const Volume& volume);
Result<> check_local(const Volume& volume);  // blocking
// Gives a tree to a group: owner-readable becomes group-readable, directories pass the group on.
Result<> give_to_group(const std::string& path, std::int64_t gid);  // fs_group.cc
// fsGroupChangePolicy OnRootMismatch: the top of the tree is the group's already.
bool is_of_group(const std::string& path, std::int64_t gid);

class VolumeManager final : public PodVolumes {
 public:
  VolumeManager(client::Api& api, ObjectReader& objects, async::Time& time, async::Pool& pool, Paths paths)
      : api_(api), objects_(objects), time_(time), pool_(pool), paths_(std::move(paths)), tokens_(api, time) {}

  // Every volume present and current; the path of each by name. Idempotent; call again when an object changed or refresh_at() has come.
  // Errors name the volume as FailedMount events do.
  async::Task<Result<std::map<std::string, std::string>>> set_up(const Pod& pod, PodFacts facts) override;
  std::optional<MonoTime> refresh_at(const std::string& pod_uid) const override { return tokens_.refresh_at(pod_uid); }
  // Containers are gone. Unmounts and removes.
  async::Task<Result<>> tear_down(std::string pod_uid) override;
  async::Task<Result<>> unmount(std::string pod_uid) override;
  // Bytes used on disk by the pod's emptyDir volumes; blocking walk on the pool.
  async::Task<std::map<std::string, std::int64_t>> empty_dir_usage(const Pod& pod);

 private:
  async::Task<Result<std::string>> set_up_claim(const Pod& pod, const Volume& volume);

  client::Api& api_;
  ObjectReader& objects_;
  async::Time& time_;
  async::Pool& pool_;
  Paths paths_;
  TokenManager tokens_;
  std::map<std::string, std::set<std::string>> given_;  // by pod: volumes that were given to its group, once in its life
};

}  // namespace monopod::agent
