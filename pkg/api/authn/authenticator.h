// Who sent a request: client certificate (verified by the TLS layer), bearer token (static file, bootstrap token, service account), or anonymous.
// Headers that claim an identity (X-Remote-*) are never read.
#pragma once

#include "api/authn/service_accounts.h"
#include "http/exchange.h"

namespace monopod::api {

class Authenticator {
 public:
  Authenticator(const ServerOptions& options, ServiceAccountTokens& tokens, const CacheSet& caches, async::Time& time);

  // 401 for credentials that do not hold; never falls back to anonymous from bad ones.
  Outcome<UserInfo> authenticate(const http::Request& request);
  // A token alone (TokenReview). audiences empty: the server's own.
  Outcome<UserInfo> authenticate_token(std::string_view token, const std::vector<std::string>& audiences, std::vector<std::string>* matched);

 private:
  Outcome<UserInfo> authenticate_certificate(const std::string& der);

  const std::string& digest_of(std::string_view token);

  struct KnownCertificate {
    UserInfo user;
    WallTime not_before, not_after;
  };
  bool anonymous_;
  ServiceAccountTokens& tokens_;
  const CacheSet& caches_;
  async::Time& time_;
  std::map<std::string, KnownCertificate, std::less<>> certificates_;  // by DER: parsed once, times are checked each time
  std::map<std::string, UserInfo, std::less<>> static_tokens_;  // by SHA-256 of the token: no timing oracle over the text
  std::string last_token_, last_digest_;                        // who asks often is not hashed each time
};

}  // namespace monopod::api
