// NoExecute taints: pods that do not tolerate one of their node's leave at once, those that do for a time when that is over. A taint that goes in
// time cancels it. Time runs from when the taint was seen here, not from timeAdded: a node that was off for a week keeps its pods.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "client/node_match.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

// How long this pod may stay: nullopt for ever, zero not at all. A taint is tolerated as long as the most impatient of its tolerations says.
std::optional<std::chrono::seconds> time_to_stay(const json::Value& pod, const json::Array& taints) {
  std::optional<std::chrono::seconds> stay;
  static const json::Array kNone;
  const json::Array* given = json::get_array(pod, {"spec", "tolerations"});
  for (const json::Value& taint : taints) {
    bool tolerated = false;
    for (const json::Value& toleration : given == nullptr ? kNone : *given) {
      if (!client::tolerates_taint(toleration, taint)) continue;
      tolerated = true;
      if (json::find(toleration, {"tolerationSeconds"}) == nullptr) continue;
      std::chrono::seconds limit(std::max<std::int64_t>(json::get_int(toleration, {"tolerationSeconds"}), 0));
      stay = stay ? std::min(*stay, limit) : limit;
    }
    if (!tolerated) return std::chrono::seconds(0);
  }
  return stay;
}

json::Array no_execute_taints(const json::Value& node) {
  json::Array out;
  if (const json::Array* taints = json::get_array(node, {"spec", "taints"}))
    for (const json::Value& taint : *taints)
      if (json::get_string(taint, {"effect"}) == "NoExecute") out.push_back(taint);
  return out;
}

class TaintEvictionController final : public QueueController {
 public:
  explicit TaintEvictionController(const ControllerParts& parts)
      : QueueController(parts, "taint-eviction-controller", 4),
        nodes_(parts.informers.informer(resources::kNodes)),
        pods_(parts.informers.informer(resources::kPods)) {
    nodes_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!now) return;
      json::Array taints = no_execute_taints(now->tree());
      if (taints == (old ? no_execute_taints(old->tree()) : json::Array())) return;  // heartbeats
      for (const ObjectPtr& pod : pods_.indexer().list()) queue_.add(pod->key());
    });
    pods_.add_handler([this](const ObjectPtr&, const ObjectPtr& now) {
      if (now && (since_.contains(now->key()) || tainted(*now))) queue_.add(now->key());
    });
  }

 private:
  // The pod's node has NoExecute taints now.
  bool tainted(const client::Object& pod) const {
    if (std::ranges::none_of(nodes_.indexer().list(), [](const ObjectPtr& node) { return node->bytes->find("\"NoExecute\"") != std::string::npos; })) return false;  // as ever
    json::Value tree = pod.tree();
    std::string_view name = json::get_string(tree, {"spec", "nodeName"});
    ObjectPtr node = name.empty() ? nullptr : nodes_.indexer().find(std::string(name));
    return node && node->bytes->find("\"NoExecute\"") != std::string::npos;
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr pod = pods_.indexer().find(key);
    ObjectPtr node;
    json::Value tree;
    if (pod) {
      tree = pod->tree();
      node = nodes_.indexer().find(std::string(json::get_string(tree, {"spec", "nodeName"})));
    }
    json::Array taints = node ? no_execute_taints(node->tree()) : json::Array();
    if (!pod || taints.empty() || client::is_deleting(tree)) {
      if (since_.erase(key) > 0 && pod && !client::is_deleting(tree)) say(*pod, cat("Cancelling deletion of Pod ", key));
      co_return Outcome{};
    }
    std::optional<std::chrono::seconds> stay = time_to_stay(tree, taints);
    if (!stay) {
      since_.erase(key);
      co_return Outcome{};
    }
    MonoTime now = parts_.time.mono();
    Duration left = *stay - (now - since_.try_emplace(key, now).first->second);
    if (left > Duration::zero()) co_return Outcome{.requeue_after = left};
    since_.erase(key);
    say(*pod, cat("Marking for deletion Pod ", key));
    CO_TRY(co_await mark_disrupted(parts_.api, *pod, {.reason = "DeletionByTaintManager", .message = "Taint manager: deleting due to NoExecute taint"}, parts_.time.wall()));
    CO_TRY(co_await remove_seen(parts_.api, resources::kPods, *pod));
    co_return Outcome{};
  }

  void say(const client::Object& pod, std::string message) { recorder_.record(client::reference_to(resources::kPods, pod), "Normal", "TaintManagerEviction", std::move(message)); }

  client::Informer& nodes_;
  client::Informer& pods_;
  std::map<std::string, MonoTime> since_;  // pods that will have to go, and since when we know
};

}  // namespace

std::unique_ptr<Controller> make_taint_eviction_controller(const ControllerParts& parts) { return std::make_unique<TaintEvictionController>(parts); }

}  // namespace monopod::controllers
