// The server's side of Kubernetes' port-forward: connections that a client wants carried to a port, over whichever protocol it speaks.
//
//   WebSocket "SPDY/3.1+portforward.k8s.io" (KEP-4006), or HTTP/1.1 upgrade to SPDY/3.1 with X-Stream-Protocol-Version: portforward.k8s.io:
//     two streams per connection, headers streamtype (error, data), port, requestid
//   WebSocket "v4.channel.k8s.io", "portforward.k8s.io" or no subprotocol: the query names the ports; channel 2i is the data and 2i+1 the
//     error of the i-th, each begins with the port as two bytes, lowest first
#pragma once

#include <memory>
#include <string>

#include "async/scope.h"
#include "async/stream.h"
#include "async/time.h"
#include "http/exchange.h"

namespace monopod::http {

struct ForwardedConnection {
  std::uint16_t port = 0;
  std::unique_ptr<async::Stream> data;
  std::unique_ptr<async::Stream> error;  // what is written here the client shows; its end says that all is over
};

class PortForward {
 public:
  virtual ~PortForward() = default;  // drops the connection
  // The next one; kUnavailable once the client is gone, or everything it asked for is over.
  virtual async::Task<Result<ForwardedConnection>> next() = 0;
};

// Upgrades the exchange, or answers why not: then null, and there is nothing more to do. Work runs in scope, which must be joined before the
// handler returns, and so must be everything that next() gave. time outlives scope.
async::Task<Result<std::unique_ptr<PortForward>>> accept_port_forward(Exchange& exchange, async::Time& time, async::Scope& scope);

}  // namespace monopod::http
