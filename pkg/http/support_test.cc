#include "http/test_support.h"

#include <array>

namespace monopod::http {

async::Task<Result<>> TestHandler::handle(Exchange& exchange) {
  struct Count {
    TestHandler& handler;
    explicit Count(TestHandler& h) : handler(h) { ++handler.live; }
    ~Count() {
      --handler.live;
      ++handler.ended;
      handler.changed.wake_all();
    }
  } count(*this);
  changed.wake_all();
  last_peer = exchange.request().peer;
  std::string path(exchange.request().raw_path());
  Result<> outcome = co_await route(exchange, path);
  if (!outcome) last_error = outcome.error().message();
  co_return outcome;
}

async::Task<Result<>> TestHandler::route(Exchange& exchange, std::string_view path) {
  Query query = parse_query(exchange.request().raw_query());
  if (path == "/echo") {
    CO_TRY_ASSIGN(last_body, co_await exchange.read_body(1 << 20));
    co_return co_await exchange.respond(200, {{"Content-Type", "text/plain"}}, last_body);
  }
  if (path == "/headers") {
    std::string text = cat(exchange.request().method, " ", exchange.request().target, "\n");
    for (const Headers::Field& field : exchange.request().headers) text += cat(to_lower(field.name), "=", field.value, "\n");
    co_return co_await exchange.respond(200, {}, text);
  }
  if (path == "/stream") {
    int n = parse_int<int>(query.get("n").value_or("3")).value_or(3);
    SharedBytes chunk = share(std::string(1000, 'x'));
    CO_TRY(co_await exchange.start(200, {{"Content-Type", "text/plain"}}));
    for (int i = 0; i < n; ++i)
      if (!exchange.try_write(chunk)) CO_TRY(co_await exchange.write(chunk));
    co_return co_await exchange.finish({{"X-Checksum", "abc"}});
  }
  if (path == "/trickle") {
    SharedBytes chunk = share(std::string(8192, 'y'));
    CO_TRY(co_await exchange.start(200, {}));
    for (;;) {
      if (!exchange.try_write(chunk)) CO_TRY(co_await exchange.write(chunk));
      written += chunk->size();
      changed.wake_all();
      co_await async::asio::post(executor_, async::use_task);
    }
  }
  if (path == "/hang") {
    async::Event never(executor_);
    co_return co_await never.wait();
  }
  if (path == "/watch") {
    async::Event never(executor_);
    CO_TRY(co_await exchange.start(200, {}));
    CO_TRY(co_await exchange.write(share("event\n")));
    co_return co_await never.wait();
  }
  if (path == "/error") co_return fail(Code::kNotFound, "pods \"x\" not found");
  if (path == "/cut") {
    CO_TRY(co_await exchange.start(200, {}));
    CO_TRY(co_await exchange.write(share("half")));
    co_return fail(Code::kInternal, "broken");
  }
  if (path == "/ws") {
    CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await exchange.accept_websocket("echo"));
    for (;;) {
      Result<WebSocket::Message> message = co_await socket->read();
      if (!message) {
        last_error = message.error().message();
        co_return Result<>();
      }
      if (message->binary) CO_TRY(co_await socket->write_binary(as_bytes(message->data)));
      else CO_TRY(co_await socket->write_text(message->data));
    }
  }
  if (path == "/none") co_return Result<>();
  co_return co_await exchange.respond(200, {{"Content-Type", "text/plain"}}, "hello\n");
}

async::Task<Result<std::string>> RawClient::read_to_end() {
  std::string out;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    Result<std::size_t> n = co_await transport_->read_some(buffer);
    if (!n || *n == 0) co_return out;
    out.append(as_text(std::span(buffer).first(*n)));
  }
}

async::Task<Result<std::string>> RawClient::read_some() {
  std::array<std::byte, 4096> buffer;
  CO_TRY_ASSIGN(std::size_t n, co_await transport_->read_some(buffer));
  co_return std::string(as_text(std::span(buffer).first(n)));
}

async::Task<Result<std::string>> RawClient::read_until(std::string text) {
  std::string out;
  std::array<std::byte, 1> buffer;
  while (out.find(text) == std::string::npos) {
    CO_TRY_ASSIGN(std::size_t n, co_await transport_->read_some(buffer));
    if (n == 0) co_return fail(Code::kUnavailable, "ended after: " + out);
    out.append(as_text(buffer));
  }
  co_return out;
}

TestServer::TestServer(async::Executor e, async::Scope& s, async::Time& t, ServerOptions options)
    : executor(e), handler(e), server(e, t, handler, std::move(options)) {
  Result<sys::Fd> socket = listen_tcp("127.0.0.1", 0);
  if (!socket) {
    ADD_FAILURE() << socket.error().message();
    return;
  }
  port = *local_port(*socket);
  s.spawn(server.serve(std::move(*socket)));
}

async::Task<Result<RawClient>> TestServer::connect() {
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(endpoint(), nullptr));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(executor, std::move(socket)));
  co_return RawClient(std::move(transport));
}

}  // namespace monopod::http
