#include "client/node_match.h"

#include "base/strings.h"

namespace monopod::client {
namespace {

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

}  // namespace

bool tolerates_taint(const json::Value& toleration, const json::Value& taint) {
  std::string_view effect = json::get_string(toleration, {"effect"}), key = json::get_string(toleration, {"key"}), op = json::get_string(toleration, {"operator"}, "Equal");
  if (!effect.empty() && effect != json::get_string(taint, {"effect"})) return false;
  if (!key.empty() && key != json::get_string(taint, {"key"})) return false;
  if (op == "Exists") return true;
  return op == "Equal" && json::get_string(toleration, {"value"}) == json::get_string(taint, {"value"});
}

bool tolerates(const json::Value& pod, const json::Value& taint) {
  const json::Array* tolerations = json::get_array(pod, {"spec", "tolerations"});
  if (tolerations == nullptr) return false;
  for (const json::Value& toleration : *tolerations)
    if (tolerates_taint(toleration, taint)) return true;
  return false;
}

bool node_term_matches(const json::Value& term, const json::Value& node) {
  const json::Array* expressions = json::get_array(term, {"matchExpressions"});
  const json::Array* fields = json::get_array(term, {"matchFields"});
  if ((expressions == nullptr || expressions->empty()) && (fields == nullptr || fields->empty())) return false;  // an empty term selects nothing
  const json::Object* labels = labels_of(node);
  if (expressions != nullptr) {
    for (const json::Value& expression : *expressions) {
      const json::Value* label = labels == nullptr ? nullptr : labels->if_contains(json::get_string(expression, {"key"}));
      std::string text = label != nullptr && label->is_string() ? std::string(label->get_string()) : std::string();
      if (!expression_matches(expression, label == nullptr ? nullptr : &text)) return false;
    }
  }
  if (fields != nullptr) {
    std::string name(name_of(node));
    for (const json::Value& expression : *fields)
      if (json::get_string(expression, {"key"}) != "metadata.name" || !expression_matches(expression, &name)) return false;
  }
  return true;
}

bool matches_node_affinity(const json::Value& pod, const json::Value& node) {
  const json::Object* labels = labels_of(node);
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
    if (node_term_matches(term, node)) return true;
  return false;
}

}  // namespace monopod::client
