#include <unordered_map>

#include "base/strings.h"
#include "http/client_connection.h"
#include "http/h2_session.h"

namespace monopod::http {
namespace {

constexpr std::int32_t kConnectionWindow = 16 << 20;
constexpr std::uint32_t kStreamWindowFactor = 8;  // answers are larger than requests, and their readers are ours

struct ClientStream final : H2Stream {
  explicit ClientStream(std::int32_t stream_id) : H2Stream(stream_id) {}
  int status = 0;
  Headers headers;
  Headers answer_trailers;
  std::size_t header_bytes = 0;
  bool head_done = false;
  bool head_too_large = false;
  bool head_request = false;
};

class H2Client final : public H2Session, public H2ClientConnection {
 public:
  using H2Session::H2Session;
  Result<> start() { return start_session(Side::kClient, limits_.stream_window_bytes * kStreamWindowFactor, kConnectionWindow); }

  async::Task<Result<>> run_connection() override {
    std::shared_ptr<H2Session> self = shared_from_this();
    struct Ended {
      H2Client& client;
      ~Ended() { client.fail_all(); }
    } ended{*this};
    co_return co_await run({});
  }
  Result<std::unique_ptr<Call>> start_call(Outgoing send, std::string_view scheme, std::string_view authority) override;
  bool usable() const override { return open_ && !retired_ && session_ != nullptr && nghttp2_session_check_request_allowed(session_) != 0; }
  void retire() override {
    retired_ = true;
    if (streams_.empty()) close();
  }
  void abort() override {
    retired_ = true;
    close();
  }
  // The call and its body are gone.
  void abandon(ClientStream& stream) {
    if (!stream.closed && open_) {
      reset(stream, NGHTTP2_CANCEL);
      stream.discard_input = true;
      return;  // erased when it closes
    }
    forget(stream.id);
  }

 protected:
  H2Stream* find_stream(std::int32_t id) override { return find(id); }
  int on_begin_headers(const nghttp2_frame&) override { return 0; }
  void on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value) override {
    ClientStream* stream = find(frame.hd.stream_id);
    if (stream == nullptr) return;
    stream->header_bytes += name.size() + value.size();
    if (stream->header_bytes > limits_.header_bytes_max) stream->head_too_large = true;
    else if (name == ":status") stream->status = parse_int<int>(value).value_or(0);
    else if (!name.starts_with(':')) (stream->head_done ? stream->answer_trailers : stream->headers).add(name, value);
  }
  void on_headers(const nghttp2_frame& frame) override {
    ClientStream* stream = find(frame.hd.stream_id);
    if (stream == nullptr) return;
    if (stream->head_too_large) return reset(*stream, NGHTTP2_CANCEL);
    if (stream->status / 100 == 1) {
      stream->headers = {};
      return;
    }
    stream->head_done = true;
    stream->wake();
  }
  void on_stream_closed(std::int32_t id, std::uint32_t) override {
    ClientStream* stream = find(id);
    if (stream != nullptr && stream->discard_input) forget(id);
  }
  bool over_budget(const nghttp2_frame&) override { return false; }

 private:
  ClientStream* find(std::int32_t id) {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }
  void forget(std::int32_t id) {
    streams_.erase(id);
    if (retired_ && streams_.empty()) close();
  }
  void fail_all() {
    for (auto& [id, stream] : streams_) {
      stream->closed = true;
      stream->wake();
    }
  }

  std::unordered_map<std::int32_t, std::unique_ptr<ClientStream>> streams_;
  bool retired_ = false;
};

// Keeps the connection, and drops the stream with the last of call and body.
struct Handle {
  Handle(std::shared_ptr<H2Client> c, ClientStream& s) : client(std::move(c)), stream(s) {}
  ~Handle() { client->abandon(stream); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  std::shared_ptr<H2Client> client;
  ClientStream& stream;
};

class H2Body final : public Body {
 public:
  explicit H2Body(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
  async::Task<Result<SharedBytes>> read_chunk() override {
    ClientStream& stream = handle_->stream;
    Result<bool> more = co_await handle_->client->wait_input(stream);
    if (!more) {
      if (more.error().code() == Code::kCancelled) co_return fail(std::move(more).error());
      co_return fail(stream.error != 0 ? Code::kDataLoss : Code::kUnavailable, "answer was cut short");
    }
    if (!*more) co_return SharedBytes();
    SharedBytes chunk = share(std::exchange(stream.input, std::string()));
    handle_->client->consumed(stream, chunk->size());
    co_return chunk;
  }
  const Headers& trailers() const override { return handle_->stream.answer_trailers; }

 private:
  std::shared_ptr<Handle> handle_;
};

class H2Call final : public Call {
 public:
  explicit H2Call(std::shared_ptr<Handle> handle, async::Executor executor) : handle_(std::move(handle)), executor_(executor) {}
  async::Task<Result<>> write(SharedBytes bytes) override {
    if (handle_->stream.output_end) co_return fail(Code::kUnavailable, "request is over");
    co_return co_await handle_->client->write(handle_->stream, std::move(bytes));
  }
  async::Task<Result<>> finish() override {
    if (!handle_->stream.output_end) handle_->client->end_output(handle_->stream, {});
    co_return Result<>();
  }
  async::Task<Result<Response>> response() override {
    ClientStream& stream = handle_->stream;
    while (!stream.head_done) {
      if (stream.head_too_large) co_return fail(Code::kUnavailable, "answer head too large");
      if (stream.closed || !handle_->client->open())
        co_return fail(Code::kUnavailable, stream.error == NGHTTP2_REFUSED_STREAM ? "stream refused" : "connection closed before an answer");
      if (!stream.changed) stream.changed = std::make_unique<async::Notify>(executor_);
      CO_TRY(co_await stream.changed->wait());
    }
    Response response{.status = stream.status, .headers = std::move(stream.headers)};
    response.body = std::make_unique<H2Body>(handle_);
    co_return response;
  }

 private:
  std::shared_ptr<Handle> handle_;
  async::Executor executor_;
};

Result<std::unique_ptr<Call>> H2Client::start_call(Outgoing send, std::string_view scheme, std::string_view authority) {
  if (!usable()) return fail(Code::kUnavailable, "http2: connection is going away");
  LowerNames names(send.headers);
  std::vector<nghttp2_nv> fields;
  fields.reserve(5 + send.headers.size());
  for (auto [name, value] : {std::pair<std::string_view, std::string_view>{":method", send.method}, {":scheme", scheme}, {":authority", authority}, {":path", send.target}}) fields.push_back(field(name, value));
  std::string length = std::to_string(send.body ? send.body->size() : 0);
  bool with_body = send.streaming || (send.body && !send.body->empty());
  for (const Headers::Field& f : send.headers) {
    std::string_view name = names.next(f.name);
    if (name == "host" || name == "connection" || name == "transfer-encoding" || name == "content-length") continue;
    fields.push_back(field(name, f.value));
  }
  if (!send.streaming && with_body) fields.push_back(field("content-length", length));
  auto stream = std::make_unique<ClientStream>(0);
  nghttp2_data_provider provider = provider_of(*stream);
  if (!send.streaming && with_body) push(*stream, send.body);
  stream->output_end = !send.streaming;
  std::int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), with_body ? &provider : nullptr, nullptr);
  if (id < 0) return fail(Code::kUnavailable, cat("http2: ", nghttp2_strerror(id)));
  stream->id = id;
  ClientStream& kept = *stream;
  streams_.emplace(id, std::move(stream));
  schedule_flush();
  auto self = std::static_pointer_cast<H2Client>(shared_from_this());
  return std::make_unique<H2Call>(std::make_shared<Handle>(std::move(self), kept), executor_);
}

}  // namespace

Result<std::shared_ptr<H2ClientConnection>> make_h2_client(async::Executor executor, async::Time& time, const Limits& limits,
                                                           std::unique_ptr<Transport> transport) {
  auto client = std::make_shared<H2Client>(executor, time, limits, std::move(transport));
  TRY(client->start());
  return client;
}

}  // namespace monopod::http
