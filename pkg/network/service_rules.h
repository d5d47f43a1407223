// From a Service to what stands in nftables for it: pure data, no system calls.
//
//   service-ips:  ip . protocol . port -> goto svc-<service>/<protocol>/<port>    (or ext-..., see below)
//   node-ports:   protocol . port      -> goto svc-... or ext-...
//   svc-...:      [same client, same endpoint] pick a slot at random, DNAT
//   ext-...:      only where clients from outside get other endpoints or must be masqueraded
//   refused-*:    what has no endpoint -> reject, or drop where another node would answer
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "network/nft/batch.h"
#include "network/service_table.h"

namespace monopod::network {

inline constexpr const char* kServiceIpsMap = "service-ips";
inline constexpr const char* kNodePortsMap = "node-ports";
inline constexpr const char* kRefusedIpsMap = "refused-ips";
inline constexpr const char* kRefusedNodePortsMap = "refused-node-ports";
inline constexpr const char* kRefuseChain = "refuse";
inline constexpr std::size_t kSlotsMax = 4'096;  // of one port: weights are scaled down to it
// The mark bit that asks for masquerade; kube-proxy's, so that other tools know it.
inline constexpr std::uint32_t kMasqueradeMark = 0x4000;

// A place in the random choice.
struct Slot {
  IpAddress ip{};
  std::uint16_t port = 0;
  auto operator<=>(const Slot&) const = default;
};

struct MapEntry {
  std::string map{};
  std::string key{};
  nft::Verdict verdict{};
  auto operator<=>(const MapEntry&) const = default;
};

// One port of one service.
struct PortRules {
  std::string chain{};           // "svc-default/web/tcp/80"; identifies it
  std::string external_chain{};  // "" where chain serves outsiders too
  std::vector<Slot> slots{};
  std::vector<Slot> external_slots{};
  bool masquerade_external = false;
  std::chrono::seconds affinity{0};
  Protocol protocol = Protocol::kTcp;
  std::vector<MapEntry> entries{};

  bool has_chain() const { return !slots.empty(); }
  // Same chains, same rules in them; the entries may differ.
  bool same_rules(const PortRules& other) const;
};

std::vector<PortRules> compile_service(const Service& service, const Cidr& service_cidr);
// Each endpoint as often as its weight says, weights divided by their greatest common divisor.
std::vector<Slot> make_slots(const std::vector<Endpoint>& endpoints);

}  // namespace monopod::network
