// Another implementation's opinion of our WebSocket framing: Boost.Beast's whole stream as the client of our server and as the server of our client.
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "async/pool.h"
#include "http/test_support.h"

namespace monopod::http {
namespace {

using async::Loop;
using async::RealTime;
using async::Scope;
using async::Task;
using Tcp = boost::asio::ip::tcp;
using Socket = boost::asio::basic_stream_socket<Tcp, async::Executor>;
using BeastSocket = boost::beast::websocket::stream<Socket, false>;
using BeastError = boost::beast::error_code;
namespace websocket = boost::beast::websocket;

constexpr std::size_t kSizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1'000'000};

std::string echo(BeastSocket& socket, std::string_view message) {
  socket.write(boost::asio::const_buffer(message.data(), message.size()));
  boost::beast::flat_buffer buffer;
  socket.read(buffer);
  return boost::beast::buffers_to_string(buffer.data());
}

// Blocking, on a thread of its own. Empty when all went well.
std::string ask_as_beast(std::uint16_t port) try {
  boost::asio::io_context context;
  BeastSocket socket(context.get_executor());
  socket.next_layer().connect({boost::asio::ip::make_address("127.0.0.1"), port});
  socket.handshake(cat("127.0.0.1:", port), "/ws");
  bool ponged = false;
  socket.control_callback([&](websocket::frame_type kind, auto payload) { ponged = ponged || (kind == websocket::frame_type::pong && payload == "are you there"); });
  socket.ping("are you there");
  for (bool fragmented : {false, true}) {
    socket.auto_fragment(fragmented);
    socket.write_buffer_bytes(1000);
    for (std::size_t size : kSizes) {
      for (bool binary : {false, true}) {
        socket.binary(binary);
        std::string message(size, binary ? '\xff' : 'x');
        if (echo(socket, message) != message || socket.got_binary() != binary) return cat("message of ", size, " bytes changed");
      }
    }
  }
  if (!ponged) return "no pong";
  socket.close(websocket::close_reason(websocket::close_code(3001), "done"));
  BeastError ec;
  boost::beast::flat_buffer buffer;
  socket.read(buffer, ec);
  if (socket.reason().code != 3001) return cat("closed with ", socket.reason().code, ": ", ec.message());
  return {};
} catch (const std::exception& e) {
  return e.what();
}

Task<Result<>> serve_beast(Loop& loop) {
  RealTime time;
  async::Pool pool(1);
  Scope scope(loop.executor());
  TestServer server(loop.executor(), scope, time);
  std::uint16_t port = server.port;
  std::string complaint = co_await pool.run([port] { return ask_as_beast(port); });
  EXPECT_EQ(complaint, "");
  scope.cancel();
  co_return co_await scope.join();
}
TEST(BeastPeer, BeastsClientAgreesWithOurServer) { async::run_test(serve_beast); }

// One connection that echoes, pings before every answer and says how it ended.
std::string serve_as_beast(boost::asio::basic_socket_acceptor<Tcp, async::Executor>& acceptor) try {
  BeastSocket socket(acceptor.accept());
  socket.accept();
  for (;;) {
    boost::beast::flat_buffer buffer;
    BeastError ec;
    socket.read(buffer, ec);
    if (ec == websocket::error::closed) return cat("closed with ", socket.reason().code);
    if (ec) return ec.message();
    socket.ping("p");
    socket.text(socket.got_text());
    socket.write(buffer.data());
  }
} catch (const std::exception& e) {
  return e.what();
}

Task<Result<>> echo_all(Client& client) {
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await client.open_websocket({.target = "/x?y"}, {}));
  for (std::size_t size : kSizes) {
    for (bool binary : {false, true}) {
      std::string message(size, binary ? '\xff' : 'x');
      Result<> written = binary ? co_await socket->write_binary(as_bytes(message)) : co_await socket->write_text(message);
      CO_TRY(std::move(written));
      CO_TRY_ASSIGN(WebSocket::Message back, co_await socket->read());
      EXPECT_EQ(back.binary, binary);
      EXPECT_TRUE(back.data == message) << size;
    }
  }
  CO_TRY(co_await socket->close(4000));
  Result<WebSocket::Message> end = co_await socket->read();
  EXPECT_FALSE(end);
  co_return Result<>();
}

Task<Result<>> call_beast(Loop& loop) {
  RealTime time;
  async::Pool pool(1);
  Scope scope(loop.executor()), waiting(loop.executor());
  boost::asio::io_context context;
  boost::asio::basic_socket_acceptor<Tcp, async::Executor> acceptor(context.get_executor(), Tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"), 0));
  std::string complaint;
  struct Serving {
    static Task<Result<>> run(async::Pool& threads, boost::asio::basic_socket_acceptor<Tcp, async::Executor>& on, std::string& said) {
      said = co_await threads.run([&on] { return serve_as_beast(on); });
      co_return Result<>();
    }
  };
  waiting.spawn(Serving::run(pool, acceptor, complaint));
  Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = acceptor.local_endpoint().port()}});
  Result<> echoed = co_await echo_all(client);
  Result<> served = co_await waiting.join();
  EXPECT_EQ(complaint, "closed with 4000");
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return echoed ? served : echoed;
}
TEST(BeastPeer, BeastsServerAgreesWithOurClient) { async::run_test(call_beast); }

}  // namespace
}  // namespace monopod::http
