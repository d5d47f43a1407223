#include "network/network.h"

#include <algorithm>
#include <map>
#include <set>

#include "async/event.h"
#include "base/log.h"
#include "base/strings.h"
#include "network/address_pool.h"
#include "network/lease.h"
#include "network/node_rules.h"
#include "network/pod_link.h"
#include "sys/namespaces.h"

namespace monopod::network {
namespace {

using async::Task;

Cidr ipv4_cidr(std::uint32_t address, std::uint8_t bits) { return {IpAddress::v4(address), bits}; }

Result<NetworkConfig> complete(NetworkConfig config) {
  if (!config.pod_cidr.address.is_set()) config.pod_cidr = ipv4_cidr(0x0A2A0000U, 24);
  if (config.cluster_cidrs.empty()) config.cluster_cidrs = {ipv4_cidr(0x0A2A0000U, 16)};
  if (config.services && !config.service_cidr.address.is_set()) config.service_cidr = ipv4_cidr(0x0A2B0000U, 16);
  std::erase_if(config.cluster_cidrs, [](const Cidr& cidr) { return !cidr.address.is_v4(); });
  if (std::ranges::none_of(config.cluster_cidrs, [&](const Cidr& c) { return c.contains(config.pod_cidr.address); }))
    config.cluster_cidrs.push_back(config.pod_cidr);
  if (!config.pod_cidr.address.is_v4() || config.pod_cidr.prefix_bits < 16 || config.pod_cidr.prefix_bits > 29)
    return fail(Code::kInvalidArgument, cat("pod CIDR ", format_cidr(config.pod_cidr), ": IPv4 from /16 to /29 wanted"));
  if (config.bridge.empty() || config.bridge.size() > 15 || config.bridge.find_first_of("/ \t\n") != std::string::npos)
    return fail(Code::kInvalidArgument, cat("bridge name \"", config.bridge, "\""));
  return config;
}

Result<> validate(const PodNetworkRequest& request) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; };
  if (request.id.empty() || request.id.size() > 128 || !std::ranges::all_of(request.id, plain))
    return fail(Code::kInvalidArgument, cat("pod network id \"", request.id.substr(0, 128), "\""));
  if (request.interface.empty() || request.interface.size() > 15 || !std::ranges::all_of(request.interface, plain) || request.interface == "lo")
    return fail(Code::kInvalidArgument, cat("interface name \"", request.interface.substr(0, 64), "\""));
  if (request.netns_path.empty()) return fail(Code::kInvalidArgument, "no network namespace given");
  if (request.host_ports.size() > kHostPortsPerPodMax) return fail(Code::kInvalidArgument, cat("more than ", kHostPortsPerPodMax, " host ports"));
  for (std::size_t i = 0; i < request.host_ports.size(); ++i) {
    const HostPort& port = request.host_ports[i];
    if (port.host_port == 0 || port.container_port == 0) return fail(Code::kInvalidArgument, "host port 0");
    for (std::size_t j = 0; j < i; ++j)
      if (host_ports_clash(port, request.host_ports[j])) return fail(Code::kInvalidArgument, cat("host port ", port.host_port, " given twice"));
  }
  return {};
}

class NodeNetwork final : public Network {
 public:
  NodeNetwork(async::Executor executor, NetworkConfig config, async::StateStore& state, async::Pool& pool)
      : config_(std::move(config)), state_(state), pool_(pool), addresses_(config_.pod_cidr), idle_(executor) {}

  Task<Result<>> start();
  Task<Result<PodNetworkStatus>> add_pod(PodNetworkRequest request) override;
  Task<Result<>> remove_pod(std::string id) override;
  Task<Result<std::vector<std::string>>> retain(std::vector<std::string> live_ids) override;
  std::vector<PodNetworkStatus> pods() const override;
  std::optional<PodNetworkStatus> find_pod(std::string_view id) const override;
  const NetworkConfig& config() const override { return config_; }
  IpAddress gateway() const override { return addresses_.gateway(); }
  Result<IpAddress> node_ip() const override;
  Task<Result<>> teardown() override;

 private:
  // One operation per pod at a time.
  class Turn {
   public:
    Turn(NodeNetwork& network, std::string id) : network_(network), id_(std::move(id)) { network_.busy_.insert(id_); }
    ~Turn() {
      network_.busy_.erase(id_);
      network_.idle_.wake_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    NodeNetwork& network_;
    std::string id_;
  };

  Task<Result<>> load();
  Task<Result<>> wait_for_turn(std::string id);
  Result<Lease> reserve(const PodNetworkRequest& request);
  Task<Result<>> release(Lease lease);
  Result<> sweep_links(const std::set<std::string>& known) const;
  PodLink link_of(const Lease& lease) const;
  PodNetworkStatus status_of(const Lease& lease) const;

  NetworkConfig config_;
  async::StateStore& state_;
  async::Pool& pool_;
  AddressPool addresses_;
  std::uint32_t mtu_ = 1'500;
  std::map<std::string, Lease, std::less<>> leases_;
  std::set<std::string> busy_;
  async::Notify idle_;
};

PodLink NodeNetwork::link_of(const Lease& lease) const {
  return {.ip = lease.ip, .gateway = gateway(), .host_interface = host_interface_name(lease.id), .pod_interface = lease.interface,
          .netns_path = lease.netns_path, .mtu = mtu_};
}

PodNetworkStatus NodeNetwork::status_of(const Lease& lease) const {
  return {.id = lease.id, .ip = lease.ip, .pod_cidr = config_.pod_cidr, .gateway = gateway(), .host_interface = host_interface_name(lease.id),
          .mac = netlink::format_mac(mac_of(lease.ip))};
}

// Leases of an earlier process. One whose namespace is gone (a reboot, a pod that ended meanwhile) is given up here.
Task<Result<>> NodeNetwork::load() {
  CO_TRY_ASSIGN(auto pairs, co_await state_.list(config_.bucket));
  for (const auto& [key, value] : pairs) {
    if (!key.starts_with(kLeaseKeyPrefix)) continue;
    std::string id = key.substr(kLeaseKeyPrefix.size());
    Result<Lease> lease = parse_lease(id, value);
    bool gone = lease && !sys::open_namespace(lease->netns_path);
    if (lease && !gone && addresses_.take(lease->ip)) {
      leases_.emplace(id, std::move(*lease));
      continue;
    }
    log::info("pod network lease dropped", {{"id", id}, {"why", lease ? (gone ? "its namespace is gone" : "its address is outside of the pod CIDR") : "unreadable"}});
    CO_TRY(co_await state_.remove(config_.bucket, key, async::Lasts::kUntilReboot));
  }
  co_return Result<>();
}

// Host ends of pairs that nobody leases: a crash between two steps left them.
Result<> NodeNetwork::sweep_links(const std::set<std::string>& known) const {
  TRY_ASSIGN(netlink::RouteSocket route, netlink::RouteSocket::open());
  TRY_ASSIGN(std::vector<netlink::Link> links, route.links());
  for (const netlink::Link& link : links)
    if (link.kind == "veth" && is_host_interface_name(link.name) && !known.contains(link.name)) TRY(route.delete_link(link.index));
  return {};
}

Task<Result<>> NodeNetwork::start() {
  CO_TRY(co_await load());
  std::vector<Lease> leases;
  std::set<std::string> known;
  for (const auto& [id, lease] : leases_) {
    leases.push_back(lease);
    known.insert(host_interface_name(id));
  }
  auto prepare = [&]() -> Result<std::uint32_t> {
    TRY_ASSIGN(std::uint32_t mtu, make_bridge({.name = config_.bridge, .pod_cidr = config_.pod_cidr, .gateway = gateway(), .service_cidr = config_.service_cidr,
                                               .addresses = config_.bridge_addresses, .mtu = config_.mtu}));
    if (config_.sweep) TRY(sweep_links(known));
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    TRY(install_node_rules(socket, config_, leases));
    return mtu;
  };
  Result<std::uint32_t> mtu = co_await pool_.run(prepare);
  if (!mtu) co_return fail(std::move(mtu).error().with("pod network"));
  mtu_ = *mtu;
  config_.mtu = mtu_;
  co_return Result<>();
}

Task<Result<>> NodeNetwork::wait_for_turn(std::string id) {
  while (busy_.contains(id)) CO_TRY(co_await idle_.wait());  // forever: the operation before it is bounded
  co_return Result<>();
}

Result<Lease> NodeNetwork::reserve(const PodNetworkRequest& request) {
  for (const auto& [id, other] : leases_) {
    if (id == request.id) continue;
    if (host_interface_name(id) == host_interface_name(request.id)) return fail(Code::kAlreadyExists, cat("interface name of pod ", request.id, " is taken by ", id));
    for (const HostPort& mine : request.host_ports)
      for (const HostPort& theirs : other.host_ports)
        if (host_ports_clash(mine, theirs)) return fail(Code::kAlreadyExists, cat("host port ", mine.host_port, "/", format_protocol(mine.protocol), " is taken by pod ", id));
  }
  Lease lease{.id = request.id, .netns_path = request.netns_path, .interface = request.interface, .host_ports = request.host_ports};
  if (auto known = leases_.find(request.id); known != leases_.end()) {
    lease.ip = known->second.ip;
    return lease;
  }
  if (request.ip.is_set()) {
    if (!addresses_.take(request.ip)) return fail(Code::kAlreadyExists, cat("address ", format_ip(request.ip), " is in use, or not one of ", format_cidr(config_.pod_cidr)));
    lease.ip = request.ip;
    return lease;
  }
  std::optional<IpAddress> ip = addresses_.take();
  if (!ip) return fail(Code::kResourceExhausted, cat("no address left in ", format_cidr(config_.pod_cidr)));
  lease.ip = *ip;
  return lease;
}

Task<Result<PodNetworkStatus>> NodeNetwork::add_pod(PodNetworkRequest request) {
  CO_TRY(validate(request));
  CO_TRY(co_await wait_for_turn(request.id));
  Turn turn(*this, request.id);
  auto known = leases_.find(request.id);
  std::optional<Lease> old = known == leases_.end() ? std::nullopt : std::optional(known->second);
  CO_TRY_ASSIGN(Lease lease, reserve(request));
  leases_[request.id] = lease;
  // From here on the lease stands until remove_pod or a failure below takes it back; a cancelled caller leaves it to them.
  Result<> stored = co_await state_.put(config_.bucket, cat(kLeaseKeyPrefix, request.id), format_lease(lease), async::Lasts::kUntilReboot);
  auto make = [&]() -> Result<> {
    TRY(stored);
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    if (old) TRY(remove_pod_rules(socket, config_, *old));
    PodLink link = link_of(lease);
    if (!request.default_route) link.only = config_.pod_cidr;
    TRY(make_pod_link(link));
    return add_pod_rules(socket, config_, lease);
  };
  Result<> made = co_await pool_.run(make);
  if (made) co_return status_of(lease);
  if (!old) {
    Result<> undone = co_await release(lease);
    if (!undone) log::warn("pod network not undone", {{"id", request.id}, {"error", undone.error()}});
  }
  co_return fail(std::move(made).error().with(cat("network of pod ", request.id)));
}

Task<Result<>> NodeNetwork::release(Lease lease) {
  auto undo = [&]() -> Result<> {
    TRY(remove_pod_link(link_of(lease)));
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    return remove_pod_rules(socket, config_, lease);
  };
  CO_TRY(co_await pool_.run(undo));
  CO_TRY(co_await state_.remove(config_.bucket, cat(kLeaseKeyPrefix, lease.id), async::Lasts::kUntilReboot));
  addresses_.release(lease.ip);
  leases_.erase(lease.id);
  co_return Result<>();
}

Task<Result<>> NodeNetwork::remove_pod(std::string id) {
  CO_TRY(co_await wait_for_turn(id));
  Turn turn(*this, id);
  auto known = leases_.find(id);
  if (known == leases_.end()) co_return Result<>();
  Result<> released = co_await release(known->second);
  if (!released) co_return fail(std::move(released).error().with(cat("remove network of pod ", id)));
  co_return Result<>();
}

Task<Result<std::vector<std::string>>> NodeNetwork::retain(std::vector<std::string> live_ids) {
  std::set<std::string> live(live_ids.begin(), live_ids.end());
  std::vector<std::string> dead;
  for (const auto& [id, lease] : leases_)
    if (!live.contains(id) && !busy_.contains(id)) dead.push_back(id);
  for (const std::string& id : dead) CO_TRY(co_await remove_pod(id));
  co_return dead;
}

std::vector<PodNetworkStatus> NodeNetwork::pods() const {
  std::vector<PodNetworkStatus> out;
  for (const auto& [id, lease] : leases_) out.push_back(status_of(lease));
  return out;
}

std::optional<PodNetworkStatus> NodeNetwork::find_pod(std::string_view id) const {
  auto known = leases_.find(id);
  return known == leases_.end() ? std::nullopt : std::optional(status_of(known->second));
}

Result<IpAddress> NodeNetwork::node_ip() const {
  TRY_ASSIGN(netlink::RouteSocket route, netlink::RouteSocket::open());
  TRY_ASSIGN(std::optional<netlink::Route> uplink, route.default_route());
  if (uplink && uplink->source.is_set()) return uplink->source;
  TRY_ASSIGN(std::vector<netlink::LinkAddress> addresses, route.addresses());
  TRY_ASSIGN(std::optional<netlink::Link> bridge, route.find_link(config_.bridge));
  for (bool on_uplink : {true, false}) {
    for (const netlink::LinkAddress& address : addresses) {
      if (!address.ip.is_v4() || !address.global || address.ip.is_loopback() || (bridge && address.link == bridge->index)) continue;
      if (!on_uplink || (uplink && address.link == uplink->link)) return address.ip;
    }
  }
  return gateway();
}

Task<Result<>> NodeNetwork::teardown() {
  std::vector<std::string> ids;
  for (const auto& [id, lease] : leases_) ids.push_back(id);
  for (const std::string& id : ids) CO_TRY(co_await remove_pod(id));
  auto undo = [&]() -> Result<> {
    TRY_ASSIGN(netlink::Socket socket, nft::open_socket());
    TRY(nft::delete_table(socket, config_.table));
    if (config_.sweep) TRY(sweep_links({}));
    return remove_bridge(config_.bridge, config_.pod_cidr);
  };
  co_return co_await pool_.run(undo);
}

}  // namespace

async::Task<Result<std::unique_ptr<Network>>> Network::open(NetworkConfig config, async::StateStore& state, async::Pool& pool) {
  CO_TRY_ASSIGN(NetworkConfig whole, complete(std::move(config)));
  auto network = std::make_unique<NodeNetwork>(co_await async::this_executor(), std::move(whole), state, pool);
  CO_TRY(co_await network->start());
  co_return std::unique_ptr<Network>(std::move(network));
}

}  // namespace monopod::network
