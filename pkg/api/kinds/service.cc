// Services and what stands behind them.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <set>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

// 16 bytes; IPv4 as ::ffff:a.b.c.d, which is the same address in another spelling.
std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text) {
  std::array<std::uint8_t, 16> out{};
  std::string ip(text);
  if (inet_pton(AF_INET6, ip.c_str(), out.data()) == 1) return out;
  out = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (inet_pton(AF_INET, ip.c_str(), out.data() + 12) == 1) return out;
  return std::nullopt;
}
bool looks_like_ip(std::string_view text) { return text.find('\0') == std::string_view::npos && parse_address(text).has_value(); }

constexpr std::string_view kNotAnIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

// Why nobody's endpoint may be there (CVE-2021-25737); empty where it may.
std::string special_address(std::string_view ip) {
  auto parsed = parse_address(ip);
  if (!parsed) return {};
  std::array<std::uint8_t, 16>& a = *parsed;
  bool zeros = std::all_of(a.begin(), a.begin() + 10, [](std::uint8_t byte) { return byte == 0; });
  bool four = zeros && a[10] == 0xff && a[11] == 0xff;
  bool low = zeros && a[10] == 0 && a[11] == 0 && a[12] == 0 && a[13] == 0 && a[14] == 0;
  if ((four && a[12] == 0 && a[13] == 0 && a[14] == 0 && a[15] == 0) || (low && a[15] == 0)) return cat("may not be unspecified (", ip, ")");
  if ((four && a[12] == 127) || (low && a[15] == 1)) return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
  if ((four && a[12] == 169 && a[13] == 254) || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)) return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  if ((four && a[12] == 224 && a[13] == 0 && a[14] == 0) || (a[0] == 0xff && (a[1] & 0x0f) == 2)) return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
  return {};
}

bool has_node_ports(const Value& spec) { return text(spec, "type") == "NodePort" || text(spec, "type") == "LoadBalancer"; }
bool has_address(const Value& spec) { return text(spec, "type") != "ExternalName"; }
bool is_balanced(const Value& spec) { return text(spec, "type") == "LoadBalancer"; }
bool has_external_policy(const Value& spec) { return has_node_ports(spec) || !items(spec, "externalIPs").empty(); }

// Whoever changes the type and leaves what only the old type had as it was does not mean to keep it.
void drop_what_the_type_had(Value& now, const Value& before) {
  struct Row {
    bool (*needed)(const Value& spec);
    std::string_view member;
  };
  static constexpr Row kRows[] = {{has_address, "clusterIP"}, {has_address, "clusterIPs"}, {has_address, "ipFamilies"}, {has_address, "ipFamilyPolicy"},
                                  {is_balanced, "allocateLoadBalancerNodePorts"}, {is_balanced, "loadBalancerClass"}, {has_external_policy, "externalTrafficPolicy"}};
  for (const Row& row : kRows) {
    const Value *a = child(now, row.member), *b = child(before, row.member);
    if (row.needed(before) && !row.needed(now) && a != nullptr && b != nullptr && *a == *b) now.get_object().erase(row.member);
  }
  if (!has_node_ports(before) || has_node_ports(now) || child(now, "ports") == nullptr) return;
  const Array& old_ports = items(before, "ports");
  Array& ports = mutable_items(now, "ports");
  bool same = ports.size() == old_ports.size();
  for (std::size_t i = 0; same && i < ports.size(); ++i) same = json::get_int(ports[i], {"nodePort"}) == json::get_int(old_ports[i], {"nodePort"});
  for (std::size_t i = 0; same && i < ports.size(); ++i)
    if (ports[i].is_object()) ports[i].get_object().erase("nodePort");
}

}  // namespace

void default_service(Value& object) {
  Value* spec = mutable_child(object, "spec");
  if (spec == nullptr || !spec->is_object()) return;
  const std::string type(text(*spec, "type"));  // a copy: members that are added may move it
  if (text(*spec, "sessionAffinity") == "ClientIP") {
    Value& config = json::at_path(*spec, {"sessionAffinityConfig", "clientIP"});
    if (!config.is_object()) config.emplace_object();
    set_missing(config, "timeoutSeconds", 10800);
  } else {
    spec->get_object().erase("sessionAffinityConfig");
  }
  bool external = type == "NodePort" || type == "LoadBalancer";
  if (child(*spec, "ports") != nullptr) {
    for (Value& port : mutable_items(*spec, "ports")) {
      const Value* target = child(port, "targetPort");
      bool unset = target == nullptr || *target == Value(0) || (target->is_string() && target->get_string().empty());
      if (unset && port.is_object()) port.get_object()["targetPort"] = json::get_int(port, {"port"});
    }
  }
  if (external) set_missing(*spec, "externalTrafficPolicy", "Cluster");
  if (external || type == "ClusterIP") set_missing(*spec, "internalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") set_missing(*spec, "allocateLoadBalancerNodePorts", true);
}

void prepare_service_update(Value& object, const Value& old, std::string_view subresource) {
  if (subresource == "status") return;
  Value *now = mutable_child(object, "spec");
  const Value* before = child(old, "spec");
  if (now == nullptr || before == nullptr || !now->is_object()) return;
  drop_what_the_type_had(*now, *before);
  if (text(*now, "type") == "ExternalName" || text(*before, "type") == "ExternalName") return;
  // What the server allocated stays unless the client says otherwise.
  for (std::string_view member : {"clusterIP", "ipFamilyPolicy"})
    if (text(*now, member).empty() && child(*before, member) != nullptr) now->get_object()[member] = *child(*before, member);
  for (std::string_view member : {"clusterIPs", "ipFamilies"})
    if (items(*now, member).empty() && child(*before, member) != nullptr) now->get_object()[member] = *child(*before, member);
  if (text(*now, "type") == "ClusterIP" || child(*now, "ports") == nullptr) return;
  for (Value& port : mutable_items(*now, "ports")) {
    if (json::get_int(port, {"nodePort"}) != 0) continue;
    for (const Value& o : items(*before, "ports"))
      if (json::get_int(o, {"port"}) == json::get_int(port, {"port"}) && text(o, "protocol") == text(port, "protocol") && json::get_int(o, {"nodePort"}) != 0)
        port.get_object()["nodePort"] = json::get_int(o, {"nodePort"});
  }
}

void validate_service(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  std::string_view type = text(*spec, "type"), ip = text(*spec, "clusterIP");
  const Array& ports = items(*spec, "ports");
  if (ports.empty() && ip != "None" && type != "ExternalName") errors.required(path["ports"]);
  if (type == "LoadBalancer" && ip == "None") errors.invalid(path["clusterIPs"][std::size_t{0}], ip, "may not be set to 'None' for LoadBalancer services");
  if (type == "NodePort" && ip == "None") errors.invalid(path["clusterIPs"][std::size_t{0}], ip, "may not be set to 'None' for NodePort services");
  if (type == "ExternalName") {
    std::string_view name = text(*spec, "externalName");
    if (name.empty()) errors.required(path["externalName"]);
    else report(errors, path["externalName"], name.ends_with('.') ? name.substr(0, name.size() - 1) : name, check_dns1123_subdomain(name.ends_with('.') ? name.substr(0, name.size() - 1) : name));
    if (!ip.empty()) errors.forbidden(path["clusterIPs"], "may not be set for ExternalName services");
  }
  std::set<std::string_view> names;
  std::set<std::pair<std::int64_t, std::string_view>> numbers, node_ports;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    Path at = path["ports"][i];
    std::string_view name = text(ports[i], "name"), protocol = text(ports[i], "protocol");
    if (name.empty() && ports.size() > 1) errors.required(at["name"]);
    if (!name.empty()) {
      report(errors, at["name"], name, check_dns1123_label(name));
      if (!names.insert(name).second) errors.duplicate(at["name"], Value(name));
    }
    std::int64_t port = json::get_int(ports[i], {"port"});
    if (!check_port_number(port).empty()) errors.invalid(at["port"], Value(port), check_port_number(port)[0]);
    check_supported(errors, at, ports[i], "protocol", {"SCTP", "TCP", "UDP"});
    if (const Value* target = child(ports[i], "targetPort")) {
      if (target->is_string()) report(errors, at["targetPort"], target->get_string(), check_port_name(target->get_string()));
      else if (target->is_int64() && !check_port_number(target->get_int64()).empty()) errors.invalid(at["targetPort"], *target, check_port_number(target->get_int64())[0]);
    }
    if (!numbers.insert({port, protocol}).second) errors.duplicate(at, Object{{"port", port}, {"protocol", protocol}});
    std::int64_t node_port = json::get_int(ports[i], {"nodePort"});
    if (node_port == 0) continue;
    if (type == "ClusterIP") errors.forbidden(at["nodePort"], "may not be used when `type` is 'ClusterIP'");
    if (!node_ports.insert({node_port, protocol}).second) errors.duplicate(at["nodePort"], Value(node_port));
  }
  check_labels(errors, path["selector"], child(*spec, "selector"));
  if (std::string_view policy = text(*spec, "externalTrafficPolicy"); !policy.empty() && !has_external_policy(*spec))
    errors.invalid(path["externalTrafficPolicy"], policy, "may only be set for externally-accessible services");
  check_supported(errors, path, *spec, "sessionAffinity", {"ClientIP", "None"});
  check_supported(errors, path, *spec, "type", {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
  check_supported(errors, path, *spec, "externalTrafficPolicy", {"Cluster", "Local"});
  check_supported(errors, path, *spec, "internalTrafficPolicy", {"Cluster", "Local"});
  check_supported(errors, path, *spec, "ipFamilyPolicy", {"PreferDualStack", "RequireDualStack", "SingleStack"});
  if (const Value* timeout = json::find(*spec, {"sessionAffinityConfig", "clientIP", "timeoutSeconds"}); timeout != nullptr && timeout->is_int64() && (timeout->get_int64() <= 0 || timeout->get_int64() > 86400))
    errors.invalid(path["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], *timeout, "must be greater than 0 and less than 86400");
  if (!ip.empty() && ip != "None" && !looks_like_ip(ip)) errors.invalid(path["clusterIPs"][std::size_t{0}], ip, kNotAnIp);
  const Array& external = items(*spec, "externalIPs");
  for (std::size_t i = 0; i < external.size(); ++i) {
    std::string_view address = external[i].is_string() ? std::string_view(external[i].get_string()) : std::string_view();
    if (!looks_like_ip(address)) errors.invalid(path["externalIPs"][i], address, kNotAnIp);
    else if (std::string why = special_address(address); !why.empty()) errors.invalid(path["externalIPs"][i], address, why);
  }
}

void validate_service_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(object, "spec"), *before = child(old, "spec");
  if (subresource == "status" || now == nullptr || before == nullptr) return;
  if (text(*now, "type") == "ExternalName" || text(*before, "type") == "ExternalName") return;
  std::string_view was = text(*before, "clusterIP");
  if (!was.empty() && text(*now, "clusterIP") != was) errors.invalid(Path("spec")["clusterIPs"][std::size_t{0}], Value(Array{text(*now, "clusterIP")}), "may not change once set");
}

std::vector<std::string_view> service_fields() { return {"spec.clusterIP", "spec.type"}; }

void validate_endpoints(const Value& object, FieldErrors& errors) {
  const Array& subsets = items(object, "subsets");
  for (std::size_t i = 0; i < subsets.size(); ++i) {
    Path at = Path("subsets")[i];
    if (items(subsets[i], "addresses").empty() && items(subsets[i], "notReadyAddresses").empty()) errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    for (const char* list : {"addresses", "notReadyAddresses"})
      for (std::size_t a = 0; a < items(subsets[i], list).size(); ++a) {
        std::string_view ip = text(items(subsets[i], list)[a], "ip");
        if (!looks_like_ip(ip)) errors.invalid(at[list][a]["ip"], ip, kNotAnIp);
        else if (std::string why = special_address(ip); !why.empty()) errors.invalid(at[list][a]["ip"], ip, why);
      }
    const Array& ports = items(subsets[i], "ports");
    for (std::size_t p = 0; p < ports.size(); ++p) {
      std::int64_t port = json::get_int(ports[p], {"port"});
      if (!check_port_number(port).empty()) errors.invalid(at["ports"][p]["port"], Value(port), check_port_number(port)[0]);
      if (ports.size() > 1 && text(ports[p], "name").empty()) errors.required(at["ports"][p]["name"]);
    }
  }
}

void validate_endpoint_slice(const Value& object, FieldErrors& errors) {
  std::string_view type = text(object, "addressType");
  if (type.empty()) errors.required(Path("addressType"));
  else if (type != "IPv4" && type != "IPv6" && type != "FQDN") errors.not_supported(Path("addressType"), Value(type), {"FQDN", "IPv4", "IPv6"});
  const Array& endpoints = items(object, "endpoints");
  if (endpoints.size() > 1000) errors.too_many(Path("endpoints"), endpoints.size(), 1000);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    Path at = Path("endpoints")[i]["addresses"];
    const Array& addresses = items(endpoints[i], "addresses");
    if (addresses.empty()) errors.required(at, "must contain at least 1 address");
    for (std::size_t a = 0; a < addresses.size(); ++a) {
      std::string_view ip = addresses[a].is_string() ? std::string_view(addresses[a].get_string()) : std::string_view();
      if (type == "IPv4" && (!looks_like_ip(ip) || ip.find(':') != std::string_view::npos)) errors.invalid(at[a], ip, "must be an IPv4 address");
      else if (type == "IPv6" && (!looks_like_ip(ip) || ip.find(':') == std::string_view::npos)) errors.invalid(at[a], ip, "must be an IPv6 address");
      else if (std::string why = type == "FQDN" ? std::string() : special_address(ip); !why.empty()) errors.invalid(at[a], ip, why);
    }
  }
  std::set<std::string_view> names;
  const Array& ports = items(object, "ports");
  for (std::size_t i = 0; i < ports.size(); ++i)
    if (!names.insert(text(ports[i], "name")).second) errors.duplicate(Path("ports")[i]["name"], Value(text(ports[i], "name")));
}

void validate_endpoint_slice_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  check_immutable(errors, Path(), object, old, "addressType");
}

void default_network_policy(Value& object) {
  Value* spec = mutable_child(object, "spec");
  if (spec == nullptr || !items(*spec, "policyTypes").empty()) return;
  Array& policies = mutable_items(*spec, "policyTypes");
  policies.push_back("Ingress");
  if (!items(*spec, "egress").empty()) policies.push_back("Egress");
}

}  // namespace monopod::api::kinds
