// Which pods have their connections taken by the node's proxy, and which of those are left alone. A pod asks for it, or its namespace does for all its
// pods; what a pod itself says goes first. Our names, and where they are absent those that Istio's users write (the same meaning, another prefix):
//
//   pod (annotation, or label) and namespace (label)  proxy.monopod.io/inject: enabled | disabled     sidecar.istio.io/inject: "true" | "false" (pod)
//                                                                                                 istio-injection: enabled | disabled (namespace)
//   annotations of the pod, lists with commas:
//     proxy.monopod.io/exclude-inbound-ports     traffic.sidecar.istio.io/excludeInboundPorts
//     proxy.monopod.io/include-inbound-ports     traffic.sidecar.istio.io/includeInboundPorts       "*" is all, "" none
//     proxy.monopod.io/exclude-outbound-ports    traffic.sidecar.istio.io/excludeOutboundPorts
//     proxy.monopod.io/include-outbound-ports    traffic.sidecar.istio.io/includeOutboundPorts
//     proxy.monopod.io/exclude-outbound-cidrs    traffic.sidecar.istio.io/excludeOutboundIPRanges
//     proxy.monopod.io/include-outbound-cidrs    traffic.sidecar.istio.io/includeOutboundIPRanges   "*" is all, "" none
//     proxy.monopod.io/interception-mode         sidecar.istio.io/interceptionMode                  REDIRECT | TPROXY: what comes in keeps the client's address
//     proxy.monopod.io/outbound-interception-mode                                                   REDIRECT | TPROXY: what goes out is not translated on its way to the proxy
//     proxy.monopod.io/exclude-uids              whose connections out are left alone
//     proxy.monopod.io/http-inbound-ports        where HTTP/1.1 is spoken: seen as requests, not as bytes
//     proxy.monopod.io/http-outbound-ports
//
// A pod on the host's network is left alone, and so is one that has another mesh's proxy already (sidecar.istio.io/status). It is decided when a pod's
// sandbox is made, and stays so for the sandbox's life.
#pragma once

#include <optional>
#include <string>

#include "agent/pod.h"
#include "async/task.h"
#include "network/intercept.h"

namespace monopod::agent {

// What was decided for a pod, as text: the names above without "proxy.monopod.io/". It is kept in the pod's record.
using SidecarWish = std::map<std::string, std::string>;

// Whether the pod's own words decide, whatever its namespace says.
bool decides_on_sidecar(const Pod& pod);
// nullopt: nobody takes its connections.
std::optional<SidecarWish> find_sidecar_wish(const Pod& pod, const Labels& namespace_labels);

// Ports as numbers, addresses as such; which ports the proxy listens on is its own business.
struct SidecarRules {
  network::InterceptSpec spec;
  bool inbound = true, outbound = true;  // which ways are taken at all
  std::vector<std::uint16_t> http_inbound_ports, http_outbound_ports;
  bool operator==(const SidecarRules&) const = default;
};
// kInvalidArgument naming the annotation.
Result<SidecarRules> parse_sidecar_rules(const SidecarWish& wish);

struct SidecarPod {
  std::string uid, name, namespace_name;
  std::string netns_path;  // of its network namespace
  SidecarRules rules;
};

// The proxy, as the agent sees it; whoever wires the node hands it in.
class SidecarProxy {
 public:
  virtual ~SidecarProxy() = default;
  // When this returns connections of the pod go through the proxy. The same pod again replaces what was there. Connections that are made while no node
  // process runs wait for the next one's attach().
  virtual async::Task<Result<>> attach(SidecarPod pod) = 0;
  // The pod's programs are gone. What is left of its connections is cut, so that nothing holds its namespace. Unknown is no error.
  virtual async::Task<Result<>> detach(std::string uid) = 0;
  // In Prometheus' text; empty while it has no pods.
  virtual std::string metrics() = 0;
};

}  // namespace monopod::agent
