#include "api/admission/plugins.h"

namespace monopod::api {

std::vector<std::unique_ptr<AdmissionPlugin>> make_admission_plugins(const AdmissionParts& parts) {
  std::vector<std::unique_ptr<AdmissionPlugin>> list;
  list.push_back(make_namespace_lifecycle(parts));       // first: nothing else should work for a namespace that is not there
  list.push_back(make_node_restriction(parts));          // a node's identity is bounded before defaults are added for it
  list.push_back(make_rbac_escalation(parts));
  list.push_back(make_certificates(parts));
  list.push_back(make_limit_ranger(parts));
  list.push_back(make_service_account(parts));
  list.push_back(make_priority(parts));
  list.push_back(make_default_toleration_seconds(parts));
  list.push_back(make_default_storage_class(parts));
  list.push_back(make_volume_claim_resize(parts));       // validates only
  list.push_back(make_storage_object_in_use_protection());
  list.push_back(make_runtime_class(parts));             // behind the default tolerations: those of the class are merged with them
  list.push_back(make_default_ingress_class(parts));
  list.push_back(make_taint_nodes_by_condition(parts));
  list.push_back(make_pod_security(parts));              // validates only
  list.push_back(make_service_addresses(parts));         // last of those that change: it reserves, and a refusal after it must give back
  list.push_back(make_resource_quota(parts));            // last of all: it charges, and what is refused after it waits for a recount
  return list;
}

}  // namespace monopod::api
