// A9: what a policy refuses in a container it refuses in init and ephemeral ones too (CVE-2023-2727, CVE-2023-2728, CVE-2024-3177).
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGood = R"("image":"i","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}})";
// What "restricted" refuses of a container.
constexpr std::string_view kBad[] = {
    R"("image":"i","securityContext":{"privileged":true})",
    R"("image":"i","securityContext":{"allowPrivilegeEscalation":true,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}})",
    R"("image":"i","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"],"add":["SYS_ADMIN"]},"seccompProfile":{"type":"RuntimeDefault"}})",
    R"("image":"i","securityContext":{"allowPrivilegeEscalation":false,"runAsUser":0,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}})",
    R"("image":"i","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"Unconfined"}})",
    R"("image":"i","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"procMount":"Unmasked","seccompProfile":{"type":"RuntimeDefault"}})",
};

async::Task<Result<>> pod_security(TestCluster& cluster) {
  CO_CALL(space, "POST", "/api/v1/namespaces", R"({"metadata":{"name":"strict","labels":{"pod-security.kubernetes.io/enforce":"restricted"}}})");
  CO_EXPECT_STATUS(space, 201);
  const std::string pods = "/api/v1/namespaces/strict/pods";
  CO_CALL(account, "POST", "/api/v1/namespaces/strict/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(good, "POST", pods, cat(R"({"metadata":{"name":"good"},"spec":{"initContainers":[{"name":"i",)", kGood, R"(}],"containers":[{"name":"c",)", kGood, "}]}}"));
  CO_EXPECT_STATUS(good, 201);
  for (std::string_view bad : kBad) {
    CO_CALL(plain, "POST", pods, cat(R"({"metadata":{"name":"bad"},"spec":{"containers":[{"name":"c",)", bad, "}]}}"));
    EXPECT_EQ(plain.status, 403) << bad << plain.body;
    CO_CALL(second, "POST", pods, cat(R"({"metadata":{"name":"bad"},"spec":{"containers":[{"name":"c",)", kGood, R"(},{"name":"d",)", bad, "}]}}"));
    EXPECT_EQ(second.status, 403) << bad << second.body;
    CO_CALL(init, "POST", pods, cat(R"({"metadata":{"name":"bad"},"spec":{"initContainers":[{"name":"i",)", bad, R"(}],"containers":[{"name":"c",)", kGood, "}]}}"));
    EXPECT_EQ(init.status, 403) << bad << init.body;
    CO_CALL(ephemeral, "PATCH", pods + "/good/ephemeralcontainers", cat(R"({"spec":{"ephemeralContainers":[{"name":"e",)", bad, "}]}}"), {{"content-type", "application/strategic-merge-patch+json"}});
    EXPECT_EQ(ephemeral.status, 403) << bad << ephemeral.body;
  }
  CO_CALL(fine, "PATCH", pods + "/good/ephemeralcontainers", cat(R"({"spec":{"ephemeralContainers":[{"name":"e",)", kGood, "}]}}"), {{"content-type", "application/strategic-merge-patch+json"}});
  CO_EXPECT_STATUS(fine, 200);
  CO_CALL(direct, "PATCH", pods + "/good", cat(R"({"spec":{"ephemeralContainers":[{"name":"f",)", kGood, "}]}}"), {{"content-type", "application/strategic-merge-patch+json"}});
  EXPECT_EQ(direct.status, 422) << "not through the front door: " << direct.body;
  co_return Result<>();
}
TEST(A09Containers, OfEveryListAreHeldToThePolicy) { with_cluster(pod_security); }

async::Task<Result<>> node_sees(TestCluster& cluster) {
  // The other way round: what a node may read follows from every list as well, and from nothing else.
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods",
          R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","initContainers":[{"name":"i","image":"i","env":[{"name":"e","valueFrom":{"secretKeyRef":{"name":"of-init","key":"k"}}}]}],"containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":"of-main"}}]}]}})");
  CO_EXPECT_STATUS(pod, 201);
  CO_CALL(ephemeral, "PATCH", "/api/v1/namespaces/default/pods/p/ephemeralcontainers", R"({"spec":{"ephemeralContainers":[{"name":"e","image":"i","envFrom":[{"secretRef":{"name":"of-ephemeral"}}]}]}})",
          {{"content-type", "application/strategic-merge-patch+json"}});
  CO_EXPECT_STATUS(ephemeral, 200);
  for (std::string_view name : {"of-init", "of-main", "of-ephemeral", "of-nobody"}) {
    CO_CALL(made, "POST", "/api/v1/namespaces/default/secrets", cat(R"({"metadata":{"name":")", name, R"("}})"));
    CO_EXPECT_STATUS(made, 201);
    CO_CALL(read, "GET", cat("/api/v1/namespaces/default/secrets/", name), "", {{"authorization", "Bearer node-token"}});
    EXPECT_EQ(read.status, name == "of-nobody" ? 403 : 200) << name << read.body;
  }
  co_return Result<>();
}
TEST(A09Containers, OfEveryListSayWhatTheirNodeMayRead) { with_cluster(node_sees); }

}  // namespace
}  // namespace monopod::api
