#include <gtest/gtest.h>

#include "base/strings.h"
#include "controllers/autoscaler_math.h"

namespace monopod::controllers {
namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

struct PodRow {
  std::string name;
  std::int64_t milli = -1;  // below 0: nobody measured it
  std::string_view phase = "Running", ready = "True";
  std::chrono::seconds age{3600};
  std::string_view request = "100m";
};

json::Value tree_of(const PodRow& row) {
  std::string request = row.request.empty() ? "{}" : cat(R"({"cpu":")", row.request, R"("})");
  return *json::parse(cat(R"({"metadata":{"name":")", row.name, R"("},"spec":{"containers":[{"name":"c","resources":{"requests":)", request, R"(}}]},"status":{"phase":")", row.phase, R"(","startTime":")",
                          format_rfc3339(kNow - row.age), R"(","conditions":[{"type":"Ready","status":")", row.ready, R"(","lastTransitionTime":")", format_rfc3339(kNow - row.age + std::chrono::seconds(1)), R"("}]}})"));
}

Result<Proposal> propose(const std::vector<PodRow>& rows, ResourceQuery query, std::int64_t current = 0) {
  std::vector<json::Value> pods;
  PodMetrics metrics;
  for (const PodRow& row : rows) {
    pods.push_back(tree_of(row));
    if (row.milli >= 0) metrics[row.name] = {.milli = row.milli, .at = kNow, .window = std::chrono::seconds(30)};
  }
  return propose_replicas(query, current == 0 ? static_cast<std::int64_t>(rows.size()) : current, {}, pods, std::move(metrics), kNow);
}

constexpr ResourceQuery kHalf{.resource = "cpu", .container = "", .target = 50, .of_requests = true};
constexpr ResourceQuery kAverage{.resource = "cpu", .container = "", .target = 100, .of_requests = false};

TEST(AutoscalerMath, CountsReplicasByUse) {
  struct Row {
    const char* name;
    std::vector<PodRow> pods;
    ResourceQuery query;
    std::int64_t wanted;
  };
  const PodRow kAbsent{.name = "z"};
  for (const Row& row : {
           Row{"as wanted", {{"a", 50}, {"b", 50}}, kHalf, 2},
           Row{"twice too much", {{"a", 100}, {"b", 100}}, kHalf, 4},
           Row{"within a tenth", {{"a", 54}, {"b", 54}}, kHalf, 2},
           Row{"less than half", {{"a", 20}, {"b", 20}, {"c", 20}, {"d", 20}}, kHalf, 2},
           Row{"average value", {{"a", 250}, {"b", 150}}, kAverage, 4},
           Row{"one pending counts as idle when it goes up", {{"a", 200}, {"b", -1, "Pending", "False"}}, kHalf, 4},
           Row{"one pending does not count when it goes down", {{"a", 10}, {"b", 10}, {"c", -1, "Pending", "False"}}, kHalf, 1},
           Row{"what nobody measured counts as full when it goes down", {{"a", 10}, {"b", 10}, kAbsent}, kHalf, 3},
           Row{"what nobody measured counts as idle when it goes up", {{"a", 100}, {"b", 100}, kAbsent}, kHalf, 4},
           Row{"one that just started is not believed", {{"a", 50}, {"b", 500, "Running", "False", std::chrono::seconds(20)}}, kHalf, 2},
           Row{"failed pods are no pods", {{"a", 50}, {"b", 900, "Failed", "False"}}, kHalf, 2},
       }) {
    auto got = propose(row.pods, row.query);
    ASSERT_TRUE(got) << row.name << ": " << got.error().message();
    EXPECT_EQ(got->replicas, row.wanted) << row.name;
  }
}

TEST(AutoscalerMath, SaysWhatItLacks) {
  EXPECT_EQ(propose({{"a", 50, "Running", "True", std::chrono::seconds(3600), ""}}, kHalf).error().message(), "missing request for cpu in container c of Pod a");
  EXPECT_EQ(propose({{"a", -1}}, kHalf).error().message(), "did not receive metrics for targeted pods (pods might be unready)");
  EXPECT_EQ(propose({{"a", 50, "Pending"}}, kHalf).error().message(), "did not receive metrics for targeted pods (pods might be unready)");
}

ScalingHistory::Decision decide(ScalingHistory& history, std::int64_t wanted, ScalingHistory::Limits limits, std::string_view behavior, int seconds) {
  json::Value tree = *json::parse(behavior);
  return history.decide(wanted, limits, behavior == "{}" ? nullptr : &tree, kNow + std::chrono::seconds(seconds));
}

TEST(ScalingHistory, GoesDownAfterFiveMinutesAndUpAtOnce) {
  ScalingHistory history;
  EXPECT_EQ(decide(history, 4, {2, 1, 10}, "{}", 0).replicas, 4);
  auto held = decide(history, 1, {4, 1, 10}, "{}", 200);
  EXPECT_EQ(held.replicas, 4);
  EXPECT_EQ(held.able_reason, "ScaleDownStabilized");
  auto free = decide(history, 1, {4, 1, 10}, "{}", 301);
  EXPECT_EQ(free.replicas, 1);
  EXPECT_EQ(free.able_reason, "ReadyForNewScale");
}

TEST(ScalingHistory, KeepsToTheLimitsAndTheRate) {
  struct Row {
    const char* name;
    std::int64_t wanted;
    ScalingHistory::Limits limits;
    std::string_view behavior;
    std::int64_t got;
    std::string_view reason;
  };
  constexpr std::string_view kNow0 = R"({"scaleDown":{"stabilizationWindowSeconds":0}})";
  for (const Row& row : {
           Row{"as it is", 3, {3, 1, 5}, "{}", 3, "DesiredWithinRange"},
           Row{"above the most", 9, {3, 1, 5}, "{}", 5, "TooManyReplicas"},
           Row{"below the least", 1, {3, 2, 5}, kNow0, 2, "TooFewReplicas"},
           Row{"four pods in a period are allowed", 20, {1, 1, 50}, "{}", 5, "ScaleUpLimit"},
           Row{"so is doubling", 100, {10, 1, 50}, "{}", 20, "ScaleUpLimit"},
           Row{"one pod at a time", 1, {10, 1, 50}, R"({"scaleDown":{"stabilizationWindowSeconds":0,"policies":[{"type":"Pods","value":1,"periodSeconds":60}]}})", 9, "ScaleDownLimit"},
           Row{"the smaller of two", 100, {10, 1, 50}, R"({"scaleUp":{"selectPolicy":"Min","policies":[{"type":"Pods","value":2,"periodSeconds":60},{"type":"Percent","value":50,"periodSeconds":60}]}})", 12, "ScaleUpLimit"},
           Row{"never down", 1, {10, 1, 50}, R"({"scaleDown":{"stabilizationWindowSeconds":0,"selectPolicy":"Disabled"}})", 10, "ScaleDownLimit"},
       }) {
    ScalingHistory history;
    auto got = decide(history, row.wanted, row.limits, row.behavior, 0);
    EXPECT_EQ(got.replicas, row.got) << row.name;
    EXPECT_EQ(got.limited_reason, row.reason) << row.name;
  }
}

TEST(ScalingHistory, WhatWasDoneInThePeriodCounts) {
  ScalingHistory history;
  EXPECT_EQ(decide(history, 100, {1, 1, 50}, "{}", 0).replicas, 5);
  history.scaled(1, 5, nullptr, kNow);
  EXPECT_EQ(decide(history, 100, {5, 1, 50}, "{}", 10).replicas, 5) << "the period began with one";
  EXPECT_EQ(decide(history, 100, {5, 1, 50}, "{}", 16).replicas, 10);
}

}  // namespace
}  // namespace monopod::controllers
