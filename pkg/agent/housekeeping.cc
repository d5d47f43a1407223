#include "agent/housekeeping.h"

#include <algorithm>

#include "agent/node_status.h"
#include "agent/resources.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

constexpr std::int64_t kHighPercent = 85;
constexpr std::int64_t kLowPercent = 80;
constexpr Duration kCollectPeriod = std::chrono::minutes(1);
constexpr Duration kMeasurePeriod = std::chrono::minutes(1);
constexpr std::int64_t kCriticalPriority = 2'000'000'000;

}  // namespace

PodWorker* choose_victim(const std::vector<PodWorker*>& workers) {
  std::vector<PodWorker*> candidates;
  for (PodWorker* w : workers) {
    const Pod& p = w->pod();
    bool runs = std::ranges::any_of(w->state().containers, [](const auto& e) { return e.second.running(); });
    if (runs && p.static_source.empty() && p.priority < kCriticalPriority && w->state().fail_reason.empty() && !p.deletion_time) candidates.push_back(w);
  }
  auto rank = [](const PodWorker* w) {
    int qos = 0;
    switch (qos_class(w->pod())) {
      case QosClass::kBestEffort: qos = 0; break;
      case QosClass::kBurstable: qos = 1; break;
      case QosClass::kGuaranteed: qos = 2; break;
    }
    return std::make_tuple(qos, w->pod().priority, -w->state().start_time.value_or(WallTime{}).time_since_epoch().count());
  };
  auto worst = std::ranges::min_element(candidates, [&](const PodWorker* a, const PodWorker* b) { return rank(a) < rank(b); });
  return worst == candidates.end() ? nullptr : *worst;
}

std::optional<std::uint64_t> image_bytes_allowed(const NodePressure& p, std::uint64_t image_bytes) {
  std::int64_t used = p.disk_bytes - p.disk_free_bytes;
  if (p.disk_bytes <= 0 || used * 100 <= p.disk_bytes * kHighPercent) return std::nullopt;
  auto excess = static_cast<std::uint64_t>(used - p.disk_bytes / 100 * kLowPercent);
  return image_bytes > excess ? image_bytes - excess : 0;
}

async::Task<> Housekeeper::look(NodePressure pressure, std::vector<PodWorker*> workers, std::set<std::string> images_in_use,
                                std::function<void(const Pod&, std::string, std::string)> event) {
  MonoTime now = time_.mono();
  NodeConditions conditions = judge_pressure(pressure);
  auto evict = [&](PodWorker& w, std::string message) {
    event(w.pod(), "Evicted", message);
    log::warn("pod evicted", {{"pod", w.pod().full_name()}, {"why", message}});
    w.fail_pod("Evicted", std::move(message), 0);
  };
  bool image_gc_due = pressure.disk_bytes > 0 && (pressure.disk_bytes - pressure.disk_free_bytes) * 100 > pressure.disk_bytes * kHighPercent;
  if (image_gc_due && (!collected_ || now - collected_at_ > kCollectPeriod)) {
    collected_ = true;
    collected_at_ = now;
    auto usage = co_await images_.usage();
    auto allowed = usage ? image_bytes_allowed(pressure, usage->layer_bytes) : std::nullopt;
    if (allowed) {
      image::GcPolicy policy;
      policy.bytes_max = *allowed;
      policy.keep = std::move(images_in_use);
      auto freed = co_await images_.gc(std::move(policy));
      if (freed && freed->bytes_freed > 0) log::info("unused images removed", {{"bytes", freed->bytes_freed}, {"images", freed->images_removed.size()}});
    }
    co_return;  // the next look sees what it brought; workers may have gone meanwhile
  }
  if (conditions.disk_pressure || conditions.memory_pressure) {
    if (PodWorker* victim = choose_victim(workers))
      evict(*victim, cat("The node was low on resource: ", conditions.memory_pressure ? "memory" : "ephemeral-storage", ". "));
    co_return;
  }
  if (now - measured_at_ < kMeasurePeriod) co_return;
  measured_at_ = now;
  for (PodWorker* w : workers) {
    std::shared_ptr<const Pod> pod = w->shared_pod();
    bool limited = std::ranges::any_of(pod->volumes, [](const Volume& v) { return v.kind == Volume::Kind::kEmptyDir && !v.memory && v.size_limit_bytes; });
    if (!limited || w->ended()) continue;
    auto usage = co_await volumes_.empty_dir_usage(*pod);
    for (const Volume& v : pod->volumes) {
      if (!v.size_limit_bytes || !usage.contains(v.name) || usage[v.name] <= *v.size_limit_bytes) continue;
      evict(*w, cat("Usage of EmptyDir volume \"", v.name, "\" exceeds the limit \"", v.size_limit, "\". "));
      co_return;
    }
  }
}

}  // namespace monopod::agent
