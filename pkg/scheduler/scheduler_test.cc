#include <gtest/gtest.h>

#include "async/test_support.h"
#include "scheduler/plugins.h"
#include "scheduler/queue.h"

namespace monopod::scheduler {
namespace {

using namespace std::chrono_literals;

client::ObjectPtr object(const std::string& text) {
  return std::make_shared<const client::Object>(*client::parse_object(text));
}

PodInfoPtr pod(const std::string& name, const std::string& spec) {
  return make_pod_info(object(R"({"metadata":{"namespace":"ns","name":")" + name + R"("},"spec":)" + spec + "}"));
}

std::shared_ptr<NodeInfo> node(const std::string& spec = "{}", const std::string& labels = "{}") {
  return make_node_info(*object(R"({"metadata":{"name":"n1","labels":)" + labels + R"(},"spec":)" + spec +
                                R"(,"status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"2"}}})"));
}

struct Case {
  const char* name;
  const char* pod_spec;
  const char* node_spec;
  const char* node_labels;
  const char* reason;  // "" fits
};

TEST(Plugins, PodAgainstNodeGivesTheReasonPeopleKnow) {
  const Case cases[] = {
      {"plain", "{}", "{}", "{}", ""},
      {"wrong node", R"({"nodeName":"n2"})", "{}", "{}", "node(s) didn't match the requested node name"},
      {"cordoned", "{}", R"({"unschedulable":true})", "{}", "node(s) were unschedulable"},
      {"cordoned, tolerated", R"({"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]})", R"({"unschedulable":true})", "{}", ""},
      {"tainted", "{}", R"({"taints":[{"key":"a","value":"b","effect":"NoSchedule"}]})", "{}", "node(s) had untolerated taint {a: b}"},
      {"tainted, wrong value", R"({"tolerations":[{"key":"a","value":"c"}]})", R"({"taints":[{"key":"a","value":"b","effect":"NoSchedule"}]})", "{}", "node(s) had untolerated taint {a: b}"},
      {"tainted, tolerated", R"({"tolerations":[{"key":"a","value":"b","effect":"NoSchedule"}]})", R"({"taints":[{"key":"a","value":"b","effect":"NoSchedule"}]})", "{}", ""},
      {"preferred taint", "{}", R"({"taints":[{"key":"a","effect":"PreferNoSchedule"}]})", "{}", ""},
      {"selector", R"({"nodeSelector":{"disk":"ssd"}})", "{}", "{}", "node(s) didn't match Pod's node affinity/selector"},
      {"selector met", R"({"nodeSelector":{"disk":"ssd"}})", "{}", R"({"disk":"ssd"})", ""},
      {"affinity In", R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"z","operator":"In","values":["1","2"]}]}]}}}})", "{}", R"({"z":"2"})", ""},
      {"affinity Gt", R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"z","operator":"Gt","values":["5"]}]}]}}}})", "{}", R"({"z":"5"})", "node(s) didn't match Pod's node affinity/selector"},
      {"affinity empty term", R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{}]}}}})", "{}", "{}", "node(s) didn't match Pod's node affinity/selector"},
      {"cpu", R"({"containers":[{"resources":{"requests":{"cpu":"2500m"}}}]})", "{}", "{}", "Insufficient cpu"},
      {"extended", R"({"containers":[{"resources":{"requests":{"x.io/gpu":"1"}}}]})", "{}", "{}", "Insufficient x.io/gpu"},
      {"init peak", R"({"initContainers":[{"resources":{"requests":{"memory":"2Gi"}}}],"containers":[{}]})", "{}", "{}", "Insufficient memory"},
  };
  async::Loop loop;
  async::FakeTime time(loop.executor());
  std::vector<std::unique_ptr<Plugin>> plugins;
  plugins.push_back(make_priority_sort());
  plugins.push_back(make_node_unschedulable());
  plugins.push_back(make_node_name());
  plugins.push_back(make_taint_toleration());
  plugins.push_back(make_node_affinity());
  plugins.push_back(make_node_ports());
  plugins.push_back(make_node_resources_fit());
  Framework framework(std::move(plugins), time, 1s);
  for (const Case& c : cases) {
    CycleState state;
    Result<Placement> placement = framework.place(state, *pod("p", c.pod_spec), {node(c.node_spec, c.node_labels)});
    ASSERT_TRUE(placement) << c.name;
    if (c.reason[0] == '\0') EXPECT_EQ(placement->node, "n1") << c.name << placement->diagnosis.message();
    else EXPECT_EQ(placement->diagnosis.message(), std::string("0/1 nodes are available: 1 ") + c.reason + ".") << c.name;
  }
}

TEST(Plugins, PlacedPodsUseUpTheNode) {
  auto n = node();
  auto first = pod("a", R"({"containers":[{"resources":{"requests":{"cpu":"1500m"}},"ports":[{"hostPort":80}]}]})");
  n->add(*first);
  EXPECT_EQ(missing_resources(*pod("b", R"({"containers":[{"resources":{"requests":{"cpu":"600m"}}}]})"), *n), std::vector<std::string>{"Insufficient cpu"});
  EXPECT_TRUE(ports_conflict(*n->ports.begin(), {"127.0.0.1", "TCP", 80}));
  EXPECT_FALSE(ports_conflict(*n->ports.begin(), {"0.0.0.0", "UDP", 80}));
  n->remove(*first);
  EXPECT_TRUE(n->ports.empty());
  EXPECT_EQ(n->requested["cpu"], 0);
}

TEST(Plugins, SidecarsCountWithTheContainersBesideThem) {
  json::Value p = *json::parse(R"({"spec":{"initContainers":[{"restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},{"resources":{"requests":{"cpu":"3"}}}],
                                   "containers":[{"resources":{"requests":{"cpu":"2"}}}],"overhead":{"cpu":"100m"}}})");
  EXPECT_EQ(pod_requests(p)["cpu"], 4100);
}

async::Task<Result<>> order(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  auto sort = make_priority_sort();
  SchedulingQueue queue(loop.executor(), time, [&](const PodInfo& a, const PodInfo& b) { return sort->goes_before(a, b); });
  queue.add(pod("low", R"({"priority":1})"));
  time.advance(1s);
  queue.add(pod("high", R"({"priority":5})"));
  CO_TRY_ASSIGN(PodInfoPtr first, co_await queue.pop());
  EXPECT_EQ(first->object->name, "high");
  CO_TRY_ASSIGN(PodInfoPtr second, co_await queue.pop());
  EXPECT_EQ(second->object->name, "low");
  queue.park(second);
  EXPECT_EQ(queue.parked(), 1U);
  queue.on_cluster_change();
  EXPECT_EQ(queue.parked(), 0U);
  time.advance(1s);
  CO_TRY_ASSIGN(PodInfoPtr again, co_await queue.pop());
  EXPECT_EQ(again->attempts, 2);
  queue.remove("ns/low");
  EXPECT_EQ(queue.active(), 0U);
  co_return Result<>();
}
TEST(SchedulingQueue, PriorityDecidesAndParkedPodsReturnOnChange) { async::run_test(order); }

}  // namespace
}  // namespace monopod::scheduler
