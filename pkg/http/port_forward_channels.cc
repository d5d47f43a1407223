#include "http/port_forward_channels.h"

#include <algorithm>
#include <cstring>

#include "async/event.h"
#include "base/bytes.h"

namespace monopod::http {
namespace {

constexpr std::size_t kInputBytesMax = 256U << 10;   // of one channel, before the socket is not read further
constexpr std::size_t kMessageBytesMax = 32U << 10;  // that we send

struct Channel {
  std::string input;
  std::size_t input_taken = 0;
  bool dropped = false;
  std::size_t unread() const { return input.size() - input_taken; }
};

//   peer --messages: channel, bytes--> pump --> channels[n].input --> ChannelStream
struct Channels {
  Channels(async::Executor executor, std::unique_ptr<WebSocket> s, std::size_t count) : socket(std::move(s)), channels(count), open(count), changed(executor) {}
  std::unique_ptr<WebSocket> socket;
  std::vector<Channel> channels;
  std::size_t open;  // not yet dropped
  bool ended = false;
  async::Notify changed;

  void end() {
    ended = true;
    changed.wake_all();
  }
  void drop(std::size_t index) {
    channels[index].dropped = true;
    --open;
    changed.wake_all();
  }
};

async::Task<> pump(std::shared_ptr<Channels> state) {
  struct End {
    Channels& state;
    ~End() { state.end(); }
  } end{*state};
  for (;;) {  // forever: until either side ends
    Result<WebSocket::Message> message = co_await state->socket->read();
    if (!message) co_return;
    if (message->data.empty()) continue;
    auto index = static_cast<std::uint8_t>(message->data[0]);
    if (index >= state->channels.size()) continue;
    Channel& channel = state->channels[index];
    if (channel.dropped || index % 2 == 1) continue;  // nothing is expected on error channels
    channel.input.append(message->data, 1);
    state->changed.wake_all();
    while (channel.unread() >= kInputBytesMax && !channel.dropped) {
      Result<> room = co_await state->changed.wait();
      if (!room) co_return;
    }
  }
}

// Once every channel has been dropped: the close frame. The pump ends when the peer answers it.
async::Task<> close_when_over(std::shared_ptr<Channels> state) {
  while (state->open > 0 && !state->ended) {
    Result<> changed = co_await state->changed.wait();
    if (!changed) co_return;
  }
  if (!state->ended) (void)co_await state->socket->close(1000);
}

class ChannelStream final : public async::Stream {
 public:
  ChannelStream(std::shared_ptr<Channels> state, std::size_t index) : state_(std::move(state)), index_(index) {}
  ~ChannelStream() override { close(); }

  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    Channel& channel = state_->channels[index_];
    while (channel.unread() == 0) {
      if (channel.dropped) co_return fail(Code::kCancelled, "channel is closed");
      if (state_->ended) co_return fail(Code::kUnavailable, "connection closed");
      CO_TRY(co_await state_->changed.wait());
    }
    std::size_t n = std::min(into.size(), channel.unread());
    std::memcpy(into.data(), channel.input.data() + channel.input_taken, n);
    channel.input_taken += n;
    if (channel.unread() == 0) {
      channel.input.clear();
      channel.input_taken = 0;
    }
    state_->changed.wake_all();
    co_return n;
  }

  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    std::string message;
    while (!bytes.empty()) {
      if (state_->channels[index_].dropped) co_return fail(Code::kCancelled, "channel is closed");
      std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kMessageBytesMax));
      bytes = bytes.subspan(part.size());
      message.assign(1, static_cast<char>(index_));
      message += as_text(part);
      CO_TRY(co_await state_->socket->write_binary(as_bytes(message)));
    }
    co_return Result<>();
  }
  // The protocol has no word for the end of one channel: the socket closes when all are over.
  async::Task<Result<>> shutdown_write() override { co_return Result<>(); }
  void close() override {
    if (!state_->channels[index_].dropped) state_->drop(index_);
  }

 private:
  std::shared_ptr<Channels> state_;
  std::size_t index_;
};

class ChannelForward final : public PortForward {
 public:
  ChannelForward(std::shared_ptr<Channels> state, std::vector<std::uint16_t> ports) : state_(std::move(state)), ports_(std::move(ports)) {}
  ~ChannelForward() override { state_->socket->abort(); }  // the pump ends

  async::Task<Result<ForwardedConnection>> next() override {
    while (given_ == ports_.size() || state_->ended) {
      if (state_->ended) co_return fail(Code::kUnavailable, "connection closed");
      CO_TRY(co_await state_->changed.wait());
    }
    std::size_t i = given_++;
    ForwardedConnection out;
    out.port = ports_[i];
    out.data = std::make_unique<ChannelStream>(state_, 2 * i);
    out.error = std::make_unique<ChannelStream>(state_, 2 * i + 1);
    std::string port{static_cast<char>(out.port & 0xffU), static_cast<char>(out.port >> 8U)};
    CO_TRY(co_await out.data->write_all(as_bytes(port)));
    CO_TRY(co_await out.error->write_all(as_bytes(port)));
    co_return out;
  }

 private:
  std::shared_ptr<Channels> state_;
  std::vector<std::uint16_t> ports_;
  std::size_t given_ = 0;
};

}  // namespace

async::Task<Result<std::unique_ptr<PortForward>>> make_channel_forward(std::unique_ptr<WebSocket> socket, std::vector<std::uint16_t> ports, async::Scope& scope) {
  async::Executor executor = co_await async::this_executor();
  auto state = std::make_shared<Channels>(executor, std::move(socket), 2 * ports.size());
  scope.spawn(pump(state));
  scope.spawn(close_when_over(state));
  co_return std::make_unique<ChannelForward>(std::move(state), std::move(ports));
}

}  // namespace monopod::http
