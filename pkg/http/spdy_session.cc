#include "http/spdy_session.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

#include "async/event.h"
#include "async/scope.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::http {
namespace {

constexpr std::size_t kReadBytes = 16U << 10;
constexpr std::size_t kDataBytesMax = 32U << 10;        // of one frame that we send
constexpr std::size_t kOutputBytesMax = 128U << 10;     // queued, before writers wait
constexpr std::int64_t kInitialWindow = 64 << 10;       // section 2.6.8
constexpr std::int64_t kWindowMax = 0x7fffffff;
constexpr std::uint32_t kWindowRenewBytes = 32U << 10;  // consumed, before the peer is told
constexpr Duration kPingWhileHeldBack = std::chrono::seconds(30);
constexpr Duration kLinger = std::chrono::seconds(5);

Error closed() { return {Code::kUnavailable, "connection closed"}; }

struct StreamState {
  explicit StreamState(async::Executor executor) : changed(executor) {}
  std::uint32_t id = 0;
  Headers headers;
  std::string input;
  std::size_t input_taken = 0;  // of input, already read
  bool input_ended = false;     // the peer's last frame is in
  bool output_ended = false;    // ours is out
  bool reset = false;           // by either side
  std::int64_t window = 0;      // what the peer takes, if it counts
  std::uint32_t consumed = 0;   // since our last WINDOW_UPDATE
  async::Notify changed;        // input, end

  std::size_t unread() const { return input.size() - input_taken; }
  std::size_t take(std::span<std::byte> into) {
    std::size_t n = std::min(into.size(), unread());
    std::memcpy(into.data(), input.data() + input_taken, n);
    input_taken += n;
    if (input_taken == input.size() || input_taken > (64U << 10)) {
      input.erase(0, input_taken);
      input_taken = 0;
    }
    return n;
  }
};

}  // namespace

struct SpdySession::Core {
  Core(async::Executor e, async::Time& t, std::unique_ptr<async::Stream> w, Check c, const Limits& l)
      : executor(e), time(t), wire(std::move(w)), check(std::move(c)), limits(l), framer(l), opened(e), queued(e), room(e), taken(e) {}

  async::Executor executor;
  async::Time& time;
  std::unique_ptr<async::Stream> wire;
  Check check;
  Limits limits;
  SpdyFramer framer;
  std::map<std::uint32_t, std::shared_ptr<StreamState>> streams;  // not yet closed in both directions
  std::deque<std::shared_ptr<StreamState>> waiting;               // for accept()
  std::string output;                                             // whole frames
  bool writing = false;
  std::uint32_t last_stream = 0;
  std::int64_t initial_window = kInitialWindow;
  std::int64_t window = kInitialWindow;  // of the session
  std::uint32_t consumed = 0;
  bool peer_counts = false;  // the peer does flow control
  bool gone_away = false;    // the peer opens no more streams
  bool ended = false;
  async::Notify opened;  // waiting, ended
  async::Notify queued;  // output
  async::Notify room;    // output went out, windows grew
  async::Notify taken;   // input of some stream was read, a stream went

  void queue(std::string_view frame) {
    if (ended) return;
    output += frame;
    queued.wake_all();
  }
  void end() {
    ended = true;
    wire->close();
    for (auto& [id, stream] : streams) stream->changed.wake_all();
    for (async::Notify* n : {&opened, &queued, &room, &taken}) n->wake_all();
  }
  void forget(const StreamState& stream) {
    streams.erase(stream.id);
    taken.wake_all();
  }
  void close_if_done(const StreamState& stream) {
    if (stream.input_ended && stream.output_ended) forget(stream);
  }
  bool holds_back(const StreamState& stream) const { return !ended && !stream.reset && stream.unread() >= limits.spdy_stream_input_bytes_max; }
  // Bytes of data that may be queued for the stream now.
  std::size_t writable(const StreamState& stream) const {
    if (output.size() >= kOutputBytesMax) return 0;
    std::int64_t n = kDataBytesMax;
    if (peer_counts) n = std::min({n, stream.window, window});
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  void renew_windows(StreamState& stream, std::size_t bytes) {
    auto renew = [this](std::uint32_t& count, std::uint32_t id, std::size_t n) {
      count += static_cast<std::uint32_t>(n);
      if (count < kWindowRenewBytes) return;
      queue(SpdyFramer::format_window_update(id, count));
      count = 0;
    };
    renew(consumed, 0, bytes);
    if (!stream.input_ended) renew(stream.consumed, stream.id, bytes);
  }

  // What a frame says. The stream whose input it filled, if any; an error ends the session.
  Result<std::shared_ptr<StreamState>> on_frame(SpdyFrame frame);
  Result<> on_syn_stream(SpdyFrame frame);
  Result<> on_window_update(const SpdyFrame& frame);
  void on_initial_window(std::int64_t bytes);
};

Result<> SpdySession::Core::on_syn_stream(SpdyFrame frame) {
  if (frame.stream_id % 2 == 0 || frame.stream_id <= last_stream) return fail(Code::kInvalidArgument, "spdy: stream id out of order");
  last_stream = frame.stream_id;
  if (gone_away || streams.size() >= limits.spdy_streams_max || !check(frame.headers)) {
    queue(SpdyFramer::format_rst_stream(frame.stream_id, kSpdyRefusedStream));
    return {};
  }
  auto stream = std::make_shared<StreamState>(executor);
  stream->id = frame.stream_id;
  stream->headers = std::move(frame.headers);
  stream->input_ended = frame.fin;
  stream->output_ended = frame.unidirectional;
  stream->window = initial_window;
  if (!frame.unidirectional) {
    TRY_ASSIGN(std::string reply, framer.format_syn_reply(frame.stream_id, {}));
    queue(reply);
  }
  if (!stream->input_ended || !stream->output_ended) streams[stream->id] = stream;
  waiting.push_back(std::move(stream));
  opened.wake_all();
  return {};
}

Result<> SpdySession::Core::on_window_update(const SpdyFrame& frame) {
  peer_counts = true;
  if (frame.stream_id == 0) {
    window += frame.value;
    if (window > kWindowMax) return fail(Code::kInvalidArgument, "spdy: window too large");
  } else if (auto found = streams.find(frame.stream_id); found != streams.end()) {
    auto stream = found->second;
    stream->window += frame.value;
    if (stream->window > kWindowMax) {
      queue(SpdyFramer::format_rst_stream(stream->id, kSpdyFlowControlError));
      stream->reset = true;
      stream->changed.wake_all();
      forget(*stream);
    }
  }
  room.wake_all();
  return {};
}

void SpdySession::Core::on_initial_window(std::int64_t bytes) {
  peer_counts = true;
  for (auto& [id, stream] : streams) stream->window += bytes - initial_window;
  initial_window = bytes;
  room.wake_all();
}

Result<std::shared_ptr<StreamState>> SpdySession::Core::on_frame(SpdyFrame frame) {
  if (frame.type == SpdyType::kSynStream) TRY(on_syn_stream(std::move(frame)));
  else if (frame.type == SpdyType::kWindowUpdate) TRY(on_window_update(frame));
  else if (frame.type == SpdyType::kPing && frame.stream_id % 2 == 1) queue(SpdyFramer::format_ping(frame.stream_id));
  else if (frame.type == SpdyType::kSettings && frame.initial_window) on_initial_window(*frame.initial_window);
  else if (frame.type == SpdyType::kGoaway) gone_away = true;
  bool of_stream = frame.type == SpdyType::kData || frame.type == SpdyType::kHeaders || frame.type == SpdyType::kRstStream;
  if (!of_stream) return nullptr;
  auto found = streams.find(frame.stream_id);
  if (found == streams.end() || found->second->input_ended) {
    // Frames of a stream that has been closed may still be on their way.
    bool never_opened = frame.stream_id % 2 == 0 || frame.stream_id > last_stream;
    if (never_opened && frame.type != SpdyType::kRstStream) queue(SpdyFramer::format_rst_stream(frame.stream_id, kSpdyInvalidStream));
    if (found == streams.end() || frame.type != SpdyType::kRstStream) return nullptr;
  }
  std::shared_ptr<StreamState> stream = found->second;
  if (frame.type == SpdyType::kRstStream) {
    stream->reset = true;
    forget(*stream);
    room.wake_all();
  }
  stream->input += frame.data;
  if (frame.fin) {
    stream->input_ended = true;
    close_if_done(*stream);
  }
  stream->changed.wake_all();
  return stream;
}

// A stream as its user holds it.
class SpdySession::Handle final : public SpdyStream {
 public:
  Handle(std::shared_ptr<Core> core, std::shared_ptr<StreamState> stream) : core_(std::move(core)), stream_(std::move(stream)) {}
  ~Handle() override { close(); }

  std::uint32_t id() const override { return stream_->id; }
  const Headers& headers() const override { return stream_->headers; }

  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    while (stream_->unread() == 0) {
      if (closed_) co_return fail(Code::kCancelled, "stream is closed");
      if (stream_->reset) co_return fail(Code::kUnavailable, "stream reset");
      if (stream_->input_ended) co_return 0U;
      if (core_->ended) co_return fail(closed());
      CO_TRY(co_await stream_->changed.wait());
    }
    std::size_t n = stream_->take(into);
    core_->renew_windows(*stream_, n);
    core_->taken.wake_all();
    co_return n;
  }

  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (closed_) co_return fail(Code::kCancelled, "stream is closed");
      if (core_->ended) co_return fail(closed());
      if (stream_->reset || stream_->output_ended) co_return fail(Code::kUnavailable, "stream reset");
      std::size_t n = std::min(bytes.size(), core_->writable(*stream_));
      if (n == 0) {
        CO_TRY(co_await core_->room.wait());
        continue;
      }
      core_->queue(SpdyFramer::format_data_head(stream_->id, n, false));
      core_->queue(as_text(bytes.first(n)));
      stream_->window -= static_cast<std::int64_t>(n);
      core_->window -= static_cast<std::int64_t>(n);
      bytes = bytes.subspan(n);
    }
    co_return Result<>();
  }

  async::Task<Result<>> shutdown_write() override {
    if (core_->ended) co_return fail(closed());
    if (stream_->reset || stream_->output_ended) co_return Result<>();
    stream_->output_ended = true;
    core_->queue(SpdyFramer::format_data_head(stream_->id, 0, true));
    core_->close_if_done(*stream_);
    co_return Result<>();
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    bool over = stream_->reset || (stream_->input_ended && stream_->output_ended);
    if (!over) core_->queue(SpdyFramer::format_rst_stream(stream_->id, kSpdyCancel));
    stream_->reset = true;
    core_->forget(*stream_);
    core_->room.wake_all();
    stream_->changed.wake_all();
  }

 private:
  std::shared_ptr<Core> core_;
  std::shared_ptr<StreamState> stream_;
  bool closed_ = false;
};

namespace {

// Waits, and finds out meanwhile whether the peer is still there: while nothing is read, only a write can tell.
template <typename Core>
async::Task<Result<>> wait_while_held_back(Core& core) {
  auto woken = co_await async::with_timeout<void>(core.time, kPingWhileHeldBack, "input", core.taken.wait());
  if (!woken && woken.error().code() == Code::kCancelled) co_return woken;
  if (!woken) core.queue(SpdyFramer::format_ping(2));  // a server's ids are even
  co_return Result<>();
}

template <typename Core>
async::Task<Result<>> flush(Core& core) {
  while (!core.ended && (core.writing || !core.output.empty())) CO_TRY(co_await core.room.wait());
  co_return Result<>();
}

template <typename Core>
async::Task<Result<>> until_ended(Core& core) {
  while (!core.ended) CO_TRY(co_await core.opened.wait());
  co_return Result<>();
}

// Frames until the end of the session; an error is the peer's fault.
template <typename Core>
async::Task<Result<>> read_frames(Core& core) {
  std::vector<std::byte> buffer(kReadBytes);
  std::string input;
  while (!core.gone_away || !core.streams.empty()) {
    Result<std::size_t> n = co_await core.wire->read_some(buffer);
    if (!n || *n == 0) co_return Result<>();
    input += as_text(std::span(buffer).first(*n));
    std::string_view rest = input;
    for (;;) {
      // Answers have a bound too: a peer that only asks is not read further.
      while (core.output.size() >= 2 * kOutputBytesMax && !core.ended) CO_TRY(co_await core.room.wait());
      CO_TRY_ASSIGN(std::optional<SpdyFrame> frame, core.framer.parse(rest));
      if (!frame) break;
      CO_TRY_ASSIGN(auto filled, core.on_frame(std::move(*frame)));
      while (filled && core.holds_back(*filled)) CO_TRY(co_await wait_while_held_back(core));
    }
    input.erase(0, input.size() - rest.size());
  }
  co_return Result<>();
}

}  // namespace

SpdySession::SpdySession(async::Executor executor, async::Time& time, std::unique_ptr<async::Stream> wire, Check check, const Limits& limits)
    : core_(std::make_shared<Core>(executor, time, std::move(wire), std::move(check), limits)) {}

SpdySession::~SpdySession() { core_->end(); }

async::Task<> SpdySession::run() { return serve(core_); }

async::Task<> SpdySession::serve(std::shared_ptr<Core> core) {
  struct End {
    Core& core;
    ~End() { core.end(); }
  } end{*core};
  async::Scope scope(core->executor);
  scope.spawn(read(core, scope));
  scope.spawn(write(core, scope));
  (void)co_await scope.join();
}

async::Task<> SpdySession::read(std::shared_ptr<Core> core, async::Scope& scope) {
  Result<> done = co_await read_frames(*core);
  if (!done && done.error().code() != Code::kCancelled && !core->ended) {
    core->queue(SpdyFramer::format_goaway(core->last_stream, kSpdyGoawayProtocolError));
    (void)co_await async::with_timeout<void>(core->time, kLinger, "flush", flush(*core));
  }
  scope.cancel();
}

async::Task<> SpdySession::write(std::shared_ptr<Core> core, async::Scope& scope) {
  for (;;) {  // forever: until the session ends
    while (core->output.empty() && !core->ended) {
      Result<> woken = co_await core->queued.wait();
      if (!woken) co_return;
    }
    if (core->ended) break;
    std::string batch = std::exchange(core->output, {});
    core->writing = true;
    Result<> written = co_await core->wire->write_all(as_bytes(batch));
    core->writing = false;
    if (!written) break;
    core->room.wake_all();
  }
  scope.cancel();
}

async::Task<Result<std::unique_ptr<SpdyStream>>> SpdySession::accept() {
  while (core_->waiting.empty()) {
    if (core_->ended) co_return fail(closed());
    CO_TRY(co_await core_->opened.wait());
  }
  std::shared_ptr<StreamState> stream = std::move(core_->waiting.front());
  core_->waiting.pop_front();
  co_return std::make_unique<Handle>(core_, std::move(stream));
}

async::Task<Result<>> SpdySession::ended() { return until_ended(*core_); }

async::Task<Result<>> SpdySession::finish() {
  core_->queue(SpdyFramer::format_goaway(core_->last_stream, kSpdyGoawayOk));
  Result<> flushed = co_await async::with_timeout<void>(core_->time, kLinger, "flush", flush(*core_));
  if (flushed && !core_->ended) (void)co_await core_->wire->shutdown_write();
  (void)co_await async::with_timeout<void>(core_->time, kLinger, "the peer's end", until_ended(*core_));
  core_->end();
  co_return Result<>();
}

}  // namespace monopod::http
