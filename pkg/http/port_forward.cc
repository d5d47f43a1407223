#include "http/port_forward.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/strings.h"
#include "http/port_forward_channels.h"
#include "http/query.h"
#include "http/spdy_session.h"
#include "http/stream_upgrade.h"
#include "http/websocket_base64.h"
#include "http/websocket_bytes.h"

namespace monopod::http {
namespace {

constexpr std::string_view kTunnel = "SPDY/3.1+portforward.k8s.io";
constexpr std::array<std::string_view, 1> kSpdyProtocols{"portforward.k8s.io"};
constexpr std::string_view kBase64Channels = "v4.base64.channel.k8s.io";
constexpr std::array<std::string_view, 3> kChannelProtocols{"v4.channel.k8s.io", "portforward.k8s.io", kBase64Channels};
constexpr std::size_t kPortsMax = 64;                       // of one WebSocket; its channels are one byte
constexpr Duration kPairTimeout = std::chrono::seconds(30);  // between the two streams of one connection

std::optional<std::uint16_t> parse_port(std::string_view text) {
  auto port = parse_int<std::uint16_t>(text);
  return port && *port > 0 ? port : std::nullopt;
}

Result<> check_stream(const Headers& headers) {
  auto port = headers.find("port");
  if (!port) return fail(Code::kInvalidArgument, "\"port\" header is required");
  if (!parse_port(*port)) return fail(Code::kInvalidArgument, cat("unable to parse \"", *port, "\" as a port"));
  auto type = headers.find("streamtype");
  if (!type) return fail(Code::kInvalidArgument, "\"streamType\" header is required");
  if (*type != "error" && *type != "data") return fail(Code::kInvalidArgument, cat("invalid stream type \"", *type, "\""));
  return {};
}

// Clients from before the request id open the error stream and then, as the next one, that of the data.
std::string request_of(const SpdyStream& stream) {
  if (auto id = stream.headers().find("requestid"); id && !id->empty()) return std::string(*id);
  bool data = stream.headers().find("streamtype") == "data";
  return std::to_string(stream.id() - (data ? 2U : 0U));
}

struct Pair {
  std::unique_ptr<SpdyStream> error;
  std::unique_ptr<SpdyStream> data;
  MonoTime until{};  // the other one must be there
};

class SpdyForward final : public PortForward {
 public:
  SpdyForward(async::Executor executor, async::Time& time, std::unique_ptr<async::Stream> wire, async::Scope& scope)
      : time_(time), session_(executor, time, std::move(wire), check_stream) {
    scope.spawn(session_.run());
  }

  async::Task<Result<ForwardedConnection>> next() override {
    for (;;) {  // forever: the client decides
      Result<std::unique_ptr<SpdyStream>> stream = co_await next_stream();
      if (!stream && stream.error().code() == Code::kDeadlineExceeded) {
        CO_TRY(co_await drop_lonely());
        continue;
      }
      if (!stream) co_return fail(std::move(stream).error());
      std::string request = request_of(**stream);
      Pair& pair = pairs_.try_emplace(request, Pair{.error = nullptr, .data = nullptr, .until = time_.mono() + kPairTimeout}).first->second;
      bool data = (*stream)->headers().find("streamtype") == "data";
      std::unique_ptr<SpdyStream>& place = data ? pair.data : pair.error;
      if (place) continue;  // a second one of its kind is reset
      place = std::move(*stream);
      if (!pair.data || !pair.error) continue;
      ForwardedConnection out{.port = *parse_port(*pair.data->headers().find("port")), .data = std::move(pair.data), .error = std::move(pair.error)};
      pairs_.erase(request);
      co_return out;
    }
  }

 private:
  async::Task<Result<std::unique_ptr<SpdyStream>>> next_stream() {
    if (pairs_.empty()) co_return co_await session_.accept();
    MonoTime first = std::ranges::min_element(pairs_, {}, [](const auto& pair) { return pair.second.until; })->second.until;
    if (first <= time_.mono()) co_return fail(Code::kDeadlineExceeded, "streams");
    co_return co_await async::with_timeout<std::unique_ptr<SpdyStream>>(time_, first - time_.mono(), "streams", session_.accept());
  }
  async::Task<Result<>> drop_lonely() {
    for (auto it = pairs_.begin(); it != pairs_.end();) {
      if (it->second.until > time_.mono()) {
        ++it;
        continue;
      }
      std::string text = cat("(request=", it->first, ") timed out waiting for streams");
      std::unique_ptr<SpdyStream> error = std::move(it->second.error);
      it = pairs_.erase(it);
      if (!error) continue;
      CO_TRY(co_await error->write_all(as_bytes(text)));
      CO_TRY(co_await error->shutdown_write());
      co_return Result<>();  // the map may have changed: the rest the next time
    }
    co_return Result<>();
  }

  async::Time& time_;
  SpdySession session_;
  std::map<std::string, Pair> pairs_;
};

// The names that upstream's API server (ports) and its nodes (port) use.
Result<std::vector<std::uint16_t>> ports_of(const Exchange& exchange) {
  Query query = parse_query(exchange.request().raw_query());
  std::vector<std::string_view> values = query.get_all("ports");
  for (std::string_view more : query.get_all("port")) values.push_back(more);
  if (values.empty()) return fail(Code::kInvalidArgument, "query parameter \"port\" is required");
  std::vector<std::uint16_t> out;
  for (std::string_view value : values) {
    if (value.empty()) return fail(Code::kInvalidArgument, "query parameter \"port\" cannot be empty");
    for (std::string_view text : split(value, ',')) {
      auto port = parse_int<std::uint16_t>(text);
      if (!port) return fail(Code::kInvalidArgument, cat("unable to parse \"", value, "\" as a port"));
      if (*port == 0) return fail(Code::kInvalidArgument, cat("port \"", value, "\" must be > 0"));
      out.push_back(*port);
    }
  }
  if (out.size() > kPortsMax) return fail(Code::kInvalidArgument, cat("at most ", kPortsMax, " ports can be forwarded over one connection"));
  return out;
}

async::Task<Result<std::unique_ptr<PortForward>>> accept_channels(Exchange& exchange, async::Scope& scope) {
  std::vector<std::string> offered = exchange.offered_subprotocols();
  std::string protocol;
  for (std::string_view known : kChannelProtocols)
    if (protocol.empty() && std::ranges::find(offered, known) != offered.end()) protocol = known;
  if (protocol.empty() && !offered.empty())
    co_return fail(Code::kInvalidArgument, cat("unable to upgrade: client supports [", join(offered, " "), "], server accepts [", kTunnel, " ", kChannelProtocols[0], " ", kChannelProtocols[1], " ", kBase64Channels, "]"));
  CO_TRY_ASSIGN(std::vector<std::uint16_t> ports, ports_of(exchange));
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await exchange.accept_websocket(protocol));
  if (protocol == kBase64Channels) socket = make_websocket_base64(std::move(socket), true);
  co_return co_await make_channel_forward(std::move(socket), std::move(ports), scope);
}

}  // namespace

async::Task<Result<std::unique_ptr<PortForward>>> accept_port_forward(Exchange& exchange, async::Time& time, async::Scope& scope) {
  async::Executor executor = co_await async::this_executor();
  std::unique_ptr<async::Stream> wire;
  if (exchange.wants_upgrade("websocket")) {
    if (std::ranges::count(exchange.offered_subprotocols(), kTunnel) == 0) co_return co_await accept_channels(exchange, scope);
    CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await exchange.accept_websocket(std::string(kTunnel)));
    wire = make_websocket_bytes(std::move(socket));
  } else if (exchange.wants_upgrade(kSpdy)) {
    CO_TRY_ASSIGN(SpdyWire upgraded, co_await upgrade_to_spdy(exchange, kSpdyProtocols));
    if (!upgraded.stream) co_return nullptr;
    wire = std::move(upgraded.stream);
  } else {
    co_return fail(Code::kInvalidArgument, "unable to upgrade: port-forward needs an upgrade to WebSocket or SPDY/3.1 over HTTP/1.1");
  }
  co_return std::make_unique<SpdyForward>(executor, time, std::move(wire), scope);
}

}  // namespace monopod::http
