// What Prometheus gets of containers and pods, under the names that cAdvisor made known (KEP-2371): ListMetricDescriptors and ListPodSandboxMetrics.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "codec/json.h"
#include "sys/cgroup.h"

namespace monopod::cri {

// A container that runs.
struct MetricSubject {
  std::vector<std::pair<std::string, std::string>> views;  // of its control group, as sys::Cgroups::views() has them
  std::vector<int> processes;                              // in the group
  sys::CgroupStats stats;
  std::uint64_t written_bytes = 0;  // by it, to its files
  std::string data_dir;             // where they are
  WallTime started{}, now{};
  json::Value resources;  // LinuxContainerResources that it has
};

// MetricDescriptor of each; label_keys begin with those that every metric has: container, id, image, namespace, pod.
json::Array describe_metrics();
// Metric of each that this machine has a number for; labels: the values of the common ones. Blocking: reads control groups and /proc.
json::Array container_metrics(const MetricSubject& subject, const json::Array& labels);
// What a pod's link has seen, as the pod counts: rx_bytes, rx_packets, rx_errors, rx_dropped and the same of tx. link: the node's end of it. Empty
// where there is no such link.
std::map<std::string, std::uint64_t> pod_link_counts(const std::string& link);
json::Array pod_metrics(const std::string& link, const json::Array& labels);

}  // namespace monopod::cri
