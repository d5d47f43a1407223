// JSON Web Tokens, compact form (RFC 7519, 7515, 7518): ES256, RS256 and EdDSA. Strict: the algorithm in the header must be
// the one of the key, "none" does not exist here, `crit` is refused, base64url is canonical, sizes are bounded.
// What the claims mean (exp, aud, ...) is checked by check_times() and the caller.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "codec/json.h"
#include "pki/key.h"

namespace monopod::pki {

inline constexpr std::size_t kJwtBytesMax = 16U << 10;

struct Jwt {
  std::string algorithm;
  std::string key_id;  // "kid", empty where absent; a hint, never a path
  json::Object claims;
};

// Header {"alg","kid","typ":"JWT"}; kid is key.public_key().key_id().
Result<std::string> sign_jwt(const PrivateKey& key, const json::Object& claims);

// kUnauthenticated for every reason; texts never hold the token.
Result<Jwt> verify_jwt(std::string_view token, std::span<const PublicKey> keys);
// A token taken apart. signed_bytes is a view of it.
struct SignedJwt {
  Jwt token;
  std::string_view signed_bytes;
  std::string signature;
};
Result<SignedJwt> parse_signed_jwt(std::string_view token);
// The algorithm that sign_jwt() uses with keys of a kind.
std::string_view algorithm_of(KeyKind kind);
// Header and claims without a check of the signature: only to choose the issuer.
Result<Jwt> parse_jwt_unverified(std::string_view token);
// exp must lie after now, nbf and iat before it, with leeway. A token without exp is refused.
Result<> check_times(const Jwt& token, WallTime now, Duration leeway = std::chrono::seconds(10));

// The "keys" member of a JSON Web Key Set (RFC 7517) for these keys: {"kty","crv","x","y","alg","use","kid"} or RSA's {"n","e"}.
json::Value format_jwks(std::span<const PublicKey> keys);

}  // namespace monopod::pki
