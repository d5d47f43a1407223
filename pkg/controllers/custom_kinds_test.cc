// Custom kinds in the eyes of the controllers: collected with their owners, counted, and emptied with their namespace.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "controllers/controllers.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kDefinitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const std::string kWidgets = "/apis/example.com/v1/namespaces/default/widgets";
const std::string kMaps = "/api/v1/namespaces/default/configmaps";

constexpr std::string_view kDefinition = R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com",
  "scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}})";

// The collector, the namespace controller and the quota controller over a whole server.
struct Fixture {
  explicit Fixture(TestCluster& on) : cluster(on), api(on.server->local(api::system_user("system:kube-controller-manager"))), informers(on.executor, api, on.time, on.rng), scope(on.executor) {
    auto resource = [](const api::CustomKindName& kind) { return client::Resource{kind.group, kind.version, kind.plural, kind.kind, kind.namespaced}; };
    ControllerParts parts{.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng,
                          .deletable_resources =
                              [&on, resource] {
                                std::vector<client::Resource> out{client::resources::kConfigMaps};
                                for (const api::CustomKindName& kind : on.server->custom_kinds()) out.push_back(resource(kind));
                                return out;
                              },
                          .on_custom_kind =
                              [&on, resource](std::function<void(const client::Resource&, bool)> listener) {
                                return on.server->on_custom_kind([tell = std::move(listener), resource](const api::CustomKindName& kind, bool served) { tell(resource(kind), served); });
                              },
                          .root_ca_pem = {}, .quotas = &on.server->quotas()};
    controllers.push_back(make_garbage_collector(parts));
    controllers.push_back(make_namespace_controller(parts));
    controllers.push_back(make_resource_quota_controller(parts));
    for (auto& controller : controllers) scope.spawn(controller->run());
    scope.spawn(informers.run());
  }
  async::Task<Result<>> stop() {
    scope.cancel();
    (void)co_await scope.join();
    co_return Result<>();
  }
  async::Task<Result<>> until(std::string path, int status) {
    CO_TRY_ASSIGN(Reply got, co_await cluster.eventually(path, [status](const Reply& seen) { return seen.status == status; }));
    if (got.status == status) co_return Result<>();
    co_return fail(Code::kDeadlineExceeded, cat(path, " never answered ", status));
  }

  TestCluster& cluster;
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::vector<std::unique_ptr<Controller>> controllers;
};

std::string owned(std::string_view api_version, std::string_view kind, std::string_view name, std::string_view owner, std::string_view uid, std::string_view owner_version, std::string_view owner_kind) {
  return cat(R"({"apiVersion":")", api_version, R"(","kind":")", kind, R"(","metadata":{"name":")", name, R"(","ownerReferences":[{"apiVersion":")", owner_version, R"(","kind":")", owner_kind,
             R"(","name":")", owner, R"(","uid":")", uid, R"("}]}})");
}

constexpr std::string_view kPlain = R"({"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"NAME"}})";
std::string widget(std::string_view name) {
  std::string out(kPlain);
  return out.replace(out.find("NAME"), 4, name);
}

async::Task<Result<>> collected(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_CALL(made, "POST", kDefinitions, std::string(kDefinition));
  CO_EXPECT_STATUS(made, 201);
  CO_TRY(co_await fixture.until(kWidgets, 200));
  CO_CALL(owner, "POST", kWidgets, widget("owner"));
  CO_EXPECT_STATUS(owner, 201);
  std::string uid = owner.text({"metadata", "uid"});
  CO_CALL(map, "POST", kMaps, owned("v1", "ConfigMap", "of-widget", "owner", uid, "example.com/v1", "Widget"));
  CO_EXPECT_STATUS(map, 201);
  CO_CALL(child, "POST", kWidgets, owned("example.com/v1", "Widget", "child", "of-widget", map.text({"metadata", "uid"}), "v1", "ConfigMap"));
  CO_EXPECT_STATUS(child, 201);
  CO_CALL(gone, "DELETE", kWidgets + "/owner");
  CO_EXPECT_STATUS(gone, 200);
  CO_TRY(co_await fixture.until(kMaps + "/of-widget", 404));
  CO_TRY(co_await fixture.until(kWidgets + "/child", 404));
  // Orphaned: the child stays, without its owner.
  CO_CALL(again, "POST", kWidgets, widget("owner"));
  CO_CALL(kept, "POST", kWidgets, owned("example.com/v1", "Widget", "kept", "owner", again.text({"metadata", "uid"}), "example.com/v1", "Widget"));
  CO_CALL(orphaned, "DELETE", kWidgets + "/owner?propagationPolicy=Orphan");
  CO_TRY(co_await fixture.until(kWidgets + "/owner", 404));
  CO_CALL(left, "GET", kWidgets + "/kept");
  CO_EXPECT_STATUS(left, 200);
  EXPECT_EQ(json::find(left.tree(), {"metadata", "ownerReferences"}), nullptr) << left.body;
  co_return co_await fixture.stop();
}
TEST(CustomKinds, AreCollectedWithTheirOwners) { api::with_cluster(collected); }

async::Task<Result<>> emptied(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_CALL(made, "POST", kDefinitions, std::string(kDefinition));
  CO_TRY(co_await fixture.until(kWidgets, 200));
  CO_CALL(space, "POST", "/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"old"}})");
  CO_EXPECT_STATUS(space, 201);
  CO_CALL(inside, "POST", "/apis/example.com/v1/namespaces/old/widgets", widget("one"));
  CO_EXPECT_STATUS(inside, 201);
  CO_CALL(gone, "DELETE", "/api/v1/namespaces/old");
  CO_TRY(co_await fixture.until("/apis/example.com/v1/namespaces/old/widgets/one", 404));
  co_return co_await fixture.stop();
}
TEST(CustomKinds, GoWithTheirNamespace) { api::with_cluster(emptied); }

async::Task<Result<>> counted(TestCluster& cluster) {
  Fixture fixture(cluster);
  CO_CALL(made, "POST", kDefinitions, std::string(kDefinition));
  CO_TRY(co_await fixture.until(kWidgets, 200));
  CO_CALL(quota, "POST", "/api/v1/namespaces/default/resourcequotas", R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"count/widgets.example.com":"1"}}})");
  CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  CO_CALL(one, "POST", kWidgets, widget("one"));
  CO_EXPECT_STATUS(one, 201);
  CO_CALL(two, "POST", kWidgets, widget("two"));
  CO_EXPECT_STATUS(two, 403);
  CO_CALL(gone, "DELETE", kWidgets + "/one");
  int status = 0;
  for (int turns = 0; turns < 5000 && status != 201; ++turns) {
    CO_CALL(three, "POST", kWidgets, widget("three"));
    status = three.status;
  }
  EXPECT_EQ(status, 201);  // what is gone was given back
  co_return co_await fixture.stop();
}
TEST(CustomKinds, AreCountedAndGivenBack) { api::with_cluster(counted); }

async::Task<Result<>> served_again(TestCluster& cluster) {
  Fixture fixture(cluster);
  for (int round = 0; round < 3; ++round) {
    CO_CALL(made, "POST", kDefinitions, std::string(kDefinition));
    CO_EXPECT_STATUS(made, 201);
    CO_TRY(co_await fixture.until(kWidgets, 200));
    CO_CALL(owner, "POST", kWidgets, widget("owner"));
    CO_CALL(map, "POST", kMaps, owned("v1", "ConfigMap", "of-widget", "owner", owner.text({"metadata", "uid"}), "example.com/v1", "Widget"));
    CO_EXPECT_STATUS(map, 201);
    CO_CALL(gone, "DELETE", kWidgets + "/owner");
    CO_TRY(co_await fixture.until(kMaps + "/of-widget", 404));
    CO_CALL(last, "DELETE", kDefinitions + "/widgets.example.com");
    CO_TRY(co_await fixture.until(kDefinitions + "/widgets.example.com", 404));
  }
  co_return co_await fixture.stop();
}
TEST(CustomKinds, AreFollowedAgainWhenTheyComeBack) { api::with_cluster(served_again); }

}  // namespace
}  // namespace monopod::controllers
