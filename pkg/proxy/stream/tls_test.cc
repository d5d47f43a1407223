// TLS on either side through real sockets: names, identities, rotation, pass-through.
#include "proxy/stream/tls_test_support.h"

namespace monopod::proxy {
namespace {

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
