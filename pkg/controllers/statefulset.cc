// StatefulSet: pods with names, volume claims and an order. Source: apps/v1 API, KEP-961 (maxUnavailable), KEP-1847 (retention of claims),
// KEP-3335 (first ordinal) and the observable behaviour of kube-controller-manager.
//
//   replicas [start, start + replicas)  in order: create ─► Running and Ready (and available) ─► the next        Parallel: none waits
//   condemned, what is beyond           from the last: delete ─► gone ─► the one before
//   then the update, from the last: delete what is not of the update's revision, maxUnavailable at a time, not below the partition
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "controllers/pod_owner.h"
#include "controllers/revisions.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr PodOwnerKind kStatefulSet{resources::kStatefulSets, "statefulset-controller"};
constexpr std::string_view kRevisionLabel = "controller-revision-hash";
constexpr std::string_view kNameLabel = "statefulset.kubernetes.io/pod-name";
constexpr std::string_view kIndexLabel = "apps.kubernetes.io/pod-index";
constexpr std::int64_t kStatefulBurst = 500;  // creations in one pass
constexpr std::chrono::seconds kStaleClaimRetry{1};  // while a claim of a pod that was scaled away is being collected

// Of "web-3" in the set "web": 3.
std::optional<std::int64_t> ordinal_of(std::string_view set, std::string_view pod) {
  if (pod.size() < set.size() + 2 || !pod.starts_with(set) || pod[set.size()] != '-') return std::nullopt;
  std::string_view digits = pod.substr(set.size() + 1);
  auto ordinal = parse_int<std::int64_t>(digits);
  if (!ordinal || *ordinal < 0 || std::to_string(*ordinal) != digits) return std::nullopt;
  return ordinal;
}

struct StatefulSlot {
  std::int64_t ordinal;
  std::string pod_name;
  const OwnedPod* pod = nullptr;  // null: to be created
};

// One set with its pods, for the length of one reconcile.
struct StatefulWork {
  StatefulWork(const ControllerParts& parts, const client::Object& object, json::Value set_tree, std::vector<OwnedPod> set_pods)
      : set(object), tree(std::move(set_tree)), pods(std::move(set_pods)), now(parts.time.wall()) {
    ordered = json::get_string(tree, {"spec", "podManagementPolicy"}) != "Parallel";
    start = json::get_int(tree, {"spec", "ordinals", "start"});
    wanted = json::get_int(tree, {"spec", "replicas"}, 1);
    min_ready = std::chrono::seconds(json::get_int(tree, {"spec", "minReadySeconds"}));
    rolling = json::get_string(tree, {"spec", "updateStrategy", "type"}) == "RollingUpdate";
    for (const OwnedPod& pod : pods) {
      auto ordinal = ordinal_of(set.name, pod.object->name);
      if (!ordinal) continue;
      if (*ordinal >= start && *ordinal < start + wanted) replicas[*ordinal] = &pod;
      else condemned.push_back(&pod);
    }
    sort_pods(condemned, [](const OwnedPod& a, const OwnedPod& b) {  // names that differ in their number alone
      std::string_view left = a.object->name, right = b.object->name;
      return std::pair(left.size(), left) > std::pair(right.size(), right);
    });
  }

  bool available(const OwnedPod& pod) const { return phase_of(pod.tree) == "Running" && is_available(pod.tree, min_ready, now); }
  bool unavailable(const OwnedPod& pod) const { return client::is_deleting(pod.tree) || !available(pod); }
  // Of all that are wanted: those that are missing too.
  std::int64_t count_unavailable() const {
    return wanted - std::ranges::count_if(replicas, [this](const auto& entry) { return !unavailable(*entry.second); });
  }
  static std::string_view revision_of(const OwnedPod& pod) { return json::get_string(pod.tree, {"metadata", "labels", kRevisionLabel}); }

  const client::Object& set;
  json::Value tree;
  std::vector<OwnedPod> pods;
  WallTime now;
  bool ordered, rolling;
  std::int64_t start, wanted;
  std::chrono::seconds min_ready;
  std::map<std::int64_t, const OwnedPod*> replicas;  // by ordinal, of those that are wanted and there
  std::vector<const OwnedPod*> condemned;  // the last ordinal first
  TemplateRevision current, update;
  std::int64_t collisions = 0;
  Duration again = Duration::zero();
};

class StatefulSetController final : public PodOwner {
 public:
  explicit StatefulSetController(const ControllerParts& parts)
      : PodOwner(parts, kStatefulSet),
        claims_(parts.informers.informer(resources::kPersistentVolumeClaims)),
        history_(parts, resources::kStatefulSets, "controller.kubernetes.io/hash") {}

 private:
  bool may_own(const client::Object& set, const client::Object& pod) const override { return ordinal_of(set.name, pod.name).has_value(); }
  void say_created(const client::Object& set, std::string_view pod, const Error* failure) override { say(set, "create", "Pod ", pod, failure); }
  void say_deleted(const client::Object& set, std::string_view pod, const Error* failure) override { say(set, "delete", "Pod ", pod, failure); }

  void say(const client::Object& set, std::string_view verb, std::string_view what, std::string_view name, const Error* failure) {
    std::string_view suffix = verb == "create" ? "Create" : verb == "delete" ? "Delete" : "Update";
    std::string text = cat(verb, " ", what, name, " in StatefulSet ", set.name);
    if (failure != nullptr) record(set, "Warning", cat("Failed", suffix), cat(text, " failed error: ", failure->message()));
    else record(set, "Normal", cat("Successful", suffix), text + (what == "Pod " ? " successful" : " success"));
  }

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
    std::vector<TemplateRevision> revisions;
    CO_TRY(co_await claim(*set, tree, *selector, pods));
    CO_TRY(co_await history_.list(*set, tree, *selector, revisions));
    StatefulWork work(parts_, *set, std::move(tree), std::move(pods));
    work.collisions = json::get_int(work.tree, {"status", "collisionCount"});
    CO_TRY(co_await history_.ensure(*set, work.tree, revisions, work.collisions, work.update));
    std::string_view current = json::get_string(work.tree, {"status", "currentRevision"});
    auto known = std::ranges::find_if(revisions, [&](const TemplateRevision& r) { return r.name() == current; });
    work.current = known != revisions.end() ? *known : work.update;
    Result<> moved;
    if (!client::is_deleting(work.tree)) moved = co_await advance(work);
    if (!moved && moved.error().code() == Code::kCancelled) co_return fail(moved.error());
    CO_TRY(co_await update_status(work));
    std::set<std::string> in_use{work.current.name(), work.update.name()};
    for (const OwnedPod& pod : work.pods) in_use.emplace(StatefulWork::revision_of(pod));
    CO_TRY(co_await history_.truncate(work.tree, revisions, in_use));
    if (!moved) co_return fail(moved.error());
    co_return Outcome{work.again};
  }

  async::Task<Result<>> advance(StatefulWork& work) {
    for (std::int64_t i = work.start, made = 0; i < work.start + work.wanted; ++i) {
      auto there = work.replicas.find(i);
      StatefulSlot slot{i, cat(work.set.name, "-", i), there != work.replicas.end() ? there->second : nullptr};
      if (slot.pod == nullptr && ++made > kStatefulBurst) co_return Result<>();  // news of these brings us back
      CO_TRY_ASSIGN(bool settled, co_await settle(work, slot));
      if (!settled && work.ordered) co_return Result<>();
    }
    for (const OwnedPod* pod : work.condemned) CO_TRY(co_await own_claims(work, pod->object->name, pod->object->uid, true));
    CO_TRY_ASSIGN(bool gone, co_await shrink(work));
    if (!gone && work.ordered) co_return Result<>();
    if (work.rolling) co_return co_await roll(work);
    co_return Result<>();
  }

  // False: whatever comes after it in order has to wait.
  async::Task<Result<bool>> settle(StatefulWork& work, const StatefulSlot& slot) {
    if (slot.pod == nullptr) co_return co_await create(work, slot);
    const OwnedPod& pod = *slot.pod;
    bool deleting = client::is_deleting(pod.tree);
    std::string_view phase = phase_of(pod.tree);
    if (phase == "Failed" || phase == "Succeeded") {  // evicted, or stopped by the node's shutdown: started anew whatever its exit code
      if (!deleting) {
        bool failed = phase == "Failed";
        record(work.set, failed ? "Warning" : "Normal", failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
               cat("StatefulSet ", work.set.key(), " is recreating ", failed ? "failed" : "terminated", " Pod ", pod.object->name));
        CO_TRY(co_await delete_pods(work.set, {&pod}));
      }
      co_return false;
    }
    if (phase == "Pending") CO_TRY(co_await create_claims(work, slot));
    if (work.ordered && (deleting || !work.available(pod))) co_return false;
    if (json::get_string(pod.tree, {"metadata", "labels", kNameLabel}) != pod.object->name) {
      auto updated = co_await patch_metadata(parts_.api, resources::kPods, *pod.object, json::Object{{"labels", identity_labels(slot)}});
      if (!updated && updated.error().code() == Code::kCancelled) co_return fail(updated.error());
      say(work.set, "update", "Pod ", pod.object->name, updated ? nullptr : &updated.error());
      if (!updated) co_return fail(updated.error());
    }
    CO_TRY(co_await own_claims(work, pod.object->name, pod.object->uid, false));
    co_return true;
  }

  // --- pods

  static json::Object identity_labels(const StatefulSlot& slot) { return {{kNameLabel, slot.pod_name}, {kIndexLabel, std::to_string(slot.ordinal)}}; }

  // Below the partition a pod that is missing comes back as it was.
  static const TemplateRevision& revision_for(const StatefulWork& work, std::int64_t ordinal) {
    const json::Value* rolling = json::find(work.tree, {"spec", "updateStrategy", "rollingUpdate"});
    if (rolling != nullptr) return ordinal < work.start + json::get_int(*rolling, {"partition"}) ? work.current : work.update;
    return work.rolling && ordinal < work.start + json::get_int(work.tree, {"status", "currentReplicas"}) ? work.current : work.update;
  }

  static json::Value make_pod(const StatefulWork& work, const StatefulSlot& slot) {
    const TemplateRevision& revision = revision_for(work, slot.ordinal);
    json::Value pod = pod_from_template(revision.pod_template(), resources::kStatefulSets, work.set);
    json::at_path(pod, {"metadata", "name"}) = slot.pod_name;
    for (auto& [key, value] : identity_labels(slot)) json::at_path(pod, {"metadata", "labels", key}) = value;
    json::at_path(pod, {"metadata", "labels", kRevisionLabel}) = revision.name();
    json::at_path(pod, {"spec", "hostname"}) = slot.pod_name;
    if (std::string_view service = json::get_string(work.tree, {"spec", "serviceName"}); !service.empty()) json::at_path(pod, {"spec", "subdomain"}) = service;
    const json::Array* templates = json::get_array(work.tree, {"spec", "volumeClaimTemplates"});
    if (templates == nullptr || templates->empty()) return pod;
    json::Array volumes;
    std::set<std::string, std::less<>> named;
    for (const json::Value& claim : *templates) {
      std::string_view name = client::name_of(claim);
      volumes.push_back(json::Object{{"name", name}, {"persistentVolumeClaim", json::Object{{"claimName", cat(name, "-", slot.pod_name)}}}});
      named.emplace(name);
    }
    json::Value& of_template = json::at_path(pod, {"spec", "volumes"});
    if (of_template.is_array())
      for (const json::Value& volume : of_template.get_array())
        if (!named.contains(json::get_string(volume, {"name"}))) volumes.push_back(volume);
    of_template = std::move(volumes);
    return pod;
  }

  async::Task<Result<bool>> create(StatefulWork& work, const StatefulSlot& slot) {
    if (has_stale_claim(work, slot)) {
      work.again = kStaleClaimRetry;
      co_return false;
    }
    CO_TRY(co_await create_claims(work, slot));
    Result<bool> created = co_await create_pod(work.set, make_pod(work, slot));
    if (!created && created.error().code() == Code::kAlreadyExists) co_return fail(Code::kAborted, cat("pod ", slot.pod_name, " exists"));
    if (!created) co_return fail(created.error());
    CO_TRY(co_await own_claims(work, slot.pod_name, "", false));
    co_return false;
  }

  // Deletes what is beyond the last ordinal; true where nothing is left of it.
  async::Task<Result<bool>> shrink(StatefulWork& work) {
    const OwnedPod* first_unavailable = nullptr;
    bool all_available = work.count_unavailable() == 0;
    for (const OwnedPod* pod : work.condemned)
      if (all_available && work.unavailable(*pod)) first_unavailable = pod;  // the last one seen has the lowest ordinal
    for (const OwnedPod* pod : work.condemned) {
      if (client::is_deleting(pod->tree)) {
        if (work.ordered) co_return false;
        continue;
      }
      if (work.ordered && !work.available(*pod) && pod != first_unavailable) co_return false;
      CO_TRY(co_await delete_pods(work.set, {pod}));
      if (work.ordered) co_return false;
    }
    co_return work.condemned.empty();
  }

  async::Task<Result<>> roll(StatefulWork& work) {
    const json::Value* rolling = json::find(work.tree, {"spec", "updateStrategy", "rollingUpdate"});
    std::int64_t partition = rolling != nullptr ? json::get_int(*rolling, {"partition"}) : 0;
    std::int64_t most = std::max<std::int64_t>(1, resolve_int_or_percent(rolling != nullptr ? json::find(*rolling, {"maxUnavailable"}) : nullptr, work.wanted, 1, false));
    std::int64_t room = most - work.count_unavailable();
    for (auto it = work.replicas.rbegin(); it != work.replicas.rend() && it->first >= work.start + partition && room > 0; ++it) {
      const OwnedPod* pod = it->second;
      if (client::is_deleting(pod->tree) || StatefulWork::revision_of(*pod) == work.update.name()) continue;
      CO_TRY(co_await delete_pods(work.set, {pod}));
      --room;
    }
    co_return Result<>();
  }

  // --- volume claims

  std::vector<std::string> claims_of_pod(const StatefulWork& work, std::string_view pod) const {
    std::vector<std::string> out;
    if (const json::Array* templates = json::get_array(work.tree, {"spec", "volumeClaimTemplates"}))
      for (const json::Value& claim : *templates) out.push_back(cat(client::name_of(claim), "-", pod));
    return out;
  }

  static bool deletes(const StatefulWork& work, std::string_view when) { return json::get_string(work.tree, {"spec", "persistentVolumeClaimRetentionPolicy", when}) == "Delete"; }

  // It belongs to a pod of that name that is gone: it will be collected, and a new one made.
  bool has_stale_claim(const StatefulWork& work, const StatefulSlot& slot) const {
    if (!deletes(work, "whenScaled") && !deletes(work, "whenDeleted")) return false;
    for (const std::string& name : claims_of_pod(work, slot.pod_name)) {
      ObjectPtr claim = claims_.indexer().find(work.set.ns + "/" + name);
      if (!claim) continue;
      for (const client::OwnerReference& owner : client::owners_of(claim->tree()))
        if (owner.kind == "Pod" && owner.name == slot.pod_name) return true;
    }
    return false;
  }

  async::Task<Result<>> create_claims(const StatefulWork& work, const StatefulSlot& slot) {
    const json::Array* templates = json::get_array(work.tree, {"spec", "volumeClaimTemplates"});
    if (templates == nullptr) co_return Result<>();
    for (const json::Value& claim_template : *templates) {
      std::string name = cat(client::name_of(claim_template), "-", slot.pod_name);
      if (ObjectPtr existing = claims_.indexer().find(work.set.ns + "/" + name)) {
        if (client::is_deleting(existing->tree())) co_return fail(Code::kAborted, cat("pvc ", name, " is being deleted"));
        continue;
      }
      json::Value body = claim_template;
      body.get_object().erase("status");
      json::at_path(body, {"metadata", "name"}) = name;
      json::at_path(body, {"metadata", "namespace"}) = work.set.ns;
      if (const json::Object* labels = json::get_object(work.tree, {"spec", "selector", "matchLabels"}))
        for (const auto& [key, value] : *labels) json::at_path(body, {"metadata", "labels", std::string_view(key)}) = value;
      auto created = co_await parts_.api.create(resources::kPersistentVolumeClaims, work.set.ns, std::move(body), {});
      if (!created && (created.error().code() == Code::kAlreadyExists || namespace_is_terminating(created.error()))) continue;
      if (!created && created.error().code() == Code::kCancelled) co_return fail(created.error());
      say(work.set, "create", "Claim ", cat(name, " Pod ", slot.pod_name), created ? nullptr : &created.error());
      if (!created) co_return fail(created.error());
    }
    co_return Result<>();
  }

  // The claims go with whom the retention policy says: with the set, with a pod that is scaled away, or with nobody.
  async::Task<Result<>> own_claims(const StatefulWork& work, std::string pod, std::string pod_uid, bool condemned) {
    bool by_pod = deletes(work, "whenScaled") && condemned;
    bool by_set = deletes(work, "whenDeleted") && !by_pod;
    for (const std::string& name : claims_of_pod(work, pod)) {
      ObjectPtr claim = claims_.indexer().find(work.set.ns + "/" + name);
      if (!claim) continue;
      json::Value tree = claim->tree();
      bool has_set = false, has_pod = false, foreign = false;
      json::Array change;
      auto drop = [&](const client::OwnerReference& owner) { change.push_back(json::Object{{"$patch", "delete"}, {"uid", owner.uid}}); };
      for (const client::OwnerReference& owner : client::owners_of(tree)) {
        bool is_set = owner.uid == work.set.uid, is_pod = owner.kind == "Pod" && owner.name == pod;
        if (is_set && by_set) has_set = true;
        else if (is_pod && by_pod && owner.uid == pod_uid) has_pod = true;
        else if (is_set || is_pod) drop(owner);
        else if (owner.controller) foreign = true;
      }
      if (foreign) continue;
      if (by_set && !has_set) change.push_back(client::controller_reference(resources::kStatefulSets, work.set));
      if (by_pod && !has_pod) change.push_back(json::Object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod}, {"uid", pod_uid}});
      if (change.empty()) continue;
      auto patched = co_await patch_metadata(parts_.api, resources::kPersistentVolumeClaims, *claim, json::Object{{"ownerReferences", std::move(change)}});
      if (!patched && patched.error().code() != Code::kNotFound) co_return fail(patched.error());
    }
    co_return Result<>();
  }

  // --- status

  async::Task<Result<>> update_status(StatefulWork& work) {
    const json::Value* old = json::find(work.tree, {"status"});
    json::Value status = old != nullptr && old->is_object() ? *old : json::Value(json::Object());
    std::int64_t ready = 0, available = 0, current = 0, updated = 0, replicas = static_cast<std::int64_t>(work.pods.size());
    for (const OwnedPod& pod : work.pods) {
      if (phase_of(pod.tree) == "Running" && is_ready(pod.tree)) {
        ++ready;
        if (work.available(pod)) ++available;
        else if (work.again == Duration::zero()) work.again = work.min_ready;
      }
      if (client::is_deleting(pod.tree)) continue;
      if (StatefulWork::revision_of(pod) == work.current.name()) ++current;
      if (StatefulWork::revision_of(pod) == work.update.name()) ++updated;
    }
    bool complete = work.rolling && updated == work.wanted && ready == work.wanted && replicas == work.wanted;
    json::Object& fields = status.get_object();
    fields["observedGeneration"] = json::get_int(work.tree, {"metadata", "generation"});
    fields["replicas"] = replicas;
    set_count(fields, "readyReplicas", ready);
    set_count(fields, "availableReplicas", available);
    set_count(fields, "currentReplicas", complete ? updated : current);
    set_count(fields, "updatedReplicas", updated);
    fields["currentRevision"] = complete ? work.update.name() : work.current.name();
    fields["updateRevision"] = work.update.name();
    fields["collisionCount"] = work.collisions;
    return write_status(work.set, work.tree, std::move(status));
  }

  client::Informer& claims_;
  RevisionHistory history_;
};

}  // namespace

std::unique_ptr<Controller> make_statefulset_controller(const ControllerParts& parts) { return std::make_unique<StatefulSetController>(parts); }

}  // namespace monopod::controllers
