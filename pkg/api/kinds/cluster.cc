// Namespaces, nodes, events, leases and the smaller cluster kinds.
#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {

void default_namespace(Value& object) {
  std::string name(json::get_string(object, {"metadata", "name"}));
  if (name.empty()) return;
  Value& labels = json::at_path(object, {"metadata", "labels"});
  if (!labels.is_object()) labels.emplace_object();
  labels.get_object()["kubernetes.io/metadata.name"] = name;
}

void prepare_namespace(Value& object) {
  object.get_object()["status"] = Object{{"phase", "Active"}};
  Array& finalizers = mutable_items(json::at_path(object, {"spec"}), "finalizers");
  for (const Value& f : finalizers)
    if (f == Value("kubernetes")) return;
  finalizers.push_back("kubernetes");
}

void prepare_namespace_update(Value& object, const Value& old, std::string_view subresource) {
  // Only the finalize subresource writes spec.finalizers.
  const Value* spec = child(old, "spec");
  if (subresource != "finalize" && spec != nullptr) object.get_object()["spec"] = *spec;
}

std::vector<std::string_view> namespace_fields() { return {"status.phase"}; }

void default_node(Value& object) {
  Value* status = mutable_child(object, "status");
  const Value* capacity = status == nullptr ? nullptr : child(*status, "capacity");
  if (capacity != nullptr && child(*status, "allocatable") == nullptr) {
    Value copy = *capacity;
    status->get_object()["allocatable"] = std::move(copy);
  }
}


void validate_node(const Value& object, FieldErrors& errors) {
  const Array* taints = json::get_array(object, {"spec", "taints"});
  if (taints == nullptr) return;
  for (std::size_t i = 0; i < taints->size(); ++i) {
    Path at = Path("spec")["taints"][i];
    const Value& t = (*taints)[i];
    report(errors, at["key"], text(t, "key"), check_qualified_name(text(t, "key")));
    report(errors, at["value"], text(t, "value"), check_label_value(text(t, "value")));
    if (text(t, "effect").empty()) errors.required(at["effect"]);
    check_supported(errors, at, t, "effect", {"NoExecute", "NoSchedule", "PreferNoSchedule"});
    for (std::size_t o = 0; o < i; ++o)
      if (text((*taints)[o], "key") == text(t, "key") && text((*taints)[o], "effect") == text(t, "effect")) errors.duplicate(at, t);
  }
}

void validate_node_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  std::string_view was = json::get_string(old, {"spec", "providerID"}), now = json::get_string(object, {"spec", "providerID"});
  if (!was.empty() && was != now) errors.forbidden(Path("spec")["providerID"], "node updates may not change providerID except from \"\" to valid");
  std::string_view cidr = json::get_string(old, {"spec", "podCIDR"});
  if (!cidr.empty() && cidr != json::get_string(object, {"spec", "podCIDR"})) errors.forbidden(Path("spec")["podCIDRs"], "node updates may not change podCIDR except from \"\" to valid");
}

std::vector<std::string_view> node_fields() { return {"spec.unschedulable"}; }

void validate_event(const Value& object, FieldErrors& errors) {
  std::string_view own = json::get_string(object, {"metadata", "namespace"});
  const Value* about = child(object, "involvedObject") != nullptr ? child(object, "involvedObject") : child(object, "regarding");
  std::string_view ns = about == nullptr ? std::string_view() : text(*about, "namespace");
  if (!ns.empty() && ns != own) errors.invalid(Path("involvedObject")["namespace"], ns, "does not match event.namespace");
  if (ns.empty() && own != "default" && own != "kube-system" && !own.empty()) errors.invalid(Path("involvedObject")["namespace"], ns, "does not match event.namespace");
}

std::vector<std::string_view> event_fields() {
  return {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
          "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"};
}
std::vector<std::string_view> modern_event_fields() {
  return {"reason", "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath", "reportingController",
          "type"};
}

void validate_lease(const Value& object, FieldErrors& errors) {
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return;
  Path path("spec");
  if (const Value* d = child(*spec, "leaseDurationSeconds"); d != nullptr && d->get_int64() <= 0) errors.invalid(path["leaseDurationSeconds"], *d, "must be greater than 0");
  check_nonnegative(errors, path["leaseTransitions"], child(*spec, "leaseTransitions"));
  if (const Value* h = child(*spec, "holderIdentity"); h != nullptr && h->is_string() && h->get_string().empty()) errors.invalid(path["holderIdentity"], *h, "must not be empty");
}

void prepare_volume_claim(Value& object) { object.get_object()["status"] = Object{{"phase", "Pending"}}; }
void prepare_volume(Value& object) { object.get_object()["status"] = Object{{"phase", "Pending"}}; }

void validate_priority_class(const Value& object, FieldErrors& errors) {
  constexpr std::int64_t kUserMax = 1'000'000'000;
  std::string_view name = json::get_string(object, {"metadata", "name"});
  std::int64_t value = json::get_int(object, {"value"});
  bool ours = (name == "system-node-critical" && value == 2'000'001'000) || (name == "system-cluster-critical" && value == 2'000'000'000);
  if (ours) return;
  if (value > kUserMax) errors.forbidden(Path("value"), cat("maximum allowed value of a user defined priority is ", kUserMax));
  if (name.starts_with("system-")) errors.forbidden(Path("metadata")["name"], "priority class names with 'system-' prefix are reserved for system use only");
}

void validate_priority_class_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  if (json::get_int(object, {"value"}) != json::get_int(old, {"value"})) errors.forbidden(Path("value"), "may not be changed in an update.");
  if (text(object, "preemptionPolicy") != text(old, "preemptionPolicy")) errors.invalid(Path("preemptionPolicy"), text(object, "preemptionPolicy"), "field is immutable");
}

namespace {

// What spec.behavior leaves out of one direction.
void default_scaling_rules(Value& behavior, std::string_view direction) {
  bool up = direction == "scaleUp";
  Value& rules = behavior.get_object()[direction];
  if (!rules.is_object()) rules.emplace_object();
  Object& members = rules.get_object();
  if (up && !members.contains("stabilizationWindowSeconds")) members["stabilizationWindowSeconds"] = 0;
  if (!members.contains("selectPolicy")) members["selectPolicy"] = "Max";
  if (members.contains("policies")) return;
  Array policies;
  if (up) policies.push_back(Object{{"type", "Pods"}, {"value", 4}, {"periodSeconds", 15}});
  policies.push_back(Object{{"type", "Percent"}, {"value", 100}, {"periodSeconds", 15}});
  members["policies"] = std::move(policies);
}

}  // namespace

void default_horizontal_autoscaler(Value& object) {
  Value* spec = mutable_child(object, "spec");
  if (spec == nullptr || text(object, "apiVersion") != "autoscaling/v2") return;
  if (items(*spec, "metrics").empty())
    mutable_items(*spec, "metrics").push_back(Object{{"type", "Resource"}, {"resource", Object{{"name", "cpu"}, {"target", Object{{"type", "Utilization"}, {"averageUtilization", 80}}}}}});
  if (Value* behavior = mutable_child(*spec, "behavior"))
    for (std::string_view direction : {"scaleUp", "scaleDown"}) default_scaling_rules(*behavior, direction);
}

void default_csi_driver(Value& object) {
  Value* spec = mutable_child(object, "spec");
  if (spec != nullptr && items(*spec, "volumeLifecycleModes").empty()) mutable_items(*spec, "volumeLifecycleModes").push_back("Persistent");
}

// Also of a template, whose spec holds a claim's.
void default_resource_claim(Value& object) {
  Value* spec = mutable_child(object, "spec");
  if (Value* inner = spec == nullptr ? nullptr : mutable_child(*spec, "spec")) spec = inner;
  Value* requests = spec == nullptr ? nullptr : json::find(*spec, {"devices", "requests"});
  if (requests == nullptr || !requests->is_array()) return;
  auto one = [](Value& request) {
    if (text(request, "allocationMode") == "ExactCount" && json::get_int(request, {"count"}) == 0) request.get_object()["count"] = 1;
  };
  for (Value& request : requests->get_array()) {
    if (Value* exactly = mutable_child(request, "exactly")) one(*exactly);
    if (child(request, "firstAvailable") != nullptr)
      for (Value& sub : mutable_items(request, "firstAvailable")) one(sub);
  }
}

void validate_resource_claim_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  check_immutable(errors, Path(), object, old, "spec");
}

void default_custom_resource_definition(Value& object) {
  Value* names = json::find(object, {"spec", "names"});
  if (names == nullptr) return;
  std::string kind(text(*names, "kind"));
  if (kind.empty()) return;
  set_missing(*names, "singular", Value(to_lower(kind)));
  set_missing(*names, "listKind", Value(kind + "List"));
}

}  // namespace monopod::api::kinds
