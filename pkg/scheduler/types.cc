#include "scheduler/types.h"

#include "api/quantity/quantity.h"

namespace monopod::scheduler {
namespace {

std::int64_t amount(std::string_view resource, const json::Value& value) {
  std::string text = value.is_string() ? std::string(value.get_string()) : json::format(value);
  Result<api::Quantity> quantity = api::parse_quantity(text);
  if (!quantity) return 0;
  return resource == "cpu" ? quantity->milli_value() : quantity->value();
}

Resources read_amounts(const json::Object* list) {
  Resources out;
  if (list == nullptr) return out;
  for (const auto& [name, value] : *list) out[std::string(name)] = amount(name, value);
  return out;
}

void add_all(Resources& into, const Resources& from) {
  for (const auto& [name, n] : from) into[name] += n;
}

void max_all(Resources& into, const Resources& from) {
  for (const auto& [name, n] : from) into[name] = std::max(into[name], n);
}

std::vector<HostPort> read_host_ports(const json::Value& pod) {
  std::vector<HostPort> out;
  for (std::string_view list : {"containers", "initContainers"}) {
    const json::Array* containers = json::get_array(pod, {"spec", list});
    if (containers == nullptr) continue;
    for (const json::Value& container : *containers) {
      if (list == "initContainers" && json::get_string(container, {"restartPolicy"}) != "Always") continue;
      const json::Array* ports = json::get_array(container, {"ports"});
      if (ports == nullptr) continue;
      for (const json::Value& port : *ports) {
        std::int64_t number = json::get_int(port, {"hostPort"});
        if (number == 0) continue;
        std::string_view ip = json::get_string(port, {"hostIP"});
        out.push_back({std::string(ip.empty() ? "0.0.0.0" : ip), std::string(json::get_string(port, {"protocol"}, "TCP")), number});
      }
    }
  }
  return out;
}

}  // namespace

Resources pod_requests(const json::Value& pod) {
  Resources sum;
  if (const json::Array* containers = json::get_array(pod, {"spec", "containers"}))
    for (const json::Value& container : *containers) add_all(sum, read_amounts(json::get_object(container, {"resources", "requests"})));
  Resources sidecars;
  Resources peak;
  if (const json::Array* containers = json::get_array(pod, {"spec", "initContainers"})) {
    for (const json::Value& container : *containers) {
      Resources need = read_amounts(json::get_object(container, {"resources", "requests"}));
      if (json::get_string(container, {"restartPolicy"}) == "Always") {
        add_all(sidecars, need);
        max_all(peak, sidecars);
      } else {
        add_all(need, sidecars);  // runs beside the sidecars started before it
        max_all(peak, need);
      }
    }
  }
  add_all(sum, sidecars);
  max_all(sum, peak);
  for (const auto& [name, n] : read_amounts(json::get_object(pod, {"spec", "resources", "requests"}))) sum[name] = n;
  add_all(sum, read_amounts(json::get_object(pod, {"spec", "overhead"})));
  return sum;
}

PodInfoPtr make_pod_info(client::ObjectPtr pod) {
  auto info = std::make_shared<PodInfo>();
  info->tree = pod->tree();
  info->object = std::move(pod);
  info->requests = pod_requests(info->tree);
  info->host_ports = read_host_ports(info->tree);
  info->priority = json::get_int(info->tree, {"spec", "priority"});
  info->node_name = json::get_string(info->tree, {"spec", "nodeName"});
  return info;
}

void NodeInfo::add(const PodInfo& pod) {
  add_all(requested, pod.requests);
  ++pod_count;
  for (const HostPort& port : pod.host_ports) ports.insert(port);
}

void NodeInfo::remove(const PodInfo& pod) {
  for (const auto& [resource, n] : pod.requests) requested[resource] -= n;
  --pod_count;
  for (const HostPort& port : pod.host_ports)
    if (auto it = ports.find(port); it != ports.end()) ports.erase(it);
}

std::shared_ptr<NodeInfo> make_node_info(const client::Object& node) {
  auto info = std::make_shared<NodeInfo>();
  info->name = node.name;
  info->tree = node.tree();
  info->allocatable = read_amounts(json::get_object(info->tree, {"status", "allocatable"}));
  return info;
}

bool ports_conflict(const HostPort& a, const HostPort& b) {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0";
}

}  // namespace monopod::scheduler
