#include "agent/services.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

using json::Value;

constexpr Duration kGather = std::chrono::milliseconds(20);   // changes within this become one update
constexpr Duration kRetry = std::chrono::seconds(5);
constexpr std::string_view kServiceName = "kubernetes.io/service-name";
constexpr std::string_view kOtherProxy = "service.kubernetes.io/service-proxy-name";

struct SliceEndpoint {
  network::IpAddress ip;
  std::string hostname;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  bool local = false;
  std::map<std::string, std::uint16_t> ports;  // by name
};

std::optional<bool> condition(const Value& endpoint, std::string_view name) {
  const Value* v = json::find(endpoint, {"conditions", name});
  return v && v->is_bool() ? std::optional(v->get_bool()) : std::nullopt;
}

void add_slice(const Value& slice, const std::string& node_name, std::vector<SliceEndpoint>& out) {
  std::map<std::string, std::uint16_t> ports;
  if (const json::Array* list = json::get_array(slice, {"ports"}))
    for (const Value& p : *list) ports[std::string(json::get_string(p, {"name"}))] = static_cast<std::uint16_t>(json::get_int(p, {"port"}));
  const json::Array* endpoints = json::get_array(slice, {"endpoints"});
  if (!endpoints) return;
  for (const Value& e : *endpoints) {
    const json::Array* addresses = json::get_array(e, {"addresses"});
    if (!addresses || addresses->empty() || !addresses->front().is_string()) continue;
    auto ip = network::parse_ip(addresses->front().get_string());
    if (!ip) continue;
    SliceEndpoint one;
    one.ip = *ip;
    one.hostname = to_lower(json::get_string(e, {"hostname"}));
    one.ready = condition(e, "ready").value_or(true);
    one.terminating = condition(e, "terminating").value_or(false);
    one.serving = condition(e, "serving").value_or(one.ready);
    std::string_view node = json::get_string(e, {"nodeName"});
    one.local = node.empty() || node == node_name;
    one.ports = ports;
    out.push_back(std::move(one));
  }
}

std::vector<network::IpAddress> addresses_of(const Value& service) {
  std::vector<network::IpAddress> out;
  auto add = [&](std::string_view text) {
    if (auto ip = network::parse_ip(text); ip && std::ranges::find(out, *ip) == out.end()) out.push_back(*ip);
  };
  if (const json::Array* list = json::get_array(service, {"spec", "clusterIPs"}))
    for (const Value& ip : *list)
      if (ip.is_string()) add(ip.get_string());
  add(json::get_string(service, {"spec", "clusterIP"}));
  return out;
}

std::vector<network::IpAddress> external_addresses_of(const Value& service) {
  std::vector<network::IpAddress> out;
  if (const json::Array* list = json::get_array(service, {"spec", "externalIPs"}))
    for (const Value& v : *list)
      if (v.is_string())
        if (auto ip = network::parse_ip(v.get_string())) out.push_back(*ip);
  if (const json::Array* list = json::get_array(service, {"status", "loadBalancer", "ingress"}))
    for (const Value& v : *list)
      if (auto ip = network::parse_ip(json::get_string(v, {"ip"}))) out.push_back(*ip);
  return out;
}

void add_service(const Value& service, const std::vector<SliceEndpoint>& endpoints, ServiceTables& out) {
  std::string ns(json::get_string(service, {"metadata", "namespace"}));
  std::string name(json::get_string(service, {"metadata", "name"}));
  std::string_view type = json::get_string(service, {"spec", "type"}, "ClusterIP");
  network::dns::DnsService dns;
  dns.name = to_lower(name);
  dns.namespace_name = to_lower(ns);
  if (type == "ExternalName") {
    dns.external_name = json::get_string(service, {"spec", "externalName"});
    out.dns.services.push_back(std::move(dns));
    return;
  }
  bool headless = json::get_string(service, {"spec", "clusterIP"}) == "None";
  bool publish_unready = json::get_bool(service, {"spec", "publishNotReadyAddresses"});
  network::Service table;
  table.name = cat(ns, "/", name);
  table.cluster_ips = headless ? std::vector<network::IpAddress>() : addresses_of(service);
  dns.cluster_ips = table.cluster_ips;
  table.external_ips = external_addresses_of(service);
  if (json::get_string(service, {"spec", "sessionAffinity"}) == "ClientIP")
    table.client_ip_affinity = std::chrono::seconds(json::get_int(service, {"spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"}, 10'800));
  if (json::get_string(service, {"spec", "externalTrafficPolicy"}) == "Local") table.external_policy = network::TrafficPolicy::kLocal;
  if (json::get_string(service, {"spec", "internalTrafficPolicy"}) == "Local") table.internal_policy = network::TrafficPolicy::kLocal;

  auto add_port = [&](const Value* p) {
    network::ServicePort port;
    network::dns::DnsPort record;
    if (p) {
      port.name = json::get_string(*p, {"name"});
      port.protocol = network::parse_protocol(json::get_string(*p, {"protocol"}, "TCP")).value_or(network::Protocol::kTcp);
      port.port = static_cast<std::uint16_t>(json::get_int(*p, {"port"}));
      port.node_port = static_cast<std::uint16_t>(json::get_int(*p, {"nodePort"}));
    }
    record.name = to_lower(port.name);
    record.protocol = port.protocol;
    record.port = port.port;
    for (const SliceEndpoint& e : endpoints) {
      auto number = e.ports.find(port.name);
      if (p && number == e.ports.end()) continue;
      network::Endpoint one;
      one.ip = e.ip;
      one.port = p ? number->second : 0;
      one.ready = e.ready;
      one.serving_terminating = e.serving && e.terminating;
      one.local = e.local;
      port.endpoints.push_back(one);
      if (headless && (e.ready || publish_unready)) {
        record.endpoints.push_back({e.ip, e.hostname});
        if (p) record.port = number->second;
      }
    }
    std::ranges::sort(port.endpoints);
    dns.ports.push_back(std::move(record));
    if (p) table.ports.push_back(std::move(port));
  };
  const json::Array* ports = json::get_array(service, {"spec", "ports"});
  if (ports)
    for (const Value& p : *ports) add_port(&p);
  if (!ports || ports->empty()) add_port(nullptr);  // a headless service without ports still has addresses
  out.dns.services.push_back(std::move(dns));
  bool foreign = json::find(service, {"metadata", "labels", kOtherProxy}) != nullptr;
  if (!table.cluster_ips.empty() && !foreign) out.services.services.push_back(std::move(table));
}

}  // namespace

ServiceTables make_service_tables(const std::vector<Value>& services, const std::vector<Value>& slices, const std::vector<std::string>& namespaces,
                                  const std::string& node_name) {
  std::map<std::string, std::vector<SliceEndpoint>> endpoints;
  for (const Value& slice : slices) {
    std::string_view service = json::get_string(slice, {"metadata", "labels", kServiceName});
    if (service.empty() || json::get_string(slice, {"addressType"}) == "FQDN") continue;
    add_slice(slice, node_name, endpoints[cat(json::get_string(slice, {"metadata", "namespace"}), "/", service)]);
  }
  ServiceTables out;
  for (const Value& service : services) {
    auto found = endpoints.find(cat(json::get_string(service, {"metadata", "namespace"}), "/", json::get_string(service, {"metadata", "name"})));
    add_service(service, found == endpoints.end() ? std::vector<SliceEndpoint>() : found->second, out);
  }
  std::ranges::sort(out.services.services, {}, &network::Service::name);
  out.dns.namespaces = namespaces;
  std::ranges::sort(out.dns.namespaces);
  return out;
}

ServiceAddress parse_service_address(const Value& service) {
  ServiceAddress out;
  out.name = json::get_string(service, {"metadata", "name"});
  out.cluster_ip = json::get_string(service, {"spec", "clusterIP"});
  if (const json::Array* ports = json::get_array(service, {"spec", "ports"}))
    for (const Value& p : *ports)
      out.ports.push_back({std::string(json::get_string(p, {"name"})), std::string(json::get_string(p, {"protocol"}, "TCP")), static_cast<int>(json::get_int(p, {"port"}))});
  return out;
}

ServicePublisher::ServicePublisher(const AgentDependencies& dependencies, const AgentOptions& options, client::InformerFactory& informers)
    : deps_(dependencies),
      node_name_(options.node_name),
      services_(informers.informer(client::resources::kServices)),
      slices_(informers.informer(client::resources::kEndpointSlices)),
      namespaces_(informers.informer(client::resources::kNamespaces)),
      changed_(dependencies.executor) {
  auto poke = [this](const client::ObjectPtr&, const client::ObjectPtr&) { changed_.set(); };
  services_.add_handler(poke);
  slices_.add_handler(poke);
  namespaces_.add_handler([this](const client::ObjectPtr& old, const client::ObjectPtr& now) {
    if (!old || !now) changed_.set();
  });
}

std::vector<ServiceAddress> ServicePublisher::addresses(const Pod& pod) const {
  std::vector<ServiceAddress> out;
  if (auto master = services_.indexer().find("default/kubernetes")) out.push_back(parse_service_address(master->tree()));
  if (!pod.enable_service_links) return out;
  for (const client::ObjectPtr& service : services_.indexer().by_index(client::kNamespaceIndex, pod.namespace_name))
    if (service->key() != "default/kubernetes") out.push_back(parse_service_address(service->tree()));
  return out;
}

async::Task<Result<>> ServicePublisher::run() {
  for (client::Informer* informer : {&services_, &slices_, &namespaces_}) CO_TRY(co_await informer->wait_synced());
  changed_.set();
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await changed_.wait());
    CO_TRY(co_await deps_.time.sleep_for(kGather));
    changed_.reset();
    auto trees = [](const client::Informer& informer) {
      std::vector<Value> out;
      for (const client::ObjectPtr& o : informer.indexer().list()) out.push_back(o->tree());
      return out;
    };
    ServiceTables tables = make_service_tables(trees(services_), trees(slices_), namespaces_.indexer().keys(), node_name_);
    if (deps_.dns) deps_.dns->set_table(tables.dns);
    if (!deps_.services) continue;
    auto applied = co_await deps_.pool.run([&] { return deps_.services->apply(tables.services); });
    if (applied) continue;
    log::warn("cannot program services", {{"error", applied.error()}});
    CO_TRY(co_await deps_.time.sleep_for(kRetry));
    changed_.set();
  }
}

}  // namespace monopod::agent
