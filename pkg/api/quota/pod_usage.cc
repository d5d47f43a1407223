// Pods: compute resources by the same sums that the scheduler makes (KEP-753 sidecars, KEP-1287 in-place resize, KEP-2837 pod level).
#include <algorithm>
#include <set>

#include "api/quota/usage.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kHugePages = "hugepages-";
constexpr std::string_view kRequests = "requests.";

// Only these are demanded of every container: a rule from before there were QoS classes, kept for those who rely on it.
constexpr std::string_view kDemanded[] = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"};

constexpr std::string_view kNames[] = {"pods",         "cpu",           "memory",       "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
                                       "limits.cpu",   "limits.memory", "limits.ephemeral-storage"};

bool is_native(std::string_view name) { return name.find('/') == std::string_view::npos || name.find("kubernetes.io/") != std::string_view::npos; }
bool is_extended(std::string_view name) { return !is_native(name) && !name.starts_with(kRequests); }
bool fits_pod_level(std::string_view name) { return name == "cpu" || name == "memory" || name.starts_with(kHugePages); }

void raise_to(Amounts& amounts, const Amounts& least) {
  for (const auto& [name, amount] : least) {
    auto [it, is_new] = amounts.emplace(name, amount);
    if (!is_new && it->second < amount) it->second = amount;
  }
}

const json::Array& list_at(const json::Value& root, std::initializer_list<std::string_view> path) {
  static const json::Array kNone;
  const json::Array* list = json::get_array(root, path);
  return list == nullptr ? kNone : *list;
}

const json::Value* status_of(const json::Value& pod, std::string_view container) {
  for (std::string_view member : {"containerStatuses", "initContainerStatuses"})
    for (const json::Value& status : list_at(pod, {"status", member}))
      if (json::get_string(status, {"name"}) == container) return &status;
  return nullptr;
}

bool resize_is_infeasible(const json::Value& pod) {
  for (const json::Value& condition : list_at(pod, {"status", "conditions"}))
    if (json::get_string(condition, {"type"}) == "PodResizePending" && json::get_string(condition, {"reason"}) == "Infeasible") return true;
  return false;
}

// side: "requests" or "limits". While a resize is under way a container holds the most of what it asks for and what it has.
Amounts container_amounts(const json::Value& pod, const json::Value& container, std::string_view side) {
  Amounts wanted = read_amounts(json::get_object(container, {"resources", side}));
  const json::Value* status = status_of(pod, json::get_string(container, {"name"}));
  if (status == nullptr || json::get_object(*status, {"resources"}) == nullptr) return wanted;
  Amounts actual = read_amounts(json::get_object(*status, {"resources", side}));
  if (side == "requests") raise_to(actual, read_amounts(json::get_object(*status, {"allocatedResources"})));
  if (!resize_is_infeasible(pod)) raise_to(actual, wanted);
  return actual;
}

// The larger of (sum of containers and sidecars) and the init containers' peak; pod-level amounts instead; overhead on top.
Amounts pod_amounts(const json::Value& pod, std::string_view side) {
  Amounts sum, sidecars, peak;
  for (const json::Value& container : list_at(pod, {"spec", "containers"})) sum = add(std::move(sum), container_amounts(pod, container, side));
  for (const json::Value& container : list_at(pod, {"spec", "initContainers"})) {
    Amounts need = container_amounts(pod, container, side);
    if (json::get_string(container, {"restartPolicy"}) == "Always") {
      sum = add(std::move(sum), need);
      sidecars = add(std::move(sidecars), need);
      need = sidecars;
    } else {
      need = add(std::move(need), sidecars);  // runs beside the sidecars started before it
    }
    raise_to(peak, need);
  }
  raise_to(sum, peak);
  for (const auto& [name, amount] : read_amounts(json::get_object(pod, {"spec", "resources", side})))
    if (fits_pod_level(name)) sum[name] = amount;
  for (const auto& [name, amount] : read_amounts(json::get_object(pod, {"spec", "overhead"})))
    if (auto it = sum.find(name); it != sum.end()) it->second += amount;
    else if (side == "requests") sum[name] = amount;
  return sum;
}

Amounts compute_usage(const Amounts& requests, const Amounts& limits) {
  Amounts out{{"pods", Quantity::of(1)}};
  for (std::string_view name : {"cpu", "memory", "ephemeral-storage"}) {
    if (auto it = requests.find(name); it != requests.end()) {
      out.emplace(name, it->second);
      out.emplace(cat(kRequests, name), it->second);
    }
    if (auto it = limits.find(name); it != limits.end()) out.emplace(cat("limits.", name), it->second);
  }
  for (const auto& [name, amount] : requests) {
    if (name.starts_with(kHugePages)) out.emplace(name, amount);
    if (name.starts_with(kHugePages) || is_extended(name)) out.emplace(cat(kRequests, name), amount);
  }
  return out;
}

// Neither finished nor stuck past its grace (a lost node must not keep others from scaling up).
bool is_live(const json::Value& pod, WallTime now) {
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") return false;
  const json::Value* grace = json::find(pod, {"metadata", "deletionGracePeriodSeconds"});
  auto deleted = parse_rfc3339(json::get_string(pod, {"metadata", "deletionTimestamp"}));
  if (!deleted || grace == nullptr || !grace->is_int64()) return true;
  return now <= *deleted + std::chrono::seconds(grace->get_int64());
}

}  // namespace

bool pod_is_counted_by(std::string_view quota_name) {
  for (std::string_view name : kNames)
    if (name == quota_name) return true;
  if (quota_name.starts_with(kHugePages) || quota_name.starts_with("requests.hugepages-")) return true;
  return !is_native(quota_name) && quota_name.starts_with(kRequests);
}

Amounts pod_quota_usage(const json::Value& pod, WallTime now) {
  if (!is_live(pod, now)) return {};
  return compute_usage(pod_amounts(pod, "requests"), pod_amounts(pod, "limits"));
}

std::string missing_pod_constraints(const json::Value& pod, const std::vector<std::string>& required) {
  for (std::string_view side : {"requests", "limits"})
    if (const json::Object* given = json::get_object(pod, {"spec", "resources", side}))
      for (const auto& [name, amount] : *given)
        if (fits_pod_level(name)) return {};  // said for the pod: need not be said for its containers
  std::map<std::string, std::set<std::string>> missing;  // resource -> containers
  for (std::string_view member : {"containers", "initContainers"})
    for (const json::Value& container : list_at(pod, {"spec", member})) {
      Amounts given = compute_usage(read_amounts(json::get_object(container, {"resources", "requests"})), read_amounts(json::get_object(container, {"resources", "limits"})));
      for (std::string_view name : kDemanded)
        if (std::ranges::find(required, name) != required.end() && !given.contains(name)) missing[std::string(name)].emplace(json::get_string(container, {"name"}));
    }
  if (missing.empty()) return {};
  std::vector<std::string> parts;
  for (const auto& [name, containers] : missing) parts.push_back(cat(name, " for: ", join(std::vector<std::string>(containers.begin(), containers.end()), ",")));
  return cat("must specify ", join(parts, "; "));
}

}  // namespace monopod::api
