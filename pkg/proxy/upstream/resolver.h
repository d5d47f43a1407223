// Names of endpoints, looked up by the worker itself: a question to the DNS servers (A, then AAAA where there is none), again when the answer's time is
// over. An answer that does not come changes nothing: the addresses before stay.
//
//   name ─► hosts file, else question ─► server 1, 2, … ─► addresses ─► Cluster::set_endpoints ─► after the TTL (ttl_min to ttl_max) again
#pragma once

#include <memory>
#include <vector>

#include "network/address.h"
#include "proxy/io/poller.h"
#include "proxy/io/wheel.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

class ClusterResolver final : private Timer {
 public:
  // before: the resolver of the cluster's configuration before, whose answers are used meanwhile; may be null.
  ClusterResolver(Worker& worker, Cluster& cluster, const ClusterResolver* before);
  ~ClusterResolver();

 private:
  class Lookup;
  struct Name {
    std::vector<network::IpAddress> known;
    std::uint64_t due_ms = 0;
    std::uint32_t failures = 0;  // in a row
    Lookup* running = nullptr;   // the poller owns what is retired
  };
  void on_timer() override;
  void arm_next();
  void on_answer(std::size_t index, std::vector<network::IpAddress> addresses, std::uint64_t ttl_ms);
  void on_failure(std::size_t index, std::string_view why);
  void publish();

  Worker& worker_;
  Cluster& cluster_;
  std::vector<Name> names_;  // of the configuration, by index
};

}  // namespace monopod::proxy
