#include "proxy/config/parse.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/yaml.h"
#include "codec/yaml_position.h"
#include "network/dns/resolv_conf.h"
#include "proxy/config/parse_route.h"
#include "proxy/config/reader.h"
#include "proxy/io/address.h"

namespace monopod::proxy {
namespace {

// Reads files and remembers which.
class Files {
 public:
  explicit Files(const ReadFile& read) : read_(read) {}
  std::string read(MapReader& map, std::string_view key) {
    std::string path = map.text(key);
    return path.empty() ? path : read_named(map, key, path);
  }
  std::vector<std::string> read_all(MapReader& map, std::string_view key) {
    std::vector<std::string> out;
    for (const std::string& path : map.texts(key)) out.push_back(read_named(map, key, path));
    return out;
  }
  // Empty where it cannot be read.
  std::string read_if_there(const std::string& path) {
    names.push_back(path);
    return read_(path).value_or("");
  }
  std::vector<std::string> names;

 private:
  std::string read_named(MapReader& map, std::string_view key, const std::string& path) {
    names.push_back(path);
    Result<std::string> bytes = read_(path);
    if (!bytes) map.fail_at(key, bytes.error().message());
    return bytes.value_or("");
  }
  const ReadFile& read_;
};

void read_peers(MapReader& map, PeerSpec& out, Files& files) {
  out.crl_pem = files.read(map, "crl_file");
  out.grace = map.duration("peer_grace", out.grace);
  out.key_log_path = map.text("key_log_file");
}

void read_server_tls(MapReader& map, ServerTlsSpec& out, Files& files) {
  map.list("certificates", [&](MapReader& item) {
    CertificateSpec certificate;
    certificate.certificate_pem = files.read(item, "certificate_file");
    certificate.key_pem = files.read(item, "key_file");
    if (certificate.certificate_pem.empty()) item.fail_at("", "certificate_file is missing or empty");
    if (certificate.key_pem.empty()) item.fail_at("", "key_file is missing or empty");
    certificate.ocsp_der = files.read(item, "ocsp_file");
    certificate.ocsp_fetch = item.boolean("ocsp_fetch", false);
    certificate.ocsp_url = item.text("ocsp_url");
    certificate.ocsp_refresh = item.duration("ocsp_refresh", certificate.ocsp_refresh);
    if (certificate.ocsp_fetch && !certificate.ocsp_der.empty()) item.fail_at("ocsp_fetch", "goes without ocsp_file");
    if (!certificate.ocsp_fetch && !certificate.ocsp_url.empty()) item.fail_at("ocsp_url", "wants ocsp_fetch: true");
    if (certificate.ocsp_refresh < Milliseconds(1000)) item.fail_at("ocsp_refresh", "want 1s at least");
    certificate.server_names = item.texts("server_names");
    out.certificates.push_back(std::move(certificate));
  });
  out.client_ca_pem = files.read(map, "client_ca_file");
  out.require_client_certificate = map.boolean("require_client_certificate", !out.client_ca_pem.empty());
  out.spiffe_ids = map.texts("spiffe_ids");
  out.tls_1_3_only = map.choice("min_version", {"1.2", "1.3"}) == 1;
  map.map("tickets", [&](MapReader& tickets) {
    out.tickets.enabled = tickets.boolean("enabled", true);
    out.tickets.rotate = tickets.duration("rotate", out.tickets.rotate);
    out.tickets.keys = files.read_all(tickets, "key_files");
  });
  read_peers(map, out.peers, files);
}

void read_client_tls(MapReader& map, ClientTlsSpec& out, Files& files) {
  out.ca_pem = files.read(map, "ca_file");
  out.certificate_pem = files.read(map, "certificate_file");
  out.key_pem = files.read(map, "key_file");
  out.server_name = map.text("server_name");
  out.spiffe_ids = map.texts("spiffe_ids");
  out.verify = map.boolean("verify", true);
  out.resume = map.boolean("resume", true);
  read_peers(map, out.peers, files);
}

void read_access_log(MapReader& map, AccessLogSpec& out) {
  out.path = map.required_text("path");
  out.format = map.text("format");
  out.rotate_mb = map.number("rotate_mb", 0, 0, 10'000);
  out.old_files_max = map.number("old_files", out.old_files_max, 1, 1000);
  for (auto& [name, value] : map.pairs("json")) out.json.push_back({std::move(name), std::move(value)});
}

void read_listener(MapReader& map, ListenerSpec& out, Files& files) {
  out.name = map.required_text("name");
  out.address = map.required_text("address");
  out.netns = map.text("netns");
  out.intercepts = map.boolean("intercepts", false);
  out.transparent = map.boolean("transparent", false);
  if (out.transparent && !out.intercepts) map.fail_at("transparent", "wants intercepts: true");
  out.protocol = static_cast<ListenerSpec::Protocol>(map.choice("protocol", {"http", "tcp"}));
  map.map("tls", [&](MapReader& tls) { read_server_tls(tls, out.tls.emplace(), files); });
  out.proxy_protocol = map.boolean("proxy_protocol", false);
  out.http2 = map.boolean("http2", true);
  if (out.tls) out.tls->http2 = out.http2 && out.protocol == ListenerSpec::Protocol::kHttp;
  out.edge = map.boolean("edge", true);
  out.explain_header = map.boolean("explain_header", false);
  out.merge_slashes = map.boolean("merge_slashes", true);
  map.list("virtual_hosts", [&](MapReader& host) { read_virtual_host(host, out.virtual_hosts.emplace_back()); });
  map.list("filters", [&](MapReader& filter) { read_filter(filter, out.filters.emplace_back(), [&files](MapReader& at, std::string_view key) { return files.read(at, key); }); });
  out.cluster = map.text("cluster");
  out.sockmap = map.boolean("sockmap", false);
  out.sockmap_peers = map.texts("sockmap_peers");
  map.list("sni", [&](MapReader& route) { out.sni.push_back({.server_names = route.texts("server_names"), .cluster = route.required_text("cluster")}); });
  map.map("access_log", [&](MapReader& log) { read_access_log(log, out.access_log); });
  out.connections_max = map.number("connections_max", out.connections_max, 1, 10'000'000);
  out.header_timeout = map.duration("header_timeout", out.header_timeout);
  out.idle_timeout = map.duration("idle_timeout", out.idle_timeout);
}

void read_endpoints(MapReader& map, ClusterSpec& out) {
  const json::Value* list = map.find("endpoints");
  if (list == nullptr || !list->is_array()) return map.fail_at(list == nullptr ? "" : "endpoints", "endpoints is missing or no list");
  std::size_t i = 0;
  for (const json::Value& item : list->get_array()) {
    std::string at = cat("endpoints[", i++, "]");
    if (item.is_string()) {
      out.endpoints.push_back({.address = std::string(item.get_string())});
      continue;
    }
    MapReader endpoint(item, map.path_of(at), map.error());
    out.endpoints.push_back({.address = endpoint.required_text("address"), .weight = endpoint.number("weight", 1, 1, 1000), .priority = endpoint.number("priority", 0, 0, 15),
                             .zone = endpoint.text("zone")});
    endpoint.finish();
  }
}

void read_health_check(MapReader& map, HealthCheckSpec& out) {
  out.path = map.text("path");
  out.host = map.text("host");
  out.interval = map.duration("interval", out.interval);
  out.timeout = map.duration("timeout", out.timeout);
  out.healthy_threshold = map.number("healthy_threshold", out.healthy_threshold, 1, 100);
  out.unhealthy_threshold = map.number("unhealthy_threshold", out.unhealthy_threshold, 1, 100);
}

void read_outlier(MapReader& map, OutlierSpec& out) {
  out.consecutive_5xx = map.number("consecutive_5xx", out.consecutive_5xx, 0, 1000);
  out.consecutive_gateway_errors = map.number("consecutive_gateway_errors", 0, 0, 1000);
  out.consecutive_local_errors = map.number("consecutive_local_errors", 0, 0, 1000);
  auto read_rate = [&map](std::string_view name, std::string_view field, std::optional<OutlierRateSpec>& rate, OutlierRateSpec fallback, std::uint32_t max) {
    map.map(name, [&](MapReader& item) {
      rate = OutlierRateSpec{.percent = item.number(field, fallback.percent, 1, max), .endpoints_min = item.number("endpoints_min", fallback.endpoints_min, 1, 10'000),
                             .requests_min = item.number("requests_min", fallback.requests_min, 1, 1'000'000)};
    });
  };
  read_rate("success_rate", "deviations_percent", out.success_rate, {.percent = 190}, 10'000);
  read_rate("failure_rate", "percent", out.failure_rate, {.percent = 85, .requests_min = 50}, 100);
  out.interval = map.duration("interval", out.interval);
  if (out.interval < Milliseconds(100)) map.fail_at("interval", "want 100ms at least");
  out.base_ejection = map.duration("base_ejection", out.base_ejection);
  out.ejection_max = map.duration("ejection_max", out.ejection_max);
  out.ejected_percent_max = map.number("ejected_percent_max", out.ejected_percent_max, 0, 100);
}

void read_cluster(MapReader& map, ClusterSpec& out, Files& files) {
  out.name = map.required_text("name");
  out.original_destination = map.boolean("original_destination", false);
  out.original_source = map.boolean("original_source", false);
  out.netns = map.text("netns");
  out.mark = map.number("mark", 0, 0, UINT32_MAX);
  if (!out.original_destination) read_endpoints(map, out);
  out.balancer = static_cast<ClusterSpec::Balancer>(map.choice("balancer", {"round_robin", "least_request", "ewma", "random", "ring_hash", "maglev"}));
  out.connect_timeout = map.duration("connect_timeout", out.connect_timeout);
  out.idle_timeout = map.duration("idle_timeout", out.idle_timeout);
  map.map("retry_budget", [&](MapReader& budget) {
    RetryBudgetSpec& b = out.retry_budget.emplace();
    b.percent = budget.number("percent", b.percent, 0, 100);
    b.min = budget.number("min", b.min, 0, 1'000'000);
    b.window = budget.duration("window", b.window);
    if (b.window < Milliseconds(100)) budget.fail_at("window", "want 100ms at least");
    out.retries_max = UINT32_MAX;  // but for what limits say
  });
  map.map("limits", [&](MapReader& limits) {
    out.connections_max = limits.number("connections", out.connections_max, 1, 1'000'000);
    out.pending_max = limits.number("pending", out.pending_max, 0, 1'000'000);
    out.requests_max = limits.number("requests", out.requests_max, 1, 1'000'000);
    if (limits.has("retries")) out.retries_max = limits.number("retries", 0, 0, 1'000'000);
  });
  map.map("tls", [&](MapReader& tls) { read_client_tls(tls, out.tls.emplace(), files); });
  out.http2 = map.boolean("http2", false);
  out.proxy_protocol = static_cast<ClusterSpec::ProxyProtocol>(map.choice("proxy_protocol", {"none", "v1", "v2"}));
  map.map("health_check", [&](MapReader& check) { read_health_check(check, out.health_check.emplace()); });
  out.slow_start = map.duration("slow_start", out.slow_start);
  out.panic_percent = map.number("panic_percent", 0, 0, 100);
  map.map("outlier", [&](MapReader& outlier) { read_outlier(outlier, out.outlier.emplace()); });
}

void read_tracing(MapReader& map, TracingSpec& out) {
  out.cluster = map.required_text("cluster");
  out.host = map.text("host", out.cluster);
  out.path = map.text("path", out.path);
  out.service = map.text("service", out.service);
  out.sample_percent = map.number("sample_percent", out.sample_percent, 0, 100);
  out.context = static_cast<TracingSpec::Context>(map.choice("context", {"w3c", "b3", "both"}));
}

bool is_name(std::string_view address) { return !Address::parse(address); }

// What the file does not say is the host's.
void read_dns(MapReader& map, DnsSpec& out, Files& files) {
  out.servers = map.texts("servers");
  out.search = map.texts("search");
  out.ndots = map.number("ndots", out.ndots, 0, 15);
  out.hosts = files.read(map, "hosts_file");
  out.ttl_min = map.duration("ttl_min", out.ttl_min);
  out.ttl_max = map.duration("ttl_max", out.ttl_max);
  out.timeout = map.duration("timeout", out.timeout);
  if (out.ttl_max < out.ttl_min) map.fail_at("ttl_max", "is below ttl_min");
  for (std::string& server : out.servers)
    if (network::parse_ip(server)) server = cat(server.find(':') == std::string::npos ? server : cat("[", server, "]"), ":53");
}

void complete_dns(DnsSpec& dns, Files& files) {
  if (dns.servers.empty()) {
    network::dns::ResolvConf host = network::dns::parse_resolv_conf(files.read_if_there("/etc/resolv.conf"));
    for (const network::IpAddress& ip : host.nameservers) dns.servers.push_back(ip.is_v4() ? cat(network::format_ip(ip), ":53") : cat("[", network::format_ip(ip), "]:53"));
    if (dns.search.empty()) dns.search = host.search;
    for (const std::string& option : host.options)
      if (option.starts_with("ndots:")) dns.ndots = std::min<std::uint32_t>(15, parse_int<std::uint32_t>(std::string_view(option).substr(6)).value_or(1));
  }
  if (dns.hosts.empty()) dns.hosts = files.read_if_there("/etc/hosts");
}

std::vector<std::uint32_t> read_numbers(MapReader& map, std::string_view key, std::uint32_t max) {
  std::vector<std::uint32_t> out;
  const json::Value* list = map.find(key);
  if (list == nullptr) return out;
  bool good = list->is_array();
  if (good)
    for (const json::Value& item : list->get_array()) {
      good = good && item.is_int64() && item.get_int64() >= 0 && item.get_int64() <= max;
      if (good) out.push_back(static_cast<std::uint32_t>(item.get_int64()));
    }
  if (!good) map.fail_at(key, cat("want a list of numbers up to ", max));
  return out;
}

void read_interception(MapReader& map, InterceptionSpec& out) {
  out.netns = map.required_text("netns");
  out.inbound_port = static_cast<std::uint16_t>(map.number("inbound_port", 0, 1, 65535));
  out.outbound_port = static_cast<std::uint16_t>(map.number("outbound_port", 0, 1, 65535));
  out.transparent = map.choice("mode", {"redirect", "tproxy"}) == 1;
  out.outbound_transparent = map.choice("outbound_mode", {"redirect", "tproxy"}) == 1;
  map.map("exclude", [&](MapReader& exclude) {
    out.inbound_ports_excluded = read_numbers(exclude, "inbound_ports", 65535);
    out.outbound_ports_excluded = read_numbers(exclude, "outbound_ports", 65535);
    out.uids_excluded = read_numbers(exclude, "uids", UINT32_MAX);
    out.cidrs_excluded = exclude.texts("cidrs");
    out.mark_excluded = exclude.number("mark", 0, 0, UINT32_MAX);
  });
}

}  // namespace

std::string locate(std::string_view yaml, std::string_view path, std::string_view why) {
  std::optional<std::size_t> line = yaml::find_line(yaml, path);
  std::string where = path.empty() ? std::string(why) : cat(path, ": ", why);
  return line ? cat("line ", *line, ": ", where) : where;
}

Result<ParsedFile> parse_config(std::string_view yaml, const ReadFile& read) {
  TRY_ASSIGN(json::Value tree, yaml::parse(yaml));
  std::optional<ConfigError> error;
  Files files(read);
  ParsedFile out;
  MapReader root(tree, "", error);
  root.list("interceptions", [&](MapReader& map) { read_interception(map, out.spec.interceptions.emplace_back()); });
  root.list("listeners", [&](MapReader& map) { read_listener(map, out.spec.listeners.emplace_back(), files); });
  root.list("clusters", [&](MapReader& map) { read_cluster(map, out.spec.clusters.emplace_back(), files); });
  DnsSpec dns;
  root.map("dns", [&](MapReader& map) { read_dns(map, dns, files); });
  std::string zone = root.text("zone");
  bool completed = false;
  for (ClusterSpec& cluster : out.spec.clusters) {
    cluster.zone = zone;
    if (!std::ranges::any_of(cluster.endpoints, [](const EndpointSpec& e) { return is_name(e.address); })) continue;
    if (!std::exchange(completed, true)) complete_dns(dns, files);
    cluster.dns = dns;
  }
  root.map("tracing", [&](MapReader& map) { read_tracing(map, out.spec.tracing.emplace()); });
  out.spec.memory_mb = root.number("memory_mb", 0, 0, 1U << 20);
  root.map("admin", [&](MapReader& map) { out.spec.admin_socket = map.required_text("socket"); });
  root.finish();
  if (error) return fail(Code::kInvalidArgument, locate(yaml, error->path, error->why));
  out.files = std::move(files.names);
  return out;
}

}  // namespace monopod::proxy
