#include "network/intercept.h"

#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "network/netlink/route.h"
#include "network/nft/batch.h"
#include "network/sysctl.h"
#include "sys/namespaces.h"

namespace monopod::network {
namespace {

constexpr const char* kInterceptTable = "monopod-intercept";
constexpr std::int32_t kInterceptPriority = -100;  // NF_IP_PRI_NAT_DST
constexpr std::int32_t kTransparentPriority = -150;  // NF_IP_PRI_MANGLE
constexpr std::uint32_t kTransparentTable = 21, kOutboundTable = 22;  // of routes

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

void add_transparent(nft::Batch& batch, const char* chain, const std::vector<PortListener>& listeners, std::uint16_t rest, nft::Batch::Family family) {
  bool ip6 = family == nft::Batch::Family::kIp6;
  for (const PortListener& own : listeners) batch.add_rule(chain, any_tcp().destination_port_is(own.port).transparent_proxy(own.listener, ip6).verdict(nft::accept()));
  batch.add_rule(chain, any_tcp().transparent_proxy(rest, ip6).verdict(nft::accept()));
}

// Packets of connections that are taken are sent to lo by their mark, and met there.
void add_loop(nft::Batch& batch, const char* taken, const InterceptSpec& spec, nft::Batch::Family family) {
  constexpr const char* kMet = "outbound-met";
  batch.add_rule(taken, any_tcp().set_conntrack_mark_bits(kOutboundMark).set_mark_bits(kOutboundMark).verdict(nft::accept()));
  batch.add_chain(kMet);
  add_transparent(batch, kMet, spec.outbound_listeners, spec.outbound_port, family);
  batch.add_chain("outbound-loop", nft::BaseChain{"filter", nft::Hook::kPrerouting, kTransparentPriority});
  batch.add_rule("outbound-loop", any_tcp().input_interface("lo").mark(kOutboundMark).conntrack_original().verdict(nft::go_to(kMet)));
}

// A connection is judged by its first packet, in the chain that is returned; what became of it stays so.
const char* add_decided(nft::Batch& batch, const char* chain) {
  constexpr const char* kJudged = "outbound-new";
  batch.add_chain(kJudged);
  batch.add_rule(chain, any_tcp().conntrack_mark(kOutboundMark).conntrack_original().set_mark_bits(kOutboundMark).verdict(nft::accept()));
  batch.add_rule(chain, any_tcp().conntrack_new().conntrack_original().verdict(nft::go_to(kJudged)));
  return kJudged;
}

void add_inbound(nft::Batch& batch, const InterceptSpec& spec, nft::Batch::Family family) {
  constexpr const char* kTaken = "inbound-taken";
  batch.add_chain(kTaken);
  if (spec.inbound_transparent) add_transparent(batch, kTaken, spec.inbound_listeners, spec.inbound_port, family);
  else add_redirects(batch, kTaken, spec.inbound_listeners, spec.inbound_port);
  batch.add_chain("inbound", spec.inbound_transparent ? nft::BaseChain{"filter", nft::Hook::kPrerouting, kTransparentPriority} : nft::BaseChain{"nat", nft::Hook::kPrerouting, kInterceptPriority});
  batch.add_rule("inbound", nft::Rule().input_interface("lo").verdict(nft::accept()));
  for (std::uint16_t port : spec.inbound_ports_excluded) batch.add_rule("inbound", any_tcp().destination_port_is(port).verdict(nft::accept()));
  for (std::uint16_t port : spec.inbound_ports_included) batch.add_rule("inbound", any_tcp().destination_port_is(port).verdict(nft::go_to(kTaken)));
  if (spec.inbound_ports_included.empty()) batch.add_rule("inbound", any_tcp().verdict(nft::go_to(kTaken)));
}

void add_outbound(nft::Batch& batch, const InterceptSpec& spec, nft::Batch::Family family) {
  constexpr const char* kTaken = "outbound-taken";
  const char* judged = "outbound";
  batch.add_chain(kTaken);
  if (spec.outbound_transparent) add_loop(batch, kTaken, spec, family);
  else add_redirects(batch, kTaken, spec.outbound_listeners, spec.outbound_port);
  batch.add_chain(judged, spec.outbound_transparent ? nft::BaseChain{"route", nft::Hook::kOutput, kTransparentPriority} : nft::BaseChain{"nat", nft::Hook::kOutput, kInterceptPriority});
  batch.add_rule(judged, nft::Rule().output_interface("lo").verdict(nft::accept()));
  if (spec.outbound_transparent) judged = add_decided(batch, judged);
  if (spec.mark_excluded != 0) batch.add_rule(judged, nft::Rule().mark(spec.mark_excluded).verdict(nft::accept()));
  for (std::uint32_t uid : spec.uids_excluded) batch.add_rule(judged, nft::Rule().user_is(uid).verdict(nft::accept()));
  for (const Cidr& cidr : spec.cidrs_excluded)
    if (is_of(family, cidr)) batch.add_rule(judged, to_prefix(cidr).verdict(nft::accept()));
  for (std::uint16_t port : spec.outbound_ports_excluded) batch.add_rule(judged, any_tcp().destination_port_is(port).verdict(nft::accept()));
  for (const Cidr& cidr : spec.cidrs_included)
    if (is_of(family, cidr)) batch.add_rule(judged, to_prefix(cidr).verdict(nft::go_to(kTaken)));
  for (std::uint16_t port : spec.outbound_ports_included) batch.add_rule(judged, any_tcp().destination_port_is(port).verdict(nft::go_to(kTaken)));
  if (spec.cidrs_included.empty() && spec.outbound_ports_included.empty()) batch.add_rule(judged, any_tcp().verdict(nft::go_to(kTaken)));
}

Result<> replace_rules(netlink::Socket& socket, const InterceptSpec* spec, nft::Batch::Family family) {
  nft::Batch batch(kInterceptTable, family);
  batch.add_table();  // so that there is one to delete
  batch.delete_table();
  if (spec != nullptr) {
    batch.add_table();
    if (spec->inbound_port != 0) add_inbound(batch, *spec, family);
    if (spec->outbound_port != 0) add_outbound(batch, *spec, family);
  }
  return batch.commit(socket);
}

Result<> keep_marked(netlink::RouteSocket& routes, bool keep, std::uint32_t mark, std::uint32_t table, bool ip6_too) {
  for (bool ip6 : {false, true})
    if (!ip6 || ip6_too) TRY(keep ? routes.keep_marked(ip6, mark, table) : routes.let_marked_go(ip6, mark, table));
  return {};
}

// Where what the pod sends to a client's address goes back to the proxy, and what it sends out goes to it first.
Result<> bring_back(bool inbound, bool outbound, bool ip6_too) {
  TRY_ASSIGN(netlink::RouteSocket routes, netlink::RouteSocket::open());
  if (inbound) TRY(set_sysctl("ipv4/tcp_fwmark_accept", "1"));  // of both families
  TRY(keep_marked(routes, inbound, kTransparentMark, kTransparentTable, ip6_too));
  return keep_marked(routes, outbound, kOutboundMark, kOutboundTable, ip6_too);
}

Result<> run_intercept(int namespace_fd, const InterceptSpec* spec) {
  return sys::run_in_network_namespace(namespace_fd, [spec]() -> Result<> {
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    bool inbound = spec != nullptr && spec->inbound_transparent && spec->inbound_port != 0, outbound = spec != nullptr && spec->outbound_transparent && spec->outbound_port != 0;
    bool has_ip6 = ::access("/proc/sys/net/ipv6", F_OK) == 0;
    Result<> set = replace_rules(socket, spec, nft::Batch::Family::kIp);
    if (set && has_ip6) set = replace_rules(socket, spec, nft::Batch::Family::kIp6);
    if (!set && (inbound || outbound) && set.error().os_errno() == ENOENT)
      return fail(Code::kUnimplemented, "the kernel has no TPROXY (CONFIG_NFT_TPROXY): leave modes at redirect");
    TRY(std::move(set));
    return bring_back(inbound, outbound, has_ip6);
  });
}

}  // namespace

Result<> install_intercept(int namespace_fd, const InterceptSpec& spec) { return run_intercept(namespace_fd, &spec); }
Result<> remove_intercept(int namespace_fd) { return run_intercept(namespace_fd, nullptr); }

}  // namespace monopod::network
