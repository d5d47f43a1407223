#include "network/netlink/route.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <algorithm>
#include <limits>

#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::network::netlink {
namespace {

constexpr std::uint16_t kAsk = NLM_F_REQUEST | NLM_F_ACK;
constexpr std::uint16_t kCreate = kAsk | NLM_F_CREATE | NLM_F_EXCL;
constexpr std::uint16_t kReplace = kAsk | NLM_F_CREATE | NLM_F_REPLACE;
constexpr std::uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;
constexpr int kDumpTries = 5;

std::uint8_t family_of(const IpAddress& ip) { return ip.is_v6() ? AF_INET6 : AF_INET; }

std::optional<IpAddress> ip_of(const Attribute& attribute) {
  if (attribute.bytes.size() == 4) return IpAddress::v4(std::span<const std::uint8_t, 4>(attribute.bytes));
  if (attribute.bytes.size() == 16) return IpAddress::v6(std::span<const std::uint8_t, 16>(attribute.bytes));
  return std::nullopt;
}

Result<> ignore_errno(Result<> result, int first, int second = 0) {
  if (!result && (result.error().os_errno() == first || (second != 0 && result.error().os_errno() == second))) return {};
  return result;
}

ndmsg neighbour_of(int link, std::uint8_t family) {
  ndmsg head{};
  head.ndm_family = family;
  head.ndm_ifindex = link;
  head.ndm_state = NUD_PERMANENT;
  return head;
}

ifinfomsg link_head(int index) {
  ifinfomsg head{};
  head.ifi_index = index;
  return head;
}

}  // namespace

std::string format_mac(const Mac& mac) {
  std::string out;
  for (std::uint8_t byte : mac) out += cat(out.empty() ? "" : ":", format_hex(std::as_bytes(std::span(&byte, 1))));
  return out;
}

std::optional<Link> parse_link(const Message& message) {
  std::optional<ifinfomsg> head = message.fixed<ifinfomsg>();
  if (message.type != RTM_NEWLINK || !head) return std::nullopt;
  Link link{.index = head->ifi_index, .up = (head->ifi_flags & IFF_UP) != 0};
  Attributes attributes = message.attributes(sizeof(ifinfomsg));
  while (std::optional<Attribute> attribute = attributes.next()) {
    switch (attribute->type) {
      case IFLA_IFNAME: link.name = attribute->text(); break;
      case IFLA_MASTER: link.master = static_cast<int>(attribute->u32().value_or(0)); break;
      case IFLA_OPERSTATE: link.operational = attribute->u8().value_or(0) == IF_OPER_UP; break;
      case IFLA_MTU: link.mtu = attribute->u32().value_or(0); break;
      case IFLA_ADDRESS:
        if (attribute->bytes.size() == link.mac.size()) std::ranges::copy(attribute->bytes, link.mac.begin());
        break;
      case IFLA_LINKINFO:
        if (auto kind = Attributes(attribute->bytes).find(IFLA_INFO_KIND)) link.kind = kind->text();
        break;
      default: break;
    }
  }
  if (link.index <= 0 || link.name.empty()) return std::nullopt;
  return link;
}

std::optional<LinkAddress> parse_address(const Message& message) {
  std::optional<ifaddrmsg> head = message.fixed<ifaddrmsg>();
  if (message.type != RTM_NEWADDR || !head) return std::nullopt;
  LinkAddress out{.link = static_cast<int>(head->ifa_index), .prefix_bits = head->ifa_prefixlen, .global = head->ifa_scope == RT_SCOPE_UNIVERSE};
  Attributes attributes = message.attributes(sizeof(ifaddrmsg));
  std::optional<Attribute> ip = attributes.find(IFA_LOCAL);
  if (!ip) ip = attributes.find(IFA_ADDRESS);
  std::optional<IpAddress> parsed = ip ? ip_of(*ip) : std::nullopt;
  if (!parsed) return std::nullopt;
  out.ip = *parsed;
  return out;
}

Result<RouteSocket> RouteSocket::open() {
  TRY_ASSIGN(Socket socket, Socket::open(NETLINK_ROUTE));
  return RouteSocket(std::move(socket));
}

Result<std::vector<Link>> RouteSocket::links() {
  for (int tries = 1;; ++tries) {
    std::vector<Link> out;
    Writer writer;
    writer.begin(RTM_GETLINK, kDump, socket_.next_sequence());
    writer.header(link_head(0));
    writer.end();
    Result<> read = socket_.dump(writer, "list links", [&](const Message& message) {
      if (std::optional<Link> link = parse_link(message)) out.push_back(std::move(*link));
    });
    if (read) return out;
    if (read.error().code() != Code::kAborted || tries == kDumpTries) return fail(std::move(read).error());
  }
}

Result<std::optional<Link>> RouteSocket::find_link(std::string_view name) {
  std::optional<Link> found;
  Writer writer;
  writer.begin(RTM_GETLINK, kAsk, socket_.next_sequence());
  writer.header(link_head(0));
  writer.put_string(IFLA_IFNAME, name);
  writer.end();
  Result<> read = socket_.request(writer, cat("find link ", name), [&](const Message& message) {
    if (std::optional<Link> link = parse_link(message)) found = std::move(link);
  });
  TRY(ignore_errno(std::move(read), ENODEV));
  return found;
}

Result<> RouteSocket::add_bridge(std::string_view name, const Mac& mac, std::uint32_t mtu) {
  Writer writer;
  writer.begin(RTM_NEWLINK, kCreate, socket_.next_sequence());
  ifinfomsg head{};
  head.ifi_flags = IFF_UP;
  head.ifi_change = IFF_UP;
  writer.header(head);
  writer.put_string(IFLA_IFNAME, name);
  writer.put(IFLA_ADDRESS, mac);
  writer.put_u32(IFLA_MTU, mtu);
  {
    Nest info(writer, IFLA_LINKINFO);
    writer.put_string(IFLA_INFO_KIND, "bridge");
    Nest data(writer, IFLA_INFO_DATA);
    writer.put_u32(IFLA_BR_STP_STATE, 0);
    writer.put_u32(IFLA_BR_FORWARD_DELAY, 0);
  }
  writer.end();
  return socket_.request(writer, cat("make bridge ", name));
}

Result<> RouteSocket::add_veth(const VethRequest& request) {
  Writer writer;
  writer.begin(RTM_NEWLINK, kCreate, socket_.next_sequence());
  writer.header(link_head(0));
  writer.put_string(IFLA_IFNAME, request.name);
  writer.put(IFLA_ADDRESS, request.mac);
  writer.put_u32(IFLA_MTU, request.mtu);
  {
    Nest info(writer, IFLA_LINKINFO);
    writer.put_string(IFLA_INFO_KIND, "veth");
    Nest data(writer, IFLA_INFO_DATA);
    Nest peer(writer, VETH_INFO_PEER);
    writer.header(link_head(0));
    writer.put_string(IFLA_IFNAME, request.peer_name);
    writer.put(IFLA_ADDRESS, request.peer_mac);
    writer.put_u32(IFLA_MTU, request.mtu);
    if (request.peer_namespace >= 0) writer.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(request.peer_namespace));
  }
  writer.end();
  return socket_.request(writer, cat("make veth pair ", request.name, " and ", request.peer_name));
}

Result<> RouteSocket::delete_link(int index) {
  Writer writer;
  writer.begin(RTM_DELLINK, kAsk, socket_.next_sequence());
  writer.header(link_head(index));
  writer.end();
  return ignore_errno(socket_.request(writer, cat("delete link ", index)), ENODEV);
}

Result<> RouteSocket::change_link(int index, std::string_view what, const std::function<void(Writer&)>& attributes) {
  Writer writer;
  writer.begin(RTM_NEWLINK, kAsk, socket_.next_sequence());
  writer.header(link_head(index));
  attributes(writer);
  writer.end();
  return socket_.request(writer, cat(what, " of link ", index));
}

Result<> RouteSocket::set_up(int index) {
  Writer writer;
  writer.begin(RTM_NEWLINK, kAsk, socket_.next_sequence());
  ifinfomsg head = link_head(index);
  head.ifi_flags = IFF_UP;
  head.ifi_change = IFF_UP;
  writer.header(head);
  writer.end();
  return socket_.request(writer, cat("set up link ", index));
}

Result<> RouteSocket::set_mtu(int index, std::uint32_t mtu) {
  return change_link(index, "set the MTU", [&](Writer& w) { w.put_u32(IFLA_MTU, mtu); });
}

Result<std::vector<LinkAddress>> RouteSocket::addresses() {
  for (int tries = 1;; ++tries) {
    std::vector<LinkAddress> out;
    Writer writer;
    writer.begin(RTM_GETADDR, kDump, socket_.next_sequence());
    writer.header(ifaddrmsg{});
    writer.end();
    Result<> read = socket_.dump(writer, "list addresses", [&](const Message& message) {
      if (std::optional<LinkAddress> address = parse_address(message)) out.push_back(*address);
    });
    if (read) return out;
    if (read.error().code() != Code::kAborted || tries == kDumpTries) return fail(std::move(read).error());
  }
}

namespace {
Writer address_message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, const LinkAddress& address) {
  Writer writer;
  writer.begin(type, flags, sequence);
  ifaddrmsg head{};
  head.ifa_family = family_of(address.ip);
  head.ifa_prefixlen = address.prefix_bits;
  head.ifa_index = static_cast<std::uint32_t>(address.link);
  if (address.ip.is_v6()) head.ifa_flags = IFA_F_NODAD;
  writer.header(head);
  writer.put(IFA_LOCAL, address.ip.bytes());
  writer.put(IFA_ADDRESS, address.ip.bytes());
  writer.end();
  return writer;
}
}  // namespace

Result<> RouteSocket::add_address(int link, const IpAddress& ip, std::uint8_t prefix_bits) {
  Writer writer = address_message(RTM_NEWADDR, kCreate, socket_.next_sequence(), {.link = link, .ip = ip, .prefix_bits = prefix_bits});
  return ignore_errno(socket_.request(writer, cat("add address ", format_ip(ip), " to link ", link)), EEXIST);
}

Result<> RouteSocket::remove_address(int link, const IpAddress& ip, std::uint8_t prefix_bits) {
  Writer writer = address_message(RTM_DELADDR, kAsk, socket_.next_sequence(), {.link = link, .ip = ip, .prefix_bits = prefix_bits});
  return ignore_errno(socket_.request(writer, cat("remove address ", format_ip(ip), " from link ", link)), EADDRNOTAVAIL, ENODEV);
}

namespace {
Writer route_message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, const Route& route) {
  Writer writer;
  writer.begin(type, flags, sequence);
  rtmsg head{};
  head.rtm_family = route.to.address.is_v6() || route.via.is_v6() ? AF_INET6 : AF_INET;
  head.rtm_dst_len = route.to.prefix_bits;
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = route.via.is_set() || route.unreachable ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  head.rtm_type = route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
  writer.header(head);
  if (route.to.prefix_bits > 0) writer.put(RTA_DST, route.to.address.bytes());
  if (route.via.is_set()) writer.put(RTA_GATEWAY, route.via.bytes());
  if (route.source.is_set()) writer.put(RTA_PREFSRC, route.source.bytes());
  if (!route.unreachable) writer.put_u32(RTA_OIF, static_cast<std::uint32_t>(route.link));
  writer.end();
  return writer;
}
std::string route_name(const Route& route) { return route.to.prefix_bits > 0 ? format_cidr(route.to) : std::string("default"); }
}  // namespace

Result<> RouteSocket::replace_route(const Route& route) {
  Writer writer = route_message(RTM_NEWROUTE, kReplace, socket_.next_sequence(), route);
  return socket_.request(writer, cat("add route ", route_name(route), " through link ", route.link));
}

Result<> RouteSocket::delete_route(const Route& route) {
  Writer writer = route_message(RTM_DELROUTE, kAsk, socket_.next_sequence(), route);
  return ignore_errno(socket_.request(writer, cat("delete route ", route_name(route))), ESRCH, ENODEV);
}

namespace {
constexpr std::uint32_t kMarkedPriority = 100;  // of the rule: behind the local table's, before all others
constexpr std::uint32_t kLoopback = 1;          // lo's index, in every network namespace

Writer mark_rule(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, bool ip6, std::uint32_t mark, std::uint32_t table) {
  Writer writer;
  writer.begin(type, flags, sequence);
  fib_rule_hdr head{};
  head.family = ip6 ? AF_INET6 : AF_INET;
  head.action = FR_ACT_TO_TBL;
  writer.header(head);
  writer.put_u32(FRA_PRIORITY, kMarkedPriority);
  writer.put_u32(FRA_FWMARK, mark);
  writer.put_u32(FRA_FWMASK, mark);
  writer.put_u32(FRA_TABLE, table);
  writer.end();
  return writer;
}

Writer local_default(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, bool ip6, std::uint32_t table) {
  Writer writer;
  writer.begin(type, flags, sequence);
  rtmsg head{};
  head.rtm_family = ip6 ? AF_INET6 : AF_INET;
  head.rtm_table = RT_TABLE_UNSPEC;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_HOST;
  head.rtm_type = RTN_LOCAL;
  writer.header(head);
  writer.put_u32(RTA_TABLE, table);
  writer.put_u32(RTA_OIF, kLoopback);
  writer.end();
  return writer;
}
}  // namespace

Result<> RouteSocket::keep_marked(bool ip6, std::uint32_t mark, std::uint32_t table) {
  Writer route = local_default(RTM_NEWROUTE, kReplace, socket_.next_sequence(), ip6, table);
  TRY(socket_.request(route, cat("add local route, table ", table)));
  Writer rule = mark_rule(RTM_NEWRULE, kCreate, socket_.next_sequence(), ip6, mark, table);
  return ignore_errno(socket_.request(rule, cat("add rule for mark ", mark)), EEXIST);
}

Result<> RouteSocket::let_marked_go(bool ip6, std::uint32_t mark, std::uint32_t table) {
  Writer rule = mark_rule(RTM_DELRULE, kAsk, socket_.next_sequence(), ip6, mark, table);
  TRY(ignore_errno(socket_.request(rule, cat("delete rule for mark ", mark)), ENOENT, EAFNOSUPPORT));
  Writer route = local_default(RTM_DELROUTE, kAsk, socket_.next_sequence(), ip6, table);
  return ignore_errno(socket_.request(route, cat("delete local route, table ", table)), ESRCH, ENOENT);
}

Result<std::optional<Route>> RouteSocket::default_route() {
  std::optional<Route> best;
  std::uint32_t best_metric = std::numeric_limits<std::uint32_t>::max();
  Writer writer;
  writer.begin(RTM_GETROUTE, kDump, socket_.next_sequence());
  rtmsg ask{};
  ask.rtm_family = AF_INET;
  writer.header(ask);
  writer.end();
  TRY(socket_.dump(writer, "list routes", [&](const Message& message) {
    std::optional<rtmsg> head = message.fixed<rtmsg>();
    if (message.type != RTM_NEWROUTE || !head || head->rtm_dst_len != 0 || head->rtm_table != RT_TABLE_MAIN || head->rtm_type != RTN_UNICAST) return;
    Attributes attributes = message.attributes(sizeof(rtmsg));
    std::optional<Attribute> priority = attributes.find(RTA_PRIORITY);
    std::uint32_t metric = priority ? priority->u32().value_or(0) : 0;
    if (best && metric >= best_metric) return;
    Route route;
    if (auto link = attributes.find(RTA_OIF)) route.link = static_cast<int>(link->u32().value_or(0));
    if (auto via = attributes.find(RTA_GATEWAY)) route.via = ip_of(*via).value_or(IpAddress());
    if (auto source = attributes.find(RTA_PREFSRC)) route.source = ip_of(*source).value_or(IpAddress());
    best = route;
    best_metric = metric;
  }));
  return best;
}

Result<> RouteSocket::replace_neighbour(int link, const IpAddress& ip, const Mac& mac) {
  Writer writer;
  writer.begin(RTM_NEWNEIGH, kReplace, socket_.next_sequence());
  writer.header(neighbour_of(link, family_of(ip)));
  writer.put(NDA_DST, ip.bytes());
  writer.put(NDA_LLADDR, mac);
  writer.end();
  return socket_.request(writer, cat("add neighbour ", format_ip(ip), " on link ", link));
}

Result<> RouteSocket::delete_neighbour(int link, const IpAddress& ip) {
  Writer writer;
  writer.begin(RTM_DELNEIGH, kAsk, socket_.next_sequence());
  writer.header(neighbour_of(link, family_of(ip)));
  writer.put(NDA_DST, ip.bytes());
  writer.end();
  return ignore_errno(socket_.request(writer, cat("delete neighbour ", format_ip(ip), " on link ", link)), ENOENT, ENODEV);
}

}  // namespace monopod::network::netlink
