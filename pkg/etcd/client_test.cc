// The client against Debian's etcd: calls, fail-over, what is repeated and what is not, tokens.
#include "etcd/client.h"

#include "async/test_support.h"
#include "etcd/messages.h"
#include "etcd/test_cluster.h"

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
}  // namespace
}  // namespace monopod::etcd
