// nf_tables over nfnetlink: one transaction of table, chain, set, element and rule messages; rules are lists of
// expressions over 32-bit registers (linux/netfilter/nf_tables.h). Family is ip (IPv4) unless a batch says otherwise.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "network/address.h"
#include "network/netlink/socket.h"

namespace monopod::network::nft {

// 4-byte registers in the kernel's numbering; a concatenation is a run of them.
enum class Reg : std::uint32_t { k0 = 8, k1, k2, k3, k4, k5, k6, k7 };

// nft(8)'s type numbers, so that listings are readable; a concatenation shifts by 6 bits.
enum class Type : std::uint32_t { kInteger = 4, kIp = 7, kProtocol = 12, kPort = 13, kMark = 19 };
std::uint32_t concat_type(std::initializer_list<Type> types);

enum class Hook : std::uint32_t { kPrerouting = 0, kInput = 1, kForward = 2, kOutput = 3, kPostrouting = 4 };

struct BaseChain {
  const char* type = "filter";  // or "nat", "route" (output: another mark finds another way)
  Hook hook = Hook::kForward;
  std::int32_t priority = 0;
};

struct SetSpec {
  std::string name{};  // "__map%d" and the like for anonymous ones
  std::uint32_t id = 0;  // unique in the batch; rules of the same batch refer to anonymous sets by it
  std::uint32_t key_type = 0;
  std::uint32_t key_bytes = 0;
  bool is_map = false;
  bool is_verdict_map = false;
  std::uint32_t data_type = 0;
  std::uint32_t data_bytes = 0;
  bool anonymous = false;  // and constant
  bool dynamic = false;    // filled by rules
  std::chrono::milliseconds timeout{0};
  std::uint32_t size = 0;  // 0: unbounded
};

struct Verdict {
  std::int32_t code = 0;  // NFT_GOTO..., NF_DROP
  std::string chain{};
  auto operator<=>(const Verdict&) const = default;
};
Verdict go_to(std::string chain);
Verdict jump_to(std::string chain);
Verdict drop();
Verdict accept();

struct Element {
  std::string key{};
  std::string data{};                    // maps of data
  std::optional<Verdict> verdict{};      // verdict maps
};

// Key and data bytes: every field padded to 4 bytes.
std::string key_ip(const IpAddress& ip);
std::string key_port(std::uint16_t port);
std::string key_protocol(Protocol protocol);
std::string key_number(std::uint32_t host_order);

// The expressions of one rule, in order.
class Rule {
 public:
  Rule& load_ip_source(Reg to);
  Rule& load_ip_destination(Reg to);
  Rule& load_destination_port(Reg to);
  Rule& load_protocol(Reg to);
  Rule& load_random(Reg to, std::uint32_t modulus);
  Rule& load_immediate(Reg to, std::string_view bytes);

  Rule& ip_source(const Cidr& cidr, bool equal = true);
  Rule& ip_destination(const Cidr& cidr, bool equal = true);
  // Of a table of family ip6.
  Rule& ip6_destination(const Cidr& cidr);
  Rule& protocol_is(Protocol protocol);
  Rule& destination_port_is(std::uint16_t port);
  Rule& user_is(std::uint32_t uid);  // whose socket sent it: output only
  Rule& destination_is_local();
  Rule& input_interface(std::string_view name, bool equal = true);
  Rule& output_interface(std::string_view name, bool equal = true);
  Rule& conntrack_status(std::uint32_t any_of);
  Rule& conntrack_new();       // the packet is of a connection that nobody has answered
  Rule& conntrack_original();  // it goes the way of the connection's first
  Rule& conntrack_mark(std::uint32_t any_of);
  Rule& mark(std::uint32_t any_of);

  struct SetRef {
    std::string name{};
    std::uint32_t id = 0;  // for anonymous sets
  };
  Rule& in_set(Reg key, const SetRef& set);
  Rule& lookup(Reg key, const SetRef& map, Reg data);
  Rule& verdict_map(Reg key, const SetRef& map);
  // Puts key into a dynamic set, or renews its timeout. Ends the rule where the set is full.
  Rule& update_set(Reg key, std::string_view set);

  Rule& destination_nat(Reg ip, Reg port);
  Rule& redirect(std::uint16_t port);  // to this namespace's own port
  // To this namespace's listening socket at port, as it is: destination and source stay (TPROXY). Filter chains of prerouting; does not match where the
  // packet's socket is another's, or nobody listens who may have it (IP_TRANSPARENT). After protocol_is(). ip6: of a table of family ip6.
  Rule& transparent_proxy(std::uint16_t port, bool ip6);
  Rule& masquerade();
  Rule& reject();  // ICMP port unreachable: connect() fails at once with ECONNREFUSED
  Rule& reject_with_reset();  // after protocol_is(kTcp)
  Rule& set_mark_bits(std::uint32_t bits);
  Rule& set_conntrack_mark_bits(std::uint32_t bits);
  Rule& verdict(const Verdict& verdict);

  const std::vector<std::function<void(netlink::Writer&)>>& expressions() const { return expressions_; }

 private:
  Rule& add(const char* name, std::function<void(netlink::Writer&)> data);
  Rule& compare_interface(std::uint32_t key, std::string_view name, bool equal);
  Rule& compare_cidr(std::uint32_t offset, const Cidr& cidr, bool equal);
  Rule& any_bit(std::uint32_t bits);
  Rule& load_conntrack(std::uint32_t key);
  std::vector<std::function<void(netlink::Writer&)>> expressions_;
};

// Collects messages, then commits them all or none.
class Batch {
 public:
  enum class Family : std::uint8_t { kIp = 2, kIp6 = 10 };  // NFPROTO_IPV4, NFPROTO_IPV6
  explicit Batch(std::string table, Family family = Family::kIp) : table_(std::move(table)), family_(family) {}

  void add_table();
  void delete_table();
  void add_chain(std::string_view chain, const std::optional<BaseChain>& base = std::nullopt);
  void flush_table();  // all rules of all chains
  void flush_chain(std::string_view chain);
  void delete_chain(std::string_view chain);
  void add_set(const SetSpec& set);
  void delete_set(std::string_view set);
  void flush_set(std::string_view set);
  void add_elements(std::string_view set, std::uint32_t set_id, const std::vector<Element>& elements);
  void delete_elements(std::string_view set, const std::vector<Element>& elements);
  void add_rule(std::string_view chain, const Rule& rule);
  std::uint32_t next_set_id() { return ++set_id_; }

  bool empty() const { return steps_.empty(); }
  std::size_t messages() const { return steps_.size(); }

  Result<> commit(netlink::Socket& socket);

 private:
  void begin(std::uint16_t message, std::uint16_t flags, std::string what);
  void put_elements(std::uint16_t message, std::uint16_t flags, std::string_view set, std::uint32_t set_id, const std::vector<Element>& elements);

  std::string table_;
  Family family_;
  netlink::Writer writer_;
  std::vector<std::string> steps_;  // what each message does, for error texts
  std::uint32_t set_id_ = 0;
};

Result<netlink::Socket> open_socket();
Result<bool> table_exists(netlink::Socket& socket, std::string_view table);
Result<> delete_table(netlink::Socket& socket, std::string_view table);  // absent is no error
// Names, of one table; none where there is no such table.
Result<std::vector<std::string>> list_sets(netlink::Socket& socket, std::string_view table);
Result<std::vector<std::string>> list_chains(netlink::Socket& socket, std::string_view table);

}  // namespace monopod::network::nft
