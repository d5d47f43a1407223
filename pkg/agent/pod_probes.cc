// Probes of a pod's containers: one small loop for each, that ends with its container.
#include <algorithm>

#include "agent/pod_worker.h"
#include "base/strings.h"

namespace monopod::agent {

std::string_view probe_name(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::kStartup: return "Startup";
    case ProbeKind::kLiveness: return "Liveness";
    case ProbeKind::kReadiness: return "Readiness";
  }
  return "Probe";
}

// Startup first; the others once the container has started.
void PodWorker::start_probes(const std::string& name) {
  const Container* c = pod_->find_container(name);
  const ContainerState& s = state_.of(name);
  if (!c || !s.running() || must_end()) return;
  const std::string& id = s.current->id;
  if (c->startup && !s.started) {
    probes_.spawn(probe_loop(name, id, ProbeKind::kStartup, *c->startup));
    return;
  }
  if (c->liveness) probes_.spawn(probe_loop(name, id, ProbeKind::kLiveness, *c->liveness));
  if (c->readiness) probes_.spawn(probe_loop(name, id, ProbeKind::kReadiness, *c->readiness));
}

async::Task<Result<>> PodWorker::probe_loop(std::string name, std::string id, ProbeKind kind, Probe probe) {
  auto alive = [this, &name, &id] {
    const ContainerState& s = state_.of(name);
    return s.running() && s.current->id == id && !must_end();
  };
  // The delay counts from the container's start, also over a restart of this process.
  WallTime first = state_.of(name).current->started_at + std::chrono::seconds(probe.initial_delay_seconds);
  WallTime now = services_.time.wall();
  if (first > now) CO_TRY(co_await services_.time.sleep_for(std::min<Duration>(first - now, std::chrono::seconds(probe.initial_delay_seconds))));
  std::int64_t run = 0;
  bool last = false;
  while (alive()) {
    std::shared_ptr<const Pod> pod = pod_;
    std::string ip = state_.sandbox && !state_.sandbox->ips.empty() ? state_.sandbox->ips.front() : services_.facts(*pod).host_ip;
    MonoTime begun = services_.time.mono();
    ProbeOutcome outcome = co_await services_.prober.run(pod, name, id, probe.handler, ip, std::chrono::seconds(probe.timeout_seconds));
    if (!alive()) break;
    run = outcome.healthy == last && run > 0 ? run + 1 : 1;
    last = outcome.healthy;
    if (!outcome.healthy) event(name, "Warning", "Unhealthy", cat(probe_name(kind), " probe failed: ", outcome.text));
    if (outcome.healthy && run >= probe.success_threshold) {
      on_probe(name, kind, true);
      if (kind == ProbeKind::kStartup) co_return Result<>();
    }
    if (!outcome.healthy && run >= probe.failure_threshold) {
      if (kind != ProbeKind::kReadiness) state_.containers[name].kill_grace_seconds = probe.grace_seconds;
      on_probe(name, kind, false);
      if (kind != ProbeKind::kReadiness) co_return Result<>();  // the container is restarted
    }
    CO_TRY(co_await services_.time.sleep_until(begun + std::chrono::seconds(probe.period_seconds)));
  }
  co_return Result<>();
}

void PodWorker::on_probe(const std::string& name, ProbeKind kind, bool healthy) {
  ContainerState& s = state_.containers[name];
  const Container* c = pod_->find_container(name);
  if (!c) return;
  switch (kind) {
    case ProbeKind::kStartup:
      if (healthy) {
        if (s.started) return;
        s.started = true;
        s.ready = !c->readiness;
        start_probes(name);
      } else {
        s.kill_reason = cat("Container ", name, " failed startup probe, will be restarted");
      }
      break;
    case ProbeKind::kLiveness:
      if (healthy) return;
      s.kill_reason = cat("Container ", name, " failed liveness probe, will be restarted");
      break;
    case ProbeKind::kReadiness:
      if (s.ready == healthy) return;
      s.ready = healthy;
      publish();  // at once: the worker may be busy with a hook
      break;
  }
  poke();
}

}  // namespace monopod::agent
