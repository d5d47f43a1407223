// Nobody hands out what he does not have: writing a role asks for all its rules (or the verb escalate), writing a binding for
// all rules of its role (or the verb bind).
#include "api/admission/plugins.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

class RbacEscalation final : public AdmissionPlugin {
 public:
  explicit RbacEscalation(Authorizer& authorizer) : authorizer_(authorizer) {}
  std::string_view name() const override { return "RbacEscalation"; }

  bool handles(const AdmissionRequest& request) const override {
    return request.resource.group() == kGroup && request.object != nullptr && !request.user.in_group("system:masters");
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override {
    bool role = request.resource.plural() == "roles" || request.resource.plural() == "clusterroles";
    co_return role ? check_role(request) : check_binding(request);
  }

 private:
  bool may(const AdmissionRequest& request, std::string_view verb, std::string_view resource, std::string_view name) {
    Attributes attributes;
    attributes.user = request.user;
    attributes.verb = verb;
    attributes.group = kGroup;
    attributes.version = "v1";
    attributes.resource = resource;
    attributes.ns = request.ns;
    attributes.name = name;
    return authorizer_.authorize(attributes).allowed;
  }

  Outcome<> check_rules(const AdmissionRequest& request, const std::vector<PolicyRule>& rules) {
    std::string missing;
    if (authorizer_.rbac().user_covers(request.user, request.ns, rules, missing)) return {};
    std::vector<std::string> quoted;
    for (const std::string& group : request.user.groups) quoted.push_back(cat('"', group, '"'));
    return refuse(forbidden(request.ref(), request.name,
                            cat("user \"", request.user.name, "\" (groups=[", join(quoted, " "),
                                "]) is attempting to grant RBAC permissions not currently held:\n", missing)));
  }

  Outcome<> check_role(const AdmissionRequest& request) {
    const json::Value* now = json::find(*request.object, {"rules"});
    const json::Value* before = request.old ? json::find(*request.old, {"rules"}) : nullptr;
    bool aggregates = json::find(*request.object, {"aggregationRule"}) != nullptr;
    bool aggregated_before = request.old && json::find(*request.old, {"aggregationRule"}) != nullptr;
    if (before != nullptr && now != nullptr && *before == *now && aggregates == aggregated_before) return {};
    if (may(request, "escalate", request.resource.plural(), request.name)) return {};
    std::vector<PolicyRule> rules;
    if (now != nullptr && now->is_array())
      for (const json::Value& rule : now->get_array()) rules.push_back(parse_rule(rule));
    if (aggregates) {  // may become anything
      rules.push_back({{"*"}, {"*"}, {"*"}, {}, {}});
      rules.push_back({{"*"}, {}, {}, {}, {"*"}});
    }
    return check_rules(request, rules);
  }

  Outcome<> check_binding(const AdmissionRequest& request) {
    if (request.old != nullptr) {
      const json::Value* now = json::find(*request.object, {"subjects"});
      const json::Value* before = json::find(*request.old, {"subjects"});
      if (now != nullptr && before != nullptr && *now == *before) return {};
    }
    std::string_view kind = json::get_string(*request.object, {"roleRef", "kind"}), role = json::get_string(*request.object, {"roleRef", "name"});
    if (may(request, "bind", kind == "Role" ? "roles" : "clusterroles", role)) return {};
    std::vector<PolicyRule> rules = authorizer_.rbac().rules_of_role(kind, role, request.ns);
    if (rules.empty())
      return refuse(not_found({kGroup, kind == "Role" ? "roles" : "clusterroles"}, role));
    return check_rules(request, rules);
  }

  Authorizer& authorizer_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_rbac_escalation(const AdmissionParts& parts) { return std::make_unique<RbacEscalation>(parts.authorizer); }

}  // namespace monopod::api
