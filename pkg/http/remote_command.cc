#include "http/remote_command.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "async/event.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "http/remote_command_spdy.h"
#include "http/stream_upgrade.h"
#include "http/websocket_base64.h"

namespace monopod::http {
namespace {

struct ChannelProtocol {
  std::string_view name;
  bool closes_input = false;  // channel 255
  bool status = true;         // a Status object on the error channel
  bool base64 = false;
};
constexpr ChannelProtocol kProtocols[] = {{.name = "v5.channel.k8s.io", .closes_input = true},
                                          {.name = "v4.channel.k8s.io"},
                                          {.name = "v4.base64.channel.k8s.io", .base64 = true},
                                          {.name = "channel.k8s.io", .status = false},
                                          {.name = "base64.channel.k8s.io", .status = false, .base64 = true}};
constexpr ChannelProtocol kUnnamed{.name = "", .status = false};
constexpr std::size_t kStdinBytesMax = 256U << 10;
constexpr std::size_t kFrameBytesMax = 32U << 10;  // of one output message

enum ChannelNumber : std::uint8_t { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kCloseChannel = 255 };

//   peer --messages--> pump --+--> stdin_ --> read_stdin()
//                             +--> size_  --> next_resize()
struct Pumped {
  Pumped(async::Executor executor, std::unique_ptr<WebSocket> s, const ChannelProtocol& p) : socket(std::move(s)), protocol(p), changed(executor) {}
  std::unique_ptr<WebSocket> socket;
  const ChannelProtocol& protocol;
  std::string stdin_bytes;
  bool stdin_ended = false;
  std::optional<TerminalSize> size;
  bool ended = false;
  async::Notify changed;

  void take(std::string_view message) {
    if (message.empty()) return;
    auto channel = static_cast<std::uint8_t>(message[0]);
    std::string_view data = message.substr(1);
    if (channel == kStdin && !stdin_ended) stdin_bytes += data;
    if (channel == kCloseChannel && protocol.closes_input && data == std::string_view("\0", 1)) stdin_ended = true;
    if (channel == kResize) {
      if (auto told = parse_terminal_size(data)) size = told;
    }
    changed.wake_all();
  }
};

async::Task<> pump(std::shared_ptr<Pumped> state) {
  struct End {
    Pumped& state;
    ~End() {
      state.ended = true;
      state.stdin_ended = true;
      state.changed.wake_all();
    }
  } end{*state};
  for (;;) {
    while (state->stdin_bytes.size() >= kStdinBytesMax) {
      Result<> room = co_await state->changed.wait();
      if (!room) co_return;
    }
    Result<WebSocket::Message> message = co_await state->socket->read();
    if (!message) co_return;
    state->take(message->data);
  }
}

class WebSocketCommand final : public RemoteCommand {
 public:
  explicit WebSocketCommand(std::shared_ptr<Pumped> state) : state_(std::move(state)) {}
  ~WebSocketCommand() override { state_->socket->abort(); }  // the pump ends

  async::Task<Result<std::size_t>> read_stdin(std::span<std::byte> into) override {
    while (state_->stdin_bytes.empty()) {
      if (state_->stdin_ended) co_return 0U;
      CO_TRY(co_await state_->changed.wait());
    }
    std::size_t n = std::min(into.size(), state_->stdin_bytes.size());
    std::memcpy(into.data(), state_->stdin_bytes.data(), n);
    state_->stdin_bytes.erase(0, n);
    state_->changed.wake_all();
    co_return n;
  }
  async::Task<Result<>> write_stdout(std::span<const std::byte> bytes) override { return write(kStdout, bytes); }
  async::Task<Result<>> write_stderr(std::span<const std::byte> bytes) override { return write(kStderr, bytes); }

  async::Task<Result<TerminalSize>> next_resize() override {
    while (!state_->size) {
      if (state_->ended) co_return fail(Code::kUnavailable, "no more terminal sizes");
      CO_TRY(co_await state_->changed.wait());
    }
    co_return *std::exchange(state_->size, std::nullopt);
  }

  async::Task<Result<>> finish(std::string status_json) override {
    if (!state_->protocol.status) status_json = failure_text(status_json);
    CO_TRY(co_await write(kError, as_bytes(status_json)));
    CO_TRY(co_await state_->socket->close(1000));
    // The peer answers the close, or goes; what it still sends to stdin nobody reads.
    while (!state_->ended) {
      state_->stdin_bytes.clear();
      state_->changed.wake_all();
      CO_TRY(co_await state_->changed.wait());
    }
    co_return Result<>();
  }
  // An empty message: the streams are there.
  async::Task<Result<>> greet(RemoteStreams streams) {
    std::string message(1, static_cast<char>(streams.out ? kStdout : streams.err ? kStderr : kError));
    co_return co_await state_->socket->write_binary(as_bytes(message));
  }

 private:
  async::Task<Result<>> write(std::uint8_t channel, std::span<const std::byte> bytes) {
    std::string message;
    while (!bytes.empty()) {
      std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kFrameBytesMax));
      bytes = bytes.subspan(part.size());
      message.assign(1, static_cast<char>(channel));
      message += as_text(part);
      CO_TRY(co_await state_->socket->write_binary(as_bytes(message)));
    }
    co_return Result<>();
  }
  std::shared_ptr<Pumped> state_;
};

const ChannelProtocol* choose_protocol(const Exchange& exchange) {
  std::vector<std::string> offered = exchange.offered_subprotocols();
  for (const ChannelProtocol& known : kProtocols)
    if (std::ranges::find(offered, known.name) != offered.end()) return &known;
  return offered.empty() ? &kUnnamed : nullptr;
}

}  // namespace

bool wants_remote_command(const Exchange& exchange) {
  return (exchange.wants_upgrade("websocket") && choose_protocol(exchange) != nullptr) || exchange.wants_upgrade(kSpdy);
}

async::Task<Result<std::unique_ptr<RemoteCommand>>> accept_remote_command(Exchange& exchange, async::Time& time, async::Scope& scope, RemoteStreams streams) {
  if (!exchange.wants_upgrade("websocket") && exchange.wants_upgrade(kSpdy)) co_return co_await accept_spdy_command(exchange, time, scope, streams);
  const ChannelProtocol* protocol = choose_protocol(exchange);
  if (protocol == nullptr) co_return fail(Code::kInvalidArgument, "unable to upgrade: none of v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, channel.k8s.io, base64.channel.k8s.io offered");
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await exchange.accept_websocket(std::string(protocol->name)));
  if (protocol->base64) socket = make_websocket_base64(std::move(socket), true);
  async::Executor executor = co_await async::this_executor();
  auto state = std::make_shared<Pumped>(executor, std::move(socket), *protocol);
  scope.spawn(pump(state));
  auto command = std::make_unique<WebSocketCommand>(std::move(state));
  if (!protocol->closes_input) CO_TRY(co_await command->greet(streams));
  co_return command;
}

std::optional<TerminalSize> parse_terminal_size(std::string_view text) {
  Result<json::Value> value = json::parse(text, {.depth_max = 4, .bytes_max = 1024});
  if (!value) return std::nullopt;
  std::int64_t width = json::get_int(*value, {"Width"});
  std::int64_t height = json::get_int(*value, {"Height"});
  if (width < 1 || height < 1 || width > 0xffff || height > 0xffff) return std::nullopt;
  return TerminalSize{static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height)};
}

std::string failure_text(std::string_view status_json) {
  auto status = json::parse(status_json);
  if (!status || json::get_string(*status, {"status"}) == "Success") return {};
  return std::string(json::get_string(*status, {"message"}));
}

std::string format_exit_status(int exit_code) {
  if (exit_code == 0) return json::format(json::Object{{"metadata", json::Object()}, {"status", "Success"}});
  json::Object cause{{"reason", "ExitCode"}, {"message", std::to_string(exit_code)}};
  json::Object details{{"causes", json::Array{std::move(cause)}}};
  return json::format(json::Object{{"metadata", json::Object()},
                                   {"status", "Failure"},
                                   {"message", cat("command terminated with non-zero exit code: exit status ", exit_code)},
                                   {"reason", "NonZeroExitCode"},
                                   {"details", std::move(details)}});
}

std::string format_failure_status(const Error& error) {
  return json::format(json::Object{{"metadata", json::Object()},
                                   {"status", "Failure"},
                                   {"message", error.message()},
                                   {"reason", status_reason(error.code())},
                                   {"code", http_status(error.code())}});
}

}  // namespace monopod::http
