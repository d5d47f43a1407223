// A12: tokens and certificates that look right: expired, not yet valid, without a signature, signed by another, with another's algorithm, for
// another audience, with a key id that is a path; headers that claim an identity; names in the wrong place of a certificate.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/authority.h"
#include "pki/certificate.h"
#include "pki/jwt.h"

namespace monopod::api {
namespace {

constexpr std::string_view kWho = "/apis/authentication.k8s.io/v1/selfsubjectreviews", kAsk = R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})";
http::Headers as(std::string_view token) { return {{"authorization", cat("Bearer ", token)}}; }

async::Task<Result<>> tokens(TestCluster& cluster) {
  auto made_key = pki::PrivateKey::make();
  CO_TRY(made_key);
  pki::PrivateKey key = std::move(*made_key);
  std::string pem = key.format_pem();
  cluster.adjust = [pem](ServerOptions& options) { options.service_account_key_pem = pem; };
  CO_TRY(co_await cluster.restart());
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"bot"}})");
  CO_CALL(issued, "POST", "/api/v1/namespaces/default/serviceaccounts/bot/token", R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}})");
  CO_EXPECT_STATUS(issued, 201);
  std::string good = issued.text({"status", "token"});
  CO_TRY_ASSIGN(pki::Jwt parsed, pki::parse_jwt_unverified(good));
  std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(cluster.time.wall().time_since_epoch()).count();
  auto with = [&](std::string_view claim, json::Value value) {
    json::Object claims = parsed.claims;
    if (value.is_null()) claims.erase(claim);
    else claims[claim] = std::move(value);
    return *pki::sign_jwt(key, claims);
  };
  CO_CALL(fine, "POST", std::string(kWho), std::string(kAsk), as(with("jti", "other")));
  CO_EXPECT_STATUS(fine, 201);
  EXPECT_EQ(fine.text({"status", "userInfo", "username"}), "system:serviceaccount:default:bot") << "signed by us: the key of this test is the server's";

  std::vector<std::string_view> parts = split(good, '.');
  auto header = [&](std::string_view text) { return cat(format_base64url(text), '.', parts[1], '.', parts[2]); };
  auto other_key = pki::PrivateKey::make();
  CO_TRY(other_key);
  std::string flipped = good;
  flipped[flipped.size() - 10] = flipped[flipped.size() - 10] == 'A' ? 'B' : 'A';
  std::string other_claims = cat(parts[0], '.', format_base64url(R"({"sub":"system:serviceaccount:kube-system:admin"})"), '.', parts[2]);
  struct Case {
    std::string what, token;
  } cases[] = {
      {"expired", with("exp", now - 60)},
      {"not yet", with("nbf", now + 600)},
      {"without an end", with("exp", nullptr)},
      {"an end that is text", with("exp", "tomorrow")},
      {"another issuer", with("iss", "https://evil.example")},
      {"no issuer", with("iss", nullptr)},
      {"another audience", with("aud", json::Array{"vault"})},
      {"no audience", with("aud", nullptr)},
      {"an account that is not there", with("kubernetes.io", json::parse(R"({"namespace":"default","serviceaccount":{"name":"ghost","uid":"u"}})").value())},
      {"an account of another life", with("kubernetes.io", json::parse(R"({"namespace":"default","serviceaccount":{"name":"bot","uid":"u"}})").value())},
      {"a subject that is another", with("sub", "system:serviceaccount:kube-system:bot")},
      {"no signature", cat(parts[0], '.', parts[1], '.')},
      {"alg none", header(R"({"alg":"none"})")},
      {"alg None", header(R"({"alg":"None","typ":"JWT"})")},
      {"alg none, no signature", cat(format_base64url(R"({"alg":"none"})"), '.', parts[1], '.')},
      {"HS256 by the public key", header(R"({"alg":"HS256"})")},
      {"a kid that is a path", header(R"({"alg":"ES256","kid":"../../../../dev/null"})")},
      {"a kid that is SQL", header(R"({"alg":"ES256","kid":"x' UNION SELECT 'k"})")},
      {"its own key in the header", header(R"({"alg":"ES256","jwk":{"kty":"EC"}})")},
      {"a critical extension", header(R"({"alg":"ES256","crit":["b64"],"b64":false})")},
      {"another's key", *pki::sign_jwt(*other_key, parsed.claims)},
      {"one bit of the signature", flipped},
      {"other claims", other_claims},
      {"padding", good + "="},
      {"four parts", good + ".x"},
      {"no dots", "eyJhbGciOiJFUzI1NiJ9"},
      {"16 KiB", std::string(pki::kJwtBytesMax + 1, 'a')},
      {"two tokens", cat(good, " ", good)},
      {"a newline", cat(good.substr(0, 20), "\n", good.substr(20))},
  };
  for (const Case& c : cases) {
    CO_CALL(reply, "POST", std::string(kWho), std::string(kAsk), as(c.token));
    EXPECT_EQ(reply.status, 401) << c.what << ": " << reply.body;
    EXPECT_EQ(reply.text({"message"}), "Unauthorized") << c.what << ": and not why";
  }
  for (std::string_view scheme : {"Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer  ", "Token admin-token", "admin-token", "Negotiate x"}) {
    CO_CALL(reply, "POST", std::string(kWho), std::string(kAsk), {{"authorization", scheme}});
    EXPECT_EQ(reply.status, 401) << scheme << reply.body;
  }
  cluster.time.advance(std::chrono::hours(2));
  CO_CALL(late, "POST", std::string(kWho), std::string(kAsk), as(good));
  CO_EXPECT_STATUS(late, 401);
  co_return Result<>();
}
TEST(A12Credentials, TokensThatOnlyLookRightAreNone) { with_cluster(tokens); }

async::Task<Result<>> headers(TestCluster& cluster) {
  struct Case {
    http::Headers sent;
    int status;
  } cases[] = {
      {{{"x-remote-user", "admin"}, {"x-remote-group", "system:masters"}, {"x-remote-extra-a", "b"}}, 403},
      {{{"x-forwarded-user", "admin"}, {"remote-user", "admin"}}, 403},
      {{{"impersonate-user", "admin"}, {"impersonate-group", "system:masters"}}, 403},
      {{{"x-forwarded-client-cert", "Subject=\"CN=admin,O=system:masters\""}, {"ssl-client-verify", "SUCCESS"}}, 403},
      {{{"cookie", "token=admin-token"}}, 403},
      {{{"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.!!!"}}, 401},
  };
  for (const Case& c : cases) {
    http::Headers sent = c.sent;
    sent.set("authorization", "");
    CO_CALL(reply, "GET", "/api/v1/namespaces/kube-system/secrets", "", sent);
    EXPECT_EQ(reply.status, c.status) << reply.body;
  }
  for (std::string_view as_user : {"admin", "system:admin", "system:serviceaccount:kube-system:default", "system:node:n1"}) {
    CO_CALL(reply, "GET", "/version", "", {{"authorization", "Bearer alice-token"}, {"impersonate-user", as_user}});
    EXPECT_EQ(reply.status, 403) << as_user;
  }
  CO_CALL(in_query, "GET", "/api/v1/namespaces/kube-system/secrets?access_token=admin-token&token=admin-token", "", {{"authorization", ""}});
  CO_EXPECT_STATUS(in_query, 403);
  co_return Result<>();
}
TEST(A12Credentials, HeadersClaimNothing) { with_cluster(headers); }

// A request whose peer showed a certificate, as TLS would have verified it.
async::Task<Result<Reply>> with_certificate(TestCluster& cluster, std::string der) {
  http::Request request;
  request.method = "POST";
  request.target = kWho;
  request.headers = {{"content-type", "application/json"}};
  request.peer.tls = true;
  request.peer.certificates_der = {std::move(der)};
  CO_TRY_ASSIGN(http::Response response, co_await http::call_in_process(cluster.background, *cluster.server, std::move(request), share(std::string(kAsk))));
  Reply reply{response.status, std::move(response.headers), {}};
  CO_TRY_ASSIGN(reply.body, co_await response.body->read_all(1U << 20));
  co_return reply;
}

async::Task<Result<>> certificates(TestCluster& cluster) {
  CO_TRY_ASSIGN(pki::CertificateAuthority ca, pki::CertificateAuthority::make(cluster.time));
  auto der_of = [](const pki::KeyPair& pair) { return pki::Certificate::parse_pem(pair.certificate_pem)->der(); };
  CO_TRY_ASSIGN(pki::KeyPair admin, ca.issue(cluster.time, {.common_name = "admin", .organizations = {"system:masters"}, .client = true}));
  CO_TRY_ASSIGN(Reply known, co_await with_certificate(cluster, der_of(admin)));
  CO_EXPECT_STATUS(known, 201);
  EXPECT_EQ(known.text({"status", "userInfo", "username"}), "admin");
  // A name among the subject's alternatives is a host's, not a user's.
  CO_TRY_ASSIGN(pki::KeyPair named, ca.issue(cluster.time, {.common_name = "bob", .dns_names = {"admin"}, .client = true}));
  CO_TRY_ASSIGN(Reply bob, co_await with_certificate(cluster, der_of(named)));
  EXPECT_EQ(bob.text({"status", "userInfo", "username"}), "bob");
  EXPECT_EQ(bob.body.find("system:masters"), std::string::npos);
  CO_TRY_ASSIGN(pki::KeyPair nameless, ca.issue(cluster.time, {.common_name = "", .organizations = {"system:masters"}, .dns_names = {"admin"}, .client = true}));
  CO_TRY_ASSIGN(Reply nobody, co_await with_certificate(cluster, der_of(nameless)));
  CO_EXPECT_STATUS(nobody, 401);
  CO_TRY_ASSIGN(Reply broken, co_await with_certificate(cluster, "not DER"));
  CO_EXPECT_STATUS(broken, 401);
  // One whose time has not begun, and the first one, remembered, when its time is over.
  async::FakeTime future(cluster.executor);
  future.advance(std::chrono::hours(24 * 365 * 20));
  CO_TRY_ASSIGN(pki::KeyPair later, ca.issue(future, {.common_name = "admin", .organizations = {"system:masters"}, .client = true}));
  CO_TRY_ASSIGN(Reply early, co_await with_certificate(cluster, der_of(later)));
  CO_EXPECT_STATUS(early, 401);
  cluster.time.advance(std::chrono::hours(24 * 365 * 30));
  CO_TRY_ASSIGN(Reply expired, co_await with_certificate(cluster, der_of(admin)));
  CO_EXPECT_STATUS(expired, 401);
  co_return Result<>();
}
TEST(A12Credentials, CertificatesNameUsersBySubjectAndInTime) { with_cluster(certificates); }

}  // namespace
}  // namespace monopod::api
