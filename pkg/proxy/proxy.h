// The proxy: workers on threads of their own, and the door by which snapshots reach them.
//
//   auto proxy = Proxy::start({.workers = 1});
//   proxy->apply(snapshot);        // a file's, or a control plane's
//
// All calls come from one thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "proxy/config/snapshot.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {

struct ProxyOptions {
  unsigned workers = 1;  // 0: one worker without a thread, on the caller's own loop: whoever runs that calls its turn()
  // Makes a listening socket for a listener; called once per worker. Whoever runs the proxy for pods opens it in the pod's network namespace. Empty:
  // in the process's own.
  std::function<Result<sys::Fd>(const ListenerConfig&)> open{};
};

class Proxy {
 public:
  static Result<std::unique_ptr<Proxy>> start(ProxyOptions options);
  // Cuts what is under way.
  ~Proxy();

  // The one without a thread.
  Worker& own_worker();

  // Opens what is new and hands the snapshot to the workers. Fails where an address cannot be listened on: nothing has changed then.
  Result<> apply(std::shared_ptr<const Snapshot> snapshot);
  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }

  void reopen_logs();
  // No new connections; ends what is idle.
  void drain();
  // Calls done, on a worker's thread, once every worker has run work.
  void on_workers(std::function<void(Worker&)> work, std::function<void()> done);

 private:
  explicit Proxy(ProxyOptions options);
  ProxyOptions options_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::set<std::string> addresses_;  // that the workers listen on
  struct Running;
  std::vector<std::unique_ptr<Running>> running_;
};

}  // namespace monopod::proxy
