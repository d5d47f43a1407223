// The nftables table of the pod network: masquerade, hairpin, host ports, and what must never pass.
//
//   raw prerouting   loopback addresses from outside: dropped (CVE-2020-8558)
//   dnat             host-ports: (address .) protocol . port -> pod ip . port
//   postrouting      a pod that reaches itself through a service or host port: masquerade
//                    pods to anything outside of the cluster: masquerade
#pragma once

#include <vector>

#include "network/lease.h"
#include "network/nft/batch.h"

namespace monopod::network {

// Replaces the whole table, in one transaction.
Result<> install_node_rules(netlink::Socket& socket, const NetworkConfig& config, const std::vector<Lease>& leases);
// Idempotent, both.
Result<> add_pod_rules(netlink::Socket& socket, const NetworkConfig& config, const Lease& lease);
Result<> remove_pod_rules(netlink::Socket& socket, const NetworkConfig& config, const Lease& lease);

}  // namespace monopod::network
