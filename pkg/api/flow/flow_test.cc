#include "api/flow/control.h"

#include <gtest/gtest.h>

#include "api/limits.h"
#include "api/testing.h"
#include "async/test_support.h"
#include "base/strings.h"

namespace monopod::api::flow {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

LevelSettings queued(int shares, int lendable = 0, int queues = 16, int hand = 4, int length = 50) {
  return {.shares = shares, .lendable_percent = lendable, .queues = true, .queue_count = queues, .hand_size = hand, .queue_length_max = length};
}

struct Taken {
  std::vector<std::string> order{};
  std::vector<Seat> seats{};
  int refused = 0;
};
async::Task<Result<>> take(Pool& pool, std::string level, std::uint64_t flow, int width, std::string name, Taken& out) {
  Outcome<Seat> seat = co_await pool.take(pool.find(level), flow, width);
  if (seat) {
    out.order.push_back(std::move(name));
    out.seats.push_back(std::move(*seat));
  } else if (seat.error().code != http_status(Code::kCancelled)) {  // the test's end is no refusal
    ++out.refused;
    EXPECT_EQ(seat.error().code, 429);
    EXPECT_EQ(seat.error().retry_after_seconds, 1);
  }
  co_return Result<>();
}
async::Task<Result<>> turns(int count = 20) {
  for (int i = 0; i < count; ++i) co_await async::asio::post(co_await async::this_executor(), async::use_task);
  co_return Result<>();
}

struct Bed {
  explicit Bed(async::Executor executor) : time(executor), pool(executor, time), scope(executor) {}
  async::FakeTime time;
  Pool pool;
  async::Scope scope;
  Taken taken;
  void start(const std::string& level, std::uint64_t flow, int width, const std::string& name) { scope.spawn(take(pool, level, flow, width, name, taken)); }
};

template <typename Body>
void with_bed(Body body) {
  async::run_test([&body](async::Loop& loop) {
    auto run = [](async::Executor executor, Body& test) -> async::Task<Result<>> {
      Bed bed(executor);
      Result<> out = co_await test(bed);
      bed.scope.cancel();
      Result<> joined = co_await bed.scope.join();
      bed.taken.seats.clear();
      for (const auto& [name, level] : bed.pool.levels()) EXPECT_EQ(level->executing(), 0) << name;
      for (const auto& [name, level] : bed.pool.levels()) EXPECT_EQ(level->waiting(), 0U) << name;
      co_return out ? joined : out;
    };
    return run(loop.executor(), body);
  });
}

async::Task<Result<>> shares_and_lending(Bed& bed) {
  bed.pool.configure({{"low", queued(60, 50)}, {"high", queued(40, 25)}, {"free", {.exempt = true}}});
  EXPECT_EQ(bed.pool.find("low")->seats(), kSeatsTotal * 60 / 100);
  for (int i = 0; i < kSeatsTotal; ++i) bed.start("low", static_cast<std::uint64_t>(i), 1, "low");
  CO_TRY(co_await turns());
  // All but what the other level does not lend.
  EXPECT_EQ(bed.taken.order.size(), 70U);
  for (int i = 0; i < 31; ++i) bed.start("high", static_cast<std::uint64_t>(i), 1, "high");
  bed.start("free", 1, 1, "free");
  CO_TRY(co_await turns());
  EXPECT_EQ(std::ranges::count(bed.taken.order, "high"), 30);  // the seats it keeps were free, and the 31st waits its turn
  EXPECT_EQ(std::ranges::count(bed.taken.order, "free"), 1);
  bed.taken.seats.clear();  // everything that ran is done
  CO_TRY(co_await turns());
  EXPECT_EQ(std::ranges::count(bed.taken.order, "high"), 31);
  EXPECT_EQ(std::ranges::count(bed.taken.order, "low"), kSeatsTotal);
  EXPECT_EQ(bed.taken.refused, 0);
  co_return Result<>();
}
TEST(FlowSeats, ALevelBorrowsWhatOthersLendAndNoMore) { with_bed(shares_and_lending); }

async::Task<Result<>> fair(Bed& bed) {
  bed.pool.configure({{"one", queued(1, 0, 64, 6, 1000)}});
  for (int i = 0; i < kSeatsTotal; ++i) bed.start("one", 1, 1, "running");
  CO_TRY(co_await turns());
  for (int i = 0; i < 600; ++i) bed.start("one", 0x1234567890abcdef, 1, "flood");
  CO_TRY(co_await turns());
  for (std::uint64_t i = 1; i <= 10; ++i) bed.start("one", i * 0x9e3779b97f4a7c15, 1, "small");
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.pool.find("one")->waiting(), 610U);
  bed.taken.order.clear();
  bed.taken.seats.clear();
  CO_TRY(co_await turns());
  // Of the next seats the few requests of others have theirs, though the flood came first: 600 in six queues are 100 deep.
  EXPECT_EQ(bed.taken.order.size(), static_cast<std::size_t>(kSeatsTotal));
  EXPECT_GE(std::ranges::count(bed.taken.order, "small"), 9);  // a flow may share a queue by bad luck
  co_return Result<>();
}
TEST(FlowSeats, AFlowThatFloodsWaitsBehindItself) { with_bed(fair); }

async::Task<Result<>> limits(Bed& bed) {
  bed.pool.configure({{"queued", queued(1, 0, 1, 1, 5)}, {"refusing", {.shares = 1}}});
  for (int i = 0; i < 60; ++i) bed.start("queued", 1, 1, "a");
  for (int i = 0; i < 51; ++i) bed.start("refusing", 1, 1, "b");
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.pool.find("queued")->executing(), 50);
  EXPECT_EQ(bed.pool.find("queued")->waiting(), 5U);
  EXPECT_EQ(bed.pool.find("queued")->refused_full, 5U);
  EXPECT_EQ(bed.pool.find("refusing")->executing(), 50);
  EXPECT_EQ(bed.pool.find("refusing")->refused_full, 1U);
  bed.time.advance(kQueueWaitMax - std::chrono::seconds(1));
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.pool.find("queued")->waiting(), 5U);
  bed.time.advance(std::chrono::seconds(2));
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.pool.find("queued")->waiting(), 0U);
  EXPECT_EQ(bed.pool.find("queued")->refused_late, 5U);
  co_return Result<>();
}
TEST(FlowSeats, QueuesAreBoundedInLengthAndTime) { with_bed(limits); }

async::Task<Result<>> wide(Bed& bed) {
  bed.pool.configure({{"one", queued(1)}});
  for (int i = 0; i < 9; ++i) bed.start("one", 7, 10, "wide");
  bed.start("one", 7, 1'000'000, "widest");  // no more than the level has
  bed.start("one", 7, 1, "after");
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.taken.order.size(), 10U);  // the small one fits beside the nine; the widest waits for all
  EXPECT_EQ(bed.pool.find("one")->waiting(), 1U);
  // A level that goes while requests run and wait: both are finished.
  bed.pool.configure({{"two", queued(1)}});
  bed.taken.seats.clear();
  bed.time.advance(kQueueWaitMax + std::chrono::seconds(1));
  CO_TRY(co_await turns());
  EXPECT_EQ(bed.taken.order.size() + static_cast<std::size_t>(bed.taken.refused), 11U);
  co_return Result<>();
}
TEST(FlowSeats, WideRequestsWaitForWhatTheyNeedAndLevelsMayGo) { with_bed(wide); }

Attributes request(std::string user, std::vector<std::string> groups, std::string verb, std::string resource, std::string ns = {}) {
  Attributes out;
  out.user = {std::move(user), {}, std::move(groups), {}};
  out.verb = std::move(verb);
  out.resource = std::move(resource);
  out.ns = std::move(ns);
  if (out.resource == "leases") out.group = "coordination.k8s.io";
  return out;
}

std::string schema_for(const Attributes& attributes) {
  std::vector<Schema> schemas;
  for (const json::Value& object : bootstrap_schemas()) schemas.push_back(read_schema(object));
  std::ranges::stable_sort(schemas, {}, &Schema::precedence);
  for (const Schema& s : schemas)
    if (s.matches(attributes)) return s.name;
  return "";
}

TEST(FlowSchemas, BuiltInOnesClassifyAsUpstreamDoes) {
  EXPECT_EQ(schema_for(request("admin", {"system:masters", "system:authenticated"}, "list", "pods")), "exempt");
  Attributes status = request("system:node:a", {"system:nodes", "system:authenticated"}, "patch", "nodes");
  status.subresource = "status";
  EXPECT_EQ(schema_for(status), "system-node-high");
  EXPECT_EQ(schema_for(request("system:node:a", {"system:nodes"}, "update", "leases", "kube-node-lease")), "system-node-high");
  EXPECT_EQ(schema_for(request("system:node:a", {"system:nodes"}, "list", "pods")), "system-nodes");
  EXPECT_EQ(schema_for(request("system:kube-scheduler", {"system:authenticated"}, "update", "leases", "kube-system")), "system-leader-election");
  EXPECT_EQ(schema_for(request("system:kube-scheduler", {"system:authenticated"}, "list", "pods")), "kube-scheduler");
  EXPECT_EQ(schema_for(request("system:serviceaccount:kube-system:x", {"system:serviceaccounts", "system:authenticated"}, "get", "leases", "a")), "workload-leader-election");
  EXPECT_EQ(schema_for(request("system:serviceaccount:kube-system:x", {"system:serviceaccounts", "system:authenticated"}, "list", "pods")), "kube-system-service-accounts");
  EXPECT_EQ(schema_for(request("system:serviceaccount:a:x", {"system:serviceaccounts", "system:authenticated"}, "list", "pods")), "service-accounts");
  EXPECT_EQ(schema_for(request("bob", {"system:authenticated"}, "list", "pods")), "global-default");
  EXPECT_EQ(schema_for(request("bob", {}, "list", "pods")), "");
  Attributes probe = request("system:anonymous", {"system:unauthenticated"}, "get", "");
  probe.is_resource = false;
  probe.path = "/readyz";
  EXPECT_EQ(schema_for(probe), "probes");
  probe.path = "/metrics";
  EXPECT_EQ(schema_for(probe), "global-default");
}

// --- over a whole server

async::Task<Result<>> headers_and_objects(TestCluster& cluster) {
  CO_CALL(schemas, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas");
  CO_EXPECT_STATUS(schemas, 200);
  EXPECT_EQ(json::get_array(schemas.tree(), {"items"})->size(), bootstrap_schemas().size());
  CO_CALL(exempt, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt");
  CO_CALL(level, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/exempt");
  CO_CALL(listed, "GET", kMaps);
  EXPECT_EQ(listed.headers.find("x-kubernetes-pf-flowschema-uid"), exempt.text({"metadata", "uid"}));
  EXPECT_EQ(listed.headers.find("x-kubernetes-pf-prioritylevel-uid"), level.text({"metadata", "uid"}));
  // A refusal by RBAC is classified as well.
  CO_CALL(global, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/global-default");
  CO_CALL(nobody, "GET", kMaps, "", {{"impersonate-user", "bob"}});
  CO_EXPECT_STATUS(nobody, 403);
  EXPECT_EQ(nobody.headers.find("x-kubernetes-pf-flowschema-uid"), global.text({"metadata", "uid"}));
  CO_CALL(metrics, "GET", "/metrics");
  EXPECT_NE(metrics.body.find("apiserver_flowcontrol_dispatched_requests_total{priority_level=\"global-default\"} 1"), std::string::npos);
  co_return Result<>();
}
TEST(Flow, AnswersSayWhichSchemaAndLevelTheyWereGiven) { with_cluster(headers_and_objects); }

// A level without a seat, and a schema that puts bob there.
async::Task<Result<>> refused(TestCluster& cluster) {
  CO_CALL(level, "POST", "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
          R"({"metadata":{"name":"narrow"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":0,"borrowingLimitPercent":0,"limitResponse":{"type":"Reject"}}}})");
  CO_EXPECT_STATUS(level, 201);
  CO_CALL(schema, "POST", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
          R"({"metadata":{"name":"bob"},"spec":{"priorityLevelConfiguration":{"name":"narrow"},"matchingPrecedence":50,"rules":[{"subjects":[{"kind":"User","user":{"name":"bob"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["configmaps"],"namespaces":["default"]}]}]}})");
  CO_EXPECT_STATUS(schema, 201);
  CO_CALL(bob, "GET", kMaps, "", {{"impersonate-user", "bob"}});
  CO_EXPECT_STATUS(bob, 429);
  EXPECT_EQ(bob.headers.find("retry-after"), "1");
  EXPECT_EQ(bob.text({"reason"}), "TooManyRequests");
  EXPECT_EQ(bob.headers.find("x-kubernetes-pf-flowschema-uid"), schema.text({"metadata", "uid"}));
  EXPECT_EQ(bob.headers.find("x-kubernetes-pf-prioritylevel-uid"), level.text({"metadata", "uid"}));
  CO_CALL(elsewhere, "GET", "/api/v1/namespaces/kube-system/configmaps", "", {{"impersonate-user", "bob"}});
  CO_EXPECT_STATUS(elsewhere, 403);
  CO_CALL(alice, "GET", kMaps, "", {{"impersonate-user", "alice"}});
  CO_EXPECT_STATUS(alice, 403);
  CO_CALL(removed, "DELETE", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/bob");
  CO_CALL(free, "GET", kMaps, "", {{"impersonate-user", "bob"}});
  CO_EXPECT_STATUS(free, 403);
  co_return Result<>();
}
TEST(Flow, ConfiguredLevelsAreHonouredAsTheyChange) { with_cluster(refused); }

async::Task<Result<>> watch_seats(TestCluster& cluster) {
  std::vector<http::Response> watches;
  CO_CALL(binding, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
          R"({"metadata":{"name":"w"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"watcher"}]})");
  CO_EXPECT_STATUS(binding, 201);
  for (int i = 0; i < 3 * kSeatsTotal; ++i) {
    CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", kMaps + "?watch=true", "", {{"impersonate-user", "watcher"}}));
    CO_ASSERT_TRUE(response.status == 200);
    watches.push_back(std::move(response));
  }
  CO_CALL(metrics, "GET", "/metrics");
  EXPECT_NE(metrics.body.find("apiserver_flowcontrol_current_executing_seats{priority_level=\"global-default\"} 0\n"), std::string::npos);
  co_return Result<>();
}
TEST(Flow, WatchesGiveTheirSeatBackOnceTheyHaveBegun) { with_cluster(watch_seats); }

// --- the objects

const std::string kFlow = "/apis/flowcontrol.apiserver.k8s.io/v1";
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

std::string schema(std::string_view name, std::string_view spec) { return cat(R"({"metadata":{"name":")", name, R"("},"spec":{)", spec, "}}"); }
constexpr std::string_view kRule = R"("rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"namespaces":["*"]}]}])";

async::Task<Result<>> schemas_checked(TestCluster& cluster) {
  struct Case {
    std::string spec, error;
  } cases[] = {
      {R"("matchingPrecedence":-1,"priorityLevelConfiguration":{"name":"x"})", "spec.matchingPrecedence: Invalid value: -1: must be a positive value"},
      {R"("matchingPrecedence":10001,"priorityLevelConfiguration":{"name":"x"})", "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"},
      {R"("matchingPrecedence":1,"priorityLevelConfiguration":{"name":"x"})", "only the schema named 'exempt' may have matchingPrecedence 1"},
      {R"("priorityLevelConfiguration":{"name":""})", "spec.priorityLevelConfiguration.name: Required value: must reference a priority level"},
      {R"("priorityLevelConfiguration":{"name":"x"},"distinguisherMethod":{"type":"ByWhim"})", "spec.distinguisherMethod.type: Unsupported value: \"ByWhim\": supported values: \"ByNamespace\", \"ByUser\""},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[],"resourceRules":[]}])", "spec.rules[0].subjects: Required value: subjects must contain at least one value"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"Robot"}]}])", "spec.rules[0].subjects[0].kind: Unsupported value: \"Robot\""},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","group":{"name":"g"}}]}])", "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"},"group":{"name":"g"}}]}])", "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"ServiceAccount","serviceAccount":{"name":"s","namespace":""}}]}])", "serviceAccount.namespace: Required value: must specify namespace for service account"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}]}])", "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["*","get"],"apiGroups":["*"],"resources":["*"],"namespaces":["*"]}]}])", "if '*' is present, must not specify other verbs"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["gaze"],"apiGroups":["*"],"resources":["*"],"namespaces":["*"]}]}])", "resourceRules[0].verbs: Unsupported value"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}])", "resource rules that are not cluster scoped must supply at least one namespace"},
      {R"("priorityLevelConfiguration":{"name":"x"},"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["healthz"]}]}])", "nonResourceURLs[0]: Invalid value: \"healthz\": must start with slash"},
  };
  for (const Case& c : cases) {
    CO_CALL(made, "POST", kFlow + "/flowschemas", schema("s", c.spec));
    EXPECT_EQ(made.status, 422) << c.spec << made.body;
    EXPECT_NE(made.text({"message"}).find(c.error), std::string::npos) << c.error << "\n" << made.body;
  }
  CO_CALL(fine, "POST", kFlow + "/flowschemas", schema("s", cat(R"("priorityLevelConfiguration":{"name":"x"},)", kRule)));
  CO_EXPECT_STATUS(fine, 201);
  for (std::string name : {"catch-all", "exempt"}) {
    CO_CALL(changed, "PATCH", cat(kFlow, "/flowschemas/", name), R"({"spec":{"matchingPrecedence":77}})", kMerge);
    EXPECT_EQ(changed.status, 422) << changed.body;
    EXPECT_NE(changed.text({"message"}).find(cat("spec of '", name, "' must equal the fixed value")), std::string::npos) << changed.body;
    CO_CALL(labelled, "PATCH", cat(kFlow, "/flowschemas/", name), R"({"metadata":{"labels":{"a":"b"}}})", kMerge);
    CO_EXPECT_STATUS(labelled, 200);
  }
  co_return Result<>();
}
TEST(FlowObjects, SchemasAreCheckedAsUpstreams) { with_cluster(schemas_checked); }

async::Task<Result<>> levels_checked(TestCluster& cluster) {
  auto limited = [](std::string_view more) { return cat(R"("type":"Limited","limited":{)", more, "}"); };
  struct Case {
    std::string spec, error;
  } cases[] = {
      {R"("type":"Exempt")", "type must be 'Exempt' if and only if `name` is 'exempt'"},
      {R"("type":"Odd")", "spec.type: Unsupported value: \"Odd\": supported values: \"Exempt\", \"Limited\""},
      {R"("type":"Limited")", "spec.limited: Required value: must not be empty when type is Limited"},
      {limited(R"("limitResponse":{"type":"Wait"})"), "spec.limited.limitResponse.type: Unsupported value: \"Wait\""},
      {limited(R"("nominalConcurrencyShares":-1,"limitResponse":{"type":"Reject"})"), "must be a non-negative integer"},
      {limited(R"("lendablePercent":101,"limitResponse":{"type":"Reject"})"), "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"},
      {limited(R"("borrowingLimitPercent":-1,"limitResponse":{"type":"Reject"})"), "if specified, must be a non-negative integer"},
      {limited(R"("limitResponse":{"type":"Reject","queuing":{"queues":1,"handSize":1,"queueLengthLimit":1}})"), "must be nil if limited.limitResponse.type is not Limited"},
      {limited(R"("limitResponse":{"type":"Queue"})"), "must not be empty if limited.limitResponse.type is Limited"},
      {limited(R"("limitResponse":{"type":"Queue","queuing":{"queues":4,"handSize":5,"queueLengthLimit":1}})"), "should not be greater than queues (4)"},
      {limited(R"("limitResponse":{"type":"Queue","queuing":{"queues":10000001,"handSize":1,"queueLengthLimit":1}})"), "must not be greater than 10000000"},
      {limited(R"("limitResponse":{"type":"Queue","queuing":{"queues":512,"handSize":8,"queueLengthLimit":1}})"), "required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"},
      {limited(R"("limitResponse":{"type":"Queue","queuing":{"queues":4,"handSize":2,"queueLengthLimit":-1}})"), "queueLengthLimit: Invalid value: -1: must be positive"},
  };
  for (const Case& c : cases) {
    CO_CALL(made, "POST", kFlow + "/prioritylevelconfigurations", schema("l", c.spec));
    EXPECT_EQ(made.status, 422) << c.spec << made.body;
    EXPECT_NE(made.text({"message"}).find(c.error), std::string::npos) << c.error << "\n" << made.body;
  }
  CO_CALL(catch_all, "PATCH", kFlow + "/prioritylevelconfigurations/catch-all", R"({"spec":{"limited":{"nominalConcurrencyShares":50}}})", kMerge);
  CO_EXPECT_STATUS(catch_all, 422);
  CO_CALL(exempt, "PATCH", kFlow + "/prioritylevelconfigurations/exempt", R"({"spec":{"exempt":{"nominalConcurrencyShares":5}}})", kMerge);
  CO_EXPECT_STATUS(exempt, 200);
  co_return Result<>();
}
TEST(FlowObjects, LevelsAreCheckedAsUpstreams) { with_cluster(levels_checked); }

std::string dangling(const Reply& reply) {
  json::Value tree = reply.tree();
  if (const json::Array* conditions = json::get_array(tree, {"status", "conditions"}))
    for (const json::Value& c : *conditions)
      if (json::get_string(c, {"type"}) == "Dangling") return cat(json::get_string(c, {"status"}), ' ', json::get_string(c, {"reason"}), ": ", json::get_string(c, {"message"}));
  return {};
}

async::Task<Result<>> dangles(TestCluster& cluster) {
  const std::string found = "False Found: This FlowSchema references the PriorityLevelConfiguration object named \"x\" and it exists";
  const std::string missing = "True NotFound: This FlowSchema references the PriorityLevelConfiguration object named \"x\" but there is no such object";
  CO_TRY_ASSIGN(Reply built_in, co_await cluster.eventually(kFlow + "/flowschemas/catch-all", [](const Reply& reply) { return dangling(reply).starts_with("False"); }));
  EXPECT_TRUE(dangling(built_in).starts_with("False Found")) << built_in.body;
  CO_CALL(made, "POST", kFlow + "/flowschemas", schema("s", cat(R"("priorityLevelConfiguration":{"name":"x"},)", kRule)));
  CO_EXPECT_STATUS(made, 201);
  CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(kFlow + "/flowschemas/s", [&](const Reply& reply) { return dangling(reply) == missing; }));
  EXPECT_EQ(dangling(seen), missing);
  CO_CALL(level, "POST", kFlow + "/prioritylevelconfigurations", schema("x", R"("type":"Limited","limited":{"limitResponse":{"type":"Reject"}})"));
  CO_EXPECT_STATUS(level, 201);
  CO_TRY_ASSIGN(seen, co_await cluster.eventually(kFlow + "/flowschemas/s", [&](const Reply& reply) { return dangling(reply) == found; }));
  EXPECT_EQ(dangling(seen), found);
  CO_CALL(gone, "DELETE", kFlow + "/prioritylevelconfigurations/x");
  CO_TRY_ASSIGN(seen, co_await cluster.eventually(kFlow + "/flowschemas/s", [&](const Reply& reply) { return dangling(reply) == missing; }));
  EXPECT_EQ(dangling(seen), missing);
  co_return Result<>();
}
TEST(FlowObjects, ASchemaSaysWhetherItsLevelIsThere) { with_cluster(dangles); }

// --- a flood

struct Flood {
  TestCluster& cluster;
  std::string path;
  int answered = 0, refused = 0;
  async::Task<Result<>> ask() {
    for (;;) {  // forever: until cancelled
      CO_TRY_ASSIGN(Reply reply, co_await cluster.call("GET", path, "", {{"authorization", "Bearer alice-token"}}));
      ++(reply.status == 200 ? answered : refused);
      if (reply.status != 200) co_return Result<>();  // it would come back after a second
    }
  }
};

constexpr int kFlooding = 250;

// How many of the flood's requests are answered while each of another client's is.
async::Task<Result<>> read_beside(TestCluster& cluster, Flood& flood, std::vector<int>& meanwhile) {
  const http::Headers bob{{"authorization", "Bearer admin-token"}, {"impersonate-user", "bob"}};  // the same level as alice, a flow of his own
  for (int turn = 0; turn < 100; ++turn) co_await async::asio::post(cluster.executor, async::use_task);
  for (int i = 0; i < 15; ++i) {
    int before = flood.answered;
    CO_CALL(read, "GET", kMaps + "/m1", "", bob);
    CO_EXPECT_STATUS(read, 200);
    meanwhile.push_back(flood.answered - before);
  }
  co_return Result<>();
}

// While one request of another client is answered, so many of the flood's are at most: it does not wait behind what is queued.
async::Task<Result<>> flooded(TestCluster& cluster) {
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
  CO_CALL(role, "POST", rbac + "/roles", R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["*"]}]})");
  CO_CALL(binding, "POST", rbac + "/rolebindings",
          R"({"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"},{"kind":"User","name":"bob","apiGroup":"rbac.authorization.k8s.io"}]})");
  CO_EXPECT_STATUS(binding, 201);
  std::string filler(20'000, 'x');
  for (int i = 0; i < 10; ++i) {
    CO_CALL(made, "POST", kMaps, cat(R"({"metadata":{"name":"m)", i, R"("},"data":{"k":")", filler, R"("}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  Flood flood{cluster, kMaps};  // long enough that each is answered in several turns of the loop
  async::Scope scope(cluster.executor);
  for (int i = 0; i < kFlooding; ++i) scope.spawn(flood.ask());
  std::vector<int> meanwhile;
  Result<> done = co_await read_beside(cluster, flood, meanwhile);
  scope.cancel();
  (void)co_await scope.join();
  CO_TRY(done);
  std::ranges::sort(meanwhile);
  EXPECT_GT(flood.answered, 100) << "it is a flood";
  // As many as are answered at once while it waits for its seat, and again while it has it: behind the queue it would be all of them.
  EXPECT_LE(meanwhile[meanwhile.size() / 2], kSeatsTotal) << "of " << kFlooding << " that wait";
  EXPECT_LT(meanwhile.back(), 2 * kSeatsTotal) << "of " << kFlooding << " that wait";
  std::fprintf(stderr, "flood: %d answered, %d refused; beside one other request p50 %d, p99 %d\n", flood.answered, flood.refused, meanwhile[meanwhile.size() / 2], meanwhile[meanwhile.size() * 99 / 100]);
  co_return Result<>();
}
TEST(Flow, AFloodRaisesNobodyElsesWaitPastTheSeats) { with_cluster(flooded); }

}  // namespace
}  // namespace monopod::api::flow
