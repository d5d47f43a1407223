#include "api/kinds/kinds.h"

#include <algorithm>
#include <bit>

#include "api/crd/definition.h"
#include "api/crd/validate.h"
#include "api/kinds/behaviors.h"
#include "api/kinds/rules.h"
#include "api/schema/canonical.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

using namespace kinds;

// The list. A kind that needs nothing of its own has no row.
constexpr Behavior kBehaviors[] = {
    {.group = "", .kind = "Pod", .set_defaults = default_pod, .prepare_create = prepare_pod, .prepare_update = prepare_pod_update, .validate = validate_pod,
     .validate_update = validate_pod_update, .selectable_fields = pod_fields, .generation = true},
    {.group = "", .kind = "Namespace", .set_defaults = default_namespace, .prepare_create = prepare_namespace, .prepare_update = prepare_namespace_update, .selectable_fields = namespace_fields},
    {.group = "", .kind = "Node", .set_defaults = default_node, .validate = validate_node, .validate_update = validate_node_update, .selectable_fields = node_fields, .keep_status = true},
    {.group = "", .kind = "Service", .set_defaults = default_service, .prepare_update = prepare_service_update, .validate = validate_service, .validate_update = validate_service_update,
     .selectable_fields = service_fields},
    {.group = "", .kind = "Endpoints", .validate = validate_endpoints, .deprecated = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice", .create_on_update = true},
    {.group = "", .kind = "ComponentStatus", .deprecated = "v1 ComponentStatus is deprecated in v1.19+"},
    {.group = "", .kind = "ConfigMap", .validate = validate_config_map, .validate_update = validate_config_update},
    {.group = "", .kind = "Secret", .set_defaults = default_secret, .validate = validate_secret, .validate_update = validate_config_update, .selectable_fields = secret_fields},
    {.group = "", .kind = "Event", .validate = validate_event, .selectable_fields = event_fields, .create_on_update = true},
    {.group = "", .kind = "PersistentVolume", .prepare_create = prepare_volume, .validate = validate_volume, .validate_update = validate_volume_update},
    {.group = "", .kind = "PersistentVolumeClaim", .prepare_create = prepare_volume_claim, .validate = validate_volume_claim, .validate_update = validate_volume_claim_update},
    {.group = "", .kind = "LimitRange", .set_defaults = default_limit_range, .validate = validate_limit_range},
    {.group = "", .kind = "ResourceQuota", .validate = validate_resource_quota, .validate_update = validate_resource_quota_update},
    {.group = "", .kind = "ReplicationController", .set_defaults = default_replication_controller, .validate = validate_replication_controller, .selectable_fields = replica_fields, .generation = true},
    {.group = "", .kind = "PodTemplate", .generation = true},
    {.group = "apps", .kind = "Deployment", .set_defaults = default_deployment, .validate = validate_deployment, .validate_update = validate_deployment_update, .generation = true},
    {.group = "apps", .kind = "ReplicaSet", .set_defaults = default_replica_set, .validate = validate_replica_set, .validate_update = validate_deployment_update,
     .selectable_fields = replica_fields, .generation = true},
    {.group = "apps", .kind = "DaemonSet", .set_defaults = default_daemon_set, .validate = validate_daemon_set, .validate_update = validate_deployment_update, .generation = true},
    {.group = "apps", .kind = "StatefulSet", .set_defaults = default_stateful_set, .validate = validate_stateful_set, .validate_update = validate_stateful_set_update, .generation = true},
    {.group = "batch", .kind = "Job", .set_defaults = default_job, .prepare_create = prepare_job, .validate = validate_job, .validate_update = validate_job_update,
     .selectable_fields = job_fields, .generation = true},
    {.group = "batch", .kind = "CronJob", .set_defaults = default_cron_job, .validate = validate_cron_job, .generation = true},
    {.group = "autoscaling", .kind = "HorizontalPodAutoscaler", .set_defaults = default_horizontal_autoscaler, .validate = validate_horizontal_autoscaler},
    {.group = "discovery.k8s.io", .kind = "EndpointSlice", .validate = validate_endpoint_slice, .validate_update = validate_endpoint_slice_update, .generation = true},
    {.group = "events.k8s.io", .kind = "Event", .validate = validate_event, .selectable_fields = modern_event_fields, .create_on_update = true},
    {.group = "coordination.k8s.io", .kind = "Lease", .validate = validate_lease, .unconditional_update = false, .create_on_update = true},
    {.group = "networking.k8s.io", .kind = "NetworkPolicy", .set_defaults = default_network_policy, .validate = validate_network_policy, .generation = true},
    {.group = "networking.k8s.io", .kind = "Ingress", .validate = validate_ingress, .generation = true},
    {.group = "networking.k8s.io", .kind = "IngressClass", .generation = true},
    {.group = "networking.k8s.io", .kind = "IPAddress", .validate = validate_ip_address},
    {.group = "policy", .kind = "PodDisruptionBudget", .validate = validate_disruption_budget, .generation = true},
    {.group = "rbac.authorization.k8s.io", .kind = "Role", .validate = validate_role, .create_on_update = true, .validate_name_as_path = true},
    {.group = "rbac.authorization.k8s.io", .kind = "ClusterRole", .validate = validate_cluster_role, .create_on_update = true, .validate_name_as_path = true},
    {.group = "rbac.authorization.k8s.io", .kind = "RoleBinding", .set_defaults = default_binding, .validate = validate_role_binding, .validate_update = validate_binding_update,
     .create_on_update = true, .validate_name_as_path = true},
    {.group = "rbac.authorization.k8s.io", .kind = "ClusterRoleBinding", .set_defaults = default_binding, .validate = validate_cluster_role_binding, .validate_update = validate_binding_update,
     .create_on_update = true, .validate_name_as_path = true},
    {.group = "scheduling.k8s.io", .kind = "PriorityClass", .validate = validate_priority_class, .validate_update = validate_priority_class_update, .generation = true},
    {.group = "storage.k8s.io", .kind = "StorageClass", .validate_update = validate_storage_class_update},
    {.group = "storage.k8s.io", .kind = "VolumeAttachment", .validate = validate_volume_attachment},
    {.group = "storage.k8s.io", .kind = "CSIDriver", .set_defaults = default_csi_driver, .generation = true},
    {.group = "apiextensions.k8s.io", .kind = "CustomResourceDefinition", .set_defaults = default_custom_resource_definition, .prepare_create = crd::prepare_definition,
     .prepare_update = crd::prepare_definition_update, .validate = crd::validate_definition, .validate_update = crd::validate_definition_update,
     .prepare_delete = crd::prepare_definition_delete, .generation = true, .unconditional_update = false},
    {.group = "certificates.k8s.io", .kind = "CertificateSigningRequest", .prepare_update = prepare_signing_request_update, .validate = validate_signing_request,
     .validate_update = validate_signing_request_update, .selectable_fields = signing_request_fields},
    {.group = "resource.k8s.io", .kind = "ResourceClaim", .set_defaults = default_resource_claim, .validate_update = validate_resource_claim_update},
    {.group = "resource.k8s.io", .kind = "ResourceClaimTemplate", .set_defaults = default_resource_claim, .validate_update = validate_resource_claim_update},
    {.group = "resource.k8s.io", .kind = "ResourceSlice", .generation = true},
    {.group = "resource.k8s.io", .kind = "DeviceClass", .generation = true},
    {.group = "apiregistration.k8s.io", .kind = "APIService", .unconditional_update = false, .validate_name_as_path = true},
    {.group = "admissionregistration.k8s.io", .kind = "MutatingWebhookConfiguration", .generation = true},
    {.group = "admissionregistration.k8s.io", .kind = "ValidatingWebhookConfiguration", .generation = true},
    {.group = "admissionregistration.k8s.io", .kind = "ValidatingAdmissionPolicy", .generation = true},
    {.group = "admissionregistration.k8s.io", .kind = "ValidatingAdmissionPolicyBinding", .generation = true},
    {.group = "flowcontrol.apiserver.k8s.io", .kind = "FlowSchema", .validate = validate_flow_schema, .generation = true},
    {.group = "flowcontrol.apiserver.k8s.io", .kind = "PriorityLevelConfiguration", .validate = validate_priority_level, .generation = true},
};

constexpr Behavior kPlain{.group = "", .kind = ""};
constexpr Behavior kCustom{.group = "", .kind = "", .generation = true, .unconditional_update = false};

const Behavior& behavior_of(const Resource& resource) {
  if (resource.is_custom) return kCustom;
  const Behavior* b = find_behavior(resource.group(), resource.kind());
  return b == nullptr ? kPlain : *b;
}

void settle(Value& object, const Resource& resource) {
  // The tree was canonical before our own code touched it: it cannot have a wrong type now.
  if (auto done = canonicalize_tree(object, resource.type(), {}); !done) log::error("object is not canonical", {{"kind", resource.kind()}, {"error", done.error()}});
}

void carry(Object& to, const Object& from, std::string_view member) {
  const Value* v = from.if_contains(member);
  Value* now = to.if_contains(member);
  if (v == nullptr && now != nullptr) to.erase(member);
  else if (v != nullptr && now == nullptr) to[member] = *v;
  else if (v != nullptr && !same_tree(*now, *v)) *now = *v;
}

bool same_but_meta_and_status(const Value& a, const Value& b, bool status_counts) {
  auto counted = [status_counts](std::string_view k) { return k != "metadata" && (k != "status" || status_counts) && k != "apiVersion" && k != "kind"; };
  const Object &x = a.get_object(), &y = b.get_object();
  for (auto& m : x)
    if (counted(m.key())) {
      const Value* other = y.if_contains(m.key());
      if (other == nullptr || !same_tree(*other, m.value())) return false;
    }
  return std::ranges::all_of(y, [&](auto& m) { return !counted(m.key()) || x.contains(m.key()); });
}

// A status writer of a custom kind touches nothing of metadata; its managedFields are made later.
void keep_metadata(Value& object, const Value& old) {
  Object& meta = json::at_path(object, {"metadata"}).get_object();
  Value version = meta.contains("resourceVersion") ? meta.at("resourceVersion") : Value();
  const Value* managed = meta.if_contains("managedFields");
  std::optional<Value> sent = managed == nullptr ? std::nullopt : std::optional<Value>(*managed);
  const Object* before = json::get_object(old, {"metadata"});
  if (before == nullptr) return;
  meta = *before;
  if (!version.is_null()) meta["resourceVersion"] = std::move(version);
  if (sent) meta["managedFields"] = std::move(*sent);
}

}  // namespace

std::span<const Behavior> behaviors() { return kBehaviors; }

const Behavior* find_behavior(std::string_view group, std::string_view kind) {
  for (const Behavior& b : kBehaviors)
    if (b.kind == kind && b.group == group) return &b;
  return nullptr;
}

TreeShape shape_of(const json::Value& tree) {
  constexpr TreeShape kMix = 0x9e3779b97f4a7c15;
  TreeShape shape = 0;
  if (const Object* o = tree.if_object()) {
    for (auto& m : *o) {
      std::string_view key = m.key();
      const TreeShape front = key.empty() ? 0U : static_cast<unsigned char>(key.front()), back = key.empty() ? 0U : static_cast<unsigned char>(key.back());
      const TreeShape ends = (key.size() << 16U) + (front << 8U) + back;
      shape = std::rotl((shape ^ (ends << 32U) ^ reinterpret_cast<std::uintptr_t>(key.data())) * kMix, 23) + shape_of(m.value());
    }
    return shape * kMix + o->size();
  }
  if (const Array* a = tree.if_array()) {
    for (const Value& item : *a) shape = std::rotl(shape * kMix, 23) + shape_of(item);
    return shape * kMix + a->size() + 1;
  }
  const boost::json::string* text = tree.if_string();
  const bool zero = text != nullptr ? text->empty() : tree.is_bool() ? !tree.get_bool() : tree.is_int64() && tree.get_int64() == 0;
  return static_cast<TreeShape>(tree.kind()) * 2 + (zero ? 1 : 0);
}

TreeShape set_defaults(json::Value& object, const Resource& resource) {
  CanonicalOptions options;
  options.defaults = true;
  auto settle_with_defaults = [&] {
    if (auto done = canonicalize_tree(object, resource.type(), options); !done) log::error("object is not canonical", {{"kind", resource.kind()}, {"error", done.error()}});
    return shape_of(object);
  };
  TreeShape shape = settle_with_defaults();
  const Behavior& b = behavior_of(resource);
  if (b.set_defaults == nullptr) return shape;
  b.set_defaults(object);
  return shape_of(object) == shape ? shape : settle_with_defaults();
}

void prepare_create(json::Value& object, const Resource& resource, std::string_view uid) {
  const Behavior& b = behavior_of(resource);
  Value& meta = json::at_path(object, {"metadata"});
  if (!meta.is_object()) meta.emplace_object();
  for (const char* member : {"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"}) meta.get_object().erase(member);
  if (b.generation) meta.get_object()["generation"] = 1;
  if (!uid.empty()) meta.get_object()["uid"] = uid;
  if (!b.keep_status && resource.find_subresource("status") != nullptr) object.get_object().erase("status");
  if (b.prepare_create != nullptr) b.prepare_create(object);
  settle(object, resource);
}

void prepare_update(json::Value& object, const json::Value& old, const Resource& resource, std::string_view subresource, std::optional<TreeShape> settled) {
  const Behavior& b = behavior_of(resource);
  Value& meta = json::at_path(object, {"metadata"});
  if (!meta.is_object()) meta.emplace_object();
  Object& now = meta.get_object();
  const Object* before = json::get_object(old, {"metadata"});
  static const Object kNone;
  if (before == nullptr) before = &kNone;
  for (std::string_view member : {"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"}) carry(now, *before, member);
  if (json::get_string(object, {"metadata", "uid"}).empty()) carry(now, *before, "uid");
  Object& root = object.get_object();
  if (subresource == "status" || subresource == "approval") {
    // All but status, and what a status writer may touch of metadata, is as it was.
    std::vector<std::string> members;
    for (auto& m : root)
      if (m.key() != "metadata" && m.key() != "status") members.emplace_back(m.key());
    for (const std::string& m : members) root.erase(m);
    for (auto& m : old.get_object())
      if (m.key() != "metadata" && m.key() != "status") root[m.key()] = m.value();
  } else if (resource.find_subresource("status") != nullptr) {
    carry(root, old.get_object(), "status");
  }
  if (resource.is_custom && subresource == "status") keep_metadata(object, old);
  if (b.prepare_update != nullptr) b.prepare_update(object, old, subresource);
  if (settled != shape_of(object)) settle(object, resource);
  if (b.generation && subresource != "status" && !same_but_meta_and_status(object, old, resource.is_custom && resource.find_subresource("status") == nullptr)) {
    Object& counted = object.get_object().at("metadata").get_object();
    bool in_place = counted.contains("generation");
    counted["generation"] = json::get_int(old, {"metadata", "generation"}) + 1;
    if (!in_place) settle(object, resource);
  }
}

FieldErrors validate_create(const json::Value& object, const Resource& resource) {
  FieldErrors errors;
  validate_metadata(object, resource, errors);
  const Behavior& b = behavior_of(resource);
  if (b.validate != nullptr) b.validate(object, errors);
  if (!resource.is_custom) check_rules(object, resource.group(), resource.kind(), errors);
  if (const crd::CustomResource* custom = resource.custom()) crd::validate_object(object, nullptr, *custom, errors);
  if (resource.kind() == "Pod" && resource.group().empty() && json::get_array(object, {"spec", "ephemeralContainers"}) != nullptr)
    errors.forbidden(Path("spec")["ephemeralContainers"], "cannot be set on create");
  return errors;
}

FieldErrors validate_update(const json::Value& object, const json::Value& old, const Resource& resource, std::string_view subresource) {
  FieldErrors errors;
  validate_metadata(object, resource, errors);
  validate_metadata_update(object, old, errors);
  if (const crd::CustomResource* custom = resource.custom()) crd::validate_object(object, &old, *custom, errors);
  const Behavior& b = behavior_of(resource);
  if (b.validate != nullptr && subresource != "status") b.validate(object, errors);
  if (b.validate_update != nullptr) b.validate_update(object, old, subresource, errors);
  if (!resource.is_custom && subresource != "status") {
    check_rules(object, resource.group(), resource.kind(), errors);
    check_immutable_fields(object, old, resource.group(), resource.kind(), errors);
  }
  return errors;
}

std::string_view deprecation(const Resource& resource) { return resource.is_custom ? std::string_view(resource.custom()->deprecation) : behavior_of(resource).deprecated; }

bool takes_unconditional_update(const Resource& resource) { return behavior_of(resource).unconditional_update; }

void prepare_delete(json::Value& object, const Resource& resource, WallTime now) {
  if (const Behavior& b = behavior_of(resource); b.prepare_delete != nullptr) b.prepare_delete(object, now);
}

std::vector<std::string_view> selectable_fields(const Resource& resource) {
  if (const crd::CustomResource* custom = resource.custom()) return {custom->selectable.begin(), custom->selectable.end()};
  const Behavior& b = behavior_of(resource);
  return b.selectable_fields == nullptr ? std::vector<std::string_view>() : b.selectable_fields();
}

bool is_selectable(const Resource& resource, std::string_view field) {
  if (field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced)) return true;
  auto fields = selectable_fields(resource);
  return std::ranges::find(fields, field) != fields.end();
}

std::string selectable_value(const json::Value& object, const Resource& resource, std::string_view field) {
  if (resource.kind() == "Event" && !resource.is_custom) {
    if (field == "source") {
      std::string_view component = json::get_string(object, {"source", "component"});
      return std::string(component.empty() ? json::get_string(object, {"reportingComponent"}) : component);
    }
    // events.k8s.io spells the same things differently; objects are in the form that is stored.
    if (field.starts_with("regarding.")) return selectable_value(object, resource, cat("involvedObject.", field.substr(10)));
    if (field == "reportingController") field = "reportingComponent";
  }
  const Value* at = &object;
  for (std::string_view part : split(field, '.')) {
    at = child(*at, part);
    if (at == nullptr) return field == "spec.unschedulable" || field == "spec.hostNetwork" ? "false" : field == "status.replicas" ? "0" : "";
  }
  if (at->is_string()) return std::string(at->get_string());
  return at->is_structured() ? std::string() : json::format(*at);
}

}  // namespace monopod::api
