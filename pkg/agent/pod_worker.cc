#include "agent/pod_worker.h"

#include <algorithm>

#include "agent/race.h"
#include "agent/security.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

constexpr Duration kVolumeRetryFirst = std::chrono::milliseconds(500);
constexpr Duration kVolumeRetryMax = std::chrono::seconds(122);
constexpr Duration kSandboxRetry = std::chrono::seconds(10);

// The container's entry in the status that the API has; null where there is none.
const json::Value* find_status(const Pod& pod, const std::string& name) {
  for (const char* list : {"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"})
    if (const json::Array* all = json::get_array(*pod.object, {"status", list}))
      for (const json::Value& s : *all)
        if (json::get_string(s, {"name"}) == name) return &s;
  return nullptr;
}

}  // namespace

PodWorker::PodWorker(WorkerServices& services, Pod pod, std::optional<Sandbox> sandbox, std::vector<Instance> found)
    : services_(services),
      pod_(std::make_shared<const Pod>(std::move(pod))),
      dirty_(services.executor),
      stopping_(services.executor),
      probes_(services.executor),
      helpers_(services.executor) {
  state_.sandbox = std::move(sandbox);
  if (const json::Value* status = json::find(*pod_->object, {"status"})) status_ = *status;
  if (auto at = parse_rfc3339(json::get_string(status_, {"startTime"}))) state_.start_time = *at;
  adopt(std::move(found));
  if (pod_->phase == "Succeeded" || pod_->phase == "Failed") {
    // It ended in an earlier life: nothing of it is started again.
    state_.fail_reason = json::get_string(status_, {"reason"});
    state_.fail_message = json::get_string(status_, {"message"});
    begin_ending(Ending::kFailed, 0);
  }
  update(Pod(*pod_));
}

PodWorker::~PodWorker() = default;

void PodWorker::adopt(std::vector<Instance> found) {
  for (Instance& i : found) {
    ContainerState& s = state_.containers[i.container];
    if (s.current) s.previous = std::move(s.current);
    if (i.state == RunState::kRunning) exits_[i.id] = std::make_shared<async::Event>(services_.executor);
    s.current = std::move(i);
  }
  bool any_main = std::ranges::any_of(pod_->containers, [&](const Container& c) { return state_.of(c.name).current.has_value(); });
  auto look = [&](const Container& c) {
    const json::Value* was = find_status(*pod_, c.name);
    ContainerState& s = state_.containers[c.name];
    if (!s.current && was && !json::get_string(*was, {"containerID"}).empty()) {
      // It ran, says the API, and this machine knows nothing of it: gone with a crash or a lost disk.
      Instance lost;
      lost.container = c.name;
      lost.attempt = static_cast<int>(json::get_int(*was, {"restartCount"}));
      lost.state = RunState::kExited;
      lost.image = json::get_string(*was, {"image"});
      lost.image_id = json::get_string(*was, {"imageID"});
      if (const json::Value* t = json::find(*was, {"state", "terminated"})) {
        lost.exit_code = static_cast<int>(json::get_int(*t, {"exitCode"}));
        lost.reason = json::get_string(*t, {"reason"});
        lost.message = json::get_string(*t, {"message"});
        if (auto at = parse_rfc3339(json::get_string(*t, {"startedAt"}))) lost.started_at = *at;
        if (auto at = parse_rfc3339(json::get_string(*t, {"finishedAt"}))) lost.finished_at = *at;
      } else {
        lost.exit_code = 137;
        lost.reason = "ContainerStatusUnknown";
        lost.message = "The container could not be located when the pod was terminated";
        lost.finished_at = services_.time.wall();
      }
      s.current = std::move(lost);
    }
    if (s.running()) {
      s.post_start_done = true;
      s.started = !c.startup || (was && json::get_bool(*was, {"started"}));
      s.ready = s.started && (!c.readiness || (was && json::get_bool(*was, {"ready"})));
      start_probes(c.name);
    }
  };
  for (const Container& c : pod_->init_containers) look(c);
  for (const Container& c : pod_->containers) look(c);
  for (const Container& c : pod_->ephemeral_containers) look(c);
  state_.initialized_once = any_main;
}

void PodWorker::update(Pod next) {
  bool same_files = next.generation == pod_->generation && next.labels == pod_->labels && next.annotations == pod_->annotations;
  pod_ = std::make_shared<const Pod>(std::move(next));
  if (!same_files) volumes_current_ = false;  // the downward API shows labels and annotations
  if (pod_->deletion_time) begin_ending(Ending::kDeleted, pod_->deletion_grace_seconds.value_or(pod_->grace_seconds));
  poke();
}

void PodWorker::gone(std::int64_t grace_seconds) { begin_ending(Ending::kGone, std::max<std::int64_t>(grace_seconds, 1)); }

void PodWorker::stop(std::int64_t grace_seconds) { begin_ending(Ending::kStopped, std::min(grace_seconds, pod_->grace_seconds)); }

void PodWorker::fail_pod(std::string reason, std::string message, std::optional<std::int64_t> grace_seconds) {
  if (must_end() || finished_) return;
  state_.fail_reason = std::move(reason);
  state_.fail_message = std::move(message);
  begin_ending(Ending::kFailed, grace_seconds.value_or(pod_->grace_seconds));
}

// A later ending never takes an earlier one back, and only shortens the time that is left.
void PodWorker::begin_ending(Ending why, std::int64_t grace_seconds) {
  MonoTime deadline = services_.time.mono() + std::chrono::seconds(std::max<std::int64_t>(grace_seconds, 0));
  bool first = !must_end();
  if (why > ending_) ending_ = why;
  if (first || deadline < kill_deadline_) {
    kill_deadline_ = deadline;
    if (!first) helpers_.spawn(kill_at_deadline());
  }
  stopping_.set();
  poke();
}

void PodWorker::container_ended(const Instance& instance) {
  auto found = state_.containers.find(instance.container);
  if (found != state_.containers.end() && found->second.current && found->second.current->id == instance.id) {
    ContainerState& s = found->second;
    bool news = s.current->state != RunState::kExited;
    s.current = instance;
    s.started = false;
    s.ready = false;
    s.kill_reason.reset();
    if (news) {
      MonoTime now = services_.time.mono();
      Duration ran = instance.finished_at > instance.started_at ? Duration(instance.finished_at - instance.started_at) : Duration::zero();
      restarts_.failed(instance.container, now - std::chrono::duration_cast<MonoTime::duration>(ran), now);
      Duration wait = restarts_.remaining(instance.container, now);
      s.retry_at = now + std::chrono::duration_cast<MonoTime::duration>(wait);
    }
  }
  if (auto exit = exits_.find(instance.id); exit != exits_.end()) {
    exit->second->set();
    exits_.erase(exit);
  }
  poke();
}

void PodWorker::objects_changed() {
  volumes_current_ = false;
  volumes_retry_at_ = MonoTime{};
  for (auto& [name, s] : state_.containers)
    if (s.waiting_reason == "CreateContainerConfigError") s.retry_at = MonoTime{};
  poke();
}

void PodWorker::event(std::string_view container, std::string type, std::string reason, std::string message) {
  services_.event(*pod_, container, std::move(type), std::move(reason), std::move(message));
}

void PodWorker::publish() {
  PodFacts facts = services_.facts(*pod_);
  json::Value next = compute_status(*pod_, state_, {.host_ip = facts.host_ip, .now = services_.time.wall()}, status_);
  if (same_status(next, status_)) return;
  status_ = std::move(next);
  services_.publish(*pod_, status_);
}

void PodWorker::wake_at(std::optional<MonoTime> when) {
  if (when && (!next_wake_ || *when < *next_wake_)) next_wake_ = when;
}

async::Task<Result<>> PodWorker::run() {
  Result<> result;
  std::exception_ptr thrown;  // cancellation may unwind; what the worker spawned is waited for all the same
  try {
    result = co_await work();
  } catch (...) {
    thrown = std::current_exception();
  }
  probes_.cancel();
  helpers_.cancel();
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a cancelled worker still waits for its children
  (void)co_await probes_.join();
  (void)co_await helpers_.join();
  co_await async::asio::this_coro::throw_if_cancelled(true);
  ended_ = true;
  if (thrown) std::rethrow_exception(thrown);
  co_return result;
}

async::Task<Result<>> PodWorker::work() {
  if (!state_.start_time) state_.start_time = services_.time.wall();
  publish();
  while (!must_end()) {
    dirty_.reset();
    next_wake_.reset();
    if (!finished_) {
      auto synced = co_await sync();
      if (!synced && synced.error().code() == Code::kCancelled && !must_end()) co_return synced;
      if (!synced && !must_end()) {
        log::warn("pod sync failed", {{"pod", pod_->full_name()}, {"error", synced.error()}});
        wake_at(services_.time.mono() + std::chrono::seconds(10));
      }
      publish();
    }
    if (must_end()) break;
    CO_TRY(co_await wait_until(services_.time, dirty_, next_wake_));
  }
  CO_TRY(co_await end_containers());
  publish();
  if (ending_ == Ending::kStopped) co_return co_await rest();
  if (ending_ == Ending::kFailed) {
    CO_TRY(co_await finish());
    publish();
    while (ending_ == Ending::kFailed) {
      CO_TRY(co_await dirty_.wait());  // forever: until somebody deletes the failed pod
      dirty_.reset();
    }
    if (ending_ == Ending::kStopped) co_return co_await rest();
  }
  co_return co_await clean_up();
}

async::Task<Result<>> PodWorker::sync() {
  check_deadline();
  if (must_end()) co_return Result<>();
  CO_TRY_ASSIGN(bool volumes_ready, co_await sync_volumes());
  if (!volumes_ready || must_end()) co_return Result<>();
  refresh_flags();
  for (int round = 0; round < 1000 && !must_end(); ++round) {
    Actions actions = decide(*pod_, state_, services_.time.mono());
    if (actions.finished) {
      CO_TRY(co_await end_containers());
      co_return co_await finish();
    }
    if (actions.start_sandbox) {
      CO_TRY_ASSIGN(bool ready, co_await sync_sandbox());
      if (!ready) co_return Result<>();
      publish();
      continue;
    }
    if (!actions.kill.empty()) {
      async::Scope kills(services_.executor);
      for (const KillAction& k : actions.kill) kills.spawn(kill(k.container, k.message, k.grace_seconds));
      CO_TRY(co_await kills.join());
      publish();
      continue;
    }
    for (const auto& [name, s] : state_.containers) {
      if (!s.exited() || s.retry_at <= services_.time.mono()) continue;
      const Container* c = pod_->find_container(name);
      bool init = std::ranges::any_of(pod_->init_containers, [&](const Container& i) { return i.name == name; });
      if (!c || !s.waiting_reason.empty() || !wants_restart(*pod_, *c, *s.current, init)) continue;
      ContainerState& waiting = state_.containers[name];
      Duration wait = restarts_.current(name);
      std::string seconds = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(wait).count());
      std::string human = wait >= std::chrono::minutes(1) ? cat(std::chrono::duration_cast<std::chrono::seconds>(wait).count() / 60, "m",
                                                                std::chrono::duration_cast<std::chrono::seconds>(wait).count() % 60, "s")
                                                          : seconds + "s";
      waiting.waiting_reason = "CrashLoopBackOff";
      waiting.waiting_message = cat("back-off ", human, " restarting failed container=", name, " pod=", describe_pod(*pod_));
      event(name, "Warning", "BackOff", cat("Back-off restarting failed container ", name, " in pod ", describe_pod(*pod_)));
    }
    wake_at(actions.wake_at);
    if (actions.start.empty()) break;
    publish();
    for (const std::string& name : actions.start) {
      if (must_end()) break;
      CO_TRY(co_await start(name));
      refresh_flags();
      publish();
    }
  }
  wake_at(services_.volumes.refresh_at(pod_->uid));
  co_return Result<>();
}

void PodWorker::check_deadline() {
  if (!pod_->active_deadline_seconds || !state_.start_time) return;
  WallTime end = *state_.start_time + std::chrono::seconds(*pod_->active_deadline_seconds);
  WallTime now = services_.time.wall();
  if (now >= end) {
    event("", "Normal", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
    fail_pod("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
    return;
  }
  wake_at(services_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(end - now));
}

// True once every volume is in place. A volume that cannot be brought up to date under running containers only waits.
async::Task<Result<bool>> PodWorker::sync_volumes() {
  MonoTime now = services_.time.mono();
  auto refresh = services_.volumes.refresh_at(pod_->uid);
  if (volumes_current_ && (!refresh || *refresh > now)) co_return true;
  if (volumes_retry_at_ > now) {
    wake_at(volumes_retry_at_);
    co_return volumes_ever_;
  }
  volumes_current_ = true;  // a change that comes while we work clears it again
  std::shared_ptr<const Pod> pod = pod_;
  auto made = co_await services_.volumes.set_up(*pod, services_.facts(*pod));
  if (made) {
    volume_paths_ = std::move(*made);
    volumes_ever_ = true;
    volumes_wait_ = Duration::zero();
    co_return true;
  }
  if (made.error().code() == Code::kCancelled) co_return fail(std::move(made).error());
  volumes_current_ = false;
  volumes_wait_ = std::clamp(volumes_wait_ * 2, kVolumeRetryFirst, kVolumeRetryMax);
  volumes_retry_at_ = services_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(volumes_wait_);
  wake_at(volumes_retry_at_);
  event("", "Warning", "FailedMount", made.error().message());
  co_return volumes_ever_;
}

async::Task<Result<bool>> PodWorker::sync_sandbox() {
  if (sandbox_retry_at_ > services_.time.mono()) {
    wake_at(sandbox_retry_at_);
    co_return false;
  }
  bool had_any = std::ranges::any_of(state_.containers, [](const auto& e) { return e.second.running(); });
  if (had_any) event("", "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  if (had_any) CO_TRY(co_await end_containers());
  if (must_end()) co_return false;
  std::shared_ptr<const Pod> pod = pod_;
  auto made = co_await services_.runtime.start_sandbox(*pod);
  if (!made) {
    if (made.error().code() == Code::kCancelled) co_return fail(std::move(made).error());
    event("", "Warning", "FailedCreatePodSandBox", cat("Failed to create pod sandbox: ", made.error().message()));
    sandbox_retry_at_ = services_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(kSandboxRetry);
    wake_at(sandbox_retry_at_);
    co_return false;
  }
  state_.sandbox = *made;
  // A new sandbox begins with its init containers.
  state_.initialized_once = false;
  for (const Container& c : pod_->init_containers) {
    ContainerState& s = state_.containers[c.name];
    if (s.exited() && is_success(*s.current)) {
      s.previous = std::move(s.current);
      s.current.reset();
    }
  }
  co_return true;
}

void PodWorker::refresh_flags() {
  if (!state_.initialized_once && state_.sandbox && state_.sandbox->ready) state_.initialized_once = init_complete(*pod_, state_);
}

std::string effective_pull_policy(const Container& container) {
  if (!container.pull_policy.empty()) return container.pull_policy;
  std::size_t slash = container.image.rfind('/');
  std::string_view last = std::string_view(container.image).substr(slash == std::string::npos ? 0 : slash + 1);
  if (last.find('@') != std::string_view::npos) return "IfNotPresent";
  std::size_t colon = last.rfind(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

}  // namespace monopod::agent
