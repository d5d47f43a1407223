// One worker: a thread's share of the data path, with nothing shared. Its sockets, timers, buffers, pools and counters are its own; the control side
// talks to it by post() alone. Default is one.
//
//   listening sockets ─► Downstream (HttpSession | TcpSession) ─► Cluster ─► UpstreamConnection
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/rng.h"
#include "proxy/config/snapshot.h"
#include "proxy/codec/head_list.h"
#include "proxy/io/block_pool.h"
#include "proxy/io/pipe.h"
#include "proxy/io/poller.h"
#include "proxy/io/slab.h"
#include "proxy/io/wheel.h"
#include "proxy/observe/access_log.h"
#include "proxy/observe/metrics.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

class Downstream;
class ExchangePool;
class ListenSocket;
class ClusterResolver;
class HealthChecker;
class Sockmap;
class Tracer;

// A snapshot's listener as a worker runs it. Requests hold the one they began with.
struct ListenerRuntime {
  std::shared_ptr<const Snapshot> snapshot;
  std::shared_ptr<const ListenerConfig> config;
  std::shared_ptr<ListenerStats> stats;
  std::vector<std::shared_ptr<RouteStats>> routes;
  std::vector<std::shared_ptr<Cluster>> clusters;  // of the snapshot, by index
  std::shared_ptr<AccessLogFile> log;              // null: none
};

// Where a listener's connections find its runtime of now.
struct ListenSlot {
  std::shared_ptr<const ListenerRuntime> current;  // null: the listener is gone
  std::uint32_t connections = 0;
};

// A snapshot, and the sockets that were opened or handed in for those of its listeners that are new (empty: the worker has it).
struct Update {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<sys::Fd> sockets;
};

class Worker {
 public:
  static Result<std::unique_ptr<Worker>> make(Rng& rng);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Serves on the calling thread until stop().
  void run();
  // Instead of run(), for a worker on a loop of another kind: what there is to do when poll_fd() is readable. True: there is more, after the loop's
  // other work has had its turn. Its thread is the loop's.
  bool turn();
  int poll_fd() const { return poller_.fd(); }
  // Any thread.
  void stop();
  void post(std::move_only_function<void()> work);

  // The worker's thread only, from here on.
  void apply(Update update);
  void reopen_logs();
  // Closes listening sockets and idle connections; busy ones end with their request.
  void begin_drain();
  // Cuts what came in through a listener of another network namespace that is gone: nothing there has anybody left to talk to.
  void cut_orphans();
  std::size_t connections() const { return downstreams_.size(); }
  void append_metrics(std::string& out) const;
  std::string describe_clusters() const;

  // A cluster with names has other endpoints than before.
  void endpoints_changed(Cluster& cluster);

  Tracer& tracer() { return *tracer_; }

  Poller& poller() { return poller_; }
  TimerWheel& wheel() { return wheel_; }
  BlockPool& blocks() { return blocks_; }
  SlabPool& slabs() { return slabs_; }
  PipePool& pipes() { return pipes_; }
  // Null where the kernel, or what we may do, has none: said once, in the log.
  Sockmap* sockmap();
  ExchangePool& exchanges() { return *exchanges_; }
  std::unique_ptr<HeadList> take_head();
  void give_head(std::unique_ptr<HeadList> list);
  // An empty text with the room that an earlier one had.
  std::string take_text();
  void give_text(std::string text);
  Rng& rng() { return rng_; }
  std::uint64_t now_ms() const { return now_ms_; }
  bool draining() const { return draining_; }
  // Of HTTP/2's clients; told: to users of streams, since the loop looked at it.
  struct StreamLoad {
    std::size_t open = 0, told = 0;
  };
  StreamLoad& stream_load() { return stream_load_; }
  // Of bodies that pass and go to a mirror as well.
  std::size_t& mirror_bytes() { return mirror_bytes_; }

  void add(Downstream& downstream);
  void remove(Downstream& downstream);
  // What nobody holds: it dies with the worker, if it has not retired by then.
  void add_stray(Pollable& stray) { strays_.insert(&stray); }
  void remove_stray(Pollable& stray) { strays_.erase(&stray); }
  void log(AccessLogFile& file, const LogFormat& format, const LogRecord& record);

 private:
  struct Posts;
  struct Alarm;
  struct LogFlush final : Timer {
    explicit LogFlush(Worker& owner) : worker(owner) {}
    void on_timer() override;
    Worker& worker;
  };
  // Once a second, while a listener or cluster verifies its peers.
  struct PeerSweep final : Timer {
    explicit PeerSweep(Worker& owner) : worker(owner) {}
    void on_timer() override;
    Worker& worker;
  };
  Worker(Poller poller, sys::Fd wake, Rng& rng);
  void refresh_clock();
  void rest();
  void run_posts();
  void append_tracing(std::string& out) const;
  Result<> open_log(const AccessLogSpec& spec);
  void start_resolver(const std::shared_ptr<Cluster>& cluster);
  std::vector<std::shared_ptr<Cluster>> bind_clusters(const Snapshot& snapshot);
  std::shared_ptr<const ListenerRuntime> bind_listener(const std::shared_ptr<const Snapshot>& snapshot, const std::shared_ptr<const ListenerConfig>& config,
                                                       const std::vector<std::shared_ptr<Cluster>>& clusters);

  Rng& rng_;
  BlockPool blocks_;
  SlabPool slabs_;
  std::vector<std::unique_ptr<HeadList>> heads_;  // to be used again
  std::vector<std::string> texts_;
  PipePool pipes_;
  std::unique_ptr<ExchangePool> exchanges_;
  Poller poller_;
  std::uint64_t now_ms_;
  TimerWheel wheel_;
  LogFlush log_flush_{*this};
  PeerSweep peer_sweep_{*this};
  bool draining_ = false;
  StreamLoad stream_load_;
  std::size_t mirror_bytes_ = 0;
  std::uint64_t told_ms_ = 0;  // the millisecond of told_now_
  std::size_t told_now_ = 0, told_before_ = 0;
  std::atomic<bool> stopped_{false};
  std::unique_ptr<Posts> posts_;
  std::unique_ptr<Alarm> alarm_;  // of turn(); null: run() waits for timers itself
  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<Sockmap> sockmap_;
  bool sockmap_tried_ = false;
  std::vector<Downstream*> downstreams_;
  std::unordered_set<Pollable*> strays_;
  std::shared_ptr<LogWriter> log_writer_;  // null: no listener has had a log
  std::vector<std::shared_ptr<AccessLogFile>> logs_;
  std::unordered_map<std::string, std::shared_ptr<ListenerStats>> listener_stats_;
  std::unordered_map<std::string, std::shared_ptr<ClusterStats>> cluster_stats_;
  std::unordered_map<std::string, std::shared_ptr<RouteStats>> route_stats_;
  std::unordered_map<std::string, std::unique_ptr<ListenSocket>> sockets_;  // by address
  std::vector<std::shared_ptr<Cluster>> clusters_;
  std::vector<std::weak_ptr<Cluster>> leaving_;  // of before, with connections in use perhaps
  std::unordered_map<const Cluster*, std::unique_ptr<HealthChecker>> checkers_;
  std::unordered_map<const Cluster*, std::unique_ptr<ClusterResolver>> resolvers_;
};

}  // namespace monopod::proxy
