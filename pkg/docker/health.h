// HEALTHCHECK: a command run in the container every so often, and what it says of it (moby daemon/health.go).
#pragma once

#include "docker/containers.h"

namespace monopod::docker {

struct HealthPlan {
  std::vector<std::string> command;  // empty: none
  Duration interval = std::chrono::seconds(30);
  Duration timeout = std::chrono::seconds(30);
  Duration start_period{};           // failures in it do not count
  int retries = 3;
};
HealthPlan plan_health(const json::Value& config);
// One more result; true where the status changed.
bool record_health(Health& health, Health::Entry entry, const HealthPlan& plan, bool starting);

// Until the container's run ends. Spawn it as one begins.
async::Task<> watch_health(Parts parts, Containers& containers, ContainerPtr c);

}  // namespace monopod::docker
