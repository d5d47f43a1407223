#include "docker_client/engine_client.h"

#include <signal.h>
#include <unistd.h>

#include "base/strings.h"
#include "http/query.h"
#include "sys/root.h"

namespace monopod::docker_client {
namespace {

using async::Task;

constexpr std::string_view kVersion = "/v1.50";
constexpr std::size_t kAnswerBytesMax = 64U << 20;
constexpr std::size_t kRefusalBytesMax = 64U << 10;
constexpr std::size_t kDocumentBytesMax = 4U << 20;

Error no_engine(const std::string& socket, const Error& why) {
  if (why.code() == Code::kPermissionDenied) return Error(Code::kPermissionDenied, cat("engine at ", socket, ": permission denied: run it as root"));
  return Error(Code::kUnavailable, cat("no engine answers at ", socket, " (", why.message(), "): start one with `sudo monopod engine`, or name another's with --docker-socket"));
}

Error refusal(int status, std::string_view text) {
  std::string message(trim(text));
  if (auto body = json::parse(message))
    if (std::string_view own = json::get_string(*body, {"message"}); !own.empty()) message = own;
  if (message.empty()) message = cat("the engine answers ", status);
  return Error(code_of_http_status(status), std::move(message));
}

}  // namespace

EngineClient::EngineClient(std::string socket_path) : socket_path_(std::move(socket_path)), background_(loop_.executor()) {}
EngineClient::~EngineClient() = default;

http::Client& EngineClient::http() {
  if (!http_) http_ = std::make_unique<http::Client>(background_, loop_.executor(), time_, http::ClientOptions{.endpoint = {.unix_path = socket_path_}, .response_timeout = std::chrono::hours(24 * 365)});
  return *http_;
}

async::Pool& EngineClient::pool() {
  if (!pool_) {
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pool_.emplace(2U);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  return *pool_;
}

Result<> EngineClient::run(Task<Result<>> task) { return loop_.run(std::move(task)); }

Task<Result<http::Response>> EngineClient::send(std::string method, std::string target, json::Value body, http::Headers headers) {
  http::ClientRequest request{.method = std::move(method), .target = cat(kVersion, target), .headers = std::move(headers)};
  if (!body.is_null()) {
    request.headers.set("Content-Type", "application/json");
    request.body = share(json::format(body));
  } else if (request.method == "POST") {
    request.body = share("");
  }
  Result<http::Response> response = co_await http().request(std::move(request));
  if (!response && response.error().code() == Code::kCancelled) co_return response;
  if (!response) co_return fail(no_engine(socket_path_, response.error()));
  if (response->status < 400) co_return response;
  CO_TRY_ASSIGN(std::string text, co_await response->body->read_all(kRefusalBytesMax));
  co_return fail(refusal(response->status, text));
}

namespace {

Task<Result<>> fetch(EngineClient& client, std::string method, std::string target, json::Value body, json::Value& answer) {
  CO_TRY_ASSIGN(http::Response response, co_await client.send(std::move(method), std::move(target), std::move(body)));
  CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(kAnswerBytesMax));
  if (trim(text).empty()) co_return Result<>();
  CO_TRY_ASSIGN(answer, json::parse(trim(text)));
  co_return Result<>();
}

Task<Result<>> follow(EngineClient& client, std::string method, std::string target, http::Headers headers, std::function<Result<bool>(const json::Value&)> on_value) {
  CO_TRY_ASSIGN(http::Response response, co_await client.send(std::move(method), std::move(target), nullptr, std::move(headers)));
  std::string buffer;
  for (;;) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) break;
    buffer += *chunk;
    if (buffer.size() > kDocumentBytesMax) co_return fail(Code::kResourceExhausted, "an answer of the engine is too long");
    CO_TRY_ASSIGN(std::vector<json::Value> values, take_documents(buffer));
    for (const json::Value& value : values) {
      if (std::string_view error = json::get_string(value, {"error"}); !error.empty()) co_return fail(Code::kUnknown, std::string(error));
      CO_TRY_ASSIGN(bool more, on_value(value));
      if (!more) co_return Result<>();
    }
  }
  co_return Result<>();
}

}  // namespace

Result<json::Value> EngineClient::call(std::string_view method, std::string target, const json::Value& body) {
  json::Value answer;
  TRY(run(fetch(*this, std::string(method), std::move(target), body, answer)));
  return answer;
}

Result<> EngineClient::stream(std::string_view method, std::string target, http::Headers headers, std::function<Result<bool>(const json::Value&)> on_value) {
  return run(follow(*this, std::string(method), std::move(target), std::move(headers), std::move(on_value)));
}

Task<Result<std::unique_ptr<async::Stream>>> EngineClient::hijack(std::string target) {
  http::ClientRequest request{.method = "POST", .target = cat(kVersion, target), .headers = {{"Connection", "Upgrade"}, {"Upgrade", "tcp"}, {"Content-Type", "text/plain"}}};
  Result<http::Client::Switched> switched = co_await http().open_upgrade(std::move(request));
  if (!switched) co_return fail(no_engine(socket_path_, switched.error()));
  if (switched->stream) co_return std::move(switched->stream);
  CO_TRY_ASSIGN(std::string text, co_await switched->response.body->read_all(kRefusalBytesMax));
  co_return fail(refusal(switched->response.status, text));
}

Task<Result<std::string>> EngineClient::upload(std::string method, std::string target, int from) {
  http::ClientRequest request{.method = std::move(method), .target = cat(kVersion, target), .headers = {{"Content-Type", "application/x-tar"}}};
  Result<std::unique_ptr<http::Call>> call = co_await http().open(std::move(request));
  if (!call) co_return fail(no_engine(socket_path_, call.error()));
  for (;;) {
    Result<std::string> piece = co_await pool().run([from]() -> Result<std::string> {
      std::string buffer(64U << 10, '\0');
      ssize_t n = ::read(from, buffer.data(), buffer.size());
      if (n < 0) return fail_errno("read");
      buffer.resize(static_cast<std::size_t>(n));
      return buffer;
    });
    if (!piece) co_return fail(piece.error());
    if (piece->empty()) break;
    if (!co_await (*call)->write(share(*std::move(piece)))) break;  // it has answered: the answer says why
  }
  (void)co_await (*call)->finish();
  CO_TRY_ASSIGN(http::Response response, co_await (*call)->response());
  CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(kAnswerBytesMax));
  if (response.status >= 400) co_return fail(refusal(response.status, text));
  co_return text;
}

Task<Result<>> EngineClient::download(std::string target, int to) {
  CO_TRY_ASSIGN(http::Response response, co_await send("GET", std::move(target)));
  for (;;) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return Result<>();
    Result<> written = co_await pool().run([&chunk, to] { return sys::write_all(to, *chunk); });
    CO_TRY(std::move(written));
  }
}

std::string path_of(std::string_view kind, std::string_view name, std::string_view rest) { return cat("/", kind, "/", http::encode_path_segment(name), rest); }

Result<std::vector<json::Value>> take_documents(std::string& buffer) {
  std::vector<json::Value> out;
  std::size_t begin = 0, depth = 0;
  bool quoted = false, escaped = false;
  for (std::size_t i = 0; i < buffer.size(); ++i) {
    char c = buffer[i];
    if (quoted) {
      if (escaped) escaped = false;
      else if (c == '\\') escaped = true;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && depth > 0 && --depth == 0) {
      TRY_ASSIGN(json::Value value, json::parse(trim(std::string_view(buffer).substr(begin, i + 1 - begin))));
      out.push_back(std::move(value));
      begin = i + 1;
    }
  }
  buffer.erase(0, begin);
  return out;
}

}  // namespace monopod::docker_client
