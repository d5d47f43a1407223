// Client and server together over every transport and protocol.
#include <boost/asio/post.hpp>

#include "http/client_connection.h"
#include "http/test_support.h"
#include "pki/pki.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::Loop;
using async::RealTime;
using async::Scope;
using async::Task;

// A CA, a server certificate for 127.0.0.1 and a client certificate.
struct Certificates {
  RealClock clock;
  pki::CertificateAuthority ca = *pki::CertificateAuthority::make(clock);
  pki::KeyPair server = *ca.issue(clock, {.common_name = "server", .dns_names = {"monopod.test"}, .ip_addresses = {"127.0.0.1"}, .server = true});
  pki::KeyPair client = *ca.issue(clock, {.common_name = "alice", .organizations = {"dev"}, .client = true});

  TlsServerOptions server_options(ClientCertificate mode = ClientCertificate::kOptional) const {
    return {.certificate_pem = server.certificate_pem, .key_pem = server.key_pem, .client_ca_pem = ca.certificate_pem(), .client_certificate = mode};
  }
  TlsClientOptions client_options(bool http2) const { return {.ca_pem = ca.certificate_pem(), .http2 = http2}; }
};

enum class Mode { kPlain1, kPlain2, kTls1, kTls2 };

bool is_tls(Mode mode) { return mode == Mode::kTls1 || mode == Mode::kTls2; }
bool is_http2(Mode mode) { return mode == Mode::kPlain2 || mode == Mode::kTls2; }

// Server and client in one of the modes; body runs, then everything is cancelled.
struct Fixture {
  explicit Fixture(Loop& loop, Scope& s, async::Time& t, Mode mode, ServerOptions options = {}, std::string certificate = "", std::string key = "")
      : scope(s), time(t), tls_server(is_tls(mode) ? *TlsServer::make(certificates.server_options()) : nullptr),
        tls_client(is_tls(mode) ? *TlsClient::make({.ca_pem = certificates.ca.certificate_pem(), .certificate_pem = std::move(certificate),
                                                    .key_pem = std::move(key), .http2 = is_http2(mode)})
                                : nullptr),
        server(loop.executor(), s, t, with_tls(std::move(options))),
        client(s, loop.executor(), t, {.endpoint = server.endpoint(is_tls(mode)), .tls = tls_client.get(), .http2_prior_knowledge = is_http2(mode)}) {}
  ServerOptions with_tls(ServerOptions options) {
    options.tls = tls_server.get();
    return options;
  }
  Certificates certificates;
  Scope& scope;
  async::Time& time;
  std::unique_ptr<TlsServer> tls_server;
  std::unique_ptr<TlsClient> tls_client;
  TestServer server;
  Client client;
};

template <typename F>
Task<Result<>> in_fixture(Loop& loop, Scope& scope, Mode mode, F body) {
  RealTime time;
  Fixture fixture(loop, scope, time, mode);
  Result<> result = co_await body(fixture);
  scope.cancel();
  Result<> joined = co_await scope.join();  // before the server goes
  co_return result;
}

class EveryMode : public testing::TestWithParam<Mode> {
 public:
  template <typename F>
  void run(F body) {
    Mode mode = GetParam();
    async::run_test([mode, body](Loop& loop) { return start(loop, mode, body); });
  }
  template <typename F>
  static Task<Result<>> start(Loop& loop, Mode mode, F body) {
    Scope scope(loop.executor());
    co_return co_await in_fixture(loop, scope, mode, body);
  }
};
std::string mode_name(const testing::TestParamInfo<Mode>& info) {
  static constexpr const char* kNames[] = {"PlainHttp1", "PlainHttp2", "TlsHttp1", "TlsHttp2"};
  return kNames[static_cast<std::size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Http, EveryMode, testing::Values(Mode::kPlain1, Mode::kPlain2, Mode::kTls1, Mode::kTls2), mode_name);

Task<Result<std::string>> fetch(Client& client, ClientRequest request, int status = 200) {
  CO_TRY_ASSIGN(Response response, co_await client.request(std::move(request)));
  EXPECT_EQ(response.status, status);
  co_return co_await response.body->read_all(64 << 20);
}

Task<Result<>> get_and_post(Fixture& f) {
  CO_TRY_ASSIGN(std::string hello, co_await fetch(f.client, {.target = "/"}));
  EXPECT_EQ(hello, "hello\n");
  std::string big(300'000, 'b');
  CO_TRY_ASSIGN(std::string echoed, co_await fetch(f.client, {.method = "POST", .target = "/echo", .body = share(big)}));
  EXPECT_EQ(echoed, big);
  CO_TRY_ASSIGN(std::string none, co_await fetch(f.client, {.method = "HEAD", .target = "/"}));
  EXPECT_EQ(none, "");
  CO_TRY_ASSIGN(std::string empty, co_await fetch(f.client, {.target = "/none"}));
  EXPECT_EQ(empty, "");
  CO_TRY_ASSIGN(std::string slow, co_await fetch(f.client, {.target = "/stream?n=2000"}));
  CO_TRY_ASSIGN(std::string again, co_await fetch(f.client, {.target = "/"}));
  EXPECT_EQ(f.server.server.stats().accepted, 1U);  // one connection was enough
  EXPECT_EQ(f.server.server.stats().requests, 6U);
  co_return Result<>();
}
TEST_P(EveryMode, RequestsReuseOneConnection) { run(get_and_post); }

Task<Result<>> target_and_headers(Fixture& f) {
  CO_TRY_ASSIGN(std::string text, co_await fetch(f.client, {.target = "/headers?a=%20b", .headers = {{"X-One", "1"}}}));
  EXPECT_NE(text.find("GET /headers?a=%20b\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x-one=1\n"), std::string::npos) << text;
  EXPECT_NE(text.find(cat("host=127.0.0.1:", f.server.port)), std::string::npos) << text;
  co_return Result<>();
}
TEST_P(EveryMode, TargetAndHeadersArriveAsSent) { run(target_and_headers); }

Task<Result<>> streaming(Fixture& f) {
  CO_TRY_ASSIGN(Response response, co_await f.client.request({.target = "/stream?n=500"}));
  std::size_t total = 0;
  for (;;) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) break;
    total += chunk->size();
  }
  EXPECT_EQ(total, 500'000U);
  EXPECT_EQ(response.body->trailers().find("x-checksum").value_or(""), "abc");
  co_return Result<>();
}
TEST_P(EveryMode, StreamsInPiecesWithTrailers) { run(streaming); }

Task<Result<>> errors(Fixture& f) {
  CO_TRY_ASSIGN(std::string text, co_await fetch(f.client, {.target = "/error"}, 404));
  EXPECT_EQ(text, "pods \"x\" not found\n");
  std::string large((1 << 20) + 1, 'x');
  CO_TRY_ASSIGN(std::string refused, co_await fetch(f.client, {.method = "POST", .target = "/echo", .body = share(large)}, 413));
  EXPECT_EQ(refused, "request body too large\n");
  std::string just(1 << 20, 'x');
  CO_TRY_ASSIGN(std::string echoed, co_await fetch(f.client, {.method = "POST", .target = "/echo", .body = share(just)}));
  EXPECT_EQ(echoed.size(), just.size());
  CO_TRY_ASSIGN(Response cut, co_await f.client.request({.target = "/cut"}));
  Result<std::string> half = co_await cut.body->read_all(100);
  EXPECT_FALSE(half) << *half;
  co_return Result<>();
}
TEST_P(EveryMode, ErrorsBecomeAnswersBeforeTheStartAndCutsAfterIt) { run(errors); }

Task<Result<>> vanishing_reader(Fixture& f) {
  {
    CO_TRY_ASSIGN(Response watch, co_await f.client.request({.target = "/watch"}));
    CO_TRY_ASSIGN(SharedBytes first, co_await watch.body->read_chunk());
    EXPECT_EQ(*first, "event\n");
    EXPECT_EQ(f.server.handler.live, 1);
  }
  CO_TRY(co_await wait_until(f.server.handler.changed, [&] { return f.server.handler.live == 0; }));
  co_return Result<>();
}
TEST_P(EveryMode, HandlerIsCancelledWhenTheReaderGoesAway) { run(vanishing_reader); }

Task<Result<>> back_pressure(Fixture& f) {
  CO_TRY_ASSIGN(Response slow, co_await f.client.request({.target = "/trickle"}));
  CO_TRY_ASSIGN(SharedBytes first, co_await slow.body->read_chunk());
  // Nobody reads now: the writer must stop. Turn the loop until nothing moves any more.
  std::size_t before = 0;
  for (int still = 0; still < 200;) {
    for (int i = 0; i < 20; ++i) co_await async::asio::post(f.server.executor, async::use_task);
    CO_TRY(co_await f.time.sleep_for(100us));
    still = f.server.handler.written == before ? still + 1 : 0;
    before = f.server.handler.written;
    CO_ASSERT_TRUE(f.server.handler.written < 64U << 20);
  }
  EXPECT_LT(f.server.handler.written, 24U << 20) << "bounded by windows, queues and socket buffers";
  std::size_t total = first->size();
  while (total < 4 * before) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await slow.body->read_chunk());
    total += chunk->size();
  }
  co_return Result<>();
}
TEST_P(EveryMode, AWriterWaitsForASlowReader) { run(back_pressure); }

Task<Result<>> one_get(Client& client, int& done) {
  CO_TRY_ASSIGN(std::string text, co_await fetch(client, {.target = "/stream?n=20"}));
  EXPECT_EQ(text.size(), 20'000U);
  ++done;
  co_return Result<>();
}
Task<Result<>> many(Fixture& f) {
  int done = 0;
  Scope scope(f.server.executor);
  for (int i = 0; i < 50; ++i) scope.spawn(one_get(f.client, done));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(done, 50);
  co_return Result<>();
}
TEST_P(EveryMode, ManyRequestsAtOnce) { run(many); }

Task<Result<>> upload(Fixture& f) {
  CO_TRY_ASSIGN(std::unique_ptr<Call> call, co_await f.client.open({.method = "POST", .target = "/echo"}));
  std::string sent;
  for (int i = 0; i < 40; ++i) {
    std::string piece(5000, static_cast<char>('a' + i % 26));
    sent += piece;
    CO_TRY(co_await call->write(share(piece)));
  }
  CO_TRY(co_await call->finish());
  CO_TRY_ASSIGN(Response response, co_await call->response());
  CO_TRY_ASSIGN(std::string echoed, co_await response.body->read_all(1 << 20));
  EXPECT_EQ(echoed, sent);
  co_return Result<>();
}
TEST_P(EveryMode, UploadsInPieces) { run(upload); }

Task<Result<>> deadline(Fixture& f) {
  Result<Response> late = co_await f.client.request({.target = "/hang?token=secret", .timeout = 20ms});
  CO_ASSERT_TRUE(!late);
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(late.error().message(), "GET /hang: timed out");
  CO_TRY(co_await wait_until(f.server.handler.changed, [&] { return f.server.handler.live == 0; }));
  CO_TRY_ASSIGN(std::string hello, co_await fetch(f.client, {.target = "/"}));
  co_return Result<>();
}
TEST_P(EveryMode, TimeoutCancelsTheHandlerAndLeavesTheClientUsable) { run(deadline); }

Task<Result<>> websocket(Fixture& f) {
  CO_TRY_ASSIGN(std::unique_ptr<WebSocket> socket, co_await f.client.open_websocket({.target = "/ws"}, {"other", "echo"}));
  EXPECT_EQ(socket->subprotocol(), "echo");
  for (std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 300'000U}) {
    std::string data(size, 'w');
    CO_TRY(co_await socket->write_binary(as_bytes(data)));
    CO_TRY_ASSIGN(WebSocket::Message back, co_await socket->read());
    EXPECT_TRUE(back.binary);
    EXPECT_EQ(back.data, data);
  }
  CO_TRY(co_await socket->write_text("text"));
  CO_TRY_ASSIGN(WebSocket::Message text, co_await socket->read());
  EXPECT_FALSE(text.binary);
  CO_TRY(co_await socket->close(1000));
  Result<WebSocket::Message> end = co_await socket->read();
  EXPECT_FALSE(end);
  CO_TRY(co_await wait_until(f.server.handler.changed, [&] { return f.server.handler.live == 0; }));
  EXPECT_EQ(f.server.handler.last_error, "websocket closed");
  Result<std::unique_ptr<WebSocket>> refused = co_await f.client.open_websocket({.target = "/error"}, {});
  CO_ASSERT_TRUE(!refused);
  EXPECT_EQ(refused.error().code(), Code::kNotFound);
  co_return Result<>();
}
TEST_P(EveryMode, WebSocketEchoesEverySize) { run(websocket); }

Task<Result<>> shut_down(Fixture& f) {
  CO_TRY_ASSIGN(Response watch, co_await f.client.request({.target = "/stream?n=2000"}));
  CO_TRY_ASSIGN(SharedBytes first, co_await watch.body->read_chunk());
  f.server.server.shutdown();
  CO_TRY_ASSIGN(std::string rest, co_await watch.body->read_all(4 << 20));
  EXPECT_EQ(first->size() + rest.size(), 2'000'000U);
  Result<Response> after = co_await f.client.request({.target = "/", .timeout = 2s});
  EXPECT_FALSE(after);
  co_return Result<>();
}
TEST_P(EveryMode, ShutdownEndsAfterWhatIsInProgress) { run(shut_down); }

// --- TLS

Task<Result<>> identity(Loop& loop) {
  RealTime time;
  Certificates certificates;
  Scope scope(loop.executor());
  Fixture f(loop, scope, time, Mode::kTls2);
  auto with_certificate = TlsClient::make({.ca_pem = f.certificates.ca.certificate_pem(), .certificate_pem = f.certificates.client.certificate_pem,
                                           .key_pem = f.certificates.client.key_pem});
  auto with_foreign = TlsClient::make({.ca_pem = f.certificates.ca.certificate_pem(), .certificate_pem = certificates.client.certificate_pem,
                                       .key_pem = certificates.client.key_pem});
  auto wrong_ca = TlsClient::make({.ca_pem = certificates.ca.certificate_pem()});
  auto wrong_name = TlsClient::make({.ca_pem = f.certificates.ca.certificate_pem(), .server_name = "other.test"});
  auto right_name = TlsClient::make({.ca_pem = f.certificates.ca.certificate_pem(), .server_name = "monopod.test"});
  auto careless = TlsClient::make({.insecure_skip_verify = true});
  Endpoint endpoint = f.server.endpoint(true);
  CO_TRY_ASSIGN(std::string anonymous, co_await fetch(f.client, {.target = "/"}));
  EXPECT_TRUE(f.server.handler.last_peer.tls);
  EXPECT_TRUE(f.server.handler.last_peer.certificates_der.empty());
  {
    Client client(scope, loop.executor(), time, {.endpoint = endpoint, .tls = with_certificate->get()});
    CO_TRY_ASSIGN(std::string text, co_await fetch(client, {.target = "/"}));
    CO_ASSERT_TRUE(f.server.handler.last_peer.certificates_der.size() == 2);
    auto leaf = pki::Certificate::parse_der(f.server.handler.last_peer.certificates_der[0]);
    EXPECT_EQ(leaf->identity()->common_name, "alice");
    EXPECT_EQ(leaf->identity()->organizations, std::vector<std::string>{"dev"});
  }
  struct Row {
    const char* name;
    TlsClient* tls;
    bool works;
  };
  for (Row row : {Row{"foreign client certificate", with_foreign->get(), false}, Row{"wrong ca", wrong_ca->get(), false},
                  Row{"wrong name", wrong_name->get(), false}, Row{"right name", right_name->get(), true}, Row{"no verification", careless->get(), true}}) {
    Client client(scope, loop.executor(), time, {.endpoint = endpoint, .tls = row.tls});
    Result<Response> response = co_await client.request({.target = "/"});
    EXPECT_EQ(response.has_value(), row.works) << row.name << ": " << (response ? "" : response.error().message());
  }
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return Result<>();
}
TEST(Tls, ClientCertificateIsTheIdentityAndWrongOnesAreRefused) { async::run_test(identity); }

Task<Result<>> rotation(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  Fixture f(loop, scope, time, Mode::kTls2);
  CO_TRY_ASSIGN(Response watch, co_await f.client.request({.target = "/watch"}));
  Certificates fresh;
  CO_TRY(f.tls_server->replace(fresh.server_options()));
  TlsServerOptions broken = fresh.server_options();
  broken.key_pem = f.certificates.server.key_pem;
  EXPECT_FALSE(f.tls_server->replace(broken));
  // The live connection goes on; a new client must know the new authority.
  CO_TRY_ASSIGN(std::string old_connection, co_await fetch(f.client, {.target = "/"}));
  auto knows_new = TlsClient::make(fresh.client_options(true));
  Client client(scope, loop.executor(), time, {.endpoint = f.server.endpoint(true), .tls = knows_new->get()});
  CO_TRY_ASSIGN(std::string new_connection, co_await fetch(client, {.target = "/"}));
  f.client.forget_connections();
  Result<Response> stale = co_await f.client.request({.target = "/"});
  EXPECT_FALSE(stale);
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return Result<>();
}
TEST(Tls, CertificatesRotateUnderLiveConnections) { async::run_test(rotation); }

// As TLS with everything the peer sent in its own buffer: whoever waits for the socket waits for ever.
class AllHeld final : public Transport {
 public:
  AllHeld(async::Executor executor, std::string received, std::string& sent) : received_(std::move(received)), sent_(sent), never_(executor) {}
  Result<Moved> try_read(std::span<std::byte> into) override {
    if (received_.empty()) return Moved();
    std::size_t n = std::min(into.size(), received_.size());
    std::copy_n(as_bytes(received_).begin(), n, into.begin());
    received_.erase(0, n);
    return Moved(n);
  }
  Result<Moved> try_write(std::span<const iovec> parts) override {
    std::size_t n = 0;
    for (const iovec& part : parts) {
      sent_.append(static_cast<const char*>(part.iov_base), part.iov_len);
      n += part.iov_len;
    }
    return Moved(n);
  }
  Task<Result<>> wait_readable() override { return never_.wait(); }
  Task<Result<>> wait_writable() override { return never_.wait(); }
  Task<Result<>> handshake() override { co_return Result<>(); }
  std::string alpn() const override { return "h2"; }
  std::vector<std::string> peer_certificates_der() const override { return {}; }
  bool tls() const override { return true; }
  bool peer_gone() const override { return false; }
  Task<Result<>> shutdown_write() override { co_return Result<>(); }
  void close() override { never_.wake_all(); }

 private:
  std::string received_;
  std::string& sent_;
  async::Notify never_;
};

std::string frame(char type, char flags, std::string_view payload) {
  std::string head(9, '\0');
  head[0] = static_cast<char>(payload.size() >> 16), head[1] = static_cast<char>(payload.size() >> 8), head[2] = static_cast<char>(payload.size());
  head[3] = type, head[4] = flags;
  return head + std::string(payload);
}

Task<Result<>> held_records(Loop& loop) {
  constexpr char kSettings = 4, kPing = 6, kUnknown = 0x7a, kAck = 1;
  std::string received = frame(kSettings, 0, ""), sent;
  while (received.size() < (1U << 20)) received += frame(kUnknown, 0, std::string(16'000, 'x'));  // many times what one turn reads
  received += frame(kPing, 0, "12345678");
  RealTime time;
  CO_TRY_ASSIGN(auto connection, make_h2_client(loop.executor(), time, Limits{}, std::make_unique<AllHeld>(loop.executor(), std::move(received), sent)));
  Scope scope(loop.executor());
  scope.spawn(connection->run_connection());
  for (int turn = 0; turn < 100 && !sent.contains("12345678"); ++turn) co_await async::asio::post(loop.executor(), async::use_task);
  EXPECT_NE(sent.find(frame(kPing, kAck, "12345678")), std::string::npos) << "it waited for a socket that has nothing more";
  scope.cancel();
  co_return co_await scope.join();
}
TEST(Tls, WhatTlsHoldsIsReadThoughTheSocketIsEmpty) { async::run_test(held_records); }

Task<Result<>> unix_socket(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  std::string path = testing::TempDir() + "monopod_http_test.sock";
  TestHandler handler(loop.executor());
  Server server(loop.executor(), time, handler, {});
  {
    CO_TRY_ASSIGN(sys::Fd socket, listen_unix(path));
    Result<sys::Fd> second = listen_unix(path);
    EXPECT_TRUE(!second && second.error().code() == Code::kUnavailable);  // the path is somebody's
  }
  CO_TRY_ASSIGN(sys::Fd again, listen_unix(path));  // a leftover file is no obstacle
  scope.spawn(server.serve(std::move(again)));
  Client client(scope, loop.executor(), time, {.endpoint = *parse_endpoint("unix://" + path)});
  CO_TRY_ASSIGN(std::string text, co_await fetch(client, {.target = "/"}));
  EXPECT_EQ(text, "hello\n");
  EXPECT_EQ(handler.last_peer.address, "unix");
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return Result<>();
}
TEST(Client, SpeaksOverUnixSockets) { async::run_test(unix_socket); }

Task<Result<>> nobody(Loop& loop) {
  RealTime time;
  Scope scope(loop.executor());
  sys::Fd closed = *listen_tcp("127.0.0.1", 0);
  std::uint16_t port = *local_port(closed);
  closed.reset();
  Client client(scope, loop.executor(), time, {.endpoint = {.host = "127.0.0.1", .port = port}});
  Result<Response> response = co_await client.request({.target = "/"});
  CO_ASSERT_TRUE(!response);
  EXPECT_EQ(response.error().code(), Code::kUnavailable);
  Client unresolved(scope, loop.executor(), time, {.endpoint = {.host = "registry.example", .port = 80}});
  EXPECT_FALSE(co_await unresolved.request({.target = "/"}));
  Result<Response> injected = co_await client.request({.target = "/a b HTTP/1.1\r\nX: y"});
  EXPECT_EQ(injected.error().code(), Code::kInvalidArgument);
  co_return co_await scope.join();
}
TEST(Client, FailsClearlyWhereNobodyAnswers) { async::run_test(nobody); }

TEST(Endpoint, ParsesWhatKubeconfigsHold) {
  EXPECT_EQ(parse_endpoint("https://10.0.0.1:6443")->port, 6443);
  EXPECT_EQ(parse_endpoint("https://[::1]:6443/x")->host, "::1");
  EXPECT_EQ(parse_endpoint("https://[::1]:6443")->authority(), "[::1]:6443");
  EXPECT_EQ(parse_endpoint("http://a")->authority(), "a");
  EXPECT_EQ(parse_endpoint("unix:///run/x.sock")->unix_path, "/run/x.sock");
  for (const char* bad : {"", "a:1", "ftp://x", "http://", "http://u@h", "http://h:0", "http://h:99999", "http://[::1", "unix://x"})
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
}

}  // namespace
}  // namespace monopod::http
