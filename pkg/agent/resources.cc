#include "agent/resources.h"

#include <algorithm>

namespace monopod::agent {

std::string_view qos_name(QosClass qos) {
  switch (qos) {
    case QosClass::kGuaranteed: return "Guaranteed";
    case QosClass::kBurstable: return "Burstable";
    case QosClass::kBestEffort: return "BestEffort";
  }
  return "BestEffort";
}

QosClass qos_class(const Pod& pod) {
  bool any = false;
  bool guaranteed = true;
  auto look = [&](const std::vector<Container>& containers) {
    for (const Container& c : containers) {
      for (const char* name : {"cpu", "memory"}) {
        std::int64_t request = c.resources.requests.get(name).value_or(0);
        std::int64_t limit = c.resources.limits.get(name).value_or(0);
        if (request > 0 || limit > 0) any = true;
        if (limit <= 0 || request != limit) guaranteed = false;
      }
    }
  };
  look(pod.init_containers);
  look(pod.containers);
  if (!any) return QosClass::kBestEffort;
  return guaranteed ? QosClass::kGuaranteed : QosClass::kBurstable;
}

std::int64_t cpu_shares(std::int64_t milli_cpu) { return std::clamp<std::int64_t>(milli_cpu * 1024 / 1000, 2, 262'144); }

std::int64_t cpu_quota_us(std::int64_t milli_cpu, std::int64_t period_us) { return std::max<std::int64_t>(milli_cpu * period_us / 1000, 1000); }

namespace {

CgroupValues values(const ResourceList& requests, const ResourceList& limits) {
  CgroupValues out;
  out.cpu_shares = cpu_shares(requests.get("cpu").value_or(0));
  if (auto cpu = limits.get("cpu"); cpu && *cpu > 0) out.cpu_quota_us = cpu_quota_us(*cpu, out.cpu_period_us);
  if (auto memory = limits.get("memory"); memory && *memory > 0) out.memory_limit_bytes = *memory;
  return out;
}

// Containers that run side by side add up; ordinary init containers run alone beside the sidecars before them.
ResourceList pod_sum(const Pod& pod, ResourceList Resources::*which) {
  ResourceList total;
  ResourceList sidecars;
  ResourceList peak;
  auto add = [](ResourceList& into, const ResourceList& amounts) {
    for (const auto& [name, amount] : amounts.amounts) into.amounts[name] += amount;
  };
  for (const Container& c : pod.init_containers) {
    ResourceList now = sidecars;
    add(now, c.resources.*which);
    if (c.restartable_init) sidecars = now;
    for (const auto& [name, amount] : now.amounts) peak.amounts[name] = std::max(peak.amounts[name], amount);
  }
  total = sidecars;
  for (const Container& c : pod.containers) add(total, c.resources.*which);
  for (const auto& [name, amount] : peak.amounts) total.amounts[name] = std::max(total.amounts[name], amount);
  return total;
}

bool each_limited(const Pod& pod, const std::string& name) {
  auto limited = [&](const Container& c) { return c.resources.limits.get(name).value_or(0) > 0; };
  return std::ranges::all_of(pod.containers, limited) && std::ranges::all_of(pod.init_containers, limited);
}

}  // namespace

CgroupValues container_cgroup(const Container& container) { return values(container.resources.requests, container.resources.limits); }

CgroupValues pod_cgroup(const Pod& pod) {
  ResourceList limits = pod_sum(pod, &Resources::limits);
  for (const char* name : {"cpu", "memory"})
    if (!each_limited(pod, name)) limits.amounts.erase(name);
  return values(pod_sum(pod, &Resources::requests), limits);
}

ResourceList pod_requests(const Pod& pod) { return pod_sum(pod, &Resources::requests); }

int oom_score_adjust(const Pod& pod, const Container& container, std::int64_t node_memory_bytes) {
  if (pod.priority >= 2'000'000'000) return -997;  // system-critical
  switch (qos_class(pod)) {
    case QosClass::kGuaranteed: return -997;
    case QosClass::kBestEffort: return 1000;
    case QosClass::kBurstable: break;
  }
  std::int64_t request = container.resources.requests.get("memory").value_or(0);
  std::int64_t adjust = node_memory_bytes > 0 ? 1000 - static_cast<std::int64_t>(1000.0L * static_cast<long double>(request) / static_cast<long double>(node_memory_bytes)) : 1000;
  return static_cast<int>(std::clamp<std::int64_t>(adjust, 3, 999));
}

}  // namespace monopod::agent
