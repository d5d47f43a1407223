#include "network/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "network/netlink/socket.h"

namespace monopod::network {
namespace {

using netlink::Attribute;
using netlink::Attributes;

constexpr std::uint16_t type_of(std::uint16_t message) { return static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message); }

nfgenmsg ipv4_head() {
  nfgenmsg head{};
  head.nfgen_family = AF_INET;
  head.version = NFNETLINK_V0;
  return head;
}

struct Tuple {
  IpAddress source{};
  IpAddress destination{};
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
};

std::optional<Tuple> parse_tuple(const Attributes& attributes) {
  auto ip = attributes.find_nested(CTA_TUPLE_IP);
  auto proto = attributes.find_nested(CTA_TUPLE_PROTO);
  if (!ip || !proto) return std::nullopt;
  auto source = ip->find(CTA_IP_V4_SRC);
  auto destination = ip->find(CTA_IP_V4_DST);
  auto number = proto->find(CTA_PROTO_NUM);
  auto port = proto->find(CTA_PROTO_SRC_PORT);
  if (!source || !destination || !number || !port || source->bytes.size() != 4 || destination->bytes.size() != 4) return std::nullopt;
  return Tuple{.source = IpAddress::v4(std::span<const std::uint8_t, 4>(source->bytes)),
               .destination = IpAddress::v4(std::span<const std::uint8_t, 4>(destination->bytes)),
               .protocol = number->u8().value_or(0), .source_port = port->be16().value_or(0)};
}

}  // namespace

std::optional<std::vector<std::uint8_t>> parse_udp_flow_to(const netlink::Message& message, const UdpEndpoints& endpoints) {
  if (message.type != type_of(IPCTNL_MSG_CT_NEW)) return std::nullopt;
  Attributes attributes = message.attributes(sizeof(nfgenmsg));
  std::optional<Attribute> original = attributes.find(CTA_TUPLE_ORIG);
  std::optional<Attribute> reply = attributes.find(CTA_TUPLE_REPLY);
  std::optional<Tuple> from = original ? parse_tuple(Attributes(original->bytes)) : std::nullopt;
  std::optional<Tuple> back = reply ? parse_tuple(Attributes(reply->bytes)) : std::nullopt;
  if (!from || !back || back->protocol != static_cast<std::uint8_t>(Protocol::kUdp) || from->destination == back->source) return std::nullopt;
  if (!endpoints.contains({back->source, back->source_port})) return std::nullopt;
  return std::vector<std::uint8_t>(original->bytes.begin(), original->bytes.end());
}

Result<std::size_t> forget_udp_flows(const UdpEndpoints& endpoints) {
  if (endpoints.empty()) return std::size_t{0};
  TRY_ASSIGN(netlink::Socket socket, netlink::Socket::open(NETLINK_NETFILTER));
  std::vector<std::vector<std::uint8_t>> flows;
  netlink::Writer ask;
  ask.begin(type_of(IPCTNL_MSG_CT_GET), NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence());
  ask.header(ipv4_head());
  ask.end();
  TRY(socket.dump(ask, "list connections", [&](const netlink::Message& message) {
    if (auto flow = parse_udp_flow_to(message, endpoints)) flows.push_back(std::move(*flow));
  }));
  std::size_t forgotten = 0;
  for (const std::vector<std::uint8_t>& flow : flows) {
    netlink::Writer remove;
    remove.begin(type_of(IPCTNL_MSG_CT_DELETE), NLM_F_REQUEST | NLM_F_ACK, socket.next_sequence());
    remove.header(ipv4_head());
    remove.put(CTA_TUPLE_ORIG | NLA_F_NESTED, flow);
    remove.end();
    Result<> removed = socket.request(remove, "forget a connection");
    if (!removed && removed.error().os_errno() != ENOENT) return fail(std::move(removed).error());
    if (removed) ++forgotten;
  }
  return forgotten;
}

}  // namespace monopod::network
