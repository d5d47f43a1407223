// The proxy of this node's pods, on the node's own loop. Pods are attached by the agent; nothing of it exists before the first one.
//
//   pod "shop/web"                      node process
//   ┌──────────────────────────┐
//   │ app ─connect─► nft ──────┼─► [::]:15001 (pod's namespace)  listener outbound/shop/web ─► where it was going, from the pod's namespace, marked
//   │ app ◄─lo───────────────◄─┼─  [::]:15006 (pod's namespace)  listener inbound/shop/web  ◄─ nft ◄─ whoever connects to the pod
//   └──────────────────────────┘
//
// What listeners do is a proxy configuration (proxy/config/example.yaml): <data-dir>/proxy.yaml where there is one, kDefaultConfig otherwise. Its
// listeners "inbound" and "outbound" (and "inbound-http", "outbound-http", for ports of which a pod says that HTTP is spoken) are taken once for every
// pod, with those of its clusters that have original_destination; everything else in it is there once. The file is watched; a broken one changes
// nothing, and a start with a broken one takes the last good one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/sidecar.h"
#include "async/event.h"
#include "async/pool.h"
#include "async/scope.h"
#include "async/time.h"
#include "cmd/proxy/config.h"
#include "proxy/proxy.h"
#include "supervisor/supervisor.h"

namespace monopod::cmd {

class ProxyAdmin;

inline std::string node_proxy_socket_path(const std::string& data_dir) { return data_dir + "/proxy.sock"; }
// Bytes through, a line in <data-dir>/proxy-access.log for each connection.
// local_prefixes: of pods and services; between these the kernel carries the bytes, where it can.
std::string default_node_proxy_config(const std::string& data_dir, const std::vector<std::string>& local_prefixes);

class NodeProxy final : public agent::SidecarProxy {
 public:
  // All outlive it.
  NodeProxy(async::Executor executor, async::Time& time, async::Pool& pool, supervisor::Supervisor& supervisor, std::string data_dir, std::vector<std::string> local_prefixes);
  ~NodeProxy() override;

  // Serves until cancelled.
  async::Task<Result<>> run();

  async::Task<Result<>> attach(agent::SidecarPod pod) override;
  async::Task<Result<>> detach(std::string uid) override;
  std::string metrics() override;

 private:
  using Sockets = std::map<std::string, sys::Fd>;  // by listener
  struct Attached {
    agent::SidecarPod pod;
    Sockets sockets;  // until the proxy has them
  };
  async::Task<Result<>> start();
  async::Task<Result<>> begin();
  async::Task<Result<>> drive();
  async::Task<Result<>> watch();
  async::Task<Result<>> reload();
  Result<proxy::Loaded> read() const;  // blocking
  Result<> take(proxy::Loaded& loaded);
  // Base and pods as one configuration, handed to the proxy.
  Result<> publish();
  Result<sys::Fd> take_socket(const proxy::ListenerConfig& config);
  // The listening sockets of a pod: those that the supervisor keeps since the process before this one, else new ones, which it keeps from now on.
  async::Task<Result<Sockets>> open_sockets(const agent::SidecarPod& pod, const proxy::Spec& part);
  void remove(const std::string& uid);

  async::Executor executor_;
  async::Time& time_;
  async::Pool& pool_;
  supervisor::Supervisor& supervisor_;
  std::string data_dir_, config_path_;
  std::vector<std::string> local_prefixes_;
  proxy::Spec base_;
  std::map<std::string, Attached> pods_;  // by uid
  std::unique_ptr<proxy::Proxy> proxy_;   // null: no pod has been attached yet
  std::unique_ptr<ProxyConfig> config_;
  std::unique_ptr<ProxyAdmin> admin_;
  async::Event started_, tried_;
  bool starting_ = false;
};

}  // namespace monopod::cmd
