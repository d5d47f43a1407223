// pvc-protection and pv-protection: a claim that is to go stays while a scheduled pod names it, a volume while it is bound. Then their
// finalizer goes.
#include <algorithm>

#include "controllers/volumes.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::string_view kClaimFinalizer = "kubernetes.io/pvc-protection";
constexpr std::string_view kVolumeFinalizer = "kubernetes.io/pv-protection";

class ProtectionController : public QueueController {
 public:
  ProtectionController(const ControllerParts& parts, std::string name, client::Resource resource, std::string_view finalizer)
      : QueueController(parts, std::move(name)), resource_(resource), finalizer_(finalizer), objects_(parts.informers.informer(resource)) {
    watch_keys(objects_);
  }

 protected:
  virtual bool in_use(const client::Object& object) const = 0;

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr object = objects_.indexer().find(key);
    if (!object || !client::is_deleting(object->tree()) || in_use(*object)) co_return Outcome{};
    std::optional<json::Value> freed = without_finalizer(*object, finalizer_);
    if (!freed) co_return Outcome{};
    auto updated = co_await parts_.api.update(resource_, object->ns, object->name, std::move(*freed), {});
    if (!updated && updated.error().code() != Code::kNotFound) co_return fail(updated.error());
    co_return Outcome{};
  }

  client::Resource resource_;
  std::string_view finalizer_;
  client::Informer& objects_;
};

class ClaimProtection final : public ProtectionController {
 public:
  explicit ClaimProtection(const ControllerParts& parts)
      : ProtectionController(parts, "pvc-protection-controller", resources::kPersistentVolumeClaims, kClaimFinalizer), pods_(parts.informers.informer(resources::kPods)) {
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (now && old) return;  // the volumes of a pod never change, and what it says of itself does not count
      const client::Object& pod = now ? *now : *old;
      if (!client::may_have_claims(pod)) return;
      for (const client::ClaimUse& use : client::claims_of(pod.tree())) queue_.add(pod.ns + "/" + use.claim);
    });
  }

 private:
  bool in_use(const client::Object& claim) const override {
    for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, claim.ns)) {
      if (!client::may_have_claims(*pod)) continue;
      json::Value tree = pod->tree();
      if (json::get_string(tree, {"spec", "nodeName"}).empty()) continue;  // it will not be started with a claim that goes
      if (std::ranges::any_of(client::claims_of(tree), [&claim](const client::ClaimUse& use) { return use.claim == claim.name; })) return true;
    }
    return false;
  }
  client::Informer& pods_;
};

class VolumeProtection final : public ProtectionController {
 public:
  explicit VolumeProtection(const ControllerParts& parts) : ProtectionController(parts, "pv-protection-controller", resources::kPersistentVolumes, kVolumeFinalizer) {}

 private:
  bool in_use(const client::Object& volume) const override { return json::get_string(volume.tree(), {"status", "phase"}) == "Bound"; }
};

}  // namespace

std::optional<json::Value> without_finalizer(const client::Object& object, std::string_view finalizer) {
  json::Value tree = object.tree();
  json::Value* list = json::find(tree, {"metadata", "finalizers"});
  if (list == nullptr || !list->is_array()) return std::nullopt;
  json::Array& names = list->get_array();
  auto at = std::ranges::find_if(names, [finalizer](const json::Value& v) { return v.is_string() && v.get_string() == finalizer; });
  if (at == names.end()) return std::nullopt;
  names.erase(at);
  return tree;
}

std::unique_ptr<Controller> make_claim_protection_controller(const ControllerParts& parts) { return std::make_unique<ClaimProtection>(parts); }
std::unique_ptr<Controller> make_volume_protection_controller(const ControllerParts& parts) { return std::make_unique<VolumeProtection>(parts); }

}  // namespace monopod::controllers
