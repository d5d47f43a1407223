// The built-in provisioner. What is created first is what costs nothing if the second never comes: the directory, then the object.
#include "base/strings.h"
#include "controllers/volumes.h"

namespace monopod::controllers {
namespace {

namespace resources = client::resources;
namespace annotations = client::annotations;

json::Value node_affinity(std::string_view node) {
  json::Object expression{{"key", "kubernetes.io/hostname"}, {"operator", "In"}, {"values", json::Array{node}}};
  return json::Object{{"required", json::Object{{"nodeSelectorTerms", json::Array{json::Object{{"matchExpressions", json::Array{std::move(expression)}}}}}}}};
}

json::Value make_volume(std::string_view name, const client::Object& claim, const json::Value& storage_class, std::string_view path, std::string_view node) {
  json::Value tree = claim.tree();
  json::Object metadata{{"name", name}, {"finalizers", json::Array{kProvisionerFinalizer}}};
  metadata["annotations"] = json::Object{{annotations::kBoundByController, "yes"}, {annotations::kProvisionedBy, kLocalProvisioner}};
  json::Object spec{{"storageClassName", client::name_of(storage_class)},
                    {"persistentVolumeReclaimPolicy", json::get_string(storage_class, {"reclaimPolicy"}, "Delete")},
                    {"volumeMode", "Filesystem"},
                    {"local", json::Object{{"path", path}}},
                    {"nodeAffinity", node_affinity(node)},
                    {"claimRef", client::claim_reference(tree)}};
  spec["capacity"] = json::Object{{"storage", json::get_string(tree, {"spec", "resources", "requests", "storage"})}};
  if (const json::Array* modes = json::get_array(tree, {"spec", "accessModes"})) spec["accessModes"] = *modes;
  return json::Object{{"apiVersion", "v1"}, {"kind", "PersistentVolume"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
}

}  // namespace

std::string VolumeProvisioner::refusal(const json::Value& claim, const json::Value& storage_class) const {
  if (json::find(claim, {"spec", "selector"}) != nullptr) return "claim.Spec.Selector is not supported";
  if (json::find(claim, {"spec", "dataSource"}) != nullptr || json::find(claim, {"spec", "dataSourceRef"}) != nullptr) return "claim.Spec.DataSource is not supported";
  if (json::get_string(claim, {"spec", "volumeMode"}) == "Block") return "volumeMode Block is not supported";
  if (const json::Object* parameters = json::get_object(storage_class, {"parameters"}); parameters != nullptr && !parameters->empty())
    return cat("invalid parameter \"", std::string_view(parameters->begin()->key()), "\" in StorageClass");
  std::string_view node = client::annotation_of(claim, annotations::kSelectedNode);
  if (!node.empty() && node != directories_->node()) return cat("node \"", node, "\" is not where its volumes are: \"", directories_->node(), "\"");
  return {};
}

async::Task<Result<std::string>> VolumeProvisioner::make(client::Object claim, json::Value storage_class) {
  std::string name = cat("pvc-", claim.uid);
  CO_TRY_ASSIGN(std::string path, co_await directories_->make(name));
  auto made = co_await api_.create(resources::kPersistentVolumes, "", make_volume(name, claim, storage_class, path, directories_->node()), {});
  if (made || made.error().code() == Code::kAlreadyExists) co_return name;
  Error why = std::move(made).error();
  // Refused for good: nothing names the directory. Of an answer that never came the object may be there all the same.
  if (why.code() == Code::kFailedPrecondition || why.code() == Code::kPermissionDenied) CO_TRY(co_await directories_->remove(name));
  co_return fail(std::move(why));
}

async::Task<Result<>> VolumeProvisioner::remove(std::string volume) { return directories_->remove(std::move(volume)); }

}  // namespace monopod::controllers
