// A2: a backend that answers a request or an upgrade with a redirect is never followed (CVE-2020-8559, CVE-2022-3172), and what it says
// of itself goes to the client as it is, not to the log (CVE-2020-8561).
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/forward.h"
#include "http/server.h"

namespace monopod::http {
namespace {

// Sends everybody elsewhere: to itself, where a second visit shows.
class Redirecting final : public Handler {
 public:
  async::Task<Result<>> handle(Exchange& exchange) override {
    ++visits;
    saw_credentials = saw_credentials || exchange.request().headers.find("authorization").has_value();
    co_return co_await exchange.respond(status, {{"location", target}}, share("a body that says where"));
  }
  int status = 302;
  std::string target;
  int visits = 0;
  bool saw_credentials = false;
};

class Front final : public Handler {
 public:
  explicit Front(async::Time& time) : time_(time) {}
  async::Task<Result<>> handle(Exchange& exchange) override {
    ForwardOptions options{.client = {.endpoint = behind}, .target = exchange.request().target};
    options.on_request = [](Headers& headers) { headers.remove("authorization"); };
    co_return co_await forward(exchange, time_, std::move(options));
  }
  Endpoint behind;

 private:
  async::Time& time_;
};

async::Task<Result<std::uint16_t>> serve(Server& server, async::Scope& scope) {
  CO_TRY_ASSIGN(sys::Fd socket, listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  co_return port;
}

async::Task<Result<>> visit(Client& client, Redirecting& behind, Redirecting& elsewhere) {
  for (int status : {301, 302, 303, 307, 308}) {
    behind.status = status;
    behind.visits = 0;
    CO_TRY_ASSIGN(Response plain, co_await client.request({.method = "GET", .target = "/x", .headers = {{"authorization", "Bearer secret"}}}));
    EXPECT_EQ(plain.status, status);
    EXPECT_EQ(plain.headers.find("location").value_or(""), behind.target);
    CO_TRY_ASSIGN(std::string body, co_await plain.body->read_all(1000));
    EXPECT_EQ(body, "a body that says where");
    CO_TRY_ASSIGN(Client::Switched upgrade, co_await client.open_upgrade({.method = "POST", .target = "/exec", .headers = {{"connection", "Upgrade"}, {"upgrade", "SPDY/3.1"}}}));
    EXPECT_EQ(upgrade.response.status, status);
    EXPECT_EQ(upgrade.stream, nullptr) << "no stream to anybody";
    EXPECT_EQ(behind.visits, 2);
  }
  EXPECT_EQ(elsewhere.visits, 0);
  EXPECT_FALSE(behind.saw_credentials);
  co_return Result<>();
}

async::Task<Result<>> redirects(async::Loop& loop) {
  async::RealTime time;
  async::Scope scope(loop.executor());
  Redirecting behind, elsewhere;
  Front front(time);
  Server behind_server(loop.executor(), time, behind, {}), elsewhere_server(loop.executor(), time, elsewhere, {}), front_server(loop.executor(), time, front, {});
  CO_TRY_ASSIGN(std::uint16_t behind_port, co_await serve(behind_server, scope));
  CO_TRY_ASSIGN(std::uint16_t elsewhere_port, co_await serve(elsewhere_server, scope));
  CO_TRY_ASSIGN(std::uint16_t port, co_await serve(front_server, scope));
  front.behind = {.host = "127.0.0.1", .port = behind_port};
  behind.target = cat("http://127.0.0.1:", elsewhere_port, "/");
  Result<> done;
  {
    Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = port}});
    done = co_await visit(client, behind, elsewhere);
    // Who is asked directly is reached: the test can tell.
    Client direct(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = elsewhere_port}});
    auto reached = co_await direct.request({.target = "/"});
    EXPECT_TRUE(reached);
    EXPECT_EQ(elsewhere.visits, 1);
  }
  scope.cancel();
  (void)co_await scope.join();
  co_return done;
}
TEST(A02Redirects, ArePassedOnAndNeverFollowed) { async::run_test(redirects); }

}  // namespace
}  // namespace monopod::http
