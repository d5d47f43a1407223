#include "controllers/autoscaler_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "api/quantity/quantity.h"
#include "base/duration.h"
#include "base/strings.h"
#include "client/meta.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

constexpr std::chrono::minutes kCpuInitialization{5};
constexpr std::chrono::seconds kInitialReadiness{30};
constexpr std::chrono::seconds kScaleDownWindow{300};
constexpr std::chrono::seconds kDefaultPeriod{15};
constexpr std::int64_t kDefaultPods = 4, kDefaultPercent = 100;

std::optional<std::int64_t> milli_at(const json::Value& tree, std::initializer_list<std::string_view> path) {
  const json::Value* found = json::find(tree, path);
  if (found == nullptr || !found->is_string()) return std::nullopt;
  auto parsed = api::parse_quantity(std::string_view(found->get_string()));
  if (!parsed) return std::nullopt;
  return parsed->milli_value();
}

// --- which pods count

struct Groups {
  std::int64_t ready = 0;
  std::vector<std::string> unready, missing;
};

bool is_unready_for_cpu(const json::Value& pod, const PodMetric& metric, WallTime now) {
  const json::Object* ready = client::find_condition(pod, "Ready");
  WallTime started = client::time_at(pod, {"status", "startTime"});
  if (ready == nullptr || started == WallTime{}) return true;
  bool not_ready = client::condition_status(pod, "Ready") == "False";
  WallTime changed{};
  if (auto it = ready->find("lastTransitionTime"); it != ready->end() && it->value().is_string())
    changed = parse_rfc3339(std::string_view(it->value().get_string())).value_or(WallTime{});
  // While it starts up it uses more than it will: only what was measured after it had become ready is believed.
  if (started + kCpuInitialization > now) return not_ready || metric.at < changed + metric.window;
  return not_ready && started + kInitialReadiness > changed;  // never was ready
}

Groups group_pods(const std::vector<json::Value>& pods, PodMetrics& metrics, std::string_view resource, WallTime now) {
  Groups out;
  for (const json::Value& pod : pods) {
    std::string name(client::name_of(pod));
    auto metric = metrics.find(name);
    if (client::is_deleting(pod) || phase_of(pod) == "Failed") {
      if (metric != metrics.end()) metrics.erase(metric);
    } else if (phase_of(pod) == "Pending") {
      out.unready.push_back(name);
      if (metric != metrics.end()) metrics.erase(metric);
    } else if (metric == metrics.end()) {
      out.missing.push_back(name);
    } else if (resource == "cpu" && is_unready_for_cpu(pod, metric->second, now)) {
      out.unready.push_back(name);
      metrics.erase(metric);
    } else {
      ++out.ready;
    }
  }
  return out;
}

// --- what they asked for

bool runs_beside(const json::Value& init_container) { return json::get_string(init_container, {"restartPolicy"}) == "Always"; }

Result<std::int64_t> request_of(const json::Value& pod, const ResourceQuery& query) {
  std::int64_t sum = 0;
  for (std::string_view list : {"containers", "initContainers"}) {
    const json::Array* containers = json::get_array(pod, {"spec", list});
    if (containers == nullptr) continue;
    for (const json::Value& container : *containers) {
      std::string_view name = json::get_string(container, {"name"});
      if (list == "initContainers" && !runs_beside(container)) continue;
      if (!query.container.empty() && query.container != name) continue;
      auto asked = milli_at(container, {"resources", "requests", query.resource});
      if (!asked) return fail(Code::kFailedPrecondition, cat("missing request for ", query.resource, " in container ", name, " of Pod ", client::name_of(pod)));
      sum += *asked;
    }
  }
  return sum;
}

// --- ratios

using Requests = std::map<std::string, std::int64_t, std::less<>>;

struct Ratio {
  double ratio = 1;
  std::int64_t utilization = 0, average_milli = 0;
};

Result<Ratio> ratio_of(const PodMetrics& metrics, const Requests& requests, const ResourceQuery& query) {
  std::int64_t used = 0, asked = 0, count = 0;
  for (const auto& [pod, metric] : metrics) {
    auto request = requests.find(pod);
    if (query.of_requests && request == requests.end()) continue;  // a metric of a pod that is no longer there
    used += metric.milli;
    asked += query.of_requests ? request->second : 0;
    ++count;
  }
  if (count == 0 || (query.of_requests && asked == 0)) return fail(Code::kFailedPrecondition, "no metrics returned matched known pods");
  Ratio out{.average_milli = used / count};
  if (query.of_requests) out.utilization = used * 100 / asked;
  out.ratio = static_cast<double>(query.of_requests ? out.utilization : out.average_milli) / static_cast<double>(query.target);
  return out;
}

std::int64_t ceil_of(double replicas) {
  return static_cast<std::int64_t>(std::min(std::ceil(replicas), static_cast<double>(std::numeric_limits<std::int32_t>::max())));
}

// What pods that nobody measured are taken to use: whatever keeps from doing too much.
void suppose_missing(const Groups& groups, const Requests& requests, const ResourceQuery& query, double ratio, PodMetrics& metrics) {
  for (const std::string& pod : groups.missing) {
    std::int64_t supposed = 0;
    if (ratio < 1 && !query.of_requests) supposed = query.target;
    else if (ratio < 1)
      if (auto request = requests.find(pod); request != requests.end()) supposed = request->second * std::max<std::int64_t>(100, query.target) / 100;
    metrics[pod] = {.milli = supposed};
  }
  if (ratio > 1)
    for (const std::string& pod : groups.unready) metrics[pod] = {};
}

// --- policies

const json::Value* rules_of(const json::Value* behavior, bool up) { return behavior == nullptr ? nullptr : json::find(*behavior, {up ? "scaleUp" : "scaleDown"}); }

Duration window_of(const json::Value* behavior, bool up) {
  const json::Value* rules = rules_of(behavior, up);
  std::int64_t seconds = rules == nullptr ? -1 : json::get_int(*rules, {"stabilizationWindowSeconds"}, -1);
  if (seconds >= 0) return std::chrono::seconds(seconds);
  return up ? std::chrono::seconds(0) : kScaleDownWindow;
}

struct Policy {
  bool percent = false;
  std::int64_t value = 0;
  Duration period{};
};

std::vector<Policy> policies_of(const json::Value* behavior, bool up) {
  std::vector<Policy> out;
  const json::Value* rules = rules_of(behavior, up);
  if (const json::Array* given = rules == nullptr ? nullptr : json::get_array(*rules, {"policies"}))
    for (const json::Value& one : *given)
      out.push_back({json::get_string(one, {"type"}) == "Percent", json::get_int(one, {"value"}), std::chrono::seconds(json::get_int(one, {"periodSeconds"}, kDefaultPeriod.count()))});
  if (!out.empty()) return out;
  out.push_back({true, kDefaultPercent, kDefaultPeriod});
  if (up) out.push_back({false, kDefaultPods, kDefaultPeriod});
  return out;
}

Duration longest_period(const json::Value* behavior, bool up) {
  Duration longest{};
  for (const Policy& policy : policies_of(behavior, up)) longest = std::max(longest, policy.period);
  return longest;
}

}  // namespace

std::optional<PodMetric> metric_of(const json::Value& pod_metrics, const ResourceQuery& query) {
  PodMetric out{.at = client::time_at(pod_metrics, {"timestamp"})};
  out.window = parse_duration(json::get_string(pod_metrics, {"window"}, "0s")).value_or(Duration{});
  bool found = false;
  if (const json::Array* containers = json::get_array(pod_metrics, {"containers"})) {
    for (const json::Value& container : *containers) {
      if (!query.container.empty() && json::get_string(container, {"name"}) != query.container) continue;
      auto used = milli_at(container, {"usage", query.resource});
      if (!used) return std::nullopt;
      out.milli += *used;
      found = true;
    }
  }
  if (!found) return std::nullopt;
  return out;
}

Result<Proposal> propose_replicas(const ResourceQuery& query, std::int64_t current, const Tolerance& tolerance, const std::vector<json::Value>& pods, PodMetrics metrics,
                                  WallTime now) {
  Groups groups = group_pods(pods, metrics, query.resource, now);
  if (metrics.empty()) return fail(Code::kFailedPrecondition, "did not receive metrics for targeted pods (pods might be unready)");
  Requests requests;
  if (query.of_requests) {
    for (const json::Value& pod : pods) {
      TRY_ASSIGN(std::int64_t asked, request_of(pod, query));
      requests[std::string(client::name_of(pod))] = asked;
    }
  }
  TRY_ASSIGN(Ratio seen, ratio_of(metrics, requests, query));
  Proposal out{.replicas = current, .utilization = seen.utilization, .average_milli = seen.average_milli};
  bool supposes = !groups.missing.empty() || (seen.ratio > 1 && !groups.unready.empty());
  if (!supposes) {
    if (!tolerance.holds(seen.ratio)) out.replicas = ceil_of(seen.ratio * static_cast<double>(groups.ready));
    return out;
  }
  suppose_missing(groups, requests, query, seen.ratio, metrics);
  TRY_ASSIGN(Ratio supposed, ratio_of(metrics, requests, query));
  bool turned = (seen.ratio < 1 && supposed.ratio > 1) || (seen.ratio > 1 && supposed.ratio < 1);
  if (tolerance.holds(supposed.ratio) || turned) return out;
  std::int64_t wanted = ceil_of(supposed.ratio * static_cast<double>(metrics.size()));
  if ((supposed.ratio < 1 && wanted > current) || (supposed.ratio > 1 && wanted < current)) return out;
  out.replicas = wanted;
  return out;
}

Tolerance tolerance_of(const json::Value* behavior) {
  Tolerance out;
  for (bool up : {true, false})
    if (const json::Value* rules = rules_of(behavior, up))
      if (auto given = milli_at(*rules, {"tolerance"})) (up ? out.up : out.down) = static_cast<double>(*given) / 1000;
  return out;
}

std::int64_t ScalingHistory::stabilize(std::int64_t wanted, const Limits& limits, const json::Value* behavior, WallTime now, Decision& decision) {
  Duration up = window_of(behavior, true), down = window_of(behavior, false);
  while (!recommendations_.empty() && recommendations_.front().at + std::max(up, down) < now) recommendations_.pop_front();
  std::int64_t lowest = wanted, highest = wanted;
  for (const Entry& entry : recommendations_) {
    if (entry.at + up >= now) lowest = std::min(lowest, entry.replicas);
    if (entry.at + down >= now) highest = std::max(highest, entry.replicas);
  }
  recommendations_.push_back({now, wanted});
  std::int64_t stable = std::clamp(limits.current, lowest, highest);
  decision.able_reason = "ReadyForNewScale";
  decision.able_message = "recommended size matches current size";
  if (stable == wanted) return stable;
  bool is_up = wanted > limits.current;
  decision.able_reason = is_up ? "ScaleUpStabilized" : "ScaleDownStabilized";
  decision.able_message = is_up ? "recent recommendations were lower than current one, applying the lowest recent recommendation"
                                : "recent recommendations were higher than current one, applying the highest recent recommendation";
  return stable;
}

// The most (least) that the policies allow now, counted from where each one's period began.
std::int64_t ScalingHistory::rate_limit(const Limits& limits, const json::Value* behavior, bool up, WallTime now) const {
  const json::Value* rules = rules_of(behavior, up);
  std::string_view select = rules == nullptr ? std::string_view() : json::get_string(*rules, {"selectPolicy"});
  if (select == "Disabled") return limits.current;
  std::optional<std::int64_t> out;
  for (const Policy& policy : policies_of(behavior, up)) {
    std::int64_t start = limits.current;
    for (const Entry& entry : ups_)
      if (entry.at + policy.period > now) start -= entry.replicas;
    for (const Entry& entry : downs_)
      if (entry.at + policy.period > now) start += entry.replicas;
    std::int64_t change = up ? policy.value : -policy.value;
    double part = static_cast<double>(start) * (1 + static_cast<double>(change) / 100);
    std::int64_t bound = policy.percent ? (up ? ceil_of(part) : static_cast<std::int64_t>(part)) : start + change;
    bool farthest = select != "Min";
    if (!out) out = bound;
    else out = up == farthest ? std::max(*out, bound) : std::min(*out, bound);
  }
  std::int64_t bound = out.value_or(limits.current);
  return up ? std::max(bound, limits.current) : std::max<std::int64_t>(0, std::min(bound, limits.current));
}

ScalingHistory::Decision ScalingHistory::decide(std::int64_t wanted, const Limits& limits, const json::Value* behavior, WallTime now) {
  Decision out;
  std::int64_t stable = stabilize(wanted, limits, behavior, now, out);
  out.replicas = stable;
  out.limited_reason = "DesiredWithinRange";
  out.limited_message = "the desired count is within the acceptable range";
  auto hold = [&](std::int64_t at, std::string_view reason, std::string_view message) {
    out.replicas = at;
    out.limited = true;
    out.limited_reason = reason;
    out.limited_message = message;
  };
  if (stable > limits.current) {
    std::int64_t rate = rate_limit(limits, behavior, true, now);
    if (stable > std::min(rate, limits.most)) {
      if (limits.most <= rate) hold(limits.most, "TooManyReplicas", "the desired replica count is more than the maximum replica count");
      else hold(rate, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
    }
  } else if (stable < limits.current) {
    std::int64_t rate = rate_limit(limits, behavior, false, now);
    if (stable < std::max(rate, limits.least)) {
      if (limits.least >= rate) hold(limits.least, "TooFewReplicas", "the desired replica count is less than the minimum replica count");
      else hold(rate, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
    }
  }
  return out;
}

void ScalingHistory::scaled(std::int64_t from, std::int64_t to, const json::Value* behavior, WallTime now) {
  for (bool up : {true, false}) {
    std::deque<Entry>& entries = up ? ups_ : downs_;
    Duration longest = longest_period(behavior, up);
    while (!entries.empty() && entries.front().at + longest < now) entries.pop_front();
  }
  if (to > from) ups_.push_back({now, to - from});
  else downs_.push_back({now, from - to});
}

}  // namespace monopod::controllers
