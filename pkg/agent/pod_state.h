// What the worker of one pod knows: for each container its attempts, why it waits, what its probes say. From this and the
// pod, pod_actions.h decides what to do and pod_status.h what to tell the API. Values.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "agent/pod_runtime.h"

namespace monopod::agent {

struct ContainerState {
  std::optional<Instance> current;   // newest attempt
  std::optional<Instance> previous;  // the attempt before, ended
  std::string waiting_reason;        // why no attempt runs: ErrImagePull, CrashLoopBackOff, ...; "" is ContainerCreating or PodInitializing
  std::string waiting_message;
  bool started = false;        // startup probe passed, or there is none and it runs
  bool ready = false;          // readiness probe passes, or there is none and it runs
  std::optional<std::string> kill_reason;   // liveness or startup failed: message; restart it
  std::optional<std::int64_t> kill_grace_seconds;
  bool post_start_done = false;
  MonoTime retry_at{};         // not before, after a crash or a failed pull

  bool running() const { return current && current->state == RunState::kRunning; }
  bool exited() const { return current && current->state == RunState::kExited; }
  int restarts() const { return current ? current->attempt : 0; }
};

struct PodState {
  std::optional<Sandbox> sandbox;
  std::string sandbox_error;
  std::map<std::string, ContainerState> containers;  // init and main, by name
  std::optional<WallTime> start_time;     // status.startTime
  bool terminating = false;
  // Why the whole pod ended by the node's decision: Evicted, DeadlineExceeded, ...
  std::string fail_reason;
  std::string fail_message;
  bool initialized_once = false;  // every init container has ended well (or is a started sidecar) for this sandbox

  const ContainerState& of(const std::string& name) const {
    static const ContainerState none;
    auto it = containers.find(name);
    return it == containers.end() ? none : it->second;
  }
};

}  // namespace monopod::agent
