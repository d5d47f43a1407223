// What test/e2e/apps/statefulset.go of kubernetes/kubernetes looks at, and the rules behind it.
#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;
namespace resources = client::resources;

const std::string kSet = "/apis/apps/v1/namespaces/default/statefulsets/web", kSets = "/apis/apps/v1/namespaces/default/statefulsets";
const std::string kRevisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
const std::string kPods = "/api/v1/namespaces/default/pods", kClaims = "/api/v1/namespaces/default/persistentvolumeclaims", kEvents = "/api/v1/namespaces/default/events?limit=500";

struct StatefulFixture : ControllerFixture {
  explicit StatefulFixture(TestCluster& on)
      : ControllerFixture(on, {make_statefulset_controller, make_garbage_collector, make_serviceaccount_controller}, {resources::kStatefulSets, resources::kPods, resources::kControllerRevisions, resources::kPersistentVolumeClaims}) {}
  // The account that pods need, then the set.
  async::Task<Result<>> start(std::string spec) {
    CO_TRY(co_await until("/api/v1/namespaces/default/serviceaccounts/default", exists()));
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", kSets,
        cat(R"({"metadata":{"name":"web"},"spec":{"serviceName":"db","selector":{"matchLabels":{"app":"x"}},)", spec,
            R"("template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}})")));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return Result<>();
  }
  async::Task<Result<>> ready_all(int count) {
    for (int i = 0; i < count; ++i) CO_TRY(co_await ready(cat("web-", i)));
    co_return Result<>();
  }
  async::Task<Result<std::string>> revision_of(std::string pod) {
    CO_TRY_ASSIGN(Reply seen, co_await get(kPods + "/" + pod));
    co_return seen.text({"metadata", "labels", "controller-revision-hash"});
  }
  async::Task<Result<>> image(std::string name) { return patch(kSet, cat(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")", name, R"("}]}}}})")); }
};

async::Task<Result<>> ordered(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":3,)"));
  CO_TRY_ASSIGN(Reply first, co_await fixture.until(kPods + "/web-0", exists()));
  EXPECT_EQ(first.text({"metadata", "labels", "statefulset.kubernetes.io/pod-name"}), "web-0");
  EXPECT_EQ(first.text({"metadata", "labels", "apps.kubernetes.io/pod-index"}), "0");
  EXPECT_EQ(first.text({"spec", "hostname"}), "web-0");
  EXPECT_EQ(first.text({"spec", "subdomain"}), "db");
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kPods, names_are("web-0")));
  CO_TRY(co_await fixture.ready("web-0"));
  CO_TRY(co_await fixture.ready("web-1"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-0 web-1 web-2")));
  CO_TRY(co_await fixture.ready("web-2"));
  CO_TRY_ASSIGN(Reply set, co_await fixture.until(kSet, status_is({{"replicas", 3}, {"readyReplicas", 3}, {"availableReplicas", 3}, {"currentReplicas", 3}, {"updatedReplicas", 3}, {"observedGeneration", 1}})));
  EXPECT_EQ(set.text({"status", "currentRevision"}), set.text({"status", "updateRevision"}));
  EXPECT_TRUE(set.body.contains(R"("collisionCount":0)"));
  EXPECT_EQ(set.text({"status", "updateRevision"}), first.text({"metadata", "labels", "controller-revision-hash"}));
  CO_TRY_ASSIGN(Reply events, co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("create Pod web-2 in StatefulSet web successful"); }));
  // An unhealthy pod halts the way down, unless it is the one that goes.
  CO_TRY(co_await fixture.pod_status("web-0", R"("phase":"Running")"));
  CO_TRY(co_await fixture.patch(kSet + "/scale", R"({"spec":{"replicas":1}})"));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kPods, names_are("web-0 web-1 web-2")));
  CO_TRY(co_await fixture.ready("web-0"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-0")));
  CO_TRY(co_await fixture.until(kSet, status_is({{"replicas", 1}, {"readyReplicas", 1}})));
  CO_TRY_ASSIGN(Reply scale, co_await fixture.get(kSet + "/scale"));
  EXPECT_EQ(scale.text({"status", "selector"}), "app=x");
  // What failed comes back under its name.
  CO_TRY_ASSIGN(Reply before, co_await fixture.get(kPods + "/web-0"));
  CO_TRY(co_await fixture.pod_status("web-0", R"("phase":"Failed")"));
  CO_TRY(co_await fixture.until(kPods + "/web-0", [&](const Reply& seen) { return seen.status == 200 && seen.text({"metadata", "uid"}) != before.text({"metadata", "uid"}); }));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("StatefulSet default/web is recreating failed Pod web-0"); }));
  co_return co_await fixture.stop();
}
TEST(StatefulSet, PodsComeAndGoInOrder) { api::with_cluster(ordered); }

async::Task<Result<>> parallel(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":3,"podManagementPolicy":"Parallel","ordinals":{"start":5},)"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-5 web-6 web-7")));
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"replicas":1}})"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-5")));
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"ordinals":{"start":4}}})"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-4")));
  co_return co_await fixture.stop();
}
TEST(StatefulSet, ParallelPodsWaitForNoneAndOrdinalsStartWhereAsked) { api::with_cluster(parallel); }

async::Task<Result<>> rolling(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":3,"revisionHistoryLimit":1,)"));
  CO_TRY(co_await fixture.ready_all(3));
  CO_TRY_ASSIGN(Reply set, co_await fixture.until(kSet, status_is({{"currentReplicas", 3}, {"readyReplicas", 3}})));
  std::string first = set.text({"status", "currentRevision"});
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}})"));
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY_ASSIGN(set, co_await fixture.until(kSet, [&](const Reply& seen) { return seen.text({"status", "updateRevision"}) != first; }));
  std::string second = set.text({"status", "updateRevision"});
  EXPECT_EQ(set.text({"status", "currentRevision"}), first);
  CO_TRY(co_await fixture.until(kPods + "/web-2", [&](const Reply& seen) { return seen.text({"metadata", "labels", "controller-revision-hash"}) == second; }));
  CO_TRY(co_await fixture.ready("web-2"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"currentReplicas", 2}, {"updatedReplicas", 1}, {"readyReplicas", 3}})));
  // Below the partition a pod that is deleted comes back as it was, above it as it is to be.
  for (const char* pod : {"web-0", "web-2"}) {
    CO_TRY(co_await cluster.call("DELETE", kPods + "/" + pod));
    CO_TRY(co_await fixture.ready(pod));
  }
  CO_TRY(co_await fixture.until(kSet, status_is({{"readyReplicas", 3}})));
  CO_TRY_ASSIGN(std::string zero, co_await fixture.revision_of("web-0"));
  CO_TRY_ASSIGN(std::string two, co_await fixture.revision_of("web-2"));
  EXPECT_EQ(zero, first);
  EXPECT_EQ(two, second);
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}})"));
  for (const char* pod : {"web-1", "web-0"}) {  // the last first, one at a time
    CO_TRY(co_await fixture.until(cat(kPods, "/", pod), [&](const Reply& seen) { return seen.text({"metadata", "labels", "controller-revision-hash"}) == second; }));
    if (pod == std::string_view("web-1")) {
      CO_TRY(co_await fixture.settle());
      CO_TRY_ASSIGN(zero, co_await fixture.revision_of("web-0"));
      EXPECT_EQ(zero, first) << "while web-1 is not ready";
    }
    CO_TRY(co_await fixture.ready(pod));
  }
  CO_TRY(co_await fixture.until(kSet, [&](const Reply& seen) { return seen.text({"status", "currentRevision"}) == second && status_is({{"currentReplicas", 3}, {"updatedReplicas", 3}})(seen); }));
  // Back to the first template: its revision becomes the newest. A third one pushes out what the limit does not keep.
  CO_TRY(co_await fixture.image("i:1"));
  CO_TRY(co_await fixture.until(kRevisions + "/" + first, [](const Reply& seen) { return json::get_int(seen.tree(), {"revision"}) == 3; }));
  for (int i = 2; i >= 0; --i) {
    CO_TRY(co_await fixture.until(cat(kPods, "/web-", i), [&](const Reply& seen) { return seen.text({"metadata", "labels", "controller-revision-hash"}) == first; }));
    CO_TRY(co_await fixture.ready(cat("web-", i)));
  }
  CO_TRY(co_await fixture.until(kSet, [&](const Reply& seen) { return seen.text({"status", "currentRevision"}) == first; }));
  CO_TRY(co_await fixture.image("i:3"));
  CO_TRY(co_await fixture.until(kRevisions, [&](const Reply& seen) { return json::get_array(seen.tree(), {"items"}) != nullptr && seen.body.contains(R"("revision":4)") ; }));
  for (int i = 2; i >= 0; --i) {
    CO_TRY(co_await fixture.until(cat(kPods, "/web-", i), [&](const Reply& seen) { return seen.status == 200 && seen.text({"metadata", "labels", "controller-revision-hash"}) != first; }));
    CO_TRY(co_await fixture.ready(cat("web-", i)));
  }
  CO_TRY(co_await fixture.until(kRevisions, has_items(2)));
  // Kept as a patch that puts the template back.
  CO_TRY_ASSIGN(Reply kept, co_await fixture.get(kRevisions + "/" + first));
  EXPECT_EQ(kept.text({"data", "spec", "template", "$patch"}), "replace");
  CO_TRY(co_await cluster.call("DELETE", kSet));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  CO_TRY(co_await fixture.until(kRevisions, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(StatefulSet, UpdatesRollFromTheLastPodDownToThePartition) { api::with_cluster(rolling); }

async::Task<Result<>> unavailable(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":4,"podManagementPolicy":"Parallel","minReadySeconds":10,"updateStrategy":{"rollingUpdate":{"maxUnavailable":2}},)"));
  CO_TRY(co_await fixture.ready_all(4));
  CO_TRY_ASSIGN(Reply set, co_await fixture.until(kSet, status_is({{"readyReplicas", 4}, {"availableReplicas", 0}})));
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY(co_await fixture.until(kSet, status_is({{"availableReplicas", 4}})));
  std::string first = set.text({"status", "currentRevision"});
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedReplicas", 2}, {"currentReplicas", 2}})));
  CO_TRY(co_await fixture.settle());
  for (auto [pod, old] : {std::pair{"web-0", true}, {"web-1", true}, {"web-2", false}, {"web-3", false}}) {
    CO_TRY_ASSIGN(std::string revision, co_await fixture.revision_of(pod));
    EXPECT_EQ(revision == first, old) << pod;
  }
  co_return co_await fixture.stop();
}
TEST(StatefulSet, AsManyPodsAtATimeAreUpdatedAsMayBeUnavailable) { api::with_cluster(unavailable); }

async::Task<Result<>> on_delete(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":2,"updateStrategy":{"type":"OnDelete"},)"));
  CO_TRY(co_await fixture.ready_all(2));
  CO_TRY_ASSIGN(Reply set, co_await fixture.until(kSet, status_is({{"readyReplicas", 2}})));
  std::string first = set.text({"status", "currentRevision"});
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kSet, [&](const Reply& seen) { return seen.text({"status", "updateRevision"}) != first; }));
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(std::string one, co_await fixture.revision_of("web-1"));
  EXPECT_EQ(one, first);
  CO_TRY(co_await cluster.call("DELETE", kPods + "/web-1"));
  CO_TRY(co_await fixture.until(kPods + "/web-1", [&](const Reply& seen) { return seen.status == 200 && seen.text({"metadata", "labels", "controller-revision-hash"}) != first; }));
  co_return co_await fixture.stop();
}
TEST(StatefulSet, OnDeleteLeavesPodsUntilSomebodyDeletesThem) { api::with_cluster(on_delete); }

async::Task<Result<>> claims(TestCluster& cluster) {
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("replicas":2,"podManagementPolicy":"Parallel","persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Retain"},
    "volumeClaimTemplates":[{"metadata":{"name":"data","labels":{"mine":"1"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}],)"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-0 web-1")));
  CO_TRY_ASSIGN(Reply pod, co_await fixture.get(kPods + "/web-1"));
  EXPECT_TRUE(pod.body.contains(R"("name":"data","persistentVolumeClaim":{"claimName":"data-web-1"})")) << pod.body;
  CO_TRY_ASSIGN(Reply claim, co_await fixture.until(kClaims + "/data-web-1", exists()));
  EXPECT_EQ(claim.text({"metadata", "labels", "app"}), "x");
  EXPECT_EQ(claim.text({"metadata", "labels", "mine"}), "1");
  EXPECT_FALSE(claim.body.contains("ownerReferences")) << claim.body;
  CO_TRY(co_await fixture.ready_all(2));
  // Scaled away: the claim goes with its pod.
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"replicas":1}})"));
  CO_TRY(co_await fixture.until(kPods, names_are("web-0")));
  CO_TRY(co_await fixture.until(kClaims + "/data-web-1", [](const Reply& seen) { return seen.status == 404 || seen.body.contains("deletionTimestamp"); }));
  CO_CALL(released, "PATCH", kClaims + "/data-web-1", R"({"metadata":{"finalizers":null}})", kMergePatch);  // as pvc-protection does
  CO_TRY(co_await fixture.gone(kClaims + "/data-web-1"));
  // Deleted with the set where the policy says so.
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain","whenDeleted":"Delete"}}})"));
  CO_TRY(co_await fixture.until(kClaims + "/data-web-0", [](const Reply& seen) { return seen.body.contains(R"("kind":"StatefulSet","name":"web")"); }));
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain","whenDeleted":"Retain"}}})"));
  CO_TRY(co_await fixture.until(kClaims + "/data-web-0", [](const Reply& seen) { return !seen.body.contains("ownerReferences"); }));
  CO_TRY(co_await cluster.call("DELETE", kSet));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  CO_CALL(stays, "GET", kClaims + "/data-web-0");
  CO_EXPECT_STATUS(stays, 200);
  co_return co_await fixture.stop();
}
TEST(StatefulSet, ClaimsAreMadeForEachPodAndGoWhenThePolicySaysSo) { api::with_cluster(claims); }

// Run twice, and again after a restart in the middle: no write.
async::Task<Result<>> quiet(TestCluster& cluster) {
  std::string version;
  {
    StatefulFixture fixture(cluster);
    CO_TRY(co_await fixture.start(R"("replicas":2,)"));
    CO_TRY(co_await fixture.ready("web-0"));
    CO_TRY(co_await fixture.until(kSet, status_is({{"replicas", 2}, {"readyReplicas", 1}})));
    CO_TRY(co_await fixture.settle());
    CO_TRY(co_await fixture.stop());
  }
  CO_TRY_ASSIGN(Reply before, co_await cluster.call("GET", kSet));
  CO_TRY_ASSIGN(Reply pods, co_await cluster.call("GET", kPods));
  StatefulFixture fixture(cluster);
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(Reply after, co_await fixture.get(kSet));
  CO_TRY_ASSIGN(Reply same, co_await fixture.get(kPods));
  EXPECT_EQ(before.text({"metadata", "resourceVersion"}), after.text({"metadata", "resourceVersion"}));
  EXPECT_EQ(json::format(*json::find(pods.tree(), {"items"})), json::format(*json::find(same.tree(), {"items"})));
  CO_TRY(co_await fixture.ready("web-1"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"readyReplicas", 2}})));
  co_return co_await fixture.stop();
}
TEST(StatefulSet, ARestartInTheMiddleWritesNothingTwice) { api::with_cluster(quiet); }

}  // namespace
}  // namespace monopod::controllers
