// The text of the files that every container gets: /etc/hosts, /etc/hostname, /etc/resolv.conf. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/pod.h"

namespace monopod::agent {

struct DnsOptions {
  std::string cluster_dns;     // address of the cluster's DNS server; "" where there is none
  std::string cluster_domain;  // "cluster.local"
  std::string host_resolv_conf;  // the node's own file
};

// spec.hostname or the pod's name cut to 63 bytes; the fully qualified form is empty without a subdomain.
std::string pod_hostname(const Pod& pod);
std::string pod_fqdn(const Pod& pod, std::string_view cluster_domain);

std::string make_resolv_conf(const Pod& pod, const DnsOptions& options);
// host_hosts: the node's own /etc/hosts, the base for pods on the host's network.
std::string make_hosts(const Pod& pod, const std::vector<std::string>& pod_ips, std::string_view cluster_domain, std::string_view host_hosts);

}  // namespace monopod::agent
