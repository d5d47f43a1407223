// Active checks of a cluster's endpoints: a connection, or a GET whose answer is 2xx, every interval. The verdict changes after so many results in a row.
#pragma once

#include <memory>
#include <vector>

#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

class HealthChecker final : private Timer {
 public:
  HealthChecker(Worker& worker, Cluster& cluster);
  ~HealthChecker();

 private:
  class Check;
  void on_timer() override;
  void report(Endpoint& endpoint, std::size_t index, bool good);

  Worker& worker_;
  Cluster& cluster_;
  std::vector<Check*> running_;            // by endpoint; null: none. The poller owns what is retired
  std::vector<std::int32_t> streaks_;      // good results in a row, or bad ones below zero
};

}  // namespace monopod::proxy
