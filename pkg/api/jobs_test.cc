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
