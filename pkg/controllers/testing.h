// For tests: controllers over a whole server, and what stands in for a kubelet.
#pragma once

#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "client/meta.h"
#include "controllers/controllers.h"

namespace monopod::controllers {

using MakeController = std::unique_ptr<Controller> (*)(const ControllerParts&);

inline const http::Headers kMergePatch{{"content-type", "application/merge-patch+json"}};

struct ControllerFixture {
  ControllerFixture(api::TestCluster& on, std::initializer_list<MakeController> makers, std::vector<client::Resource> deletable)
      : cluster(on), api(on.server->local(api::system_user("system:kube-controller-manager"))), informers(on.executor, api, on.time, on.rng), scope(on.executor) {
    ControllerParts parts{.executor = on.executor, .api = api, .informers = informers, .time = on.time, .rng = on.rng, .deletable_resources = [list = std::move(deletable)] { return list; }, .root_ca_pem = "the CA"};
    for (MakeController make : makers) controllers.push_back(make(parts));
    for (auto& controller : controllers) scope.spawn(controller->run());
    scope.spawn(informers.run());
  }
  async::Task<Result<>> stop() {
    scope.cancel();
    (void)co_await scope.join();
    co_return Result<>();
  }
  // The first answer of the path that holds; the test fails where none does.
  async::Task<Result<api::Reply>> until(std::string path, std::function<bool(const api::Reply&)> holds) {
    CO_TRY_ASSIGN(api::Reply seen, co_await cluster.eventually(path, holds));
    if (!holds(seen)) co_return fail(Code::kDeadlineExceeded, cat(path, " stayed ", seen.body));
    co_return seen;
  }
  async::Task<Result<>> gone(std::string path) {
    CO_TRY(co_await until(std::move(path), [](const api::Reply& seen) { return seen.status == 404; }));
    co_return Result<>();
  }
  // Until the controllers have had their say: as many turns of the loop as a long chain of writes needs.
  async::Task<Result<>> settle() {
    for (int round = 0; round < 10; ++round) {
      CO_TRY(co_await cluster.call("GET", "/api/v1/nodes"));
      for (int turn = 0; turn < 200; ++turn) co_await boost::asio::post(cluster.executor, async::use_task);
    }
    co_return Result<>();
  }
  // Writes the status of a pod of namespace default once the pod is there; fields: JSON members before its conditions.
  async::Task<Result<>> pod_status(std::string pod, std::string fields, bool ready = false) {
    std::string path = "/api/v1/namespaces/default/pods/" + pod;
    CO_TRY(co_await until(path, [](const api::Reply& seen) { return seen.status == 200; }));
    std::string body = cat(R"({"status":{)", fields, R"(,"conditions":[{"type":"Ready","status":")", ready ? "True" : "False", R"(","lastTransitionTime":")", format_rfc3339(cluster.time.wall()), R"("}]}})");
    CO_TRY_ASSIGN(api::Reply written, co_await cluster.call("PATCH", path + "/status", std::move(body), kMergePatch));
    if (written.status != 200) co_return fail(Code::kInternal, written.body);
    co_return Result<>();
  }
  async::Task<Result<>> ready(std::string pod) { return pod_status(std::move(pod), R"("phase":"Running")", true); }
  async::Task<Result<>> patch(std::string path, std::string body) {
    CO_TRY_ASSIGN(api::Reply written, co_await cluster.call("PATCH", path, std::move(body), kMergePatch));
    if (written.status != 200) co_return fail(Code::kInternal, written.body);
    co_return Result<>();
  }
  async::Task<Result<api::Reply>> get(std::string path) { return cluster.call("GET", std::move(path)); }

  api::TestCluster& cluster;
  client::LocalApi api;
  client::InformerFactory informers;
  async::Scope scope;
  std::vector<std::unique_ptr<Controller>> controllers;
};

inline std::function<bool(const api::Reply&)> has_items(std::size_t count) {
  return [count](const api::Reply& seen) {
    json::Value tree = seen.tree();
    const json::Array* items = json::get_array(tree, {"items"});
    return items != nullptr && items->size() == count;
  };
}

inline std::function<bool(const api::Reply&)> exists() {
  return [](const api::Reply& seen) { return seen.status == 200; };
}

// Whether every one of the numbers of the status is as given; 0 also where it is absent.
inline std::function<bool(const api::Reply&)> status_is(std::vector<std::pair<std::string, std::int64_t>> numbers) {
  return [numbers = std::move(numbers)](const api::Reply& seen) {
    json::Value tree = seen.tree();
    for (const auto& [field, n] : numbers)
      if (json::get_int(tree, {"status", field}) != n) return false;
    return true;
  };
}

// Names of the list's items, sorted, with a space between them.
inline std::string names_of(const api::Reply& list) {
  json::Value tree = list.tree();
  std::vector<std::string> names;
  if (const json::Array* items = json::get_array(tree, {"items"}))
    for (const json::Value& item : *items) names.emplace_back(json::get_string(item, {"metadata", "name"}));
  std::ranges::sort(names);
  return join(names, " ");
}

inline std::function<bool(const api::Reply&)> names_are(std::string names) {
  return [names = std::move(names)](const api::Reply& seen) { return names_of(seen) == names; };
}

}  // namespace monopod::controllers
