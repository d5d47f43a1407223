// A token bucket per listener, shared by its workers: `tokens` requests at once, and as many again every interval.
#include <atomic>

#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

class RateLimitFilter final : public Filter {
 public:
  explicit RateLimitFilter(const LocalRateLimitSpec& spec) : spec_(spec) {}

  Verdict on_request(const RequestView& r) const override {
    // Virtual scheduling (GCRA): the bucket is one number, the time at which it will be full again, in units of a token's share of the interval.
    std::uint64_t interval_us = static_cast<std::uint64_t>(spec_.interval.count()) * 1000;
    std::uint64_t now_us = r.now_ms * 1000;
    std::uint64_t share_us = std::max<std::uint64_t>(1, interval_us / spec_.tokens);
    std::uint64_t full_at = full_at_us_.load(std::memory_order_relaxed);
    for (;;) {
      std::uint64_t next = std::max(full_at, now_us) + share_us;
      if (next > now_us + interval_us) return {.kind = Verdict::kAnswer, .status = 429, .body = "too many requests\n", .details = "local_rate_limited"};
      if (full_at_us_.compare_exchange_weak(full_at, next, std::memory_order_relaxed)) return {};
    }
  }

 private:
  LocalRateLimitSpec spec_;
  mutable std::atomic<std::uint64_t> full_at_us_{0};
};

}  // namespace

Result<FilterPtr> make_local_rate_limit(const FilterSpec& spec) {
  if (spec.rate_limit.interval.count() < 1) return fail(Code::kInvalidArgument, "interval is under a millisecond");
  return std::make_unique<RateLimitFilter>(spec.rate_limit);
}

}  // namespace monopod::proxy
