// A front server that passes everything on to one behind it, over real connections.
#include "http/forward.h"

#include "async/scope.h"
#include "http/test_support.h"

namespace monopod::http {
namespace {

using async::Task;

class Front final : public Handler {
 public:
  Front(async::Time& time, Endpoint behind) : time_(time), behind_(std::move(behind)) {}
  Task<Result<>> handle(Exchange& exchange) override {
    ForwardOptions options{.client = {.endpoint = behind_}, .target = exchange.request().target};
    options.on_request = [](Headers& headers) { headers.set("X-Added", "yes"); };
    options.on_answer = [this](int status, Headers& headers) {
      last_status = status;
      headers.set("X-Passed", "back");
    };
    Result<> done = co_await forward(exchange, time_, std::move(options));
    if (!done && !exchange.started()) co_return fail(Code::kUnavailable, dial_failure("tcp", behind_.authority(), done.error()));
    co_return done;
  }
  int last_status = 0;

 private:
  async::Time& time_;
  Endpoint behind_;
};

struct Bench {
  Bench(async::Loop& loop, async::Scope& scope, async::Time& time)
      : behind(loop.executor(), scope, time), front(time, behind.endpoint()), server(loop.executor(), time, front, {}) {
    Result<sys::Fd> socket = listen_tcp("127.0.0.1", 0);
    port = *local_port(*socket);
    scope.spawn(server.serve(std::move(*socket)));
  }
  Endpoint endpoint() const { return {.host = "127.0.0.1", .port = port}; }
  TestServer behind;
  Front front;
  Server server;
  std::uint16_t port = 0;
};

Task<Result<>> passes(Bench& bench, Client& client) {
  CO_TRY_ASSIGN(Response small, co_await client.request({.method = "POST", .target = "/echo", .body = share("hello")}));
  CO_TRY_ASSIGN(std::string text, co_await small.body->read_all(1000));
  EXPECT_EQ(text, "hello");
  EXPECT_EQ(small.headers.find("x-passed").value_or(""), "back");
  std::string large(900U << 10, 'x');
  CO_TRY_ASSIGN(Response big, co_await client.request({.method = "PUT", .target = "/echo", .body = share(std::string(large))}));
  CO_TRY_ASSIGN(text, co_await big.body->read_all(4U << 20));
  EXPECT_TRUE(text == large) << text.size();
  CO_TRY_ASSIGN(Response stream, co_await client.request({.target = "/stream?n=500"}));
  CO_TRY_ASSIGN(text, co_await stream.body->read_all(1U << 20));
  EXPECT_EQ(text.size(), 500'000U);
  CO_TRY_ASSIGN(Response early, co_await client.request({.method = "POST", .target = "/ignore", .body = share(std::string(large))}));
  EXPECT_EQ(early.status, 200) << "an answer before the body was read";
  CO_TRY_ASSIGN(Response error, co_await client.request({.target = "/error"}));
  EXPECT_EQ(error.status, 404);
  EXPECT_EQ(bench.front.last_status, 404);
  CO_TRY_ASSIGN(Response cut, co_await client.request({.target = "/cut"}));
  EXPECT_FALSE(co_await cut.body->read_all(1U << 20)) << "an answer that is cut short stays that";
  co_return Result<>();
}

Task<Result<>> switches(Bench& bench, Client& client) {
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await client.open_websocket({.target = "/ws"}, {"echo"}));
  EXPECT_EQ(socket->subprotocol(), "echo");
  EXPECT_EQ(bench.front.last_status, 101);
  std::string data(200'000, 'w');
  CO_TRY(co_await socket->write_binary(as_bytes(data)));
  CO_TRY_ASSIGN(WebSocket::Message back, co_await socket->read());
  EXPECT_EQ(back.data, data);
  CO_TRY(co_await socket->close(1000));
  Result<std::unique_ptr<WebSocket>> refused = co_await client.open_websocket({.target = "/error"}, {});
  EXPECT_FALSE(refused);
  if (!refused) EXPECT_EQ(refused.error().code(), Code::kNotFound);
  co_return Result<>();
}

Task<Result<>> lets_go(Bench& bench, Client& client) {
  {
    CO_TRY_ASSIGN(Response trickle, co_await client.request({.target = "/trickle"}));
    CO_TRY_ASSIGN(SharedBytes first, co_await trickle.body->read_chunk());
    EXPECT_FALSE(first->empty());
  }
  // The client is gone: so is the request behind.
  co_return co_await wait_until(bench.behind.handler.changed, [&] { return bench.behind.handler.live == 0; });
}

// Headers of one connection go no further; what the caller adds does.
Task<Result<>> keeps_hops_apart(Bench& bench) {
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(bench.endpoint(), nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(bench.behind.executor, std::move(socket)));
  RawClient raw(std::move(transport));
  CO_TRY(co_await raw.send("GET /headers HTTP/1.1\r\nHost: a\r\nConnection: close, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Kept: 2\r\n\r\n"));
  CO_TRY_ASSIGN(std::string all, co_await raw.read_to_end());
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200")) << all;
  for (std::string_view gone : {"x-own", "keep-alive", "te: trailers"}) EXPECT_EQ(to_lower(all).find(gone), std::string::npos) << gone << "\n" << all;
  co_return Result<>();
}

Task<Result<>> with_bench(async::Loop& loop, Task<Result<>> (*body)(Bench&, Client&)) {
  async::RealTime time;
  async::Scope scope(loop.executor());
  Bench bench(loop, scope, time);
  Result<> result;
  {
    Client client(scope, loop.executor(), time, {.endpoint = bench.endpoint()});
    result = co_await body(bench, client);
  }
  scope.cancel();
  (void)co_await scope.join();
  co_return result;
}

Task<Result<>> hops(Bench& bench, Client&) { return keeps_hops_apart(bench); }

TEST(Forward, BodiesFlowBothWaysAndErrorsStayWhatTheyAre) { async::run_test([](async::Loop& loop) { return with_bench(loop, passes); }); }
TEST(Forward, UpgradesBecomeStreamsAndRefusalsAnswers) { async::run_test([](async::Loop& loop) { return with_bench(loop, switches); }); }
TEST(Forward, AClientThatGoesTakesTheRequestBehindWithIt) { async::run_test([](async::Loop& loop) { return with_bench(loop, lets_go); }); }
TEST(Forward, HeadersOfOneConnectionStayOnIt) { async::run_test([](async::Loop& loop) { return with_bench(loop, hops); }); }

Task<Result<>> unreachable(async::Loop& loop) {
  async::RealTime time;
  async::Scope scope(loop.executor());
  Front front(time, {.host = "127.0.0.1", .port = 1});
  CO_TRY_ASSIGN(Response answer, co_await call_in_process(scope, front, {.method = "GET", .target = "/"}));
  CO_TRY_ASSIGN(std::string text, co_await answer.body->read_all(1000));
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(text.contains("dial tcp 127.0.0.1:1: connect: connection refused")) << text;
  answer.body.reset();
  scope.cancel();
  (void)co_await scope.join();
  co_return Result<>();
}
TEST(Forward, NobodyBehindIsAnErrorBeforeTheAnswer) { async::run_test(unreachable); }

}  // namespace
}  // namespace monopod::http
