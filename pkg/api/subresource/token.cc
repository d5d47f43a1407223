// serviceaccounts/token: TokenRequest.
#include <algorithm>

#include "api/authz/authorizer.h"
#include "api/subresource/subresource.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

class Token final : public SubresourceHandler {
 public:
  Token(Registry& registry, ServiceAccountTokens& tokens) : registry_(registry), tokens_(tokens) {}
  std::string_view name() const override { return "token"; }
  std::string_view plural() const override { return "serviceaccounts"; }

  async::Task<Outcome<SubresourceAnswer>> create(Call& call, json::Value body) override {
    std::string_view name = json::get_string(body, {"metadata", "name"}), ns = json::get_string(body, {"metadata", "namespace"});
    if (!name.empty() && name != call.name)
      co_return refuse(bad_request(cat("metadata.name: Invalid value: \"", name, "\": must match the service account name")));
    if (!ns.empty() && ns != call.ns) co_return refuse(bad_request("metadata.namespace must match the service account namespace"));
    TokenSpec spec{call.ns, call.name, {}, json::get_int(body, {"spec", "expirationSeconds"}, 3600),
                   std::string(json::get_string(body, {"spec", "boundObjectRef", "kind"})),
                   std::string(json::get_string(body, {"spec", "boundObjectRef", "name"})),
                   std::string(json::get_string(body, {"spec", "boundObjectRef", "uid"}))};
    if (const json::Array* list = json::get_array(body, {"spec", "audiences"}))
      for (const json::Value& item : *list)
        if (item.is_string()) spec.audiences.emplace_back(item.get_string());
    if (spec.seconds < 600)
      co_return refuse(invalid("authentication.k8s.io", "TokenRequest", "",
                               {{"FieldValueInvalid", cat("Invalid value: ", spec.seconds, ": may not specify a duration less than 10 minutes"),
                                 "spec.expirationSeconds"}}));
    if (spec.seconds > (std::int64_t{1} << 32))
      co_return refuse(invalid("authentication.k8s.io", "TokenRequest", "",
                               {{"FieldValueInvalid", cat("Invalid value: ", spec.seconds, ": may not specify a duration larger than 2^32 seconds"),
                                 "spec.expirationSeconds"}}));
    CO_OUT(co_await registry_.caches().fresh());
    CO_OUT(check_node(call, spec));
    CO_OUT_ASSIGN(IssuedToken issued, tokens_.issue(spec));
    body.as_object()["kind"] = "TokenRequest";
    body.as_object()["apiVersion"] = "authentication.k8s.io/v1";
    json::at_path(body, {"metadata", "name"}) = call.name;
    json::at_path(body, {"metadata", "namespace"}) = call.ns;
    json::at_path(body, {"metadata", "creationTimestamp"}) = format_rfc3339(registry_.time().wall());
    json::Array audiences;
    for (const std::string& audience : issued.audiences) audiences.emplace_back(audience);
    json::at_path(body, {"spec", "audiences"}) = std::move(audiences);
    json::at_path(body, {"spec", "expirationSeconds"}) = spec.seconds;
    json::at_path(body, {"status", "token"}) = issued.token;
    json::at_path(body, {"status", "expirationTimestamp"}) = format_rfc3339(issued.expires);
    co_return SubresourceAnswer{201, std::move(body)};
  }

 private:
  // NodeRestriction: a kubelet gets tokens that end with a pod of its own.
  Outcome<void> check_node(const Call& call, const TokenSpec& spec) const {
    std::string node = node_of(call.user);
    if (node.empty()) return {};
    auto deny = [&call](std::string why) { return refuse(forbidden({"", "serviceaccounts"}, call.name, why)); };
    if (spec.bound_kind != "Pod") return deny("node requested token not bound to a pod");
    if (spec.bound_uid.empty()) return deny("node requested token with a pod binding without a uid");
    WatchCache* pods = registry_.caches().find("", "pods");
    ObjectPtr pod = pods == nullptr ? nullptr : pods->find(cat(call.ns, '/', spec.bound_name));
    if (!pod || pod->uid() != spec.bound_uid) return deny(cat("pod \"", spec.bound_name, "\" with uid \"", spec.bound_uid, "\" not found"));
    if (pod->field("spec.nodeName") != node) return deny("node requested token bound to a pod scheduled on a different node");
    return {};
  }

  Registry& registry_;
  ServiceAccountTokens& tokens_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_token(Registry& registry, ServiceAccountTokens& tokens) {
  return std::make_unique<Token>(registry, tokens);
}

}  // namespace monopod::api
