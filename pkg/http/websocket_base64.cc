#include "http/websocket_base64.h"

#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::http {
namespace {

class Base64Socket final : public WebSocket {
 public:
  Base64Socket(std::unique_ptr<WebSocket> socket, bool channels) : socket_(std::move(socket)), channels_(channels) {}

  async::Task<Result<Message>> read() override {
    CO_TRY_ASSIGN(Message message, co_await socket_->read());
    std::string_view text = message.data;
    std::string out;
    bool fine = true;
    if (channels_ && !text.empty()) {
      fine = text[0] >= '0' && text[0] <= '9';
      out = static_cast<char>(text[0] - '0');
      text.remove_prefix(1);
    }
    std::optional<std::string> bytes = parse_base64(text);
    if (!fine || !bytes) {
      (void)co_await socket_->close(1007);
      co_return fail(Code::kInvalidArgument, "websocket: a message that is not base64");
    }
    co_return Message{.binary = true, .data = std::move(out) + *bytes};
  }
  async::Task<Result<>> write_binary(std::span<const std::byte> bytes) override {
    std::string text;
    std::string_view data = as_text(bytes);
    if (channels_ && !data.empty()) {
      text = static_cast<char>('0' + data[0]);
      data.remove_prefix(1);
    }
    text += format_base64(data);
    co_return co_await socket_->write_text(text);
  }
  async::Task<Result<>> write_text(std::string_view text) override { return write_binary(as_bytes(text)); }
  async::Task<Result<>> close(std::uint16_t code) override { return socket_->close(code); }
  std::string_view subprotocol() const override { return socket_->subprotocol(); }
  void abort() override { socket_->abort(); }

 private:
  std::unique_ptr<WebSocket> socket_;
  bool channels_;
};

}  // namespace

std::unique_ptr<WebSocket> make_websocket_base64(std::unique_ptr<WebSocket> socket, bool channels) {
  return std::make_unique<Base64Socket>(std::move(socket), channels);
}

}  // namespace monopod::http
