#include "network/dns/zone.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::network::dns {
namespace {

std::string dashed(const IpAddress& ip) {
  std::string out = format_ip(ip);
  std::ranges::replace(out, '.', '-');
  std::ranges::replace(out, ':', '-');
  return out;
}

std::optional<IpAddress> undashed(std::string_view label) {
  for (char separator : {'.', ':'}) {
    std::string text(label);
    std::ranges::replace(text, '-', separator);
    if (auto ip = parse_ip(text)) return *ip;
  }
  return std::nullopt;
}

std::string wire(std::string_view dotted) { return encode_name(dotted).value_or(std::string()); }

template <typename T>
void add_new(std::vector<T>& to, const T& item) {
  if (std::ranges::find(to, item) == to.end()) to.push_back(item);
}

}  // namespace

std::string reverse_name(const IpAddress& ip) {
  std::string out;
  for (std::size_t i = ip.bytes().size(); i-- > 0;) {
    unsigned byte = ip.bytes()[i];
    if (ip.is_v4()) out += cat(byte, ".");
    else out += {"0123456789abcdef"[byte & 15U], '.', "0123456789abcdef"[byte >> 4], '.'};
  }
  return out + (ip.is_v4() ? "in-addr.arpa" : "ip6.arpa");
}

Zone::Zone(const DnsTable& table, Options options) : options_(std::move(options)), zone_wire_(wire(options_.zone)) {
  nodes_.reserve(table.services.size() * 4);
  at(options_.zone);
  at(cat("svc.", options_.zone));
  at(cat("pod.", options_.zone));
  at(cat("dns-version.", options_.zone)).text = "1.1.0";
  for (const std::string& name : table.namespaces) {
    namespaces_[to_lower(name)] = true;
    at(cat(name, ".svc.", options_.zone));
    at(cat(name, ".pod.", options_.zone));
  }
  for (const DnsService& service : table.services) add_service(service);
  for (const auto& [name, ips] : table.hosts) {
    if (name.empty() || wire(to_lower(name)).empty()) continue;
    for (const IpAddress& ip : ips) {
      add_new(at(to_lower(name)).ips, ip);
      add_pointer(ip, name);
    }
  }
}

Zone::Node& Zone::at(std::string_view dotted) {
  std::string name = wire(dotted);
  auto [it, fresh] = nodes_.try_emplace(name);
  if (fresh && !name.empty() && name != zone_wire_ && name.ends_with(zone_wire_)) {
    std::string_view rest(name);
    for (;;) {
      rest.remove_prefix(static_cast<std::size_t>(rest[0]) + 1);
      if (rest.size() <= zone_wire_.size() || !nodes_.try_emplace(std::string(rest)).second) break;
    }
    return nodes_[name];
  }
  return it->second;
}

void Zone::add_pointer(const IpAddress& ip, std::string_view dotted) { add_new(at(reverse_name(ip)).pointers, wire(dotted)); }

void Zone::add_service(const DnsService& service) {
  const std::string base = cat(service.name, ".", service.namespace_name, ".svc.", options_.zone);
  if (wire(base).empty()) return;
  Node& node = at(base);
  if (!service.external_name.empty()) {
    node.alias = wire(service.external_name);
    return;
  }
  for (const IpAddress& ip : service.cluster_ips) {
    if (!ip.is_set()) continue;
    add_new(node.ips, ip);
  }
  for (const IpAddress& ip : service.cluster_ips)
    if (ip.is_set()) add_pointer(ip, base);
  if (!service.cluster_ips.empty()) {
    for (const DnsPort& port : service.ports) {
      Service entry{.port = port.port, .target = wire(base), .ips = service.cluster_ips};
      at(base).services.push_back(entry);
      if (port.name.empty()) continue;
      Node& named = at(cat("_", port.name, "._", to_lower(format_protocol(port.protocol)), ".", base));
      named.services.push_back(entry);
      named.ips = service.cluster_ips;
    }
  }
  add_endpoints(service, base);
}

// Of headless services; a service with an address only gets the names of its endpoints.
void Zone::add_endpoints(const DnsService& service, const std::string& base) {
  const bool headless = service.cluster_ips.empty();
  for (const DnsPort& port : service.ports) {
    for (const DnsEndpoint& endpoint : port.endpoints) {
      if (!endpoint.ip.is_set()) continue;
      std::string host = cat(endpoint.hostname.empty() ? dashed(endpoint.ip) : endpoint.hostname, ".", base);
      if (wire(host).empty()) continue;
      add_new(at(host).ips, endpoint.ip);
      add_pointer(endpoint.ip, host);
      if (!headless) continue;
      add_new(at(base).ips, endpoint.ip);
      if (port.port == 0) continue;
      Service entry{.port = port.port, .target = wire(host), .ips = {endpoint.ip}};
      at(base).services.push_back(entry);
      if (port.name.empty()) continue;
      Node& named = at(cat("_", port.name, "._", to_lower(format_protocol(port.protocol)), ".", base));
      named.services.push_back(entry);
      add_new(named.ips, endpoint.ip);
    }
  }
}

// relative: "10-42-0-7.default.pod"
bool Zone::find_pod(std::string_view relative, Node& out) const {
  std::vector<std::string_view> labels = split(relative, '.');
  if (!options_.pod_records || labels.size() != 3 || labels[2] != "pod" || !namespaces_.contains(std::string(labels[1]))) return false;
  std::optional<IpAddress> ip = undashed(labels[0]);
  if (ip) out.ips = {*ip};
  return ip.has_value();
}

Record Zone::soa() const {
  std::string data = wire(cat("ns.dns.", options_.zone)) + wire(cat("hostmaster.", options_.zone));
  for (std::uint32_t v : {options_.serial, 7'200U, 1'800U, 86'400U, options_.ttl})
    for (int shift = 24; shift >= 0; shift -= 8) data += static_cast<char>(v >> shift & 0xFF);
  return {zone_wire_, kSoa, options_.ttl, std::move(data)};
}

void Zone::fill(const Query& query, const Node& node, std::uint32_t turn, Reply& reply) const {
  const bool any = query.type == kAny;
  const std::size_t first = node.ips.empty() ? 0 : turn % node.ips.size();
  for (std::size_t i = 0; i < node.ips.size(); ++i) {
    const IpAddress& ip = node.ips[(first + i) % node.ips.size()];
    if (any || query.type == (ip.is_v4() ? kA : kAaaa)) reply.answers.push_back(address_record(query.name, ip, options_.ttl));
  }
  if (any || query.type == kSrv) {
    std::vector<std::pair<std::string, IpAddress>> glue;
    for (const Service& service : node.services) {
      auto weight = static_cast<std::uint16_t>(std::max<std::size_t>(1, 100 / node.services.size()));
      reply.answers.push_back(srv_record(query.name, weight, service.port, service.target, options_.ttl));
      for (const IpAddress& ip : service.ips) add_new(glue, std::pair(service.target, ip));
    }
    for (const auto& [name, ip] : glue) reply.additional.push_back(address_record(name, ip, options_.ttl));
  }
  if (any || query.type == kPtr)
    for (const std::string& pointer : node.pointers) reply.answers.push_back(name_record(query.name, kPtr, pointer));
  if ((any || query.type == kTxt) && !node.text.empty())
    reply.answers.push_back({query.name, kTxt, options_.ttl, static_cast<char>(node.text.size()) + node.text});
}

Zone::Result Zone::find(const Query& query, std::uint32_t turn) const {
  Result out;
  auto found = nodes_.find(query.name);
  const bool inside = query.name.ends_with(zone_wire_) &&
                      (query.name.size() == zone_wire_.size() || (decode_name(query.name) && decode_name(query.name)->ends_with("." + options_.zone)));
  if (!inside && found == nodes_.end()) {
    // A label that hides the zone's name inside is nobody's: it must not leak upstream either.
    return out;
  }
  out.kind = Kind::kAnswer;
  out.reply.authoritative = true;
  Node pod;
  const Node* node = found == nodes_.end() ? nullptr : &found->second;
  if (node == nullptr) {
    std::string dotted = *decode_name(query.name);
    if (find_pod(std::string_view(dotted).substr(0, dotted.size() - options_.zone.size() - 1), pod)) node = &pod;
  }
  if (node != nullptr && !node->alias.empty()) {
    out.reply.answers.push_back(name_record(query.name, kCname, node->alias));
    if (query.type == kCname) return out;
    out.kind = Kind::kAlias;
    out.alias = node->alias;
    return out;
  }
  if (node != nullptr) fill(query, *node, turn, out.reply);
  if (query.name == zone_wire_ && (query.type == kSoa || query.type == kAny)) out.reply.answers.push_back(soa());
  if (query.name == zone_wire_ && query.type == kNs) out.reply.answers.push_back(name_record(query.name, kNs, wire(cat("ns.dns.", options_.zone))));
  if (node == nullptr) out.reply.rcode = kNameError;
  if (out.reply.answers.empty()) out.reply.authority.push_back(soa());
  return out;
}

}  // namespace monopod::network::dns
