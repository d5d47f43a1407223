// What a pod's claim stands for on this node: claim, then volume, then a path. Texts are those of the field's kubelet.
#include <sys/stat.h>

#include "agent/volumes/volumes.h"
#include "base/strings.h"
#include "client/meta.h"

namespace monopod::agent {
namespace {

namespace resources = client::resources;

// The member of a volume's spec that says what it is: what is no setting of all volumes.
std::string source_of(const json::Value& volume) {
  constexpr std::string_view kSettings[] = {"capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName"};
  if (const json::Object* spec = json::get_object(volume, {"spec"}))
    for (const auto& [member, value] : *spec)
      if (std::ranges::find(kSettings, std::string_view(member)) == std::end(kSettings)) return member;
  return {};
}

Error in_claim(const Pod& pod, const Volume& volume, std::string_view why) {
  return Error(Code::kFailedPrecondition, cat("error processing PVC ", pod.namespace_name, "/", volume.claim, ": ", why));
}

}  // namespace

Result<> check_claim(const Pod& pod, const Volume& volume, const json::Value& claim) {
  if (client::is_deleting(claim)) return fail(in_claim(pod, volume, "PVC is being deleted"));
  if (json::get_string(claim, {"status", "phase"}) != "Bound" || json::get_string(claim, {"spec", "volumeName"}).empty()) return fail(in_claim(pod, volume, "PVC is not bound"));
  if (volume.source != "ephemeral") return {};
  std::optional<client::OwnerReference> owner = client::controller_of(claim);
  if (owner && owner->uid == pod.uid) return {};
  return fail(in_claim(pod, volume, cat("PVC ", pod.namespace_name, "/", volume.claim, " was not created for pod ", pod.namespace_name, "/", pod.name, " (pod is not owner)")));
}

Result<Volume> claimed_volume(const Volume& wanted, const json::Value& claim, const json::Value& volume) {
  std::string_view name = client::name_of(volume);
  if (json::get_string(volume, {"spec", "claimRef", "uid"}) != client::uid_of(claim)) return fail(Code::kFailedPrecondition, cat("PV ", name, " is bound to a different PVC"));
  if (json::get_string(volume, {"spec", "volumeMode"}, "Filesystem") != "Filesystem") return fail(Code::kUnimplemented, cat("persistent volume \"", name, "\": block volumes are not supported by this node"));
  Volume out = wanted;
  out.source = source_of(volume);
  if (out.source == "hostPath") {
    out.kind = Volume::Kind::kHostPath;
    out.path_type = json::get_string(volume, {"spec", "hostPath", "type"});
  } else if (out.source == "local") {
    out.kind = Volume::Kind::kLocal;
  } else {
    return fail(Code::kUnimplemented, cat("no volume plugin matched: persistent volume \"", name, "\": ", out.source, " volumes are not supported by this node"));
  }
  out.path = json::get_string(volume, {"spec", out.source, "path"});
  return out;
}

async::Task<Result<Volume>> resolve_claim(client::Api& api, const Pod& pod, const Volume& volume) {
  auto claim = co_await api.get(resources::kPersistentVolumeClaims, pod.namespace_name, volume.claim);
  if (!claim) co_return fail(in_claim(pod, volume, cat("failed to fetch PVC from API server: ", claim.error().message())));
  const json::Value tree = claim->tree();
  CO_TRY(check_claim(pod, volume, tree));
  auto bound = co_await api.get(resources::kPersistentVolumes, "", std::string(json::get_string(tree, {"spec", "volumeName"})));
  if (!bound) co_return fail(in_claim(pod, volume, cat("failed to fetch PV from API server: ", bound.error().message())));
  co_return claimed_volume(volume, tree, bound->tree());
}

Result<> check_local(const Volume& volume) {
  const std::string& path = volume.path;
  if (path.empty() || path[0] != '/' || path.find("/../") != std::string::npos || path.ends_with("/..")) return fail(Code::kInvalidArgument, cat("local volume \"", path, "\" must be absolute and must not contain '..'"));
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return fail(Code::kNotFound, cat("path \"", path, "\" does not exist"));
  if (S_ISBLK(st.st_mode)) return fail(Code::kUnimplemented, cat("local volume \"", path, "\" is a block device: making a file system on it is not supported by this node"));
  if (!S_ISDIR(st.st_mode)) return fail(Code::kFailedPrecondition, cat("only directories and block devices are supported for local volumes, got ", path));
  return {};
}

}  // namespace monopod::agent
