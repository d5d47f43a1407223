#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// A node whose container uses half a processor; each look at it is counted, and time goes on by itself after it.
class BusyNode final : public http::Handler {
 public:
  explicit BusyNode(TestCluster& cluster) : cluster_(cluster) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    ++looks;
    std::uint64_t ns = static_cast<std::uint64_t>(cluster_.time.mono().time_since_epoch().count());
    std::string figures = cat(R"("cpu":{"time":"2026-01-01T00:00:00Z","usageCoreNanoSeconds":)", ns / 2, R"(},"memory":{"workingSetBytes":3145728})");
    std::string text = broken ? std::string("{") : cat(R"({"node":{"nodeName":"n1",)", figures, R"(},"pods":[{"podRef":{"name":"p","namespace":"default"},"containers":[{"name":"c","startTime":")", started, "\",", figures,
                           R"(}]},{"podRef":{"name":"gone","namespace":"default"},"containers":[{"name":"c",)", figures, "}]}]}");
    co_return co_await exchange.respond(200, {{"content-type", "application/json"}}, share(std::move(text)));
  }
  int looks = 0;
  bool broken = false;
  std::string started = "2026-01-01T00:00:00Z";

 private:
  TestCluster& cluster_;
};

class BusyNodes final : public NodeHandlers {
 public:
  explicit BusyNodes(TestCluster& cluster) : node(cluster) {}
  http::Handler* find(std::string_view name) override { return name == "n1" ? &node : nullptr; }
  BusyNode node;
};

// So that the wait between two looks ends.
async::Task<> let_time_pass(TestCluster& cluster) {
  for (int i = 0; i < 200; ++i) co_await boost::asio::post(cluster.executor, async::use_task);
  cluster.time.advance(std::chrono::seconds(1));
}

const std::string kMetrics = "/apis/metrics.k8s.io/v1beta1";

async::Task<Result<>> figures(TestCluster& cluster) {
  BusyNodes nodes(cluster);
  cluster.nodes = &nodes;
  CO_TRY(co_await cluster.restart());
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  for (const char* name : {"n1", "n2"}) {
    CO_CALL(node, "POST", "/api/v1/nodes", cat(R"({"metadata":{"name":")", name, R"(","labels":{"disk":"ssd"}}})"));
  }
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p","labels":{"app":"x"}},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
  CO_EXPECT_STATUS(pod, 201);

  cluster.background.spawn(let_time_pass(cluster));
  CO_CALL(list, "GET", kMetrics + "/nodes");
  CO_EXPECT_STATUS(list, 200);
  EXPECT_EQ(nodes.node.looks, 2) << "two looks, a second apart";
  EXPECT_TRUE(list.body.starts_with(R"({"kind":"NodeMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[)")) << list.body;
  EXPECT_TRUE(list.body.contains(R"("labels":{"disk":"ssd"},"name":"n1"})")) << list.body;
  EXPECT_TRUE(list.body.contains(R"("usage":{"cpu":"500m","memory":"3Mi"},"window":"1s"})")) << list.body;
  EXPECT_FALSE(list.body.contains("n2")) << "nothing is known of a node out of reach";

  CO_CALL(one, "GET", kMetrics + "/namespaces/default/pods/p");
  CO_EXPECT_STATUS(one, 200);
  EXPECT_TRUE(one.body.contains(R"("containers":[{"name":"c","usage":{"cpu":"500m","memory":"3Mi"}}],"kind":"PodMetrics")")) << one.body;
  EXPECT_EQ(nodes.node.looks, 2) << "an answer is good for a while";
  CO_CALL(gone, "GET", kMetrics + "/namespaces/default/pods/gone");
  CO_EXPECT_STATUS(gone, 404);
  EXPECT_EQ(gone.text({"message"}), "podmetrics.metrics.k8s.io \"default/gone\" not found") << "the node is not asked which pods there are";
  for (auto [selector, count] : {std::pair("labelSelector=app%3Dx", 1U), std::pair("labelSelector=app%3Dy", 0U), std::pair("fieldSelector=metadata.name%3Dp", 1U), std::pair("fieldSelector=metadata.name%3Dq", 0U)}) {
    CO_CALL(some, "GET", cat(kMetrics, "/pods?", selector));
    const json::Value tree = some.tree();
    const json::Array* items = json::get_array(tree, {"items"});
    EXPECT_TRUE(items != nullptr && items->size() == count) << selector << some.body;
  }
  CO_CALL(unknown, "GET", kMetrics + "/pods?fieldSelector=spec.nodeName%3Dn1");
  CO_EXPECT_STATUS(unknown, 400);
  CO_CALL(table, "GET", kMetrics + "/pods", "", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_TRUE(table.body.contains(R"("cells":["p","500m","3Mi","1s"])")) << table.body;

  cluster.time.advance(std::chrono::seconds(30));
  CO_CALL(later, "GET", kMetrics + "/nodes/n1");
  EXPECT_EQ(later.text({"window"}), "30s") << "since the look before";
  EXPECT_EQ(nodes.node.looks, 3);

  cluster.time.advance(std::chrono::seconds(30));
  nodes.node.started = format_rfc3339(cluster.time.wall() - std::chrono::seconds(8));
  CO_CALL(anew, "GET", kMetrics + "/namespaces/default/pods/p");
  EXPECT_EQ(anew.text({"window"}), "8s") << "a container that has started anew counts from its start";
  nodes.node.started = format_rfc3339(cluster.time.wall() + std::chrono::seconds(5));
  cluster.time.advance(std::chrono::seconds(5));
  CO_CALL(early, "GET", kMetrics + "/namespaces/default/pods/p");
  CO_EXPECT_STATUS(early, 404);

  nodes.node.broken = true;
  cluster.time.advance(std::chrono::seconds(30));
  CO_CALL(silent, "GET", kMetrics + "/nodes");
  CO_EXPECT_STATUS(silent, 200);
  EXPECT_TRUE(silent.body.ends_with(R"("items":[]})")) << silent.body;

  for (const char* method : {"POST", "DELETE", "PUT"}) {
    CO_CALL(refused, method, kMetrics + "/namespaces/default/pods" + (method == std::string_view("POST") ? "" : "/p"), "{}");
    CO_EXPECT_STATUS(refused, 405);
  }
  CO_CALL(watched, "GET", kMetrics + "/pods?watch=true");
  CO_EXPECT_STATUS(watched, 405);
  CO_CALL(service, "GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io");
  EXPECT_TRUE(service.body.contains(R"("reason":"Local","status":"True","type":"Available")")) << service.body;
  co_return Result<>();
}
TEST(Usage, ComesFromTheNodesWhenSomebodyAsks) { with_cluster(figures); }

}  // namespace
}  // namespace monopod::api
