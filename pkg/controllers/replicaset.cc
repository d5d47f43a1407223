// ReplicaSet and its elder, ReplicationController: keep spec.replicas pods of a template running. Source: apps/v1 and core/v1 API and the
// observable behaviour of kube-controller-manager (slow start of creations, order of deletions, status fields, event texts).
#include <algorithm>

#include "base/strings.h"
#include "controllers/pod_owner.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::int64_t kBurst = 500;  // creations or deletions in one pass

constexpr PodOwnerKind kReplicaSet{resources::kReplicaSets, "replicaset-controller"};
constexpr PodOwnerKind kReplicationController{resources::kReplicationControllers, "replication-controller", true};

class ReplicaSetController final : public PodOwner {
 public:
  using PodOwner::PodOwner;

 private:
  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr set = owners_.indexer().find(key);
    if (!set) {
      expectations_.forget(key);
      co_return Outcome{};
    }
    json::Value tree = set->tree();
    auto selector = selector_of(tree);
    if (!selector) co_return Outcome{};
    std::vector<OwnedPod> pods;
    CO_TRY(co_await claim(*set, tree, *selector, pods));
    std::string failure;
    if (expectations_.satisfied(key) && !client::is_deleting(tree)) {
      Result<> managed = co_await manage(*set, tree, pods);
      if (!managed) {
        if (managed.error().code() == Code::kCancelled) co_return fail(managed.error());
        failure = managed.error().message();
      }
    }
    CO_TRY_ASSIGN(Outcome outcome, co_await update_status(*set, std::move(tree), pods, failure));
    if (!failure.empty()) co_return fail(Code::kUnavailable, failure);
    co_return outcome;
  }

  async::Task<Result<>> manage(const client::Object& set, const json::Value& tree, const std::vector<OwnedPod>& pods) {
    std::int64_t want = json::get_int(tree, {"spec", "replicas"}, 1);
    std::vector<const OwnedPod*> active;
    for (const OwnedPod& pod : pods)
      if (is_active(pod.tree)) active.push_back(&pod);
    std::int64_t have = static_cast<std::int64_t>(active.size());
    if (have < want) co_return co_await create_pods(set, tree, std::min(want - have, kBurst));
    if (have > want) {
      sort_pods(active, goes_first);
      active.resize(static_cast<std::size_t>(std::min(have - want, kBurst)));
      co_return co_await delete_pods(set, std::move(active));
    }
    co_return Result<>();
  }

  // One after the other: when one fails (quota, admission) the rest is not tried.
  async::Task<Result<>> create_pods(const client::Object& set, const json::Value& tree, std::int64_t count) {
    const json::Value* pod_template = json::find(tree, {"spec", "template"});
    if (pod_template == nullptr) co_return fail(Code::kInvalidArgument, cat(kind_.resource.kind, " has no template"));
    while (count-- > 0) {
      CO_TRY_ASSIGN(bool going_on, co_await create_pod(set, pod_from_template(*pod_template, kind_.resource, set)));
      if (!going_on) break;
    }
    co_return Result<>();
  }

  async::Task<Result<Outcome>> update_status(const client::Object& set, json::Value tree, const std::vector<OwnedPod>& pods, const std::string& failure) {
    std::chrono::seconds min_ready(json::get_int(tree, {"spec", "minReadySeconds"}));
    const json::Object* template_labels = json::get_object(tree, {"spec", "template", "metadata", "labels"});
    std::int64_t replicas = 0, labelled = 0, ready = 0, available = 0, terminating = 0;
    Outcome outcome;
    WallTime now = parts_.time.wall();
    for (const OwnedPod& pod : pods) {
      if (client::is_deleting(pod.tree) && phase_of(pod.tree) != "Succeeded" && phase_of(pod.tree) != "Failed") ++terminating;
      if (!is_active(pod.tree)) continue;
      ++replicas;
      if (template_labels != nullptr && api::map_selects(template_labels, client::labels_of(pod.tree))) ++labelled;
      if (!is_ready(pod.tree)) continue;
      ++ready;
      if (is_available(pod.tree, min_ready, now)) ++available;
      else outcome.requeue_after = min_ready;
    }
    const json::Value* old = json::find(tree, {"status"});
    json::Value status = old != nullptr ? *old : json::Value(json::Object());
    json::Object& fields = status.is_object() ? status.get_object() : status.emplace_object();
    fields["replicas"] = replicas;
    set_count(fields, "fullyLabeledReplicas", labelled);
    set_count(fields, "readyReplicas", ready);
    set_count(fields, "availableReplicas", available);
    if (!kind_.map_selector) set_count(fields, "terminatingReplicas", terminating);
    fields["observedGeneration"] = json::get_int(tree, {"metadata", "generation"});
    set_failure(status, failure, now);
    CO_TRY(co_await write_status(set, std::move(tree), std::move(status)));
    co_return outcome;
  }

  // A failure that lasts keeps the text it began with: a new one for each attempt would be a write for each, and wake us for the next.
  static void set_failure(json::Value& status, const std::string& failure, WallTime now) {
    if (!failure.empty()) {
      if (const json::Array* set = json::get_array(status, {"conditions"}))
        for (const json::Value& condition : *set)
          if (json::get_string(condition, {"type"}) == "ReplicaFailure") return;
      client::set_condition(status, {{"type", "ReplicaFailure"}, {"status", "True"}, {"reason", "FailedCreate"}, {"message", failure}}, now);
      return;
    }
    json::Value* conditions = json::find(status, {"conditions"});
    if (conditions == nullptr || !conditions->is_array()) return;
    auto& list = conditions->get_array();
    for (auto it = list.begin(); it != list.end();) it = json::get_string(*it, {"type"}) == "ReplicaFailure" ? list.erase(it) : it + 1;
    if (list.empty()) status.get_object().erase("conditions");
  }
};

}  // namespace

std::unique_ptr<Controller> make_replicaset_controller(const ControllerParts& parts) { return std::make_unique<ReplicaSetController>(parts, kReplicaSet); }
std::unique_ptr<Controller> make_replication_controller(const ControllerParts& parts) { return std::make_unique<ReplicaSetController>(parts, kReplicationController); }

}  // namespace monopod::controllers
