// What a node remembers of one pod's network: a JSON document in the StateStore bucket "network" under "pod/<id>".
//   {"ip":"10.42.0.7","netns":"/run/...","interface":"eth0","hostPorts":[{"ip":"","host":8080,"container":80,"protocol":"TCP"}]}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "network/network.h"

namespace monopod::network {

inline constexpr std::string_view kLeaseKeyPrefix = "pod/";

struct Lease {
  std::string id{};
  IpAddress ip{};
  std::string netns_path{};
  std::string interface{};
  std::vector<HostPort> host_ports{};
};

std::string format_lease(const Lease& lease);
Result<Lease> parse_lease(std::string_view id, std::string_view text);

// Would the same packet match both?
bool host_ports_clash(const HostPort& a, const HostPort& b);
// "mp" and 12 hex digits: within the kernel's 15 bytes.
std::string host_interface_name(std::string_view id);
bool is_host_interface_name(std::string_view name);

}  // namespace monopod::network
