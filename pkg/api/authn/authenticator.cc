#include "api/authn/authenticator.h"

#include "api/authn/bootstrap_tokens.h"
#include "api/limits.h"
#include "base/strings.h"
#include "pki/certificate.h"
#include "pki/digest.h"

namespace monopod::api {
namespace {

// One line of a static token file: token,user,uid[,"group1,group2"].
std::vector<std::string> split_csv(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (char c : line) {
    if (c == '"') quoted = !quoted;
    else if (c == ',' && !quoted) out.emplace_back();
    else out.back() += c;
  }
  return out;
}

UserInfo anonymous_user() { return {"system:anonymous", {}, {"system:unauthenticated"}, {}}; }

}  // namespace

Authenticator::Authenticator(const ServerOptions& options, ServiceAccountTokens& tokens, const CacheSet& caches, async::Time& time)
    : anonymous_(options.anonymous), tokens_(tokens), caches_(caches), time_(time) {
  for (std::string_view line : split(options.token_file, '\n')) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    std::vector<std::string> fields = split_csv(line);
    if (fields.size() < 3 || fields[0].empty()) continue;
    UserInfo user{std::string(trim(fields[1])), std::string(trim(fields[2])), {}, {}};
    if (fields.size() > 3)
      for (std::string_view group : split(fields[3], ','))
        if (!trim(group).empty()) user.groups.emplace_back(trim(group));
    user.groups.emplace_back("system:authenticated");
    static_tokens_[pki::sha256(trim(fields[0]))] = std::move(user);
  }
}

Outcome<UserInfo> Authenticator::authenticate_certificate(const std::string& der) {
  WallTime now = time_.wall();
  if (auto it = certificates_.find(der); it != certificates_.end()) {
    if (now > it->second.not_after || now < it->second.not_before) return refuse(unauthorized());
    return it->second.user;
  }
  auto certificate = pki::Certificate::parse_der(der);
  if (!certificate) return refuse(unauthorized());
  auto identity = certificate->identity();
  if (!identity || identity->common_name.empty()) return refuse(unauthorized());
  if (now > identity->not_after || now < identity->not_before) return refuse(unauthorized());
  UserInfo user{identity->common_name, {}, identity->organizations, {}};
  user.groups.emplace_back("system:authenticated");
  user.extra["authentication.kubernetes.io/credential-id"] = {cat("X509SHA256=", certificate->sha256_fingerprint_hex())};
  if (certificates_.size() >= kCredentialsKnownMax) certificates_.clear();
  certificates_[der] = {user, identity->not_before, identity->not_after};
  return user;
}

Outcome<UserInfo> Authenticator::authenticate_token(std::string_view token, const std::vector<std::string>& audiences,
                                                    std::vector<std::string>* matched) {
  if (token.empty() || token.size() > pki::kJwtBytesMax) return refuse(unauthorized());
  const std::string& digest = digest_of(token);
  if (auto it = static_tokens_.find(digest); it != static_tokens_.end()) return it->second;
  if (auto bootstrap = authenticate_bootstrap_token(token, caches_, time_.wall())) return std::move(*bootstrap);
  return tokens_.authenticate(token, digest, audiences, matched);
}

const std::string& Authenticator::digest_of(std::string_view token) {
  if (!pki::equal_in_constant_time(token, last_token_)) {
    last_digest_ = pki::sha256(token);
    last_token_ = token;
  }
  return last_digest_;
}

Outcome<UserInfo> Authenticator::authenticate(const http::Request& request) {
  if (!request.peer.certificates_der.empty()) return authenticate_certificate(request.peer.certificates_der.front());
  if (auto header = request.headers.find("authorization")) {
    std::string_view value = trim(*header);
    if (value.size() > 7 && iequals(value.substr(0, 7), "Bearer ")) return authenticate_token(trim(value.substr(7)), {}, nullptr);
    if (!value.empty()) return refuse(unauthorized());
  }
  // A browser's WebSocket cannot set headers: the token comes as a subprotocol.
  for (std::string_view protocols : request.headers.find_all("sec-websocket-protocol")) {
    for (std::string_view protocol : split(protocols, ',')) {
      constexpr std::string_view kPrefix = "base64url.bearer.authorization.k8s.io.";
      protocol = trim(protocol);
      if (!protocol.starts_with(kPrefix)) continue;
      auto token = parse_base64url(protocol.substr(kPrefix.size()));
      return token ? authenticate_token(*token, {}, nullptr) : refuse(unauthorized());
    }
  }
  if (!anonymous_) return refuse(unauthorized());
  return anonymous_user();
}

}  // namespace monopod::api
