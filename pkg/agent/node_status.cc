#include "agent/node_status.h"

#include <algorithm>

#include "agent/race.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/meta.h"

namespace monopod::agent {

namespace {

using json::Array;
using json::Object;
using json::Value;

constexpr Duration kLeasePeriod = std::chrono::seconds(10);
constexpr std::int64_t kLeaseSeconds = 40;
constexpr Duration kStatusPeriod = std::chrono::minutes(5);
constexpr std::string_view kLeaseNamespace = "kube-node-lease";
constexpr std::size_t kImagesMax = 50;
constexpr std::int64_t kMemoryMin = 100LL << 20;

struct ConditionText {
  std::string_view type;
  std::string_view good_reason, good_message;
  std::string_view bad_reason, bad_message;
};
constexpr ConditionText kPressures[] = {
    {"MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"},
    {"DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", "KubeletHasDiskPressure", "kubelet has disk pressure"},
    {"PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"}};

Object condition(std::string_view type, bool status, std::string_view reason, std::string_view message, WallTime now, const Value& previous) {
  std::string_view text = status ? "True" : "False";
  std::string since = format_rfc3339(now);
  if (const Array* list = json::get_array(previous, {"conditions"}))
    for (const Value& c : *list)
      if (json::get_string(c, {"type"}) == type && json::get_string(c, {"status"}) == text)
        if (auto at = json::get_string(c, {"lastTransitionTime"}); !at.empty()) since = at;
  return Object{{"type", type}, {"status", text}, {"lastHeartbeatTime", format_rfc3339(now)}, {"lastTransitionTime", since}, {"reason", reason}, {"message", message}};
}

Array image_list(const std::vector<image::Image>& images) {
  std::vector<const image::Image*> sorted;
  for (const image::Image& i : images) sorted.push_back(&i);
  std::ranges::stable_sort(sorted, std::greater<>(), [](const image::Image* i) { return i->size_bytes; });
  Array out;
  for (const image::Image* i : sorted) {
    if (out.size() >= kImagesMax) break;
    Array names;
    for (const std::string& n : i->repo_digests) names.push_back(Value(n));
    for (const std::string& n : i->references) names.push_back(Value(n));
    if (names.empty()) continue;
    out.push_back(Object{{"names", std::move(names)}, {"sizeBytes", i->size_bytes}});
  }
  return out;
}

std::string quantity_kib(std::int64_t bytes) { return cat(bytes / 1024, "Ki"); }

// Heartbeats aside, does it say the same?
bool same(const Value& a, const Value& b) {
  auto strip = [](Value v) {
    if (Value* conditions = json::find(v, {"conditions"}); conditions && conditions->is_array())
      for (Value& c : conditions->get_array())
        if (c.is_object()) c.get_object().erase("lastHeartbeatTime");
    return v;
  };
  return strip(a) == strip(b);
}

// As kubelet names what became of a condition.
std::string_view event_reason(std::string_view condition, bool holds) {
  if (condition == "MemoryPressure") return holds ? "NodeHasInsufficientMemory" : "NodeHasSufficientMemory";
  if (condition == "DiskPressure") return holds ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure";
  if (condition == "PIDPressure") return holds ? "NodeHasInsufficientPID" : "NodeHasSufficientPID";
  return holds ? "NodeReady" : "NodeNotReady";
}

Object pod_networks(const AgentOptions& options) {
  if (options.pod_cidr.empty()) return {};
  return {{"podCIDR", options.pod_cidr}, {"podCIDRs", Array{options.pod_cidr}}};
}

}  // namespace

NodeConditions judge_pressure(const NodePressure& p) {
  NodeConditions out;
  out.memory_pressure = p.memory_available_bytes > 0 && p.memory_available_bytes < kMemoryMin;
  out.disk_pressure = (p.disk_bytes > 0 && p.disk_free_bytes < p.disk_bytes / 10) || (p.inodes > 0 && p.inodes_free < p.inodes / 20);
  out.pid_pressure = p.pids_max > 0 && p.pids > p.pids_max / 10 * 9;
  return out;
}

Value make_node(const AgentOptions& options, const NodeInfo& info) {
  Object labels{{"kubernetes.io/hostname", options.node_name},
                {"kubernetes.io/os", "linux"},
                {"kubernetes.io/arch", info.architecture},
                {"beta.kubernetes.io/os", "linux"},
                {"beta.kubernetes.io/arch", info.architecture}};
  for (const auto& [key, value] : options.node_labels) labels[key] = value;
  Object annotations{{"volumes.kubernetes.io/controller-managed-attach-detach", "true"}};
  return Object{{"apiVersion", "v1"},
                {"kind", "Node"},
                {"metadata", Object{{"name", options.node_name}, {"labels", std::move(labels)}, {"annotations", std::move(annotations)}}},
                {"spec", pod_networks(options)}};
}

Value make_node_status(const AgentOptions& options, const NodeInfo& info, const NodeConditions& conditions, const std::vector<image::Image>& images,
                       const std::string& node_ip, WallTime now, const Value& previous) {
  Object out;
  Array addresses;
  if (!node_ip.empty()) addresses.push_back(Object{{"type", "InternalIP"}, {"address", node_ip}});
  addresses.push_back(Object{{"type", "Hostname"}, {"address", options.node_name}});
  out["addresses"] = std::move(addresses);
  Object capacity{{"cpu", std::to_string(info.cpus)},
                  {"memory", quantity_kib(info.memory_bytes)},
                  {"pods", std::to_string(options.pods_max)},
                  {"ephemeral-storage", quantity_kib(info.disk_bytes)},
                  {"hugepages-1Gi", "0"},
                  {"hugepages-2Mi", "0"}};
  Object allocatable = capacity;
  allocatable["memory"] = quantity_kib(std::max<std::int64_t>(info.memory_bytes - kMemoryMin, 0));  // the hard eviction threshold is nobody's
  allocatable["ephemeral-storage"] = std::to_string(info.disk_bytes / 10 * 9);
  out["capacity"] = std::move(capacity);
  out["allocatable"] = std::move(allocatable);
  Array list;
  bool pressures[] = {conditions.memory_pressure, conditions.disk_pressure, conditions.pid_pressure};
  for (std::size_t i = 0; i < 3; ++i) {
    const ConditionText& t = kPressures[i];
    list.push_back(condition(t.type, pressures[i], pressures[i] ? t.bad_reason : t.good_reason, pressures[i] ? t.bad_message : t.good_message, now, previous));
  }
  list.push_back(conditions.ready ? condition("Ready", true, "KubeletReady", "kubelet is posting ready status", now, previous)
                                  : condition("Ready", false, "KubeletNotReady", conditions.not_ready_message, now, previous));
  out["conditions"] = std::move(list);
  out["daemonEndpoints"] = Object{{"kubeletEndpoint", Object{{"Port", options.kubelet_port}}}};
  out["images"] = image_list(images);
  out["nodeInfo"] = Object{{"architecture", info.architecture},
                           {"bootID", info.boot_id},
                           {"containerRuntimeVersion", cat("monopod://", MONOPOD_VERSION)},
                           {"kernelVersion", info.kernel},
                           {"kubeProxyVersion", ""},
                           {"kubeletVersion", options.kubelet_version},
                           {"machineID", info.machine_id},
                           {"operatingSystem", "linux"},
                           {"osImage", info.os_image},
                           {"systemUUID", info.system_uuid}};
  return out;
}

NodeStatus::NodeStatus(const AgentDependencies& dependencies, const AgentOptions& options, NodeInfo info, std::string node_ip)
    : deps_(dependencies), options_(options), info_(std::move(info)), node_ip_(std::move(node_ip)), changed_(dependencies.executor) {}

void NodeStatus::announce(const Value& before, const Value& now) const {
  if (!on_event) return;
  Value old = Object{{"status", before}}, next = Object{{"status", now}};
  for (std::string_view type : {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}) {
    std::string_view is = client::condition_status(next, type);
    if (is == client::condition_status(old, type)) continue;
    std::string reason(event_reason(type, is == "True"));
    on_event(reason, cat("Node ", options_.node_name, " status is now: ", reason));
  }
}

async::Task<Result<>> NodeStatus::register_node() {
  Value node = make_node(options_, info_);
  NodePressure pressure = co_await deps_.pool.run([&] { return read_pressure(options_.data_dir); });
  conditions_ = judge_pressure(pressure);
  status_ = make_node_status(options_, info_, conditions_, deps_.images.list(), node_ip_, deps_.time.wall(), Value());
  node.get_object()["status"] = status_;
  auto made = co_await deps_.api.create(client::resources::kNodes, "", node, {.field_manager = "kubelet"});
  if (made) {
    node_uid_ = made->uid;
    announce(Value(), status_);
    co_return co_await write_status();  // a server that drops status on create
  }
  if (made.error().code() != Code::kAlreadyExists) co_return fail(std::move(made).error().with("register node"));
  CO_TRY_ASSIGN(client::Object there, co_await deps_.api.get(client::resources::kNodes, "", options_.node_name));
  node_uid_ = there.uid;
  Value tree = there.tree();
  if (const Value* status = json::find(tree, {"status"})) status_ = *status;
  Object labels;
  for (const auto& label : *json::get_object(node, {"metadata", "labels"}))
    if (json::get_string(tree, {"metadata", "labels", label.key()}) != label.value().get_string()) labels[label.key()] = label.value();
  Object networks = json::get_string(tree, {"spec", "podCIDR"}).empty() ? pod_networks(options_) : Object();
  if (!labels.empty() || !networks.empty()) {
    Object patch{{"metadata", Object{{"labels", std::move(labels)}}}, {"spec", std::move(networks)}};
    CO_TRY(co_await deps_.api.patch(client::resources::kNodes, "", options_.node_name, client::PatchType::kMerge, std::move(patch), {.field_manager = "kubelet"}));
  }
  co_return co_await write_status();
}

async::Task<Result<>> NodeStatus::write_status() {
  Value next = make_node_status(options_, info_, conditions_, deps_.images.list(), node_ip_, deps_.time.wall(), status_);
  Object patch{{"status", next}};
  // Conditions and addresses of ours, those of others untouched.
  auto written = co_await deps_.api.patch(client::resources::kNodes, "", options_.node_name, client::PatchType::kStrategicMerge, std::move(patch),
                                          {.subresource = "status", .field_manager = "kubelet"});
  if (!written) {
    if (written.error().code() == Code::kNotFound) node_uid_.clear();  // somebody deleted it: register again
    co_return fail(std::move(written).error().with("write node status"));
  }
  announce(status_, next);
  status_ = std::move(next);
  written_at_ = deps_.time.mono();
  co_return Result<>();
}

async::Task<Result<>> NodeStatus::renew_lease() {
  std::string now = format_rfc3339_micro(deps_.time.wall());
  Object spec{{"holderIdentity", options_.node_name}, {"leaseDurationSeconds", kLeaseSeconds}, {"renewTime", now}};
  auto renewed = co_await deps_.api.patch(client::resources::kLeases, std::string(kLeaseNamespace), options_.node_name, client::PatchType::kMerge,
                                          Object{{"spec", spec}}, {.field_manager = "kubelet"});
  if (renewed || renewed.error().code() != Code::kNotFound) {
    if (renewed) co_return Result<>();
    co_return fail(std::move(renewed).error().with("renew node lease"));
  }
  Object metadata{{"name", options_.node_name}, {"namespace", kLeaseNamespace}};
  if (!node_uid_.empty())
    metadata["ownerReferences"] = Array{Object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", options_.node_name}, {"uid", node_uid_}}};
  Object lease{{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
  auto made = co_await deps_.api.create(client::resources::kLeases, std::string(kLeaseNamespace), std::move(lease), {.field_manager = "kubelet"});
  if (!made) co_return fail(std::move(made).error().with("create node lease"));
  co_return Result<>();
}

async::Task<Result<>> NodeStatus::run() {
  Duration retry = std::chrono::milliseconds(50);
  for (;;) {  // forever: until cancelled
    Result<> done;
    if (node_uid_.empty() && options_.register_node) {
      done = co_await register_node();
      if (done && on_registered) on_registered();
    } else {
      NodePressure pressure = co_await deps_.pool.run([&] { return read_pressure(options_.data_dir); });
      conditions_ = judge_pressure(pressure);
      if (on_check) on_check(conditions_, pressure);
      Value next = make_node_status(options_, info_, conditions_, deps_.images.list(), node_ip_, deps_.time.wall(), status_);
      if (!same(next, status_) || deps_.time.mono() - written_at_ >= kStatusPeriod) done = co_await write_status();
    }
    if (done) done = co_await renew_lease();
    if (!done) {
      if (done.error().code() == Code::kCancelled) co_return done;
      log::warn("node heartbeat failed", {{"error", done.error()}});
      CO_TRY(co_await deps_.time.sleep_for(retry));
      retry = std::min<Duration>(retry * 2, kLeasePeriod);
      continue;
    }
    retry = std::chrono::milliseconds(50);
    changed_.reset();
    CO_TRY(co_await wait_until(deps_.time, changed_, deps_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(kLeasePeriod)));
  }
}

}  // namespace monopod::agent
