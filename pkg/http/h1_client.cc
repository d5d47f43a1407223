#include <array>
#include <cstring>
#include <optional>

#include "base/strings.h"
#include "http/client_connection.h"
#include "http/h1_parser.h"

namespace monopod::http {
namespace {

constexpr std::size_t kReadBytes = 16U << 10;
constexpr int kInterimMax = 8;  // 1xx answers before the real one

async::Task<Result<std::size_t>> fill(H1ClientConnection& connection) {
  for (;;) {
    {
      std::array<std::byte, kReadBytes> buffer;
      CO_TRY_ASSIGN(Transport::Moved n, connection.transport->try_read(buffer));
      if (n) {
        connection.input.append(as_text(std::span(buffer).first(*n)));
        co_return *n;
      }
    }
    CO_TRY(co_await connection.transport->wait_readable());
  }
}

// The connection of one exchange, owned by its call and its body together.
struct Shared {
  std::unique_ptr<H1ClientConnection> connection;
  KeepConnection keep;
  Limits limits;
  std::string method;
  bool request_done = false;
  bool response_done = false;
  bool keep_alive = false;

  void release_if_done() {
    if (request_done && response_done && keep_alive && connection && connection->input.empty()) keep(std::move(connection));
  }
};

class H1Body final : public Body {
 public:
  H1Body(std::shared_ptr<Shared> shared, const H1ResponseHead& head) : shared_(std::move(shared)), decoder_(head.framing, head.content_length) {
    if (decoder_.done()) finish();
  }

  async::Task<Result<SharedBytes>> read_chunk() override {
    if (finished_) co_return SharedBytes();
    H1ClientConnection& connection = *shared_->connection;
    for (;;) {
      std::string chunk(std::min(connection.input.size(), kReadBytes), '\0');
      if (!chunk.empty()) {
        Result<BodyDecoder::Progress> progress = decoder_.decode(connection.input, std::as_writable_bytes(std::span(chunk)));
        if (!progress) co_return fail(Code::kDataLoss, "answer: " + progress.error().message());
        connection.input.erase(0, progress->consumed);
        chunk.resize(progress->produced);
        if (decoder_.done()) finish();
        if (!chunk.empty()) co_return share(std::move(chunk));
        if (finished_) co_return SharedBytes();
      }
      CO_TRY_ASSIGN(std::size_t n, co_await fill(connection));
      if (n > 0) continue;
      if (!decoder_.until_close()) co_return fail(Code::kDataLoss, "answer was cut short");
      finished_ = true;
      co_return SharedBytes();
    }
  }
  const Headers& trailers() const override { return decoder_.trailers(); }

 private:
  void finish() {
    finished_ = true;
    shared_->response_done = true;
    shared_->release_if_done();
  }
  std::shared_ptr<Shared> shared_;
  BodyDecoder decoder_;
  bool finished_ = false;
};

class H1Call final : public Call {
 public:
  H1Call(std::shared_ptr<Shared> shared, bool chunked) : shared_(std::move(shared)), chunked_(chunked) {}

  async::Task<Result<>> write(SharedBytes bytes) override {
    if (!shared_->connection || shared_->request_done) co_return fail(Code::kUnavailable, "request is over");
    if (!bytes || bytes->empty()) co_return Result<>();
    std::array<char, 24> text;
    auto [end, ec] = std::to_chars(text.data(), text.data() + 16, bytes->size(), 16);
    *end++ = '\r';
    *end++ = '\n';
    std::string_view size(text.data(), static_cast<std::size_t>(end - text.data()));
    std::array parts{as_bytes(chunked_ ? size : ""), as_bytes(*bytes), as_bytes(chunked_ ? "\r\n" : "")};
    co_return co_await shared_->connection->transport->write_parts(parts);
  }

  async::Task<Result<>> finish() override {
    if (shared_->request_done) co_return Result<>();
    if (!shared_->connection) co_return fail(Code::kUnavailable, "request is over");
    if (chunked_) CO_TRY(co_await shared_->connection->transport->write_all(as_bytes("0\r\n\r\n")));
    shared_->request_done = true;
    co_return Result<>();
  }

  async::Task<Result<Response>> response() override {
    if (!shared_->connection) co_return fail(Code::kUnavailable, "request is over");
    H1ClientConnection& connection = *shared_->connection;
    for (int interim = 0; interim <= kInterimMax; ++interim) {
      CO_TRY_ASSIGN(H1ResponseHead head, co_await read_head(connection));
      if (head.status / 100 == 1 && head.status != 101) continue;
      shared_->keep_alive = head.keep_alive && head.status != 101;  // after a switch it is no HTTP any more
      Response response{.status = head.status, .headers = head.headers};
      response.body = std::make_unique<H1Body>(shared_, head);
      co_return response;
    }
    co_return fail(Code::kUnavailable, "malformed answer: too many interim heads");
  }

 private:
  async::Task<Result<H1ResponseHead>> read_head(H1ClientConnection& connection) {
    for (std::size_t searched = 0;;) {
      auto end = find_head_end(connection.input, searched, shared_->limits);
      if (!end) co_return fail(Code::kUnavailable, "malformed answer: " + end.error().text);
      if (*end) {
        std::string head = connection.input.substr(0, **end);
        connection.input.erase(0, **end);
        co_return parse_response_head(head, shared_->method, shared_->limits);
      }
      searched = connection.input.size();
      CO_TRY_ASSIGN(std::size_t n, co_await fill(connection));
      if (n == 0) co_return fail(Code::kUnavailable, searched == 0 ? "connection closed before an answer" : "answer was cut short");
    }
  }

  std::shared_ptr<Shared> shared_;
  bool chunked_;
};

}  // namespace

bool H1ClientConnection::healthy() {
  if (!input.empty()) return false;
  std::array<std::byte, 1> probe;
  Result<Transport::Moved> n = transport->try_read(probe);
  return n && !*n;
}

async::Task<Result<std::unique_ptr<Call>>> start_h1_call(std::unique_ptr<H1ClientConnection> connection, Outgoing send, Limits limits, KeepConnection keep) {
  bool sized = send.headers.find("content-length").has_value();
  bool chunked = send.streaming && !sized;
  bool has_body = send.method != "GET" && send.method != "HEAD" && send.method != "DELETE";
  if (chunked) send.headers.set("Transfer-Encoding", "chunked");
  else if (!send.streaming && (send.body || has_body)) send.headers.set("Content-Length", std::to_string(send.body ? send.body->size() : 0));
  std::string head = format_request_head(send.method, send.target, send.headers);
  std::array parts{as_bytes(head), as_bytes(send.body ? std::string_view(*send.body) : std::string_view())};
  Result<> written = co_await connection->transport->write_parts(parts);
  // A server may answer and close before it read everything: then its answer is there to be read.
  if (!written && send.body == nullptr) co_return fail(std::move(written).error());
  auto shared = std::make_shared<Shared>();
  shared->connection = std::move(connection);
  shared->keep = std::move(keep);
  shared->limits = limits;
  shared->method = send.method;
  shared->request_done = !send.streaming && written.has_value();
  co_return std::make_unique<H1Call>(std::move(shared), chunked);
}

}  // namespace monopod::http
