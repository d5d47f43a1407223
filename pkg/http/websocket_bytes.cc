#include "http/websocket_bytes.h"

#include <algorithm>
#include <cstring>

namespace monopod::http {
namespace {

constexpr std::size_t kMessageBytesMax = 64U << 10;  // that we send

class WebSocketBytes final : public async::Stream {
 public:
  explicit WebSocketBytes(std::unique_ptr<WebSocket> socket) : socket_(std::move(socket)) {}

  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    while (taken_ == message_.size()) {
      taken_ = 0;
      message_.clear();
      Result<WebSocket::Message> message = co_await socket_->read();
      if (!message && message.error().code() == Code::kUnavailable) co_return 0U;
      if (!message) co_return fail(std::move(message).error());
      if (!message->binary) co_return fail(Code::kInvalidArgument, "websocket: a text message in a tunnel");
      message_ = std::move(message->data);
    }
    std::size_t n = std::min(into.size(), message_.size() - taken_);
    std::memcpy(into.data(), message_.data() + taken_, n);
    taken_ += n;
    co_return n;
  }

  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kMessageBytesMax));
      bytes = bytes.subspan(part.size());
      CO_TRY(co_await socket_->write_binary(part));
    }
    co_return Result<>();
  }
  async::Task<Result<>> shutdown_write() override { return socket_->close(1000); }
  void close() override { socket_->abort(); }

 private:
  std::unique_ptr<WebSocket> socket_;
  std::string message_;
  std::size_t taken_ = 0;
};

}  // namespace

std::unique_ptr<async::Stream> make_websocket_bytes(std::unique_ptr<WebSocket> socket) { return std::make_unique<WebSocketBytes>(std::move(socket)); }

}  // namespace monopod::http
