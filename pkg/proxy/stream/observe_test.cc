// What a proxy tells of requests, through real sockets: traces, explanations; and its metrics as text and table.
#include "base/strings.h"
#include "codec/json.h"
#include "proxy/observe/merge.h"
#include "proxy/observe/table.h"
#include "proxy/observe/tracing.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string ask(TestProxy& proxy, std::string_view fields = {}) {
  TestClient client(proxy.port());
  client.send(cat("GET /x?q=1 HTTP/1.1\r\nHost: a.test\r\n", fields, "\r\n"));
  return client.read_answer();
}

constexpr std::string_view kTrace = "4bf92f3577b34da6a3ce929d0e0e4736", kParent = "00f067aa0ba902b7";

TEST(TraceContext, EachFormIsUnderstoodAndWhatIsMalformedIsNot) {
  struct Row {
    TraceFields fields;
    bool there, decided, sampled;
  };
  const Row rows[] = {
      {{.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, true, true, true},
      {{.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}, true, true, false},
      {{.traceparent = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-more"}, true, true, true},
      {{.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"}, false, false, false},
      {{.traceparent = "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, false, false, false},
      {{.traceparent = "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, false, false, false},
      {{.traceparent = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"}, false, false, false},
      {{.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736"}, false, false, false},
      {{.traceparent = "---"}, false, false, false},
      {{.b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b7"}, true, true, true},
      {{.b3 = "a3ce929d0e0e4736-00f067aa0ba902b7"}, true, false, false},
      {{.b3 = "0"}, false, true, false},
      {{.b3 = "1"}, false, true, true},
      {{.b3 = "2"}, false, false, false},
      {{.x_sampled = "0"}, false, true, false},
      {{.x_trace_id = kTrace, .x_span_id = kParent, .x_sampled = "0"}, true, true, false},
      {{.x_trace_id = kTrace}, false, false, false},
  };
  for (const Row& row : rows) {
    TraceContext context = parse_trace_context(row.fields);
    EXPECT_EQ(!context.trace_id.empty(), row.there) << row.fields.traceparent << row.fields.b3;
    EXPECT_EQ(context.decided, row.decided) << row.fields.traceparent << row.fields.b3;
    EXPECT_EQ(context.sampled, row.sampled) << row.fields.traceparent << row.fields.b3;
    if (row.there) EXPECT_EQ(context.trace_id.size(), 32U);
  }
}

class Tracing : public testing::Test {
 protected:
  Tracing()
      : endpoint_(answering([](const std::string& request) { return ok(request); })), collector_(answering([this](const std::string& request) {
          std::lock_guard lock(mutex_);
          batches_.push_back(request);
          ++count_;
          count_.notify_all();
          return refuses_ ? std::string("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n") : ok("{}");
        })) {}
  std::string config(std::string_view tracing, std::string_view listener = {}) const {
    return cat(simple_config(endpoint_.address(), listener), "- {name: otel, endpoints: [\"", collector_.address(), "\"]}\ntracing: {cluster: otel, ", tracing, "}\n");
  }
  // The spans of the first batches.
  std::vector<json::Value> spans(int batches) {
    while (count_ < batches) count_.wait(count_);
    std::lock_guard lock(mutex_);
    std::vector<json::Value> out;
    for (const std::string& request : batches_) {
      EXPECT_TRUE(request.starts_with("POST /v1/traces HTTP/1.1\r\nhost: otel\r\n")) << request;
      json::Value body = *json::parse(request.substr(request.find("\r\n\r\n") + 4));
      const json::Value& resource = body.at("resourceSpans").at(0);
      EXPECT_EQ(resource.at("resource").at("attributes").at(0).at("value").at("stringValue").as_string(), "shop");
      for (const json::Value& span : resource.at("scopeSpans").at(0).at("spans").as_array()) out.push_back(span);
    }
    return out;
  }
  TestEndpoint endpoint_;
  std::mutex mutex_;
  std::vector<std::string> batches_;
  std::atomic<int> count_{0};
  std::atomic<bool> refuses_{false};
  TestEndpoint collector_;
};

std::string traceparent_in(const std::string& answer) {
  std::size_t at = answer.find("traceparent: ");
  return at == std::string::npos ? "" : answer.substr(at + 13, 55);
}

TEST_F(Tracing, ASampledRequestLeavesASpanAndGoesOnWithItAsTheParent) {
  TestProxy proxy(config("service: shop, sample_percent: 0, context: both", "  edge: false\n"));
  std::string answer = ask(proxy, cat("traceparent: 00-", kTrace, "-", kParent, "-01\r\ntracestate: a=b\r\n"));
  std::string sent = traceparent_in(answer);
  EXPECT_TRUE(sent.starts_with(cat("00-", kTrace, "-")) && sent.ends_with("-01") && !contains(sent, kParent)) << answer;
  EXPECT_TRUE(contains(answer, "tracestate: a=b\r\n") && contains(answer, cat("x-b3-traceid: ", kTrace)) && contains(answer, cat("x-b3-parentspanid: ", kParent))) << answer;
  std::vector<json::Value> got = spans(1);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].at("traceId").as_string(), std::string(kTrace).c_str());
  EXPECT_EQ(got[0].at("parentSpanId").as_string(), std::string(kParent).c_str());
  EXPECT_EQ(sent.substr(36, 16), std::string(got[0].at("spanId").as_string()));
  EXPECT_EQ(got[0].at("name").as_string(), "GET main");
  EXPECT_TRUE(contains(json::format(got[0]), R"({"key":"url.path","value":{"stringValue":"/x"}})")) << json::format(got[0]);
  EXPECT_TRUE(contains(json::format(got[0]), R"({"key":"monopod.cluster","value":{"stringValue":"backend"}})")) << json::format(got[0]);
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_spans_exported_total", 1));
}

TEST_F(Tracing, WhatIsNotSampledGoesOnAsItCameAndLeavesNothing) {
  TestProxy proxy(config("service: shop, sample_percent: 0"));
  EXPECT_EQ(traceparent_in(ask(proxy)), "") << "nobody began a trace";
  EXPECT_EQ(traceparent_in(ask(proxy, cat("traceparent: 00-", kTrace, "-", kParent, "-01\r\n"))), cat("00-", kTrace, "-", kParent, "-00")) << "a stranger does not decide";
  EXPECT_EQ(proxy.metric("monopod_proxy_spans_exported_total"), 0);
  ASSERT_TRUE(proxy.reload(config("service: shop, sample_percent: 100")));
  proxy.metric("x");
  EXPECT_EQ(traceparent_in(ask(proxy)).size(), 55U);
  EXPECT_EQ(spans(1).size(), 1U);
}

TEST_F(Tracing, ACollectorThatRefusesCostsSpansAndNothingElse) {
  refuses_ = true;
  TestProxy proxy(config("service: shop, sample_percent: 100"));
  TestClient client(proxy.port());
  for (int i = 0; i < 300; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(contains(client.read_answer(), "200 OK"));
  }
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_spans_dropped_total", 300));
}

TEST(ExplainHeader, SaysWhereARequestWentAndWhyWhereTheListenerAllowsIt) {
  TestEndpoint a(answering([](const std::string& request) { return ok(request); }));
  TestProxy proxy(simple_config(a.address(), "  explain_header: true\n"));
  std::string answer = ask(proxy, "X-Monopod-Explain: 1\r\n");
  EXPECT_TRUE(contains(answer, cat("x-monopod-explain: listener=web; config=1; route=main; cluster=backend; endpoint=", a.address(), "; why=round_robin among 1 available of 1; attempts=1; details=via_upstream\r\n"))) << answer;
  EXPECT_FALSE(contains(answer, "X-Monopod-Explain")) << "it does not go on";
  EXPECT_FALSE(contains(ask(proxy), "x-monopod-explain"));
  ASSERT_TRUE(proxy.reload(simple_config(a.address())));
  proxy.metric("x");
  EXPECT_FALSE(contains(ask(proxy, "X-Monopod-Explain: 1\r\n"), "x-monopod-explain: listener"));
}

TEST(MergeMetrics, WhatSeveralWorkersCountedIsAdded) {
  EXPECT_EQ(merge_metrics("# HELP a A.\n# TYPE a counter\na{x=\"1\"} 2\n# HELP b B.\n# TYPE b gauge\nb 1\n"
                          "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 3\na{x=\"2\"} 4\n# HELP b B.\n# TYPE b gauge\nb 5\n"),
            "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 5\na{x=\"2\"} 4\n# HELP b B.\n# TYPE b gauge\nb 6\n");
}

TEST(Top, ShowsRatesBetweenTwoReadings) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestProxy proxy(simple_config(a.address()));
  auto read = [&proxy] {
    std::string text;
    std::atomic<bool> done{false};
    proxy.proxy().on_workers([&text](Worker& worker) { worker.append_metrics(text); }, [&done] { done = true; done.notify_all(); });
    done.wait(false);
    return text;
  };
  std::string before = read();
  for (int i = 0; i < 20; ++i) ask(proxy);
  std::string table = format_top(before, read(), std::chrono::seconds(2), 200, 100);
  std::vector<std::string> words;
  for (std::string_view line : split(table, '\n')) {
    std::string packed;
    for (std::string_view word : split(line, ' '))
      if (!word.empty()) packed += cat(packed.empty() ? "" : " ", word);
    words.push_back(packed);
  }
  EXPECT_EQ(words[0], "LISTENER CONNS REQ/S ACTIVE 2XX/S 4XX/S 5XX/S P50 MS P99 MS IN B/S OUT B/S TLS/S RESUMED/S");
  EXPECT_TRUE(words[1].starts_with("web ") && contains(words[1], " 10 ")) << table;
  EXPECT_TRUE(words[4].starts_with("backend ") && contains(words[4], " 10 ")) << table;
  EXPECT_TRUE(words[7].starts_with("web main 10 10 0 0")) << table;
}

}  // namespace
}  // namespace monopod::proxy
