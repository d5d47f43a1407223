// The expressions of nf_tables rules: each is a name and a nest of attributes.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>

#include "network/nft/batch.h"
#include "network/nft/values.h"

namespace monopod::network::nft {
namespace {

using netlink::Nest;
using netlink::Writer;

std::uint32_t number(Reg reg) { return static_cast<std::uint32_t>(reg); }

constexpr std::uint32_t kSourceOffset = 12;  // in the IPv4 header
constexpr std::uint32_t kDestinationOffset = 16;
constexpr Reg kScratch = Reg::k7;

std::function<void(Writer&)> payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size, Reg to) {
  return [=](Writer& w) {
    w.put_be32(NFTA_PAYLOAD_DREG, number(to));
    w.put_be32(NFTA_PAYLOAD_BASE, base);
    w.put_be32(NFTA_PAYLOAD_OFFSET, offset);
    w.put_be32(NFTA_PAYLOAD_LEN, size);
  };
}

std::function<void(Writer&)> compare(Reg reg, bool equal, std::string value) {
  return [=](Writer& w) {
    w.put_be32(NFTA_CMP_SREG, number(reg));
    w.put_be32(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
    put_value(w, NFTA_CMP_DATA, value);
  };
}

std::function<void(Writer&)> bitwise(Reg reg, std::string mask, std::string flip) {
  return [=](Writer& w) {
    w.put_be32(NFTA_BITWISE_SREG, number(reg));
    w.put_be32(NFTA_BITWISE_DREG, number(reg));
    w.put_be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
    put_value(w, NFTA_BITWISE_MASK, mask);
    put_value(w, NFTA_BITWISE_XOR, flip);
  };
}

}  // namespace

Rule& Rule::add(const char* name, std::function<void(Writer&)> data) {
  expressions_.push_back([name, data = std::move(data)](Writer& w) {
    Nest item(w, NFTA_LIST_ELEM);
    w.put_string(NFTA_EXPR_NAME, name);
    Nest attributes(w, NFTA_EXPR_DATA);
    data(w);
  });
  return *this;
}

Rule& Rule::load_ip_source(Reg to) { return add("payload", payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceOffset, 4, to)); }
Rule& Rule::load_ip_destination(Reg to) { return add("payload", payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationOffset, 4, to)); }
Rule& Rule::load_destination_port(Reg to) { return add("payload", payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, to)); }

Rule& Rule::load_protocol(Reg to) {
  return add("meta", [=](Writer& w) {
    w.put_be32(NFTA_META_DREG, number(to));
    w.put_be32(NFTA_META_KEY, NFT_META_L4PROTO);
  });
}

Rule& Rule::load_random(Reg to, std::uint32_t modulus) {
  return add("numgen", [=](Writer& w) {
    w.put_be32(NFTA_NG_DREG, number(to));
    w.put_be32(NFTA_NG_MODULUS, modulus);
    w.put_be32(NFTA_NG_TYPE, NFT_NG_RANDOM);
    w.put_be32(NFTA_NG_OFFSET, 0);
  });
}

Rule& Rule::load_immediate(Reg to, std::string_view bytes) {
  return add("immediate", [=, value = std::string(bytes)](Writer& w) {
    w.put_be32(NFTA_IMMEDIATE_DREG, number(to));
    put_value(w, NFTA_IMMEDIATE_DATA, value);
  });
}

Rule& Rule::compare_cidr(std::uint32_t offset, const Cidr& cidr, bool equal) {
  add("payload", payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4, kScratch));
  std::string mask = key_ip(IpAddress::v4(cidr.prefix_bits == 0 ? 0 : 0xFFFFFFFFU << (32 - cidr.prefix_bits)));
  if (cidr.prefix_bits < 32) add("bitwise", bitwise(kScratch, mask, std::string(4, '\0')));
  return add("cmp", compare(kScratch, equal, key_ip(cidr.address)));
}

Rule& Rule::ip_source(const Cidr& cidr, bool equal) { return compare_cidr(kSourceOffset, cidr, equal); }
Rule& Rule::ip_destination(const Cidr& cidr, bool equal) { return compare_cidr(kDestinationOffset, cidr, equal); }

Rule& Rule::ip6_destination(const Cidr& cidr) {
  constexpr std::uint32_t kOffset = 24;  // in the IPv6 header
  add("payload", payload(NFT_PAYLOAD_NETWORK_HEADER, kOffset, 16, Reg::k0));
  std::string mask(16, '\0');
  for (std::size_t bit = 0; bit < cidr.prefix_bits; ++bit) mask[bit / 8] = static_cast<char>(mask[bit / 8] | 0x80 >> bit % 8);
  if (cidr.prefix_bits < 128) add("bitwise", bitwise(Reg::k0, mask, std::string(16, '\0')));
  return add("cmp", compare(Reg::k0, true, key_ip(cidr.address)));
}

Rule& Rule::destination_port_is(std::uint16_t port) {
  return load_destination_port(kScratch).add("cmp", compare(kScratch, true, key_port(port).substr(0, 2)));
}

Rule& Rule::user_is(std::uint32_t uid) {
  add("meta", [](Writer& w) {
    w.put_be32(NFTA_META_DREG, number(kScratch));
    w.put_be32(NFTA_META_KEY, NFT_META_SKUID);
  });
  return add("cmp", compare(kScratch, true, key_number(uid)));
}

Rule& Rule::protocol_is(Protocol protocol) {
  return load_protocol(kScratch).add("cmp", compare(kScratch, true, std::string(1, static_cast<char>(protocol))));
}

Rule& Rule::destination_is_local() {
  add("fib", [](Writer& w) {
    w.put_be32(NFTA_FIB_DREG, number(kScratch));
    w.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    w.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  });
  return add("cmp", compare(kScratch, true, key_number(RTN_LOCAL)));
}

// Names live in a 16-byte register (numbered 1 to 4); 4 overlaps the last 32-bit ones, which no caller holds across it.
Rule& Rule::compare_interface(std::uint32_t key, std::string_view name, bool equal) {
  add("meta", [=](Writer& w) {
    w.put_be32(NFTA_META_DREG, NFT_REG_4);
    w.put_be32(NFTA_META_KEY, key);
  });
  std::string padded(name.substr(0, IFNAMSIZ - 1));
  padded.resize(IFNAMSIZ);
  return add("cmp", [=](Writer& w) {
    w.put_be32(NFTA_CMP_SREG, NFT_REG_4);
    w.put_be32(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
    put_value(w, NFTA_CMP_DATA, padded);
  });
}

Rule& Rule::input_interface(std::string_view name, bool equal) { return compare_interface(NFT_META_IIFNAME, name, equal); }
Rule& Rule::output_interface(std::string_view name, bool equal) { return compare_interface(NFT_META_OIFNAME, name, equal); }

Rule& Rule::any_bit(std::uint32_t bits) {
  add("bitwise", bitwise(kScratch, key_number(bits), std::string(4, '\0')));
  return add("cmp", compare(kScratch, false, std::string(4, '\0')));
}

Rule& Rule::load_conntrack(std::uint32_t key) {
  return add("ct", [key](Writer& w) {
    w.put_be32(NFTA_CT_DREG, number(kScratch));
    w.put_be32(NFTA_CT_KEY, key);
  });
}

Rule& Rule::conntrack_status(std::uint32_t any_of) { return load_conntrack(NFT_CT_STATUS).any_bit(any_of); }

Rule& Rule::conntrack_new() { return load_conntrack(NFT_CT_STATE).any_bit(NF_CT_STATE_BIT(IP_CT_NEW)); }

Rule& Rule::conntrack_original() {
  load_conntrack(NFT_CT_DIRECTION);
  return add("cmp", compare(kScratch, true, std::string(1, static_cast<char>(IP_CT_DIR_ORIGINAL))));
}

Rule& Rule::conntrack_mark(std::uint32_t any_of) { return load_conntrack(NFT_CT_MARK).any_bit(any_of); }

Rule& Rule::mark(std::uint32_t any_of) {
  add("meta", [](Writer& w) {
    w.put_be32(NFTA_META_DREG, number(kScratch));
    w.put_be32(NFTA_META_KEY, NFT_META_MARK);
  });
  return any_bit(any_of);
}

Rule& Rule::in_set(Reg key, const SetRef& set) {
  return add("lookup", [=](Writer& w) {
    w.put_string(NFTA_LOOKUP_SET, set.name);
    if (set.id != 0) w.put_be32(NFTA_LOOKUP_SET_ID, set.id);
    w.put_be32(NFTA_LOOKUP_SREG, number(key));
  });
}

Rule& Rule::lookup(Reg key, const SetRef& map, Reg data) {
  return add("lookup", [=](Writer& w) {
    w.put_string(NFTA_LOOKUP_SET, map.name);
    if (map.id != 0) w.put_be32(NFTA_LOOKUP_SET_ID, map.id);
    w.put_be32(NFTA_LOOKUP_SREG, number(key));
    w.put_be32(NFTA_LOOKUP_DREG, number(data));
  });
}

Rule& Rule::verdict_map(Reg key, const SetRef& map) {
  return add("lookup", [=](Writer& w) {
    w.put_string(NFTA_LOOKUP_SET, map.name);
    if (map.id != 0) w.put_be32(NFTA_LOOKUP_SET_ID, map.id);
    w.put_be32(NFTA_LOOKUP_SREG, number(key));
    w.put_be32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  });
}

Rule& Rule::update_set(Reg key, std::string_view set) {
  return add("dynset", [=, name = std::string(set)](Writer& w) {
    w.put_string(NFTA_DYNSET_SET_NAME, name);
    w.put_be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    w.put_be32(NFTA_DYNSET_SREG_KEY, number(key));
  });
}

Rule& Rule::destination_nat(Reg ip, Reg port) {
  return add("nat", [=](Writer& w) {
    w.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    w.put_be32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
    w.put_be32(NFTA_NAT_REG_ADDR_MIN, number(ip));
    w.put_be32(NFTA_NAT_REG_PROTO_MIN, number(port));
  });
}

Rule& Rule::redirect(std::uint16_t port) {
  load_immediate(Reg::k0, key_port(port).substr(0, 2));
  return add("redir", [](Writer& w) { w.put_be32(NFTA_REDIR_REG_PROTO_MIN, number(Reg::k0)); });
}

Rule& Rule::transparent_proxy(std::uint16_t port, bool ip6) {
  load_immediate(Reg::k0, key_port(port).substr(0, 2));
  return add("tproxy", [ip6](Writer& w) {
    w.put_be32(NFTA_TPROXY_FAMILY, ip6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    w.put_be32(NFTA_TPROXY_REG_PORT, number(Reg::k0));
  });
}

Rule& Rule::masquerade() {
  return add("masq", [](Writer& w) { w.put_be32(NFTA_MASQ_FLAGS, 1U << 4); });  // NF_NAT_RANGE_PROTO_RANDOM_FULLY
}

Rule& Rule::reject() {
  return add("reject", [](Writer& w) {
    w.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    w.put_u8(NFTA_REJECT_ICMP_CODE, 3);  // port unreachable, RFC 792
  });
}

Rule& Rule::reject_with_reset() {
  return add("reject", [](Writer& w) { w.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST); });
}

Rule& Rule::set_mark_bits(std::uint32_t bits) {
  add("meta", [](Writer& w) {
    w.put_be32(NFTA_META_DREG, number(kScratch));
    w.put_be32(NFTA_META_KEY, NFT_META_MARK);
  });
  add("bitwise", bitwise(kScratch, key_number(~bits), key_number(bits)));
  return add("meta", [](Writer& w) {
    w.put_be32(NFTA_META_KEY, NFT_META_MARK);
    w.put_be32(NFTA_META_SREG, number(kScratch));
  });
}

Rule& Rule::set_conntrack_mark_bits(std::uint32_t bits) {
  load_conntrack(NFT_CT_MARK);
  add("bitwise", bitwise(kScratch, key_number(~bits), key_number(bits)));
  return add("ct", [](Writer& w) {
    w.put_be32(NFTA_CT_KEY, NFT_CT_MARK);
    w.put_be32(NFTA_CT_SREG, number(kScratch));
  });
}

Rule& Rule::verdict(const Verdict& verdict) {
  return add("immediate", [=](Writer& w) {
    w.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    Nest data(w, NFTA_IMMEDIATE_DATA);
    Nest nest(w, NFTA_DATA_VERDICT);
    w.put_be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(verdict.code));
    if (!verdict.chain.empty()) w.put_string(NFTA_VERDICT_CHAIN, verdict.chain);
  });
}

}  // namespace monopod::network::nft
