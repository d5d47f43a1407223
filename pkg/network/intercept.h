// Redirect rules in a pod's network namespace: its TCP connections go through a proxy that listens there, in or out, and learns where they were going
// (SO_ORIGINAL_DST). The pod needs no privilege and has no part in it. A table of IPv4 and one of IPv6, "monopod-intercept" both.
//
//   prerouting   not from lo, no excluded port  ─► redirect to the inbound port
//   output       not to lo, no excluded user, prefix, port ─► redirect to the outbound port
//
// What the proxy itself sends into the pod goes over lo, and what it sends out for the pod leaves from the node: neither comes here again.
#pragma once

#include <cstdint>
#include <vector>

#include "network/address.h"

namespace monopod::network {

struct InterceptSpec {
  std::uint16_t inbound_port = 0, outbound_port = 0;  // where the proxy listens, on all addresses and on loopback; 0: that way is left alone
  // Left alone:
  std::vector<std::uint16_t> inbound_ports_excluded{}, outbound_ports_excluded{};  // by destination port
  std::vector<Cidr> cidrs_excluded{};                                             // outbound, by destination
  std::vector<std::uint32_t> uids_excluded{};                                     // outbound, by who sends
  bool operator==(const InterceptSpec&) const = default;
};

// Replaces what was there, in one transaction for each family. Blocking, as all below. Where the kernel has no IPv6, IPv4 alone.
Result<> install_intercept(int namespace_fd, const InterceptSpec& spec);
// Absent is no error.
Result<> remove_intercept(int namespace_fd);

}  // namespace monopod::network
