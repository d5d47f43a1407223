// Filters that look at what the pod asks of the node by name, mark or label.
#include "base/strings.h"
#include "client/node_match.h"
#include "scheduler/plugins.h"

namespace monopod::scheduler {
namespace {

class NodeName final : public Plugin {
 public:
  std::string_view name() const override { return "NodeName"; }
  unsigned points() const override { return kFilter; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    if (pod.node_name.empty() || pod.node_name == node.name) return {};
    return {Verdict::kUnschedulableAndUnresolvable, "node(s) didn't match the requested node name"};
  }
};

class NodeUnschedulable final : public Plugin {
 public:
  std::string_view name() const override { return "NodeUnschedulable"; }
  unsigned points() const override { return kFilter; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    if (!json::get_bool(node.tree, {"spec", "unschedulable"})) return {};
    json::Value taint = json::Object{{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}};
    if (client::tolerates(pod.tree, taint)) return {};
    return {Verdict::kUnschedulableAndUnresolvable, "node(s) were unschedulable"};
  }
};

class TaintToleration final : public Plugin {
 public:
  std::string_view name() const override { return "TaintToleration"; }
  unsigned points() const override { return kFilter | kScore; }
  std::int64_t weight() const override { return 3; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    const json::Array* taints = json::get_array(node.tree, {"spec", "taints"});
    if (taints == nullptr) return {};
    for (const json::Value& taint : *taints) {
      std::string_view effect = json::get_string(taint, {"effect"});
      if ((effect != "NoSchedule" && effect != "NoExecute") || client::tolerates(pod.tree, taint)) continue;
      return {Verdict::kUnschedulableAndUnresolvable,
              cat("node(s) had untolerated taint {", json::get_string(taint, {"key"}), ": ", json::get_string(taint, {"value"}), "}")};
    }
    return {};
  }
  // Counts PreferNoSchedule taints that are not tolerated; fewer is better.
  std::int64_t score(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    std::int64_t n = 0;
    if (const json::Array* taints = json::get_array(node.tree, {"spec", "taints"}))
      for (const json::Value& taint : *taints)
        if (json::get_string(taint, {"effect"}) == "PreferNoSchedule" && !client::tolerates(pod.tree, taint)) ++n;
    return n;
  }
  void normalize(const CycleState&, const PodInfo&, std::vector<std::int64_t>& scores) const override {
    std::int64_t max = *std::max_element(scores.begin(), scores.end());
    for (std::int64_t& s : scores) s = max == 0 ? kScoreMax : kScoreMax - s * kScoreMax / max;
  }
};

class NodeAffinity final : public Plugin {
 public:
  std::string_view name() const override { return "NodeAffinity"; }
  unsigned points() const override { return kFilter | kScore; }
  std::int64_t weight() const override { return 2; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    if (client::matches_node_affinity(pod.tree, node.tree)) return {};
    return {Verdict::kUnschedulableAndUnresolvable, "node(s) didn't match Pod's node affinity/selector"};
  }
  std::int64_t score(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    std::int64_t sum = 0;
    if (const json::Array* terms = json::get_array(pod.tree, {"spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"}))
      for (const json::Value& term : *terms)
        if (const json::Value* preference = json::find(term, {"preference"}); preference != nullptr && client::node_term_matches(*preference, node.tree))
          sum += json::get_int(term, {"weight"});
    return sum;
  }
  void normalize(const CycleState&, const PodInfo&, std::vector<std::int64_t>& scores) const override {
    std::int64_t max = *std::max_element(scores.begin(), scores.end());
    if (max > 0)
      for (std::int64_t& s : scores) s = s * kScoreMax / max;
  }
};

}  // namespace

std::unique_ptr<Plugin> make_node_name() { return std::make_unique<NodeName>(); }
std::unique_ptr<Plugin> make_node_unschedulable() { return std::make_unique<NodeUnschedulable>(); }
std::unique_ptr<Plugin> make_taint_toleration() { return std::make_unique<TaintToleration>(); }
std::unique_ptr<Plugin> make_node_affinity() { return std::make_unique<NodeAffinity>(); }

}  // namespace monopod::scheduler
