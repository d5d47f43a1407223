#include "http/forward.h"

#include "async/join.h"
#include "async/scope.h"
#include "base/strings.h"

namespace monopod::http {

namespace {

constexpr std::string_view kHopByHop[] = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"};

void remove_hop_by_hop(Headers& headers) {
  std::vector<std::string> named;
  for (std::string_view value : headers.find_all("connection"))
    for (std::string_view token : split(value, ',')) named.emplace_back(trim(token));
  for (const std::string& name : named) headers.remove(name);
  for (std::string_view name : kHopByHop) headers.remove(name);
}

bool asks_for_upgrade(const Request& request) { return request.headers.has_token("connection", "upgrade") && request.headers.find("upgrade").has_value(); }

// No body is certain where the method has none and no header speaks of one.
bool has_body(const Request& request) {
  if (auto length = request.headers.find("content-length")) return *length != "0";
  if (request.headers.find("transfer-encoding")) return true;
  return request.method != "GET" && request.method != "HEAD" && request.method != "DELETE" && request.method != "OPTIONS";
}

async::Task<Result<>> send_body(Exchange& exchange, Call& call) {
  for (;;) {  // forever: until the client has sent all
    CO_TRY_ASSIGN(std::string chunk, co_await exchange.read_body_chunk());
    if (chunk.empty()) break;
    // A server that answers before it has read all ends the request; the answer tells.
    Result<> written = co_await call.write(share(std::move(chunk)));
    if (!written) co_return Result<>();
  }
  (void)co_await call.finish();
  co_return Result<>();
}

async::Task<Result<>> pass_back(Exchange& exchange, Response response, const ForwardOptions& options) {
  remove_hop_by_hop(response.headers);
  if (options.on_answer) options.on_answer(response.status, response.headers);
  CO_TRY(co_await exchange.start(response.status, std::move(response.headers)));
  for (;;) {  // forever: until the server has sent all
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) break;
    CO_TRY(co_await exchange.write(std::move(chunk)));
  }
  co_return co_await exchange.finish(response.body->trailers());
}

struct Forwarding {
  Exchange& exchange;
  async::Time& time;
  ForwardOptions options;

  ClientRequest outgoing(bool upgrade) const {
    const Request& from = exchange.request();
    ClientRequest out{.method = from.method, .target = options.target, .headers = from.headers};
    std::string protocol(from.headers.find("upgrade").value_or(""));
    remove_hop_by_hop(out.headers);
    out.headers.remove("host");
    out.headers.remove("expect");
    if (upgrade) {
      out.headers.set("Connection", "Upgrade");
      out.headers.set("Upgrade", protocol);
    }
    if (options.on_request) options.on_request(out.headers);
    return out;
  }

  async::Task<Result<>> upgraded(Client& client) {
    CO_TRY_ASSIGN(Client::Switched switched, co_await client.open_upgrade(outgoing(true)));
    if (!switched.stream) co_return co_await pass_back(exchange, std::move(switched.response), options);
    if (options.on_answer) options.on_answer(101, switched.response.headers);
    CO_TRY_ASSIGN(std::unique_ptr<async::Stream> ours, co_await exchange.upgrade(101, std::move(switched.response.headers)));
    co_return co_await async::join_streams(time, *ours, *switched.stream);
  }

  async::Task<Result<>> plain(Client& client, async::Scope& sending) {
    bool body = has_body(exchange.request());
    ClientRequest request = outgoing(false);
    if (!body) co_return co_await pass_on(client, std::move(request));
    CO_TRY_ASSIGN(std::unique_ptr<Call> call, co_await client.open(std::move(request)));
    sending.spawn(send_body(exchange, *call));
    Result<Response> response = co_await call->response();  // forever: a server may take its time, and the client may go
    Result<> done = response ? co_await pass_back(exchange, std::move(*response), options) : Result<>(fail(std::move(response).error()));
    sending.cancel();
    (void)co_await sending.join();
    co_return done;
  }

  async::Task<Result<>> pass_on(Client& client, ClientRequest request) {
    request.headers.remove("content-length");
    CO_TRY_ASSIGN(Response response, co_await client.request(std::move(request)));
    co_return co_await pass_back(exchange, std::move(response), options);
  }
};

}  // namespace

async::Task<Result<>> forward(Exchange& exchange, async::Time& time, ForwardOptions options) {
  async::Executor executor = co_await async::this_executor();
  async::Scope background(executor), sending(executor);
  bool upgrade = asks_for_upgrade(exchange.request());
  options.client.response_timeout = std::chrono::hours(24);
  Forwarding forwarding{exchange, time, std::move(options)};
  Result<> done;
  {
    Client client(background, executor, time, forwarding.options.client);
    done = upgrade ? co_await forwarding.upgraded(client) : co_await forwarding.plain(client, sending);
  }
  background.cancel();
  (void)co_await background.join();
  co_return done;
}

}  // namespace monopod::http
