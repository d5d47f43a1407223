// In-process calls, gRPC framing and remote commands over real exchanges.
#include <map>

#include "http/grpc.h"
#include "http/remote_command.h"
#include "http/spdy_framer.h"
#include "http/test_support.h"
#include "http/websocket_answer.h"
#include "http/websocket_base64.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::Loop;
using async::RealTime;
using async::Scope;
using async::Task;

// --- in process

Task<Result<>> in_process(Loop& loop) {
  Scope scope(loop.executor());
  TestHandler handler(loop.executor());
  InProcessClient client(scope, handler, {{"X-Remote-User", "agent"}});
  CO_TRY_ASSIGN(Response hello, co_await client.request({.target = "/headers"}));
  CO_TRY_ASSIGN(std::string text, co_await hello.body->read_all(1000));
  EXPECT_NE(text.find("x-remote-user=agent"), std::string::npos);
  EXPECT_TRUE(handler.last_peer.in_process);
  CO_TRY_ASSIGN(Response echo, co_await client.request({.method = "POST", .target = "/echo", .body = share(std::string(500'000, 'e'))}));
  CO_TRY_ASSIGN(std::string echoed, co_await echo.body->read_all(1 << 20));
  EXPECT_EQ(echoed.size(), 500'000U);
  CO_TRY_ASSIGN(Response error, co_await client.request({.target = "/error"}));
  EXPECT_EQ(error.status, 404);
  CO_TRY_ASSIGN(Response cut, co_await client.request({.target = "/cut"}));
  CO_TRY_ASSIGN(SharedBytes half, co_await cut.body->read_chunk());
  EXPECT_EQ(*half, "half");
  EXPECT_FALSE(co_await cut.body->read_chunk());
  CO_TRY_ASSIGN(Response stream, co_await client.request({.target = "/stream?n=300"}));
  CO_TRY_ASSIGN(SharedBytes first, co_await stream.body->read_chunk());
  CO_TRY_ASSIGN(SharedBytes second, co_await stream.body->read_chunk());
  EXPECT_EQ(first.get(), second.get()) << "the handler's own bytes, not copies";
  CO_TRY_ASSIGN(std::string rest, co_await stream.body->read_all(1 << 20));
  EXPECT_EQ(rest.size(), 298'000U);
  {
    CO_TRY_ASSIGN(Response endless, co_await client.request({.target = "/trickle"}));
    CO_TRY_ASSIGN(SharedBytes some, co_await endless.body->read_chunk());
    EXPECT_LE(handler.written, 128U << 10);
  }
  CO_TRY(co_await wait_until(handler.changed, [&] { return handler.live == 0; }));
  co_return co_await scope.join();
}
TEST(InProcess, SharesBytesBoundsQueuesAndCancels) { async::run_test(in_process); }

// --- gRPC

Task<Result<>> refuse_no(std::string_view message) {
  if (message == "no") co_return fail(Code::kPermissionDenied, "not that one");
  co_return Result<>();
}

Task<Result<>> refuse_third(int& written) {
  if (++written == 3) co_return fail(Code::kPermissionDenied, "no more");
  co_return Result<>();
}

class GrpcEcho final : public Handler {
 public:
  async::Task<Result<>> handle(Exchange& exchange) override {
    EXPECT_TRUE(is_grpc(exchange.request()));
    GrpcServerCall call(exchange);
    if (call.method() == "/test.Echo/Fail") co_return co_await call.finish(fail(Code::kNotFound, "no such key: 100% ä"));
    if (call.method() == "/test.Echo/Hasty") {
      CO_TRY(co_await call.write("answered"));
      co_return co_await call.finish({});
    }
    int written = 0;
    if (call.method() == "/test.Echo/Guarded") call.set_gate({.on_read = refuse_no, .on_write = [&written] { return refuse_third(written); }});
    for (;;) {
      Result<std::optional<std::string>> message = co_await call.read();
      if (!message) co_return co_await call.finish(fail(message.error()));
      if (!*message) break;
      Result<> sent = co_await call.write(cat(**message, **message));
      if (!sent && sent.error().code() == Code::kPermissionDenied) co_return co_await call.finish(std::move(sent));
      CO_TRY(std::move(sent));
    }
    co_return co_await call.finish({});
  }
};

Task<Result<>> grpc_calls(Caller& client) {
  CO_TRY_ASSIGN(std::string twice, co_await call_grpc(client, "/test.Echo/Unary", "ab"));
  EXPECT_EQ(twice, "abab");
  Result<std::string> failed = co_await call_grpc(client, "/test.Echo/Fail", "x");
  CO_ASSERT_TRUE(!failed);
  EXPECT_EQ(failed.error().code(), Code::kNotFound);
  EXPECT_EQ(failed.error().message(), "no such key: 100% ä");
  CO_TRY_ASSIGN(std::string early, co_await call_grpc(client, "/test.Echo/Hasty", std::string(4 << 20, 'x')));
  EXPECT_EQ(early, "answered") << "before the request was all there";
  CO_TRY_ASSIGN(std::unique_ptr<GrpcClientCall> guarded, co_await open_grpc(client, "/test.Echo/Guarded", {}));
  CO_TRY(co_await guarded->write("yes"));
  CO_TRY(co_await guarded->write("no"));
  CO_TRY_ASSIGN(std::optional<std::string> yes, co_await guarded->read());
  EXPECT_EQ(yes, "yesyes");
  EXPECT_EQ((co_await guarded->read()).error().message(), "not that one");
  CO_TRY_ASSIGN(guarded, co_await open_grpc(client, "/test.Echo/Guarded", {}));
  for (int i = 0; i < 3; ++i) CO_TRY(co_await guarded->write("yes"));
  for (int i = 0; i < 2; ++i) CO_TRY(co_await guarded->read());
  EXPECT_EQ((co_await guarded->read()).error().message(), "no more");
  CO_TRY_ASSIGN(std::unique_ptr<GrpcClientCall> stream, co_await open_grpc(client, "/test.Echo/Stream", {}));
  for (int i = 0; i < 5; ++i) {
    CO_TRY(co_await stream->write(std::string(static_cast<std::size_t>(i) * 10'000, 'm')));
    CO_TRY_ASSIGN(std::optional<std::string> answer, co_await stream->read());
    CO_ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->size(), static_cast<std::size_t>(i) * 20'000);
  }
  CO_TRY(co_await stream->finish_writing());
  CO_TRY_ASSIGN(std::optional<std::string> end, co_await stream->read());
  EXPECT_FALSE(end);
  co_return Result<>();
}

Task<Result<>> grpc(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  GrpcEcho handler;
  Server server(loop.executor(), time, handler, {});
  CO_TRY_ASSIGN(sys::Fd socket, listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = port}, .http2_prior_knowledge = true});
  Result<> over_socket = co_await grpc_calls(client);
  InProcessClient local(scope, handler);
  Result<> over_memory = over_socket ? co_await grpc_calls(local) : Result<>();
  scope.cancel();
  Result<> joined = co_await scope.join();
  CO_TRY(std::move(over_socket));
  co_return over_memory;
}
TEST(Grpc, UnaryStreamingAndStatus) { async::run_test(grpc); }

TEST(Grpc, DecoderJoinsPiecesAndKeepsItsLimit) {
  GrpcDecoder decoder(10);
  std::string wire = format_grpc_message("hello") + format_grpc_message("") + format_grpc_message("0123456789");
  std::vector<std::string> out;
  for (char c : wire) {
    decoder.feed(std::string_view(&c, 1));
    auto message = decoder.next();
    ASSERT_TRUE(message);
    if (*message) out.push_back(**message);
  }
  EXPECT_EQ(out, (std::vector<std::string>{"hello", "", "0123456789"}));
  EXPECT_TRUE(decoder.empty());
  decoder.feed(format_grpc_message("0123456789a"));
  EXPECT_EQ(decoder.next().error().code(), Code::kResourceExhausted);
  GrpcDecoder compressed;
  compressed.feed(std::string_view("\1\0\0\0\0", 5));
  EXPECT_EQ(compressed.next().error().code(), Code::kUnimplemented);
}

// --- remote commands

// Copies stdin to stdout, says its sizes on stderr, exits with 3 at the end of stdin or at "quit".
class Shell final : public Handler {
 public:
  explicit Shell(async::Executor executor) : executor_(executor) {}
  async::Task<Result<>> handle(Exchange& exchange) override {
    if (!wants_remote_command(exchange)) co_return fail(Code::kInvalidArgument, "not an upgrade");
    Scope scope(executor_);
    Result<std::unique_ptr<RemoteCommand>> command = co_await accept_remote_command(exchange, time_, scope, {.in = true, .out = true, .err = true, .tty = true});
    if (command && *command) scope.spawn(serve(std::move(*command)));
    co_return co_await scope.join();
  }

 private:
  static Task<Result<>> report(RemoteCommand& command) {
    for (;;) {
      CO_TRY_ASSIGN(TerminalSize size, co_await command.next_resize());
      std::string text = cat(size.width, "x", size.height);
      CO_TRY(co_await command.write_stderr(as_bytes(text)));
    }
  }
  static Task<Result<>> copy(RemoteCommand& command, Scope& scope) {
    std::array<std::byte, 1000> buffer;
    for (;;) {
      CO_TRY_ASSIGN(std::size_t n, co_await command.read_stdin(buffer));
      if (n == 0 || as_text(std::span(buffer).first(n)) == "quit") break;
      CO_TRY(co_await command.write_stdout(std::span(buffer).first(n)));
    }
    Result<> finished = co_await command.finish(format_exit_status(3));
    scope.cancel();
    co_return finished;
  }
  static Task<Result<>> serve(std::unique_ptr<RemoteCommand> command) {
    Scope scope(co_await async::this_executor());
    scope.spawn(report(*command));
    scope.spawn(copy(*command, scope));
    Result<> ended = co_await scope.join();
    co_return Result<>();
  }
  async::Executor executor_;
  RealTime time_;
};

Task<Result<>> remote_session(Client& client) {
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket,
                co_await client.open_websocket({.target = "/exec"}, {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"}));
  EXPECT_EQ(socket->subprotocol(), "v5.channel.k8s.io");
  std::string resize = std::string("\4") + R"({"Width":80,"Height":24})";
  CO_TRY(co_await socket->write_binary(as_bytes(resize)));
  CO_TRY_ASSIGN(WebSocket::Message size, co_await socket->read());
  EXPECT_EQ(size.data, "\2" "80x24");
  std::string input(1, '\0');
  input += "echo";
  CO_TRY(co_await socket->write_binary(as_bytes(input)));
  CO_TRY_ASSIGN(WebSocket::Message output, co_await socket->read());
  EXPECT_EQ(output.data, "\1" "echo");
  std::string end_stdin("\xff\0", 2);
  CO_TRY(co_await socket->write_binary(as_bytes(end_stdin)));
  CO_TRY_ASSIGN(WebSocket::Message status, co_await socket->read());
  EXPECT_EQ(status.data, "\3" + format_exit_status(3));
  Result<WebSocket::Message> closed = co_await socket->read();
  EXPECT_FALSE(closed);
  co_return Result<>();
}

// The subprotocols before v5: a greeting, no end of input, and before v4 no Status. The command is ended by what it reads.
Task<Result<>> older_sessions(Client& client) {
  for (std::string protocol : {"v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", ""}) {
    bool base64 = protocol.find("base64") != std::string::npos;
    std::vector<std::string> offered;
    if (!protocol.empty()) offered.push_back(protocol);
    CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await client.open_websocket({.target = "/exec"}, offered));
    EXPECT_EQ(socket->subprotocol(), protocol);
    if (base64) socket = make_websocket_base64(std::move(socket), true);
    CO_TRY_ASSIGN(WebSocket::Message greeting, co_await socket->read());
    EXPECT_EQ(greeting.data, "\1") << protocol;
    CO_TRY(co_await socket->write_binary(as_bytes(std::string("\0quit", 5))));
    CO_TRY_ASSIGN(WebSocket::Message status, co_await socket->read());
    EXPECT_EQ(status.data, "\3" + (protocol.starts_with("v4") ? format_exit_status(3) : "command terminated with non-zero exit code: exit status 3")) << protocol;
    EXPECT_FALSE(co_await socket->read());
  }
  for (std::string bad : {"0a", "x", "0====", "\xff"}) {
    CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await client.open_websocket({.target = "/exec"}, {"base64.channel.k8s.io"}));
    CO_TRY_ASSIGN(WebSocket::Message greeting, co_await socket->read());
    EXPECT_EQ(greeting.data, "1");
    CO_TRY(co_await socket->write_text(bad));
    for (Result<WebSocket::Message> message = co_await socket->read(); message; message = co_await socket->read()) EXPECT_TRUE(message->data.starts_with('3')) << bad;
  }
  co_return Result<>();
}

// Sends the head of an upgrade and returns what was answered, up to the blank line; the peer speaks SPDY from there on.
Task<Result<std::string>> ask_for_spdy(RawClient& raw, std::string protocols) {
  std::string versions;
  for (std::string_view one : split(protocols, ' '))
    if (!one.empty()) versions += cat("X-Stream-Protocol-Version: ", one, "\r\n");
  CO_TRY(co_await raw.send(cat("POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n", versions, "\r\n")));
  co_return co_await raw.read_until("\r\n\r\n");
}

// What the error stream said after input "in" and a size, by a client of the protocol.
Task<Result<std::string>> spdy_session(async::Executor executor, std::uint16_t port, std::string protocol) {
  Endpoint endpoint{.host = "127.0.0.1", .port = port};
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(endpoint, nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(executor, std::move(socket)));
  RawClient raw(std::move(transport));
  CO_TRY_ASSIGN(std::string head, co_await ask_for_spdy(raw, protocol));
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101 ")) << head;
  EXPECT_EQ(head.find(protocol) != std::string::npos, true) << head;
  SpdyFramer framer;
  std::string wire;
  std::uint32_t id = 1;
  bool old = protocol.empty() || protocol == "v2.channel.k8s.io";
  for (std::string_view type : {"error", "stdin", "stdout", "stderr", "resize"}) {
    if (type == "resize" && old) break;
    CO_TRY_ASSIGN(std::string frame, framer.format_syn_stream(id, {{"streamtype", type}}, false));
    wire += frame;
    id += 2;
  }
  std::string size = R"({"Width":80,"Height":24})";
  if (!old) wire += SpdyFramer::format_data_head(9, 5, false) + size.substr(0, 5) + SpdyFramer::format_data_head(9, size.size() - 5, false) + size.substr(5);
  wire += SpdyFramer::format_data_head(3, 2, true) + "in";
  CO_TRY(co_await raw.send(wire));
  std::map<std::uint32_t, std::string> said;
  std::string input;
  for (bool over = false; !over;) {
    CO_TRY_ASSIGN(std::string more, co_await raw.read_some());
    over = more.empty();
    input += more;
    std::string_view rest = input;
    for (;;) {
      CO_TRY_ASSIGN(std::optional<SpdyFrame> frame, framer.parse(rest));
      if (!frame) break;
      if (frame->type == SpdyType::kData) said[frame->stream_id] += frame->data;
      if (frame->type == SpdyType::kGoaway) over = true;
    }
    input.erase(0, input.size() - rest.size());
  }
  EXPECT_EQ(said[5], "in");
  EXPECT_EQ(said[7], old ? "" : "80x24");
  co_return said[1];
}

Task<Result<>> spdy_sessions(async::Executor executor, std::uint16_t port) {
  for (std::string protocol : {"v5.channel.k8s.io", "v4.channel.k8s.io"}) {
    CO_TRY_ASSIGN(std::string status, co_await spdy_session(executor, port, protocol));
    EXPECT_EQ(status, format_exit_status(3)) << protocol;
  }
  for (std::string protocol : {"v3.channel.k8s.io", "v2.channel.k8s.io", ""}) {
    CO_TRY_ASSIGN(std::string text, co_await spdy_session(executor, port, protocol));
    EXPECT_EQ(text, "command terminated with non-zero exit code: exit status 3") << protocol;
  }
  Endpoint endpoint{.host = "127.0.0.1", .port = port};
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(endpoint, nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(executor, std::move(socket)));
  RawClient raw(std::move(transport));
  CO_TRY_ASSIGN(std::string refused, co_await ask_for_spdy(raw, "v9.channel.k8s.io"));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 403 ")) << refused;
  EXPECT_NE(refused.find("X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io"), std::string::npos) << refused;
  CO_TRY_ASSIGN(std::string rest, co_await raw.read_to_end());
  EXPECT_NE(rest.find("unable to upgrade: unable to negotiate protocol: client supports [v9.channel.k8s.io]"), std::string::npos) << "and the connection ends";
  co_return Result<>();
}

Task<Result<>> remote_command(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  Shell shell(loop.executor());
  Server server(loop.executor(), time, shell, {});
  CO_TRY_ASSIGN(sys::Fd socket, listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = port}});
  Result<> session = co_await remote_session(client);
  if (session) session = co_await spdy_sessions(loop.executor(), port);
  if (session) session = co_await older_sessions(client);
  // A subprotocol that is not one we speak; a peer that just goes ends the command.
  Result<std::unique_ptr<WebSocket>> unknown = co_await client.open_websocket({.target = "/exec"}, {"v9.channel.k8s.io"});
  EXPECT_FALSE(unknown);
  {
    Result<std::unique_ptr<WebSocket>> brief = co_await client.open_websocket({.target = "/exec"}, {"v4.channel.k8s.io"});
    EXPECT_TRUE(brief);
  }
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return session;
}
TEST(RemoteCommand, CarriesStreamsSizesEndOfInputAndStatus) { async::run_test(remote_command); }

// --- answers by messages

// Every request for a WebSocket is answered by messages of what the test handler says.
class Messenger final : public Handler {
 public:
  explicit Messenger(async::Executor executor) : inner(executor) {}
  async::Task<Result<>> handle(Exchange& exchange) override {
    Messages kind = exchange.request().raw_query().ends_with("lines") ? Messages::kLines : Messages::kBytes;
    Result<> out = co_await answer_by_messages(exchange, inner, kind, time_);
    ++answered;
    co_return out;
  }
  TestHandler inner;
  int answered = 0;

 private:
  RealTime time_;
};

Task<Result<std::string>> all_of(WebSocket& socket, int& messages) {
  std::string out;
  for (;;) {
    Result<WebSocket::Message> message = co_await socket.read();
    if (!message && message.error().code() == Code::kUnavailable) co_return out;
    CO_TRY(message);
    ++messages;
    out += message->data;
  }
}

Task<Result<>> messages_of(Client& client, Messenger& handler) {
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> plain, co_await client.open_websocket({.target = "/hello"}, {}));
  int count = 0;
  CO_TRY_ASSIGN(std::string hello, co_await all_of(*plain, count));
  EXPECT_EQ(hello, "hello\n");
  EXPECT_EQ(count, 1);
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> stream, co_await client.open_websocket({.target = "/stream?n=300"}, {"v9", "binary.k8s.io"}));
  EXPECT_EQ(stream->subprotocol(), "binary.k8s.io");
  CO_TRY_ASSIGN(std::string streamed, co_await all_of(*stream, count = 0));
  EXPECT_EQ(streamed.size(), 300'000U);
  EXPECT_EQ(count, 300);
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> text, co_await client.open_websocket({.target = "/hello"}, {"base64.binary.k8s.io"}));
  CO_TRY_ASSIGN(std::string base64, co_await all_of(*text, count = 0));
  EXPECT_EQ(base64, "aGVsbG8K");
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> events, co_await client.open_websocket({.target = "/watch?lines"}, {}));
  CO_TRY_ASSIGN(WebSocket::Message event, co_await events->read());
  EXPECT_EQ(event.data, "event\n");
  EXPECT_FALSE(event.binary);
  EXPECT_EQ(handler.inner.live, 1);
  events.reset();  // the client goes: what would never end does
  CO_TRY(co_await wait_until(handler.inner.changed, [&] { return handler.inner.live == 0; }));
  Result<std::unique_ptr<WebSocket>> failed = co_await client.open_websocket({.target = "/error"}, {});
  EXPECT_FALSE(failed);
  if (!failed) EXPECT_EQ(failed.error().code(), Code::kNotFound);
  co_return Result<>();
}

Task<Result<>> by_messages(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  Messenger handler(loop.executor());
  Server server(loop.executor(), time, handler, {});
  CO_TRY_ASSIGN(sys::Fd socket, listen_tcp("127.0.0.1", 0));
  std::uint16_t port = *local_port(socket);
  scope.spawn(server.serve(std::move(socket)));
  Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = port}});
  Result<> done = co_await messages_of(client, handler);
  scope.cancel();
  (void)co_await scope.join();
  EXPECT_GE(handler.answered, 3);
  co_return done;
}
TEST(WebSocketAnswer, PiecesAndLinesBecomeMessagesFailuresStayAnswers) { async::run_test(by_messages); }

TEST(RemoteCommand, StatusObjectsAreWhatKubectlReads) {
  EXPECT_EQ(format_exit_status(0), R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(format_exit_status(3),
            R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 3",)"
            R"("reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})");
}

}  // namespace
}  // namespace monopod::http
