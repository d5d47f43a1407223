// A container's environment, command and arguments from its spec, the image's configuration and the objects it refers to.
// Pure: referenced objects are handed in. Error texts are those kubectl users know from CreateContainerConfigError.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/pod.h"

namespace monopod::agent {

// data (decoded) of the config maps and secrets that a pod names, as read from the API.
struct ReferencedObjects {
  struct Data {
    std::map<std::string, std::string> values;
    std::string resource_version;
  };
  // By name; absent where the API has none.
  std::map<std::string, Data> config_maps;
  std::map<std::string, Data> secrets;
};

// What fieldRef and resourceFieldRef may read besides the pod itself.
struct PodFacts {
  std::string pod_ip{};
  std::vector<std::string> pod_ips{};
  std::string host_ip{};
  std::string node_name{};
  std::int64_t node_cpu_milli = 0;     // stands for an unset limit
  std::int64_t node_memory_bytes = 0;
};

// metadata.name, metadata.labels['x'], spec.nodeName, status.podIP, ...; "metadata.labels" gives the whole list in the
// downward API's form. kInvalidArgument for a path that is none.
Result<std::string> field_value(const Pod& pod, const PodFacts& facts, std::string_view path);
// "limits.cpu" over divisor, rounded up.
Result<std::string> resource_value(const Pod& pod, const Container& self, const std::string& container, std::string_view resource,
                                   std::string_view divisor, const PodFacts& facts);

// $(VAR) by the variables so far; $$(VAR) stays $(VAR); unknown ones stay as written.
std::string expand(std::string_view text, const std::map<std::string, std::string>& variables);

// NAME_SERVICE_HOST and the docker-link style variables of one service.
struct ServiceAddress {
  std::string name;
  std::string cluster_ip;
  struct Port {
    std::string name;
    std::string protocol;
    int port = 0;
  };
  std::vector<Port> ports;
};
void add_service_variables(const ServiceAddress& service, std::map<std::string, std::string>& into);

struct Environment {
  std::vector<std::string> lines;                // "NAME=value", image's first, in order
  std::map<std::string, std::string> variables;  // of the spec and services: what $(VAR) sees
  std::vector<std::string> skipped;              // keys of envFrom that are no variable names
};
// services: those of the pod's namespace if service links are on, and kubernetes.default always.
Result<Environment> make_environment(const Pod& pod, const Container& container, const std::vector<std::string>& image_env,
                                     const ReferencedObjects& objects, const std::vector<ServiceAddress>& services, const PodFacts& facts);

// Entry point and arguments: command replaces the image's entry point *and* its cmd, args replaces its cmd.
std::vector<std::string> make_command(const Container& container, const std::vector<std::string>& image_entrypoint,
                                      const std::vector<std::string>& image_cmd, const std::map<std::string, std::string>& variables);

}  // namespace monopod::agent
