// Pods: what create and update reset, and what an update may change.
#include <algorithm>

#include "api/kinds/behaviors.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

constexpr std::string_view kForbiddenChange =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// Puts old's members back where an update is allowed to differ, so that what is left must be equal.
void copy_member(Value& to, const Value& from, std::string_view member) {
  const Value* v = child(from, member);
  if (v == nullptr) to.get_object().erase(member);
  else to.get_object()[member] = *v;
}

bool same_spec(Value now, const Value& old, std::string_view subresource) {
  for (const char* list : {"containers", "initContainers"}) {
    const Array& before = items(old, list);
    if (child(now, list) == nullptr) continue;
    Array& after = mutable_items(now, list);
    for (std::size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
      if (!after[i].is_object()) continue;
      copy_member(after[i], before[i], "image");
      if (subresource == "resize") {
        copy_member(after[i], before[i], "resources");
        copy_member(after[i], before[i], "resizePolicy");
      }
    }
  }
  copy_member(now, old, "activeDeadlineSeconds");
  copy_member(now, old, "tolerations");
  if (json::get_int(old, {"terminationGracePeriodSeconds"}) < 0 && json::get_int(now, {"terminationGracePeriodSeconds"}) == 1)
    copy_member(now, old, "terminationGracePeriodSeconds");
  if (!items(old, "schedulingGates").empty()) {  // a gated pod's gates go, and its placement may be narrowed
    copy_member(now, old, "schedulingGates");
    copy_member(now, old, "nodeSelector");
    copy_member(now, old, "affinity");
  }
  // Names are compared as text: the order of members is canonical on both sides but for what was put back.
  return now == old;
}

}  // namespace

std::string_view qos_class(const Value& pod) {
  const Value* spec = child(pod, "spec");
  if (spec == nullptr) return "BestEffort";
  bool any = false, guaranteed = true;
  for (const char* list : {"initContainers", "containers"}) {
    for (const Value& c : items(*spec, list)) {
      for (std::string_view resource : {"cpu", "memory"}) {
        auto amount = [&](const char* side) {
          auto q = parse_quantity(json::get_string(c, {"resources", side, resource}, "0"));
          return q ? *q : Quantity();
        };
        Quantity request = amount("requests"), limit = amount("limits");
        any = any || request.sign() > 0 || limit.sign() > 0;
        guaranteed = guaranteed && limit.sign() > 0 && request == limit;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void prepare_pod(Value& pod) {
  pod.get_object()["status"] = Object{{"phase", "Pending"}, {"qosClass", qos_class(pod)}};
  if (const Value* spec = child(pod, "spec"); spec != nullptr && !items(*spec, "schedulingGates").empty())
    json::at_path(pod, {"status", "conditions"}) = Array{Object{{"type", "PodScheduled"}, {"status", "False"}, {"reason", "SchedulingGated"}, {"message", "Scheduling is blocked due to non-empty scheduling gates"}}};
}

void prepare_pod_update(Value& pod, const Value& old, std::string_view subresource) {
  if (subresource == "status") {
    Value& meta = json::at_path(pod, {"metadata"});
    copy_member(meta, *child(old, "metadata"), "ownerReferences");
    // The class is decided once.
    if (const Value* qos = json::find(old, {"status", "qosClass"})) json::at_path(pod, {"status", "qosClass"}) = *qos;
    return;
  }
  if (subresource == "ephemeralcontainers" || subresource == "resize") {
    Value kept = old;
    const Value* spec = child(pod, "spec");
    if (spec != nullptr && subresource == "ephemeralcontainers") {
      copy_member(json::at_path(kept, {"spec"}), *spec, "ephemeralContainers");
    } else if (spec != nullptr) {
      for (const char* list : {"containers", "initContainers"}) {
        if (child(kept.at("spec"), list) == nullptr) continue;
        Array& to = mutable_items(kept.at("spec"), list);
        const Array& from = items(*spec, list);
        for (std::size_t i = 0; i < std::min(to.size(), from.size()); ++i) copy_member(to[i], from[i], "resources");
      }
    }
    copy_member(kept.at("metadata"), *child(pod, "metadata"), "managedFields");
    copy_member(kept.at("metadata"), *child(pod, "metadata"), "resourceVersion");
    pod = std::move(kept);
  }
}

void validate_pod(const Value& pod, FieldErrors& errors) {
  const Value* spec = child(pod, "spec");
  if (spec == nullptr) return errors.required(Path("spec"));
  validate_pod_spec(*spec, Path("spec"), errors, false);
}

void validate_pod_update(const Value& pod, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(pod, "spec"), *before = child(old, "spec");
  if (now == nullptr || before == nullptr || subresource == "status") return;
  Path path("spec");
  if (subresource == "ephemeralcontainers") {
    if (json::find(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}) != nullptr) errors.forbidden(Path(), "static pods do not support ephemeral containers");
    const Array& after = items(*now, "ephemeralContainers");
    for (const Value& c : items(*before, "ephemeralContainers")) {
      auto same = std::ranges::find_if(after, [&](const Value& n) { return text(n, "name") == text(c, "name"); });
      if (same == after.end()) errors.forbidden(path["ephemeralContainers"], cat("existing ephemeral containers \"", text(c, "name"), "\" may not be removed\n"));
      else if (*same != c) errors.forbidden(path["ephemeralContainers"], cat("existing ephemeral containers \"", text(c, "name"), "\" may not be changed\n"));
    }
    return;
  }
  for (const char* list : {"containers", "initContainers"}) {
    if (items(*now, list).size() != items(*before, list).size())
      return errors.forbidden(path[list], "pod updates may not add or remove containers");
    for (std::size_t i = 0; i < items(*now, list).size(); ++i) {
      std::string_view image = text(items(*now, list)[i], "image");
      if (image.empty()) errors.required(path[list][i]["image"]);
    }
  }
  const Value *deadline = child(*now, "activeDeadlineSeconds"), *old_deadline = child(*before, "activeDeadlineSeconds");
  if (deadline != nullptr && old_deadline != nullptr && deadline->is_int64() && old_deadline->is_int64() && deadline->get_int64() > old_deadline->get_int64())
    errors.invalid(path["activeDeadlineSeconds"], *deadline, "must be less than or equal to previous value");
  if (deadline == nullptr && old_deadline != nullptr) errors.invalid(path["activeDeadlineSeconds"], Value(nullptr), "must not update from a positive integer to nil value");
  for (const Value& t : items(*before, "tolerations")) {
    bool kept = std::ranges::any_of(items(*now, "tolerations"), [&](const Value& n) { return text(n, "key") == text(t, "key") && text(n, "effect") == text(t, "effect"); });
    if (!kept) {
      errors.forbidden(path["tolerations"], "existing toleration can not be modified except its tolerationSeconds");
      break;
    }
  }
  if (!same_spec(*now, *before, subresource)) errors.forbidden(path, kForbiddenChange);
}

std::vector<std::string_view> pod_fields() {
  return {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"};
}

}  // namespace monopod::api::kinds
