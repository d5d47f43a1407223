#include "network/intercept.h"

#include <unistd.h>

#include "network/nft/batch.h"
#include "sys/namespaces.h"

namespace monopod::network {
namespace {

constexpr const char* kInterceptTable = "monopod-intercept";
constexpr std::int32_t kInterceptPriority = -100;  // NF_IP_PRI_NAT_DST

nft::Rule any_tcp() { return std::move(nft::Rule().protocol_is(Protocol::kTcp)); }

bool is_of(nft::Batch::Family family, const Cidr& cidr) { return cidr.address.is_v6() == (family == nft::Batch::Family::kIp6); }

nft::Rule to_prefix(const Cidr& cidr) {
  nft::Rule rule;
  return std::move(cidr.address.is_v6() ? rule.ip6_destination(cidr) : rule.ip_destination(cidr));
}

// The last rules of a chain: those ports first that have a listener of their own.
void add_redirects(nft::Batch& batch, const char* chain, const std::vector<PortListener>& listeners, std::uint16_t rest) {
  for (const PortListener& own : listeners) batch.add_rule(chain, any_tcp().destination_port_is(own.port).redirect(own.listener));
  batch.add_rule(chain, any_tcp().redirect(rest));
}

void add_inbound(nft::Batch& batch, const InterceptSpec& spec) {
  constexpr const char* kTaken = "inbound-taken";
  batch.add_chain(kTaken);
  add_redirects(batch, kTaken, spec.inbound_listeners, spec.inbound_port);
  batch.add_chain("inbound", nft::BaseChain{"nat", nft::Hook::kPrerouting, kInterceptPriority});
  batch.add_rule("inbound", nft::Rule().input_interface("lo").verdict(nft::accept()));
  for (std::uint16_t port : spec.inbound_ports_excluded) batch.add_rule("inbound", any_tcp().destination_port_is(port).verdict(nft::accept()));
  for (std::uint16_t port : spec.inbound_ports_included) batch.add_rule("inbound", any_tcp().destination_port_is(port).verdict(nft::go_to(kTaken)));
  if (spec.inbound_ports_included.empty()) batch.add_rule("inbound", any_tcp().verdict(nft::go_to(kTaken)));
}

void add_outbound(nft::Batch& batch, const InterceptSpec& spec, nft::Batch::Family family) {
  constexpr const char* kTaken = "outbound-taken";
  batch.add_chain(kTaken);
  add_redirects(batch, kTaken, spec.outbound_listeners, spec.outbound_port);
  batch.add_chain("outbound", nft::BaseChain{"nat", nft::Hook::kOutput, kInterceptPriority});
  batch.add_rule("outbound", nft::Rule().output_interface("lo").verdict(nft::accept()));
  if (spec.mark_excluded != 0) batch.add_rule("outbound", nft::Rule().mark(spec.mark_excluded).verdict(nft::accept()));
  for (std::uint32_t uid : spec.uids_excluded) batch.add_rule("outbound", nft::Rule().user_is(uid).verdict(nft::accept()));
  for (const Cidr& cidr : spec.cidrs_excluded)
    if (is_of(family, cidr)) batch.add_rule("outbound", to_prefix(cidr).verdict(nft::accept()));
  for (std::uint16_t port : spec.outbound_ports_excluded) batch.add_rule("outbound", any_tcp().destination_port_is(port).verdict(nft::accept()));
  for (const Cidr& cidr : spec.cidrs_included)
    if (is_of(family, cidr)) batch.add_rule("outbound", to_prefix(cidr).verdict(nft::go_to(kTaken)));
  for (std::uint16_t port : spec.outbound_ports_included) batch.add_rule("outbound", any_tcp().destination_port_is(port).verdict(nft::go_to(kTaken)));
  if (spec.cidrs_included.empty() && spec.outbound_ports_included.empty()) batch.add_rule("outbound", any_tcp().verdict(nft::go_to(kTaken)));
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
