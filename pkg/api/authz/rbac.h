// RBAC over the cached roles and bindings. Bindings are indexed by subject; the index is rebuilt when one of the four
// resources changed since the last question.
#pragma once

#include "api/authz/attributes.h"
#include "api/cache/cache_set.h"

namespace monopod::api {

struct PolicyRule {
  std::vector<std::string> verbs, groups, resources, names, paths;

  bool allows(const Attributes& attributes) const;
  // Everything `other` may do, this rule may do.
  bool covers(const PolicyRule& other) const;
};

PolicyRule parse_rule(const json::Value& rule);
json::Value format_rule(const PolicyRule& rule);

class Rbac {
 public:
  explicit Rbac(CacheSet& caches) : caches_(caches) {}

  Decision authorize(const Attributes& attributes);
  // All rules that hold for the user in the namespace (empty: cluster-wide ones only).
  std::vector<PolicyRule> rules_of(const UserInfo& user, std::string_view ns);
  // The rules of a role that a binding in `ns` names; empty where it does not exist.
  std::vector<PolicyRule> rules_of_role(std::string_view kind, std::string_view name, std::string_view ns);
  // May the user hand out these rules? False names the first missing one.
  bool user_covers(const UserInfo& user, std::string_view ns, const std::vector<PolicyRule>& rules, std::string& missing);

 private:
  struct Grant {
    std::string ns;  // empty: everywhere
    std::shared_ptr<const std::vector<PolicyRule>> rules;
    std::string why;
  };
  void refresh();
  void add_bindings(WatchCache* cache);
  template <typename F>
  void each_grant(const UserInfo& user, F on_grant);

  CacheSet& caches_;
  std::uint64_t seen_ = 0;
  std::map<std::string, std::vector<Grant>, std::less<>> by_subject_;  // "u:name", "g:name"
  std::map<std::string, std::shared_ptr<const std::vector<PolicyRule>>, std::less<>> roles_;  // "ns/name", "/name"
};

}  // namespace monopod::api
