// A6: names and namespaces that would lead elsewhere, in any spelling; a list whose prefix is another resource's beginning; two groups with
// the same plural, of which a user may see one (CVE-2022-3162, CVE-2019-11247).
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps", kRbac = "/apis/rbac.authorization.k8s.io/v1";
http::Headers as(std::string_view token) { return {{"authorization", cat("Bearer ", token)}}; }

async::Task<Result<>> names(TestCluster& cluster) {
  CO_CALL(secret, "POST", "/api/v1/namespaces/kube-system/secrets", R"({"metadata":{"name":"s"},"stringData":{"k":"hidden-value"}})");
  CO_EXPECT_STATUS(secret, 201);
  for (std::string_view name : {"..", ".", "%2e%2e", "%2E.", "..%2fsecrets%2fs", "..%2Fx", "a%2Fb", "a%5Cb", "%00", "a%00b", "%0a", "x%0d%0aX-Injected:%201", "%", "%zz", "..;", "%252e%252e", "%c0%ae%c0%ae", "a%20b", "A"}) {
    for (std::string path : {cat(kMaps, "/", name), cat("/api/v1/namespaces/", name, "/configmaps/x"), cat("/api/v1/namespaces/default/configmaps/x/", name), cat("/api/v1/nodes/", name)}) {
      CO_CALL(read, "GET", path);
      EXPECT_TRUE(read.status == 400 || read.status == 404) << path << ": " << read.status << read.body;
      EXPECT_EQ(read.body.find("aGlkZGVu"), std::string::npos) << path;
      EXPECT_FALSE(read.headers.find("x-injected"));
    }
  }
  for (const std::string& name : {std::string("../x"), std::string(".."), std::string("."), std::string("a/b"), std::string("a%b"), std::string(), std::string("a b"), std::string("A"), std::string("x\\u0000"), std::string("x\\n"), std::string("-a"), std::string("a-"), std::string(254, 'a'), std::string("\\u00e4")}) {
    CO_CALL(made, "POST", kMaps, cat(R"({"metadata":{"name":")", name, R"("}})"));
    EXPECT_EQ(made.status, 422) << name << made.body;
    CO_CALL(space, "POST", "/api/v1/namespaces", cat(R"({"metadata":{"name":")", name, R"("}})"));
    EXPECT_EQ(space.status, 422) << name << space.body;
    CO_CALL(role, "POST", kRbac + "/clusterroles", cat(R"({"metadata":{"name":")", name, R"("},"rules":[]})"));
    bool path_segment = name != ".." && name != "." && !name.empty() && name.find('/') == std::string::npos && name.find('%') == std::string::npos;
    if (!path_segment) EXPECT_EQ(role.status, 422) << name << role.body;
  }
  for (std::string_view body : {R"({"metadata":{"name":"x","namespace":"kube-system"}})", R"({"metadata":{"name":"x","namespace":"../kube-system"}})"}) {
    CO_CALL(elsewhere, "POST", kMaps, std::string(body));
    EXPECT_EQ(elsewhere.status, 400) << elsewhere.body;
  }
  co_return Result<>();
}
TEST(A06Names, LeadNowhereElse) { with_cluster(names); }

async::Task<Result<>> prefixes(TestCluster& cluster) {
  for (std::string_view ns : {"a", "a-b", "ab"}) {
    CO_CALL(space, "POST", "/api/v1/namespaces", cat(R"({"metadata":{"name":")", ns, R"("}})"));
    CO_CALL(map, "POST", cat("/api/v1/namespaces/", ns, "/configmaps"), cat(R"({"metadata":{"name":"in-)", ns, R"("}})"));
    CO_EXPECT_STATUS(map, 201);
  }
  CO_CALL(listed, "GET", "/api/v1/namespaces/a/configmaps");
  EXPECT_NE(listed.body.find("\"in-a\""), std::string::npos);
  EXPECT_EQ(listed.body.find("in-ab"), std::string::npos) << listed.body;
  EXPECT_EQ(listed.body.find("in-a-b"), std::string::npos) << listed.body;
  co_return Result<>();
}
TEST(A06Names, OfNamespacesAreNoPrefixes) { with_cluster(prefixes); }

std::string definition(std::string_view group) {
  return cat(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.)", group, R"("},"spec":{"group":")", group,
             R"(","names":{"plural":"things","kind":"Thing"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}})");
}

async::Task<Result<>> groups(TestCluster& cluster) {
  for (std::string_view group : {"a.example.com", "b.example.com"}) {
    CO_CALL(made, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(group));
    CO_EXPECT_STATUS(made, 201);
    CO_TRY_ASSIGN(Reply served, co_await cluster.eventually(cat("/apis/", group, "/v1/namespaces/default/things"), [](const Reply& reply) { return reply.status == 200; }));
    CO_EXPECT_STATUS(served, 200);
    CO_CALL(thing, "POST", cat("/apis/", group, "/v1/namespaces/default/things"), cat(R"({"apiVersion":")", group, R"(/v1","kind":"Thing","metadata":{"name":"t"},"of":")", group, R"("})"));
    CO_EXPECT_STATUS(thing, 201);
  }
  CO_CALL(role, "POST", kRbac + "/clusterroles", R"({"metadata":{"name":"a"},"rules":[{"apiGroups":["a.example.com"],"resources":["things"],"verbs":["*"]}]})");
  CO_CALL(bound, "POST", kRbac + "/clusterrolebindings",
          R"({"metadata":{"name":"a"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"a"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]})");
  CO_EXPECT_STATUS(bound, 201);
  CO_CALL(own, "GET", "/apis/a.example.com/v1/namespaces/default/things", "", as("alice-token"));
  CO_EXPECT_STATUS(own, 200);
  EXPECT_NE(own.body.find("\"of\":\"a.example.com\""), std::string::npos);
  EXPECT_EQ(own.body.find("b.example.com"), std::string::npos) << "the other group's objects are not in it";
  for (std::string method : {"GET", "DELETE"}) {
    CO_CALL(other, method, "/apis/b.example.com/v1/namespaces/default/things/t", "", as("alice-token"));
    CO_EXPECT_STATUS(other, 403);
  }
  // A namespaced kind is not had at the cluster's scope by name, nor a role's grant in one namespace anywhere else (CVE-2019-11247).
  CO_CALL(cluster_wide, "GET", "/apis/a.example.com/v1/things/t");
  CO_EXPECT_STATUS(cluster_wide, 404);
  CO_CALL(node_in_namespace, "GET", "/api/v1/namespaces/default/nodes");
  CO_EXPECT_STATUS(node_in_namespace, 404);
  co_return Result<>();
}
TEST(A06Names, OfOnePluralInTwoGroupsStayApart) { with_cluster(groups); }

}  // namespace
}  // namespace monopod::api
