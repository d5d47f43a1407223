#include "network/dns/resolv_conf.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::network::dns {
namespace {

constexpr std::size_t kFileBytesMax = 64U << 10;
constexpr std::size_t kNameserversMax = 3;
constexpr std::size_t kSearchPathsMax = 32;
constexpr std::size_t kSearchCharactersMax = 2'048;

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  std::size_t at = 0;
  while (at < line.size()) {
    std::size_t start = line.find_first_not_of(" \t\r", at);
    if (start == std::string_view::npos) break;
    std::size_t end = std::min(line.find_first_of(" \t\r", start), line.size());
    out.push_back(line.substr(start, end - start));
    at = end;
  }
  return out;
}

template <typename T>
void append_new(std::vector<T>& to, const std::vector<T>& from) {
  for (const T& item : from)
    if (std::ranges::find(to, item) == to.end()) to.push_back(item);
}

std::string_view option_name(std::string_view option) { return option.substr(0, option.find(':')); }

void clamp(ResolvConf& conf) {
  if (conf.nameservers.size() > kNameserversMax) conf.nameservers.resize(kNameserversMax);
  if (conf.search.size() > kSearchPathsMax) conf.search.resize(kSearchPathsMax);
  std::size_t characters = 0;
  for (std::size_t i = 0; i < conf.search.size(); ++i) {
    characters += conf.search[i].size() + (i > 0 ? 1 : 0);
    if (characters > kSearchCharactersMax) {
      conf.search.resize(i);
      break;
    }
  }
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  for (std::string_view line : split(text.substr(0, kFileBytesMax), '\n')) {
    std::vector<std::string_view> parts = words(line.substr(0, line.find_first_of("#;")));
    if (parts.size() < 2) continue;
    if (parts[0] == "nameserver") {
      std::string_view ip = parts[1].substr(0, parts[1].find('%'));
      if (Result<IpAddress> address = parse_ip(ip)) conf.nameservers.push_back(*address);
    } else if (parts[0] == "search" || parts[0] == "domain") {
      conf.search.assign(parts.begin() + 1, parts.end());
    } else if (parts[0] == "options") {
      conf.options.assign(parts.begin() + 1, parts.end());
    }
  }
  return conf;
}

std::string format_resolv_conf(const ResolvConf& conf) {
  std::string out;
  if (!conf.search.empty()) out += cat("search ", join(conf.search, " "), "\n");
  for (const IpAddress& server : conf.nameservers) out += cat("nameserver ", format_ip(server), "\n");
  if (!conf.options.empty()) out += cat("options ", join(conf.options, " "), "\n");
  return out;
}

ResolvConf make_pod_resolv_conf(const PodDnsRequest& request) {
  ResolvConf conf;
  DnsPolicy policy = request.policy;
  if (policy == DnsPolicy::kClusterFirst && request.host_network) policy = DnsPolicy::kDefault;
  if (policy == DnsPolicy::kClusterFirstWithHostNet) policy = DnsPolicy::kClusterFirst;
  if (policy == DnsPolicy::kClusterFirst && request.cluster_dns.empty()) policy = DnsPolicy::kDefault;

  if (policy == DnsPolicy::kDefault) conf = request.host;
  if (policy == DnsPolicy::kClusterFirst) {
    conf.nameservers = request.cluster_dns;
    conf.search = {cat(request.namespace_name, ".svc.", request.zone), cat("svc.", request.zone), request.zone};
    append_new(conf.search, request.host.search);
    conf.options = {"ndots:5"};
  }
  append_new(conf.nameservers, request.config.nameservers);
  append_new(conf.search, request.config.search);
  for (const std::string& option : request.config.options) {
    std::erase_if(conf.options, [&](const std::string& old) { return option_name(old) == option_name(option); });
    conf.options.push_back(option);
  }
  clamp(conf);
  return conf;
}

}  // namespace monopod::network::dns
