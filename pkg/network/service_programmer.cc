#include <linux/netfilter/nf_conntrack_common.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "network/conntrack.h"
#include "network/service_rules.h"

namespace monopod::network {
namespace {

using nft::Reg;

constexpr std::uint32_t kAffinityClientsMax = 65'536;  // per service port; beyond, connections go without affinity
constexpr const char* kNodeAddressesSet = "node-addresses";

std::uint32_t type_ip_protocol_port() { return nft::concat_type({nft::Type::kIp, nft::Type::kProtocol, nft::Type::kPort}); }
std::uint32_t type_protocol_port() { return nft::concat_type({nft::Type::kProtocol, nft::Type::kPort}); }
std::uint32_t type_ip_port() { return nft::concat_type({nft::Type::kIp, nft::Type::kPort}); }

std::string slot_data(const Slot& slot) { return nft::key_ip(slot.ip) + nft::key_port(slot.port); }

// An endpoint of a port with affinity: the clients it has, and the chain that keeps them.
struct StickyEndpoint {
  Slot slot{};
  std::string chain{};
  std::string set{};
};

std::vector<StickyEndpoint> sticky_endpoints(const PortRules& rules) {
  std::vector<StickyEndpoint> out;
  if (rules.affinity.count() == 0) return out;
  std::set<Slot> slots(rules.slots.begin(), rules.slots.end());
  slots.insert(rules.external_slots.begin(), rules.external_slots.end());
  for (const Slot& slot : slots) {
    std::string name = cat(rules.affinity.count(), "-", rules.chain.substr(4), "/", format_ip(slot.ip), "/", slot.port);
    out.push_back({.slot = slot, .chain = cat("ep-", name), .set = cat("aff-", name)});
  }
  return out;
}

struct InstalledService {
  Service service{};
  std::vector<PortRules> ports{};
};
using EntryKey = std::pair<std::string, std::string>;  // map, key
using Entries = std::map<EntryKey, nft::Verdict>;

// What one call of apply() will do to the kernel and, once that succeeded, to our own view.
struct Change {
  explicit Change(std::string table) : batch(std::move(table)) {}
  nft::Batch batch;
  std::vector<InstalledService> fresh{};
  std::vector<std::string> gone{};  // services
  Entries remove{};
  Entries add{};
  std::vector<std::string> chains{};  // nobody goes to them any more
  std::vector<std::string> sets{};
  UdpEndpoints left{};
  bool conflict = false;
};

const PortRules* find_port(const InstalledService* service, const std::string& chain) {
  if (service == nullptr) return nullptr;
  for (const PortRules& port : service->ports)
    if (port.chain == chain) return &port;
  return nullptr;
}

class Programmer final : public ServiceProgrammer {
 public:
  Programmer(Options options, netlink::Socket socket) : options_(std::move(options)), socket_(std::move(socket)) {}

  Result<ServiceStats> apply(const ServiceTable& table) override;
  Result<> remove() override;

 private:
  Result<> write_start(nft::Batch& batch);
  void write_layout(nft::Batch& batch) const;
  void write_rules(nft::Batch& batch) const;
  void write_dispatch(nft::Batch& batch) const;
  void write_refusals(nft::Batch& batch) const;
  void write_chain(nft::Batch& batch, const std::string& chain, const std::vector<Slot>& slots, const PortRules& port) const;
  void write_port(nft::Batch& batch, const PortRules& port, const PortRules* old);
  void change_service(Change& change, const Service& service, const InstalledService* old);
  static void retire_port(Change& change, const PortRules& old, const PortRules* now);
  void settle_entries(Change& change) const;
  void adopt(Change& change);

  Options options_;
  netlink::Socket socket_;
  bool installed_ = false;  // the kernel's table is what services_ and entries_ say
  std::map<std::string, InstalledService, std::less<>> services_;
  Entries entries_;
  std::set<std::string> kept_sets_;  // clients of an earlier process's table, not claimed yet
};

struct FixedChain {
  std::string_view name;
  std::optional<nft::BaseChain> base{};
};
const std::array<FixedChain, 8> kFixedChains{{
    {"services"},
    {kRefuseChain},
    {"prerouting", nft::BaseChain{"nat", nft::Hook::kPrerouting, -100}},
    {"output", nft::BaseChain{"nat", nft::Hook::kOutput, -100}},
    {"postrouting", nft::BaseChain{"nat", nft::Hook::kPostrouting, 100}},
    {"filter-input", nft::BaseChain{"filter", nft::Hook::kInput, 0}},
    {"filter-forward", nft::BaseChain{"filter", nft::Hook::kForward, 0}},
    {"filter-output", nft::BaseChain{"filter", nft::Hook::kOutput, 0}},
}};
constexpr std::array kVerdictMaps{kServiceIpsMap, kNodePortsMap, kRefusedIpsMap, kRefusedNodePortsMap};

void add_verdict_map(nft::Batch& batch, const char* name, std::uint32_t type, std::uint32_t bytes) {
  batch.add_set({.name = name, .id = batch.next_set_id(), .key_type = type, .key_bytes = bytes, .is_map = true, .is_verdict_map = true});
}

nft::Rule ip_lookup(const char* map) {
  nft::Rule rule;
  rule.load_ip_destination(Reg::k0).load_protocol(Reg::k1).load_destination_port(Reg::k2).verdict_map(Reg::k0, {.name = map});
  return rule;
}

void Programmer::write_dispatch(nft::Batch& batch) const {
  batch.add_rule("services", ip_lookup(kServiceIpsMap));
  nft::Rule node_ports;
  if (options_.node_port_addresses.empty()) {
    // Loopback is left out: answers to 127.0.0.1 could not leave a pod, and route_localnet stays off (CVE-2020-8558).
    node_ports.destination_is_local().ip_destination(Cidr{IpAddress::v4(0x7F000000U), 8}, false);
  } else {
    node_ports.load_ip_destination(Reg::k0).in_set(Reg::k0, {.name = kNodeAddressesSet});
  }
  node_ports.load_protocol(Reg::k0).load_destination_port(Reg::k1).verdict_map(Reg::k0, {.name = kNodePortsMap});
  batch.add_rule("services", node_ports);
  batch.add_rule("prerouting", nft::Rule().verdict(nft::jump_to("services")));
  batch.add_rule("output", nft::Rule().verdict(nft::jump_to("services")));
  batch.add_rule("postrouting", nft::Rule().mark(kMasqueradeMark).masquerade());
}

void Programmer::write_refusals(nft::Batch& batch) const {
  // A reset reaches the node's own sockets at once too; the kernel ignores an ICMP error while connect() holds the socket.
  batch.add_rule(kRefuseChain, nft::Rule().protocol_is(Protocol::kTcp).reject_with_reset());
  batch.add_rule(kRefuseChain, nft::Rule().reject());
  nft::Rule node_ports;
  node_ports.destination_is_local().ip_destination(Cidr{IpAddress::v4(0x7F000000U), 8}, false);
  node_ports.load_protocol(Reg::k0).load_destination_port(Reg::k1).verdict_map(Reg::k0, {.name = kRefusedNodePortsMap});
  for (const char* chain : {"filter-input", "filter-forward", "filter-output"}) batch.add_rule(chain, ip_lookup(kRefusedIpsMap));
  batch.add_rule("filter-input", node_ports);
  if (!options_.service_cidr.address.is_v4()) return;
  batch.add_rule("filter-forward", nft::Rule().ip_destination(options_.service_cidr).verdict(nft::go_to(kRefuseChain)));
  batch.add_rule("filter-output", nft::Rule().output_interface("lo", false).ip_destination(options_.service_cidr).verdict(nft::go_to(kRefuseChain)));
}

void Programmer::write_layout(nft::Batch& batch) const {
  batch.add_table();  // so that deleting it cannot fail
  batch.delete_table();
  batch.add_table();
  add_verdict_map(batch, kServiceIpsMap, type_ip_protocol_port(), 12);
  add_verdict_map(batch, kNodePortsMap, type_protocol_port(), 8);
  add_verdict_map(batch, kRefusedIpsMap, type_ip_protocol_port(), 12);
  add_verdict_map(batch, kRefusedNodePortsMap, type_protocol_port(), 8);
  if (!options_.node_port_addresses.empty()) {
    batch.add_set({.name = kNodeAddressesSet, .id = batch.next_set_id(), .key_type = static_cast<std::uint32_t>(nft::Type::kIp), .key_bytes = 4});
    std::vector<nft::Element> addresses;
    for (const IpAddress& ip : options_.node_port_addresses)
      if (ip.is_v4()) addresses.push_back({.key = nft::key_ip(ip)});
    batch.add_elements(kNodeAddressesSet, 0, addresses);
  }
  for (const FixedChain& chain : kFixedChains) batch.add_chain(chain.name, chain.base);
}

void Programmer::write_rules(nft::Batch& batch) const {
  write_dispatch(batch);
  write_refusals(batch);
}

// Before the first services: an empty table with our chains and maps. One that an earlier process left keeps its hooks
// (so that no packet passes between the old and the new) and its affinity sets; everything else in it goes.
Result<> Programmer::write_start(nft::Batch& batch) {
  kept_sets_.clear();
  TRY_ASSIGN(std::vector<std::string> chains, nft::list_chains(socket_, options_.table));
  TRY_ASSIGN(std::vector<std::string> sets, nft::list_sets(socket_, options_.table));
  auto has = [](const std::vector<std::string>& names, std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  bool same = std::ranges::all_of(kFixedChains, [&](const FixedChain& c) { return has(chains, c.name); }) &&
              std::ranges::all_of(kVerdictMaps, [&](const char* map) { return has(sets, map); }) && !has(sets, kNodeAddressesSet) && options_.node_port_addresses.empty();
  if (!same) {
    write_layout(batch);
    write_rules(batch);
    return {};
  }
  batch.flush_table();
  for (const char* map : kVerdictMaps) batch.flush_set(map);
  for (const std::string& chain : chains)
    if (std::ranges::none_of(kFixedChains, [&](const FixedChain& c) { return c.name == chain; })) batch.delete_chain(chain);
  for (const std::string& set : sets)
    if (set.starts_with("aff-")) kept_sets_.insert(set);
  write_rules(batch);
  return {};
}

// The rules that choose among slots. Registers: k0 client, k1 the number drawn, k2..k3 endpoint.
void Programmer::write_chain(nft::Batch& batch, const std::string& chain, const std::vector<Slot>& slots, const PortRules& port) const {
  std::map<Slot, std::string> sticky;
  for (const StickyEndpoint& endpoint : sticky_endpoints(port)) {
    if (!std::ranges::binary_search(slots, endpoint.slot)) continue;
    sticky.emplace(endpoint.slot, endpoint.chain);
    batch.add_rule(chain, nft::Rule().load_ip_source(Reg::k0).in_set(Reg::k0, {.name = endpoint.set}).verdict(nft::go_to(endpoint.chain)));
  }
  nft::Rule choice;
  if (slots.size() == 1 && sticky.empty()) {
    choice.load_immediate(Reg::k2, nft::key_ip(slots[0].ip)).load_immediate(Reg::k3, nft::key_port(slots[0].port)).destination_nat(Reg::k2, Reg::k3);
    batch.add_rule(chain, choice);
    return;
  }
  nft::SetSpec set{.name = "__map%d", .id = batch.next_set_id(), .key_type = static_cast<std::uint32_t>(nft::Type::kInteger), .key_bytes = 4, .is_map = true,
                   .is_verdict_map = !sticky.empty(), .data_type = type_ip_port(), .data_bytes = 8, .anonymous = true, .size = static_cast<std::uint32_t>(slots.size())};
  std::vector<nft::Element> elements;
  for (std::uint32_t i = 0; i < slots.size(); ++i) {
    nft::Element element{.key = nft::key_number(i)};
    if (sticky.empty()) element.data = slot_data(slots[i]);
    else element.verdict = nft::go_to(sticky.at(slots[i]));
    elements.push_back(std::move(element));
  }
  batch.add_set(set);
  batch.add_elements(set.name, set.id, elements);
  choice.load_random(Reg::k1, static_cast<std::uint32_t>(slots.size()));
  if (sticky.empty()) choice.lookup(Reg::k1, {.name = set.name, .id = set.id}, Reg::k2).destination_nat(Reg::k2, Reg::k3);
  else choice.verdict_map(Reg::k1, {.name = set.name, .id = set.id});
  batch.add_rule(chain, choice);
  // A packet that entered the chain just before a transaction finds the set's elements retired just after it (the kernel
  // tells generations apart per lookup). Dropped, it comes again; let through, it would be refused.
  batch.add_rule(chain, nft::Rule().verdict(nft::drop()));
}

void Programmer::write_port(nft::Batch& batch, const PortRules& rules, const PortRules* old) {
  std::set<std::string> known;
  if (old != nullptr)
    for (const StickyEndpoint& endpoint : sticky_endpoints(*old)) known.insert(endpoint.chain);
  for (const StickyEndpoint& endpoint : sticky_endpoints(rules)) {
    if (known.contains(endpoint.chain)) continue;
    if (kept_sets_.erase(endpoint.set) == 0)
      batch.add_set({.name = endpoint.set, .id = batch.next_set_id(), .key_type = static_cast<std::uint32_t>(nft::Type::kIp), .key_bytes = 4, .dynamic = true,
                     .timeout = rules.affinity, .size = kAffinityClientsMax});
    batch.add_chain(endpoint.chain);
    batch.add_rule(endpoint.chain, nft::Rule().load_ip_source(Reg::k0).update_set(Reg::k0, endpoint.set));  // a full set only ends this rule
    nft::Rule translate;
    translate.load_immediate(Reg::k2, nft::key_ip(endpoint.slot.ip)).load_immediate(Reg::k3, nft::key_port(endpoint.slot.port));
    batch.add_rule(endpoint.chain, translate.destination_nat(Reg::k2, Reg::k3));
  }
  auto fresh_chain = [&](const std::string& chain, bool existed) {
    if (existed) batch.flush_chain(chain);
    else batch.add_chain(chain);
  };
  if (rules.has_chain()) {
    fresh_chain(rules.chain, old != nullptr && old->has_chain());
    write_chain(batch, rules.chain, rules.slots, rules);
  }
  if (!rules.external_chain.empty()) {
    fresh_chain(rules.external_chain, old != nullptr && !old->external_chain.empty());
    // Pods of this node reach external addresses as if they had asked for the cluster address.
    if (rules.has_chain() && options_.pod_cidr.address.is_v4())
      batch.add_rule(rules.external_chain, nft::Rule().ip_source(options_.pod_cidr).verdict(nft::go_to(rules.chain)));
    if (rules.masquerade_external) batch.add_rule(rules.external_chain, nft::Rule().set_mark_bits(kMasqueradeMark));
    write_chain(batch, rules.external_chain, rules.external_slots, rules);
  }
}

void Programmer::change_service(Change& change, const Service& service, const InstalledService* old) {
  InstalledService now{.service = service};
  for (PortRules& port : compile_service(service, options_.service_cidr)) {
    const PortRules* was = find_port(old, port.chain);
    if (was == nullptr || !was->same_rules(port)) write_port(change.batch, port, was);
    for (const MapEntry& entry : port.entries) {
      bool fresh = change.add.try_emplace({entry.map, entry.key}, entry.verdict).second;
      change.conflict = change.conflict || !fresh;
    }
    now.ports.push_back(std::move(port));
  }
  if (old != nullptr)
    for (const PortRules& was : old->ports) retire_port(change, was, find_port(&now, was.chain));
  change.fresh.push_back(std::move(now));
}

// now: what follows it, null for nothing.
void Programmer::retire_port(Change& change, const PortRules& old, const PortRules* now) {
  for (const MapEntry& entry : old.entries) change.remove.emplace(EntryKey{entry.map, entry.key}, entry.verdict);
  if (!old.external_chain.empty() && (now == nullptr || now->external_chain.empty())) change.chains.push_back(old.external_chain);
  if (old.has_chain() && (now == nullptr || !now->has_chain())) change.chains.push_back(old.chain);
  std::set<std::string> kept;
  if (now != nullptr)
    for (const StickyEndpoint& endpoint : sticky_endpoints(*now)) kept.insert(endpoint.chain);
  for (const StickyEndpoint& endpoint : sticky_endpoints(old)) {
    if (kept.contains(endpoint.chain)) continue;
    change.chains.push_back(endpoint.chain);
    change.sets.push_back(endpoint.set);
  }
  if (old.protocol != Protocol::kUdp) return;
  for (const std::vector<Slot>* slots : {&old.slots, &old.external_slots}) {
    for (const Slot& slot : *slots) {
      bool still = now != nullptr && (std::ranges::binary_search(now->slots, slot) || std::ranges::binary_search(now->external_slots, slot));
      if (!still) change.left.emplace(slot.ip, slot.port);
    }
  }
}

// The difference of the dispatch maps, then the clean-up of what they led to.
void Programmer::settle_entries(Change& change) const {
  for (auto it = change.add.begin(); it != change.add.end();) {
    auto old = change.remove.find(it->first);
    if (old != change.remove.end() && old->second == it->second) {
      change.remove.erase(old);
      it = change.add.erase(it);
      continue;
    }
    if (old == change.remove.end() && entries_.contains(it->first) && installed_) {  // another service has it
      change.conflict = true;
      it = change.add.erase(it);
      continue;
    }
    ++it;
  }
  std::map<std::string, std::vector<nft::Element>> lists;
  for (const auto& [at, verdict] : change.remove) lists[at.first].push_back({.key = at.second});
  for (const auto& [map, elements] : lists) change.batch.delete_elements(map, elements);
  lists.clear();
  for (const auto& [at, verdict] : change.add) lists[at.first].push_back({.key = at.second, .verdict = verdict});
  for (const auto& [map, elements] : lists) change.batch.add_elements(map, 0, elements);
  // First empty all chains, since one may go to another.
  for (const std::string& chain : change.chains) change.batch.flush_chain(chain);
  for (const std::string& chain : change.chains) change.batch.delete_chain(chain);
  for (const std::string& set : change.sets) change.batch.delete_set(set);
}

void Programmer::adopt(Change& change) {
  for (const std::string& name : change.gone) services_.erase(name);
  for (InstalledService& service : change.fresh) services_.insert_or_assign(service.service.name, std::move(service));
  for (const auto& [at, verdict] : change.remove) entries_.erase(at);
  for (auto& [at, verdict] : change.add) entries_.insert_or_assign(at, std::move(verdict));
  kept_sets_.clear();
  // Two services claim one address and port: the first keeps it. When it leaves, the second must get it, so the next
  // call starts from nothing.
  installed_ = !change.conflict;
}

Result<ServiceStats> Programmer::apply(const ServiceTable& table) {
  const auto start = std::chrono::steady_clock::now();
  Change change(options_.table);
  if (!installed_) {
    services_.clear();
    entries_.clear();
    TRY(write_start(change.batch));
  }
  std::set<std::string_view> seen;
  std::size_t ports = 0;
  for (const Service& service : table.services) {
    ports += service.ports.size();
    if (ports > kServicePortsMax) {
      log::warn("service ports beyond the limit are not programmed", {{"limit", kServicePortsMax}});
      break;
    }
    if (!seen.insert(service.name).second) continue;
    auto known = services_.find(service.name);
    if (known != services_.end() && known->second.service == service) continue;
    change_service(change, service, known != services_.end() ? &known->second : nullptr);
  }
  for (const auto& [name, old] : services_) {
    if (seen.contains(name)) continue;
    change.gone.push_back(name);
    for (const PortRules& port : old.ports) retire_port(change, port, nullptr);
  }
  for (const std::string& set : kept_sets_) change.sets.push_back(set);  // nobody's any more
  settle_entries(change);
  if (change.conflict) log::warn("two services claim one address and port; the first has it");

  ServiceStats stats{.services_changed = change.fresh.size() + change.gone.size(), .messages = change.batch.messages()};
  if (Result<> done = change.batch.commit(socket_); !done) {
    installed_ = false;
    return fail(std::move(done).error());
  }
  adopt(change);
  if (Result<std::size_t> forgotten = forget_udp_flows(change.left); !forgotten)
    log::warn("flows to removed endpoints may linger", {{"error", forgotten.error()}});
  stats.duration = std::chrono::steady_clock::now() - start;
  return stats;
}

Result<> Programmer::remove() {
  installed_ = false;
  return nft::delete_table(socket_, options_.table);
}

}  // namespace

Result<std::unique_ptr<ServiceProgrammer>> ServiceProgrammer::open(Options options) {
  TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
  return std::make_unique<Programmer>(std::move(options), std::move(socket));
}

}  // namespace monopod::network
