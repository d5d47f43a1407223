// How many replicas a HorizontalPodAutoscaler wants: pure functions over trees and numbers. Source: autoscaling/v2 API, the algorithm that
// Kubernetes documents ("Horizontal Pod Autoscaling") and kube-controller-manager's observable behaviour (defaults of its flags, condition texts).
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "codec/json.h"

namespace monopod::controllers {

// What a pod used of one resource, thousandths.
struct PodMetric {
  std::int64_t milli = 0;
  WallTime at{};
  Duration window{};
};
using PodMetrics = std::map<std::string, PodMetric, std::less<>>;  // by pod

// How far the ratio of usage to target may be from 1 before anything is done; 0.1 where the autoscaler says nothing.
struct Tolerance {
  double up = 0.1;
  double down = 0.1;
  bool holds(double ratio) const { return ratio >= 1 - down && ratio <= 1 + up; }
};

struct ResourceQuery {
  std::string_view resource;   // "cpu", "memory"
  std::string_view container;  // empty: the whole pod
  std::int64_t target = 0;     // per cent of the requests, or thousandths per pod
  bool of_requests = false;
};

struct Proposal {
  std::int64_t replicas = 0;
  std::int64_t utilization = 0;    // per cent; of_requests only
  std::int64_t average_milli = 0;  // per pod
};

// pods: trees of all the target's pods. metrics: of those that have one. Pods that are not ready count as using nothing when it goes up, pods without
// metrics as using all they asked for when it goes down. Fails where a container has no request, or no pod a metric.
Result<Proposal> propose_replicas(const ResourceQuery& query, std::int64_t current, const Tolerance& tolerance, const std::vector<json::Value>& pods, PodMetrics metrics,
                                  WallTime now);

// Sum over the containers of a metrics.k8s.io PodMetrics; nothing where one of them lacks the resource.
std::optional<PodMetric> metric_of(const json::Value& pod_metrics, const ResourceQuery& query);

// What an autoscaler remembers between two looks, in memory alone: after a restart it is careful as long as its windows are.
class ScalingHistory {
 public:
  struct Limits {
    std::int64_t current = 0, least = 1, most = 1;
  };
  struct Decision {
    std::int64_t replicas = 0;
    // The conditions AbleToScale (always true) and ScalingLimited.
    std::string_view able_reason, able_message;
    bool limited = false;
    std::string_view limited_reason, limited_message;
  };
  // The wanted count after stabilisation and the rate policies of spec.behavior; behavior may be null.
  Decision decide(std::int64_t wanted, const Limits& limits, const json::Value* behavior, WallTime now);
  void scaled(std::int64_t from, std::int64_t to, const json::Value* behavior, WallTime now);

 private:
  struct Entry {
    WallTime at{};
    std::int64_t replicas = 0;
  };
  std::int64_t stabilize(std::int64_t wanted, const Limits& limits, const json::Value* behavior, WallTime now, Decision& decision);
  std::int64_t rate_limit(const Limits& limits, const json::Value* behavior, bool up, WallTime now) const;

  std::deque<Entry> recommendations_;
  std::deque<Entry> ups_, downs_;  // how much, at once
};

// spec.behavior's tolerances.
Tolerance tolerance_of(const json::Value* behavior);

}  // namespace monopod::controllers
