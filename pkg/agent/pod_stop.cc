// Ending containers and pods.
#include <algorithm>
#include <csignal>

#include "agent/pod_worker.h"
#include "agent/race.h"
#include "base/log.h"
#include "base/strings.h"
#include "container/signals.h"

namespace monopod::agent {

namespace {

constexpr Duration kAfterHookMin = std::chrono::seconds(2);     // left to the program after preStop took all of the grace
constexpr Duration kAfterKill = std::chrono::seconds(30);       // SIGKILL to exit; longer means a stuck kernel
constexpr Duration kCleanUpRetryFirst = std::chrono::milliseconds(200);
constexpr Duration kCleanUpRetryMax = std::chrono::seconds(30);

}  // namespace

int parse_signal(std::string_view name) { return container::parse_signal(name).value_or(SIGTERM); }

// preStop, stop signal, wait, SIGKILL, wait. The container's exit arrives through container_ended().
async::Task<Result<>> PodWorker::kill(std::string name, std::string message, std::optional<std::int64_t> grace_seconds) {
  std::shared_ptr<const Pod> pod = pod_;
  const Container* c = pod->find_container(name);
  auto found = state_.containers.find(name);
  if (found == state_.containers.end() || !found->second.running()) co_return Result<>();
  std::string id = found->second.current->id;
  auto& slot = exits_[id];
  if (!slot) slot = std::make_shared<async::Event>(services_.executor);
  std::shared_ptr<async::Event> exited = slot;
  event(name, "Normal", "Killing", message.empty() ? cat("Stopping container ", name) : message);

  MonoTime now = services_.time.mono();
  MonoTime deadline = now + std::chrono::seconds(grace_seconds.value_or(pod->grace_seconds));
  if (must_end()) deadline = std::min(deadline, kill_deadline_);
  if (c && c->pre_stop && deadline > now) {
    std::string ip = state_.sandbox && !state_.sandbox->ips.empty() ? state_.sandbox->ips.front() : services_.facts(*pod).host_ip;
    ProbeOutcome outcome;
    struct Hook {
      static async::Task<Result<>> run(Prober& prober, std::shared_ptr<const Pod> p, std::string container, std::string container_id, Handler handler,
                                       std::string pod_ip, Duration limit, ProbeOutcome& out) {
        out = co_await prober.run(p, container, container_id, handler, pod_ip, limit);
        co_return Result<>();
      }
    };
    auto ran = co_await run_until(*exited, Hook::run(services_.prober, pod, name, id, *c->pre_stop, ip, deadline - now, outcome));
    if (!exited->is_set()) {
      CO_TRY(std::move(ran));
      if (!outcome.healthy) event(name, "Warning", "FailedPreStopHook", "PreStopHook failed");
    }
    now = services_.time.mono();
    deadline = std::max(deadline, now + std::chrono::duration_cast<MonoTime::duration>(kAfterHookMin));
    if (must_end() && kill_deadline_ < now) deadline = now;
  }
  if (exited->is_set()) co_return Result<>();
  if (deadline > now) {
    std::string signal = c && !c->stop_signal.empty() ? c->stop_signal : std::string();
    if (signal.empty())
      if (auto image = services_.runtime.find_image(c ? c->image : found->second.current->image)) signal = image->stop_signal;
    auto sent = co_await services_.runtime.signal_container(id, parse_signal(signal));
    if (!sent && sent.error().code() == Code::kCancelled) co_return sent;
    CO_TRY_ASSIGN(bool done, co_await wait_until(services_.time, *exited, deadline));
    if (done) co_return Result<>();
  }
  auto sent = co_await services_.runtime.signal_container(id, SIGKILL);
  if (!sent && sent.error().code() == Code::kCancelled) co_return sent;
  CO_TRY_ASSIGN(bool done, co_await wait_until(services_.time, *exited, services_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(kAfterKill)));
  if (!done) {
    log::error("container does not end after SIGKILL", {{"pod", pod->full_name()}, {"container", name}});
    // The engine may know more than it told (an exit missed over a restart).
    if (const Instance* i = services_.runtime.find_instance(id); i && i->state == RunState::kExited) container_ended(*i);
  }
  co_return Result<>();
}

// The time left was cut while containers were already being stopped.
async::Task<Result<>> PodWorker::kill_at_deadline() {
  MonoTime deadline = kill_deadline_;
  CO_TRY(co_await services_.time.sleep_until(deadline));
  if (kill_deadline_ < deadline) co_return Result<>();
  std::vector<std::string> ids;
  for (const auto& [name, s] : state_.containers)
    if (s.running()) ids.push_back(s.current->id);
  for (const std::string& id : ids) (void)co_await services_.runtime.signal_container(id, SIGKILL);
  co_return Result<>();
}

// Main containers (and ordinary init containers) side by side, then sidecars, the last started first.
async::Task<Result<>> PodWorker::end_containers() {
  if (must_end()) {
    state_.terminating = ending_ != Ending::kStopped;  // a pod that only rests is not over
    probes_.cancel();
  }
  publish();
  async::Scope kills(services_.executor);
  std::vector<std::string> sidecars;
  for (const auto& [name, s] : state_.containers) {
    if (!s.running()) continue;
    const Container* c = pod_->find_container(name);
    if (c && c->restartable_init) sidecars.push_back(name);
    else kills.spawn(kill(name, "", std::nullopt));
  }
  CO_TRY(co_await kills.join());
  publish();
  std::shared_ptr<const Pod> pod = pod_;  // news may replace it while we wait
  for (auto c = pod->init_containers.rbegin(); c != pod->init_containers.rend(); ++c)
    if (std::ranges::find(sidecars, c->name) != sidecars.end()) CO_TRY(co_await kill(c->name, "", std::nullopt));
  co_return Result<>();
}

// Nothing runs any more: give back what the pod held. Dead containers and logs stay.
async::Task<Result<>> PodWorker::finish() {
  finished_ = true;
  publish();
  std::string uid = pod_->uid;
  Duration wait = kCleanUpRetryFirst;
  for (;;) {
    auto stopped = co_await services_.runtime.stop_sandbox(uid);
    if (stopped) stopped = co_await services_.volumes.tear_down(uid);
    if (stopped) break;
    if (stopped.error().code() == Code::kCancelled) co_return stopped;
    log::warn("cannot give back what a pod held", {{"pod", pod_->full_name()}, {"error", stopped.error()}});
    CO_TRY(co_await services_.time.sleep_for(wait));
    wait = std::min(wait * 2, kCleanUpRetryMax);
  }
  if (state_.sandbox) state_.sandbox->ready = false;
  volumes_ever_ = false;
  volumes_current_ = false;
  co_return Result<>();
}

// The node goes down: what a reboot would take goes now, in order.
async::Task<Result<>> PodWorker::rest() {
  std::string uid = pod_->uid;
  CO_TRY(co_await services_.runtime.stop_sandbox(uid));
  if (state_.sandbox) state_.sandbox->ready = false;
  CO_TRY(co_await services_.volumes.unmount(uid));
  publish();
  co_return Result<>();
}

// The pod leaves this node: machine first, then the API is told, so that a name is never reused while its containers live.
async::Task<Result<>> PodWorker::clean_up() {
  CO_TRY(co_await finish());
  publish();
  std::string uid = pod_->uid;
  Duration wait = kCleanUpRetryFirst;
  for (;;) {
    Result<> done;
    done = co_await services_.runtime.remove_pod(uid);
    if (done && ending_ == Ending::kDeleted) done = co_await services_.confirm_deleted(pod_->namespace_name, pod_->name, uid);
    if (done) break;
    if (done.error().code() == Code::kCancelled) co_return done;
    log::warn("cannot finish the deletion of a pod", {{"pod", pod_->full_name()}, {"error", done.error()}});
    CO_TRY(co_await services_.time.sleep_for(wait));
    wait = std::min(wait * 2, kCleanUpRetryMax);
  }
  co_return Result<>();
}

}  // namespace monopod::agent
