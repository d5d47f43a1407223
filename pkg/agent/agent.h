// The node agent (the kubelet's role): makes what runs on this node what the API says should run here, and tells the API
// what does. Front door of the package; README.md has the picture.
//
//   Agent agent({.executor = ex, .api = api, ...}, {.node_name = "edge", .data_dir = "/var/lib/monopod"});
//   scope.spawn(agent.run());
//   node_handlers.add("edge", agent.handler());
//
// It uses the API through client::Api alone, so the same agent can serve a real control plane.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/time.h"
#include "base/rng.h"
#include "client/api.h"

namespace monopod::container {
class Runtime;
}
namespace monopod::image {
class ImageStore;
}
namespace monopod::network {
class Network;
class ServiceProgrammer;
}
namespace monopod::network::dns {
class Server;
}
namespace monopod::sys {
class Cgroups;
}
namespace monopod::http {
class Handler;
}

namespace monopod::agent {

class SidecarProxy;

// All outlive the agent and live on its loop.
struct AgentDependencies {
  async::Executor executor;
  client::Api& api;
  container::Runtime& containers;      // opened
  image::ImageStore& images;
  network::Network& network;
  network::ServiceProgrammer* services = nullptr;  // null: cluster IPs are somebody else's business
  network::dns::Server* dns = nullptr;             // null: no cluster DNS here; else the agent feeds its table
  SidecarProxy* sidecars = nullptr;                // null: no pod's connections go through a proxy here (sidecar.h)
  sys::Cgroups& cgroups;
  async::Time& time;
  async::Pool& pool;
  Rng& rng;
};

struct AgentOptions {
  std::string node_name;
  std::string data_dir = "/var/lib/monopod";  // pods/ and logs below it belong to the agent
  std::string run_dir = "/run/monopod";       // pods/ below it: pinned namespaces and root mounts
  std::string node_ip;                        // "": what the network engine finds
  std::string pod_cidr;                       // said of the node ("": whoever hands out networks says it)
  std::string cluster_dns = "10.43.0.10";     // "": none
  std::string cluster_domain = "cluster.local";
  std::string pod_manifests_dir;              // "": no static pods
  std::string cgroup_root = "pods";           // group below the node's own, for all pods
  std::string resolv_conf = "/etc/resolv.conf";
  std::string kubelet_version = "v1.35.0+monopod";
  std::vector<std::pair<std::string, std::string>> node_labels;  // besides kubernetes.io/{hostname,os,arch}
  int pods_max = 110;
  int kubelet_port = 10250;                   // daemonEndpoints; the handler itself is served by who wires it
  std::int64_t log_bytes_max = 10LL << 20;    // a container's log is rotated past this
  int log_files_max = 5;
  bool register_node = true;
  bool pull_images = true;                    // false: only images that are here; Always means present
};

class Agent {
 public:
  Agent(AgentDependencies dependencies, AgentOptions options);
  ~Agent();

  // Reconciles what an earlier process left, registers the node and works until cancelled. Containers go on running when it ends.
  // Fails only for what a restart cannot mend (directories that cannot be made).
  async::Task<Result<>> run();

  // Ends every pod with at most this grace (systemctl stop). Call beside run(), which then starts no container any more.
  async::Task<Result<>> stop_pods(Duration grace_max);

  // The kubelet's paths: /containerLogs /exec /attach /run /pods /healthz /stats/summary /metrics/resource /metrics/proxy. Authorisation
  // is the caller's business. Valid as long as the agent.
  http::Handler& handler();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monopod::agent
