// authentication.k8s.io and authorization.k8s.io: questions about identities and permissions, answered in status.
#include <algorithm>

#include "api/serve/operations.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

json::Array array_of(const std::vector<std::string>& list) {
  json::Array out;
  for (const std::string& item : list) out.emplace_back(item);
  return out;
}

std::vector<std::string> texts(const json::Value& root, std::initializer_list<std::string_view> path) {
  std::vector<std::string> out;
  if (const json::Array* list = json::get_array(root, path))
    for (const json::Value& item : *list)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

json::Object user_object(const UserInfo& user) {
  json::Object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  out["groups"] = array_of(user.groups);
  if (!user.extra.empty()) {
    json::Object extra;
    for (const auto& [key, values] : user.extra) extra[key] = array_of(values);
    out["extra"] = std::move(extra);
  }
  return out;
}

// spec.resourceAttributes or spec.nonResourceAttributes.
Outcome<Attributes> attributes_in(const json::Value& spec, UserInfo user) {
  Attributes out;
  out.user = std::move(user);
  const json::Value* resource = json::find(spec, {"resourceAttributes"});
  const json::Value* path = json::find(spec, {"nonResourceAttributes"});
  if ((resource == nullptr) == (path == nullptr))
    return refuse(bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  if (path != nullptr) {
    out.is_resource = false;
    out.path = json::get_string(*path, {"path"});
    out.verb = json::get_string(*path, {"verb"});
    return out;
  }
  out.ns = json::get_string(*resource, {"namespace"});
  out.verb = json::get_string(*resource, {"verb"});
  out.group = json::get_string(*resource, {"group"});
  out.version = json::get_string(*resource, {"version"});
  out.resource = json::get_string(*resource, {"resource"});
  out.subresource = json::get_string(*resource, {"subresource"});
  out.name = json::get_string(*resource, {"name"});
  return out;
}

UserInfo user_in(const json::Value& spec) {
  UserInfo user;
  user.name = json::get_string(spec, {"user"});
  user.uid = json::get_string(spec, {"uid"});
  user.groups = texts(spec, {"groups"});
  return user;
}

void set_decision(json::Value& body, const Decision& decision) {
  json::Object status{{"allowed", decision.allowed}};
  if (!decision.reason.empty()) status["reason"] = decision.reason;
  body.as_object()["status"] = std::move(status);
}

json::Value rules_review(json::Value body, const std::vector<PolicyRule>& rules) {
  json::Array resource, path;
  for (const PolicyRule& rule : rules) (rule.paths.empty() ? resource : path).push_back(format_rule(rule));
  body.as_object()["status"] =
      json::Object{{"resourceRules", std::move(resource)}, {"nonResourceRules", std::move(path)}, {"incomplete", false}};
  return body;
}

json::Value token_review(json::Value body, Authenticator& authenticator) {
  std::string token(json::get_string(body, {"spec", "token"}));
  std::vector<std::string> matched;
  Outcome<UserInfo> user = authenticator.authenticate_token(token, texts(body, {"spec", "audiences"}), &matched);
  json::Object status;
  if (user) {
    status["authenticated"] = true;
    status["user"] = user_object(*user);
    if (!matched.empty()) status["audiences"] = array_of(matched);
  } else {
    status["user"] = json::Object();
    status["error"] = "invalid bearer token";
  }
  body.as_object()["status"] = std::move(status);
  return body;
}

}  // namespace

bool is_review(const Resource& resource) {
  if (resource.group() == "authentication.k8s.io") return true;
  return resource.group() == "authorization.k8s.io";
}

async::Task<Outcome<json::Value>> answer_review(Call& call, json::Value body, Authenticator& authenticator, Authorizer& authorizer,
                                                Registry& registry) {
  CO_OUT(co_await registry.caches().fresh());
  std::string_view kind = call.resource->kind();
  body.as_object()["kind"] = kind;
  body.as_object()["apiVersion"] = call.resource->group_version();
  if (json::find(body, {"metadata"}) == nullptr) body.as_object()["metadata"] = json::Object();
  const json::Value empty = json::Object();
  const json::Value* spec = json::find(body, {"spec"});
  if (spec == nullptr) spec = &empty;

  if (kind == "SelfSubjectReview") {
    json::at_path(body, {"metadata", "creationTimestamp"}) = format_rfc3339(registry.time().wall());
    body.as_object()["status"] = json::Object{{"userInfo", user_object(call.user)}};
    co_return body;
  }
  if (kind == "TokenReview") {
    if (json::get_string(*spec, {"token"}).empty()) co_return refuse(bad_request("token is required for TokenReview in authentication"));
    co_return token_review(std::move(body), authenticator);
  }
  if (kind == "SelfSubjectRulesReview") {
    std::string ns(json::get_string(*spec, {"namespace"}));
    if (ns.empty()) co_return refuse(bad_request("no namespace on request"));
    std::vector<PolicyRule> rules = authorizer.rbac().rules_of(call.user, ns);
    if (call.user.in_group("system:masters")) {
      rules.insert(rules.begin(), PolicyRule{{"*"}, {"*"}, {"*"}, {}, {}});
      rules.push_back(PolicyRule{{"*"}, {}, {}, {}, {"*"}});
    }
    co_return rules_review(std::move(body), rules);
  }
  bool self = kind == "SelfSubjectAccessReview";
  UserInfo user = self ? call.user : user_in(*spec);
  if (!self && user.name.empty() && user.groups.empty())
    co_return refuse(invalid(call.resource->group(), kind, "", {{"FieldValueInvalid", "Invalid value: \"\": at least one of user or group must be specified", "spec.user"}}));
  Outcome<Attributes> attributes = attributes_in(*spec, std::move(user));
  CO_OUT(attributes);
  if (kind == "LocalSubjectAccessReview" && attributes->ns != call.ns)
    co_return refuse(bad_request(cat("spec.resourceAttributes.namespace must match namespace: ", call.ns)));
  set_decision(body, authorizer.authorize(*attributes));
  co_return body;
}

}  // namespace monopod::api
