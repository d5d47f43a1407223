#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "pki/pki.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kRbac = "/apis/rbac.authorization.k8s.io/v1";
http::Headers as(std::string_view token) { return {{"authorization", cat("Bearer ", token)}}; }

async::Task<Result<>> identities(TestCluster& cluster) {
  CO_CALL(bad, "GET", kMaps, "", as("nonsense"));
  CO_EXPECT_STATUS(bad, 401);
  EXPECT_EQ(bad.text({"reason"}), "Unauthorized");
  CO_CALL(none, "GET", kMaps, "", {{"authorization", ""}});
  CO_EXPECT_STATUS(none, 403);
  EXPECT_EQ(none.text({"message"}),
            "configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"");
  CO_CALL(spoofed, "GET", kMaps, "", {{"authorization", ""}, {"x-remote-user", "admin"}, {"x-remote-group", "system:masters"}});
  CO_EXPECT_STATUS(spoofed, 403);
  CO_CALL(open, "GET", "/version", "", {{"authorization", ""}});
  CO_EXPECT_STATUS(open, 200);
  CO_CALL(closed, "GET", "/apis", "", {{"authorization", ""}});
  CO_EXPECT_STATUS(closed, 403);
  EXPECT_EQ(closed.text({"message"}), "forbidden: User \"system:anonymous\" cannot get path \"/apis\"");
  CO_CALL(debug, "GET", "/debug/pprof/", "", as("alice-token"));
  CO_EXPECT_STATUS(debug, 403);
  CO_CALL(who, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})", as("alice-token"));
  CO_EXPECT_STATUS(who, 201);
  EXPECT_EQ(who.text({"status", "userInfo", "username"}), "alice");
  co_return Result<>();
}
TEST(Authentication, OnlyTrueCredentialsCount) { with_cluster(identities); }

async::Task<Result<>> roles(TestCluster& cluster) {
  CO_CALL(role, "POST", kRbac + "/namespaces/default/roles",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list"],"resourceNames":[]}]})");
  CO_EXPECT_STATUS(role, 201);
  CO_CALL(binding, "POST", kRbac + "/namespaces/default/rolebindings",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"Group","name":"devs","apiGroup":"rbac.authorization.k8s.io"}]})");
  CO_EXPECT_STATUS(binding, 201);
  CO_CALL(listed, "GET", kMaps, "", as("alice-token"));
  CO_EXPECT_STATUS(listed, 200);
  CO_CALL(elsewhere, "GET", "/api/v1/namespaces/kube-system/configmaps", "", as("alice-token"));
  CO_EXPECT_STATUS(elsewhere, 403);
  CO_CALL(everywhere, "GET", "/api/v1/configmaps", "", as("alice-token"));
  CO_EXPECT_STATUS(everywhere, 403);
  EXPECT_NE(everywhere.body.find("at the cluster scope"), std::string::npos);
  CO_CALL(written, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}})", as("alice-token"));
  CO_EXPECT_STATUS(written, 403);
  CO_CALL(can, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
          R"({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"namespace":"default","verb":"list","resource":"configmaps"}}})",
          as("alice-token"));
  EXPECT_TRUE(json::get_bool(can.tree(), {"status", "allowed"})) << can.body;
  EXPECT_EQ(can.text({"status", "reason"}), "RBAC: allowed by RoleBinding \"default/b\" of Role \"r\"");
  CO_CALL(removed, "DELETE", kRbac + "/namespaces/default/rolebindings/b");
  CO_CALL(after, "GET", kMaps, "", as("alice-token"));
  CO_EXPECT_STATUS(after, 403);
  co_return Result<>();
}
TEST(Rbac, BindingsGrantInTheirNamespaceUntilTheyGo) { with_cluster(roles); }

async::Task<Result<>> escalation(TestCluster& cluster) {
  CO_CALL(admin, "POST", kRbac + "/namespaces/default/rolebindings",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"a"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"admin"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]})");
  CO_EXPECT_STATUS(admin, 201);
  CO_CALL(own, "POST", kRbac + "/namespaces/default/roles",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"own"},"rules":[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get"]}]})",
          as("alice-token"));
  CO_EXPECT_STATUS(own, 201);
  CO_CALL(more, "POST", kRbac + "/namespaces/default/roles",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"more"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]})",
          as("alice-token"));
  CO_EXPECT_STATUS(more, 403);
  EXPECT_NE(more.body.find("is attempting to grant RBAC permissions not currently held"), std::string::npos) << more.body;
  CO_CALL(bound, "POST", kRbac + "/namespaces/default/rolebindings",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"up"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]})",
          as("alice-token"));
  CO_EXPECT_STATUS(bound, 403);
  co_return Result<>();
}
TEST(Rbac, NobodyGrantsMoreThanHeHas) { with_cluster(escalation); }

async::Task<Result<>> aggregation(TestCluster& cluster) {
  CO_CALL(view, "GET", kRbac + "/clusterroles/view");
  EXPECT_NE(view.body.find("endpointslices"), std::string::npos);
  CO_CALL(edit, "GET", kRbac + "/clusterroles/edit");
  EXPECT_NE(edit.body.find("endpointslices"), std::string::npos) << "edit takes in view";
  CO_CALL(extra, "POST", kRbac + "/clusterroles",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"x","labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}},"rules":[{"apiGroups":["stable.example.com"],"resources":["crontabs"],"verbs":["get"]}]})");
  CO_EXPECT_STATUS(extra, 201);
  auto api = cluster.server->local(system_user("test"));
  CO_TRY_ASSIGN(auto watch, co_await api->watch({"rbac.authorization.k8s.io", "v1", "clusterroles"}, "", {.field_selector = "metadata.name=admin"}));
  bool found = false;
  while (!found) {
    CO_TRY_ASSIGN(WatchEvent event, co_await watch->next());
    found = event.object && event.object->json()->find("crontabs") != std::string::npos;
  }
  EXPECT_TRUE(found);
  co_return Result<>();
}
TEST(Rbac, AggregatedRolesFollowTheirLabels) { with_cluster(aggregation); }

async::Task<Result<>> impersonation(TestCluster& cluster) {
  CO_CALL(allowed, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})",
          {{"authorization", "Bearer admin-token"}, {"impersonate-user", "bob"}, {"impersonate-group", "g"}});
  EXPECT_EQ(allowed.text({"status", "userInfo", "username"}), "bob");
  CO_CALL(refused, "GET", "/version", "", {{"authorization", "Bearer alice-token"}, {"impersonate-user", "admin"}});
  CO_EXPECT_STATUS(refused, 403);
  EXPECT_NE(refused.text({"message"}).find("cannot impersonate resource \"users\""), std::string::npos) << refused.body;
  CO_CALL(group_only, "GET", "/version", "", {{"authorization", "Bearer alice-token"}, {"impersonate-group", "system:masters"}});
  CO_EXPECT_STATUS(group_only, 500);
  co_return Result<>();
}
TEST(Authentication, ImpersonationIsAPermission) { with_cluster(impersonation); }

async::Task<Result<>> tokens(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bot"}})");
  CO_EXPECT_STATUS(account, 201);
  CO_CALL(issued, "POST", "/api/v1/namespaces/default/serviceaccounts/bot/token",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}})");
  CO_EXPECT_STATUS(issued, 201);
  std::string token = issued.text({"status", "token"});
  EXPECT_EQ(issued.text({"status", "expirationTimestamp"}), "2026-01-01T00:10:00Z");
  CO_CALL(who, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})", as(token));
  EXPECT_EQ(who.text({"status", "userInfo", "username"}), "system:serviceaccount:default:bot");
  CO_CALL(other, "POST", "/api/v1/namespaces/default/serviceaccounts/bot/token",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["vault"]}})");
  CO_CALL(wrong_audience, "GET", "/version", "", as(other.text({"status", "token"})));
  CO_EXPECT_STATUS(wrong_audience, 401);
  CO_CALL(review, "POST", "/apis/authentication.k8s.io/v1/tokenreviews",
          cat(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"audiences":["vault"],"token":")", other.text({"status", "token"}), "\"}}"));
  EXPECT_TRUE(json::get_bool(review.tree(), {"status", "authenticated"})) << review.body;
  std::string unsigned_token = cat(format_base64url(R"({"alg":"none"})"), '.', split(token, '.')[1], ".");
  CO_CALL(none, "GET", "/version", "", as(unsigned_token));
  CO_EXPECT_STATUS(none, 401);
  cluster.time.advance(std::chrono::seconds(700));
  CO_CALL(late, "GET", "/version", "", as(token));
  CO_EXPECT_STATUS(late, 401);
  CO_CALL(fresh, "POST", "/api/v1/namespaces/default/serviceaccounts/bot/token",
          R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}})");
  CO_CALL(gone, "DELETE", "/api/v1/namespaces/default/serviceaccounts/bot");
  CO_CALL(dead, "GET", "/version", "", as(fresh.text({"status", "token"})));
  CO_EXPECT_STATUS(dead, 401);
  EXPECT_EQ(dead.body.find("eyJ"), std::string::npos) << "no token in an error";
  co_return Result<>();
}
TEST(Authentication, ServiceAccountTokensLiveAsLongAsWhatTheyAreBoundTo) { with_cluster(tokens); }

async::Task<Result<>> node_bounds(TestCluster& cluster) {
  for (std::string_view name : {"n1", "n2"}) {
    CO_CALL(made, "POST", "/api/v1/nodes", cat(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")", name, "\"}}"));
    CO_EXPECT_STATUS(made, 201);
    EXPECT_NE(made.body.find("node.kubernetes.io/not-ready"), std::string::npos);
  }
  http::Headers patch{{"authorization", "Bearer node-token"}, {"content-type", "application/merge-patch+json"}};
  CO_CALL(own, "PATCH", "/api/v1/nodes/n1/status", R"({"status":{"nodeInfo":{"kubeletVersion":"v1"}}})", patch);
  CO_EXPECT_STATUS(own, 200);
  CO_CALL(other, "PATCH", "/api/v1/nodes/n2/status", R"({"status":{"nodeInfo":{"kubeletVersion":"v1"}}})", patch);
  CO_EXPECT_STATUS(other, 403);
  CO_CALL(taint, "PATCH", "/api/v1/nodes/n1", R"({"spec":{"taints":null}})", patch);
  CO_EXPECT_STATUS(taint, 403);
  CO_CALL(owner, "PATCH", "/api/v1/nodes/n1", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}]}})", patch);
  CO_EXPECT_STATUS(owner, 403);
  CO_CALL(secrets, "GET", "/api/v1/namespaces/kube-system/secrets", "", as("node-token"));
  CO_EXPECT_STATUS(secrets, 403);
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods",
          R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})", as("node-token"));
  CO_EXPECT_STATUS(pod, 403);
  co_return Result<>();
}
TEST(NodeRestriction, ANodeTouchesOnlyItsOwn) { with_cluster(node_bounds); }

async::Task<Result<>> node_claims(TestCluster& cluster) {
  const std::string claims = "/api/v1/namespaces/default/persistentvolumeclaims";
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  for (std::string_view name : {"named", "p-scratch", "other"}) {
    CO_CALL(made, "POST", claims, cat(R"({"metadata":{"name":")", name, R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  CO_CALL(volume, "POST", "/api/v1/persistentvolumes", R"({"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})");
  CO_EXPECT_STATUS(volume, 201);
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"named"}},
    {"name":"scratch","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]}})");
  CO_EXPECT_STATUS(pod, 201);
  for (auto [path, status] : {std::pair{claims + "/named", 200}, {claims + "/p-scratch", 200}, {claims + "/other", 403}, {claims, 403}, {std::string("/api/v1/persistentvolumes/v"), 200}}) {
    CO_CALL(seen, "GET", path, "", as("node-token"));
    EXPECT_EQ(seen.status, status) << path << seen.body;
  }
  co_return Result<>();
}
TEST(NodeAuthorizer, ANodeReadsTheClaimsOfItsPods) { with_cluster(node_claims); }

}  // namespace
}  // namespace monopod::api
