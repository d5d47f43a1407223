#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kPods = "/api/v1/namespaces/default/pods", kClaims = "/api/v1/namespaces/default/persistentvolumeclaims", kVolumes = "/api/v1/persistentvolumes";
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

struct Rig {
  explicit Rig(TestCluster& on)
      : api(on.server->local(api::system_user("system:kube-controller-manager"))), informers(on.executor, api, on.time, on.rng), scope(on.executor) {
    ControllerParts parts{.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng, .deletable_resources = {}, .root_ca_pem = ""};
    claims = make_claim_protection_controller(parts);
    volumes = make_volume_protection_controller(parts);
    scope.spawn(informers.run());
    scope.spawn(claims->run());
    scope.spawn(volumes->run());
  }
  async::Task<> stop() {
    scope.cancel();
    (void)co_await scope.join();
  }
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::unique_ptr<Controller> claims, volumes;
};

bool is_gone(const Reply& reply) { return reply.status == 404; }

std::string finalizers(const Reply& reply) {
  json::Value tree = reply.tree();
  const json::Value* list = json::find(tree, {"metadata", "finalizers"});
  return list == nullptr ? "" : json::format(*list);
}

std::string claim(std::string_view name) { return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"); }
std::string pod(std::string_view name, std::string_view node, std::string_view volume) {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{)", node, R"("containers":[{"name":"c","image":"i"}],"volumes":[)", volume, "]}}");
}

async::Task<Result<>> claims_in_use(TestCluster& cluster, Rig&) {
  for (const char* name : {"used", "free", "waited-for", "p-scratch"}) {
    CO_CALL(made, "POST", kClaims, claim(name));
    CO_EXPECT_STATUS(made, 201);
    EXPECT_EQ(finalizers(made), R"(["kubernetes.io/pvc-protection"])");
  }
  CO_CALL(runs, "POST", kPods, pod("p", R"("nodeName":"n",)", R"({"name":"v","persistentVolumeClaim":{"claimName":"used"}},{"name":"scratch","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}})"));
  CO_EXPECT_STATUS(runs, 201);
  CO_CALL(waits, "POST", kPods, pod("w", "", R"({"name":"v","persistentVolumeClaim":{"claimName":"waited-for"}})"));
  CO_EXPECT_STATUS(waits, 201);
  for (const char* name : {"used", "p-scratch", "waited-for", "free"}) {
    CO_CALL(removed, "DELETE", cat(kClaims, "/", name));
    CO_EXPECT_STATUS(removed, 200);
  }
  for (const char* name : {"free", "waited-for"}) {
    CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(cat(kClaims, "/", name), is_gone));
    EXPECT_EQ(seen.status, 404) << name << seen.body;
  }
  for (const char* name : {"used", "p-scratch"}) {  // the controller has looked at them: they came first
    CO_CALL(kept, "GET", cat(kClaims, "/", name));
    CO_EXPECT_STATUS(kept, 200);
    EXPECT_EQ(finalizers(kept), R"(["kubernetes.io/pvc-protection"])") << name;
  }
  CO_CALL(ended, "DELETE", kPods + "/p?gracePeriodSeconds=0");
  CO_EXPECT_STATUS(ended, 200);
  for (const char* name : {"used", "p-scratch"}) {
    CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(cat(kClaims, "/", name), is_gone));
    EXPECT_EQ(seen.status, 404) << name << seen.body;
  }
  co_return Result<>();
}

async::Task<Result<>> bound_volumes(TestCluster& cluster, Rig&) {
  for (const char* name : {"bound", "free"}) {
    CO_CALL(made, "POST", kVolumes, cat(R"({"metadata":{"name":")", name, R"(","finalizers":["x.io/mine","kubernetes.io/pv-protection"]},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})"));
    CO_EXPECT_STATUS(made, 201);
    EXPECT_EQ(finalizers(made), R"(["x.io/mine","kubernetes.io/pv-protection"])") << "no second one";
  }
  CO_CALL(bound, "PATCH", kVolumes + "/bound/status", R"({"status":{"phase":"Bound"}})", kMerge);
  CO_EXPECT_STATUS(bound, 200);
  for (const char* name : {"bound", "free"}) {
    CO_CALL(removed, "DELETE", cat(kVolumes, "/", name));
    CO_EXPECT_STATUS(removed, 200);
  }
  auto only_theirs = [](const Reply& reply) { return finalizers(reply) == R"(["x.io/mine"])"; };
  CO_TRY_ASSIGN(Reply freed, co_await cluster.eventually(kVolumes + "/free", only_theirs));
  EXPECT_EQ(finalizers(freed), R"(["x.io/mine"])") << "theirs stays";
  CO_CALL(kept, "GET", kVolumes + "/bound");
  EXPECT_EQ(finalizers(kept), R"(["x.io/mine","kubernetes.io/pv-protection"])");
  CO_CALL(released, "PATCH", kVolumes + "/bound/status", R"({"status":{"phase":"Released"}})", kMerge);
  CO_EXPECT_STATUS(released, 200);
  CO_TRY_ASSIGN(Reply later, co_await cluster.eventually(kVolumes + "/bound", only_theirs));
  EXPECT_EQ(finalizers(later), R"(["x.io/mine"])");
  co_return Result<>();
}

TEST(VolumeProtection, AClaimStaysWhileAScheduledPodNamesIt) { api::with_cluster(api::with_rig<Rig, claims_in_use>); }
TEST(VolumeProtection, AVolumeStaysWhileItIsBound) { api::with_cluster(api::with_rig<Rig, bound_volumes>); }

}  // namespace
}  // namespace monopod::controllers
