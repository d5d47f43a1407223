#include "api/quota/usage.h"

#include <gtest/gtest.h>

#include "api/quota/check.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr WallTime kNow{std::chrono::seconds(1'767'225'600)};  // 2026-01-01

json::Value tree(std::string_view text) {
  auto parsed = json::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : json::Value();
}

std::string usage(std::string_view group, std::string_view plural, std::string_view object) {
  return format_amounts(quota_usage(*find_resource(group, plural), tree(object), kNow));
}
std::string pod_usage(std::string_view pod) { return usage("", "pods", pod); }

struct PodCase {
  std::string_view name, pod, usage;
};
constexpr PodCase kPods[] = {
    {"nothing asked", R"({"spec":{"containers":[{"name":"a"}]}})", "count/pods=1,pods=1"},
    {"containers add up", R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"cpu":"1"}}},
       {"name":"b","resources":{"requests":{"cpu":"200m"},"limits":{"cpu":"500m","memory":"2Gi"}}}]}})",
     "count/pods=1,cpu=300m,limits.cpu=1500m,limits.memory=2Gi,memory=1Gi,pods=1,requests.cpu=300m,requests.memory=1Gi"},
    {"the largest init container counts where it is more than all containers",
     R"({"spec":{"initContainers":[{"name":"i","resources":{"requests":{"cpu":"1"}}},{"name":"j","resources":{"requests":{"cpu":"2"}}}],
       "containers":[{"name":"a","resources":{"requests":{"cpu":"500m"}}},{"name":"b","resources":{"requests":{"cpu":"500m"}}}]}})",
     "count/pods=1,cpu=2,pods=1,requests.cpu=2"},
    {"sidecars add to containers", R"({"spec":{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}}],
       "containers":[{"name":"a","resources":{"requests":{"cpu":"500m"}}}]}})",
     "count/pods=1,cpu=1500m,pods=1,requests.cpu=1500m"},
    {"an init container runs beside the sidecars before it, not those after it",
     R"({"spec":{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},{"name":"i","resources":{"requests":{"cpu":"2"}}},
       {"name":"t","restartPolicy":"Always","resources":{"requests":{"cpu":"500m"}}}],"containers":[{"name":"a","resources":{"requests":{"cpu":"100m"}}}]}})",
     "count/pods=1,cpu=3,pods=1,requests.cpu=3"},
    {"overhead comes on top, of limits only where there are some",
     R"({"spec":{"overhead":{"cpu":"50m","memory":"10Mi"},"containers":[{"name":"a","resources":{"requests":{"cpu":"100m"},"limits":{"cpu":"200m"}}}]}})",
     "count/pods=1,cpu=150m,limits.cpu=250m,memory=10Mi,pods=1,requests.cpu=150m,requests.memory=10Mi"},
    {"the pod's own amounts replace the sum", R"({"spec":{"resources":{"requests":{"cpu":"3"},"limits":{"memory":"1Gi"}},"containers":[{"name":"a","resources":{"requests":{"cpu":"100m"}}}]}})",
     "count/pods=1,cpu=3,limits.memory=1Gi,pods=1,requests.cpu=3"},
    {"storage, huge pages and extended resources",
     R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"ephemeral-storage":"1Gi","hugepages-2Mi":"4Mi","example.com/gpu":"2"},"limits":{"ephemeral-storage":"2Gi"}}}]}})",
     "count/pods=1,ephemeral-storage=1Gi,hugepages-2Mi=4Mi,limits.ephemeral-storage=2Gi,pods=1,requests.ephemeral-storage=1Gi,requests.example.com/gpu=2,requests.hugepages-2Mi=4Mi"},
    {"a finished pod is only an object", R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]},"status":{"phase":"Succeeded"}})", "count/pods=1"},
    {"a failed one too", R"({"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Failed"}})", "count/pods=1"},
    {"a pod within its grace counts", R"({"metadata":{"deletionTimestamp":"2025-12-31T23:59:50Z","deletionGracePeriodSeconds":10},"spec":{"containers":[{"name":"a"}]}})", "count/pods=1,pods=1"},
    {"one stuck past it does not", R"({"metadata":{"deletionTimestamp":"2025-12-31T23:59:49Z","deletionGracePeriodSeconds":10},"spec":{"containers":[{"name":"a"}]}})", "count/pods=1"},
    {"while a resize is under way the larger amount counts",
     R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"100m"}}}]},"status":{"containerStatuses":[{"name":"a","resources":{"requests":{"cpu":"200m"}},"allocatedResources":{"cpu":"300m"}}]}})",
     "count/pods=1,cpu=300m,pods=1,requests.cpu=300m"},
    {"what cannot be given is not counted",
     R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"9"}}}]},"status":{"conditions":[{"type":"PodResizePending","reason":"Infeasible"}],
       "containerStatuses":[{"name":"a","resources":{"requests":{"cpu":"200m"}}}]}})",
     "count/pods=1,cpu=200m,pods=1,requests.cpu=200m"},
};

TEST(QuotaUsage, OfPods) {
  for (const PodCase& one : kPods) EXPECT_EQ(pod_usage(one.pod), one.usage) << one.name;
}

TEST(QuotaUsage, OfServices) {
  auto of = [](std::string_view spec) { return usage("", "services", cat(R"({"spec":)", spec, "}")); };
  EXPECT_EQ(of(R"({"type":"ClusterIP","ports":[{"port":1}]})"), "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0");
  EXPECT_EQ(of(R"({"type":"NodePort","ports":[{"port":1},{"port":2}]})"), "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2");
  EXPECT_EQ(of(R"({"type":"LoadBalancer","ports":[{"port":1}]})"), "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1");
  EXPECT_EQ(of(R"({"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"port":1},{"port":2,"nodePort":30001}]})"),
            "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1");
}

TEST(QuotaUsage, OfClaims) {
  auto of = [](std::string_view claim) { return usage("", "persistentvolumeclaims", claim); };
  EXPECT_EQ(of(R"({"spec":{"resources":{"requests":{"storage":"10Gi"}}}})"), "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=10Gi");
  EXPECT_EQ(of(R"({"spec":{"storageClassName":"gold","resources":{"requests":{"storage":"1500m"}}}})"),
            "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=2,persistentvolumeclaims=1,requests.storage=2");
  EXPECT_EQ(of(R"({"spec":{"resources":{"requests":{"storage":"1Gi"}}},"status":{"allocatedResources":{"storage":"3Gi"}}})"),
            "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=3Gi");
}

TEST(QuotaUsage, OfEveryOtherKindIsItsCount) {
  EXPECT_EQ(usage("", "configmaps", "{}"), "configmaps=1,count/configmaps=1");
  EXPECT_EQ(usage("", "secrets", "{}"), "count/secrets=1,secrets=1");
  EXPECT_EQ(usage("", "resourcequotas", "{}"), "count/resourcequotas=1,resourcequotas=1");
  EXPECT_EQ(usage("", "replicationcontrollers", "{}"), "count/replicationcontrollers=1,replicationcontrollers=1");
  EXPECT_EQ(usage("apps", "deployments", "{}"), "count/deployments.apps=1");
  EXPECT_EQ(usage("", "serviceaccounts", "{}"), "count/serviceaccounts=1");
}

TEST(QuotaUsage, KnowsWhoCountsAName) {
  struct Case {
    std::string_view group, plural, name;
    bool counted;
  };
  constexpr Case kCases[] = {{"", "pods", "requests.example.com/gpu", true},     {"", "pods", "example.com/gpu", false},
                             {"", "pods", "hugepages-2Mi", true},                {"", "pods", "requests.hugepages-2Mi", true},
                             {"", "pods", "requests.storage", false},            {"", "pods", "services", false},
                             {"", "services", "services.nodeports", true},       {"", "persistentvolumeclaims", "requests.storage", true},
                             {"", "persistentvolumeclaims", "gold.storageclass.storage.k8s.io/requests.storage", true},
                             {"", "persistentvolumeclaims", "gold.storageclass.storage.k8s.io/cpu", false},
                             {"apps", "deployments", "count/deployments.apps", true}, {"apps", "deployments", "count/deployments", false},
                             {"", "events", "count/events", false},              {"", "nodes", "count/nodes", false}};
  for (const Case& one : kCases) EXPECT_EQ(is_counted_by(*find_resource(one.group, one.plural), one.name), one.counted) << one.plural << ' ' << one.name;
}

TEST(QuotaScopes, MatchPods) {
  const Resource& pods = *find_resource("", "pods");
  auto matches = [&pods](std::string_view spec, std::string_view pod) { return matches_scopes(scopes_of(tree(cat(R"({"spec":)", spec, "}"))), pods, tree(pod)); };
  constexpr std::string_view kPlain = R"({"spec":{},"status":{"qosClass":"BestEffort"}})", kBounded = R"({"spec":{"activeDeadlineSeconds":0},"status":{"qosClass":"Burstable"}})",
                             kHigh = R"({"spec":{"priorityClassName":"high"}})",
                             kCross = R"({"spec":{"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"namespaceSelector":{}}}]}}}})";
  struct Case {
    std::string_view scope, pod;
    bool want;
  };
  const Case kCases[] = {{R"({"scopes":["Terminating"]})", kPlain, false},
                         {R"({"scopes":["Terminating"]})", kBounded, true},
                         {R"({"scopes":["NotTerminating"]})", kPlain, true},
                         {R"({"scopes":["BestEffort"]})", kPlain, true},
                         {R"({"scopes":["NotBestEffort"]})", kBounded, true},
                         {R"({"scopes":["NotBestEffort","NotTerminating"]})", kBounded, false},
                         {R"({"scopes":["PriorityClass"]})", kHigh, true},
                         {R"({"scopes":["CrossNamespacePodAffinity"]})", kCross, true},
                         {R"({"scopes":["CrossNamespacePodAffinity"]})", kHigh, false},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}})", kHigh, true},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["low"]}]}})", kHigh, false},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"NotIn","values":["high"]}]}})", kHigh, false},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"NotIn","values":["high"]}]}})", kPlain, true},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"Exists"}]}})", kPlain, false},
                         {R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"DoesNotExist"}]}})", kPlain, true}};
  for (const Case& one : kCases) EXPECT_EQ(matches(one.scope, one.pod), one.want) << one.scope << ' ' << one.pod;
  EXPECT_FALSE(matches_scopes(scopes_of(tree(R"({"spec":{"scopes":["NotTerminating"]}})")), *find_resource("", "services"), tree("{}")));
}

TEST(QuotaCheck, NamesWhatIsMissingByContainer) {
  QuotaView quota = view_quota(tree(R"({"metadata":{"name":"q"},"status":{"hard":{"limits.cpu":"1","requests.memory":"1Gi","pods":"9"},"used":{"limits.cpu":"0","requests.memory":"0","pods":"0"}}})"));
  json::Value pod = tree(R"({"spec":{"initContainers":[{"name":"i","resources":{"limits":{"cpu":"1"}}}],"containers":[{"name":"b"},{"name":"a"}]}})");
  auto refused = demand_on(quota, {*find_resource("", "pods"), pod, nullptr, kNow});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), "failed quota: q: must specify limits.cpu for: a,b; requests.memory for: a,b,i");
  json::Value whole = tree(R"({"spec":{"resources":{"limits":{"cpu":"1"}},"containers":[{"name":"a"}]}})");
  EXPECT_TRUE(demand_on(quota, {*find_resource("", "pods"), whole, nullptr, kNow}));
}

TEST(QuotaCheck, AnUpdateTakesOnlyTheDifference) {
  QuotaView quota = view_quota(tree(R"({"metadata":{"name":"q"},"status":{"hard":{"services.nodeports":"3","services":"1"},"used":{"services.nodeports":"2","services":"1"}}})"));
  json::Value old = tree(R"({"spec":{"type":"NodePort","ports":[{},{}]}})"), now = tree(R"({"spec":{"type":"NodePort","ports":[{},{},{}]}})");
  auto more = demand_on(quota, {*find_resource("", "services"), now, &old, kNow});
  ASSERT_TRUE(more);
  EXPECT_EQ(format_amounts(*more), "services.nodeports=1");
  EXPECT_EQ(find_excess(quota, *more), "");
  auto less = demand_on(quota, {*find_resource("", "services"), old, &now, kNow});
  ASSERT_TRUE(less);
  EXPECT_TRUE(less->empty());
  EXPECT_EQ(find_excess(quota, {{"services", Quantity::of(1)}, {"services.nodeports", Quantity::of(2)}}),
            "exceeded quota: q, requested: services=1,services.nodeports=2, used: services=1,services.nodeports=2, limited: services=1,services.nodeports=3");
}

}  // namespace
}  // namespace monopod::api
