// Requests and limits to cgroup values and quality-of-service classes (kubernetes.io/docs: "Pod Quality of Service
// Classes"; kernel Documentation/admin-guide/cgroup-v2.rst). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "agent/pod.h"

namespace monopod::agent {

enum class QosClass { kGuaranteed, kBurstable, kBestEffort };
std::string_view qos_name(QosClass qos);
QosClass qos_class(const Pod& pod);

// cgroup v1 terms; the runtime maps them to v2.
struct CgroupValues {
  std::int64_t cpu_shares = 2;                   // 2..262144
  std::optional<std::int64_t> cpu_quota_us;      // per period
  std::int64_t cpu_period_us = 100'000;
  std::optional<std::int64_t> memory_limit_bytes;
  std::optional<std::int64_t> pids_max;
  bool operator==(const CgroupValues&) const = default;
};

std::int64_t cpu_shares(std::int64_t milli_cpu);
std::int64_t cpu_quota_us(std::int64_t milli_cpu, std::int64_t period_us);

CgroupValues container_cgroup(const Container& container);
// Of the pod's own group: sums of containers, init containers taken by their maximum; a limit only where each has one.
CgroupValues pod_cgroup(const Pod& pod);

// What the scheduler and the eviction order reckon for the pod.
ResourceList pod_requests(const Pod& pod);

// oom_score_adj of a container: guaranteed -997, best effort 1000, burstable in between by its memory request.
int oom_score_adjust(const Pod& pod, const Container& container, std::int64_t node_memory_bytes);

}  // namespace monopod::agent
