// Tokens that stand for a user after Authenticate: etcd's --auth-token.
//
//   simple                      random, in memory: lost at a restart, forgotten with the user's password; each use prolongs it
//   jwt,sign-method=ES256,priv-key=FILE[,pub-key=FILE][,ttl=10m]
//                               signed (RS256, ES256 or EdDSA), carries the auth revision; with pub-key alone it is only verified
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/time.h"
#include "base/error.h"

namespace monopod::etcd {

inline constexpr std::chrono::seconds kTokenTtl{300};         // etcd's
inline constexpr std::size_t kSimpleTokensMax = 10'000;       // the oldest makes room; making one costs a password check
inline constexpr std::chrono::hours kTokenTtlMax{24 * 365};

struct TokenOptions {
  enum class Kind { kSimple, kJwt };
  Kind kind = Kind::kSimple;
  std::chrono::seconds ttl = kTokenTtl;
  std::string sign_method{};
  std::string private_key_pem{};
  std::string public_key_pem{};
};

// spec: as above. read_file gives a file's bytes. kInvalidArgument names what is wrong or unsupported.
Result<TokenOptions> parse_token_options(std::string_view spec, const std::function<Result<std::string>(const std::string& path)>& read_file);

// Who a request comes from. revision 0: nobody has said.
struct Identity {
  std::string user{};
  std::uint64_t revision = 0;  // auth revision that the permissions to be used belong to
};

class TokenProvider {
 public:
  virtual ~TokenProvider() = default;
  virtual Result<std::string> assign(const std::string& user, std::uint64_t revision) = 0;
  // nullopt: not ours, expired, forged. current: the auth revision now.
  virtual std::optional<Identity> find(std::string_view token, std::uint64_t current) = 0;
  virtual void forget_user(std::string_view user) = 0;
  virtual void forget_all() = 0;
};

// time outlives the provider.
Result<std::unique_ptr<TokenProvider>> make_tokens(const TokenOptions& options, async::Time& time);

}  // namespace monopod::etcd
