#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kJobs = "/apis/batch/v1/namespaces/default/jobs", kCronJobs = "/apis/batch/v1/namespaces/default/cronjobs";
constexpr std::string_view kPodSpec = R"("spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]})";

std::string job(std::string_view name, std::string_view more = "", std::string_view labels = "") {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{)", more, R"("template":{"metadata":{"labels":{)", labels, "}},", kPodSpec, "}}}");
}

async::Task<Result<>> generated(TestCluster& cluster) {
  CO_CALL(made, "POST", kJobs, job("j", "", R"("mine":"1")"));
  CO_EXPECT_STATUS(made, 201);
  std::string uid = made.text({"metadata", "uid"});
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec", "selector"})), cat(R"({"matchLabels":{"batch.kubernetes.io/controller-uid":")", uid, R"("}})"));
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec", "template", "metadata", "labels"})),
            cat(R"({"batch.kubernetes.io/controller-uid":")", uid, R"(","batch.kubernetes.io/job-name":"j","controller-uid":")", uid, R"(","job-name":"j","mine":"1"})"));
  CO_CALL(read, "GET", kJobs + "/j");
  EXPECT_EQ(read.text({"spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"}), uid) << "as it is stored";
  CO_CALL(kept, "PATCH", kJobs + "/j", R"({"spec":{"parallelism":2}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(kept, 200);
  CO_CALL(changed, "PATCH", kJobs + "/j", R"({"spec":{"selector":{"matchLabels":{"a":"b"}}}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(changed, 422);
  CO_CALL(named, "POST", kJobs, R"({"metadata":{"generateName":"g-"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})");
  CO_EXPECT_STATUS(named, 201);
  EXPECT_EQ(named.text({"spec", "template", "metadata", "labels", "job-name"}), named.text({"metadata", "name"}));
  CO_CALL(applied, "PATCH", kJobs + "/a?fieldManager=m", R"({"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})",
          {{"content-type", "application/apply-patch+yaml"}});
  CO_EXPECT_STATUS(applied, 201);
  EXPECT_EQ(applied.text({"spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"}), applied.text({"metadata", "uid"}));
  co_return Result<>();
}
TEST(Jobs, SelectTheirPodsByTheirOwnUid) { with_cluster(generated); }

async::Task<Result<>> conflicting(TestCluster& cluster) {
  CO_CALL(labels, "POST", kJobs, job("a", "", R"("job-name":"other")"));
  CO_EXPECT_STATUS(labels, 422);
  EXPECT_NE(labels.text({"message"}).find("spec.template.metadata.labels[job-name]: Invalid value: "), std::string::npos) << labels.body;
  EXPECT_NE(labels.text({"message"}).find("must be 'a'"), std::string::npos) << labels.body;
  CO_CALL(selector, "POST", kJobs, job("b", R"("selector":{"matchLabels":{"app":"x"}},)", R"("app":"x")"));
  CO_EXPECT_STATUS(selector, 422);
  EXPECT_NE(selector.text({"message"}).find("`selector` not auto-generated"), std::string::npos) << selector.body;
  co_return Result<>();
}
TEST(Jobs, WhatIsGeneratedMayNotBeSomethingElse) { with_cluster(conflicting); }

async::Task<Result<>> manual(TestCluster& cluster) {
  CO_CALL(made, "POST", kJobs, job("a", R"("manualSelector":true,"selector":{"matchLabels":{"app":"x"}},)", R"("app":"x")"));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec", "template", "metadata", "labels"})), R"({"app":"x"})");
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec", "selector"})), R"({"matchLabels":{"app":"x"}})");
  CO_CALL(none, "POST", kJobs, job("b", R"("manualSelector":true,)", R"("app":"x")"));
  CO_EXPECT_STATUS(none, 422);
  EXPECT_NE(none.text({"message"}).find("spec.selector: Required value"), std::string::npos) << none.body;
  CO_CALL(other, "POST", kJobs, job("c", R"("manualSelector":true,"selector":{"matchLabels":{"app":"y"}},)", R"("app":"x")"));
  CO_EXPECT_STATUS(other, 422);
  EXPECT_NE(other.text({"message"}).find("`selector` does not match template `labels`"), std::string::npos) << other.body;
  co_return Result<>();
}
TEST(Jobs, AManualSelectorIsTheClientsOwnBusiness) { with_cluster(manual); }

async::Task<Result<>> policies(TestCluster& cluster) {
  const std::string indexed = R"("completionMode":"Indexed","completions":10,"parallelism":2,)", rules = R"("podFailurePolicy":{"rules":[)";
  struct Row {
    std::string spec, why;
  };
  for (const Row& row : std::vector<Row>{
           {R"("backoffLimitPerIndex":1,)", "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"},
           {indexed + R"("maxFailedIndexes":1,)", "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"},
           {indexed + R"("backoffLimitPerIndex":1,"maxFailedIndexes":11,)", "spec.maxFailedIndexes: Invalid value: 11: must be less than or equal to completions"},
           {R"("completionMode":"Indexed","completions":100001,"parallelism":100001,)", "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"},
           {R"("completionMode":"Indexed","completions":100001,"backoffLimitPerIndex":1,)", "spec.completions: Invalid value: 100001: must be less than or equal to 100000 when backoff limit per index is used"},
           {R"("podReplacementPolicy":"Never",)", "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\""},
           {rules + R"(]},"podReplacementPolicy":"TerminatingOrFailed",)", "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\""},
           {rules + R"({"action":"Retry","onExitCodes":{"operator":"In","values":[1]}}]},)", "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Retry\""},
           {rules + R"({"action":"FailIndex","onExitCodes":{"operator":"In","values":[1]}}]},)", "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"},
           {rules + R"({"action":"Count","onExitCodes":{"operator":"In","values":[2,1,0]}}]},)", "must not be 0 for the In operator, spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered"},
           {rules + R"({"action":"Count","onExitCodes":{"operator":"In","values":[]}}]},)", "at least one value is required"},
           {rules + R"({"action":"Count","onExitCodes":{"containerName":"z","operator":"In","values":[1]}}]},)", "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"z\": must be one of the container or initContainer names in the pod template"},
           {rules + R"({"action":"Count"}]},)", "specifying one of OnExitCodes and OnPodConditions is required"},
           {rules + R"({"action":"Count","onExitCodes":{"operator":"In","values":[1]},"onPodConditions":[{"type":"DisruptionTarget","status":"True"}]}]},)", "specifying both OnExitCodes and OnPodConditions is not supported"},
           {indexed + R"("successPolicy":{"rules":[]},)", "spec.successPolicy.rules: Required value: at least one rules must be specified in the successPolicy"},
           {indexed + R"("successPolicy":{"rules":[{}]},)", "at least one of succeededCount or succeededIndexes must be specified"},
           {indexed + R"("successPolicy":{"rules":[{"succeededIndexes":"3-1"}]},)", "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3-1\""},
           {indexed + R"("successPolicy":{"rules":[{"succeededIndexes":"8-10"}]},)", "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"8-10\""},
           {indexed + R"("successPolicy":{"rules":[{"succeededIndexes":"0-2,5","succeededCount":5}]},)", "spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)"},
       }) {
    CO_CALL(refused, "POST", kJobs, job("p", row.spec));
    EXPECT_EQ(refused.status, 422) << row.spec << refused.body;
    EXPECT_TRUE(refused.text({"message"}).contains(row.why)) << row.spec << refused.text({"message"});
  }
  std::string rule = R"({"action":"Count","onExitCodes":{"operator":"In","values":[1]}})", many = rules + rule;
  for (int i = 1; i < 20; ++i) many += "," + rule;
  CO_CALL(most, "POST", kJobs, job("most", many + "]},"));
  CO_EXPECT_STATUS(most, 201);
  CO_CALL(more, "POST", kJobs, job("more", many + "," + rule + "]},"));
  EXPECT_TRUE(more.text({"message"}).contains("spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items")) << more.body;
  CO_CALL(fine, "POST", kJobs, job("fine", indexed + R"("backoffLimitPerIndex":1,"maxFailedIndexes":10,"successPolicy":{"rules":[{"succeededIndexes":"0-2,5","succeededCount":4}]},)"));
  CO_EXPECT_STATUS(fine, 201);
  EXPECT_EQ(json::get_int(fine.tree(), {"spec", "backoffLimit"}), 2147483647);
  co_return Result<>();
}
TEST(Jobs, PoliciesAreCheckedRuleByRule) { with_cluster(policies); }

async::Task<Result<>> templates(TestCluster& cluster) {
  auto cron = [](std::string_view more) { return cat(R"({"metadata":{"name":"c"},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{)", more, R"("template":{)", kPodSpec, "}}}}}"); };
  CO_CALL(selector, "POST", kCronJobs, cron(R"("selector":{"matchLabels":{"a":"b"}},)"));
  CO_EXPECT_STATUS(selector, 422);
  EXPECT_NE(selector.text({"message"}).find("spec.jobTemplate.spec.selector: Invalid value"), std::string::npos) << selector.body;
  EXPECT_NE(selector.text({"message"}).find("`selector` will be auto-generated"), std::string::npos) << selector.body;
  CO_CALL(manual_one, "POST", kCronJobs, cron(R"("manualSelector":true,)"));
  CO_EXPECT_STATUS(manual_one, 422);
  EXPECT_NE(manual_one.text({"message"}).find("spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"false\", \"nil\""), std::string::npos) << manual_one.body;
  CO_CALL(made, "POST", kCronJobs, cron(""));
  CO_EXPECT_STATUS(made, 201);
  co_return Result<>();
}
TEST(Jobs, ATemplateSelectsNothingYet) { with_cluster(templates); }

}  // namespace
}  // namespace monopod::api
