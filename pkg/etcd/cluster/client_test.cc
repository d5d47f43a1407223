// The client against Debian's etcd: calls, fail-over, what is repeated and what is not, tokens.
#include "etcd/cluster/client.h"

#include "async/test_support.h"
#include "etcd/messages.h"
#include "etcd/cluster/test_cluster.h"

namespace monopod::etcd {
namespace {

using async::Task;
using namespace std::chrono_literals;

ClientOptions quick(const EtcdCluster& cluster) {
  ClientOptions options{.endpoints = cluster.urls(), .ca_pem = cluster.ca_pem(), .certificate_pem = cluster.client_pair().certificate_pem, .key_pem = cluster.client_pair().key_pem};
  options.probe_interval = 200ms;
  options.probe_timeout = 500ms;
  options.attempt_timeout = 1s;
  options.backoff_max = 200ms;
  return options;
}

std::string put(std::string_view key, std::string_view value) { return ProtoWriter().bytes(1, key).bytes(2, value).take(); }
std::string get(std::string_view key) { return ProtoWriter().bytes(1, key).take(); }
Task<Result<>> write_one(Client& client, std::string key) {
  CO_TRY(co_await client.call("/etcdserverpb.KV/Put", put(key, "v"), Repeat::kUnsafe));
  co_return Result<>();
}
Task<Result<bool>> exists(Client& client, std::string key) {
  CO_TRY_ASSIGN(std::string answer, co_await client.call("/etcdserverpb.KV/Range", get(key), Repeat::kSafe));
  CO_TRY_ASSIGN(std::int64_t count, parse_integer(answer, 4));
  co_return count > 0;
}

struct ClientTest {
  EtcdCluster& cluster;
  Client& client;
  async::Time& time;
};
using Body = Task<Result<>> (*)(ClientTest);

Task<Result<>> with_client(EtcdCluster& cluster, ClientOptions options, Body body) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  async::Scope background(executor);
  CO_TRY_ASSIGN(auto client, Client::make(background, executor, time, std::move(options)));
  Result<> result = co_await body({cluster, *client, time});
  client.reset();
  background.cancel();
  (void)co_await background.join();
  co_return result;
}

void run(EtcdClusterOptions shape, Body body, void (*change)(ClientOptions&) = nullptr) {
  if (!EtcdCluster::available()) GTEST_SKIP() << EtcdCluster::kNeeds;
  pki::initialise();
  EtcdCluster cluster(shape);
  Result<> started = cluster.start();
  ASSERT_TRUE(started) << started.error().message();
  ClientOptions options = quick(cluster);
  if (change) change(options);
  async::run_test([&](async::Loop&) { return with_client(cluster, std::move(options), body); });
}

Task<Result<>> basic(ClientTest t) {
  CO_TRY(co_await write_one(t.client, "a"));
  CO_TRY_ASSIGN(bool there, co_await exists(t.client, "a"));
  EXPECT_TRUE(there);
  auto refused = co_await t.client.call("/etcdserverpb.KV/Put", put("", ""), Repeat::kUnsafe);
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.error().message(), "etcdserver: key is not provided");
  auto unknown = co_await t.client.call("/etcdserverpb.KV/Nothing", "", Repeat::kSafe);
  EXPECT_EQ(unknown.error().code(), Code::kUnimplemented);
  EXPECT_EQ(t.client.endpoints().at(0).version, "3.4.23");
  EXPECT_FALSE(t.client.failure());
  co_return Result<>();
}
TEST(EtcdClient, CallsOverTlsWithAClientCertificate) {
  run({.members = 1, .tls = true}, basic);
}

Task<Result<>> until_up(Client& client, async::Time& time, std::size_t count) {
  for (int i = 0; i < 500; ++i) {
    std::size_t up = 0;
    for (const EndpointStatus& endpoint : client.endpoints()) up += endpoint.up;
    if (up == count) co_return Result<>();
    CO_TRY(co_await time.sleep_for(10ms));
  }
  co_return fail(Code::kDeadlineExceeded, "endpoints did not come up");
}

Task<Result<>> fails_over(ClientTest t) {
  CO_TRY(co_await until_up(t.client, t.time, 3));
  for (int i = 0; i < 6; ++i) CO_TRY(co_await write_one(t.client, cat("all/", i)));
  t.cluster.kill(1);
  for (int i = 0; i < 10; ++i) {
    CO_TRY_ASSIGN(bool there, co_await exists(t.client, cat("all/", i % 6)));
    EXPECT_TRUE(there);
  }
  CO_TRY(co_await until_up(t.client, t.time, 2));
  EXPECT_FALSE(t.client.failure());
  auto pinned = co_await t.client.call("/etcdserverpb.KV/Range", get("all/0"), Repeat::kSafe, {.timeout = 500ms, .endpoint = 1});
  EXPECT_EQ(pinned.error().code(), Code::kUnavailable) << "no fail-over where one endpoint is meant";
  CO_TRY(t.cluster.launch(1));
  CO_TRY(co_await until_up(t.client, t.time, 3));
  CO_TRY(co_await t.client.call("/etcdserverpb.KV/Range", get("all/0"), Repeat::kSafe, {.endpoint = 1}));
  for (std::size_t i = 0; i < 3; ++i) t.cluster.pause(i);
  auto begin = t.time.mono();
  auto nobody = co_await t.client.call("/etcdserverpb.KV/Range", get("all/0"), Repeat::kSafe, {.timeout = 1s});
  EXPECT_FALSE(nobody);
  EXPECT_LT(t.time.mono() - begin, 3s);
  for (std::size_t i = 0; i < 3; ++i) t.cluster.resume(i);
  CO_TRY(co_await until_up(t.client, t.time, 3));
  co_return Result<>();
}
TEST(EtcdClient, FailsOverAndComesBack) { run({.members = 3, .heartbeat_ms = 30, .election_ms = 300}, fails_over); }

Task<Result<>> authenticates(ClientTest t) {
  for (const char* line : {"user add root:secret", "user grant-role root root", "auth enable"}) (void)t.cluster.etcdctl(line);
  CO_TRY(co_await write_one(t.client, "a"));
  std::string anonymous = t.cluster.etcdctl("get a");
  EXPECT_TRUE(anonymous.contains("user name is empty")) << anonymous;
  // Simple tokens are forgotten by a server that restarts.
  t.cluster.kill(0);
  CO_TRY(t.cluster.launch(0));
  CO_TRY_ASSIGN(bool there, co_await exists(t.client, "a"));
  EXPECT_TRUE(there);
  CO_TRY(co_await write_one(t.client, "b"));
  ClientOptions wrong{.endpoints = t.cluster.urls(), .user = "root", .password = "guess", .call_timeout = 20s, .attempt_timeout = 8s};
  async::Executor executor = co_await async::this_executor();
  async::Scope background(executor);
  CO_TRY_ASSIGN(auto guessing, Client::make(background, executor, t.time, std::move(wrong)));
  auto refused = co_await guessing->call("/etcdserverpb.KV/Range", get("a"), Repeat::kSafe);
  EXPECT_EQ(refused.error().message(), "etcdserver: authentication failed, invalid user ID or password");
  guessing.reset();
  background.cancel();
  (void)co_await background.join();
  co_return Result<>();
}
TEST(EtcdClient, AuthenticatesAgainWhenItsTokenIsForgotten) {
  run({.members = 1, .heartbeat_ms = 20, .election_ms = 200}, authenticates, [](ClientOptions& options) {
    options.user = "root";
    options.password = "secret";
    options.attempt_timeout = 8s;  // checking a password costs a busy machine seconds
    options.call_timeout = 20s;
  });
}

// A server that does one thing to every call but Status.
class OddServer final : public http::Handler {
 public:
  enum class Does { kAnswer, kNoLeader, kTooMany, kTimesOut, kRefusesRequest, kDropsAfterReading, kHangs };
  explicit OddServer(Does d) : does(d) {}
  Does does;
  int calls = 0;
  Task<Result<>> handle(http::Exchange& exchange) override {
    http::GrpcServerCall call(exchange);
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await call.read());
    if (call.method() == "/etcdserverpb.Maintenance/Status") {
      CO_TRY(co_await call.write(ProtoWriter().bytes(2, "3.5.17").integer(4, 1).str()));
      co_return co_await call.finish({});
    }
    ++calls;
    async::RealTime time;
    switch (does) {
      case Does::kAnswer: CO_TRY(co_await call.write(format_header(Revision(1)))); co_return co_await call.finish({});
      case Does::kNoLeader: co_return co_await call.finish(fail(Code::kUnavailable, "etcdserver: no leader"));
      case Does::kTooMany: co_return co_await call.finish(fail(Code::kResourceExhausted, "etcdserver: too many requests"));
      case Does::kTimesOut: co_return co_await call.finish(fail(Code::kUnavailable, "etcdserver: request timed out"));
      case Does::kRefusesRequest: co_return co_await call.finish(fail(Code::kInvalidArgument, "etcdserver: key is not provided"));
      case Does::kDropsAfterReading: CO_TRY(co_await exchange.start(200, {{"content-type", "application/grpc"}})); co_return fail(Code::kInternal, "dropped");
      case Does::kHangs: co_return co_await time.sleep_for(60s);
    }
    co_return Result<>();
  }
};

struct Row {
  const char* what;
  OddServer::Does first;
  Repeat repeat;
  bool second_asked;
  std::string error;  // empty: the second's answer
};

Task<Result<>> ask(const Row& row, async::Scope& servers) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  OddServer odd(row.first), good(OddServer::Does::kAnswer);
  http::Server first(executor, time, odd, {}), second(executor, time, good, {});
  ClientOptions options{.attempt_timeout = 300ms};
  for (http::Server* server : {&first, &second}) {
    CO_TRY_ASSIGN(sys::Fd socket, http::listen_tcp("127.0.0.1", 0));
    CO_TRY_ASSIGN(std::uint16_t port, http::local_port(socket));
    options.endpoints.push_back(cat("127.0.0.1:", port));
    servers.spawn(server->serve(std::move(socket)));
  }
  async::Scope background(executor);
  CO_TRY_ASSIGN(auto client, Client::make(background, executor, time, std::move(options)));
  CO_TRY(co_await until_up(*client, time, 2));
  Result<std::string> answer = co_await client->call("/etcdserverpb.KV/Put", put("k", "v"), row.repeat);
  EXPECT_EQ(answer ? "" : answer.error().message(), row.error) << row.what;
  EXPECT_EQ(odd.calls, 1) << row.what;
  EXPECT_EQ(good.calls, row.second_asked ? 1 : 0) << row.what;
  client.reset();
  background.cancel();
  (void)co_await background.join();
  servers.cancel();
  (void)co_await servers.join();
  co_return Result<>();
}

Task<Result<>> ask_all() {
  using Does = OddServer::Does;
  const std::string lost = "; /etcdserverpb.KV/Put may have happened";
  const std::vector<Row> rows = {
      {"no leader, write", Does::kNoLeader, Repeat::kUnsafe, true, ""},
      {"too many requests, write", Does::kTooMany, Repeat::kUnsafe, true, ""},
      {"time-out at the server, write", Does::kTimesOut, Repeat::kUnsafe, false, "etcdserver: request timed out" + lost},
      {"time-out at the server, read", Does::kTimesOut, Repeat::kSafe, true, ""},
      {"dropped, write", Does::kDropsAfterReading, Repeat::kUnsafe, false, "answer was cut short" + lost},
      {"dropped, read", Does::kDropsAfterReading, Repeat::kSafe, true, ""},
      {"no answer, read", Does::kHangs, Repeat::kSafe, true, ""},
      {"refused, read", Does::kRefusesRequest, Repeat::kSafe, false, "etcdserver: key is not provided"},
  };
  for (const Row& row : rows) {
    async::Scope servers(co_await async::this_executor());
    CO_TRY(co_await ask(row, servers));
  }
  co_return Result<>();
}
TEST(EtcdClient, RepeatsWhatSurelyDidNotHappenAndReads) {
  async::run_test([](async::Loop&) { return ask_all(); });
}

TEST(EtcdClient, ReadsEndpoints) {
  EXPECT_TRUE(parse_client_endpoint("10.0.0.1:2379", true)->tls);
  EXPECT_FALSE(parse_client_endpoint("10.0.0.1:2379", false)->tls);
  EXPECT_EQ(parse_client_endpoint("unix:/run/etcd", false)->unix_path, "/run/etcd");
  EXPECT_EQ(parse_client_endpoint("https://[::1]:2379", false)->host, "::1");
  for (const char* bad : {"", "ftp://a:1", "https://user@a:1", "unix:relative"}) EXPECT_FALSE(parse_client_endpoint(bad, false)) << bad;
}

}  // namespace
}  // namespace monopod::etcd
