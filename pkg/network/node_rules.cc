#include "network/node_rules.h"

#include <linux/netfilter/nf_conntrack_common.h>

namespace monopod::network {
namespace {

using nft::Reg;

constexpr const char* kHairpinSet = "hairpin";
constexpr const char* kHostPortsMap = "host-ports";
constexpr const char* kHostIpPortsMap = "host-ip-ports";

Cidr loopback_cidr() { return {IpAddress::v4(0x7F000000U), 8}; }

std::vector<nft::Element> hairpin_of(const Lease& lease) { return {{.key = nft::key_ip(lease.ip) + nft::key_ip(lease.ip)}}; }

std::vector<nft::Element> ports_of(const Lease& lease, bool with_address) {
  std::vector<nft::Element> out;
  for (const HostPort& port : lease.host_ports) {
    if (port.host_ip.is_set() != with_address || port.host_ip.is_v6()) continue;
    std::string key = nft::key_protocol(port.protocol) + nft::key_port(port.host_port);
    if (with_address) key = nft::key_ip(port.host_ip) + key;
    out.push_back({.key = std::move(key), .data = nft::key_ip(lease.ip) + nft::key_port(port.container_port)});
  }
  return out;
}

void add_elements(nft::Batch& batch, const Lease& lease) {
  batch.add_elements(kHairpinSet, 0, hairpin_of(lease));
  batch.add_elements(kHostPortsMap, 0, ports_of(lease, false));
  batch.add_elements(kHostIpPortsMap, 0, ports_of(lease, true));
}

void add_sets(nft::Batch& batch) {
  const auto ip = nft::Type::kIp;
  const auto protocol = nft::Type::kProtocol;
  const auto port = nft::Type::kPort;
  batch.add_set({.name = kHairpinSet, .id = batch.next_set_id(), .key_type = nft::concat_type({ip, ip}), .key_bytes = 8});
  batch.add_set({.name = kHostPortsMap, .id = batch.next_set_id(), .key_type = nft::concat_type({protocol, port}), .key_bytes = 8, .is_map = true,
                 .data_type = nft::concat_type({ip, port}), .data_bytes = 8});
  batch.add_set({.name = kHostIpPortsMap, .id = batch.next_set_id(), .key_type = nft::concat_type({ip, protocol, port}), .key_bytes = 12, .is_map = true,
                 .data_type = nft::concat_type({ip, port}), .data_bytes = 8});
}

void add_rules(nft::Batch& batch, const NetworkConfig& config) {
  batch.add_chain("guard", nft::BaseChain{"filter", nft::Hook::kPrerouting, -300});
  batch.add_rule("guard", nft::Rule().input_interface("lo", false).ip_destination(loopback_cidr()).verdict(nft::drop()));

  batch.add_chain("host-ports-of-pods");
  nft::Rule with_address;
  with_address.load_ip_destination(Reg::k0).load_protocol(Reg::k1).load_destination_port(Reg::k2).lookup(Reg::k0, {.name = kHostIpPortsMap}, Reg::k3);
  batch.add_rule("host-ports-of-pods", with_address.destination_nat(Reg::k3, Reg::k4));
  nft::Rule any_address;
  any_address.destination_is_local().ip_destination(loopback_cidr(), false).load_protocol(Reg::k0).load_destination_port(Reg::k1);
  batch.add_rule("host-ports-of-pods", any_address.lookup(Reg::k0, {.name = kHostPortsMap}, Reg::k3).destination_nat(Reg::k3, Reg::k4));
  // Just after services, which take precedence.
  batch.add_chain("prerouting", nft::BaseChain{"nat", nft::Hook::kPrerouting, -99});
  batch.add_chain("output", nft::BaseChain{"nat", nft::Hook::kOutput, -99});
  for (const char* chain : {"prerouting", "output"}) batch.add_rule(chain, nft::Rule().verdict(nft::jump_to("host-ports-of-pods")));

  if (!config.isolated_from.empty()) {
    batch.add_chain("isolation", nft::BaseChain{"filter", nft::Hook::kForward, 0});
    batch.add_rule("isolation", nft::Rule().conntrack_status(IPS_DST_NAT).verdict(nft::accept()));
    for (const Cidr& other : config.isolated_from) {
      batch.add_rule("isolation", nft::Rule().ip_source(config.pod_cidr).ip_destination(other).verdict(nft::drop()));
      batch.add_rule("isolation", nft::Rule().ip_source(other).ip_destination(config.pod_cidr).verdict(nft::drop()));
    }
  }
  batch.add_chain("postrouting", nft::BaseChain{"nat", nft::Hook::kPostrouting, 101});
  nft::Rule hairpin;
  hairpin.conntrack_status(IPS_DST_NAT).load_ip_source(Reg::k0).load_ip_destination(Reg::k1).in_set(Reg::k0, {.name = kHairpinSet});
  batch.add_rule("postrouting", hairpin.masquerade());
  for (const Cidr& inside : config.cluster_cidrs) batch.add_rule("postrouting", nft::Rule().ip_destination(inside).verdict(nft::accept()));
  batch.add_rule("postrouting", nft::Rule().ip_source(config.pod_cidr).masquerade());
}

}  // namespace

Result<> install_node_rules(netlink::Socket& socket, const NetworkConfig& config, const std::vector<Lease>& leases) {
  nft::Batch batch(config.table);
  batch.add_table();
  batch.delete_table();
  batch.add_table();
  add_sets(batch);
  add_rules(batch, config);
  for (const Lease& lease : leases) add_elements(batch, lease);
  return batch.commit(socket);
}

Result<> add_pod_rules(netlink::Socket& socket, const NetworkConfig& config, const Lease& lease) {
  nft::Batch batch(config.table);
  add_elements(batch, lease);
  return batch.commit(socket);
}

Result<> remove_pod_rules(netlink::Socket& socket, const NetworkConfig& config, const Lease& lease) {
  nft::Batch batch(config.table);
  add_elements(batch, lease);  // so that removing what is not there cannot fail
  batch.delete_elements(kHairpinSet, hairpin_of(lease));
  batch.delete_elements(kHostPortsMap, ports_of(lease, false));
  batch.delete_elements(kHostIpPortsMap, ports_of(lease, true));
  return batch.commit(socket);
}

}  // namespace monopod::network
