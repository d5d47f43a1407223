// Job: pods that run to their end, as often as asked. Source: batch/v1 API, KEP-2307 (tracking by finalizers), KEP-2214 (Indexed), KEP-3329
// (podFailurePolicy), KEP-3850 (backoffLimitPerIndex), KEP-3939 (podReplacementPolicy), KEP-3998 (successPolicy), KEP-4368 (managedBy), KEP-592
// (ttlSecondsAfterFinished) and the observable behaviour of kube-controller-manager.
//
// A pod that ended is counted once and for all, whoever dies in between:
//   its uid into status.uncountedTerminatedPods (Indexed: its index into completedIndexes) ─► its finalizer goes ─► the uid becomes a number
// A job that is decided has the condition FailureTarget or SuccessCriteriaMet; Failed or Complete when all its pods are gone and counted.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "controllers/job_indexes.h"
#include "controllers/job_policies.h"
#include "controllers/pod_owner.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::string_view kTracking = "batch.kubernetes.io/job-tracking";
constexpr std::string_view kCompletionIndex = "batch.kubernetes.io/job-completion-index";
constexpr std::string_view kIndexFailures = "batch.kubernetes.io/job-index-failure-count";
constexpr std::string_view kIndexIgnoredFailures = "batch.kubernetes.io/job-index-ignored-failure-count";
constexpr std::string_view kTrackedIndex = "tracked-by-job";  // pods with the finalizer, by their job's key
constexpr PodOwnerKind kJob{resources::kJobs, "job-controller", false, kTracking};

constexpr std::int64_t kJobBurst = 500;         // creations or deletions in one pass
constexpr std::size_t kUncountedMax = 500;      // uids in the status
constexpr std::chrono::seconds kBackoff{10};    // after a pod failed; doubles
constexpr std::chrono::minutes kBackoffMax{10};
constexpr std::int64_t kNoIndex = -1;

using Uids = std::unordered_set<std::string>;

std::int64_t index_of(const json::Value& pod, std::int64_t completions) {
  auto index = parse_int<std::int64_t>(json::get_string(pod, {"metadata", "annotations", kCompletionIndex}));
  return index && *index >= 0 && *index < completions ? *index : kNoIndex;
}

std::int64_t annotated_count(const json::Value& pod, std::string_view name) { return parse_int<std::int64_t>(json::get_string(pod, {"metadata", "annotations", name})).value_or(0); }
std::int64_t failures_of_index(const json::Value& pod) { return annotated_count(pod, kIndexFailures) + annotated_count(pod, kIndexIgnoredFailures); }

// When the pod ended: its last container, else its deletion, else when it ceased to be ready.
WallTime ended_at(const json::Value& pod, WallTime fallback) {
  WallTime last{};
  if (const json::Array* statuses = json::get_array(pod, {"status", "containerStatuses"}))
    for (const json::Value& status : *statuses) last = std::max(last, client::time_at(status, {"state", "terminated", "finishedAt"}));
  if (last == WallTime{}) last = client::time_at(pod, {"metadata", "deletionTimestamp"});
  if (last == WallTime{})
    if (const json::Object* ready = client::find_condition(pod, "Ready")) last = client::time_at(json::Value(*ready), {"lastTransitionTime"});
  return last == WallTime{} ? fallback : std::min(last, fallback);
}

Duration backoff_after(std::int64_t failures) {
  Duration delay = kBackoff;
  for (std::int64_t i = 1; i < failures && delay < kBackoffMax; ++i) delay *= 2;
  return failures > 0 ? std::min<Duration>(delay, kBackoffMax) : Duration::zero();
}

bool is_true(const json::Value& job, std::string_view condition) { return client::condition_status(job, condition) == "True"; }

// What was decided about a job.
struct JobEnd {
  bool failed = false;
  std::string reason, message;
};

// One job with its pods, for the length of one reconcile.
struct JobWork {
  JobWork(const client::Object& object, json::Value job_tree, WallTime time) : job(object), tree(std::move(job_tree)), now(time) {
    indexed = json::get_string(tree, {"spec", "completionMode"}) == "Indexed";
    if (const json::Value* n = json::find(tree, {"spec", "completions"}); n != nullptr && n->is_int64()) completions = n->get_int64();
    parallelism = json::get_int(tree, {"spec", "parallelism"}, 1);
    if (const json::Value* n = json::find(tree, {"spec", "backoffLimitPerIndex"}); indexed && n != nullptr && n->is_int64()) limit_per_index = n->get_int64();
    has_failure_policy = json::find(tree, {"spec", "podFailurePolicy"}) != nullptr;
    replaces_only_failed = has_failure_policy || json::get_string(tree, {"spec", "podReplacementPolicy"}) == "Failed";
    suspended = json::get_bool(tree, {"spec", "suspend"});
    deleting = client::is_deleting(tree);
    const json::Value* old = json::find(tree, {"status"});
    status = old != nullptr && old->is_object() ? *old : json::Value(json::Object());
    succeeded_indexes = IndexSet::parse(json::get_string(status, {"completedIndexes"}), completions.value_or(0));
    failed_indexes = IndexSet::parse(json::get_string(status, {"failedIndexes"}), completions.value_or(0));
  }

  std::int64_t index(const OwnedPod& pod) const { return index_of(pod.tree, completions.value_or(0)); }
  // A pod that is being deleted has failed, unless one is to be replaced only when it really has.
  bool failed(const OwnedPod& pod) const {
    std::string_view phase = phase_of(pod.tree);
    return phase == "Failed" || (!replaces_only_failed && phase != "Succeeded" && client::is_deleting(pod.tree));
  }
  json::Array& uncounted(std::string_view list) {
    json::Value& uids = json::at_path(status, {"uncountedTerminatedPods", list});
    return uids.is_array() ? uids.get_array() : uids.emplace_array();
  }
  bool is_uncounted(std::string_view list, const OwnedPod& pod) const {
    const json::Array* uids = json::get_array(status, {"uncountedTerminatedPods", list});
    return uids != nullptr && std::ranges::find(*uids, json::Value(pod.object->uid)) != uids->end();
  }

  const client::Object& job;
  json::Value tree;
  WallTime now;
  json::Value status;  // as it is to be
  bool indexed = false, has_failure_policy = false, replaces_only_failed = false, suspended = false, deleting = false;
  std::optional<std::int64_t> completions;
  std::optional<std::int64_t> limit_per_index;
  std::int64_t parallelism = 1;
  std::vector<OwnedPod> pods;
  std::vector<const OwnedPod*> active;
  std::map<std::int64_t, const OwnedPod*> delayed;  // by index: failed pods that stay until their successor has their count of failures
  IndexSet succeeded_indexes, failed_indexes;
  Uids tracked;  // pods that still have the finalizer
  std::int64_t succeeded = 0, failures = 0, ready = 0, terminating = 0, active_count = 0;
  std::optional<JobEnd> end;
  Duration again = Duration::zero();

  void look_again_after(Duration delay) { again = again == Duration::zero() ? delay : std::min(again, delay); }
};

class JobController final : public PodOwner {
 public:
  explicit JobController(const ControllerParts& parts) : PodOwner(parts, kJob) {
    pods_.indexer().add_index(std::string(kTrackedIndex), [](const client::Object& pod) {
      std::vector<std::string> keys;
      if (pod.bytes->find(kTracking) == std::string::npos) return keys;
      if (auto owner = client::controller_of(pod.tree()); owner && owner->kind == "Job") keys.push_back(pod.ns + "/" + owner->name);
      return keys;
    });
    pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!freed_.empty() && (!now || now->bytes->find(kTracking) == std::string::npos)) freed_.erase((now ? now : old)->uid);
    });
  }

 private:
  // A key that begins with a slash is a pod's that belongs to no job.
  void on_orphan(const client::Object& pod) override { queue_.add("/" + pod.key()); }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    if (key.starts_with('/')) co_return co_await free_orphan(key.substr(1));
    ObjectPtr job = owners_.indexer().find(key);
    CO_TRY(co_await free_strays(key, job ? job->uid : std::string()));
    if (!job) {
      expectations_.forget(key);
      memory_.erase(key);
      co_return Outcome{};
    }
    if (parse_int<std::int64_t>(job->resource_version).value_or(0) < memory_[key].written) co_return Outcome{};  // our own write comes yet
    json::Value tree = job->tree();
    if (std::string_view by = json::get_string(tree, {"spec", "managedBy"}); !by.empty() && by != "kubernetes.io/job-controller") co_return Outcome{};
    if (is_true(tree, "Complete") || is_true(tree, "Failed")) co_return co_await finished(*job, tree);
    auto selector = selector_of(tree);
    if (!selector) co_return Outcome{};
    JobWork work(*job, std::move(tree), parts_.time.wall());
    CO_TRY(co_await claim(*job, work.tree, *selector, work.pods));
    count(work);
    decide(work);
    Result<> managed = co_await act(work);
    if (!managed && managed.error().code() == Code::kCancelled) co_return fail(managed.error());
    CO_TRY(co_await track(work));
    if (!managed) co_return fail(managed.error());
    co_return Outcome{work.again};
  }

  // --- jobs that are over, and pods whose job is no more

  async::Task<Result<Outcome>> finished(const client::Object& job, const json::Value& tree) {
    memory_[job.key()].backoff = {};
    for (const ObjectPtr& pod : pods_.indexer().by_index(kOwnerIndex, job.uid))
      if (has_finalizer(*pod)) CO_TRY(co_await free_pod(*pod));
    const json::Value* ttl = json::find(tree, {"spec", "ttlSecondsAfterFinished"});
    if (ttl == nullptr || !ttl->is_int64() || client::is_deleting(tree)) co_return Outcome{};
    const json::Object* condition = client::find_condition(tree, is_true(tree, "Complete") ? "Complete" : "Failed");
    Duration left = client::time_at(json::Value(*condition), {"lastTransitionTime"}) + std::chrono::seconds(ttl->get_int64()) - parts_.time.wall();
    if (left > Duration::zero()) co_return Outcome{left};
    Result<> removed = co_await parts_.api.remove(resources::kJobs, job.ns, job.name, {.propagation_policy = "Foreground", .precondition_uid = job.uid, .precondition_resource_version = job.resource_version});
    if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
    co_return Outcome{};
  }

  bool has_finalizer(const client::Object& pod) const { return pod.bytes->find(kTracking) != std::string::npos && !freed_.contains(pod.uid); }

  async::Task<Result<>> free_pod(const client::Object& pod) {
    freed_.insert(pod.uid);
    Result<> written = co_await patch_pod(pod, json::Object{{"$deleteFromPrimitiveList/finalizers", json::Array{json::Value(kTracking)}}});
    bool gone = pods_.indexer().find(pod.key()) == nullptr;
    if (!written || gone) freed_.erase(pod.uid);  // there will be no news of it
    co_return written;
  }

  // Pods of a job of that name that is no more.
  async::Task<Result<>> free_strays(const std::string& key, std::string living_uid) {
    for (const ObjectPtr& pod : pods_.indexer().by_index(kTrackedIndex, key))
      if (has_finalizer(*pod) && client::controller_of(pod->tree())->uid != living_uid) CO_TRY(co_await free_pod(*pod));
    co_return Result<>();
  }

  async::Task<Result<Outcome>> free_orphan(std::string key) {
    ObjectPtr pod = pods_.indexer().find(key);
    if (!pod || !has_finalizer(*pod)) co_return Outcome{};
    json::Value tree = pod->tree();
    if (client::controller_of(tree)) co_return Outcome{};
    for (const ObjectPtr& job : owners_.indexer().by_index(client::kNamespaceIndex, pod->ns)) {  // it will be adopted
      json::Value job_tree = job->tree();
      auto selector = selector_of(job_tree);
      if (is_active(tree) && selector && selector->matches(client::labels_of(tree)) && !client::is_deleting(job_tree) && !is_true(job_tree, "Complete") && !is_true(job_tree, "Failed")) co_return Outcome{};
    }
    CO_TRY(co_await free_pod(*pod));
    co_return Outcome{};
  }

  // --- what is, and what follows

  // Numbers as they will be once all that ended is counted.
  void count(JobWork& work) const {
    if (json::get_string(work.status, {"startTime"}).empty() && !work.suspended) work.status.get_object()["startTime"] = format_rfc3339(work.now);
    json::at_path(work.status, {"uncountedTerminatedPods"});
    if (!work.status.get_object()["uncountedTerminatedPods"].is_object()) work.status.get_object()["uncountedTerminatedPods"].emplace_object();
    std::int64_t newly_succeeded = 0, newly_failed = 0;
    for (const OwnedPod& pod : work.pods) {
      bool tracked = has_finalizer(*pod.object);
      if (tracked) work.tracked.insert(pod.object->uid);
      std::string_view phase = phase_of(pod.tree);
      if (is_active(pod.tree)) {
        work.active.push_back(&pod);
        if (is_ready(pod.tree)) ++work.ready;
      } else if (client::is_deleting(pod.tree) && phase != "Succeeded" && phase != "Failed") {
        ++work.terminating;
      }
      if (!tracked || (work.indexed && work.index(pod) == kNoIndex)) continue;
      if (phase == "Succeeded" && !work.is_uncounted("failed", pod)) {
        if (work.indexed) work.succeeded_indexes.add(work.index(pod));
        else if (!work.is_uncounted("succeeded", pod)) ++newly_succeeded;
      } else if (work.failed(pod)) {
        FailureVerdict verdict = judge_failure(work.tree, pod.tree);
        bool counts = verdict.action != FailureAction::kIgnore;
        if (counts && !work.is_uncounted("failed", pod)) ++newly_failed;
        if (work.limit_per_index && (verdict.action == FailureAction::kFailIndex || (counts && annotated_count(pod.tree, kIndexFailures) >= *work.limit_per_index))) work.failed_indexes.add(work.index(pod));
      }
    }
    auto uids = [&](std::string_view list) { return static_cast<std::int64_t>(work.uncounted(list).size()); };
    work.succeeded = work.indexed ? work.succeeded_indexes.size() : json::get_int(work.status, {"succeeded"}) + uids("succeeded") + newly_succeeded;
    work.failures = json::get_int(work.status, {"failed"}) + uids("failed") + newly_failed;
    work.active_count = static_cast<std::int64_t>(work.active.size());
    if (work.limit_per_index) find_delayed(work);
  }

  void find_delayed(JobWork& work) const {
    IndexSet running;
    for (const OwnedPod* pod : work.active)
      if (work.index(*pod) != kNoIndex) running.add(work.index(*pod));
    for (const OwnedPod& pod : work.pods) {
      std::int64_t index = work.index(pod);
      if (index == kNoIndex || !work.failed(pod) || !work.tracked.contains(pod.object->uid)) continue;
      if (work.succeeded_indexes.contains(index) || work.failed_indexes.contains(index) || running.contains(index)) continue;
      const OwnedPod*& last = work.delayed[index];
      if (last == nullptr || failures_of_index(pod.tree) >= failures_of_index(last->tree)) last = &pod;
    }
  }

  // Whether the job is over, and how.
  void decide(JobWork& work) {
    auto failed = [&](std::string_view reason, std::string message) { work.end = JobEnd{true, std::string(reason), std::move(message)}; };
    for (std::string_view type : {"FailureTarget", "SuccessCriteriaMet"})
      if (is_true(work.tree, type)) {
        json::Value condition(*client::find_condition(work.tree, type));
        work.end = JobEnd{type == "FailureTarget", std::string(json::get_string(condition, {"reason"})), std::string(json::get_string(condition, {"message"}))};
        return;
      }
    if (work.has_failure_policy)
      for (const OwnedPod& pod : work.pods) {
        if (!work.failed(pod)) continue;
        FailureVerdict verdict = judge_failure(work.tree, pod.tree);
        if (verdict.action == FailureAction::kFailJob) return failed("PodFailurePolicy", std::move(verdict.message));
      }
    std::int64_t limit = json::get_int(work.tree, {"spec", "backoffLimit"}, 6);
    if (work.failures > limit || restarted_too_often(work, limit)) return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    if (const json::Value* deadline = json::find(work.tree, {"spec", "activeDeadlineSeconds"}); deadline != nullptr && deadline->is_int64() && !work.suspended) {
      Duration left = client::time_at(work.status, {"startTime"}) + std::chrono::seconds(deadline->get_int64()) - work.now;
      if (left <= Duration::zero()) return failed("DeadlineExceeded", "Job was active longer than specified deadline");
      work.look_again_after(left);
    }
    if (!work.indexed) return;
    if (work.limit_per_index) {
      const json::Value* most = json::find(work.tree, {"spec", "maxFailedIndexes"});
      if (most != nullptr && most->is_int64() && work.failed_indexes.size() > most->get_int64()) return failed("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
      if (work.failed_indexes.size() > 0 && work.failed_indexes.size() + work.succeeded_indexes.size() >= work.completions.value_or(0)) return failed("FailedIndexes", "Job has failed indexes");
    }
    if (auto met = met_success_policy(work.tree, work.succeeded_indexes, work.completions.value_or(0))) work.end = JobEnd{false, "SuccessPolicy", std::move(*met)};
  }

  static bool restarted_too_often(const JobWork& work, std::int64_t limit) {
    if (json::get_string(work.tree, {"spec", "template", "spec", "restartPolicy"}) != "OnFailure") return false;
    std::int64_t restarts = 0;
    for (const OwnedPod& pod : work.pods) restarts += restarts_of(pod.tree);
    return limit == 0 ? restarts > 0 : restarts >= limit;
  }

  // --- pods

  async::Task<Result<>> act(JobWork& work) {
    bool satisfied = expectations_.satisfied(work.job.key());
    if (work.end) {
      Result<> removed = co_await delete_pods(work.job, work.active);
      if (removed) note_removed(work, work.active);
      if (!removed || !satisfied) work.end.reset();  // there may be more of them
      co_return removed;
    }
    Result<> managed;
    bool looked = satisfied && !work.deleting;
    if (looked) managed = co_await manage(work);
    bool complete = work.completions ? work.succeeded >= *work.completions && work.active_count == 0 : work.succeeded > 0 && work.active_count == 0;
    if (complete) work.end = JobEnd{false, "CompletionsReached", "Reached expected number of succeeded pods"};
    else if (looked) note_suspension(work);
    co_return managed;
  }

  static void note_removed(JobWork& work, const std::vector<const OwnedPod*>& pods) {
    for (const OwnedPod* pod : pods) {
      --work.active_count;
      ++work.terminating;
      if (is_ready(pod->tree)) --work.ready;
    }
  }

  void note_suspension(JobWork& work) {
    bool was = client::condition_status(json::Object{{"status", work.status}}, "Suspended") == "True";
    if (work.suspended == was) return;
    set_job_condition(work, "Suspended", work.suspended, work.suspended ? "JobSuspended" : "JobResumed", work.suspended ? "Job suspended" : "Job resumed");
    record(work.job, "Normal", work.suspended ? "Suspended" : "Resumed", work.suspended ? "Job suspended" : "Job resumed");
    if (!work.suspended) {
      work.status.get_object()["startTime"] = format_rfc3339(work.now);
      if (std::int64_t deadline = json::get_int(work.tree, {"spec", "activeDeadlineSeconds"}); deadline > 0) work.look_again_after(std::chrono::seconds(deadline));
    }
  }

  async::Task<Result<>> manage(JobWork& work) {
    if (work.suspended) co_return co_await remove_uncounted(work, work.active);
    std::int64_t want = work.parallelism;
    if (work.completions) want = std::clamp<std::int64_t>(*work.completions - work.succeeded, 0, work.parallelism);
    else if (work.succeeded > 0) want = work.active_count;
    std::vector<const OwnedPod*> surplus = choose_surplus(work, std::max<std::int64_t>(0, work.active_count - want));
    if (!surplus.empty()) co_return co_await remove_uncounted(work, std::move(surplus));
    std::int64_t missing = want - (work.replaces_only_failed ? work.terminating : 0) - work.active_count;
    if (missing > 0) co_return co_await create(work, std::min(missing, kJobBurst));
    co_return Result<>();
  }

  // Pods that are not wanted any more do not count as failures.
  async::Task<Result<>> remove_uncounted(JobWork& work, std::vector<const OwnedPod*> pods) {
    for (const OwnedPod* pod : pods) {
      if (has_finalizer(*pod->object)) CO_TRY(co_await free_pod(*pod->object));
      work.tracked.erase(pod->object->uid);
      CO_TRY(co_await delete_pods(work.job, {pod}));
      note_removed(work, {pod});
    }
    co_return Result<>();
  }

  // At least so many; all pods of indexes that are not asked for, or have more than one.
  static std::vector<const OwnedPod*> choose_surplus(const JobWork& work, std::int64_t at_least) {
    std::vector<const OwnedPod*> order = work.active, out, rest;
    sort_pods(order, goes_first);
    IndexSet kept;
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      std::int64_t index = work.indexed ? work.index(**it) : kNoIndex;
      bool surplus = work.indexed && (index == kNoIndex || kept.contains(index));
      if (index != kNoIndex) kept.add(index);
      (surplus ? out : rest).push_back(*it);
    }
    while (static_cast<std::int64_t>(out.size()) < at_least && !rest.empty()) {
      out.push_back(rest.back());
      rest.pop_back();
    }
    if (out.size() > static_cast<std::size_t>(kJobBurst)) out.resize(static_cast<std::size_t>(kJobBurst));
    return out;
  }

  async::Task<Result<>> create(JobWork& work, std::int64_t missing) {
    if (!work.limit_per_index) {
      Backoff backoff = memory_[work.job.key()].backoff;
      note_ends(work, backoff);  // of those too that are to be counted yet
      Duration left = backoff.last + backoff_after(backoff.failures) - work.now;
      if (backoff.failures > 0 && left > Duration::zero()) {
        work.look_again_after(left);
        co_return Result<>();
      }
    }
    std::vector<std::int64_t> indexes(static_cast<std::size_t>(missing), kNoIndex);
    if (work.indexed) indexes = pending_indexes(work, missing);
    for (std::int64_t index : indexes) {
      CO_TRY_ASSIGN(bool going_on, co_await create_pod(work.job, make_pod(work, index)));
      if (!going_on) break;
      ++work.active_count;
    }
    co_return Result<>();
  }

  std::vector<std::int64_t> pending_indexes(JobWork& work, std::int64_t most) const {
    IndexSet taken;
    for (const OwnedPod& pod : work.pods) {
      std::string_view phase = phase_of(pod.tree);
      bool going = client::is_deleting(pod.tree) && phase != "Succeeded" && phase != "Failed";
      if ((is_active(pod.tree) || (work.replaces_only_failed && going)) && work.index(pod) != kNoIndex) taken.add(work.index(pod));
    }
    std::vector<std::int64_t> out;
    std::optional<Duration> soonest;
    std::int64_t seen = 0;
    for (std::int64_t index = 0; index < work.completions.value_or(0) && seen < most; ++index) {
      if (std::int64_t open = taken.next_absent(work.failed_indexes.next_absent(work.succeeded_indexes.next_absent(index))); open > index) {
        index = open - 1;  // over what is done, however much it is
        continue;
      }
      ++seen;
      if (auto before = work.delayed.find(index); before != work.delayed.end()) {
        const json::Value& pod = before->second->tree;
        Duration left = ended_at(pod, work.now) + backoff_after(failures_of_index(pod) + 1) - work.now;
        if (left > Duration::zero()) {
          soonest = soonest ? std::min(*soonest, left) : left;
          continue;
        }
      }
      out.push_back(index);
    }
    if (out.empty() && soonest) work.look_again_after(*soonest);
    return out;
  }

  static json::Value make_pod(const JobWork& work, std::int64_t index) {
    json::Value pod = pod_from_template(*json::find(work.tree, {"spec", "template"}), resources::kJobs, work.job);
    json::Value& finalizers = json::at_path(pod, {"metadata", "finalizers"});
    if (!finalizers.is_array()) finalizers.emplace_array();
    if (std::ranges::find(finalizers.get_array(), json::Value(kTracking)) == finalizers.get_array().end()) finalizers.get_array().emplace_back(kTracking);
    if (index == kNoIndex) return pod;
    std::string text = std::to_string(index);
    json::at_path(pod, {"metadata", "annotations", kCompletionIndex}) = text;
    json::at_path(pod, {"metadata", "labels", kCompletionIndex}) = text;
    json::at_path(pod, {"metadata", "generateName"}) = cat(work.job.name, "-", text, "-");
    json::at_path(pod, {"spec", "hostname"}) = cat(work.job.name, "-", text);
    for (std::string_view list : {"containers", "initContainers"})
      if (json::Value* containers = json::find(pod, {"spec", list}); containers != nullptr && containers->is_array())
        for (json::Value& container : containers->get_array()) add_index_variable(container);
    if (!work.limit_per_index) return pod;
    std::int64_t counted = 0, ignored = 0;
    if (auto before = work.delayed.find(index); before != work.delayed.end()) {
      const json::Value& last = before->second->tree;
      bool counts = judge_failure(work.tree, last).action != FailureAction::kIgnore;
      counted = annotated_count(last, kIndexFailures) + (counts ? 1 : 0);
      ignored = annotated_count(last, kIndexIgnoredFailures) + (counts ? 0 : 1);
    }
    json::at_path(pod, {"metadata", "annotations", kIndexFailures}) = std::to_string(counted);
    if (ignored > 0) json::at_path(pod, {"metadata", "annotations", kIndexIgnoredFailures}) = std::to_string(ignored);
    return pod;
  }

  static void add_index_variable(json::Value& container) {
    json::Value& variables = json::at_path(container, {"env"});
    if (!variables.is_array()) variables.emplace_array();
    for (const json::Value& variable : variables.get_array())
      if (json::get_string(variable, {"name"}) == "JOB_COMPLETION_INDEX") return;
    variables.get_array().push_back(json::Object{{"name", "JOB_COMPLETION_INDEX"}, {"valueFrom", json::Object{{"fieldRef", json::Object{{"fieldPath", cat("metadata.labels['", kCompletionIndex, "']")}}}}}});
  }

  // --- counting

  struct Backoff {
    std::int64_t failures = 0;  // since the last success
    WallTime last{};
  };
  struct Memory {
    Backoff backoff;
    std::int64_t written = 0;  // the resource version of our last write
  };

  // Puts the ends of pods that are not counted yet into the record: failures since the last success, and when the last of them was.
  void note_ends(const JobWork& work, Backoff& backoff) const {
    IndexSet completed = IndexSet::parse(json::get_string(work.tree, {"status", "completedIndexes"}), work.completions.value_or(0));
    WallTime success{};
    for (bool wanted : {true, false}) {  // successes first: they undo what was before them
      for (const OwnedPod& pod : work.pods) {
        bool succeeded = phase_of(pod.tree) == "Succeeded";
        if (succeeded != wanted || (!succeeded && !work.failed(pod)) || !work.tracked.contains(pod.object->uid)) continue;
        if (work.is_uncounted("failed", pod) || work.is_uncounted("succeeded", pod) || (succeeded && work.indexed && completed.contains(work.index(pod)))) continue;
        WallTime when = ended_at(pod.tree, work.now);
        if (succeeded) {
          success = std::max(success, when);
          backoff = {};
        } else if (when >= success) {
          backoff = {backoff.failures + 1, std::max(backoff.last, when)};
        }
      }
    }
  }

  async::Task<Result<>> track(JobWork& work) {
    Backoff backoff = memory_[work.job.key()].backoff;
    note_ends(work, backoff);
    sweep_uncounted(work);
    bool full = false;
    std::vector<const OwnedPod*> ended = collect_ended(work, full);
    json::Object& fields = work.status.get_object();
    if (work.indexed) {
      set_count(fields, "succeeded", work.succeeded_indexes.size());
      std::string completed = work.succeeded_indexes.format();
      if (completed.empty()) fields.erase("completedIndexes");
      else fields["completedIndexes"] = completed;
      if (work.limit_per_index) fields["failedIndexes"] = work.failed_indexes.format();
    }
    set_count(fields, "active", work.active_count);
    fields["ready"] = work.ready;
    fields["terminating"] = work.terminating;
    if (work.end) set_job_condition(work, work.end->failed ? "FailureTarget" : "SuccessCriteriaMet", true, work.end->reason, work.end->message);
    CO_TRY(co_await flush(work));
    memory_[work.job.key()].backoff = backoff;
    Result<> freed;
    for (const OwnedPod* pod : ended) {
      freed = co_await free_pod(*pod->object);
      if (!freed) break;
      work.tracked.erase(pod->object->uid);
    }
    sweep_uncounted(work);
    bool over = freed && !full && work.end && work.terminating == 0 && work.uncounted("succeeded").empty() && work.uncounted("failed").empty();
    if (over) {
      set_job_condition(work, work.end->failed ? "Failed" : "Complete", true, work.end->reason, work.end->message);
      if (!work.end->failed) work.status.get_object()["completionTime"] = format_rfc3339(work.now);
    }
    CO_TRY(co_await flush(work));
    if (over) say_over(work);
    co_return freed;
  }

  void say_over(const JobWork& work) {
    if (work.end->failed) return record(work.job, "Warning", work.end->reason, work.end->message);
    if (work.completions && work.succeeded > *work.completions) record(work.job, "Warning", "TooManySucceededPods", "Too many succeeded pods running after completion count reached");
    record(work.job, "Normal", "Completed", "Job completed");
  }

  // Uids whose pods have lost the finalizer become numbers.
  static void sweep_uncounted(JobWork& work) {
    for (std::string_view list : {"succeeded", "failed"}) {
      json::Array& uids = work.uncounted(list);
      json::Array left;
      for (const json::Value& uid : uids)
        if (uid.is_string() && work.tracked.contains(std::string(uid.get_string()))) left.push_back(uid);
      std::int64_t counted = static_cast<std::int64_t>(uids.size() - left.size());
      uids = std::move(left);
      if (counted > 0) set_count(work.status.get_object(), list, json::get_int(work.status, {list}) + counted);
    }
  }

  // Pods whose finalizer may go, noted in the status. full: there are more.
  std::vector<const OwnedPod*> collect_ended(JobWork& work, bool& full) const {
    std::vector<const OwnedPod*> out;
    for (const OwnedPod& pod : work.pods) {
      if (!work.tracked.contains(pod.object->uid)) continue;
      bool succeeded = phase_of(pod.tree) == "Succeeded", failed = work.failed(pod);
      if (!work.deleting && !work.end && !succeeded) {
        auto delayed = work.delayed.find(work.index(pod));
        if (!failed || (delayed != work.delayed.end() && delayed->second == &pod)) continue;
      }
      out.push_back(&pod);
      if (succeeded && !work.is_uncounted("failed", pod)) {
        if (!work.indexed && !work.is_uncounted("succeeded", pod)) work.uncounted("succeeded").emplace_back(pod.object->uid);
      } else if (failed || (work.end && work.end->failed)) {
        bool counts = (!work.indexed || work.index(pod) != kNoIndex) && judge_failure(work.tree, pod.tree).action != FailureAction::kIgnore;
        if (counts && !work.is_uncounted("failed", pod)) work.uncounted("failed").emplace_back(pod.object->uid);
      }
      if (work.uncounted("succeeded").size() + work.uncounted("failed").size() >= kUncountedMax) {
        full = true;
        break;
      }
    }
    return out;
  }

  static void set_job_condition(JobWork& work, std::string_view type, bool status, std::string_view reason, std::string_view message) {
    json::Object condition{{"type", type}, {"status", status ? "True" : "False"}, {"reason", reason}, {"message", message}};
    if (!client::set_condition(work.status, std::move(condition), work.now)) return;
    for (json::Value& one : work.status.get_object()["conditions"].get_array())
      if (json::get_string(one, {"type"}) == type) one.get_object()["lastProbeTime"] = format_rfc3339(work.now);
  }

  // Writes the status where it differs; what comes after builds on what was written.
  async::Task<Result<>> flush(JobWork& work) {
    json::Value status = work.status;
    json::Object& uncounted = status.get_object()["uncountedTerminatedPods"].get_object();
    for (std::string_view list : {"succeeded", "failed"})
      if (uncounted.contains(list) && uncounted[list].get_array().empty()) uncounted.erase(list);
    const json::Value* before = json::find(work.tree, {"status"});
    if (before != nullptr && *before == status) co_return Result<>();
    work.tree.get_object()["status"] = std::move(status);
    auto written = co_await put_status(parts_.api, resources::kJobs, work.job, work.tree);
    if (!written && written.error().code() == Code::kNotFound) co_return Result<>();
    if (!written) co_return fail(written.error());
    work.tree = written->tree();
    memory_[work.job.key()].written = parse_int<std::int64_t>(written->resource_version).value_or(0);
    co_return Result<>();
  }

  Uids freed_;  // pods without the finalizer that the informer still shows with it
  std::unordered_map<std::string, Memory> memory_;  // by job's key
};

}  // namespace

std::unique_ptr<Controller> make_job_controller(const ControllerParts& parts) { return std::make_unique<JobController>(parts); }

}  // namespace monopod::controllers
