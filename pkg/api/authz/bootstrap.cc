#include "api/authz/bootstrap.h"

#include <algorithm>

#include "api/authz/rbac.h"
#include "api/selector/selector.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kRead = "get,list,watch";
constexpr std::string_view kReadWrite = "create,delete,deletecollection,get,list,patch,update,watch";
constexpr std::string_view kWriteOnly = "create,delete,deletecollection,patch,update";

constexpr std::string_view kMetricsReader = "system:aggregated-metrics-reader";  // a metrics server's role, under its name

// One rule of a role: verbs on resources of groups ("core" is the empty group), or on paths where resources begin with '/'.
struct RuleRow {
  std::string_view role;
  std::string_view verbs;
  std::string_view groups;
  std::string_view resources;
  std::string_view names = {};
};

constexpr RuleRow kRules[] = {
    {"cluster-admin", "*", "*", "*"},
    {"cluster-admin", "*", "", "*/"},
    {"system:discovery", "get", "", "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/"},
    {"system:public-info-viewer", "get", "", "/healthz,/livez,/readyz,/version,/version/"},
    {"system:monitoring", "get", "", "/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*"},
    {"system:basic-user", "create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"},
    {"system:basic-user", "create", "authentication.k8s.io", "selfsubjectreviews"},
    {"system:service-account-issuer-discovery", "get", "", "/.well-known/openid-configuration,/openid/v1/jwks"},

    {"system:aggregate-to-admin", "create", "authorization.k8s.io", "localsubjectaccessreviews"},
    {"system:aggregate-to-admin", kReadWrite, "rbac.authorization.k8s.io", "rolebindings,roles"},
    {"system:aggregate-to-edit", kRead, "core", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"},
    {"system:aggregate-to-edit", "impersonate", "core", "serviceaccounts"},
    {"system:aggregate-to-edit", kWriteOnly, "core", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"},
    {"system:aggregate-to-edit", "create", "core", "pods/eviction,serviceaccounts/token"},
    {"system:aggregate-to-edit", kWriteOnly, "core",
     "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy"},
    {"system:aggregate-to-edit", kWriteOnly, "apps",
     "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale"},
    {"system:aggregate-to-edit", kWriteOnly, "autoscaling", "horizontalpodautoscalers"},
    {"system:aggregate-to-edit", kWriteOnly, "batch", "cronjobs,jobs"},
    {"system:aggregate-to-edit", kWriteOnly, "policy", "poddisruptionbudgets"},
    {"system:aggregate-to-edit", kWriteOnly, "networking.k8s.io", "ingresses,networkpolicies"},
    {"system:aggregate-to-edit", "create,delete,deletecollection,get,list,patch,update,watch", "coordination.k8s.io", "leases"},
    {"system:aggregate-to-view", kRead, "core",
     "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,"
     "serviceaccounts,services,services/status"},
    {"system:aggregate-to-view", kRead, "core",
     "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status"},
    {"system:aggregate-to-view", kRead, "core", "namespaces"},
    {"system:aggregate-to-view", kRead, "discovery.k8s.io", "endpointslices"},
    {"system:aggregate-to-view", kRead, "apps",
     "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,"
     "replicasets/status,statefulsets,statefulsets/scale,statefulsets/status"},
    {"system:aggregate-to-view", kRead, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"},
    {"system:aggregate-to-view", kRead, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"},
    {"system:aggregate-to-view", kRead, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"},
    {"system:aggregate-to-view", kRead, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"},

    {kMetricsReader, kRead, "metrics.k8s.io", "nodes,pods"},
    {"system:auth-delegator", "create", "authentication.k8s.io", "tokenreviews"},
    {"system:auth-delegator", "create", "authorization.k8s.io", "subjectaccessreviews"},
    {"system:heapster", kRead, "core", "events,namespaces,nodes,pods"},
    {"system:kube-aggregator", kRead, "core", "endpoints,services"},
    {"system:kubelet-api-admin", kRead, "core", "nodes"},
    {"system:kubelet-api-admin", "*", "core", "nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats"},
    {"system:node-bootstrapper", "create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient", "create", "certificates.k8s.io", "certificatesigningrequests/nodeclient"},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"},
    {"system:certificates.k8s.io:kube-apiserver-client-approver", "approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client"},
    {"system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", "approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet"},
    {"system:certificates.k8s.io:kubelet-serving-approver", "approve", "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving"},
    {"system:certificates.k8s.io:legacy-unknown-approver", "approve", "certificates.k8s.io", "signers", "kubernetes.io/legacy-unknown"},
    {"system:node-problem-detector", "get", "core", "nodes"},
    {"system:node-problem-detector", "patch", "core", "nodes/status"},
    {"system:node-problem-detector", "create,patch,update", "core,events.k8s.io", "events"},
    {"system:persistent-volume-provisioner", "create,delete,get,list,watch", "core", "persistentvolumes"},
    {"system:persistent-volume-provisioner", "get,list,update,watch", "core", "persistentvolumeclaims"},
    {"system:persistent-volume-provisioner", kRead, "storage.k8s.io", "storageclasses"},
    {"system:kube-dns", "list,watch", "core", "endpoints,services"},
    {"system:node-proxier", "list,watch", "core", "endpoints,services,nodes"},
    {"system:node-proxier", "list,watch", "discovery.k8s.io", "endpointslices"},
    {"system:node-proxier", "list,watch", "networking.k8s.io", "servicecidrs"},
    {"system:node-proxier", "create,patch,update", "core,events.k8s.io", "events"},

    {"system:node", "create", "authentication.k8s.io", "tokenreviews"},
    {"system:node", "create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews"},
    {"system:node", kRead, "core", "services"},
    {"system:node", "create,get,list,watch", "core", "nodes"},
    {"system:node", "patch,update", "core", "nodes/status"},
    {"system:node", "delete,patch,update", "core", "nodes"},
    {"system:node", "create,patch,update", "core,events.k8s.io", "events"},
    {"system:node", "create,delete,get,list,watch", "core", "pods"},
    {"system:node", "patch,update", "core", "pods/status"},
    {"system:node", "create", "core", "pods/eviction"},
    {"system:node", "get", "core", "persistentvolumes"},
    {"system:node", kRead, "core", "endpoints"},
    {"system:node", "create,delete,get,patch,update", "coordination.k8s.io", "leases"},
    {"system:node", kRead, "storage.k8s.io", "csidrivers,volumeattachments"},
    {"system:node", "create,delete,get,patch,update", "storage.k8s.io", "csinodes"},
    {"system:node", kRead, "node.k8s.io", "runtimeclasses"},
    {"system:node", "create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"},

    {"system:kube-scheduler", "create,patch,update", "core,events.k8s.io", "events"},
    {"system:kube-scheduler", "create,get,list,update,watch", "coordination.k8s.io", "leases"},
    {"system:kube-scheduler", kRead, "core", "namespaces,nodes,persistentvolumeclaims,persistentvolumes,replicationcontrollers,services"},
    {"system:kube-scheduler", "delete,get,list,watch", "core", "pods"},
    {"system:kube-scheduler", "create", "core", "bindings,pods/binding"},
    {"system:kube-scheduler", "patch,update", "core", "pods/status"},
    {"system:kube-scheduler", kRead, "apps", "replicasets,statefulsets"},
    {"system:kube-scheduler", kRead, "policy", "poddisruptionbudgets"},
    {"system:kube-scheduler", kRead, "storage.k8s.io", "csidrivers,csinodes,csistoragecapacities,storageclasses,volumeattachments"},
    {"system:kube-scheduler", "create", "authentication.k8s.io", "tokenreviews"},
    {"system:kube-scheduler", "create", "authorization.k8s.io", "subjectaccessreviews"},

    {"system:kube-controller-manager", "create,patch,update", "core,events.k8s.io", "events"},
    {"system:kube-controller-manager", "create,get,list,update,watch", "coordination.k8s.io", "leases"},
    {"system:kube-controller-manager", "create,get,update", "core", "secrets,serviceaccounts"},
    {"system:kube-controller-manager", "delete", "core", "secrets"},
    {"system:kube-controller-manager", "get", "core", "configmaps,namespaces,secrets,serviceaccounts"},
    {"system:kube-controller-manager", "list,watch", "*", "*"},
    {"system:kube-controller-manager", "create", "core", "serviceaccounts/token"},
    {"system:kube-controller-manager", "delete", "certificates.k8s.io", "certificatesigningrequests"},
    {"system:kube-controller-manager", "update", "certificates.k8s.io", "certificatesigningrequests/approval,certificatesigningrequests/status"},
    {"system:kube-controller-manager", "approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet"},
    {"system:kube-controller-manager", "sign", "certificates.k8s.io", "signers",
     "kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving"},
    {"system:kube-controller-manager", "create", "authentication.k8s.io", "tokenreviews"},
    {"system:kube-controller-manager", "create", "authorization.k8s.io", "subjectaccessreviews"},
};

struct BindingRow {
  std::string_view name, role, kind, subject, ns = {};
};

constexpr BindingRow kBindings[] = {
    {"cluster-admin", "cluster-admin", "Group", "system:masters"},
    {"system:basic-user", "system:basic-user", "Group", "system:authenticated"},
    {"system:discovery", "system:discovery", "Group", "system:authenticated"},
    {"system:kube-controller-manager", "system:kube-controller-manager", "User", "system:kube-controller-manager"},
    {"system:kube-dns", "system:kube-dns", "ServiceAccount", "kube-dns", "kube-system"},
    {"system:kube-scheduler", "system:kube-scheduler", "User", "system:kube-scheduler"},
    {"system:monitoring", "system:monitoring", "Group", "system:monitoring"},
    {"system:node", "system:node", "Group", "system:nodes"},
    {"system:node-proxier", "system:node-proxier", "User", "system:kube-proxy"},
    {"system:public-info-viewer", "system:public-info-viewer", "Group", "system:authenticated"},
    {"system:public-info-viewer", "system:public-info-viewer", "Group", "system:unauthenticated"},
    {"system:service-account-issuer-discovery", "system:service-account-issuer-discovery", "Group", "system:serviceaccounts"},
};

struct AggregateRow {
  std::string_view role, label;
};
constexpr AggregateRow kAggregates[] = {
    {"admin", "rbac.authorization.k8s.io/aggregate-to-admin"},
    {"edit", "rbac.authorization.k8s.io/aggregate-to-edit"},
    {"view", "rbac.authorization.k8s.io/aggregate-to-view"},
};

json::Array words(std::string_view text) {
  json::Array out;
  for (std::string_view word : split(text, ','))
    out.emplace_back(word == "core" ? std::string_view() : word);
  return out;
}

json::Value make_rule(const RuleRow& row) {
  json::Object rule;
  if (row.groups.empty()) {  // paths
    rule["nonResourceURLs"] = words(row.resources == "*/" ? std::string_view("*") : row.resources);
  } else {
    rule["apiGroups"] = words(row.groups);
    rule["resources"] = words(row.resources);
    if (!row.names.empty()) rule["resourceNames"] = words(row.names);
  }
  rule["verbs"] = words(row.verbs);
  return rule;
}

json::Object bootstrap_meta(std::string_view name) {
  return {{"name", name},
          {"annotations", json::Object{{"rbac.authorization.kubernetes.io/autoupdate", "true"}}},
          {"labels", json::Object{{"kubernetes.io/bootstrapping", "rbac-defaults"}}}};
}

json::Value make_object(std::string_view kind, json::Object meta) {
  return json::Object{{"apiVersion", "rbac.authorization.k8s.io/v1"}, {"kind", kind}, {"metadata", std::move(meta)}};
}

bool frozen(const json::Value& live) {
  return json::get_string(live, {"metadata", "annotations", "rbac.authorization.kubernetes.io/autoupdate"}) == "false";
}

// Appends the elements of `wanted` that `live` lacks.
bool add_missing(json::Value& live, const json::Value& wanted, std::string_view member) {
  const json::Array* more = json::get_array(wanted, {member});
  if (more == nullptr) return false;
  json::Value& list = json::at_path(live, {member});
  if (!list.is_array()) list = json::Array();
  bool changed = false;
  for (const json::Value& item : *more) {
    if (std::find(list.as_array().begin(), list.as_array().end(), item) != list.as_array().end()) continue;
    list.as_array().push_back(item);
    changed = true;
  }
  return changed;
}

}  // namespace

std::vector<json::Value> bootstrap_cluster_roles() {
  std::vector<json::Value> out;
  for (const RuleRow& row : kRules) {
    auto it = std::find_if(out.begin(), out.end(), [&](const json::Value& role) { return json::get_string(role, {"metadata", "name"}) == row.role; });
    if (it == out.end()) {
      json::Object meta = bootstrap_meta(row.role);
      constexpr std::string_view kAggregate = "system:aggregate-to-";
      if (row.role.starts_with(kAggregate)) {
        std::string_view target = row.role.substr(kAggregate.size());
        meta["labels"].as_object()[cat("rbac.authorization.k8s.io/aggregate-to-", target)] = "true";
      }
      if (row.role == kMetricsReader)
        for (const AggregateRow& aggregate : kAggregates) meta["labels"].as_object()[aggregate.label] = "true";
      out.push_back(make_object("ClusterRole", std::move(meta)));
      out.back().as_object()["rules"] = json::Array();
      it = out.end() - 1;
    }
    it->as_object()["rules"].as_array().push_back(make_rule(row));
  }
  for (const AggregateRow& row : kAggregates) {
    json::Object meta = bootstrap_meta(row.role);
    if (row.role == "edit") meta["labels"].as_object()["rbac.authorization.k8s.io/aggregate-to-admin"] = "true";
    if (row.role == "view") meta["labels"].as_object()["rbac.authorization.k8s.io/aggregate-to-edit"] = "true";
    json::Value role = make_object("ClusterRole", std::move(meta));
    role.as_object()["aggregationRule"] =
        json::Object{{"clusterRoleSelectors", json::Array{json::Object{{"matchLabels", json::Object{{row.label, "true"}}}}}}};
    out.push_back(std::move(role));
  }
  return out;
}

std::vector<json::Value> bootstrap_cluster_role_bindings() {
  std::vector<json::Value> out;
  for (const BindingRow& row : kBindings) {
    json::Object subject{{"kind", row.kind}, {"name", row.subject}};
    if (row.kind == "ServiceAccount") subject["namespace"] = row.ns;
    else subject["apiGroup"] = "rbac.authorization.k8s.io";
    auto it = std::find_if(out.begin(), out.end(), [&](const json::Value& b) { return json::get_string(b, {"metadata", "name"}) == row.name; });
    if (it != out.end()) {
      it->as_object()["subjects"].as_array().push_back(std::move(subject));
      continue;
    }
    json::Value binding = make_object("ClusterRoleBinding", bootstrap_meta(row.name));
    binding.as_object()["roleRef"] = json::Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", row.role}};
    binding.as_object()["subjects"] = json::Array{std::move(subject)};
    out.push_back(std::move(binding));
  }
  return out;
}

std::vector<json::Value> bootstrap_roles() {
  json::Object meta = bootstrap_meta("extension-apiserver-authentication-reader");
  meta["namespace"] = "kube-system";
  json::Value reader = make_object("Role", std::move(meta));
  reader.as_object()["rules"] = json::Array{make_rule({"", kRead, "core", "configmaps", "extension-apiserver-authentication"})};
  return {std::move(reader)};
}

std::vector<json::Value> bootstrap_role_bindings() {
  json::Object meta = bootstrap_meta("system::extension-apiserver-authentication-reader");
  meta["namespace"] = "kube-system";
  json::Value binding = make_object("RoleBinding", std::move(meta));
  binding.as_object()["roleRef"] =
      json::Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Role"}, {"name", "extension-apiserver-authentication-reader"}};
  json::Array subjects;
  for (std::string_view user : {"system:kube-controller-manager", "system:kube-scheduler"})
    subjects.push_back(json::Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", user}});
  binding.as_object()["subjects"] = std::move(subjects);
  return {std::move(binding)};
}

bool reconcile_role(json::Value& live, const json::Value& wanted) {
  if (frozen(live)) return false;
  std::vector<PolicyRule> have;
  if (const json::Array* rules = json::get_array(live, {"rules"}))
    for (const json::Value& rule : *rules) have.push_back(parse_rule(rule));
  bool changed = false;
  const json::Array* rules = json::find(wanted, {"aggregationRule"}) == nullptr ? json::get_array(wanted, {"rules"}) : nullptr;
  if (rules != nullptr) {
    for (const json::Value& rule : *rules) {
      PolicyRule parsed = parse_rule(rule);
      if (std::any_of(have.begin(), have.end(), [&](const PolicyRule& known) { return known.covers(parsed); })) continue;
      json::Value& list = json::at_path(live, {"rules"});
      if (!list.is_array()) list = json::Array();
      list.as_array().push_back(rule);
      changed = true;
    }
  }
  return changed;
}

bool reconcile_binding(json::Value& live, const json::Value& wanted) {
  return !frozen(live) && add_missing(live, wanted, "subjects");
}

json::Value aggregate_rules(const json::Value& role, const std::vector<json::Value>& all_roles) {
  const json::Array* selectors = json::get_array(role, {"aggregationRule", "clusterRoleSelectors"});
  if (selectors == nullptr) return nullptr;
  json::Array rules;
  for (const json::Value& selector : *selectors) {
    auto parsed = make_label_selector(selector);
    if (!parsed) continue;
    for (const json::Value& other : all_roles) {
      if (json::get_string(other, {"metadata", "name"}) == json::get_string(role, {"metadata", "name"})) continue;
      if (!parsed->matches(json::get_object(other, {"metadata", "labels"}))) continue;
      const json::Array* more = json::get_array(other, {"rules"});
      if (more == nullptr) continue;
      for (const json::Value& rule : *more)
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    }
  }
  return rules;
}

}  // namespace monopod::api
