// ResourceQuotas: names, amounts and scopes.
#include <algorithm>
#include <set>

#include "api/kinds/behaviors.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

constexpr std::string_view kCounts[] = {"pods",    "resourcequotas", "services",           "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
                                        "services.nodeports", "services.loadbalancers"};
constexpr std::string_view kAmounts[] = {"cpu",        "memory",        "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
                                         "limits.cpu", "limits.memory", "limits.ephemeral-storage"};
constexpr std::string_view kPodScopes[] = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"};
constexpr std::string_view kOfScope[] = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"};

template <typename List>
bool in(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != std::end(list);
}

bool is_huge(std::string_view name) { return name.starts_with("hugepages-") || name.starts_with("requests.hugepages-"); }
bool is_qualified(std::string_view name) { return name.find('/') != std::string_view::npos; }
bool is_standard_quota(std::string_view name) { return in(kCounts, name) || in(kAmounts, name) || is_huge(name); }
// Objects and extended resources come in whole numbers.
bool is_integer(std::string_view name) {
  return in(kCounts, name) || (is_qualified(name) && name.find("kubernetes.io/") == std::string_view::npos && !name.starts_with("requests."));
}
bool fits_scope(std::string_view scope, std::string_view name) {
  if (scope == "BestEffort") return name == "pods";
  return !in(kPodScopes, scope) || in(kOfScope, name);
}

void check_name(std::string_view name, const Path& at, FieldErrors& errors) {
  if (Messages bad = check_qualified_name(name); !bad.empty()) report(errors, at, name, bad);
  else if (!is_qualified(name) && !is_standard_quota(name) && name != "storage") errors.invalid(at, name, "must be a standard resource type or fully qualified");
  if (!is_qualified(name) && !is_standard_quota(name)) errors.invalid(at, name, "must be a standard resource for quota");
}

void check_amounts(const Value& object, std::string_view part, std::string_view member, FieldErrors& errors) {
  const Object* list = json::get_object(object, {part, member});
  if (list == nullptr) return;
  for (const auto& m : *list) {
    std::string_view name(m.key());
    Path at = Path(std::string(part))[member].key(name);
    check_name(name, at, errors);
    auto amount = parse_quantity(m.value().is_string() ? std::string_view(m.value().get_string()) : std::string_view());
    if (!amount) continue;  // decoding refuses it
    if (amount->sign() < 0) errors.invalid(at, amount->text(), "must be greater than or equal to 0");
    if (is_integer(name) && *amount != Quantity::of(amount->value())) errors.invalid(at, amount->text(), "must be an integer");
  }
}

using Scopes = std::set<std::string, std::less<>>;

void check_conflicts(const Scopes& seen, const Path& at, const Value& spec, FieldErrors& errors) {
  const Value* given = child(spec, "scopes");
  for (auto [one, other] : {std::pair("BestEffort", "NotBestEffort"), std::pair("Terminating", "NotTerminating")})
    if (seen.contains(one) && seen.contains(other)) errors.invalid(at, given == nullptr ? Value() : *given, "conflicting scopes");
}

void check_fit(std::string_view scope, const Path& at, const Value& spec, const Value& shown, FieldErrors& errors) {
  const Object* hard = json::get_object(spec, {"hard"});
  if (hard == nullptr) return;
  for (const auto& m : *hard)
    if (is_standard_quota(m.key()) && !fits_scope(scope, m.key())) errors.invalid(at, shown, "unsupported scope applied to resource");
}

void check_scopes(const Value& spec, FieldErrors& errors) {
  Path at = Path("spec")["scopes"];
  Scopes seen;
  for (const Value& one : items(spec, "scopes")) {
    std::string_view scope = one.is_string() ? std::string_view(one.get_string()) : std::string_view();
    if (!in(kPodScopes, scope)) errors.invalid(at, *child(spec, "scopes"), "unsupported scope");
    check_fit(scope, at, spec, *child(spec, "scopes"), errors);
    seen.emplace(scope);
  }
  check_conflicts(seen, at, spec, errors);
}

void check_requirement(const Value& one, const Path& at, FieldErrors& errors) {
  std::string_view scope = text(one, "scopeName"), op = text(one, "operator");
  const Array& values = items(one, "values");
  if (in(kPodScopes, scope) && scope != "PriorityClass" && op != "Exists")
    errors.invalid(at["operator"], op,
                   "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                   "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
  if (op == "In" || op == "NotIn") {
    if (values.empty()) errors.required(at["values"], "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (!values.empty()) errors.invalid(at["values"], Value(values), "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
  } else {
    errors.invalid(at["operator"], op, "not a valid selector operator");
  }
}

void check_selector(const Value& spec, FieldErrors& errors) {
  const Value* selector = child(spec, "scopeSelector");
  if (selector == nullptr) return;
  Path at = Path("spec")["scopeSelector"]["matchExpressions"];
  Scopes seen;
  for (const Value& one : items(*selector, "matchExpressions")) {
    std::string_view scope = text(one, "scopeName");
    if (!in(kPodScopes, scope)) errors.invalid(at["scopeName"], scope, "unsupported scope");
    check_fit(scope, at, spec, *selector, errors);
    check_requirement(one, at, errors);
    seen.emplace(scope);
  }
  check_conflicts(seen, at, spec, errors);
}

Scopes scope_set(const Value& quota) {
  Scopes out;
  if (const Array* list = json::get_array(quota, {"spec", "scopes"}))
    for (const Value& one : *list)
      if (one.is_string()) out.emplace(one.get_string());
  return out;
}

}  // namespace

void validate_resource_quota(const Value& object, FieldErrors& errors) {
  static const Value kNone = Object();
  const Value* spec = child(object, "spec");
  check_amounts(object, "spec", "hard", errors);
  check_scopes(spec == nullptr ? kNone : *spec, errors);
  check_selector(spec == nullptr ? kNone : *spec, errors);
}

void validate_resource_quota_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  if (subresource == "status")
    for (std::string_view member : {"hard", "used"}) check_amounts(object, "status", member, errors);
  if (scope_set(object) == scope_set(old)) return;
  const Value* now = json::find(object, {"spec", "scopes"});
  errors.invalid(Path("spec")["scopes"], now == nullptr ? Value() : *now, "field is immutable");
}

}  // namespace monopod::api::kinds
