#include <gtest/gtest.h>

#include "api/slice.h"
#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kHome = "/api/v1/namespaces/default";
const std::string kPods = kHome + "/pods", kQuotas = kHome + "/resourcequotas", kServices = kHome + "/services";

std::string quota(std::string_view name, std::string_view spec) {
  return cat(R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":")", name, R"("},"spec":)", spec, "}");
}
std::string pod(std::string_view name, std::string_view resources = "{}", std::string_view more = "") {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")", name, R"("},"spec":{)", more, R"("containers":[{"name":"c","image":"x:1","resources":)", resources, "}]}}");
}

// A quota as the controller leaves it.
async::Task<Result<>> add_quota(TestCluster& cluster, std::string name, std::string spec) {
  (void)co_await cluster.call("POST", kHome + "/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})");
  CO_CALL(made, "POST", kQuotas, quota(name, spec));
  CO_EXPECT_STATUS(made, 201);
  co_return co_await cluster.server->quotas().recount("default", name);
}

async::Task<Result<std::string>> used(TestCluster& cluster, std::string name) {
  CO_CALL(got, "GET", kQuotas + "/" + name);
  json::Value tree = got.tree();
  const json::Value* amounts = json::find(tree, {"status", "used"});
  co_return amounts == nullptr ? std::string("none") : json::format(*amounts);
}
#define CO_EXPECT_USED(name, text)                                       \
  do {                                                                   \
    CO_TRY_ASSIGN(std::string used_now, co_await used(cluster, (name))); \
    EXPECT_EQ(used_now, text);                                           \
  } while (false)

async::Task<Result<>> exceeds(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"pods":"2","requests.cpu":"1"}})"));
  CO_EXPECT_USED("q", R"({"pods":"0","requests.cpu":"0"})");
  CO_CALL(first, "POST", kPods, pod("a", R"({"requests":{"cpu":"600m"}})"));
  CO_EXPECT_STATUS(first, 201);
  CO_EXPECT_USED("q", R"({"pods":"1","requests.cpu":"600m"})");
  CO_CALL(second, "POST", kPods, pod("b", R"({"requests":{"cpu":"500m"}})"));
  CO_EXPECT_STATUS(second, 403);
  EXPECT_EQ(second.text({"reason"}), "Forbidden");
  EXPECT_EQ(second.text({"message"}), "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1");
  CO_CALL(unsaid, "POST", kPods, pod("b"));
  CO_EXPECT_STATUS(unsaid, 403);
  EXPECT_EQ(unsaid.text({"message"}), "pods \"b\" is forbidden: failed quota: q: must specify requests.cpu for: c");
  CO_CALL(third, "POST", kPods, pod("b", R"({"requests":{"cpu":"400m"}})"));
  CO_EXPECT_STATUS(third, 201);
  CO_EXPECT_USED("q", R"({"pods":"2","requests.cpu":"1"})");
  CO_CALL(gone, "DELETE", kPods + "/a?gracePeriodSeconds=0");
  CO_EXPECT_STATUS(gone, 200);
  CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  CO_EXPECT_USED("q", R"({"pods":"1","requests.cpu":"400m"})");
  co_return Result<>();
}
TEST(ResourceQuota, IsChargedUntilItIsExceeded) { with_cluster(exceeds); }

async::Task<Result<>> unknown(TestCluster& cluster) {
  CO_CALL(made, "POST", kQuotas, quota("q", R"({"hard":{"configmaps":"1"}})"));
  CO_EXPECT_STATUS(made, 201);
  std::string map = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}})";
  CO_CALL(unseen, "POST", kHome + "/configmaps?dryRun=All", map);
  CO_EXPECT_STATUS(unseen, 201);  // matching is by status.hard
  CO_CALL(half, "PATCH", kQuotas + "/q/status", R"({"status":{"hard":{"configmaps":"1","count/configmaps":"3"}}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(half, 200);
  CO_CALL(refused, "POST", kHome + "/configmaps", map);
  CO_EXPECT_STATUS(refused, 403);
  EXPECT_EQ(refused.text({"message"}), "configmaps \"m\" is forbidden: status unknown for quota: q, resources: configmaps,count/configmaps");
  co_return Result<>();
}
TEST(ResourceQuota, WithoutUsageIsUnknown) { with_cluster(unknown); }

async::Task<Result<>> dry_runs(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"pods":"1"}})"));
  for (int i = 0; i < 3; ++i) {
    CO_CALL(tried, "POST", kPods + "?dryRun=All", pod("a"));
    CO_EXPECT_STATUS(tried, 201);
  }
  CO_EXPECT_USED("q", R"({"pods":"0"})");
  CO_CALL(made, "POST", kPods, pod("a"));
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(refused, "POST", kPods + "?dryRun=All", pod("b"));
  CO_EXPECT_STATUS(refused, 403);
  co_return Result<>();
}
TEST(ResourceQuota, IsCheckedButNotChargedByADryRun) { with_cluster(dry_runs); }

async::Task<Result<>> scoped(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "short", R"({"hard":{"pods":"1"},"scopes":["Terminating"]})"));
  CO_TRY(co_await add_quota(cluster, "best", R"({"hard":{"pods":"1"},"scopes":["BestEffort"]})"));
  CO_CALL(a, "POST", kPods, pod("a", R"({"requests":{"cpu":"1m"}})", R"("activeDeadlineSeconds":5,)"));
  CO_EXPECT_STATUS(a, 201);
  CO_EXPECT_USED("short", R"({"pods":"1"})");
  CO_EXPECT_USED("best", R"({"pods":"0"})");
  CO_CALL(b, "POST", kPods, pod("b", R"({"requests":{"cpu":"1m"}})", R"("activeDeadlineSeconds":5,)"));
  CO_EXPECT_STATUS(b, 403);
  CO_CALL(c, "POST", kPods, pod("c"));
  CO_EXPECT_STATUS(c, 201);
  CO_EXPECT_USED("best", R"({"pods":"1"})");
  CO_TRY(co_await cluster.server->quotas().recount("default", "best"));
  CO_TRY(co_await cluster.server->quotas().recount("default", "short"));
  CO_EXPECT_USED("best", R"({"pods":"1"})");
  CO_EXPECT_USED("short", R"({"pods":"1"})");
  co_return Result<>();
}
TEST(ResourceQuota, LimitsWhatItsScopesMatch) { with_cluster(scoped); }

async::Task<Result<>> changes_scope(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "short", R"({"hard":{"pods":"1"},"scopes":["Terminating"]})"));
  CO_TRY(co_await add_quota(cluster, "long", R"({"hard":{"pods":"5"},"scopes":["NotTerminating"]})"));
  for (const char* name : {"a", "b"}) {
    CO_CALL(made, "POST", kPods, pod(name));
    CO_EXPECT_STATUS(made, 201);
  }
  CO_EXPECT_USED("long", R"({"pods":"2"})");
  http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(a, "PATCH", kPods + "/a", R"({"spec":{"activeDeadlineSeconds":60}})", merge);
  CO_EXPECT_STATUS(a, 200);
  CO_EXPECT_USED("short", R"({"pods":"1"})");
  CO_CALL(b, "PATCH", kPods + "/b", R"({"spec":{"activeDeadlineSeconds":60}})", merge);
  CO_EXPECT_STATUS(b, 403);
  EXPECT_EQ(b.text({"message"}), "pods \"b\" is forbidden: exceeded quota: short, requested: pods=1, used: pods=1, limited: pods=1");
  CO_TRY(co_await cluster.server->quotas().recount("default", "long"));
  CO_EXPECT_USED("long", R"({"pods":"1"})");
  co_return Result<>();
}
TEST(ResourceQuota, IsChargedWhenAPodComesIntoItsScope) { with_cluster(changes_scope); }

async::Task<Result<>> create_one(TestCluster& cluster, std::string name, int& made, int& refused) {
  CO_CALL(reply, "POST", kPods, pod(name));
  if (reply.status == 201) ++made;
  else if (reply.status == 403) ++refused;
  else ADD_FAILURE() << reply.body;
  co_return Result<>();
}

async::Task<Result<>> recount_often(TestCluster& cluster, const int& done, int all) {
  for (int i = 0; i < 500 && done < all; ++i) CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  co_return Result<>();
}

async::Task<Result<>> race(TestCluster& cluster, int& made, int& refused) {
  async::Scope creates(cluster.executor);
  for (int i = 0; i < 64; ++i) creates.spawn(create_one(cluster, cat("p", i), made, refused));
  creates.spawn(recount_often(cluster, refused, 54));
  co_return co_await creates.join();
}

async::Task<Result<>> at_once(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"pods":"10"}})"));
  int made = 0, refused = 0;
  CO_TRY(co_await race(cluster, made, refused));
  EXPECT_EQ(made, 10);
  EXPECT_EQ(refused, 54);
  CO_EXPECT_USED("q", R"({"pods":"10"})");
  CO_CALL(list, "GET", kPods);
  json::Value tree = list.tree();
  EXPECT_EQ(json::get_array(tree, {"items"})->size(), 10U);
  co_return Result<>();
}
TEST(ResourceQuota, HoldsAgainstCreatesAtOnceAndRecountsBetweenThem) { with_cluster(at_once); }

async::Task<Result<>> gives_back(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"configmaps":"2"}})"));
  std::vector<std::string> stale;
  cluster.server->quotas().on_stale([&stale](std::string_view key) { stale.emplace_back(key); });
  std::string map = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}})", other = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"}})";
  CO_CALL(made, "POST", kHome + "/configmaps", map);
  CO_EXPECT_STATUS(made, 201);
  EXPECT_TRUE(stale.empty());
  CO_CALL(again, "POST", kHome + "/configmaps", map);
  CO_EXPECT_STATUS(again, 409);
  EXPECT_EQ(stale, std::vector<std::string>{"default/q"});
  CO_EXPECT_USED("q", R"({"configmaps":"2"})");
  // The charge of the failed write is no reason to refuse the next.
  CO_CALL(next, "POST", kHome + "/configmaps", other);
  CO_EXPECT_STATUS(next, 201);
  CO_EXPECT_USED("q", R"({"configmaps":"2"})");
  CO_CALL(third, "POST", kHome + "/configmaps", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"o"}})");
  CO_EXPECT_STATUS(third, 403);
  cluster.server->quotas().on_stale({});
  co_return Result<>();
}
TEST(ResourceQuota, GivesBackWhatWasChargedForNothing) { with_cluster(gives_back); }

async::Task<Result<>> create_map(LocalApi& api, std::string name) {
  (void)co_await api.create({{"", "v1", "configmaps"}, "default", "", ""}, cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name, "\"}}"), {});
  co_return Result<>();
}

async::Task<Result<>> recount_after(TestCluster& cluster, int turns) {
  for (int i = 0; i < turns; ++i) CO_TRY(co_await yield_loop());
  co_return co_await cluster.server->quotas().recount("default", "q");
}

async::Task<Result<>> recounted_create(TestCluster& cluster, LocalApi& api, std::string name, int turns) {
  async::Scope scope(cluster.executor);
  scope.spawn(create_map(api, std::move(name)));
  scope.spawn(recount_after(cluster, turns));
  co_return co_await scope.join();
}

async::Task<Result<>> recounts_meanwhile(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"configmaps":"1000"}})"));
  std::unique_ptr<LocalApi> api = cluster.server->local(system_user("admin"));
  for (int turns = 0; turns < 120; ++turns) {
    CO_TRY(co_await recounted_create(cluster, *api, cat("m", turns), turns));
    CO_EXPECT_USED("q", cat(R"({"configmaps":")", turns + 1, R"("})"));
  }
  co_return Result<>();
}
TEST(ResourceQuota, ARecountKeepsTheChargeOfAWriteThatIsUnderWay) { with_cluster(recounts_meanwhile); }

// Cancelled after that many turns of the loop, wherever it is by then.
async::Task<Result<>> cancelled_create(TestCluster& cluster, LocalApi& api, std::string name, int turns) {
  async::Scope scope(cluster.executor);
  scope.spawn(create_map(api, std::move(name)));
  for (int i = 0; i < turns && scope.live() > 0; ++i) (void)co_await yield_loop();
  scope.cancel();
  co_return co_await scope.join();
}

async::Task<Result<>> cancelled_writes(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"configmaps":"1000"}})"));
  std::unique_ptr<LocalApi> api = cluster.server->local(system_user("admin"));
  int stale = 0;
  cluster.server->quotas().on_stale([&stale](std::string_view) { ++stale; });
  for (int turns = 0; turns < 120; ++turns) {
    CO_TRY(co_await cancelled_create(cluster, *api, cat("m", turns), turns));
    CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
    // Whatever the recount did not see yet may not come later.
    CO_CALL(list, "GET", kHome + "/configmaps");
    json::Value tree = list.tree();
    CO_EXPECT_USED("q", cat(R"({"configmaps":")", json::get_array(tree, {"items"})->size(), R"("})"));
  }
  EXPECT_GT(stale, 0);
  cluster.server->quotas().on_stale({});
  co_return Result<>();
}
TEST(ResourceQuota, IsRightAfterAWriteThatWasCancelledAnywhere) { with_cluster(cancelled_writes); }

async::Task<Result<>> service_types(TestCluster& cluster) {
  // Beside the kubernetes Service that every cluster has.
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"services":"3","services.nodeports":"1","services.loadbalancers":"0"}})"));
  CO_CALL(made, "POST", kServices, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81}]}})");
  CO_EXPECT_STATUS(made, 201);
  http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(two, "PATCH", kServices + "/s", R"({"spec":{"type":"NodePort"}})", merge);
  CO_EXPECT_STATUS(two, 403);
  EXPECT_EQ(two.text({"message"}), "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1");
  CO_CALL(one, "PATCH", kServices + "/s", R"({"spec":{"type":"NodePort","ports":[{"name":"a","port":80}]}})", merge);
  CO_EXPECT_STATUS(one, 200);
  CO_EXPECT_USED("q", R"({"services":"2","services.loadbalancers":"0","services.nodeports":"1"})");
  CO_CALL(label, "PATCH", kServices + "/s", R"({"metadata":{"labels":{"a":"b"}}})", merge);
  CO_EXPECT_STATUS(label, 200);
  CO_CALL(back, "PATCH", kServices + "/s", R"({"spec":{"type":"ClusterIP"}})", merge);
  CO_EXPECT_STATUS(back, 200);
  CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  CO_EXPECT_USED("q", R"({"services":"2","services.loadbalancers":"0","services.nodeports":"0"})");
  co_return Result<>();
}
TEST(ResourceQuota, FollowsTheTypeOfAService) { with_cluster(service_types); }

async::Task<Result<>> resizes(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"requests.cpu":"1"}})"));
  CO_CALL(made, "POST", kPods, pod("a", R"({"requests":{"cpu":"600m"}})"));
  CO_EXPECT_STATUS(made, 201);
  auto patch = [](std::string_view cpu) { return cat(R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":")", cpu, R"("}}}]}})"); };
  http::Headers strategic{{"content-type", "application/strategic-merge-patch+json"}};
  CO_CALL(much, "PATCH", kPods + "/a/resize", patch("1100m"), strategic);
  CO_EXPECT_STATUS(much, 403);
  EXPECT_EQ(much.text({"message"}), "pods \"a\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1");
  CO_CALL(more, "PATCH", kPods + "/a/resize", patch("900m"), strategic);
  CO_EXPECT_STATUS(more, 200);
  CO_EXPECT_USED("q", R"({"requests.cpu":"900m"})");
  co_return Result<>();
}
TEST(ResourceQuota, IsChargedForAResize) { with_cluster(resizes); }

async::Task<Result<>> claims(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"requests.storage":"5Gi","gold.storageclass.storage.k8s.io/persistentvolumeclaims":"1"}})"));
  auto claim = [](std::string_view name, std::string_view storage, std::string_view of) {
    return cat(R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":")", name, R"("},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":")", of,
               R"(","resources":{"requests":{"storage":")", storage, R"("}}}})");
  };
  const std::string at = kHome + "/persistentvolumeclaims";
  CO_CALL(grows, "POST", "/apis/storage.k8s.io/v1/storageclasses", R"({"metadata":{"name":"tin"},"provisioner":"x.io/y","allowVolumeExpansion":true})");
  CO_EXPECT_STATUS(grows, 201);
  CO_CALL(a, "POST", at, claim("a", "2Gi", "gold"));
  CO_EXPECT_STATUS(a, 201);
  CO_CALL(b, "POST", at, claim("b", "1Gi", "gold"));
  CO_EXPECT_STATUS(b, 403);
  EXPECT_EQ(b.text({"message"}),
            "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, used: "
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, limited: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1");
  CO_CALL(c, "POST", at, claim("c", "1Gi", "tin"));
  CO_EXPECT_STATUS(c, 201);
  CO_CALL(bound, "PATCH", at + "/c/status", R"({"status":{"phase":"Bound"}})", {{"content-type", "application/merge-patch+json"}});  // until then its size is settled
  CO_EXPECT_STATUS(bound, 200);
  CO_CALL(grown, "PATCH", at + "/c", R"({"spec":{"resources":{"requests":{"storage":"4Gi"}}}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(grown, 403);
  EXPECT_EQ(grown.text({"message"}), "persistentvolumeclaims \"c\" is forbidden: exceeded quota: q, requested: requests.storage=3Gi, used: requests.storage=3Gi, limited: requests.storage=5Gi");
  co_return Result<>();
}
TEST(ResourceQuota, LimitsStorageByClassAndGrowth) { with_cluster(claims); }

async::Task<Result<>> recounts_quietly(TestCluster& cluster) {
  CO_TRY(co_await add_quota(cluster, "q", R"({"hard":{"count/configmaps":"9","limits.cpu":"1","example.com/unknown":"1"}})"));
  CO_CALL(before, "GET", kQuotas + "/q");
  EXPECT_EQ(json::format(*json::find(before.tree(), {"status"})), R"({"hard":{"count/configmaps":"9","example.com/unknown":"1","limits.cpu":"1"},"used":{"count/configmaps":"0","limits.cpu":"0"}})");
  CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  CO_CALL(after, "GET", kQuotas + "/q");
  EXPECT_EQ(after.text({"metadata", "resourceVersion"}), before.text({"metadata", "resourceVersion"}));
  CO_TRY(co_await cluster.server->quotas().recount("default", "absent"));
  co_return Result<>();
}
TEST(ResourceQuota, RecountOfTheSameWritesNothing) { with_cluster(recounts_quietly); }

struct InvalidCase {
  std::string_view spec, text;
};
constexpr InvalidCase kInvalid[] = {
    {R"({"hard":{"foo":"1"}})", R"(spec.hard[foo]: Invalid value: "foo": must be a standard resource type or fully qualified)"},
    {R"({"hard":{"foo":"1"}})", R"(spec.hard[foo]: Invalid value: "foo": must be a standard resource for quota)"},
    {R"({"hard":{"storage":"1"}})", R"(spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota)"},
    {R"({"hard":{"pods":"500m"}})", R"(spec.hard[pods]: Invalid value: "500m": must be an integer)"},
    {R"({"hard":{"count/deployments.apps":"1500m"}})", R"(spec.hard[count/deployments.apps]: Invalid value: "1500m": must be an integer)"},
    {R"({"hard":{"cpu":"-1"}})", R"(spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0)"},
    {R"({"hard":{"pods":"1"},"scopes":["Sometimes"]})", R"(spec.scopes: Invalid value: ["Sometimes"]: unsupported scope)"},
    {R"({"hard":{"services":"1"},"scopes":["NotTerminating"]})", R"(spec.scopes: Invalid value: ["NotTerminating"]: unsupported scope applied to resource)"},
    {R"({"hard":{"cpu":"1"},"scopes":["BestEffort"]})", R"(spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource)"},
    {R"({"hard":{"pods":"1"},"scopes":["Terminating","NotTerminating"]})", "conflicting scopes"},
    {R"({"hard":{"pods":"1"},"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In"}]}})",
     "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"},
    {R"({"hard":{"pods":"1"},"scopeSelector":{"matchExpressions":[{"scopeName":"BestEffort","operator":"DoesNotExist"}]}})", "must be 'Exist' when scope is any of"},
    {R"({"hard":{"persistentvolumeclaims":"1"},"scopeSelector":{"matchExpressions":[{"scopeName":"VolumeAttributesClass","operator":"Exists"}]}})",
     R"(spec.scopeSelector.matchExpressions.scopeName: Invalid value: "VolumeAttributesClass": unsupported scope)"},
};

async::Task<Result<>> invalids(TestCluster& cluster) {
  for (const InvalidCase& one : kInvalid) {
    CO_CALL(refused, "POST", kQuotas, quota("q", one.spec));
    CO_EXPECT_STATUS(refused, 422);
    EXPECT_NE(refused.text({"message"}).find(one.text), std::string::npos) << refused.text({"message"}) << "\nwants " << one.text;
  }
  CO_CALL(made, "POST", kQuotas, quota("q", R"({"hard":{"pods":"1"},"scopes":["BestEffort"]})"));
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(changed, "PUT", kQuotas + "/q", quota("q", R"({"hard":{"pods":"2"},"scopes":["NotBestEffort"]})"));
  CO_EXPECT_STATUS(changed, 422);
  EXPECT_NE(changed.text({"message"}).find(R"(spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable)"), std::string::npos) << changed.body;
  CO_CALL(more, "PUT", kQuotas + "/q", quota("q", R"({"hard":{"pods":"2"},"scopes":["BestEffort"]})"));
  CO_EXPECT_STATUS(more, 200);
  co_return Result<>();
}
TEST(ResourceQuota, IsValidatedAsUpstream) { with_cluster(invalids); }

}  // namespace
}  // namespace monopod::api
