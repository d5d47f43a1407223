#include "scheduler/scheduler.h"

#include "base/log.h"
#include "base/strings.h"

namespace monopod::scheduler {

using client::ObjectPtr;
namespace resources = client::resources;

Scheduler::Scheduler(SchedulerParts parts, SchedulerOptions options)
    : parts_(parts),
      options_(std::move(options)),
      pods_(parts.informers.informer(resources::kPods)),
      nodes_(parts.informers.informer(resources::kNodes)),
      framework_(make_plugins({.executor = parts.executor, .api = parts.api, .informers = parts.informers}), parts.time, options_.plugin_limit),
      queue_(parts.executor, parts.time, [this](const PodInfo& a, const PodInfo& b) { return framework_.goes_before(a, b); }),
      recorder_(parts.executor, parts.api, parts.time, parts.rng, options_.name, "") {
  nodes_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_node(old, now); });
  pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_pod(old, now); });
  for (const client::Resource& resource : {resources::kPersistentVolumeClaims, resources::kPersistentVolumes, resources::kStorageClasses})
    parts.informers.informer(resource).add_handler([this](const ObjectPtr&, const ObjectPtr&) { queue_.on_cluster_change(); });
}

void Scheduler::place(PodInfoPtr pod) {
  unplace(pod->key());
  if (auto node = node_infos_.find(pod->node_name); node != node_infos_.end()) {
    auto changed = std::make_shared<NodeInfo>(*node->second);  // cycles in flight keep the snapshot they have
    changed->add(*pod);
    node->second = std::move(changed);
  }
  placed_[pod->key()] = std::move(pod);
}

void Scheduler::unplace(const std::string& key) {
  auto it = placed_.find(key);
  if (it == placed_.end()) return;
  if (auto node = node_infos_.find(it->second->node_name); node != node_infos_.end()) {
    auto changed = std::make_shared<NodeInfo>(*node->second);
    changed->remove(*it->second);
    node->second = std::move(changed);
  }
  placed_.erase(it);
}

void Scheduler::on_pod(const ObjectPtr& old, const ObjectPtr& now) {
  const std::string key = (now ? now : old)->key();
  PodInfoPtr pod = now ? make_pod_info(now) : nullptr;
  std::string_view phase = pod ? json::get_string(pod->tree, {"status", "phase"}) : std::string_view();
  if (!pod || phase == "Succeeded" || phase == "Failed") {
    bool was_placed = placed_.contains(key);
    assumed_.erase(key);
    unplace(key);
    queue_.remove(key);
    if (was_placed) queue_.on_cluster_change();  // room was freed
    return;
  }
  if (!pod->node_name.empty()) {
    assumed_.erase(key);
    queue_.remove(key);
    pod->tree = json::Object();
    place(std::move(pod));
    return;
  }
  if (old && old->uid != now->uid) {  // of the same name: what was decided about the other is not about this one
    assumed_.erase(key);
    unplace(key);
  }
  if (assumed_.contains(key)) return;  // being bound
  if (json::get_string(pod->tree, {"spec", "schedulerName"}, options_.name) != options_.name || client::is_deleting(pod->tree)) return queue_.remove(key);
  // Our own status write must not wake the pod: only what scheduling looks at does.
  if (old && old->uid == now->uid) {
    json::Value before = old->tree();
    const json::Value* spec = json::find(before, {"spec"});
    const json::Object* labels = client::labels_of(before);
    const json::Object* new_labels = client::labels_of(pod->tree);
    bool same_labels = (labels == nullptr ? json::Object() : *labels) == (new_labels == nullptr ? json::Object() : *new_labels);
    if (spec != nullptr && *spec == *json::find(pod->tree, {"spec"}) && same_labels) return;
  }
  Status gate = framework_.pre_enqueue(*pod);
  if (!gate.ok()) return queue_.remove(key);
  queue_.add(std::move(pod));
}

void Scheduler::on_node(const ObjectPtr& old, const ObjectPtr& now) {
  if (!now) {
    node_infos_.erase(old->name);
    return;
  }
  auto info = make_node_info(*now);
  for (const auto& [key, pod] : placed_)
    if (pod->node_name == info->name) info->add(*pod);
  node_infos_[now->name] = std::move(info);
  queue_.on_cluster_change();
}

Snapshot Scheduler::snapshot() const {
  Snapshot nodes;
  for (const auto& [name, info] : node_infos_) nodes.push_back(info);
  return nodes;
}

async::Task<Result<>> Scheduler::run() {
  CO_TRY(co_await parts_.informers.wait_synced());
  async::Scope scope(parts_.executor);
  scope.spawn(recorder_.run());
  scope.spawn(schedule_forever(scope));
  co_return co_await scope.join();
}

async::Task<Result<>> Scheduler::schedule_forever(async::Scope& bindings) {
  for (;;) {  // forever: until cancelled
    CO_TRY_ASSIGN(PodInfoPtr pod, co_await queue_.pop());
    CO_TRY(co_await schedule_one(std::move(pod), bindings));
  }
}

async::Task<Result<>> Scheduler::schedule_one(PodInfoPtr pod, async::Scope& bindings) {
  auto state = std::make_shared<CycleState>();
  Snapshot nodes = snapshot();
  Result<Placement> placement = framework_.place(*state, *pod, nodes);
  if (!placement) {
    log::warn("scheduling failed", {{"pod", pod->key()}, {"why", placement.error()}});
    queue_.retry(std::move(pod));
    co_return Result<>();
  }
  if (placement->node.empty()) {
    std::string nominated;
    Status made_room = co_await framework_.post_filter(*state, *pod, nodes, nominated);
    std::string message = placement->diagnosis.message();
    if (!made_room.reason.empty()) message += cat(" preemption: ", made_room.reason);
    queue_.park(pod);
    co_return co_await report_failure(std::move(pod), std::move(message), std::move(nominated));
  }
  Status reserved = framework_.reserve(*state, *pod, placement->node);
  if (!reserved.ok()) {
    queue_.retry(std::move(pod));
    co_return Result<>();
  }
  auto assumed = std::make_shared<PodInfo>(*pod);
  assumed->node_name = placement->node;
  assumed->tree = json::Object();
  assumed_.insert(pod->key());
  place(std::move(assumed));
  bindings.spawn(bind(std::move(pod), std::move(state), std::move(placement->node)));
  co_return Result<>();
}

async::Task<Result<>> Scheduler::bind(PodInfoPtr pod, std::shared_ptr<CycleState> state, std::string node) {
  Status status = co_await framework_.bind(*state, *pod, node);
  std::string key = pod->key();
  if (status.ok()) {
    recorder_.record(client::reference_to(resources::kPods, *pod->object), "Normal", "Scheduled", cat("Successfully assigned ", key, " to ", node));
    co_return Result<>();
  }
  framework_.unreserve(*state, *pod, node);
  // Somebody else may have bound or deleted it meanwhile; the informer is right then.
  ObjectPtr current = pods_.indexer().find(key);
  if (!current || current->uid != pod->object->uid) co_return Result<>();
  assumed_.erase(key);
  json::Value tree = current->tree();
  if (!json::get_string(tree, {"spec", "nodeName"}).empty()) co_return Result<>();
  unplace(key);
  log::warn("binding failed", {{"pod", key}, {"node", node}, {"why", status.reason}});
  recorder_.record(client::reference_to(resources::kPods, *pod->object), "Warning", "FailedScheduling", cat("binding rejected: ", status.reason));
  queue_.retry(std::move(pod));
  co_return Result<>();
}

async::Task<Result<>> Scheduler::report_failure(PodInfoPtr pod, std::string message, std::string nominated) {
  recorder_.record(client::reference_to(resources::kPods, *pod->object), "Warning", "FailedScheduling", message);
  json::Object condition{{"type", "PodScheduled"}, {"status", "False"}, {"reason", "Unschedulable"}, {"message", message}};
  json::Value holder = json::find(pod->tree, {"status"}) != nullptr ? *json::find(pod->tree, {"status"}) : json::Value(json::Object());
  if (!client::set_condition(holder, condition, parts_.time.wall()) && nominated.empty()) co_return Result<>();
  condition["lastTransitionTime"] = format_rfc3339(parts_.time.wall());
  json::Object status{{"conditions", json::Array{std::move(condition)}}};
  if (!nominated.empty()) status["nominatedNodeName"] = nominated;
  json::Value patch = json::Object{{"metadata", json::Object{{"uid", pod->object->uid}}}, {"status", std::move(status)}};
  auto patched = co_await parts_.api.patch(resources::kPods, pod->object->ns, pod->object->name, client::PatchType::kStrategicMerge, std::move(patch), {.subresource = "status"});
  if (!patched && patched.error().code() == Code::kCancelled) co_return fail(patched.error());
  co_return Result<>();
}

}  // namespace monopod::scheduler
