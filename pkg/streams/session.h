// exec and attach: the streams of a client (http/remote_command.h) joined to those of a container, for whoever serves them: the node's own API, CRI's
// streaming server.
#pragma once

#include <string>
#include <vector>

#include "async/time.h"
#include "container/runtime.h"
#include "http/exchange.h"
#include "http/remote_command.h"

namespace monopod::streams {

struct Request {
  std::string container_id;          // of the runtime
  std::vector<std::string> command;  // exec only
  http::RemoteStreams streams;
};

// Both answer the exchange and return once the program, the container or the client is gone. kInvalidArgument, before anything is sent, where the
// client asked for no upgrade. What could not be started ends like a shell's "not found", on the error stream. References outlive the task.
async::Task<Result<>> serve_exec(async::Time& time, container::Runtime& containers, http::Exchange& exchange, Request request);
// terminal: the container has one.
async::Task<Result<>> serve_attach(async::Time& time, container::Runtime& containers, http::Exchange& exchange, Request request, bool terminal);

}  // namespace monopod::streams
