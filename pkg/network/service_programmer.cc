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

// What the kernel holds for one port, and the name of its affinity map ("" for none).
struct Installed {
  PortRules rules{};
  std::string affinity_map{};
};
using InstalledPorts = std::map<std::string, Installed>;  // by chain

class Programmer final : public ServiceProgrammer {
 public:
  Programmer(Options options, netlink::Socket socket) : options_(std::move(options)), socket_(std::move(socket)) {}

  Result<ServiceStats> apply(const ServiceTable& table) override;
  Result<> remove() override;

 private:
  void write_layout(nft::Batch& batch) const;
  void write_dispatch(nft::Batch& batch) const;
  void write_refusals(nft::Batch& batch) const;
  void write_chain(nft::Batch& batch, const std::string& chain, const std::vector<Slot>& slots, const Installed& port) const;
  void write_port(nft::Batch& batch, Installed& port, const Installed* old);
  std::vector<nft::Element> kept_clients(const PortRules& rules, const std::string& old_map);
  std::vector<PortRules> compile(const ServiceTable& table);
  void read_old_affinity();

  Options options_;
  netlink::Socket socket_;
  bool installed_ = false;  // the kernel's table is what ports_ and entries_ say
  std::map<std::string, Service> services_;                  // as applied last
  std::map<std::string, std::vector<PortRules>> compiled_;   // by service
  InstalledPorts ports_;
  std::map<std::pair<std::string, std::string>, nft::Verdict> entries_;  // (map, key)
  std::map<std::string, std::string> old_affinity_;  // chain -> map name of an earlier process's table
  std::uint64_t generation_ = 0;
};

void add_verdict_map(nft::Batch& batch, const char* name, std::uint32_t type, std::uint32_t bytes) {
  batch.add_set({.name = name, .id = batch.next_set_id(), .key_type = type, .key_bytes = bytes, .is_map = true, .is_verdict_map = true});
}

nft::Rule ip_lookup(const char* map) {
  nft::Rule rule;
  rule.load_ip_destination(Reg::k0).load_protocol(Reg::k1).load_destination_port(Reg::k2).verdict_map(Reg::k0, {.name = map});
  return rule;
}

void Programmer::write_dispatch(nft::Batch& batch) const {
  batch.add_chain("services");
  batch.add_chain("prerouting", nft::BaseChain{"nat", nft::Hook::kPrerouting, -100});
  batch.add_chain("output", nft::BaseChain{"nat", nft::Hook::kOutput, -100});
  batch.add_chain("postrouting", nft::BaseChain{"nat", nft::Hook::kPostrouting, 100});
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
  batch.add_chain(kRefuseChain);
  batch.add_rule(kRefuseChain, nft::Rule().reject());
  batch.add_chain("filter-input", nft::BaseChain{"filter", nft::Hook::kInput, 0});
  batch.add_chain("filter-forward", nft::BaseChain{"filter", nft::Hook::kForward, 0});
  batch.add_chain("filter-output", nft::BaseChain{"filter", nft::Hook::kOutput, 0});
  nft::Rule node_ports;
  node_ports.destination_is_local().ip_destination(Cidr{IpAddress::v4(0x7F000000U), 8}, false);
  node_ports.load_protocol(Reg::k0).load_destination_port(Reg::k1).verdict_map(Reg::k0, {.name = kRefusedNodePortsMap});
  for (const char* chain : {"filter-input", "filter-forward", "filter-output"}) batch.add_rule(chain, ip_lookup(kRefusedIpsMap));
  batch.add_rule("filter-input", node_ports);
  if (!options_.service_cidr.address.is_v4()) return;
  batch.add_rule("filter-forward", nft::Rule().ip_destination(options_.service_cidr).reject());
  batch.add_rule("filter-output", nft::Rule().output_interface("lo", false).ip_destination(options_.service_cidr).reject());
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
  write_dispatch(batch);
  write_refusals(batch);
}

// The rules that choose among slots. Registers: k0 client, k1..k2 endpoint, k3 the number drawn.
void Programmer::write_chain(nft::Batch& batch, const std::string& chain, const std::vector<Slot>& slots, const Installed& port) const {
  nft::Rule::SetRef choices;
  if (slots.size() > 1) {
    choices = {.name = "__map%d", .id = batch.next_set_id()};
    batch.add_set({.name = choices.name, .id = choices.id, .key_type = static_cast<std::uint32_t>(nft::Type::kInteger), .key_bytes = 4, .is_map = true,
                   .data_type = type_ip_port(), .data_bytes = 8, .anonymous = true, .size = static_cast<std::uint32_t>(slots.size())});
    std::vector<nft::Element> elements;
    for (std::uint32_t i = 0; i < slots.size(); ++i) elements.push_back({.key = nft::key_number(i), .data = slot_data(slots[i])});
    batch.add_elements(choices.name, choices.id, elements);
  }
  auto choose = [&](nft::Rule& rule) -> nft::Rule& {
    if (slots.size() == 1) return rule.load_immediate(Reg::k1, nft::key_ip(slots[0].ip)).load_immediate(Reg::k2, nft::key_port(slots[0].port));
    return rule.load_random(Reg::k3, static_cast<std::uint32_t>(slots.size())).lookup(Reg::k3, choices, Reg::k1);
  };
  if (port.affinity_map.empty()) {
    nft::Rule rule;
    batch.add_rule(chain, choose(rule).destination_nat(Reg::k1, Reg::k2));
    return;
  }
  nft::Rule known;
  known.load_ip_source(Reg::k0).lookup(Reg::k0, {.name = port.affinity_map}, Reg::k1);
  batch.add_rule(chain, known.update_map(Reg::k0, Reg::k1, port.affinity_map).destination_nat(Reg::k1, Reg::k2));
  // An anonymous set belongs to one rule: choose and remember in one chain, then a second choice without memory would
  // need its own. A full map ends the first rule, so the last resort is the first slot.
  nft::Rule fresh;
  batch.add_rule(chain, choose(fresh.load_ip_source(Reg::k0)).update_map(Reg::k0, Reg::k1, port.affinity_map).destination_nat(Reg::k1, Reg::k2));
  nft::Rule full;
  full.load_immediate(Reg::k1, nft::key_ip(slots[0].ip)).load_immediate(Reg::k2, nft::key_port(slots[0].port));
  batch.add_rule(chain, full.destination_nat(Reg::k1, Reg::k2));
}

std::vector<nft::Element> Programmer::kept_clients(const PortRules& rules, const std::string& old_map) {
  Result<std::vector<nft::Element>> old = nft::list_elements(socket_, options_.table, old_map);
  if (!old) return {};  // only affinity is lost
  std::set<std::string> valid;
  for (const Slot& slot : rules.slots) valid.insert(slot_data(slot));
  for (const Slot& slot : rules.external_slots) valid.insert(slot_data(slot));
  std::erase_if(*old, [&](const nft::Element& e) { return e.key.size() != 4 || !valid.contains(e.data); });
  auto timeout = std::chrono::milliseconds(rules.affinity);
  for (nft::Element& e : *old) {
    e.expires = std::clamp(e.expires, std::chrono::milliseconds(1), timeout);
    e.timeout = timeout;
  }
  return std::move(*old);
}

void Programmer::write_port(nft::Batch& batch, Installed& port, const Installed* old) {
  const PortRules& rules = port.rules;
  if (rules.affinity.count() > 0) {
    port.affinity_map = cat("aff-", rules.chain.substr(4), "-", ++generation_);
    batch.add_set({.name = port.affinity_map, .id = batch.next_set_id(), .key_type = static_cast<std::uint32_t>(nft::Type::kIp), .key_bytes = 4,
                   .is_map = true, .data_type = type_ip_port(), .data_bytes = 8, .dynamic = true, .timeout = rules.affinity, .size = kAffinityClientsMax});
    std::string old_map = old != nullptr ? old->affinity_map : std::string();
    if (auto earlier = old_affinity_.find(rules.chain); earlier != old_affinity_.end()) old_map = earlier->second;
    if (!old_map.empty()) batch.add_elements(port.affinity_map, 0, kept_clients(rules, old_map));
  }
  auto fresh_chain = [&](const std::string& chain, bool existed) {
    if (existed) batch.flush_chain(chain);
    else batch.add_chain(chain);
  };
  if (rules.has_chain()) {
    fresh_chain(rules.chain, old != nullptr && old->rules.has_chain());
    write_chain(batch, rules.chain, rules.slots, port);
  }
  if (!rules.external_chain.empty()) {
    fresh_chain(rules.external_chain, old != nullptr && !old->rules.external_chain.empty());
    // Pods of this node reach external addresses as if they had asked for the cluster address.
    if (rules.has_chain() && options_.pod_cidr.address.is_v4())
      batch.add_rule(rules.external_chain, nft::Rule().ip_source(options_.pod_cidr).verdict(nft::go_to(rules.chain)));
    if (rules.masquerade_external) batch.add_rule(rules.external_chain, nft::Rule().set_mark_bits(kMasqueradeMark));
    write_chain(batch, rules.external_chain, rules.external_slots, port);
  }
}

// Of every service, from the cache where it did not change; keys that two services claim go to the first by name.
std::vector<PortRules> Programmer::compile(const ServiceTable& table) {
  std::map<std::string, Service> services;
  for (const Service& service : table.services) services.emplace(service.name, service);
  std::map<std::string, std::vector<PortRules>> compiled;
  for (const auto& [name, service] : services) {
    auto known = services_.find(name);
    if (known != services_.end() && known->second == service) compiled[name] = compiled_[name];
    else compiled[name] = compile_service(service, options_.service_cidr);
  }
  services_ = std::move(services);
  compiled_ = std::move(compiled);
  std::vector<PortRules> out;
  std::set<std::string> chains;
  for (const auto& [name, ports] : compiled_) {
    for (const PortRules& port : ports) {
      if (out.size() == kServicePortsMax) {
        log::warn("service ports beyond the limit are not programmed", {{"limit", kServicePortsMax}});
        return out;
      }
      if (chains.insert(port.chain).second) out.push_back(port);
    }
  }
  return out;
}

void Programmer::read_old_affinity() {
  old_affinity_.clear();
  Result<std::vector<std::string>> sets = nft::list_sets(socket_, options_.table);
  if (!sets) return;  // no table yet
  for (const std::string& name : *sets) {
    std::size_t dash = name.rfind('-');
    if (!name.starts_with("aff-") || dash == std::string::npos || dash < 4) continue;
    old_affinity_[cat("svc-", name.substr(4, dash - 4))] = name;
    generation_ = std::max(generation_, parse_int<std::uint64_t>(std::string_view(name).substr(dash + 1)).value_or(0));
  }
}

Result<ServiceStats> Programmer::apply(const ServiceTable& table) {
  const auto start = std::chrono::steady_clock::now();
  ServiceStats stats;
  nft::Batch batch(options_.table);
  InstalledPorts before;
  std::map<std::pair<std::string, std::string>, nft::Verdict> entries_before;
  if (installed_) {
    before = ports_;
    entries_before = entries_;
  } else {
    read_old_affinity();
    write_layout(batch);
  }

  InstalledPorts after;
  std::map<std::pair<std::string, std::string>, nft::Verdict> entries;
  for (PortRules& rules : compile(table)) {
    auto old = before.find(rules.chain);
    const Installed* was = old == before.end() ? nullptr : &old->second;
    for (const MapEntry& entry : rules.entries) {
      auto [at, fresh] = entries.try_emplace({entry.map, entry.key}, entry.verdict);
      if (!fresh && at->second != entry.verdict) log::warn("address and port claimed twice", {{"kept", at->second.chain}, {"refused", rules.chain}});
    }
    Installed now{.rules = rules, .affinity_map = was != nullptr ? was->affinity_map : std::string()};
    if (was == nullptr || !was->rules.same_rules(rules)) {
      ++stats.services_changed;
      now.affinity_map.clear();
      write_port(batch, now, was);
    } else if (was->rules.entries != rules.entries) {
      ++stats.services_changed;
    }
    after.emplace(rules.chain, std::move(now));
  }

  std::map<std::string, std::vector<nft::Element>> remove;
  std::map<std::string, std::vector<nft::Element>> add;
  for (const auto& [at, verdict] : entries_before) {
    auto kept = entries.find(at);
    if (kept == entries.end() || kept->second != verdict) remove[at.first].push_back({.key = at.second});
  }
  for (const auto& [at, verdict] : entries) {
    auto had = entries_before.find(at);
    if (had == entries_before.end() || had->second != verdict) add[at.first].push_back({.key = at.second, .verdict = verdict});
  }
  for (const auto& [map, elements] : remove) batch.delete_elements(map, elements);
  for (const auto& [map, elements] : add) batch.add_elements(map, 0, elements);

  // What nobody points to any more: first empty all such chains, since one may go to another.
  UdpEndpoints gone;
  std::vector<std::string> chains;
  std::vector<std::string> maps;
  for (const auto& [chain, old] : before) {
    auto now = after.find(chain);
    const Installed* kept = now == after.end() ? nullptr : &now->second;
    if (kept == nullptr) ++stats.services_changed;
    if (!old.rules.external_chain.empty() && (kept == nullptr || kept->rules.external_chain.empty())) chains.push_back(old.rules.external_chain);
    if (old.rules.has_chain() && (kept == nullptr || !kept->rules.has_chain())) chains.push_back(chain);
    if (!old.affinity_map.empty() && (kept == nullptr || kept->affinity_map != old.affinity_map)) maps.push_back(old.affinity_map);
    if (old.rules.protocol != Protocol::kUdp) continue;
    for (const std::vector<Slot>* slots : {&old.rules.slots, &old.rules.external_slots}) {
      for (const Slot& slot : *slots) {
        bool still = kept != nullptr && (std::ranges::binary_search(kept->rules.slots, slot) || std::ranges::binary_search(kept->rules.external_slots, slot));
        if (!still) gone.emplace(slot.ip, slot.port);
      }
    }
  }
  for (const std::string& chain : chains) batch.flush_chain(chain);
  for (const std::string& chain : chains) batch.delete_chain(chain);
  for (const std::string& map : maps) batch.delete_set(map);

  stats.messages = batch.messages();
  if (Result<> done = batch.commit(socket_); !done) {
    installed_ = false;
    return fail(std::move(done).error());
  }
  installed_ = true;
  ports_ = std::move(after);
  entries_ = std::move(entries);
  old_affinity_.clear();
  if (Result<std::size_t> forgotten = forget_udp_flows(gone); !forgotten)
    log::warn("flows to removed endpoints may linger", {{"error", forgotten.error()}});
  stats.duration = std::chrono::steady_clock::now() - start;
  return stats;
}

Result<> Programmer::remove() {
  installed_ = false;
  ports_.clear();
  entries_.clear();
  return nft::delete_table(socket_, options_.table);
}

}  // namespace

Result<std::unique_ptr<ServiceProgrammer>> ServiceProgrammer::open(Options options) {
  TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
  return std::make_unique<Programmer>(std::move(options), std::move(socket));
}

}  // namespace monopod::network
