#include "network/dns/server.h"

#include <boost/asio/ip/udp.hpp>

#include <gtest/gtest.h>

#include <algorithm>

#include "async/as_result.h"
#include "async/test_support.h"
#include "base/strings.h"
#include "network/dns/exchange.h"
#include "network/dns/resolver.h"

namespace monopod::network::dns {
namespace {

using async::Loop;
using async::Task;
namespace asio = boost::asio;

IpAddress loopback() { return IpAddress::v4(0x7F000001U); }

DnsTable cluster_table() {
  DnsTable table;
  table.namespaces = {"default"};
  table.services.push_back({.name = "web", .namespace_name = "default", .cluster_ips = {*parse_ip("10.43.0.20")}, .ports = {{.name = "http", .port = 80}}});
  table.services.push_back({.name = "ext", .namespace_name = "default", .external_name = "www.world.svc.example.test"});
  DnsService many{.name = "many", .namespace_name = "default"};
  DnsPort port{.name = "p", .port = 1};
  for (std::uint32_t i = 0; i < 300; ++i) port.endpoints.push_back({.ip = IpAddress::v4(0x0A2A0002U + i)});
  many.ports.push_back(port);
  table.services.push_back(many);
  return table;
}

// The upstream is a second server with another zone.
struct Servers {
  async::RealTime time;
  SeededRng rng{7};
  Server upstream;
  std::unique_ptr<Server> cluster;
  explicit Servers(Loop& loop) : upstream(loop.executor(), time, rng, {.addresses = {loopback()}, .port = 0, .zone = "example.test"}) {}
  Result<> start(Loop& loop, async::Scope& scope) {
    DnsTable world;
    world.namespaces = {"world"};
    world.services.push_back({.name = "www", .namespace_name = "world", .cluster_ips = {*parse_ip("192.0.2.80")}});
    upstream.set_table(world);
    TRY(upstream.listen());
    cluster = std::make_unique<Server>(loop.executor(), time, rng,
                                       ServerOptions{.addresses = {loopback()}, .port = 0, .upstreams = {loopback()}, .upstream_port = upstream.port()});
    cluster->set_table(cluster_table());
    TRY(cluster->listen());
    scope.spawn(upstream.serve());
    scope.spawn(cluster->serve());
    return {};
  }
};

Task<Result<>> answers(Loop& loop, Servers& servers) {
  Upstream at{.ip = loopback(), .port = servers.cluster->port()};
  auto ask = [&](std::string_view name, std::uint16_t type) { return ask_udp(servers.time, servers.rng, at, make_question(*encode_name(name), type)); };
  CO_TRY_ASSIGN(Answer web, co_await ask("web.default.svc.cluster.local", kA));
  EXPECT_EQ(web.response.answers.size(), 1U);
  CO_TRY_ASSIGN(Answer none, co_await ask("none.default.svc.cluster.local", kA));
  EXPECT_EQ(none.response.rcode, kNameError);
  EXPECT_EQ(none.response.ttl_min, 5U);
  // Another zone: forwarded, then from the cache.
  CO_TRY_ASSIGN(Answer www, co_await ask("www.world.svc.example.test", kA));
  EXPECT_EQ(www.response.answers.size(), 1U);
  CO_TRY_ASSIGN(Answer again, co_await ask("www.world.svc.example.test", kA));
  EXPECT_EQ(again.response.answers.size(), 1U);
  EXPECT_EQ(servers.upstream.stats().queries, 1U);
  EXPECT_EQ(servers.cluster->stats().answered_from_cache, 1U);
  // ExternalName: the alias and what it leads to.
  CO_TRY_ASSIGN(Answer ext, co_await ask("ext.default.svc.cluster.local", kA));
  CO_ASSERT_TRUE(ext.response.answers.size() == 2);
  EXPECT_EQ(ext.response.answers[0].type, kCname);
  EXPECT_EQ(ext.response.answers[1].type, kA);
  // Too long for UDP, whole over TCP.
  CO_TRY_ASSIGN(Answer cut, co_await ask("many.default.svc.cluster.local", kA));
  EXPECT_TRUE(cut.response.truncated);
  CO_TRY_ASSIGN(Answer whole, co_await ask_tcp(servers.time, servers.rng, at, make_question(*encode_name("many.default.svc.cluster.local"), kA)));
  EXPECT_EQ(whole.response.answers.size(), 300U);
  // The process's own resolver over it.
  Resolver resolver(servers.time, servers.rng, {.servers = {loopback()}, .port = at.port, .search = {"default.svc.cluster.local"}, .ndots = 5, .hosts = "192.0.2.7\tknown alias # x\n"});
  CO_TRY_ASSIGN(std::vector<IpAddress> found, co_await resolver.resolve("web"));
  EXPECT_EQ(found, std::vector<IpAddress>{*parse_ip("10.43.0.20")});
  CO_TRY_ASSIGN(found, co_await resolver.resolve("many"));
  EXPECT_EQ(found.size(), 300U);
  CO_TRY_ASSIGN(found, co_await resolver.resolve("alias"));
  EXPECT_EQ(format_ip(found[0]), "192.0.2.7");
  auto missing = co_await resolver.resolve("missing.default.svc.cluster.local.");
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  static_cast<void>(loop);
  co_return Result<>();
}

Task<Result<>> with_servers(Loop& loop, std::function<Task<Result<>>(Loop&, Servers&)> body) {
  Servers servers(loop);
  async::Scope scope(loop.executor());
  Result<> started = servers.start(loop, scope);
  Result<> done = started ? co_await body(loop, servers) : started;
  scope.cancel();
  [[maybe_unused]] Result<> joined = co_await scope.join();
  co_return done;
}

TEST(DnsServer, AnswersForwardsCachesAndFallsBackToTcp) {
  async::run_test([](Loop& loop) { return with_servers(loop, answers); });
}

// A server that answers first with a forged id, a forged question, then the truth.
Task<Result<>> forge(asio::basic_datagram_socket<asio::ip::udp, async::Executor>& socket) {
  std::string buffer(512, '\0');
  asio::ip::udp::endpoint peer;
  auto [error, got] = co_await socket.async_receive_from(asio::buffer(buffer), peer, async::as_tuple);
  if (error) co_return fail(Code::kInternal, "receive");
  ParsedQuery parsed = parse_query(std::string_view(buffer).substr(0, got));
  auto reply = [&](Query query, const char* ip) {
    Reply out;
    out.answers.push_back(address_record(query.name, *parse_ip(ip), 60));
    std::string packet = format_reply(query, out, 512);
    socket.send_to(asio::buffer(packet), peer);
  };
  Query wrong_id = parsed.query;
  wrong_id.id = static_cast<std::uint16_t>(wrong_id.id + 1);
  reply(wrong_id, "198.51.100.1");
  Query wrong_question = parsed.query;
  wrong_question.name = *encode_name("evil.test");
  wrong_question.question = make_question(wrong_question.name, kA);
  reply(wrong_question, "198.51.100.2");
  reply(parsed.query, "192.0.2.1");
  co_return Result<>();
}

Task<Result<>> forged(Loop& loop) {
  async::RealTime time;
  SeededRng rng(3);
  asio::basic_datagram_socket<asio::ip::udp, async::Executor> socket(loop.executor(), asio::ip::udp::endpoint(asio::ip::address_v4::loopback(), 0));
  async::Scope scope(loop.executor());
  scope.spawn(forge(socket));
  Upstream at{.ip = loopback(), .port = socket.local_endpoint().port()};
  Result<Answer> answer = co_await ask_udp(time, rng, at, make_question(*encode_name("good.test"), kA));
  CO_TRY(co_await scope.join());
  CO_ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->response.answers[0].data, std::string("\xC0\x00\x02\x01", 4));
  co_return Result<>();
}
TEST(DnsServer, ForgedAnswersAreIgnored) { async::run_test(forged); }

Task<Result<>> rate(Loop&, Servers& servers) {
  constexpr int kQueries = 20'000;
  constexpr int kWindow = 50;
  asio::basic_datagram_socket<asio::ip::udp, async::Executor> socket(co_await async::this_executor());
  socket.open(asio::ip::udp::v4());
  socket.connect({asio::ip::address_v4::loopback(), servers.cluster->port()});
  std::string query = format_query(1, make_question(*encode_name("web.default.svc.cluster.local"), kA), true);
  std::array<char, 512> buffer{};
  auto start = std::chrono::steady_clock::now();
  for (int sent = 0; sent < kQueries; sent += kWindow) {
    for (int i = 0; i < kWindow; ++i) socket.send(asio::buffer(query));
    for (int i = 0; i < kWindow; ++i) {
      auto [error, got] = co_await socket.async_receive(asio::buffer(buffer), async::as_tuple);
      if (error) co_return fail(Code::kInternal, "receive");
    }
  }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("dns: %.0f queries/s, client and server on one loop\n", kQueries / took.count());
  EXPECT_GE(servers.cluster->stats().answered_from_zone, static_cast<std::uint64_t>(kQueries));
  co_return Result<>();
}
TEST(DnsServer, RateIsMeasured) {
  async::run_test([](Loop& loop) { return with_servers(loop, rate); });
}

}  // namespace
}  // namespace monopod::network::dns
