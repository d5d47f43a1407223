// Pods that nobody else removes: those of nodes that no longer exist, 40 seconds after that was seen, and finished ones beyond 12,500, oldest first.
// Source: kube-controller-manager's observable behaviour (--terminated-pod-gc-threshold, condition DisruptionTarget).
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::chrono::seconds kQuarantine{40};
constexpr std::size_t kFinishedMax = 12'500;
constexpr std::string_view kFinished;  // the key under which finished pods are counted: no pod's

bool is_finished(const json::Value& pod) { return phase_of(pod) == "Succeeded" || phase_of(pod) == "Failed"; }

std::string node_of(const client::Object& pod) {
  if (!pod.bytes->contains("\"nodeName\"")) return {};
  return std::string(json::get_string(pod.tree(), {"spec", "nodeName"}));
}

class PodGarbageCollector final : public QueueController {
 public:
  explicit PodGarbageCollector(const ControllerParts& parts)
      : QueueController(parts, "pod-garbage-collector", 1), nodes_(parts.informers.informer(resources::kNodes)), pods_(parts.informers.informer(resources::kPods)) {
    nodes_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (now) return;
      for (const ObjectPtr& pod : pods_.indexer().list())
        if (node_of(*pod) == old->name) queue_.add(pod->key());
    });
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!now) return;
      if (pods_.indexer().size() > kFinishedMax) queue_.add(std::string(kFinished));
      if (old && node_of(*old) == node_of(*now)) return;  // a node that goes asks for its pods
      if (is_lost(node_of(*now))) queue_.add(now->key());
    });
  }

 private:
  bool is_lost(const std::string& node) const { return !node.empty() && !nodes_.indexer().find(node); }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    if (key == kFinished) {
      CO_TRY(co_await remove_finished());
      co_return Outcome{};
    }
    ObjectPtr pod = pods_.indexer().find(key);
    std::string node = pod ? node_of(*pod) : std::string();
    if (!pod || !is_lost(node)) {
      lost_since_.erase(key);
      co_return Outcome{};
    }
    MonoTime now = parts_.time.mono();
    Duration left = kQuarantine - (now - lost_since_.try_emplace(key, now).first->second);
    if (left > Duration::zero()) co_return Outcome{.requeue_after = left};
    lost_since_.erase(key);
    auto found = co_await parts_.api.get(resources::kNodes, "", node);  // the cache lags
    if (found) co_return Outcome{};
    if (found.error().code() != Code::kNotFound) co_return fail(found.error());
    CO_TRY(co_await end(*pod));
    co_return Outcome{};
  }

  // Failed first, so that who counts its outcome sees one.
  async::Task<Result<>> end(const client::Object& pod) {
    Disruption disruption{.reason = "DeletionByPodGC", .message = "PodGC: node no longer exists", .fails = !is_finished(pod.tree())};
    CO_TRY(co_await mark_disrupted(parts_.api, pod, disruption, parts_.time.wall()));
    co_return co_await remove_seen(parts_.api, resources::kPods, pod, {.grace_period_seconds = 0});
  }

  async::Task<Result<>> remove_finished() {
    std::vector<std::pair<WallTime, ObjectPtr>> finished;
    for (const ObjectPtr& pod : pods_.indexer().list()) {
      json::Value tree = pod->tree();
      if (is_finished(tree)) finished.emplace_back(client::time_at(tree, {"metadata", "creationTimestamp"}), pod);
    }
    if (finished.size() <= kFinishedMax) co_return Result<>();
    std::ranges::sort(finished, {}, [](const auto& one) { return std::pair(one.first, one.second->key()); });
    finished.resize(finished.size() - kFinishedMax);
    for (const auto& [created, pod] : finished) CO_TRY(co_await remove_seen(parts_.api, resources::kPods, *pod, {.grace_period_seconds = 0}));
    co_return Result<>();
  }

  client::Informer& nodes_;
  client::Informer& pods_;
  std::map<std::string, MonoTime> lost_since_;  // by pod
};

}  // namespace

std::unique_ptr<Controller> make_pod_garbage_collector(const ControllerParts& parts) { return std::make_unique<PodGarbageCollector>(parts); }

}  // namespace monopod::controllers
