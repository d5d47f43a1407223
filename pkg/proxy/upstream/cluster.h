// A cluster as a worker holds it: its endpoints with their state, the balancer, the pool of connections, and the limits (circuit breakers).
//
//   Session --pick()--> Endpoint --take()--> UpstreamConnection (idle one, or new) --give()--> pool
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "proxy/config/snapshot.h"
#include "proxy/io/poller.h"
#include "proxy/io/wheel.h"
#include "proxy/observe/metrics.h"
#include "proxy/upstream/connection.h"
#include "proxy/upstream/retry_budget.h"

namespace monopod::proxy {

class Worker;
class H2Upstream;

struct Endpoint {
  Address address;
  std::string label;
  std::uint32_t weight = 1;
  std::uint32_t active = 0;            // requests or tunnels
  std::int64_t current_weight = 0;     // smooth round robin
  std::uint32_t consecutive_5xx = 0, consecutive_gateway = 0, consecutive_local = 0;
  std::uint32_t requests = 0, failures = 0;  // of the interval, for outliers by rate
  std::uint32_t ejections = 0;         // in a row: each is as long as the base times their number
  std::uint64_t ejected_until_ms = 0;
  bool healthy = true;                 // as active checks see it
  bool gone = false;                   // of the set: it ends with what it carries
  std::uint32_t level = 0;             // of priority
  std::uint32_t pins = 0;              // who may look at it yet
  std::uint32_t connections = 0;       // and streams
  std::uint64_t since_ms = 0;          // new or well again since; 0: from the begin
  double latency_ms = 0;               // moving average with peaks
  std::uint64_t latency_at_ms = 0;
  std::uint64_t picked_ms = 0;         // by original destination: last
  std::vector<UpstreamConnection*> idle;  // the freshest last
  std::vector<H2Upstream*> http2;         // that live; they retire themselves
  KeptSession session;                    // of TLS, to be resumed

  bool available(std::uint64_t now_ms) const { return healthy && ejected_until_ms <= now_ms; }
};

// Keeps an endpoint from being destroyed when a name's addresses change. The cluster outlives it.
class EndpointPin {
 public:
  EndpointPin() = default;
  EndpointPin(const EndpointPin&) = delete;
  ~EndpointPin() { *this = nullptr; }
  EndpointPin& operator=(Endpoint* endpoint) {
    if (endpoint != nullptr) ++endpoint->pins;
    if (endpoint_ != nullptr) --endpoint_->pins;
    endpoint_ = endpoint;
    return *this;
  }
  EndpointPin& operator=(const EndpointPin& other) { return *this = other.endpoint_; }
  Endpoint* get() const { return endpoint_; }
  Endpoint* operator->() const { return endpoint_; }
  Endpoint& operator*() const { return *endpoint_; }
  bool operator==(std::nullptr_t) const { return endpoint_ == nullptr; }

 private:
  Endpoint* endpoint_ = nullptr;
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

  // Endpoints whose addresses are the same in a cluster before this one go on as they were there.
  void succeed(const Cluster& before);
  // What names mean now, beside the addresses of the configuration: all of them.
  void set_endpoints(const std::vector<EndpointAddress>& wanted);
  // The first answer about its names is still to come: worth waiting for.
  bool awaits_names() const { return awaits_names_; }
  // No name means anything: what waits is told.
  void give_up_names() {
    awaits_names_ = false;
    for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) wake_waiter();
  }

  // hash: of the request, for hash balancers; else a number at random. not_this: tried and failed; another one where there is. Where none is
  // available all count as if they were: an outage is not made worse by a verdict. Null: no endpoints.
  Endpoint* pick(std::uint64_t hash, const Endpoint* not_this);
  // The same; of a cluster by original destination, the one at original (null: none). Null where too many are in use.
  Endpoint* pick(std::uint64_t hash, const Endpoint* not_this, const Address* original);
  // An idle connection of the endpoint, or a new one that begins to connect. Null: limits.connections is reached. failed: the connection cannot even
  // be begun.
  // client: whose address a new one comes from, where the cluster has original_source; that is another's never.
  UpstreamConnection* take(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed, const Address* client = nullptr);
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

  // For people: how pick() came to this one.
  std::string describe_choice(const Endpoint& endpoint) const;

  // limits.requests and limits.retries. False: full, answer 503.
  bool begin_request(Endpoint& endpoint);
  void end_request(Endpoint& endpoint);
  // Of a retry or a hedge; first: of its request, which counts once against limits.retries, while the budget counts each.
  bool begin_retry(bool first);
  void end_retry() { --retries_; }
  // limits.pending. False: full.
  bool wait(Waiter& waiter);
  void stop_waiting(Waiter& waiter);

  // What came of a request: for outlier ejection and latency (kNever: unknown). status 0: the connection failed.
  void observe(Endpoint& endpoint, int status, std::uint64_t latency_ms = kNever);
  // Closes idle connections; those in use are closed as they come back. The cluster is configured no more.
  void drain();

 private:
  void forget_unused();
  // outlier.cc
  void count_failure(Endpoint& endpoint, int status);
  void judge_rates();
  void eject(Endpoint& endpoint, std::string_view why);
  struct Level {
    std::uint32_t number = 0;
    std::vector<Endpoint*> members;
    std::size_t next = 0;
    std::uint32_t percent = 0;  // of all requests
    bool uniform = true, panic = false;
  };
  Endpoint& add_endpoint(const EndpointAddress& from);
  void arrange();  // endpoints into levels
  void assess();
  std::size_t choose_level();
  Endpoint* pick_in(Level& level, std::uint64_t hash, const Endpoint* not_this, bool any);
  Endpoint* pick_round_robin(Level& level, const Endpoint* not_this, bool any);
  Endpoint* pick_of_two(const Level& level, const Endpoint* not_this, bool any);
  Endpoint* pick_by_hash(const Level& level, std::uint64_t hash, const Endpoint* not_this, bool any);
  Endpoint* draw(const Level& level, const Endpoint* not_this, bool any);
  bool declines(const Endpoint& endpoint);  // in its slow start
  bool hashes() const { return config_->spec.balancer == ClusterSpec::Balancer::kRingHash || config_->spec.balancer == ClusterSpec::Balancer::kMaglev; }
  void note_latency(Endpoint& endpoint, std::uint64_t latency_ms);
  bool usable(const Endpoint& endpoint, const Endpoint* not_this, bool any) const;
  void wake_waiter();
  UpstreamConnection* connect(Endpoint& endpoint, std::optional<std::string>& failed, const Address* client = nullptr);
  UpstreamConnection* take_stream(Endpoint& endpoint, bool fresh, std::optional<std::string>& failed);

  Worker& worker_;
  std::shared_ptr<const ClusterConfig> config_;
  std::shared_ptr<ClusterStats> stats_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_, departed_;
  std::vector<Level> levels_;
  std::vector<std::uint16_t> hash_table_;  // of a cluster with names
  std::uint64_t assessed_ms_ = 0;
  std::uint64_t judged_ms_ = 0;  // outliers by rate
  RetryBudget retry_budget_;
  std::unordered_map<std::string, Endpoint*> by_address_;  // by original destination
  std::vector<Waiter*> waiting_;  // the oldest first
  std::vector<UpstreamConnection*> shaken_;
  std::uint32_t connections_ = 0, requests_ = 0, retries_ = 0;
  bool draining_ = false;
  bool awaits_names_ = false;
};

}  // namespace monopod::proxy
