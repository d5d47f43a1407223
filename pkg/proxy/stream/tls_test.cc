// TLS on either side through real sockets: names, identities, rotation, pass-through.
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "pki/authority.h"
#include "pki/certificate.h"
#include "proxy/test_support.h"
#include "sys/files.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

// An authority, and certificates of it as files.
class Tls : public testing::Test {
 protected:
  Tls() : directory_(cat("/tmp/monopod-proxy-tls-", ::getpid())), authority_(*pki::CertificateAuthority::make(clock_)) {
    EXPECT_TRUE(sys::make_directories(directory_));
    write("ca.pem", authority_.certificate_pem());
    issue("a", {.common_name = "a", .dns_names = {"a.test"}, .server = true});
    issue("b", {.common_name = "b", .dns_names = {"*.b.test"}, .server = true});
    issue("web", {.common_name = "web", .uris = {"spiffe://cluster.local/ns/x/sa/web"}, .server = true, .client = true});
    issue("other", {.common_name = "other", .uris = {"spiffe://cluster.local/ns/y/sa/other"}, .server = true, .client = true});
  }
  ~Tls() override { [[maybe_unused]] Result<> removed = sys::remove_tree(directory_); }

  void write(const std::string& name, const std::string& text) { EXPECT_TRUE(sys::replace_file(cat(directory_, "/", name), text)); }
  void issue(const std::string& name, const pki::IssueOptions& options) {
    pki::KeyPair pair = *authority_.issue(clock_, options);
    write(name + ".pem", pair.certificate_pem);
    write(name + ".key", pair.key_pem);
  }
  std::string pair(std::string_view name) const { return cat("certificate_file: ", directory_, "/", name, ".pem, key_file: ", directory_, "/", name, ".key"); }
  std::string ca() const { return cat(directory_, "/ca.pem"); }
  std::string config(std::string_view endpoint, std::string_view tls) const {
    return simple_config(endpoint, cat("  tls: {", tls, "}\n"));
  }

  RealClock clock_;
  std::string directory_;
  pki::CertificateAuthority authority_;
};

// A blocking client.
class TlsPeer {
 public:
  TlsPeer(std::uint16_t port, const char* server_name) : client_(port), context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_)) {
    SSL_set_fd(ssl_, client_.fd());
    SSL_set_tlsext_host_name(ssl_, server_name);
    if (SSL_connect(ssl_) == 1) {
      X509* leaf = SSL_get0_peer_certificate(ssl_);
      char text[64] = {};
      X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, text, sizeof text);
      name = text;
    }
  }
  ~TlsPeer() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  std::string ask(std::string_view request, std::size_t want) {
    SSL_write(ssl_, request.data(), static_cast<int>(request.size()));
    std::string out;
    char bytes[16384];
    for (int n = 0; out.size() < want && (n = SSL_read(ssl_, bytes, sizeof bytes)) > 0;) out.append(bytes, static_cast<std::size_t>(n));
    return out;
  }
  std::string name;  // common name of the certificate that was shown; empty: no handshake

 private:
  TestClient client_;
  SSL_CTX* context_;
  SSL* ssl_;
};

TEST_F(Tls, TheNameChoosesTheCertificate) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(request); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}, {", pair("b"), "}]")));
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test").name, "a");
  EXPECT_EQ(TlsPeer(proxy.port(), "X.B.test").name, "b");
  EXPECT_EQ(TlsPeer(proxy.port(), "unknown.test").name, "a");
  TlsPeer client(proxy.port(), "a.test");
  for (int i = 0; i < 3; ++i) EXPECT_NE(client.ask(kGet, 120).find("x-forwarded-proto: https"), std::string::npos);
}

TEST_F(Tls, LargeBodiesPassWhole) {
  std::string big(1'000'000, 'x');
  TestEndpoint endpoint(answering([&big](const std::string&) { return ok(big); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}]")));
  TlsPeer client(proxy.port(), "a.test");
  std::string whole = ok(big);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ask(kGet, whole.size()), whole);
  EXPECT_EQ(endpoint.accepted(), 1);
}

TEST_F(Tls, ARotationShowsAtTheNextHandshakeAndCutsNobody) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}]")));
  TlsPeer before(proxy.port(), "a.test");
  EXPECT_EQ(before.name, "a");
  issue("a", {.common_name = "rotated", .dns_names = {"a.test"}, .server = true});
  ASSERT_TRUE(proxy.reload(config(endpoint.address(), cat("certificates: [{", pair("a"), "}]"))));
  proxy.metric("x");
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test").name, "rotated");
  EXPECT_TRUE(before.ask(kGet, ok("x").size()).ends_with("x"));
}

TEST_F(Tls, BothSidesKnowEachOtherByTheirSpiffeIds) {
  struct Row {
    const char* client;          // its certificate
    const char* server_id;       // that the client accepts
    const char* want;
  };
  const Row rows[] = {
      {"web", "spiffe://cluster.local/ns/x/sa/web", "200 OK"},
      {"web", "spiffe://cluster.local/ns/x/*", "200 OK"},
      {"web", "spiffe://cluster.local/ns/y/sa/other", "503 Service Unavailable"},  // the server is not whom it wants
      {"other", "spiffe://cluster.local/ns/x/*", "502 Bad Gateway"},               // the client is not whom the server wants
  };
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  for (const Row& row : rows) {
    TestProxy proxy(cat(R"(listeners:
- {name: out, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: in}]}]}
- name: in
  address: PORT1
  tls: {certificates: [{)", pair("web"), "}], client_ca_file: ", ca(), R"(, spiffe_ids: ["spiffe://cluster.local/ns/x/*"]}
  virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]
clusters:
- {name: app, endpoints: [")", endpoint.address(), R"("]}
- {name: in, endpoints: [PORT1], tls: {ca_file: )", ca(), ", ", pair(row.client), ", spiffe_ids: [\"", row.server_id, "\"]}}\n"));
    TestClient client(proxy.port());
    for (int i = 0; i < 2; ++i) {
      client.send(kGet);
      std::string answer = client.read_answer();
      EXPECT_NE(answer.find(row.want), std::string::npos) << row.client << " " << row.server_id << ": " << answer;
    }
  }
}

TEST_F(Tls, AServerOfAnotherNameOrAuthorityIsRefused) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  for (auto [name, want] : {std::pair("a.test", "200 OK"), {"b.test", "503 Service"}}) {
    TestProxy proxy(cat(R"(listeners:
- {name: out, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: in}]}]}
- {name: in, address: PORT1, tls: {certificates: [{)", pair("a"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: in, endpoints: [PORT1], tls: {ca_file: ", ca(), ", server_name: ", name, "}}\n"));
    TestClient client(proxy.port());
    client.send(kGet);
    EXPECT_NE(client.read_answer().find(want), std::string::npos) << name;
  }
}

TEST_F(Tls, AlpnChoosesHttp2OnBothSidesAndAnEndpointWithoutItIsRefused) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(request); }));
  for (auto [offers, want] : {std::pair("true", "200 OK"), {"false", "503 Service"}}) {
    TestProxy proxy(cat(R"(listeners:
- {name: out, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: in}]}]}
- {name: in, address: PORT1, http2: )", offers, ", tls: {certificates: [{", pair("a"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: in, endpoints: [PORT1], http2: true, tls: {ca_file: ", ca(), ", server_name: a.test}}\n"));
    TestClient client(proxy.port());
    for (int i = 0; i < 2; ++i) {
      client.send(kGet);
      std::string answer = client.read_answer();
      EXPECT_NE(answer.find(want), std::string::npos) << offers << answer;
      if (offers == std::string_view("true")) EXPECT_NE(answer.find("x-forwarded-proto: https"), std::string::npos) << answer;
    }
  }
}

TEST_F(Tls, PassThroughGoesByTheServerName) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(cat(R"(listeners:
- {name: pass, address: PORT0, protocol: tcp, sni: [{server_names: [a.test], cluster: a}, {server_names: ["*.b.test"], cluster: b}]}
- {name: a, address: PORT1, tls: {certificates: [{)", pair("a"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
- {name: b, address: PORT2, tls: {certificates: [{)", pair("b"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: a, endpoints: [PORT1]}\n- {name: b, endpoints: [PORT2]}\n"));
  TlsPeer a(proxy.port(), "A.test"), b(proxy.port(), "x.b.test"), none(proxy.port(), "c.test");
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(none.name, "");
  EXPECT_TRUE(a.ask(kGet, ok("x").size()).ends_with("x"));
  TestClient plain(proxy.port());
  plain.send(kGet);
  EXPECT_EQ(plain.read_to_end(), "");
}

}  // namespace
}  // namespace monopod::proxy
