#include <array>
#include <boost/asio/this_coro.hpp>
#include <cstring>
#include <optional>

#include "async/scope.h"
#include "base/strings.h"
#include "http/answers.h"
#include "http/connection.h"
#include "http/h1_parser.h"
#include "http/reason.h"

namespace monopod::http {
namespace {

constexpr std::size_t kReadBytes = 16U << 10;
constexpr std::size_t kDrainBytesMax = 256U << 10;  // of an unread body, before the connection is closed instead
constexpr Duration kLinger = std::chrono::seconds(2);

class H1Exchange;

class H1Connection final : public ServerConnection {
 public:
  H1Connection(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer, std::string initial)
      : context_(context), transport_(std::move(transport)), peer_(std::move(peer)), input_(std::move(initial)), body_read_(context.executor) {}

  async::Task<Result<>> run();

  void on_sweep(MonoTime now) override {
    if (deadline_ && now >= *deadline_) transport_->close();
  }
  void on_shutdown() override {
    if (idle_) transport_->close();
  }

 private:
  friend class H1Exchange;
  friend class UpgradedStream;

  async::Task<Result<std::optional<std::string>>> read_head();
  async::Task<Result<>> answer(H1Exchange& exchange);
  async::Task<Result<>> run_handler(H1Exchange& exchange, async::Scope& scope);
  async::Task<Result<>> watch_peer(H1Exchange& exchange, async::Scope& scope);
  async::Task<Result<bool>> drain(H1Exchange& exchange);
  async::Task<Result<>> refuse(H1Error error);
  async::Task<Result<>> linger();

  // Appends what is there to input_; nullopt: nothing yet, 0: end of stream.
  Result<Transport::Moved> try_fill() {
    std::array<std::byte, kReadBytes> buffer;
    TRY_ASSIGN(Transport::Moved n, transport_->try_read(buffer));
    if (n) input_.append(as_text(std::span(buffer).first(*n)));
    return n;
  }
  async::Task<Result<std::size_t>> fill() {
    for (;;) {
      CO_TRY_ASSIGN(Transport::Moved n, try_fill());
      if (n) co_return *n;
      CO_TRY(co_await transport_->wait_readable());
    }
  }
  async::Task<Result<>> write(std::span<const std::span<const std::byte>> parts) {
    set_deadline(context_.limits().stall_timeout);
    Result<> written = co_await transport_->write_parts(parts);
    deadline_.reset();
    co_return written;
  }
  void set_deadline(Duration d) { deadline_ = context_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(d); }
  void drop_input(std::size_t bytes) {
    input_.erase(0, bytes);
    if (input_.empty() && input_.capacity() > 1024) input_ = std::string();  // an idle connection holds no buffer
  }

  ServerContext& context_;
  std::unique_ptr<Transport> transport_;
  Peer peer_;
  std::string input_;
  async::Notify body_read_;
  std::optional<MonoTime> deadline_;
  bool idle_ = false;
  bool first_ = true;
};

// After a 101: what was read already, then the transport.
class UpgradedStream final : public async::Stream {
 public:
  explicit UpgradedStream(H1Connection& connection) : connection_(connection) {}
  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    if (connection_.input_.empty()) return receive(into);
    return take(into);
  }
  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override { return connection_.transport_->write_all(bytes); }
  async::Task<Result<>> write_parts(std::span<const std::span<const std::byte>> parts) override {
    return connection_.transport_->write_parts(parts);
  }
  async::Task<Result<>> shutdown_write() override { return connection_.transport_->shutdown_write(); }
  void close() override { connection_.transport_->close(); }

 private:
  // An end of stream may be the peer's half of it: it still reads. One that has gone is an error, also later on.
  async::Task<Result<std::size_t>> receive(std::span<std::byte> into) {
    Result<std::size_t> n = co_await connection_.transport_->read_some(into);
    if (n && *n == 0 && connection_.transport_->peer_gone()) co_return fail(Code::kUnavailable, "peer went away");
    co_return n;
  }
  async::Task<Result<std::size_t>> take(std::span<std::byte> into) {
    std::size_t n = std::min(into.size(), connection_.input_.size());
    std::memcpy(into.data(), connection_.input_.data(), n);
    connection_.drop_input(n);
    co_return n;
  }
  H1Connection& connection_;
};

class H1Exchange final : public Exchange {
 public:
  H1Exchange(H1Connection& connection, H1RequestHead head) : connection_(connection), decoder_(head.framing, head.content_length) {
    minor_version_ = head.minor_version;
    keep_alive_ = head.keep_alive && !connection.context_.shutting_down;
    request_.method = std::move(head.method);
    request_.target = std::move(head.target);
    request_.headers = std::move(head.headers);
    request_.peer = connection.peer_;
    expects_continue_ = minor_version_ == 1 && !decoder_.done() && iequals(request_.headers.find("expect").value_or(""), "100-continue");
    has_upgrade_ = minor_version_ == 1 && request_.headers.has_token("connection", "upgrade") && request_.headers.find("upgrade").has_value();
  }

  async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override {
    if (expects_continue_ && !started_) {
      expects_continue_ = false;
      std::array parts{as_bytes("HTTP/1.1 100 Continue\r\n\r\n")};
      CO_TRY(co_await connection_.write(parts));
    }
    while (!decoder_.done()) {
      if (!connection_.input_.empty()) {
        Result<BodyDecoder::Progress> progress = decoder_.decode(connection_.input_, into);
        if (!progress) {
          keep_alive_ = false;
          broken_ = true;
          co_return fail(std::move(progress).error().with("request body"));
        }
        connection_.drop_input(progress->consumed);
        if (decoder_.done()) connection_.body_read_.wake_all();
        if (progress->produced > 0) co_return progress->produced;
        if (decoder_.done()) break;
      }
      if (!started_) connection_.set_deadline(connection_.context_.limits().stall_timeout);
      Result<std::size_t> n = co_await connection_.fill();
      connection_.deadline_.reset();
      if (!n || *n == 0) {
        keep_alive_ = false;
        broken_ = true;
        co_return fail(Code::kUnavailable, "request body: peer went away");
      }
    }
    co_return 0U;
  }

  async::Task<Result<>> start(int status, Headers headers) override {
    if (started_) co_return fail(Code::kInternal, "answer was started already");
    bool bodiless = status == 204 || status == 304 || request_.method == "HEAD";
    bool sized = headers.find("content-length").has_value();
    chunked_ = !bodiless && !sized && minor_version_ == 1;
    if (chunked_) headers.set("Transfer-Encoding", "chunked");
    if (!bodiless && !sized && !chunked_) keep_alive_ = false;
    discard_ = bodiless;
    std::string head = make_head(status, std::move(headers));
    std::array parts{as_bytes(head)};
    co_return co_await connection_.write(parts);
  }

  async::Task<Result<>> write(SharedBytes bytes) override {
    if (!started_ || finished_) co_return fail(Code::kInternal, "answer is not open");
    if (discard_ || !bytes || bytes->empty()) co_return Result<>();
    std::array<char, 20> text;
    auto [end, ec] = std::to_chars(text.data(), text.data() + 16, bytes->size(), 16);
    *end++ = '\r';
    *end++ = '\n';
    std::string_view size(text.data(), static_cast<std::size_t>(end - text.data()));
    std::array parts{as_bytes(chunked_ ? size : ""), as_bytes(*bytes), as_bytes(chunked_ ? "\r\n" : "")};
    co_return co_await connection_.write(parts);
  }

  async::Task<Result<>> finish(Headers trailers) override {
    if (!started_) CO_TRY(co_await send_whole(200, {}, nullptr));
    if (finished_) co_return Result<>();
    finished_ = true;
    if (!chunked_) co_return Result<>();
    std::string end = "0\r\n";
    for (const Headers::Field& field : trailers) end += cat(field.name, ": ", field.value, "\r\n");
    end += "\r\n";
    std::array parts{as_bytes(end)};
    co_return co_await connection_.write(parts);
  }

  bool started() const override { return started_; }
  bool wants_upgrade(std::string_view protocol) const override { return has_upgrade_ && request_.headers.has_token("upgrade", protocol); }

  std::size_t websocket_message_bytes_max() const override { return connection_.context_.limits().websocket_message_bytes_max; }

  async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int status, Headers headers) override {
    if (started_) co_return fail(Code::kInternal, "answer was started already");
    if (!decoder_.done()) co_return fail(Code::kInvalidArgument, "upgrade request with a body");
    started_ = finished_ = upgraded_ = true;
    keep_alive_ = false;
    std::string head = format_response_head(status, headers);
    std::array parts{as_bytes(head)};
    CO_TRY(co_await connection_.write(parts));
    co_return std::make_unique<UpgradedStream>(connection_);
  }

  bool body_done() const { return decoder_.done(); }
  bool finished() const { return finished_; }
  bool upgraded() const { return upgraded_; }
  bool keep_alive() const { return keep_alive_ && complete_; }
  bool broken() const { return broken_; }
  bool complete() const { return complete_; }
  void set_complete() { complete_ = true; }
  void cut() { keep_alive_ = false; }

 protected:
  async::Task<Result<>> send_whole(int status, Headers headers, SharedBytes body) override {
    std::string_view text = body ? std::string_view(*body) : std::string_view();
    bool bodiless = status == 204 || status == 304 || status / 100 == 1;
    if (!bodiless) headers.set("Content-Length", std::to_string(text.size()));
    if (bodiless || request_.method == "HEAD") text = {};
    finished_ = true;
    std::string head = make_head(status, std::move(headers));
    std::array parts{as_bytes(head), as_bytes(text)};
    co_return co_await connection_.write(parts);
  }

 private:
  std::string make_head(int status, Headers headers) {
    started_ = true;
    // A body nobody will read is only drained where it is small.
    bool unread = !decoder_.done();
    if (broken_ || (unread && (expects_continue_ || decoder_.left() > kDrainBytesMax))) keep_alive_ = false;
    // A proxy that took the upgrade for granted would send what is no request any more, and other clients' requests after it.
    if (wants_upgrade("websocket") || wants_upgrade("SPDY/3.1")) keep_alive_ = false;
    if (!keep_alive_) headers.set("Connection", "close");
    else if (minor_version_ == 0) headers.set("Connection", "keep-alive");
    headers.add("Date", connection_.context_.current_date());
    return format_response_head(status, headers);
  }

  H1Connection& connection_;
  BodyDecoder decoder_;
  int minor_version_ = 1;
  bool keep_alive_ = true;
  bool expects_continue_ = false;
  bool has_upgrade_ = false;
  bool started_ = false;
  bool finished_ = false;
  bool chunked_ = false;
  bool discard_ = false;
  bool upgraded_ = false;
  bool broken_ = false;
  bool complete_ = false;
};

async::Task<Result<>> H1Connection::run() {
  Registration registered(context_, *this);
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> head, co_await read_head());
    if (!head) break;
    auto parsed = parse_request_head(*head, context_.limits());
    if (!parsed) co_return co_await refuse(std::move(parsed).error());
    ++context_.stats.requests;
    H1Exchange exchange(*this, std::move(*parsed));
    CO_TRY(co_await answer(exchange));
    if (exchange.upgraded() || !exchange.complete()) break;
    CO_TRY_ASSIGN(bool drained, co_await drain(exchange));
    if (!drained) co_return co_await linger();
    if (!exchange.keep_alive()) {
      CO_TRY(co_await transport_->shutdown_write());
      break;
    }
    first_ = false;
  }
  transport_->close();
  co_return Result<>();
}

// nullopt: the peer or the server ends the connection between requests.
async::Task<Result<std::optional<std::string>>> H1Connection::read_head() {
  std::size_t searched = 0;
  bool begun = false;
  for (int blank_lines = 0;;) {
    while (input_.starts_with("\r\n") && blank_lines < 4) {
      drop_input(2);
      ++blank_lines;
    }
    auto end = find_head_end(input_, searched, context_.limits());
    if (!end) {
      Result<> refused = co_await refuse(std::move(end).error());
      co_return std::optional<std::string>();
    }
    if (*end) {
      deadline_.reset();
      std::string head = input_.substr(0, **end);
      drop_input(**end);
      co_return head;
    }
    searched = input_.size();
    idle_ = input_.empty();
    if (idle_ && context_.shutting_down) co_return std::optional<std::string>();
    if (idle_) {
      set_deadline(first_ ? context_.limits().handshake_timeout : context_.limits().idle_timeout);
    } else if (!begun) {
      begun = true;
      set_deadline(context_.limits().header_timeout);
    }
    Result<std::size_t> n = co_await fill();
    idle_ = false;
    if (!n || *n == 0) co_return std::optional<std::string>();
  }
}

async::Task<Result<>> H1Connection::answer(H1Exchange& exchange) {
  async::Scope scope(context_.executor);
  scope.spawn(run_handler(exchange, scope));
  scope.spawn(watch_peer(exchange, scope));
  co_return co_await scope.join();
}

async::Task<Result<>> H1Connection::run_handler(H1Exchange& exchange, async::Scope& scope) {
  Result<> handled = co_await context_.handler.handle(exchange);
  if (!handled && !exchange.started() && handled.error().code() != Code::kCancelled) {
    PlainAnswer plain = plain_answer(handled.error());
    handled = co_await exchange.respond(plain.status, std::move(plain.headers), std::move(plain.body));
  } else if (handled) {
    handled = co_await exchange.finish({});
  }
  if (handled) exchange.set_complete();
  scope.cancel();  // the watch ends too
  co_return Result<>();
}

// Once the request is read, more bytes are the next request (left for later) and an end of stream is a peer that went away.
async::Task<Result<>> H1Connection::watch_peer(H1Exchange& exchange, async::Scope& scope) {
  while (!exchange.body_done()) CO_TRY(co_await body_read_.wait());
  while (input_.empty() && !exchange.upgraded()) {
    Result<Transport::Moved> n = try_fill();
    if (n && *n && **n > 0) co_return Result<>();
    Result<> waited = n && !*n ? co_await transport_->wait_readable() : Result<>(fail(Code::kUnavailable, "peer went away"));
    if (waited) continue;
    if (exchange.complete()) co_return Result<>();  // not the peer: the watch is over
    transport_->close();
    scope.cancel();
    co_return Result<>();
  }
  co_return Result<>();
}

async::Task<Result<bool>> H1Connection::drain(H1Exchange& exchange) {
  if (exchange.broken()) co_return false;
  std::array<std::byte, 4096> sink;
  for (std::size_t total = 0; !exchange.body_done();) {
    if (!exchange.keep_alive() || total > kDrainBytesMax) co_return false;
    Result<std::size_t> n = co_await exchange.read_body_some(sink);
    if (!n) co_return false;
    total += *n;
  }
  co_return true;
}

async::Task<Result<>> H1Connection::refuse(H1Error error) {
  std::string body = cat(error.status, " ", reason_phrase(error.status), ": ", error.text, "\n");
  Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"Connection", "close"}, {"Content-Length", std::to_string(body.size())}};
  std::string head = format_response_head(error.status, headers);
  std::array parts{as_bytes(head), as_bytes(body)};
  CO_TRY(co_await write(parts));
  co_return co_await linger();
}

// Closes without a reset that would destroy the answer on its way: our side first, then what the peer still sends is dropped.
async::Task<Result<>> H1Connection::linger() {
  CO_TRY(co_await transport_->shutdown_write());
  set_deadline(kLinger);
  for (std::size_t total = 0; total < kDrainBytesMax;) {
    input_.clear();
    Result<std::size_t> n = co_await fill();
    if (!n || *n == 0) break;
    total += *n;
  }
  transport_->close();
  co_return Result<>();
}

}  // namespace

async::Task<Result<>> serve_h1(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer, std::string initial) {
  H1Connection connection(context, std::move(transport), std::move(peer), std::move(initial));
  co_return co_await connection.run();
}

}  // namespace monopod::http
