#include "proxy/upstream/retry_budget.h"

#include <algorithm>

namespace monopod::proxy {

RetryBudget::Slice& RetryBudget::slice(const RetryBudgetSpec& spec, std::uint64_t now_ms) {
  std::uint64_t number = number_of(spec, now_ms);
  Slice& out = slices_[number % kSlices];
  if (out.number != number) out = {.number = number};
  return out;
}

bool RetryBudget::take(const RetryBudgetSpec& spec, std::uint64_t now_ms) {
  Slice& now = slice(spec, now_ms);
  std::uint64_t requests = 0, retries = 0;
  for (const Slice& s : slices_) {
    if (s.number + kSlices <= now.number) continue;  // of before the window
    requests += s.requests;
    retries += s.retries;
  }
  std::uint64_t share = (requests - std::min(requests, retries)) * spec.percent / 100;
  if (retries >= std::max<std::uint64_t>(share, spec.min)) return false;
  ++now.retries;
  return true;
}

}  // namespace monopod::proxy
