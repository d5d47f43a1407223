#include "network/nft/batch.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "network/nft/values.h"

namespace monopod::network::nft {
namespace {

constexpr std::size_t kElementsPerMessage = 300;  // at most ~150 bytes each: under the 64 KiB of one attribute
constexpr std::uint32_t kVerdictType = 0xFFFFFF00U;
// nft(8) keeps byte orders in the set's user data (type, length, value); without them it misprints integers.
constexpr std::uint8_t kHostByteOrderKey[] = {0, 4, 1, 0, 0, 0};

nfgenmsg head_of(std::uint8_t family, std::uint16_t resource) {
  nfgenmsg head{};
  head.nfgen_family = family;
  head.version = NFNETLINK_V0;
  head.res_id = static_cast<std::uint16_t>(resource << 8 | resource >> 8);
  return head;
}

constexpr std::uint16_t type_of(std::uint16_t message) { return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message); }

void put_verdict(netlink::Writer& w, const Verdict& verdict) {
  netlink::Nest nest(w, NFTA_DATA_VERDICT);
  w.put_be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(verdict.code));
  if (!verdict.chain.empty()) w.put_string(NFTA_VERDICT_CHAIN, verdict.chain);
}

void put_element(netlink::Writer& w, const Element& element) {
  netlink::Nest nest(w, NFTA_LIST_ELEM);
  put_value(w, NFTA_SET_ELEM_KEY, element.key);
  if (element.verdict) {
    netlink::Nest data(w, NFTA_SET_ELEM_DATA);
    put_verdict(w, *element.verdict);
  } else if (!element.data.empty()) {
    put_value(w, NFTA_SET_ELEM_DATA, element.data);
  }
}

}  // namespace

std::uint32_t concat_type(std::initializer_list<Type> types) {
  std::uint32_t out = 0;
  for (Type type : types) out = out << 6 | static_cast<std::uint32_t>(type);
  return out;
}

Verdict go_to(std::string chain) { return {NFT_GOTO, std::move(chain)}; }
Verdict jump_to(std::string chain) { return {NFT_JUMP, std::move(chain)}; }
Verdict drop() { return {NF_DROP, {}}; }
Verdict accept() { return {NF_ACCEPT, {}}; }

std::string key_ip(const IpAddress& ip) { return {ip.bytes().begin(), ip.bytes().end()}; }
std::string key_port(std::uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xFF), 0, 0};
}
std::string key_protocol(Protocol protocol) { return {static_cast<char>(protocol), 0, 0, 0}; }
std::string key_number(std::uint32_t host_order) { return {reinterpret_cast<const char*>(&host_order), sizeof host_order}; }

void Batch::begin(std::uint16_t message, std::uint16_t flags, std::string what) {
  // Sequences are the step's number, moved to the socket's own by commit().
  writer_.begin(type_of(message), static_cast<std::uint16_t>(NLM_F_REQUEST | flags), static_cast<std::uint32_t>(steps_.size()));
  writer_.header(head_of(static_cast<std::uint8_t>(family_), 0));
  steps_.push_back(std::move(what));
}

void Batch::add_table() {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE, cat("add table ", table_));
  writer_.put_string(NFTA_TABLE_NAME, table_);
  writer_.end();
}

void Batch::delete_table() {
  begin(NFT_MSG_DELTABLE, 0, cat("delete table ", table_));
  writer_.put_string(NFTA_TABLE_NAME, table_);
  writer_.end();
}

void Batch::add_chain(std::string_view chain, const std::optional<BaseChain>& base) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, cat("add chain ", chain));
  writer_.put_string(NFTA_CHAIN_TABLE, table_);
  writer_.put_string(NFTA_CHAIN_NAME, chain);
  if (base) {
    {
      netlink::Nest hook(writer_, NFTA_CHAIN_HOOK);
      writer_.put_be32(NFTA_HOOK_HOOKNUM, static_cast<std::uint32_t>(base->hook));
      writer_.put_be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(base->priority));
    }
    writer_.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
    writer_.put_string(NFTA_CHAIN_TYPE, base->type);
  }
  writer_.end();
}

void Batch::flush_table() {
  begin(NFT_MSG_DELRULE, 0, cat("flush table ", table_));
  writer_.put_string(NFTA_RULE_TABLE, table_);
  writer_.end();
}

void Batch::flush_set(std::string_view set) {
  begin(NFT_MSG_DELSETELEM, 0, cat("flush set ", set));
  writer_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
  writer_.put_string(NFTA_SET_ELEM_LIST_SET, set);
  writer_.end();
}

void Batch::flush_chain(std::string_view chain) {
  begin(NFT_MSG_DELRULE, 0, cat("flush chain ", chain));
  writer_.put_string(NFTA_RULE_TABLE, table_);
  writer_.put_string(NFTA_RULE_CHAIN, chain);
  writer_.end();
}

void Batch::delete_chain(std::string_view chain) {
  begin(NFT_MSG_DELCHAIN, 0, cat("delete chain ", chain));
  writer_.put_string(NFTA_CHAIN_TABLE, table_);
  writer_.put_string(NFTA_CHAIN_NAME, chain);
  writer_.end();
}

void Batch::add_set(const SetSpec& set) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE, cat("add set ", set.name));
  std::uint32_t flags = 0;
  if (set.is_map) flags |= NFT_SET_MAP;
  if (set.anonymous) flags |= NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
  if (set.dynamic) flags |= NFT_SET_EVAL;
  if (set.timeout.count() > 0) flags |= NFT_SET_TIMEOUT;
  writer_.put_string(NFTA_SET_TABLE, table_);
  writer_.put_string(NFTA_SET_NAME, set.name);
  writer_.put_be32(NFTA_SET_FLAGS, flags);
  writer_.put_be32(NFTA_SET_KEY_TYPE, set.key_type);
  writer_.put_be32(NFTA_SET_KEY_LEN, set.key_bytes);
  if (set.is_map) {
    writer_.put_be32(NFTA_SET_DATA_TYPE, set.is_verdict_map ? kVerdictType : set.data_type);
    if (!set.is_verdict_map) writer_.put_be32(NFTA_SET_DATA_LEN, set.data_bytes);
  }
  writer_.put_be32(NFTA_SET_ID, set.id);
  if (set.timeout.count() > 0) writer_.put_be64(NFTA_SET_TIMEOUT, static_cast<std::uint64_t>(set.timeout.count()));
  if (set.size > 0) {
    netlink::Nest description(writer_, NFTA_SET_DESC);
    writer_.put_be32(NFTA_SET_DESC_SIZE, set.size);
  }
  if (set.key_type == static_cast<std::uint32_t>(Type::kInteger)) writer_.put(NFTA_SET_USERDATA, kHostByteOrderKey);
  writer_.end();
}

void Batch::delete_set(std::string_view set) {
  begin(NFT_MSG_DELSET, 0, cat("delete set ", set));
  writer_.put_string(NFTA_SET_TABLE, table_);
  writer_.put_string(NFTA_SET_NAME, set);
  writer_.end();
}

void Batch::put_elements(std::uint16_t message, std::uint16_t flags, std::string_view set, std::uint32_t set_id,
                         const std::vector<Element>& elements) {
  for (std::size_t at = 0; at < elements.size(); at += kElementsPerMessage) {
    begin(message, flags, cat(message == NFT_MSG_NEWSETELEM ? "add elements to " : "delete elements of ", set));
    writer_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
    writer_.put_string(NFTA_SET_ELEM_LIST_SET, set);
    if (set_id != 0) writer_.put_be32(NFTA_SET_ELEM_LIST_SET_ID, set_id);
    {
      netlink::Nest list(writer_, NFTA_SET_ELEM_LIST_ELEMENTS);
      for (std::size_t i = at; i < std::min(at + kElementsPerMessage, elements.size()); ++i) put_element(writer_, elements[i]);
    }
    writer_.end();
  }
}

void Batch::add_elements(std::string_view set, std::uint32_t set_id, const std::vector<Element>& elements) {
  put_elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, set_id, elements);
}

void Batch::delete_elements(std::string_view set, const std::vector<Element>& elements) {
  put_elements(NFT_MSG_DELSETELEM, 0, set, 0, elements);
}

void Batch::add_rule(std::string_view chain, const Rule& rule) {
  begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, cat("add rule to ", chain));
  writer_.put_string(NFTA_RULE_TABLE, table_);
  writer_.put_string(NFTA_RULE_CHAIN, chain);
  {
    netlink::Nest expressions(writer_, NFTA_RULE_EXPRESSIONS);
    for (const auto& expression : rule.expressions()) expression(writer_);
  }
  writer_.end();
}

Result<> Batch::commit(netlink::Socket& socket) {
  if (steps_.empty()) return {};
  writer_.add_flags_to_last(NLM_F_ACK);
  netlink::Writer frame;
  std::uint32_t first = socket.next_sequence();
  frame.begin(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, first);
  frame.header(head_of(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  frame.end();
  frame.append_messages(writer_, first + 1);
  for (std::size_t i = 0; i < steps_.size(); ++i) socket.next_sequence();
  frame.begin(NFNL_MSG_BATCH_END, NLM_F_REQUEST, socket.next_sequence());
  frame.header(head_of(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  frame.end();
  std::uint32_t last = first + static_cast<std::uint32_t>(steps_.size());
  return socket.batch(frame, {.first_sequence = first, .last_sequence = last}, [&](std::uint32_t sequence) {
    std::size_t step = sequence - first - 1;
    return cat("nftables table ", table_, ": ", step < steps_.size() ? steps_[step] : std::string("transaction"));
  });
}

Result<netlink::Socket> open_socket() { return netlink::Socket::open(NETLINK_NETFILTER); }

namespace {

netlink::Writer ask(netlink::Socket& socket, std::uint16_t message, std::uint16_t flags, const std::function<void(netlink::Writer&)>& attributes) {
  netlink::Writer writer;
  writer.begin(type_of(message), static_cast<std::uint16_t>(NLM_F_REQUEST | flags), socket.next_sequence());
  writer.header(head_of(NFPROTO_IPV4, 0));
  attributes(writer);
  writer.end();
  return writer;
}

}  // namespace

Result<bool> table_exists(netlink::Socket& socket, std::string_view table) {
  netlink::Writer writer = ask(socket, NFT_MSG_GETTABLE, NLM_F_ACK, [&](netlink::Writer& w) { w.put_string(NFTA_TABLE_NAME, table); });
  Result<> found = socket.request(writer, cat("find nftables table ", table));
  if (found) return true;
  if (found.error().os_errno() == ENOENT) return false;
  return fail(std::move(found).error());
}

Result<> delete_table(netlink::Socket& socket, std::string_view table) {
  TRY_ASSIGN(bool exists, table_exists(socket, table));
  if (!exists) return {};
  Batch batch{std::string(table)};
  batch.delete_table();
  Result<> deleted = batch.commit(socket);
  if (!deleted && deleted.error().os_errno() == ENOENT) return {};
  return deleted;
}

namespace {

Result<std::vector<std::string>> list_names(netlink::Socket& socket, std::string_view table, std::uint16_t ask_type, std::uint16_t table_attribute,
                                            std::uint16_t name_attribute) {
  std::vector<std::string> out;
  netlink::Writer writer = ask(socket, ask_type, NLM_F_DUMP, [&](netlink::Writer& w) { w.put_string(table_attribute, table); });
  Result<> read = socket.dump(writer, cat("list nftables table ", table), [&](const netlink::Message& message) {
    netlink::Attributes attributes = message.attributes(sizeof(nfgenmsg));
    auto of = attributes.find(table_attribute);
    auto name = attributes.find(name_attribute);
    if (of && name && of->text() == table) out.emplace_back(name->text());
  });
  if (!read && read.error().os_errno() == ENOENT) return out;
  TRY(read);
  return out;
}

}  // namespace

Result<std::vector<std::string>> list_sets(netlink::Socket& socket, std::string_view table) {
  return list_names(socket, table, NFT_MSG_GETSET, NFTA_SET_TABLE, NFTA_SET_NAME);
}

Result<std::vector<std::string>> list_chains(netlink::Socket& socket, std::string_view table) {
  return list_names(socket, table, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
}

}  // namespace monopod::network::nft
