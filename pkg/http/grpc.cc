#include "http/grpc.h"

#include "base/strings.h"
#include "http/query.h"

namespace monopod::http {
namespace {

constexpr std::size_t kPrefixBytes = 5;
constexpr std::size_t kTrustedFactor = 8;

// grpc-message is percent-encoded (PROTOCOL-HTTP2.md, Status-Message).
std::string encode_message(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (c >= 0x20 && c < 0x7f && c != '%') {
      out += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

Result<> outcome_of(std::optional<std::string_view> status, std::optional<std::string_view> message) {
  if (!status) return fail(Code::kUnknown, "grpc: no status in trailers");
  std::optional<int> number = parse_int<int>(*status);
  if (!number || *number < 0) return fail(Code::kUnknown, "grpc: malformed status");
  if (*number == 0) return {};
  Result<std::string> text = decode_path(message.value_or(""));
  Code code = *number < kCodeCount ? static_cast<Code>(*number) : Code::kUnknown;
  return fail(code, text ? std::move(*text) : "grpc: status " + std::to_string(*number));
}

}  // namespace

namespace {

constexpr std::size_t kCopiedBytesMax = 4U << 10;  // a larger message goes out as it is, behind its prefix

std::string prefix_of(std::size_t size) {
  return {0, static_cast<char>(size >> 24U), static_cast<char>(size >> 16U), static_cast<char>(size >> 8U), static_cast<char>(size)};
}

}  // namespace

void append_grpc_message(std::string& out, std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (std::string_view part : parts) size += part.size();
  out += prefix_of(size);
  for (std::string_view part : parts) out += part;
}

std::string format_grpc_message(std::string_view message) {
  std::string out;
  out.reserve(kPrefixBytes + message.size());
  append_grpc_message(out, {message});
  return out;
}

Result<std::optional<std::string>> GrpcDecoder::next() {
  std::string_view rest = std::string_view(buffer_).substr(offset_);
  if (rest.size() < kPrefixBytes) return std::nullopt;
  if (rest[0] != 0) return fail(Code::kUnimplemented, "grpc: compressed message");
  std::size_t size = 0;
  for (std::size_t i = 1; i < kPrefixBytes; ++i) size = size << 8U | static_cast<unsigned char>(rest[i]);
  if (size > bytes_max_) return fail(Code::kResourceExhausted, "grpc: message too large");
  if (rest.size() < kPrefixBytes + size) {
    // Grows once to what is announced, but only when a good part of it is there: who announces much must send much.
    if (rest.size() > size / kTrustedFactor) buffer_.reserve(offset_ + kPrefixBytes + size);
    return std::nullopt;
  }
  if (offset_ == 0 && rest.size() == kPrefixBytes + size) {  // all there is: nothing to allocate
    buffer_.erase(0, kPrefixBytes);
    return std::exchange(buffer_, {});
  }
  std::string message(rest.substr(kPrefixBytes, size));
  offset_ += kPrefixBytes + size;
  if (offset_ == buffer_.size() || offset_ > (64U << 10)) {
    buffer_.erase(0, offset_);
    offset_ = 0;
  }
  return message;
}

bool is_grpc(const Request& request) {
  std::string_view type = request.headers.find("content-type").value_or("");
  return request.method == "POST" && (type == "application/grpc" || type.starts_with("application/grpc+"));
}

async::Task<Result<std::optional<std::string>>> GrpcServerCall::read() {
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> message, decoder_.next());
    if (message && gate_.on_read) CO_TRY(co_await gate_.on_read(*message));
    if (message) co_return message;
    CO_TRY_ASSIGN(std::string chunk, co_await exchange_.read_body_chunk());
    if (chunk.empty() && !decoder_.empty()) co_return fail(Code::kInvalidArgument, "grpc: message cut short");
    if (chunk.empty()) co_return std::nullopt;
    decoder_.feed(std::move(chunk));
  }
}

async::Task<Result<>> GrpcServerCall::write(std::string message) {
  std::size_t size = message.size();
  return write(size, [message = std::move(message)]() mutable { return std::exchange(message, {}); });
}

async::Task<Result<>> GrpcServerCall::write(std::size_t size, std::move_only_function<std::string()> next_piece) {
  std::string piece = next_piece();
  if (piece.size() <= kCopiedBytesMax) {
    CO_TRY(co_await write_framed(prefix_of(size).append(piece)));
    piece = next_piece();
  } else {
    CO_TRY(co_await write_framed(prefix_of(size)));
  }
  for (; !piece.empty(); piece = next_piece()) CO_TRY(co_await exchange_.write(share(std::move(piece))));
  co_return Result<>();
}

async::Task<Result<>> GrpcServerCall::write_framed(std::string messages) {
  if (gate_.on_write) CO_TRY(co_await gate_.on_write());
  if (!exchange_.started()) CO_TRY(co_await exchange_.start(200, {{"content-type", "application/grpc"}}));
  co_return co_await exchange_.write(share(std::move(messages)));
}

async::Task<Result<>> GrpcServerCall::answer(std::string message) {
  if (gate_.on_write) CO_TRY(co_await gate_.on_write());
  outcome_ = Code::kOk;
  co_return co_await exchange_.respond_with_trailers(200, {{"content-type", "application/grpc"}}, share(format_grpc_message(message)), {{"grpc-status", "0"}});
}

async::Task<Result<>> GrpcServerCall::finish(Result<> outcome) {
  outcome_ = outcome ? Code::kOk : outcome.error().code();
  Headers trailers{{"grpc-status", std::to_string(outcome ? 0 : static_cast<int>(outcome.error().code()))}};
  if (!outcome) trailers.add("grpc-message", encode_message(outcome.error().message()));
  if (!exchange_.started()) CO_TRY(co_await exchange_.start(200, {{"content-type", "application/grpc"}}));
  co_return co_await exchange_.finish(std::move(trailers));
}

async::Task<Result<>> GrpcClientCall::write(std::string message) { return call_->write(share(format_grpc_message(message))); }
async::Task<Result<>> GrpcClientCall::finish_writing() { return call_->finish(); }

async::Task<Result<std::optional<std::string>>> GrpcClientCall::read() {
  if (!response_) {
    CO_TRY_ASSIGN(response_, co_await call_->response());
    if (response_->status != 200) co_return fail(code_of_http_status(response_->status), cat("grpc: http status ", response_->status));
  }
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> message, decoder_.next());
    if (message) co_return message;
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response_->body->read_chunk());
    if (chunk) {
      decoder_.feed(*chunk);
      continue;
    }
    // "Trailers-Only" answers have the status in their only head.
    const Headers& trailers = response_->body->trailers().find("grpc-status") ? response_->body->trailers() : response_->headers;
    CO_TRY(outcome_of(trailers.find("grpc-status"), trailers.find("grpc-message")));
    if (!decoder_.empty()) co_return fail(Code::kDataLoss, "grpc: message cut short");
    co_return std::nullopt;
  }
}

async::Task<Result<std::unique_ptr<GrpcClientCall>>> open_grpc(Caller& caller, std::string method, GrpcOptions options) {
  Headers headers = std::move(options.metadata);
  headers.set("content-type", "application/grpc");
  headers.set("te", "trailers");
  if (options.timeout != Duration{}) headers.set("grpc-timeout", cat(std::chrono::duration_cast<std::chrono::milliseconds>(options.timeout).count(), "m"));
  CO_TRY_ASSIGN(std::unique_ptr<Call> call,
                co_await caller.open({.method = "POST", .target = std::move(method), .headers = std::move(headers), .timeout = options.timeout}));
  co_return std::make_unique<GrpcClientCall>(std::move(call), options.message_bytes_max);
}

async::Task<Result<std::string>> exchange_message(GrpcClientCall& call, std::string message) {
  // The answer decides, also where writing failed: a server may be done before it saw the request's end (RFC 9113 section 8.1), and one that
  // refuses says why.
  Result<> written = co_await call.write(std::move(message));
  if (written) written = co_await call.finish_writing();
  CO_TRY_ASSIGN(std::optional<std::string> answer, co_await call.read());
  if (!answer) co_return fail(Code::kInternal, "grpc: no message in the answer");
  CO_TRY_ASSIGN(std::optional<std::string> end, co_await call.read());
  if (end) co_return fail(Code::kInternal, "grpc: more than one message in the answer");
  co_return std::move(*answer);
}

async::Task<Result<std::string>> call_grpc(Caller& caller, std::string method, std::string message, GrpcOptions options) {
  CO_TRY_ASSIGN(std::unique_ptr<GrpcClientCall> call, co_await open_grpc(caller, std::move(method), std::move(options)));
  co_return co_await exchange_message(*call, std::move(message));
}

}  // namespace monopod::http
