// A request passed on to another server, its answer passed back: bodies flow both ways as they come, upgrades become raw streams.
// Headers of one connection (RFC 9110 section 7.6.1) stay on it.
#pragma once

#include <functional>
#include <string>

#include "http/client.h"
#include "http/exchange.h"

namespace monopod::http {

struct ForwardOptions {
  ClientOptions client{};  // where to; response_timeout does not count: a server may take its time
  std::string target{};    // path and query there, encoded
  std::function<void(Headers& headers)> on_request{};             // last changes of what is sent
  std::function<void(int status, Headers& headers)> on_answer{};  // and of what is given back
};

// An error before the exchange is started: the server could not be reached or did not speak HTTP, and nothing has been answered.
async::Task<Result<>> forward(Exchange& exchange, async::Time& time, ForwardOptions options);

}  // namespace monopod::http
