// A8: what a kubelet's identity may write. Old and new object count (CVE-2021-25735); a node may not hand itself to the garbage collector
// (CVE-2025-5187), nor see through pods of its own making what it has no right to (CVE-2025-4563), nor take tokens that outlive its pods.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kPods = "/api/v1/namespaces/default/pods";
http::Headers node(std::string_view type = "application/merge-patch+json") { return {{"authorization", "Bearer node-token"}, {"content-type", type}}; }
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

async::Task<Result<>> prepare(TestCluster& cluster) {
  for (std::string_view name : {"n1", "n2"}) {
    CO_CALL(made, "POST", "/api/v1/nodes", cat(R"({"metadata":{"name":")", name, R"(","labels":{"node-restriction.kubernetes.io/team":"red"}}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(other, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"unused"}})");
  for (auto [name, on] : {std::pair{"mine", "n1"}, {"theirs", "n2"}}) {
    CO_CALL(made, "POST", kPods, cat(R"({"metadata":{"name":")", name, R"(","labels":{"app":"x"}},"spec":{"nodeName":")", on, R"(","containers":[{"name":"c","image":"i"}]}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  co_return Result<>();
}

async::Task<Result<>> nodes(TestCluster& cluster) {
  CO_TRY(co_await prepare(cluster));
  struct Case {
    std::string path, body;
    int status;
  } cases[] = {
      {"/api/v1/nodes/n1", R"({"metadata":{"labels":{"zone":"a"}}})", 200},
      {"/api/v1/nodes/n2", R"({"metadata":{"labels":{"zone":"a"}}})", 403},
      {"/api/v1/nodes/n1/status", R"({"status":{"nodeInfo":{"kubeletVersion":"v1"}}})", 200},
      {"/api/v1/nodes/n2/status", R"({"status":{"nodeInfo":{"kubeletVersion":"v1"}}})", 403},
      {"/api/v1/nodes/n1", R"({"spec":{"taints":null}})", 403},
      {"/api/v1/nodes/n1", R"({"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})", 403},
      {"/api/v1/nodes/n1/status", R"({"spec":{"taints":null},"status":{"phase":"Running"}})", 403},
      {"/api/v1/nodes/n1", R"({"metadata":{"labels":{"node-restriction.kubernetes.io/team":"blue"}}})", 403},
      {"/api/v1/nodes/n1", R"({"metadata":{"labels":{"node-restriction.kubernetes.io/team":null}}})", 403},
      {"/api/v1/nodes/n1", R"({"metadata":{"labels":{"x.node-restriction.kubernetes.io/team":"blue"}}})", 403},
      {"/api/v1/nodes/n1/status", R"({"metadata":{"labels":{"node-restriction.kubernetes.io/team":"blue"}}})", 403},
      {"/api/v1/nodes/n1", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}]}})", 403},
      {"/api/v1/nodes/n1/status", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}]}})", 403},
  };
  for (const Case& c : cases) {
    CO_CALL(patched, "PATCH", c.path, c.body, node());
    EXPECT_EQ(patched.status, c.status) << c.path << ' ' << c.body << ": " << patched.body;
  }
  CO_CALL(now, "GET", "/api/v1/nodes/n1");
  EXPECT_NE(json::get_array(now.tree(), {"spec", "taints"}), nullptr) << "still tainted";
  EXPECT_EQ(now.text({"metadata", "labels", "node-restriction.kubernetes.io/team"}), "red");
  // An owner that somebody else set may not be changed or taken away by the node either.
  CO_CALL(owned, "PATCH", "/api/v1/nodes/n1", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"default","uid":"u1"}]}})", kMerge);
  CO_EXPECT_STATUS(owned, 200);
  for (std::string body : {R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}]}})", R"({"metadata":{"ownerReferences":null}})"}) {
    CO_CALL(changed, "PATCH", "/api/v1/nodes/n1", body, node());
    EXPECT_EQ(changed.status, 403) << body << changed.body;
  }
  CO_CALL(made, "POST", "/api/v1/nodes", R"({"metadata":{"name":"n3"}})", node("application/json"));
  CO_EXPECT_STATUS(made, 403);
  CO_CALL(removed, "DELETE", "/api/v1/nodes/n2", "", {{"authorization", "Bearer node-token"}});
  CO_EXPECT_STATUS(removed, 403);
  co_return Result<>();
}
TEST(A08Nodes, ChangeOnlyTheirOwnNode) { with_cluster(nodes); }

async::Task<Result<>> pods(TestCluster& cluster) {
  CO_TRY(co_await prepare(cluster));
  struct Case {
    std::string path, body;
    int status;
  } cases[] = {
      {kPods + "/mine/status", R"({"status":{"phase":"Running"}})", 200},
      {kPods + "/theirs/status", R"({"status":{"phase":"Running"}})", 403},
      {kPods + "/mine/status", R"({"metadata":{"labels":{"app":"stolen"}},"status":{"phase":"Running"}})", 403},
      {kPods + "/mine", R"({"metadata":{"annotations":{"a":"b"}}})", 403},
      {kPods + "/theirs", R"({"metadata":{"annotations":{"a":"b"}}})", 403},
  };
  for (const Case& c : cases) {
    CO_CALL(patched, "PATCH", c.path, c.body, node());
    EXPECT_EQ(patched.status, c.status) << c.path << ' ' << c.body << ": " << patched.body;
  }
  CO_CALL(theirs, "DELETE", kPods + "/theirs?gracePeriodSeconds=0", "", {{"authorization", "Bearer node-token"}});
  CO_EXPECT_STATUS(theirs, 403);
  auto mirror = [](std::string_view name, std::string_view meta, std::string_view spec) {
    return cat(R"({"metadata":{"name":")", name, R"(","annotations":{"kubernetes.io/config.mirror":"h"})", meta, R"(},"spec":{"nodeName":"n1")", spec, R"(,"containers":[{"name":"c","image":"i"}]}})");
  };
  constexpr std::string_view kOwn = R"(,"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n1","uid":"u"}])";
  struct Made {
    std::string body;
    int status;
    std::string_view text;
  } made[] = {
      {mirror("a", kOwn, ""), 201, ""},
      {mirror("b", R"(,"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n2","uid":"u"}])", ""), 403, "owner reference set to itself"},
      {mirror("c", R"(,"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"n1","uid":"u"}])", ""), 403, "owner reference set to itself"},
      {mirror("d", kOwn, R"(,"serviceAccountName":"default")"), 403, "service account"},
      {mirror("e", kOwn, R"(,"volumes":[{"name":"v","secret":{"secretName":"s"}}])"), 403, "secrets"},
      {mirror("f", kOwn, R"(,"volumes":[{"name":"v","projected":{"sources":[{"secret":{"name":"s"}}]}}])"), 403, "secrets"},
      {mirror("g", kOwn, R"(,"imagePullSecrets":[{"name":"s"}])"), 403, "secrets"},
      {mirror("h", kOwn, R"(,"volumes":[{"name":"v","configMap":{"name":"s"}}])"), 403, "configmaps"},
      {mirror("i", kOwn, R"(,"initContainers":[{"name":"z","image":"i","envFrom":[{"secretRef":{"name":"s"}}]}])"), 403, "secrets"},
      {mirror("j", kOwn, R"(,"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"s"}}])"), 403, "persistentvolumeclaims"},
      {mirror("k", kOwn, R"(,"resourceClaims":[{"name":"r","resourceClaimName":"s"}])"), 403, "resourceclaims"},
      {R"({"metadata":{"name":"l"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})", 403, "can only create mirror pods"},
      {R"({"metadata":{"name":"m","annotations":{"kubernetes.io/config.mirror":"h"}},"spec":{"nodeName":"n2","containers":[{"name":"c","image":"i"}]}})", 403, "set to itself"},
      {R"({"metadata":{"name":"o","annotations":{"kubernetes.io/config.mirror":"h"}},"spec":{"containers":[{"name":"c","image":"i"}]}})", 403, "set to itself"},
  };
  for (const Made& m : made) {
    CO_CALL(reply, "POST", kPods, m.body, node("application/json"));
    EXPECT_EQ(reply.status, m.status) << m.body << ": " << reply.body;
    EXPECT_NE(reply.text({"message"}).find(m.text), std::string::npos) << m.body << reply.body;
  }
  co_return Result<>();
}
TEST(A08Nodes, ChangeOnlyTheirOwnPodsAndMakeHarmlessOnes) { with_cluster(pods); }

async::Task<Result<>> tokens(TestCluster& cluster) {
  CO_TRY(co_await prepare(cluster));
  CO_CALL(mine, "GET", kPods + "/mine");
  CO_CALL(theirs, "GET", kPods + "/theirs");
  auto request = [](std::string_view bound) { return cat(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600)", bound, "}}"); };
  auto to = [](std::string_view name, std::string_view uid) { return cat(R"(,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":")", name, R"(","uid":")", uid, R"("})"); };
  const std::string path = "/api/v1/namespaces/default/serviceaccounts/default/token";
  struct Case {
    std::string path, body;
    int status;
  } cases[] = {
      {path, request(to("mine", mine.text({"metadata", "uid"}))), 201},
      {path, request(""), 403},
      {path, request(to("mine", "")), 403},
      {path, request(to("mine", "no-such-uid")), 403},
      {path, request(to("theirs", theirs.text({"metadata", "uid"}))), 403},
      {path, request(R"(,"boundObjectRef":{"apiVersion":"v1","kind":"Secret","name":"s"})"), 403},
      {"/api/v1/namespaces/default/serviceaccounts/unused/token", request(to("mine", mine.text({"metadata", "uid"}))), 403},
  };
  for (const Case& c : cases) {
    CO_CALL(reply, "POST", c.path, c.body, node("application/json"));
    EXPECT_EQ(reply.status, c.status) << c.path << ' ' << c.body << ": " << reply.body;
  }
  co_return Result<>();
}
TEST(A08Nodes, GetTokensThatEndWithTheirPods) { with_cluster(tokens); }

}  // namespace
}  // namespace monopod::api
