// Refuses requests by their priority while memory runs short: the low ones first, those that are high only at the ceiling (memory_mb of the
// configuration). A client believes a 503 with retry-after more gladly than a proxy that was killed.
#include <memory>

#include "base/strings.h"
#include "proxy/filters/filters.h"
#include "proxy/io/memory_gauge.h"

namespace monopod::proxy {
namespace {

class ShedFilter final : public Filter {
 public:
  ShedFilter(const ShedSpec& spec, std::shared_ptr<MemoryGauge> gauge) : spec_(spec), gauge_(std::move(gauge)) {}

  Verdict on_request(const RequestView& r) const override {
    std::uint32_t percent = gauge_->percent(r.now_ms);
    if (percent < std::min({spec_.low_percent, spec_.normal_percent, 100U})) return {};
    std::string_view priority = spec_.priority_header.empty() ? std::string_view() : r.edits.find(r.head, spec_.priority_header);
    std::uint32_t limit = priority == "high" ? 100 : priority == "low" ? spec_.low_percent : spec_.normal_percent;
    if (percent < limit) return {};
    r.answer_edits.set(r.head, r.arena, "retry-after", "1");
    return {.kind = Verdict::kAnswer, .status = 503, .body = "too little memory\n", .details = "shed"};
  }

 private:
  ShedSpec spec_;
  std::shared_ptr<MemoryGauge> gauge_;
};

}  // namespace

Result<FilterPtr> make_shed(const FilterSpec& spec, const FilterContext& context) {
  return std::make_unique<ShedFilter>(spec.shed, context.shared.find_or_make<MemoryGauge>("memory", ""));
}

}  // namespace monopod::proxy
