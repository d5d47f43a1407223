#include "agent/etc_files.h"

#include "base/strings.h"
#include "network/dns/resolv_conf.h"

namespace monopod::agent {

std::string pod_hostname(const Pod& pod) {
  std::string name = pod.hostname.empty() ? pod.name : pod.hostname;
  if (name.size() > 63) name.resize(63);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string pod_fqdn(const Pod& pod, std::string_view cluster_domain) {
  if (pod.subdomain.empty()) return {};
  return cat(pod_hostname(pod), ".", pod.subdomain, ".", pod.namespace_name, ".svc.", cluster_domain);
}

std::string make_resolv_conf(const Pod& pod, const DnsOptions& options) {
  using network::dns::DnsPolicy;
  network::dns::PodDnsRequest request;
  request.policy = pod.dns_policy == "ClusterFirstWithHostNet" ? DnsPolicy::kClusterFirstWithHostNet
                   : pod.dns_policy == "Default"               ? DnsPolicy::kDefault
                   : pod.dns_policy == "None"                  ? DnsPolicy::kNone
                                                               : DnsPolicy::kClusterFirst;
  request.host_network = pod.host_network;
  request.namespace_name = pod.namespace_name;
  request.zone = options.cluster_domain;
  if (auto ip = network::parse_ip(options.cluster_dns)) request.cluster_dns = {*ip};
  request.host = network::dns::parse_resolv_conf(options.host_resolv_conf);
  for (const std::string& server : pod.dns_config.nameservers)
    if (auto ip = network::parse_ip(server)) request.config.nameservers.push_back(*ip);
  request.config.search = pod.dns_config.searches;
  for (const auto& [name, value] : pod.dns_config.options) request.config.options.push_back(value.empty() ? name : cat(name, ":", value));
  return network::dns::format_resolv_conf(network::dns::make_pod_resolv_conf(request));
}

std::string make_hosts(const Pod& pod, const std::vector<std::string>& pod_ips, std::string_view cluster_domain, std::string_view host_hosts) {
  std::string text;
  if (pod.host_network) {
    text = cat("# Kubernetes-managed hosts file (host network).\n", host_hosts);
    if (!text.ends_with('\n')) text += '\n';
  } else {
    text =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    std::string fqdn = pod_fqdn(pod, cluster_domain);
    for (const std::string& ip : pod_ips) text += cat(ip, "\t", fqdn.empty() ? "" : fqdn + "\t", pod_hostname(pod), "\n");
  }
  if (!pod.host_aliases.empty()) {
    text += "\n# Entries added by HostAliases.\n";
    for (const HostAlias& alias : pod.host_aliases) text += cat(alias.ip, "\t", join(alias.hostnames, "\t"), "\n");
  }
  return text;
}

}  // namespace monopod::agent
