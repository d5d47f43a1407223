// Cluster IPs and node ports of Services. What is taken stands in the cache; what is being given out right now is reserved
// here until its write is in the cache, so that two creates at once never get the same.
#include <map>
#include <set>

#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

std::optional<std::uint32_t> parse_ipv4(std::string_view text) {
  std::uint32_t out = 0;
  std::vector<std::string_view> parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  for (std::string_view part : parts) {
    auto byte = parse_int<std::uint32_t>(part);
    if (!byte || *byte > 255) return std::nullopt;
    out = out << 8 | *byte;
  }
  return out;
}

std::string format_ipv4(std::uint32_t ip) { return cat(ip >> 24, '.', ip >> 16 & 255, '.', ip >> 8 & 255, '.', ip & 255); }

struct Cidr {
  std::uint32_t first = 0;  // the network's own address
  std::uint32_t size = 0;   // addresses in it
  bool contains(std::uint32_t ip) const { return ip - first < size; }
};

Cidr parse_cidr(std::string_view text) {
  auto [address, bits] = split_once(text, '/');
  auto ip = parse_ipv4(address);
  int length = parse_int<int>(bits.value_or("16")).value_or(16);
  if (!ip || length < 8 || length > 30) return {10U << 24 | 43U << 16, 1U << 16};
  return {*ip, 1U << (32 - length)};
}

class ServiceAddresses final : public AdmissionPlugin {
 public:
  ServiceAddresses(CacheSet& caches, Rng& rng, const ServerOptions& options)
      : caches_(caches), rng_(rng), range_(parse_cidr(options.service_cidr)), range_text_(options.service_cidr),
        port_first_(options.node_port_first), port_last_(options.node_port_last) {}
  std::string_view name() const override { return "ServiceAddresses"; }

  bool handles(const AdmissionRequest& request) const override {
    return request.object != nullptr && request.is("", "services") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    refresh();
    json::Value& service = *request.object;
    std::string type(json::get_string(service, {"spec", "type"}, "ClusterIP"));
    if (type == "ExternalName") {
      if (json::Value* spec = json::find(service, {"spec"}); spec != nullptr && request.operation == Operation::kUpdate) {
        spec->as_object().erase("clusterIP");
        spec->as_object().erase("clusterIPs");
      }
      co_return Outcome<>();
    }
    CO_OUT(give_address(request, service));
    co_return give_ports(request, service, type);
  }

 private:
  void refresh() {
    WatchCache* services = caches_.find("", "services");
    if (services->generation() == seen_) return;
    seen_ = services->generation();
    addresses_.clear();
    ports_.clear();
    for (const ObjectPtr& service : services->objects()) {
      json::Value tree = service->tree();
      if (auto ip = parse_ipv4(json::get_string(tree, {"spec", "clusterIP"}))) addresses_.insert(*ip);
      if (const json::Array* ports = json::get_array(tree, {"spec", "ports"}))
        for (const json::Value& port : *ports)
          if (std::int64_t number = json::get_int(port, {"nodePort"}); number != 0) ports_.insert(number);
      if (std::int64_t number = json::get_int(tree, {"spec", "healthCheckNodePort"}); number != 0) ports_.insert(number);
    }
  }

  Outcome<> invalid_field(const AdmissionRequest& request, std::string_view field, std::string text) const {
    return refuse(invalid("", "Service", request.name, {{"FieldValueInvalid", std::move(text), std::string(field)}}));
  }

  Outcome<> give_address(AdmissionRequest& request, json::Value& service) {
    std::string asked(json::get_string(service, {"spec", "clusterIP"}));
    if (asked.empty())
      if (const json::Array* list = json::get_array(service, {"spec", "clusterIPs"}); list != nullptr && !list->empty() && list->front().is_string())
        asked = list->front().get_string();
    std::string before(request.old ? json::get_string(*request.old, {"spec", "clusterIP"}) : std::string_view());
    if (asked.empty() && !before.empty()) asked = before;  // an update that leaves it out keeps it
    if (asked.empty() || (asked != "None" && asked != before)) {
      std::uint32_t ip = 0;
      if (asked.empty()) {
        auto free = free_address();
        if (!free) return refuse(internal(cat("failed to allocate IP: range is full")));
        ip = *free;
      } else {
        auto parsed = parse_ipv4(asked);
        if (!parsed) return invalid_field(request, "spec.clusterIPs[0]", cat("Invalid value: \"", asked, "\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        ip = *parsed;
        if (!range_.contains(ip))
          return invalid_field(request, "spec.clusterIPs", cat("Invalid value: [\"", asked, "\"]: failed to allocate IP ", asked, ": the provided IP (", asked, ") is not in the valid range. The range of valid IPs is ", range_text_));
        if (addresses_.contains(ip) || reserved_.contains(ip))
          return invalid_field(request, "spec.clusterIPs", cat("Invalid value: [\"", asked, "\"]: failed to allocate IP ", asked, ": provided IP is already allocated"));
      }
      asked = format_ipv4(ip);
      reserved_.insert(ip);
      request.on_done.push_back([this, ip](bool) { reserved_.erase(ip); });
    }
    json::at_path(service, {"spec", "clusterIP"}) = asked;
    json::at_path(service, {"spec", "clusterIPs"}) = json::Array{json::Value(asked)};
    if (json::find(service, {"spec", "ipFamilies"}) == nullptr) json::at_path(service, {"spec", "ipFamilies"}) = json::Array{"IPv4"};
    if (json::find(service, {"spec", "ipFamilyPolicy"}) == nullptr) json::at_path(service, {"spec", "ipFamilyPolicy"}) = "SingleStack";
    return {};
  }

  // Chance first, from behind the part kept for fixed addresses (.1, .10 and the like); then the first free one.
  std::optional<std::uint32_t> free_address() {
    std::uint32_t kept = std::min<std::uint32_t>(256, range_.size / 16);
    auto taken = [this](std::uint32_t ip) { return addresses_.contains(ip) || reserved_.contains(ip); };
    for (int tries = 0; tries < 16; ++tries) {
      std::uint32_t ip = range_.first + kept + static_cast<std::uint32_t>(rng_.below(range_.size - kept - 1));
      if (ip != range_.first && !taken(ip)) return ip;
    }
    for (std::uint32_t i = 1; i + 1 < range_.size; ++i)
      if (i != 10 && !taken(range_.first + i)) return range_.first + i;
    return std::nullopt;
  }

  Outcome<> give_ports(AdmissionRequest& request, json::Value& service, const std::string& type) {
    bool wanted = type == "NodePort" || (type == "LoadBalancer" && json::get_bool(service, {"spec", "allocateLoadBalancerNodePorts"}, true));
    std::set<std::int64_t> before;
    if (request.old != nullptr)
      if (const json::Array* ports = json::get_array(*request.old, {"spec", "ports"}))
        for (const json::Value& port : *ports) before.insert(json::get_int(port, {"nodePort"}));
    json::Value* list = json::find(service, {"spec", "ports"});
    if (list == nullptr || !list->is_array()) return {};
    std::set<std::int64_t> ours;                    // given here: protocols of one service may share a number
    std::map<std::int64_t, std::int64_t> by_port;  // and do where they share the port
    for (std::size_t i = 0; i < list->as_array().size(); ++i) {
      json::Value& port = list->as_array()[i];
      if (!port.is_object()) continue;
      std::int64_t number = json::get_int(port, {"nodePort"});
      if (!wanted) {
        if (request.operation == Operation::kUpdate && before.contains(number)) port.as_object().erase("nodePort");
        continue;
      }
      if (number == 0) number = kept_port(request, port);
      if (number != 0 && before.contains(number)) {
        port.as_object()["nodePort"] = number;
        continue;
      }
      std::string field = cat("spec.ports[", i, "].nodePort");
      if (number != 0 && (number < port_first_ || number > port_last_))
        return invalid_field(request, field, cat("Invalid value: ", number, ": provided port is not in the valid range. The range of valid ports is ", port_first_, '-', port_last_));
      if (number == 0 && by_port.contains(json::get_int(port, {"port"}))) number = by_port[json::get_int(port, {"port"})];
      if (number != 0 && ours.contains(number)) {
        port.as_object()["nodePort"] = number;
        continue;
      }
      if (number != 0 && (ports_.contains(number) || reserved_ports_.contains(number)))
        return invalid_field(request, field, cat("Invalid value: ", number, ": provided port is already allocated"));
      if (number == 0) number = free_port();
      if (number == 0) return refuse(internal("failed to allocate a nodePort: range is full"));
      port.as_object()["nodePort"] = number;
      ours.insert(number);
      by_port[json::get_int(port, {"port"})] = number;
      reserved_ports_.insert(number);
      request.on_done.push_back([this, number](bool) { reserved_ports_.erase(number); });
    }
    return {};
  }

  // The node port that this port had before the update, by protocol and number.
  static std::int64_t kept_port(const AdmissionRequest& request, const json::Value& port) {
    if (request.old == nullptr) return 0;
    if (const json::Array* ports = json::get_array(*request.old, {"spec", "ports"}))
      for (const json::Value& old : *ports)
        if (json::get_int(old, {"port"}) == json::get_int(port, {"port"}) &&
            json::get_string(old, {"protocol"}, "TCP") == json::get_string(port, {"protocol"}, "TCP"))
          return json::get_int(old, {"nodePort"});
    return 0;
  }

  std::int64_t free_port() {
    auto count = static_cast<std::uint64_t>(port_last_ - port_first_ + 1);
    auto start = static_cast<std::int64_t>(rng_.below(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      std::int64_t number = port_first_ + (start + static_cast<std::int64_t>(i)) % static_cast<std::int64_t>(count);
      if (!ports_.contains(number) && !reserved_ports_.contains(number)) return number;
    }
    return 0;
  }

  CacheSet& caches_;
  Rng& rng_;
  Cidr range_;
  std::string range_text_;
  std::int64_t port_first_, port_last_;
  std::uint64_t seen_ = ~std::uint64_t{0};
  std::set<std::uint32_t> addresses_, reserved_;
  std::set<std::int64_t> ports_, reserved_ports_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_service_addresses(const AdmissionParts& parts) {
  return std::make_unique<ServiceAddresses>(parts.caches, parts.rng, parts.options);
}

}  // namespace monopod::api
