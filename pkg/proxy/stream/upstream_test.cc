// Where requests go, through real sockets: names, priorities, zones, latency, slow starts, panic, what gRPC says.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/strings.h"
#include "network/dns/message.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

// Answers every question for an A record with these addresses; none: as if the name were unknown. Silent: says nothing.
class TestDns {
 public:
  TestDns() {
    // The same port twice: one that is free for TCP need not be so for UDP.
    for (Result<sys::Fd> stream = listen_on(*Address::parse("127.0.0.1:0"), false); !fd_; stream = listen_on(*Address::parse("127.0.0.1:0"), false)) {
      sockaddr_in at{};
      socklen_t size = sizeof at;
      ::getsockname(stream->get(), reinterpret_cast<sockaddr*>(&at), &size);
      sys::Fd packets(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (::bind(packets.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) continue;
      port_ = ntohs(at.sin_port);
      fd_ = std::move(packets);
      stream_ = std::move(*stream);
    }
    thread_ = std::thread([this] { serve(); });
  }
  // The same by TCP, and by UDP what was said first alone, marked as truncated.
  void truncate() {
    truncates_ = true;
    stream_thread_ = std::thread([this] { serve_stream(); });
  }
  ~TestDns() {
    stop_ = true;
    if (stream_thread_.joinable()) {
      ::shutdown(stream_.get(), SHUT_RDWR);
      stream_thread_.join();
    }
    sys::Fd wake(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{.sin_family = AF_INET, .sin_port = htons(port_)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::sendto(wake.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&at), sizeof at);
    thread_.join();
  }
  std::string server() const { return cat("\"127.0.0.1:", port_, "\""); }
  void say(std::vector<std::string> addresses) {
    std::lock_guard lock(mutex_);
    addresses_ = std::move(addresses);
  }
  std::atomic<bool> silent{false};
  std::atomic<int> asked{0}, asked_by_stream{0};
  std::atomic<bool> refuses_streams{false};

 private:
  std::string reply_to(const network::dns::ParsedQuery& parsed, std::size_t answers_max) {
    std::lock_guard lock(mutex_);
    network::dns::Reply reply{.rcode = addresses_.empty() ? network::dns::kNameError : network::dns::kNoError};
    if (parsed.query.type == network::dns::kA)
      for (const std::string& ip : addresses_)
        if (reply.answers.size() < answers_max) reply.answers.push_back(network::dns::address_record(parsed.query.name, *network::parse_ip(ip), 1));
    return network::dns::format_reply(parsed.query, reply, 65'535);
  }
  void serve_stream() {
    for (pollfd look{stream_.get(), POLLIN, 0}; !stop_;) {
      if (::poll(&look, 1, 100) != 1) continue;
      sys::Fd fd(::accept4(stream_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) continue;
      ++asked_by_stream;
      if (refuses_streams) continue;
      TestClient client(std::move(fd));
      std::string size = client.read(2);
      std::string query = client.read(static_cast<std::size_t>(static_cast<unsigned char>(size[0]) << 8 | static_cast<unsigned char>(size[1])));
      std::string out = reply_to(network::dns::parse_query(query), 1000);
      client.send(std::string{static_cast<char>(out.size() >> 8), static_cast<char>(out.size() & 0xff)});
      client.send(out.substr(0, 20));  // in pieces
      client.send(out.substr(20));
    }
  }
  void serve() {
    char packet[4096];
    for (;;) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      ssize_t n = ::recvfrom(fd_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (stop_ || n <= 0) return;
      network::dns::ParsedQuery parsed = network::dns::parse_query({packet, static_cast<std::size_t>(n)});
      ++asked;
      if (silent || parsed.drop) continue;
      std::string out = reply_to(parsed, truncates_ ? 1 : 1000);
      if (truncates_) out[2] = static_cast<char>(out[2] | 0x02);  // TC
      ::sendto(fd_.get(), out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  sys::Fd fd_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<std::string> addresses_;
  std::atomic<bool> stop_{false}, truncates_{false};
  std::thread thread_;
  sys::Fd stream_;
  std::thread stream_thread_;
};

std::string config(std::string_view endpoints, std::string_view cluster_fields = {}, std::string_view more = {}, std::string_view route_fields = {}) {
  return cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /, cluster: x, retry: {attempts: 0}", route_fields, "}]}]\nclusters:\n- name: x\n  endpoints: [", endpoints, "]\n",
             cluster_fields, more);
}

std::string ask(TestProxy& proxy) {
  TestClient client(proxy.port());
  client.send(kGet);
  return client.read_answer();
}

// Asks until the answer contains the text; the last answer.
std::string ask_until(TestProxy& proxy, std::string_view text) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  std::string answer;
  do answer = ask(proxy);
  while (answer.find(text) == std::string::npos && std::chrono::steady_clock::now() < until);
  return answer;
}

std::map<char, int> count(TestProxy& proxy, int requests) {
  TestClient client(proxy.port());
  std::map<char, int> out;
  for (int i = 0; i < requests; ++i) {
    client.send(kGet);
    ++out[client.read_answer().back()];
  }
  return out;
}

std::string dns(const TestDns& server) { return cat("dns: {servers: [", server.server(), "], ttl_min: 50ms, ttl_max: 50ms, timeout: 100ms}\n"); }

TEST(Names, AreLookedUpAgainWhenTheirTimeIsOver) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestDns server;
  server.say({"127.0.0.1"});
  TestProxy proxy(config(cat("\"api.test:", a.port(), "\""), "", dns(server)));
  EXPECT_TRUE(ask(proxy).ends_with("a")) << "the first request waits for the first answer";
  server.say({"127.0.0.2"});
  EXPECT_NE(ask_until(proxy, "503 Service").find("503 Service"), std::string::npos) << "nobody listens there";
  server.say({"127.0.0.1"});
  EXPECT_TRUE(ask_until(proxy, "200 OK").ends_with("a"));
  EXPECT_GE(proxy.metric("monopod_proxy_upstream_lookups_total{cluster=\"x\"}"), 3);
}

TEST(Names, AFailureKeepsWhatWasKnown) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestDns server;
  server.say({"127.0.0.1"});
  std::string yaml = config(cat("\"api.test:", a.port(), "\""), "", dns(server));
  TestProxy proxy(yaml);
  EXPECT_TRUE(ask(proxy).ends_with("a"));
  server.silent = true;
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_lookup_failures_total{cluster=\"x\"}", 1));
  EXPECT_TRUE(ask(proxy).ends_with("a"));
  server.silent = false;
  server.say({});
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_lookup_failures_total{cluster=\"x\"}", 2));
  EXPECT_TRUE(ask(proxy).ends_with("a")) << "a name that vanished is a fault, not an order";
  ASSERT_TRUE(proxy.reload(yaml + "zone: z\n"));
  proxy.metric("x");
  EXPECT_TRUE(ask(proxy).ends_with("a")) << "and so over a reload";
}

TEST(Names, AnAnswerThatDidNotFitIsAskedForByTcp) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestDns server;
  std::vector<std::string> addresses{"127.0.0.1"};
  for (int i = 0; i < 100; ++i) addresses.push_back(cat("127.1.0.", i));
  server.say(addresses);
  server.truncate();
  TestProxy proxy(config(cat("\"api.test:", a.port(), "\""), "", cat("dns: {servers: [", server.server(), "], ttl_min: 50ms, ttl_max: 50ms, timeout: 5s}\n")));
  EXPECT_FALSE(ask(proxy).empty()) << "it waits for the first answer, which is the whole one";
  EXPECT_GE(server.asked_by_stream, 1);
  std::string clusters;
  std::atomic<bool> done{false};
  proxy.proxy().on_workers([&](Worker& worker) { clusters = worker.describe_clusters(); }, [&] { done = true, done.notify_all(); });
  done.wait(false);
  EXPECT_NE(clusters.find(cat("127.1.0.99:", a.port())), std::string::npos);
  server.refuses_streams = true;  // what came is better than nothing
  int before = server.asked_by_stream;
  EXPECT_NE(ask_until(proxy, "200 OK").find("200 OK"), std::string::npos);
  while (server.asked_by_stream < before + 2) std::this_thread::yield();
  EXPECT_TRUE(ask_until(proxy, "200 OK").ends_with("a"));
  EXPECT_EQ(proxy.metric("monopod_proxy_upstream_lookup_failures_total{cluster=\"x\"}"), 0);
}

TEST(Names, OneThatNobodyKnowsIs503) {
  TestDns server;
  TestProxy proxy(config("\"nobody.test:80\"", "", dns(server)));
  EXPECT_NE(ask(proxy).find("503 Service"), std::string::npos);
}

TEST(Names, AConnectionToAnAddressThatLeftEndsWithItsRequest) {
  std::atomic<bool> go{false};
  TestEndpoint a(answering_late(go));
  TestDns server;
  server.say({"127.0.0.1"});
  TestProxy proxy(config(cat("\"api.test:", a.port(), "\""), "", dns(server)));
  TestClient client(proxy.port());
  client.send(kGet);
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"x\"}", 1));
  server.say({"127.0.0.2"});
  int before = server.asked;
  while (server.asked < before + 4) std::this_thread::yield();
  go = true;
  go.notify_all();
  EXPECT_TRUE(client.read_answer().ends_with("late"));
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_connections_active{cluster=\"x\"}", 0)) << "not pooled";
}

TEST(Names, TheHostsFileComesFirst) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  std::string path = cat("/tmp/monopod-proxy-hosts-", ::getpid());
  std::FILE* file = std::fopen(path.c_str(), "we");
  std::fputs("127.0.0.1 api.test\n", file);
  std::fclose(file);
  TestDns server;
  TestProxy proxy(config(cat("\"api.test:", a.port(), "\", \"localhost:", a.port(), "\""), "", cat("dns: {servers: [", server.server(), "], hosts_file: ", path, "}\n")));
  EXPECT_TRUE(ask(proxy).ends_with("a"));
  EXPECT_EQ(server.asked, 0);
  ::unlink(path.c_str());
}

constexpr std::string_view kFailing = "HTTP/1.1 500 No\r\ncontent-length: 1\r\n\r\n";

TEST(Priorities, TheNextTakesOverAndGivesBack) {
  std::atomic<bool> broken{true};
  TestEndpoint a(answering([&broken](const std::string&) { return broken ? cat(kFailing, "f") : ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  TestProxy proxy(config(cat("\"", a.address(), "\", {address: \"", b.address(), "\", priority: 1}"), "  health_check: {path: /, interval: 20ms, unhealthy_threshold: 1}\n"));
  EXPECT_TRUE(ask_until(proxy, "\r\n\r\nb").ends_with("b"));
  EXPECT_EQ(count(proxy, 20)['b'], 20);
  broken = false;
  EXPECT_TRUE(ask_until(proxy, "\r\n\r\na").ends_with("a"));
  ask_until(proxy, "\r\n\r\na");
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (count(proxy, 20)['a'] < 20 && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_EQ(count(proxy, 20)['a'], 20);
}

TEST(Priorities, AnotherZoneIsForWhenTheOwnFails) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  std::string endpoints = cat("{address: \"", a.address(), "\", zone: east}, {address: \"", b.address(), "\", zone: west}");
  TestProxy proxy(config(endpoints, "", "zone: west\n"));
  EXPECT_EQ(count(proxy, 20)['b'], 20);
  ASSERT_TRUE(proxy.reload(config(endpoints, "", "zone: east\n")));
  proxy.metric("x");
  EXPECT_EQ(count(proxy, 20)['a'], 20);
  ASSERT_TRUE(proxy.reload(config(endpoints)));
  proxy.metric("x");
  EXPECT_EQ(count(proxy, 20)['a'], 10) << "who does not know where it is uses all";
}

TEST(Balancers, LatencyDrawsRequestsAway) {
  TestEndpoint fast(answering([](const std::string&) { return ok("f"); }));
  TestEndpoint slow(answering([](const std::string&) {
    pollfd nothing{-1, 0, 0};
    ::poll(&nothing, 1, 30);
    return ok("s");
  }));
  TestProxy proxy(config(cat("\"", fast.address(), "\", \"", slow.address(), "\""), "  balancer: ewma\n"));
  EXPECT_LT(count(proxy, 100)['s'], 40);  // both draws fall on it in a quarter of the cases
}

TEST(SlowStart, AnEndpointThatIsNewTakesLittleAtFirst) {
  TestEndpoint a(answering([](const std::string&) { return ok("a"); }));
  TestEndpoint b(answering([](const std::string&) { return ok("b"); }));
  TestProxy proxy(config(cat("\"", a.address(), "\""), "  slow_start: 1h\n"));
  EXPECT_EQ(count(proxy, 5)['a'], 5);
  ASSERT_TRUE(proxy.reload(config(cat("\"", a.address(), "\", \"", b.address(), "\""), "  slow_start: 1h\n")));
  proxy.metric("x");
  int share = count(proxy, 200)['b'];
  EXPECT_GT(share, 0);
  EXPECT_LT(share, 60);
}

TEST(Panic, BelowTheThresholdAllCount) {
  TestEndpoint good(answering([](const std::string&) { return ok("g"); }));
  TestEndpoint bad(answering([](const std::string& request) { return request.starts_with("GET /health") ? cat(kFailing, "x") : ok("b"); }));
  std::string endpoints = cat("\"", good.address(), "\", \"", bad.address(), "\"");
  std::string check = "  health_check: {path: /health, interval: 10ms, unhealthy_threshold: 1}\n";
  TestProxy careful(config(endpoints, check));
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (count(careful, 10)['g'] < 10 && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_EQ(count(careful, 20)['g'], 20);
  ASSERT_TRUE(careful.reload(config(endpoints, check + "  panic_percent: 60\n")));
  careful.metric("x");
  EXPECT_EQ(count(careful, 20)['b'], 10);
}

constexpr std::string_view kGrpcHead = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n";

TEST(Grpc, AStatusThatSaysTheServerFailedEjectsTheEndpoint) {
  for (bool in_trailer : {true, false}) {
    std::atomic<int> failures{0};
    TestEndpoint good(answering([](const std::string&) { return cat(kGrpcHead, "transfer-encoding: chunked\r\n\r\n1\r\ng\r\n0\r\ngrpc-status: 0\r\n\r\n"); }));
    TestEndpoint bad(answering([&failures, in_trailer](const std::string&) {
      ++failures;
      return in_trailer ? cat(kGrpcHead, "transfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\ngrpc-status: 14\r\n\r\n") : cat(kGrpcHead, "grpc-status: 14\r\ncontent-length: 0\r\n\r\n");
    }));
    TestProxy proxy(config(cat("\"", good.address(), "\", \"", bad.address(), "\""), "  outlier: {consecutive_5xx: 3, base_ejection: 1h}\n"));
    TestClient client(proxy.port());
    for (int i = 0; i < 30; ++i) {
      client.send(kGet);
      client.read_answer();
    }
    EXPECT_EQ(failures, 3) << in_trailer;
    EXPECT_EQ(proxy.metric("monopod_proxy_upstream_ejections_total{cluster=\"x\"}"), 1);
  }
}

TEST(Grpc, AnAnswerWithoutAMessageIsTriedAgainByItsStatus) {
  std::atomic<int> calls{0};
  TestEndpoint a(answering([&calls](const std::string&) { return calls++ == 0 ? cat(kGrpcHead, "grpc-status: 14\r\ncontent-length: 0\r\n\r\n") : ok("a"); }));
  std::string yaml = config(cat("\"", a.address(), "\""));
  yaml.replace(yaml.find("{attempts: 0}"), 13, "{attempts: 1, conditions: [grpc_unavailable], backoff: 1ms}");
  TestProxy proxy(yaml);
  EXPECT_TRUE(ask(proxy).ends_with("a"));
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace monopod::proxy
