// Who is queued at all, and in which order.
#include "scheduler/plugins.h"

namespace monopod::scheduler {
namespace {

// A pod with spec.schedulingGates waits until they are removed (KEP-3521).
class SchedulingGates final : public Plugin {
 public:
  std::string_view name() const override { return "SchedulingGates"; }
  unsigned points() const override { return kPreEnqueue; }
  Status pre_enqueue(const PodInfo& pod) const override {
    const json::Array* gates = json::get_array(pod.tree, {"spec", "schedulingGates"});
    if (gates == nullptr || gates->empty()) return {};
    return {Verdict::kUnschedulableAndUnresolvable, "Scheduling is blocked due to non-empty scheduling gates"};
  }
};

// Higher priority first, then who waits longer.
class PrioritySort final : public Plugin {
 public:
  std::string_view name() const override { return "PrioritySort"; }
  unsigned points() const override { return kQueueSort; }
  bool goes_before(const PodInfo& a, const PodInfo& b) const override {
    if (a.priority != b.priority) return a.priority > b.priority;
    return a.queued < b.queued;
  }
};

}  // namespace

std::unique_ptr<Plugin> make_scheduling_gates() { return std::make_unique<SchedulingGates>(); }
std::unique_ptr<Plugin> make_priority_sort() { return std::make_unique<PrioritySort>(); }

}  // namespace monopod::scheduler
