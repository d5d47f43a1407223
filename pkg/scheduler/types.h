// What the scheduler knows about pods and nodes, cut out of their objects once so that a cycle parses nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/informer.h"
#include "client/meta.h"

namespace monopod::scheduler {

// Amounts by resource name; cpu in millicores, everything else in its own unit (bytes, counts).
using Resources = std::map<std::string, std::int64_t, std::less<>>;

struct HostPort {
  std::string ip;  // "0.0.0.0" for any
  std::string protocol;
  std::int64_t port;
  auto operator<=>(const HostPort&) const = default;
};

struct PodInfo {
  client::ObjectPtr object;
  json::Value tree;  // empty object for pods that are already placed: only the sums below are needed
  Resources requests;
  std::vector<HostPort> host_ports;
  std::int64_t priority = 0;
  std::string node_name;
  MonoTime queued{};  // first seen unscheduled
  int attempts = 0;

  const std::string key() const { return object->key(); }
};
using PodInfoPtr = std::shared_ptr<PodInfo>;

PodInfoPtr make_pod_info(client::ObjectPtr pod);

// The effective request of a pod: the larger of (sum of containers and sidecars) and the init containers' peak, plus overhead
// (KEP-753); pod-level resources win where set (KEP-2837).
Resources pod_requests(const json::Value& pod);

struct NodeInfo {
  std::string name;
  json::Value tree;
  Resources allocatable;
  Resources requested;      // of the pods placed here
  std::int64_t pod_count = 0;
  std::multiset<HostPort> ports;

  void add(const PodInfo& pod);
  void remove(const PodInfo& pod);
};

std::shared_ptr<NodeInfo> make_node_info(const client::Object& node);

// True where two host ports cannot both be bound.
bool ports_conflict(const HostPort& a, const HostPort& b);

}  // namespace monopod::scheduler
