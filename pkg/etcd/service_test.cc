// The service over a store in memory, without a socket: calls whose clients go away, the gateway, plain paths.
#include "etcd/service.h"

#include <boost/asio/post.hpp>

#include "base/bytes.h"
#include "etcd/gateway/gateway.h"
#include "codec/proto_wire.h"
#include "http/in_process.h"
#include "store/lock.h"
#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;
using store::StoreTest;
using std::chrono::seconds;

const store::SqliteOptions kMemory{.path = ":memory:"};

struct Served {
  explicit Served(StoreTest& t) : test(t), service(t.store, t.time, {.sqlite = &t.store}), background(t.executor), client(background, service) {}
  StoreTest& test;
  Service service;
  async::Scope background;
  http::InProcessClient client;
};

struct Plain {
  int status = 0;
  std::string body{};
};

Task<Result<Plain>> ask(Served& served, std::string method, std::string path, std::string body = {}, http::Headers headers = {}) {
  http::ClientRequest request{.method = std::move(method), .target = std::move(path), .headers = std::move(headers)};
  request.body = share(std::move(body));
  CO_TRY_ASSIGN(http::Response response, co_await served.client.request(std::move(request)));
  Plain plain{.status = response.status};
  for (;;) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return plain;
    plain.body += *chunk;
  }
}

template <Task<Result<>> (*Body)(Served&)>
void run() {
  store::test_store(kMemory, [](StoreTest& t) -> Task<Result<>> {
    Served served(t);
    Result<> result = co_await Body(served);
    served.background.cancel();
    (void)co_await served.background.join();
    co_return result;
  });
}

Task<Result<std::int64_t>> keys_under(StoreTest& t, std::string prefix) {
  std::string end = store::prefix_end(prefix);
  CO_TRY_ASSIGN(store::RangeResult found, co_await t.store.range({.key = std::move(prefix), .range_end = std::move(end), .count_only = true}));
  co_await async::asio::post(t.executor, async::use_task);
  co_return found.count;
}

Task<Result<>> until(StoreTest& t, const char* prefix, std::int64_t count) {
  for (std::int64_t found = -1; found != count;) {
    CO_TRY_ASSIGN(std::int64_t now, co_await keys_under(t, prefix));
    found = now;
  }
  co_return Result<>();
}

std::string lock_request(std::string_view name, std::int64_t lease) { return ProtoWriter().bytes(1, name).integer(2, lease).take(); }

Task<Result<>> gone(Served& served) {
  StoreTest& t = served.test;
  for (int i = 1; i <= 3; ++i) CO_TRY(co_await t.store.lease_grant(seconds(100), store::LeaseId(i)));
  CO_TRY_ASSIGN(std::string first, co_await http::call_grpc(served.client, "/v3lockpb.Lock/Lock", lock_request("job", 1)));
  CO_TRY_ASSIGN(auto second, co_await http::open_grpc(served.client, "/v3lockpb.Lock/Lock"));
  CO_TRY(co_await second->write(lock_request("job", 2)));
  CO_TRY(co_await second->finish_writing());
  CO_TRY(co_await until(t, "job/", 2));
  CO_TRY_ASSIGN(auto third, co_await http::open_grpc(served.client, "/v3lockpb.Lock/Lock"));
  CO_TRY(co_await third->write(lock_request("job", 3)));
  CO_TRY(co_await third->finish_writing());
  CO_TRY(co_await until(t, "job/", 3));
  second.reset();  // its client goes away
  CO_TRY(co_await until(t, "job/", 2));
  ProtoReader reader(first);
  std::string key;
  while (*reader.next())
    if (reader.field() == 2) key = reader.text();
  EXPECT_EQ(key, "job/1");
  CO_TRY(co_await http::call_grpc(served.client, "/v3lockpb.Lock/Unlock", ProtoWriter().bytes(1, key).take()));
  CO_TRY_ASSIGN(auto won, co_await third->read());
  EXPECT_TRUE(won && won->contains("job/3"));
  // A participant through store is in the same queue.
  auto busy = co_await store::try_lock(t.store, "job", store::LeaseId(1));
  EXPECT_TRUE(busy && !*busy);
  auto none = co_await http::call_grpc(served.client, "/v3lockpb.Lock/Lock", lock_request("job", 99));
  EXPECT_EQ(none.error().code(), Code::kUnknown) << "etcd's Lock is a client of its KV: the code is lost";
  EXPECT_EQ(none.error().message(), "etcdserver: requested lease not found");
  co_return Result<>();
}
TEST(LockService, ClientThatGoesAwayLeavesTheQueue) { run<gone>(); }

Task<Result<>> elections(Served& served) {
  StoreTest& t = served.test;
  CO_TRY(co_await t.store.lease_grant(seconds(100), store::LeaseId(1)));
  auto nobody = co_await http::call_grpc(served.client, "/v3electionpb.Election/Leader", lock_request("boss", 0));
  EXPECT_EQ(nobody.error().message(), "election: no leader");
  CO_TRY_ASSIGN(auto observe, co_await http::open_grpc(served.client, "/v3electionpb.Election/Observe"));
  CO_TRY(co_await observe->write(lock_request("boss", 0)));
  CO_TRY_ASSIGN(std::string won, co_await http::call_grpc(served.client, "/v3electionpb.Election/Campaign",
                                                          ProtoWriter().bytes(1, "boss").integer(2, 1).bytes(3, "me").take()));
  ProtoReader reader(won);
  std::string leader;
  while (*reader.next())
    if (reader.field() == 2) leader = reader.text();
  CO_TRY_ASSIGN(auto seen, co_await observe->read());
  EXPECT_TRUE(seen && seen->contains("boss/1") && seen->contains("me"));
  std::string proclaim = ProtoWriter().message(1, leader).bytes(2, "still me").take();
  CO_TRY(co_await http::call_grpc(served.client, "/v3electionpb.Election/Proclaim", proclaim));
  CO_TRY_ASSIGN(auto again, co_await observe->read());
  EXPECT_TRUE(again && again->contains("still me"));
  CO_TRY(co_await http::call_grpc(served.client, "/v3electionpb.Election/Resign", ProtoWriter().message(1, leader).take()));
  auto late = co_await http::call_grpc(served.client, "/v3electionpb.Election/Proclaim", proclaim);
  EXPECT_EQ(late.error().message(), "election: not leader");
  auto missing = co_await http::call_grpc(served.client, "/v3electionpb.Election/Resign", "");
  EXPECT_EQ(missing.error().message(), "\"leader\" field must be provided");
  co_return Result<>();
}
TEST(ElectionService, CampaignsProclaimsObservesAndResigns) { run<elections>(); }

Task<Result<>> health(Served& served) {
  CO_TRY_ASSIGN(std::string serving, co_await http::call_grpc(served.client, "/grpc.health.v1.Health/Check", ""));
  EXPECT_EQ(serving, ProtoWriter().integer(1, 1).str());
  auto other = co_await http::call_grpc(served.client, "/grpc.health.v1.Health/Check", ProtoWriter().bytes(1, "other").take());
  EXPECT_EQ(other.error().code(), Code::kNotFound);
  CO_TRY_ASSIGN(auto watch, co_await http::open_grpc(served.client, "/grpc.health.v1.Health/Watch"));
  CO_TRY(co_await watch->write(ProtoWriter().bytes(1, "other").take()));
  CO_TRY_ASSIGN(auto unknown, co_await watch->read());
  EXPECT_EQ(*unknown, ProtoWriter().integer(1, 3).str());
  co_return Result<>();
}
TEST(HealthService, TellsTheServerServesAndOthersAreUnknown) { run<health>(); }

Task<Result<>> gateway(Served& served) {
  CO_TRY_ASSIGN(Plain put, co_await ask(served, "POST", "/v3/kv/put", R"({"key":"aw==","value":"dg=="})"));
  EXPECT_EQ(put.status, 200);
  CO_TRY_ASSIGN(Plain range, co_await ask(served, "POST", "/v3beta/kv/range", R"({"key":"aw=="})"));
  EXPECT_TRUE(range.body.contains(R"("kvs":[{"key":"aw==","create_revision":"2","mod_revision":"2","version":"1","value":"dg=="}],"count":"1"})")) << range.body;
  struct {
    const char *path, *body;
    int status;
    const char* answer;
  } const errors[] = {
      {"/v3/kv/range", "", 400, R"({"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided","code":3})"},
      {"/v3/kv/range", R"({"key":"aw==","revision":"9"})", 400, R"("code":11})"},
      {"/v3/lease/revoke", R"({"ID":"9"})", 404, R"("message":"etcdserver: requested lease not found","code":5})"},
      {"/v3/cluster/member/promote", "{}", 404, R"("message":"etcdserver: member not found","code":5})"},
      {"/v3/election/leader", "{}", 500, R"({"error":"election: no leader","message":"election: no leader","code":2})"},
      {"/v3/nothing", "{}", 404, "Not Found\n"},
      {"/v3/watch", R"({"create_request":)", 400, R"({"error":{"grpc_code":3,"http_code":400,"message":"json: the message is cut short","http_status":"Bad Request"}})"},
      {"/v3/watch", "[]", 400, "json: want an object"},
  };
  for (const auto& e : errors) {
    CO_TRY_ASSIGN(Plain answer, co_await ask(served, "POST", e.path, e.body));
    EXPECT_EQ(answer.status, e.status) << e.path << answer.body;
    EXPECT_TRUE(answer.body.contains(e.answer)) << e.path << answer.body;
  }
  CO_TRY_ASSIGN(Plain get, co_await ask(served, "GET", "/v3/kv/range"));
  EXPECT_EQ(get.status, 405);
  CO_TRY_ASSIGN(Plain large, co_await ask(served, "POST", "/v3/kv/put", std::string(4 << 20, ' ')));
  EXPECT_EQ(large.status, 400);
  // Its own name as origin may be DNS rebinding.
  for (const char* origin : {"http://evil.example", "null", "http://127.0.0.1:2379"}) {
    CO_TRY_ASSIGN(Plain page, co_await ask(served, "POST", "/v3/kv/range", R"({"key":"aw=="})", {{"origin", origin}, {"host", "127.0.0.1:2379"}}));
    EXPECT_EQ(page.status, 403) << origin;
  }
  CO_TRY_ASSIGN(Plain alive, co_await ask(served, "POST", "/v3/lease/keepalive", R"({"ID":7} {"ID":8})"));
  EXPECT_EQ(std::ranges::count(alive.body, '\n'), 2) << alive.body;
  EXPECT_TRUE(alive.body.starts_with(R"({"result":{"header":)")) << alive.body;
  co_return Result<>();
}
TEST(Gateway, AnswersAsGrpcGateway) { run<gateway>(); }

// Notes what the gateway says to the gRPC side.
struct Probe final : http::Handler {
  struct Gateway final : http::Handler {
    explicit Gateway(Probe& p) : probe(p) {}
    Task<Result<>> handle(http::Exchange& exchange) override { return serve_gateway(exchange, probe); }
    Probe& probe;
  };
  Task<Result<>> handle(http::Exchange& exchange) override {
    seen = exchange.request();
    http::GrpcServerCall call(exchange);
    CO_TRY(co_await call.read());
    co_return co_await call.finish(fail(Code::kUnauthenticated, "etcdserver: invalid auth token"));
  }
  http::Request seen{};
};

Task<Result<>> identity(Served& served) {
  Probe probe;
  Probe::Gateway outer(probe);
  http::Request request{.method = "POST", .target = "/v3/auth/user/list", .headers = {{"authorization", "secret.7"}, {"token", "forged"}, {"x-other", "1"}}};
  request.peer.certificates_der = {"somebody's"};
  CO_TRY_ASSIGN(http::Response response, co_await http::call_in_process(served.background, outer, std::move(request), share("{}")));
  EXPECT_EQ(response.status, 401);
  CO_TRY_ASSIGN(std::string body, co_await response.body->read_all(1000));
  EXPECT_EQ(body, R"({"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16})");
  EXPECT_EQ(probe.seen.raw_path(), "/etcdserverpb.Auth/UserList");
  EXPECT_TRUE(probe.seen.peer.certificates_der.empty());
  EXPECT_EQ(probe.seen.headers.find("authorization").value_or(""), "secret.7");
  EXPECT_EQ(probe.seen.headers.find_all("token"), std::vector<std::string_view>{"secret.7"});
  EXPECT_FALSE(probe.seen.headers.find("x-other"));
  co_return Result<>();
}
TEST(Gateway, OnlyTheAuthorizationHeaderSaysWhoCalls) { run<identity>(); }

Task<Result<std::string>> next_line(http::Response& response, std::string& buffer) {
  for (;;) {
    if (std::size_t end = buffer.find('\n'); end != std::string::npos) {
      std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      co_return line;
    }
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return fail(Code::kUnavailable, "the stream ended");
    buffer += *chunk;
  }
}

Task<Result<>> stream(Served& served) {
  http::ClientRequest request{.method = "POST", .target = "/v3/watch"};
  request.body = share(R"({"create_request":{"key":"aw=="}})");
  CO_TRY_ASSIGN(http::Response response, co_await served.client.request(std::move(request)));
  EXPECT_EQ(response.status, 200);
  std::string buffer;
  CO_TRY_ASSIGN(std::string created, co_await next_line(response, buffer));
  EXPECT_TRUE(created.ends_with(R"("created":true}})")) << created;
  CO_TRY(co_await served.test.store.put("k", share("v")));  // long after the request has ended
  CO_TRY_ASSIGN(std::string event, co_await next_line(response, buffer));
  EXPECT_TRUE(event.contains(R"("events":[{"kv":{"key":"aw==")")) << event;
  co_return Result<>();
}
TEST(Gateway, WatchGoesOnAfterItsLastRequest) { run<stream>(); }

Task<Result<>> plain(Served& served) {
  CO_TRY_ASSIGN(Plain healthy, co_await ask(served, "GET", "/health?serializable=true"));
  EXPECT_EQ(healthy.body, R"({"health":"true","reason":""})");
  CO_TRY_ASSIGN(Plain ready, co_await ask(served, "GET", "/readyz?verbose"));
  EXPECT_EQ(ready.body, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n");
  CO_TRY_ASSIGN(Plain live, co_await ask(served, "GET", "/livez/serializable_read"));
  EXPECT_EQ(live.body, "ok\n");
  CO_TRY_ASSIGN(Plain other, co_await ask(served, "GET", "/livez/data_corruption"));
  EXPECT_EQ(other.status, 404);
  CO_TRY_ASSIGN(Plain posted, co_await ask(served, "POST", "/health"));
  EXPECT_EQ(posted.status, 405);
  CO_TRY(co_await served.test.store.put("k", share("v")));
  CO_TRY(co_await http::call_grpc(served.client, "/etcdserverpb.KV/Range", ProtoWriter().bytes(1, "k").take()));
  (void)co_await http::call_grpc(served.client, "/etcdserverpb.KV/Range", "");
  CO_TRY_ASSIGN(Plain metrics, co_await ask(served, "GET", "/metrics"));
  for (const char* line : {"\netcd_server_has_leader 1\n", "\netcd_mvcc_put_total 1\n", "\netcd_server_health_success 1\n", "\netcd_disk_wal_fsync_duration_seconds_count 1\n",
                           "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n",
                           "grpc_server_handled_total{grpc_code=\"InvalidArgument\",grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n"})
    EXPECT_TRUE(metrics.body.contains(line)) << line << metrics.body;
  co_return Result<>();
}
TEST(PlainPaths, TellHealthAndCountCalls) { run<plain>(); }

Task<Result<>> unhealthy(Served& served) {
  CO_TRY(co_await served.test.store.close());
  CO_TRY_ASSIGN(Plain health, co_await ask(served, "GET", "/health"));
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"health":"false","reason":"RANGE ERROR:the store is closed"})");
  CO_TRY_ASSIGN(Plain ready, co_await ask(served, "GET", "/readyz?exclude=linearizable_read"));
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(ready.body, "[+]data_corruption ok\n[-]serializable_read failed: the store is closed\n[+]linearizable_read excluded: ok\n\n");
  CO_TRY_ASSIGN(Plain live, co_await ask(served, "GET", "/livez?exclude=serializable_read"));
  EXPECT_EQ(live.status, 200);
  co_return Result<>();
}
TEST(PlainPaths, SayWhatFails) { run<unhealthy>(); }

}  // namespace
}  // namespace monopod::etcd
