// ReplicaSet and its elder, ReplicationController: keep spec.replicas pods of a template running. Source: apps/v1 and core/v1 API and the
// observable behaviour of kube-controller-manager (slow start of creations, order of deletions, status fields, event texts).
#include <algorithm>

#include "api/selector/selector.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/expectations.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::int64_t kBurst = 500;  // creations or deletions in one pass

// What the two kinds differ in.
struct Flavour {
  client::Resource resource;
  std::string_view controller;
  bool map_selector;         // spec.selector is a plain map of labels
  bool counts_terminating;   // status has terminatingReplicas
};
constexpr Flavour kReplicaSet{resources::kReplicaSets, "replicaset-controller", false, true};
constexpr Flavour kReplicationController{resources::kReplicationControllers, "replication-controller", true, false};

struct OwnedPod {
  ObjectPtr object;
  json::Value tree;
};

// Which pod goes first when too many run: unassigned, not running, not ready, on a crowded node, lately ready, restarted
// often, young (the field's order).
bool goes_first(const OwnedPod& a, const OwnedPod& b) {
  auto rank = [](const OwnedPod& p) {
    std::string_view phase = phase_of(p.tree);
    int phase_rank = phase == "Pending" ? 0 : phase == "Unknown" ? 1 : 2;
    return std::tuple(!json::get_string(p.tree, {"spec", "nodeName"}).empty(), phase_rank, is_ready(p.tree));
  };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  std::int64_t cost_a = parse_int<std::int64_t>(json::get_string(a.tree, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
  std::int64_t cost_b = parse_int<std::int64_t>(json::get_string(b.tree, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
  if (cost_a != cost_b) return cost_a < cost_b;
  return client::time_at(a.tree, {"metadata", "creationTimestamp"}) > client::time_at(b.tree, {"metadata", "creationTimestamp"});
}

class ReplicaSetController final : public QueueController {
 public:
  ReplicaSetController(const ControllerParts& parts, const Flavour& flavour)
      : QueueController(parts, std::string(flavour.controller), 4),
        flavour_(flavour),
        sets_(parts.informers.informer(flavour.resource)),
        pods_(parts.informers.informer(resources::kPods)),
        expectations_(parts.time) {
    add_owner_index(pods_);
    watch_keys(sets_);
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_pod(old, now); });
  }

 private:
  void on_pod(const ObjectPtr& old, const ObjectPtr& now) {
    const client::Object& pod = *(now ? now : old);
    json::Value tree = pod.tree();
    auto owner = client::controller_of(tree);
    if (owner && owner->kind == flavour_.resource.kind) {
      std::string key = pod.ns + "/" + owner->name;
      if (!old) expectations_.saw_addition(key);
      if (!now || client::is_deleting(tree)) expectations_.saw_deletion(key, pod.uid);
      queue_.add(std::move(key));
    } else if (!owner && now) {
      enqueue_selecting(pod, tree);
    }
  }

  // An orphan may belong to a set that selects it.
  void enqueue_selecting(const client::Object& pod, const json::Value& tree) {
    for (const ObjectPtr& set : sets_.indexer().by_index(client::kNamespaceIndex, pod.ns)) {
      auto selector = selector_of(set->tree());
      if (selector && selector->matches(client::labels_of(tree))) queue_.add(set->key());
    }
  }

  std::optional<api::LabelSelector> selector_of(const json::Value& set) const {
    const json::Value* selector = json::find(set, {"spec", "selector"});
    if (selector == nullptr) return std::nullopt;
    auto parsed = api::make_label_selector(flavour_.map_selector ? json::Value(json::Object{{"matchLabels", *selector}}) : *selector);
    if (!parsed || parsed->empty()) return std::nullopt;
    return std::move(*parsed);
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr set = sets_.indexer().find(key);
    if (!set) {
      expectations_.forget(key);
      co_return Outcome{};
    }
    json::Value tree = set->tree();
    auto selector = selector_of(tree);
    if (!selector) co_return Outcome{};
    CO_TRY_ASSIGN(std::vector<OwnedPod> pods, co_await claim(*set, tree, *selector));
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

  // The set's pods; orphans that match are adopted, pods that no longer match are released.
  async::Task<Result<std::vector<OwnedPod>>> claim(const client::Object& set, const json::Value& tree, const api::LabelSelector& selector) {
    std::vector<OwnedPod> mine;
    for (const ObjectPtr& pod : pods_.indexer().by_index(kOwnerIndex, set.uid)) {
      json::Value pod_tree = pod->tree();
      if (!is_active(pod_tree)) {
        mine.push_back({pod, std::move(pod_tree)});
      } else if (selector.matches(client::labels_of(pod_tree))) {
        mine.push_back({pod, std::move(pod_tree)});
      } else if (!client::is_deleting(tree)) {
        json::Value patch = json::Object{{"metadata", json::Object{{"uid", pod->uid}, {"ownerReferences", json::Array{json::Object{{"$patch", "delete"}, {"uid", set.uid}}}}}}};
        CO_TRY(co_await tolerate_missing(parts_.api.patch(resources::kPods, pod->ns, pod->name, client::PatchType::kStrategicMerge, std::move(patch), {})));
      }
    }
    if (client::is_deleting(tree)) co_return mine;
    for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, set.ns)) {
      if (pod->bytes->find("\"ownerReferences\"") != std::string::npos) continue;
      json::Value pod_tree = pod->tree();
      if (!is_active(pod_tree) || !selector.matches(client::labels_of(pod_tree))) continue;
      json::Value patch = json::Object{{"metadata", json::Object{{"uid", pod->uid}, {"ownerReferences", json::Array{client::controller_reference(flavour_.resource, set)}}}}};
      Result<> adopted = co_await tolerate_missing(parts_.api.patch(resources::kPods, pod->ns, pod->name, client::PatchType::kStrategicMerge, std::move(patch), {}));
      CO_TRY(std::move(adopted));
      mine.push_back({pod, std::move(pod_tree)});
    }
    co_return mine;
  }

  static async::Task<Result<>> tolerate_missing(async::Task<Result<client::Object>> write) {
    Result<client::Object> written = co_await std::move(write);
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    co_return Result<>();
  }

  async::Task<Result<>> manage(const client::Object& set, const json::Value& tree, const std::vector<OwnedPod>& pods) {
    std::int64_t want = json::get_int(tree, {"spec", "replicas"}, 1);
    std::vector<OwnedPod> active;
    for (const OwnedPod& pod : pods)
      if (is_active(pod.tree)) active.push_back(pod);
    std::int64_t have = static_cast<std::int64_t>(active.size());
    if (have < want) co_return co_await create_pods(set, tree, std::min(want - have, kBurst));
    if (have > want) {
      std::stable_sort(active.begin(), active.end(), goes_first);
      active.resize(static_cast<std::size_t>(std::min(have - want, kBurst)));
      co_return co_await delete_pods(set, active);
    }
    co_return Result<>();
  }

  // Creates in batches of 1, 2, 4, …: when the first fails (quota, admission) the rest is not tried.
  async::Task<Result<>> create_pods(const client::Object& set, const json::Value& tree, std::int64_t count) {
    std::string key = set.key();
    const json::Value* pod_template = json::find(tree, {"spec", "template"});
    if (pod_template == nullptr) co_return fail(Code::kInvalidArgument, cat(flavour_.resource.kind, " has no template"));
    client::ObjectReference about = client::reference_to(flavour_.resource, set);
    std::int64_t batch = 1;
    while (count > 0) {
      std::int64_t now = std::min(batch, count);
      for (std::int64_t i = 0; i < now; ++i) {
        expectations_.expect_additions(key, 1);
        auto created = co_await parts_.api.create(resources::kPods, set.ns, pod_from_template(*pod_template, flavour_.resource, set), {});
        if (!created) {
          expectations_.saw_addition(key);
          if (namespace_is_terminating(created.error())) co_return Result<>();
          if (created.error().code() == Code::kCancelled) co_return fail(created.error());
          recorder_.record(about, "Warning", "FailedCreate", cat("Error creating: ", created.error().message()));
          co_return fail(created.error());
        }
        recorder_.record(about, "Normal", "SuccessfulCreate", cat("Created pod: ", created->name));
      }
      count -= now;
      batch *= 2;
    }
    co_return Result<>();
  }

  async::Task<Result<>> delete_pods(const client::Object& set, const std::vector<OwnedPod>& pods) {
    std::string key = set.key();
    client::ObjectReference about = client::reference_to(flavour_.resource, set);
    for (const OwnedPod& pod : pods) {
      expectations_.expect_deletion(key, pod.object->uid);
      Result<> removed = co_await parts_.api.remove(resources::kPods, pod.object->ns, pod.object->name, {.precondition_uid = pod.object->uid});
      if (!removed) {
        expectations_.saw_deletion(key, pod.object->uid);
        if (removed.error().code() == Code::kNotFound || removed.error().code() == Code::kAborted) continue;
        recorder_.record(about, "Warning", "FailedDelete", cat("Error deleting: ", removed.error().message()));
        co_return removed;
      }
      recorder_.record(about, "Normal", "SuccessfulDelete", cat("Deleted pod: ", pod.object->name));
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
    json::Value before = status;
    json::Object& fields = status.is_object() ? status.get_object() : status.emplace_object();
    auto count = [&](std::string_view field, std::int64_t n, bool keep_zero) {
      if (n == 0 && !keep_zero) fields.erase(field);
      else fields[field] = n;
    };
    count("replicas", replicas, true);
    count("fullyLabeledReplicas", labelled, false);
    count("readyReplicas", ready, false);
    count("availableReplicas", available, false);
    if (flavour_.counts_terminating) count("terminatingReplicas", terminating, false);
    fields["observedGeneration"] = json::get_int(tree, {"metadata", "generation"});
    set_failure(status, failure, now);
    if (status == before) co_return outcome;
    tree.get_object()["status"] = std::move(status);
    auto written = co_await parts_.api.update(flavour_.resource, set.ns, set.name, std::move(tree), {.subresource = "status"});
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
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

  const Flavour& flavour_;
  client::Informer& sets_;
  client::Informer& pods_;
  Expectations expectations_;
};

}  // namespace

std::unique_ptr<Controller> make_replicaset_controller(const ControllerParts& parts) { return std::make_unique<ReplicaSetController>(parts, kReplicaSet); }
std::unique_ptr<Controller> make_replication_controller(const ControllerParts& parts) { return std::make_unique<ReplicaSetController>(parts, kReplicationController); }

}  // namespace monopod::controllers
