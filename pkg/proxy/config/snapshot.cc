#include "proxy/config/snapshot.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "http/headers.h"
#include "network/dns/message.h"
#include "proxy/filters/filters.h"
#include "proxy/limits.h"
#include "proxy/upstream/hash_table.h"
#include "sys/namespaces.h"

namespace monopod::proxy {
namespace {

using Index = std::unordered_map<std::string, std::size_t>;

struct Compiler {
  const Snapshot* previous;
  std::optional<ConfigError> error;
  Index clusters;
  const std::vector<std::shared_ptr<const ClusterConfig>>* configs = nullptr;
  std::shared_ptr<Shared> shared;

  void refuse(std::string path, std::string why) {
    if (!error) error = ConfigError{std::move(path), std::move(why)};
  }

  void endpoint(ClusterConfig& out, const EndpointSpec& spec, const std::string& path) {
    bool elsewhere = !spec.zone.empty() && !out.spec.zone.empty() && spec.zone != out.spec.zone;
    std::uint32_t level = spec.priority * 2 + (elsewhere ? 1 : 0);
    Result<Address> address = Address::parse(spec.address);
    if (address) return out.addresses.push_back({.address = *address, .weight = spec.weight, .level = level});
    auto [host, port] = split_once(spec.address, ':');
    std::optional<std::uint16_t> number = port ? parse_int<std::uint16_t>(*port) : std::nullopt;
    auto is_of_name = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
    // What ends in a number is an address that was spelt wrong (WHATWG URL section 3.5).
    bool name = number && std::ranges::all_of(host, is_of_name) && !parse_int<std::uint64_t>(host.substr(host.rfind('.') + 1)) && network::dns::encode_name(host);
    if (!name) return refuse(path, cat("\"", spec.address, "\" is no ADDRESS:PORT (10.0.0.1:80, [::1]:80) and no NAME:PORT"));
    out.names.push_back({.host = to_lower(host), .port = *number, .weight = spec.weight, .level = level});
  }

  void dns(ClusterConfig& out, const std::string& path) {
    if (out.names.size() > kNamesMax) refuse(cat(path, ".endpoints"), cat("more than ", kNamesMax, " names"));
    for (const std::string& text : out.spec.dns.servers) {
      Result<Address> server = Address::parse(text);
      if (!server) refuse("dns.servers", server.error().message());
      else out.dns_servers.push_back(*server);
    }
    if (out.dns_servers.empty()) refuse(cat(path, ".endpoints"), "there are names, and no DNS server: set dns.servers");
  }

  sys::Fd open_netns(const std::string& file, const std::string& path) {
    if (file.empty()) return {};
    Result<sys::Fd> fd = sys::open_namespace(file);
    if (!fd) refuse(cat(path, ".netns"), fd.error().message());
    return fd ? std::move(*fd) : sys::Fd();
  }

  std::shared_ptr<const ClusterConfig> cluster(const ClusterSpec& spec, const std::string& path) {
    if (previous != nullptr)
      for (const auto& old : previous->clusters)
        if (old->spec == spec) return old;
    auto out = std::make_shared<ClusterConfig>();
    out->spec = spec;
    if (!is_plain_name(spec.name)) refuse(cat(path, ".name"), "a name is printable, without quotes and backslashes");
    out->netns = open_netns(spec.netns, path);
    if (spec.original_destination && spec.health_check) refuse(cat(path, ".health_check"), "goes with endpoints, and there are none");
    if (spec.endpoints.size() > kEndpointsMax) refuse(cat(path, ".endpoints"), cat("more than ", kEndpointsMax));
    for (std::size_t i = 0; i < spec.endpoints.size() && !error; ++i) endpoint(*out, spec.endpoints[i], cat(path, ".endpoints[", i, "]"));
    if (out->names.empty()) out->hash_table = make_hash_table(spec.balancer, spec.endpoints);
    else dns(*out, path);
    if (spec.tls) {
      const ClientTlsSpec& t = *spec.tls;
      if (t.verify && t.server_name.empty() && t.spiffe_ids.empty()) refuse(cat(path, ".tls"), "want server_name or spiffe_ids to verify, or verify: false");
      auto made = http::TlsClient::make({.ca_pem = t.ca_pem, .certificate_pem = t.certificate_pem, .key_pem = t.key_pem, .server_name = t.server_name, .insecure_skip_verify = !t.verify, .http2 = spec.http2});
      if (!made) return refuse(cat(path, ".tls"), made.error().message()), out;
      out->tls = std::move(*made);
      auto revocations = equip_client(out->tls->context().get(), t);
      if (!revocations) refuse(cat(path, ".tls"), revocations.error().message());
      else out->revocations = std::move(*revocations);
    }
    if (spec.http2 && spec.original_source) refuse(cat(path, ".original_source"), "is of one client: it does not go with http2, whose connections are shared");
    if (spec.health_check && spec.original_source) refuse(cat(path, ".health_check"), "has no client whose address it could come from (original_source)");
    if (spec.http2 && spec.proxy_protocol != ClusterSpec::ProxyProtocol::kNone) refuse(cat(path, ".proxy_protocol"), "says who one client is: it does not go with http2, whose connections are shared");
    if (spec.http2 && spec.health_check && !spec.health_check->path.empty()) refuse(cat(path, ".health_check.path"), "asks by HTTP/1.1: with http2 a check connects, without a path");
    if (spec.health_check && (!http::is_field_value(spec.health_check->host) || !http::is_field_value(spec.health_check->path) || spec.health_check->path.find(' ') != std::string::npos ||
                              (!spec.health_check->path.empty() && !spec.health_check->path.starts_with('/'))))
      refuse(cat(path, ".health_check"), "path or host cannot stand in a request");
    return out;
  }

  std::size_t find_cluster(const std::string& name, const std::string& path) {
    auto found = clusters.find(name);
    if (found == clusters.end()) refuse(path, cat("there is no cluster \"", name, "\""));
    return found == clusters.end() ? kNoCluster : found->second;
  }

  void tcp(ListenerConfig& out, const std::string& path) {
    const ListenerSpec& spec = out.spec;
    if (spec.cluster.empty() && spec.sni.empty()) refuse(path, "want cluster or sni");
    if (!spec.cluster.empty()) out.tcp_cluster = find_cluster(spec.cluster, cat(path, ".cluster"));
    auto speaks_http2 = [&](std::size_t index) { return index != kNoCluster && (*configs)[index]->spec.http2; };
    if (!error && speaks_http2(out.tcp_cluster)) refuse(cat(path, ".cluster"), "has http2, which goes with protocol: http");
    if (spec.tls && !spec.sni.empty()) refuse(cat(path, ".sni"), "passes TLS through: it does not go with tls");
    for (const std::string& text : spec.sockmap_peers) {
      Result<Cidr> cidr = Cidr::parse(text);
      if (cidr) out.sockmap_peers.push_back(*cidr);
      else refuse(cat(path, ".sockmap_peers"), cidr.error().message());
    }
    for (std::size_t i = 0; i < spec.sni.size(); ++i) {
      std::size_t cluster = find_cluster(spec.sni[i].cluster, cat(path, ".sni[", i, "].cluster"));
      if (!error && speaks_http2(cluster)) refuse(cat(path, ".sni[", i, "].cluster"), "has http2, which goes with protocol: http");
      for (const std::string& name : spec.sni[i].server_names)
        if (!out.sni.emplace(to_lower(name), cluster).second) refuse(cat(path, ".sni[", i, "].server_names"), cat("\"", name, "\" stands there twice"));
    }
  }

  std::shared_ptr<const ListenerConfig> listener(const ListenerSpec& spec, const std::string& path) {
    auto out = std::make_shared<ListenerConfig>();
    out->spec = spec;
    if (!is_plain_name(spec.name)) refuse(cat(path, ".name"), "a name is printable, without quotes and backslashes");
    Result<Address> address = Address::parse(spec.address);
    if (address) out->address = *address;
    else refuse(cat(path, ".address"), address.error().message());
    out->netns = open_netns(spec.netns, path);
    if (spec.tls) tls(*out, path);
    if (spec.protocol == ListenerSpec::Protocol::kTcp) {
      tcp(*out, path);
      if (!spec.virtual_hosts.empty() || !spec.filters.empty()) refuse(path, "virtual_hosts and filters go with protocol: http");
    } else {
      if (!spec.cluster.empty() || !spec.sni.empty()) refuse(path, "cluster and sni go with protocol: tcp; routes name clusters");
      if (spec.sockmap || !spec.sockmap_peers.empty()) refuse(cat(path, ".sockmap"), "goes with protocol: tcp");
      out->routes = RouteTable::compile(spec.virtual_hosts, cat(path, ".virtual_hosts"), clusters, error);
      for (std::size_t i = 0; i < spec.filters.size() && !error; ++i) {
        auto filter = make_filter(spec.filters[i], {.find_cluster = [this](const std::string& name) -> Result<std::size_t> {
                                                      auto found = clusters.find(name);
                                                      if (found == clusters.end()) return fail(Code::kInvalidArgument, cat("there is no cluster \"", name, "\""));
                                                      return found->second;
                                                    },
                                                    .cluster = [this](std::size_t index) -> const ClusterSpec& { return (*configs)[index]->spec; },
                                                    .shared = *shared});
        if (filter) out->filters.push_back(std::move(*filter));
        else refuse(cat(path, ".filters[", i, "]"), filter.error().message());
      }
    }
    Result<LogFormat> format = LogFormat::compile(spec.access_log);
    if (format) out->log_format = std::move(*format);
    else refuse(cat(path, ".access_log.", spec.access_log.json.empty() ? "format" : "json"), format.error().message());
    out->spec.virtual_hosts.clear();
    out->spec.filters.clear();
    return out;
  }

  void tls(ListenerConfig& out, const std::string& path) {
    const ServerTlsSpec& spec = *out.spec.tls;
    if (spec.certificates.empty()) return refuse(cat(path, ".tls"), "certificates is missing");
    if ((!spec.spiffe_ids.empty() || spec.require_client_certificate) && spec.client_ca_pem.empty()) return refuse(cat(path, ".tls"), "client certificates want a client_ca_file");
    if (spec.tickets.enabled && spec.tickets.rotate < std::chrono::seconds(1)) return refuse(cat(path, ".tls.tickets.rotate"), "want a second at least");
    if (!spec.peers.crl_pem.empty() && spec.client_ca_pem.empty()) return refuse(cat(path, ".tls.crl_file"), "wants a client_ca_file");
    const ServerTls* before = nullptr;
    if (previous != nullptr)
      for (const auto& old : previous->listeners) {
        if (old->tls && old->spec.name == out.spec.name) before = old->tls.get();
        if (old->tls && old->tls->spec() == spec) {
          out.tls = old->tls;
          return;
        }
      }
    auto made = ServerTls::make(spec, before);
    if (!made) return refuse(cat(path, ".tls"), made.error().message());
    out.tls = std::move(*made);
  }

  std::shared_ptr<const Snapshot> run(const Spec& spec) {
    auto out = std::make_shared<Snapshot>();
    out->version = previous == nullptr ? 1 : previous->version + 1;
    out->admin_socket = spec.admin_socket;
    out->shared = shared = previous == nullptr ? std::make_shared<Shared>() : previous->shared;
    out->interceptions = spec.interceptions;
    out->memory = shared->find_or_make<MemoryGauge>("memory", "");
    out->memory_bytes_max = std::uint64_t{spec.memory_mb} << 20;
    if (spec.clusters.size() > kClustersMax) refuse("clusters", cat("more than ", kClustersMax));
    if (spec.listeners.size() > kListenersMax) refuse("listeners", cat("more than ", kListenersMax));
    for (std::size_t i = 0; i < spec.clusters.size() && !error; ++i) {
      std::string path = cat("clusters[", i, "]");
      if (!clusters.emplace(spec.clusters[i].name, i).second) refuse(cat(path, ".name"), cat("\"", spec.clusters[i].name, "\" is the name of two clusters"));
      out->clusters.push_back(cluster(spec.clusters[i], path));
    }
    configs = &out->clusters;
    if (spec.tracing) {
      out->tracing = spec.tracing;
      out->tracing_cluster = find_cluster(spec.tracing->cluster, "tracing.cluster");
      if (!http::is_field_value(spec.tracing->host) || !http::is_field_value(spec.tracing->path) || !spec.tracing->path.starts_with('/') || spec.tracing->path.find(' ') != std::string::npos)
        refuse("tracing", "host or path cannot stand in a request");
    }
    std::set<std::string> names, addresses;
    for (std::size_t i = 0; i < spec.listeners.size() && !error; ++i) {
      std::string path = cat("listeners[", i, "]");
      if (!names.insert(spec.listeners[i].name).second) refuse(cat(path, ".name"), cat("\"", spec.listeners[i].name, "\" is the name of two listeners"));
      out->listeners.push_back(listener(spec.listeners[i], path));
      if (!error && !addresses.insert(out->listeners.back()->key()).second) refuse(cat(path, ".address"), cat(spec.listeners[i].address, " is the address of two listeners"));
    }
    for (std::size_t i = 0; i < spec.interceptions.size() && !error; ++i) interception(spec, *out, spec.interceptions[i], cat("interceptions[", i, "]"));
    return out;
  }

  // Both sides of each way: the rules, and the listener that they lead to.
  void interception(const Spec& spec, const Snapshot& made, const InterceptionSpec& wanted, const std::string& path) {
    auto check = [&](std::uint16_t port, bool transparent, std::string_view mode) {
      for (std::size_t i = 0; i < spec.listeners.size(); ++i) {
        const ListenerSpec& listener = spec.listeners[i];
        if (listener.netns != wanted.netns || made.listeners[i]->address.port() != port || listener.transparent == transparent) continue;
        refuse(cat(path, ".", mode), cat("listener \"", listener.name, "\" at port ", port, transparent ? std::string(" wants transparent: true") : cat(" has transparent: true, which wants ", mode, ": tproxy")));
      }
    };
    check(wanted.inbound_port, wanted.transparent, "mode");
    check(wanted.outbound_port, wanted.outbound_transparent, "outbound_mode");
  }
};

}  // namespace

std::shared_ptr<const Snapshot> compile(const Spec& spec, const Snapshot* previous, ConfigError& error) {
  Compiler compiler{.previous = previous, .error = {}, .clusters = {}};
  std::shared_ptr<const Snapshot> out = compiler.run(spec);
  if (!compiler.error) return out;
  error = std::move(*compiler.error);
  return nullptr;
}

}  // namespace monopod::proxy
