// A configuration as the data path uses it: checked with its references, compiled, immutable. Workers swap a pointer; what is under way goes on with
// the snapshot it began with. A file makes one (load.h); a control plane will make them from its own Spec.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/config/reader.h"
#include "proxy/config/spec.h"
#include "proxy/filters/filter.h"
#include "proxy/filters/shared.h"
#include "proxy/io/address.h"
#include "proxy/io/memory_gauge.h"
#include "proxy/io/tls.h"
#include "proxy/observe/log_format.h"
#include "proxy/route/match.h"
#include "proxy/route/table.h"

namespace monopod::proxy {

struct EndpointAddress {
  Address address;
  std::uint32_t weight = 1;
  std::uint32_t level = 0;  // by priority and zone
};
struct EndpointName {
  std::string host;
  std::uint16_t port = 0;
  std::uint32_t weight = 1;
  std::uint32_t level = 0;
};

struct ClusterConfig {
  ClusterSpec spec;
  std::vector<EndpointAddress> addresses;   // of those of spec.endpoints that are no names
  std::vector<EndpointName> names;
  std::vector<Address> dns_servers;         // of a cluster with names
  std::vector<std::uint16_t> hash_table;    // ring hash and maglev: endpoint by slot; of a cluster without names
  std::shared_ptr<http::TlsClient> tls;     // null: plain
  std::shared_ptr<const Revocations> revocations;  // null: none
  sys::Fd netns;                            // of spec.netns
};

struct ListenerConfig {
  ListenerSpec spec;  // without its routes and filters, which are compiled below
  Address address;
  sys::Fd netns;  // of spec.netns
  // What its socket is known by.
  std::string key() const { return address.format() + (spec.netns.empty() ? "" : " in " + spec.netns); }
  std::shared_ptr<const ServerTls> tls;  // null: plain
  std::unique_ptr<RouteTable> routes;    // kHttp
  std::vector<std::unique_ptr<Filter>> filters;
  std::size_t tcp_cluster = kNoCluster;
  std::unordered_map<std::string, std::size_t> sni;  // exact, or "*.suffix"
  LogFormat log_format;
  std::vector<Cidr> sockmap_peers;
};

struct Snapshot {
  std::uint64_t version = 0;
  std::vector<std::shared_ptr<const ListenerConfig>> listeners;
  std::vector<std::shared_ptr<const ClusterConfig>> clusters;
  std::string admin_socket;
  std::optional<TracingSpec> tracing;
  std::size_t tracing_cluster = kNoCluster;
  std::shared_ptr<Shared> shared;  // from snapshot to snapshot
  std::shared_ptr<MemoryGauge> memory;
  std::uint64_t memory_bytes_max = 0;
  std::vector<InterceptionSpec> interceptions;
};

// previous: what did not change is taken over from it, compiled; may be null. error: which field, and why.
std::shared_ptr<const Snapshot> compile(const Spec& spec, const Snapshot* previous, ConfigError& error);

}  // namespace monopod::proxy
