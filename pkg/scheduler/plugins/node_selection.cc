// Filters that look at what the pod asks of the node by name, mark or label.
#include "base/strings.h"
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
    if (tolerates(pod.tree, taint)) return {};
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
      if ((effect != "NoSchedule" && effect != "NoExecute") || tolerates(pod.tree, taint)) continue;
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
        if (json::get_string(taint, {"effect"}) == "PreferNoSchedule" && !tolerates(pod.tree, taint)) ++n;
    return n;
  }
  void normalize(const CycleState&, const PodInfo&, std::vector<std::int64_t>& scores) const override {
    std::int64_t max = *std::max_element(scores.begin(), scores.end());
    for (std::int64_t& s : scores) s = max == 0 ? kScoreMax : kScoreMax - s * kScoreMax / max;
  }
};

// One term of a node selector: matchExpressions over labels, matchFields over metadata.name.
bool expression_matches(const json::Value& expression, const std::string* value) {
  std::string_view op = json::get_string(expression, {"operator"});
  const json::Array* values = json::get_array(expression, {"values"});
  auto listed = [&] {
    if (values == nullptr || value == nullptr) return false;
    for (const json::Value& v : *values)
      if (v.is_string() && std::string_view(v.get_string()) == *value) return true;
    return false;
  };
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  if (op == "In") return listed();
  if (op == "NotIn") return !listed();
  if (op != "Gt" && op != "Lt") return false;
  if (value == nullptr || values == nullptr || values->size() != 1 || !(*values)[0].is_string()) return false;
  auto have = parse_int<std::int64_t>(*value);
  auto bound = parse_int<std::int64_t>(std::string_view((*values)[0].get_string()));
  if (!have || !bound) return false;
  return op == "Gt" ? *have > *bound : *have < *bound;
}

bool term_matches(const json::Value& term, const json::Value& node) {
  const json::Array* expressions = json::get_array(term, {"matchExpressions"});
  const json::Array* fields = json::get_array(term, {"matchFields"});
  if ((expressions == nullptr || expressions->empty()) && (fields == nullptr || fields->empty())) return false;  // an empty term selects nothing
  const json::Object* labels = client::labels_of(node);
  if (expressions != nullptr) {
    for (const json::Value& expression : *expressions) {
      const json::Value* label = labels == nullptr ? nullptr : labels->if_contains(json::get_string(expression, {"key"}));
      std::string text = label != nullptr && label->is_string() ? std::string(label->get_string()) : std::string();
      if (!expression_matches(expression, label == nullptr ? nullptr : &text)) return false;
    }
  }
  if (fields != nullptr) {
    std::string name(client::name_of(node));
    for (const json::Value& expression : *fields)
      if (json::get_string(expression, {"key"}) != "metadata.name" || !expression_matches(expression, &name)) return false;
  }
  return true;
}

class NodeAffinity final : public Plugin {
 public:
  std::string_view name() const override { return "NodeAffinity"; }
  unsigned points() const override { return kFilter | kScore; }
  std::int64_t weight() const override { return 2; }
  Status filter(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    if (matches_node_affinity(pod.tree, node.tree)) return {};
    return {Verdict::kUnschedulableAndUnresolvable, "node(s) didn't match Pod's node affinity/selector"};
  }
  std::int64_t score(const CycleState&, const PodInfo& pod, const NodeInfo& node) const override {
    std::int64_t sum = 0;
    if (const json::Array* terms = json::get_array(pod.tree, {"spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"}))
      for (const json::Value& term : *terms)
        if (const json::Value* preference = json::find(term, {"preference"}); preference != nullptr && term_matches(*preference, node.tree))
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

bool tolerates(const json::Value& pod, const json::Value& taint) {
  const json::Array* tolerations = json::get_array(pod, {"spec", "tolerations"});
  if (tolerations == nullptr) return false;
  for (const json::Value& t : *tolerations) {
    std::string_view effect = json::get_string(t, {"effect"});
    std::string_view key = json::get_string(t, {"key"});
    std::string_view op = json::get_string(t, {"operator"}, "Equal");
    if (!effect.empty() && effect != json::get_string(taint, {"effect"})) continue;
    if (key.empty() && op == "Exists") return true;
    if (key != json::get_string(taint, {"key"})) continue;
    if (op == "Exists" || json::get_string(t, {"value"}) == json::get_string(taint, {"value"})) return true;
  }
  return false;
}

bool matches_node_affinity(const json::Value& pod, const json::Value& node) {
  const json::Object* labels = client::labels_of(node);
  if (const json::Object* selector = json::get_object(pod, {"spec", "nodeSelector"}))
    for (const auto& [key, value] : *selector) {
      const json::Value* label = labels == nullptr ? nullptr : labels->if_contains(key);
      if (label == nullptr || *label != value) return false;
    }
  const json::Value* required = json::find(pod, {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"});
  if (required == nullptr) return true;
  const json::Array* terms = json::get_array(*required, {"nodeSelectorTerms"});
  if (terms == nullptr) return false;
  for (const json::Value& term : *terms)
    if (term_matches(term, node)) return true;
  return false;
}

std::unique_ptr<Plugin> make_node_name() { return std::make_unique<NodeName>(); }
std::unique_ptr<Plugin> make_node_unschedulable() { return std::make_unique<NodeUnschedulable>(); }
std::unique_ptr<Plugin> make_taint_toleration() { return std::make_unique<TaintToleration>(); }
std::unique_ptr<Plugin> make_node_affinity() { return std::make_unique<NodeAffinity>(); }

}  // namespace monopod::scheduler
