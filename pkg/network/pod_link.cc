#include "network/pod_link.h"

#include <algorithm>
#include <thread>

#include "base/strings.h"
#include "network/sysctl.h"
#include "sys/namespaces.h"

namespace monopod::network {
namespace {

using netlink::Link;
using netlink::RouteSocket;

constexpr int kOperationalTries = 2'000;
constexpr std::chrono::microseconds kOperationalPause{500};

netlink::Mac host_side_mac(const IpAddress& ip) {
  netlink::Mac mac = mac_of(ip);
  mac[1] = 0x59;
  return mac;
}

// Inside the pod's namespace, on a thread of its own.
Result<> configure_pod_side(const PodLink& link) {
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  TRY_ASSIGN(std::optional<Link> loopback, route.find_link("lo"));
  if (!loopback) return fail(Code::kNotFound, "no loopback link");
  TRY(route.set_up(loopback->index));
  TRY_ASSIGN(std::optional<Link> eth, route.find_link(link.pod_interface));
  if (!eth) return fail(Code::kNotFound, cat("no link ", link.pod_interface));

  const std::string conf4 = cat("ipv4/conf/", link.pod_interface, "/");
  const std::string conf6 = cat("ipv6/conf/", link.pod_interface, "/");
  for (const std::string& conf : {std::string("ipv6/conf/all/"), std::string("ipv6/conf/default/"), conf6}) {
    try_set_sysctl(conf + "accept_ra", "0");
    try_set_sysctl(conf + "accept_redirects", "0");
  }
  try_set_sysctl(conf6 + "autoconf", "0");
  for (const std::string& conf : {std::string("ipv4/conf/all/"), conf4}) {
    try_set_sysctl(conf + "accept_redirects", "0");
    try_set_sysctl(conf + "accept_source_route", "0");
    try_set_sysctl(conf + "route_localnet", "0");
  }

  TRY(route.add_address(eth->index, link.ip, 32));
  TRY(route.set_up(eth->index));
  TRY(route.replace_neighbour(eth->index, link.gateway, host_side_mac(link.ip)));
  TRY(route.replace_route({.to = Cidr{link.gateway, 32}, .link = eth->index, .source = link.ip}));
  if (link.only) return route.replace_route({.to = *link.only, .via = link.gateway, .link = eth->index, .source = link.ip});
  return route.replace_route({.via = link.gateway, .link = eth->index, .source = link.ip});
}

// True if the pod's interface is the peer we would make. Removes one that is not (left by an earlier address).
Result<bool> check_pod_side(const PodLink& link) {
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  TRY_ASSIGN(std::optional<Link> eth, route.find_link(link.pod_interface));
  if (!eth) return false;
  if (eth->kind != "veth") return fail(Code::kAlreadyExists, cat("the pod's namespace has a ", link.pod_interface, " of another kind"));
  if (eth->mac == mac_of(link.ip)) return true;
  TRY(route.delete_link(eth->index));
  return false;
}

Result<> configure_host_side(RouteSocket& route, const PodLink& link) {
  TRY_ASSIGN(std::optional<Link> host, route.find_link(link.host_interface));
  if (!host) return fail(Code::kNotFound, cat("no link ", link.host_interface));
  const std::string conf4 = cat("ipv4/conf/", link.host_interface, "/");
  try_set_sysctl(cat("ipv6/conf/", link.host_interface, "/disable_ipv6"), "1");
  TRY(set_sysctl(conf4 + "rp_filter", "1"));
  for (const char* name : {"route_localnet", "accept_redirects", "accept_source_route", "proxy_arp"}) try_set_sysctl(conf4 + name, "0");
  TRY(route.set_up(host->index));
  TRY(route.replace_neighbour(host->index, link.ip, mac_of(link.ip)));
  return route.replace_route({.to = Cidr{link.ip, 32}, .link = host->index, .source = link.gateway});
}

// The end that came up first gets its queue only when the kernel's link watcher runs, a little after its peer came up;
// until then what is sent into it is lost. Since Linux 6.9 asking for the link makes that happen, before one must wait.
Result<> wait_until_operational(RouteSocket& route, const std::string& name) {
  for (int tries = 0; tries < kOperationalTries; ++tries) {
    TRY_ASSIGN(std::optional<Link> link, route.find_link(name));
    if (!link) return fail(Code::kNotFound, cat("no link ", name));
    if (link->operational) return {};
    std::this_thread::sleep_for(kOperationalPause);
  }
  return fail(Code::kUnavailable, cat("link ", name, " does not come up"));
}

}  // namespace

netlink::Mac mac_of(const IpAddress& ip) {
  netlink::Mac mac{0x0A, 0x58};
  std::ranges::copy(ip.bytes().first(4), mac.begin() + 2);
  return mac;
}

Result<> make_pod_link(const PodLink& link) {
  TRY_ASSIGN(sys::Fd pod, sys::open_namespace(link.netns_path));
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  TRY_ASSIGN(std::optional<Link> host, route.find_link(link.host_interface));

  bool present = false;
  TRY(sys::run_in_network_namespace(pod.get(), [&]() -> Result<> {
    TRY_ASSIGN(present, check_pod_side(link));
    return {};
  }));
  if (host && !present) TRY(route.delete_link(host->index));
  if (!host && present) return fail(Code::kAlreadyExists, cat("the pod's ", link.pod_interface, " belongs to another network"));
  auto configure = [&]() -> Result<> {
    TRY(configure_host_side(route, link));
    TRY(sys::run_in_network_namespace(pod.get(), [&] { return configure_pod_side(link); }));
    return wait_until_operational(route, link.host_interface);
  };
  if (present) return configure();
  TRY(route.add_veth({.name = link.host_interface, .mac = host_side_mac(link.ip), .peer_name = link.pod_interface,
                      .peer_namespace = pod.get(), .peer_mac = mac_of(link.ip), .mtu = link.mtu}));
  Result<> done = configure();
  if (done) return {};
  Result<> undone = remove_pod_link(link);
  if (!undone) return fail(std::move(done).error().with(cat("and cannot undo: ", undone.error().message())));
  return done;
}

Result<> remove_pod_link(const PodLink& link) {
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  TRY_ASSIGN(std::optional<Link> host, route.find_link(link.host_interface));
  if (host) TRY(route.delete_link(host->index));  // takes its peer, routes and neighbours with it
  return {};
}

namespace {

Result<> set_bridge_addresses(RouteSocket& route, int bridge, const BridgeRequest& request) {
  std::vector<netlink::LinkAddress> wanted{{.link = bridge, .ip = request.gateway, .prefix_bits = 32}};
  for (const IpAddress& ip : request.addresses) wanted.push_back({.link = bridge, .ip = ip, .prefix_bits = static_cast<std::uint8_t>(ip.bytes().size() * 8)});
  TRY_ASSIGN(std::vector<netlink::LinkAddress> present, route.addresses());
  auto same = [](const netlink::LinkAddress& a) { return [&a](const netlink::LinkAddress& b) { return a.ip == b.ip && a.prefix_bits == b.prefix_bits; }; };
  for (const netlink::LinkAddress& have : present) {
    if (have.link != bridge || !have.ip.is_v4() || std::ranges::any_of(wanted, same(have))) continue;
    TRY(route.remove_address(bridge, have.ip, have.prefix_bits));
  }
  for (const netlink::LinkAddress& want : wanted) TRY(route.add_address(bridge, want.ip, want.prefix_bits));
  return {};
}

// That of the link the node's default route uses; else Ethernet's.
Result<std::uint32_t> uplink_mtu(RouteSocket& route) {
  TRY_ASSIGN(std::optional<netlink::Route> uplink, route.default_route());
  if (!uplink) return 1'500U;
  TRY_ASSIGN(std::vector<Link> links, route.links());
  for (const Link& link : links)
    if (link.index == uplink->link && link.mtu >= 576) return std::min(link.mtu, 65'535U);
  return 1'500U;
}

}  // namespace

Result<std::uint32_t> make_bridge(const BridgeRequest& request) {
  TRY(set_sysctl("ipv4/ip_forward", "1"));
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  std::uint32_t mtu = request.mtu;
  if (mtu == 0) {
    TRY_ASSIGN(mtu, uplink_mtu(route));
  }
  TRY_ASSIGN(std::optional<Link> bridge, route.find_link(request.name));
  if (bridge && bridge->kind != "bridge") return fail(Code::kAlreadyExists, cat("link ", request.name, " exists and is no bridge"));
  if (!bridge) {
    TRY(route.add_bridge(request.name, mac_of(request.gateway), mtu));
    TRY_ASSIGN(bridge, route.find_link(request.name));
    if (!bridge) return fail(Code::kInternal, cat("bridge ", request.name, " vanished"));
  }
  if (bridge->mtu != mtu) TRY(route.set_mtu(bridge->index, mtu));
  try_set_sysctl(cat("ipv6/conf/", request.name, "/disable_ipv6"), "1");
  try_set_sysctl(cat("ipv4/conf/", request.name, "/rp_filter"), "1");
  try_set_sysctl(cat("ipv4/conf/", request.name, "/route_localnet"), "0");
  TRY(route.set_up(bridge->index));
  TRY(set_bridge_addresses(route, bridge->index, request));
  TRY(route.replace_route({.to = request.pod_cidr, .unreachable = true}));
  // So that the node's own packets to a service have a source that pods can answer, before they are translated.
  if (request.service_cidr.address.is_v4()) TRY(route.replace_route({.to = request.service_cidr, .link = bridge->index, .source = request.gateway}));
  return mtu;
}

Result<> remove_bridge(const std::string& name, const Cidr& pod_cidr) {
  TRY_ASSIGN(RouteSocket route, RouteSocket::open());
  TRY(route.delete_route({.to = pod_cidr, .unreachable = true}));
  TRY_ASSIGN(std::optional<Link> bridge, route.find_link(name));
  if (bridge && bridge->kind == "bridge") TRY(route.delete_link(bridge->index));
  return {};
}

}  // namespace monopod::network
