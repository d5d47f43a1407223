#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Says what it was asked.
class EchoNode final : public http::Handler {
 public:
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    std::string seen = cat(exchange.request().method, ' ', exchange.request().target, exchange.request().headers.find("authorization") ? " with credentials" : "");
    co_return co_await exchange.respond(200, {{"content-type", "text/plain"}}, share(std::move(seen)));
  }
};

class OneNode final : public NodeHandlers {
 public:
  http::Handler* find(std::string_view name) override { return name == "n1" ? &node_ : nullptr; }

 private:
  EchoNode node_;
};

const std::string kPods = "/api/v1/namespaces/default/pods";

std::string pod(std::string_view name, std::string_view node, std::string_view containers) {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")", name, R"("},"spec":{"nodeName":")", node, R"(","containers":[)", containers, "]}}");
}

async::Task<Result<>> connects(TestCluster& cluster) {
  OneNode nodes;
  cluster.nodes = &nodes;
  CO_TRY(co_await cluster.restart());
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})");
  CO_CALL(one, "POST", kPods, pod("one", "n1", R"({"name":"c","image":"i"})"));
  CO_EXPECT_STATUS(one, 201);
  CO_CALL(two, "POST", kPods, pod("two", "n1", R"({"name":"a","image":"i"},{"name":"b","image":"i"})"));
  CO_CALL(lost, "POST", kPods, pod("lost", "n2", R"({"name":"c","image":"i"})"));
  CO_CALL(unbound, "POST", kPods, pod("unbound", "", R"({"name":"c","image":"i"})"));

  CO_CALL(log, "GET", kPods + "/one/log?follow=true&tailLines=3");
  EXPECT_EQ(log.body, "GET /containerLogs/default/one/c?follow=true&tailLines=3") << "and the client's credentials stay here";
  CO_CALL(exec, "GET", kPods + "/two/exec?command=ls&command=%2F&container=b&stdout=true");
  EXPECT_EQ(exec.body, "GET /exec/default/two/b?command=ls&command=%2F&stdout=true");
  CO_CALL(forward, "GET", kPods + "/one/portforward?ports=80");
  EXPECT_EQ(forward.body, "GET /portForward/default/one?ports=80");
  CO_CALL(choose, "GET", kPods + "/two/log");
  CO_EXPECT_STATUS(choose, 400);
  EXPECT_EQ(choose.text({"message"}), "a container name must be specified for pod two, choose one of: [a b]");
  CO_CALL(wrong, "GET", kPods + "/two/log?container=z");
  CO_EXPECT_STATUS(wrong, 400);
  EXPECT_EQ(wrong.text({"message"}), "container z is not valid for pod two");
  CO_CALL(path, "GET", kPods + "/two/log?container=..%2F..%2Fsecret");
  CO_EXPECT_STATUS(path, 400);
  CO_CALL(unreachable, "GET", kPods + "/lost/log");
  CO_EXPECT_STATUS(unreachable, 500);
  CO_CALL(empty, "GET", kPods + "/unbound/log");
  CO_EXPECT_STATUS(empty, 200);
  EXPECT_EQ(empty.body, "");
  CO_CALL(hostless, "GET", kPods + "/unbound/exec?command=ls");
  CO_EXPECT_STATUS(hostless, 400);
  EXPECT_EQ(hostless.text({"message"}), "pod unbound does not have a host assigned");
  CO_CALL(waits, "PATCH", kPods + "/one/status",
          R"({"status":{"containerStatuses":[{"name":"c","image":"i","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ContainerCreating"}}}]}})",
          {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(waits, 200);
  CO_CALL(early, "GET", kPods + "/one/log");
  CO_EXPECT_STATUS(early, 400);
  EXPECT_EQ(early.text({"message"}), "container \"c\" in pod \"one\" is waiting to start: ContainerCreating");
  CO_CALL(denied, "GET", kPods + "/one/log", "", {{"authorization", "Bearer alice-token"}});
  CO_EXPECT_STATUS(denied, 403);
  EXPECT_NE(denied.body.find("cannot get resource \\\"pods/log\\\""), std::string::npos) << denied.body;
  // Over a WebSocket streams come as GET: get lets one in, create lets one through.
  std::string roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  CO_CALL(role, "POST", roles + "roles", R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods/exec","pods/attach","pods/portforward","pods/log"],"verbs":["get"]}]})");
  CO_EXPECT_STATUS(role, 201);
  CO_CALL(bound, "POST", roles + "rolebindings", R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]})");
  CO_EXPECT_STATUS(bound, 201);
  for (std::string what : {"exec", "attach", "portforward"}) {
    CO_CALL(half, "GET", kPods + "/one/" + what + "?command=ls", "", {{"authorization", "Bearer alice-token"}});
    CO_EXPECT_STATUS(half, 403);
    EXPECT_NE(half.body.find(cat("cannot create resource \\\"pods/", what)), std::string::npos) << half.body;
  }
  CO_CALL(more, "PATCH", roles + "roles/r", R"([{"op":"add","path":"/rules/0/verbs/-","value":"create"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(more, 200);
  for (std::string what : {"exec", "attach", "portforward"}) {
    CO_CALL(allowed, "GET", kPods + "/one/" + what + "?command=ls", "", {{"authorization", "Bearer alice-token"}});
    CO_EXPECT_STATUS(allowed, 200);
  }
  CO_CALL(node, "POST", "/api/v1/nodes", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})");
  CO_CALL(proxied, "GET", "/api/v1/nodes/n1/proxy/stats/summary");
  EXPECT_EQ(proxied.body, "GET /stats/summary");
  co_return Result<>();
}
TEST(Connect, RequestsReachTheNodeWithItsOwnPathsOnceTheyAreSound) { with_cluster(connects); }

async::Task<Result<>> evictions(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})");
  CO_CALL(made, "POST", kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"app":"x"}},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})");
  CO_CALL(budget, "POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
          R"({"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}})");
  CO_EXPECT_STATUS(budget, 201);
  CO_CALL(running, "PATCH", kPods + "/p/status", R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})", {{"content-type", "application/merge-patch+json"}});
  std::string eviction = R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})";
  CO_CALL(refused, "POST", kPods + "/p/eviction", eviction);
  CO_EXPECT_STATUS(refused, 429);
  EXPECT_EQ(refused.text({"message"}), "Cannot evict pod as it would violate the pod's disruption budget.");
  CO_CALL(allowed, "PATCH", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b/status",
          R"({"status":{"disruptionsAllowed":1,"observedGeneration":1,"currentHealthy":2,"desiredHealthy":1,"expectedPods":2}})",
          {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(allowed, 200);
  CO_CALL(evicted, "POST", kPods + "/p/eviction", eviction);
  CO_EXPECT_STATUS(evicted, 201);
  CO_CALL(live, "GET", kPods + "/p");
  EXPECT_FALSE(live.text({"metadata", "deletionTimestamp"}).empty());
  EXPECT_TRUE(live.body.contains(R"("message":"Eviction API: evicting","observedGeneration":1,"reason":"EvictionByEvictionAPI","status":"True","type":"DisruptionTarget")")) << live.body;
  CO_CALL(used, "GET", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b");
  EXPECT_EQ(json::get_int(used.tree(), {"status", "disruptionsAllowed"}), 0);
  EXPECT_FALSE(used.text({"status", "disruptedPods", "p"}).empty());
  co_return Result<>();
}
TEST(Eviction, AsksTheBudgetFirst) { with_cluster(evictions); }

async::Task<Result<>> unhealthy_evictions(TestCluster& cluster) {
  const std::string budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
  const http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  for (const char* name : {"a", "b"}) {
    CO_CALL(made, "POST", kPods, cat(R"({"metadata":{"name":")", name, R"(","labels":{"app":"x"}},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})"));
    CO_CALL(running, "PATCH", cat(kPods, "/", name, "/status"), R"({"status":{"phase":"Running"}})", merge);
  }
  CO_CALL(budget, "POST", budgets, R"({"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}})");
  auto eviction = [](std::string_view name, std::string_view more) { return cat(R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":")", name, "\"}", more, "}"); };
  CO_CALL(short_of, "PATCH", budgets + "/b/status", R"({"status":{"observedGeneration":1,"desiredHealthy":1,"expectedPods":2}})", merge);
  CO_CALL(refused, "POST", kPods + "/a/eviction", eviction("a", ""));
  CO_EXPECT_STATUS(refused, 429);
  CO_CALL(healthy, "PATCH", budgets + "/b/status", R"({"status":{"currentHealthy":1}})", merge);
  CO_CALL(dry, "POST", kPods + "/a/eviction", eviction("a", R"(,"deleteOptions":{"dryRun":["All"]})"));
  CO_EXPECT_STATUS(dry, 201);
  CO_CALL(untouched, "GET", kPods + "/a");
  EXPECT_FALSE(untouched.body.contains("DisruptionTarget"));
  CO_CALL(stale, "POST", kPods + "/a/eviction", eviction("a", R"(,"deleteOptions":{"preconditions":{"resourceVersion":"1"}})"));
  CO_EXPECT_STATUS(stale, 409);
  CO_CALL(evicted, "POST", kPods + "/a/eviction", eviction("a", ""));
  CO_EXPECT_STATUS(evicted, 201);
  CO_CALL(always, "PATCH", budgets + "/b", R"({"spec":{"minAvailable":2,"unhealthyPodEvictionPolicy":"AlwaysAllow"}})", merge);
  CO_EXPECT_STATUS(always, 200);
  CO_CALL(second, "POST", kPods + "/b/eviction", eviction("b", ""));
  CO_EXPECT_STATUS(second, 201);
  co_return Result<>();
}
TEST(Eviction, AnUnreadyPodGoesWhereTheBudgetDoesNotCountOnIt) { with_cluster(unhealthy_evictions); }

}  // namespace
}  // namespace monopod::api
