// Redirect rules in a pod's network namespace: its TCP connections go through a proxy that listens there, in or out, and learns where they were going
// (SO_ORIGINAL_DST). The pod needs no privilege and has no part in it. A table of IPv4 and one of IPv6, "monopod-intercept" both.
//
//   prerouting   not from lo, no excluded port, a listed one              ─► redirect to the inbound port, or TPROXY (inbound_transparent)
//   output       not to lo, no mark, no excluded user, prefix, port, a listed one ─► redirect to the outbound port, or (outbound_transparent) a mark on
//                the connection and its packets, which a rule of routing brings to lo ─► prerouting, from lo, marked ─► TPROXY
//
// What the proxy itself sends into the pod goes over lo. What it sends out for the pod leaves from the node, or from the pod's namespace with a mark:
// neither comes here again.
//
// With TPROXY connections keep both addresses: the proxy's socket (IP_TRANSPARENT) has the one they were going to, and what it sends into the pod may
// come from the client's. What the pod answers is brought back by a mark: the proxy's socket has it, the pod's takes it over (tcp_fwmark_accept), and
// packets with it stay on this host, whatever their address. What the pod sends has its mark from the connection (conntrack), so that one that was there
// before the rules, or is excluded, is left alone to its last packet.
#pragma once

#include <cstdint>
#include <vector>

#include "network/address.h"

namespace monopod::network {

// A port's connections go to another listener of the proxy than the rest: one that knows what is spoken there.
struct PortListener {
  std::uint16_t port = 0, listener = 0;
  bool operator==(const PortListener&) const = default;
};

inline constexpr std::uint32_t kTransparentMark = 1U << 21;  // of sockets with a client's address
inline constexpr std::uint32_t kOutboundMark = 1U << 22;     // of connections that are taken on their way out, by TPROXY

struct InterceptSpec {
  std::uint16_t inbound_port = 0, outbound_port = 0;  // where the proxy listens, on all addresses and on loopback; 0: that way is left alone
  bool inbound_transparent = false, outbound_transparent = false;  // by TPROXY: listeners have IP_TRANSPARENT
  // Left alone:
  std::vector<std::uint16_t> inbound_ports_excluded{}, outbound_ports_excluded{};  // by destination port
  std::vector<Cidr> cidrs_excluded{};                                             // outbound, by destination
  std::vector<std::uint32_t> uids_excluded{};                                     // outbound, by who sends
  std::uint32_t mark_excluded = 0;                                                // outbound, sockets with any of these bits (SO_MARK); 0: none
  // Where one of these has entries nothing else of that way is taken; outbound, what either names. What is excluded stays so.
  std::vector<std::uint16_t> inbound_ports_included{}, outbound_ports_included{};
  std::vector<Cidr> cidrs_included{};
  std::vector<PortListener> inbound_listeners{}, outbound_listeners{};            // of those that are taken
  bool operator==(const InterceptSpec&) const = default;
};

// Replaces what was there, in one transaction for each family. Blocking, as all below. Where the kernel has no IPv6, IPv4 alone. kUnimplemented:
// TPROXY is wanted, and the kernel has none.
Result<> install_intercept(int namespace_fd, const InterceptSpec& spec);
// Absent is no error.
Result<> remove_intercept(int namespace_fd);

}  // namespace monopod::network
