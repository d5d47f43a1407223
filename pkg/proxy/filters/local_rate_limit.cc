// A token bucket per listener, shared by its workers: `tokens` requests at once, and as many again every interval.
#include <atomic>

#include "proxy/filters/bucket.h"
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

class LocalRateLimitFilter final : public Filter {
 public:
  explicit LocalRateLimitFilter(const LocalRateLimitSpec& spec) : bucket_(spec) {}

  Verdict on_request(const RequestView& r) const override {
    std::uint64_t full_at = full_at_us_.load(std::memory_order_relaxed);
    for (;;) {
      std::optional<std::uint64_t> next = bucket_.take(full_at, r.now_ms * 1000);
      if (!next) return {.kind = Verdict::kAnswer, .status = 429, .body = "too many requests\n", .details = "local_rate_limited"};
      if (full_at_us_.compare_exchange_weak(full_at, *next, std::memory_order_relaxed)) return {};
    }
  }

 private:
  Bucket bucket_;
  mutable std::atomic<std::uint64_t> full_at_us_{0};
};

}  // namespace

Result<FilterPtr> make_local_rate_limit(const FilterSpec& spec, const FilterContext&) {
  if (spec.rate_limit.interval.count() < 1) return fail(Code::kInvalidArgument, "interval is under a millisecond");
  return std::make_unique<LocalRateLimitFilter>(spec.rate_limit);
}

}  // namespace monopod::proxy
