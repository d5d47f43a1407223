#include <gtest/gtest.h>

#include "api/audit/record.h"
#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api::audit {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kPolicy = R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["alice"]
  nonResourceURLs: ["/version", "/healthz*"]
- level: Metadata
  resources:
  - {group: "", resources: ["secrets"]}
- level: RequestResponse
  omitManagedFields: true
  omitStages: [ResponseStarted]
  resources:
  - {group: "", resources: ["configmaps", "serviceaccounts/token"]}
  - {group: authentication.k8s.io, resources: ["tokenreviews"]}
- level: Request
  userGroups: ["system:masters"]
  verbs: ["patch", "delete"]
- level: Metadata
)";

class Lines final : public Sink {
 public:
  void append(std::string line) override {
    EXPECT_TRUE(line.ends_with("}\n"));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    auto parsed = json::parse(line);
    if (!parsed) ADD_FAILURE() << line;
    events.push_back(parsed ? *parsed : json::Value());
    texts += line;
  }
  async::Task<Result<>> wait_for_room() override { co_return Result<>(); }
  std::uint64_t lost() const override { return 3; }
  std::vector<json::Value> take() { return std::exchange(events, {}); }
  std::vector<json::Value> events;
  std::string texts;
};

std::string at(const json::Value& event, std::initializer_list<std::string_view> path) { return std::string(json::get_string(event, path)); }

// Runs body(cluster, lines) with the policy.
template <typename Body>
void with_audit(const std::string& policy, Body body) {
  Lines lines;
  auto parsed = parse_policy(policy);
  ASSERT_TRUE(parsed) << parsed.error().message();
  auto shared = std::make_shared<const Policy>(std::move(*parsed));
  with_cluster([&](TestCluster& cluster) {
    auto run = [](TestCluster& on, Lines& to, std::shared_ptr<const Policy> rules, Body& test) -> async::Task<Result<>> {
      on.adjust = [&to, rules](ServerOptions& options) {
        options.audit_policy = rules;
        options.audit_sink = &to;
      };
      CO_TRY(co_await on.restart());
      to.events.clear();
      co_return co_await test(on, to);
    };
    return run(cluster, lines, shared, body);
  });
}

async::Task<Result<>> levels(TestCluster& cluster, Lines& lines) {
  CO_CALL(quiet, "GET", "/version", "", {{"authorization", "Bearer alice-token"}});
  CO_EXPECT_STATUS(quiet, 200);
  EXPECT_TRUE(lines.take().empty());

  CO_CALL(secret, "POST", "/api/v1/namespaces/default/secrets", R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"k":"aGlkZGVu-hidden"}})",
          {{"user-agent", "test/1"}, {"x-forwarded-for", "192.0.2.7, nonsense"}, {"audit-id", "mine"}});
  CO_EXPECT_STATUS(secret, 201);
  EXPECT_EQ(secret.headers.find("audit-id").value_or(""), "mine");
  std::vector<json::Value> seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"level"}), "Metadata");
  EXPECT_EQ(at(seen[0], {"stage"}), "ResponseComplete");
  EXPECT_EQ(at(seen[0], {"auditID"}), "mine");
  EXPECT_EQ(at(seen[0], {"verb"}), "create");
  EXPECT_EQ(at(seen[0], {"user", "username"}), "admin");
  EXPECT_EQ(at(seen[0], {"userAgent"}), "test/1");
  EXPECT_EQ(at(seen[0], {"requestURI"}), "/api/v1/namespaces/default/secrets");
  EXPECT_EQ(at(seen[0], {"objectRef", "name"}), "s");
  EXPECT_EQ(json::format(*json::find(seen[0], {"sourceIPs"})), R"(["192.0.2.7"])");
  EXPECT_EQ(json::get_int(seen[0], {"responseStatus", "code"}), 201);
  EXPECT_EQ(at(seen[0], {"annotations", "authorization.k8s.io/decision"}), "allow");
  EXPECT_EQ(json::find(seen[0], {"requestObject"}), nullptr);
  EXPECT_EQ(lines.texts.find("hidden"), std::string::npos);

  CO_CALL(made, "POST", kMaps + "?fieldManager=m", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"v"}})");
  CO_EXPECT_STATUS(made, 201);
  seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"requestObject", "data", "k"}), "v");
  EXPECT_EQ(at(seen[0], {"responseObject", "metadata", "uid"}), made.text({"metadata", "uid"}));
  EXPECT_EQ(json::find(seen[0], {"responseObject", "metadata", "managedFields"}), nullptr);
  EXPECT_NE(json::find(made.tree(), {"metadata", "managedFields"}), nullptr);

  CO_CALL(listed, "GET", kMaps, "", {{"accept", "application/vnd.kubernetes.protobuf"}});
  CO_EXPECT_STATUS(listed, 200);
  seen = lines.take();
  const json::Array* items = seen.empty() ? nullptr : json::get_array(seen[0], {"responseObject", "items"});
  EXPECT_TRUE(items != nullptr && !items->empty()) << json::format(seen.empty() ? json::Value() : seen[0]);
  EXPECT_EQ(lines.texts.find("managedFields"), std::string::npos);

  CO_CALL(refused, "GET", kMaps + "/c", "", {{"authorization", "Bearer alice-token"}});
  CO_EXPECT_STATUS(refused, 403);
  seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"annotations", "authorization.k8s.io/decision"}), "forbid");
  EXPECT_EQ(at(seen[0], {"responseStatus", "reason"}), "Forbidden");
  EXPECT_EQ(at(seen[0], {"responseObject", "kind"}), "Status");

  CO_CALL(patched, "PATCH", "/api/v1/nodes/none", R"([{"op":"remove","path":"/spec"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(patched, 404);
  seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"level"}), "Request");
  EXPECT_TRUE(json::find(seen[0], {"requestObject"})->is_array());
  EXPECT_EQ(json::find(seen[0], {"responseObject"}), nullptr);

  CO_CALL(metrics, "GET", "/metrics");
  EXPECT_NE(metrics.body.find("apiserver_audit_level_total{level=\"RequestResponse\"} 3"), std::string::npos);
  EXPECT_NE(metrics.body.find("apiserver_audit_error_total{plugin=\"log\"} 3"), std::string::npos);
  co_return Result<>();
}
TEST(Audit, TheFirstRuleThatMatchesDecidesWhatIsWritten) { with_audit(kPolicy, levels); }

async::Task<Result<>> identities(TestCluster& cluster, Lines& lines) {
  CO_CALL(bad, "GET", kMaps, "", {{"authorization", "Bearer stolen-and-revoked"}});
  CO_EXPECT_STATUS(bad, 401);
  std::vector<json::Value> seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"stage"}), "ResponseStarted");
  EXPECT_EQ(json::get_int(seen[0], {"responseStatus", "code"}), 401);
  EXPECT_EQ(at(seen[0], {"responseStatus", "message"}), "Authentication failed, attempted: bearer");
  EXPECT_EQ(lines.texts.find("stolen"), std::string::npos);

  CO_CALL(as, "GET", kMaps, "", {{"impersonate-user", "bob"}, {"impersonate-group", "system:masters"}});
  CO_EXPECT_STATUS(as, 200);
  seen = lines.take();
  if (seen.size() != 2) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"stage"}), "RequestReceived");
  EXPECT_EQ(json::find(seen[0], {"responseStatus"}), nullptr);
  EXPECT_EQ(at(seen[0], {"auditID"}), at(seen[1], {"auditID"}));
  EXPECT_EQ(at(seen[1], {"user", "username"}), "admin");
  EXPECT_EQ(at(seen[1], {"impersonatedUser", "username"}), "bob");
  co_return Result<>();
}
TEST(Audit, SaysWhoAskedAndAsWhom) { with_audit("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]", identities); }

async::Task<Result<>> credentials(TestCluster& cluster, Lines& lines) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"sa"}})");
  CO_EXPECT_STATUS(account, 201);
  CO_CALL(token, "POST", "/api/v1/namespaces/default/serviceaccounts/sa/token", R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}})");
  CO_EXPECT_STATUS(token, 201);
  std::string issued = token.text({"status", "token"});
  EXPECT_GT(issued.size(), 100U);
  CO_CALL(review, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", cat(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":")", issued, R"("}})"));
  CO_EXPECT_STATUS(review, 201);
  EXPECT_TRUE(json::get_bool(review.tree(), {"status", "authenticated"})) << review.body;
  EXPECT_EQ(lines.texts.find(issued), std::string::npos);
  std::vector<json::Value> seen = lines.take();
  EXPECT_EQ(at(seen.back(), {"requestObject", "spec", "token"}), "REDACTED");
  co_return Result<>();
}
TEST(Audit, LiveTokensAreWrittenAtNoLevel) { with_audit("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]", credentials); }

async::Task<Result<>> watches(TestCluster& cluster, Lines& lines) {
  CO_TRY_ASSIGN(http::Response watch, co_await cluster.open("GET", kMaps + "?watch=1&timeoutSeconds=5"));
  EXPECT_EQ(watch.status, 200);
  std::vector<json::Value> seen = lines.take();
  if (seen.size() != 2) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[1], {"stage"}), "ResponseStarted");
  EXPECT_EQ(at(seen[1], {"verb"}), "watch");
  cluster.time.advance(std::chrono::seconds(6));
  CO_TRY(co_await watch.body->read_all(1U << 20));
  seen = lines.take();
  if (seen.size() != 1) co_return fail(Code::kInternal, cat(seen.size(), " events"));
  EXPECT_EQ(at(seen[0], {"stage"}), "ResponseComplete");
  co_return Result<>();
}
TEST(Audit, AWatchIsToldOfWhenItBeginsAndWhenItEnds) { with_audit("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]", watches); }

async::Task<Result<>> large(TestCluster& cluster, Lines& lines) {
  std::string filler(900'000, 'x');
  for (int i = 0; i < 6; ++i) {
    CO_CALL(made, "POST", kMaps, cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m)", i, R"("},"data":{"k":")", filler, R"("}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  lines.take();
  CO_CALL(listed, "GET", kMaps);
  EXPECT_GT(listed.body.size(), kObjectsBytesMax);
  std::vector<json::Value> seen = lines.take();
  EXPECT_EQ(at(seen.back(), {"annotations", "audit.k8s.io/truncated"}), "true");
  EXPECT_EQ(json::find(seen.back(), {"responseObject"}), nullptr);
  CO_CALL(some, "GET", kMaps + "?limit=4");
  EXPECT_LT(some.body.size(), kObjectsBytesMax);
  seen = lines.take();
  EXPECT_EQ(json::find(seen.back(), {"annotations", "audit.k8s.io/truncated"}), nullptr);
  const json::Array* items = json::get_array(seen.back(), {"responseObject", "items"});
  EXPECT_TRUE(items != nullptr && items->size() == 4);
  co_return Result<>();
}
TEST(Audit, AnAnswerPastTheBoundIsLeftOutAndTheEventSaysSo) { with_audit("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse, verbs: [list]}]", large); }

TEST(AuditPolicy, WhatIsWrongIsNamed) {
  struct Case {
    std::string_view rules, error;
  } cases[] = {
      {"[]", "rules: at least one is needed"},
      {"[{level: All}]", "rules[0].level: unsupported value \"All\": supported values: None, Metadata, Request, RequestResponse"},
      {"[{level: None}, {}]", "rules[1].level: unsupported value \"\": supported values: None, Metadata, Request, RequestResponse"},
      {"[{level: None, user: [a]}]", "rules[0].user: unknown field"},
      {"[{level: None, users: a}]", "rules[0].users: not a list"},
      {"[{level: None, verbs: [1]}]", "rules[0].verbs[0]: not a string"},
      {"[{level: None, omitStages: [Response]}]", "rules[0].omitStages: unsupported value \"Response\": supported values: RequestReceived, ResponseStarted, ResponseComplete, Panic"},
      {"[{level: None, nonResourceURLs: [healthz]}]", "rules[0].nonResourceURLs: \"healthz\" must begin with \"/\" and may hold \"*\" at its end only, or be \"*\""},
      {"[{level: None, nonResourceURLs: [/a*b]}]", "rules[0].nonResourceURLs: \"/a*b\" must begin with \"/\" and may hold \"*\" at its end only, or be \"*\""},
      {"[{level: None, nonResourceURLs: [/a], namespaces: [x]}]", "rules[0].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs"},
      {"[{level: None, resources: [{resourceNames: [x]}]}]", "rules[0].resources[0].resourceNames: needs at least one resource"},
      {"[{level: None, resources: [{group: apps/v1}]}]", "rules[0].resources[0].group: \"apps/v1\" names a version: only the group goes here"},
      {"[{level: None, resources: [{resources: [pod*]}]}]", "rules[0].resources[0].resources: \"pod*\" is neither resource, resource/subresource, */subresource, resource/* nor *"},
  };
  for (const Case& c : cases) {
    auto parsed = parse_policy(cat("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: ", c.rules));
    EXPECT_FALSE(parsed) << c.rules;
    if (!parsed) EXPECT_EQ(parsed.error().message(), c.error);
  }
  EXPECT_EQ(parse_policy("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]").error().message(), "apiVersion: unsupported value \"audit.k8s.io/v1beta1\": supported values: audit.k8s.io/v1");
  EXPECT_EQ(parse_policy("apiVersion: audit.k8s.io/v1\nkind: Event\nrules: [{level: None}]").error().message(), "kind: unsupported value \"Event\": supported values: Policy");
  EXPECT_FALSE(parse_policy("- a"));
  EXPECT_FALSE(parse_policy("{"));
  std::string many = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";
  for (std::size_t i = 0; i < kPolicyRulesMax; ++i) many += "- {level: None}\n";
  EXPECT_TRUE(parse_policy(many));
  EXPECT_EQ(parse_policy(many + "- {level: None}\n").error().message(), "rules: at most 1000");
}

TEST(AuditPolicy, RulesMatchAsUpstreams) {
  Attributes pod_log{{"u", "", {"g1", "g2"}, {}}, "get", true, "", "v1", "pods", "log", "ns", "p", ""};
  Attributes deployment{{"u", "", {"g1"}, {}}, "update", true, "apps", "v1", "deployments", "", "ns", "d", ""};
  Attributes health{{"u", "", {"g1"}, {}}, "get", false, "", "", "", "", "", "", "/healthz/etcd"};
  struct Case {
    std::string_view rule;
    bool pod_log, deployment, health;
  } cases[] = {
      {"", true, true, true},
      {"users: [u]", true, true, true},
      {"users: [v]", false, false, false},
      {"userGroups: [g2, g3]", true, false, false},
      {"verbs: [get]", true, false, true},
      {"namespaces: [ns]", true, true, false},
      {"namespaces: ['']", false, false, false},
      {"resources: [{group: ''}]", true, false, false},
      {"resources: [{group: apps}]", false, true, false},
      {"resources: [{resources: [pods]}]", false, false, false},
      {"resources: [{resources: [pods/log]}]", true, false, false},
      {"resources: [{resources: [pods/status]}]", false, false, false},
      {"resources: [{resources: ['pods/*']}]", true, false, false},
      {"resources: [{resources: ['*/log']}]", true, false, false},
      {"resources: [{resources: ['*/scale']}]", false, false, false},
      {"resources: [{resources: ['*']}, {group: apps, resources: ['*']}]", true, true, false},
      {"resources: [{resources: [pods/log], resourceNames: [q]}]", false, false, false},
      {"resources: [{resources: [pods/log], resourceNames: [q, p]}]", true, false, false},
      {"nonResourceURLs: ['*']", false, false, true},
      {"nonResourceURLs: [/healthz]", false, false, false},
      {"nonResourceURLs: ['/healthz*']", false, false, true},
  };
  for (const Case& c : cases) {
    auto policy = parse_policy(cat("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request", c.rule.empty() ? "" : ", ", c.rule, "}]"));
    ASSERT_TRUE(policy) << c.rule << policy.error().message();
    EXPECT_EQ(policy->judge(pod_log).level == Level::kRequest, c.pod_log) << c.rule;
    EXPECT_EQ(policy->judge(deployment).level == Level::kRequest, c.deployment) << c.rule;
    EXPECT_EQ(policy->judge(health).level == Level::kRequest, c.health) << c.rule;
  }
}

}  // namespace
}  // namespace monopod::api::audit
