// Service-account tokens (KEP-1205, TokenRequest): signed here, checked here. A token is as alive as the objects it is bound to.
#pragma once

#include "api/cache/cache_set.h"
#include "api/server.h"
#include "api/status.h"
#include "pki/jwt.h"

namespace monopod::api {

struct TokenSpec {
  std::string ns, name;                 // of the service account
  std::vector<std::string> audiences;   // empty: the server's own
  std::int64_t seconds = 3600;
  std::string bound_kind, bound_name, bound_uid;  // Pod, Secret or Node; empty: bound to the account alone
};

struct IssuedToken {
  std::string token;
  WallTime expires;
  std::vector<std::string> audiences;
};

class ServiceAccountTokens {
 public:
  // caches, time and rng outlive it.
  ServiceAccountTokens(pki::PrivateKey key, const ServerOptions& options, CacheSet& caches, async::Time& time, Rng& rng);

  // 404 unknown account, 409 where the bound object has another uid.
  Outcome<IssuedToken> issue(const TokenSpec& spec);
  // 401 for every reason. audiences: at least one must be in the token; empty: the server's own.
  // digest: the token's SHA-256.
  Outcome<UserInfo> authenticate(std::string_view token, const std::string& digest, const std::vector<std::string>& audiences, std::vector<std::string>* matched);
  // Claims look like ours: a token of another kind may be tried elsewhere.
  bool is_ours(std::string_view token) const;

  json::Value jwks() const;
  const std::string& issuer() const { return issuer_; }

 private:
  // The claims of a token whose signature holds; null otherwise. Signatures are checked once for each token.
  const pki::Jwt* verified(std::string_view token, const std::string& digest);

  pki::PrivateKey key_;
  pki::PublicKey public_key_;
  std::string issuer_;
  std::vector<std::string> audiences_;
  CacheSet& caches_;
  async::Time& time_;
  Rng& rng_;
  std::map<std::string, pki::Jwt, std::less<>> verified_;  // by SHA-256 of the token
};

}  // namespace monopod::api
