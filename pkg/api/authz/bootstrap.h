// The roles and bindings that every cluster has (k8s.io RBAC bootstrap policy), as compact tables. Created at first start and
// reconciled at each: missing rules and subjects come back, what an administrator added stays, unless
// rbac.authorization.kubernetes.io/autoupdate is "false".
#pragma once

#include <vector>

#include "codec/json.h"

namespace monopod::api {

std::vector<json::Value> bootstrap_cluster_roles();
std::vector<json::Value> bootstrap_cluster_role_bindings();
std::vector<json::Value> bootstrap_roles();          // kube-system, kube-public
std::vector<json::Value> bootstrap_role_bindings();

// Adds to `live` what `wanted` has and it lacks; false when there is nothing to add.
bool reconcile_role(json::Value& live, const json::Value& wanted);
bool reconcile_binding(json::Value& live, const json::Value& wanted);

// The rules of an aggregated ClusterRole: those of every role that one of its selectors picks. Null: not aggregated.
json::Value aggregate_rules(const json::Value& role, const std::vector<json::Value>& all_roles);

}  // namespace monopod::api
