// v1.PodStatus from a pod and what its worker knows, as kubectl shows it. Pure.
#pragma once

#include <string>
#include <vector>

#include "agent/pod_state.h"

namespace monopod::agent {

struct StatusFacts {
  std::string host_ip{};
  WallTime now{};
};

// previous: the status last known to the API or last computed, for transition times and the conditions of others; may be null.
json::Value compute_status(const Pod& pod, const PodState& state, const StatusFacts& facts, const json::Value& previous);

std::string compute_phase(const Pod& pod, const PodState& state);
// One container's v1.ContainerState: {"waiting": ...}, {"running": ...} or {"terminated": ...}.
json::Value container_state(const Pod& pod, const Container& container, const ContainerState& state);

// True if both say the same to a reader (lastProbeTime aside).
bool same_status(const json::Value& a, const json::Value& b);

}  // namespace monopod::agent
