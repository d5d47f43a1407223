#include "api/authz/authorizer.h"

#include "base/strings.h"

namespace monopod::api {
namespace {

// Is it that name, or any where that is asked?
bool named(const json::Value& reference, std::string_view member, std::string_view name) {
  std::string_view is = json::get_string(reference, {member});
  return name.empty() ? !is.empty() : is == name;
}

}  // namespace

bool pod_refers(const json::Value& node, std::string_view plural, std::string_view name) {
  if (node.is_array()) {
    for (const json::Value& item : node.get_array())
      if (pod_refers(item, plural, name)) return true;
    return false;
  }
  if (!node.is_object()) return false;
  for (const auto& [key, value] : node.get_object()) {
    std::string_view member(key);
    bool secret = plural == "secrets" && (member == "secret" || member == "secretRef" || member == "secretKeyRef" || member == "nodePublishSecretRef");
    bool config = plural == "configmaps" && (member == "configMap" || member == "configMapRef" || member == "configMapKeyRef");
    bool claim = plural == "persistentvolumeclaims" && member == "persistentVolumeClaim";
    if ((secret || config || claim) && value.is_object()) {
      for (std::string_view by : {"name", "secretName", "claimName"})
        if (named(value, by, name)) return true;
    }
    if (plural == "secrets" && member == "imagePullSecrets" && value.is_array())
      for (const json::Value& item : value.get_array())
        if (named(item, "name", name)) return true;
    if (pod_refers(value, plural, name)) return true;
  }
  return false;
}

std::string node_of(const UserInfo& user) {
  constexpr std::string_view kPrefix = "system:node:";
  if (!user.name.starts_with(kPrefix) || !user.in_group("system:nodes")) return {};
  return user.name.substr(kPrefix.size());
}

// The claim that one of the pod's ephemeral volumes has: <pod>-<volume>.
bool is_ephemeral_claim(const json::Value& pod, std::string_view claim) {
  const json::Array* volumes = json::get_array(pod, {"spec", "volumes"});
  if (volumes == nullptr) return false;
  for (const json::Value& volume : *volumes)
    if (json::find(volume, {"ephemeral"}) != nullptr && claim == cat(json::get_string(pod, {"metadata", "name"}), "-", json::get_string(volume, {"name"}))) return true;
  return false;
}

Decision Authorizer::authorize_node(const Attributes& a) {
  std::string node = node_of(a.user);
  if (node.empty() || !a.is_resource) return {};
  bool reads = a.verb == "get" || a.verb == "list" || a.verb == "watch";
  bool referred = a.group.empty() && (a.resource == "secrets" || a.resource == "configmaps" || a.resource == "persistentvolumeclaims");
  bool token = a.group.empty() && a.resource == "serviceaccounts" && a.subresource == "token" && a.verb == "create";
  if (!(referred && reads && !a.name.empty() && a.subresource.empty()) && !token) return {};
  WatchCache* pods = caches_.find("", "pods");
  if (pods == nullptr) return {};
  std::string prefix = cat(a.ns, '/');
  for (auto it = pods->first_of(a.ns); it != pods->objects().end() && (*it)->key().starts_with(prefix); ++it) {
    if ((*it)->field("spec.nodeName") != node) continue;
    json::Value pod = (*it)->tree();
    const json::Value* spec = json::find(pod, {"spec"});
    if (spec == nullptr) continue;
    bool related = token ? json::get_string(*spec, {"serviceAccountName"}) == a.name : pod_refers(*spec, a.resource, a.name);
    if (related || (a.resource == "persistentvolumeclaims" && is_ephemeral_claim(pod, a.name))) return {true, ""};
  }
  return {false, cat("no relationship found between node '", node, "' and this object")};
}

Decision Authorizer::authorize(const Attributes& attributes) {
  if (attributes.user.in_group("system:masters")) return {true, ""};
  Decision node = authorize_node(attributes);
  if (node.allowed) return node;
  Decision rbac = rbac_.authorize(attributes);
  if (!rbac.allowed && rbac.reason.empty()) rbac.reason = node.reason;
  return rbac;
}

}  // namespace monopod::api
