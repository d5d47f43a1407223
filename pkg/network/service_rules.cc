#include "network/service_rules.h"

#include <algorithm>
#include <numeric>

#include "base/log.h"
#include "base/strings.h"

namespace monopod::network {
namespace {

constexpr std::size_t kNameBytesMax = 96;
constexpr std::uint32_t kWeightMax = 100;

std::string hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(hash >> shift) & 0xF];
  return out;
}

// What nft(8) can print and read back; other names get a hash so that no two meet.
std::string printable(std::string_view name) {
  std::string out(name.substr(0, kNameBytesMax));
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '/'; };
  for (char& c : out)
    if (!plain(c)) c = '_';
  return out == name ? out : cat(out, "-", hash_of(name));
}

std::vector<Endpoint> only_local(const std::vector<Endpoint>& endpoints) {
  std::vector<Endpoint> out;
  std::ranges::copy_if(endpoints, std::back_inserter(out), &Endpoint::local);
  return out;
}

// Ready endpoints; where none is, those that still serve while they end (KEP-1669).
std::vector<Endpoint> usable(const std::vector<Endpoint>& endpoints) {
  auto is_usable = [](const Endpoint& e) { return e.ip.is_v4() && e.port != 0 && e.weight > 0; };
  std::vector<Endpoint> out;
  for (const Endpoint& e : endpoints)
    if (is_usable(e) && e.ready) out.push_back(e);
  if (!out.empty()) return out;
  for (const Endpoint& e : endpoints)
    if (is_usable(e) && e.serving_terminating) out.push_back(e);
  return out;
}

std::string ip_key(const IpAddress& ip, const ServicePort& port) {
  return nft::key_ip(ip) + nft::key_protocol(port.protocol) + nft::key_port(port.port);
}

void compile_port(const Service& service, const ServicePort& port, const Cidr& service_cidr, PortRules& out) {
  const std::vector<Endpoint> all = usable(port.endpoints);
  const std::vector<Endpoint> local = usable(only_local(port.endpoints));
  const bool local_inside = service.internal_policy == TrafficPolicy::kLocal;
  const bool local_outside = service.external_policy == TrafficPolicy::kLocal;
  out.slots = make_slots(local_inside ? local : all);
  std::vector<Slot> external = make_slots(local_outside ? local : all);
  const bool any_remote = std::ranges::any_of(all, [](const Endpoint& e) { return !e.local; });
  out.masquerade_external = any_remote && !local_outside;
  // The kernel drops where another node has the endpoints, and refuses where nobody has.
  const nft::Verdict refused_inside = all.empty() ? nft::go_to(kRefuseChain) : nft::drop();

  for (const IpAddress& ip : service.cluster_ips) {
    if (!ip.is_v4()) continue;
    if (!out.slots.empty()) {
      out.entries.push_back({kServiceIpsMap, ip_key(ip, port), nft::go_to(out.chain)});
    } else if (!all.empty() || !service_cidr.contains(ip)) {  // the CIDR as a whole is refused already
      out.entries.push_back({kRefusedIpsMap, ip_key(ip, port), refused_inside});
    }
  }

  const bool exposed = port.node_port != 0 || !service.external_ips.empty();
  if (!exposed) return;
  nft::Verdict take;
  if (!external.empty()) {
    if (external != out.slots || out.masquerade_external) {
      out.external_chain = "ext-" + out.chain.substr(4);
      out.external_slots = std::move(external);
    }
    take = nft::go_to(out.external_chain.empty() ? out.chain : out.external_chain);
  }
  for (const IpAddress& ip : service.external_ips) {
    if (!ip.is_v4()) continue;
    if (!take.chain.empty()) out.entries.push_back({kServiceIpsMap, ip_key(ip, port), take});
    else out.entries.push_back({kRefusedIpsMap, ip_key(ip, port), refused_inside});
  }
  if (port.node_port == 0) return;
  std::string key = nft::key_protocol(port.protocol) + nft::key_port(port.node_port);
  if (!take.chain.empty()) out.entries.push_back({kNodePortsMap, key, take});
  else out.entries.push_back({kRefusedNodePortsMap, key, refused_inside});
}

}  // namespace

bool PortRules::same_rules(const PortRules& other) const {
  return chain == other.chain && external_chain == other.external_chain && slots == other.slots && external_slots == other.external_slots &&
         masquerade_external == other.masquerade_external && affinity == other.affinity;
}

std::vector<Slot> make_slots(const std::vector<Endpoint>& endpoints) {
  auto weight_of = [](const Endpoint& e) { return std::min<std::uint32_t>(e.weight, kWeightMax); };
  std::uint32_t divisor = 0;
  std::size_t total = 0;
  const std::size_t count = std::min(endpoints.size(), kEndpointsMax);
  for (std::size_t i = 0; i < count; ++i) divisor = std::gcd(divisor, weight_of(endpoints[i]));
  for (std::size_t i = 0; i < count; ++i) total += weight_of(endpoints[i]) / divisor;
  std::vector<Slot> out;
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t share = weight_of(endpoints[i]) / divisor;
    if (total > kSlotsMax) share = std::max<std::size_t>(1, share * (kSlotsMax - count) / total);
    out.insert(out.end(), share, Slot{endpoints[i].ip, endpoints[i].port});
  }
  std::ranges::sort(out);  // the order of endpoints says nothing: no rewrite when it changes
  return out;
}

std::vector<PortRules> compile_service(const Service& service, const Cidr& service_cidr) {
  std::vector<PortRules> out;
  for (const ServicePort& port : service.ports) {
    PortRules rules;
    rules.protocol = port.protocol;
    rules.affinity = std::clamp(service.client_ip_affinity, std::chrono::seconds(0), kAffinityTimeoutMax);
    rules.chain = cat("svc-", printable(cat(service.name, "/", to_lower(format_protocol(port.protocol)), "/", port.port)));
    if (port.port == 0 || std::ranges::any_of(out, [&](const PortRules& r) { return r.chain == rules.chain; })) {
      log::warn("service port skipped: its number is zero or given twice", {{"service", service.name}, {"port", port.port}});
      continue;
    }
    if (port.endpoints.size() > kEndpointsMax) log::warn("endpoints beyond the limit are not used", {{"service", service.name}, {"limit", kEndpointsMax}});
    compile_port(service, port, service_cidr, rules);
    out.push_back(std::move(rules));
  }
  return out;
}

}  // namespace monopod::network
