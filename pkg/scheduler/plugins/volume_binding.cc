// Claims of a pod: what is bound must be usable on the node; what waits for its first consumer is bound to a volume there, or the provisioner is
// told the node, and the pod is bound when its volumes are. Source: kube-scheduler's plugin VolumeBinding (reasons, annotations).
#include <map>
#include <set>

#include "base/strings.h"
#include "client/volume_match.h"
#include "scheduler/plugins.h"

namespace monopod::scheduler {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;
namespace annotations = client::annotations;

constexpr Duration kBindMax = std::chrono::minutes(10);  // a provisioner may be a pod that has yet to start
constexpr std::string_view kClaims = "VolumeBinding/claims", kPlan = "VolumeBinding/plan";
constexpr std::string_view kNodeConflict = "node(s) didn't match PersistentVolume's node affinity";
constexpr std::string_view kBindConflict = "node(s) didn't find available persistent volumes to bind";
constexpr std::string_view kTaken = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
constexpr std::string_view kVolumeGone = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

struct PodClaims {
  std::vector<json::Value> bound, waiting;
  Snapshot nodes;
};

// What binds the pod's claims on one node.
struct Plan {
  struct Chosen {
    ObjectPtr volume;
    json::Value claim;
  };
  std::vector<Chosen> volumes;
  std::vector<json::Value> provisions;  // claims
};

std::string key_of(const json::Value& claim) { return cat(client::namespace_of(claim), "/", client::name_of(claim)); }

class VolumeBinding final : public Plugin {
 public:
  explicit VolumeBinding(const PluginParts& parts)
      : api_(parts.api),
        pods_(parts.informers.informer(resources::kPods)),
        claims_(parts.informers.informer(resources::kPersistentVolumeClaims)),
        volumes_(parts.informers.informer(resources::kPersistentVolumes)),
        classes_(parts.informers.informer(resources::kStorageClasses)),
        changed_(parts.executor) {
    claims_.add_handler([this](const ObjectPtr&, const ObjectPtr&) { changed_.wake_all(); });
    pods_.add_handler([this](const ObjectPtr&, const ObjectPtr& now) {
      if (!now) changed_.wake_all();
    });
  }
  std::string_view name() const override { return "VolumeBinding"; }
  unsigned points() const override { return kPreFilter | kFilter | kReserve | kPreBind; }
  Duration wait_max() const override { return kBindMax; }

  Status pre_filter(CycleState& state, const PodInfo& pod, const Snapshot& nodes) const override {
    if (!client::may_have_claims(*pod.object)) return {Verdict::kSkip, ""};
    std::vector<client::ClaimUse> uses = client::claims_of(pod.tree);
    if (uses.empty()) return {Verdict::kSkip, ""};
    PodClaims out{.bound = {}, .waiting = {}, .nodes = nodes};
    for (const client::ClaimUse& use : uses) {
      ObjectPtr claim = claims_.indexer().find(cat(pod.object->ns, "/", use.claim));
      if (!claim && use.claim_template != nullptr) return refuse(cat("waiting for ephemeral volume controller to create the persistentvolumeclaim \"", use.claim, "\""));
      if (!claim) return refuse(cat("persistentvolumeclaim \"", use.claim, "\" not found"));
      json::Value tree = claim->tree();
      if (json::get_string(tree, {"status", "phase"}) == "Lost") return refuse(cat("persistentvolumeclaim \"", use.claim, "\" bound to non-existent persistentvolume \"", json::get_string(tree, {"spec", "volumeName"}), "\""));
      if (client::is_deleting(tree)) return refuse(cat("persistentvolumeclaim \"", use.claim, "\" is being deleted"));
      if (use.claim_template != nullptr && !client::is_made_for(tree, *pod.object)) return refuse(cat("PVC ", key_of(tree), " was not created for pod ", pod.key(), " (pod is not owner)"));
      if (is_exclusive(tree) && is_taken(pod, use.claim)) return refuse(std::string(kTaken));
      if (client::is_fully_bound(tree)) out.bound.push_back(std::move(tree));
      else if (json::get_string(tree, {"spec", "volumeName"}).empty() && client::delays_binding(class_of(tree))) out.waiting.push_back(std::move(tree));
      else return refuse("pod has unbound immediate PersistentVolumeClaims");
    }
    state.put(std::string(kClaims), std::move(out));
    return {};
  }

  Status filter(const CycleState& state, const PodInfo&, const NodeInfo& node) const override {
    const PodClaims* claims = state.find<PodClaims>(kClaims);
    if (claims == nullptr) return {};
    bool fits = true, there = true;
    for (const json::Value& claim : claims->bound) {
      ObjectPtr volume = volumes_.indexer().find(std::string(json::get_string(claim, {"spec", "volumeName"})));
      if (!volume) there = false;
      else if (!client::volume_fits_node(volume->tree(), node.tree)) fits = false;
    }
    std::vector<std::string> reasons;
    if (!fits) reasons.emplace_back(kNodeConflict);
    if (!plan_for(*claims, node)) reasons.emplace_back(kBindConflict);
    if (!there) reasons.emplace_back(kVolumeGone);
    if (reasons.empty()) return {};
    return {Verdict::kUnschedulableAndUnresolvable, join(reasons, "\n")};
  }

  Status reserve(CycleState& state, const PodInfo& pod, std::string_view node) override {
    const PodClaims* claims = state.find<PodClaims>(kClaims);
    if (claims == nullptr || claims->waiting.empty()) return {};
    for (const auto& info : claims->nodes) {
      if (info->name != node) continue;
      std::optional<Plan> plan = plan_for(*claims, *info);
      if (!plan) return {Verdict::kUnschedulable, std::string(kBindConflict)};
      for (const Plan::Chosen& chosen : plan->volumes) promised_[chosen.volume->name] = pod.object->uid;
      state.put(std::string(kPlan), std::move(*plan));
      return {};
    }
    return {Verdict::kError, cat("node \"", node, "\" is gone")};
  }

  void unreserve(CycleState&, const PodInfo& pod, std::string_view) override {
    std::erase_if(promised_, [&pod](const auto& entry) { return entry.second == pod.object->uid; });
  }

  async::Task<Status> pre_bind(CycleState& state, const PodInfo& pod, std::string_view node) override {
    const Plan* plan = state.find<Plan>(kPlan);  // lives as long as the binding
    if (plan == nullptr) co_return Status{Verdict::kSkip, ""};
    Result<> bound = co_await bind_claims(*plan, pod, std::string(node));
    if (!bound) co_return Status{Verdict::kError, bound.error().message()};
    unreserve(state, pod, node);  // from here on the API says whose they are
    co_return Status{};
  }

 private:
  static Status refuse(std::string reason) { return {Verdict::kUnschedulableAndUnresolvable, std::move(reason)}; }

  static bool is_exclusive(const json::Value& claim) {
    const json::Array* modes = json::get_array(claim, {"spec", "accessModes"});
    return modes != nullptr && std::ranges::find(*modes, json::Value("ReadWriteOncePod")) != modes->end();
  }

  // Another pod that has a node and has not ended uses the claim (KEP-2485).
  bool is_taken(const PodInfo& pod, const std::string& claim) const {
    for (const ObjectPtr& other : pods_.indexer().by_index(client::kNamespaceIndex, pod.object->ns)) {
      if (other->uid == pod.object->uid || !client::may_have_claims(*other)) continue;
      json::Value tree = other->tree();
      std::string_view phase = json::get_string(tree, {"status", "phase"});
      if (json::get_string(tree, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") continue;
      if (std::ranges::any_of(client::claims_of(tree), [&claim](const client::ClaimUse& use) { return use.claim == claim; })) return true;
    }
    return false;
  }

  json::Value class_of(const json::Value& claim) const {
    ObjectPtr found = classes_.indexer().find(std::string(client::storage_class_of(claim)));
    return found ? found->tree() : json::Value(json::Object());
  }

  // nullopt where a claim that waits cannot have a volume on that node.
  std::optional<Plan> plan_for(const PodClaims& claims, const NodeInfo& node) const {
    Plan plan;
    for (const json::Value& claim : claims.waiting) {
      std::string_view selected = client::annotation_of(claim, annotations::kSelectedNode);
      if (!selected.empty() && selected != node.name) return std::nullopt;
      client::VolumeSearch search{.node = &node.tree};
      search.skip = [this, &plan](const client::Object& volume) {
        auto chosen = [&volume](const Plan::Chosen& one) { return one.volume->name == volume.name; };
        return promised_.contains(volume.name) || std::ranges::any_of(plan.volumes, chosen);
      };
      ObjectPtr volume = selected.empty() ? client::find_volume(claim, volumes_.indexer().list(), search) : nullptr;
      if (volume) {
        plan.volumes.push_back({std::move(volume), claim});
        continue;
      }
      json::Value storage_class = class_of(claim);
      std::string_view provisioner = json::get_string(storage_class, {"provisioner"});
      if (provisioner.empty() || provisioner == client::kNoProvisioner || !client::class_fits_node(storage_class, node.tree)) return std::nullopt;
      plan.provisions.push_back(claim);
    }
    return plan;
  }

  async::Task<Result<>> bind_claims(const Plan& plan, const PodInfo& pod, std::string node) {
    for (const Plan::Chosen& chosen : plan.volumes) {
      json::Value volume = chosen.volume->tree();
      if (!client::is_bound_to(volume, chosen.claim)) json::at_path(volume, {"metadata", "annotations", annotations::kBoundByController}) = "yes";
      json::at_path(volume, {"spec", "claimRef"}) = client::claim_reference(chosen.claim);
      CO_TRY(co_await api_.update(resources::kPersistentVolumes, "", chosen.volume->name, std::move(volume), {}));
    }
    for (const json::Value& claim : plan.provisions) {
      if (client::annotation_of(claim, annotations::kSelectedNode) == node) continue;
      json::Value patch = json::Object{{"metadata", json::Object{{"uid", client::uid_of(claim)}, {"annotations", json::Object{{annotations::kSelectedNode, node}}}}}};
      CO_TRY(co_await api_.patch(resources::kPersistentVolumeClaims, std::string(client::namespace_of(claim)), std::string(client::name_of(claim)), client::PatchType::kMerge, std::move(patch), {}));
    }
    std::set<std::string> told;  // claims that were seen with the node
    for (;;) {                   // at most kBindMax
      CO_TRY_ASSIGN(bool done, all_bound(plan, pod, node, told));
      if (done) co_return Result<>();
      CO_TRY(co_await changed_.wait());
    }
  }

  Result<bool> all_bound(const Plan& plan, const PodInfo& pod, const std::string& node, std::set<std::string>& told) const {
    ObjectPtr current = pods_.indexer().find(pod.key());
    if (!current || current->uid != pod.object->uid) return fail(Code::kNotFound, cat("pod ", pod.key(), " does not exist any more"));
    for (const Plan::Chosen& chosen : plan.volumes) {
      TRY_ASSIGN(json::Value claim, current_claim(chosen.claim));
      if (!client::is_fully_bound(claim)) return false;
    }
    for (const json::Value& seen : plan.provisions) {
      TRY_ASSIGN(json::Value claim, current_claim(seen));
      if (client::is_fully_bound(claim)) continue;
      bool has = client::annotation_of(claim, annotations::kSelectedNode) == node;
      if (!has && told.contains(key_of(claim))) return fail(Code::kAborted, cat("selectedNode annotation reset for PVC \"", client::name_of(claim), "\""));  // its provisioner gave the node up
      if (has) told.insert(key_of(claim));
      return false;
    }
    return true;
  }

  Result<json::Value> current_claim(const json::Value& seen) const {
    ObjectPtr claim = claims_.indexer().find(key_of(seen));
    if (!claim || claim->uid != client::uid_of(seen)) return fail(Code::kNotFound, cat("persistentvolumeclaim \"", client::name_of(seen), "\" not found"));
    json::Value tree = claim->tree();
    if (client::is_deleting(tree)) return fail(Code::kAborted, cat("persistentvolumeclaim \"", client::name_of(seen), "\" is being deleted"));
    return tree;
  }

  client::Api& api_;
  client::Informer &pods_, &claims_, &volumes_, &classes_;
  async::Notify changed_;
  std::map<std::string, std::string> promised_;  // volumes to uids of pods whose binding is under way: the API does not show it yet
};

}  // namespace

std::unique_ptr<Plugin> make_volume_binding(const PluginParts& parts) { return std::make_unique<VolumeBinding>(parts); }

}  // namespace monopod::scheduler
