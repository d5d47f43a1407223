// What the cluster's DNS answers, as plain data. The agent translates Services, EndpointSlices and Pods into it.
// Names are stored in lower case without the zone: service "web" in namespace "default".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "network/address.h"

namespace monopod::network::dns {

struct DnsEndpoint {
  IpAddress ip{};
  std::string hostname{};  // "": derived from the address (10-42-0-7)
};

struct DnsPort {
  std::string name{};  // "": no SRV record _name._proto for it
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
  std::vector<DnsEndpoint> endpoints{};  // headless services: those ready (or all with publishNotReadyAddresses)
};

struct DnsService {
  std::string name{};
  std::string namespace_name{};
  std::vector<IpAddress> cluster_ips{};  // none and no external_name: headless
  std::string external_name{};           // ExternalName: a CNAME to it
  std::vector<DnsPort> ports{};
};

struct DnsTable {
  std::vector<DnsService> services{};
  std::map<std::string, std::vector<IpAddress>> hosts{};  // names outside of the zone, as they are
  std::vector<std::string> namespaces{};  // that exist: pod records are answered for these only
};

}  // namespace monopod::network::dns
