#include "etcd/gateway/gateway.h"

#include <cstring>

#include "base/strings.h"
#include "codec/json.h"
#include "etcd/messages.h"
#include "etcd/gateway/routes.h"
#include "etcd/gateway/transcode.h"
#include "http/grpc.h"
#include "http/query.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::size_t kJsonBytesMax = 2 * kRequestBytesMax;  // of a request: base64 and names around what etcd takes
constexpr std::size_t kReadBytes = 16U << 10;

struct Status {
  int number;
  std::string_view text;
};

// grpc-gateway's table, which is not ours (base/error.cc) in the first four.
Status status_of(Code code) {
  switch (code) {
    case Code::kCancelled: return {408, "Request Timeout"};
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
    case Code::kInvalidArgument: return {400, "Bad Request"};
    case Code::kDeadlineExceeded: return {504, "Gateway Timeout"};
    case Code::kNotFound: return {404, "Not Found"};
    case Code::kAlreadyExists:
    case Code::kAborted: return {409, "Conflict"};
    case Code::kPermissionDenied: return {403, "Forbidden"};
    case Code::kUnauthenticated: return {401, "Unauthorized"};
    case Code::kResourceExhausted: return {429, "Too Many Requests"};
    case Code::kUnimplemented: return {501, "Not Implemented"};
    case Code::kUnavailable: return {503, "Service Unavailable"};
    default: return {500, "Internal Server Error"};
  }
}

http::Headers json_headers() { return {{"content-type", "application/json"}}; }

Task<Result<>> respond_error(http::Exchange& exchange, Error error) {
  json::Object body{{"error", error.message()}, {"message", error.message()}, {"code", static_cast<int>(error.code())}};
  co_return co_await exchange.respond(status_of(error.code()).number, json_headers(), json::format(body));
}

std::string error_line(const Error& error) {
  Status status = status_of(error.code());
  json::Object inner{{"grpc_code", static_cast<int>(error.code())},
                     {"http_code", status.number},
                     {"message", error.message()},
                     {"http_status", status.text}};
  return json::format(json::Object{{"error", std::move(inner)}}) + '\n';
}

// gRPC inside, JSON outside.
class GatewayExchange final : public http::Exchange {
 public:
  GatewayExchange(http::Exchange& outer, const Route& route)
      : outer_(outer), route_(route), request_type_(*schema::find_message(route.request)), answer_type_(*schema::find_message(route.answer)) {
    request_.method = "POST";
    request_.target = route.method;
    request_.headers = {{"content-type", "application/grpc"}};
    if (auto token = outer.request().headers.find("authorization")) {
      request_.headers.add("authorization", *token);
      request_.headers.add("token", *token);
    }
    request_.peer = outer.request().peer;
    request_.peer.certificates_der.clear();
  }

  Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override {
    if (incoming_.size() == offset_) {
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await next_message());
      if (!message) co_return 0U;
      incoming_ = http::format_grpc_message(*message);
      offset_ = 0;
    }
    std::size_t n = std::min(into.size(), incoming_.size() - offset_);
    std::memcpy(into.data(), incoming_.data() + offset_, n);
    offset_ += n;
    co_return n;
  }

  Task<Result<>> start(int, http::Headers) override {
    started_ = true;
    co_return Result<>();
  }
  bool started() const override { return started_; }

  Task<Result<>> write(SharedBytes bytes) override {
    decoder_.feed(*bytes);
    for (;;) {
      CO_TRY_ASSIGN(std::optional<std::string> message, decoder_.next());
      if (!message) co_return Result<>();
      CO_TRY_ASSIGN(std::string text, wire_to_json(*message, answer_type_));
      if (route_.streams == Streams::kNone) answer_ = std::move(text);
      else CO_TRY(co_await write_line(cat("{\"result\":", text, "}\n"), 200));
    }
  }

  Task<Result<>> finish(http::Headers trailers) override {
    int code = parse_int<int>(trailers.find("grpc-status").value_or("0")).value_or(static_cast<int>(Code::kUnknown));
    if (code == 0) co_return co_await finish_well();
    Result<std::string> text = http::decode_path(trailers.find("grpc-message").value_or(""));
    Error error(code < kCodeCount ? static_cast<Code>(code) : Code::kUnknown, text ? std::move(*text) : std::string());
    if (route_.streams == Streams::kNone) co_return co_await respond_error(outer_, std::move(error));
    std::string line = error_line(error);
    CO_TRY(co_await write_line(std::move(line), status_of(error.code()).number));
    co_return co_await outer_.finish();
  }

  bool wants_upgrade(std::string_view) const override { return false; }
  Task<Result<std::unique_ptr<async::Stream>>> upgrade(int, http::Headers) override { co_return fail(Code::kUnimplemented, "upgrade of a gateway call"); }

 protected:
  Task<Result<>> send_whole(int, http::Headers, SharedBytes) override { co_return fail(Code::kInternal, "a gateway call answers in gRPC"); }

 private:
  // nullopt at the end of the body.
  Task<Result<std::optional<std::string>>> next_message() {
    if (route_.streams != Streams::kBoth) {
      if (std::exchange(body_ended_, true)) co_return std::nullopt;
      CO_TRY_ASSIGN(std::string body, co_await outer_.read_body(kJsonBytesMax));
      CO_TRY_ASSIGN(std::string message, json_to_wire(body, request_type_));
      co_return std::optional<std::string>(std::move(message));
    }
    for (;;) {
      std::string value;
      CO_TRY_ASSIGN(bool complete, splitter_.next(value));
      if (complete) {
        CO_TRY_ASSIGN(std::string message, json_to_wire(value, request_type_));
        co_return std::optional<std::string>(std::move(message));
      }
      if (splitter_.pending() > kJsonBytesMax) co_return fail(Code::kInvalidArgument, "etcdserver: request is too large");
      std::string buffer(kReadBytes, '\0');
      CO_TRY_ASSIGN(std::size_t n, co_await outer_.read_body_some(std::as_writable_bytes(std::span(buffer))));
      if (n == 0 && !splitter_.empty()) co_return fail(Code::kInvalidArgument, "json: the message is cut short");
      if (n == 0) co_return std::nullopt;
      splitter_.feed(std::string_view(buffer).substr(0, n));
    }
  }

  Task<Result<>> write_line(std::string line, int status) {
    if (!outer_.started()) CO_TRY(co_await outer_.start(status, json_headers()));
    co_return co_await outer_.write(share(std::move(line)));
  }

  Task<Result<>> finish_well() {
    if (route_.streams == Streams::kNone) co_return co_await outer_.respond(200, json_headers(), std::move(answer_));
    if (!outer_.started()) CO_TRY(co_await outer_.start(200, json_headers()));
    co_return co_await outer_.finish();
  }

  http::Exchange& outer_;
  const Route& route_;
  const schema::Message& request_type_;
  const schema::Message& answer_type_;
  std::string incoming_;
  std::size_t offset_ = 0;
  bool body_ended_ = false;
  JsonSplitter splitter_;
  http::GrpcDecoder decoder_;
  std::string answer_ = "{}";
  bool started_ = false;
};

Task<Result<>> respond_text(http::Exchange& exchange, int status, std::string text) {
  co_return co_await exchange.respond(status, {{"content-type", "text/plain; charset=utf-8"}, {"x-content-type-options", "nosniff"}}, std::move(text));
}

}  // namespace

bool is_gateway_path(std::string_view path) { return path.starts_with("/v3/") || path.starts_with("/v3beta/"); }

Task<Result<>> serve_gateway(http::Exchange& exchange, http::Handler& grpc) {
  const Route* route = find_route(exchange.request().raw_path());
  if (route == nullptr) co_return co_await respond_text(exchange, 404, "Not Found\n");
  if (exchange.request().method != "POST") co_return co_await respond_text(exchange, 405, "Method Not Allowed\n");
  // No page is served here, so a browser that speaks for one is abused: cross-site request forgery, or DNS rebinding.
  if (exchange.request().headers.find("origin"))
    co_return co_await respond_error(exchange, Error(Code::kPermissionDenied, "requests of web pages are refused"));
  GatewayExchange inner(exchange, *route);
  Result<> handled = co_await grpc.handle(inner);
  if (!handled && !exchange.started()) co_return co_await respond_error(exchange, handled.error());
  co_return handled;
}

}  // namespace monopod::etcd
