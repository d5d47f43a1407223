// How many retries a cluster may make: a share of its requests, over a window that moves in ten steps. As it is of what was asked, retries cannot
// multiply what an outage gets; as it is over a window, the few requests of a quiet cluster may still be tried again (min).
#pragma once

#include <array>
#include <cstdint>

#include "proxy/config/spec.h"

namespace monopod::proxy {

class RetryBudget {
 public:
  // Each attempt, retries too.
  void note_request(const RetryBudgetSpec& spec, std::uint64_t now_ms) { ++slice(spec, now_ms).requests; }
  // One more retry. False: the budget is spent.
  bool take(const RetryBudgetSpec& spec, std::uint64_t now_ms);

 private:
  static constexpr std::uint64_t kSlices = 10;
  struct Slice {
    std::uint64_t number = 0;
    std::uint32_t requests = 0, retries = 0;
  };
  static std::uint64_t number_of(const RetryBudgetSpec& spec, std::uint64_t now_ms) { return now_ms / (static_cast<std::uint64_t>(spec.window.count()) / kSlices); }
  Slice& slice(const RetryBudgetSpec& spec, std::uint64_t now_ms);
  std::array<Slice, kSlices> slices_{};
};

}  // namespace monopod::proxy
