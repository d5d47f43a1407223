// Services and EndpointSlices of the API to what the network engine programs: cluster IPs and the cluster's DNS names.
#pragma once

#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/env.h"
#include "client/informer.h"
#include "network/dns/server.h"
#include "network/service_table.h"

namespace monopod::agent {

struct ServiceTables {
  network::ServiceTable services;
  network::dns::DnsTable dns;
};
// Pure. Objects that make no sense are skipped.
ServiceTables make_service_tables(const std::vector<json::Value>& services, const std::vector<json::Value>& slices, const std::vector<std::string>& namespaces,
                                  const std::string& node_name);
// For the variables that pods get.
ServiceAddress parse_service_address(const json::Value& service);

// Follows the informers and hands over whole tables; changes that come together make one update.
class ServicePublisher {
 public:
  ServicePublisher(const AgentDependencies& dependencies, const AgentOptions& options, client::InformerFactory& informers);
  async::Task<Result<>> run();  // until cancelled

  // Services of the pod's namespace if it wants them, and kubernetes of default.
  std::vector<ServiceAddress> addresses(const Pod& pod) const;

 private:
  AgentDependencies deps_;
  std::string node_name_;
  client::Informer& services_;
  client::Informer& slices_;
  client::Informer& namespaces_;
  async::Event changed_;
};

}  // namespace monopod::agent
