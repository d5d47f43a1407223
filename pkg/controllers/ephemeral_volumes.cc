// Pods' ephemeral volumes: each has a claim of the name <pod>-<volume> that belongs to the pod and goes with it (KEP-1698).
#include "base/strings.h"
#include "controllers/pods.h"
#include "controllers/volumes.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

bool has_ephemeral(const client::Object& pod) { return pod.bytes->contains("\"ephemeral\""); }

class EphemeralVolumes final : public QueueController {
 public:
  explicit EphemeralVolumes(const ControllerParts& parts)
      : QueueController(parts, "ephemeral_volume", 1), pods_(parts.informers.informer(resources::kPods)), claims_(parts.informers.informer(resources::kPersistentVolumeClaims)) {
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!old && now && has_ephemeral(*now)) queue_.add(now->key());  // a pod's volumes never change
    });
    claims_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (now) return;
      std::optional<client::OwnerReference> owner = client::controller_of(old->tree());
      if (owner && owner->kind == "Pod") queue_.add(cat(old->ns, "/", owner->name));
    });
  }

 private:
  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr pod = pods_.indexer().find(key);
    if (!pod || !has_ephemeral(*pod)) co_return Outcome{};
    json::Value tree = pod->tree();
    if (!is_active(tree)) co_return Outcome{};
    for (const client::ClaimUse& use : client::claims_of(tree)) {
      if (use.claim_template == nullptr) continue;
      Result<> made = co_await ensure(*pod, use);
      if (made || namespace_is_terminating(made.error())) continue;
      recorder_.record(client::reference_to(resources::kPods, *pod), "Warning", "FailedBinding", cat("ephemeral volume ", use.volume, ": ", made.error().message()));
      co_return fail(std::move(made).error());
    }
    co_return Outcome{};
  }

  async::Task<Result<>> ensure(const client::Object& pod, const client::ClaimUse& use) {
    if (ObjectPtr claim = claims_.indexer().find(cat(pod.ns, "/", use.claim))) co_return check(pod, claim->tree());
    json::Object metadata{{"name", use.claim}, {"ownerReferences", json::Array{client::controller_reference(resources::kPods, pod)}}};
    for (std::string_view member : {"labels", "annotations"})
      if (const json::Object* given = json::get_object(*use.claim_template, {"metadata", member})) metadata[member] = *given;
    const json::Value* spec = json::find(*use.claim_template, {"spec"});
    json::Value body = json::Object{{"apiVersion", "v1"}, {"kind", "PersistentVolumeClaim"}, {"metadata", std::move(metadata)}, {"spec", spec == nullptr ? json::Value(json::Object()) : *spec}};
    auto made = co_await parts_.api.create(resources::kPersistentVolumeClaims, pod.ns, std::move(body), {});
    if (made) co_return Result<>();
    if (made.error().code() != Code::kAlreadyExists) co_return fail(Error(made.error().code(), cat("create PVC ", use.claim, ": ", made.error().message())));
    CO_TRY_ASSIGN(client::Object other, co_await parts_.api.get(resources::kPersistentVolumeClaims, pod.ns, use.claim));  // the cache lags
    co_return check(pod, other.tree());
  }

  static Result<> check(const client::Object& pod, const json::Value& claim) {
    if (client::is_made_for(claim, pod)) return {};
    return fail(Code::kFailedPrecondition, cat("PVC ", pod.ns, "/", client::name_of(claim), " was not created for pod ", pod.ns, "/", pod.name, " (pod is not owner)"));
  }

  client::Informer &pods_, &claims_;
};

}  // namespace

std::unique_ptr<Controller> make_ephemeral_volume_controller(const ControllerParts& parts) { return std::make_unique<EphemeralVolumes>(parts); }

}  // namespace monopod::controllers
