// One constructor for each plugin; the file is named after it.
#pragma once

#include "api/admission/admission.h"

namespace monopod::api {

std::unique_ptr<AdmissionPlugin> make_namespace_lifecycle(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_node_restriction(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_rbac_escalation(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_certificates(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_limit_ranger(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_service_account(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_priority(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_default_toleration_seconds(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_default_storage_class(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_volume_claim_resize(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_storage_object_in_use_protection();
std::unique_ptr<AdmissionPlugin> make_runtime_class(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_default_ingress_class(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_taint_nodes_by_condition(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_pod_security(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_service_addresses(const AdmissionParts& parts);
std::unique_ptr<AdmissionPlugin> make_resource_quota(const AdmissionParts& parts);

}  // namespace monopod::api
