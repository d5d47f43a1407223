#include "network/lease.h"

#include "base/strings.h"
#include "codec/json.h"

namespace monopod::network {

std::string format_lease(const Lease& lease) {
  json::Array ports;
  for (const HostPort& port : lease.host_ports)
    ports.push_back(json::Object{{"ip", format_ip(port.host_ip)}, {"host", port.host_port}, {"container", port.container_port},
                                 {"protocol", format_protocol(port.protocol)}});
  return json::format(json::Object{{"ip", format_ip(lease.ip)}, {"netns", lease.netns_path}, {"interface", lease.interface}, {"hostPorts", std::move(ports)}});
}

Result<Lease> parse_lease(std::string_view id, std::string_view text) {
  TRY_ASSIGN(json::Value value, json::parse(text));
  Lease lease{.id = std::string(id), .netns_path = std::string(json::get_string(value, {"netns"})), .interface = std::string(json::get_string(value, {"interface"}, "eth0"))};
  TRY_ASSIGN(lease.ip, parse_ip(json::get_string(value, {"ip"})));
  if (!lease.ip.is_v4()) return fail(Code::kDataLoss, "lease without an IPv4 address");
  if (const json::Array* ports = json::get_array(value, {"hostPorts"})) {
    for (const json::Value& item : *ports) {
      HostPort port{.host_port = static_cast<std::uint16_t>(json::get_int(item, {"host"})), .container_port = static_cast<std::uint16_t>(json::get_int(item, {"container"})),
                    .protocol = parse_protocol(json::get_string(item, {"protocol"})).value_or(Protocol::kTcp)};
      std::string_view ip = json::get_string(item, {"ip"});
      if (!ip.empty()) {
        TRY_ASSIGN(port.host_ip, parse_ip(ip));
      }
      lease.host_ports.push_back(port);
    }
  }
  return lease;
}

bool host_ports_clash(const HostPort& a, const HostPort& b) {
  return a.protocol == b.protocol && a.host_port == b.host_port && (!a.host_ip.is_set() || !b.host_ip.is_set() || a.host_ip == b.host_ip);
}

std::string host_interface_name(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, folded to 48 bits
  for (char c : id) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  hash = (hash ^ (hash >> 48)) & 0xFFFF'FFFF'FFFFULL;
  std::string out = "mp";
  for (int shift = 44; shift >= 0; shift -= 4) out += "0123456789abcdef"[(hash >> shift) & 0xF];
  return out;
}

bool is_host_interface_name(std::string_view name) {
  return name.size() == 14 && name.starts_with("mp") && name.find_first_not_of("0123456789abcdef", 2) == std::string_view::npos;
}

}  // namespace monopod::network
