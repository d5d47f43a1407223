// The node process: store, API server, controllers, scheduler and agent on one loop. Started by the supervisor.
#pragma once

#include <string>
#include <vector>

#include "cmd/node/server_options.h"
#include "sys/fd.h"

namespace monopod::cmd {

// Listening sockets that were handed in (systemd, trial), already open.
struct NodeSockets {
  std::vector<sys::Fd> inherited;
};

// Runs until the supervisor says stop, or something fails that a restart cannot mend. The error's exit code tells which.
Result<> run_node(const ServerOptions& options, NodeSockets sockets);

}  // namespace monopod::cmd
