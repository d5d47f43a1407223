// Fault injection: a share of requests waits, a share is answered with an error.
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

class FaultFilter final : public Filter {
 public:
  explicit FaultFilter(const FaultSpec& spec) : spec_(spec) {}
  Verdict on_request(const RequestView& r) const override {
    if (spec_.abort_percent > 0 && r.rng.below(100) < spec_.abort_percent)
      return {.kind = Verdict::kAnswer, .status = spec_.abort_status, .body = "fault filter abort\n", .details = "fault_abort"};
    if (spec_.delay_percent > 0 && r.rng.below(100) < spec_.delay_percent) return {.kind = Verdict::kPause, .pause_ms = static_cast<std::uint32_t>(spec_.delay.count())};
    return {};
  }

 private:
  FaultSpec spec_;
};

}  // namespace

Result<FilterPtr> make_fault(const FilterSpec& spec, const FilterContext&) {
  if (spec.fault.delay > std::chrono::hours(1)) return fail(Code::kInvalidArgument, "delay is longer than an hour");
  return std::make_unique<FaultFilter>(spec.fault);
}

}  // namespace monopod::proxy
