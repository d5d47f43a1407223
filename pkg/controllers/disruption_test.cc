#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kPods = "/api/v1/namespaces/default/pods", kBudgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets", kSets = "/apis/apps/v1/namespaces/default/replicasets";
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

// The controller alone on a real server over a store in memory.
struct Rig {
  explicit Rig(TestCluster& on)
      : cluster(on),
        api(on.server->local(api::system_user("system:kube-controller-manager"))),
        informers(on.executor, api, on.time, on.rng),
        scope(on.executor),
        controller(make_disruption_controller({.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng, .deletable_resources = {}, .root_ca_pem = ""})) {
    scope.spawn(informers.run());
    scope.spawn(controller->run());
  }
  async::Task<> stop() {
    scope.cancel();
    (void)co_await scope.join();
  }

  // "allowed/current/desired/expected reason" of a budget, once it is that; else what it is at last.
  async::Task<Result<std::string>> status(std::string name, std::string wanted) {
    std::string seen;
    auto as_wanted = [&](const Reply& reply) {
      json::Value tree = reply.tree();
      const json::Array* conditions = json::get_array(tree, {"status", "conditions"});
      seen = cat(json::get_int(tree, {"status", "disruptionsAllowed"}), "/", json::get_int(tree, {"status", "currentHealthy"}), "/", json::get_int(tree, {"status", "desiredHealthy"}), "/",
                 json::get_int(tree, {"status", "expectedPods"}), " ", conditions == nullptr || conditions->size() != 1 ? "no single condition" : json::get_string((*conditions)[0], {"reason"}));
      return seen == wanted;
    };
    CO_TRY(co_await cluster.eventually(cat(kBudgets, "/", name), as_wanted));
    co_return seen;
  }

  TestCluster& cluster;
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::unique_ptr<Controller> controller;
};

#define CO_EXPECT_BUDGET(name, wanted)                                          \
  do {                                                                          \
    CO_TRY_ASSIGN(std::string budget_is, co_await rig.status(name, wanted));    \
    EXPECT_EQ(budget_is, wanted) << name;                                       \
  } while (false)

async::Task<Result<>> make_pod(TestCluster& cluster, std::string name, std::string owner) {
  CO_CALL(made, "POST", kPods, cat(R"({"metadata":{"name":")", name, R"(","labels":{"app":"x"})", owner, R"(},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}})"));
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(ready, "PATCH", cat(kPods, "/", name, "/status"), R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})", kMerge);
  CO_EXPECT_STATUS(ready, 200);
  co_return Result<>();
}

async::Task<Result<>> make_budget(TestCluster& cluster, std::string name, std::string spec) {
  CO_CALL(made, "POST", kBudgets, cat(R"({"metadata":{"name":")", name, R"("},"spec":{"selector":{"matchLabels":{"app":"x"}},)", spec, "}}"));
  CO_EXPECT_STATUS(made, 201);
  co_return Result<>();
}

std::string owned_by(std::string_view kind, std::string_view version, std::string_view name, std::string_view uid) {
  return cat(R"(,"ownerReferences":[{"apiVersion":")", version, R"(","kind":")", kind, R"(","name":")", name, R"(","uid":")", uid, R"(","controller":true}])");
}

async::Task<Result<>> counts(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  Rig rig(cluster);
  CO_TRY(co_await make_budget(cluster, "two", R"("minAvailable":2)"));
  CO_EXPECT_BUDGET("two", "0/0/2/0 InsufficientPods");
  CO_CALL(set, "POST", kSets,
          R"({"metadata":{"name":"s"},"spec":{"replicas":4,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  CO_EXPECT_STATUS(set, 201);
  std::string owner = owned_by("ReplicaSet", "apps/v1", "s", set.text({"metadata", "uid"}));
  for (const char* name : {"a", "b", "c"}) CO_TRY(co_await make_pod(cluster, name, owner));
  CO_EXPECT_BUDGET("two", "1/3/2/3 SufficientPods");
  CO_TRY(co_await make_budget(cluster, "half", R"("minAvailable":"51%")"));
  CO_EXPECT_BUDGET("half", "0/3/3/4 InsufficientPods");  // 51 % of the four that the set wants, rounded up
  CO_TRY(co_await make_budget(cluster, "most", R"("maxUnavailable":"50%")"));
  CO_EXPECT_BUDGET("most", "1/3/2/4 SufficientPods");

  // A change that changes no number writes nothing.
  CO_CALL(before, "GET", kBudgets + "/two");
  CO_CALL(touched, "PATCH", kPods + "/a", R"({"metadata":{"annotations":{"x":"y"}}})", kMerge);
  CO_CALL(edited, "PATCH", kBudgets + "/most", R"({"spec":{"maxUnavailable":3}})", kMerge);
  CO_EXPECT_BUDGET("most", "2/3/1/4 SufficientPods");
  CO_CALL(after, "GET", kBudgets + "/two");
  EXPECT_EQ(after.text({"metadata", "resourceVersion"}), before.text({"metadata", "resourceVersion"}));

  CO_CALL(unready, "PATCH", kPods + "/a/status", R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})", kMerge);
  CO_EXPECT_BUDGET("two", "0/2/2/3 InsufficientPods");
  CO_TRY(co_await make_pod(cluster, "lost", owned_by("DaemonSet", "apps/v1", "d", "11111111-2222-3333-4444-555555555555")));
  CO_EXPECT_BUDGET("most", "0/2/1/4 SyncFailed");
  CO_CALL(failed, "GET", kBudgets + "/most");
  EXPECT_TRUE(failed.body.contains("daemonsets.apps does not implement the scale subresource")) << failed.body;
  co_await rig.stop();
  co_return Result<>();
}
TEST(Disruption, CountsWhatABudgetAllows) { with_cluster(counts); }

async::Task<Result<>> expiry(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  Rig rig(cluster);
  CO_TRY(co_await make_budget(cluster, "one", R"("minAvailable":1)"));
  for (const char* name : {"a", "b"}) CO_TRY(co_await make_pod(cluster, name, ""));
  CO_EXPECT_BUDGET("one", "1/2/1/2 SufficientPods");
  // What the eviction subresource writes; but nobody deletes the pod.
  CO_CALL(evicted, "PATCH", kBudgets + "/one/status", R"({"status":{"disruptionsAllowed":0,"disruptedPods":{"a":"2026-01-01T00:00:00Z","gone":"2026-01-01T00:00:00Z"}}})", kMerge);
  CO_EXPECT_STATUS(evicted, 200);
  CO_EXPECT_BUDGET("one", "0/1/1/2 InsufficientPods");
  CO_CALL(noted, "GET", kBudgets + "/one");
  EXPECT_EQ(json::format(*json::find(noted.tree(), {"status", "disruptedPods"})), R"({"a":"2026-01-01T00:00:00Z"})");
  cluster.time.advance(std::chrono::seconds(125));
  CO_EXPECT_BUDGET("one", "1/2/1/2 SufficientPods");
  co_await rig.stop();
  co_return Result<>();
}
TEST(Disruption, APodThatIsNotDeletedCountsAgainAfterTwoMinutes) { with_cluster(expiry); }

}  // namespace
}  // namespace monopod::controllers
