// What becomes of certificates and sessions over time, through real sockets: resumption, revocation, expiry, stapling, key logs.
#include <openssl/ocsp.h>
#include <openssl/pem.h>

#include "proxy/io/tickets.h"
#include "proxy/stream/tls_test_support.h"

namespace monopod::proxy {
namespace {

using Session = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;

constexpr std::size_t kAnswer = 39;  // of ok("x")

class TlsLife : public Tls {
 protected:
  std::string file(std::string_view name) const { return cat(directory_, "/", name); }
  TlsPeer::Options as(const std::string& name) const { return {.certificate = file(name + ".pem"), .key = file(name + ".key")}; }
  // A list of revocations that names these certificates, of the authority.
  std::string make_crl(const std::vector<std::string>& names) {
    std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), X509_CRL_free);
    X509_CRL_set_version(list.get(), 1);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(authority_.certificate().handle()));
    std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> last(X509_gmtime_adj(nullptr, -60), ASN1_TIME_free), next(X509_gmtime_adj(nullptr, 3600), ASN1_TIME_free);
    X509_CRL_set1_lastUpdate(list.get(), last.get());
    X509_CRL_set1_nextUpdate(list.get(), next.get());
    for (const std::string& name : names) {
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(read_certificate(name)->handle()));
      X509_REVOKED_set_revocationDate(entry, last.get());
      X509_CRL_add0_revoked(list.get(), entry);
    }
    X509_CRL_sort(list.get());
    X509_CRL_sign(list.get(), authority_.key().handle(), EVP_sha256());
    std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_X509_CRL(out.get(), list.get());
    char* data = nullptr;
    long size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
  Result<pki::Certificate> read_certificate(const std::string& name) const {
    std::string text(65536, '\0');
    std::FILE* in = std::fopen(file(name + ".pem").c_str(), "re");
    text.resize(std::fread(text.data(), 1, text.size(), in));
    std::fclose(in);
    return pki::Certificate::parse_pem(text);
  }
  std::string make_ocsp(const std::string& name, long next_s) {
    std::unique_ptr<OCSP_BASICRESP, decltype(&OCSP_BASICRESP_free)> basic(OCSP_BASICRESP_new(), OCSP_BASICRESP_free);
    std::unique_ptr<OCSP_CERTID, decltype(&OCSP_CERTID_free)> id(OCSP_cert_to_id(EVP_sha1(), read_certificate(name)->handle(), authority_.certificate().handle()), OCSP_CERTID_free);
    std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> now(X509_gmtime_adj(nullptr, -60), ASN1_TIME_free), next(X509_gmtime_adj(nullptr, next_s), ASN1_TIME_free);
    OCSP_basic_add1_status(basic.get(), id.get(), V_OCSP_CERTSTATUS_GOOD, 0, nullptr, now.get(), next.get());
    OCSP_basic_sign(basic.get(), authority_.certificate().handle(), authority_.key().handle(), EVP_sha256(), nullptr, 0);
    std::unique_ptr<OCSP_RESPONSE, decltype(&OCSP_RESPONSE_free)> answer(OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get()), OCSP_RESPONSE_free);
    unsigned char* der = nullptr;
    int size = i2d_OCSP_RESPONSE(answer.get(), &der);
    std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return out;
  }
};

TEST_F(TlsLife, AClientThatCameBeforeResumesAlsoAfterARotation) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  std::string yaml = config(endpoint.address(), cat("certificates: [{", pair("a"), "}]"));
  TestProxy proxy(yaml);
  for (bool old_protocol : {false, true}) {
    TlsPeer::Options options{.tls_1_2 = old_protocol};
    Session session(nullptr, SSL_SESSION_free);
    {
      TlsPeer first(proxy.port(), "a.test", options);
      EXPECT_TRUE(first.ask(kGet, kAnswer).ends_with("x"));
      EXPECT_FALSE(first.resumed());
      session.reset(first.session());
    }
    options.resume = session.get();
    TlsPeer second(proxy.port(), "a.test", options);
    EXPECT_TRUE(second.resumed()) << old_protocol;
    EXPECT_TRUE(second.ask(kGet, kAnswer).ends_with("x"));
    issue("a", {.common_name = "rotated", .dns_names = {"a.test"}, .server = true});
    ASSERT_TRUE(proxy.reload(yaml));
    proxy.metric("x");
    TlsPeer third(proxy.port(), "a.test", options);
    EXPECT_TRUE(third.resumed()) << "keys outlive a rotation of certificates";
    ASSERT_TRUE(proxy.reload(config(endpoint.address(), cat("tickets: {enabled: false}, certificates: [{", pair("a"), "}]"))));
    proxy.metric("x");
    EXPECT_FALSE(TlsPeer(proxy.port(), "a.test", options).resumed());
    ASSERT_TRUE(proxy.reload(yaml));
    proxy.metric("x");
  }
  EXPECT_EQ(proxy.metric("monopod_proxy_handshakes_resumed_total{listener=\"web\"}"), 4);
}

TEST_F(TlsLife, SessionsWithClientCertificatesKeepTheIdentityAndEndWithItsTrust) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  std::string fields = cat("certificates: [{", pair("a"), "}], client_ca_file: ", ca());
  TestProxy proxy(config(endpoint.address(), cat(fields, ", spiffe_ids: [\"spiffe://cluster.local/ns/x/*\"]")));
  TlsPeer::Options options = as("web");
  Session session(nullptr, SSL_SESSION_free);
  {
    TlsPeer first(proxy.port(), "a.test", options);
    EXPECT_TRUE(first.ask(kGet, kAnswer).ends_with("x"));
    session.reset(first.session());
  }
  options.resume = session.get();
  TlsPeer second(proxy.port(), "a.test", options);
  EXPECT_TRUE(second.resumed());
  EXPECT_TRUE(second.ask(kGet, kAnswer).ends_with("x"));
  ASSERT_TRUE(proxy.reload(config(endpoint.address(), cat(fields, ", spiffe_ids: [\"spiffe://cluster.local/ns/y/*\"]"))));
  proxy.metric("x");
  TlsPeer third(proxy.port(), "a.test", options);
  EXPECT_FALSE(third.resumed());
  EXPECT_EQ(third.ask(kGet, kAnswer), "");
}

TEST(TicketKeys, ARotatedKeyOpensOnceMoreAndThenIsGone) {
  TicketSpec spec{.rotate = Milliseconds(1000)};
  std::shared_ptr<TicketKeys> keys = *TicketKeys::make(spec, 0);
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr), EVP_MAC_free);
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac(EVP_MAC_CTX_new(hmac.get()), EVP_MAC_CTX_free);
  unsigned char name[16], iv[16];
  ASSERT_EQ(keys->prepare(name, iv, cipher.get(), mac.get(), true, 0), 1);
  EXPECT_EQ(keys->prepare(name, iv, cipher.get(), mac.get(), false, 999), 1);
  EXPECT_EQ(keys->prepare(name, iv, cipher.get(), mac.get(), false, 1000), 2) << "opens, and asks for a new ticket";
  EXPECT_EQ(keys->prepare(name, iv, cipher.get(), mac.get(), false, 1999), 2);
  EXPECT_EQ(keys->prepare(name, iv, cipher.get(), mac.get(), false, 2000), 0);
  EXPECT_FALSE(TicketKeys::make({.keys = {"short"}}, 0));
}

TEST_F(TlsLife, KeysFromAFileOpenEachOthersTickets) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  write("one.key", std::string(80, 'a'));
  write("two.key", std::string(80, 'b'));
  auto with_keys = [&](std::string_view names) { return config(endpoint.address(), cat("certificates: [{", pair("a"), "}], tickets: {key_files: [", names, "]}")); };
  TestProxy first(with_keys(file("one.key"))), second(with_keys(cat(file("two.key"), ", ", file("one.key")))), third(with_keys(file("two.key")));
  TlsPeer::Options options;
  TlsPeer client(first.port(), "a.test");
  client.ask(kGet, kAnswer);
  Session session(client.session(), SSL_SESSION_free);
  options.resume = session.get();
  EXPECT_TRUE(TlsPeer(second.port(), "a.test", options).resumed());
  EXPECT_FALSE(TlsPeer(third.port(), "a.test", options).resumed());
  write("two.key", "short");
  Result<> refused = first.reload(with_keys(file("two.key")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "line 4: listeners[0].tls: a key of tickets has 80 bytes, this file 5");
}

TEST_F(TlsLife, SessionsWithEndpointsAreResumed) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  // A PROXY header wants a connection for each client: many handshakes.
  TestProxy proxy(cat(R"(listeners:
- {name: out, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: in}]}]}
- {name: in, address: PORT1, proxy_protocol: true, tls: {certificates: [{)", pair("a"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: in, endpoints: [PORT1], proxy_protocol: v1, tls: {ca_file: ", ca(), ", server_name: a.test}}\n"));
  TestClient client(proxy.port());
  for (int i = 0; i < 5; ++i) {
    client.send(kGet);
    EXPECT_NE(client.read_answer().find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_handshakes_total{cluster=\"in\"}"), 5);
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_handshakes_resumed_total{cluster=\"in\"}"), 4);
  EXPECT_EQ(proxy.metric("monopod_proxy_handshakes_resumed_total{listener=\"in\"}"), 4);
}

TEST_F(TlsLife, ARevokedClientIsRefusedAndItsLiveConnectionCutAfterTheGrace) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  write("crl.pem", make_crl({}));
  std::string yaml = config(endpoint.address(), cat("certificates: [{", pair("a"), "}], peer_grace: 0, client_ca_file: ", ca(), ", crl_file: ", file("crl.pem")));
  TestProxy proxy(yaml);
  TlsPeer web(proxy.port(), "a.test", as("web")), other(proxy.port(), "a.test", as("other"));
  EXPECT_TRUE(web.ask(kGet, kAnswer).ends_with("x"));
  EXPECT_TRUE(other.ask(kGet, kAnswer).ends_with("x"));
  Session session(web.session(), SSL_SESSION_free);
  write("crl.pem", make_crl({"web"}));
  ASSERT_TRUE(proxy.reload(yaml));
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_peers_cut_total{listener=\"web\"}", 1));
  EXPECT_EQ(web.ask(kGet, kAnswer), "");
  EXPECT_TRUE(other.ask(kGet, kAnswer).ends_with("x")) << "the others live on";
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test", as("web")).ask(kGet, kAnswer), "");
  TlsPeer::Options resumes = as("web");
  resumes.resume = session.get();
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test", resumes).ask(kGet, kAnswer), "") << "a session of before opens no door";
  EXPECT_TRUE(TlsPeer(proxy.port(), "a.test", as("other")).ask(kGet, kAnswer).ends_with("x"));
}

TEST_F(TlsLife, AClientWhoseCertificateExpiresIsCutAfterTheGrace) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  issue("brief", {.common_name = "brief", .client = true, .lifetime = std::chrono::seconds(2)});
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}], peer_grace: 0, client_ca_file: ", ca())));
  TlsPeer brief(proxy.port(), "a.test", as("brief")), web(proxy.port(), "a.test", as("web"));
  EXPECT_TRUE(brief.ask(kGet, kAnswer).ends_with("x"));
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_peers_cut_total{listener=\"web\"}", 1));
  EXPECT_EQ(brief.ask(kGet, kAnswer), "");
  EXPECT_TRUE(web.ask(kGet, kAnswer).ends_with("x"));
}

TEST_F(TlsLife, AnEndpointThatIsRevokedLosesItsConnections) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  write("crl.pem", make_crl({}));
  std::string yaml = cat(R"(listeners:
- {name: out, address: PORT0, protocol: tcp, cluster: in}
- {name: in, address: PORT1, tls: {certificates: [{)", pair("a"), R"(}]}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: in, endpoints: [PORT1], tls: {ca_file: ", ca(), ", server_name: a.test, peer_grace: 0, crl_file: ", file("crl.pem"), "}}\n");
  TestProxy proxy(yaml);
  TestClient client(proxy.port());
  client.send(kGet);
  EXPECT_NE(client.read_answer().find("200 OK"), std::string::npos);
  write("crl.pem", make_crl({"a"}));
  ASSERT_TRUE(proxy.reload(yaml));
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_peers_cut_total{cluster=\"in\"}", 1)) << "a tunnel of the configuration before";
  EXPECT_EQ(client.read_to_end(), "");
  TestClient again(proxy.port());
  again.send(kGet);
  EXPECT_EQ(again.read_to_end(), "");
}

TEST_F(TlsLife, CertificatesThatAreNotGoodAreRefusedOnEitherSide) {
  issue("expired", {.common_name = "expired", .dns_names = {"a.test"}, .server = true, .client = true, .lifetime = std::chrono::hours(-1)});
  issue("early", {.common_name = "early", .dns_names = {"a.test"}, .server = true, .client = true, .backdate = std::chrono::hours(-1)});
  issue("elsewhere", {.common_name = "a.test", .dns_names = {"else.test"}, .server = true, .client = true});
  issue("good", {.common_name = "good", .dns_names = {"a.test"}, .server = true, .client = true});
  pki::CertificateAuthority stranger = *pki::CertificateAuthority::make(clock_);
  pki::KeyPair foreign = *stranger.issue(clock_, {.common_name = "foreign", .dns_names = {"a.test"}, .server = true, .client = true});
  write("foreign.pem", foreign.certificate_pem);
  write("foreign.key", foreign.key_pem);
  std::string huge = read_certificate("good")->format_pem();
  for (int i = 0; i < 63; ++i) huge += pki::CertificateAuthority::make(clock_, {.common_name = std::string(60, 'x'), .key = pki::KeyKind::kEcdsaP256})->certificate_pem() ;
  for (int i = 0; i < 200; ++i) huge += read_certificate("good")->format_pem();
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  struct Row {
    const char* name;
    bool as_client, as_server;
  };
  for (const Row& row : {Row{"good", true, true}, {"expired", false, false}, {"early", false, false}, {"elsewhere", true, false}, {"foreign", false, false}}) {
    TestProxy proxy(cat(R"(listeners:
- {name: out, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: in}]}]}
- {name: in, address: PORT1, tls: {certificates: [{)", pair(row.name), "}], client_ca_file: ", ca(), R"(, require_client_certificate: false}, virtual_hosts: [{routes: [{prefix: /, cluster: app}]}]}
clusters:
- {name: app, endpoints: [")", endpoint.address(), "\"]}\n- {name: in, endpoints: [PORT1], tls: {ca_file: ", ca(), ", server_name: a.test}}\n"));
    EXPECT_EQ(TlsPeer(proxy.port(1), "a.test", as(row.name)).ask(kGet, kAnswer).ends_with("x"), row.as_client) << row.name;
    TestClient client(proxy.port());
    client.send(kGet);
    EXPECT_NE(client.read_answer().find(row.as_server ? "200 OK" : "503 Service"), std::string::npos) << row.name;
  }
  write("huge.pem", huge);
  Result<> refused = TestProxy(simple_config(endpoint.address())).reload(config(endpoint.address(), cat("certificates: [{certificate_file: ", file("huge.pem"), ", key_file: ", file("good.key"), "}]")));
  ASSERT_FALSE(refused) << "more than 64 certificates";
  EXPECT_NE(refused.error().message().find("listeners[0].tls: certificates[0]: "), std::string::npos) << refused.error().message();
}

TEST_F(TlsLife, AHugeChainFromAClientEndsTheHandshake) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}], client_ca_file: ", ca())));
  TestClient socket(proxy.port());
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_use_certificate_file(context.get(), file("web.pem").c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(context.get(), file("web.key").c_str(), SSL_FILETYPE_PEM);
  for (int i = 0; i < 400; ++i) SSL_CTX_add1_chain_cert(context.get(), authority_.certificate().handle());
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), socket.fd());
  SSL_connect(ssl.get());
  SSL_write(ssl.get(), kGet.data(), static_cast<int>(kGet.size()));
  char byte = 0;
  EXPECT_LE(SSL_read(ssl.get(), &byte, 1), 0);
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_handshake_failures_total{listener=\"web\"}", 1));
}

TEST_F(TlsLife, AnOcspAnswerIsStapledWhileItIsValid) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  std::string good = make_ocsp("a", 3600);
  write("a.ocsp", good);
  std::string yaml = config(endpoint.address(), cat("certificates: [{", pair("a"), ", ocsp_file: ", file("a.ocsp"), "}]"));
  TestProxy proxy(yaml);
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test", {.wants_ocsp = true}).ocsp(), good);
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test").ocsp(), "") << "unasked";
  std::string newer = make_ocsp("a", 7200);
  write("a.ocsp", newer);
  ASSERT_TRUE(proxy.reload(yaml));
  proxy.metric("x");
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test", {.wants_ocsp = true}).ocsp(), newer);
  write("a.ocsp", make_ocsp("a", -30));
  ASSERT_TRUE(proxy.reload(yaml));
  proxy.metric("x");
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test", {.wants_ocsp = true}).ocsp(), "") << "over";
  write("a.ocsp", make_ocsp("b", 3600));
  Result<> refused = proxy.reload(yaml);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "line 4: listeners[0].tls: certificates[0]: ocsp_file: the answer is about another certificate");
  write("a.ocsp", "nonsense");
  EXPECT_FALSE(proxy.reload(yaml));
}

TEST_F(TlsLife, KeysAreLoggedOnlyWhereAsked) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy quiet(config(endpoint.address(), cat("certificates: [{", pair("a"), "}]")));
  TestProxy talking(config(endpoint.address(), cat("certificates: [{", pair("a"), "}], key_log_file: ", file("keys.log"))));
  TlsPeer(quiet.port(), "a.test").ask(kGet, kAnswer);
  auto size_of_log = [this] {
    struct stat at{};
    return ::stat(file("keys.log").c_str(), &at) == 0 ? at.st_size : -1;
  };
  EXPECT_EQ(size_of_log(), 0);
  TlsPeer(talking.port(), "a.test").ask(kGet, kAnswer);
  EXPECT_GT(size_of_log(), 100);
  struct stat at{};
  ::stat(file("keys.log").c_str(), &at);
  EXPECT_EQ(at.st_mode & 0777U, 0600U);
}

}  // namespace
}  // namespace monopod::proxy
