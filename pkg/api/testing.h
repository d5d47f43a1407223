// For tests: a whole API server over a store in memory, with time that stands still, called without sockets.
#pragma once

#include <gtest/gtest.h>

#include "api/server.h"
#include "async/scope.h"
#include "async/test_support.h"
#include "codec/json.h"
#include "http/in_process.h"
#include "store/sqlite_backend.h"

namespace monopod::api {

struct Reply {
  int status = 0;
  http::Headers headers;
  std::string body;
  json::Value tree() const {
    auto parsed = json::parse(body);
    return parsed ? *parsed : json::Value(json::Object());
  }
  std::string text(std::initializer_list<std::string_view> path) const { return std::string(json::get_string(tree(), path)); }
};

inline constexpr std::string_view kTestTokens =
    "admin-token,admin,1,\"system:masters\"\n"
    "alice-token,alice,2,\"devs\"\n"
    "node-token,system:node:n1,3,\"system:nodes\"\n";

class TestCluster {
 public:
  explicit TestCluster(async::Loop& loop) : executor(loop.executor()), time(loop.executor()), rng(7), pool(1), background(executor) {}

  async::Task<Result<>> start() {
    CO_TRY_ASSIGN(store, co_await store::SqliteBackend::open({.path = ":memory:", .compaction = {.interval = std::chrono::seconds(0)}}, pool, time, rng));
    co_return co_await boot();
  }
  async::Task<Result<>> boot() {
    ServerOptions options;
    options.token_file = kTestTokens;
    options.advertise_address = "192.0.2.1";
    if (adjust) adjust(options);
    server = std::make_unique<ApiServer>(ServerParts{executor, *store, time, rng, pool, nodes_or_none()}, options);
    CO_TRY(co_await server->start());
    run_scope = std::make_unique<async::Scope>(executor);
    run_scope->spawn(server->run());
    co_return Result<>();
  }
  // A new server over the same store.
  async::Task<Result<>> restart() {
    run_scope->cancel();
    CO_TRY(co_await run_scope->join());
    server.reset();
    co_return co_await boot();
  }
  async::Task<Result<>> stop() {
    background.cancel();
    (void)co_await background.join();
    if (run_scope) {
      run_scope->cancel();
      (void)co_await run_scope->join();
    }
    server.reset();
    co_return co_await store->close();
  }

  async::Task<Result<http::Response>> open(std::string method, std::string target, std::string body = {}, http::Headers headers = {}) {
    http::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers = std::move(headers);
    if (!request.headers.find("authorization")) request.headers.set("authorization", "Bearer admin-token");
    if (!body.empty() && !request.headers.find("content-type")) request.headers.set("content-type", "application/json");
    co_return co_await http::call_in_process(background, *server, std::move(request), share(std::move(body)));
  }
  async::Task<Result<Reply>> call(std::string method, std::string target, std::string body = {}, http::Headers headers = {}) {
    CO_TRY_ASSIGN(http::Response response, co_await open(std::move(method), std::move(target), std::move(body), std::move(headers)));
    Reply reply{response.status, std::move(response.headers), {}};
    CO_TRY_ASSIGN(reply.body, co_await response.body->read_all(256U << 20));
    co_return reply;
  }
  // What the path answers once wanted(reply) holds; its last answer after ten seconds of real time.
  template <typename Wanted>
  async::Task<Result<Reply>> eventually(std::string path, Wanted wanted) {
    Reply seen;
    for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);;) {
      CO_TRY_ASSIGN(seen, co_await call("GET", path));
      if (wanted(seen) || std::chrono::steady_clock::now() > end) co_return seen;
      for (int turn = 0; turn < 20; ++turn) co_await boost::asio::post(executor, async::use_task);
    }
  }
  NodeHandlers& nodes_or_none() { return nodes ? *nodes : none; }

  async::Executor executor;
  async::FakeTime time;
  SeededRng rng;
  async::Pool pool;
  async::Scope background;
  NoNodeHandlers none;
  NodeHandlers* nodes = nullptr;
  std::function<void(ServerOptions&)> adjust;  // of the servers that boot from now on
  std::unique_ptr<store::SqliteBackend> store;
  std::unique_ptr<ApiServer> server;
  std::unique_ptr<async::Scope> run_scope;
};

// Runs body(cluster) on a started cluster; fails after limit of real time.
template <typename Body>
void with_cluster(Body body, std::chrono::seconds limit = std::chrono::seconds(30)) {
  async::run_test([&body](async::Loop& loop) {
    auto run = [](async::Loop& on, Body& test) -> async::Task<Result<>> {
      TestCluster cluster(on);
      CO_TRY(co_await cluster.start());
      Result<> out = co_await test(cluster);
      if (!out) ADD_FAILURE() << out.error().message();
      Result<> stopped = co_await cluster.stop();
      co_return stopped;
    };
    return run(loop, body);
  }, limit);
}

// One answer as it is expected: for the frequent case.
#define CO_CALL(name, ...) CO_TRY_ASSIGN(Reply name, co_await cluster.call(__VA_ARGS__))
#define CO_EXPECT_STATUS(reply, code) EXPECT_EQ((reply).status, code) << (reply).body

// body(cluster, rig) with a Rig of the test's own over a cluster whose default namespace has its account; for with_cluster.
template <typename Rig, async::Task<Result<>> (*body)(TestCluster&, Rig&)>
async::Task<Result<>> with_rig(TestCluster& cluster) {
  CO_TRY(co_await cluster.call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})"));
  Rig rig(cluster);
  Result<> out = co_await body(cluster, rig);
  co_await rig.stop();
  co_return out;
}

}  // namespace monopod::api
