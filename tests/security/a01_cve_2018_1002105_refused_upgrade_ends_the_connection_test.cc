// A1: a backend that refuses an upgrade must not leave the client with a connection that is piped to it: what follows on it would be the
// API server's own credentials speaking.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "http/server.h"
#include "http/transport.h"
#include "http/endpoint.h"

namespace monopod::api {
namespace {

// A node that refuses every upgrade in its own way, and counts what else it is asked.
class RefusingNode final : public http::Handler {
 public:
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    std::string path(exchange.request().raw_path());
    asked.push_back(path);
    if (path.ends_with("/error")) co_return fail(Code::kInvalidArgument, "no upgrade here");
    int status = path.ends_with("/ok") ? 200 : path.ends_with("/found") ? 302 : 403;
    co_return co_await exchange.respond(status, {{"location", "/elsewhere"}, {"connection", "keep-alive"}}, share("refused"));
  }
  std::vector<std::string> asked;
};

class OneNode final : public NodeHandlers {
 public:
  http::Handler* find(std::string_view name) override { return name == "n1" ? &node : nullptr; }
  RefusingNode node;
};

// Everything that comes back to these bytes until the server closes.
async::Task<Result<std::string>> answer_to(async::Executor executor, std::uint16_t port, std::string bytes) {
  http::Endpoint endpoint{.host = "127.0.0.1", .port = port};
  CO_TRY_ASSIGN(sys::Fd socket, co_await http::dial(endpoint, nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<http::Transport> wire, http::make_transport(executor, std::move(socket)));
  CO_TRY(co_await wire->write_all(as_bytes(bytes)));
  std::string out;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    Result<std::size_t> n = co_await wire->read_some(buffer);
    if (!n || *n == 0) co_return out;
    out += as_text(std::span(buffer).first(*n));
  }
}

async::Task<Result<>> ask(TestCluster& cluster, OneNode& nodes, std::uint16_t port) {
  const std::string smuggled = "GET /api/v1/namespaces/kube-system/secrets HTTP/1.1\r\nHost: a\r\nX-Smuggled: yes\r\n\r\n";
  for (std::string_view protocol : {"websocket", "SPDY/3.1"}) {
    for (std::string_view container : {"error", "ok", "found", "forbidden"}) {
      nodes.node.asked.clear();
      std::string method = protocol == "websocket" ? "GET" : "POST";
      std::string head = cat(method, " /api/v1/namespaces/default/pods/p/exec?command=id&stdout=1&container=", container, " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admin-token\r\nConnection: Upgrade\r\nUpgrade: ", protocol,
                             "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n");
      CO_TRY_ASSIGN(std::string answer, co_await answer_to(cluster.executor, port, head + smuggled));
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 ")) << protocol << container << answer;
      EXPECT_FALSE(answer.starts_with("HTTP/1.1 101")) << answer;
      EXPECT_EQ(answer.find("HTTP/1.1 ", 1), std::string::npos) << "one answer, then the end: " << answer;
      EXPECT_EQ(answer.find("SecretList"), std::string::npos);
      EXPECT_EQ(nodes.node.asked, std::vector<std::string>{cat("/exec/default/p/", container)}) << "nothing of what followed reached the node";
    }
  }
  // The same bytes without an upgrade in front are two requests: the test can tell.
  CO_TRY_ASSIGN(std::string two, co_await answer_to(cluster.executor, port, cat("GET /version HTTP/1.1\r\nHost: a\r\n\r\n", "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
  EXPECT_NE(two.find("HTTP/1.1 ", 1), std::string::npos) << two;
  co_return Result<>();
}

async::Task<Result<>> refused(TestCluster& cluster) {
  OneNode nodes;
  cluster.nodes = &nodes;
  CO_TRY(co_await cluster.restart());
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods",
          R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"error","image":"i"},{"name":"ok","image":"i"},{"name":"found","image":"i"},{"name":"forbidden","image":"i"}]}})");
  CO_EXPECT_STATUS(pod, 201);
  async::RealTime time;
  async::Scope scope(cluster.executor);
  http::Server server(cluster.executor, time, *cluster.server, {});
  CO_TRY_ASSIGN(sys::Fd socket, http::listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *http::local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  Result<> done = co_await ask(cluster, nodes, port);
  scope.cancel();
  (void)co_await scope.join();
  CO_TRY(co_await cluster.restart());
  co_return done;
}
TEST(A01RefusedUpgrade, IsTheLastOfItsConnection) { with_cluster(refused); }

}  // namespace
}  // namespace monopod::api
