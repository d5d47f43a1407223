#include "http/exchange.h"

#include <algorithm>

#include "base/strings.h"
#include "http/answers.h"
#include "http/websocket_stream.h"
#include "pki/digest.h"

namespace monopod::http {

std::string_view Request::raw_path() const { return std::string_view(target).substr(0, target.find('?')); }

std::string_view Request::raw_query() const {
  std::size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

async::Task<Result<std::string>> Exchange::read_body_chunk() {
  constexpr std::size_t kChunkBytes = 16U << 10;
  std::string chunk(kChunkBytes, '\0');
  CO_TRY_ASSIGN(std::size_t n, co_await read_body_some(std::as_writable_bytes(std::span(chunk))));
  chunk.resize(n);
  co_return chunk;
}

async::Task<Result<std::string>> Exchange::read_body(std::size_t bytes_max) {
  std::string body;
  std::optional<std::uint64_t> length;
  if (auto text = request_.headers.find("content-length")) length = parse_int<std::uint64_t>(*text);
  if (length && *length > bytes_max) co_return fail(Code::kInvalidArgument, std::string(kBodyTooLarge));
  if (length) body.reserve(static_cast<std::size_t>(*length));
  std::size_t used = 0;
  for (;;) {
    // Of unknown length: little at first, most requests have no body. One byte past the limit tells a body at the limit from a larger one.
    std::size_t wanted = length ? static_cast<std::size_t>(std::max<std::uint64_t>(*length, used + 1) - used) : std::clamp<std::size_t>(used, 512, 16U << 10);
    body.resize(used + std::min(bytes_max + 1 - used, wanted));
    CO_TRY_ASSIGN(std::size_t n, co_await read_body_some(std::as_writable_bytes(std::span(body)).subspan(used)));
    used += n;
    body.resize(used);
    if (n == 0) co_return body;
    if (used > bytes_max) co_return fail(Code::kInvalidArgument, std::string(kBodyTooLarge));
  }
}

async::Task<Result<>> Exchange::respond(int status, Headers headers, SharedBytes body) {
  if (started()) co_return fail(Code::kInternal, "answer was started already");
  co_return co_await send_whole(status, std::move(headers), std::move(body));
}

async::Task<Result<>> Exchange::respond(int status, Headers headers, std::string body) {
  return respond(status, std::move(headers), share(std::move(body)));
}

async::Task<Result<>> Exchange::respond_with_trailers(int status, Headers headers, SharedBytes body, Headers trailers) {
  CO_TRY(co_await start(status, std::move(headers)));
  CO_TRY(co_await write(std::move(body)));
  co_return co_await finish(std::move(trailers));
}

std::size_t Exchange::websocket_message_bytes_max() const { return Limits{}.websocket_message_bytes_max; }

std::vector<std::string> Exchange::offered_subprotocols() const {
  std::vector<std::string> out;
  for (std::string_view value : request_.headers.find_all("sec-websocket-protocol"))
    for (std::string_view one : split(value, ','))
      if (!trim(one).empty()) out.emplace_back(trim(one));
  return out;
}

async::Task<Result<std::unique_ptr<WebSocket>>> Exchange::accept_websocket(std::string subprotocol) {
  if (!wants_upgrade("websocket")) co_return fail(Code::kInvalidArgument, "not a websocket request");
  if (request_.method != "GET") co_return fail(Code::kInvalidArgument, "websocket request is not a GET");
  if (request_.headers.find("sec-websocket-version").value_or("") != "13") co_return fail(Code::kInvalidArgument, "unsupported websocket version");
  std::string key(request_.headers.find("sec-websocket-key").value_or(""));
  std::optional<std::string> decoded = parse_base64(key);
  if (!decoded || decoded->size() != 16) co_return fail(Code::kInvalidArgument, "invalid websocket key");
  Headers headers{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Accept", websocket_accept(key)}};
  if (!subprotocol.empty()) headers.add("Sec-WebSocket-Protocol", subprotocol);
  CO_TRY_ASSIGN(std::unique_ptr<async::Stream> stream, co_await upgrade(101, std::move(headers)));
  async::Executor executor = co_await async::this_executor();
  co_return make_websocket(executor, std::move(stream), {.client = false, .subprotocol = std::move(subprotocol), .message_bytes_max = websocket_message_bytes_max()});
}

PlainAnswer plain_answer(const Error& error) {
  int status = error.message().ends_with(kBodyTooLarge) ? 413 : http_status(error.code());
  return {status, Headers{{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}}, share(error.message() + "\n")};
}

}  // namespace monopod::http
