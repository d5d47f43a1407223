// What the endpoints controllers share: which pods stand behind a service, and on which ports.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/informer.h"
#include "codec/json.h"

namespace monopod::controllers {

struct Backend {
  std::string ip;
  json::Value pod;
  bool ready = false;        // takes traffic now
  bool serving = false;      // answers, though it may be terminating
  bool terminating = false;
};

// True where endpoints of the service are ours to make: it selects pods and is no ExternalName.
bool selects_pods(const json::Value& service);
// Pods behind the service that have an address and have not finished, by address.
std::vector<Backend> backends_of(const json::Value& service, const client::Informer& pods);

// The service's ports with target ports resolved against one pod; what the pod does not name is left out.
//   [{"name", "port", "protocol", "appProtocol"?}]
json::Array resolved_ports(const json::Value& service, const json::Value& pod);

// Puts the keys of every service that a changed pod enters or leaves into add.
void watch_service_pods(client::Informer& services, client::Informer& pods, std::function<void(std::string)> add);

json::Object pod_reference(const json::Value& pod);

}  // namespace monopod::controllers
