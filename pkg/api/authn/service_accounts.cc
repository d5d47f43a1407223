#include "api/authn/service_accounts.h"

#include <algorithm>

#include "api/limits.h"
#include "base/strings.h"
#include "pki/digest.h"

namespace monopod::api {
namespace {

constexpr std::string_view kUserPrefix = "system:serviceaccount:";

std::int64_t unix_seconds(WallTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

std::vector<std::string> audiences_of(const json::Object& claims) {
  std::vector<std::string> out;
  auto it = claims.find("aud");
  if (it == claims.end()) return out;
  if (it->value().is_string()) out.emplace_back(it->value().get_string());
  if (it->value().is_array())
    for (const json::Value& item : it->value().get_array())
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

std::string_view plural_of(std::string_view kind) {
  if (kind == "Pod") return "pods";
  if (kind == "Secret") return "secrets";
  if (kind == "Node") return "nodes";
  return {};
}

std::string lower_kind(std::string_view kind) { return to_lower(kind); }

}  // namespace

ServiceAccountTokens::ServiceAccountTokens(pki::PrivateKey key, const ServerOptions& options, CacheSet& caches, async::Time& time, Rng& rng)
    : key_(std::move(key)), public_key_(key_.public_key()), issuer_(options.issuer), audiences_(options.audiences), caches_(caches),
      time_(time), rng_(rng) {
  if (audiences_.empty()) audiences_.push_back(issuer_);
}

Outcome<IssuedToken> ServiceAccountTokens::issue(const TokenSpec& spec) {
  WatchCache* accounts = caches_.find("", "serviceaccounts");
  ObjectPtr account = accounts ? accounts->find(cat(spec.ns, '/', spec.name)) : nullptr;
  if (!account) return refuse(not_found({"", "serviceaccounts"}, spec.name));
  json::Object kubernetes{{"namespace", spec.ns}, {"serviceaccount", json::Object{{"name", spec.name}, {"uid", account->uid()}}}};
  if (!spec.bound_kind.empty()) {
    std::string_view plural = plural_of(spec.bound_kind);
    if (plural.empty())
      return refuse(bad_request(cat("cannot bind token for serviceaccount \"", spec.name, "\" to object type Kind=", spec.bound_kind)));
    WatchCache* cache = caches_.find("", plural);
    bool cluster = plural == "nodes";
    ObjectPtr bound = cache ? cache->find(cluster ? spec.bound_name : cat(spec.ns, '/', spec.bound_name)) : nullptr;
    if (!bound) return refuse(not_found({"", plural}, spec.bound_name));
    if (!spec.bound_uid.empty() && spec.bound_uid != bound->uid())
      return refuse(conflict({"", plural}, spec.bound_name,
                             cat("the UID in the bound object reference (", spec.bound_uid, ") does not match the UID in record. The object might have been deleted and then recreated")));
    kubernetes[lower_kind(spec.bound_kind)] = json::Object{{"name", spec.bound_name}, {"uid", bound->uid()}};
    if (plural == "pods") {
      std::string node(bound->field("spec.nodeName"));
      WatchCache* nodes = caches_.find("", "nodes");
      if (ObjectPtr found = nodes && !node.empty() ? nodes->find(node) : nullptr)
        kubernetes["node"] = json::Object{{"name", node}, {"uid", found->uid()}};
    }
  }
  IssuedToken out;
  out.audiences = spec.audiences.empty() ? audiences_ : spec.audiences;
  WallTime now = time_.wall();
  out.expires = now + std::chrono::seconds(spec.seconds);
  json::Array audiences;
  for (const std::string& audience : out.audiences) audiences.emplace_back(audience);
  json::Object claims{{"iss", issuer_},
                      {"sub", cat(kUserPrefix, spec.ns, ':', spec.name)},
                      {"aud", std::move(audiences)},
                      {"iat", unix_seconds(now)},
                      {"nbf", unix_seconds(now)},
                      {"exp", unix_seconds(out.expires)},
                      {"jti", rng_.uuid()},
                      {"kubernetes.io", std::move(kubernetes)}};
  auto token = pki::sign_jwt(key_, claims);
  if (!token) return refuse(internal(token.error().message()));
  out.token = std::move(*token);
  return out;
}

bool ServiceAccountTokens::is_ours(std::string_view token) const {
  auto parsed = pki::parse_jwt_unverified(token);
  if (!parsed) return false;
  auto it = parsed->claims.find("iss");
  return it != parsed->claims.end() && it->value().is_string() && std::string_view(it->value().get_string()) == issuer_;
}

Outcome<UserInfo> ServiceAccountTokens::authenticate(std::string_view token, const std::string& digest, const std::vector<std::string>& audiences,
                                                     std::vector<std::string>* matched) {
  const pki::Jwt* parsed = verified(token, digest);
  if (parsed == nullptr || !pki::check_times(*parsed, time_.wall())) return refuse(unauthorized());
  json::Value claims(parsed->claims);
  if (json::get_string(claims, {"iss"}) != issuer_) return refuse(unauthorized());
  const std::vector<std::string>& wanted = audiences.empty() ? audiences_ : audiences;
  std::vector<std::string> shared;
  for (const std::string& audience : audiences_of(parsed->claims))
    if (std::find(wanted.begin(), wanted.end(), audience) != wanted.end()) shared.push_back(audience);
  if (shared.empty()) return refuse(unauthorized());

  std::string ns(json::get_string(claims, {"kubernetes.io", "namespace"}));
  std::string name(json::get_string(claims, {"kubernetes.io", "serviceaccount", "name"}));
  std::string uid(json::get_string(claims, {"kubernetes.io", "serviceaccount", "uid"}));
  WatchCache* accounts = caches_.find("", "serviceaccounts");
  ObjectPtr account = accounts ? accounts->find(cat(ns, '/', name)) : nullptr;
  if (!account || account->uid() != uid || json::get_string(claims, {"sub"}) != cat(kUserPrefix, ns, ':', name)) return refuse(unauthorized());

  UserInfo user;
  user.name = cat(kUserPrefix, ns, ':', name);
  user.uid = uid;
  user.groups = {"system:serviceaccounts", cat("system:serviceaccounts:", ns), "system:authenticated"};
  for (std::string_view kind : {"pod", "secret"}) {
    const json::Value* bound = json::find(claims, {"kubernetes.io", kind});
    if (bound == nullptr) continue;
    WatchCache* cache = caches_.find("", cat(kind, 's'));
    std::string bound_name(json::get_string(*bound, {"name"})), bound_uid(json::get_string(*bound, {"uid"}));
    ObjectPtr object = cache ? cache->find(cat(ns, '/', bound_name)) : nullptr;
    if (!object || object->uid() != bound_uid) return refuse(unauthorized());
    if (kind == "pod") {
      user.extra["authentication.kubernetes.io/pod-name"] = {bound_name};
      user.extra["authentication.kubernetes.io/pod-uid"] = {bound_uid};
    }
  }
  if (const json::Value* node = json::find(claims, {"kubernetes.io", "node"})) {
    user.extra["authentication.kubernetes.io/node-name"] = {std::string(json::get_string(*node, {"name"}))};
    user.extra["authentication.kubernetes.io/node-uid"] = {std::string(json::get_string(*node, {"uid"}))};
  }
  if (std::string_view id = json::get_string(claims, {"jti"}); !id.empty())
    user.extra["authentication.kubernetes.io/credential-id"] = {cat("JTI=", id)};
  if (matched) *matched = std::move(shared);
  return user;
}

const pki::Jwt* ServiceAccountTokens::verified(std::string_view token, const std::string& digest) {
  if (auto it = verified_.find(digest); it != verified_.end()) return &it->second;
  auto parsed = pki::verify_jwt(token, {&public_key_, 1});
  if (!parsed) return nullptr;
  if (verified_.size() >= kCredentialsKnownMax) verified_.clear();
  return &verified_.emplace(digest, std::move(*parsed)).first->second;
}

json::Value ServiceAccountTokens::jwks() const { return pki::format_jwks({&public_key_, 1}); }

}  // namespace monopod::api
