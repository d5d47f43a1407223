// The authorisers in order; the first that allows decides, silence of all is a denial.
#pragma once

#include "api/authz/rbac.h"

namespace monopod::api {

class Authorizer {
 public:
  explicit Authorizer(CacheSet& caches) : caches_(caches), rbac_(caches) {}
  Decision authorize(const Attributes& attributes);
  Rbac& rbac() { return rbac_; }

 private:
  // Kubelets (system:node:<name> in system:nodes) beyond RBAC: the secrets, configmaps and service accounts of their own pods.
  Decision authorize_node(const Attributes& attributes);

  CacheSet& caches_;
  Rbac rbac_;
};

// Whether a part of a pod names an object of that kind (secrets, configmaps, persistentvolumeclaims): in a volume, an environment variable, a
// pull secret. name "": any object.
bool pod_refers(const json::Value& part, std::string_view plural, std::string_view name = {});

// The node a kubelet identity speaks for; empty where the user is none.
std::string node_of(const UserInfo& user);

}  // namespace monopod::api
