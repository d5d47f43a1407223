// A cluster as a worker holds it: its endpoints with their state, the balancer, the pool of connections, and the limits (circuit breakers).
//
//   Session --pick()--> Endpoint --take()--> UpstreamConnection (idle one, or new) --give()--> pool
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "proxy/config/snapshot.h"
#include "proxy/io/poller.h"
#include "proxy/io/wheel.h"
#include "proxy/observe/metrics.h"
#include "proxy/upstream/connection.h"

namespace monopod::proxy {

class Worker;
class H2Upstream;

struct Endpoint {
  Address address;
  std::string label;
  std::uint32_t weight = 1;
  std::uint32_t active = 0;            // requests or tunnels
  std::int64_t current_weight = 0;     // smooth round robin
  std::uint32_t consecutive_5xx = 0;
  std::uint32_t ejections = 0;         // in a row: each is as long as the base times their number
  std::uint64_t ejected_until_ms = 0;
  bool healthy = true;                 // as active checks see it
  std::vector<UpstreamConnection*> idle;  // the freshest last
  std::vector<H2Upstream*> http2;         // that live; they retire themselves
  KeptSession session;                    // of TLS, to be resumed

  bool available(std::uint64_t now_ms) const { return healthy && ejected_until_ms <= now_ms; }
};

// Who waits for a connection because the cluster has its fill. on_capacity() comes from within other calls: it may only take note.
class Waiter {
 public:
  virtual void on_capacity() = 0;

 protected:
  ~Waiter() = default;
};

class Cluster : public std::enable_shared_from_this<Cluster> {
 public:
  Cluster(Worker& worker, std::shared_ptr<const ClusterConfig> config, std::shared_ptr<ClusterStats> stats);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  const ClusterConfig& config() const { return *config_; }
  const std::shared_ptr<const ClusterConfig>& shared_config() const { return config_; }
  ClusterStats& stats() { return *stats_; }
  Worker& worker() { return worker_; }
  std::vector<std::unique_ptr<Endpoint>>& endpoints() { return endpoints_; }

  // hash: of the request, for hash balancers; else a number at random. not_this: tried and failed; another one where there is. Where none is
  // available all count as if they were: an outage is not made worse by a verdict. Null: no endpoints.
  Endpoint* pick(std::uint64_t hash, const Endpoint* not_this);
  // An idle connection of the endpoint, or a new one that begins to connect. Null: limits.connections is reached. failed: the connection cannot even
  // be begun.
  UpstreamConnection* take(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed);
  // Back to the pool; or, with reusable false, closed.
  void give(UpstreamConnection* connection, bool reusable);
  void closed(UpstreamConnection* connection, bool in_list);  // by ~UpstreamConnection
  // The handshake of a connection is done: its peer's certificate is watched.
  void shaken(UpstreamConnection& connection);
  // Ends connections whose peer's certificate has been over for too long.
  void cut_what_is_over();
  // What the next configuration of this cluster says of certificates, where it changed.
  void look_up_revocations(const ClusterConfig& next);
  // There is room in a connection that requests share.
  void tell_room() {
    if (!waiting_.empty()) wake_waiter();
  }

  // limits.requests and limits.retries. False: full, answer 503.
  bool begin_request(Endpoint& endpoint);
  void end_request(Endpoint& endpoint);
  bool begin_retry();
  void end_retry() { --retries_; }
  // limits.pending. False: full.
  bool wait(Waiter& waiter);
  void stop_waiting(Waiter& waiter);

  // What came of a request: for outlier ejection. status 0: the connection failed.
  void observe(Endpoint& endpoint, int status);
  // Closes idle connections; those in use are closed as they come back. The cluster is configured no more.
  void drain();

 private:
  Endpoint* pick_round_robin(const Endpoint* not_this, bool any);
  Endpoint* pick_least_request(const Endpoint* not_this, bool any);
  bool usable(const Endpoint& endpoint, const Endpoint* not_this, bool any) const;
  void wake_waiter();
  UpstreamConnection* connect(Endpoint& endpoint, std::optional<std::string>& failed);
  UpstreamConnection* take_stream(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed);

  Worker& worker_;
  std::shared_ptr<const ClusterConfig> config_;
  std::shared_ptr<ClusterStats> stats_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<Waiter*> waiting_;  // the oldest first
  std::vector<UpstreamConnection*> shaken_;
  std::uint32_t connections_ = 0, requests_ = 0, retries_ = 0;
  std::size_t next_ = 0;
  bool uniform_ = true;
  bool draining_ = false;
};

}  // namespace monopod::proxy
