// PodDisruptionBudgets: how many of the pods that a budget selects may be evicted now. Source: policy/v1 API and the observable behaviour
// of kube-controller-manager (status fields, conditions, event texts). The eviction subresource takes from what is allowed and notes the
// pod in disruptedPods; here it is counted as gone until it is, or two minutes are over.
#include <algorithm>
#include <map>

#include "api/selector/selector.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::chrono::minutes kDeletionTimeout{2};

struct SelectedPod {
  ObjectPtr object;
  json::Value tree;
};

// What the budget asks for.
struct Expected {
  std::int64_t pods = 0;
  std::int64_t healthy = 0;
};

// As Go prints a *metav1.LabelSelector; part of an event's text.
std::string selector_text(const json::Value& budget) {
  std::string out = "&LabelSelector{MatchLabels:map[string]string{";
  if (const json::Object* labels = json::get_object(budget, {"spec", "selector", "matchLabels"}))
    for (const auto& [key, value] : *labels) out += cat(std::string_view(key), ": ", value.is_string() ? std::string_view(value.get_string()) : "", ",");
  out += "},MatchExpressions:[]LabelSelectorRequirement{";
  if (const json::Array* expressions = json::get_array(budget, {"spec", "selector", "matchExpressions"})) {
    for (const json::Value& one : *expressions) {
      std::vector<std::string> values;
      if (const json::Array* list = json::get_array(one, {"values"}))
        for (const json::Value& value : *list) values.emplace_back(value.is_string() ? std::string_view(value.get_string()) : "");
      out += cat("LabelSelectorRequirement{Key:", json::get_string(one, {"key"}), ",Operator:", json::get_string(one, {"operator"}), ",Values:[", join(values, " "), "],},");
    }
  }
  return out + "},}";
}

class DisruptionController final : public QueueController {
 public:
  explicit DisruptionController(const ControllerParts& parts)
      : QueueController(parts, "controllermanager", 1), budgets_(parts.informers.informer(resources::kPodDisruptionBudgets)), pods_(parts.informers.informer(resources::kPods)) {
    watch_keys(budgets_);
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_pod(old, now); });
  }

 private:
  void on_pod(const ObjectPtr& old, const ObjectPtr& now) {
    std::vector<ObjectPtr> budgets = budgets_.indexer().by_index(client::kNamespaceIndex, (now ? now : old)->ns);
    if (budgets.empty()) return;
    for (const ObjectPtr& pod : {old, now}) {
      if (!pod) continue;
      json::Value tree = pod->tree();
      for (const ObjectPtr& budget : budgets) {
        auto selector = selector_of(budget->tree());
        if (selector && selector->matches(client::labels_of(tree))) queue_.add(budget->key());
      }
    }
  }

  // None: selects no pod. An empty one selects every pod of the namespace.
  static std::optional<api::LabelSelector> selector_of(const json::Value& budget) {
    const json::Value* selector = json::find(budget, {"spec", "selector"});
    if (selector == nullptr || !selector->is_object()) return std::nullopt;
    auto parsed = api::make_label_selector(*selector);
    if (!parsed) return std::nullopt;
    return std::move(*parsed);
  }

  std::vector<SelectedPod> pods_of(const client::Object& budget, const json::Value& tree) const {
    std::vector<SelectedPod> out;
    auto selector = selector_of(tree);
    if (!selector) return out;
    for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, budget.ns)) {
      json::Value pod_tree = pod->tree();
      if (selector->matches(client::labels_of(pod_tree))) out.push_back({pod, std::move(pod_tree)});
    }
    return out;
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr budget = budgets_.indexer().find(key);
    if (!budget) co_return Outcome{};
    json::Value tree = budget->tree();
    std::vector<SelectedPod> pods = pods_of(*budget, tree);
    client::ObjectReference about = client::reference_to(resources::kPodDisruptionBudgets, *budget);
    if (pods.empty()) recorder_.record(about, "Normal", "NoPods", "No matching pods found");
    Result<Expected> expected = co_await expect(*budget, tree, pods);
    if (!expected) {
      if (expected.error().code() == Code::kCancelled) co_return fail(expected.error());
      recorder_.record(about, "Warning", "CalculateExpectedPodCountFailed", cat("Failed to calculate the number of expected pods: ", expected.error().message()));
      json::Value status = failed_status(tree, expected.error().message());
      CO_TRY(co_await write(*budget, std::move(tree), std::move(status)));
      co_return Outcome{};
    }
    Outcome outcome;
    json::Object disrupted = disrupted_pods(*budget, tree, pods, outcome.requeue_after);
    json::Value status = make_status(tree, *expected, count_healthy(pods, disrupted), std::move(disrupted));
    CO_TRY(co_await write(*budget, std::move(tree), std::move(status)));
    co_return outcome;
  }

  // --- what should be

  async::Task<Result<Expected>> expect(const client::Object& budget, const json::Value& tree, const std::vector<SelectedPod>& pods) {
    const json::Value* most = json::find(tree, {"spec", "maxUnavailable"});
    const json::Value* least = json::find(tree, {"spec", "minAvailable"});
    if (most == nullptr && least == nullptr) co_return Expected{};
    if (most == nullptr && least->is_int64()) co_return Expected{static_cast<std::int64_t>(pods.size()), least->get_int64()};
    CO_TRY_ASSIGN(std::int64_t scale, co_await scale_of(budget, tree, pods));
    if (most != nullptr) co_return Expected{scale, std::max<std::int64_t>(0, scale - resolve_int_or_percent(most, scale, 0, true))};
    co_return Expected{scale, resolve_int_or_percent(least, scale, 0, true)};
  }

  // How many pods their controllers want, each controller once.
  async::Task<Result<std::int64_t>> scale_of(const client::Object& budget, const json::Value& tree, const std::vector<SelectedPod>& pods) {
    std::map<std::string, std::int64_t> scales;  // by uid: of the pods' controllers as seen, and of what stands behind them
    std::map<std::string, std::string> known;    // the pods' controller -> whose scale it is
    bool unmanaged = false;
    for (const SelectedPod& pod : pods) {
      auto owner = client::controller_of(pod.tree);
      if (!owner) unmanaged = true;
      if (!owner || known.contains(owner->uid)) continue;
      CO_TRY_ASSIGN(auto found, co_await find_scale(*owner, pod.object->ns, pod.object->name));
      known[owner->uid] = found.first;
      scales[found.first] = found.second;
    }
    if (unmanaged)
      recorder_.record(client::reference_to(resources::kPodDisruptionBudgets, budget), "Warning", "UnmanagedPods",
                       cat("Pods selected by this PodDisruptionBudget (selector: ", selector_text(tree),
                           ") were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for "
                           "these pods please set \".spec.minAvailable\" field of the PDB to an integer value."));
    std::int64_t sum = 0;
    for (const auto& [uid, count] : scales) sum += count;
    co_return sum;
  }

  // -> (uid, spec.replicas) of the owner; of a ReplicaSet's Deployment.
  async::Task<Result<std::pair<std::string, std::int64_t>>> find_scale(client::OwnerReference owner, std::string ns, std::string pod) {
    Error none(Code::kNotFound, cat("found no controllers for pod \"", pod, "\""));
    if (owner.kind == "DaemonSet") co_return fail(Code::kFailedPrecondition, "daemonsets.apps does not implement the scale subresource");
    if (owner.kind == "Job") co_return fail(Code::kFailedPrecondition, "jobs.batch does not implement the scale subresource");
    static constexpr client::Resource kScaled[] = {resources::kReplicaSets, resources::kStatefulSets, resources::kReplicationControllers, resources::kDeployments};
    const auto* resource = std::ranges::find_if(kScaled, [&](const client::Resource& r) { return r.kind == owner.kind && r.api_version() == owner.api_version; });
    if (resource == std::end(kScaled)) co_return fail(none);
    auto found = co_await parts_.api.get(*resource, ns, owner.name);
    if (!found && found.error().code() != Code::kNotFound) co_return fail(found.error());
    if (!found || found->uid != owner.uid) co_return fail(none);
    json::Value tree = found->tree();
    auto above = client::controller_of(tree);
    if (owner.kind == "ReplicaSet" && above && above->kind == "Deployment") {
      auto deployed = co_await find_scale(*above, ns, pod);
      co_return deployed;
    }
    co_return std::pair(owner.uid, json::get_int(tree, {"spec", "replicas"}, 1));
  }

  // --- what is

  // Those of status.disruptedPods that are still to be awaited.
  json::Object disrupted_pods(const client::Object& budget, const json::Value& tree, const std::vector<SelectedPod>& pods, Duration& look_again) {
    json::Object out;
    for (const SelectedPod& pod : pods) {
      const json::Value* since = json::find(tree, {"status", "disruptedPods", pod.object->name});
      if (since == nullptr || client::is_deleting(pod.tree)) continue;
      Duration left = client::time_at(tree, {"status", "disruptedPods", pod.object->name}) + kDeletionTimeout - parts_.time.wall();
      if (left < Duration::zero()) {
        recorder_.record(client::reference_to(resources::kPods, *pod.object), "Warning", "NotDeleted",
                         cat("Pod was expected by PDB ", budget.ns, "/", budget.name, " to be deleted but it wasn't"));
        continue;
      }
      out[pod.object->name] = *since;
      Duration due = left + std::chrono::seconds(1);
      look_again = look_again == Duration::zero() ? due : std::min(look_again, due);
    }
    return out;
  }

  static std::int64_t count_healthy(const std::vector<SelectedPod>& pods, const json::Object& disrupted) {
    return std::ranges::count_if(pods, [&](const SelectedPod& pod) { return !client::is_deleting(pod.tree) && !disrupted.contains(pod.object->name) && is_ready(pod.tree); });
  }

  // --- status

  void set_allowed(json::Value& status, bool allowed, std::string_view reason, std::string_view message) const {
    client::set_condition(status, {{"type", "DisruptionAllowed"}, {"status", allowed ? "True" : "False"}, {"reason", reason}, {"message", message}}, parts_.time.wall());
    for (json::Value& condition : status.get_object()["conditions"].get_array())
      condition.get_object()["observedGeneration"] = json::get_int(status, {"observedGeneration"});
  }

  json::Value make_status(const json::Value& tree, Expected expected, std::int64_t healthy, json::Object disrupted) const {
    // Where nothing is selected nothing is allowed, so that the first pods are safe until they are counted.
    std::int64_t allowed = expected.pods <= 0 ? 0 : std::max<std::int64_t>(0, healthy - expected.healthy);
    json::Object out{{"currentHealthy", healthy}, {"desiredHealthy", expected.healthy}, {"disruptionsAllowed", allowed}, {"expectedPods", expected.pods},
                     {"observedGeneration", json::get_int(tree, {"metadata", "generation"})}};
    if (!disrupted.empty()) out["disruptedPods"] = std::move(disrupted);
    if (const json::Array* conditions = json::get_array(tree, {"status", "conditions"})) out["conditions"] = *conditions;
    json::Value status = std::move(out);
    set_allowed(status, allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", "");
    return status;
  }

  json::Value failed_status(const json::Value& tree, std::string_view why) const {
    const json::Value* old = json::find(tree, {"status"});
    json::Value status = old != nullptr && old->is_object() ? *old : json::Value(json::Object());
    status.get_object()["disruptionsAllowed"] = 0;
    set_allowed(status, false, "SyncFailed", why);
    return status;
  }

  async::Task<Result<>> write(const client::Object& budget, json::Value tree, json::Value status) {
    json::Value& slot = tree.get_object()["status"];
    if (slot == status) co_return Result<>();
    slot = std::move(status);
    auto written = co_await parts_.api.update(resources::kPodDisruptionBudgets, budget.ns, budget.name, std::move(tree), {.subresource = "status"});
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    co_return Result<>();
  }

  client::Informer& budgets_;
  client::Informer& pods_;
};

}  // namespace

std::unique_ptr<Controller> make_disruption_controller(const ControllerParts& parts) { return std::make_unique<DisruptionController>(parts); }

}  // namespace monopod::controllers
