// The arithmetic of a rollout, apart from any API: pure functions over numbers, so that they can be tested as tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::controllers {

struct RolloutLimits {
  std::int64_t replicas = 1;
  std::int64_t surge = 0;        // pods above replicas
  std::int64_t unavailable = 0;  // pods that may be missing; never both zero
};

// The sizes of one replica set, as the rollout sees it.
struct SetSize {
  std::int64_t want = 0;       // spec.replicas
  std::int64_t available = 0;  // status.availableReplicas
};

// How large the new set should be now: as far as the surge allows, never above replicas.
std::int64_t new_set_size(const RolloutLimits& limits, std::int64_t total_wanted, std::int64_t new_wanted);

// How large each old set (oldest first) should be now: unhealthy pods go first, then healthy ones while enough stay available.
std::vector<std::int64_t> old_set_sizes(const RolloutLimits& limits, const SetSize& new_set, const std::vector<SetSize>& old_sets);

// Sizes after spec.replicas changed in the middle of a rollout: the difference is shared in proportion to each set's size.
// sets: every set with replicas, newest first. limit: the total now allowed. annotated_max: the total allowed before.
std::vector<std::int64_t> proportional_sizes(const std::vector<std::int64_t>& sets, std::int64_t limit, std::int64_t annotated_max);

// A short name of the template's content, in the alphabet of generated names.
std::string template_hash(std::string_view canonical_template, std::int64_t collisions);

}  // namespace monopod::controllers
