#include "http/websocket_answer.h"

#include <algorithm>

#include "base/strings.h"
#include "http/websocket_base64.h"

namespace monopod::http {
namespace {

constexpr std::size_t kMessageBytesMax = 32U << 10;                // of kBytes
constexpr Duration kFarewellMax = std::chrono::seconds(1);         // for the client's close frame
constexpr std::string_view kBinary = "binary.k8s.io", kBase64 = "base64.binary.k8s.io";

class MessageExchange final : public Exchange {
 public:
  MessageExchange(Exchange& inner, Messages messages, async::Scope& scope) : inner_(inner), messages_(messages), scope_(scope) { request_ = inner.request(); }

  async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override { return inner_.read_body_some(into); }
  async::Task<Result<>> start(int status, Headers headers) override {
    if (status != 200) co_return co_await inner_.start(status, std::move(headers));
    std::string protocol;
    if (messages_ == Messages::kBytes)
      for (const std::string& offered : inner_.offered_subprotocols())
        if (protocol.empty() && (offered == kBinary || offered == kBase64)) protocol = offered;
    CO_TRY_ASSIGN(socket_, co_await inner_.accept_websocket(protocol));
    if (protocol == kBase64) socket_ = make_websocket_base64(std::move(socket_), false);
    scope_.spawn(listen());
    co_return Result<>();
  }
  async::Task<Result<>> write(SharedBytes bytes) override {
    if (!socket_) co_return co_await inner_.write(std::move(bytes));
    if (!bytes) co_return Result<>();
    if (messages_ == Messages::kLines) co_return co_await write_lines(*bytes);
    for (std::string_view rest = *bytes; !rest.empty(); rest.remove_prefix(std::min(rest.size(), kMessageBytesMax)))
      CO_TRY(co_await socket_->write_binary(as_bytes(rest.substr(0, kMessageBytesMax))));
    co_return Result<>();
  }
  async::Task<Result<>> finish(Headers trailers) override {
    if (!socket_) co_return co_await inner_.finish(std::move(trailers));
    co_return co_await close();
  }
  bool started() const override { return inner_.started(); }
  bool wants_upgrade(std::string_view) const override { return false; }
  async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int, Headers) override { co_return fail(Code::kInternal, "an answer by messages"); }

  async::Task<Result<>> close() {
    if (!socket_ || closed_) co_return Result<>();
    closed_ = true;
    if (!rest_.empty()) CO_TRY(co_await socket_->write_text(rest_));
    co_return co_await socket_->close(1000);
  }
  bool open() const { return socket_ != nullptr; }

 protected:
  async::Task<Result<>> send_whole(int status, Headers headers, SharedBytes body) override {
    if (status != 200) co_return co_await inner_.respond(status, std::move(headers), std::move(body));
    CO_TRY(co_await start(status, std::move(headers)));
    CO_TRY(co_await write(std::move(body)));
    co_return co_await close();
  }

 private:
  async::Task<Result<>> write_lines(std::string_view bytes) {
    for (std::size_t end; (end = bytes.find('\n')) != std::string_view::npos; bytes.remove_prefix(end + 1)) {
      rest_ += bytes.substr(0, end + 1);
      std::string line = std::exchange(rest_, {});
      CO_TRY(co_await socket_->write_text(line));
    }
    rest_ += bytes;
    co_return Result<>();
  }
  // Answers pings and notices the client's end, which ends the answer.
  async::Task<Result<>> listen() {
    for (;;) {  // forever: until the connection ends
      Result<WebSocket::Message> message = co_await socket_->read();
      if (!message) co_return fail(std::move(message).error());
    }
  }

  Exchange& inner_;
  Messages messages_;
  async::Scope& scope_;
  std::unique_ptr<WebSocket> socket_;
  std::string rest_;  // of a line
  bool closed_ = false;
};

// The handler, then the close; the listener ends with the client's, or is ended.
async::Task<Result<>> run(MessageExchange& exchange, Handler& handler, async::Scope& scope, async::Time& time) {
  CO_TRY(co_await handler.handle(exchange));
  CO_TRY(co_await exchange.close());
  if (exchange.open()) CO_TRY(co_await time.sleep_for(kFarewellMax));
  scope.cancel();
  co_return Result<>();
}

}  // namespace

async::Task<Result<>> answer_by_messages(Exchange& exchange, Handler& handler, Messages messages, async::Time& time) {
  async::Scope scope(co_await async::this_executor());
  MessageExchange answer(exchange, messages, scope);
  scope.spawn(run(answer, handler, scope, time));
  Result<> ended = co_await scope.join();
  bool over = !ended && answer.open() && ended.error().code() == Code::kUnavailable;  // the client went, or answered our close
  co_return over ? Result<>() : ended;
}

}  // namespace monopod::http
