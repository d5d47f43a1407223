#include "network/service_table.h"

#include <algorithm>
#include <map>

#include "network/conntrack.h"
#include "network/dns/message.h"
#include "network/dns/server.h"
#include "network/test_cluster.h"

namespace monopod::network {
namespace {

using async::Loop;
using async::Task;

std::string name_of(const std::string& answer) { return answer.substr(0, answer.find(' ')); }

Service web(std::vector<Endpoint> endpoints) {
  return {.name = "default/web", .cluster_ips = {ip("10.43.0.20")}, .ports = {{.name = "http", .port = 80, .node_port = 30'080, .endpoints = std::move(endpoints)}}};
}

struct ThreePods {
  std::array<TestPod, 3> pods;
  TestPod client;
  std::vector<std::unique_ptr<TestServer>> servers;
  std::vector<Endpoint> endpoints;
};

Task<Result<>> fill(TestCluster& cluster, ThreePods& three, Protocol protocol = Protocol::kTcp) {
  for (std::size_t i = 0; i < 3; ++i) {
    CO_TRY(co_await cluster.add(three.pods[i], cat("s", i)));
    three.servers.push_back(std::make_unique<TestServer>(&three.pods[i].netns, cat("s", i), 8080, protocol));
    three.endpoints.push_back({.ip = three.pods[i].status.ip, .port = 8080});
  }
  CO_TRY(co_await cluster.add(three.client, "client"));
  co_return Result<>();
}

Task<Result<>> cluster_ip(Loop& loop) {
  TestCluster cluster(loop);
  ThreePods three;
  CO_TRY(co_await cluster.start());
  CO_TRY(co_await fill(cluster, three));
  CO_TRY(cluster.services->apply({.services = {web(three.endpoints)}}));
  std::map<std::string, int> hits;
  for (int i = 0; i < 60; ++i) ++hits[ask(three.client.netns, ip("10.43.0.20"), 80)];
  EXPECT_EQ(hits.size(), 3U);  // (2/3)^60 is no chance; clients keep their address
  for (const auto& [answer, count] : hits) EXPECT_TRUE(answer.ends_with(" 10.42.0.5")) << answer;
  EXPECT_EQ(ask_here(ip("10.43.0.20"), 80).substr(0, 1), "s");                     // from the node
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 30'080).substr(0, 1), "s");      // node port from outside,
  EXPECT_TRUE(ask(cluster.outside, ip("192.0.2.2"), 30'080).ends_with(" 192.0.2.1"));  // with the client's address
  EXPECT_EQ(ask(three.client.netns, ip("192.0.2.2"), 30'080).substr(0, 1), "s");   // and from a pod
  EXPECT_EQ(ask_here(ip("192.0.2.2"), 30'080).substr(0, 1), "s");
  // A pod that draws itself still gets an answer.
  std::map<std::string, int> own;
  for (int i = 0; i < 40; ++i) ++own[name_of(ask(three.pods[0].netns, ip("10.43.0.20"), 80))];
  EXPECT_EQ(own.size(), 3U);
  EXPECT_FALSE(own.contains("error:"));
  co_return co_await cluster.network->teardown();
}
TEST(Services, ClusterIpAndNodePortBalanceOverTheEndpoints) { run_cluster_test(cluster_ip); }

Task<Result<>> api_server(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod client;
  CO_TRY(co_await cluster.add(client, "client"));
  TestServer api(nullptr, "api", 6443);
  CO_TRY_ASSIGN(IpAddress node, cluster.network->node_ip());
  CO_TRY(cluster.services->apply({.services = {{.name = "default/kubernetes", .cluster_ips = {ip("10.43.0.1")}, .ports = {{.name = "https", .port = 443, .endpoints = {{.ip = node, .port = 6443}}}}}}}));
  EXPECT_EQ(ask(client.netns, ip("10.43.0.1"), 443), "api 10.42.0.2");
  EXPECT_EQ(name_of(ask_here(ip("10.43.0.1"), 443)), "api");
  co_return co_await cluster.network->teardown();
}
TEST(Services, TheNodeItselfMayBeTheEndpoint) { run_cluster_test(api_server); }

Task<Result<>> refused(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod client;
  CO_TRY(co_await cluster.add(client, "client"));
  Service service = web({});
  service.external_ips = {ip("203.0.113.7")};
  service.ports.push_back({.name = "dns", .protocol = Protocol::kUdp, .port = 53, .node_port = 30'053});
  CO_TRY(cluster.services->apply({.services = {service}}));
  auto start = std::chrono::steady_clock::now();
  for (Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    std::uint16_t port = protocol == Protocol::kTcp ? 80 : 53;
    std::uint16_t node_port = protocol == Protocol::kTcp ? 30'080 : 30'053;
    EXPECT_EQ(ask(client.netns, ip("10.43.0.20"), port, protocol), "error: Connection refused");
    EXPECT_EQ(ask(client.netns, ip("203.0.113.7"), port, protocol), "error: Connection refused");
    EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), node_port, protocol), "error: Connection refused");
    EXPECT_EQ(ask(client.netns, ip("10.43.77.77"), port, protocol), "error: Connection refused");  // no such service
    std::string here = ask_here(ip("10.43.0.20"), port, protocol);  // the node's own datagrams are refused as they are sent
    EXPECT_TRUE(here == "error: Connection refused" || (protocol == Protocol::kUdp && here == "error: Operation not permitted")) << here;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  co_return co_await cluster.network->teardown();
}
TEST(Services, WithoutEndpointsAreRefusedAtOnce) { run_cluster_test(refused); }

Task<Result<>> affinity(Loop& loop) {
  TestCluster cluster(loop);
  ThreePods three;
  CO_TRY(co_await cluster.start());
  CO_TRY(co_await fill(cluster, three));
  Service service = web(three.endpoints);
  service.client_ip_affinity = std::chrono::seconds(10'800);
  CO_TRY(cluster.services->apply({.services = {service}}));
  auto draw = [&] {
    std::set<std::string> seen;
    for (int i = 0; i < 20; ++i) seen.insert(name_of(ask(three.client.netns, ip("10.43.0.20"), 80)));
    return seen;
  };
  std::set<std::string> first = draw();
  CO_ASSERT_TRUE(first.size() == 1);
  // Another endpoint goes: this client stays.
  std::size_t mine = static_cast<std::size_t>(first.begin()->at(1) - '0');
  Service fewer = service;
  fewer.ports[0].endpoints.erase(fewer.ports[0].endpoints.begin() + (mine == 0 ? 1 : 0));
  CO_TRY(cluster.services->apply({.services = {fewer}}));
  EXPECT_EQ(draw(), first);
  // The process restarts: the client stays.
  CO_TRY_ASSIGN(cluster.services, ServiceProgrammer::open({.service_cidr = cidr("10.43.0.0/16"), .pod_cidr = cidr("10.42.0.0/24")}));
  CO_TRY(cluster.services->apply({.services = {service}}));
  EXPECT_EQ(draw(), first);
  // Its own endpoint goes: it gets another one, and keeps that.
  Service without = service;
  without.ports[0].endpoints.erase(without.ports[0].endpoints.begin() + static_cast<std::ptrdiff_t>(mine));
  CO_TRY(cluster.services->apply({.services = {without}}));
  std::set<std::string> second = draw();
  EXPECT_EQ(second.size(), 1U);
  EXPECT_NE(second, first);
  co_return co_await cluster.network->teardown();
}
TEST(Services, ClientIpAffinityHoldsOverUpdatesAndRestarts) { run_cluster_test(affinity); }

Task<Result<>> policies(Loop& loop) {
  TestCluster cluster(loop);
  ThreePods three;
  CO_TRY(co_await cluster.start());
  CO_TRY(co_await fill(cluster, three));
  TestServer remote(&cluster.outside, "remote", 8080);
  Endpoint elsewhere{.ip = ip("192.0.2.1"), .port = 8080, .local = false};
  // Local: only the local endpoint, and the client's address is kept.
  Service service = web({three.endpoints[0], elsewhere});
  service.external_policy = TrafficPolicy::kLocal;
  service.internal_policy = TrafficPolicy::kLocal;
  CO_TRY(cluster.services->apply({.services = {service}}));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 30'080), "s0 192.0.2.1");
    EXPECT_EQ(name_of(ask(three.client.netns, ip("10.43.0.20"), 80)), "s0");
  }
  // Local with endpoints elsewhere only: dropped, not refused.
  service.ports[0].endpoints = {elsewhere};
  CO_TRY(cluster.services->apply({.services = {service}}));
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 30'080, Protocol::kTcp, 200), "error: Operation now in progress");
  // Cluster with an endpoint elsewhere: masqueraded, so that its answers come back this way.
  service.external_policy = TrafficPolicy::kCluster;
  service.internal_policy = TrafficPolicy::kCluster;
  CO_TRY(cluster.services->apply({.services = {service}}));
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 30'080), "remote 192.0.2.2");
  EXPECT_EQ(name_of(ask(three.client.netns, ip("10.43.0.20"), 80)), "remote");
  co_return co_await cluster.network->teardown();
}
TEST(Services, TrafficPolicyLocalKeepsToThisNode) { run_cluster_test(policies); }

Task<Result<>> under_traffic(Loop& loop) {
  TestCluster cluster(loop);
  ThreePods three;
  CO_TRY(co_await cluster.start());
  CO_TRY(co_await fill(cluster, three));
  CO_TRY(cluster.services->apply({.services = {web(three.endpoints)}}));
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  std::thread client([&] {
    three.client.netns.run([&] {
      while (!stop) {
        std::string answer = ask_here(ip("10.43.0.20"), 80);
        ++(answer.starts_with("s") ? good : bad);
      }
      return 0;
    });
  });
  for (int i = 0; i < 200; ++i) {
    std::vector<Endpoint> some = three.endpoints;
    some.erase(some.begin() + i % 3);
    std::vector<Service> services{web(some)};
    if (i % 2 == 0) services.push_back({.name = "default/other", .cluster_ips = {ip("10.43.0.21")}, .ports = {{.port = 80, .endpoints = some}}});
    Result<ServiceStats> applied = cluster.services->apply({.services = services});
    if (!applied) {
      ADD_FAILURE() << applied.error().message();
      break;
    }
  }
  stop = true;
  client.join();
  EXPECT_GT(good, 0);
  EXPECT_EQ(bad, 0);
  co_return co_await cluster.network->teardown();
}
TEST(Services, UpdatesUnderTrafficLoseNoConnection) { run_cluster_test(under_traffic); }

Task<Result<>> udp(Loop& loop) {
  TestCluster cluster(loop);
  ThreePods three;
  CO_TRY(co_await cluster.start());
  CO_TRY(co_await fill(cluster, three, Protocol::kUdp));
  auto service = [&](std::size_t endpoint) {
    Service out = web({three.endpoints[endpoint]});
    out.ports[0].protocol = Protocol::kUdp;
    return out;
  };
  CO_TRY(cluster.services->apply({.services = {service(0)}}));
  // One client socket that goes on sending: it must not stay with an endpoint that left.
  sys::Fd socket(three.client.netns.run([] {
    int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in peer = socket_address(ip("10.43.0.20"), 80);
    ::connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
    const timeval limit{3, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }));
  auto once = [&] {
    std::array<char, 64> buffer{};
    ::send(socket.get(), "?", 1, 0);
    ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    return name_of(std::string(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
  };
  EXPECT_EQ(once(), "s0");
  CO_TRY(cluster.services->apply({.services = {service(1)}}));
  EXPECT_EQ(once(), "s1");
  co_return co_await cluster.network->teardown();
}
TEST(Services, UdpFlowsLeaveAnEndpointThatIsGone) { run_cluster_test(udp); }

// One question over UDP from the calling thread's namespace; the first address answered, "" for none.
std::string ask_dns(const IpAddress& server, std::string_view name) {
  sys::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const timeval limit{3, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in peer = socket_address(server, 53);
  ::connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof peer);
  std::string question = dns::make_question(*dns::encode_name(name), dns::kA);
  std::string query = dns::format_query(77, question, true);
  ::send(fd.get(), query.data(), query.size(), 0);
  std::array<char, 1'500> buffer{};
  ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
  auto response = dns::parse_response(std::string_view(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))), 77, question);
  if (!response || response->answers.empty() || response->answers[0].data.size() != 4) return "";
  return format_ip(IpAddress::v4(std::span<const std::uint8_t, 4>(reinterpret_cast<const std::uint8_t*>(response->answers[0].data.data()), 4)));
}

Task<Result<>> cluster_dns(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start({.bridge_addresses = {ip("10.43.0.10")}}));
  TestPod client;
  CO_TRY(co_await cluster.add(client, "client"));
  // The DNS service itself stands in the table without endpoints: its address is the node's own.
  Service dns_service{.name = "kube-system/kube-dns", .cluster_ips = {ip("10.43.0.10")}, .ports = {{.name = "dns", .protocol = Protocol::kUdp, .port = 53}}};
  CO_TRY(cluster.services->apply({.services = {dns_service}}));
  async::RealTime time;
  SeededRng rng(5);
  dns::Server server(loop.executor(), time, rng, {.addresses = {ip("10.43.0.10")}});
  dns::DnsTable table;
  table.services.push_back({.name = "web", .namespace_name = "default", .cluster_ips = {ip("10.43.0.20")}});
  server.set_table(table);
  CO_TRY(server.listen());
  async::Scope scope(loop.executor());
  scope.spawn(server.serve());
  auto ask_from_pod = [&] { return client.netns.run([] { return ask_dns(ip("10.43.0.10"), "web.default.svc.cluster.local"); }); };
  auto ask_from_node = [] { return ask_dns(ip("10.43.0.10"), "web.default.svc.cluster.local"); };
  std::string from_pod = co_await cluster.pool.run(ask_from_pod);
  std::string from_node = co_await cluster.pool.run(ask_from_node);
  EXPECT_EQ(from_pod, "10.43.0.20");
  EXPECT_EQ(from_node, "10.43.0.20");
  scope.cancel();
  [[maybe_unused]] Result<> joined = co_await scope.join();
  co_return co_await cluster.network->teardown();
}
TEST(Services, ClusterDnsAnswersPodsOnItsServiceAddress) { run_cluster_test(cluster_dns); }

ServiceTable many(std::size_t count) {
  ServiceTable table;
  for (std::uint32_t i = 0; i < count; ++i) {
    Service service{.name = cat("ns", i % 10, "/svc", i), .cluster_ips = {IpAddress::v4(0x0A2B0100U + i)}};
    ServicePort port{.port = 80, .node_port = static_cast<std::uint16_t>(i < 100 ? 30'000 + i : 0)};
    for (std::uint32_t e = 0; e < 3; ++e) port.endpoints.push_back({.ip = IpAddress::v4(0x0A2A0002U + (i * 3 + e) % 250), .port = 8080});
    service.ports.push_back(std::move(port));
    table.services.push_back(std::move(service));
  }
  return table;
}

Task<Result<>> thousand(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  ServiceTable table = many(1'000);
  auto ms = [](const ServiceStats& stats) { return static_cast<double>(stats.duration.count()) / 1e6; };
  auto cpu_ms = [] {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
  };
  double before = cpu_ms();
  CO_TRY_ASSIGN(ServiceStats all, cluster.services->apply(table));
  double spent = cpu_ms() - before;
  table.services[500].ports[0].endpoints.pop_back();
  CO_TRY_ASSIGN(ServiceStats one, cluster.services->apply(table));
  CO_TRY_ASSIGN(ServiceStats none, cluster.services->apply(table));
  table.services.erase(table.services.begin() + 10, table.services.begin() + 20);
  CO_TRY_ASSIGN(ServiceStats ten, cluster.services->apply(table));
  std::printf("1,000 services x 3 endpoints: %.1f ms (cpu %.1f ms, %zu messages); one changed: %.2f ms (%zu); none: %.2f ms; ten removed: %.2f ms\n", ms(all), spent, all.messages, ms(one),
              one.messages, ms(none), ms(ten));
  EXPECT_EQ(all.services_changed, 1'000U);
  EXPECT_EQ(one.services_changed, 1U);
  EXPECT_LE(one.messages, 5U);
  EXPECT_EQ(none.messages, 0U);
  EXPECT_EQ(ten.services_changed, 10U);
  CO_TRY(cluster.services->remove());
  co_return co_await cluster.network->teardown();
}
TEST(Services, AThousandAreProgrammedAndOneIsChangedCheaply) { run_cluster_test(thousand); }

std::string output_of(const char* command) {
  std::string out;
  FILE* pipe = ::popen(command, "re");
  if (pipe == nullptr) return out;
  std::array<char, 4'096> buffer{};
  while (std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), got);
  ::pclose(pipe);
  return out;
}

void golden_listing() {
  if (::access("/usr/sbin/nft", X_OK) != 0) {
    std::fprintf(stderr, "SKIPPED: /usr/sbin/nft (Debian nftables) is not installed\n");
    return;
  }
  auto services = ServiceProgrammer::open({.service_cidr = cidr("10.43.0.0/16"), .pod_cidr = cidr("10.42.0.0/24")});
  ASSERT_TRUE(services);
  Service one = web({{.ip = ip("10.42.0.2"), .port = 8080}, {.ip = ip("10.42.0.3"), .port = 8080, .weight = 2}});
  Service sticky{.name = "default/sticky", .cluster_ips = {ip("10.43.0.21")}, .ports = {{.protocol = Protocol::kUdp, .port = 53, .endpoints = {{.ip = ip("10.42.0.4"), .port = 5353}}}},
                 .client_ip_affinity = std::chrono::seconds(60)};
  Service none{.name = "default/none", .cluster_ips = {ip("10.43.0.22")}, .ports = {{.port = 80, .node_port = 30'081}}};
  Result<ServiceStats> applied = (*services)->apply({.services = {one, sticky, none}});
  ASSERT_TRUE(applied) << applied.error().message();
  std::string listing = output_of("/usr/sbin/nft -n list table ip monopod-services 2>&1");
  const char* file = MONOPOD_NETWORK_TESTDATA "/services.nft";
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {
    FILE* out = std::fopen(file, "we");
    ASSERT_NE(out, nullptr);
    std::fputs(listing.c_str(), out);
    std::fclose(out);
  }
  EXPECT_EQ(listing, output_of("cat " MONOPOD_NETWORK_TESTDATA "/services.nft"));
}
TEST(Services, NftListsTheTableAsItIsMeant) { in_test_namespace(golden_listing); }

}  // namespace
}  // namespace monopod::network
