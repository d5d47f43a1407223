// The functions that the rows of kinds.cc name, one block for each file. Internal to api/kinds.
#pragma once

#include "api/kinds/kinds.h"
#include "api/kinds/names.h"

namespace monopod::api::kinds {

using json::Array;
using json::Object;
using json::Value;

// Children for the many loops over lists; empty where absent or of another type.
const Array& items(const Value& object, std::string_view member);
Array& mutable_items(Value& object, std::string_view member);
const Value* child(const Value& object, std::string_view member);      // null where absent
Value* mutable_child(Value& object, std::string_view member);
std::string_view text(const Value& object, std::string_view member);  // "" where absent
void set_missing(Value& object, std::string_view member, Value value); // also where it is ""
void report(FieldErrors& errors, const Path& path, std::string_view value, const Messages& messages);
void check_nonnegative(FieldErrors& errors, const Path& path, const Value* number);
void check_immutable(FieldErrors& errors, const Path& path, const Value& now, const Value& old, std::string_view member);
void check_supported(FieldErrors& errors, const Path& path, const Value& object, std::string_view member, std::initializer_list<std::string_view> values);
void check_labels(FieldErrors& errors, const Path& path, const Value* labels);
void check_label_selector(FieldErrors& errors, const Path& path, const Value& selector);
// A percentage or a count, not negative.
void check_int_or_percent(FieldErrors& errors, const Path& path, const Value* value);

// meta.cc
void validate_metadata(const Value& object, const Resource& resource, FieldErrors& errors);
void validate_metadata_update(const Value& object, const Value& old, FieldErrors& errors);

// pod_defaults.cc
void default_pod(Value& pod);
void default_pod_spec(Value& spec);
void default_template(Value& owner_spec);  // its template's pod spec
// pod.cc
void prepare_pod(Value& pod);
void prepare_pod_update(Value& pod, const Value& old, std::string_view subresource);
void validate_pod(const Value& pod, FieldErrors& errors);
void validate_pod_update(const Value& pod, const Value& old, std::string_view subresource, FieldErrors& errors);
std::vector<std::string_view> pod_fields();
std::string_view qos_class(const Value& pod);
// pod_spec.cc
void validate_pod_spec(const Value& spec, const Path& path, FieldErrors& errors, bool templ);
// container.cc
void validate_containers(const Value& spec, const Path& path, FieldErrors& errors);
void validate_resources(const Value& resources, const Path& path, FieldErrors& errors);

// workloads.cc
void default_deployment(Value& object);
void default_replica_set(Value& object);
void default_daemon_set(Value& object);
void default_stateful_set(Value& object);
void default_replication_controller(Value& object);
void default_job(Value& object);
void default_cron_job(Value& object);
void prepare_job(Value& object);
void validate_deployment(const Value& object, FieldErrors& errors);
void validate_deployment_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_replica_set(const Value& object, FieldErrors& errors);
void validate_replication_controller(const Value& object, FieldErrors& errors);
void validate_daemon_set(const Value& object, FieldErrors& errors);
void validate_stateful_set(const Value& object, FieldErrors& errors);
void validate_stateful_set_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_job(const Value& object, FieldErrors& errors);
void validate_job_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_cron_job(const Value& object, FieldErrors& errors);
void validate_job_policies(const Value& spec, const Path& path, FieldErrors& errors);  // job_policies.cc
std::vector<std::string_view> replica_fields();
std::vector<std::string_view> job_fields();

// service.cc
void default_service(Value& object);
void prepare_service_update(Value& object, const Value& old, std::string_view subresource);
void validate_service(const Value& object, FieldErrors& errors);
void validate_service_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
std::vector<std::string_view> service_fields();
void validate_endpoints(const Value& object, FieldErrors& errors);
void validate_endpoint_slice(const Value& object, FieldErrors& errors);
void validate_endpoint_slice_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void default_network_policy(Value& object);

// config.cc
void default_secret(Value& object);
void validate_config_map(const Value& object, FieldErrors& errors);
void validate_config_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_secret(const Value& object, FieldErrors& errors);
std::vector<std::string_view> secret_fields();

// quota.cc
void validate_resource_quota(const Value& object, FieldErrors& errors);
void validate_resource_quota_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);

// cluster.cc
void default_namespace(Value& object);
void prepare_namespace(Value& object);
void prepare_namespace_update(Value& object, const Value& old, std::string_view subresource);
std::vector<std::string_view> namespace_fields();
void default_node(Value& object);
void validate_node(const Value& object, FieldErrors& errors);
void validate_node_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
std::vector<std::string_view> node_fields();
void validate_event(const Value& object, FieldErrors& errors);
std::vector<std::string_view> event_fields();
std::vector<std::string_view> modern_event_fields();  // of events.k8s.io
void validate_lease(const Value& object, FieldErrors& errors);
void prepare_volume_claim(Value& object);
void prepare_volume(Value& object);
void validate_priority_class(const Value& object, FieldErrors& errors);
void validate_priority_class_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void default_horizontal_autoscaler(Value& object);
void default_csi_driver(Value& object);
void default_custom_resource_definition(Value& object);
void default_resource_claim(Value& object);
void validate_resource_claim_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);

// policy.cc
void validate_disruption_budget(const Value& object, FieldErrors& errors);
void validate_horizontal_autoscaler(const Value& object, FieldErrors& errors);
void default_limit_range(Value& object);
void validate_limit_range(const Value& object, FieldErrors& errors);

// networking.cc
void validate_ingress(const Value& object, FieldErrors& errors);
void validate_network_policy(const Value& object, FieldErrors& errors);
void validate_ip_address(const Value& object, FieldErrors& errors);

// storage.cc
void validate_volume_claim(const Value& object, FieldErrors& errors);
void validate_volume_claim_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_volume(const Value& object, FieldErrors& errors);
void validate_volume_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_storage_class_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);
void validate_volume_attachment(const Value& object, FieldErrors& errors);

// flow.cc
void validate_flow_schema(const Value& object, FieldErrors& errors);
void validate_priority_level(const Value& object, FieldErrors& errors);

// certificates.cc
void prepare_signing_request_update(Value& request, const Value& old, std::string_view subresource);
void validate_signing_request(const Value& request, FieldErrors& errors);
void validate_signing_request_update(const Value& request, const Value& old, std::string_view subresource, FieldErrors& errors);
std::vector<std::string_view> signing_request_fields();

// rbac.cc
void default_binding(Value& object);
void validate_role(const Value& object, FieldErrors& errors);
void validate_cluster_role(const Value& object, FieldErrors& errors);
void validate_role_binding(const Value& object, FieldErrors& errors);
void validate_cluster_role_binding(const Value& object, FieldErrors& errors);
void validate_binding_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors);

}  // namespace monopod::api::kinds
