#include "agent/pod_status.h"

#include <algorithm>

#include "agent/pod_actions.h"
#include "agent/resources.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

using json::Array;
using json::Object;
using json::Value;

std::string time_text(WallTime t) { return format_rfc3339(t); }
bool is_set(WallTime t) { return t != WallTime{}; }

std::string image_of(const Container& c, const ContainerState& s) { return s.current && !s.current->image.empty() ? s.current->image : c.image; }

Object terminated(const Instance& i) {
  Object t;
  t["exitCode"] = i.exit_code;
  std::string reason = i.reason;
  if (reason.empty()) reason = i.oom_killed ? "OOMKilled" : i.exit_code == 0 ? "Completed" : "Error";
  t["reason"] = reason;
  if (!i.message.empty()) t["message"] = i.message;
  t["startedAt"] = is_set(i.started_at) ? Value(time_text(i.started_at)) : Value(nullptr);
  t["finishedAt"] = is_set(i.finished_at) ? Value(time_text(i.finished_at)) : Value(nullptr);
  if (!i.id.empty()) t["containerID"] = cat("monopod://", i.id);
  return Object{{"terminated", std::move(t)}};
}

Object waiting(std::string_view reason, std::string_view message) {
  Object w;
  w["reason"] = reason;
  if (!message.empty()) w["message"] = message;
  return Object{{"waiting", std::move(w)}};
}

bool shows_waiting(const ContainerState& s) {
  if (s.running()) return false;
  return !s.current || s.current->state == RunState::kCreated || !s.waiting_reason.empty();
}

bool counts_ready(const Container& c, const ContainerState& s, bool init) {
  if (c.ephemeral) return false;
  if (init && !c.restartable_init) return s.current && is_success(*s.current);
  return s.running() && s.started && s.ready;
}

Value resources_json(const Pod& pod, const Container& c) {
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
    if (const Array* all = json::get_array(*pod.object, {"spec", list}))
      for (const Value& v : *all)
        if (json::get_string(v, {"name"}) == c.name)
          if (const Value* r = json::find(v, {"resources"}); r && r->is_object() && !r->get_object().empty()) return *r;
  return Object{};
}

Object container_status(const Pod& pod, const Container& c, const ContainerState& s, bool init) {
  Object out;
  out["name"] = c.name;
  out["state"] = container_state(pod, c, s);
  const Instance* last = nullptr;
  if (shows_waiting(s) && s.exited()) last = &*s.current;
  else if (s.previous) last = &*s.previous;
  out["lastState"] = last ? Value(terminated(*last)) : Value(Object{});
  out["ready"] = counts_ready(c, s, init);
  out["restartCount"] = s.restarts();
  out["image"] = image_of(c, s);
  out["imageID"] = s.current ? s.current->image_id : std::string();
  if (s.current && !s.current->id.empty()) out["containerID"] = cat("monopod://", s.current->id);
  if (!c.ephemeral) out["started"] = s.running() && s.started;
  if (s.current) {
    Value resources = resources_json(pod, c);
    if (const Value* requests = json::find(resources, {"requests"})) out["allocatedResources"] = *requests;
    out["resources"] = std::move(resources);
    Array mounts;
    for (const VolumeMount& m : c.mounts) {
      Object mount{{"name", m.name}, {"mountPath", m.path}};
      if (m.read_only) {
        mount["readOnly"] = true;
        mount["recursiveReadOnly"] = "Disabled";
      }
      mounts.push_back(std::move(mount));
    }
    if (!mounts.empty()) out["volumeMounts"] = std::move(mounts);
  }
  return out;
}

std::string name_list(const std::vector<std::string>& names) { return cat("[", join(names, " "), "]"); }

struct Condition {
  std::string type;
  bool status = false;
  std::string reason;
  std::string message;
};

class Conditions {
 public:
  Conditions(const Pod& pod, const PodState& state, const StatusFacts& facts, const Value& previous, const std::string& phase)
      : pod_(pod), state_(state), facts_(facts), previous_(previous), phase_(phase) {}

  Array make() {
    add({"PodReadyToStartContainers", state_.sandbox && state_.sandbox->ready && !(state_.terminating && all_ended()), {}, {}});
    add(initialized());
    Condition containers = containers_ready();
    add(ready(containers));
    add(containers);
    add({"PodScheduled", true, {}, {}});
    // What others own stays as it is: readiness gates, DisruptionTarget.
    if (const Array* list = json::get_array(previous_, {"conditions"}))
      for (const Value& c : *list)
        if (!mine_.contains(std::string(json::get_string(c, {"type"})))) out_.push_back(c);
    return std::move(out_);
  }

 private:
  bool all_ended() const {
    return std::ranges::none_of(state_.containers, [](const auto& entry) { return entry.second.running(); });
  }
  bool over() const { return phase_ == "Succeeded" || phase_ == "Failed"; }

  Condition initialized() const {
    std::vector<std::string> incomplete;
    if (!state_.initialized_once)
      for (const Container& c : pod_.init_containers) {
        const ContainerState& s = state_.of(c.name);
        bool done = c.restartable_init ? s.running() && s.started : s.current && is_success(*s.current);
        if (!done) incomplete.push_back(c.name);
      }
    if (phase_ == "Succeeded") return {"Initialized", true, "PodCompleted", {}};
    if (!incomplete.empty()) return {"Initialized", false, "ContainersNotInitialized", cat("containers with incomplete status: ", name_list(incomplete))};
    return {"Initialized", true, {}, {}};
  }

  Condition containers_ready() const {
    if (phase_ == "Succeeded") return {"ContainersReady", false, "PodCompleted", {}};
    if (phase_ == "Failed") return {"ContainersReady", false, "PodFailed", {}};
    std::vector<std::string> unready;
    std::vector<std::string> unknown;
    auto look = [&](const Container& c) {
      const ContainerState& s = state_.of(c.name);
      if (!counts_ready(c, s, false)) unready.push_back(c.name);
    };
    for (const Container& c : pod_.init_containers)
      if (c.restartable_init) look(c);
    for (const Container& c : pod_.containers) look(c);
    if (!unready.empty()) return {"ContainersReady", false, "ContainersNotReady", cat("containers with unready status: ", name_list(unready))};
    return {"ContainersReady", true, {}, {}};
  }

  Condition ready(const Condition& containers) const {
    Condition out = containers;
    out.type = "Ready";
    if (!out.status) return out;
    std::vector<std::string> problems;
    for (const std::string& gate : pod_.readiness_gates) {
      const Value* found = previous_condition(gate);
      if (!found) problems.push_back(cat("corresponding condition of pod readiness gate \"", gate, "\" does not exist."));
      else if (auto s = json::get_string(*found, {"status"}); s != "True")
        problems.push_back(cat("the status of pod readiness gate \"", gate, "\" is not \"True\", but ", s));
    }
    if (!problems.empty()) return {"Ready", false, "ReadinessGatesNotReady", join(problems, ", ")};
    return out;
  }

  const Value* previous_condition(std::string_view type) const {
    if (const Array* list = json::get_array(previous_, {"conditions"}))
      for (const Value& c : *list)
        if (json::get_string(c, {"type"}) == type) return &c;
    return nullptr;
  }

  void add(const Condition& c) {
    mine_.insert(c.type);
    std::string_view status = c.status ? "True" : "False";
    std::string since = time_text(facts_.now);
    if (const Value* before = previous_condition(c.type); before && json::get_string(*before, {"status"}) == status)
      if (auto at = json::get_string(*before, {"lastTransitionTime"}); !at.empty()) since = at;
    Object o;
    o["type"] = c.type;
    if (pod_.generation > 0) o["observedGeneration"] = pod_.generation;
    o["status"] = status;
    o["lastProbeTime"] = nullptr;
    o["lastTransitionTime"] = since;
    if (!c.reason.empty()) o["reason"] = c.reason;
    if (!c.message.empty()) o["message"] = c.message;
    out_.push_back(std::move(o));
  }

  const Pod& pod_;
  const PodState& state_;
  const StatusFacts& facts_;
  const Value& previous_;
  const std::string& phase_;
  std::set<std::string> mine_;
  Array out_;
};

}  // namespace

Value container_state(const Pod& pod, const Container& c, const ContainerState& s) {
  (void)c;
  if (s.running()) return Object{{"running", Object{{"startedAt", time_text(s.current->started_at)}}}};
  if (!shows_waiting(s)) return terminated(*s.current);
  std::string_view reason = s.waiting_reason;
  if (reason.empty()) reason = !pod.init_containers.empty() ? "PodInitializing" : "ContainerCreating";
  return waiting(reason, s.waiting_message);
}

std::string compute_phase(const Pod& pod, const PodState& state) {
  if (pod.phase == "Failed" || pod.phase == "Succeeded") return pod.phase;  // never left again
  if (!state.fail_reason.empty()) return "Failed";
  if (!state.initialized_once) {
    for (const Container& c : pod.init_containers) {
      const ContainerState& s = state.of(c.name);
      if (c.restartable_init ? s.running() && s.started : s.current && is_success(*s.current)) continue;
      bool failed = !c.restartable_init && s.exited() && pod.restart_policy == RestartPolicy::kNever;
      return failed ? "Failed" : "Pending";
    }
  }
  std::size_t running = 0, waiting_count = 0, ended = 0, succeeded = 0;
  for (const Container& c : pod.containers) {
    const ContainerState& s = state.of(c.name);
    if (s.running()) {
      ++running;
    } else if (s.exited()) {
      ++ended;
      if (is_success(*s.current) && s.waiting_reason.empty()) ++succeeded;
    } else if (s.previous) {
      ++ended;
    } else {
      ++waiting_count;
    }
  }
  if (waiting_count > 0) return "Pending";
  if (running > 0) return "Running";
  if (ended == 0) return "Pending";
  bool for_good = state.terminating || std::ranges::all_of(pod.containers, [&](const Container& c) {
    const ContainerState& s = state.of(c.name);
    return s.exited() && !wants_restart(pod, c, *s.current, false);
  });
  if (!for_good) return "Running";
  // Sidecars still to be stopped keep it running.
  for (const Container& c : pod.init_containers)
    if (c.restartable_init && state.of(c.name).running()) return "Running";
  return succeeded == ended ? "Succeeded" : "Failed";
}

Value compute_status(const Pod& pod, const PodState& state, const StatusFacts& facts, const Value& previous) {
  Object out;
  std::string phase = compute_phase(pod, state);
  if (pod.generation > 0) out["observedGeneration"] = pod.generation;
  out["phase"] = phase;
  out["conditions"] = Conditions(pod, state, facts, previous, phase).make();
  if (!state.fail_reason.empty()) out["reason"] = state.fail_reason;
  if (!state.fail_message.empty()) out["message"] = state.fail_message;
  if (!facts.host_ip.empty()) {
    out["hostIP"] = facts.host_ip;
    out["hostIPs"] = Array{Object{{"ip", facts.host_ip}}};
  }
  std::vector<std::string> ips;
  if (state.sandbox && state.sandbox->ready) {
    ips = state.sandbox->ips;
    if (pod.host_network && !facts.host_ip.empty()) ips = {facts.host_ip};
  }
  if (!ips.empty()) {
    out["podIP"] = ips.front();
    Array list;
    for (const std::string& ip : ips) list.push_back(Object{{"ip", ip}});
    out["podIPs"] = std::move(list);
  } else if (const Value* before = json::find(previous, {"podIP"}); before && (phase == "Failed" || phase == "Succeeded" || state.terminating)) {
    out["podIP"] = *before;
    if (const Value* list = json::find(previous, {"podIPs"})) out["podIPs"] = *list;
  }
  if (state.start_time) out["startTime"] = time_text(*state.start_time);
  Array init;
  for (const Container& c : pod.init_containers) init.push_back(container_status(pod, c, state.of(c.name), true));
  if (!init.empty()) out["initContainerStatuses"] = std::move(init);
  Array mains;
  for (const Container& c : pod.containers) mains.push_back(container_status(pod, c, state.of(c.name), false));
  out["containerStatuses"] = std::move(mains);
  Array ephemeral;
  for (const Container& c : pod.ephemeral_containers) ephemeral.push_back(container_status(pod, c, state.of(c.name), false));
  if (!ephemeral.empty()) out["ephemeralContainerStatuses"] = std::move(ephemeral);
  out["qosClass"] = qos_name(qos_class(pod));
  return out;
}

bool same_status(const Value& a, const Value& b) { return a == b; }

}  // namespace monopod::agent
