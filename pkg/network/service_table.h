// What the node's service data plane should do, as plain data, and the programmer that makes the kernel do it.
// The agent (or a controller) translates Services and EndpointSlices into a ServiceTable and hands over the whole
// table each time; only what changed is written, in one atomic nftables transaction.
//
// Limits: IPv4 (addresses of other families are skipped), kServicePortsMax ports, kEndpointsMax endpoints per port.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "network/address.h"

namespace monopod::network {

inline constexpr std::size_t kServicePortsMax = 20'000;
inline constexpr std::size_t kEndpointsMax = 1'000;
inline constexpr std::chrono::seconds kAffinityTimeoutMax{86'400};

struct Endpoint {
  IpAddress ip{};
  std::uint16_t port = 0;
  bool ready = true;   // not ready: not used, unless no endpoint is ready and this one is serving while terminating
  bool serving_terminating = false;
  bool local = true;   // runs on this node (traffic policy Local, masquerade towards other nodes)
  std::uint16_t weight = 1;  // 0: takes no new connections; share of new connections otherwise, at most 100
  auto operator<=>(const Endpoint&) const = default;
};

struct ServicePort {
  std::string name{};  // the port's name in the service, "" for the only one
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
  std::uint16_t node_port = 0;  // 0: none
  std::vector<Endpoint> endpoints{};
  auto operator<=>(const ServicePort&) const = default;
};

enum class TrafficPolicy { kCluster, kLocal };

struct Service {
  std::string name{};  // unique, "namespace/name"
  std::vector<IpAddress> cluster_ips{};   // none for headless services (which need no entry at all)
  std::vector<IpAddress> external_ips{};  // spec.externalIPs and load balancer addresses
  std::vector<ServicePort> ports{};
  std::chrono::seconds client_ip_affinity{0};  // 0: none
  TrafficPolicy external_policy = TrafficPolicy::kCluster;
  TrafficPolicy internal_policy = TrafficPolicy::kCluster;
  auto operator<=>(const Service&) const = default;
};

struct ServiceTable {
  std::vector<Service> services{};
  bool operator==(const ServiceTable&) const = default;
};

struct ServiceStats {
  std::size_t services_changed = 0;
  std::size_t messages = 0;   // netlink messages in the transaction
  std::chrono::nanoseconds duration{0};
};

// Owns the nftables table "monopod-services" of the network namespace it was opened in. Calls block for a local
// netlink round trip (README has numbers): make them on async::Pool; one call at a time.
class ServiceProgrammer {
 public:
  struct Options {
    std::string table = "monopod-services";
    Cidr service_cidr;           // packets to it that no service takes are refused; unset: no such rule
    Cidr pod_cidr;               // clients from here keep their address
    std::string bridge = "monopod0";
    std::vector<IpAddress> node_port_addresses;  // empty: every local address but loopback
  };
  static Result<std::unique_ptr<ServiceProgrammer>> open(Options options);
  virtual ~ServiceProgrammer() = default;

  // The first call replaces what an earlier process left, later ones write the difference. Atomic: a packet sees the
  // table before or after. Connections that exist go on (UDP flows to endpoints that are gone are forgotten).
  // After an error the kernel holds the earlier table, and the next call replaces everything.
  virtual Result<ServiceStats> apply(const ServiceTable& table) = 0;
  // Removes the table; nothing of it remains. Idempotent.
  virtual Result<> remove() = 0;
};

}  // namespace monopod::network
