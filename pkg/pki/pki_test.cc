#include "pki/pki.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/strings.h"
#include "pki/jwks.h"

namespace monopod::pki {
namespace {

using namespace std::chrono_literals;

class FixedClock final : public Clock {
 public:
  WallTime wall() const override { return now; }
  MonoTime mono() const override { return {}; }
  WallTime now{std::chrono::seconds(1'767'225'600)};  // 2026-01-01
};

CertificateAuthority make_ca(const Clock& clock) {
  auto ca = CertificateAuthority::make(clock);
  EXPECT_TRUE(ca) << (ca ? "" : ca.error().message());
  return *ca;
}

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha512_hex("").substr(0, 16), "cf83e1357eefb8bd");
  EXPECT_EQ(format_hex(as_bytes(sha1("abc"))), "a9993e364706816aba3e25717850c26c9cd0d89d");
  // RFC 4231 test case 2.
  EXPECT_EQ(format_hex(as_bytes(hmac_sha256("Jefe", "what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  // The GCM specification's test case 13.
  EXPECT_EQ(format_hex(as_bytes(secret_gmac(std::string(32, '\0'), ""))), "530f8afbc74536b9a963b4f1c4cb738b");
}

TEST(Digest, GmacDependsOnKeyAndEveryByte) {
  std::string key(32, 'k'), text(1000, 't');
  std::string tag = secret_gmac(key, text);
  EXPECT_EQ(tag, secret_gmac(key, text));
  EXPECT_NE(tag, secret_gmac(std::string(32, 'l'), text));
  EXPECT_NE(tag, secret_gmac(key, std::string_view(text).substr(1)));
  for (std::size_t at : {0UL, 15UL, 16UL, 999UL}) {
    std::string other = text;
    other[at] ^= 1;
    EXPECT_NE(tag, secret_gmac(key, other)) << at;
  }
}

TEST(Digest, StreamedEqualsWholeAndStartsAnew) {
  Sha256 stream;
  stream.update("a");
  stream.update("bc");
  EXPECT_EQ(stream.finish_hex(), sha256_hex("abc"));
  EXPECT_EQ(stream.finish_hex(), sha256_hex(""));
}

TEST(Digest, ConstantTimeComparisonTellsDifference) {
  EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
  EXPECT_FALSE(equal_in_constant_time("secret", "secreT"));
  EXPECT_FALSE(equal_in_constant_time("secret", "secre"));
}

TEST(Random, BytesDiffer) {
  EXPECT_EQ(random_bytes(32)->size(), 32U);
  EXPECT_NE(*random_token(16), *random_token(16));
}

TEST(Key, EveryKindSignsAndSurvivesPem) {
  for (KeyKind kind : {KeyKind::kEcdsaP256, KeyKind::kEd25519, KeyKind::kRsa}) {
    auto key = PrivateKey::make(kind);
    ASSERT_TRUE(key);
    auto again = PrivateKey::parse_pem(key->format_pem());
    ASSERT_TRUE(again);
    auto key_public = PublicKey::parse_pem(again->public_key().format_pem());
    ASSERT_TRUE(key_public);
    EXPECT_EQ(key_public->kind(), kind);
    auto signature = sign(*key, "data");
    ASSERT_TRUE(signature);
    EXPECT_TRUE(verify(*key_public, "data", *signature));
    EXPECT_FALSE(verify(*key_public, "date", *signature));
    (*signature)[5] = static_cast<char>((*signature)[5] ^ 1);
    EXPECT_FALSE(verify(*key_public, "data", *signature));
    EXPECT_FALSE(verify(*key_public, "data", ""));
  }
}

TEST(Key, GarbageIsRefusedWithoutEchoingIt) {
  auto key = PrivateKey::parse_pem("-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(key.error().message().find("c2Vj"), std::string::npos);
  EXPECT_FALSE(PublicKey::parse_pem(""));
}

TEST(Authority, ServerCertificateHasItsNamesAndStartsInThePast) {
  FixedClock clock;
  CertificateAuthority ca = make_ca(clock);
  auto pair = ca.issue(clock, {.common_name = "monopod", .dns_names = {"localhost", "kubernetes.default.svc"},
                               .ip_addresses = {"127.0.0.1", "::1"}, .uris = {"spiffe://a/b"}, .server = true});
  ASSERT_TRUE(pair) << pair.error().message();
  auto certificate = Certificate::parse_pem(pair->certificate_pem);
  ASSERT_TRUE(certificate);
  auto identity = certificate->identity();
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->dns_names, (std::vector<std::string>{"localhost", "kubernetes.default.svc"}));
  EXPECT_EQ(identity->ip_addresses, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_EQ(identity->uris, std::vector<std::string>{"spiffe://a/b"});
  EXPECT_EQ(identity->not_before, clock.now - 24h);
  EXPECT_FALSE(identity->is_authority);
  EXPECT_EQ(identity->serial_hex.size(), 32U);
  EXPECT_TRUE(certificate->signed_by(ca.certificate()));
  EXPECT_TRUE(certificate->matches(*PrivateKey::parse_pem(pair->key_pem)));
}

TEST(Authority, ClientCertificateCarriesUserAndGroups) {
  FixedClock clock;
  CertificateAuthority ca = make_ca(clock);
  std::string user = "system:serviceaccount:" + std::string(90, 'x');  // longer than X.520's 64 characters
  auto pair = ca.issue(clock, {.common_name = user, .organizations = {"system:masters", "dev"}, .client = true});
  ASSERT_TRUE(pair) << pair.error().message();
  auto identity = Certificate::parse_pem(pair->certificate_pem)->identity();
  EXPECT_EQ(identity->common_name, user);
  EXPECT_EQ(identity->organizations, (std::vector<std::string>{"system:masters", "dev"}));
}

TEST(Authority, NeverIssuesBeyondItsOwnEnd) {
  FixedClock clock;
  auto ca = CertificateAuthority::make(clock, {.lifetime = 48h});
  auto pair = ca->issue(clock, {.common_name = "x", .client = true});
  EXPECT_EQ(Certificate::parse_pem(pair->certificate_pem)->identity()->not_after, clock.now + 48h);
}

TEST(Authority, RefusesBrokenNames) {
  FixedClock clock;
  CertificateAuthority ca = make_ca(clock);
  EXPECT_FALSE(ca.issue(clock, {.common_name = std::string("a\0b", 3), .client = true}));
  EXPECT_FALSE(ca.issue(clock, {.common_name = "a\r\nX-Evil: 1", .client = true}));
  EXPECT_FALSE(ca.issue(clock, {.ip_addresses = {"localhost"}, .server = true}));
  EXPECT_FALSE(ca.issue(clock, {.common_name = "x"}));
}

TEST(Authority, SurvivesPemAndRefusesAForeignKey) {
  FixedClock clock;
  CertificateAuthority ca = make_ca(clock);
  EXPECT_TRUE(CertificateAuthority::parse_pem(ca.certificate_pem(), ca.key_pem()));
  EXPECT_FALSE(CertificateAuthority::parse_pem(ca.certificate_pem(), make_ca(clock).key_pem()));
  auto leaf = ca.issue(clock, {.common_name = "x", .server = true});
  EXPECT_FALSE(CertificateAuthority::parse_pem(leaf->certificate_pem, leaf->key_pem));
}

TEST(Chain, VerifiesOnlyUnderItsRootInItsTimeForItsPurpose) {
  FixedClock clock;
  CertificateAuthority ca = make_ca(clock);
  CertificateAuthority other = make_ca(clock);
  auto pair = ca.issue(clock, {.common_name = "x", .client = true, .lifetime = 24h});
  std::vector<Certificate> chain{*Certificate::parse_pem(pair->certificate_pem)};
  std::vector<Certificate> roots{ca.certificate()};
  std::vector<Certificate> wrong{other.certificate()};
  EXPECT_TRUE(verify_chain(chain, roots, clock.now, Purpose::kClient));
  EXPECT_FALSE(verify_chain(chain, roots, clock.now, Purpose::kServer));
  EXPECT_FALSE(verify_chain(chain, wrong, clock.now, Purpose::kClient));
  EXPECT_FALSE(verify_chain(chain, {}, clock.now, Purpose::kClient));
  Result<> expired = verify_chain(chain, roots, clock.now + 25h, Purpose::kClient);
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().message(), "verify certificate: certificate has expired");
  EXPECT_EQ(expired.error().code(), Code::kUnauthenticated);
}

TEST(Certificate, TruncatedDerIsRefusedAtEveryLength) {
  FixedClock clock;
  std::string der = make_ca(clock).certificate().der();
  EXPECT_TRUE(Certificate::parse_der(der));
  EXPECT_FALSE(Certificate::parse_der(der + "x"));
  for (std::size_t size = 0; size < der.size(); ++size) EXPECT_FALSE(Certificate::parse_der(std::string_view(der).substr(0, size)));
}

TEST(SigningRequest, IsCheckedAndRead) {
  FixedClock clock;
  auto key = PrivateKey::make();
  auto pem = make_signing_request_pem(*key, {.common_name = "system:node:a", .organizations = {"system:nodes"}, .dns_names = {"a"}});
  ASSERT_TRUE(pem);
  auto request = parse_signing_request_pem(*pem);
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->identity.common_name, "system:node:a");
  EXPECT_EQ(request->identity.dns_names, std::vector<std::string>{"a"});
  EXPECT_EQ(request->key.der(), key->public_key().der());
  EXPECT_FALSE(parse_signing_request_pem("nonsense"));
}

TEST(Jwt, RoundTripsForEveryAlgorithm) {
  for (KeyKind kind : {KeyKind::kEcdsaP256, KeyKind::kEd25519, KeyKind::kRsa}) {
    auto key = PrivateKey::make(kind);
    auto token = sign_jwt(*key, {{"sub", "me"}, {"exp", 2'000'000'000}});
    ASSERT_TRUE(token);
    std::vector<PublicKey> keys{key->public_key()};
    auto jwt = verify_jwt(*token, keys);
    ASSERT_TRUE(jwt) << jwt.error().message();
    EXPECT_EQ(jwt->claims.at("sub").as_string(), "me");
    EXPECT_EQ(jwt->key_id, key->public_key().key_id());
    EXPECT_FALSE(verify_jwt(*token, {}));
    std::vector<PublicKey> wrong{PrivateKey::make(kind)->public_key()};
    EXPECT_FALSE(verify_jwt(*token, wrong));
  }
}

TEST(Jwks, WhatWePublishVerifiesWhatWeSign) {
  for (KeyKind kind : {KeyKind::kEcdsaP256, KeyKind::kEd25519, KeyKind::kRsa}) {
    auto key = PrivateKey::make(kind);
    std::vector<PublicKey> published{PrivateKey::make()->public_key(), key->public_key()};
    auto keys = parse_jwks(json::format(json::Object{{"keys", format_jwks(published)}}));
    ASSERT_TRUE(keys) << keys.error().message();
    ASSERT_EQ(keys->size(), 2U);
    std::string token = *sign_jwt(*key, {{"sub", "me"}});
    EXPECT_TRUE(verify_with_jwks(token, *keys));
    (*keys)[1].id = "another";
    EXPECT_FALSE(verify_with_jwks(token, *keys));
  }
}

TEST(Jwks, Ps256IsVerifiedWithAnRsaKeyThatMayDoSo) {
  auto key = PrivateKey::make(KeyKind::kRsa);
  std::string input = cat(format_base64url(R"({"alg":"PS256"})"), ".", format_base64url(R"({"sub":"me"})"));
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* padding = nullptr;
  EVP_DigestSignInit(context.get(), &padding, EVP_sha256(), nullptr, key->handle());
  EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING);
  EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST);
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  ASSERT_EQ(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, reinterpret_cast<const unsigned char*>(input.data()), input.size()), 1);
  std::string token = cat(input, ".", format_base64url(signature));
  std::vector<VerificationKey> keys{{.key = key->public_key(), .id = "", .algorithm = "PS256"}};
  EXPECT_TRUE(verify_with_jwks(token, keys));
  keys[0].algorithm.clear();
  EXPECT_TRUE(verify_with_jwks(token, keys));
  keys[0].algorithm = "RS256";
  EXPECT_FALSE(verify_with_jwks(token, keys));
  keys[0].algorithm.clear();
  token[token.size() - 3] = token[token.size() - 3] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(verify_with_jwks(token, keys));
}

TEST(Jwks, WhatIsNoSetIsRefusedAndKeysOfOtherKindsArePassedOver) {
  for (const char* text : {"", "[]", "{}", R"({"keys":5})", R"({"keys":[]})", R"({"keys":[{"kty":"oct","k":"AAAA"}]})", R"({"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]})",
                           R"({"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]})", R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]})"})
    EXPECT_FALSE(parse_jwks(text)) << text;
}

std::string forge(std::string_view header, std::string_view claims, std::string_view signature) {
  return cat(format_base64url(header), ".", format_base64url(claims), ".", format_base64url(signature));
}

TEST(Jwt, ForgeriesAreRefused) {
  auto key = PrivateKey::make();
  auto rsa = PrivateKey::make(KeyKind::kRsa);
  std::vector<PublicKey> keys{key->public_key(), rsa->public_key()};
  std::string good = *sign_jwt(*key, {{"sub", "me"}});
  std::vector<std::string_view> parts = split(good, '.');
  std::string signature = *parse_base64url(parts[2]);
  // HS256 with the public key as the secret: the classic confusion.
  std::string input = cat(format_base64url(R"({"alg":"HS256"})"), ".", parts[1]);
  std::vector<std::pair<const char*, std::string>> rows = {
      {"alg none", forge(R"({"alg":"none"})", R"({"sub":"me"})", "")},
      {"alg None", forge(R"({"alg":"None"})", R"({"sub":"me"})", "")},
      {"alg missing", forge(R"({})", R"({"sub":"me"})", signature)},
      {"alg of another key", forge(R"({"alg":"RS256"})", R"({"sub":"me"})", signature)},
      {"hmac confusion", cat(input, ".", format_base64url(hmac_sha256(keys[0].format_pem(), input)))},
      {"crit", forge(R"({"alg":"ES256","crit":["x"]})", R"({"sub":"me"})", signature)},
      {"changed claims", cat(parts[0], ".", format_base64url(R"({"sub":"root"})"), ".", parts[2])},
      {"zero signature", cat(parts[0], ".", parts[1], ".", format_base64url(std::string(64, '\0')))},
      {"no signature", cat(parts[0], ".", parts[1], ".")},
      {"two parts", cat(parts[0], ".", parts[1])},
      {"four parts", cat(good, ".x")},
      {"padded", cat(good, "==")},
      {"empty", ""},
      {"too large", std::string(kJwtBytesMax + 1, 'a')},
  };
  for (const auto& [name, token] : rows) {
    auto result = verify_jwt(token, keys);
    EXPECT_FALSE(result) << name;
    if (!result) EXPECT_EQ(result.error().code(), Code::kUnauthenticated) << name;
  }
  EXPECT_TRUE(verify_jwt(good, keys));
}

TEST(Jwt, TimesAreChecked) {
  WallTime now(1000s);
  auto with = [](json::Object claims) { return Jwt{"ES256", "", std::move(claims)}; };
  EXPECT_TRUE(check_times(with({{"exp", 1100}, {"nbf", 900}}), now));
  EXPECT_FALSE(check_times(with({{"exp", 900}}), now));
  EXPECT_FALSE(check_times(with({}), now));
  EXPECT_FALSE(check_times(with({{"exp", "1100"}}), now));
  EXPECT_FALSE(check_times(with({{"exp", 1100}, {"nbf", 1050}}), now));
  EXPECT_TRUE(check_times(with({{"exp", 1100}, {"nbf", 1005}}), now));
}

TEST(Jwt, JwksNamesEachKey) {
  std::vector<PublicKey> keys{PrivateKey::make()->public_key(), PrivateKey::make(KeyKind::kRsa)->public_key()};
  json::Value jwks = format_jwks(keys);
  EXPECT_EQ(json::get_string(jwks.as_array()[0], {"crv"}), "P-256");
  EXPECT_EQ(json::get_string(jwks.as_array()[0], {"x"}).size(), 43U);
  EXPECT_EQ(json::get_string(jwks.as_array()[1], {"e"}), "AQAB");
}

}  // namespace
}  // namespace monopod::pki
