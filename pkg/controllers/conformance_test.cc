// What the public conformance specs see of controllers: test/e2e/apimachinery, test/e2e/apps and test/e2e/network of kubernetes/kubernetes.
#include "base/bytes.h"
#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;
namespace resources = client::resources;

const std::string kCore = "/api/v1/namespaces/default/";
const std::string kMaps = kCore + "configmaps", kPods = kCore + "pods", kSets = kCore + "replicationcontrollers";
const std::string kSlices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const http::Headers& kMerge = kMergePatch;

// All controllers that these tests are about, over a whole server.
struct Fixture : ControllerFixture {
  explicit Fixture(TestCluster& on)
      : ControllerFixture(on,
                          {make_garbage_collector, make_namespace_controller, make_replication_controller, make_endpointslice_controller, make_endpointslice_mirroring_controller, make_token_secret_controller,
                           make_serviceaccount_controller, make_taint_eviction_controller},
                          {resources::kConfigMaps, resources::kPods, resources::kReplicationControllers, resources::kEndpoints, resources::kEndpointSlices}) {}
};

async::Task<Result<>> replication(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_TRY(co_await fixture.until(kCore + "serviceaccounts/default", [](const Reply& seen) { return seen.status == 200; }));
  CO_CALL(orphan, "POST", kPods, R"({"metadata":{"name":"orphan","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  CO_CALL(made, "POST", kSets, R"({"metadata":{"name":"rc"},"spec":{"replicas":3,"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(made.text({"spec", "selector", "app"}), "x") << "the selector follows from the template";
  CO_TRY(co_await fixture.until(kPods + "?labelSelector=app%3Dx", has_items(3)));
  CO_TRY_ASSIGN(Reply adopted, co_await fixture.until(kPods + "/orphan", [](const Reply& seen) { return seen.body.contains("ownerReferences"); }));
  EXPECT_TRUE(adopted.body.contains(R"("apiVersion":"v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicationController","name":"rc")")) << adopted.body;
  CO_TRY(co_await fixture.until(kSets + "/rc", [](const Reply& seen) { return json::get_int(seen.tree(), {"status", "replicas"}) == 3; }));
  CO_CALL(relabelled, "PATCH", kPods + "/orphan", R"({"metadata":{"labels":{"app":"y"}}})", kMerge);
  CO_TRY(co_await fixture.until(kPods + "/orphan", [](const Reply& seen) { return !seen.body.contains("ownerReferences"); }));
  CO_TRY(co_await fixture.until(kPods + "?labelSelector=app%3Dx", has_items(3)));
  CO_CALL(scaled, "PATCH", kSets + "/rc/scale", R"({"spec":{"replicas":1}})", kMerge);
  CO_EXPECT_STATUS(scaled, 200);
  CO_TRY(co_await fixture.until(kPods + "?labelSelector=app%3Dx", has_items(1)));
  CO_CALL(removed, "DELETE", kSets + "/rc?propagationPolicy=Orphan");
  CO_TRY(co_await fixture.gone(kSets + "/rc"));
  CO_TRY_ASSIGN(Reply left, co_await fixture.until(kPods + "?labelSelector=app%3Dx", [](const Reply& seen) { return !seen.body.contains("ownerReferences"); }));
  EXPECT_TRUE(has_items(1)(left));
  co_return co_await fixture.stop();
}
TEST(Conformance, ReplicationControllersAdoptReleaseScaleAndOrphan) { api::with_cluster(replication); }

// A set that may not have its pods says so once: the text names another pod at each attempt, and a write for each would wake it for the next.
async::Task<Result<>> failure(TestCluster& cluster) {
  Fixture fixture(cluster);  // without the quota controller: nothing counts, so a quota of no pods refuses all
  CO_TRY(co_await fixture.until(kCore + "serviceaccounts/default", [](const Reply& seen) { return seen.status == 200; }));
  CO_CALL(range, "POST", kCore + "limitranges", R"({"metadata":{"name":"r"},"spec":{"limits":[{"type":"Container","min":{"cpu":"1"},"defaultRequest":{"cpu":"1"},"default":{"cpu":"2"}}]}})");
  CO_EXPECT_STATUS(range, 201);
  CO_CALL(made, "POST", kSets, R"({"metadata":{"name":"rc"},"spec":{"replicas":1,"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1m"}}}]}}}})");
  CO_TRY_ASSIGN(Reply first, co_await fixture.until(kSets + "/rc", [](const Reply& seen) { return seen.body.contains("ReplicaFailure"); }));
  for (int turn = 0; turn < 20; ++turn) {
    cluster.time.advance(std::chrono::milliseconds(100));
    CO_CALL(again, "GET", kSets + "/rc");
    EXPECT_EQ(again.text({"metadata", "resourceVersion"}), first.text({"metadata", "resourceVersion"}));
  }
  CO_CALL(lifted, "DELETE", kCore + "limitranges/r");
  cluster.time.advance(std::chrono::minutes(20));
  CO_TRY(co_await fixture.until(kSets + "/rc", [](const Reply& seen) { return !seen.body.contains("ReplicaFailure") && json::get_int(seen.tree(), {"status", "replicas"}) == 1; }));
  co_return co_await fixture.stop();
}
TEST(Conformance, AFailureToMakePodsIsSaidOnce) { api::with_cluster(failure); }

async::Task<Result<>> mirrored(TestCluster& cluster) {
  Fixture fixture(cluster);
  const std::string ours = kSlices + "?labelSelector=kubernetes.io/service-name%3Ds";
  CO_CALL(service, "POST", kCore + "services", R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})");
  CO_CALL(made, "POST", kCore + "endpoints", R"({"metadata":{"name":"s","labels":{"mine":"yes"}},"subsets":[{"addresses":[{"ip":"10.1.2.3"}],"ports":[{"name":"http","port":80}]},
    {"addresses":[{"ip":"10.1.2.3"}],"notReadyAddresses":[{"ip":"10.1.2.4"}],"ports":[{"name":"https","port":443}]}]})");
  CO_EXPECT_STATUS(made, 201);
  CO_TRY_ASSIGN(Reply slices, co_await fixture.until(ours, has_items(2)));
  for (const char* part : {R"("endpointslice.kubernetes.io/managed-by":"endpointslicemirroring-controller.k8s.io")", R"("mine":"yes")", R"("addresses":["10.1.2.4"],"conditions":{"ready":false})", R"("kind":"Endpoints","name":"s")"})
    EXPECT_TRUE(slices.body.contains(part)) << part << slices.body;
  CO_CALL(changed, "PATCH", kCore + "endpoints/s", R"({"subsets":[{"addresses":[{"ip":"10.2.3.4"}],"ports":[{"name":"http","port":80}]}]})", kMerge);
  CO_EXPECT_STATUS(changed, 200);
  CO_TRY(co_await fixture.until(ours, [](const Reply& seen) { return has_items(1)(seen) && seen.body.contains(R"("addresses":["10.2.3.4"])"); }));
  CO_CALL(skipped, "PATCH", kCore + "endpoints/s", R"({"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}})", kMerge);
  CO_TRY(co_await fixture.until(ours, has_items(0)));
  CO_CALL(again, "PATCH", kCore + "endpoints/s", R"({"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":null}}})", kMerge);
  CO_TRY(co_await fixture.until(ours, has_items(1)));
  CO_CALL(removed, "DELETE", kCore + "endpoints/s");
  CO_TRY(co_await fixture.until(ours, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(Conformance, EndpointsWrittenByHandAreMirrored) { api::with_cluster(mirrored); }

async::Task<Result<>> two_owners(TestCluster& cluster) {
  Fixture fixture(cluster);
  auto owner = [](std::string_view name, const Reply& of) { return cat(R"({"apiVersion":"v1","kind":"ConfigMap","name":")", name, R"(","uid":")", of.text({"metadata", "uid"}), R"(","blockOwnerDeletion":true})"); };
  CO_CALL(a, "POST", kMaps, R"({"metadata":{"name":"a"}})");
  CO_CALL(b, "POST", kMaps, R"({"metadata":{"name":"b"}})");
  CO_CALL(shared, "POST", kMaps, cat(R"({"metadata":{"name":"shared","ownerReferences":[)", owner("a", a), ",", owner("b", b), "]}}"));
  CO_CALL(alone, "POST", kMaps, cat(R"({"metadata":{"name":"alone","ownerReferences":[)", owner("a", a), "]}}"));
  CO_EXPECT_STATUS(alone, 201);
  CO_CALL(removed, "DELETE", kMaps + "/a?propagationPolicy=Foreground");
  CO_TRY(co_await fixture.gone(kMaps + "/a"));
  CO_TRY(co_await fixture.gone(kMaps + "/alone"));
  CO_CALL(kept, "GET", kMaps + "/shared");
  CO_EXPECT_STATUS(kept, 200);
  EXPECT_FALSE(kept.body.contains(R"("name":"a")")) << kept.body;
  EXPECT_TRUE(kept.body.contains(R"("name":"b")"));
  co_return co_await fixture.stop();
}
TEST(Conformance, WhatHasAnotherOwnerStaysAndForgetsTheOneThatGoes) { api::with_cluster(two_owners); }

async::Task<Result<>> circle(TestCluster& cluster) {
  Fixture fixture(cluster);
  std::vector<std::string> uids;
  for (int i = 0; i < 3; ++i) {
    CO_CALL(made, "POST", kMaps, cat(R"({"metadata":{"name":"m)", i, R"("}})"));
    uids.push_back(made.text({"metadata", "uid"}));
  }
  for (std::size_t i = 0; i < 3; ++i) {
    std::size_t owner = (i + 2) % 3;
    CO_CALL(owned, "PATCH", cat(kMaps, "/m", i), cat(R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"m)", owner, R"(","uid":")", uids[owner], R"(","controller":true,"blockOwnerDeletion":true}]}})"), kMerge);
    CO_EXPECT_STATUS(owned, 200);
  }
  CO_CALL(removed, "DELETE", kMaps + "/m0?propagationPolicy=Foreground");
  CO_EXPECT_STATUS(removed, 200);
  for (int i = 0; i < 3; ++i) CO_TRY(co_await fixture.gone(cat(kMaps, "/m", i)));
  co_return co_await fixture.stop();
}
TEST(Conformance, ObjectsThatOwnEachOtherInACircleGoTogether) { api::with_cluster(circle); }

// NoExecuteTaintManager: who does not tolerate goes at once, who does for a time later; a taint that is taken off cancels that.
async::Task<Result<>> taints(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_TRY(co_await fixture.until(kCore + "serviceaccounts/default", [](const Reply& seen) { return seen.status == 200; }));
  CO_CALL(node, "POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})");
  CO_EXPECT_STATUS(node, 201);
  auto pod = [](std::string_view name, std::string_view seconds) {
    return cat(R"({"metadata":{"name":")", name, R"(","finalizers":["example.com/see"]},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}],"tolerations":[)",
               seconds.empty() ? std::string() : cat(R"({"key":"k","operator":"Equal","value":"v","effect":"NoExecute")", seconds, "}"), "]}}");
  };
  CO_CALL(plain, "POST", kPods, pod("plain", ""));
  CO_CALL(forever, "POST", kPods, pod("forever", " "));
  CO_CALL(patient, "POST", kPods, pod("patient", R"(,"tolerationSeconds":100)"));
  CO_EXPECT_STATUS(patient, 201);
  const std::string taint = R"({"spec":{"taints":[{"key":"k","value":"v","effect":"NoExecute"}]}})";
  auto leaving = [](const Reply& seen) { return seen.body.contains("deletionTimestamp"); };
  CO_CALL(tainted, "PATCH", "/api/v1/nodes/n", taint, kMerge);
  CO_EXPECT_STATUS(tainted, 200);
  CO_TRY_ASSIGN(Reply gone, co_await fixture.until(kPods + "/plain", leaving));
  EXPECT_TRUE(gone.body.contains(R"("reason":"DeletionByTaintManager","status":"True","type":"DisruptionTarget")")) << gone.body;
  cluster.time.advance(std::chrono::seconds(60));
  CO_CALL(freed, "PATCH", "/api/v1/nodes/n", R"({"spec":{"taints":null}})", kMerge);
  CO_TRY(co_await fixture.until("/api/v1/namespaces/default/events", [](const Reply& seen) { return seen.body.contains("Cancelling deletion of Pod default/patient"); }));
  cluster.time.advance(std::chrono::seconds(60));
  CO_CALL(again, "PATCH", "/api/v1/nodes/n", taint, kMerge);
  cluster.time.advance(std::chrono::seconds(99));
  CO_CALL(stays, "GET", kPods + "/patient");
  EXPECT_FALSE(leaving(stays)) << "time runs from the new taint";
  for (int turn = 0; turn < 5; ++turn) cluster.time.advance(std::chrono::seconds(60));
  CO_TRY(co_await fixture.until(kPods + "/patient", leaving));
  CO_CALL(kept, "GET", kPods + "/forever");
  EXPECT_FALSE(leaving(kept));
  co_return co_await fixture.stop();
}
TEST(Conformance, PodsLeaveNodesWhoseTaintsTheyDoNotTolerate) { api::with_cluster(taints); }

async::Task<Result<>> namespaces(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_CALL(made, "POST", "/api/v1/namespaces", R"({"metadata":{"name":"n"}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(held, "POST", "/api/v1/namespaces/n/configmaps", R"({"metadata":{"name":"held","finalizers":["example.com/hold"]}})");
  CO_CALL(deleted, "DELETE", "/api/v1/namespaces/n");
  CO_TRY_ASSIGN(Reply waits, co_await fixture.until("/api/v1/namespaces/n", [](const Reply& seen) { return seen.body.contains("NamespaceFinalizersRemaining"); }));
  for (const char* part : {R"("message":"Some resources are remaining: configmaps. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining")",
                           R"("message":"Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances","reason":"SomeFinalizersRemain","status":"True")",
                           R"("reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure")"})
    EXPECT_TRUE(waits.body.contains(part)) << part << waits.body;
  CO_CALL(released, "PATCH", "/api/v1/namespaces/n/configmaps/held", R"({"metadata":{"finalizers":null}})", kMerge);
  cluster.time.advance(std::chrono::seconds(2));
  CO_TRY(co_await fixture.gone("/api/v1/namespaces/n"));
  co_return co_await fixture.stop();
}
TEST(Conformance, ANamespaceSaysWhatHoldsUpItsDeletion) { api::with_cluster(namespaces); }

async::Task<Result<>> token_secrets(TestCluster& cluster) {
  Fixture fixture(cluster);
  const std::string secrets = kCore + "secrets";
  auto secret = [](std::string_view name, std::string_view account) {
    return cat(R"({"metadata":{"name":")", name, R"(","annotations":{"kubernetes.io/service-account.name":")", account, R"("}},"type":"kubernetes.io/service-account-token"})");
  };
  CO_TRY(co_await fixture.until(kCore + "serviceaccounts/default", [](const Reply& seen) { return seen.status == 200; }));
  CO_CALL(made, "POST", secrets, secret("t", "default"));
  CO_EXPECT_STATUS(made, 201);
  CO_TRY_ASSIGN(Reply filled, co_await fixture.until(secrets + "/t", [](const Reply& seen) { return seen.body.contains(R"("token")"); }));
  EXPECT_EQ(parse_base64(filled.text({"data", "ca.crt"})), "the CA");
  EXPECT_EQ(parse_base64(filled.text({"data", "namespace"})), "default");
  EXPECT_FALSE(filled.text({"metadata", "annotations", "kubernetes.io/service-account.uid"}).empty());
  std::string bearer = cat("Bearer ", parse_base64(filled.text({"data", "token"})).value_or(""));
  cluster.time.advance(std::chrono::hours(24 * 365 * 20));  // it lasts
  CO_CALL(who, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", {{"authorization", bearer}});
  CO_EXPECT_STATUS(who, 201);
  EXPECT_EQ(who.text({"status", "userInfo", "username"}), "system:serviceaccount:default:default");
  CO_CALL(removed, "DELETE", secrets + "/t");
  CO_CALL(nobody, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", {{"authorization", bearer}});
  CO_EXPECT_STATUS(nobody, 401);
  CO_CALL(stray, "POST", secrets, secret("stray", "nobody"));
  CO_TRY(co_await fixture.gone(secrets + "/stray"));
  CO_CALL(account, "POST", kCore + "serviceaccounts", R"({"metadata":{"name":"b"}})");
  CO_CALL(second, "POST", secrets, secret("s", "b"));
  CO_TRY(co_await fixture.until(secrets + "/s", [](const Reply& seen) { return seen.body.contains(R"("token")"); }));
  CO_CALL(without, "DELETE", kCore + "serviceaccounts/b");
  CO_TRY(co_await fixture.gone(secrets + "/s"));
  co_return co_await fixture.stop();
}
TEST(Conformance, SecretsOfServiceAccountTokensAreFilledAndGoWithTheirAccount) { api::with_cluster(token_secrets); }

}  // namespace
}  // namespace monopod::controllers
