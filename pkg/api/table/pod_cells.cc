// NAME READY STATUS RESTARTS AGE IP NODE NOMINATED-NODE READINESS-GATES, as kubectl's users know them.
#include "api/table/cells.h"
#include "base/strings.h"

namespace monopod::api::table {
namespace {

using json::Value;

const json::Array& list(const Value& pod, std::initializer_list<std::string_view> path) {
  static const json::Array kNone;
  const json::Array* a = json::get_array(pod, path);
  return a == nullptr ? kNone : *a;
}

bool restartable(const Value& pod, std::string_view name) {
  for (const Value& c : list(pod, {"spec", "initContainers"}))
    if (json::get_string(c, {"name"}) == name) return json::get_string(c, {"restartPolicy"}) == "Always";
  return false;
}

bool condition_true(const Value& pod, std::string_view type, std::string_view reason = {}) {
  for (const Value& c : list(pod, {"status", "conditions"}))
    if (json::get_string(c, {"type"}) == type) return json::get_string(c, {"status"}) == "True" && (reason.empty() || json::get_string(c, {"reason"}) == reason);
  return false;
}

std::string terminated_text(const Value& terminated, std::string_view prefix) {
  if (std::string_view reason = json::get_string(terminated, {"reason"}); !reason.empty()) return cat(prefix, reason);
  if (std::int64_t signal = json::get_int(terminated, {"signal"}); signal != 0) return cat(prefix, "Signal:", signal);
  return cat(prefix, "ExitCode:", json::get_int(terminated, {"exitCode"}));
}

// The last finish time seen, for "3 (5m ago)".
void note_finish(const Value& status, std::string& last) {
  std::string_view at = json::get_string(status, {"lastState", "terminated", "finishedAt"});
  if (at > last) last = at;
}

}  // namespace

void pod_cells(const Value& pod, Ages& ages, json::Array& cells) {
  std::int64_t restarts = 0, sidecar_restarts = 0;
  std::size_t total = list(pod, {"spec", "containers"}).size(), ready = 0;
  std::string last_restart, last_sidecar_restart;
  std::string reason(json::get_string(pod, {"status", "phase"}, "Unknown"));
  if (std::string_view r = json::get_string(pod, {"status", "reason"}); !r.empty()) reason = r;
  for (const Value& c : list(pod, {"status", "conditions"}))
    if (json::get_string(c, {"type"}) == "PodScheduled" && json::get_string(c, {"reason"}) == "SchedulingGated") reason = "SchedulingGated";
  const json::Array& inits = list(pod, {"spec", "initContainers"});
  for (const Value& c : inits) total += json::get_string(c, {"restartPolicy"}) == "Always";

  bool initializing = false;
  const json::Array& init_statuses = list(pod, {"status", "initContainerStatuses"});
  for (std::size_t i = 0; i < init_statuses.size(); ++i) {
    const Value& s = init_statuses[i];
    restarts += json::get_int(s, {"restartCount"});
    note_finish(s, last_restart);
    bool sidecar = restartable(pod, json::get_string(s, {"name"}));
    if (sidecar) {
      sidecar_restarts += json::get_int(s, {"restartCount"});
      note_finish(s, last_sidecar_restart);
    }
    const Value* terminated = json::find(s, {"state", "terminated"});
    std::string_view waiting = json::get_string(s, {"state", "waiting", "reason"});
    if (terminated != nullptr && json::get_int(*terminated, {"exitCode"}) == 0) continue;
    if (sidecar && json::get_bool(s, {"started"})) {
      ready += json::get_bool(s, {"ready"});
      continue;
    }
    if (terminated != nullptr) reason = terminated_text(*terminated, "Init:");
    else if (!waiting.empty() && waiting != "PodInitializing") reason = cat("Init:", waiting);
    else reason = cat("Init:", i, "/", inits.size());
    initializing = true;
    break;
  }

  if (!initializing || condition_true(pod, "Initialized")) {
    restarts = sidecar_restarts;
    last_restart = last_sidecar_restart;
    bool running = false;
    const json::Array& statuses = list(pod, {"status", "containerStatuses"});
    for (std::size_t i = statuses.size(); i-- > 0;) {
      const Value& s = statuses[i];
      restarts += json::get_int(s, {"restartCount"});
      note_finish(s, last_restart);
      std::string_view waiting = json::get_string(s, {"state", "waiting", "reason"});
      const Value* terminated = json::find(s, {"state", "terminated"});
      if (!waiting.empty()) reason = waiting;
      else if (terminated != nullptr) reason = terminated_text(*terminated, "");
      else if (json::get_bool(s, {"ready"}) && json::find(s, {"state", "running"}) != nullptr) {
        running = true;
        ++ready;
      }
    }
    if (reason == "Completed" && running) reason = condition_true(pod, "Ready") ? "Running" : "NotReady";
  }
  if (json::find(pod, {"metadata", "deletionTimestamp"}) != nullptr) {
    if (json::get_string(pod, {"status", "reason"}) == "NodeLost") reason = "Unknown";
    else if (std::string_view phase = json::get_string(pod, {"status", "phase"}); phase != "Succeeded" && phase != "Failed") reason = "Terminating";
  }
  std::string restart_text = std::to_string(restarts);
  if (restarts != 0 && !last_restart.empty()) restart_text = cat(restarts, " (", ages.of(last_restart), " ago)");

  auto or_none = [](std::string_view v) { return Value(v.empty() ? std::string_view("<none>") : v); };
  std::string_view ip = json::get_string(pod, {"status", "podIP"});
  const json::Array& ips = list(pod, {"status", "podIPs"});
  if (!ips.empty()) ip = json::get_string(ips[0], {"ip"});
  std::string gates = "<none>";
  if (const json::Array& wanted = list(pod, {"spec", "readinessGates"}); !wanted.empty()) {
    std::size_t true_count = 0;
    for (const Value& g : wanted) true_count += condition_true(pod, json::get_string(g, {"conditionType"}));
    gates = cat(true_count, "/", wanted.size());
  }
  cells.push_back(Value(json::get_string(pod, {"metadata", "name"})));
  cells.push_back(Value(cat(ready, "/", total)));
  cells.push_back(Value(reason));
  cells.push_back(Value(restart_text));
  cells.push_back(ages.of_object(pod, cells));
  cells.push_back(or_none(ip));
  cells.push_back(or_none(json::get_string(pod, {"spec", "nodeName"})));
  cells.push_back(or_none(json::get_string(pod, {"status", "nominatedNodeName"})));
  cells.push_back(Value(gates));
}

}  // namespace monopod::api::table
