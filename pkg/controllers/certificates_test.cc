#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"
#include "pki/authority.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kRequests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
constexpr std::string_view kClient = "kubernetes.io/kube-apiserver-client", kKubelet = "kubernetes.io/kube-apiserver-client-kubelet", kServing = "kubernetes.io/kubelet-serving";
const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};

std::string body_of(std::string_view name, std::string_view signer, std::string_view usage, const pki::IssueOptions& who) {
  pki::PrivateKey key = *pki::PrivateKey::make();
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"request":")", format_base64(*pki::make_signing_request_pem(key, who)), R"(","signerName":")", signer,
             R"(","usages":["digital signature",")", usage, R"("]}})");
}

struct Rig {
  explicit Rig(TestCluster& on)
      : cluster(on),
        authority(*pki::CertificateAuthority::make(on.time)),
        api(on.server->local(api::system_user("system:kube-controller-manager"))),
        informers(on.executor, api, on.time, on.rng),
        scope(on.executor),
        controller(make_certificate_controller({.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng, .deletable_resources = {}, .root_ca_pem = "", .authority = &authority})) {
    scope.spawn(informers.run());
    scope.spawn(controller->run());
  }
  async::Task<> stop() {
    scope.cancel();
    (void)co_await scope.join();
  }
  // The request once it has come to that or is gone; else its last state.
  async::Task<Result<Reply>> until(std::string name, std::string_view sign) {
    co_return co_await cluster.eventually(cat(kRequests, "/", name), [&sign](const Reply& seen) { return seen.status == 404 || seen.body.contains(sign); });
  }
  async::Task<Result<int>> approve(std::string name) {
    CO_TRY_ASSIGN(Reply reply, co_await cluster.call("PATCH", cat(kRequests, "/", name, "/approval"), R"({"status":{"conditions":[{"type":"Approved","status":"True","reason":"r","message":"m"}]}})", kMerge));
    co_return reply.status;
  }

  TestCluster& cluster;
  pki::CertificateAuthority authority;
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::unique_ptr<Controller> controller;
};

async::Task<Result<>> issues(TestCluster& cluster) {
  Rig rig(cluster);
  CO_CALL(made, "POST", kRequests, body_of("alice", kClient, "client auth", {.common_name = "alice", .organizations = {"devs"}}));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(made.text({"spec", "username"}), "admin") << "the server writes who asks";
  CO_TRY_ASSIGN(int approved, co_await rig.approve("alice"));
  EXPECT_EQ(approved, 200);
  CO_TRY_ASSIGN(Reply issued, co_await rig.until("alice", "\"certificate\""));
  auto pem = parse_base64(issued.text({"status", "certificate"}));
  EXPECT_TRUE(pem) << issued.body;
  if (!pem) co_return Result<>();
  CO_TRY_ASSIGN(pki::Certificate certificate, pki::Certificate::parse_pem(*pem));
  EXPECT_TRUE(certificate.signed_by(rig.authority.certificate()));
  CO_TRY_ASSIGN(pki::Identity who, certificate.identity());
  EXPECT_EQ(who.common_name, "alice");
  EXPECT_EQ(who.organizations, std::vector<std::string>{"devs"});
  // It cannot be taken back, and its request goes after an hour.
  CO_CALL(again, "PATCH", kRequests + "/alice/status", R"({"status":{"certificate":"YQ=="}})", kMerge);
  CO_EXPECT_STATUS(again, 422);
  cluster.time.advance(std::chrono::minutes(59));
  CO_TRY_ASSIGN(Reply still, co_await rig.until("alice", "alice"));
  EXPECT_EQ(still.status, 200);
  cluster.time.advance(std::chrono::minutes(2));
  CO_TRY_ASSIGN(Reply gone, co_await rig.until("alice", "(gone)"));
  EXPECT_EQ(gone.status, 404);
  co_await rig.stop();
  co_return Result<>();
}
TEST(Certificates, ApprovedRequestsAreIssuedAndGoAfterAnHour) { api::with_cluster(issues); }

async::Task<Result<>> refuses(TestCluster& cluster) {
  Rig rig(cluster);
  struct Row {
    std::string_view name, signer, usage;
    pki::IssueOptions who;
    std::string_view why;
  };
  const Row rows[] = {
      {"usage", kClient, "server auth", {.common_name = "a"}, "invalid usages for client certificate"},
      {"org", kKubelet, "client auth", {.common_name = "system:node:n", .organizations = {"x"}}, "subject organization is not system:nodes"},
      {"names", kKubelet, "client auth", {.common_name = "system:node:n", .organizations = {"system:nodes"}, .dns_names = {"a.b"}}, "subject alternative names are not allowed"},
      {"bare", kServing, "server auth", {.common_name = "system:node:n", .organizations = {"system:nodes"}}, "DNS or IP subjectAltName is required"},
      {"other", kServing, "server auth", {.common_name = "system:node:n", .organizations = {"system:nodes"}, .dns_names = {"n"}}, "subject common name is not the requestor's name"},
  };
  for (const Row& row : rows) {
    CO_CALL(made, "POST", kRequests, body_of(row.name, row.signer, row.usage, row.who));
    CO_EXPECT_STATUS(made, 201);
    CO_TRY_ASSIGN(int approved, co_await rig.approve(std::string(row.name)));
    EXPECT_EQ(approved, 200);
    CO_TRY_ASSIGN(Reply failed, co_await rig.until(std::string(row.name), "SignerValidationFailure"));
    EXPECT_TRUE(failed.body.contains(row.why)) << row.name << " " << failed.body;
    EXPECT_FALSE(failed.body.contains("\"certificate\""));
  }
  co_await rig.stop();
  co_return Result<>();
}
TEST(Certificates, SignersKeepTheirRules) { api::with_cluster(refuses); }

async::Task<Result<>> approves_nodes(TestCluster& cluster) {
  Rig rig(cluster);
  pki::IssueOptions node{.common_name = "system:node:n1", .organizations = {"system:nodes"}};
  const http::Headers as_node{{"authorization", "Bearer node-token"}};
  CO_CALL(unbound, "POST", kRequests, body_of("early", kKubelet, "client auth", node), as_node);
  CO_EXPECT_STATUS(unbound, 201);
  CO_CALL(bound, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
          R"({"metadata":{"name":"renew"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"},
            "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:nodes"}]})");
  CO_EXPECT_STATUS(bound, 201);
  CO_CALL(own, "POST", kRequests, body_of("own", kKubelet, "client auth", node), as_node);
  CO_TRY_ASSIGN(Reply issued, co_await rig.until("own", "\"certificate\""));
  EXPECT_TRUE(issued.body.contains("Auto approving self kubelet client certificate after SubjectAccessReview.")) << issued.body;
  EXPECT_FALSE(issued.text({"status", "certificate"}).empty());
  node.common_name = "system:node:n2";
  CO_CALL(other, "POST", kRequests, body_of("other", kKubelet, "client auth", node), as_node);
  CO_CALL(last, "POST", kRequests, body_of("last", kKubelet, "client auth", {.common_name = "system:node:n1", .organizations = {"system:nodes"}}), as_node);
  CO_TRY_ASSIGN(Reply after, co_await rig.until("last", "\"certificate\""));
  EXPECT_FALSE(after.text({"status", "certificate"}).empty());
  for (const char* name : {"early", "other"}) {
    CO_CALL(pending, "GET", cat(kRequests, "/", name));
    EXPECT_FALSE(pending.body.contains("Approved")) << name << " waits for somebody";
  }
  cluster.time.advance(std::chrono::hours(25));
  CO_TRY_ASSIGN(Reply gone, co_await rig.until("other", "(gone)"));
  EXPECT_EQ(gone.status, 404) << "nobody has decided for a day";
  co_await rig.stop();
  co_return Result<>();
}
TEST(Certificates, ANodeThatMayRenewsItsOwn) { api::with_cluster(approves_nodes); }

async::Task<Result<>> bounds(TestCluster& cluster) {
  CO_CALL(masters, "POST", kRequests, body_of("m", kClient, "client auth", {.common_name = "a", .organizations = {"system:masters"}}));
  CO_EXPECT_STATUS(masters, 403);
  CO_CALL(legacy, "POST", kRequests, body_of("l", "kubernetes.io/legacy-unknown", "client auth", {.common_name = "a"}));
  CO_EXPECT_STATUS(legacy, 422);
  CO_CALL(broken, "POST", kRequests, R"({"metadata":{"name":"b"},"spec":{"request":"YQ==","signerName":"x.io/y","usages":["client auth","client auth","none"]}})");
  CO_EXPECT_STATUS(broken, 422);
  for (std::string_view part : {"spec.request: Invalid value: []byte{0x61}: PEM block type must be CERTIFICATE REQUEST", "spec.usages[1]: Duplicate value", "spec.usages[2]: Unsupported value"})
    EXPECT_TRUE(broken.body.contains(part)) << part << "\n" << broken.body;
  CO_CALL(made, "POST", kRequests, body_of("a", kClient, "client auth", {.common_name = "a"}));
  CO_CALL(hidden, "PATCH", kRequests + "/a/status", R"({"status":{"conditions":[{"type":"Approved","status":"True"}]}})", kMerge);
  CO_EXPECT_STATUS(hidden, 422);  // not by this door
  std::string roles = "/apis/rbac.authorization.k8s.io/v1/";
  CO_CALL(role, "POST", roles + "clusterroles", R"({"metadata":{"name":"half"},"rules":[{"apiGroups":["certificates.k8s.io"],"resources":["*"],"verbs":["create","get","patch","update"]}]})");
  CO_CALL(bound, "POST", roles + "clusterrolebindings", R"({"metadata":{"name":"half"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"half"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]})");
  http::Headers alice = kMerge;
  alice.set("authorization", "Bearer alice-token");
  CO_CALL(unsigned_, "PATCH", kRequests + "/a/approval", R"({"status":{"conditions":[{"type":"Approved","status":"True"}]}})", alice);
  CO_EXPECT_STATUS(unsigned_, 403);
  EXPECT_TRUE(unsigned_.body.contains("user not permitted to approve requests with signerName")) << unsigned_.body;
  CO_CALL(forged, "PATCH", kRequests + "/a/status", R"({"status":{"certificate":"YQ=="}})", alice);
  CO_EXPECT_STATUS(forged, 403);
  co_return Result<>();
}
TEST(Certificates, RequestsAndVerdictsAreBounded) { api::with_cluster(bounds); }

}  // namespace
}  // namespace monopod::controllers
