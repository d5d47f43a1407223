#include <gtest/gtest.h>

#include "api/testing.h"
#include "api/schema/schema.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kHome = "/api/v1/namespaces/default";
const std::string kQuota = kHome + "/resourcequotas/q";

std::vector<client::Resource> counted_resources() {
  std::vector<client::Resource> out;
  for (std::string_view plural : {"pods", "services", "configmaps"}) {
    const api::Resource* r = api::find_resource("", plural);
    out.push_back({r->group(), r->version(), r->plural(), r->kind(), r->namespaced});
  }
  return out;
}

// The quota controller over a whole server.
struct QuotaFixture {
  explicit QuotaFixture(TestCluster& on)
      : cluster(on), api(on.server->local(api::system_user("system:kube-controller-manager"))), informers(on.executor, api, on.time, on.rng), scope(on.executor),
        controller(make_resource_quota_controller({.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng,
                                                   .deletable_resources = counted_resources, .root_ca_pem = {}, .quotas = &on.server->quotas()})) {
    scope.spawn(controller->run());
    scope.spawn(informers.run());
  }
  async::Task<Result<>> stop() {
    scope.cancel();
    (void)co_await scope.join();
    co_return Result<>();
  }
  // The quota's usage once it is as wanted, else what it was at last.
  async::Task<Result<std::string>> used(std::string wanted) {
    std::string last;
    auto as_wanted = [&](const Reply& got) {
      json::Value tree = got.tree();
      const json::Value* amounts = json::find(tree, {"status", "used"});
      last = amounts == nullptr ? "none" : json::format(*amounts);
      return last == wanted;
    };
    CO_TRY(co_await cluster.eventually(kQuota, as_wanted));
    co_return last;
  }

  TestCluster& cluster;
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::unique_ptr<Controller> controller;
};

#define CO_EXPECT_USED(text)                                            \
  do {                                                                  \
    CO_TRY_ASSIGN(std::string used_now, co_await fixture.used((text))); \
    EXPECT_EQ(used_now, text);                                          \
  } while (false)

std::string named(std::string_view kind, std::string_view name, std::string_view more = "") {
  return cat(R"({"apiVersion":"v1","kind":")", kind, R"(","metadata":{"name":")", name, "\"}", more, "}");
}

async::Task<Result<>> follow(TestCluster& cluster, QuotaFixture& fixture) {
  const http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(account, "POST", kHome + "/serviceaccounts", named("ServiceAccount", "default"));
  CO_EXPECT_STATUS(account, 201);
  CO_CALL(before, "POST", kHome + "/configmaps", named("ConfigMap", "old"));
  CO_CALL(made, "POST", kHome + "/resourcequotas", named("ResourceQuota", "q", R"(,"spec":{"hard":{"configmaps":"5","pods":"2"}})"));
  CO_EXPECT_STATUS(made, 201);
  CO_EXPECT_USED(R"({"configmaps":"1","pods":"0"})");  // what was there before the quota
  CO_CALL(gone, "DELETE", kHome + "/configmaps/old");
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"0"})");
  CO_CALL(pod, "POST", kHome + "/pods", named("Pod", "p", R"(,"spec":{"containers":[{"name":"c","image":"x:1"}]})"));
  CO_EXPECT_STATUS(pod, 201);
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"1"})");
  CO_CALL(finished, "PATCH", kHome + "/pods/p/status", R"({"status":{"phase":"Succeeded"}})", merge);
  CO_EXPECT_STATUS(finished, 200);
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"0"})");  // a finished pod makes room
  CO_CALL(more, "PATCH", kQuota, R"({"spec":{"hard":{"services.nodeports":"4"}}})", merge);
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"0","services.nodeports":"0"})");
  CO_CALL(service, "POST", kHome + "/services", named("Service", "s", R"(,"spec":{"type":"NodePort","ports":[{"port":80}]})"));
  CO_EXPECT_STATUS(service, 201);
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"0","services.nodeports":"1"})");
  CO_CALL(plain, "PATCH", kHome + "/services/s", R"({"spec":{"type":"ClusterIP"}})", merge);
  CO_EXPECT_STATUS(plain, 200);
  CO_EXPECT_USED(R"({"configmaps":"0","pods":"0","services.nodeports":"0"})");
  // A charge for nothing.
  CO_CALL(one, "POST", kHome + "/configmaps", named("ConfigMap", "m"));
  CO_CALL(two, "POST", kHome + "/configmaps", named("ConfigMap", "m"));
  CO_EXPECT_STATUS(two, 409);
  CO_EXPECT_USED(R"({"configmaps":"1","pods":"0","services.nodeports":"0"})");
  co_return Result<>();
}

async::Task<Result<>> leave_scope(TestCluster& cluster, QuotaFixture& fixture) {
  CO_CALL(account, "POST", kHome + "/serviceaccounts", named("ServiceAccount", "default"));
  CO_CALL(made, "POST", kHome + "/resourcequotas", named("ResourceQuota", "q", R"(,"spec":{"hard":{"pods":"5"},"scopes":["NotTerminating"]})"));
  CO_EXPECT_USED(R"({"pods":"0"})");
  CO_CALL(pod, "POST", kHome + "/pods", named("Pod", "p", R"(,"spec":{"containers":[{"name":"c","image":"x:1"}]})"));
  CO_EXPECT_STATUS(pod, 201);
  CO_EXPECT_USED(R"({"pods":"1"})");
  CO_CALL(bounded, "PATCH", kHome + "/pods/p", R"({"spec":{"activeDeadlineSeconds":60}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(bounded, 200);
  CO_EXPECT_USED(R"({"pods":"0"})");
  co_return Result<>();
}

async::Task<Result<>> resync(TestCluster& cluster, QuotaFixture& fixture) {
  CO_CALL(made, "POST", kHome + "/resourcequotas", named("ResourceQuota", "q", R"(,"spec":{"hard":{"configmaps":"5"}})"));
  CO_EXPECT_STATUS(made, 201);
  CO_EXPECT_USED(R"({"configmaps":"0"})");
  CO_CALL(wrong, "PATCH", kQuota + "/status", R"({"status":{"used":{"configmaps":"3"}}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(wrong, 200);
  CO_EXPECT_USED(R"({"configmaps":"3"})");
  cluster.time.advance(std::chrono::minutes(5));
  CO_EXPECT_USED(R"({"configmaps":"0"})");
  co_return Result<>();
}

template <typename Body>
void with_controller(Body body) {
  api::with_cluster([body](TestCluster& cluster) {
    auto run = [](TestCluster& on, Body test) -> async::Task<Result<>> {
      QuotaFixture fixture(on);
      Result<> out = co_await test(on, fixture);
      CO_TRY(co_await fixture.stop());
      co_return out;
    };
    return run(cluster, body);
  });
}

TEST(ResourceQuotaController, FollowsWhatThereIs) { with_controller(follow); }
TEST(ResourceQuotaController, GivesBackWhatLeavesTheScope) { with_controller(leave_scope); }
TEST(ResourceQuotaController, CountsAllAnewEveryFiveMinutes) { with_controller(resync); }

}  // namespace
}  // namespace monopod::controllers
