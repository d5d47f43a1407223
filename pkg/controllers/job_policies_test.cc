#include <gtest/gtest.h>

#include <random>
#include <set>

#include "controllers/job_policies.h"

namespace monopod::controllers {
namespace {

TEST(IndexSet, ReadsAndWritesRanges) {
  struct Row {
    std::string_view text;
    std::int64_t end;
    std::string_view back;
    std::int64_t size;
  };
  for (const Row& row : {Row{"", 5, "", 0}, Row{"0", 5, "0", 1}, Row{"0,1", 5, "0,1", 2}, Row{"0-2", 5, "0-2", 3}, Row{"1,3-5,7", 8, "1,3-5,7", 5}, Row{"1,3-5,7", 5, "1,3,4", 3}, Row{"3-9", 5, "3,4", 2}, Row{"5", 5, "", 0},
                         Row{"x,1,2-,-3,4-2,2", 9, "1,2", 2}, Row{"2,1,0", 9, "0-2", 3}, Row{"0-3,2-5", 9, "0-5", 6}, Row{"0-1,2-3", 9, "0-3", 4}}) {
    IndexSet set = IndexSet::parse(row.text, row.end);
    EXPECT_EQ(set.format(), row.back) << row.text;
    EXPECT_EQ(set.size(), row.size) << row.text;
  }
}

TEST(IndexSet, IsWhatASetOfNumbersIs) {
  const char* given = std::getenv("SEED");
  unsigned seed = given != nullptr ? static_cast<unsigned>(std::stoul(given)) : 20260102U;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    IndexSet ranges, others;
    std::set<std::int64_t> model, other_model;
    for (int i = 0; i < 30; ++i) {
      std::int64_t first = static_cast<std::int64_t>(random() % 60), last = first + static_cast<std::int64_t>(random() % 4);
      bool other = random() % 2 == 0;
      (other ? others : ranges).add_range(first, last);
      for (std::int64_t n = first; n <= last; ++n) (other ? other_model : model).insert(n);
    }
    std::int64_t common = 0;
    for (std::int64_t n = 0; n < 70; ++n) {
      ASSERT_EQ(ranges.contains(n), model.contains(n)) << n;
      std::int64_t absent = n;
      while (model.contains(absent)) ++absent;
      ASSERT_EQ(ranges.next_absent(n), absent);
      common += model.contains(n) && other_model.contains(n);
    }
    ASSERT_EQ(ranges.size(), static_cast<std::int64_t>(model.size()));
    ASSERT_EQ(ranges.common(others), common);
    ASSERT_EQ(IndexSet::parse(ranges.format(), 70).format(), ranges.format());
  }
}

json::Value tree(std::string_view text) {
  auto parsed = json::parse(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

TEST(JobPolicies, TheFirstRuleThatMatchesDecides) {
  json::Value pod = tree(R"({"metadata":{"name":"p","namespace":"n"},"status":{"phase":"Failed","conditions":[{"type":"DisruptionTarget","status":"True"}],
    "containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0}}},{"name":"b","state":{"terminated":{"exitCode":3}}}]}})");
  struct Row {
    std::string_view rules;
    FailureAction action;
    std::string_view message;
  };
  for (const Row& row : {Row{R"([])", FailureAction::kCount, ""}, Row{R"([{"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]}])", FailureAction::kIgnore, ""},
                         Row{R"([{"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"False"}]}])", FailureAction::kCount, ""},
                         Row{R"([{"action":"FailJob","onPodConditions":[{"type":"DisruptionTarget"}]}])", FailureAction::kFailJob, "Pod n/p has condition DisruptionTarget matching FailJob rule at index 0"},
                         Row{R"([{"action":"Count","onExitCodes":{"operator":"In","values":[4]}},{"action":"FailJob","onExitCodes":{"operator":"In","values":[3,4]}}])", FailureAction::kFailJob,
                             "Container b for pod n/p failed with exit code 3 matching FailJob rule at index 1"},
                         Row{R"([{"action":"FailJob","onExitCodes":{"containerName":"a","operator":"NotIn","values":[7]}}])", FailureAction::kCount, ""},
                         Row{R"([{"action":"FailIndex","onExitCodes":{"containerName":"b","operator":"NotIn","values":[7]}}])", FailureAction::kFailIndex, ""},
                         Row{R"([{"action":"Count","onExitCodes":{"operator":"In","values":[3]}},{"action":"Ignore","onExitCodes":{"operator":"In","values":[3]}}])", FailureAction::kCount, ""}}) {
    json::Value job = json::Object{{"spec", json::Object{{"podFailurePolicy", json::Object{{"rules", tree(row.rules)}}}}}};
    FailureVerdict verdict = judge_failure(job, pod);
    EXPECT_EQ(verdict.action, row.action) << row.rules;
    EXPECT_EQ(verdict.message, row.message) << row.rules;
  }
}

TEST(JobPolicies, SuccessIsWhatARuleSays) {
  struct Row {
    std::string_view rules, succeeded;
    std::string_view message;
  };
  for (const Row& row : {Row{R"([{"succeededIndexes":"0-2"}])", "0,1", ""}, Row{R"([{"succeededIndexes":"0-2"}])", "0-3", "Matched rules at index 0"}, Row{R"([{"succeededIndexes":"0-2","succeededCount":1}])", "2", "Matched rules at index 0"},
                         Row{R"([{"succeededIndexes":"0-2","succeededCount":1}])", "4", ""}, Row{R"([{"succeededIndexes":"9"},{"succeededCount":2}])", "4,5", "Matched rules at index 1"}, Row{R"([{"succeededCount":2}])", "", ""}}) {
    json::Value job = json::Object{{"spec", json::Object{{"successPolicy", json::Object{{"rules", tree(row.rules)}}}}}};
    EXPECT_EQ(met_success_policy(job, IndexSet::parse(row.succeeded, 10), 10).value_or(""), row.message) << row.rules << row.succeeded;
  }
}

}  // namespace
}  // namespace monopod::controllers
