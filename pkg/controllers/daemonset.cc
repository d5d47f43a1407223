// DaemonSet: a pod on every node that it selects, pinned to it by node affinity and bound by the scheduler. Source: apps/v1 API, KEP-1591
// (maxSurge) and the observable behaviour of kube-controller-manager.
//
//   each node ─► should it run there? ─► missing: create · too many, failed, or not wanted: delete
//             └► rolling update: delete old pods while few enough are unavailable; with surge: create new ones first
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "client/node_match.h"
#include "controllers/pod_owner.h"
#include "controllers/revisions.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr PodOwnerKind kDaemonSet{resources::kDaemonSets, "daemonset-controller"};
constexpr std::string_view kDaemonHash = "controller-revision-hash";
constexpr std::size_t kDaemonBurst = 250;  // creations or deletions in one pass
constexpr std::chrono::seconds kFailureDelay{1};  // between a pod that failed on a node and the next; doubles
constexpr std::chrono::minutes kFailureDelayMax{15};

// Taints that every daemon bears: it must run where others cannot.
constexpr std::pair<std::string_view, std::string_view> kBorne[] = {
    {"node.kubernetes.io/not-ready", "NoExecute"},       {"node.kubernetes.io/unreachable", "NoExecute"},     {"node.kubernetes.io/disk-pressure", "NoSchedule"},
    {"node.kubernetes.io/memory-pressure", "NoSchedule"}, {"node.kubernetes.io/pid-pressure", "NoSchedule"}, {"node.kubernetes.io/unschedulable", "NoSchedule"},
    {"node.kubernetes.io/network-unavailable", "NoSchedule"}};  // the last of those that use the host's network

void bear_taints(json::Value& pod) {
  json::Value& list = json::at_path(pod, {"spec", "tolerations"});
  if (!list.is_array()) list.emplace_array();
  bool host_network = json::get_bool(pod, {"spec", "hostNetwork"});
  for (auto [key, effect] : kBorne) {
    if (key == "node.kubernetes.io/network-unavailable" && !host_network) continue;
    json::Value toleration = json::Object{{"key", key}, {"operator", "Exists"}, {"effect", effect}};
    if (std::ranges::find(list.get_array(), toleration) == list.get_array().end()) list.get_array().push_back(std::move(toleration));
  }
}

constexpr std::initializer_list<std::string_view> kRequiredAffinity{"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"};

// Where a pod is, or is to be.
std::string target_node(const json::Value& pod) {
  if (std::string_view name = json::get_string(pod, {"spec", "nodeName"}); !name.empty()) return std::string(name);
  if (const json::Array* terms = json::get_array(pod, kRequiredAffinity))
    for (const json::Value& term : *terms)
      if (const json::Array* fields = json::get_array(term, {"matchFields"}))
        for (const json::Value& field : *fields) {
          const json::Array* values = json::get_array(field, {"values"});
          if (json::get_string(field, {"key"}) == "metadata.name" && values != nullptr && values->size() == 1 && (*values)[0].is_string()) return std::string((*values)[0].get_string());
        }
  return {};
}

struct DaemonNode {
  std::string name;
  bool runs = false;   // a pod belongs here
  bool stays = false;  // one that is here may stay
  std::vector<const OwnedPod*> pods;  // the oldest first
};

// One set with its pods and nodes, for the length of one reconcile.
struct DaemonWork {
  const client::Object& set;
  json::Value tree;
  std::vector<OwnedPod> pods;
  std::string hash;
  std::int64_t collisions;
  std::chrono::seconds min_ready;
  WallTime now;
  std::vector<DaemonNode> nodes;
  std::int64_t wanted = 0;  // nodes where it runs
  std::int64_t surge = 0, most_unavailable = 0;
  std::vector<std::string> create;  // nodes
  std::vector<const OwnedPod*> remove;
  Duration again = Duration::zero();

  bool is_new(const OwnedPod& pod) const { return json::get_string(pod.tree, {"metadata", "labels", kDaemonHash}) == hash; }
  bool available(const OwnedPod& pod) const { return is_available(pod.tree, min_ready, now); }
};

class DaemonSetController final : public PodOwner {
 public:
  explicit DaemonSetController(const ControllerParts& parts) : PodOwner(parts, kDaemonSet), nodes_(parts.informers.informer(resources::kNodes)), history_(parts, resources::kDaemonSets, kDaemonHash) {
    nodes_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      std::vector<ObjectPtr> sets = owners_.indexer().list();
      if (sets.empty() || (old && now && same_for_pods(*old, *now))) return;
      for (const ObjectPtr& set : sets) queue_.add(set->key());
    });
  }

 private:
  // Heartbeats change neither.
  static bool same_for_pods(const client::Object& a, const client::Object& b) {
    json::Value before = a.tree(), after = b.tree();
    auto member = [](const json::Value& tree, std::initializer_list<std::string_view> path) {
      const json::Value* value = json::find(tree, path);
      return value != nullptr ? *value : json::Value();
    };
    return member(before, {"metadata", "labels"}) == member(after, {"metadata", "labels"}) && member(before, {"spec", "taints"}) == member(after, {"spec", "taints"});
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr set = owners_.indexer().find(key);
    if (!set) {
      expectations_.forget(key);
      std::erase_if(failures_, [&](const auto& entry) { return entry.first.starts_with(key + "/"); });
      co_return Outcome{};
    }
    json::Value tree = set->tree();
    auto selector = selector_of(tree);
    if (!selector || client::is_deleting(tree)) co_return Outcome{};
    std::vector<TemplateRevision> revisions;
    CO_TRY(co_await history_.list(*set, tree, *selector, revisions));
    std::int64_t collisions = json::get_int(tree, {"status", "collisionCount"});
    TemplateRevision current;
    CO_TRY(co_await history_.ensure(*set, tree, revisions, collisions, current));
    std::vector<OwnedPod> pods;
    CO_TRY(co_await claim(*set, tree, *selector, pods));
    std::chrono::seconds min_ready(json::get_int(tree, {"spec", "minReadySeconds"}));
    DaemonWork work{.set = *set, .tree = std::move(tree), .pods = std::move(pods), .hash = std::string(json::get_string(current.tree, {"metadata", "labels", kDaemonHash})), .collisions = collisions, .min_ready = min_ready, .now = parts_.time.wall()};
    survey(work);
    Result<> moved;
    if (expectations_.satisfied(key)) {
      manage(work);
      moved = co_await carry_out(work);
      bool rolls = json::get_string(work.tree, {"spec", "updateStrategy", "type"}) == "RollingUpdate";
      if (moved && rolls && expectations_.satisfied(key)) {
        work.surge > 0 ? roll_with_surge(work) : roll(work);
        moved = co_await carry_out(work);
      }
      if (!moved && moved.error().code() == Code::kCancelled) co_return fail(moved.error());
      std::set<std::string> in_use{current.name()};
      for (const TemplateRevision& revision : revisions)
        if (std::ranges::any_of(work.pods, [&](const OwnedPod& pod) { return json::get_string(pod.tree, {"metadata", "labels", kDaemonHash}) == json::get_string(revision.tree, {"metadata", "labels", kDaemonHash}); }))
          in_use.insert(revision.name());
      CO_TRY(co_await history_.truncate(work.tree, revisions, in_use));
    }
    CO_TRY(co_await update_status(work));
    if (!moved) co_return fail(moved.error());
    co_return Outcome{work.again};
  }

  // --- what is where

  void survey(DaemonWork& work) const {
    json::Value pod = json::Object{{"spec", json::Object()}};
    if (const json::Value* spec = json::find(work.tree, {"spec", "template", "spec"})) pod.get_object()["spec"] = *spec;
    bear_taints(pod);
    std::string_view pinned = json::get_string(pod, {"spec", "nodeName"});
    std::map<std::string, std::size_t> by_name;
    for (const ObjectPtr& object : nodes_.indexer().list()) {
      json::Value node = object->tree();
      bool fits = (pinned.empty() || pinned == object->name) && client::matches_node_affinity(pod, node);
      bool barred = false, expelled = false;
      if (const json::Array* taints = json::get_array(node, {"spec", "taints"}))
        for (const json::Value& taint : *taints) {
          std::string_view effect = json::get_string(taint, {"effect"});
          if ((effect != "NoSchedule" && effect != "NoExecute") || client::tolerates(pod, taint)) continue;
          barred = true;
          if (effect == "NoExecute") expelled = true;
        }
      by_name[object->name] = work.nodes.size();
      work.nodes.push_back({.name = object->name, .runs = fits && !barred, .stays = fits && !expelled, .pods = {}});
      if (work.nodes.back().runs) ++work.wanted;
    }
    for (const OwnedPod& owned : work.pods) {
      auto node = by_name.find(target_node(owned.tree));
      if (node != by_name.end()) work.nodes[node->second].pods.push_back(&owned);
      else if (json::get_string(owned.tree, {"spec", "nodeName"}).empty() && !client::is_deleting(owned.tree)) work.remove.push_back(&owned);  // its node went before it came
    }
    for (DaemonNode& node : work.nodes)
      sort_pods(node.pods, [](const OwnedPod& a, const OwnedPod& b) {
        auto age = [](const OwnedPod& p) { return std::tuple(json::get_string(p.tree, {"spec", "nodeName"}).empty(), client::time_at(p.tree, {"metadata", "creationTimestamp"}), std::string_view(p.object->name)); };
        return age(a) < age(b);
      });
    const json::Value* rolling = json::find(work.tree, {"spec", "updateStrategy", "rollingUpdate"});
    if (rolling == nullptr) return;
    work.surge = resolve_int_or_percent(json::find(*rolling, {"maxSurge"}), work.wanted, 0, true);
    work.most_unavailable = resolve_int_or_percent(json::find(*rolling, {"maxUnavailable"}), work.wanted, 1, true);
    if (work.surge == 0 && work.most_unavailable == 0) work.most_unavailable = 1;
  }

  // --- one pod where one belongs

  void manage(DaemonWork& work) {
    for (const DaemonNode& node : work.nodes) {
      if (node.runs && node.pods.empty()) work.create.push_back(node.name);
      std::vector<const OwnedPod*> running;
      for (const OwnedPod* pod : node.pods) {
        if (client::is_deleting(pod->tree)) continue;
        std::string_view phase = phase_of(pod->tree);
        if (!node.stays) work.remove.push_back(pod);
        else if (phase != "Failed" && phase != "Succeeded") running.push_back(pod);
        else if (may_replace(work, node)) replace_finished(work, node, *pod);
      }
      if (running.size() > 1) thin_out(work, running);
    }
  }

  // A daemon that fails at once is not started over and over.
  bool may_replace(DaemonWork& work, const DaemonNode& node) {
    auto [entry, first] = failures_.try_emplace(cat(work.set.key(), "/", work.set.uid, "/", work.hash, "/", node.name));
    Backoff& backoff = entry->second;
    MonoTime now = parts_.time.mono();
    if (first || now - backoff.since > 2 * kFailureDelayMax) {
      backoff = {kFailureDelay, now};
      return true;
    }
    if (now - backoff.since < backoff.delay) {
      Duration left = backoff.delay - (now - backoff.since);
      work.again = work.again == Duration::zero() ? left : std::min(work.again, left);
      return false;
    }
    backoff = {std::min<Duration>(backoff.delay * 2, kFailureDelayMax), now};
    return true;
  }

  void replace_finished(DaemonWork& work, const DaemonNode& node, const OwnedPod& pod) {
    bool failed = phase_of(pod.tree) == "Failed";
    record(work.set, failed ? "Warning" : "Normal", failed ? "FailedDaemonPod" : "SucceededDaemonPod",
           cat("Found ", failed ? "failed" : "succeeded", " daemon pod ", pod.object->key(), " on node ", node.name, ", will try to ", failed ? "kill" : "delete", " it"));
    work.remove.push_back(&pod);
  }

  // More than one pod on a node: the oldest stays. With surge, the oldest of each kind while the new one is not available yet.
  static void thin_out(DaemonWork& work, const std::vector<const OwnedPod*>& running) {
    const OwnedPod *keep_new = nullptr, *keep_old = nullptr;
    for (const OwnedPod* pod : running) {
      const OwnedPod*& kept = work.surge > 0 && work.is_new(*pod) ? keep_new : keep_old;
      if (kept == nullptr) kept = pod;
      else work.remove.push_back(pod);
    }
    if (keep_new != nullptr && keep_old != nullptr && (!is_ready(keep_old->tree) || work.available(*keep_new))) work.remove.push_back(keep_old);
  }

  // --- rolling update

  // The one old and the one new pod of a node; false where there is more than one of a kind.
  static bool find_pair(const DaemonWork& work, const DaemonNode& node, const OwnedPod*& old_pod, const OwnedPod*& new_pod) {
    for (const OwnedPod* pod : node.pods) {
      if (client::is_deleting(pod->tree)) continue;
      const OwnedPod*& found = work.is_new(*pod) ? new_pod : old_pod;
      if (found != nullptr) return false;
      found = pod;
    }
    return true;
  }

  static void roll(DaemonWork& work) {
    std::int64_t unavailable = 0;
    std::vector<const OwnedPod*> candidates;
    for (const DaemonNode& node : work.nodes) {
      if (node.pods.empty() && !node.runs) continue;
      const OwnedPod *old_pod = nullptr, *new_pod = nullptr;
      if (!find_pair(work, node, old_pod, new_pod) || (old_pod == nullptr) == (new_pod == nullptr)) ++unavailable;  // manage() sees to it
      else if (new_pod != nullptr) unavailable += work.available(*new_pod) ? 0 : 1;
      else if (!work.available(*old_pod)) work.remove.push_back(old_pod);  // serves nobody: may go at once
      else candidates.push_back(old_pod);
    }
    for (const OwnedPod* pod : candidates) {
      if (unavailable >= work.most_unavailable) break;
      work.remove.push_back(pod);
      ++unavailable;
    }
  }

  static void roll_with_surge(DaemonWork& work) {
    std::int64_t surging = 0;
    std::vector<std::string> candidates;
    for (const DaemonNode& node : work.nodes) {
      const OwnedPod *old_pod = nullptr, *new_pod = nullptr;
      if (!find_pair(work, node, old_pod, new_pod)) {
        ++surging;
      } else if (old_pod != nullptr && new_pod != nullptr) {
        if (work.available(*new_pod)) work.remove.push_back(old_pod);
        else ++surging;
      } else if (old_pod != nullptr && node.runs) {
        if (work.available(*old_pod)) candidates.push_back(node.name);
        else work.create.push_back(node.name);
      }
    }
    for (std::string& node : candidates) {
      if (surging >= work.surge) break;
      work.create.push_back(std::move(node));
      ++surging;
    }
  }

  // --- writes

  json::Value make_pod(const DaemonWork& work, const std::string& node) const {
    json::Value pod = pod_from_template(*json::find(work.tree, {"spec", "template"}), resources::kDaemonSets, work.set);
    json::at_path(pod, {"metadata", "labels", kDaemonHash}) = work.hash;
    if (std::string_view generation = json::get_string(work.tree, {"metadata", "annotations", "deprecated.daemonset.template.generation"}); !generation.empty())
      json::at_path(pod, {"metadata", "labels", "pod-template-generation"}) = generation;
    // One term, for the node: whether the template's own match it has been decided.
    json::at_path(pod, kRequiredAffinity) = json::Array{json::Object{{"matchFields", json::Array{json::Object{{"key", "metadata.name"}, {"operator", "In"}, {"values", json::Array{json::Value(node)}}}}}}};
    bear_taints(pod);
    return pod;
  }

  async::Task<Result<>> carry_out(DaemonWork& work) {
    std::vector<std::string> create = std::exchange(work.create, {});
    std::vector<const OwnedPod*> remove = std::exchange(work.remove, {});
    create.resize(std::min(create.size(), kDaemonBurst));
    remove.resize(std::min(remove.size(), kDaemonBurst));
    for (const std::string& node : create) {
      CO_TRY_ASSIGN(bool going_on, co_await create_pod(work.set, make_pod(work, node)));
      if (!going_on) co_return Result<>();
    }
    co_return co_await delete_pods(work.set, std::move(remove));
  }

  async::Task<Result<>> update_status(DaemonWork& work) {
    const json::Value* old = json::find(work.tree, {"status"});
    json::Value status = old != nullptr && old->is_object() ? *old : json::Value(json::Object());
    std::int64_t current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
    for (const DaemonNode& node : work.nodes) {
      if (!node.runs && !node.pods.empty()) ++misplaced;
      if (!node.runs || node.pods.empty()) continue;
      const OwnedPod& pod = *node.pods.front();
      ++current;
      if (is_ready(pod.tree)) ++ready;
      if (work.available(pod)) ++available;
      if (work.is_new(pod)) ++updated;
    }
    if (ready != available && work.again == Duration::zero()) work.again = work.min_ready;
    json::Object& fields = status.get_object();
    fields["observedGeneration"] = json::get_int(work.tree, {"metadata", "generation"});
    fields["desiredNumberScheduled"] = work.wanted;
    fields["currentNumberScheduled"] = current;
    fields["numberMisscheduled"] = misplaced;
    fields["numberReady"] = ready;
    set_count(fields, "numberAvailable", available);
    set_count(fields, "numberUnavailable", work.wanted - available);
    set_count(fields, "updatedNumberScheduled", updated);
    if (work.collisions > 0) fields["collisionCount"] = work.collisions;
    return write_status(work.set, work.tree, std::move(status));
  }

  struct Backoff {
    Duration delay{};
    MonoTime since{};
  };
  client::Informer& nodes_;
  RevisionHistory history_;
  std::map<std::string, Backoff> failures_;  // by set's key, uid, revision and node
};

}  // namespace

std::unique_ptr<Controller> make_daemonset_controller(const ControllerParts& parts) { return std::make_unique<DaemonSetController>(parts); }

}  // namespace monopod::controllers
