#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"
#include "pki/digest.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kSecrets = "/api/v1/namespaces/kube-system/secrets", kInfo = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

std::string token(std::string_view id, std::string_view more) {
  return cat(R"({"metadata":{"name":"bootstrap-token-)", id, R"("},"type":"bootstrap.kubernetes.io/token","stringData":{"token-id":")", id, R"(","token-secret":"0123456789abcdef")", more, "}}");
}

async::Task<Result<Reply>> whoami(TestCluster& cluster, std::string bearer) {
  co_return co_await cluster.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", {{"authorization", cat("Bearer ", bearer)}});
}

async::Task<Result<>> authenticates(TestCluster& cluster) {
  struct Row {
    std::string_view id, more, groups;  // no groups: refused
  };
  const Row rows[] = {
      {"aaaaa1", R"(,"usage-bootstrap-authentication":"true")", R"(["system:bootstrappers","system:authenticated"])"},
      {"aaaaa2", R"(,"usage-bootstrap-authentication":"true","auth-extra-groups":"system:bootstrappers:workers,system:bootstrappers:a-1")",
       R"(["system:bootstrappers","system:bootstrappers:workers","system:bootstrappers:a-1","system:authenticated"])"},
      {"aaaaa3", R"(,"usage-bootstrap-authentication":"true","auth-extra-groups":"system:masters")", ""},
      {"aaaaa4", R"(,"usage-bootstrap-authentication":"false")", ""},
      {"aaaaa5", "", ""},
      {"aaaaa6", R"(,"usage-bootstrap-authentication":"true","expiration":"2001-01-01T00:00:00Z")", ""},
      {"aaaaa7", R"(,"usage-bootstrap-authentication":"true","expiration":"soon")", ""},
      {"aaaaa8", R"(,"usage-bootstrap-authentication":"true","auth-extra-groups":"system:bootstrappers:")", ""},
  };
  for (const Row& row : rows) {
    CO_CALL(made, "POST", kSecrets, token(row.id, row.more));
    CO_EXPECT_STATUS(made, 201);
    CO_TRY_ASSIGN(Reply who, co_await whoami(cluster, cat(row.id, ".0123456789abcdef")));
    EXPECT_EQ(who.status, row.groups.empty() ? 401 : 201) << row.id << who.body;
    if (row.groups.empty()) continue;
    EXPECT_EQ(who.text({"status", "userInfo", "username"}), cat("system:bootstrap:", row.id));
    EXPECT_TRUE(who.body.contains(row.groups)) << who.body;
    CO_TRY_ASSIGN(Reply wrong, co_await whoami(cluster, cat(row.id, ".0123456789abcdee")));
    EXPECT_EQ(wrong.status, 401);
  }
  CO_CALL(opaque, "POST", kSecrets, R"({"metadata":{"name":"bootstrap-token-bbbbb1"},"stringData":{"token-id":"bbbbb1","token-secret":"0123456789abcdef","usage-bootstrap-authentication":"true"}})");
  for (const char* bearer : {"bbbbb1.0123456789abcdef", "cccccc.0123456789abcdef", "AAAAA1.0123456789abcdef", "aaaaa1.0123456789abcde"}) {
    CO_TRY_ASSIGN(Reply refused, co_await whoami(cluster, bearer));
    EXPECT_EQ(refused.status, 401) << bearer;
  }
  co_return Result<>();
}
TEST(BootstrapTokens, SayWhoAMachineIs) { api::with_cluster(authenticates); }

async::Task<Result<>> signs_and_cleans(TestCluster& cluster) {
  client::LocalApi api(cluster.server->local(api::system_user("system:kube-controller-manager")));
  client::InformerFactory informers(cluster.executor, api, cluster.time, cluster.rng);
  async::Scope scope(cluster.executor);
  std::unique_ptr<Controller> controller =
      make_bootstrap_token_controller({.executor = cluster.executor, .api = api, .informers = informers, .time = cluster.time, .rng = cluster.rng, .deletable_resources = {}, .root_ca_pem = ""});
  scope.spawn(informers.run());
  scope.spawn(controller->run());
  std::string end = format_rfc3339(cluster.time.wall() + std::chrono::minutes(10));
  CO_CALL(made, "POST", kSecrets, token("aaaaa1", cat(R"(,"usage-bootstrap-signing":"true","expiration":")", end, "\"")));
  CO_CALL(silent, "POST", kSecrets, token("aaaaa2", ""));
  CO_CALL(info, "POST", "/api/v1/namespaces/kube-public/configmaps", R"({"metadata":{"name":"cluster-info"},"data":{"kubeconfig":"apiVersion: v1\n","jws-kubeconfig-zzzzzz":"old","other":"kept"}})");
  CO_EXPECT_STATUS(info, 201);
  CO_TRY_ASSIGN(Reply signed_info, co_await cluster.eventually(kInfo, [](const Reply& seen) { return seen.body.contains("jws-kubeconfig-aaaaa1") && !seen.body.contains("zzzzzz"); }));
  std::string jws = signed_info.text({"data", "jws-kubeconfig-aaaaa1"});
  std::string header = format_base64url(R"({"alg":"HS256","kid":"aaaaa1"})");
  EXPECT_EQ(jws, cat(header, "..", format_base64url(pki::hmac_sha256("0123456789abcdef", cat(header, ".", format_base64url("apiVersion: v1\n"))))));
  EXPECT_FALSE(signed_info.body.contains("zzzzzz")) << "a token that is gone signs nothing";
  EXPECT_FALSE(signed_info.body.contains("jws-kubeconfig-aaaaa2"));
  EXPECT_EQ(signed_info.text({"data", "other"}), "kept");
  cluster.time.advance(std::chrono::minutes(11));
  CO_TRY_ASSIGN(Reply unsigned_info, co_await cluster.eventually(kInfo, [](const Reply& seen) { return !seen.body.contains("jws-kubeconfig-"); }));
  EXPECT_FALSE(unsigned_info.body.contains("jws-kubeconfig-")) << unsigned_info.body;
  CO_TRY_ASSIGN(Reply gone, co_await cluster.eventually(kSecrets + "/bootstrap-token-aaaaa1", [](const Reply& seen) { return seen.status == 404; }));
  CO_EXPECT_STATUS(gone, 404);
  CO_CALL(kept, "GET", kSecrets + "/bootstrap-token-aaaaa2");
  CO_EXPECT_STATUS(kept, 200);
  scope.cancel();
  (void)co_await scope.join();
  co_return Result<>();
}
TEST(BootstrapTokens, SignTheClustersAddressAndGoWhenTheyExpire) { api::with_cluster(signs_and_cleans); }

}  // namespace
}  // namespace monopod::controllers
