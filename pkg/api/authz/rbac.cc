#include "api/authz/rbac.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

std::vector<std::string> texts(const json::Value& object, std::string_view name) {
  std::vector<std::string> out;
  if (const json::Array* list = json::get_array(object, {name}))
    for (const json::Value& item : *list)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

bool has(const std::vector<std::string>& list, std::string_view item) { return std::find(list.begin(), list.end(), item) != list.end(); }
bool has_or_star(const std::vector<std::string>& list, std::string_view item) { return has(list, "*") || has(list, item); }

bool path_matches(const std::vector<std::string>& paths, std::string_view path) {
  for (const std::string& known : paths) {
    if (known == "*" || known == path) return true;
    if (known.ends_with('*') && path.starts_with(std::string_view(known).substr(0, known.size() - 1))) return true;
  }
  return false;
}

bool resource_matches(const std::vector<std::string>& resources, std::string_view resource, std::string_view subresource) {
  std::string full = subresource.empty() ? std::string(resource) : cat(resource, '/', subresource);
  for (const std::string& known : resources) {
    if (known == "*" || known == full) return true;
    if (!subresource.empty() && known.starts_with("*/") && std::string_view(known).substr(2) == subresource) return true;
  }
  return false;
}

bool covers_list(const std::vector<std::string>& mine, const std::vector<std::string>& theirs) {
  if (has(mine, "*")) return true;
  return std::all_of(theirs.begin(), theirs.end(), [&](const std::string& item) { return has(mine, item); });
}

bool covers_resources(const std::vector<std::string>& mine, const std::vector<std::string>& theirs) {
  return std::all_of(theirs.begin(), theirs.end(), [&](const std::string& item) {
    auto [resource, sub] = split_once(item, '/');
    return resource_matches(mine, resource, sub.value_or(""));
  });
}

std::vector<PolicyRule> rules_in(const json::Value& role) {
  std::vector<PolicyRule> out;
  if (const json::Array* rules = json::get_array(role, {"rules"}))
    for (const json::Value& rule : *rules) out.push_back(parse_rule(rule));
  return out;
}

json::Array array_of(const std::vector<std::string>& list) {
  json::Array out;
  for (const std::string& item : list) out.emplace_back(item);
  return out;
}

std::string list_text(const std::vector<std::string>& list) {
  std::vector<std::string> quoted;
  for (const std::string& item : list) quoted.push_back(cat('"', item, '"'));
  return cat('[', join(quoted, ","), ']');
}

std::string rule_text(const PolicyRule& rule) {
  if (!rule.paths.empty()) return cat("{NonResourceURLs:", list_text(rule.paths), ", Verbs:", list_text(rule.verbs), "}");
  std::string names = rule.names.empty() ? "" : cat(", ResourceNames:", list_text(rule.names));
  return cat("{APIGroups:", list_text(rule.groups), ", Resources:", list_text(rule.resources), names, ", Verbs:", list_text(rule.verbs), "}");
}

}  // namespace

PolicyRule parse_rule(const json::Value& rule) {
  return {texts(rule, "verbs"), texts(rule, "apiGroups"), texts(rule, "resources"), texts(rule, "resourceNames"), texts(rule, "nonResourceURLs")};
}

json::Value format_rule(const PolicyRule& rule) {
  json::Object out;
  if (!rule.groups.empty()) out["apiGroups"] = array_of(rule.groups);
  if (!rule.paths.empty()) out["nonResourceURLs"] = array_of(rule.paths);
  if (!rule.names.empty()) out["resourceNames"] = array_of(rule.names);
  if (!rule.resources.empty()) out["resources"] = array_of(rule.resources);
  out["verbs"] = array_of(rule.verbs);
  return out;
}

bool PolicyRule::allows(const Attributes& a) const {
  if (!has_or_star(verbs, a.verb)) return false;
  if (!a.is_resource) return path_matches(paths, a.path);
  return has_or_star(groups, a.group) && resource_matches(resources, a.resource, a.subresource) && (names.empty() || has(names, a.name));
}

bool PolicyRule::covers(const PolicyRule& other) const {
  if (!covers_list(verbs, other.verbs)) return false;
  if (!other.paths.empty())
    return std::all_of(other.paths.begin(), other.paths.end(), [this](const std::string& path) { return path_matches(paths, path); });
  if (!covers_list(groups, other.groups) || !covers_resources(resources, other.resources)) return false;
  return names.empty() || (!other.names.empty() && covers_list(names, other.names));
}

void Rbac::refresh() {
  std::uint64_t now = 1;
  for (std::string_view plural : {"clusterroles", "roles", "clusterrolebindings", "rolebindings"})
    if (WatchCache* cache = caches_.find(kGroup, plural)) now += cache->generation();
  if (now == seen_) return;
  seen_ = now;
  roles_.clear();
  by_subject_.clear();
  for (std::string_view plural : {"clusterroles", "roles"}) {
    WatchCache* cache = caches_.find(kGroup, plural);
    if (cache == nullptr) continue;
    for (const ObjectPtr& role : cache->objects())
      roles_[cat(role->ns(), '/', role->name())] = std::make_shared<const std::vector<PolicyRule>>(rules_in(role->tree()));
  }
  add_bindings(caches_.find(kGroup, "clusterrolebindings"));
  add_bindings(caches_.find(kGroup, "rolebindings"));
}

void Rbac::add_bindings(WatchCache* cache) {
  if (cache == nullptr) return;
  for (const ObjectPtr& binding : cache->objects()) {
    json::Value tree = binding->tree();
    bool local_role = json::get_string(tree, {"roleRef", "kind"}) == "Role";
    auto role = roles_.find(cat(local_role ? binding->ns() : std::string_view(), '/', json::get_string(tree, {"roleRef", "name"})));
    const json::Array* subjects = json::get_array(tree, {"subjects"});
    if (role == roles_.end() || subjects == nullptr) continue;
    std::string why = cat("RBAC: allowed by ", binding->ns().empty() ? "ClusterRoleBinding" : "RoleBinding", " \"", binding->key(), "\" of ",
                          local_role ? "Role" : "ClusterRole", " \"", json::get_string(tree, {"roleRef", "name"}), "\"");
    for (const json::Value& subject : *subjects) {
      std::string_view kind = json::get_string(subject, {"kind"}), name = json::get_string(subject, {"name"});
      std::string key;
      if (kind == "User") key = cat("u:", name);
      else if (kind == "Group") key = cat("g:", name);
      else if (kind == "ServiceAccount") {
        std::string_view ns = json::get_string(subject, {"namespace"});
        key = cat("u:system:serviceaccount:", ns.empty() ? binding->ns() : ns, ':', name);
      }
      by_subject_[key].push_back({std::string(binding->ns()), role->second, why});
    }
  }
}

template <typename F>
void Rbac::each_grant(const UserInfo& user, F on_grant) {
  refresh();
  auto visit = [&](const std::string& key) {
    auto it = by_subject_.find(key);
    if (it == by_subject_.end()) return true;
    for (const Grant& grant : it->second)
      if (!on_grant(grant)) return false;
    return true;
  };
  if (!visit(cat("u:", user.name))) return;
  for (const std::string& group : user.groups)
    if (!visit(cat("g:", group))) return;
}

Decision Rbac::authorize(const Attributes& attributes) {
  Decision decision;
  each_grant(attributes.user, [&](const Grant& grant) {
    if (!grant.ns.empty() && (!attributes.is_resource || grant.ns != attributes.ns)) return true;
    for (const PolicyRule& rule : *grant.rules) {
      if (!rule.allows(attributes)) continue;
      decision = {true, grant.why};
      return false;
    }
    return true;
  });
  return decision;
}

std::vector<PolicyRule> Rbac::rules_of(const UserInfo& user, std::string_view ns) {
  std::vector<PolicyRule> out;
  each_grant(user, [&](const Grant& grant) {
    if (grant.ns.empty() || grant.ns == ns) out.insert(out.end(), grant.rules->begin(), grant.rules->end());
    return true;
  });
  return out;
}

std::vector<PolicyRule> Rbac::rules_of_role(std::string_view kind, std::string_view name, std::string_view ns) {
  refresh();
  auto it = roles_.find(cat(kind == "Role" ? ns : std::string_view(), '/', name));
  return it == roles_.end() ? std::vector<PolicyRule>() : *it->second;
}

bool Rbac::user_covers(const UserInfo& user, std::string_view ns, const std::vector<PolicyRule>& rules, std::string& missing) {
  if (user.in_group("system:masters")) return true;
  std::vector<PolicyRule> own = rules_of(user, ns);
  for (const PolicyRule& wanted : rules) {
    // Broken down to single verb, group and resource: several of the user's rules together may cover one wanted rule.
    for (const std::string& verb : wanted.verbs) {
      std::vector<PolicyRule> parts;
      for (const std::string& path : wanted.paths) parts.push_back({{verb}, {}, {}, {}, {path}});
      for (const std::string& group : wanted.groups)
        for (const std::string& resource : wanted.resources) {
          if (wanted.names.empty()) parts.push_back({{verb}, {group}, {resource}, {}, {}});
          for (const std::string& name : wanted.names) parts.push_back({{verb}, {group}, {resource}, {name}, {}});
        }
      for (const PolicyRule& part : parts) {
        if (std::any_of(own.begin(), own.end(), [&](const PolicyRule& rule) { return rule.covers(part); })) continue;
        if (!missing.empty()) missing += '\n';
        missing += rule_text(part);
      }
    }
  }
  return missing.empty();
}

}  // namespace monopod::api
