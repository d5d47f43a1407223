// Port-forward as clients of all ages ask for it, over a real connection; upgrades that are refused.
#include "http/port_forward.h"

#include <map>

#include "http/spdy_framer.h"
#include "http/test_support.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::FakeTime;
using async::Loop;
using async::RealTime;
using async::Scope;
using async::Task;

// Says its port on the error stream of each connection and echoes its data.
class Forwarder final : public Handler {
 public:
  Forwarder(async::Executor executor, FakeTime& time) : executor_(executor), time_(time) {}
  async::Task<Result<>> handle(Exchange& exchange) override {
    co_return co_await async::run_scoped([this, &exchange](Scope& scope) { return serve(exchange, scope); });
  }

 private:
  Task<Result<>> serve(Exchange& exchange, Scope& scope) {
    CO_TRY_ASSIGN(std::unique_ptr<PortForward> client, co_await accept_port_forward(exchange, time_, scope));
    if (!client) co_return Result<>();
    for (;;) {
      Result<ForwardedConnection> connection = co_await client->next();
      if (!connection) co_return Result<>();
      scope.spawn(echo(std::move(*connection)));
    }
  }
  static Task<Result<>> echo(ForwardedConnection connection) {
    std::string port = cat("port ", connection.port);
    CO_TRY(co_await connection.error->write_all(as_bytes(port)));
    CO_TRY(co_await connection.error->shutdown_write());
    std::array<std::byte, 100> buffer;
    for (;;) {
      Result<std::size_t> n = co_await connection.data->read_some(buffer);
      if (!n || *n == 0) break;
      CO_TRY(co_await connection.data->write_all(std::span(buffer).first(*n)));
    }
    (void)co_await connection.data->shutdown_write();
    co_return Result<>();
  }
  async::Executor executor_;
  FakeTime& time_;
};

class SpdyClient {
 public:
  explicit SpdyClient(RawClient raw) : raw_(std::move(raw)) {}
  Task<Result<>> upgrade() {
    CO_TRY(co_await raw_.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n"));
    CO_TRY_ASSIGN(std::string head, co_await raw_.read_until("\r\n\r\n"));
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101 ")) << head;
    EXPECT_NE(head.find("X-Stream-Protocol-Version: portforward.k8s.io"), std::string::npos) << head;
    co_return Result<>();
  }
  Task<Result<>> open(std::uint32_t id, Headers headers) {
    CO_TRY_ASSIGN(std::string frame, framer_.format_syn_stream(id, headers, false));
    co_return co_await raw_.send(std::move(frame));
  }
  Task<Result<>> data(std::uint32_t id, std::string bytes) { co_return co_await raw_.send(SpdyFramer::format_data_head(id, bytes.size(), true) + bytes); }
  // Reads until the stream has ended either way: what it said, or "reset N".
  Task<Result<std::string>> end_of(std::uint32_t id) {
    while (!ended_[id]) {
      CO_TRY_ASSIGN(std::string more, co_await raw_.read_some());
      if (more.empty()) co_return fail(Code::kUnavailable, "end");
      input_ += more;
      std::string_view rest = input_;
      for (;;) {
        CO_TRY_ASSIGN(std::optional<SpdyFrame> frame, framer_.parse(rest));
        if (!frame) break;
        said_[frame->stream_id] += frame->data;
        ended_[frame->stream_id] |= frame->fin;
        if (frame->type != SpdyType::kRstStream || ended_[frame->stream_id]) continue;
        said_[frame->stream_id] = cat("reset ", frame->value);
        ended_[frame->stream_id] = true;
      }
      input_.erase(0, input_.size() - rest.size());
    }
    co_return said_[id];
  }
  Task<Result<>> expect(std::uint32_t id, std::string what) {
    CO_TRY_ASSIGN(std::string said, co_await end_of(id));
    EXPECT_EQ(said, what) << "stream " << id;
    co_return Result<>();
  }

 private:
  RawClient raw_;
  SpdyFramer framer_;
  std::string input_;
  std::map<std::uint32_t, std::string> said_;
  std::map<std::uint32_t, bool> ended_;
};

Headers stream_of(std::string_view type, std::string_view port, std::string_view request = {}) {
  Headers out{{"streamtype", type}, {"port", port}};
  if (!request.empty()) out.add("requestid", request);
  return out;
}

Task<Result<RawClient>> connect(async::Executor executor, std::uint16_t port) {
  Endpoint endpoint{.host = "127.0.0.1", .port = port};
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(endpoint, nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(executor, std::move(socket)));
  co_return RawClient(std::move(transport));
}

using Script = Task<Result<>> (*)(async::Executor, std::uint16_t, FakeTime&);

Task<Result<>> beside_forwarder(async::Executor executor, Script script) {
  RealTime real;
  FakeTime time(executor);
  Scope scope(executor);
  Forwarder handler(executor, time);
  Server server(executor, real, handler, {});
  CO_TRY_ASSIGN(sys::Fd socket, listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  Result<> done = co_await script(executor, port, time);
  scope.cancel();
  (void)co_await scope.join();
  co_return done;
}
void with_forwarder(Script script) {
  async::run_test([script](Loop& loop) { return beside_forwarder(loop.executor(), script); });
}

Task<Result<>> pairs(async::Executor executor, std::uint16_t port, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await connect(executor, port));
  SpdyClient client(std::move(raw));
  CO_TRY(co_await client.upgrade());
  // By request id, in either order, two at once.
  CO_TRY(co_await client.open(1, stream_of("error", "80", "a")));
  CO_TRY(co_await client.open(3, stream_of("data", "81", "b")));
  CO_TRY(co_await client.open(5, stream_of("error", "81", "b")));
  CO_TRY(co_await client.open(7, stream_of("data", "80", "a")));
  CO_TRY(co_await client.data(3, "three"));
  CO_TRY(co_await client.data(7, "seven"));
  CO_TRY(co_await client.expect(1, "port 80"));
  CO_TRY(co_await client.expect(5, "port 81"));
  CO_TRY(co_await client.expect(3, "three"));
  CO_TRY(co_await client.expect(7, "seven"));
  // Without: the data is the stream after the error.
  CO_TRY(co_await client.open(9, stream_of("error", "82")));
  CO_TRY(co_await client.open(11, stream_of("data", "82")));
  CO_TRY(co_await client.data(11, "eleven"));
  CO_TRY(co_await client.expect(9, "port 82"));
  CO_TRY(co_await client.expect(11, "eleven"));
  // What is no such stream is refused.
  std::uint32_t id = 13;
  for (const Headers& bad : {stream_of("data", "0"), stream_of("data", "65536"), stream_of("data", "http"), stream_of("stdin", "80"), Headers{{"port", "80"}}, Headers{{"streamtype", "data"}}}) {
    CO_TRY(co_await client.open(id, bad));
    CO_TRY(co_await client.expect(id, cat("reset ", static_cast<int>(kSpdyRefusedStream))));
    id += 2;
  }
  // A second of its kind is reset; one that stays alone is told after 30 s, and others go on.
  CO_TRY(co_await client.open(101, stream_of("error", "80", "c")));
  CO_TRY(co_await client.open(103, stream_of("error", "80", "c")));
  CO_TRY(co_await client.expect(103, cat("reset ", static_cast<int>(kSpdyCancel))));
  time.advance(30s);
  CO_TRY(co_await client.expect(101, "(request=c) timed out waiting for streams"));
  CO_TRY(co_await client.open(105, stream_of("error", "80", "d")));
  CO_TRY(co_await client.open(107, stream_of("data", "80", "d")));
  CO_TRY(co_await client.data(107, ""));
  CO_TRY(co_await client.expect(105, "port 80"));
  co_return Result<>();
}
TEST(PortForward, StreamsBecomeConnectionsByTheirHeaders) { with_forwarder(pairs); }

Task<Result<>> refused(async::Executor executor, std::uint16_t port, FakeTime&) {
  const std::string websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  const std::string next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  struct Case {
    std::string head;
    const char* status;
    const char* text;
  };
  for (const Case& c : {Case{"GET /?ports=80 HTTP/1.1\r\nHost: a\r\n" + websocket + "Sec-WebSocket-Key: short\r\n\r\n", "400", "invalid websocket key"},
                        Case{"GET / HTTP/1.1\r\nHost: a\r\n" + websocket + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", "400", "query parameter \"port\" is required"},
                        Case{"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n\r\n", "403", "client supports [v9], server accepts [portforward.k8s.io]"},
                        Case{"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 5\r\n\r\nhello", "400", "upgrade request with a body"}}) {
    CO_TRY_ASSIGN(RawClient raw, co_await connect(executor, port));
    CO_TRY(co_await raw.send(c.head + next));
    CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
    EXPECT_TRUE(answer.starts_with(cat("HTTP/1.1 ", c.status, " "))) << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << answer;
    EXPECT_NE(answer.find(c.text), std::string::npos) << answer;
    EXPECT_EQ(answer.find("HTTP/1.1 ", 1), std::string::npos) << "what follows is not taken for a request: " << answer;
  }
  co_return Result<>();
}
TEST(PortForward, ARefusedUpgradeIsTheLastOfItsConnection) { with_forwarder(refused); }

}  // namespace
}  // namespace monopod::http
