#include "agent/pod_actions.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::agent {

bool is_success(const Instance& instance) { return instance.state == RunState::kExited && instance.exit_code == 0; }

bool wants_restart(const Pod& pod, const Container& container, const Instance& ended, bool init) {
  if (container.ephemeral) return false;
  if (container.restartable_init) return true;
  switch (pod.restart_policy) {
    case RestartPolicy::kNever: return false;
    case RestartPolicy::kOnFailure: return !is_success(ended);
    case RestartPolicy::kAlways: return !init || !is_success(ended);
  }
  return false;
}

bool init_complete(const Pod& pod, const PodState& state) {
  if (state.initialized_once) return true;
  return std::ranges::all_of(pod.init_containers, [&](const Container& c) {
    const ContainerState& s = state.of(c.name);
    return c.restartable_init ? s.running() && s.started : s.current && is_success(*s.current);
  });
}

namespace {

class Decision {
 public:
  Decision(const Pod& pod, const PodState& state, MonoTime now) : pod_(pod), state_(state), now_(now) {}

  Actions make() {
    if (over()) {
      actions_.finished = true;
      return actions_;
    }
    if (!state_.sandbox || !state_.sandbox->ready) {
      actions_.start_sandbox = true;
      return actions_;
    }
    for (const Container& c : pod_.ephemeral_containers)
      if (!state_.of(c.name).current) serve(c, false);
    bool may_start_mains = init();
    // A main container that once ran keeps being served even if a sidecar is down.
    for (const Container& c : pod_.containers)
      if (may_start_mains || state_.of(c.name).current) serve(c, false);
    return actions_;
  }

 private:
  // Every main container has ended for good, or an init container has failed for good.
  bool over() const {
    for (const Container& c : pod_.init_containers) {
      const ContainerState& s = state_.of(c.name);
      if (!state_.initialized_once && !c.restartable_init && s.exited() && !is_success(*s.current) && !wants_restart(pod_, c, *s.current, true)) return true;
    }
    return !pod_.containers.empty() && std::ranges::all_of(pod_.containers, [&](const Container& c) {
      const ContainerState& s = state_.of(c.name);
      return s.exited() && !wants_restart(pod_, c, *s.current, false);
    });
  }

  // Starts what comes next in the init sequence and keeps sidecars up. True once main containers may start.
  bool init() {
    bool complete = init_complete(pod_, state_);
    for (const Container& c : pod_.init_containers) {
      const ContainerState& s = state_.of(c.name);
      if (c.restartable_init) {
        serve(c, true);
        if (!complete && !(s.running() && s.started)) return false;
        continue;
      }
      if (complete || (s.current && is_success(*s.current))) continue;
      serve(c, true);
      return false;
    }
    return complete;
  }

  void serve(const Container& c, bool init) {
    const ContainerState& s = state_.of(c.name);
    if (s.running()) {
      if (s.current->hash != c.hash) {
        actions_.kill.push_back({c.name, cat("Container ", c.name, " definition changed, will be restarted"), std::nullopt});
      } else if (s.kill_reason) {
        actions_.kill.push_back({c.name, *s.kill_reason, s.kill_grace_seconds});
      }
      return;
    }
    if (s.exited() && !wants_restart(pod_, c, *s.current, init)) return;
    if (s.retry_at > now_) {
      if (!actions_.wake_at || s.retry_at < *actions_.wake_at) actions_.wake_at = s.retry_at;
      return;
    }
    actions_.start.push_back(c.name);
  }

  const Pod& pod_;
  const PodState& state_;
  MonoTime now_;
  Actions actions_;
};

}  // namespace

Actions decide(const Pod& pod, const PodState& state, MonoTime now) { return Decision(pod, state, now).make(); }

}  // namespace monopod::agent
