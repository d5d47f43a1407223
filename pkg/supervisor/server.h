// The supervisor process itself: `monopod server` starts as this, and starts the node process as its child.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::supervisor {

struct ServerOptions {
  std::string run_dir = "/run/monopod/supervisor";  // stdio FIFOs and records; 0700
  std::vector<std::string> argv;                    // our own, to run again as a newer program (SIGHUP); with --check it must only look at its options
  std::vector<std::string> node_argv;               // argv of the node process, run from our own executable
  std::vector<std::string> node_env;                // its environment; MONOPOD_SUPERVISOR_FD is added
  std::vector<std::string> init_argv = {"monopod", "init"};  // argv of the first stage of every container process
  std::vector<int> passed_fds;                      // kept open in the node at the same numbers (LISTEN_FDS)
  int restart_delay_ms_min = 100;
  int restart_delay_ms_max = 10'000;
  int stop_timeout_ms = 90'000;                     // SIGTERM to SIGKILL of the node
};

// SIGHUP: this process executes the file of its program anew (maybe a newer one) and keeps its pid, its children and their logs.
// Blocks until told to stop (SIGTERM, SIGINT) or the node ends for good: exit code 0, or one that a restart cannot mend (EX_USAGE 64,
// EX_DATAERR 65, EX_CONFIG 78), or any before it was ever ready, with no containers there. Returns the exit code for main.
int run_server(ServerOptions options);

}  // namespace monopod::supervisor
