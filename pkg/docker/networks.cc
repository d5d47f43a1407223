#include "docker/networks.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/log.h"
#include "base/strings.h"
#include "docker/call.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "network/netlink/route.h"

namespace monopod::docker {
namespace {

using async::Task;
using network::Cidr;
using network::IpAddress;

constexpr const char* kBucket = "docker";
constexpr std::string_view kKeyPrefix = "network/";

bool overlap(const Cidr& a, const Cidr& b) { return a.contains(b.address) || b.contains(a.address); }

// As Docker's: 172.17.0.0/16 and on, then 192.168.0.0/20 and on.
std::vector<Cidr> subnet_pool() {
  std::vector<Cidr> out;
  for (std::uint32_t i = 17; i < 32; ++i) out.push_back({IpAddress::v4(172U << 24 | i << 16), 16});
  for (std::uint32_t i = 0; i < 16; ++i) out.push_back({IpAddress::v4(192U << 24 | 168U << 16 | i << 12), 20});
  return out;
}

std::string short_id(const std::string& id) { return id.substr(0, 12); }

std::string gateway_of(const Cidr& subnet) { return network::format_ip(IpAddress::v4(subnet.address.v4_host_order() + 1)); }

}  // namespace

std::string make_id(Rng& rng) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    std::uint64_t n = rng.next();
    bytes.append(reinterpret_cast<const char*>(&n), sizeof n);
  }
  return format_hex(as_bytes(bytes));
}

Networks::Networks(NetworkParts parts, NetworkOptions options) : parts_(parts), options_(std::move(options)), started_(parts.executor) {}

Task<Result<>> Networks::open() {
  CO_TRY_ASSIGN(auto pairs, co_await parts_.state.list(kBucket));
  for (const auto& [key, text] : pairs) {
    if (!key.starts_with(kKeyPrefix)) continue;
    CO_TRY_ASSIGN(json::Value value, json::parse(text));
    auto info = std::make_unique<NetworkInfo>();
    info->id = key.substr(kKeyPrefix.size());
    info->name = json::get_string(value, {"name"});
    info->driver = json::get_string(value, {"driver"}, "bridge");
    info->builtin = json::get_bool(value, {"builtin"});
    info->internal = json::get_bool(value, {"internal"});
    if (auto at = parse_rfc3339(json::get_string(value, {"created"}))) info->created = *at;
    if (auto subnet = network::parse_cidr(json::get_string(value, {"subnet"}))) info->subnet = *subnet;
    info->labels = string_map_of(value, {"labels"});
    info->options = string_map_of(value, {"options"});
    all_[info->id] = std::move(info);
  }
  for (auto [name, driver] : {std::pair("bridge", "bridge"), {"host", "host"}, {"none", "null"}}) {
    NetworkInfo* there = find(name);
    if (there == nullptr) {
      auto info = std::make_unique<NetworkInfo>();
      info->id = make_id(parts_.rng);
      info->name = name;
      info->driver = driver;
      info->builtin = true;
      info->created = parts_.time.wall();
      there = info.get();
      all_[info->id] = std::move(info);
    } else if (there->driver != "bridge" || there->subnet == options_.subnet) {
      continue;
    }
    if (there->driver == "bridge") there->subnet = options_.subnet;
    CO_TRY(co_await remember(*there));
  }
  co_return Result<>();
}

Task<Result<>> Networks::remember(const NetworkInfo& info) {
  json::Object value{{"name", info.name}, {"driver", info.driver}, {"builtin", info.builtin}, {"internal", info.internal}, {"created", format_rfc3339_nano(info.created)}};
  if (info.subnet.address.is_set()) value["subnet"] = network::format_cidr(info.subnet);
  value["labels"] = object_of(info.labels);
  value["options"] = object_of(info.options);
  co_return co_await parts_.state.put(kBucket, cat(kKeyPrefix, info.id), json::format(value));
}

NetworkInfo* Networks::find(std::string_view name) {
  if (name == "default") name = "bridge";
  NetworkInfo* by_prefix = nullptr;
  bool many = false;
  for (auto& [id, info] : all_) {
    if (info->name == name || id == name) return info.get();
    if (!name.empty() && id.starts_with(name)) {
      many = by_prefix != nullptr;
      by_prefix = info.get();
    }
  }
  return many ? nullptr : by_prefix;
}

std::vector<NetworkInfo*> Networks::list() {
  std::vector<NetworkInfo*> out;
  for (auto& [id, info] : all_) out.push_back(info.get());
  std::ranges::sort(out, {}, [](const NetworkInfo* i) { return i->name; });
  return out;
}

Task<Result<Cidr>> Networks::choose_subnet() {
  CO_TRY_ASSIGN(auto local, co_await parts_.pool.run([]() -> Result<std::vector<network::netlink::LinkAddress>> {
    TRY_ASSIGN(network::netlink::RouteSocket route, network::netlink::RouteSocket::open());
    return route.addresses();
  }));
  std::vector<Cidr> taken{options_.subnet};
  for (const auto& [id, info] : all_)
    if (info->subnet.address.is_set()) taken.push_back(info->subnet);
  for (const auto& address : local)
    if (address.ip.is_v4())
      if (auto cidr = network::parse_cidr(cat(network::format_ip(address.ip), "/", address.prefix_bits))) taken.push_back(*cidr);
  for (const Cidr& candidate : subnet_pool())
    if (std::ranges::none_of(taken, [&](const Cidr& t) { return overlap(t, candidate); })) co_return candidate;
  co_return fail(Code::kResourceExhausted, "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network");
}

Task<Result<NetworkInfo*>> Networks::create(json::Value request) {
  std::string name(json::get_string(request, {"Name"}));
  CO_TRY(check_object_name(name, "network"));
  for (auto& [id, info] : all_)
    if (info->name == name) co_return fail(Code::kAlreadyExists, cat("network with name ", name, " already exists"));
  if (all_.size() >= kNetworksMax) co_return fail(Code::kResourceExhausted, cat("more than ", kNetworksMax, " networks"));
  std::string driver(json::get_string(request, {"Driver"}, "bridge"));
  if (driver.empty() || driver == "default") driver = "bridge";
  if (driver == "host" || driver == "null") co_return fail(Code::kPermissionDenied, cat("only one instance of \"", driver, "\" network is allowed"));
  if (driver != "bridge") co_return fail(Code::kNotFound, cat("plugin \"", driver, "\" not found"));
  if (json::get_bool(request, {"EnableIPv6"})) co_return fail(Code::kUnimplemented, "EnableIPv6: networks are IPv4 only here");
  auto info = std::make_unique<NetworkInfo>();
  info->id = make_id(parts_.rng);
  info->name = name;
  info->created = parts_.time.wall();
  info->internal = json::get_bool(request, {"Internal"});
  info->labels = string_map_of(request, {"Labels"});
  info->options = string_map_of(request, {"Options"});
  const json::Array* pools = json::get_array(request, {"IPAM", "Config"});
  if (pools != nullptr && pools->size() > 1) co_return fail(Code::kInvalidArgument, "IPAM.Config: one subnet a network here");
  std::string wanted = pools == nullptr || pools->empty() ? std::string() : std::string(json::get_string(pools->front(), {"Subnet"}));
  if (!wanted.empty()) {
    auto subnet = network::parse_cidr(wanted);
    if (!subnet || !subnet->address.is_v4() || subnet->prefix_bits < 16 || subnet->prefix_bits > 29)
      co_return fail(Code::kInvalidArgument, cat("invalid subnet ", wanted, ": want IPv4 from /16 to /29"));
    std::string_view gateway = json::get_string(pools->front(), {"Gateway"});
    if (!gateway.empty() && gateway != gateway_of(*subnet)) co_return fail(Code::kUnimplemented, cat("gateway ", gateway, ": the gateway is the subnet's first address here, ", gateway_of(*subnet)));
    for (auto& [id, other] : all_)
      if (other->subnet.address.is_set() && overlap(other->subnet, *subnet))
        co_return fail(Code::kPermissionDenied, "Pool overlaps with other one on this address space");
    info->subnet = *subnet;
  } else {
    CO_TRY_ASSIGN(info->subnet, co_await choose_subnet());
  }
  NetworkInfo* out = info.get();
  all_[info->id] = std::move(info);
  Result<> stored = co_await remember(*out);
  if (!stored) {
    all_.erase(out->id);
    co_return fail(std::move(stored).error());
  }
  co_return out;
}

Task<Result<>> Networks::remove(NetworkInfo& info) {
  if (info.builtin) co_return fail(Code::kPermissionDenied, cat(info.name, " is a pre-defined network and cannot be removed"));
  if (!info.endpoints.empty() || starting_.contains(info.id))
    co_return fail(Code::kPermissionDenied, cat("error while removing network: network ", info.name, " id ", info.id, " has active endpoints"));
  CO_TRY(co_await stop(info));
  std::string id = info.id;
  CO_TRY(co_await parts_.state.remove(kBucket, cat(kKeyPrefix, id)));
  all_.erase(id);
  co_return Result<>();
}

Task<Result<>> Networks::start(NetworkInfo& info) {
  std::string id = info.id;
  while (starting_.contains(id)) CO_TRY(co_await started_.wait());  // forever: who starts it is bounded
  if (info.engine) co_return Result<>();
  starting_.insert(id);
  struct Done {
    Networks& networks;
    const std::string& id;
    ~Done() {
      networks.starting_.erase(id);
      networks.started_.wake_all();
    }
  } done{*this, id};
  network::NetworkConfig config;
  config.bridge = info.builtin ? options_.bridge : cat("br-", short_id(id));
  config.pod_cidr = info.subnet;
  config.cluster_cidrs = {info.subnet};
  config.services = false;
  config.sweep = false;
  config.table = info.builtin ? "monopod-docker" : cat("monopod-d-", short_id(id));
  config.bucket = cat("docker-net-", short_id(id));
  for (const auto& [other_id, other] : all_)
    if (other_id != id && other->subnet.address.is_set()) config.isolated_from.push_back(other->subnet);
  CO_TRY_ASSIGN(info.engine, co_await network::Network::open(std::move(config), parts_.state, parts_.pool));
  if (info.builtin) co_return Result<>();
  network::dns::ServerOptions dns{.addresses = {info.engine->gateway()}, .zone = "docker.internal", .upstreams = options_.upstreams, .pod_records = false};
  auto server = std::make_unique<network::dns::Server>(parts_.executor, parts_.time, parts_.rng, std::move(dns));
  if (Result<> listening = server->listen(); listening) {
    info.dns = std::move(server);
    info.dns_scope = std::make_unique<async::Scope>(parts_.executor);
    info.dns_scope->spawn(info.dns->serve());
  } else {
    log::warn("names of a network are not answered", {{"network", info.name}, {"error", listening.error()}});
  }
  co_return Result<>();
}

Task<Result<>> Networks::stop(NetworkInfo& info) {
  // Also what an earlier process left: the bridge is there although nobody asked for it in this one.
  if (!info.engine) CO_TRY(co_await start(info));
  CO_TRY(co_await info.engine->teardown());
  info.engine.reset();
  co_return co_await end_dns(info);
}

Task<Result<>> Networks::end_dns(NetworkInfo& info) {
  if (info.dns_scope) {
    info.dns_scope->cancel();
    (void)co_await info.dns_scope->join();
  }
  info.dns_scope.reset();
  info.dns.reset();
  co_return Result<>();
}

Task<Result<>> Networks::close() {
  for (auto& [id, info] : all_) (void)co_await end_dns(*info);
  co_return Result<>();
}

// A container asks the server of one of its networks, for names of all of them: so a network's server also has the names of those networks that a
// container of its own is in, behind its own.
void Networks::update_names(const NetworkInfo& changed) {
  if (!changed.dns) return;
  auto add = [](const NetworkInfo& from, network::dns::DnsTable& table, const network::dns::DnsTable& taken) {
    for (const auto& [id, endpoint] : from.endpoints)
      if (auto ip = network::parse_ip(endpoint.ip))
        for (const std::string& name : endpoint.names)
          if (!taken.hosts.contains(name)) table.hosts[name].push_back(*ip);
  };
  for (auto& [id, info] : all_) {
    if (!info->dns) continue;
    network::dns::DnsTable own, table;
    add(*info, own, {});
    table = own;
    for (const auto& [other_id, other] : all_)
      if (other != info && std::ranges::any_of(other->endpoints, [&](const auto& e) { return info->endpoints.contains(e.first); })) add(*other, table, own);
    info->dns->set_table(table);
  }
}

Task<Result<Endpoint>> Networks::connect(NetworkInfo& info, ConnectRequest request) {
  std::string network_id = info.id;
  // Held from here on, so that the network is not removed meanwhile.
  Endpoint endpoint{.network_id = network_id, .interface = request.interface, .names = request.names};
  info.endpoints[request.container_id] = endpoint;
  network::PodNetworkRequest pod{.id = cat(request.container_id.substr(0, 32), ".", short_id(network_id)), .netns_path = request.netns_path, .interface = request.interface,
                                 .host_ports = request.ports, .default_route = request.default_route && !info.internal};
  Result<> ready = co_await start(info);
  if (ready && !request.ip.empty()) {
    auto ip = network::parse_ip(request.ip);
    if (ip) pod.ip = *ip;
    else ready = fail(Code::kInvalidArgument, cat("invalid IPv4 address: ", request.ip));
  }
  Result<network::PodNetworkStatus> status = ready ? co_await info.engine->add_pod(std::move(pod)) : Result<network::PodNetworkStatus>(fail(std::move(ready).error()));
  if (!status) {
    info.endpoints.erase(request.container_id);
    co_return fail(std::move(status).error());
  }
  endpoint.ip = network::format_ip(status->ip);
  endpoint.gateway = network::format_ip(status->gateway);
  endpoint.mac = status->mac;
  endpoint.prefix_bits = info.subnet.prefix_bits;
  info.endpoints[request.container_id] = endpoint;
  update_names(info);
  co_return endpoint;
}

Task<Result<>> Networks::disconnect(NetworkInfo& info, std::string container_id) {
  info.endpoints.erase(container_id);
  update_names(info);
  if (!info.engine) co_return Result<>();
  co_return co_await info.engine->remove_pod(cat(container_id.substr(0, 32), ".", short_id(info.id)));
}

Task<Result<>> Networks::adopt(NetworkInfo& info, std::string container_id, Endpoint endpoint) {
  info.endpoints[container_id] = std::move(endpoint);
  CO_TRY(co_await start(info));
  update_names(info);
  co_return Result<>();
}

json::Value Networks::describe(const NetworkInfo& info, const std::map<std::string, std::string>& names, bool with_containers) {
  json::Array pools;
  if (info.subnet.address.is_set()) pools.push_back(json::Object{{"Subnet", network::format_cidr(info.subnet)}, {"Gateway", gateway_of(info.subnet)}});
  json::Object containers;
  if (with_containers) {
    for (const auto& [id, endpoint] : info.endpoints) {
      if (endpoint.ip.empty()) continue;
      auto name = names.find(id);
      containers[id] = json::Object{{"Name", name == names.end() ? "" : name->second}, {"EndpointID", cat(id.substr(0, 32), info.id.substr(0, 32))}, {"MacAddress", endpoint.mac},
                                    {"IPv4Address", cat(endpoint.ip, "/", endpoint.prefix_bits)}, {"IPv6Address", ""}};
    }
  }
  return json::Object{{"Name", info.name}, {"Id", info.id}, {"Created", format_rfc3339_nano(info.created)}, {"Scope", "local"}, {"Driver", info.driver}, {"EnableIPv4", true}, {"EnableIPv6", false},
                      {"IPAM", json::Object{{"Driver", "default"}, {"Options", json::Object{}}, {"Config", std::move(pools)}}},
                      {"Internal", info.internal}, {"Attachable", false}, {"Ingress", false}, {"ConfigFrom", json::Object{{"Network", ""}}}, {"ConfigOnly", false},
                      {"Containers", std::move(containers)}, {"Options", object_of(info.options)}, {"Labels", object_of(info.labels)}};
}

}  // namespace monopod::docker
