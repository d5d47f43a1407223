// What test/e2e/apps/daemon_set.go and controller_revision.go of kubernetes/kubernetes look at, and the rules behind them.
#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;
namespace resources = client::resources;

const std::string kSets = "/apis/apps/v1/namespaces/default/daemonsets", kSet = kSets + "/d", kRevisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
const std::string kPods = "/api/v1/namespaces/default/pods", kNodes = "/api/v1/nodes";

struct DaemonFixture : ControllerFixture {
  explicit DaemonFixture(TestCluster& on) : ControllerFixture(on, {make_daemonset_controller, make_garbage_collector, make_serviceaccount_controller}, {resources::kDaemonSets, resources::kPods, resources::kControllerRevisions}) {}

  async::Task<Result<>> node(std::string name, std::string labels = "") {
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", kNodes, cat(R"({"metadata":{"name":")", name, R"(","labels":{)", labels, "}}}")));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return co_await patch(kNodes + "/" + name, R"({"spec":{"taints":null}})");  // that of a node which is not ready yet
  }
  async::Task<Result<>> start(std::string spec, std::string pod_spec = "") {
    CO_TRY(co_await until("/api/v1/namespaces/default/serviceaccounts/default", exists()));
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", kSets,
        cat(R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"app":"d"}},)", spec, R"("template":{"metadata":{"labels":{"app":"d"}},"spec":{)", pod_spec, R"("containers":[{"name":"c","image":"i:1"}]}}}})")));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return Result<>();
  }
  // The pods pinned to a node that are not going: each with its image and its name.
  async::Task<Result<std::vector<std::pair<std::string, std::string>>>> on(std::string node) {
    CO_TRY_ASSIGN(Reply list, co_await get(kPods));
    std::vector<std::pair<std::string, std::string>> out;
    json::Value tree = list.tree();
    for (const json::Value& pod : *json::get_array(tree, {"items"})) {
      std::string text = json::format(pod);
      if (!text.contains(cat(R"("values":[")", node, R"("])"))) continue;
      out.emplace_back(text.contains(R"("image":"i:1")") ? "i:1" : "i:2", json::get_string(pod, {"metadata", "name"}));
    }
    co_return out;
  }
  // Waits for one pod on the node with that image; its name.
  async::Task<Result<std::string>> one(std::string node, std::string image = "i:1") {
    for (int turn = 0; turn < 200; ++turn) {
      CO_TRY_ASSIGN(auto pods, co_await on(node));
      for (auto& [is, name] : pods)
        if (is == image) co_return name;
      for (int i = 0; i < 50; ++i) co_await boost::asio::post(cluster.executor, async::use_task);
    }
    co_return fail(Code::kDeadlineExceeded, cat("no pod of ", image, " on ", node));
  }
  async::Task<Result<>> image(std::string name) { return patch(kSet, cat(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")", name, R"("}]}}}})")); }
};

async::Task<Result<>> placed(TestCluster& cluster) {
  DaemonFixture fixture(cluster);
  CO_TRY(co_await fixture.node("a", R"("colour":"blue")"));
  CO_TRY(co_await fixture.node("b"));
  CO_TRY(co_await fixture.start("", R"("nodeSelector":{"colour":"blue"},"hostNetwork":true,)"));
  CO_TRY_ASSIGN(std::string name, co_await fixture.one("a"));
  CO_TRY_ASSIGN(Reply pod, co_await fixture.get(kPods + "/" + name));
  EXPECT_TRUE(pod.body.contains(R"("nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}])")) << pod.body;
  for (const char* taint : {"not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable", "network-unavailable"})
    EXPECT_TRUE(pod.body.contains(cat(R"("key":"node.kubernetes.io/)", taint, R"(","operator":"Exists")"))) << taint;
  CO_TRY(co_await fixture.until(kSet, status_is({{"desiredNumberScheduled", 1}, {"currentNumberScheduled", 1}, {"numberUnavailable", 1}, {"updatedNumberScheduled", 1}})));
  CO_TRY(co_await fixture.ready(name));
  CO_TRY(co_await fixture.until(kSet, status_is({{"numberReady", 1}, {"numberAvailable", 1}, {"numberUnavailable", 0}, {"observedGeneration", 1}})));
  // Another node becomes what it selects, the first one ceases to be.
  CO_TRY(co_await fixture.patch(kNodes + "/b", R"({"metadata":{"labels":{"colour":"blue"}}})"));
  CO_TRY(co_await fixture.one("b"));
  CO_TRY(co_await fixture.patch(kNodes + "/a", R"({"metadata":{"labels":{"colour":"green"}}})"));
  CO_TRY(co_await fixture.gone(kPods + "/" + name));
  // NoSchedule keeps new pods away and leaves those that are there; NoExecute does not.
  CO_TRY(co_await fixture.patch(kNodes + "/b", R"({"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}})"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"desiredNumberScheduled", 0}, {"numberMisscheduled", 1}})));
  CO_TRY(co_await fixture.until(kPods, has_items(1)));
  CO_TRY(co_await fixture.patch(kNodes + "/b", R"({"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}})"));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  CO_TRY(co_await fixture.patch(kNodes + "/b", R"({"spec":{"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]}})"));
  CO_TRY(co_await fixture.one("b"));
  // The node went before the pod was there.
  CO_TRY(co_await cluster.call("DELETE", kNodes + "/b"));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(DaemonSet, APodOnEveryNodeThatItSelects) { api::with_cluster(placed); }

async::Task<Result<>> failed(TestCluster& cluster) {
  DaemonFixture fixture(cluster);
  CO_TRY(co_await fixture.node("a"));
  CO_TRY(co_await fixture.start(""));
  CO_TRY_ASSIGN(std::string first, co_await fixture.one("a"));
  CO_TRY(co_await fixture.pod_status(first, R"("phase":"Failed")"));
  CO_TRY(co_await fixture.gone(kPods + "/" + first));
  CO_TRY(co_await fixture.until("/api/v1/namespaces/default/events", [&](const Reply& seen) { return seen.body.contains(cat("Found failed daemon pod default/", first, " on node a, will try to kill it")); }));
  CO_TRY_ASSIGN(std::string second, co_await fixture.one("a"));
  CO_TRY(co_await fixture.pod_status(second, R"("phase":"Failed")"));
  CO_TRY(co_await fixture.settle());
  CO_CALL(kept, "GET", kPods + "/" + second);
  CO_EXPECT_STATUS(kept, 200);
  cluster.time.advance(std::chrono::seconds(2));
  CO_TRY(co_await fixture.gone(kPods + "/" + second));
  CO_TRY(co_await fixture.one("a"));
  co_return co_await fixture.stop();
}
TEST(DaemonSet, PodsThatFailAreReplacedAndNotTooFast) { api::with_cluster(failed); }

async::Task<Result<>> rolling(TestCluster& cluster) {
  DaemonFixture fixture(cluster);
  for (const char* node : {"a", "b", "c"}) CO_TRY(co_await fixture.node(node));
  CO_TRY(co_await fixture.start(R"("revisionHistoryLimit":0,)"));
  std::map<std::string, std::string> first;
  for (std::string node : {"a", "b", "c"}) {
    CO_TRY_ASSIGN(first[node], co_await fixture.one(node));
    CO_TRY(co_await fixture.ready(first[node]));
  }
  CO_TRY(co_await fixture.until(kSet, status_is({{"numberAvailable", 3}})));
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedNumberScheduled", 1}, {"numberAvailable", 2}})));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedNumberScheduled", 1}, {"numberAvailable", 2}})));
  CO_TRY(co_await fixture.until(kRevisions, has_items(2)));
  // Rolled back: the pods that were not touched yet are left as they are.
  CO_TRY(co_await fixture.image("i:1"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedNumberScheduled", 3}, {"observedGeneration", 3}})));
  int same = 0;
  for (std::string node : {"a", "b", "c"}) {
    CO_TRY_ASSIGN(std::string now, co_await fixture.one(node));
    same += now == first[node];
    CO_TRY(co_await fixture.ready(now));
  }
  EXPECT_EQ(same, 2);
  CO_TRY(co_await fixture.until(kSet, status_is({{"numberAvailable", 3}})));
  CO_TRY_ASSIGN(Reply revisions, co_await fixture.until(kRevisions, has_items(1)));
  EXPECT_TRUE(revisions.body.contains(R"("revision":3)")) << revisions.body;
  CO_TRY(co_await fixture.patch(kSet, R"({"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}})"));
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedNumberScheduled", 0}, {"observedGeneration", 5}})));
  CO_TRY_ASSIGN(std::string untouched, co_await fixture.one("a"));
  CO_TRY(co_await cluster.call("DELETE", kPods + "/" + untouched));
  CO_TRY(co_await fixture.one("a", "i:2"));
  CO_TRY(co_await cluster.call("DELETE", kSet));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  CO_TRY(co_await fixture.until(kRevisions, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(DaemonSet, UpdatesRollOverAsManyNodesAsMayBeUnavailable) { api::with_cluster(rolling); }

async::Task<Result<>> surge(TestCluster& cluster) {
  DaemonFixture fixture(cluster);
  for (const char* node : {"a", "b"}) CO_TRY(co_await fixture.node(node));
  CO_TRY(co_await fixture.start(R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":0,"maxSurge":1}},)"));
  std::map<std::string, std::string> old;
  for (std::string node : {"a", "b"}) {
    CO_TRY_ASSIGN(old[node], co_await fixture.one(node));
    CO_TRY(co_await fixture.ready(old[node]));
  }
  CO_TRY(co_await fixture.until(kSet, status_is({{"numberAvailable", 2}})));
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kPods, has_items(3)));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kPods, has_items(3)));
  CO_TRY_ASSIGN(auto on_a, co_await fixture.on("a"));
  std::string surging = on_a.size() == 2 ? "a" : "b", other = on_a.size() == 2 ? "b" : "a";
  CO_TRY_ASSIGN(std::string fresh, co_await fixture.one(surging, "i:2"));
  CO_CALL(still, "GET", kPods + "/" + old[surging]);
  CO_EXPECT_STATUS(still, 200);
  CO_TRY(co_await fixture.ready(fresh));
  CO_TRY(co_await fixture.gone(kPods + "/" + old[surging]));
  CO_TRY_ASSIGN(fresh, co_await fixture.one(other, "i:2"));
  CO_TRY(co_await fixture.ready(fresh));
  CO_TRY(co_await fixture.gone(kPods + "/" + old[other]));
  CO_TRY(co_await fixture.until(kSet, status_is({{"updatedNumberScheduled", 2}, {"numberAvailable", 2}})));
  CO_TRY(co_await fixture.until(kPods, has_items(2)));
  co_return co_await fixture.stop();
}
TEST(DaemonSet, WithSurgeTheNewPodIsThereBeforeTheOldOneGoes) { api::with_cluster(surge); }

// controller_revision.go: revisions are the clients' to label, add and delete; a new template counts on from the newest.
async::Task<Result<>> revisions(TestCluster& cluster) {
  DaemonFixture fixture(cluster);
  CO_TRY(co_await fixture.node("a"));
  CO_TRY(co_await fixture.start(""));
  CO_TRY(co_await fixture.one("a"));
  CO_TRY_ASSIGN(Reply list, co_await fixture.until(kRevisions, has_items(1)));
  json::Value first = (*json::get_array(list.tree(), {"items"}))[0];
  std::string name(client::name_of(first));
  CO_TRY(co_await fixture.patch(kRevisions + "/" + name, cat(R"({"metadata":{"labels":{")", name, R"(":"patched"}}})")));
  json::Value second = first;
  second.get_object()["metadata"] = json::Object{{"name", "d-second"}, {"labels", json::Object{{"app", "d"}, {"controller-revision-hash", "second"}}}, {"ownerReferences", *json::find(first, {"metadata", "ownerReferences"})}};
  second.get_object()["revision"] = 2;
  CO_CALL(made, "POST", kRevisions, json::format(second));
  CO_EXPECT_STATUS(made, 201);
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kRevisions, has_items(2)));
  CO_TRY(co_await cluster.call("DELETE", kRevisions + "/" + name));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kRevisions, names_are("d-second")));
  CO_TRY(co_await fixture.image("i:2"));
  CO_TRY(co_await fixture.until(kRevisions, has_items(2)));
  CO_TRY(co_await cluster.call("DELETE", kRevisions + "/d-second"));
  CO_TRY_ASSIGN(Reply left, co_await fixture.until(kRevisions, has_items(1)));
  EXPECT_TRUE(left.body.contains(R"("revision":3)")) << left.body;
  co_return co_await fixture.stop();
}
TEST(DaemonSet, RevisionsThatClientsAddAndDeleteAreCountedOnFrom) { api::with_cluster(revisions); }

}  // namespace
}  // namespace monopod::controllers
