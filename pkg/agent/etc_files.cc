#include "agent/etc_files.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::agent {

namespace {

struct Resolver {
  std::vector<std::string> servers;
  std::vector<std::string> searches;
  std::vector<std::string> options;
};

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < line.size();) {
    std::size_t start = line.find_first_not_of(" \t\r", i);
    if (start == std::string_view::npos) break;
    std::size_t end = std::min(line.find_first_of(" \t\r", start), line.size());
    out.emplace_back(line.substr(start, end - start));
    i = end;
  }
  return out;
}

Resolver parse_resolv_conf(std::string_view text) {
  Resolver r;
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string> w = words(line);
    if (w.size() < 2 || w[0][0] == '#' || w[0][0] == ';') continue;
    if (w[0] == "nameserver") r.servers.push_back(w[1]);
    if (w[0] == "search" || w[0] == "domain") r.searches.assign(w.begin() + 1, w.end());
    if (w[0] == "options") r.options.assign(w.begin() + 1, w.end());
  }
  return r;
}

void add_unique(std::vector<std::string>& into, const std::string& item) {
  if (std::ranges::find(into, item) == into.end()) into.push_back(item);
}

}  // namespace

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
  Resolver host = parse_resolv_conf(options.host_resolv_conf);
  Resolver out;
  bool cluster = (pod.dns_policy == "ClusterFirst" && !pod.host_network) || pod.dns_policy == "ClusterFirstWithHostNet";
  if (pod.dns_policy == "None") {
  } else if (cluster && !options.cluster_dns.empty()) {
    out.servers = {options.cluster_dns};
    out.searches = {cat(pod.namespace_name, ".svc.", options.cluster_domain), cat("svc.", options.cluster_domain), options.cluster_domain};
    for (const std::string& s : host.searches) add_unique(out.searches, s);
    out.options = {"ndots:5"};
  } else {
    out = host;
  }
  for (const std::string& s : pod.dns_config.nameservers) add_unique(out.servers, s);
  for (const std::string& s : pod.dns_config.searches) add_unique(out.searches, s);
  for (const auto& [name, value] : pod.dns_config.options) {
    std::erase_if(out.options, [&](const std::string& o) { return split_once(o, ':').first == name; });
    out.options.push_back(value.empty() ? name : cat(name, ":", value));
  }
  if (out.servers.size() > 3) out.servers.resize(3);    // what resolvers read
  if (out.searches.size() > 32) out.searches.resize(32);
  std::string text;
  if (!out.searches.empty()) text += cat("search ", join(out.searches, " "), "\n");
  for (const std::string& s : out.servers) text += cat("nameserver ", s, "\n");
  if (!out.options.empty()) text += cat("options ", join(out.options, " "), "\n");
  return text;
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
