#include "network/network.h"

#include <algorithm>

#include "network/nft/batch.h"
#include "network/sysctl.h"
#include "network/test_cluster.h"

namespace monopod::network {
namespace {

using async::Loop;
using async::Task;

bool has_link(std::string_view name) {
  Result<netlink::RouteSocket> route = netlink::RouteSocket::open();
  Result<std::optional<netlink::Link>> link = route->find_link(name);
  return link && link->has_value();
}

bool has_table(std::string_view name) {
  Result<netlink::Socket> socket = nft::open_socket();
  return nft::table_exists(*socket, name).value_or(false);
}

std::size_t link_count() { return netlink::RouteSocket::open()->links()->size(); }

Task<Result<>> two_pods(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a, b;
  CO_TRY(co_await cluster.add(a, "a"));
  CO_TRY(co_await cluster.add(b, "b"));
  EXPECT_EQ(format_ip(a.status.ip), "10.42.0.2");
  EXPECT_EQ(format_ip(b.status.ip), "10.42.0.3");
  TestServer server_b(&b.netns, "b", 8080);
  TestServer server_node(nullptr, "node", 6443);
  TestServer server_outside(&cluster.outside, "outside", 80);
  EXPECT_EQ(ask(a.netns, b.status.ip, 8080), "b 10.42.0.2");             // pods see each other's own address
  EXPECT_EQ(ask_here(b.status.ip, 8080), "b 10.42.0.1");                 // the node reaches pods
  EXPECT_EQ(ask(a.netns, ip("192.0.2.2"), 6443), "node 10.42.0.2");      // pods reach the node
  EXPECT_EQ(ask(a.netns, ip("192.0.2.1"), 80), "outside 192.0.2.2");     // masquerade
  EXPECT_EQ(ask(a.netns, a.status.ip, 1), "error: Connection refused");  // own address, nothing listens
  EXPECT_EQ(format_ip(*cluster.network->node_ip()), "192.0.2.2");
  co_return co_await cluster.network->teardown();
}
TEST(Network, PodsReachEachOtherTheNodeAndTheWorld) { run_cluster_test(two_pods); }

Task<Result<>> host_ports(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a, b, c;
  CO_TRY(co_await cluster.add(a, "a", {{.host_port = 8080, .container_port = 80}, {.host_ip = ip("192.0.2.2"), .host_port = 9090, .container_port = 80}}));
  CO_TRY(co_await cluster.add(b, "b"));
  TestServer server(&a.netns, "a", 80);
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 8080), "a 192.0.2.1");
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 9090), "a 192.0.2.1");
  EXPECT_EQ(ask(b.netns, ip("192.0.2.2"), 8080), "a 10.42.0.3");
  EXPECT_EQ(ask(a.netns, ip("192.0.2.2"), 8080), "a 192.0.2.2");  // hairpin: masqueraded as the node
  EXPECT_EQ(ask_here(ip("192.0.2.2"), 8080), "a 192.0.2.2");
  auto clash = co_await cluster.network->add_pod({.id = "c", .netns_path = c.netns.path(), .host_ports = {{.host_port = 8080, .container_port = 1}}});
  CO_ASSERT_TRUE(!clash);
  EXPECT_EQ(clash.error().code(), Code::kAlreadyExists);
  CO_TRY(co_await cluster.network->remove_pod("a"));
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 8080), "error: Connection refused");
  CO_TRY(co_await cluster.add(c, "c", {{.host_port = 8080, .container_port = 80}}));
  co_return co_await cluster.network->teardown();
}
TEST(Network, HostPortsLeadToThePodAndAreFreedWithIt) { run_cluster_test(host_ports); }

Task<Result<>> idempotent(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a;
  CO_TRY(co_await cluster.network->remove_pod("never-added"));
  CO_TRY(co_await cluster.add(a, "a"));
  PodNetworkStatus first = a.status;
  CO_TRY(co_await cluster.add(a, "a"));
  EXPECT_EQ(first.ip, a.status.ip);
  // What is missing is repaired.
  CO_TRY_ASSIGN(netlink::RouteSocket route, netlink::RouteSocket::open());
  CO_TRY_ASSIGN(auto link, route.find_link(a.status.host_interface));
  CO_ASSERT_TRUE(link.has_value());
  CO_TRY(route.delete_link(link->index));
  CO_TRY(co_await cluster.add(a, "a"));
  TestServer server(&a.netns, "a", 80);
  EXPECT_EQ(ask_here(a.status.ip, 80), "a 10.42.0.1");
  CO_TRY(co_await cluster.network->remove_pod("a"));
  CO_TRY(co_await cluster.network->remove_pod("a"));
  EXPECT_FALSE(has_link(first.host_interface));
  auto bad = co_await cluster.network->add_pod({.id = "x", .netns_path = "/proc/self/fd/9999"});
  EXPECT_FALSE(bad);
  EXPECT_TRUE(cluster.network->pods().empty());
  auto evil = co_await cluster.network->add_pod({.id = "../x", .netns_path = a.netns.path()});
  EXPECT_EQ(evil.error().code(), Code::kInvalidArgument);
  co_return co_await cluster.network->teardown();
}
TEST(Network, AddTwiceDeleteTwiceAndDeleteWithoutAddAreFine) { run_cluster_test(idempotent); }

Task<Result<>> restart(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a, b;
  CO_TRY(co_await cluster.add(a, "a", {{.host_port = 8080, .container_port = 80}}));
  CO_TRY(co_await cluster.add(b, "b"));
  {
    TestPod gone;
    CO_TRY(co_await cluster.add(gone, "gone"));
  }
  TestServer server(&a.netns, "a", 80);
  cluster.network.reset();  // as if the process had died
  CO_TRY_ASSIGN(cluster.network, co_await Network::open({}, cluster.state, cluster.pool));
  EXPECT_EQ(cluster.network->pods().size(), 2U);  // the third one's namespace is gone, so is its lease
  EXPECT_EQ(cluster.network->find_pod("a")->ip, a.status.ip);
  EXPECT_EQ(ask(b.netns, a.status.ip, 80), "a 10.42.0.3");
  EXPECT_EQ(ask(cluster.outside, ip("192.0.2.2"), 8080), "a 192.0.2.1");
  TestPod c;
  CO_TRY(co_await cluster.add(c, "c"));
  EXPECT_NE(c.status.ip, a.status.ip);
  EXPECT_NE(c.status.ip, b.status.ip);
  CO_TRY_ASSIGN(std::vector<std::string> removed, co_await cluster.network->retain({"a", "c"}));
  EXPECT_EQ(removed, std::vector<std::string>{"b"});
  EXPECT_FALSE(has_link(b.status.host_interface));
  co_return co_await cluster.network->teardown();
}
TEST(Network, LeasesSurviveARestartAndTheDeadAreSwept) { run_cluster_test(restart); }

Task<Result<>> exhausted(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start({.pod_cidr = cidr("10.42.0.0/29")}));
  std::array<TestPod, 6> pods;
  for (int i = 0; i < 5; ++i) CO_TRY(co_await cluster.add(pods[static_cast<std::size_t>(i)], cat("p", i)));
  auto sixth = co_await cluster.network->add_pod({.id = "p5", .netns_path = pods[5].netns.path()});
  EXPECT_EQ(sixth.error().code(), Code::kResourceExhausted);
  CO_TRY(co_await cluster.network->remove_pod("p2"));
  CO_TRY(co_await cluster.add(pods[5], "p5"));
  EXPECT_EQ(pods[5].status.ip, pods[2].status.ip);
  co_return co_await cluster.network->teardown();
}
TEST(Network, AFullCidrRefusesUntilAnAddressIsFreed) { run_cluster_test(exhausted); }

Task<Result<>> teardown(Loop& loop) {
  std::size_t links = link_count() + 1;  // the uplink
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a, b;
  CO_TRY(co_await cluster.add(a, "a", {{.host_port = 8080, .container_port = 80}}));
  CO_TRY(co_await cluster.add(b, "b"));
  CO_TRY(cluster.services->apply({.services = {{.name = "default/web", .cluster_ips = {ip("10.43.0.9")}, .ports = {{.port = 80, .endpoints = {{.ip = a.status.ip, .port = 80}}}}}}}));
  EXPECT_TRUE(has_table("monopod"));
  EXPECT_TRUE(has_table("monopod-services"));
  CO_TRY(cluster.services->remove());
  CO_TRY(cluster.services->remove());
  CO_TRY(co_await cluster.network->teardown());
  EXPECT_FALSE(has_table("monopod"));
  EXPECT_FALSE(has_table("monopod-services"));
  EXPECT_EQ(link_count(), links);
  EXPECT_EQ(a.netns.run([] { return link_count(); }), 1U);
  CO_TRY_ASSIGN(auto left, co_await cluster.state.list("network"));
  EXPECT_TRUE(left.empty());
  co_return Result<>();
}
TEST(Network, TeardownLeavesNothing) { run_cluster_test(teardown); }

Task<Result<>> settings(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a;
  CO_TRY(co_await cluster.add(a, "a"));
  auto value = [](std::string_view name) { return get_sysctl(name).value_or("absent"); };
  EXPECT_EQ(value("ipv4/ip_forward"), "1");
  EXPECT_EQ(value("ipv4/conf/monopod0/route_localnet"), "0");
  EXPECT_EQ(value("ipv4/conf/monopod0/rp_filter"), "1");
  EXPECT_EQ(value(cat("ipv4/conf/", a.status.host_interface, "/rp_filter")), "1");
  EXPECT_EQ(value("ipv6/conf/monopod0/disable_ipv6"), "1");  // no router advertisement from a pod is heard (CVE-2020-10749)
  EXPECT_EQ(value(cat("ipv6/conf/", a.status.host_interface, "/disable_ipv6")), "1");
  for (const char* name : {"ipv6/conf/eth0/accept_ra", "ipv6/conf/all/accept_redirects", "ipv4/conf/eth0/route_localnet", "ipv4/conf/eth0/accept_source_route"})
    EXPECT_EQ(a.netns.run([&] { return value(name); }), "0") << name;
  // Loopback services of the node stay its own, also for a neighbour that routes 127.0.0.1 to us (CVE-2020-8558).
  TestServer node_only(nullptr, "node", 7000);
  Result<> tricked = cluster.outside.run([]() -> Result<> {
    TRY_ASSIGN(netlink::RouteSocket route, netlink::RouteSocket::open());
    TRY_ASSIGN(auto out, route.find_link("out0"));
    TRY(set_sysctl("ipv4/conf/all/route_localnet", "1"));
    return route.replace_route({.to = cidr("127.0.0.9/32"), .via = ip("192.0.2.2"), .link = out->index});
  });
  CO_TRY(tricked);
  EXPECT_NE(ask(cluster.outside, ip("127.0.0.9"), 7000, Protocol::kTcp, 300).substr(0, 4), "node");
  co_return co_await cluster.network->teardown();
}
TEST(Network, SettingsThatKeepPodsApartAreMade) { run_cluster_test(settings); }

Task<Result<>> foreign_source(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  TestPod a, b;
  CO_TRY(co_await cluster.add(a, "a"));
  CO_TRY(co_await cluster.add(b, "b"));
  TestServer server(&b.netns, "b", 53, Protocol::kUdp);
  // A pod gives itself an address that is not of the cluster: its packets are dropped, not forwarded.
  Result<> added = a.netns.run([]() -> Result<> {
    TRY_ASSIGN(netlink::RouteSocket route, netlink::RouteSocket::open());
    TRY_ASSIGN(auto eth, route.find_link("eth0"));
    return route.add_address(eth->index, ip("198.51.100.9"), 32);
  });
  CO_TRY(added);
  std::string answer = a.netns.run([&] {
    sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in self = socket_address(ip("198.51.100.9"), 0);
    ::bind(fd.get(), reinterpret_cast<sockaddr*>(&self), sizeof self);
    const timeval limit{0, 300'000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in peer = socket_address(ip("192.0.2.1"), 80);
    return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof peer) == 0 ? std::string("connected") : std::string(std::strerror(errno));
  });
  EXPECT_EQ(answer, "Operation now in progress");  // no answer at all; a forwarded one is refused at once
  co_return co_await cluster.network->teardown();
}
TEST(Network, SourcesOutsideOfThePodCidrAreDropped) { run_cluster_test(foreign_source); }

Task<Result<>> timing(Loop& loop) {
  TestCluster cluster(loop);
  CO_TRY(co_await cluster.start());
  constexpr std::size_t kPods = 20;
  std::array<TestPod, kPods> pods;
  auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < kPods; ++i) CO_TRY(co_await cluster.add(pods[i], cat("p", i)));
  auto added = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < kPods; ++i) CO_TRY(co_await cluster.network->remove_pod(cat("p", i)));
  auto removed = std::chrono::steady_clock::now();
  auto us = [](auto d) { return std::chrono::duration_cast<std::chrono::microseconds>(d).count() / static_cast<long>(kPods); };
  std::printf("pod network: add %ld us, remove %ld us\n", us(added - start), us(removed - added));
  co_return co_await cluster.network->teardown();
}
TEST(Network, TimeOfOnePodIsMeasured) { run_cluster_test(timing); }

}  // namespace
}  // namespace monopod::network
