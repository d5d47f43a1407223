// CronJob: makes a Job each time its schedule says so. Source: batch/v1 API, KEP-19, KEP-3140 (timeZone) and the observable behaviour of
// kube-controller-manager (names, annotations, events, what counts as missed).
#include <algorithm>

#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/cron_clock.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::chrono::milliseconds kAfterTheMinute{100};  // so that a clock a little slow does not make us early
constexpr std::chrono::minutes kLookMax{10};  // a wall clock that is set tells nobody: a board without one starts in 1970

struct CronChild {
  ObjectPtr object;
  json::Value tree;
  std::string_view outcome;  // "Complete", "Failed" or "" while it runs
};

// One CronJob with its Jobs, for the length of one reconcile.
struct CronWork {
  const client::Object& cron;
  json::Value tree;
  json::Value status;
  std::vector<CronChild> jobs;
  SysSeconds now;

  json::Array& active() {
    json::Value& list = json::at_path(status, {"active"});
    return list.is_array() ? list.get_array() : list.emplace_array();
  }
  bool is_active(std::string_view uid) {
    return std::ranges::any_of(active(), [&](const json::Value& ref) { return json::get_string(ref, {"uid"}) == uid; });
  }
  void forget(std::string_view uid) {
    json::Array& list = active();
    for (auto it = list.begin(); it != list.end();) it = json::get_string(*it, {"uid"}) == uid ? list.erase(it) : it + 1;
  }
};

SysSeconds seconds_at(const json::Value& tree, std::initializer_list<std::string_view> path) { return std::chrono::floor<std::chrono::seconds>(client::time_at(tree, path)); }

// "2026-01-02T03:04:05Z", "…+01:00".
std::string format_in_zone(SysSeconds time, std::int64_t offset) {
  std::string text = format_rfc3339(time + std::chrono::seconds(offset));
  if (offset == 0) return text;
  text.pop_back();
  std::int64_t minutes = std::abs(offset) / 60;
  auto two = [](std::int64_t n) { return cat(n < 10 ? "0" : "", n); };
  return cat(text, offset < 0 ? '-' : '+', two(minutes / 60), ":", two(minutes % 60));
}

// RFC 1123 with a numeric zone, as events have it: "Fri, 02 Jan 2026 03:04:00 +0000".
std::string format_rfc1123(SysSeconds time) {
  static constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(day);
  std::string text = format_rfc3339(time);  // 2026-01-02T03:04:05Z
  return cat(kDays[std::chrono::weekday(day).c_encoding()], ", ", text.substr(8, 2), " ", kMonths[static_cast<unsigned>(date.month()) - 1], " ", text.substr(0, 4), " ", text.substr(11, 8), " +0000");
}

class CronJobController final : public QueueController {
 public:
  explicit CronJobController(const ControllerParts& parts) : QueueController(parts, "cronjob-controller", 2), crons_(parts.informers.informer(resources::kCronJobs)), jobs_(parts.informers.informer(resources::kJobs)) {
    add_owner_index(jobs_);
    watch_keys(crons_);
    jobs_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (crons_.indexer().size() == 0) return;
      const client::Object& job = *(now ? now : old);
      if (auto owner = client::controller_of(job.tree()); owner && owner->kind == "CronJob") queue_.add(job.ns + "/" + owner->name);
    });
  }

 private:
  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr cron = crons_.indexer().find(key);
    if (!cron) co_return Outcome{};
    json::Value tree = cron->tree();
    const json::Value* old = json::find(tree, {"status"});
    json::Value status = old != nullptr && old->is_object() ? *old : json::Value(json::Object());
    CronWork work{.cron = *cron, .tree = std::move(tree), .status = std::move(status), .jobs = {}, .now = std::chrono::floor<std::chrono::seconds>(parts_.time.wall())};
    for (const ObjectPtr& job : jobs_.indexer().by_index(kOwnerIndex, cron->uid)) {
      json::Value job_tree = job->tree();
      std::string_view outcome = client::condition_status(job_tree, "Complete") == "True" ? "Complete" : client::condition_status(job_tree, "Failed") == "True" ? "Failed" : "";
      work.jobs.push_back({job, std::move(job_tree), outcome});
    }
    CO_TRY(co_await look_at_jobs(work));
    Outcome outcome;
    Result<> ran;
    if (!client::is_deleting(work.tree)) {
      ran = co_await run_schedule(work, outcome);
      if (!ran && ran.error().code() == Code::kCancelled) co_return fail(ran.error());
    }
    CO_TRY(co_await write_status(work));
    CO_TRY(co_await clean_up(work));
    if (!ran) co_return fail(ran.error());
    outcome.requeue_after = std::min<Duration>(outcome.requeue_after, kLookMax);
    co_return outcome;
  }

  void say(const CronWork& work, std::string_view type, std::string_view reason, std::string message) {
    recorder_.record(client::reference_to(resources::kCronJobs, work.cron), std::string(type), std::string(reason), std::move(message));
  }

  // The list of those that run, and when the last one was done.
  async::Task<Result<>> look_at_jobs(CronWork& work) {
    for (const CronChild& job : work.jobs) {
      bool listed = work.is_active(job.object->uid);
      if (!listed && job.outcome.empty()) {
        if (auto live = co_await parts_.api.get(resources::kCronJobs, work.cron.ns, work.cron.name); live && live->bytes->find(job.object->uid) != std::string::npos) co_return fail(Code::kAborted, "the cache is behind");
        say(work, "Warning", "UnexpectedJob", cat("Saw a job that the controller did not create or forgot: ", job.object->name));
      } else if (listed && !job.outcome.empty()) {
        work.forget(job.object->uid);
        say(work, "Normal", "SawCompletedJob", cat("Saw completed job: ", job.object->name, ", condition: ", job.outcome));
      }
      std::string_view done = json::get_string(job.tree, {"status", "completionTime"});
      if (job.outcome == "Complete" && !done.empty() && seconds_at(job.tree, {"status", "completionTime"}) > seconds_at(work.status, {"lastSuccessfulTime"})) work.status.get_object()["lastSuccessfulTime"] = done;
    }
    json::Array listed = work.active();
    for (const json::Value& ref : listed) {
      std::string uid(json::get_string(ref, {"uid"})), name(json::get_string(ref, {"name"}));
      if (std::ranges::any_of(work.jobs, [&](const CronChild& job) { return job.object->uid == uid; })) continue;
      auto live = co_await parts_.api.get(resources::kJobs, work.cron.ns, name);  // the cache may not have it yet
      if (live || live.error().code() != Code::kNotFound) continue;
      work.forget(uid);
      say(work, "Normal", "MissingJob", cat("Active job went missing: ", name));
    }
    co_return Result<>();
  }

  Result<TimeZone> zone_of(const CronWork& work) const {
    std::string_view name = json::get_string(work.tree, {"spec", "timeZone"});
    if (name.empty() || name == "UTC") return TimeZone();
    Result<std::string> file = !TimeZone::is_name(name) || !parts_.read_time_zone ? fail(Code::kNotFound, "unknown") : parts_.read_time_zone(name);
    if (!file) return fail(Code::kNotFound, cat("invalid timeZone: \"", name, "\": unknown time zone ", name));
    return TimeZone::parse(*file);
  }

  async::Task<Result<>> run_schedule(CronWork& work, Outcome& outcome) {
    Result<TimeZone> zone = zone_of(work);
    if (!zone) {
      say(work, "Warning", "UnknownTimeZone", zone.error().message());
      co_return Result<>();
    }
    if (json::get_bool(work.tree, {"spec", "suspend"})) co_return Result<>();
    std::string_view text = json::get_string(work.tree, {"spec", "schedule"});
    Result<api::kinds::Schedule> schedule = api::kinds::parse_schedule(text);
    if (!schedule) {
      say(work, "Warning", "UnparseableSchedule", cat("unparseable schedule: \"", text, "\" : ", schedule.error().message()));
      co_return Result<>();
    }
    bool ran_before = !json::get_string(work.status, {"lastScheduleTime"}).empty();
    SysSeconds since = ran_before ? seconds_at(work.status, {"lastScheduleTime"}) : seconds_at(work.tree, {"metadata", "creationTimestamp"});
    const json::Value* deadline = json::find(work.tree, {"spec", "startingDeadlineSeconds"});
    std::optional<std::chrono::seconds> late;
    if (deadline != nullptr && deadline->is_int64()) late = std::chrono::seconds(std::min<std::int64_t>(deadline->get_int64(), std::int64_t{1} << 40));
    Result<DueTime> due = due_time(*schedule, *zone, late ? std::max(since, work.now - *late) : since, work.now);
    if (!due) {
      say(work, "Warning", "InvalidSchedule", cat("invalid schedule: ", text, " : ", due.error().message()));
      co_return Result<>();
    }
    if (due->missed_many) say(work, "Warning", "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
    Result<> started;
    if (due->time) started = co_await start(work, *zone, *due->time, late);
    outcome.requeue_after = until_next(work, *schedule, *zone, since);
    co_return started;
  }

  static Duration until_next(const CronWork& work, const api::kinds::Schedule& schedule, const TimeZone& zone, SysSeconds since) {
    Result<DueTime> due = due_time(schedule, zone, since, work.now);
    SysSeconds from = !due ? work.now : due->time ? *due->time : due->missed_any ? work.now : since;
    auto next = next_time(schedule, zone, from);
    return next ? *next - work.now + kAfterTheMinute : Duration(kLookMax);
  }

  async::Task<Result<>> start(CronWork& work, const TimeZone& zone, SysSeconds time, std::optional<std::chrono::seconds> late) {
    if (late && time + *late < work.now) {
      say(work, "Warning", "MissSchedule", "Missed scheduled time to start a job: " + format_rfc1123(time));
      co_return Result<>();
    }
    std::string name = cat(work.cron.name, "-", std::chrono::floor<std::chrono::minutes>(time).time_since_epoch().count());
    bool running = std::ranges::any_of(work.active(), [&](const json::Value& ref) { return json::get_string(ref, {"name"}) == name; });
    if (running || json::get_string(work.status, {"lastScheduleTime"}) == format_rfc3339(time)) co_return Result<>();
    std::string_view policy = json::get_string(work.tree, {"spec", "concurrencyPolicy"});
    if (policy == "Forbid" && !work.active().empty()) {
      say(work, "Normal", "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
      co_return Result<>();
    }
    if (policy == "Replace") {
      json::Array listed = work.active();
      for (const json::Value& ref : listed) {
        CO_TRY(co_await remove_job(work, std::string(json::get_string(ref, {"name"})), std::string(json::get_string(ref, {"uid"}))));
        work.forget(json::get_string(ref, {"uid"}));
      }
    }
    co_return co_await create_job(work, zone, time, std::move(name));
  }

  static json::Value make_job(const CronWork& work, const TimeZone& zone, SysSeconds time, const std::string& name) {
    json::Object metadata{{"name", name}, {"namespace", work.cron.ns}, {"ownerReferences", json::Array{client::controller_reference(resources::kCronJobs, work.cron)}}};
    for (std::string_view field : {"labels", "annotations"})
      if (const json::Value* given = json::find(work.tree, {"spec", "jobTemplate", "metadata", field})) metadata[field] = *given;
    json::Value job = json::Object{{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", std::move(metadata)}};
    json::at_path(job, {"metadata", "annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp"}) = format_in_zone(time, zone.offset_at(time.time_since_epoch().count()));
    if (const json::Value* spec = json::find(work.tree, {"spec", "jobTemplate", "spec"})) job.get_object()["spec"] = *spec;
    return job;
  }

  async::Task<Result<>> create_job(CronWork& work, const TimeZone& zone, SysSeconds time, std::string name) {
    auto created = co_await parts_.api.create(resources::kJobs, work.cron.ns, make_job(work, zone, time, name), {});
    if (!created && namespace_is_terminating(created.error())) co_return Result<>();
    bool ours = created.has_value();
    if (!created && created.error().code() == Code::kAlreadyExists) {  // made before we died, or by somebody else
      created = co_await parts_.api.get(resources::kJobs, work.cron.ns, name);
      if (created) {
        auto owner = client::controller_of(created->tree());
        if (!owner || owner->uid != work.cron.uid) created = fail(Code::kAlreadyExists, cat("job ", name, " exists and is not of this CronJob"));
      }
    }
    if (!created) {
      if (created.error().code() != Code::kCancelled) say(work, "Warning", "FailedCreate", cat("Error creating job: ", created.error().message()));
      co_return fail(created.error());
    }
    if (ours) say(work, "Normal", "SuccessfulCreate", "Created job " + name);
    work.active().push_back(json::Object{{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"name", name}, {"namespace", work.cron.ns}, {"resourceVersion", created->resource_version}, {"uid", created->uid}});
    work.status.get_object()["lastScheduleTime"] = format_rfc3339(time);
    co_return Result<>();
  }

  async::Task<Result<>> remove_job(const CronWork& work, std::string name, std::string uid) {
    Result<> removed = co_await parts_.api.remove(resources::kJobs, work.cron.ns, name, {.propagation_policy = "Background", .precondition_uid = uid});
    if (removed) say(work, "Normal", "SuccessfulDelete", "Deleted job " + name);
    if (removed || removed.error().code() == Code::kNotFound || removed.error().code() == Code::kAborted) co_return Result<>();
    if (removed.error().code() != Code::kCancelled) say(work, "Warning", "FailedDelete", cat("Deleted job: ", removed.error().message()));
    co_return removed;
  }

  // Of the jobs that are over, so many that went well are kept and so many that did not, the youngest.
  async::Task<Result<>> clean_up(CronWork& work) {
    for (auto [outcome, field] : {std::pair<std::string_view, std::string_view>{"Complete", "successfulJobsHistoryLimit"}, {"Failed", "failedJobsHistoryLimit"}}) {
      const json::Value* limit = json::find(work.tree, {"spec", field});
      if (limit == nullptr || !limit->is_int64()) continue;
      std::vector<const CronChild*> over;
      for (const CronChild& job : work.jobs)
        if (job.outcome == outcome && !client::is_deleting(job.tree)) over.push_back(&job);
      while (static_cast<std::int64_t>(over.size()) > limit->get_int64()) {
        auto oldest = std::ranges::min_element(over, [](const CronChild* a, const CronChild* b) {
          auto age = [](const CronChild* job) { return std::pair(client::time_at(job->tree, {"status", "startTime"}), std::string_view(job->object->name)); };
          return age(a) < age(b);
        });
        CO_TRY(co_await remove_job(work, (*oldest)->object->name, (*oldest)->object->uid));
        over.erase(oldest);
      }
    }
    co_return Result<>();
  }

  async::Task<Result<>> write_status(CronWork& work) {
    json::Value status = work.status;
    if (work.active().empty()) status.get_object().erase("active");
    const json::Value* before = json::find(work.tree, {"status"});
    if (before != nullptr && *before == status) co_return Result<>();
    work.tree.get_object()["status"] = std::move(status);
    auto written = co_await put_status(parts_.api, resources::kCronJobs, work.cron, work.tree);
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    co_return Result<>();
  }

  client::Informer& crons_;
  client::Informer& jobs_;
};

}  // namespace

std::unique_ptr<Controller> make_cronjob_controller(const ControllerParts& parts) { return std::make_unique<CronJobController>(parts); }

}  // namespace monopod::controllers
