#include "pki/jwt.h"

#include <openssl/core_names.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/openssl.h"

namespace monopod::pki {
namespace {

std::unexpected<Error> refuse(std::string_view why) { return fail(Code::kUnauthenticated, cat("token: ", why)); }

// base64url without padding, and only in its one canonical spelling.
Result<std::string> decode_part(std::string_view part) {
  std::optional<std::string> bytes = parse_base64url(part);
  if (!bytes || format_base64url(*bytes) != part) return refuse("not base64url");
  return std::move(*bytes);
}

Result<json::Object> decode_object(std::string_view part) {
  TRY_ASSIGN(std::string text, decode_part(part));
  Result<json::Value> value = json::parse(text, {.depth_max = 16, .bytes_max = kJwtBytesMax});
  if (!value || !value->is_object()) return refuse("not a JSON object");
  return std::move(value->as_object());
}

std::string number_part(const PublicKey& key, const char* name, int pad) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key.handle(), name, &number) != 1) return {};
  OwnedBignum owned(number);
  int size = pad > 0 ? pad : BN_num_bytes(number);
  std::string out(static_cast<std::size_t>(size), '\0');
  if (BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), size) < 0) return {};
  return format_base64url(out);
}

std::optional<double> find_number(const json::Object& claims, std::string_view name) {
  const json::Value* value = claims.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

}  // namespace

std::string_view algorithm_of(KeyKind kind) {
  switch (kind) {
    case KeyKind::kEcdsaP256: return "ES256";
    case KeyKind::kEd25519: return "EdDSA";
    case KeyKind::kRsa: return "RS256";
  }
  return "";
}

Result<SignedJwt> parse_signed_jwt(std::string_view token) {
  if (token.size() > kJwtBytesMax) return refuse("too large");
  std::vector<std::string_view> parts = split(token, '.');
  if (parts.size() != 3) return refuse("not of three parts");
  TRY_ASSIGN(json::Object header, decode_object(parts[0]));
  SignedJwt out;
  const json::Value* algorithm = header.if_contains("alg");
  if (algorithm == nullptr || !algorithm->is_string()) return refuse("no algorithm");
  if (header.contains("crit")) return refuse("critical header not understood");
  out.token.algorithm = std::string(std::string_view(algorithm->as_string()));
  if (const json::Value* kid = header.if_contains("kid"); kid != nullptr && kid->is_string()) out.token.key_id = std::string(std::string_view(kid->as_string()));
  TRY_ASSIGN(out.token.claims, decode_object(parts[1]));
  TRY_ASSIGN(out.signature, decode_part(parts[2]));
  out.signed_bytes = token.substr(0, parts[0].size() + 1 + parts[1].size());
  return out;
}

Result<std::string> sign_jwt(const PrivateKey& key, const json::Object& claims) {
  json::Object header{{"alg", algorithm_of(key.kind())}, {"kid", key.public_key().key_id()}, {"typ", "JWT"}};
  std::string out = format_base64url(json::format(header)) + '.' + format_base64url(json::format(claims));
  TRY_ASSIGN(std::string signature, sign(key, out));
  return out + '.' + format_base64url(signature);
}

Result<Jwt> verify_jwt(std::string_view token, std::span<const PublicKey> keys) {
  TRY_ASSIGN(SignedJwt parts, parse_signed_jwt(token));
  for (const PublicKey& key : keys) {
    if (algorithm_of(key.kind()) != parts.token.algorithm) continue;
    if (verify(key, parts.signed_bytes, parts.signature)) return std::move(parts.token);
  }
  return refuse("signature does not verify");
}

Result<Jwt> parse_jwt_unverified(std::string_view token) {
  TRY_ASSIGN(SignedJwt parts, parse_signed_jwt(token));
  return std::move(parts.token);
}

Result<> check_times(const Jwt& token, WallTime now, Duration leeway) {
  using Seconds = std::chrono::duration<double>;
  double at = Seconds(now.time_since_epoch()).count();
  double slack = Seconds(leeway).count();
  std::optional<double> expires = find_number(token.claims, "exp");
  if (!expires) return refuse("no expiry");
  if (at - slack >= *expires) return refuse("expired");
  for (std::string_view name : {std::string_view("nbf"), std::string_view("iat")}) {
    if (!token.claims.contains(name)) continue;
    std::optional<double> from = find_number(token.claims, name);
    if (!from || at + slack < *from) return refuse("not valid yet");
  }
  return {};
}

json::Value format_jwks(std::span<const PublicKey> keys) {
  json::Array out;
  for (const PublicKey& key : keys) {
    json::Object one{{"use", "sig"}, {"kid", key.key_id()}, {"alg", algorithm_of(key.kind())}};
    if (key.kind() == KeyKind::kEcdsaP256) {
      one["kty"] = "EC";
      one["crv"] = "P-256";
      one["x"] = number_part(key, OSSL_PKEY_PARAM_EC_PUB_X, 32);
      one["y"] = number_part(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    } else if (key.kind() == KeyKind::kRsa) {
      one["kty"] = "RSA";
      one["n"] = number_part(key, OSSL_PKEY_PARAM_RSA_N, 0);
      one["e"] = number_part(key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else {
      std::string raw(32, '\0');
      std::size_t size = raw.size();
      EVP_PKEY_get_raw_public_key(key.handle(), reinterpret_cast<unsigned char*>(raw.data()), &size);
      one["kty"] = "OKP";
      one["crv"] = "Ed25519";
      one["x"] = format_base64url(raw);
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace monopod::pki
