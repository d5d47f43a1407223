// Pod networking of one node: one routed veth pair per pod (pod_link.h has the picture), addresses from the node's pod CIDR,
// masquerade for what leaves the cluster, host ports. Knows no Kubernetes type. Works in whatever network namespace the process lives in:
// the host's, or one of its own (trial mode, tests).
//
//   TRY(auto network, co_await Network::open(config, state, pool));
//   co_await network->retain({"uid-1", "uid-2"});                         // after a restart: who still lives
//   auto status = co_await network->add_pod({.id = "uid-3", .netns_path = "/run/monopod/netns/uid-3"});
//   co_await network->remove_pod("uid-3");                                // before or after the namespace is gone
//
// Addresses are leased in the StateStore bucket "network" before they are used, so that none is given twice over a crash.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "network/address.h"

namespace monopod::network {

inline constexpr std::size_t kHostPortsPerPodMax = 64;

struct NetworkConfig {
  std::string bridge = "monopod0";     // the node's own interface: gateway, DNS address, services; at most 15 bytes
  Cidr pod_cidr{};                       // unset: 10.42.0.0/24; /16 to /29. First address is the gateway, last unused
  std::vector<Cidr> cluster_cidrs{};     // destinations that see the pod's own address; unset: 10.42.0.0/16
  Cidr service_cidr{};                   // unset: 10.43.0.0/16; routed to the bridge so that the node itself reaches services
  bool services = true;                  // false: no service CIDR
  std::vector<IpAddress> bridge_addresses{};  // further /32s on the bridge: the cluster DNS address
  std::uint32_t mtu = 0;               // 0: that of the default route's link, else 1500
  std::string table = "monopod";       // nftables table for masquerade and host ports
  std::string bucket = "network";      // of the StateStore, for leases
  bool sweep = true;                   // false: links that no lease knows may be another Network's
  std::vector<Cidr> isolated_from{};   // other networks of this host: nothing passes either way but to published ports
};

struct HostPort {
  IpAddress host_ip{};  // unset: every local address but loopback
  std::uint16_t host_port = 0;
  std::uint16_t container_port = 0;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const HostPort&) const = default;
};

struct PodNetworkRequest {
  std::string id{};          // the sandbox's id, e.g. the pod's UID; [A-Za-z0-9_.-], at most 128 bytes
  std::string netns_path{};  // pinned namespace file or /proc/<pid>/ns/net
  std::string interface = "eth0";
  std::vector<HostPort> host_ports{};
  IpAddress ip{};              // unset: any free one
  bool default_route = true;   // false: only the network's own addresses are reached through it
};

struct PodNetworkStatus {
  std::string id{};
  IpAddress ip{};
  Cidr pod_cidr{};
  IpAddress gateway{};
  std::string host_interface{};  // "mp" + 12 hex digits of the id's hash
  std::string mac{};
};

class Network {
 public:
  // Makes (or adopts) bridge, sysctls and rules. Failures name the step and what the kernel said.
  // state and pool outlive the Network.
  static async::Task<Result<std::unique_ptr<Network>>> open(NetworkConfig config, async::StateStore& state, async::Pool& pool);
  virtual ~Network() = default;

  // Idempotent: a second call for the same id repairs what is missing and returns the same address.
  // kResourceExhausted when the CIDR is full; kAlreadyExists for a host port another pod holds; kNotFound: no such namespace.
  virtual async::Task<Result<PodNetworkStatus>> add_pod(PodNetworkRequest request) = 0;
  // Idempotent: no pod of that id is no error. The address is free for others when it returns.
  virtual async::Task<Result<>> remove_pod(std::string id) = 0;
  // Removes every pod whose id is not listed, and host ends of veth pairs that no lease knows. Returns the ids removed.
  virtual async::Task<Result<std::vector<std::string>>> retain(std::vector<std::string> live_ids) = 0;
  virtual std::vector<PodNetworkStatus> pods() const = 0;  // by id
  virtual std::optional<PodNetworkStatus> find_pod(std::string_view id) const = 0;

  virtual const NetworkConfig& config() const = 0;  // with defaults filled in
  virtual IpAddress gateway() const = 0;
  // The node's address: source address of the default route, else the first global address, else the gateway.
  virtual Result<IpAddress> node_ip() const = 0;

  // Removes bridge, rules and every pod's link; leases too. For uninstall and tests.
  virtual async::Task<Result<>> teardown() = 0;
};

}  // namespace monopod::network
