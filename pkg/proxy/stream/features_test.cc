// Routes, filters, retries, limits, balancers, reload and TCP through real sockets.
#include "base/strings.h"
#include "proxy/codec/proxy_protocol.h"
#include "proxy/config/parse.h"
#include "proxy/observe/explain.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

// A proxy with these routes on one virtual host, and clusters "a" and "b" at the endpoints.
std::string config(std::string_view routes, std::string_view a, std::string_view b, std::string_view listener = {}, std::string_view cluster = {}) {
  return cat("listeners:\n- name: web\n  address: PORT0\n", listener, "  virtual_hosts:\n  - name: h\n    routes:\n", routes, "clusters:\n- name: a\n  endpoints: [\"", a, "\"]\n", cluster,
             "- name: b\n  endpoints: [\"", b, "\"]\n");
}

std::string ask(TestProxy& proxy, std::string_view line, std::string_view fields = {}) {
  TestClient client(proxy.port());
  client.send(cat(line, " HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n"));
  return client.read_answer();
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(Routes, TheFirstThatMatchesTakesTheRequest) {
  TestEndpoint a(answering([](const std::string& request) { return ok("a " + request); }));
  TestEndpoint b(answering([](const std::string& request) { return ok("b " + request); }));
  TestProxy proxy(config(R"(
    - {path: /exact, cluster: b}
    - {regex: "/v[0-9]+/x", cluster: b}
    - {template: "/users/{id}/photo", cluster: b}
    - {prefix: /m, methods: [POST, PUT], cluster: b}
    - {prefix: /q, query: [{name: v, exact: "2"}], cluster: b}
    - {prefix: /h, headers: [{name: X-Canary, prefix: "yes"}], cluster: b}
    - {prefix: /not, headers: [{name: x-canary, present: true, invert: true}], cluster: b}
    - {prefix: /old, redirect: {status: 308, prefix: /new, host: b.test, scheme: https}}
    - {prefix: /hello, direct_response: {status: 418, body: "short"}, response_headers: {set: {x-direct: "1"}}}
    - {prefix: /strip, prefix_rewrite: /, host_rewrite: inner.test, cluster: b, request_headers: {remove: [x-secret], set: {x-set: s}, add: {x-add: t}}, response_headers: {remove: [x-inner], add: {x-out: u}}}
    - {prefix: /api, cluster: a}
)", a.address(), b.address()));
  auto went_to = [&proxy](std::string_view line, std::string_view fields = {}) {
    std::string answer = ask(proxy, line, fields);
    return answer.substr(answer.find("\r\n\r\n") + 4, 1);
  };
  EXPECT_EQ(went_to("GET /exact"), "b");
  EXPECT_TRUE(contains(ask(proxy, "GET /exact/x"), "404 Not Found"));
  EXPECT_EQ(went_to("GET /v12/x"), "b");
  EXPECT_TRUE(contains(ask(proxy, "GET /v12/xx"), "404"));
  EXPECT_EQ(went_to("GET /users/7/photo"), "b");
  EXPECT_EQ(went_to("PUT /m", "Content-Length: 0\r\n"), "b");
  EXPECT_TRUE(contains(ask(proxy, "GET /m"), "404"));
  EXPECT_EQ(went_to("GET /q?u=1&v=2"), "b");
  EXPECT_TRUE(contains(ask(proxy, "GET /q?v=3"), "404"));
  EXPECT_EQ(went_to("GET /h", "x-canary: yes, please\r\n"), "b");
  EXPECT_TRUE(contains(ask(proxy, "GET /h"), "404"));
  EXPECT_EQ(went_to("GET /not"), "b");
  EXPECT_EQ(went_to("GET /api/../exact"), "b") << "routes see the normalised path";
  EXPECT_TRUE(contains(ask(proxy, "GET /old/x?y=z"), "308 Permanent Redirect\r\nlocation: https://b.test/new/x?y=z\r\n"));
  std::string direct = ask(proxy, "GET /hello");
  EXPECT_TRUE(contains(direct, "HTTP/1.1 418 ") && contains(direct, "x-direct: 1\r\n") && direct.ends_with("short")) << direct;
  std::string rewritten = ask(proxy, "GET /strip/a?b", "X-Secret: 1\r\nX-Set: old\r\n");
  EXPECT_TRUE(contains(rewritten, "b GET /a?b HTTP/1.1\r\n")) << rewritten;
  EXPECT_TRUE(contains(rewritten, "host: inner.test\r\n") && contains(rewritten, "x-set: s\r\n") && contains(rewritten, "x-add: t\r\n") && contains(rewritten, "x-out: u\r\n")) << rewritten;
  EXPECT_FALSE(contains(rewritten, "Secret") || contains(rewritten, "old")) << rewritten;
}

TEST(Routes, WeightsShareTheRequests) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  TestProxy proxy(config("    - {prefix: /, clusters: [{name: a, weight: 90}, {name: b, weight: 10}]}\n", a.address(), b.address()));
  TestClient client(proxy.port());
  int to_b = 0;
  for (int i = 0; i < 1000; ++i) {
    client.send(kGet);
    to_b += client.read_answer().back() == 'b' ? 1 : 0;
  }
  EXPECT_GT(to_b, 50);
  EXPECT_LT(to_b, 170);
}

TEST(Filters, RunInTheirOrder) {
  TestEndpoint a(answering([](const std::string& request) { return ok(request); }));
  TestProxy proxy(config("    - {prefix: /, cluster: a}\n", a.address(), a.address(), R"(
  filters:
  - {kind: cors, allow_origins: [{exact: "https://app.test"}], allow_methods: [GET, PUT], max_age: 10m}
  - {kind: rbac, action: deny, rules: [{paths: [{prefix: /private}]}, {sources: [10.0.0.0/8]}]}
  - {kind: headers, request_headers: {set: {x-f: one}}, response_headers: {set: {server: monopod}}}
  - {kind: fault, abort_percent: 0, delay_percent: 100, delay: 20ms}
)"));
  EXPECT_TRUE(contains(ask(proxy, "GET /private/x"), "403 Forbidden"));
  EXPECT_TRUE(contains(ask(proxy, "GET /a/../private"), "403 Forbidden")) << "policy sees the normalised path";
  std::string passed = ask(proxy, "GET /x", "Origin: https://app.test\r\n");
  EXPECT_TRUE(contains(passed, "access-control-allow-origin: https://app.test\r\n") && contains(passed, "x-f: one\r\n") && contains(passed, "server: monopod\r\n")) << passed;
  std::string stranger = ask(proxy, "GET /x", "Origin: https://evil.test\r\n");
  EXPECT_FALSE(contains(stranger, "allow-origin")) << stranger;
  TestClient client(proxy.port());
  client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n");
  std::string preflight = client.read_answer(false);
  EXPECT_TRUE(contains(preflight, "204 No Content") && contains(preflight, "access-control-allow-methods: GET, PUT\r\n") && contains(preflight, "access-control-max-age: 600\r\n")) << preflight;
}

TEST(Filters, ALocalRateLimitLetsItsTokensThrough) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestProxy proxy(config("    - {prefix: /, cluster: a}\n", a.address(), a.address(), "  filters: [{kind: local_rate_limit, tokens: 5, interval: 1h}]\n"));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(contains(ask(proxy, "GET /"), "200 OK")) << i;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(contains(ask(proxy, "GET /"), "429 Too Many Requests")) << i;
}

TEST(Retries, StatusesAndConnectFailuresAreTriedAgain) {
  std::atomic<int> calls{0};
  TestEndpoint a(answering([&calls](const std::string& request) {
    int n = calls++;
    return n % 3 == 2 ? ok(request.substr(request.find("\r\n\r\n") + 4)) : std::string("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
  }));
  TestProxy proxy(config("    - {prefix: /, cluster: a, retry: {attempts: 2, conditions: [5xx], backoff: 1ms}}\n", a.address(), a.address()));
  TestClient client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    EXPECT_TRUE(client.read_answer().ends_with("body")) << "the body is sent anew";
  }
  EXPECT_EQ(calls, 9);
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_retries_total{cluster=\"a\"}"), 3) << "one request counts once against the limit";
}

TEST(Retries, APooledConnectionThatWasClosedIsReplaced) {
  TestEndpoint a([](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    client.send(ok("x"));  // and closes, without having said so
  });
  TestProxy proxy(simple_config(a.address()));
  TestClient client(proxy.port());
  for (int i = 0; i < 30; ++i) {
    client.send(kGet);
    EXPECT_TRUE(contains(client.read_answer(), "200 OK")) << i;
  }
}

TEST(Retries, AnotherEndpointIsTriedWhereOneRefuses) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  std::string yaml = simple_config(a.address(), "", "      retry: {attempts: 1, backoff: 1ms}\n");
  yaml.replace(yaml.find("[\"127"), 1, "[\"127.0.0.1:1\", ");
  TestProxy proxy(yaml);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(contains(ask(proxy, "GET /"), "200 OK")) << i;
}

TEST(Limits, WhatIsOverThemIs503AtOnce) {
  std::atomic<bool> go{false};
  TestEndpoint a(answering_late(go));
  TestProxy proxy(simple_config(a.address(), "", "", "  limits: {connections: 1, pending: 1}\n"));
  TestClient first(proxy.port()), second(proxy.port()), third(proxy.port());
  first.send(kGet);
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 1));
  second.send(kGet);
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_pending{cluster=\"backend\"}", 1));
  third.send(kGet);
  EXPECT_TRUE(contains(third.read_answer(), "503 Service Unavailable"));
  go = true;
  go.notify_all();
  EXPECT_TRUE(contains(first.read_answer(), "200 OK"));
  first.send(kGet);  // its script has ended; the pending one takes the place of its connection
  second.shutdown();
}

TEST(Limits, ABodyThatIsTooLargeIs413WhicheverItsFraming) {
  TestEndpoint a(answering([](const std::string& request) { return ok(cat(request.size() - request.find("\r\n\r\n") - 4)); }));
  TestProxy proxy(simple_config(a.address(), "", "      request_bytes_max: 1000\n"));
  auto post = [&proxy](std::string_view field, std::string_view body) {
    TestClient client(proxy.port());
    client.send(cat("POST / HTTP/1.1\r\nHost: a\r\n", field, "\r\n\r\n", body));
    return client.read_answer();
  };
  std::string most(1000, 'x');
  EXPECT_TRUE(post("Content-Length: 1000", most).ends_with("\r\n\r\n1000"));
  EXPECT_TRUE(contains(post("Content-Length: 1001", most + "x"), "413 Content Too Large"));
  std::string framed = cat("3dc\r\n", std::string(988, 'x'), "\r\n0\r\n\r\n");  // 1,000 with its lines
  ASSERT_EQ(framed.size(), 1000U);
  EXPECT_TRUE(contains(post("Transfer-Encoding: chunked", framed), "200 OK"));
  EXPECT_TRUE(contains(post("Transfer-Encoding: chunked", cat("3dd\r\n", std::string(989, 'x'), "\r\n0\r\n\r\n")), "413 Content Too Large"));
  EXPECT_TRUE(contains(post("Transfer-Encoding: chunked", cat("100000\r\n", std::string(50'000, 'x'))), "413 Content Too Large"));
}

TEST(Explain, SaysWhichRouteAndWhereTo) {
  auto parsed = parse_config(config(R"(
    - {name: users, template: "/users/{id}", methods: [GET], clusters: [{name: a, weight: 3}, {name: b}]}
    - {prefix: /old, redirect: {prefix: /new}}
)", "10.0.0.1:80", "10.0.0.2:80").replace(34, 5, "127.0.0.1:80"), [](const std::string& path) -> Result<std::string> { return fail(Code::kNotFound, path); });
  ASSERT_TRUE(parsed) << parsed.error().message();
  ConfigError error;
  auto snapshot = compile(parsed->spec, nullptr, error);
  ASSERT_TRUE(snapshot) << error.path << error.why;
  EXPECT_EQ(*explain(*snapshot, "GET http://a.test/x/../users/5?y", {}),
            "listener web at 127.0.0.1:80\n  path      /users/5?y, normalised\n  route     users (template /users/{id}, methods GET)\n  cluster   a, 3 of 4: 10.0.0.1:80\n  cluster   b, 1 of 4: 10.0.0.2:80\n");
  EXPECT_EQ(*explain(*snapshot, "PUT a.test/users/5", {"x: y"}), "listener web at 127.0.0.1:80\n  no route  404\n");
  EXPECT_EQ(*explain(*snapshot, "a.test/old", {}), "listener web at 127.0.0.1:80\n  route     h/1 (prefix /old)\n  answer    301, a redirect\n");
  EXPECT_FALSE(explain(*snapshot, "GET a.test/ x", {}));
}

TEST(Balancers, EachSpreadsOrKeepsAsItShould) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  TestEndpoint c(answering([](const std::string&) { return ok("c"); }));
  for (std::string_view balancer : {"round_robin", "least_request", "random", "ring_hash", "maglev"}) {
    std::string yaml = cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /, cluster: x, hash: [{key: header, name: X-User}]}]}]\nclusters:\n- {name: x, balancer: ", balancer,
                           ", endpoints: [\"", a.address(), "\", \"", b.address(), "\", \"", c.address(), "\"]}\n");
    TestProxy proxy(yaml);
    TestClient client(proxy.port());
    std::map<char, int> counts;
    for (int user = 0; user < 60; ++user) {
      char first = 0;
      for (int i = 0; i < 3; ++i) {
        client.send(cat("GET / HTTP/1.1\r\nHost: a\r\nX-User: u", user, "\r\n\r\n"));
        char at = client.read_answer().back();
        ++counts[at];
        if (balancer == "ring_hash" || balancer == "maglev") EXPECT_TRUE(first == 0 || first == at) << balancer;
        first = at;
      }
    }
    for (char at : {'a', 'b', 'c'}) EXPECT_GT(counts[at], 15) << balancer << " " << at;
    if (balancer == "round_robin") EXPECT_EQ(counts['a'], 60);
  }
}

TEST(Health, AnEndpointThatFailsItsChecksGetsNothing) {
  TestEndpoint good(answering([](const std::string& request) { return request.starts_with("GET /health") ? ok("") : ok("good"); }));
  TestEndpoint bad(answering([](const std::string& request) { return request.starts_with("GET /health") ? std::string("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n") : ok("bad"); }));
  std::string yaml = simple_config(good.address(), "", "", "  health_check: {path: /health, interval: 20ms, timeout: 1s, unhealthy_threshold: 2}\n");
  yaml.replace(yaml.find("[\"127"), 1, cat("[\"", bad.address(), "\", "));
  TestProxy proxy(yaml);
  std::string table;
  while (!contains(table, "unhealthy")) {
    table.clear();
    std::atomic<bool> done{false};
    proxy.proxy().on_workers([&table](Worker& worker) { table = worker.describe_clusters(); }, [&done] { done = true; done.notify_all(); });
    done.wait(false);
  }
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(ask(proxy, "GET /").ends_with("good"));
}

TEST(Health, AnOutlierIsEjected) {
  TestEndpoint good(answering([](const std::string&) { return ok("good"); }));
  std::atomic<int> failures{0};
  TestEndpoint bad(answering([&failures](const std::string&) {
    ++failures;
    return std::string("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
  }));
  std::string yaml = simple_config(good.address(), "", "", "  outlier: {consecutive_5xx: 3, base_ejection: 1h}\n");
  yaml.replace(yaml.find("[\"127"), 1, cat("[\"", bad.address(), "\", "));
  TestProxy proxy(yaml);
  TestClient client(proxy.port());
  for (int i = 0; i < 40; ++i) {
    client.send(kGet);
    client.read_answer();
  }
  EXPECT_EQ(failures, 3);
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_ejections_total{cluster=\"backend\"}"), 1);
}

TEST(Reload, ConnectionsLiveOnAndRoutesChange) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  TestProxy proxy(config("    - {prefix: /, cluster: a}\n", a.address(), b.address()));
  TestClient client(proxy.port());
  for (int i = 0; i < 20; ++i) {
    char to = i % 2 == 0 ? 'a' : 'b';
    ASSERT_TRUE(proxy.reload(config(cat("    - {prefix: /, cluster: ", std::string(1, to), "}\n"), a.address(), b.address())));
    proxy.metric("x");  // every worker has taken its turn
    client.send(kGet);
    EXPECT_EQ(client.read_answer().back(), to) << i;
  }
  EXPECT_EQ(a.accepted() + b.accepted(), 2) << "pools outlive a reload that does not concern them";
}

TEST(Reload, NoRequestFailsWhileEverythingChanges) {
  TestEndpoint a(answering([](const std::string&) { return ok("same"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("same"); }));
  std::string one = config("    - {prefix: /, cluster: a}\n", a.address(), b.address());
  std::string two = config("    - {prefix: /x, cluster: a}\n    - {prefix: /, cluster: b}\n", a.address(), b.address(), "  filters: [{kind: headers}]\n", "  limits: {connections: 50}\n");
  TestProxy proxy(one);
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0}, done{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i)
    clients.emplace_back([&, port = proxy.port()] {
      TestClient client(port);
      while (!stop) {
        client.send(kGet);
        ++(client.read_answer().ends_with("same") ? done : failed);
      }
    });
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(proxy.reload(i % 2 == 0 ? two : one));
    proxy.metric("x");
  }
  while (done < 400 && failed == 0) proxy.metric("x");
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(proxy.metric("monopod_proxy_connections_total{listener=\"web\"}"), 4);
}

TEST(Reload, ABadConfigurationChangesNothing) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestProxy proxy(simple_config(a.address()));
  Result<> refused = proxy.reload(simple_config(a.address(), "", "      timeout: soon\n"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "line 10: listeners[0].virtual_hosts[0].routes[0].timeout: want a duration such as 250ms, 15s or 1h, of 30 days at most");
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "200 OK"));
}

TEST(Reload, AListenerThatIsGoneClosesWhatIsIdle) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestProxy proxy(simple_config(a.address()));
  TestClient client(proxy.port());
  client.send(kGet);
  client.read_answer();
  ASSERT_TRUE(proxy.reload("listeners:\n- {name: t, address: PORT1, protocol: tcp, cluster: c}\nclusters:\n- {name: c, endpoints: [\"127.0.0.1:1\"]}\n"));
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_FALSE(TestClient(proxy.port()).is_open());
  EXPECT_TRUE(TestClient(proxy.port(1)).is_open());
}

TEST(Limits, RequestsAndRetriesHaveTheirs) {
  std::atomic<bool> go{false};
  TestEndpoint slow(answering_late(go)), bad(answering([](const std::string&) { return std::string("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"); }));
  TestProxy proxy(cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /bad, cluster: b, retry: {attempts: 3, conditions: [5xx]}}, {prefix: /, cluster: a}]}]\nclusters:\n- {name: a, limits: {requests: 1}, endpoints: [\"", slow.address(),
                      "\"]}\n- {name: b, limits: {retries: 0}, endpoints: [\"", bad.address(), "\"]}\n"));
  TestClient first(proxy.port());
  first.send(kGet);
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"a\"}", 1));
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "503 Service Unavailable")) << "one past the limit";
  go = true;
  go.notify_all();
  EXPECT_TRUE(contains(first.read_answer(), "200 OK"));
  EXPECT_TRUE(contains(ask(proxy, "GET /bad"), "503 "));
  EXPECT_EQ(bad.accepted(), 1);
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_retries_total{cluster=\"b\"}"), 0);
}

TEST(Timeouts, AnAnswerThatStopsIsCut) {
  TestEndpoint a([](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    client.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    client.read_to_end();
  });
  TestProxy proxy(config("    - {prefix: /, cluster: a, timeout: 0, idle_timeout: 200ms}\n", a.address(), a.address()));
  TestClient client(proxy.port());
  client.send(kGet);
  EXPECT_TRUE(client.read_to_end().ends_with("half"));
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_requests_active{cluster=\"a\"}", 0));
}

TEST(Filters, AFaultAnswersItsShare) {
  TestEndpoint a(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(config("    - {prefix: /, cluster: a}\n", a.address(), a.address(), "  filters: [{kind: fault, abort_percent: 100, abort_status: 429}]\n"));
  EXPECT_TRUE(contains(ask(proxy, "GET /"), "HTTP/1.1 429 "));
  EXPECT_EQ(a.accepted(), 0);
}

TEST(ProxyProtocol, GoesInAndOutWithRequestsToo) {
  for (std::string_view version : {"v1", "v2"}) {
    TestEndpoint a([](TestClient& client, int number) {
      std::string all = client.read_until("\r\n\r\n");
      while (!all.ends_with("\r\n\r\n") || all.find("GET ") == std::string::npos) all += client.read_until("\r\n\r\n");  // the header of v2 has such bytes
      auto header = parse_proxy_header(all);
      bool good = header && *header && (*header)->source;
      client.send(ok(cat(number, " ", good ? (*header)->source->format() + all.substr((*header)->bytes, 5) : "none")));
    });
    TestProxy proxy(config("    - {prefix: /, cluster: a}\n", a.address(), a.address(), "  proxy_protocol: true\n", cat("  proxy_protocol: ", version, "\n")));
    Address source = *Address::parse("203.0.113.9:4711"), other = *Address::parse("[2001:db8::7]:80");
    for (int i = 0; i < 2; ++i) {
      TestClient client(proxy.port());
      const Address& who = i == 0 ? source : other;
      client.send(cat(version == "v1" ? format_proxy_v2(who, who) : format_proxy_v1(who, who), kGet));
      std::string answer = client.read_answer();
      bool sayable = i == 0 || version == "v2";  // v1 has no line for addresses of two families: the listener's own is IPv4
      EXPECT_TRUE(answer.ends_with(sayable ? cat(i, " ", who.format(), "GET /") : cat(i, " none"))) << version << answer;
    }
    TestClient stranger(proxy.port());
    stranger.send(kGet);
    EXPECT_EQ(stranger.read_to_end(), "") << "without a header nobody is let in";
  }
}

TEST(Tcp, BytesAndHalfClosesPass) {
  TestEndpoint a([](TestClient& client, int) {
    std::string all = client.read_to_end();
    client.send(cat(all.size(), "\n"));
    client.send(all);
  });
  TestProxy proxy(cat("listeners:\n- {name: t, address: PORT0, protocol: tcp, cluster: a}\nclusters:\n- {name: a, endpoints: [\"", a.address(), "\"]}\n"));
  std::string big(4'000'000, 'q');
  TestClient client(proxy.port());
  client.send(big);
  client.shutdown();
  EXPECT_EQ(client.read_until("\n"), "4000000\n");
  EXPECT_EQ(client.read_to_end(), big);
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_sent_bytes_total{listener=\"t\"}", 4'000'008));
}

TEST(Tcp, ProxyHeadersGoInAndOut) {
  for (std::string_view version : {"v1", "v2"}) {
    TestEndpoint a([](TestClient& client, int) {
      std::string all = client.read_to_end();
      auto header = parse_proxy_header(all);
      client.send(header && *header && (*header)->source ? (*header)->source->format() + all.substr((*header)->bytes) : "none");
    });
    TestProxy proxy(cat("listeners:\n- {name: t, address: PORT0, protocol: tcp, cluster: a, proxy_protocol: true}\nclusters:\n- {name: a, endpoints: [\"", a.address(), "\"], proxy_protocol: ", version, "}\n"));
    TestClient client(proxy.port());
    Address source = *Address::parse("203.0.113.9:4711");
    for (char c : version == "v1" ? format_proxy_v2(source, source) : format_proxy_v1(source, source)) client.send({&c, 1});
    client.send("hello");
    client.shutdown();
    EXPECT_EQ(client.read_to_end(), "203.0.113.9:4711hello") << version;
    TestClient stranger(proxy.port());
    stranger.send("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(stranger.read_to_end(), "");
  }
}

TEST(AccessLog, LinesCannotBeForged) {
  std::string path = cat("/tmp/monopod-proxy-log-", ::getpid());
  TestEndpoint a(answering([](const std::string&) { return ok("abc", "X-Id: 7\r\n"); }));
  {
    TestProxy proxy(simple_config(a.address(), cat("  access_log: {path: ", path, ", json: {m: \"%METHOD%\", p: \"%PATH%\", s: \"%RESPONSE_CODE%\", ua: \"%REQ(User-Agent)%\", id: \"%RESP(X-Id)%\", c: \"%UPSTREAM_CLUSTER%\"}}\n")));
    ask(proxy, "GET /x?a=\"b\"", "User-Agent: \"}\\\r\n");
  }
  std::FILE* file = std::fopen(path.c_str(), "re");
  ASSERT_NE(file, nullptr);
  char line[500] = {};
  EXPECT_NE(std::fgets(line, sizeof line, file), nullptr);
  std::fclose(file);
  ::unlink(path.c_str());
  EXPECT_STREQ(line, "{\"m\":\"GET\",\"p\":\"/x?a=\\\"b\\\"\",\"s\":\"200\",\"ua\":\"\\\"}\\\\\",\"id\":\"7\",\"c\":\"backend\"}\n");
}

}  // namespace
}  // namespace monopod::proxy
