// Filters that look at what the node has left: resources, pod count, host ports.
#include "base/strings.h"
#include "scheduler/plugins.h"

namespace monopod::scheduler {
namespace {

class NodePorts final : public Plugin {
 public:
  std::string_view name() const override { return "NodePorts"; }
  unsigned points() const override { return kPreFilter | kFilter; }
  Status pre_filter(CycleState&, const PodInfo& pod, const Snapshot&) const override {
    return pod.host_ports.empty() ? Status{Verdict::kSkip, ""} : Status{};
  }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    for (const HostPort& want : pod.host_ports)
      for (const HostPort& used : node.ports)
        if (ports_conflict(want, used)) return {Verdict::kUnschedulable, "node(s) didn't have free ports for the requested pod ports"};
    return {};
  }
};

std::int64_t amount_of(const Resources& resources, std::string_view name) {
  auto it = resources.find(name);
  return it == resources.end() ? 0 : it->second;
}

// Scores the node with more room higher (LeastAllocated over cpu and memory).
class NodeResourcesFit final : public Plugin {
 public:
  std::string_view name() const override { return "NodeResourcesFit"; }
  unsigned points() const override { return kFilter | kScore; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    std::vector<std::string> missing = missing_resources(pod, node);
    if (missing.empty()) return {};
    return {Verdict::kUnschedulable, join(missing, "\n")};
  }
  std::int64_t score(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    std::int64_t sum = 0;
    for (std::string_view name : {"cpu", "memory"}) {
      std::int64_t total = amount_of(node.allocatable, name);
      std::int64_t used = amount_of(node.requested, name) + amount_of(pod.requests, name);
      if (total > 0 && used <= total) sum += (total - used) * kScoreMax / total;
    }
    return sum / 2;
  }
};

}  // namespace

std::vector<std::string> missing_resources(const PodInfo& pod, const NodeInfo& node) {
  std::vector<std::string> out;
  if (auto it = node.allocatable.find("pods"); it != node.allocatable.end() && node.pod_count + 1 > it->second) out.push_back("Too many pods");
  for (const auto& [name, need] : pod.requests)
    if (need > 0 && need > amount_of(node.allocatable, name) - amount_of(node.requested, name)) out.push_back("Insufficient " + name);
  return out;
}

std::unique_ptr<Plugin> make_node_ports() { return std::make_unique<NodePorts>(); }
std::unique_ptr<Plugin> make_node_resources_fit() { return std::make_unique<NodeResourcesFit>(); }

}  // namespace monopod::scheduler
