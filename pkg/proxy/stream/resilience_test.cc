// Retry budgets, hedging and outliers through real sockets.
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

std::string config(std::string_view endpoints, std::string_view route_fields, std::string_view cluster_fields = {}) {
  return cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /, cluster: x", route_fields, "}]}]\nclusters:\n- name: x\n  endpoints: [", endpoints, "]\n", cluster_fields);
}

std::string both(const TestEndpoint& a, const TestEndpoint& b) { return cat("\"", a.address(), "\", \"", b.address(), "\""); }

std::string ask(TestProxy& proxy, std::string_view request = kGet) {
  TestClient client(proxy.port());
  client.send(request);
  return client.read_answer();
}

std::string busy(std::string_view status = "503 Busy") { return cat("HTTP/1.1 ", status, "\r\ncontent-length: 0\r\n\r\n"); }

std::string metric(std::string_view name) { return cat("monopod_proxy_upstream_", name, "{cluster=\"x\"}"); }

TEST(RetryBudgets, AnOutageIsNotMultiplied) {
  std::atomic<int> calls{0};
  TestEndpoint a(answering([&calls](const std::string&) { return ++calls, busy(); }));
  TestProxy proxy(config(cat("\"", a.address(), "\""), ", retry: {attempts: 3, conditions: [5xx], backoff: 0}", "  retry_budget: {percent: 10, min: 2, window: 1h}\n"));
  TestClient client(proxy.port());
  for (int i = 0; i < 100; ++i) {
    client.send(kGet);
    EXPECT_NE(client.read_answer().find("503 Busy"), std::string::npos);
  }
  EXPECT_EQ(calls, 110) << "a tenth beside the hundred";
  EXPECT_GE(proxy.metric(metric("retry_overflows_total")), 90);
}

TEST(RetryBudgets, TheMinimumIsForQuietClusters) {
  std::atomic<int> calls{0};
  TestEndpoint a(answering([&calls](const std::string&) { return calls++ % 2 == 0 ? busy() : ok("x"); }));
  TestProxy proxy(config(cat("\"", a.address(), "\""), ", retry: {attempts: 1, conditions: [5xx], backoff: 0}", "  retry_budget: {percent: 0, min: 2, window: 1h}\n"));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(ask(proxy).ends_with("x")) << i;
  EXPECT_NE(ask(proxy).find("503 Busy"), std::string::npos);
}

// Answers the second request of four bytes, of however many endpoints; the first one's end sets reset.
TestEndpoint::Script answering_second(std::atomic<int>& seen, std::atomic<bool>& reset) {
  return [&seen, &reset](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    std::string body = client.read(4);
    if (seen++ == 0) {
      reset = client.read_to_end().empty();
      reset.notify_all();
      return;
    }
    client.send(ok(cat("second ", body)));
    client.read_to_end();
  };
}

TEST(Hedging, TheFirstAnswerWinsAndTheOtherTryIsReset) {
  std::atomic<int> seen{0};
  std::atomic<bool> reset{false};
  TestEndpoint a(answering_second(seen, reset)), b(answering_second(seen, reset));
  TestProxy proxy(config(both(a, b), ", hedge: {delay: 30ms}, timeout: 5s"));
  std::string answer = ask(proxy, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_TRUE(answer.ends_with("second body")) << answer;
  reset.wait(false);
  EXPECT_EQ(a.accepted() + b.accepted(), 2);
  EXPECT_EQ(proxy.metric(metric("hedges_total")), 1);
  EXPECT_EQ(proxy.metric(metric("hedges_won_total")), 1);
}

TEST(Hedging, OverHttp2TheStreamThatLostIsResetAlone) {
  std::atomic<int> seen{0};
  std::atomic<bool> reset{false};
  TestEndpoint a(answering_second(seen, reset));
  TestProxy proxy(cat("listeners:\n- {name: web, address: PORT0, virtual_hosts: [{routes: [{prefix: /, cluster: x, hedge: {delay: 30ms}}]}]}\n- {name: h2, address: PORT1, virtual_hosts: [{routes: [{prefix: /, cluster: a}]}]}\n",
                      "clusters:\n- {name: x, http2: true, endpoints: [PORT1]}\n- {name: a, endpoints: [\"", a.address(), "\"]}\n"));
  std::string answer = ask(proxy, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_TRUE(answer.ends_with("second body")) << answer;
  reset.wait(false);
  EXPECT_EQ(proxy.metric("monopod_proxy_connections_total{listener=\"h2\"}"), 1);
  EXPECT_EQ(proxy.metric(metric("hedges_won_total")), 1);
}

TEST(Hedging, AChunkedBodyIsSentAnew) {
  std::atomic<int> seen{0};
  auto script = [&](TestClient& client, int) {
    std::string request = client.read_until("0\r\n\r\n");
    if (seen++ > 0) client.send(ok(request.substr(request.find("\r\n\r\n") + 4)));
    client.read_to_end();
  };
  TestEndpoint a(script), b(script);
  TestProxy proxy(config(both(a, b), ", hedge: {delay: 20ms}"));
  EXPECT_TRUE(ask(proxy, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
}

TEST(Hedging, AnAnswerBeforeTheDelayIsAlone) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestProxy proxy(config(cat("\"", a.address(), "\""), ", hedge: {delay: 10s}"));
  TestClient client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    client.send(kGet);
    EXPECT_TRUE(client.read_answer().ends_with("a"));
  }
  EXPECT_EQ(proxy.metric(metric("hedges_total")), 0);
}

TEST(Hedging, ATryThatTakesTooLongIsKeptBesideTheNext) {
  std::atomic<int> seen{0};
  std::atomic<bool> second{false};
  auto script = [&](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    if (seen++ > 0) {
      second = true;
      second.notify_all();
      client.read_to_end();  // never answers
      return;
    }
    second.wait(false);
    client.send(ok("the first, late"));
    client.read_to_end();
  };
  TestEndpoint a(script), b(script);
  TestProxy proxy(config(both(a, b), ", hedge: {}, timeout: 10s, retry: {per_try_timeout: 1s}"));
  EXPECT_TRUE(ask(proxy).ends_with("the first, late"));
  EXPECT_EQ(proxy.metric(metric("hedges_won_total")), 0);
}

TEST(Hedging, WhereTheFirstIsLostTheHedgeGoesOn) {
  std::atomic<int> seen{0};
  std::atomic<bool> second{false};
  auto answers = [&](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    if (seen++ == 0) {
      second.wait(false);
      client.reset();
      return;
    }
    second = true;
    second.notify_all();
    client.send(ok("hedge"));
    client.read_to_end();
  };
  TestEndpoint a(answers), b(answers);
  TestProxy proxy(config(both(a, b), ", hedge: {delay: 20ms}, retry: {attempts: 0}"));
  EXPECT_TRUE(ask(proxy).ends_with("hedge"));
}

TEST(Hedging, TheBudgetCountsHedges) {
  std::atomic<bool> go{false};
  TestEndpoint a(answering_late(go));
  TestProxy proxy(config(cat("\"", a.address(), "\""), ", hedge: {delay: 10ms}", "  retry_budget: {percent: 0, min: 0}\n"));
  TestClient client(proxy.port());
  client.send(kGet);
  ASSERT_TRUE(proxy.wait_metric(metric("retry_overflows_total"), 1));
  go = true;
  go.notify_all();
  EXPECT_TRUE(client.read_answer().ends_with("late"));
  EXPECT_EQ(a.accepted(), 1);
}

// Asks until an endpoint is ejected.
bool ejects(TestProxy& proxy, int requests_max) {
  for (int i = 0; i < requests_max; ++i) {
    if (proxy.metric(metric("ejections_total")) > 0) return true;
    ask(proxy);
  }
  return proxy.metric(metric("ejections_total")) > 0;
}

TEST(Outliers, EachKindOfFailureIsCountedWhereItIsAskedFor) {
  TestEndpoint good(answering([](const std::string&) { return ok("x"); }));
  TestEndpoint internal(answering([](const std::string&) { return busy("500 Internal Server Error"); }));
  TestEndpoint gateway(answering([](const std::string&) { return busy("502 Bad Gateway"); }));
  TestEndpoint resets([](TestClient& client, int) { client.read_until("\r\n\r\n"); });
  struct Row {
    const char* outlier;
    TestEndpoint* bad;
    bool ejected;
  };
  const Row rows[] = {
      {"{consecutive_5xx: 3}", &internal, true},
      {"{consecutive_5xx: 0}", &internal, false},
      {"{consecutive_5xx: 0, consecutive_gateway_errors: 3}", &internal, false},
      {"{consecutive_5xx: 0, consecutive_gateway_errors: 3}", &gateway, true},
      {"{consecutive_5xx: 0, consecutive_gateway_errors: 3}", &resets, true},
      {"{consecutive_5xx: 3, consecutive_local_errors: 100}", &resets, false},
      {"{consecutive_5xx: 0, consecutive_local_errors: 3}", &resets, true},
      {"{consecutive_5xx: 0, consecutive_local_errors: 3}", &gateway, false},
      {"{consecutive_5xx: 3, ejected_percent_max: 49}", &gateway, false},
  };
  for (const Row& row : rows) {
    TestProxy proxy(config(both(good, *row.bad), "", cat("  outlier: ", row.outlier, "\n")));
    EXPECT_EQ(ejects(proxy, 12), row.ejected) << row.outlier;
  }
}

TEST(Outliers, RatesAreComparedOnceAnInterval) {
  std::atomic<int> calls{0};
  TestEndpoint good(answering([](const std::string&) { return ok("x"); }));
  TestEndpoint half(answering([&calls](const std::string&) { return calls++ % 2 == 0 ? busy("500 No") : ok("x"); }));
  for (std::string_view rate : {"failure_rate: {percent: 40, endpoints_min: 2, requests_min: 4}", "success_rate: {deviations_percent: 50, endpoints_min: 2, requests_min: 4}"}) {
    TestProxy proxy(config(both(good, half), "", cat("  outlier: {consecutive_5xx: 0, interval: 100ms, base_ejection: 1h, ", rate, "}\n")));
    EXPECT_TRUE(ejects(proxy, 10'000)) << rate;
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(ask(proxy).ends_with("x"));
  }
  TestProxy calm(config(both(good, half), "", "  outlier: {consecutive_5xx: 0, interval: 100ms, failure_rate: {percent: 90, endpoints_min: 2, requests_min: 4}}\n"));
  EXPECT_FALSE(ejects(calm, 100));
}

}  // namespace
}  // namespace monopod::proxy
