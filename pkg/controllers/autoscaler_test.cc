#include <boost/asio/post.hpp>

#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kAutoscalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", kDeployments = "/apis/apps/v1/namespaces/default/deployments",
                  kPods = "/api/v1/namespaces/default/pods";

// A node whose pods a, b, ... use what the test says, each.
class Meter final : public http::Handler, public api::NodeHandlers {
 public:
  explicit Meter(TestCluster& cluster) : cluster_(cluster) {}
  http::Handler* find(std::string_view) override { return this; }
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    used_ns_ += static_cast<std::uint64_t>((cluster_.time.mono() - read_).count()) * milli / 1000;
    read_ = cluster_.time.mono();
    std::string pods;
    for (std::string_view pod : {"a", "b"})
      pods += cat(pods.empty() ? "" : ",", R"({"podRef":{"name":")", pod, R"(","namespace":"default"},"containers":[{"name":"c","startTime":"2026-01-01T00:00:00Z","cpu":{"time":"2026-01-01T00:00:00Z","usageCoreNanoSeconds":)",
                  used_ns_, R"(},"memory":{"workingSetBytes":3145728}}]})");
    co_return co_await exchange.respond(200, {{"content-type", "application/json"}}, share(cat(R"({"node":{"nodeName":"n1"},"pods":[)", pods, "]}")));
  }
  std::uint64_t milli = 100;

 private:
  TestCluster& cluster_;
  std::uint64_t used_ns_ = 0;
  MonoTime read_{};
};

async::Task<Result<>> setup(TestCluster& cluster, Meter& meter, std::string metrics) {
  cluster.nodes = &meter;
  CO_TRY(co_await cluster.restart());
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(node, "POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})");
  CO_CALL(deployment, "POST", kDeployments,
          R"({"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  CO_EXPECT_STATUS(deployment, 201);
  for (const char* name : {"a", "b"}) {
    CO_CALL(pod, "POST", kPods,
            cat(R"({"metadata":{"name":")", name, R"(","labels":{"app":"x"}},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"100m"}}}]}})"));
    CO_EXPECT_STATUS(pod, 201);
    CO_CALL(running, "PATCH", cat(kPods, "/", name, "/status"),
            cat(R"({"status":{"phase":"Running","startTime":"2026-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}})"), kMergePatch);
    CO_EXPECT_STATUS(running, 200);
  }
  CO_CALL(made, "POST", kAutoscalers,
          cat(R"({"metadata":{"name":"h"},"spec":{"maxReplicas":5,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"},"metrics":[)", metrics, "]}}"));
  CO_EXPECT_STATUS(made, 201);
  co_return Result<>();
}

std::string condition(const Reply& reply, std::string_view type) {
  json::Value tree = reply.tree();
  const json::Object* found = client::find_condition(tree, type);
  if (found == nullptr) return "";
  return cat(std::string_view(found->at("status").get_string()), " ", std::string_view(found->at("reason").get_string()), " ", std::string_view(found->at("message").get_string()));
}

async::Task<> let_time_pass(TestCluster& cluster, std::chrono::seconds step) {
  for (int i = 0; i < 300; ++i) co_await boost::asio::post(cluster.executor, async::use_task);
  cluster.time.advance(step);
}

// Looks go on, a period apart, until it holds.
async::Task<Result<Reply>> look_until(TestCluster& cluster, ControllerFixture& on, std::string path, std::function<bool(const Reply&)> holds) {
  Reply seen;
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (int round = 0; std::chrono::steady_clock::now() < end; ++round) {
    co_await let_time_pass(cluster, std::chrono::seconds(round % 2 == 0 ? 1 : 15));
    CO_TRY_ASSIGN(seen, co_await on.get(path));
    if (holds(seen)) co_return seen;
  }
  co_return fail(Code::kDeadlineExceeded, cat(path, " stayed ", seen.body));
}

constexpr const char* kCpuHalf = R"({"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}})";

async::Task<Result<>> follows_use(TestCluster& cluster) {
  Meter meter(cluster);
  CO_TRY(co_await setup(cluster, meter, kCpuHalf));
  ControllerFixture on(cluster, {make_autoscaler}, {client::resources::kDeployments});
  CO_TRY_ASSIGN(Reply up, co_await look_until(cluster, on, kDeployments + "/d", [](const Reply& r) { return r.body.contains(R"("replicas":4,)"); }));
  CO_TRY_ASSIGN(Reply seen, co_await look_until(cluster, on, kAutoscalers + "/h", [](const Reply& r) { return condition(r, "ScalingActive").starts_with("True"); }));
  EXPECT_EQ(condition(seen, "ScalingActive"), "True ValidMetricFound the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)");
  EXPECT_EQ(condition(seen, "ScalingLimited"), "False DesiredWithinRange the desired count is within the acceptable range");
  EXPECT_TRUE(seen.body.contains(R"("currentMetrics":[{"resource":{"current":{"averageUtilization":100,"averageValue":"100m"},"name":"cpu"},"type":"Resource"}])")) << seen.body;
  CO_CALL(table, "GET", kAutoscalers + "/h", "", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_TRUE(table.body.contains(R"("cells":["h","Deployment/d","cpu: 100%/50%","1","5",")")) << table.body;
  CO_TRY(co_await on.until("/api/v1/namespaces/default/events", [](const Reply& r) { return r.body.contains("New size: 4; reason: cpu resource utilization (percentage of request) above target"); }));

  meter.milli = 10;
  CO_TRY(co_await look_until(cluster, on, kDeployments + "/d", [](const Reply& r) { return r.body.contains(R"("replicas":1,)"); }));
  CO_TRY(co_await on.until("/api/v1/namespaces/default/events", [](const Reply& r) { return r.body.contains("New size: 1; reason: All metrics below target"); }));
  co_return co_await on.stop();
}
TEST(Autoscaler, FollowsWhatThePodsUse) { with_cluster(follows_use); }

async::Task<Result<>> says_why_not(TestCluster& cluster) {
  Meter meter(cluster);
  CO_TRY(co_await setup(cluster, meter, R"({"type":"Pods","pods":{"metric":{"name":"queue"},"target":{"type":"AverageValue","averageValue":"3"}}})"));
  ControllerFixture on(cluster, {make_autoscaler}, {client::resources::kDeployments});
  CO_TRY_ASSIGN(Reply seen, co_await look_until(cluster, on, kAutoscalers + "/h", [](const Reply& r) { return !condition(r, "ScalingActive").empty(); }));
  EXPECT_TRUE(condition(seen, "ScalingActive").starts_with("False FailedGetPodsMetric the HPA was unable to compute the replica count: ")) << seen.body;
  CO_CALL(before, "GET", kAutoscalers + "/h");
  co_await let_time_pass(cluster, std::chrono::seconds(15));
  co_await let_time_pass(cluster, std::chrono::seconds(15));
  CO_CALL(after, "GET", kAutoscalers + "/h");
  EXPECT_EQ(after.text({"metadata", "resourceVersion"}), before.text({"metadata", "resourceVersion"})) << "nothing changed, nothing is written";

  CO_TRY(co_await on.patch(kAutoscalers + "/h", R"({"spec":{"scaleTargetRef":{"name":"none"}}})"));
  CO_TRY_ASSIGN(Reply lost, co_await look_until(cluster, on, kAutoscalers + "/h", [](const Reply& r) { return condition(r, "AbleToScale").starts_with("False"); }));
  EXPECT_EQ(condition(lost, "AbleToScale"), "False FailedGetScale the HPA controller was unable to get the target's current scale: deployments.apps \"none\" not found");
  CO_TRY(co_await on.patch(kAutoscalers + "/h", R"({"spec":{"scaleTargetRef":{"name":"d"},"maxReplicas":1}})"));
  CO_TRY(co_await look_until(cluster, on, kDeployments + "/d", [](const Reply& r) { return r.body.contains(R"("replicas":1,)"); }));
  co_return co_await on.stop();
}
TEST(Autoscaler, SaysWhyItDoesNothing) { with_cluster(says_why_not); }

}  // namespace
}  // namespace monopod::controllers
