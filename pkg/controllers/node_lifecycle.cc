// Node lifecycle: a node that stops renewing its lease becomes Ready=Unknown; taints follow the Ready condition so that the
// scheduler keeps away. Renewals are timed on our monotonic clock from the moment a change is seen, so a stepped wall clock
// declares no node dead.
#include <map>

#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::chrono::seconds kGrace{50};  // node-monitor-grace-period
constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
constexpr std::string_view kUnreachable = "node.kubernetes.io/unreachable";

class NodeLifecycleController final : public QueueController {
 public:
  explicit NodeLifecycleController(const ControllerParts& parts)
      : QueueController(parts, "node-controller", 1),
        nodes_(parts.informers.informer(resources::kNodes)),
        leases_(parts.informers.informer(resources::kLeases, {.ns = "kube-node-lease"})) {
    watch_keys(nodes_);
    leases_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!now) return;
      bool first = !old || !heard_.contains(now->name);
      heard_[now->name] = parts_.time.mono();
      if (first || unreachable_.contains(now->name)) queue_.add(now->name);
    });
  }

 private:
  async::Task<Result<Outcome>> reconcile(std::string name) override {
    ObjectPtr node = nodes_.indexer().find(name);
    if (!node) {
      known_.erase(name);
      heard_.erase(name);
      unreachable_.erase(name);
      co_return Outcome{};
    }
    if (known_.insert(name).second)
      recorder_.record(client::reference_to(resources::kNodes, *node), "Normal", "RegisteredNode", cat("Node ", name, " event: Registered Node ", name, " in Controller"));
    MonoTime& heard = heard_.try_emplace(name, parts_.time.mono()).first->second;
    Duration silent = parts_.time.mono() - heard;
    json::Value tree = node->tree();
    if (silent > kGrace) {
      unreachable_.insert(name);
      CO_TRY(co_await mark_unknown(*node, tree));
    } else {
      unreachable_.erase(name);
    }
    CO_TRY(co_await fit_taints(*node, tree));
    co_return Outcome{.requeue_after = silent > kGrace ? Duration::zero() : kGrace - silent + std::chrono::seconds(1)};
  }

  async::Task<Result<>> mark_unknown(const client::Object& node, json::Value& tree) {
    json::Value status = *json::find(tree, {"status"});
    bool changed = false;
    for (std::string_view type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"})
      if (client::condition_status(tree, type) != "Unknown")
        changed |= client::set_condition(status, {{"type", type}, {"status", "Unknown"}, {"reason", "NodeStatusUnknown"}, {"message", "Kubelet stopped posting node status."}}, parts_.time.wall());
    if (!changed) co_return Result<>();
    tree.get_object()["status"] = std::move(status);
    CO_TRY_ASSIGN(client::Object written, co_await parts_.api.update(resources::kNodes, "", node.name, tree, {.subresource = "status"}));
    tree = written.tree();
    co_return Result<>();
  }

  async::Task<Result<>> fit_taints(const client::Object& node, const json::Value& tree) {
    std::string_view ready = client::condition_status(tree, "Ready");
    std::string_view wanted = ready == "True" ? "" : ready == "Unknown" ? kUnreachable : kNotReady;
    json::Array kept;
    bool has_wanted = false;
    bool changed = false;
    if (const json::Array* taints = json::get_array(tree, {"spec", "taints"})) {
      for (const json::Value& taint : *taints) {
        std::string_view key = json::get_string(taint, {"key"});
        if (key == wanted && !wanted.empty()) has_wanted = true;
        if ((key == kNotReady || key == kUnreachable) && key != wanted) changed = true;
        else kept.push_back(taint);
      }
    }
    if (!wanted.empty() && !has_wanted) {
      changed = true;
      for (std::string_view effect : {"NoSchedule", "NoExecute"}) {
        json::Object taint{{"key", wanted}, {"effect", effect}};
        if (effect == "NoExecute") taint["timeAdded"] = format_rfc3339(parts_.time.wall());
        kept.push_back(std::move(taint));
      }
    }
    if (!changed) co_return Result<>();
    json::Object metadata{{"resourceVersion", json::get_string(tree, {"metadata", "resourceVersion"})}};
    json::Value patch = json::Object{{"metadata", std::move(metadata)}, {"spec", json::Object{{"taints", kept.empty() ? json::Value(nullptr) : json::Value(std::move(kept))}}}};
    auto patched = co_await parts_.api.patch(resources::kNodes, "", node.name, client::PatchType::kMerge, std::move(patch), {});
    if (!patched) co_return fail(patched.error());
    co_return Result<>();
  }

  client::Informer& nodes_;
  client::Informer& leases_;
  std::map<std::string, MonoTime> heard_;
  std::set<std::string> unreachable_;
  std::set<std::string> known_;
};

}  // namespace

std::unique_ptr<Controller> make_node_lifecycle_controller(const ControllerParts& parts) { return std::make_unique<NodeLifecycleController>(parts); }

}  // namespace monopod::controllers
