// Scopes: which pods a quota is about.
#include <algorithm>

#include "api/quota/usage.h"

namespace monopod::api {
namespace {

bool crosses_namespaces(const json::Value& pod) {
  auto crosses = [](const json::Value& term) {
    const json::Array* named = json::get_array(term, {"namespaces"});
    return (named != nullptr && !named->empty()) || json::find(term, {"namespaceSelector"}) != nullptr;
  };
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
    if (const json::Array* terms = json::get_array(pod, {"spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution"}))
      if (std::ranges::any_of(*terms, crosses)) return true;
    const json::Array* weighted = json::get_array(pod, {"spec", "affinity", kind, "preferredDuringSchedulingIgnoredDuringExecution"});
    if (weighted == nullptr) continue;
    for (const json::Value& one : *weighted)
      if (const json::Value* term = json::find(one, {"podAffinityTerm"}); term != nullptr && crosses(*term)) return true;
  }
  return false;
}

bool matches_class(const QuotaScope& scope, std::string_view name) {
  bool listed = !name.empty() && std::ranges::find(scope.values, name) != scope.values.end();
  if (scope.op == "In") return listed;
  if (scope.op == "NotIn") return !listed;  // as label selectors: also what has no class
  return (scope.op == "DoesNotExist") == name.empty();
}

bool matches(const QuotaScope& scope, const json::Value& pod) {
  bool best_effort = json::get_string(pod, {"status", "qosClass"}) == "BestEffort";
  if (scope.name == "Terminating") return is_terminating(pod);
  if (scope.name == "NotTerminating") return !is_terminating(pod);
  if (scope.name == "BestEffort") return best_effort;
  if (scope.name == "NotBestEffort") return !best_effort;
  if (scope.name == "PriorityClass") return matches_class(scope, json::get_string(pod, {"spec", "priorityClassName"}));
  if (scope.name == "CrossNamespacePodAffinity") return crosses_namespaces(pod);
  return false;
}

}  // namespace

bool is_terminating(const json::Value& pod) { return json::get_int(pod, {"spec", "activeDeadlineSeconds"}, -1) >= 0; }

std::vector<QuotaScope> scopes_of(const json::Value& quota) {
  std::vector<QuotaScope> out;
  if (const json::Array* names = json::get_array(quota, {"spec", "scopes"}))
    for (const json::Value& name : *names)
      if (name.is_string()) out.push_back({std::string(name.get_string()), "Exists", {}});
  const json::Array* expressions = json::get_array(quota, {"spec", "scopeSelector", "matchExpressions"});
  if (expressions == nullptr) return out;
  for (const json::Value& one : *expressions) {
    QuotaScope scope{std::string(json::get_string(one, {"scopeName"})), std::string(json::get_string(one, {"operator"})), {}};
    if (const json::Array* values = json::get_array(one, {"values"}))
      for (const json::Value& value : *values)
        if (value.is_string()) scope.values.emplace_back(value.get_string());
    out.push_back(std::move(scope));
  }
  return out;
}

bool matches_scopes(const std::vector<QuotaScope>& scopes, const Resource& resource, const json::Value& object) {
  if (scopes.empty()) return true;
  if (!resource.group().empty() || resource.plural() != "pods") return false;
  return std::ranges::all_of(scopes, [&object](const QuotaScope& scope) { return matches(scope, object); });
}

}  // namespace monopod::api
