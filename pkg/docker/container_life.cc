// Running containers: stop, kill, pause, their exits, and what restart policies make of them.
#include <algorithm>
#include <csignal>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "docker/call.h"
#include "docker/containers.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "sys/files.h"

namespace monopod::docker {
namespace {

using async::Task;

constexpr int kUnknownExitCode = 255;  // of a container that was lost with the host

int stop_signal(const Container& c) { return parse_signal(json::get_string(c.config, {"StopSignal"})).value_or(SIGTERM); }

Duration stop_grace(const Container& c, std::optional<std::int64_t> seconds) {
  std::int64_t s = seconds.value_or(json::get_int(c.config, {"StopTimeout"}, std::chrono::duration_cast<std::chrono::seconds>(kStopGrace).count()));
  return s < 0 ? std::chrono::hours(24 * 365) : std::chrono::seconds(std::min<std::int64_t>(s, 86'400 * 365));
}

bool wants_restart(const Container& c, bool at_boot) {
  std::string_view policy = json::get_string(c.host_config, {"RestartPolicy", "Name"});
  if (policy == "always") return at_boot || !c.stopped_by_user;
  if (c.stopped_by_user) return false;
  if (policy == "unless-stopped") return true;
  std::int64_t most = json::get_int(c.host_config, {"RestartPolicy", "MaximumRetryCount"});
  return policy == "on-failure" && c.exit_code != 0 && (most == 0 || c.restart_count < most);
}

}  // namespace

Task<Result<>> Containers::stop(ContainerPtr c, std::optional<int> signal, std::optional<std::int64_t> seconds) {
  c->stopped_by_user = true;
  if (c->restarting) {
    c->restarting = false;
    c->changed.wake_all();
    co_return co_await save(*c);
  }
  if (c->phase != Phase::kRunning) co_return not_modified();
  int number = signal.value_or(stop_signal(*c));
  Duration grace = stop_grace(*c, seconds);
  CO_TRY(co_await async::whole(stop_now(c, number, grace)));
  emit(*c, "stop");
  co_return Result<>();
}

Task<Result<>> Containers::stop_now(ContainerPtr c, int signal, Duration grace) {
  if (c->paused) {
    (void)co_await parts_.runtime.set_paused(c->id, false);
    c->paused = false;
  }
  emit(*c, "kill", {{"signal", std::to_string(signal)}});
  Result<> stopped = co_await parts_.runtime.stop(c->id, signal, grace);
  if (!stopped && stopped.error().code() != Code::kNotFound) co_return stopped;
  while (c->phase == Phase::kRunning && !c->removed) CO_TRY(co_await c->changed.wait());  // forever: the process has ended, its exit follows
  co_return Result<>();
}

Task<Result<>> Containers::kill(ContainerPtr c, int signal) {
  if (c->restarting) {
    c->stopped_by_user = true;
    c->restarting = false;
    c->changed.wake_all();
    co_return Result<>();
  }
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Cannot kill container: ", c->name, ": Container ", c->id, " is not running"));
  if (signal == SIGKILL || signal == stop_signal(*c)) c->stopped_by_user = true;
  if (signal == SIGKILL) co_return co_await async::whole(stop_now(c, SIGKILL, Duration::zero()));
  emit(*c, "kill", {{"signal", std::to_string(signal)}});
  co_return co_await parts_.runtime.kill(c->id, signal);
}

Task<Result<>> Containers::restart(ContainerPtr c, std::optional<int> signal, std::optional<std::int64_t> seconds) {
  Result<> stopped = co_await stop(c, signal, seconds);
  if (!stopped && status_of(stopped.error()) != 304) co_return stopped;
  Result<> started = co_await start(c);
  if (started) emit(*c, "restart");
  co_return started;
}

Task<Result<>> Containers::pause(ContainerPtr c, bool paused) {
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is not running"));
  if (c->paused == paused) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, paused ? " is already paused" : " is not paused"));
  CO_TRY(co_await parts_.runtime.set_paused(c->id, paused));
  c->paused = paused;
  emit(*c, paused ? "pause" : "unpause");
  co_return Result<>();
}

Task<Result<>> Containers::update(ContainerPtr c, json::Value request) {
  json::Value merged = c->host_config;
  static constexpr std::string_view kMembers[] = {"CpuShares", "Memory", "MemorySwap", "NanoCpus", "CpuPeriod", "CpuQuota", "CpusetCpus", "PidsLimit", "MemoryReservation"};
  for (const auto& [key, value] : request.get_object()) {
    bool known = std::ranges::find(kMembers, std::string_view(key)) != std::end(kMembers);
    bool empty = value.is_null() || (value.is_int64() && value.get_int64() == 0) || (value.is_string() && value.get_string().empty());
    if (known && !empty) merged.get_object()[key] = value;
    if (key == "RestartPolicy" && !json::get_string(value, {"Name"}).empty()) {
      if (c->auto_remove()) co_return fail(Code::kInvalidArgument, "Restart policy cannot be updated because AutoRemove is enabled for the container");
      merged.get_object()[key] = value;
    }
  }
  if (json::get_int(request, {"Memory"}) > 0 && json::get_int(request, {"MemorySwap"}) == 0 && json::get_int(merged, {"MemorySwap"}) > 0 && json::get_int(merged, {"MemorySwap"}) < json::get_int(merged, {"Memory"}))
    co_return fail(Code::kFailedPrecondition, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
  CO_TRY_ASSIGN(json::Value checked, complete_host_config(json::Object{{"HostConfig", merged}}));
  if (c->phase == Phase::kRunning) {
    CO_TRY_ASSIGN(sys::CgroupLimits limits, make_limits(checked));
    CO_TRY(co_await parts_.runtime.update(c->id, limits));
  }
  c->host_config = std::move(checked);
  CO_TRY(co_await save(*c));
  emit(*c, "update");
  co_return Result<>();
}

void Containers::stopped(const container::ContainerState& state) {
  auto found = all_.find(state.id);
  if (found != all_.end() && found->second->phase == Phase::kRunning) parts_.scope.spawn(finish(found->second, state));
}

Task<> Containers::finish(ContainerPtr c, container::ContainerState state) {
  if (!co_await wait_for_turn(c)) co_return;
  Turn turn(c);
  if (state.status != container::Status::kStopped) co_return;
  c->phase = Phase::kExited;
  c->pid = 0;
  c->paused = false;
  c->process_made = false;
  c->exit_code = state.exit_code < 0 ? kUnknownExitCode : state.exit_code;
  c->oom_killed = state.oom_killed;
  if (c->started == WallTime{}) c->started = state.started_at;
  c->finished = state.finished_at;
  c->health.reset();
  Endpoints endpoints = std::exchange(c->endpoints, {});
  std::shared_ptr<void> held = c->ports.empty() ? nullptr : hold_ports();
  c->ports.clear();
  bool rm = c->auto_remove();
  if (!rm)
    if (auto saved = co_await save(*c); !saved) log::warn("a container's end is not saved", {{"id", c->id}, {"error", saved.error()}});
  (void)failpoint("docker.exit_saved");
  ++c->exits;
  if (c->oom_killed) emit(*c, "oom");
  emit(*c, "die", {{"exitCode", std::to_string(c->exit_code)}});
  if (auto removed = co_await parts_.runtime.remove(c->id); !removed) log::warn("cannot remove a container's processes", {{"id", c->id}, {"error", removed.error()}});
  (void)failpoint("docker.process_removed");
  if (auto unmounted = co_await parts_.images.unmount(directories_.rootfs(c->id)); !unmounted) log::warn("cannot unmount a container's root", {{"id", c->id}, {"error", unmounted.error()}});
  c->changed.wake_all();
  if (rm) {
    // Nobody waits for the kernel to take its links apart: that is the longest part.
    parts_.scope.spawn(take_down_links(c->id, std::move(endpoints), std::move(held)));
    if (auto removed = co_await remove_now(c, true); !removed) log::warn("cannot remove a container", {{"id", c->id}, {"error", removed.error()}});
    co_return;
  }
  co_await take_down_links(c->id, std::move(endpoints), std::move(held));
  if (!stopping_ && wants_restart(*c, false)) {
    c->restarting = true;
    parts_.scope.spawn(follow_policy(c));
  }
}

Task<> Containers::follow_policy(ContainerPtr c) {
  bool stable = c->finished - c->started > kStableRun;
  c->restart_delay = stable || c->restart_delay == Duration::zero() ? kRestartDelayMin : std::min(c->restart_delay * 2, kRestartDelayMax);
  MonoTime at = parts_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(c->restart_delay);
  c->changed.wake_all();
  while (c->restarting && !c->removing && parts_.time.mono() < at) {
    Result<> woken = co_await async::with_timeout<void>(parts_.time, at - parts_.time.mono(), "restart", c->changed.wait());
    if (!woken && woken.error().code() == Code::kCancelled) co_return;
  }
  if (!c->restarting || c->removing || stopping_) co_return;
  ++c->restart_count;
  Result<> started = co_await start_now(c);
  if (!started && status_of(started.error()) >= 400 && !c->removed) log::warn("a container is not started again", {{"id", c->id}, {"error", started.error()}});
}

Task<Result<>> Containers::start_all() {
  std::vector<ContainerPtr> wanted;
  for (const auto& [id, c] : all_)
    if (c->phase == Phase::kExited && !c->restarting && wants_restart(*c, true)) wanted.push_back(c);
  for (const ContainerPtr& c : wanted) {
    ++c->restart_count;
    Result<> started = co_await start(c);
    if (!started && status_of(started.error()) >= 400) log::warn("a container is not started again", {{"id", c->id}, {"error", started.error()}});
  }
  co_return Result<>();
}

Task<> Containers::stop_one(ContainerPtr c) {
  if (auto stopped = co_await stop_now(c, stop_signal(*c), stop_grace(*c, std::nullopt)); !stopped) log::warn("a container does not stop", {{"id", c->id}, {"error", stopped.error()}});
  (void)co_await wait_for_turn(c);  // what it ran with is taken down before the supervisor goes
}

Task<> Containers::stop_all() {
  stopping_ = true;
  async::Scope all(parts_.executor);
  for (const auto& [id, c] : all_)
    if (c->phase == Phase::kRunning) all.spawn(stop_one(c));
  (void)co_await all.join();
}

Task<> Containers::close() {
  for (auto& [id, proxy] : proxies_) co_await proxy->stop();
  proxies_.clear();
}

Task<Result<>> Containers::connect(ContainerPtr c, NetworkInfo& network, json::Value settings) {
  std::string name = network.name;
  std::string id = network.id;
  if (network.driver == "host") co_return fail(Code::kInvalidArgument, "container cannot be disconnected from host network or connected to host network");
  if (network.driver == "null") co_return fail(Code::kInvalidArgument, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
  if (!c->has_own_network() || c->network_mode() == "none") co_return fail(Code::kPermissionDenied, "container cannot be connected to a network: it shares the host's, another container's, or has none");
  CO_TRY(co_await wait_for_turn(c));
  Turn turn(c);
  if (c->networks.get_object().contains(name)) co_return fail(Code::kPermissionDenied, cat("endpoint with name ", c->name, " already exists in network ", name));
  c->networks.get_object()[name] = settings.is_object() ? std::move(settings) : json::Value(json::Object{});
  Result<> done;
  if (c->phase == Phase::kRunning) done = co_await async::whole(connect_one(c, name, directories_.namespaces(c->id) + "/net", false));
  if (done) done = co_await save(*c);
  if (!done) c->networks.get_object().erase(name);
  co_return done;
}

Task<Result<>> Containers::disconnect(ContainerPtr c, NetworkInfo& network, bool force) {
  std::string name = network.name;
  std::string id = network.id;
  CO_TRY(co_await wait_for_turn(c));
  Turn turn(c);
  if (!c->networks.get_object().contains(name)) {
    if (force) co_return Result<>();
    co_return fail(Code::kPermissionDenied, cat("container ", c->id, " is not connected to network ", name));
  }
  c->networks.get_object().erase(name);
  if (auto found = c->endpoints.find(id); found != c->endpoints.end()) {
    c->endpoints.erase(found);
    if (NetworkInfo* still = networks_.find(id)) CO_TRY(co_await networks_.disconnect(*still, c->id));
    events_.emit("network", "disconnect", id, {{"container", c->id}});
  }
  co_return co_await save(*c);
}

Task<Result<>> Containers::with_path(ContainerPtr c, std::string path, bool writes, UsePath use) {
  CO_TRY(co_await wait_for_turn(c));
  Turn turn(c);
  const MountPoint* best = nullptr;
  for (const MountPoint& m : c->mounts)
    if (m.type != "tmpfs" && (path == m.destination || path.starts_with(m.destination + "/")) && (best == nullptr || m.destination.size() > best->destination.size())) best = &m;
  if (best != nullptr) {
    if (writes && best->read_only) co_return fail(Code::kPermissionDenied, "mounted volume is marked read-only");
    std::string source = best->source;
    std::string below = path.substr(best->destination.size());
    co_return co_await parts_.pool.run([&]() -> Result<> {
      TRY_ASSIGN(sys::Root root, sys::Root::open(source));
      return use(root, below.empty() ? "/" : below);
    });
  }
  if (writes && json::get_bool(c->host_config, {"ReadonlyRootfs"})) co_return fail(Code::kPermissionDenied, "container rootfs is marked read-only");
  std::string rootfs = directories_.rootfs(c->id);
  bool mounts = c->phase != Phase::kRunning;
  if (mounts) {
    CO_TRY(co_await parts_.pool.run([&] { return sys::make_directories(rootfs, 0711); }));
    CO_TRY(co_await parts_.images.mount(c->id, rootfs));
  }
  Result<> used = co_await parts_.pool.run([&]() -> Result<> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(rootfs));
    return use(root, path);
  });
  if (mounts) {
    (void)co_await parts_.images.unmount(rootfs);
    (void)co_await parts_.pool.run([&] { return sys::remove_tree(directories_.runtime(c->id)); });
  }
  co_return used;
}

}  // namespace monopod::docker
