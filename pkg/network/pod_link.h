// The kernel's side of one pod's network: a veth pair from the bridge into the pod's namespace.
//
//   pod namespace                     node namespace
//   eth0 10.42.0.7/32  <--- veth ---> mp0123456789ab --- monopod0 10.42.0.1/24
//   default via 10.42.0.1             isolated port, no learning, fixed neighbour
//
// Pods have a /32 and reach everything, each other too, through the gateway: every packet is routed, so services work
// without br_netfilter, and no pod can speak for another on the wire (ARP, IPv6 router advertisements: CVE-2020-10749).
// All calls block for local system calls only; run them on async::Pool.
#pragma once

#include <string>

#include "network/netlink/route.h"
#include "network/network.h"

namespace monopod::network {

struct PodLink {
  IpAddress ip{};
  IpAddress gateway{};
  std::string bridge{};
  std::string host_interface{};
  std::string pod_interface{};
  std::string netns_path{};
  std::uint32_t mtu = 1500;
};

// 0a:58 and the address's four bytes: the same pod address always has the same hardware address.
netlink::Mac mac_of(const IpAddress& ip);

// Idempotent: what is right already stays. On error nothing of a new pair is left.
Result<> make_pod_link(const PodLink& link);
// Idempotent. Works whether or not the namespace still exists.
Result<> remove_pod_link(const PodLink& link);

struct BridgeRequest {
  std::string name{};
  Cidr pod_cidr{};
  IpAddress gateway{};
  Cidr service_cidr{};
  std::vector<IpAddress> addresses{};
  std::uint32_t mtu = 0;
};
// Makes or adopts the bridge with its addresses, route and settings; addresses it should not have are removed.
// Returns the MTU chosen.
Result<std::uint32_t> make_bridge(const BridgeRequest& request);

}  // namespace monopod::network
