// For this package's tests and those of packages that serve HTTP: a server on loopback, a handler that does what the path says.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "async/test_support.h"
#include "base/strings.h"
#include "http/http.h"
#include "http/transport.h"

namespace monopod::http {

// What the last requests looked like, and answers by path:
//   /echo        the body back            /headers   the request's target and chosen fields
//   /stream?n=   n chunks of 1000 bytes   /trickle   writes until cancelled, counting bytes
//   /hang        waits until cancelled    /error     fails before start
//   /cut         fails after start        /ignore    answers without reading the body
//   /ws          echoes WebSocket messages
class TestHandler final : public Handler {
 public:
  explicit TestHandler(async::Executor executor) : changed(executor), executor_(executor) {}
  async::Task<Result<>> handle(Exchange& exchange) override;

  int live = 0;
  int ended = 0;  // handlers that returned or were unwound
  std::size_t written = 0;
  Peer last_peer;
  std::string last_body;
  std::string last_error;
  async::Notify changed;

 private:
  async::Task<Result<>> route(Exchange& exchange, std::string_view path);
  async::Executor executor_;
};

// Waits until condition() holds; the notifier is woken by whoever may have made it so.
template <typename F>
async::Task<Result<>> wait_until(async::Notify& notify, F condition) {
  while (!condition()) CO_TRY(co_await notify.wait());
  co_return Result<>();
}

// A raw connection: what a hostile or odd client sends, byte for byte.
class RawClient {
 public:
  explicit RawClient(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}
  async::Task<Result<>> send(std::string bytes) { return send_owned(transport_.get(), std::move(bytes)); }
  // Everything up to the end of the stream.
  async::Task<Result<std::string>> read_to_end();
  // What is there, at least one byte; empty at the end.
  async::Task<Result<std::string>> read_some();
  // Until what was read since the last call contains text; returns it.
  async::Task<Result<std::string>> read_until(std::string text);
  async::Task<Result<>> shutdown() { return transport_->shutdown_write(); }
  void close() { transport_->close(); }

 private:
  static async::Task<Result<>> send_owned(Transport* transport, std::string bytes) { co_return co_await transport->write_all(as_bytes(bytes)); }
  std::unique_ptr<Transport> transport_;
};

// A server with a TestHandler on 127.0.0.1.
struct TestServer {
  TestServer(async::Executor e, async::Scope& s, async::Time& t, ServerOptions options = {});
  Endpoint endpoint(bool tls = false) const { return {.tls = tls, .host = "127.0.0.1", .port = port}; }
  async::Task<Result<RawClient>> connect();

  async::Executor executor;
  TestHandler handler;
  Server server;
  std::uint16_t port = 0;
};

}  // namespace monopod::http
