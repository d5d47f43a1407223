// What test/e2e/apps/job.go of kubernetes/kubernetes looks at, and the rules behind it.
#include "controllers/testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;
namespace resources = client::resources;

const std::string kJobs = "/apis/batch/v1/namespaces/default/jobs", kJob = kJobs + "/j", kPods = "/api/v1/namespaces/default/pods", kEvents = "/api/v1/namespaces/default/events?limit=500";

struct JobPod {
  std::string name, index, phase, uid;
  bool tracked;
};

struct JobFixture : ControllerFixture {
  explicit JobFixture(TestCluster& on) : ControllerFixture(on, {make_job_controller, make_garbage_collector, make_serviceaccount_controller}, {resources::kJobs, resources::kPods}) {}
  async::Task<Result<>> start(std::string spec, std::string policy = "Never") {
    CO_TRY(co_await until("/api/v1/namespaces/default/serviceaccounts/default", exists()));
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", kJobs, cat(R"({"metadata":{"name":"j"},"spec":{)", spec, R"("template":{"spec":{"restartPolicy":")", policy, R"(","containers":[{"name":"c","image":"i"}]}}}})")));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return Result<>();
  }
  // Pods that run or wait, by index and name.
  async::Task<Result<std::vector<JobPod>>> running() {
    CO_TRY_ASSIGN(Reply list, co_await get(kPods));
    std::vector<JobPod> out;
    json::Value tree = list.tree();
    for (const json::Value& pod : *json::get_array(tree, {"items"})) {
      std::string phase(json::get_string(pod, {"status", "phase"}));
      if (phase == "Succeeded" || phase == "Failed" || client::is_deleting(pod)) continue;
      out.push_back({std::string(client::name_of(pod)), std::string(json::get_string(pod, {"metadata", "labels", "batch.kubernetes.io/job-completion-index"})), phase, std::string(client::uid_of(pod)),
                     client::has_finalizer(pod, "batch.kubernetes.io/job-tracking")});
    }
    std::ranges::sort(out, [](const JobPod& a, const JobPod& b) { return std::pair(a.index, a.name) < std::pair(b.index, b.name); });
    co_return out;
  }
  async::Task<Result<std::vector<JobPod>>> wait_running(std::size_t count) {
    std::vector<JobPod> pods;
    for (int turn = 0; turn < 300; ++turn) {
      CO_TRY_ASSIGN(pods, co_await running());
      if (pods.size() == count) co_return pods;
      for (int i = 0; i < 50; ++i) co_await boost::asio::post(cluster.executor, async::use_task);
    }
    CO_TRY_ASSIGN(Reply job, co_await get(kJob));
    co_return fail(Code::kDeadlineExceeded, cat(pods.size(), " pods run, not ", count, ": ", job.body));
  }
  async::Task<Result<>> end(std::string pod, bool well, int exit_code = 1) {
    return pod_status(std::move(pod), cat(R"("phase":")", well ? "Succeeded" : "Failed", R"(","containerStatuses":[{"name":"c","ready":false,"restartCount":0,"image":"i","imageID":"","state":{"terminated":{"exitCode":)", well ? 0 : exit_code,
                                          R"(,"finishedAt":")", format_rfc3339(cluster.time.wall()), R"("}}}])"));
  }
  async::Task<Result<Reply>> until_condition(std::string type, std::string reason) {
    return until(kJob, [=](const Reply& seen) {
      json::Value tree = seen.tree();
      const json::Object* condition = client::find_condition(tree, type);
      return condition != nullptr && json::get_string(json::Value(*condition), {"status"}) == "True" && json::get_string(json::Value(*condition), {"reason"}) == reason;
    });
  }
};

async::Task<Result<>> completes(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("completions":3,"parallelism":2,)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(2));
  EXPECT_TRUE(pods[0].tracked);
  CO_TRY_ASSIGN(Reply job, co_await fixture.until(kJob, status_is({{"active", 2}, {"ready", 0}})));
  EXPECT_TRUE(job.body.contains(R"("ready":0)") && job.body.contains(R"("terminating":0)") && job.body.contains(R"("uncountedTerminatedPods":{})")) << job.body;
  EXPECT_FALSE(job.text({"status", "startTime"}).empty());
  CO_TRY(co_await fixture.ready(pods[0].name));
  CO_TRY(co_await fixture.until(kJob, status_is({{"active", 2}, {"ready", 1}})));
  CO_TRY(co_await fixture.end(pods[0].name, true));
  CO_TRY(co_await fixture.until(kJob, status_is({{"succeeded", 1}, {"active", 2}})));
  CO_TRY(co_await fixture.until(kPods + "/" + pods[0].name, [](const Reply& seen) { return !seen.body.contains("job-tracking"); }));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(2));
  for (const JobPod& pod : pods) CO_TRY(co_await fixture.end(pod.name, true));
  CO_TRY_ASSIGN(job, co_await fixture.until_condition("Complete", "CompletionsReached"));
  EXPECT_TRUE(status_is({{"succeeded", 3}, {"active", 0}})(job)) << job.body;
  EXPECT_FALSE(job.text({"status", "completionTime"}).empty());
  EXPECT_TRUE(job.body.contains(R"("type":"SuccessCriteriaMet")"));
  EXPECT_TRUE(job.body.contains("Reached expected number of succeeded pods"));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("Job completed"); }));
  CO_TRY(co_await fixture.until(kPods, has_items(3)));
  CO_TRY(co_await cluster.call("DELETE", kJob + "?propagationPolicy=Foreground"));
  CO_TRY(co_await fixture.gone(kJob));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(Job, RunsAsManyPodsAsAskedToTheirEnd) { api::with_cluster(completes); }

async::Task<Result<>> backoff(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("backoffLimit":1,)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(1));
  CO_TRY(co_await fixture.end(pods[0].name, false));
  CO_TRY(co_await fixture.until(kJob, status_is({{"failed", 1}, {"active", 0}})));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.wait_running(0));
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(1));
  CO_TRY(co_await fixture.end(pods[0].name, false));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Failed", "BackoffLimitExceeded"));
  EXPECT_TRUE(job.body.contains(R"("type":"FailureTarget")"));
  EXPECT_TRUE(status_is({{"failed", 2}})(job)) << job.body;
  EXPECT_TRUE(job.text({"status", "completionTime"}).empty());
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("Job has reached the specified backoff limit"); }));
  co_return co_await fixture.stop();
}
TEST(Job, GivesUpAfterTheBackoffLimitAndWaitsBetweenFailures) { api::with_cluster(backoff); }

async::Task<Result<>> restarts(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("backoffLimit":3,)", "OnFailure"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(1));
  auto restarted = [](int times) { return cat(R"("phase":"Running","containerStatuses":[{"name":"c","ready":false,"restartCount":)", times, R"(,"image":"i","imageID":""}])"); };
  CO_TRY(co_await fixture.pod_status(pods[0].name, restarted(2)));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.wait_running(1));
  CO_TRY(co_await fixture.pod_status(pods[0].name, restarted(3)));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Failed", "BackoffLimitExceeded"));
  EXPECT_TRUE(status_is({{"failed", 1}, {"active", 0}})(job)) << job.body;
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(Job, RestartsOfContainersCountAgainstTheLimit) { api::with_cluster(restarts); }

async::Task<Result<>> indexed(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("completions":4,"parallelism":4,"completionMode":"Indexed",)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(4));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(pods[static_cast<std::size_t>(i)].index, std::to_string(i));
  CO_TRY_ASSIGN(Reply pod, co_await fixture.get(kPods + "/" + pods[2].name));
  EXPECT_TRUE(pods[2].name.starts_with("j-2-")) << pods[2].name;
  EXPECT_EQ(pod.text({"metadata", "annotations", "batch.kubernetes.io/job-completion-index"}), "2");
  EXPECT_EQ(pod.text({"spec", "hostname"}), "j-2");
  EXPECT_TRUE(pod.body.contains("JOB_COMPLETION_INDEX") && pod.body.contains("metadata.labels['batch.kubernetes.io/job-completion-index']"));
  for (std::size_t i : {0U, 1U, 3U}) CO_TRY(co_await fixture.end(pods[i].name, true));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until(kJob, status_is({{"succeeded", 3}})));
  EXPECT_EQ(job.text({"status", "completedIndexes"}), "0,1,3");
  // One that fails comes back under its index.
  CO_TRY(co_await fixture.end(pods[2].name, false));
  CO_TRY(co_await fixture.until(kJob, status_is({{"failed", 1}})));
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(1));
  EXPECT_EQ(pods[0].index, "2");
  CO_TRY(co_await fixture.end(pods[0].name, true));
  CO_TRY_ASSIGN(job, co_await fixture.until_condition("Complete", "CompletionsReached"));
  EXPECT_EQ(job.text({"status", "completedIndexes"}), "0-3");
  EXPECT_TRUE(status_is({{"succeeded", 4}, {"failed", 1}})(job)) << job.body;
  co_return co_await fixture.stop();
}
TEST(Job, IndexedPodsAreWhoTheyAreUntilTheySucceed) { api::with_cluster(indexed); }

async::Task<Result<>> per_index(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("completions":2,"parallelism":2,"completionMode":"Indexed","backoffLimitPerIndex":1,)"));
  CO_TRY_ASSIGN(Reply job, co_await fixture.get(kJob));
  EXPECT_EQ(json::get_int(job.tree(), {"spec", "backoffLimit"}), 2147483647);
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(2));
  std::string first = pods[0].name;
  CO_TRY(co_await fixture.end(first, false));
  CO_TRY(co_await fixture.end(pods[1].name, true));
  CO_TRY(co_await fixture.until(kJob, status_is({{"succeeded", 1}, {"active", 0}})));
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(Reply waits, co_await fixture.get(kPods + "/" + first));
  EXPECT_TRUE(waits.body.contains("job-tracking")) << "until its successor has its count";
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(1));
  CO_TRY_ASSIGN(Reply second, co_await fixture.get(kPods + "/" + pods[0].name));
  EXPECT_EQ(second.text({"metadata", "annotations", "batch.kubernetes.io/job-index-failure-count"}), "1");
  CO_TRY(co_await fixture.until(kPods + "/" + first, [](const Reply& seen) { return !seen.body.contains("job-tracking"); }));
  CO_TRY(co_await fixture.end(pods[0].name, false));
  CO_TRY_ASSIGN(job, co_await fixture.until_condition("Failed", "FailedIndexes"));
  EXPECT_EQ(job.text({"status", "failedIndexes"}), "0");
  EXPECT_EQ(job.text({"status", "completedIndexes"}), "1");
  EXPECT_TRUE(status_is({{"failed", 2}, {"succeeded", 1}})(job)) << job.body;
  co_return co_await fixture.stop();
}
TEST(Job, EachIndexHasItsOwnLimitOfFailures) { api::with_cluster(per_index); }

async::Task<Result<>> most_failed(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("completions":3,"parallelism":3,"completionMode":"Indexed","backoffLimitPerIndex":0,"maxFailedIndexes":0,)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(3));
  CO_TRY(co_await fixture.end(pods[1].name, false));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Failed", "MaxFailedIndexesExceeded"));
  EXPECT_EQ(job.text({"status", "failedIndexes"}), "1");
  CO_TRY(co_await fixture.wait_running(0));
  co_return co_await fixture.stop();
}
TEST(Job, TooManyFailedIndexesEndIt) { api::with_cluster(most_failed); }

async::Task<Result<>> policies(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("backoffLimit":0,"parallelism":2,"completions":2,"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[],"onExitCodes":{"operator":"In","values":[5]}},{"action":"FailJob","onExitCodes":{"operator":"In","values":[7]}}]},)"));
  CO_TRY_ASSIGN(Reply job, co_await fixture.get(kJob));
  EXPECT_EQ(job.text({"spec", "podReplacementPolicy"}), "Failed");
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(2));
  CO_TRY(co_await fixture.end(pods[0].name, false, 5));
  CO_TRY(co_await fixture.until(kPods + "/" + pods[0].name, [](const Reply& seen) { return !seen.body.contains("job-tracking"); }));
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(2));
  CO_TRY(co_await fixture.until(kJob, status_is({{"failed", 0}, {"active", 2}})));
  CO_TRY(co_await fixture.end(pods[0].name, false, 7));
  CO_TRY_ASSIGN(job, co_await fixture.until_condition("Failed", "PodFailurePolicy"));
  EXPECT_TRUE(job.body.contains(cat("Container c for pod default/", pods[0].name, " failed with exit code 7 matching FailJob rule at index 1"))) << job.body;
  co_return co_await fixture.stop();
}
TEST(Job, APolicyMayIgnoreAFailureOrMakeItTheJobs) { api::with_cluster(policies); }

async::Task<Result<>> success_policy(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("completions":3,"parallelism":3,"completionMode":"Indexed","successPolicy":{"rules":[{"succeededIndexes":"0-1","succeededCount":1}]},)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(3));
  CO_TRY(co_await fixture.end(pods[1].name, true));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Complete", "SuccessPolicy"));
  EXPECT_TRUE(job.body.contains("Matched rules at index 0"));
  EXPECT_TRUE(status_is({{"succeeded", 1}, {"failed", 0}, {"active", 0}})(job)) << job.body;
  CO_TRY(co_await fixture.until(kPods, has_items(1)));
  co_return co_await fixture.stop();
}
TEST(Job, ASuccessPolicyEndsItEarly) { api::with_cluster(success_policy); }

async::Task<Result<>> deadline(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("activeDeadlineSeconds":30,"ttlSecondsAfterFinished":60,)"));
  CO_TRY(co_await fixture.wait_running(1));
  CO_TRY(co_await fixture.settle());
  cluster.time.advance(std::chrono::seconds(31));
  CO_TRY(co_await fixture.until_condition("Failed", "DeadlineExceeded"));
  CO_TRY(co_await fixture.settle());
  CO_CALL(stays, "GET", kJob);
  CO_EXPECT_STATUS(stays, 200);
  cluster.time.advance(std::chrono::seconds(61));
  CO_TRY(co_await fixture.gone(kJob));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(Job, EndsAtItsDeadlineAndGoesWhenItsTimeIsOver) { api::with_cluster(deadline); }

async::Task<Result<>> suspended(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("suspend":true,"parallelism":2,"completions":2,)"));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Suspended", "JobSuspended"));
  EXPECT_TRUE(job.text({"status", "startTime"}).empty());
  CO_TRY(co_await fixture.wait_running(0));
  CO_TRY(co_await fixture.patch(kJob, R"({"spec":{"suspend":false}})"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(2));
  CO_TRY_ASSIGN(job, co_await fixture.until(kJob, status_is({{"active", 2}})));
  EXPECT_TRUE(job.body.contains("JobResumed")) << job.body;
  EXPECT_FALSE(job.text({"status", "startTime"}).empty());
  CO_TRY(co_await fixture.patch(kJob, R"({"spec":{"suspend":true}})"));
  CO_TRY(co_await fixture.until(kPods, has_items(0)));
  CO_TRY_ASSIGN(job, co_await fixture.until(kJob, status_is({{"active", 0}, {"failed", 0}, {"succeeded", 0}, {"terminating", 0}})));
  CO_TRY(co_await fixture.patch(kJob, R"({"spec":{"suspend":false,"parallelism":1}})"));
  CO_TRY_ASSIGN(pods, co_await fixture.wait_running(1));
  co_return co_await fixture.stop();
}
TEST(Job, WhileSuspendedNothingRunsAndNothingHasFailed) { api::with_cluster(suspended); }

async::Task<Result<>> adoption(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("parallelism":2,"completions":2,)"));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(2));
  std::string path = kPods + "/" + pods[0].name;
  CO_TRY(co_await fixture.patch(path, R"({"metadata":{"ownerReferences":null}})"));
  CO_TRY(co_await fixture.until(path, [](const Reply& seen) { return seen.body.contains(R"("kind":"Job","name":"j")") && seen.body.contains("job-tracking"); }));
  CO_TRY(co_await fixture.patch(path, R"({"metadata":{"labels":null}})"));
  CO_TRY(co_await fixture.until(path, [](const Reply& seen) { return !seen.body.contains("ownerReferences") && !seen.body.contains("job-tracking"); }));
  CO_TRY(co_await fixture.wait_running(3));
  // Deleted in the background: its pods lose the finalizer and go; what it released stays.
  CO_TRY(co_await cluster.call("DELETE", kJob + "?propagationPolicy=Background"));
  CO_TRY(co_await fixture.until(kPods, names_are(pods[0].name)));
  co_return co_await fixture.stop();
}
TEST(Job, AdoptsReleasesAndLetsGo) { api::with_cluster(adoption); }

async::Task<Result<>> deleted_pod(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(""));
  CO_TRY_ASSIGN(auto pods, co_await fixture.wait_running(1));
  CO_TRY(co_await cluster.call("DELETE", kPods + "/" + pods[0].name));
  CO_TRY(co_await fixture.until(kJob, status_is({{"failed", 1}})));
  CO_TRY(co_await fixture.gone(kPods + "/" + pods[0].name));
  cluster.time.advance(std::chrono::seconds(11));
  CO_TRY(co_await fixture.wait_running(1));
  co_return co_await fixture.stop();
}
TEST(Job, APodThatSomebodyDeletesHasFailed) { api::with_cluster(deleted_pod); }

// The process dies between any two writes: the same numbers come out.
async::Task<Result<>> restarted(TestCluster& cluster) {
  std::vector<JobPod> pods;
  {
    JobFixture fixture(cluster);
    CO_TRY(co_await fixture.start(R"("parallelism":3,"completions":3,)"));
    CO_TRY_ASSIGN(pods, co_await fixture.wait_running(3));
    CO_TRY(co_await fixture.stop());
  }
  for (int turns = 0; turns < 40; turns += 3) {  // stopped a little later each time
    JobFixture fixture(cluster);
    if (turns == 0) CO_TRY(co_await fixture.end(pods[0].name, true));
    if (turns == 12) CO_TRY(co_await fixture.end(pods[1].name, true));
    for (int i = 0; i < turns; ++i) co_await boost::asio::post(cluster.executor, async::use_task);
    CO_TRY(co_await fixture.stop());
  }
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.until(kJob, status_is({{"succeeded", 2}, {"active", 1}})));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.until(kPods, has_items(3)));
  CO_TRY(co_await fixture.end(pods[2].name, true));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until_condition("Complete", "CompletionsReached"));
  EXPECT_TRUE(status_is({{"succeeded", 3}, {"failed", 0}})(job)) << job.body;
  CO_TRY_ASSIGN(Reply before, co_await fixture.get(kJob));
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(Reply after, co_await fixture.get(kJob));
  EXPECT_EQ(before.text({"metadata", "resourceVersion"}), after.text({"metadata", "resourceVersion"}));
  co_return co_await fixture.stop();
}
TEST(Job, APodIsCountedOnceHoweverOftenTheControllerDies) { api::with_cluster(restarted); }

async::Task<Result<>> managed(TestCluster& cluster) {
  JobFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("managedBy":"example.com/other",)"));
  CO_TRY(co_await fixture.settle());
  CO_TRY(co_await fixture.wait_running(0));
  CO_TRY_ASSIGN(Reply job, co_await fixture.get(kJob));
  EXPECT_TRUE(job.text({"status", "startTime"}).empty()) << job.body;
  co_return co_await fixture.stop();
}
TEST(Job, ManagedByAnotherIsLeftAlone) { api::with_cluster(managed); }

}  // namespace
}  // namespace monopod::controllers
