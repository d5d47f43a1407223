#include "pki/jwks.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/openssl.h"

namespace monopod::pki {
namespace {

using OwnedBuilder = Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using OwnedParams = Owned<OSSL_PARAM, OSSL_PARAM_free>;
using OwnedKeyContext = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

std::string_view text_of(const json::Object& key, std::string_view name) {
  const json::Value* value = key.if_contains(name);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

std::string bytes_of(const json::Object& key, std::string_view name) { return parse_base64url(text_of(key, name)).value_or(""); }

OwnedKey from_params(const char* kind, OSSL_PARAM_BLD* builder) {
  OwnedParams params(OSSL_PARAM_BLD_to_param(builder));
  OwnedKeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* made = nullptr;
  if (params && context && EVP_PKEY_fromdata_init(context.get()) == 1) EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, params.get());
  return OwnedKey(made);
}

OwnedKey make_ec(const json::Object& key) {
  std::string x = bytes_of(key, "x"), y = bytes_of(key, "y");
  if (text_of(key, "crv") != "P-256" || x.size() != 32 || y.size() != 32) return nullptr;
  std::string point = cat("\x04", x, y);
  OwnedBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return from_params("EC", builder.get());
}

OwnedKey make_rsa(const json::Object& key) {
  std::string n = bytes_of(key, "n"), e = bytes_of(key, "e");
  if (n.size() < 256 || n.size() > 1024 || e.empty() || e.size() > 8) return nullptr;
  OwnedBignum modulus(BN_bin2bn(reinterpret_cast<const unsigned char*>(n.data()), static_cast<int>(n.size()), nullptr));
  OwnedBignum exponent(BN_bin2bn(reinterpret_cast<const unsigned char*>(e.data()), static_cast<int>(e.size()), nullptr));
  OwnedBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  return from_params("RSA", builder.get());
}

OwnedKey make_ed25519(const json::Object& key) {
  std::string x = bytes_of(key, "x");
  if (text_of(key, "crv") != "Ed25519" || x.size() != 32) return nullptr;
  return OwnedKey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(x.data()), x.size()));
}

std::optional<VerificationKey> parse_key(const json::Object& from) {
  std::string_view use = text_of(from, "use"), kind = text_of(from, "kty"), algorithm = text_of(from, "alg");
  if (!use.empty() && use != "sig") return std::nullopt;
  OwnedKey key = kind == "EC" ? make_ec(from) : kind == "RSA" ? make_rsa(from) : kind == "OKP" ? make_ed25519(from) : nullptr;
  ERR_clear_error();
  if (!key) return std::nullopt;
  OwnedBio bio = make_bio();
  PEM_write_bio_PUBKEY(bio.get(), key.get());
  Result<PublicKey> parsed = PublicKey::parse_pem(bio_text(bio.get()));  // judges kind and strength
  if (!parsed) return std::nullopt;
  return VerificationKey{.key = std::move(*parsed), .id = std::string(text_of(from, "kid")), .algorithm = std::string(algorithm)};
}

bool may_have_signed(const VerificationKey& key, const Jwt& token) {
  if (!key.id.empty() && !token.key_id.empty() && key.id != token.key_id) return false;
  return key.algorithm.empty() || key.algorithm == token.algorithm;
}

}  // namespace

Result<std::vector<VerificationKey>> parse_jwks(std::string_view text) {
  initialise();
  Result<json::Value> set = json::parse(text, {.depth_max = 8, .bytes_max = kJwksBytesMax});
  const json::Value* list = set && set->is_object() ? set->get_object().if_contains("keys") : nullptr;
  if (list == nullptr || !list->is_array()) return fail(Code::kInvalidArgument, "jwks: want an object with a list of keys");
  if (list->get_array().size() > kJwksKeysMax) return fail(Code::kInvalidArgument, cat("jwks: more than ", kJwksKeysMax, " keys"));
  std::vector<VerificationKey> out;
  for (const json::Value& item : list->get_array())
    if (auto key = item.is_object() ? parse_key(item.get_object()) : std::nullopt) out.push_back(std::move(*key));
  if (out.empty()) return fail(Code::kInvalidArgument, "jwks: no key in it that is ECDSA P-256, Ed25519 or RSA of 2048 bits and more, for signatures");
  return out;
}

Result<Jwt> verify_with_jwks(std::string_view token, std::span<const VerificationKey> keys) {
  TRY_ASSIGN(SignedJwt parts, parse_signed_jwt(token));
  for (const VerificationKey& key : keys) {
    if (!may_have_signed(key, parts.token)) continue;
    bool pss = key.key.kind() == KeyKind::kRsa && parts.token.algorithm == "PS256";
    if (!pss && algorithm_of(key.key.kind()) != parts.token.algorithm) continue;
    if (pss ? verify_pss(key.key, parts.signed_bytes, parts.signature) : verify(key.key, parts.signed_bytes, parts.signature)) return std::move(parts.token);
  }
  return fail(Code::kUnauthenticated, "token: signature does not verify");
}

}  // namespace monopod::pki
