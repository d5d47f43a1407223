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

}  // namespace
}  // namespace monopod::api::flow
