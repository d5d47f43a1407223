#include "network/lease.h"

#include <gtest/gtest.h>

#include "network/address_pool.h"

namespace monopod::network {
namespace {

TEST(AddressPool, GivesEveryAddressOnceAndNoSpecialOne) {
  AddressPool pool(*parse_cidr("10.42.0.0/29"));
  EXPECT_EQ(format_ip(pool.gateway()), "10.42.0.1");
  std::set<std::string> seen;
  while (std::optional<IpAddress> ip = pool.take()) EXPECT_TRUE(seen.insert(format_ip(*ip)).second);
  EXPECT_EQ(seen, (std::set<std::string>{"10.42.0.2", "10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6"}));
  pool.release(*parse_ip("10.42.0.4"));
  EXPECT_EQ(format_ip(*pool.take()), "10.42.0.4");
  EXPECT_FALSE(pool.take());
}

TEST(AddressPool, AFreedAddressRestsBeforeItIsGivenAgain) {
  AddressPool pool(*parse_cidr("10.42.0.0/24"));
  IpAddress first = *pool.take();
  pool.release(first);
  EXPECT_NE(*pool.take(), first);
}

TEST(AddressPool, TakenAndForeignAddressesAreRefused) {
  AddressPool pool(*parse_cidr("10.42.0.0/24"));
  EXPECT_TRUE(pool.take(*parse_ip("10.42.0.9")));
  EXPECT_FALSE(pool.take(*parse_ip("10.42.0.9")));
  EXPECT_FALSE(pool.take(*parse_ip("10.42.0.1")));
  EXPECT_FALSE(pool.take(*parse_ip("10.42.0.255")));
  EXPECT_FALSE(pool.take(*parse_ip("10.42.1.2")));
  EXPECT_EQ(format_ip(*pool.take()), "10.42.0.10");
}

TEST(Lease, SurvivesItsTextForm) {
  Lease lease{.id = "uid-1", .ip = *parse_ip("10.42.0.7"), .netns_path = "/run/x", .interface = "eth0",
              .host_ports = {{.host_ip = *parse_ip("192.0.2.1"), .host_port = 8080, .container_port = 80, .protocol = Protocol::kUdp}, {.host_port = 1, .container_port = 2}}};
  Result<Lease> back = parse_lease("uid-1", format_lease(lease));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->ip, lease.ip);
  EXPECT_EQ(back->netns_path, lease.netns_path);
  EXPECT_EQ(back->host_ports, lease.host_ports);
  EXPECT_FALSE(parse_lease("x", "{}"));
  EXPECT_FALSE(parse_lease("x", "not json"));
}

TEST(Lease, HostPortsClashWhereOnePacketMatchesBoth) {
  HostPort any{.host_port = 80, .container_port = 1};
  HostPort one{.host_ip = *parse_ip("192.0.2.1"), .host_port = 80, .container_port = 2};
  HostPort other{.host_ip = *parse_ip("192.0.2.2"), .host_port = 80, .container_port = 3};
  HostPort udp{.host_port = 80, .container_port = 1, .protocol = Protocol::kUdp};
  EXPECT_TRUE(host_ports_clash(any, one));
  EXPECT_FALSE(host_ports_clash(one, other));
  EXPECT_FALSE(host_ports_clash(any, udp));
}

TEST(Lease, InterfaceNamesFitTheKernel) {
  EXPECT_EQ(host_interface_name("uid-1").size(), 14U);
  EXPECT_NE(host_interface_name("uid-1"), host_interface_name("uid-2"));
}

}  // namespace
}  // namespace monopod::network
