#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <cstring>
#include <exception>
#include <optional>
#include <unordered_map>

#include "base/strings.h"
#include "http/answers.h"
#include "http/closed_streams.h"
#include "http/connection.h"
#include "http/h2_session.h"

namespace monopod::http {
namespace {

constexpr std::int32_t kConnectionWindow = 1 << 20;
constexpr std::size_t kUnwindingStreamsMax = 256;  // handlers of closed streams that have not ended yet
constexpr std::size_t kFieldOverhead = 32;         // RFC 9113 section 6.5.2
constexpr std::size_t kUsualFields = 8;            // of a request
constexpr std::chrono::milliseconds kLateRequest{500};  // behind a whole answer: how long what is left of the request is judged before it is reset, to the next sweep
constexpr std::size_t kLateRequestBytesMax = 32U << 10;  // and how much of it may come

class H2Server;
struct ServerStream;

class H2Exchange final : public Exchange {
 public:
  H2Exchange(H2Server& server, ServerStream& stream) : server_(server), stream_(stream) {}

  async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override;
  async::Task<Result<std::string>> read_body_chunk() override;
  async::Task<Result<>> start(int status, Headers headers) override;
  async::Task<Result<>> write(SharedBytes bytes) override;
  bool try_write(const SharedBytes& bytes) override;
  async::Task<Result<>> finish(Headers trailers) override;
  async::Task<Result<>> respond_with_trailers(int status, Headers headers, SharedBytes body, Headers trailers) override;
  bool started() const override { return started_; }
  bool wants_upgrade(std::string_view) const override { return false; }
  async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int, Headers) override {
    co_return fail(Code::kUnimplemented, "upgrade over http2");
  }
  bool finished() const { return finished_; }

 protected:
  async::Task<Result<>> send_whole(int status, Headers headers, SharedBytes body) override;

 private:
  H2Server& server_;
  ServerStream& stream_;
  bool started_ = false;
  bool finished_ = false;
  bool discard_ = false;  // HEAD, 204, 304
};

struct ServerStream final : H2Stream {
  ServerStream(std::int32_t stream_id, H2Server& server, async::Executor executor) : H2Stream(stream_id), scope(executor), exchange(server, *this) {}
  async::Scope scope;
  H2Exchange exchange;
  std::size_t header_bytes = 0;
  int refused = 0;  // status to answer without the handler
  bool dispatched = false;
  bool handler_done = false;
  bool lingers = false;  // answered; the request has not ended
  MonoTime answered{};
  std::size_t late_bytes = 0;
};

class H2Server final : public H2Session, public ServerConnection {
 public:
  H2Server(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer)
      : H2Session(context.executor, context.time, context.limits(), std::move(transport)), context_(context), peer_(std::move(peer)),
        resets_(context.limits().reset_budget, context.limits().reset_refill_per_second),
        controls_(context.limits().control_budget, context.limits().control_refill_per_second) {}

  Result<> start() { return start_session(Side::kServer, limits_.stream_window_bytes, kConnectionWindow); }

  void on_sweep(MonoTime now) override {
    if (blocked_ && now - write_progress_ > limits_.stall_timeout) return close();
    if (streams_.empty()) {
      if (now - activity_ > limits_.idle_timeout) go_away();
      return;
    }
    for (auto& [id, stream] : streams_) {
      // A peer of a started answer may stay silent for hours: bidirectional streams (gRPC watches).
      bool waits = stream->output_bytes > 0 || (stream->reading && !stream->exchange.started());
      if (stream->lingers && !stream->closed && now - stream->answered >= kLateRequest) give_up_request(*stream);
      if (waits && !stream->closed && now - stream->progress > limits_.stall_timeout) reset(*stream, NGHTTP2_CANCEL);
    }
  }
  void on_shutdown() override { go_away(); }

  // After run(): every handler is cancelled and waited for.
  async::Task<> join_streams() {
    for (auto& [id, stream] : streams_) {
      stream->closed = true;
      stream->wake();
      stream->scope.cancel();
    }
    // Closed by now: nothing is added to or taken from the map while this waits.
    for (auto& [id, stream] : streams_) Result<> ignored = co_await stream->scope.join();
    streams_.clear();
  }

  Result<> submit(ServerStream& stream, int status, Headers& headers, bool with_body);
  const Peer& peer() const { return peer_; }

 protected:
  H2Stream* find_stream(std::int32_t id) override { return find(id); }
  void on_begin_frame(const nghttp2_frame_hd& head) override;
  int on_begin_headers(const nghttp2_frame& frame) override;
  void on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value) override;
  void on_headers(const nghttp2_frame& frame) override;
  void on_stream_closed(std::int32_t id, std::uint32_t error) override;
  void on_frame_sent(const nghttp2_frame& frame) override;
  void on_flushed() override;
  bool over_budget(const nghttp2_frame& frame) override;

 private:
  ServerStream* find(std::int32_t id) {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }
  void go_away() {
    if (leaving_) return;
    leaving_ = true;
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
    schedule_flush();
  }
  void finish_request(ServerStream& stream);
  void give_up_request(ServerStream& stream) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_NO_ERROR);
    schedule_flush();
  }
  // The whole answer is out and nobody reads the request's rest (RFC 9113 section 8.1). What is on its way is judged all the same.
  void linger(ServerStream& stream) {
    if (!std::exchange(stream.lingers, true)) stream.answered = time_.mono();
  }
  async::Task<Result<>> run_handler(ServerStream& stream);

  ServerContext& context_;
  Peer peer_;
  std::unordered_map<std::int32_t, std::unique_ptr<ServerStream>> streams_;
  std::vector<std::int32_t> ended_;  // perhaps to be erased
  Budget resets_;
  Budget controls_;
  bool leaving_ = false;
  ClosedStreams closed_;
};

// A head for a stream that is not open; nghttp2 sees to those that were never opened.
void H2Server::on_begin_frame(const nghttp2_frame_hd& head) {
  if ((head.type != NGHTTP2_HEADERS && head.type != NGHTTP2_DATA) || head.stream_id % 2 == 0) return;
  if (ServerStream* stream = find(head.stream_id); stream != nullptr && !stream->closed) {
    if (head.type == NGHTTP2_DATA && stream->lingers && (stream->late_bytes += head.length) > kLateRequestBytesMax) give_up_request(*stream);
    return;
  }
  if (head.type == NGHTTP2_DATA) return;
  ClosedStreams::Verdict verdict = closed_.judge(head.stream_id);
  if (verdict == ClosedStreams::Verdict::kNew || verdict == ClosedStreams::Verdict::kLate) return;
  leaving_ = true;
  nghttp2_session_terminate_session(session_, verdict == ClosedStreams::Verdict::kClosed ? NGHTTP2_STREAM_CLOSED : NGHTTP2_PROTOCOL_ERROR);
}

int H2Server::on_begin_headers(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  closed_.note_opened(frame.hd.stream_id);
  if (leaving_ || streams_.size() >= limits_.concurrent_streams_max + kUnwindingStreamsMax) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  auto stream = std::make_unique<ServerStream>(frame.hd.stream_id, *this, executor_);
  stream->exchange.request().headers.reserve(kUsualFields);
  streams_.emplace(frame.hd.stream_id, std::move(stream));
  return 0;
}

void H2Server::on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  ServerStream* stream = frame.headers.cat == NGHTTP2_HCAT_REQUEST ? find(frame.hd.stream_id) : nullptr;
  if (stream == nullptr) return;
  Request& request = stream->exchange.request();
  stream->header_bytes += name.size() + value.size() + kFieldOverhead;
  if (stream->header_bytes > limits_.header_bytes_max + limits_.target_bytes_max || request.headers.size() >= limits_.header_fields_max) {
    stream->refused = 431;
    request.headers = {};
    return;
  }
  if (stream->refused != 0) return;
  if (name == ":method") request.method = std::string(value);
  else if (name == ":path") request.target = std::string(value);
  else if (name == ":authority") request.headers.set("host", value);
  else if (name == "host" && request.headers.find("host")) stream->refused = request.headers.find("host") == value ? stream->refused : 400;
  else if (!name.starts_with(':')) request.headers.add(name, value);
}

// A whole head came in.
void H2Server::on_headers(const nghttp2_frame& frame) {
  ServerStream* stream = find(frame.hd.stream_id);
  if (stream == nullptr || frame.headers.cat != NGHTTP2_HCAT_REQUEST || stream->dispatched) return;
  finish_request(*stream);
  stream->dispatched = true;
  ++context_.stats.requests;
  stream->scope.spawn(run_handler(*stream));
}

void H2Server::finish_request(ServerStream& stream) {
  Request& request = stream.exchange.request();
  request.peer = peer_;
  if (stream.refused != 0) return;
  bool path = !request.target.empty() && (request.target.front() == '/' || (request.target == "*" && request.method == "OPTIONS"));
  bool clean = std::ranges::all_of(request.target, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
  if (!path || !clean) stream.refused = 400;
  else if (request.target.size() > limits_.target_bytes_max) stream.refused = 414;
}

async::Task<Result<>> H2Server::run_handler(ServerStream& stream) {
  // However the handler ends, by exception too, the stream may then go.
  struct Done {
    H2Server& server;
    ServerStream& stream;
    ~Done() {
      stream.handler_done = true;
      stream.discard_input = true;
      server.ended_.push_back(stream.id);
      server.schedule_flush();
    }
  } done{*this, stream};
  H2Exchange& exchange = stream.exchange;
  if (stream.refused != 0) co_return co_await exchange.respond(stream.refused, {{"Content-Type", "text/plain; charset=utf-8"}}, "request refused\n");
  Result<> handled = co_await context_.handler.handle(exchange);
  if (handled) {
    handled = co_await exchange.finish({});
  } else if (!exchange.started() && handled.error().code() != Code::kCancelled) {
    PlainAnswer plain = plain_answer(handled.error());
    handled = co_await exchange.respond(plain.status, std::move(plain.headers), std::move(plain.body));
  }
  if (!handled) {
    flush();  // what was written so far goes out; a reset would overtake it
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
  co_return Result<>();
}

void H2Server::on_stream_closed(std::int32_t id, std::uint32_t error) {
  closed_.note_closed(id);
  ServerStream* stream = find(id);
  if (stream == nullptr) return;
  if (!stream->dispatched) {
    stream->handler_done = true;
  } else if (!stream->handler_done) {
    // The peer is gone; the handler learns it at its next turn, outside nghttp2's callback.
    async::asio::post(executor_, [weak = weak_from_this(), this, id] {
      std::shared_ptr<H2Session> alive = weak.lock();
      if (ServerStream* live = alive ? find(id) : nullptr) live->scope.cancel();
    });
  }
  ended_.push_back(id);
  schedule_flush();
  // Resets the peer sent, or provoked (CVE-2025-8671).
  if (error != NGHTTP2_NO_ERROR && !stream->lingers && !resets_.spend(time_.mono())) calm_down();
}

void H2Server::on_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_RST_STREAM) closed_.note_reset(frame.hd.stream_id);
  bool ends = (frame.hd.type == NGHTTP2_DATA || frame.hd.type == NGHTTP2_HEADERS) && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  ServerStream* stream = ends ? find(frame.hd.stream_id) : nullptr;
  if (stream != nullptr && stream->handler_done && !stream->input_end) linger(*stream);
}

void H2Server::on_flushed() {
  std::vector<std::int32_t> later;
  for (std::int32_t id : ended_) {
    auto it = streams_.find(id);
    if (it == streams_.end()) continue;
    ServerStream& stream = *it->second;
    if (stream.handler_done && stream.closed && stream.scope.live() == 0) streams_.erase(it);
    else if (stream.handler_done && stream.closed) later.push_back(id);  // its coroutine ends within this turn
    else if (stream.handler_done && !stream.input_end && nghttp2_session_get_stream_local_close(session_, id) == 1) linger(stream);
  }
  ended_ = std::move(later);
  if (!ended_.empty()) schedule_flush();
  if (streams_.empty() && ended_.capacity() > 64) ended_ = {};
  if (leaving_ && streams_.empty() && output_empty()) close();
}

bool H2Server::over_budget(const nghttp2_frame& frame) {
  bool control = frame.hd.type == NGHTTP2_PING || frame.hd.type == NGHTTP2_SETTINGS || frame.hd.type == NGHTTP2_PRIORITY ||
                 (frame.hd.type == NGHTTP2_DATA && frame.hd.length == 0 && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
  return control && !controls_.spend(time_.mono());
}

Result<> H2Server::submit(ServerStream& stream, int status, Headers& headers, bool with_body) {
  if (stream.closed || !open_) return fail(Code::kUnavailable, "http2: peer went away");
  std::string code = std::to_string(status);
  LowerNames names(headers);
  std::vector<nghttp2_nv> fields;
  fields.reserve(headers.size() + 2);
  fields.push_back(field(":status", code));
  for (const Headers::Field& f : headers) {
    std::string_view name = names.next(f.name);
    // Connection-specific fields do not exist in h2 (RFC 9113 section 8.2.2).
    if (name == "connection" || name == "transfer-encoding" || name == "keep-alive" || name == "upgrade") continue;
    fields.push_back(field(name, f.value));
  }
  fields.push_back(field("date", context_.current_date()));
  nghttp2_data_provider provider = provider_of(stream);
  if (nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), with_body ? &provider : nullptr) != 0)
    return fail(Code::kInternal, "http2: answer not accepted");
  schedule_flush();
  return {};
}

async::Task<Result<std::size_t>> H2Exchange::read_body_some(std::span<std::byte> into) {
  CO_TRY_ASSIGN(bool more, co_await server_.wait_input(stream_));
  if (!more) co_return 0U;
  std::size_t n = std::min(into.size(), stream_.input.size() - stream_.input_offset);
  std::memcpy(into.data(), stream_.input.data() + stream_.input_offset, n);
  stream_.input_offset += n;
  if (stream_.input_offset == stream_.input.size()) {
    stream_.input = std::string();
    stream_.input_offset = 0;
  }
  server_.consumed(stream_, n);
  co_return n;
}

async::Task<Result<std::string>> H2Exchange::read_body_chunk() {
  if (stream_.input.empty()) {
    CO_TRY_ASSIGN(bool more, co_await server_.wait_input(stream_));
    if (!more) co_return std::string();
  }
  std::string chunk = std::exchange(stream_.input, {});
  chunk.erase(0, std::exchange(stream_.input_offset, 0));
  server_.consumed(stream_, chunk.size());
  co_return chunk;
}

async::Task<Result<>> H2Exchange::start(int status, Headers headers) {
  if (started_) co_return fail(Code::kInternal, "answer was started already");
  started_ = true;
  discard_ = status == 204 || status == 304 || request_.method == "HEAD";
  co_return server_.submit(stream_, status, headers, !discard_);
}

async::Task<Result<>> H2Exchange::write(SharedBytes bytes) {
  if (!started_ || finished_) co_return fail(Code::kInternal, "answer is not open");
  if (discard_) co_return Result<>();
  CO_TRY(server_.queue(stream_, std::move(bytes)));
  if (server_.is_full(stream_)) co_return co_await server_.wait_room(stream_);
  co_return Result<>();
}

bool H2Exchange::try_write(const SharedBytes& bytes) {
  return started_ && !finished_ && !discard_ && !server_.is_full(stream_) && server_.queue(stream_, bytes).has_value();
}

async::Task<Result<>> H2Exchange::finish(Headers trailers) {
  if (!started_) CO_TRY(co_await send_whole(200, {}, nullptr));
  if (finished_) co_return Result<>();
  finished_ = true;
  if (!discard_) server_.end_output(stream_, std::move(trailers));
  co_return Result<>();
}

async::Task<Result<>> H2Exchange::respond_with_trailers(int status, Headers headers, SharedBytes body, Headers trailers) {
  if (started_ || request_.method == "HEAD") co_return co_await Exchange::respond_with_trailers(status, std::move(headers), std::move(body), std::move(trailers));
  started_ = true;
  finished_ = true;
  server_.push(stream_, std::move(body));
  stream_.output_end = true;
  stream_.trailers = std::move(trailers);
  CO_TRY(server_.submit(stream_, status, headers, true));
  if (server_.is_full(stream_)) co_return co_await server_.wait_room(stream_);
  co_return Result<>();
}

async::Task<Result<>> H2Exchange::send_whole(int status, Headers headers, SharedBytes body) {
  started_ = true;
  finished_ = true;
  bool bodiless = status == 204 || status == 304;
  if (!bodiless) headers.set("content-length", std::to_string(body ? body->size() : 0));
  bool with_body = !bodiless && request_.method != "HEAD" && body && !body->empty();
  if (with_body) server_.push(stream_, std::move(body));
  stream_.output_end = true;
  co_return server_.submit(stream_, status, headers, with_body);
}

}  // namespace

async::Task<Result<>> serve_h2(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer, std::string initial) {
  auto server = std::make_shared<H2Server>(context, std::move(transport), std::move(peer));
  CO_TRY(server->start());
  Result<> result;
  std::exception_ptr thrown;
  {
    Registration registered(context, *server);
    if (context.shutting_down) server->on_shutdown();
    try {
      result = co_await server->run(std::move(initial));
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  // The clean-up waits even where this coroutine was cancelled.
  co_await async::asio::this_coro::throw_if_cancelled(false);
  server->close();
  co_await server->join_streams();
  co_await async::asio::this_coro::throw_if_cancelled(true);
  if (thrown) std::rethrow_exception(thrown);
  co_return result;
}

}  // namespace monopod::http
