// What test/e2e/apps/cronjob.go of kubernetes/kubernetes looks at, and the rules behind it.
#include "controllers/testing.h"
#include "controllers/tzif_testing.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;
namespace resources = client::resources;

const std::string kCrons = "/apis/batch/v1/namespaces/default/cronjobs", kCron = kCrons + "/c", kJobs = "/apis/batch/v1/namespaces/default/jobs", kEvents = "/api/v1/namespaces/default/events?limit=500";

std::unique_ptr<Controller> make_with_zones(const ControllerParts& given) {
  ControllerParts parts = given;
  parts.read_time_zone = [](std::string_view name) -> Result<std::string> {
    if (name == "Test/Zone") return make_tzif({}, "CET-1CEST,M3.5.0,M10.5.0/3");
    return fail(Code::kNotFound, "no such file");
  };
  return make_cronjob_controller(parts);
}

// Time begins on 2026-01-01T00:00:00Z.
struct CronFixture : ControllerFixture {
  explicit CronFixture(TestCluster& on) : ControllerFixture(on, {make_with_zones, make_garbage_collector}, {resources::kJobs, resources::kCronJobs}) {}
  async::Task<Result<>> start(std::string spec) {
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", kCrons, cat(R"({"metadata":{"name":"c"},"spec":{)", spec, R"(,"jobTemplate":{"metadata":{"labels":{"l":"1"},"annotations":{"a":"2"}},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}})")));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return co_await settle();
  }
  // To that second of 2026-01-01, in one step.
  async::Task<Result<>> go_to(std::string_view time) {
    auto when = parse_rfc3339(cat("2026-01-01T", time, "Z"));
    cluster.time.advance(*when + std::chrono::milliseconds(200) - cluster.time.wall());
    co_return co_await settle();
  }
  async::Task<Result<>> finish(std::string job, bool well) {
    std::string now = format_rfc3339(cluster.time.wall());
    std::string done = well ? cat(R"("completionTime":")", now, R"(",)") : "";
    CO_TRY(co_await patch(kJobs + "/" + job + "/status", cat(R"({"status":{"startTime":")", now, R"(",)", done, R"("conditions":[{"type":")", well ? "Complete" : "Failed", R"(","status":"True","lastTransitionTime":")", now, R"("}]}})")));
    co_return co_await settle();
  }
  async::Task<Result<std::string>> jobs() {
    CO_TRY_ASSIGN(Reply list, co_await get(kJobs));
    co_return names_of(list);
  }
};

// 29453760 minutes after the epoch is 2026-01-01T00:00:00Z.
async::Task<Result<>> scheduled(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"*/5 * * * *","successfulJobsHistoryLimit":1)"));
  CO_TRY_ASSIGN(std::string names, co_await fixture.jobs());
  EXPECT_EQ(names, "");
  CO_TRY(co_await fixture.go_to("00:05:00"));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until(kJobs + "/c-29453765", exists()));
  EXPECT_EQ(job.text({"metadata", "annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp"}), "2026-01-01T00:05:00Z");
  EXPECT_EQ(job.text({"metadata", "labels", "l"}) + job.text({"metadata", "annotations", "a"}), "12");
  EXPECT_TRUE(job.body.contains(R"("kind":"CronJob","name":"c")"));
  CO_TRY_ASSIGN(Reply cron, co_await fixture.until(kCron, [](const Reply& seen) { return seen.text({"status", "lastScheduleTime"}) == "2026-01-01T00:05:00Z"; }));
  EXPECT_TRUE(cron.body.contains(R"("active":[{"apiVersion":"batch/v1","kind":"Job","name":"c-29453765")")) << cron.body;
  CO_TRY(co_await fixture.finish("c-29453765", true));
  CO_TRY(co_await fixture.until(kCron, [](const Reply& seen) { return !seen.body.contains("\"active\":[") && !seen.text({"status", "lastSuccessfulTime"}).empty(); }));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("Saw completed job: c-29453765, condition: Complete") && seen.body.contains("Created job c-29453765"); }));
  // Allow: the next one begins although this one runs. History: the older of two that went well goes.
  CO_TRY(co_await fixture.go_to("00:10:00"));
  CO_TRY(co_await fixture.go_to("00:15:00"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453765 c-29453770 c-29453775")));
  CO_TRY(co_await fixture.finish("c-29453770", true));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453770 c-29453775")));
  // Suspended: nothing; resumed: the last one missed.
  CO_TRY(co_await fixture.patch(kCron, R"({"spec":{"suspend":true}})"));
  CO_TRY(co_await fixture.go_to("00:31:00"));
  CO_TRY_ASSIGN(names, co_await fixture.jobs());
  EXPECT_EQ(names, "c-29453770 c-29453775");
  CO_TRY(co_await fixture.patch(kCron, R"({"spec":{"suspend":false}})"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453770 c-29453775 c-29453790")));
  CO_TRY(co_await cluster.call("DELETE", kJobs + "/c-29453790"));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("Active job went missing: c-29453790"); }));
  CO_TRY(co_await cluster.call("DELETE", kCron));
  CO_TRY(co_await fixture.until(kJobs, has_items(0)));
  co_return co_await fixture.stop();
}
TEST(CronJob, MakesAJobWheneverItsScheduleSaysSo) { api::with_cluster(scheduled); }

async::Task<Result<>> forbid(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"* * * * *","concurrencyPolicy":"Forbid")"));
  CO_TRY(co_await fixture.go_to("00:01:00"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453761")));
  CO_TRY(co_await fixture.go_to("00:02:00"));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("JobAlreadyActive"); }));
  CO_TRY_ASSIGN(std::string names, co_await fixture.jobs());
  EXPECT_EQ(names, "c-29453761");
  CO_TRY(co_await fixture.finish("c-29453761", false));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453761 c-29453762")));
  co_return co_await fixture.stop();
}
TEST(CronJob, ForbidWaitsForTheOneThatRuns) { api::with_cluster(forbid); }

async::Task<Result<>> replace(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"* * * * *","concurrencyPolicy":"Replace")"));
  CO_TRY(co_await fixture.go_to("00:01:00"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453761")));
  CO_TRY(co_await fixture.go_to("00:02:00"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453762")));
  CO_TRY(co_await fixture.until(kCron, [](const Reply& seen) { return seen.body.contains(R"("name":"c-29453762")") && !seen.body.contains("c-29453761"); }));
  co_return co_await fixture.stop();
}
TEST(CronJob, ReplaceDeletesTheOneThatRuns) { api::with_cluster(replace); }

async::Task<Result<>> missed(TestCluster& cluster) {
  {
    CronFixture fixture(cluster);
    CO_TRY(co_await fixture.start(R"("schedule":"0 * * * *","startingDeadlineSeconds":60)"));
    CO_TRY(co_await fixture.stop());
  }
  cluster.time.advance(std::chrono::minutes(62));  // two minutes too late
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(std::string names, co_await fixture.jobs());
  EXPECT_EQ(names, "");
  CO_TRY(co_await fixture.patch(kCron, R"({"spec":{"schedule":"* * * * *","startingDeadlineSeconds":null}})"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453822")));
  co_return co_await fixture.stop();
}
TEST(CronJob, AStartThatIsTooLateIsMissed) { api::with_cluster(missed); }

async::Task<Result<>> too_many(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"* * * * *","suspend":true)"));
  cluster.time.advance(std::chrono::minutes(102));
  CO_TRY(co_await fixture.patch(kCron, R"({"spec":{"suspend":false}})"));
  CO_TRY(co_await fixture.until(kJobs, names_are("c-29453862")));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains("too many missed start times"); }));
  co_return co_await fixture.stop();
}
TEST(CronJob, ManyMissedStartsAreToldAndTheLastOneRuns) { api::with_cluster(too_many); }

async::Task<Result<>> zones(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"30 3 * * *","timeZone":"Test/Zone")"));
  CO_TRY(co_await fixture.go_to("02:30:00"));
  CO_TRY_ASSIGN(Reply job, co_await fixture.until(kJobs + "/c-29453910", exists()));
  EXPECT_EQ(job.text({"metadata", "annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp"}), "2026-01-01T03:30:00+01:00");
  CO_TRY(co_await fixture.patch(kCron, R"({"spec":{"timeZone":"Nowhere/Land"}})"));
  CO_TRY(co_await fixture.until(kEvents, [](const Reply& seen) { return seen.body.contains(R"(invalid timeZone: \"Nowhere/Land\": unknown time zone Nowhere/Land)"); }));
  co_return co_await fixture.stop();
}
TEST(CronJob, KeepsTheTimeOfItsZone) { api::with_cluster(zones); }

// The wall clock is set (a board without one, its first NTP answer): seen within ten minutes.
async::Task<Result<>> clock_step(TestCluster& cluster) {
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.start(R"("schedule":"0 0 1 * *")"));
  cluster.time.step_wall(std::chrono::days(31));
  CO_TRY(co_await fixture.settle());
  cluster.time.advance(std::chrono::minutes(10));
  CO_TRY(co_await fixture.until(kJobs, has_items(1)));
  co_return co_await fixture.stop();
}
TEST(CronJob, AClockThatIsSetIsNoticed) { api::with_cluster(clock_step); }

// Died between making the job and writing it down: no second one.
async::Task<Result<>> adopted(TestCluster& cluster) {
  std::string uid;
  {
    CronFixture fixture(cluster);
    CO_TRY(co_await fixture.start(R"("schedule":"* * * * *")"));
    CO_TRY_ASSIGN(Reply cron, co_await fixture.get(kCron));
    uid = cron.text({"metadata", "uid"});
    CO_TRY(co_await fixture.stop());
  }
  CO_CALL(made, "POST", kJobs, cat(R"({"metadata":{"name":"c-29453761","ownerReferences":[{"apiVersion":"batch/v1","kind":"CronJob","name":"c","uid":")", uid, R"(","controller":true}]},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})"));
  CO_EXPECT_STATUS(made, 201);
  cluster.time.advance(std::chrono::seconds(61));
  CronFixture fixture(cluster);
  CO_TRY(co_await fixture.until(kCron, [](const Reply& seen) { return seen.body.contains(R"("name":"c-29453761")") && seen.text({"status", "lastScheduleTime"}) == "2026-01-01T00:01:00Z"; }));
  CO_TRY(co_await fixture.settle());
  CO_TRY_ASSIGN(std::string names, co_await fixture.jobs());
  EXPECT_EQ(names, "c-29453761");
  co_return co_await fixture.stop();
}
TEST(CronJob, AJobThatWasMadeBeforeARestartIsFoundAgain) { api::with_cluster(adopted); }

}  // namespace
}  // namespace monopod::controllers
