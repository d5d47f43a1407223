// Connection tracking entries (ctnetlink). UDP has no connection end: a flow keeps its NAT, and so its dead endpoint,
// for as long as the client goes on sending. Flows to endpoints that left a service must be forgotten.
#pragma once

#include <set>
#include <utility>

#include "network/address.h"
#include "network/netlink/message.h"

namespace monopod::network {

using UdpEndpoints = std::set<std::pair<IpAddress, std::uint16_t>>;

// Deletes the UDP entries whose destination was translated to one of endpoints; returns how many.
Result<std::size_t> forget_udp_flows(const UdpEndpoints& endpoints);

// One dumped entry, if it is such a flow: its original tuple's bytes, to delete it by.
std::optional<std::vector<std::uint8_t>> parse_udp_flow_to(const netlink::Message& message, const UdpEndpoints& endpoints);

}  // namespace monopod::network
