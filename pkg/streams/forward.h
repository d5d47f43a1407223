// port-forward: each connection of a client (http/port_forward.h) joined to one of a pod's own loopback.
#pragma once

#include <string>

#include "async/pool.h"
#include "async/time.h"
#include "http/exchange.h"

namespace monopod::streams {

struct ForwardTarget {
  async::Time& time;
  async::Pool& pool;
  std::string network_path;  // the pinned namespace; empty: the node's own
  std::string pod;           // for the texts of errors
  std::string uid;
};
// Answers the exchange and returns once the client is gone. References outlive the task.
async::Task<Result<>> serve_port_forward(http::Exchange& exchange, ForwardTarget target);

}  // namespace monopod::streams
