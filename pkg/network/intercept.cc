#include "network/intercept.h"

#include <unistd.h>

#include "network/nft/batch.h"
#include "sys/namespaces.h"

namespace monopod::network {
namespace {

constexpr const char* kInterceptTable = "monopod-intercept";
constexpr std::int32_t kInterceptPriority = -100;  // NF_IP_PRI_NAT_DST

nft::Rule any_tcp() { return std::move(nft::Rule().protocol_is(Protocol::kTcp)); }

void add_inbound(nft::Batch& batch, const InterceptSpec& spec) {
  batch.add_chain("inbound", nft::BaseChain{"nat", nft::Hook::kPrerouting, kInterceptPriority});
  batch.add_rule("inbound", nft::Rule().input_interface("lo").verdict(nft::accept()));
  for (std::uint16_t port : spec.inbound_ports_excluded) batch.add_rule("inbound", any_tcp().destination_port_is(port).verdict(nft::accept()));
  batch.add_rule("inbound", any_tcp().redirect(spec.inbound_port));
}

void add_outbound(nft::Batch& batch, const InterceptSpec& spec, nft::Batch::Family family) {
  bool v6 = family == nft::Batch::Family::kIp6;
  batch.add_chain("outbound", nft::BaseChain{"nat", nft::Hook::kOutput, kInterceptPriority});
  batch.add_rule("outbound", nft::Rule().output_interface("lo").verdict(nft::accept()));
  for (std::uint32_t uid : spec.uids_excluded) batch.add_rule("outbound", nft::Rule().user_is(uid).verdict(nft::accept()));
  for (const Cidr& cidr : spec.cidrs_excluded) {
    if (cidr.address.is_v6() != v6) continue;
    nft::Rule rule;
    batch.add_rule("outbound", (v6 ? rule.ip6_destination(cidr) : rule.ip_destination(cidr)).verdict(nft::accept()));
  }
  for (std::uint16_t port : spec.outbound_ports_excluded) batch.add_rule("outbound", any_tcp().destination_port_is(port).verdict(nft::accept()));
  batch.add_rule("outbound", any_tcp().redirect(spec.outbound_port));
}

Result<> replace_rules(netlink::Socket& socket, const InterceptSpec* spec, nft::Batch::Family family) {
  nft::Batch batch(kInterceptTable, family);
  batch.add_table();  // so that there is one to delete
  batch.delete_table();
  if (spec != nullptr) {
    batch.add_table();
    if (spec->inbound_port != 0) add_inbound(batch, *spec);
    if (spec->outbound_port != 0) add_outbound(batch, *spec, family);
  }
  return batch.commit(socket);
}

Result<> run_intercept(int namespace_fd, const InterceptSpec* spec) {
  return sys::run_in_network_namespace(namespace_fd, [spec]() -> Result<> {
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    TRY(replace_rules(socket, spec, nft::Batch::Family::kIp));
    if (::access("/proc/sys/net/ipv6", F_OK) != 0) return {};
    return replace_rules(socket, spec, nft::Batch::Family::kIp6);
  });
}

}  // namespace

Result<> install_intercept(int namespace_fd, const InterceptSpec& spec) { return run_intercept(namespace_fd, &spec); }
Result<> remove_intercept(int namespace_fd) { return run_intercept(namespace_fd, nullptr); }

}  // namespace monopod::network
