#include "api/authn/bootstrap_tokens.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGroup = "system:bootstrappers";

bool is_plain(std::string_view text, std::string_view more = {}) {
  return std::ranges::all_of(text, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || more.find(c) != std::string_view::npos; });
}

std::string datum(const json::Value& secret, std::string_view key) { return parse_base64(json::get_string(secret, {"data", key})).value_or(std::string()); }

// system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]
bool is_extra_group(std::string_view group) {
  constexpr std::string_view kPrefix = "system:bootstrappers:";
  if (!group.starts_with(kPrefix)) return false;
  std::string_view rest = group.substr(kPrefix.size());
  return !rest.empty() && rest.size() <= 256 && is_plain(rest, ":-") && is_plain(rest.substr(rest.size() - 1));
}

// nullopt: it does not hold.
std::optional<UserInfo> user_of(const json::Value& secret, std::string_view id, std::string_view token_secret, WallTime now) {
  if (json::get_string(secret, {"type"}) != "bootstrap.kubernetes.io/token" || json::find(secret, {"metadata", "deletionTimestamp"}) != nullptr) return std::nullopt;
  if (datum(secret, "token-id") != id || !pki::equal_in_constant_time(datum(secret, "token-secret"), token_secret)) return std::nullopt;
  if (std::string expiration = datum(secret, "expiration"); !expiration.empty()) {
    auto end = parse_rfc3339(expiration);
    if (!end || now >= *end) return std::nullopt;
  }
  if (datum(secret, "usage-bootstrap-authentication") != "true") return std::nullopt;
  UserInfo user{cat("system:bootstrap:", id), {}, {std::string(kGroup)}, {}};
  std::string extra = datum(secret, "auth-extra-groups");
  for (std::string_view group : split(std::string_view(extra), ',')) {
    if (trim(group).empty()) continue;
    if (!is_extra_group(trim(group))) return std::nullopt;
    user.groups.emplace_back(trim(group));
  }
  user.groups.emplace_back("system:authenticated");
  return user;
}

}  // namespace

std::optional<Outcome<UserInfo>> authenticate_bootstrap_token(std::string_view token, const CacheSet& caches, WallTime now) {
  if (token.size() != 23 || token[6] != '.' || !is_plain(token.substr(0, 6)) || !is_plain(token.substr(7))) return std::nullopt;
  WatchCache* secrets = caches.find("", "secrets");
  ObjectPtr secret = secrets == nullptr ? nullptr : secrets->find(cat("kube-system/bootstrap-token-", token.substr(0, 6)));
  std::optional<UserInfo> user = secret ? user_of(secret->tree(), token.substr(0, 6), token.substr(7), now) : std::nullopt;
  if (!user) return Outcome<UserInfo>(refuse(unauthorized()));
  return Outcome<UserInfo>(std::move(*user));
}

}  // namespace monopod::api
