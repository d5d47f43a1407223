// Policy through real sockets: tokens, external authorisation, limits of the node, rules, mirrors.
#include <unistd.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/proto_wire.h"
#include "pki/jwks.h"
#include "proxy/config/load.h"
#include "proxy/config/parse.h"
#include "proxy/stream/exchange.h"
#include "proxy/test_support.h"
#include "sys/files.h"

namespace monopod::proxy {
namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// One listener with these filters before cluster "a", and further clusters.
std::string config(std::string_view filters, std::string_view a, std::string_view clusters = {}, std::string_view route = {}) {
  return cat("listeners:\n- name: web\n  address: PORT0\n  filters:\n", filters, "  virtual_hosts: [{routes: [{prefix: /, cluster: a", route, "}]}]\nclusters:\n- {name: a, endpoints: [\"", a, "\"]}\n", clusters);
}

std::string ask(TestProxy& proxy, std::string_view line, std::string_view fields = {}) {
  TestClient client(proxy.port());
  client.send(cat(line, " HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n"));
  return client.read_answer();
}

TestEndpoint::Script echo() {
  return answering([](const std::string& request) { return ok(request); });
}

class Jwt : public testing::Test {
 protected:
  std::string jwks() const {
    std::vector<pki::PublicKey> keys{key_.public_key()};
    return json::format(json::Object{{"keys", pki::format_jwks(keys)}});
  }
  std::string token(json::Object claims) const { return *pki::sign_jwt(key_, claims); }
  static std::int64_t in(std::int64_t seconds) { return std::time(nullptr) + seconds; }
  std::string file() {
    path_ = cat("/tmp/monopod-proxy-jwks-", ::getpid());
    EXPECT_TRUE(sys::replace_file(path_, jwks()));
    return path_;
  }
  ~Jwt() override {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  static std::string bearer(const std::string& token) { return cat("Authorization: Bearer ", token, "\r\n"); }

  pki::PrivateKey key_ = *pki::PrivateKey::make();
  std::string path_;
};

TEST_F(Jwt, EachFaultOfATokenIsRefused) {
  TestEndpoint a(echo());
  TestProxy proxy(config(cat("  - {kind: jwt, providers: [{name: idp, issuer: \"https://idp.test\", audiences: [shop, other], jwks_file: ", file(), ", leeway: 0, claims: {x-user: sub, x-team: org.team}}]}\n"), a.address()));
  auto good = [] { return json::Object{{"iss", "https://idp.test"}, {"aud", "shop"}, {"sub", "me"}, {"exp", in(60)}, {"org", json::Object{{"team", "blue\r\nx: y"}}}}; };
  std::string passed = ask(proxy, "GET /", cat(bearer(token(good())), "X-User: root\r\n"));
  EXPECT_TRUE(contains(passed, "200 OK") && contains(passed, "x-user: me\r\n") && contains(passed, "x-team: blue  x: y\r\n")) << passed;
  EXPECT_FALSE(contains(passed, "root")) << "nobody else sets what a claim sets";
  EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(token(good()))), "200 OK")) << "known by now";
  struct Row {
    const char* name;
    std::string token;
    const char* status;
  };
  auto with = [&](std::string_view claim, json::Value value) {
    json::Object claims = good();
    claims[claim] = std::move(value);
    return token(claims);
  };
  json::Object endless = good();
  endless.erase("exp");
  std::string tampered = token(good());
  tampered[tampered.size() - 5] = tampered[tampered.size() - 5] == 'A' ? 'B' : 'A';
  pki::PrivateKey stranger = *pki::PrivateKey::make();
  for (const Row& row : {Row{"expired", with("exp", in(-5)), "401"}, {"early", with("nbf", in(60)), "401"}, {"another issuer", with("iss", "https://evil.test"), "401"},
                         {"another audience", with("aud", "bank"), "403"}, {"a list of audiences", with("aud", json::Array{"x", "other"}), "200"}, {"no expiry", token(endless), "401"},
                         {"tampered", tampered, "401"}, {"another key", *pki::sign_jwt(stranger, good()), "401"}, {"nonsense", "a.b.c", "401"}})
    EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(row.token)), row.status)) << row.name;
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "401 Unauthorized")) << "none";
  EXPECT_TRUE(contains(ask(proxy, "GET /", "Authorization: Basic x\r\n"), "www-authenticate: Bearer\r\n"));
}

TEST_F(Jwt, RulesSeeTheNormalisedPathWithoutItsQuery) {
  TestEndpoint a(echo());
  TestProxy proxy(config(cat("  - {kind: jwt, providers: [{name: idp, jwks_file: ", file(), R"(}], rules: [{paths: [{prefix: /open}], token: none}, {paths: [{prefix: /maybe}], token: optional}]}
)"), a.address()));
  EXPECT_TRUE(contains(ask(proxy, "GET /open/x"), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /maybe"), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /maybe", bearer("a.b.c")), "401")) << "a wrong one is worse than none";
  for (std::string_view path : {"/closed", "/open/../closed", "/closed?x=/open", "/closed%3F/open", "/closed;/open", "/%6fpen/../x", "//closed"})
    EXPECT_TRUE(contains(ask(proxy, cat("GET ", path)), "401")) << path;
}

TEST_F(Jwt, TokensStandInQueriesAndCookiesAndNeedNotGoOn) {
  TestEndpoint a(echo());
  TestProxy proxy(config(cat("  - {kind: jwt, providers: [{name: idp, jwks_file: ", file(), ", query: access_token, cookie: session, forward: false}]}\n"), a.address()));
  std::string good = token({{"sub", "me"}, {"exp", in(60)}});
  EXPECT_TRUE(contains(ask(proxy, cat("GET /?x=1&access_token=", good)), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /", cat("Cookie: a=b; session=", good, "; c=d\r\n")), "200 OK"));
  std::string passed = ask(proxy, "GET /", bearer(good));
  EXPECT_TRUE(contains(passed, "200 OK") && !contains(passed, "Bearer")) << passed;
}

TEST_F(Jwt, KeysAreFetchedWhenFirstWantedAndAgainForOneThatIsUnknown) {
  TestEndpoint a(echo());
  std::atomic<int> fetched{0};
  std::atomic<bool> down{true};
  TestEndpoint idp(answering([&](const std::string& request) {
    ++fetched;
    EXPECT_TRUE(request.starts_with("GET /keys HTTP/1.1\r\nhost: idp.test\r\n")) << request;
    return down ? std::string("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n") : ok(jwks());
  }));
  std::string yaml = config("  - {kind: jwt, providers: [{name: idp, jwks_cluster: idp, jwks_host: idp.test, jwks_path: /keys, claims: {x-user: sub}}]}\n", a.address(), cat("- {name: idp, endpoints: [\"", idp.address(), "\"]}\n"));
  TestProxy proxy(yaml);
  std::string good = token({{"sub", "me"}, {"exp", in(60)}});
  EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(good)), "503 Service")) << "without keys nobody passes";
  down = false;
  TestClient client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    client.send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n", bearer(good), "\r\nbody"));
    std::string answer = client.read_answer();
    EXPECT_TRUE(contains(answer, "200 OK") && contains(answer, "x-user: me") && answer.ends_with("body")) << answer;
  }
  EXPECT_EQ(fetched, 2);
  ASSERT_TRUE(proxy.reload(yaml + "zone: z\n"));
  proxy.metric("x");
  EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(good)), "200 OK"));
  EXPECT_EQ(fetched, 2) << "keys outlive a reload";
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "401"));
  EXPECT_EQ(fetched, 2) << "who has no token makes nobody ask";
}

TEST_F(Jwt, ClaimsAreWhatRulesBehindItSee) {
  TestEndpoint a(echo());
  TestProxy proxy(config(cat("  - {kind: jwt, providers: [{name: idp, jwks_file: ", file(), ", claims: {x-role: role}}], rules: [{token: optional}]}\n",
                             "  - {kind: rbac, action: allow, rules: [{headers: [{name: x-role, exact: admin}]}]}\n"), a.address()));
  EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(token({{"role", "admin"}, {"exp", in(60)}}))), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /", bearer(token({{"role", "guest"}, {"exp", in(60)}}))), "403"));
  EXPECT_TRUE(contains(ask(proxy, "GET /", "X-Role: admin\r\n"), "403")) << "forged";
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "403"));
}

TEST(ExtAuthz, TheServiceDecidesByHttp) {
  TestEndpoint a(echo());
  std::string seen;
  std::mutex mutex;
  TestEndpoint auth(answering([&](const std::string& request) {
    std::lock_guard lock(mutex);
    seen = request;
    if (contains(request, "let-me-in")) return ok("", "x-user: me\r\nx-secret: s\r\nset-cookie: a=b\r\n");
    if (contains(request, "broken")) return std::string("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    return std::string("HTTP/1.1 401 Who\r\nx-why: because\r\nx-secret: s\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<no/>");
  }));
  std::string clusters = cat("- {name: auth, endpoints: [\"", auth.address(), "\"]}\n");
  std::string filter = "kind: ext_authz, cluster: auth, path_prefix: /check, timeout: 2s, request_headers: [authorization], upstream_headers: [X-User], client_headers: [X-Why, content-type]";
  TestProxy proxy(config(cat("  - {", filter, "}\n"), a.address(), clusters));
  std::string passed = ask(proxy, "GET /x/../y?q=1", "Authorization: let-me-in\r\nCookie: private\r\nX-User: root\r\n");
  EXPECT_TRUE(contains(passed, "200 OK") && contains(passed, "x-user: me\r\n")) << passed;
  EXPECT_FALSE(contains(passed, "root") || contains(passed, "x-secret") || contains(passed, "set-cookie")) << passed;
  EXPECT_TRUE(seen.starts_with("GET /check/y?q=1 HTTP/1.1\r\nhost: a.test\r\n")) << seen;
  EXPECT_FALSE(contains(seen, "private")) << seen;
  std::string denied = ask(proxy, "GET /", "X-User: root\r\n");
  EXPECT_TRUE(contains(denied, "401 Unauthorized") && contains(denied, "x-why: because\r\n") && contains(denied, "content-type: text/html\r\n") && denied.ends_with("<no/>")) << denied;
  EXPECT_FALSE(contains(denied, "x-secret")) << denied;
  EXPECT_TRUE(contains(ask(proxy, "GET /", "Authorization: broken\r\n"), "403 Forbidden")) << "a service that fails says no";
  ASSERT_TRUE(proxy.reload(config(cat("  - {", filter, ", on_failure: allow}\n"), a.address(), clusters)));
  proxy.metric("x");
  EXPECT_TRUE(contains(ask(proxy, "GET /", "Authorization: broken\r\n"), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "401"));
}

TEST(ExtAuthz, NoAnswerInTimeIsANo) {
  TestEndpoint a(echo());
  TestEndpoint silent([](TestClient& client, int) { client.read_to_end(); });
  for (auto [address, name] : {std::pair(silent.address(), "silent"), {std::string("127.0.0.1:1"), "nobody"}}) {
    TestProxy proxy(config("  - {kind: ext_authz, cluster: auth, timeout: 50ms, failure_status: 503}\n", a.address(), cat("- {name: auth, endpoints: [\"", address, "\"]}\n")));
    EXPECT_TRUE(contains(ask(proxy, "GET /"), "503 Service")) << name;
  }
}

TEST(ExtAuthz, AClientThatLeavesMeanwhileIsForgotten) {
  TestEndpoint a(echo());
  TestEndpoint silent([](TestClient& client, int) { client.read_to_end(); });
  TestProxy proxy(config("  - {kind: ext_authz, cluster: auth, timeout: 1h}\n", a.address(), cat("- {name: auth, endpoints: [\"", silent.address(), "\"]}\n")));
  {
    TestClient client(proxy.port());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"auth\"}", 1));
    client.reset();
  }
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_requests_active{cluster=\"auth\"}", 0));
  TestClient waits(proxy.port());
  waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");  // and one that is under way as the proxy ends
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"auth\"}", 1));
}

// A service of Check behind a second listener, which speaks HTTP/2 to the first.
TEST(ExtAuthz, TheServiceDecidesByGrpc) {
  TestEndpoint a(echo());
  std::string seen;
  std::mutex mutex;
  auto grpc = [](const std::string& message) {
    std::string body = std::string{'\0', '\0', '\0', static_cast<char>(message.size() >> 8), static_cast<char>(message.size())} + message;
    char size[8];
    std::snprintf(size, sizeof size, "%zx", body.size());
    return cat("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n", size, "\r\n", body, "\r\n0\r\ngrpc-status: 0\r\n\r\n");
  };
  auto option = [](std::string_view name, std::string_view value) {
    ProtoWriter header, out;
    header.bytes(1, name).bytes(2, value);
    out.message(1, header.str());
    return out.take();
  };
  TestEndpoint auth(answering([&](const std::string& request) {
    std::lock_guard lock(mutex);
    seen = request;
    ProtoWriter part, status, answer;
    if (contains(request, "let-me-in")) {
      part.message(2, option("x-user", "me")).message(2, option("host", "evil")).bytes(5, "x-drop").message(6, option("x-seen", "yes"));
      answer.message(1, status.str()).message(3, part.str());
    } else {
      status.integer(1, 7);
      ProtoWriter code;
      code.integer(1, 418);
      part.message(1, code.str()).message(2, option("x-why", "tea")).bytes(3, "short");
      answer.message(1, status.str()).message(2, part.str());
    }
    return grpc(answer.str());
  }));
  std::string filters = "  - {kind: ext_authz, cluster: auth, protocol: grpc, timeout: 2s}\n";
  TestProxy proxy(cat("listeners:\n- name: web\n  address: PORT0\n  filters:\n", filters, "  virtual_hosts: [{routes: [{prefix: /, cluster: a}]}]\n- {name: h2, address: PORT1, virtual_hosts: [{routes: [{prefix: /, cluster: service}]}]}\n",
                      "clusters:\n- {name: a, endpoints: [\"", a.address(), "\"]}\n- {name: auth, http2: true, endpoints: [PORT1]}\n- {name: service, endpoints: [\"", auth.address(), "\"]}\n"));
  std::string passed = ask(proxy, "GET /x?q=1", "Authorization: let-me-in\r\nX-Drop: d\r\n");
  EXPECT_TRUE(contains(passed, "200 OK") && contains(passed, "x-user: me\r\n") && contains(passed, "x-seen: yes\r\n")) << passed;
  EXPECT_FALSE(contains(passed, "X-Drop") || contains(passed, "evil")) << passed;
  EXPECT_TRUE(contains(seen, "/envoy.service.auth.v3.Authorization/Check") && contains(seen, "/x?q=1") && contains(seen, "127.0.0.1")) << seen;
  std::string denied = ask(proxy, "GET /");
  EXPECT_TRUE(contains(denied, " 418 ") && contains(denied, "x-why: tea\r\n") && denied.ends_with("short")) << denied;
  Result<> refused = proxy.reload(config(filters, a.address(), cat("- {name: auth, endpoints: [\"", auth.address(), "\"]}\n")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "line 5: listeners[0].filters[0]: cluster \"auth\" wants http2: true for protocol grpc");
}

TEST(RateLimit, IsOneForAllListenersAndOutlivesReloads) {
  TestEndpoint a(echo());
  std::string filter = "filters: [{kind: rate_limit, name: api, tokens: 3, interval: 1h, keys: [{key: header, name: X-User}]}]";
  std::string yaml = cat("listeners:\n- {name: one, address: PORT0, ", filter, ", virtual_hosts: [{routes: [{prefix: /, cluster: a}]}]}\n- {name: two, address: PORT1, ", filter,
                         ", virtual_hosts: [{routes: [{prefix: /, cluster: a}]}]}\nclusters:\n- {name: a, endpoints: [\"", a.address(), "\"]}\n");
  TestProxy proxy(yaml);
  auto from = [&proxy](int listener, std::string_view user) {
    TestClient client(proxy.port(listener));
    client.send(cat("GET / HTTP/1.1\r\nHost: a\r\n", user.empty() ? "" : "X-User: ", user, user.empty() ? "" : "\r\n", "\r\n"));
    return client.read_answer();
  };
  EXPECT_TRUE(contains(from(0, "me"), "200 OK"));
  EXPECT_TRUE(contains(from(1, "me"), "200 OK"));
  ASSERT_TRUE(proxy.reload(yaml + "zone: z\n"));
  EXPECT_TRUE(contains(from(1, "me"), "200 OK"));
  std::string over = from(0, "me");
  EXPECT_TRUE(contains(over, "429 Too Many Requests") && contains(over, "retry-after: 1200\r\n")) << over;
  EXPECT_TRUE(contains(from(0, "you"), "200 OK")) << "a bucket of its own";
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(contains(from(0, ""), "200 OK")) << "without the key there is no limit";
}

TEST(RateLimit, WorkersShareIt) {
  TestEndpoint a(echo());
  auto started = Proxy::start({.workers = 3});
  ASSERT_TRUE(started);
  TestProxy ports(simple_config(a.address()));  // for a free port
  std::uint16_t port = ports.port(1);
  auto parsed = parse_config(cat("listeners:\n- {name: one, address: \"127.0.0.1:", port, "\", filters: [{kind: rate_limit, name: x, tokens: 20, interval: 1h}], virtual_hosts: [{routes: [{prefix: /, cluster: a}]}]}\nclusters:\n- {name: a, endpoints: [\"", a.address(), "\"]}\n"),
                             [](const std::string& path) -> Result<std::string> { return fail(Code::kNotFound, path); });
  ASSERT_TRUE(parsed);
  ConfigError error;
  ASSERT_TRUE((*started)->apply(compile(parsed->spec, nullptr, error)));
  int passed = 0;
  for (int i = 0; i < 60; ++i) {
    TestClient client(port);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    passed += contains(client.read_answer(), "200 OK") ? 1 : 0;
  }
  EXPECT_EQ(passed, 20);
}

TEST(Rbac, MatchesWhatItSaysAndNothingElse) {
  TestEndpoint a(echo());
  struct Row {
    const char* rules;
    const char* line;
    const char* fields;
    const char* status;
  };
  const Row rows[] = {
      {"{action: allow, rules: [{methods: [GET], paths: [{prefix: /a}]}]}", "GET /a", "", "200"},
      {"{action: allow, rules: [{methods: [GET], paths: [{prefix: /a}]}]}", "PUT /a", "Content-Length: 0\r\n", "403"},
      {"{action: allow, rules: [{paths: [{prefix: /a}], except: {paths: [{prefix: /a/private}]}}]}", "GET /a/b", "", "200"},
      {"{action: allow, rules: [{paths: [{prefix: /a}], except: {paths: [{prefix: /a/private}]}}]}", "GET /a/b/../private", "", "403"},
      {"{action: deny, rules: [{headers: [{name: x-bad, exact: \"1\"}]}]}", "GET /", "", "200"},  // a header that is missing is no match
      {"{action: deny, rules: [{headers: [{name: x-bad, exact: \"1\"}]}]}", "GET /", "X-Bad: 0\r\nX-Bad: 1\r\n", "403"},
      {"{action: deny, rules: [{headers: [{name: x-key, present: true, invert: true}]}]}", "GET /", "", "403"},
      {"{action: deny, rules: [{headers: [{name: x-key, present: true, invert: true}]}]}", "GET /", "X-Key: k\r\n", "200"},
      {"{action: allow, rules: [{headers: [{name: x-forwarded-for, present: true}]}]}", "GET /", "X-Forwarded-For: 1.2.3.4\r\n", "200"},
      {"{action: allow, rules: [{headers: [{name: x-forwarded-for, exact: 1.2.3.4}]}]}", "GET /", "X-Forwarded-For: 1.2.3.4\r\n", "403"},  // a stranger's is taken off
      {"{action: allow, rules: [{sources: [127.0.0.0/8]}]}", "GET /", "", "200"},
      {"{action: allow, rules: [{sources: [10.0.0.0/8, \"::/0\"], except: {sources: [127.0.0.1]}}]}", "GET /", "", "403"},
      {"{action: allow, rules: [{hosts: [{exact: a.test}]}]}", "GET /", "", "200"},
      {"{action: allow, rules: [{hosts: [{exact: aXtest}]}]}", "GET /", "", "403"},
      {"{action: allow, rules: [{principals: [{prefix: \"spiffe://\"}]}]}", "GET /", "", "403"},  // without a certificate nobody is anybody
      {"{action: allow, rules: [{common_names: [{prefix: \"\"}]}]}", "GET /", "", "403"},
      {"{action: allow, rules: []}", "GET /", "", "403"},
      {"{action: deny, rules: []}", "GET /", "", "200"},
      {"{action: deny, shadow: true, rules: [{}]}", "GET /", "", "200"},
  };
  for (const Row& row : rows) {
    TestProxy proxy(config(cat("  - {kind: rbac, ", std::string_view(row.rules).substr(1), "\n"), a.address()));
    EXPECT_TRUE(contains(ask(proxy, row.line, row.fields), cat("HTTP/1.1 ", row.status))) << row.rules << " " << row.line << " " << row.fields;
  }
}

TEST(GrpcWeb, TrailersBecomeTheLastMessage) {
  TestEndpoint service(answering([](const std::string& request) {
    EXPECT_TRUE(contains(request, "application/grpc+proto\r\n")) << request;
    return std::string("HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 5\r\ngrpc-message: no\r\n\r\n");
  }));
  // Over HTTP/2 to the service, as it is in life.
  std::string yaml = cat("listeners:\n- {name: web, address: PORT0, filters: [{kind: grpc_web}], virtual_hosts: [{routes: [{prefix: /, cluster: h2}]}]}\n- {name: h2, address: PORT1, virtual_hosts: [{routes: [{prefix: /, cluster: service}]}]}\n",
                         "clusters:\n- {name: h2, http2: true, endpoints: [PORT1]}\n- {name: service, endpoints: [\"", service.address(), "\"]}\n");
  TestProxy proxy(yaml);
  TestClient client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    client.send("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 4\r\n\r\nbody");
    std::string answer = client.read_answer();
    std::string message = std::string("\x80\0\0\0\x22", 5) + "grpc-status: 5\r\ngrpc-message: no\r\n";
    EXPECT_TRUE(contains(answer, "content-type: application/grpc-web+proto\r\n") && contains(answer, "5\r\nhello\r\n") && answer.ends_with("27\r\n" + message + "\r\n0\r\n\r\n")) << answer;
  }
}

// The content of an answer in chunks.
std::string unchunk(const std::string& answer) {
  std::string out;
  for (std::string_view rest = std::string_view(answer).substr(answer.find("\r\n\r\n") + 4); !rest.empty() && rest[0] != '0';) {
    std::size_t size = std::stoul(std::string(rest.substr(0, rest.find('\r'))), nullptr, 16);
    rest.remove_prefix(rest.find('\n') + 1);
    out += rest.substr(0, size);
    rest.remove_prefix(size + 2);
  }
  return out;
}

TEST(GrpcWeb, AsTextItIsBytesToTheService) {
  std::string large(60'000, 'r');
  TestEndpoint service(answering([&](const std::string& request) {
    bool chunked = contains(request, "ransfer-") && contains(request, "ncoding: chunked\r\n");
    EXPECT_TRUE(contains(request, "application/grpc+proto\r\n") && chunked && !contains(request, "ontent-Length")) << request.substr(0, 300);
    std::string content = unchunk(request);
    return cat("HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nea60\r\n", large, "\r\n0\r\ngrpc-status: ", content.size(), "\r\n\r\n");
  }));
  std::string yaml = cat("listeners:\n- {name: web, address: PORT0, filters: [{kind: grpc_web}], virtual_hosts: [{routes: [{path: /direct/C, cluster: service}, {prefix: /, cluster: h2}]}]}\n- {name: h2, address: PORT1, virtual_hosts: [{routes: [{prefix: /, cluster: service}]}]}\n",
                         "clusters:\n- {name: h2, http2: true, endpoints: [PORT1]}\n- {name: service, endpoints: [\"", service.address(), "\"]}\n");
  TestProxy proxy(yaml);
  TestClient client(proxy.port());
  std::string head = "Host: a\r\nContent-Type: application/grpc-web-text+proto\r\n";
  for (std::string_view path : {"/a.B/C", "/direct/C"})
    for (const std::string& bytes : {std::string("body"), std::string(50'000, 'q')}) {
      std::string text = format_base64(bytes) + format_base64("x");  // two texts, each padded
      std::string message = cat("grpc-status: ", bytes.size() + 1, "\r\n");
      std::string want = cat("hello", large, std::string("\x80\0\0\0", 4), std::string(1, static_cast<char>(message.size())), message);
      client.send(cat("POST ", path, " HTTP/1.1\r\n", head, "Content-Length: ", text.size(), "\r\n\r\n", text));
      std::string answer = client.read_until("\r\n0\r\n\r\n");
      EXPECT_TRUE(contains(answer, "content-type: application/grpc-web-text+proto\r\n")) << answer.substr(0, 200);
      EXPECT_EQ(parse_base64(unchunk(answer)).value_or("no base64"), want) << path;
      client.send(cat("POST ", path, " HTTP/1.1\r\n", head, "Accept: application/grpc-web+proto\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", text.substr(0, 2), "\r\n6\r\n", text.substr(2, 6), "\r\n0\r\n\r\n"));
      answer = client.read_until("\r\n0\r\n\r\n");
      EXPECT_TRUE(contains(answer, "content-type: application/grpc-web+proto\r\n")) << answer.substr(0, 200);
      EXPECT_TRUE(unchunk(answer).starts_with("hello"));
    }
  TestClient other(proxy.port());
  other.send(cat("POST /a.B/C HTTP/1.1\r\n", head, "Content-Length: 4\r\n\r\nbo!y"));
  EXPECT_TRUE(contains(other.read_until("\r\n\r\n"), "grpc-status: 13\r\n"));
}

TEST(GrpcReplies, AreInTheCallersOwnTerms) {
  TestEndpoint a(echo());
  TestProxy proxy(config("  - {kind: rbac, action: deny, rules: [{paths: [{prefix: /denied}]}]}\n  - {kind: local_rate_limit, tokens: 1, interval: 1h}\n", a.address()));
  std::string type = "Content-Type: application/grpc\r\n";
  std::string denied = ask(proxy, "GET /denied", type);
  EXPECT_TRUE(contains(denied, "HTTP/1.1 200 OK\r\n") && contains(denied, "content-type: application/grpc\r\ngrpc-status: 7\r\ngrpc-message: RBAC: access denied\r\n") && contains(denied, "content-length: 0\r\n")) << denied;
  EXPECT_TRUE(contains(ask(proxy, "GET /x", type), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /x", type), "grpc-status: 14\r\n"));
  EXPECT_TRUE(contains(ask(proxy, "GET /x", "Content-Type: application/grpcish\r\n"), "429"));
  EXPECT_EQ(proxy.metric("monopod_proxy_requests_total{listener=\"web\",code=\"4xx\"}"), 3) << "the log and the metrics say what it was";
}

// What a process of this size may use, so that it uses so many percent of it.
std::string memory_for(std::uint32_t percent) {
  std::uint64_t rss = 0;
  std::string text = *read_whole("/proc/self/statm", 1000);
  rss = parse_int<std::uint64_t>(split(text, ' ')[1]).value_or(0) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return cat("memory_mb: ", std::max<std::uint64_t>(1, (rss * 100 / percent) >> 20), "\n");
}

TEST(Shed, WhatMattersLessIsRefusedFirst) {
  TestEndpoint a(echo());
  std::string filter = "  - {kind: shed, priority_header: X-Priority, low_percent: 40, normal_percent: 98}\n";
  TestProxy proxy(config(filter, a.address(), memory_for(70)));
  std::string low = ask(proxy, "GET /", "x-priority: low\r\n");
  EXPECT_TRUE(contains(low, "HTTP/1.1 503") && contains(low, "retry-after: 1\r\n")) << low;
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "200 OK"));
  ASSERT_TRUE(proxy.reload(config("  - {kind: shed, priority_header: x-priority, low_percent: 40, normal_percent: 50}\n", a.address(), memory_for(70))));
  proxy.metric("x");
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "HTTP/1.1 503"));
  EXPECT_TRUE(contains(ask(proxy, "GET /", "x-priority: high\r\n"), "200 OK"));
  ASSERT_TRUE(proxy.reload(config(filter, a.address())));
  proxy.metric("x");
  EXPECT_TRUE(contains(ask(proxy, "GET /", "x-priority: low\r\n"), "200 OK")) << "there is no ceiling";
}

TEST(Shed, PastTheCeilingNoConnectionIsTaken) {
  TestEndpoint a(echo());
  TestProxy proxy(config("  - {kind: shed}\n", a.address(), "memory_mb: 1\n"));
  TestClient client(proxy.port());
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_overloaded_total{listener=\"web\"}", 1));
}

TEST(GrpcTimeout, IsReadAsItIsWritten) {
  EXPECT_EQ(parse_grpc_timeout("100m"), Milliseconds(100));
  EXPECT_EQ(parse_grpc_timeout("2S"), Milliseconds(2000));
  EXPECT_EQ(parse_grpc_timeout("99999999H"), Milliseconds(99'999'999LL * 3'600'000));
  EXPECT_EQ(parse_grpc_timeout("1500u"), Milliseconds(2));
  EXPECT_EQ(parse_grpc_timeout("0n"), Milliseconds(1));
  for (std::string_view text : {"", "m", "100", "100x", "999999999m", "-1m", "1.5S"}) EXPECT_FALSE(parse_grpc_timeout(text)) << text;
}

// What a mirror was given, each on a connection of its own.
class Copies {
 public:
  void add(const std::string& request) {
    std::lock_guard lock(mutex_);
    all_.push_back(request);
    ++count_;
    count_.notify_all();
  }
  std::vector<std::string> sorted(int count) {
    for (int now = count_; now < count; now = count_) count_.wait(now);
    std::lock_guard lock(mutex_);
    std::ranges::sort(all_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> all_;
  std::atomic<int> count_{0};
};

TEST(Mirror, ACopyGoesThereAndItsAnswerNowhere) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  Copies copies;
  TestEndpoint b(answering([&](const std::string& request) {
    copies.add(request);
    return std::string("HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nbad");
  }));
  TestProxy proxy(config("  - {kind: headers, request_headers: {set: {x-f: one}}}\n", a.address(), cat("- {name: b, endpoints: [\"", b.address(), "\"]}\n"), ", mirror: {cluster: b}"));
  TestClient client(proxy.port());
  client.send("POST /x?y HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\na"));
  client.send("POST /z HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n");
  EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\na"));
  std::vector<std::string> got = copies.sorted(2);
  EXPECT_TRUE(got[0].starts_with("POST /x?y HTTP/1.1\r\n") && contains(got[0], "x-f: one\r\n") && got[0].ends_with("\r\n\r\nbody")) << got[0];
  EXPECT_TRUE(contains(got[1], "4\r\nmore\r\n0\r\n\r\n")) << got[1];
  EXPECT_EQ(proxy.metric("monopod_proxy_requests_total{listener=\"web\",code=\"2xx\"}"), 2);
}

TEST(Mirror, OverHttp2ItsBodyIsContent) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  Copies copies;
  TestEndpoint b(answering([&](const std::string& request) {
    copies.add(request);
    return ok("b");
  }));
  TestProxy proxy(cat("listeners:\n- {name: web, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: a, mirror: {cluster: h2}}]}]}\n- {name: h2, address: PORT1, virtual_hosts: [{routes: [{prefix: /, cluster: b}]}]}\n",
                      "clusters:\n- {name: a, endpoints: [\"", a.address(), "\"]}\n- {name: h2, http2: true, endpoints: [PORT1]}\n- {name: b, endpoints: [\"", b.address(), "\"]}\n"));
  TestClient client(proxy.port());
  for (std::string_view request : {"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n3\r\nand\r\n0\r\n\r\n", "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"}) {
    client.send(std::string(request));
    EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\na"));
  }
  std::vector<std::string> got = copies.sorted(3);
  EXPECT_TRUE(got[0].starts_with("GET /3 ") && got[0].ends_with("\r\n\r\n")) << got[0];
  EXPECT_TRUE(got[1].starts_with("POST /1 ") && contains(got[1], "7\r\nmoreand\r\n0\r\n\r\n")) << got[1];
  EXPECT_TRUE(got[2].starts_with("POST /2 ") && got[2].ends_with("\r\n\r\nbody")) << got[2];
}

TEST(Mirror, ABodyThatIsLargerThanTheBufferIsKeptAsItPasses) {
  std::atomic<std::size_t> size{0};
  TestEndpoint a(answering([&](const std::string& request) {
    size = request.size() - request.find("\r\n\r\n") - 4;
    return ok("a");
  }));
  Copies copies;
  TestEndpoint b(answering([&](const std::string& request) {
    copies.add(request);
    return ok("b");
  }));
  TestProxy proxy(config("", a.address(), cat("- {name: b, endpoints: [\"", b.address(), "\"]}\n"), ", mirror: {cluster: b, body_kb_max: 200}"));
  std::string body(190'000, 'm'), chunk = cat("1d4c0\r\n", std::string(120'000, 'n'), "\r\n0\r\n\r\n");
  auto post = [&](std::string_view fields, std::string_view content) {
    TestClient client(proxy.port());
    client.send(cat("POST /", content.size(), " HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n", content));
    EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\na"));
    EXPECT_EQ(size, content.size());
  };
  post(cat("Content-Length: ", body.size(), "\r\n"), body);
  post("Transfer-Encoding: chunked\r\n", chunk);
  std::vector<std::string> got = copies.sorted(2);
  EXPECT_TRUE(got[0].ends_with(chunk) && got[1].ends_with("\r\n\r\n" + body));
  std::string larger(205'001, 'l');
  post(cat("Content-Length: ", larger.size(), "\r\n"), larger);
  post("Transfer-Encoding: chunked\r\n", cat("493e0\r\n", std::string(300'000, 'k'), "\r\n0\r\n\r\n"));
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_mirrors_skipped_total{cluster=\"b\"}"), 2);
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_mirrors_total{cluster=\"b\"}"), 2);
}

}  // namespace
}  // namespace monopod::proxy
