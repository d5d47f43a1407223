// What etcd answers to plain HTTP beside the gateway: GET /health, /livez, /readyz (and their checks one by one), /version, /metrics.
#pragma once

#include <array>
#include <unordered_map>

#include "etcd/methods.h"

namespace monopod::etcd {

// Counted by Service: how calls of each method ended.
using Handled = std::unordered_map<std::string_view, std::array<std::uint64_t, kCodeCount>>;

struct HealthCounts {
  std::uint64_t success = 0;
  std::uint64_t failures = 0;
};

async::Task<Result<>> answer_plain(http::Exchange& exchange, Context& context, const Handled& handled, HealthCounts& health);

// metrics.cc
async::Task<Result<std::string>> format_metrics(Context& context, const Handled& handled, const HealthCounts& health);

}  // namespace monopod::etcd
