// What to do next for a pod, decided from its spec and what is true now (level-based: no memory of what was asked before).
// Pure. The worker carries the actions out one by one and asks again.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/pod_state.h"

namespace monopod::agent {

struct KillAction {
  std::string container;
  std::string message;  // of the Killing event
  std::optional<std::int64_t> grace_seconds;
};

struct Actions {
  bool start_sandbox = false;
  std::vector<KillAction> kill;
  std::vector<std::string> start;   // containers to start now, in order
  bool finished = false;            // nothing will run again: the pod has succeeded or failed
  std::optional<MonoTime> wake_at;  // the earliest end of a back-off
};

Actions decide(const Pod& pod, const PodState& state, MonoTime now);

bool is_success(const Instance& instance);
// By the pod's policy; an ordinary init container is retried unless the policy is Never.
bool wants_restart(const Pod& pod, const Container& container, const Instance& ended, bool init);
// Init done as far as the containers now waiting for it are concerned.
bool init_complete(const Pod& pod, const PodState& state);

}  // namespace monopod::agent
