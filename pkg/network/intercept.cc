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
constexpr std::uint32_t kTransparentTable = 21;      // of routes

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

void add_transparent(nft::Batch& batch, const char* chain, const InterceptSpec& spec, bool ip6) {
  for (const PortListener& own : spec.inbound_listeners) batch.add_rule(chain, any_tcp().destination_port_is(own.port).transparent_proxy(own.listener, ip6).verdict(nft::accept()));
  batch.add_rule(chain, any_tcp().transparent_proxy(spec.inbound_port, ip6).verdict(nft::accept()));
}

void add_inbound(nft::Batch& batch, const InterceptSpec& spec, nft::Batch::Family family) {
  constexpr const char* kTaken = "inbound-taken";
  batch.add_chain(kTaken);
  if (spec.inbound_transparent) add_transparent(batch, kTaken, spec, family == nft::Batch::Family::kIp6);
  else add_redirects(batch, kTaken, spec.inbound_listeners, spec.inbound_port);
  batch.add_chain("inbound", spec.inbound_transparent ? nft::BaseChain{"filter", nft::Hook::kPrerouting, kTransparentPriority} : nft::BaseChain{"nat", nft::Hook::kPrerouting, kInterceptPriority});
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
    if (spec->inbound_port != 0) add_inbound(batch, *spec, family);
    if (spec->outbound_port != 0) add_outbound(batch, *spec, family);
  }
  return batch.commit(socket);
}

Result<> keep_marked(netlink::RouteSocket& routes, bool keep, bool ip6) {
  return keep ? routes.keep_marked(ip6, kTransparentMark, kTransparentTable) : routes.let_marked_go(ip6, kTransparentMark, kTransparentTable);
}

// Where what the pod sends to a client's address goes back to the proxy.
Result<> bring_back(bool keep, bool ip6_too) {
  TRY_ASSIGN(netlink::RouteSocket routes, netlink::RouteSocket::open());
  if (keep) TRY(set_sysctl("ipv4/tcp_fwmark_accept", "1"));  // of both families
  TRY(keep_marked(routes, keep, false));
  return ip6_too ? keep_marked(routes, keep, true) : Result<>();
}

Result<> run_intercept(int namespace_fd, const InterceptSpec* spec) {
  return sys::run_in_network_namespace(namespace_fd, [spec]() -> Result<> {
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    bool transparent = spec != nullptr && spec->inbound_transparent, has_ip6 = ::access("/proc/sys/net/ipv6", F_OK) == 0;
    Result<> set = replace_rules(socket, spec, nft::Batch::Family::kIp);
    if (set && has_ip6) set = replace_rules(socket, spec, nft::Batch::Family::kIp6);
    if (!set && transparent && set.error().os_errno() == ENOENT)
      return fail(Code::kUnimplemented, "the kernel has no TPROXY (CONFIG_NFT_TPROXY): leave mode at redirect");
    TRY(std::move(set));
    return bring_back(transparent, has_ip6);
  });
}

}  // namespace

Result<> install_intercept(int namespace_fd, const InterceptSpec& spec) { return run_intercept(namespace_fd, &spec); }
Result<> remove_intercept(int namespace_fd) { return run_intercept(namespace_fd, nullptr); }

}  // namespace monopod::network
