#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kPods = "/api/v1/namespaces/default/pods";

async::Task<Result<>> bound_pod(TestCluster& cluster, std::string name, std::string node) {
  CO_CALL(pod, "POST", kPods, cat(R"({"metadata":{"name":")", name, R"("},"spec":{"nodeName":")", node, R"(","containers":[{"name":"c","image":"i"}]}})"));
  CO_EXPECT_STATUS(pod, 201);
  co_return Result<>();
}

async::Task<Result<>> lost_nodes(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  for (const char* node : {"here", "going"}) {
    CO_CALL(made, "POST", "/api/v1/nodes", cat(R"({"metadata":{"name":")", node, R"("}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  for (auto [pod, node] : {std::pair("stays", "here"), std::pair("goes", "going"), std::pair("orphan", "never")}) CO_TRY(co_await bound_pod(cluster, pod, node));
  ControllerFixture on(cluster, {make_pod_garbage_collector}, {});
  CO_TRY(co_await on.settle());
  CO_CALL(removed, "DELETE", "/api/v1/nodes/going");
  CO_TRY(co_await on.settle());
  cluster.time.advance(std::chrono::seconds(39));
  CO_TRY(co_await on.settle());
  CO_CALL(early, "GET", kPods);
  EXPECT_EQ(names_of(early), "goes orphan stays") << "it may come back";
  cluster.time.advance(std::chrono::seconds(2));
  CO_TRY(co_await on.until(kPods, names_are("stays")));
  co_return co_await on.stop();
}
TEST(PodGarbageCollector, PodsOfNodesThatAreGoneGoAfterAWhile) { with_cluster(lost_nodes); }

async::Task<Result<>> returns(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_TRY(co_await bound_pod(cluster, "p", "late"));
  ControllerFixture on(cluster, {make_pod_garbage_collector}, {});
  CO_TRY(co_await on.settle());
  CO_CALL(made, "POST", "/api/v1/nodes", R"({"metadata":{"name":"late"}})");
  CO_EXPECT_STATUS(made, 201);
  cluster.time.advance(std::chrono::seconds(60));
  CO_TRY(co_await on.settle());
  CO_CALL(seen, "GET", kPods + "/p");
  EXPECT_EQ(seen.status, 200);
  EXPECT_FALSE(seen.body.contains("DisruptionTarget")) << seen.body;
  co_return co_await on.stop();
}
TEST(PodGarbageCollector, ANodeThatComesKeepsItsPods) { with_cluster(returns); }

}  // namespace
}  // namespace monopod::controllers
