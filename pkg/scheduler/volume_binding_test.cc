// Claims and volumes come from a whole API server; who binds them is played by the test.
#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "scheduler/plugins.h"
#include "scheduler/scheduler.h"

namespace monopod::scheduler {
namespace {

using namespace std::chrono_literals;
using api::Reply;
using api::TestCluster;

const std::string kPods = "/api/v1/namespaces/default/pods", kClaims = "/api/v1/namespaces/default/persistentvolumeclaims", kVolumes = "/api/v1/persistentvolumes", kClasses = "/apis/storage.k8s.io/v1/storageclasses";
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

struct Rig {
  explicit Rig(TestCluster& on)
      : cluster(on), api(on.server->local(api::system_user("system:kube-scheduler"))), informers(on.executor, api, on.time, on.rng), scope(on.executor) {}
  async::Task<> stop() {
    scope.cancel();
    (void)co_await scope.join();
  }
  async::Task<Result<>> make(std::string path, std::string body) {
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", path, std::move(body)));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return Result<>();
  }
  async::Task<Result<>> patch(std::string path, std::string body) {
    CO_TRY_ASSIGN(Reply written, co_await cluster.call("PATCH", path, std::move(body), kMerge));
    if (written.status != 200) co_return fail(Code::kInternal, written.body);
    co_return Result<>();
  }
  async::Task<Result<>> bind(std::string claim, std::string volume) {
    CO_TRY(co_await patch(kClaims + "/" + claim, cat(R"({"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes"}},"spec":{"volumeName":")", volume, "\"}}")));
    co_return co_await patch(kClaims + "/" + claim + "/status", R"({"status":{"phase":"Bound"}})");
  }
  async::Task<Result<Reply>> until(std::string path, std::function<bool(const Reply&)> holds) {
    CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(path, holds));
    if (!holds(seen)) co_return fail(Code::kDeadlineExceeded, cat(path, " stayed ", seen.body));
    co_return seen;
  }

  TestCluster& cluster;
  client::LocalApi api;
  client::InformerFactory informers;
  std::unique_ptr<Framework> framework;  // these two are told by the informers, so they stay until those have stopped
  std::unique_ptr<Scheduler> scheduler;
  async::Scope scope;
};

std::string claim(std::string_view name, std::string_view storage_class) {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"storageClassName":")", storage_class, R"(","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
}
std::string volume(std::string_view name, std::string_view storage_class, std::string_view node) {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"storageClassName":")", storage_class, R"(","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"local":{"path":"/x"},"nodeAffinity":{"required":{"nodeSelectorTerms":[
    {"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":[")", node, R"("]}]}]}}}})");
}
std::string storage_class(std::string_view name, std::string_view provisioner, std::string_view more = "") {
  return cat(R"({"metadata":{"name":")", name, R"("},"provisioner":")", provisioner, R"(","volumeBindingMode":"WaitForFirstConsumer")", more, "}");
}
std::string pod(std::string_view name, std::string_view volume) {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v",)", volume, "}]}}");
}
std::string of(std::string_view claim) { return cat(R"("persistentVolumeClaim":{"claimName":")", claim, "\"}"); }
constexpr std::string_view kNode = R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1"}},"status":{"allocatable":{"cpu":"4","memory":"4Gi","pods":"9"}}})";

async::Task<Result<>> reasons(TestCluster& cluster, Rig& rig) {
  CO_TRY(co_await rig.make(kClasses, storage_class("hand", "kubernetes.io/no-provisioner")));
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", "x.io/disks")));
  CO_TRY(co_await rig.make(kClasses, storage_class("zoned", "x.io/disks", R"(,"allowedTopologies":[{"matchLabelExpressions":[{"key":"zone","values":["b"]}]}])")));
  for (auto [name, of_class] : {std::pair{"immediate", ""}, {"wait-hand", "hand"}, {"wait-fast", "fast"}, {"wait-zoned", "zoned"}, {"wait-elsewhere", "fast"}, {"here", ""}, {"there", ""}, {"gone", ""}, {"lost", ""}, {"p-v", ""}})
    CO_TRY(co_await rig.make(kClaims, claim(name, of_class)));
  CO_TRY(co_await rig.patch(kClaims + "/wait-elsewhere", R"({"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"n2"}}})"));
  CO_TRY(co_await rig.make(kVolumes, volume("v1", "", "n1")));
  CO_TRY(co_await rig.make(kVolumes, volume("v2", "", "n2")));
  CO_TRY(co_await rig.make(kClaims, R"({"metadata":{"name":"exclusive"},"spec":{"storageClassName":"","accessModes":["ReadWriteOncePod"],"resources":{"requests":{"storage":"1Gi"}}}})"));
  CO_TRY(co_await rig.make(kPods, R"({"metadata":{"name":"holder"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"exclusive"}}]}})"));
  for (auto [name, on] : {std::pair{"here", "v1"}, {"there", "v2"}, {"gone", "v3"}, {"lost", "v4"}}) CO_TRY(co_await rig.bind(name, on));
  CO_TRY(co_await rig.patch(kClaims + "/lost/status", R"({"status":{"phase":"Lost"}})"));
  struct Case {
    std::string volume;
    const char* message;  // behind "0/1 nodes are available: "; "" fits
  };
  const Case cases[] = {
      {R"("emptyDir":{})", ""},
      {of("here"), ""},
      {of("there"), "1 node(s) didn't match PersistentVolume's node affinity."},
      {of("gone"), "1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."},
      {of("lost"), "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"v4\"."},
      {of("absent"), "persistentvolumeclaim \"absent\" not found."},
      {of("immediate"), "pod has unbound immediate PersistentVolumeClaims."},
      {of("exclusive"), "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."},
      {of("wait-fast"), ""},
      {of("wait-hand"), "1 node(s) didn't find available persistent volumes to bind."},
      {of("wait-zoned"), "1 node(s) didn't find available persistent volumes to bind."},
      {of("wait-elsewhere"), "1 node(s) didn't find available persistent volumes to bind."},
      {R"("ephemeral":{"volumeClaimTemplate":{}})", "PVC default/p-v was not created for pod default/p (pod is not owner)."},
  };
  std::vector<std::unique_ptr<Plugin>> plugins;
  plugins.push_back(make_volume_binding({.executor = cluster.executor, .api = rig.api, .informers = rig.informers}));
  rig.framework = std::make_unique<Framework>(std::move(plugins), cluster.time, 1s);
  rig.scope.spawn(rig.informers.run());
  CO_TRY(co_await rig.informers.wait_synced());
  auto node = make_node_info(*client::parse_object(std::string(kNode)));
  for (const Case& c : cases) {
    std::string body = pod("p", c.volume);
    body.insert(body.find(R"("name")"), R"("namespace":"default","uid":"u1",)");
    CycleState state;
    PodInfoPtr info = make_pod_info(std::make_shared<const client::Object>(*client::parse_object(body)));
    Result<Placement> placement = rig.framework->place(state, *info, {node});
    if (!placement) co_return fail(placement.error());
    if (c.message[0] == '\0') EXPECT_EQ(placement->node, "n1") << c.volume << placement->diagnosis.message();
    else EXPECT_EQ(placement->diagnosis.message(), std::string("0/1 nodes are available: ") + c.message) << c.volume;
  }
  co_return Result<>();
}

// n1, with room for so many pods.
async::Task<Result<>> free_node(Rig& rig, int pods) {
  CO_TRY(co_await rig.make("/api/v1/nodes", std::string(kNode)));
  CO_TRY(co_await rig.patch("/api/v1/nodes/n1", R"({"spec":{"taints":null}})"));
  co_return co_await rig.patch("/api/v1/nodes/n1/status", cat(R"({"status":{"allocatable":{"cpu":"4","memory":"4Gi","pods":")", pods, R"("}}})"));
}

// Two pods want the one volume that is left, a third one waits for a provisioner.
async::Task<Result<>> whole_scheduler(TestCluster& cluster, Rig& rig) {
  CO_TRY(co_await free_node(rig, 9));
  CO_TRY(co_await rig.make(kClasses, storage_class("hand", "kubernetes.io/no-provisioner")));
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", "x.io/disks")));
  CO_TRY(co_await rig.make(kVolumes, volume("v1", "hand", "n1")));
  CO_TRY(co_await rig.patch(kVolumes + "/v1/status", R"({"status":{"phase":"Available"}})"));
  SchedulerParts parts{.executor = cluster.executor, .api = rig.api, .informers = rig.informers, .time = cluster.time, .rng = cluster.rng};
  rig.scheduler = std::make_unique<Scheduler>(parts, SchedulerOptions{.plugin_limit = 1min});
  rig.scope.spawn(rig.informers.run());
  rig.scope.spawn(rig.scheduler->run());
  for (const char* name : {"a", "b"}) CO_TRY(co_await rig.make(kClaims, claim(name, "hand")));
  CO_TRY(co_await rig.make(kClaims, claim("c", "fast")));
  for (const char* name : {"a", "b", "c"}) CO_TRY(co_await rig.make(kPods, pod(name, of(name))));
  auto placed = [](const Reply& seen) { return seen.text({"spec", "nodeName"}) == "n1"; };
  auto refused = [](const Reply& seen) { return seen.body.contains("node(s) didn't find available persistent volumes to bind"); };
  CO_TRY_ASSIGN(Reply taken, co_await rig.until(kVolumes + "/v1", [](const Reply& seen) { return !seen.text({"spec", "claimRef", "uid"}).empty(); }));
  std::string first = taken.text({"spec", "claimRef", "name"}), second = first == "a" ? "b" : "a";
  EXPECT_EQ(taken.text({"metadata", "annotations", "pv.kubernetes.io/bound-by-controller"}), "yes");
  CO_TRY(co_await rig.until(kPods + "/" + second, refused));
  CO_TRY(co_await rig.until(kClaims + "/c", [](const Reply& seen) { return seen.text({"metadata", "annotations", "volume.kubernetes.io/selected-node"}) == "n1"; }));
  for (const std::string& name : {first, std::string("c")}) {
    CO_CALL(waits, "GET", kPods + "/" + name);
    EXPECT_EQ(waits.text({"spec", "nodeName"}), "") << name << ": its volume is not bound yet";
  }
  CO_TRY(co_await rig.bind(first, "v1"));
  CO_TRY(co_await rig.until(kPods + "/" + first, placed));
  CO_TRY(co_await rig.bind("c", "made"));
  CO_TRY(co_await rig.until(kPods + "/c", placed));
  // A volume comes: who waits is tried again.
  CO_TRY(co_await rig.make(kVolumes, volume("v2", "hand", "n1")));
  CO_TRY(co_await rig.patch(kVolumes + "/v2/status", R"({"status":{"phase":"Available"}})"));
  for (int round = 0; round < 40; ++round) {  // its back-off
    cluster.time.advance(1s);
    for (int turn = 0; turn < 50; ++turn) co_await boost::asio::post(cluster.executor, async::use_task);
  }
  CO_TRY(co_await rig.until(kVolumes + "/v2", [second](const Reply& seen) { return seen.text({"spec", "claimRef", "name"}) == second; }));
  CO_TRY(co_await rig.bind(second, "v2"));
  CO_TRY(co_await rig.until(kPods + "/" + second, placed));
  co_return Result<>();
}

// While a pod waits for its volume it is replaced by one of the same name.
async::Task<Result<>> replaced_pod(TestCluster& cluster, Rig& rig) {
  CO_TRY(co_await free_node(rig, 1));
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", "x.io/disks")));
  CO_TRY(co_await rig.make(kClaims, claim("c", "fast")));
  SchedulerParts parts{.executor = cluster.executor, .api = rig.api, .informers = rig.informers, .time = cluster.time, .rng = cluster.rng};
  rig.scheduler = std::make_unique<Scheduler>(parts, SchedulerOptions{.plugin_limit = 1min});
  rig.scope.spawn(rig.informers.run());
  rig.scope.spawn(rig.scheduler->run());
  CO_TRY(co_await rig.make(kPods, pod("p", of("c"))));
  CO_TRY(co_await rig.until(kClaims + "/c", [](const Reply& seen) { return seen.text({"metadata", "annotations", "volume.kubernetes.io/selected-node"}) == "n1"; }));
  CO_CALL(removed, "DELETE", kPods + "/p?gracePeriodSeconds=0");
  CO_EXPECT_STATUS(removed, 200);
  CO_TRY(co_await rig.make(kPods, pod("p", of("c"))));
  CO_TRY(co_await rig.bind("c", "made"));
  CO_TRY(co_await rig.make(kVolumes, volume("made", "fast", "n1")));
  for (int round = 0; round < 20; ++round) {
    cluster.time.advance(1s);
    for (int turn = 0; turn < 50; ++turn) co_await boost::asio::post(cluster.executor, async::use_task);
  }
  CO_TRY(co_await rig.until(kPods + "/p", [](const Reply& seen) { return seen.text({"spec", "nodeName"}) == "n1"; }));
  co_return Result<>();
}

TEST(VolumeBinding, ClaimsAgainstANodeGiveTheReasonPeopleKnow) { api::with_cluster(api::with_rig<Rig, reasons>); }
TEST(VolumeBinding, APodThatIsReplacedWhileItWaitsIsForgotten) { api::with_cluster(api::with_rig<Rig, replaced_pod>); }
TEST(VolumeBinding, APodIsBoundWhenItsVolumesAre) { api::with_cluster(api::with_rig<Rig, whole_scheduler>); }

}  // namespace
}  // namespace monopod::scheduler
