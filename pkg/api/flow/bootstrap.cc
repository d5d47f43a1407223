// Facts of Kubernetes 1.35: the mandatory priority levels and flow schemas, and the suggested ones.
#include "api/flow/control.h"
#include "base/strings.h"

namespace monopod::api::flow {
namespace {

struct LevelRow {
  std::string_view name;
  int shares, lendable, queues, hand, length;  // queues 0: refuses
};
constexpr LevelRow kLevels[] = {
    {"catch-all", 5, 0, 0, 0, 0},         {"global-default", 20, 50, 128, 6, 50}, {"leader-election", 10, 0, 16, 4, 50}, {"node-high", 40, 25, 64, 6, 50},
    {"system", 30, 33, 64, 6, 50},        {"workload-high", 40, 50, 128, 6, 50},  {"workload-low", 100, 90, 128, 6, 50},
};

// subjects: "g:group", "u:user", "s:namespace/name", separated by commas. rules: "" is everything; else "verbs|groups|resources|scope"
// separated by ';', scope "c" for the cluster, "*" for all namespaces, or a namespace; "verbs|/path,/path" for paths.
struct SchemaRow {
  std::string_view name, level;
  int precedence;
  std::string_view by, subjects, rules;
};
constexpr std::string_view kElections = "get,create,update||endpoints,configmaps|kube-system;get,create,update|coordination.k8s.io|leases|*";
constexpr SchemaRow kSchemas[] = {
    {"exempt", "exempt", 1, "", "g:system:masters", ""},
    {"catch-all", "catch-all", 10000, "ByUser", "g:system:unauthenticated,g:system:authenticated", ""},
    {"endpoint-controller", "workload-high", 150, "ByUser", "u:system:kube-controller-manager,s:kube-system/endpoint-controller,s:kube-system/endpointslicemirroring-controller",
     "get,create,update||endpoints|*"},
    {"global-default", "global-default", 9900, "ByUser", "g:system:unauthenticated,g:system:authenticated", ""},
    {"kube-controller-manager", "workload-high", 800, "ByNamespace", "u:system:kube-controller-manager", ""},
    {"kube-scheduler", "workload-high", 800, "ByNamespace", "u:system:kube-scheduler", ""},
    {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", "s:kube-system/*", ""},
    {"probes", "exempt", 2, "", "g:system:unauthenticated,g:system:authenticated", "get|/healthz,/readyz,/livez"},
    {"service-accounts", "workload-low", 9000, "ByUser", "g:system:serviceaccounts", ""},
    {"system-leader-election", "leader-election", 100, "ByUser", "u:system:kube-controller-manager,u:system:kube-scheduler", kElections},
    {"system-node-high", "node-high", 400, "ByUser", "g:system:nodes", "*||nodes,nodes/status|c;*|coordination.k8s.io|leases|*"},
    {"system-nodes", "system", 500, "ByUser", "g:system:nodes", ""},
    {"workload-leader-election", "leader-election", 200, "ByUser", "s:kube-system/*", "get,create,update||endpoints,configmaps|*;get,create,update|coordination.k8s.io|leases|*"},
};

json::Array list(std::string_view text) {
  json::Array out;
  for (std::string_view part : split(text, ',')) out.emplace_back(part);
  return out;
}

json::Value subject(std::string_view text) {
  std::string_view name = text.substr(2);
  if (text[0] == 'g') return json::Object{{"kind", "Group"}, {"group", json::Object{{"name", name}}}};
  if (text[0] == 'u') return json::Object{{"kind", "User"}, {"user", json::Object{{"name", name}}}};
  auto [ns, account] = split_once(name, '/');
  return json::Object{{"kind", "ServiceAccount"}, {"serviceAccount", json::Object{{"namespace", ns}, {"name", account.value_or("")}}}};
}

json::Object rules(std::string_view text) {
  json::Object out;
  if (text.empty()) {
    out["resourceRules"] = json::Array{json::Object{{"verbs", json::Array{"*"}}, {"apiGroups", json::Array{"*"}}, {"resources", json::Array{"*"}}, {"namespaces", json::Array{"*"}}, {"clusterScope", true}}};
    out["nonResourceRules"] = json::Array{json::Object{{"verbs", json::Array{"*"}}, {"nonResourceURLs", json::Array{"*"}}}};
    return out;
  }
  json::Array resource, path;
  for (std::string_view one : split(text, ';')) {
    std::vector<std::string_view> parts = split(one, '|');
    if (parts.size() == 2) {
      path.push_back(json::Object{{"verbs", list(parts[0])}, {"nonResourceURLs", list(parts[1])}});
      continue;
    }
    json::Object rule{{"verbs", list(parts[0])}, {"apiGroups", json::Array{parts[1]}}, {"resources", list(parts[2])}};
    if (parts[3] == "c") rule["clusterScope"] = true;
    else rule["namespaces"] = json::Array{parts[3]};
    resource.push_back(std::move(rule));
  }
  if (!resource.empty()) out["resourceRules"] = std::move(resource);
  if (!path.empty()) out["nonResourceRules"] = std::move(path);
  return out;
}

json::Value object(std::string_view kind, std::string_view name, json::Object spec) {
  return json::Object{{"apiVersion", "flowcontrol.apiserver.k8s.io/v1"}, {"kind", kind},
                      {"metadata", json::Object{{"name", name}, {"annotations", json::Object{{"apf.kubernetes.io/autoupdate-spec", "true"}}}}}, {"spec", std::move(spec)}};
}

}  // namespace

std::vector<json::Value> bootstrap_levels() {
  std::vector<json::Value> out;
  out.push_back(object("PriorityLevelConfiguration", "exempt", {{"type", "Exempt"}, {"exempt", json::Object{{"nominalConcurrencyShares", 0}, {"lendablePercent", 0}}}}));
  for (const LevelRow& row : kLevels) {
    json::Object response{{"type", row.queues == 0 ? "Reject" : "Queue"}};
    if (row.queues != 0) response["queuing"] = json::Object{{"queues", row.queues}, {"handSize", row.hand}, {"queueLengthLimit", row.length}};
    json::Object limited{{"nominalConcurrencyShares", row.shares}, {"lendablePercent", row.lendable}, {"limitResponse", std::move(response)}};
    out.push_back(object("PriorityLevelConfiguration", row.name, {{"type", "Limited"}, {"limited", std::move(limited)}}));
  }
  return out;
}

std::vector<json::Value> bootstrap_schemas() {
  std::vector<json::Value> out;
  for (const SchemaRow& row : kSchemas) {
    json::Object policy = rules(row.rules);
    json::Array subjects;
    for (std::string_view text : split(row.subjects, ',')) subjects.push_back(subject(text));
    policy["subjects"] = std::move(subjects);
    json::Object spec{{"priorityLevelConfiguration", json::Object{{"name", row.level}}}, {"matchingPrecedence", row.precedence}, {"rules", json::Array{std::move(policy)}}};
    if (!row.by.empty()) spec["distinguisherMethod"] = json::Object{{"type", row.by}};
    out.push_back(object("FlowSchema", row.name, std::move(spec)));
  }
  return out;
}

}  // namespace monopod::api::flow
