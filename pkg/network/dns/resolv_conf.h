// resolv.conf(5): reading the host's and writing a pod's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "network/address.h"

namespace monopod::network::dns {

struct ResolvConf {
  std::vector<IpAddress> nameservers{};
  std::vector<std::string> search{};
  std::vector<std::string> options{};  // "ndots:5"
};

// Lenient as the C library: unknown lines are skipped, the last search line counts. At most 64 KiB are read.
ResolvConf parse_resolv_conf(std::string_view text);
std::string format_resolv_conf(const ResolvConf& conf);

enum class DnsPolicy { kClusterFirst, kClusterFirstWithHostNet, kDefault, kNone };

struct PodDnsRequest {
  DnsPolicy policy = DnsPolicy::kClusterFirst;
  bool host_network = false;
  std::string namespace_name{};
  std::string zone = "cluster.local";
  std::vector<IpAddress> cluster_dns{};
  ResolvConf host{};    // the node's own
  ResolvConf config{};  // spec.dnsConfig: appended; an option of the same name replaces
};
// Kubernetes' limits hold: 3 nameservers, 32 search paths, 2048 characters of search; what is beyond is cut.
// ClusterFirst: search ns.svc.zone svc.zone zone + the host's, ndots:5.
ResolvConf make_pod_resolv_conf(const PodDnsRequest& request);

}  // namespace monopod::network::dns
