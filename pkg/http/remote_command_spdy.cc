#include "http/remote_command_spdy.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "http/spdy_session.h"
#include "http/stream_upgrade.h"

namespace monopod::http {
namespace {

// The last one is meant by clients that name none.
constexpr std::array<std::string_view, 5> kProtocols{"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"};
constexpr std::array<std::string_view, 5> kTypes{"error", "stdin", "stdout", "stderr", "resize"};
constexpr Duration kStreamsTimeout = std::chrono::seconds(30);  // for the client to open what it asked for
constexpr std::size_t kSizeBytesMax = 1024;                     // of one terminal size

bool before(std::string_view protocol, std::string_view first) { return std::ranges::find(kProtocols, protocol) > std::ranges::find(kProtocols, first); }

Result<> check_stream(const Headers& headers) {
  auto type = headers.find("streamtype");
  if (type && std::ranges::find(kTypes, *type) != kTypes.end()) return {};
  return fail(Code::kInvalidArgument, "unexpected stream type");
}

class SpdyCommand final : public RemoteCommand {
 public:
  SpdyCommand(async::Executor executor, async::Time& time, SpdyWire wire, async::Scope& scope)
      : protocol_(std::move(wire.protocol)), session_(executor, time, std::move(wire.stream), check_stream) {
    scope.spawn(session_.run());
  }

  async::Task<Result<>> accept_streams(RemoteStreams wanted) {
    std::vector<std::unique_ptr<SpdyStream>*> places{&error_};
    if (wanted.in) places.push_back(&stdin_);
    if (wanted.out) places.push_back(&stdout_);
    if (wanted.err) places.push_back(&stderr_);
    if (wanted.tty && !before(protocol_, "v3.channel.k8s.io")) places.push_back(&resize_);
    while (std::ranges::any_of(places, [](auto* place) { return !*place; })) {
      CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> stream, co_await session_.accept());
      std::unique_ptr<SpdyStream>& place = place_of(*stream->headers().find("streamtype"));
      if (!place) place = std::move(stream);  // a second one of its kind is reset
    }
    co_return Result<>();
  }

  async::Task<Result<std::size_t>> read_stdin(std::span<std::byte> into) override {
    if (!stdin_) co_return 0U;
    Result<std::size_t> n = co_await stdin_->read_some(into);
    if (!n && n.error().code() == Code::kUnavailable) co_return 0U;
    co_return n;
  }
  async::Task<Result<>> write_stdout(std::span<const std::byte> bytes) override { return write(stdout_.get(), bytes); }
  async::Task<Result<>> write_stderr(std::span<const std::byte> bytes) override { return write(stderr_.get(), bytes); }

  // Objects of a JSON stream, each flat.
  async::Task<Result<TerminalSize>> next_resize() override {
    std::array<std::byte, 256> buffer;
    while (resize_) {
      if (std::size_t end = sizes_.find('}'); end != std::string::npos) {
        auto size = parse_terminal_size(trim(std::string_view(sizes_).substr(0, end + 1)));
        sizes_.erase(0, end + 1);
        if (size) co_return *size;
        continue;
      }
      Result<std::size_t> n = co_await resize_->read_some(buffer);
      if (!n && n.error().code() == Code::kCancelled) co_return fail(std::move(n).error());
      if (!n || *n == 0 || sizes_.size() + *n > kSizeBytesMax) resize_.reset();
      else sizes_ += as_text(std::span(buffer).first(*n));
    }
    CO_TRY(co_await session_.ended());
    co_return fail(Code::kUnavailable, "no more terminal sizes");
  }

  async::Task<Result<>> finish(std::string status_json) override {
    std::string text = before(protocol_, "v4.channel.k8s.io") ? failure_text(status_json) : std::move(status_json);
    CO_TRY(co_await error_->write_all(as_bytes(text)));
    for (SpdyStream* stream : {stdout_.get(), stderr_.get(), error_.get()})
      if (stream) CO_TRY(co_await stream->shutdown_write());
    co_return co_await session_.finish();
  }

 private:
  std::unique_ptr<SpdyStream>& place_of(std::string_view type) {
    if (type == "stdin") return stdin_;
    if (type == "stdout") return stdout_;
    if (type == "stderr") return stderr_;
    return type == "resize" ? resize_ : error_;
  }
  static async::Task<Result<>> write(SpdyStream* stream, std::span<const std::byte> bytes) {
    if (!stream) co_return Result<>();  // not asked for
    co_return co_await stream->write_all(bytes);
  }

  std::string protocol_;
  SpdySession session_;
  std::unique_ptr<SpdyStream> error_, stdin_, stdout_, stderr_, resize_;
  std::string sizes_;  // not yet whole
};

}  // namespace

async::Task<Result<std::unique_ptr<RemoteCommand>>> accept_spdy_command(Exchange& exchange, async::Time& time, async::Scope& scope, RemoteStreams streams) {
  CO_TRY_ASSIGN(SpdyWire wire, co_await upgrade_to_spdy(exchange, kProtocols));
  if (!wire.stream) co_return nullptr;
  async::Executor executor = co_await async::this_executor();
  auto command = std::make_unique<SpdyCommand>(executor, time, std::move(wire), scope);
  CO_TRY(co_await async::with_timeout<void>(time, kStreamsTimeout, "waiting for client to create streams", command->accept_streams(streams)));
  co_return command;
}

}  // namespace monopod::http
