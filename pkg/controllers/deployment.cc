// Deployment: rolls replica sets from one template to the next. Source: apps/v1 API and the observable behaviour of
// kube-controller-manager (annotations, conditions, events, names).
#include <algorithm>

#include "api/selector/selector.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/deployment_math.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::string_view kRevision = "deployment.kubernetes.io/revision";
constexpr std::string_view kRevisionHistory = "deployment.kubernetes.io/revision-history";
constexpr std::string_view kDesired = "deployment.kubernetes.io/desired-replicas";
constexpr std::string_view kMax = "deployment.kubernetes.io/max-replicas";
constexpr std::string_view kHashLabel = "pod-template-hash";

struct Set {
  client::Object object;
  json::Value tree;

  std::int64_t want() const { return json::get_int(tree, {"spec", "replicas"}); }
  std::int64_t status(std::string_view field) const { return json::get_int(tree, {"status", field}); }
  std::int64_t revision() const { return parse_int<std::int64_t>(json::get_string(tree, {"metadata", "annotations", kRevision})).value_or(0); }
  WallTime created() const { return client::time_at(tree, {"metadata", "creationTimestamp"}); }
};

// One deployment with its replica sets, for the length of one reconcile.
struct Rollout {
  client::Object object;
  json::Value tree;
  RolloutLimits limits;
  bool recreate = false;
  std::vector<Set> old_sets;  // oldest first
  std::optional<Set> new_set;

  std::int64_t total_wanted() const {
    std::int64_t n = new_set ? new_set->want() : 0;
    for (const Set& set : old_sets) n += set.want();
    return n;
  }
  std::int64_t sum(std::string_view field) const {
    std::int64_t n = new_set ? new_set->status(field) : 0;
    for (const Set& set : old_sets) n += set.status(field);
    return n;
  }
};

json::Value template_without_hash(const json::Value& object) {
  const json::Value* source = json::find(object, {"spec", "template"});
  json::Value out = source != nullptr ? *source : json::Value(json::Object());
  if (json::Value* labels = json::find(out, {"metadata", "labels"}); labels != nullptr && labels->is_object()) labels->get_object().erase(kHashLabel);
  return out;
}

RolloutLimits limits_of(const json::Value& tree) {
  RolloutLimits limits{.replicas = json::get_int(tree, {"spec", "replicas"}, 1)};
  limits.surge = resolve_int_or_percent(json::find(tree, {"spec", "strategy", "rollingUpdate", "maxSurge"}), limits.replicas, 0, true);
  limits.unavailable = resolve_int_or_percent(json::find(tree, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), limits.replicas, 0, false);
  if (limits.surge == 0 && limits.unavailable == 0) limits.unavailable = 1;
  limits.unavailable = std::min(limits.unavailable, limits.replicas);
  return limits;
}

class DeploymentController final : public QueueController {
 public:
  explicit DeploymentController(const ControllerParts& parts)
      : QueueController(parts, "deployment-controller", 4),
        deployments_(parts.informers.informer(resources::kDeployments)),
        sets_(parts.informers.informer(resources::kReplicaSets)),
        pods_(parts.informers.informer(resources::kPods)) {
    add_owner_index(sets_);
    watch_keys(deployments_);
    sets_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_set(*(now ? now : old)); });
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!now) on_pod_gone(*old);  // Recreate waits for the last old pod to go
    });
  }

 private:
  void on_set(const client::Object& set) {
    json::Value tree = set.tree();
    if (auto owner = client::controller_of(tree)) {
      if (owner->kind == "Deployment") queue_.add(set.ns + "/" + owner->name);
      return;
    }
    for (const ObjectPtr& deployment : deployments_.indexer().by_index(client::kNamespaceIndex, set.ns)) {
      auto selector = selector_of(deployment->tree());
      if (selector && selector->matches(client::labels_of(tree))) queue_.add(deployment->key());
    }
  }

  void on_pod_gone(const client::Object& pod) {
    auto owner = client::controller_of(pod.tree());
    if (!owner || owner->kind != "ReplicaSet") return;
    if (ObjectPtr set = sets_.indexer().find(pod.ns + "/" + owner->name)) on_set(*set);
  }

  static std::optional<api::LabelSelector> selector_of(const json::Value& tree) {
    const json::Value* selector = json::find(tree, {"spec", "selector"});
    if (selector == nullptr) return std::nullopt;
    auto parsed = api::make_label_selector(*selector);
    if (!parsed || parsed->empty()) return std::nullopt;
    return std::move(*parsed);
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr object = deployments_.indexer().find(key);
    if (!object) co_return Outcome{};
    Rollout rollout{.object = *object, .tree = object->tree(), .limits = {}, .recreate = false, .old_sets = {}, .new_set = std::nullopt};
    rollout.limits = limits_of(rollout.tree);
    rollout.recreate = json::get_string(rollout.tree, {"spec", "strategy", "type"}) == "Recreate";
    CO_TRY(co_await find_sets(rollout));
    if (!client::is_deleting(rollout.tree)) {
      Result<> moved = co_await advance(rollout);
      if (!moved) co_return fail(moved.error());
    }
    co_return co_await update_status(rollout);
  }

  async::Task<Result<>> find_sets(Rollout& rollout) {
    auto selector = selector_of(rollout.tree);
    if (!selector) co_return Result<>();
    json::Value wanted = template_without_hash(rollout.tree);
    std::vector<Set> sets;
    for (const ObjectPtr& set : sets_.indexer().by_index(kOwnerIndex, rollout.object.uid)) sets.push_back({*set, set->tree()});
    for (const ObjectPtr& set : sets_.indexer().by_index(client::kNamespaceIndex, rollout.object.ns)) {
      json::Value tree = set->tree();
      if (client::is_deleting(rollout.tree) || client::is_deleting(tree) || client::controller_of(tree)) continue;
      if (!selector->matches(client::labels_of(tree))) continue;
      CO_TRY_ASSIGN(client::Object adopted, co_await patch_metadata(parts_.api, resources::kReplicaSets, *set, json::Object{{"ownerReferences", json::Array{client::controller_reference(resources::kDeployments, rollout.object)}}}));
      json::Value adopted_tree = adopted.tree();
      sets.push_back({std::move(adopted), std::move(adopted_tree)});
    }
    std::stable_sort(sets.begin(), sets.end(), [](const Set& a, const Set& b) { return std::pair(a.created(), a.object.name) < std::pair(b.created(), b.object.name); });
    for (Set& set : sets) {
      if (!rollout.new_set && template_without_hash(set.tree) == wanted) rollout.new_set = std::move(set);
      else rollout.old_sets.push_back(std::move(set));
    }
    co_return Result<>();
  }

  async::Task<Result<>> advance(Rollout& rollout) {
    if (json::get_bool(rollout.tree, {"spec", "paused"})) co_return co_await scale_all(rollout);
    if (rollout.new_set || !rollout.recreate) CO_TRY(co_await ensure_new_set(rollout));
    if (is_scaling(rollout)) co_return co_await scale_all(rollout);
    if (rollout.recreate) CO_TRY(co_await roll_recreate(rollout));
    else CO_TRY(co_await roll_gradually(rollout));
    if (is_complete(rollout)) co_return co_await clean_up(rollout);
    co_return Result<>();
  }

  // --- the new replica set

  std::int64_t next_revision(const Rollout& rollout) const {
    std::int64_t highest = 0;
    for (const Set& set : rollout.old_sets) highest = std::max(highest, set.revision());
    return highest + 1;
  }

  async::Task<Result<>> ensure_new_set(Rollout& rollout) {
    std::int64_t revision = next_revision(rollout);
    if (rollout.new_set) {
      if (rollout.new_set->revision() < revision) {  // an old template is wanted again: it becomes the newest revision
        std::int64_t before = rollout.new_set->revision();
        json::Object annotations{{kRevision, std::to_string(revision)}};
        std::string history(json::get_string(rollout.new_set->tree, {"metadata", "annotations", kRevisionHistory}));
        if (before > 0) annotations[kRevisionHistory] = history.empty() ? std::to_string(before) : cat(history, ",", before);
        CO_TRY(co_await patch_set(*rollout.new_set, json::Object{{"metadata", json::Object{{"annotations", std::move(annotations)}}}}));
      }
      co_return co_await set_deployment_revision(rollout, std::to_string(rollout.new_set->revision()));
    }
    CO_TRY(co_await create_new_set(rollout, revision));
    co_return co_await set_deployment_revision(rollout, std::to_string(revision));
  }

  async::Task<Result<>> create_new_set(Rollout& rollout, std::int64_t revision) {
    json::Value pod_template = template_without_hash(rollout.tree);
    std::int64_t collisions = json::get_int(rollout.tree, {"status", "collisionCount"});
    std::string hash = template_hash(json::format(pod_template), collisions);
    json::at_path(pod_template, {"metadata", "labels", kHashLabel}) = hash;
    json::Value selector = *json::find(rollout.tree, {"spec", "selector"});
    json::at_path(selector, {"matchLabels", kHashLabel}) = hash;
    std::int64_t size = rollout.recreate ? rollout.limits.replicas : new_set_size(rollout.limits, rollout.total_wanted(), 0);
    json::Object annotations = inherited_annotations(rollout.tree);
    annotations[kRevision] = std::to_string(revision);
    annotations[kDesired] = std::to_string(rollout.limits.replicas);
    annotations[kMax] = std::to_string(max_total(rollout));
    std::string name = cat(rollout.object.name, "-", hash);
    json::Object spec{{"replicas", size}, {"selector", std::move(selector)}, {"template", pod_template}};
    if (std::int64_t min_ready = json::get_int(rollout.tree, {"spec", "minReadySeconds"}); min_ready > 0) spec["minReadySeconds"] = min_ready;
    json::Value body = json::Object{
        {"apiVersion", "apps/v1"},
        {"kind", "ReplicaSet"},
        {"metadata", json::Object{{"name", name},
                                  {"namespace", rollout.object.ns},
                                  {"labels", *json::find(pod_template, {"metadata", "labels"})},
                                  {"annotations", std::move(annotations)},
                                  {"ownerReferences", json::Array{client::controller_reference(resources::kDeployments, rollout.object)}}}},
        {"spec", std::move(spec)}};
    auto created = co_await parts_.api.create(resources::kReplicaSets, rollout.object.ns, std::move(body), {});
    if (!created) co_return co_await on_create_failure(rollout, name, created.error());
    json::Value tree = created->tree();
    rollout.new_set = Set{std::move(*created), std::move(tree)};
    if (size > 0) record_scaling(rollout, name, 0, size);
    json::Value& status = rollout.tree.get_object()["status"];
    set_progressing(status, "True", "NewReplicaSetCreated", cat("Created new replica set \"", name, "\""), true);
    co_return Result<>();
  }

  async::Task<Result<>> on_create_failure(Rollout& rollout, std::string name, Error error) {
    if (error.code() == Code::kCancelled) co_return fail(std::move(error));
    if (error.code() == Code::kAlreadyExists) {
      auto existing = co_await parts_.api.get(resources::kReplicaSets, rollout.object.ns, name);
      if (existing) {
        json::Value tree = existing->tree();
        auto owner = client::controller_of(tree);
        bool ours = owner && owner->uid == rollout.object.uid && template_without_hash(tree) == template_without_hash(rollout.tree);
        if (ours) co_return fail(Code::kAborted, "replica set cache is behind");
      }
      // Another template has this hash: count the collision, which changes the next hash.
      json::Value tree = rollout.tree;
      json::at_path(tree, {"status", "collisionCount"}) = json::get_int(tree, {"status", "collisionCount"}) + 1;
      auto counted = co_await parts_.api.update(resources::kDeployments, rollout.object.ns, rollout.object.name, std::move(tree), {.subresource = "status"});
      if (!counted) co_return fail(counted.error());
      co_return fail(Code::kAborted, "template hash collision");
    }
    recorder_.record(client::reference_to(resources::kDeployments, rollout.object), "Warning", "ReplicaSetCreateError",
                     cat("Failed to create new replica set \"", name, "\": ", error.message()));
    co_return fail(std::move(error));
  }

  static json::Object inherited_annotations(const json::Value& tree) {
    json::Object out;
    if (const json::Object* source = json::get_object(tree, {"metadata", "annotations"}))
      for (const auto& [key, value] : *source) {
        std::string_view name = key;
        if (name == "kubectl.kubernetes.io/last-applied-configuration" || name == kRevision || name == kRevisionHistory || name == kDesired ||
            name == kMax || name == "deprecated.deployment.rollback.to")
          continue;
        out[key] = value;
      }
    return out;
  }

  async::Task<Result<>> set_deployment_revision(Rollout& rollout, std::string revision) {
    if (json::get_string(rollout.tree, {"metadata", "annotations", kRevision}) == revision) co_return Result<>();
    json::Value patch = json::Object{{"metadata", json::Object{{"annotations", json::Object{{kRevision, revision}}}}}};
    CO_TRY_ASSIGN(client::Object updated, co_await parts_.api.patch(resources::kDeployments, rollout.object.ns, rollout.object.name, client::PatchType::kMerge, std::move(patch), {}));
    json::Value status = rollout.tree.get_object()["status"];  // what this pass has noted so far
    rollout.tree = updated.tree();
    rollout.tree.get_object()["status"] = std::move(status);
    rollout.object = std::move(updated);
    co_return Result<>();
  }

  // --- sizes

  std::int64_t max_total(const Rollout& rollout) const { return rollout.limits.replicas + (rollout.recreate ? 0 : rollout.limits.surge); }

  async::Task<Result<>> patch_set(Set& set, json::Value patch) {
    CO_TRY_ASSIGN(client::Object updated, co_await parts_.api.patch(resources::kReplicaSets, set.object.ns, set.object.name, client::PatchType::kMerge, std::move(patch), {}));
    set.tree = updated.tree();
    set.object = std::move(updated);
    co_return Result<>();
  }

  async::Task<Result<>> resize(Rollout& rollout, Set& set, std::int64_t size) {
    std::string desired = std::to_string(rollout.limits.replicas);
    std::string max = std::to_string(max_total(rollout));
    std::int64_t before = set.want();
    bool annotated = json::get_string(set.tree, {"metadata", "annotations", kDesired}) == desired &&
                     json::get_string(set.tree, {"metadata", "annotations", kMax}) == max;
    if (before == size && annotated) co_return Result<>();
    json::Object patch{{"metadata", json::Object{{"annotations", json::Object{{kDesired, desired}, {kMax, max}}}}}};
    if (before != size) patch["spec"] = json::Object{{"replicas", size}};
    CO_TRY(co_await patch_set(set, std::move(patch)));
    if (before != size) record_scaling(rollout, set.object.name, before, size);
    co_return Result<>();
  }

  void record_scaling(const Rollout& rollout, std::string_view name, std::int64_t before, std::int64_t size) {
    recorder_.record(client::reference_to(resources::kDeployments, rollout.object), "Normal", "ScalingReplicaSet",
                     cat("Scaled ", size > before ? "up" : "down", " replica set ", name, " from ", before, " to ", size));
  }

  // spec.replicas changed since the sets were last sized.
  static bool is_scaling(const Rollout& rollout) {
    std::string desired = std::to_string(rollout.limits.replicas);
    auto differs = [&](const Set& set) {
      return set.want() > 0 && json::get_string(set.tree, {"metadata", "annotations", kDesired}) != desired;
    };
    return (rollout.new_set && differs(*rollout.new_set)) || std::any_of(rollout.old_sets.begin(), rollout.old_sets.end(), differs);
  }

  async::Task<Result<>> scale_all(Rollout& rollout) {
    std::vector<Set*> sized;  // newest first
    if (rollout.new_set && rollout.new_set->want() > 0) sized.push_back(&*rollout.new_set);
    for (auto it = rollout.old_sets.rbegin(); it != rollout.old_sets.rend(); ++it)
      if (it->want() > 0) sized.push_back(&*it);
    if (sized.size() <= 1) {
      Set* only = !sized.empty() ? sized[0] : rollout.new_set ? &*rollout.new_set : nullptr;
      if (only != nullptr) CO_TRY(co_await resize(rollout, *only, rollout.limits.replicas));
      co_return Result<>();
    }
    bool saturated = rollout.new_set && rollout.new_set->want() == rollout.limits.replicas && rollout.new_set->status("availableReplicas") == rollout.limits.replicas;
    std::vector<std::int64_t> sizes;
    if (saturated || rollout.recreate) {
      for (Set* set : sized) sizes.push_back(rollout.new_set && set == &*rollout.new_set ? rollout.limits.replicas : 0);
    } else {
      std::int64_t annotated = parse_int<std::int64_t>(json::get_string(sized[0]->tree, {"metadata", "annotations", kMax})).value_or(0);
      for (Set* set : sized) sizes.push_back(set->want());
      sizes = proportional_sizes(sizes, rollout.limits.replicas > 0 ? max_total(rollout) : 0, annotated);
    }
    for (std::size_t i = 0; i < sized.size(); ++i) CO_TRY(co_await resize(rollout, *sized[i], sizes[i]));
    co_return Result<>();
  }

  async::Task<Result<>> roll_gradually(Rollout& rollout) {
    Set& fresh = *rollout.new_set;
    CO_TRY(co_await resize(rollout, fresh, new_set_size(rollout.limits, rollout.total_wanted(), fresh.want())));
    std::vector<SetSize> old;
    for (const Set& set : rollout.old_sets) old.push_back({set.want(), std::min(set.want(), set.status("availableReplicas"))});
    std::vector<std::int64_t> sizes = old_set_sizes(rollout.limits, {fresh.want(), std::min(fresh.want(), fresh.status("availableReplicas"))}, old);
    for (std::size_t i = 0; i < sizes.size(); ++i)
      if (rollout.old_sets[i].want() != sizes[i]) CO_TRY(co_await resize(rollout, rollout.old_sets[i], sizes[i]));
    co_return Result<>();
  }

  async::Task<Result<>> roll_recreate(Rollout& rollout) {
    bool old_pods = false;
    for (Set& set : rollout.old_sets) {
      CO_TRY(co_await resize(rollout, set, 0));
      for (const ObjectPtr& pod : pods_.indexer().by_index(kOwnerIndex, set.object.uid)) {
        std::string_view phase = phase_of(pod->tree());
        if (phase != "Succeeded" && phase != "Failed") old_pods = true;
      }
    }
    if (old_pods) co_return Result<>();
    CO_TRY(co_await ensure_new_set(rollout));
    co_return co_await resize(rollout, *rollout.new_set, rollout.limits.replicas);
  }

  // --- the end of a rollout

  static bool is_complete(const Rollout& rollout) {
    return rollout.new_set && rollout.new_set->status("replicas") == rollout.limits.replicas &&
           rollout.sum("replicas") == rollout.limits.replicas && rollout.new_set->status("availableReplicas") >= rollout.limits.replicas;
  }

  async::Task<Result<>> clean_up(Rollout& rollout) {
    std::int64_t keep = json::get_int(rollout.tree, {"spec", "revisionHistoryLimit"}, 10);
    std::vector<const Set*> idle;
    for (const Set& set : rollout.old_sets)
      if (set.want() == 0 && set.status("replicas") == 0 && !client::is_deleting(set.tree)) idle.push_back(&set);
    std::sort(idle.begin(), idle.end(), [](const Set* a, const Set* b) { return a->revision() < b->revision(); });
    std::int64_t excess = static_cast<std::int64_t>(idle.size()) - keep;
    for (std::int64_t i = 0; i < excess; ++i) {
      CO_TRY(co_await remove_seen(parts_.api, resources::kReplicaSets, idle[static_cast<std::size_t>(i)]->object));
    }
    co_return Result<>();
  }

  // --- status

  // A condition that changed is the last of the list: upstream takes the old one out and appends, and kubectl describe shows the order.
  static void move_last(json::Value& status, std::string_view type) {
    json::Array& list = status.get_object()["conditions"].get_array();
    std::ranges::stable_partition(list, [&](const json::Value& c) { return json::get_string(c, {"type"}) != type; });
  }

  void set_progressing(json::Value& status, std::string_view value, std::string_view reason, std::string message, bool moved) {
    json::Object condition{{"type", "Progressing"}, {"status", value}, {"reason", reason}, {"message", std::move(message)}};
    WallTime now = parts_.time.wall();
    client::set_condition(status, std::move(condition), now);
    for (json::Value& c : status.get_object()["conditions"].get_array()) {
      if (json::get_string(c, {"type"}) != "Progressing") continue;
      if (moved || c.get_object().if_contains("lastUpdateTime") == nullptr) c.get_object()["lastUpdateTime"] = format_rfc3339(now);
    }
    if (moved) move_last(status, "Progressing");
  }

  void set_available(const Rollout& rollout, json::Value& status, std::int64_t available) {
    bool enough = available >= rollout.limits.replicas - (rollout.recreate ? 0 : rollout.limits.unavailable);
    json::Object condition{{"type", "Available"},
                           {"status", enough ? "True" : "False"},
                           {"reason", enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable"},
                           {"message", enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability."}};
    WallTime now = parts_.time.wall();
    if (!client::set_condition(status, std::move(condition), now)) return;
    for (json::Value& c : status.get_object()["conditions"].get_array())
      if (json::get_string(c, {"type"}) == "Available") c.get_object()["lastUpdateTime"] = format_rfc3339(now);
    move_last(status, "Available");
  }

  // The Progressing condition; returns when to look again for the deadline (zero: not by time).
  Duration judge_progress(const Rollout& rollout, const json::Value& before, json::Value& status) {
    std::string name = rollout.new_set ? cat("ReplicaSet \"", rollout.new_set->object.name, "\"") : cat("Deployment \"", rollout.object.name, "\"");
    json::Value holder = json::Object{{"status", status}};
    std::string reason;
    if (const json::Object* current = client::find_condition(holder, "Progressing")) reason = json::get_string(json::Value(*current), {"reason"});
    bool paused = json::get_bool(rollout.tree, {"spec", "paused"});
    if (paused) {
      if (reason != "DeploymentPaused") set_progressing(status, "Unknown", "DeploymentPaused", "Deployment is paused", true);
      return Duration::zero();
    }
    if (reason == "DeploymentPaused") set_progressing(status, "Unknown", "DeploymentResumed", "Deployment is resumed", true);
    if (is_complete(rollout)) {
      set_progressing(status, "True", "NewReplicaSetAvailable", name + " has successfully progressed.", reason != "NewReplicaSetAvailable");
      return Duration::zero();
    }
    auto moved = [&](std::string_view field) { return json::get_int(status, {field}) > json::get_int(before, {field}); };
    bool progressed = moved("updatedReplicas") || moved("readyReplicas") || moved("availableReplicas") ||
                      json::get_int(status, {"replicas"}) - json::get_int(status, {"updatedReplicas"}) <
                          json::get_int(before, {"replicas"}) - json::get_int(before, {"updatedReplicas"});
    if (progressed || reason.empty()) set_progressing(status, "True", "ReplicaSetUpdated", name + " is progressing.", true);
    std::int64_t deadline_s = json::get_int(rollout.tree, {"spec", "progressDeadlineSeconds"}, 600);
    if (deadline_s >= std::numeric_limits<std::int32_t>::max() || reason == "NewReplicaSetAvailable") return Duration::zero();
    json::Value updated = json::Object{{"status", status}};
    const json::Object* condition = client::find_condition(updated, "Progressing");
    WallTime due = client::time_at(json::Value(*condition), {"lastUpdateTime"}) + std::chrono::seconds(deadline_s);
    if (due <= parts_.time.wall()) {
      set_progressing(status, "False", "ProgressDeadlineExceeded", name + " has timed out progressing.", reason != "ProgressDeadlineExceeded");
      return Duration::zero();
    }
    return due - parts_.time.wall() + std::chrono::seconds(1);
  }

  async::Task<Result<Outcome>> update_status(Rollout& rollout) {
    ObjectPtr cached = deployments_.indexer().find(rollout.object.key());
    json::Value before = json::Object();
    if (cached) {
      json::Value tree = cached->tree();
      if (const json::Value* old = json::find(tree, {"status"})) before = *old;
    }
    json::Value& slot = rollout.tree.get_object()["status"];
    json::Value status = slot.is_object() ? slot : json::Value(json::Object());
    std::int64_t replicas = rollout.sum("replicas");
    std::int64_t available = rollout.sum("availableReplicas");
    json::Object& fields = status.get_object();
    fields["observedGeneration"] = json::get_int(rollout.tree, {"metadata", "generation"});
    set_count(fields, "replicas", replicas);
    set_count(fields, "updatedReplicas", rollout.new_set ? rollout.new_set->status("replicas") : 0);
    set_count(fields, "readyReplicas", rollout.sum("readyReplicas"));
    set_count(fields, "availableReplicas", available);
    set_count(fields, "unavailableReplicas", std::max<std::int64_t>(0, rollout.total_wanted() - available));
    set_count(fields, "terminatingReplicas", rollout.sum("terminatingReplicas"));
    set_available(rollout, status, available);
    Outcome outcome;
    outcome.requeue_after = judge_progress(rollout, before, status);
    if (status == before) co_return outcome;
    slot = std::move(status);
    auto written = co_await put_status(parts_.api, resources::kDeployments, rollout.object, rollout.tree);
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    co_return outcome;
  }

  client::Informer& deployments_;
  client::Informer& sets_;
  client::Informer& pods_;
};

}  // namespace

std::unique_ptr<Controller> make_deployment_controller(const ControllerParts& parts) { return std::make_unique<DeploymentController>(parts); }

}  // namespace monopod::controllers
