// Roles and bindings (rbac.authorization.k8s.io).
#include "api/kinds/behaviors.h"

namespace monopod::api::kinds {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

void validate_rules(const Value& object, bool namespaced, FieldErrors& errors) {
  const Array& rules = items(object, "rules");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    Path at = Path("rules")[i];
    const Value& rule = rules[i];
    if (items(rule, "verbs").empty()) errors.required(at["verbs"], "verbs must contain at least one value");
    if (!items(rule, "nonResourceURLs").empty()) {
      if (namespaced) errors.invalid(at["nonResourceURLs"], *child(rule, "nonResourceURLs"), "namespaced rules cannot apply to non-resource URLs");
      if (!items(rule, "apiGroups").empty() || !items(rule, "resources").empty() || !items(rule, "resourceNames").empty())
        errors.invalid(at["nonResourceURLs"], *child(rule, "nonResourceURLs"), "rules cannot apply to both regular resources and non-resource URLs");
      continue;
    }
    if (items(rule, "apiGroups").empty()) errors.required(at["apiGroups"], "resource rules must supply at least one api group");
    if (items(rule, "resources").empty()) errors.required(at["resources"], "resource rules must supply at least one resource");
  }
}

void validate_binding(const Value& object, bool namespaced, FieldErrors& errors) {
  const Value* ref = child(object, "roleRef");
  Path path("roleRef");
  std::string_view kind = ref == nullptr ? std::string_view() : text(*ref, "kind"), name = ref == nullptr ? std::string_view() : text(*ref, "name");
  std::string_view group = ref == nullptr ? std::string_view() : text(*ref, "apiGroup");
  if (group != kGroup) errors.not_supported(path["apiGroup"], Value(group), {kGroup});
  if (namespaced && kind != "Role" && kind != "ClusterRole") errors.not_supported(path["kind"], Value(kind), {"ClusterRole", "Role"});
  if (!namespaced && kind != "ClusterRole") errors.not_supported(path["kind"], Value(kind), {"ClusterRole"});
  if (name.empty()) errors.required(path["name"]);
  else report(errors, path["name"], name, check_path_segment_name(name));
  const Array& subjects = items(object, "subjects");
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    Path at = Path("subjects")[i];
    std::string_view subject = text(subjects[i], "kind"), subject_name = text(subjects[i], "name");
    if (subject_name.empty()) errors.required(at["name"]);
    if (subject == "ServiceAccount") {
      if (!subject_name.empty()) report(errors, at["name"], subject_name, check_dns1123_subdomain(subject_name));
      if (!text(subjects[i], "apiGroup").empty()) errors.not_supported(at["apiGroup"], Value(text(subjects[i], "apiGroup")), {""});
      if (text(subjects[i], "namespace").empty()) errors.required(at["namespace"]);
    } else if (subject == "User" || subject == "Group") {
      if (text(subjects[i], "apiGroup") != kGroup) errors.not_supported(at["apiGroup"], Value(text(subjects[i], "apiGroup")), {kGroup});
    } else {
      errors.not_supported(at["kind"], Value(subject), {"Group", "ServiceAccount", "User"});
    }
  }
}

}  // namespace

void default_binding(Value& object) {
  if (Value* ref = mutable_child(object, "roleRef")) set_missing(*ref, "apiGroup", Value(kGroup));
  if (child(object, "subjects") == nullptr) return;
  for (Value& s : mutable_items(object, "subjects"))
    if (text(s, "kind") == "User" || text(s, "kind") == "Group") set_missing(s, "apiGroup", Value(kGroup));
}

void validate_role(const Value& object, FieldErrors& errors) { validate_rules(object, true, errors); }
void validate_cluster_role(const Value& object, FieldErrors& errors) {
  validate_rules(object, false, errors);
  const Value* aggregation = child(object, "aggregationRule");
  if (aggregation == nullptr) return;
  const Array& selectors = items(*aggregation, "clusterRoleSelectors");
  Path path = Path("aggregationRule")["clusterRoleSelectors"];
  if (selectors.empty()) errors.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
  for (std::size_t i = 0; i < selectors.size(); ++i) check_label_selector(errors, path[i], selectors[i]);
}
void validate_role_binding(const Value& object, FieldErrors& errors) { validate_binding(object, true, errors); }
void validate_cluster_role_binding(const Value& object, FieldErrors& errors) { validate_binding(object, false, errors); }

void validate_binding_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  const Value *now = child(object, "roleRef"), *was = child(old, "roleRef");
  if (now == nullptr || was == nullptr || *now == *was) return;
  errors.invalid(Path("roleRef"), *now, "cannot change roleRef");
}

}  // namespace monopod::api::kinds
