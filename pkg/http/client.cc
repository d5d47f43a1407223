#include "http/client.h"

#include <optional>

#include "async/event.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "http/client_connection.h"
#include "http/websocket_stream.h"
#include "pki/random.h"

namespace monopod::http {

struct Client::State : std::enable_shared_from_this<Client::State> {
  State(async::Scope& scope, async::Executor e, async::Time& t, ClientOptions o)
      : background(scope), executor(e), time(t), options(std::move(o)), dialled(e) {}

  async::Scope& background;
  async::Executor executor;
  async::Time& time;
  ClientOptions options;
  std::vector<std::unique_ptr<H1ClientConnection>> idle;
  std::shared_ptr<H2ClientConnection> http2;
  bool dialling = false;
  bool speaks_http1 = false;  // learnt: then dials need not queue behind each other
  bool closed = false;
  std::uint64_t generation = 0;  // connections of an older one are not reused
  async::Notify dialled;

  void keep(std::unique_ptr<H1ClientConnection> connection, std::uint64_t made_in) {
    if (closed || made_in != generation || idle.size() >= options.idle_connections_max) return;
    connection->reused = true;
    idle.push_back(std::move(connection));
  }
  void forget() {
    ++generation;
    idle.clear();
    if (http2) http2->retire();
    http2.reset();
  }
  void abort() {
    if (http2) http2->abort();
    forget();
  }
};

namespace {

using State = Client::State;

struct Lease {
  std::shared_ptr<H2ClientConnection> http2{};
  std::unique_ptr<H1ClientConnection> http1{};
};

async::Task<Result<std::unique_ptr<Transport>>> connect(State& state, bool offer_http2) {
  const ClientOptions& options = state.options;
  CO_TRY_ASSIGN(sys::Fd socket, co_await dial(options.endpoint, options.resolver));
  if (!options.endpoint.tls) co_return make_transport(state.executor, std::move(socket));
  if (options.tls == nullptr) co_return fail(Code::kInvalidArgument, "https needs TLS settings");
  std::string name = options.tls->server_name().empty() ? options.endpoint.host : options.tls->server_name();
  TlsClientTarget target{.server_name = std::move(name), .verify = options.tls->verifies(), .offer_http2 = offer_http2 && options.tls->http2()};
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_tls_client_transport(state.executor, std::move(socket), options.tls->context(), target));
  Result<> shaken = co_await transport->handshake();
  if (!shaken) co_return fail(std::move(shaken).error().with(cat("connect ", options.endpoint.authority())));
  co_return transport;
}

async::Task<Result<std::unique_ptr<Transport>>> connect_in_time(State& state, bool offer_http2) {
  const std::string what = "connect " + state.options.endpoint.authority();  // in this frame: with_timeout keeps a view until it starts
  co_return co_await async::with_timeout<std::unique_ptr<Transport>>(state.time, state.options.connect_timeout, what,
                                                         connect(state, offer_http2));
}

async::Task<Result<>> run_http2(std::shared_ptr<State> state, std::shared_ptr<H2ClientConnection> connection) {
  Result<> ended = co_await connection->run_connection();
  if (state->http2 == connection) state->http2.reset();
  co_return Result<>();
}

async::Task<Result<Lease>> acquire(std::shared_ptr<State> state) {
  for (;;) {
    if (state->http2 && !state->http2->usable()) {
      state->http2->retire();
      state->http2.reset();
    }
    if (state->http2) co_return Lease{.http2 = state->http2};
    while (!state->idle.empty()) {
      std::unique_ptr<H1ClientConnection> connection = std::move(state->idle.back());
      state->idle.pop_back();
      if (connection->healthy()) co_return Lease{.http1 = std::move(connection)};
    }
    if (!state->dialling || state->speaks_http1) break;
    CO_TRY(co_await state->dialled.wait());
  }
  struct Dialling {
    State& state;
    explicit Dialling(State& s) : state(s) { state.dialling = true; }
    ~Dialling() {
      state.dialling = false;
      state.dialled.wake_all();
    }
  } dialling(*state);
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, co_await connect_in_time(*state, true));
  bool http2 = transport->tls() ? transport->alpn() == "h2" : state->options.http2_prior_knowledge;
  if (!http2) {
    state->speaks_http1 = true;
    co_return Lease{.http1 = std::make_unique<H1ClientConnection>(std::move(transport))};
  }
  CO_TRY_ASSIGN(std::shared_ptr<H2ClientConnection> connection, make_h2_client(state->executor, state->time, state->options.limits, std::move(transport)));
  state->background.spawn(run_http2(state, connection));
  state->http2 = connection;
  co_return Lease{.http2 = std::move(connection)};
}

Outgoing outgoing_of(const State& state, ClientRequest request, bool streaming) {
  Outgoing out{.method = std::move(request.method), .target = std::move(request.target), .headers = std::move(request.headers), .body = std::move(request.body), .streaming = streaming};
  if (!out.headers.find("host")) out.headers.add("Host", state.options.endpoint.authority());
  if (!state.options.bearer_token.empty() && !out.headers.find("authorization"))
    out.headers.add("Authorization", "Bearer " + state.options.bearer_token);
  return out;
}

Result<std::unique_ptr<Call>> start_h2_call(const State& state, H2ClientConnection& connection, Outgoing out) {
  std::string authority(out.headers.find("host").value_or(""));
  return connection.start_call(std::move(out), state.options.endpoint.tls ? "https" : "http", authority);
}

async::Task<Result<std::unique_ptr<Call>>> start_on(std::shared_ptr<State> state, Lease lease, Outgoing out) {
  if (lease.http2) co_return start_h2_call(*state, *lease.http2, std::move(out));
  std::weak_ptr<State> weak = state;
  std::uint64_t generation = state->generation;
  auto keep = [weak, generation](std::unique_ptr<H1ClientConnection> connection) {
    if (std::shared_ptr<State> alive = weak.lock()) alive->keep(std::move(connection), generation);
  };
  co_return co_await start_h1_call(std::move(lease.http1), std::move(out), state->options.limits, std::move(keep));
}

Result<> check(const ClientRequest& request) {
  bool clean = !request.target.empty() && request.target.find_first_of(std::string_view(" \r\n\t\0#", 6)) == std::string::npos;
  if (!clean || !is_token(request.method)) return fail(Code::kInvalidArgument, "invalid request line");
  for (const Headers::Field& field : request.headers)
    if (!is_token(field.name)) return fail(Code::kInvalidArgument, "invalid header name");
  return {};
}

async::Task<Result<Response>> perform(std::shared_ptr<State> state, ClientRequest request) {
  for (int attempt = 0;; ++attempt) {
    CO_TRY_ASSIGN(Lease lease, co_await acquire(state));
    bool reused = lease.http2 || lease.http1->reused;
    Outgoing out = outgoing_of(*state, request, false);
    Result<std::unique_ptr<Call>> call = co_await start_on(state, std::move(lease), std::move(out));
    Result<Response> response = call ? co_await (*call)->response() : Result<Response>(fail(std::move(call).error()));
    if (response) co_return response;
    // A kept connection that the server closed meanwhile is no failure; what was perhaps processed is not sent twice.
    bool safe = request.method == "GET" || request.method == "HEAD" || request.method == "PUT" || request.method == "DELETE" ||
                response.error().message() == "stream refused" || response.error().message() == "http2: connection is going away";
    bool lost = response.error().code() == Code::kUnavailable;
    if (!reused || !safe || !lost || attempt == 2) co_return response;
  }
}

Duration timeout_of(const State& state, const ClientRequest& request) {
  return request.timeout == Duration{} ? state.options.response_timeout : request.timeout;
}

async::Task<Result<std::unique_ptr<Call>>> perform_open(std::shared_ptr<State> state, Outgoing out) {
  CO_TRY_ASSIGN(Lease lease, co_await acquire(state));
  co_return co_await start_on(state, std::move(lease), std::move(out));
}

// The raw stream of a 101, with what came behind it.
class SwitchedStream final : public async::Stream {
 public:
  explicit SwitchedStream(std::unique_ptr<Transport> transport, std::string rest) : transport_(std::move(transport)), rest_(std::move(rest)) {}
  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    if (rest_.empty()) co_return co_await transport_->read_some(into);
    std::size_t n = std::min(into.size(), rest_.size());
    std::copy_n(as_bytes(rest_).begin(), n, into.begin());
    rest_.erase(0, n);
    co_return n;
  }
  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override { return transport_->write_all(bytes); }
  async::Task<Result<>> write_parts(std::span<const std::span<const std::byte>> parts) override { return transport_->write_parts(parts); }
  async::Task<Result<>> shutdown_write() override { return transport_->shutdown_write(); }
  void close() override { transport_->close(); }

 private:
  std::unique_ptr<Transport> transport_;
  std::string rest_;
};

async::Task<Result<Client::Switched>> perform_upgrade(std::shared_ptr<State> state, ClientRequest request) {
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, co_await connect_in_time(*state, false));
  auto connection = std::make_unique<H1ClientConnection>(std::move(transport));
  H1ClientConnection& wire = *connection;
  request.body = nullptr;
  Outgoing out = outgoing_of(*state, request, false);
  CO_TRY_ASSIGN(std::unique_ptr<Call> call, co_await start_h1_call(std::move(connection), std::move(out), state->options.limits, [](auto) {}));
  Client::Switched switched;
  CO_TRY_ASSIGN(switched.response, co_await call->response());
  if (switched.response.status == 101) switched.stream = std::make_unique<SwitchedStream>(std::move(wire.transport), std::move(wire.input));
  co_return switched;
}

async::Task<Result<std::unique_ptr<WebSocket>>> perform_websocket(std::shared_ptr<State> state, ClientRequest request, std::vector<std::string> subprotocols) {
  CO_TRY_ASSIGN(std::string nonce, pki::random_bytes(16));
  std::string key = format_base64(nonce);
  request.method = "GET";
  request.headers.set("Connection", "Upgrade");
  request.headers.set("Upgrade", "websocket");
  request.headers.set("Sec-WebSocket-Version", "13");
  request.headers.set("Sec-WebSocket-Key", key);
  if (!subprotocols.empty()) request.headers.set("Sec-WebSocket-Protocol", join(subprotocols, ", "));
  CO_TRY_ASSIGN(Client::Switched switched, co_await perform_upgrade(state, std::move(request)));
  Response& response = switched.response;
  if (!switched.stream) {
    Result<std::string> text = co_await response.body->read_all(4096);
    std::string line = text ? text->substr(0, text->find('\n')) : std::string();
    co_return fail(code_of_http_status(response.status), cat("websocket refused with status ", response.status, ": ", line));
  }
  bool accepted = response.headers.has_token("upgrade", "websocket") && response.headers.has_token("connection", "upgrade") &&
                  response.headers.find("sec-websocket-accept").value_or("") == websocket_accept(key);
  std::string chosen(response.headers.find("sec-websocket-protocol").value_or(""));
  bool offered = chosen.empty() || std::ranges::find(subprotocols, chosen) != subprotocols.end();
  if (!accepted || !offered) co_return fail(Code::kUnavailable, "websocket: malformed handshake");
  co_return make_websocket(state->executor, std::move(switched.stream),
                           {.client = true, .subprotocol = std::move(chosen), .message_bytes_max = state->options.limits.websocket_message_bytes_max});
}

}  // namespace

Client::Client(async::Scope& background, async::Executor executor, async::Time& time, Options options)
    : state_(std::make_shared<State>(background, executor, time, std::move(options))) {}

Client::~Client() {
  state_->closed = true;
  state_->forget();
}

async::Task<Result<Response>> Client::request(ClientRequest request) {
  CO_TRY(check(request));
  Duration limit = timeout_of(*state_, request);
  std::string what = cat(request.method, " ", request.target.substr(0, request.target.find('?')));
  co_return co_await async::with_timeout<Response>(state_->time, limit, what, perform(state_, std::move(request)));
}

async::Task<Result<std::unique_ptr<Call>>> Client::open(ClientRequest request) {
  CO_TRY(check(request));
  Duration limit = timeout_of(*state_, request);
  request.body = nullptr;
  Outgoing out = outgoing_of(*state_, std::move(request), true);
  if (state_->http2 && state_->http2->usable()) co_return start_h2_call(*state_, *state_->http2, std::move(out));  // nothing to wait for
  std::string what = cat("open ", std::string_view(out.target).substr(0, out.target.find('?')));
  co_return co_await async::with_timeout<std::unique_ptr<Call>>(state_->time, limit, std::move(what), perform_open(state_, std::move(out)));
}

async::Task<Result<Client::Switched>> Client::open_upgrade(ClientRequest request) {
  CO_TRY(check(request));
  Duration limit = timeout_of(*state_, request);
  std::string what = cat("upgrade ", request.target.substr(0, request.target.find('?')));
  co_return co_await async::with_timeout<Switched>(state_->time, limit, what, perform_upgrade(state_, std::move(request)));
}

async::Task<Result<std::unique_ptr<WebSocket>>> Client::open_websocket(ClientRequest request, std::vector<std::string> subprotocols) {
  CO_TRY(check(request));
  Duration limit = timeout_of(*state_, request);
  std::string what = cat("websocket ", request.target.substr(0, request.target.find('?')));
  co_return co_await async::with_timeout<std::unique_ptr<WebSocket>>(state_->time, limit, what,
                                                                     perform_websocket(state_, std::move(request), std::move(subprotocols)));
}

void Client::set_bearer_token(std::string token) { state_->options.bearer_token = std::move(token); }
void Client::forget_connections() { state_->forget(); }
void Client::abort_connections() { state_->abort(); }

}  // namespace monopod::http
