#include "cmd/node/proxy_spec.h"

#include <algorithm>

#include "base/strings.h"
#include "proxy/io/address.h"

namespace monopod::cmd {
namespace {

constexpr const char* kInbound = "inbound";
constexpr const char* kOutbound = "outbound";
constexpr const char* kInboundHttp = "inbound-http";
constexpr const char* kOutboundHttp = "outbound-http";

Result<const proxy::ListenerSpec*> find_template(const proxy::Spec& base, std::string_view name) {
  for (const proxy::ListenerSpec& listener : base.listeners)
    if (listener.name == name) return &listener;
  return fail(Code::kFailedPrecondition, cat("the node's proxy.yaml has no listener \"", name, "\""));
}

// Those of the pod: what it does not need is not opened.
std::vector<const char*> templates_of(const agent::SidecarRules& rules) {
  std::vector<const char*> out;
  if (rules.inbound) out.push_back(kInbound);
  if (rules.outbound) out.push_back(kOutbound);
  if (rules.inbound && !rules.http_inbound_ports.empty()) out.push_back(kInboundHttp);
  if (rules.outbound && !rules.http_outbound_ports.empty()) out.push_back(kOutboundHttp);
  return out;
}

bool has(const std::vector<std::string>& among, const std::string& name) { return std::ranges::find(among, name) != among.end(); }

bool is_inbound(std::string_view name) { return name == kInbound || name == kInboundHttp; }

std::string suffix_of(const agent::SidecarPod& pod) { return cat("/", pod.namespace_name, "/", pod.name); }

Result<std::uint16_t> port_of(const proxy::Spec& base, const char* name) {
  TRY_ASSIGN(const proxy::ListenerSpec* listener, find_template(base, name));
  TRY_ASSIGN(proxy::Address address, proxy::Address::parse(listener->address));
  return address.port();
}

Result<> add_ports(const proxy::Spec& base, const char* name, const std::vector<std::uint16_t>& ports, std::vector<network::PortListener>& out) {
  if (ports.empty()) return {};
  TRY_ASSIGN(std::uint16_t listener, port_of(base, name));
  for (std::uint16_t port : ports) out.push_back({port, listener});
  return {};
}

}  // namespace

bool is_template(const proxy::ListenerSpec& listener) {
  return listener.name == kInbound || listener.name == kOutbound || listener.name == kInboundHttp || listener.name == kOutboundHttp;
}

Result<> check_templates(const proxy::Spec& base) {
  for (const char* name : {kInbound, kOutbound}) TRY(find_template(base, name));
  for (const proxy::ListenerSpec& listener : base.listeners)
    if (is_template(listener) && (!listener.intercepts || !listener.netns.empty()))
      return fail(Code::kFailedPrecondition, cat("the node's proxy.yaml: listener \"", listener.name, "\" is every pod's: want intercepts: true, and no netns"));
  for (const proxy::ListenerSpec& listener : base.listeners)
    for (const proxy::CertificateSpec& certificate : listener.tls ? listener.tls->certificates : std::vector<proxy::CertificateSpec>())
      if (certificate.ocsp_fetch) return fail(Code::kFailedPrecondition, cat("the node's proxy.yaml: listener \"", listener.name, "\": OCSP's answers are fetched by monopod proxy alone: use ocsp_file"));
  if (!base.interceptions.empty()) return fail(Code::kFailedPrecondition, "the node's proxy.yaml: interceptions are made by the node: want none");
  return {};
}

proxy::Spec shared_part(const proxy::Spec& base) {
  proxy::Spec out = base;
  std::erase_if(out.listeners, is_template);
  return out;
}

namespace {

// What an inbound listener of a pod goes to comes from the client's address where that is asked for; what goes out of the pod cannot.
Result<std::vector<std::string>> from_clients(const proxy::Spec& base, const agent::SidecarPod& pod) {
  std::vector<std::string> in, out;
  for (const proxy::ListenerSpec& listener : base.listeners) {
    if (!is_template(listener)) continue;
    std::vector<std::string>& to = is_inbound(listener.name) ? in : out;
    to.push_back(listener.cluster);
    for (const proxy::VirtualHostSpec& host : listener.virtual_hosts)
      for (const proxy::RouteSpec& route : host.routes)
        for (const proxy::WeightedCluster& cluster : route.clusters) to.push_back(cluster.cluster);
  }
  if (!pod.rules.spec.inbound_transparent) return std::vector<std::string>();
  for (const proxy::ClusterSpec& cluster : base.clusters)
    if (cluster.original_destination && has(in, cluster.name) && has(out, cluster.name))
      return fail(Code::kFailedPrecondition, cat("the node's proxy.yaml: interception-mode TPROXY wants clusters by original destination of its own for what comes in, and \"", cluster.name, "\" is for both ways"));
  return in;
}

}  // namespace

Result<> add_pod(const proxy::Spec& base, const agent::SidecarPod& pod, proxy::Spec& out) {
  std::string suffix = suffix_of(pod);
  TRY_ASSIGN(std::vector<std::string> from_client, from_clients(base, pod));
  std::vector<std::string> own;  // clusters that connect from the pod's namespace
  for (const proxy::ClusterSpec& cluster : base.clusters) {
    if (!cluster.original_destination) continue;
    own.push_back(cluster.name);
    proxy::ClusterSpec& made = out.clusters.emplace_back(cluster);
    made.name += suffix;
    made.netns = pod.netns_path;
    made.mark |= kProxyMark;
    made.original_source = made.original_source || has(from_client, cluster.name);
  }
  auto rename = [&](std::string& cluster) {
    if (has(own, cluster)) cluster += suffix;
  };
  for (const char* name : templates_of(pod.rules)) {
    TRY_ASSIGN(const proxy::ListenerSpec* listener, find_template(base, name));
    proxy::ListenerSpec& made = out.listeners.emplace_back(*listener);
    made.name += suffix;
    made.netns = pod.netns_path;
    made.transparent = is_inbound(name) ? pod.rules.spec.inbound_transparent : pod.rules.spec.outbound_transparent;
    rename(made.cluster);
    for (proxy::SniRoute& route : made.sni) rename(route.cluster);
    for (proxy::VirtualHostSpec& host : made.virtual_hosts)
      for (proxy::RouteSpec& route : host.routes)
        for (proxy::WeightedCluster& cluster : route.clusters) rename(cluster.cluster);
  }
  return {};
}

Result<network::InterceptSpec> intercept_spec(const proxy::Spec& base, const agent::SidecarPod& pod) {
  const agent::SidecarRules& rules = pod.rules;
  network::InterceptSpec out = rules.spec;
  out.mark_excluded = kProxyMark;
  if (rules.inbound) {
    TRY_ASSIGN(out.inbound_port, port_of(base, kInbound));
    TRY(add_ports(base, kInboundHttp, rules.http_inbound_ports, out.inbound_listeners));
  }
  if (rules.outbound) {
    TRY_ASSIGN(out.outbound_port, port_of(base, kOutbound));
    TRY(add_ports(base, kOutboundHttp, rules.http_outbound_ports, out.outbound_listeners));
  }
  return out;
}

}  // namespace monopod::cmd
