// The kernel's side of one pod's network: a veth pair from the node's namespace into the pod's, routed and not bridged.
//
//   pod namespace                     node namespace
//   eth0 10.42.0.7/32  <--- veth ---> mp0123456789ab     10.42.0.7/32 dev mp0123456789ab
//   default via 10.42.0.1             monopod0           10.42.0.1/32, the cluster DNS address, the service CIDR
//                                                        unreachable 10.42.0.0/24 (pods that are gone)
//
// Every packet is routed: services work without br_netfilter (and with it); neighbours are fixed on both ends, so no pod
// can speak for another on the wire (ARP; IPv6 router advertisements: CVE-2020-10749), and strict reverse path filtering
// on each pod's own link drops every source address but the pod's.
// All calls block for local system calls only; run them on async::Pool.
#pragma once

#include <string>

#include "network/netlink/route.h"
#include "network/network.h"

namespace monopod::network {

struct PodLink {
  IpAddress ip{};
  IpAddress gateway{};
  std::string host_interface{};
  std::string pod_interface{};
  std::string netns_path{};
  std::uint32_t mtu = 1500;
  std::optional<Cidr> only{};  // what is reached through it; else everything
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
// Makes or adopts the node's own interface (a bridge without ports) with its addresses, routes and settings; addresses it
// should not have are removed.
// Returns the MTU chosen.
Result<std::uint32_t> make_bridge(const BridgeRequest& request);
// Idempotent.
Result<> remove_bridge(const std::string& name, const Cidr& pod_cidr);

}  // namespace monopod::network
