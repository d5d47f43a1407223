// For tests: a node in the test's namespace with some pods and a world outside.
//
//   outside 192.0.2.1/24 --veth-- node 192.0.2.2/24, bridge, pods
#pragma once

#include "network/service_table.h"
#include "network/test_traffic.h"

namespace monopod::network {

inline void connect_outside(const TestNamespace& outside) {
  Result<netlink::RouteSocket> route = netlink::RouteSocket::open();
  ASSERT_TRUE(route);
  Result<> made = route->add_veth({.name = "uplink", .mac = {2, 0, 0, 0, 0, 2}, .peer_name = "out0", .peer_namespace = outside.fd(), .peer_mac = {2, 0, 0, 0, 0, 1}});
  ASSERT_TRUE(made) << made.error().message();
  auto link = route->find_link("uplink");
  ASSERT_TRUE(link && *link);
  ASSERT_TRUE(route->add_address((*link)->index, ip("192.0.2.2"), 24));
  ASSERT_TRUE(route->set_up((*link)->index));
  Result<> other = outside.run([&]() -> Result<> {
    TRY_ASSIGN(netlink::RouteSocket inside, netlink::RouteSocket::open());
    TRY_ASSIGN(auto out, inside.find_link("out0"));
    TRY(inside.add_address(out->index, ip("192.0.2.1"), 24));
    return inside.set_up(out->index);
  });
  ASSERT_TRUE(other) << other.error().message();
  ASSERT_TRUE(route->replace_route({.via = ip("192.0.2.1"), .link = (*link)->index}));
}

struct TestPod {
  TestNamespace netns{};
  PodNetworkStatus status{};
};

class TestCluster {
 public:
  explicit TestCluster(async::Loop& loop) : loop(loop), pool(1) {}

  async::Task<Result<>> start(NetworkConfig config = {}) {
    connect_outside(outside);
    CO_TRY_ASSIGN(network, co_await Network::open(std::move(config), state, pool));
    CO_TRY_ASSIGN(services, ServiceProgrammer::open({.service_cidr = network->config().service_cidr, .pod_cidr = network->config().pod_cidr}));
    co_return Result<>();
  }
  async::Task<Result<>> add(TestPod& pod, std::string id, std::vector<HostPort> ports = {}) {
    CO_TRY_ASSIGN(pod.status, co_await network->add_pod({.id = id, .netns_path = pod.netns.path(), .host_ports = ports}));
    co_return Result<>();
  }

  async::Loop& loop;
  async::Pool pool;
  async::MemoryStateStore state;
  TestNamespace outside;
  std::unique_ptr<Network> network;
  std::unique_ptr<ServiceProgrammer> services;
};

// The body as a loop's main task, inside a namespace of its own.
template <typename Body>
void run_cluster_test(Body body) {
  in_test_namespace([body] { async::run_test(body); });
}

}  // namespace monopod::network
