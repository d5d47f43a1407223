// Keys that others publish to verify their tokens by (JSON Web Key Set, RFC 7517): ECDSA P-256, Ed25519 and RSA.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/jwt.h"

namespace monopod::pki {

inline constexpr std::size_t kJwksBytesMax = 256U << 10;
inline constexpr std::size_t kJwksKeysMax = 100;

struct VerificationKey {
  PublicKey key;
  std::string id;         // "kid"; empty: it may have signed any token
  std::string algorithm;  // ES256, EdDSA, RS256 or PS256; empty: any that its kind can
};

// Keys of kinds that are not known, and those for encryption, are passed over. kInvalidArgument: no set, or nothing of use in it.
Result<std::vector<VerificationKey>> parse_jwks(std::string_view json);

// As verify_jwt() of keys alone, with PS256 besides: of the keys that have the token's "kid", or none.
Result<Jwt> verify_with_jwks(std::string_view token, std::span<const VerificationKey> keys);

}  // namespace monopod::pki
