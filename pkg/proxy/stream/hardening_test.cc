// Rows of the hardening table by their numbers: what no other test has. H1: codec/smuggling_test.cc; H3: route/route_test.cc; H7: interleavings_test.cc.
// Each of those below names its neighbours.
#include <poll.h>
#include <sys/socket.h>

#include "proxy/stream/tls_test_support.h"

namespace monopod::proxy {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t out = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++out;
  return out;
}

const std::string kHead("\x82\x86\x84\x41\x01" "a", 6);  // GET http / a

// The first frame of type, or an empty text where the connection ends before: its flags, stream and payload stand behind four bytes.
std::string read_frame(TestClient& client, char type) {
  for (;;) {
    std::string head = client.read(9);
    if (head.size() < 9) return {};
    auto byte = [&head](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(head[i])); };
    std::string payload = client.read(byte(0) << 16U | byte(1) << 8U | byte(2));
    if (head[3] == type) return payload;
  }
}

std::string ask(TestProxy& proxy, std::string_view line, std::string_view fields = {}) {
  TestClient client(proxy.port());
  client.send(cat(line, " HTTP/1.1\r\nHost: a.test\r\n", fields, "connection: close\r\n\r\n"));
  return client.read_to_end();
}

// H2 (CVE-2023-27493), beside lines of the access log (observe_test.cc).
TEST(HardeningH2, NothingThatIsCopiedToAHeaderBeginsALine) {
  SlabPool slabs;
  Arena arena(slabs);
  HeadEdits edits;
  edits.add(arena, "x-claim", "a\r\nx-evil: 1\r\n\r\nb");
  EXPECT_EQ(edits.find_added("x-claim"), "a  x-evil: 1    b");
  TestProxy proxy("listeners:\n- {name: web, address: PORT0, explain_header: true, virtual_hosts: [{routes: [{prefix: /old, redirect: {prefix: /new}}]}]}\nclusters: []\n");
  for (const char* line : {"GET /old/%0d%0ax-evil:%201", "GET /old/a?b=%0d%0ax-evil:%201", "GET /old/%0Ax-evil:1"}) {
    std::string answer = ask(proxy, line, "x-monopod-explain: 1\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 30") || answer.starts_with("HTTP/1.1 400")) << answer;
    EXPECT_EQ(to_lower(answer).find("\nx-evil"), std::string::npos) << answer;
  }
}

// H4 (CVE-2020-25017, CVE-2021-32777, CVE-2024-45806), beside hop-by-hop fields (codec_test.cc).
TEST(HardeningH4, WhatAStrangerSaysOfItselfIsNotBelieved) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(to_lower(request)); }));
  TestProxy proxy(simple_config(endpoint.address(), "  filters: [{kind: rbac, action: deny, rules: [{headers: [{name: x-role, exact: admin}]}]}]\n"));
  std::string seen = ask(proxy, "GET /", "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-Envoy-Internal: true\r\nX-Envoy-Original-Path: /admin\r\nX-Drop: 1\r\nConnection: x-drop\r\nx_role: admin\r\n");
  for (const char* gone : {"10.0.0.1", "x-envoy", "x-drop", "proto: https"}) EXPECT_FALSE(contains(seen, gone)) << gone << seen;
  EXPECT_TRUE(contains(seen, "x-forwarded-for: 127.0.0.1\r\n") && contains(seen, "x-forwarded-proto: http\r\n") && contains(seen, "x_role: admin")) << seen;
  EXPECT_TRUE(ask(proxy, "GET /", "X-Role: user\r\nX-Role: admin\r\n").starts_with("HTTP/1.1 403")) << "policy sees each of two";
  for (const char* nominated : {"Connection: host\r\n", "Connection: x-forwarded-for\r\nX-Forwarded-For: 10.0.0.1\r\n", "Connection: content-length\r\n"})
    EXPECT_FALSE(contains(ask(proxy, "GET /", nominated), "10.0.0.1")) << nominated;
}

// H5 (CVE-2023-44487, CVE-2025-8671, CVE-2019-9511 to 9518): beside floods of resets, PING, SETTINGS, PRIORITY, CONTINUATION and empty DATA (http2_test.cc) and
// tests/integration/http2.
TEST(HardeningH5, WhatAPeerMakesTheServerDoIsCountedToo) {
  std::string provoked, settings, empty_name = frame(1, 5, 1, kHead + std::string("\0\0\1x", 4));
  for (std::uint32_t i = 0; i < 3000; ++i) provoked += frame(1, 4, 2 * i + 1, "\x83" + kHead.substr(1)) + frame(8, 0, 2 * i + 1, std::string(4, '\0'));
  for (int i = 0; i < 2500; ++i) settings += std::string("\0\x77\0\0\0\1", 6);
  struct Row {
    const char* name;
    std::string bytes;
    char type, code;  // of the frame that answers
  };
  const Row rows[] = {{"resets that are provoked", provoked, 7, 11},
                      {"ten thousand settings", frame(4, 0, 0, settings) + frame(4, 0, 0, settings) + frame(4, 0, 0, settings) + frame(4, 0, 0, settings), 7, 11},
                      {"an even identifier", frame(1, 5, 2, kHead), 7, 1},
                      {"an identifier once more", frame(1, 5, 3, kHead) + frame(1, 5, 1, kHead), 7, 1},
                      {"a name without a letter", empty_name, 3, 1},
                      {"a window that overflows", frame(8, 0, 0, "\x7f\xff\xff\xff") + frame(8, 0, 0, "\x7f\xff\xff\xff"), 7, 3}};
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  limits: {connections: 10000, requests: 10000}\n"));
  for (const Row& row : rows) {
    TestClient client(proxy.port());
    client.send(cat(kPreface, frame(4, 0, 0, ""), row.bytes));
    std::string answer = read_frame(client, row.type);
    ASSERT_FALSE(answer.empty()) << row.name;
    EXPECT_EQ(answer[row.type == 7 ? 7 : 3], row.code) << row.name;
  }
  TestClient after(proxy.port());
  after.send(kGet);
  EXPECT_TRUE(after.read_answer().ends_with("x"));
}

TEST(HardeningH5, AWindowThatIsNeverOpenedHoldsTheEndpointBack) {
  constexpr std::size_t kBody = 64U << 20;
  std::atomic<std::size_t> sent{0};
  std::atomic<bool> held{false};
  TestEndpoint endpoint([&](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    client.send(cat("HTTP/1.1 200 OK\r\ncontent-length: ", kBody, "\r\n\r\n"));
    const std::string piece(65536, 'x');
    for (;;) {
      ssize_t n = ::send(client.fd(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += static_cast<std::size_t>(n);
      pollfd look{client.fd(), POLLOUT, 0};
      if (n < 0 && (errno != EAGAIN || ::poll(&look, 1, 500) == 0)) break;
      if (sent >= kBody) break;
    }
    held = true;
    held.notify_all();
    client.read_to_end();
  });
  TestProxy proxy(simple_config(endpoint.address()));
  TestClient client(proxy.port());
  client.send(cat(kPreface, frame(4, 0, 0, std::string("\0\4\0\0\0\0", 6)), frame(1, 5, 1, kHead)));
  held.wait(false);
  EXPECT_LT(sent, kBody / 2) << "what the kernel holds of two connections, and a slab";
  TestClient other(proxy.port());
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 1));
  client.reset();
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 0));
}

// H6 (CVE-2024-23326), beside early answers, trailers and floods of 1xx (http_test.cc).
TEST(HardeningH6, WhateverAnswersAnUpgradeTheNextRequestIsNoRequest) {
  struct Row {
    const char* answer;
    const char* status;
    const char* also;  // in what the client gets
  };
  const Row rows[] = {{"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "200", "ok"},
                      {"HTTP/1.1 204 No Content\r\n\r\n", "204", ""},
                      {"HTTP/1.1 426 Upgrade Required\r\nupgrade: x\r\ncontent-length: 0\r\n\r\n", "426", ""},
                      {"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\ncontent-length: 5\r\n\r\nhello", "101", "\r\n\r\nhello"},
                      {"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\ntransfer-encoding: chunked\r\n\r\n", "502", ""},
                      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbytes", "100", "bytes"}};
  for (const Row& row : rows) {
    std::atomic<int> requests{0};
    TestEndpoint endpoint([&](TestClient& client, int) {
      client.read_until("\r\n\r\n");
      ++requests;
      client.send(row.answer);
    });
    TestProxy proxy(simple_config(endpoint.address()));
    TestClient client(proxy.port());
    client.send(cat("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", kGet));
    std::string all = client.read_to_end();
    EXPECT_TRUE(all.starts_with(cat("HTTP/1.1 ", row.status))) << row.answer << all;
    EXPECT_TRUE(contains(all, row.also)) << all;
    EXPECT_EQ(count(all, "HTTP/1.1 "), contains(row.answer, "100 Continue") ? 2U : 1U) << all;
    EXPECT_EQ(requests, 1) << row.answer;
  }
}

// H8, beside half-closes, dribbled requests, descriptors that run out and slow bodies (http_test.cc), and the ceiling of memory (filters_test.cc).
TEST(HardeningH8, ManyWhoSendLittleHoldNobodyUpAndAreGivenUp) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(simple_config(endpoint.address(), "  header_timeout: 700ms\n  idle_timeout: 700ms\n"));
  std::vector<std::unique_ptr<TestClient>> slow, idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(std::make_unique<TestClient>(proxy.port()));
    slow.push_back(std::make_unique<TestClient>(proxy.port()));
    slow.back()->send(kGet.substr(0, 1 + static_cast<std::size_t>(i) % (kGet.size() - 1)));
  }
  TestClient client(proxy.port());
  for (char byte : kGet) client.send({&byte, 1});
  EXPECT_TRUE(client.read_answer().ends_with("x"));
  for (auto& one : slow) EXPECT_TRUE(one->read_to_end().starts_with("HTTP/1.1 408"));
  for (auto& one : idle) EXPECT_EQ(one->read_to_end(), "");
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
}

// H9 (CVE-2022-0778, CVE-2022-3602, CVE-2024-32475), beside huge chains, certificates that expire or are revoked, and rotation (tls_life_test.cc, tls_test.cc).
using HardeningH9 = Tls;

// The first flight of a client, as bytes.
std::string client_hello(const std::string& server_name, std::string_view alpn) {
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
  SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  SSL_connect(ssl.get());
  char* data = nullptr;
  long size = BIO_get_mem_data(out, &data);
  return {data, static_cast<std::size_t>(size)};
}

TEST_F(HardeningH9, OddNamesAndProtocolsEndAHandshakeAndNothingElse) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}, {", pair("b"), "}]")));
  std::string nul = client_hello("axtest.example", "\x02h2"), empty_alpn = client_hello("a.test", "\x08http/1.1");
  nul[nul.find("axtest.example") + 1] = '\0';
  empty_alpn[empty_alpn.find("\x08http/1.1")] = '\0';  // a protocol without a name, and bytes behind it
  struct Row {
    const char* name;
    std::string bytes;
    bool alert;
  };
  const Row rows[] = {{"a name with NUL", nul, true}, {"a protocol without a name", empty_alpn, true}, {"no name", client_hello("", "\x02h2"), false},
                      {"a name of 255", client_hello(std::string(251, 'n') + ".com", "\x02h2"), false}, {"no TLS", std::string(300, '\x16'), true}};
  for (const Row& row : rows) {
    TestClient client(proxy.port());
    client.send(row.bytes);
    client.shutdown();
    std::string answer = client.read_to_end();
    if (answer.empty()) continue;  // closed without a word is as good as an alert
    EXPECT_EQ(answer[0] == 0x15, row.alert) << row.name;
  }
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test").name, "a");
  EXPECT_EQ(TlsPeer(proxy.port(), "x.b.test").name, "b");
}

TEST_F(HardeningH9, NobodyRenegotiates) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(config(endpoint.address(), cat("certificates: [{", pair("a"), "}]")));
  TestClient socket(proxy.port());
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), socket.fd());
  ASSERT_EQ(SSL_connect(ssl.get()), 1);
  SSL_renegotiate(ssl.get());
  int again = SSL_do_handshake(ssl.get());
  char byte = 0;
  bool refused = again != 1 || SSL_peek(ssl.get(), &byte, 1) <= 0;
  EXPECT_TRUE(refused);
  EXPECT_EQ(TlsPeer(proxy.port(), "a.test").name, "a");
}

// H10 (CVE-2022-21679 and others): a configuration, wherever it comes from. Beside config/config_test.cc and last_good_test.cc.
TEST(HardeningH10, WhatIsBadIsRefusedWholeAndWhatIsInUseEndsWell) {
  std::atomic<bool> go{false};
  TestEndpoint endpoint(answering_late(go));
  std::string good = simple_config(endpoint.address());
  TestProxy proxy(good);
  TestClient under_way(proxy.port());
  under_way.send(kGet);
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 1));
  struct Row {
    const char *from, *to, *why;
  };
  const Row rows[] = {{"prefix: /", "regex: \"(a\"", "regexp"},
                      {"clusters:\n", "clusters:\n- {name: backend, endpoints: [\"127.0.0.1:1\"]}\n", "backend"},
                      {"listeners:\n", "listeners:\n- {name: web, address: 127.0.0.1:0, protocol: tcp, cluster: backend}\n", "web"},
                      {"cluster: backend", "cluster: gone", "gone"},
                      {"name: main", "nam: main", "unknown field"},
                      {"prefix: /", "prefix: [", "line "}};
  for (const Row& row : rows) {
    std::string bad = good;
    bad.replace(bad.find(row.from), std::string_view(row.from).size(), row.to);
    Result<> refused = proxy.reload(bad);
    ASSERT_FALSE(refused) << row.to;
    EXPECT_TRUE(contains(refused.error().message(), row.why)) << refused.error().message();
  }
  std::string other = good;  // the cluster in use is gone, and its listener's route
  for (std::size_t at; (at = other.find("backend")) != std::string::npos;) other.replace(at, 7, "newer");
  ASSERT_TRUE(proxy.reload(other));
  go = true;
  go.notify_all();
  EXPECT_TRUE(under_way.read_answer().ends_with("late"));
  TestClient after(proxy.port());
  after.send(kGet);
  EXPECT_TRUE(after.read_answer().ends_with("late"));
}

// H11 (CVE-2026-39350): text of a policy or a route is text, unless it says that it is a pattern.
TEST(HardeningH11, NamesAreNoPatterns) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  struct Row {
    const char* rule;
    const char* line;
    const char* fields;
    bool allowed;
  };
  const Row rows[] = {{"hosts: [{exact: a.test}]", "GET /", "", true},
                      {"hosts: [{exact: a.tes.}]", "GET /", "", false},
                      {"hosts: [{exact: \"*\"}]", "GET /", "", false},
                      {"paths: [{exact: /a.c}]", "GET /a.c", "", true},
                      {"paths: [{exact: /a.c}]", "GET /abc", "", false},
                      {"paths: [{prefix: \"/a*\"}]", "GET /ab", "", false},
                      {"paths: [{prefix: \"/a*\"}]", "GET /a*b", "", true},
                      {"headers: [{name: x-k, exact: \"a|b\"}]", "GET /", "x-k: a\r\n", false},
                      {"headers: [{name: x-k, exact: \"a|b\"}]", "GET /", "x-k: a|b\r\n", true},
                      {"headers: [{name: x-k, regex: \"a.c\"}]", "GET /", "x-k: abc\r\n", true},
                      {"headers: [{name: x-k, regex: \"a.c\"}]", "GET /", "x-k: xabc\r\n", false},
                      {"principals: [{exact: \".*\"}]", "GET /", "", false}};
  for (const Row& row : rows) {
    TestProxy proxy(simple_config(endpoint.address(), cat("  filters: [{kind: rbac, action: allow, rules: [{", row.rule, "}]}]\n")));
    TestClient client(proxy.port());
    client.send(cat(row.line, " HTTP/1.1\r\nHost: a.test\r\n", row.fields, "\r\n"));
    EXPECT_EQ(client.read_answer().starts_with("HTTP/1.1 200"), row.allowed) << row.rule << " " << row.line << " " << row.fields;
  }
}

// H12 (CVE-2020-8595), beside Jwt and ExtAuthz (filters_test.cc): what cannot be told is refused.
TEST(HardeningH12, PoliciesFailClosed) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestEndpoint silent([](TestClient& client, int) { client.read_to_end(); });
  struct Row {
    const char* filter;
    const char* line;
    const char* fields;
    const char* status;
  };
  const Row rows[] = {{"{kind: rbac, action: deny, rules: [{paths: [{exact: /admin}]}]}", "GET /admin?x", "", "403"},
                      {"{kind: rbac, action: deny, rules: [{paths: [{exact: /admin}]}]}", "GET /admin#x", "", "400"},
                      {"{kind: rbac, action: deny, rules: [{paths: [{exact: /admin}]}]}", "GET /./admin", "", "403"},
                      {"{kind: rbac, action: deny, rules: [{paths: [{exact: /admin}]}]}", "GET //admin", "", "403"},
                      {"{kind: rbac, action: allow, rules: [{headers: [{name: x-role, exact: admin}]}]}", "GET /", "", "403"},
                      {"{kind: ext_authz, cluster: silent, timeout: 100ms}", "GET /", "", "403"},
                      {"{kind: ext_authz, cluster: nobody, timeout: 100ms}", "GET /", "", "403"}};
  for (const Row& row : rows) {
    TestProxy proxy(cat(simple_config(endpoint.address(), cat("  filters: [", row.filter, "]\n")), "- {name: silent, endpoints: [\"", silent.address(), "\"]}\n- {name: nobody, endpoints: [\"127.0.0.1:1\"]}\n"));
    EXPECT_TRUE(ask(proxy, row.line, row.fields).starts_with(cat("HTTP/1.1 ", row.status))) << row.filter << row.line;
  }
}

}  // namespace
}  // namespace monopod::proxy
