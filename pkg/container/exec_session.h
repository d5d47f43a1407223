// A process running in a container beside its program: streams and exit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/event.h"
#include "container/runtime.h"

namespace monopod::container {

// Shared between the runtime, which hears of exits, and the session.
struct ExecExit {
  explicit ExecExit(async::Executor executor) : done(executor) {}
  async::Event done;
  ExecResult result;
};

struct ExecStreams {
  std::unique_ptr<async::Stream> stdin_stream;
  std::unique_ptr<async::Stream> stdout_stream;
  std::unique_ptr<async::Stream> stderr_stream;
  sys::Fd terminal;  // instead of the three
};

// Our ends into ours; returns the process's three.
Result<std::vector<sys::Fd>> make_exec_pipes(async::Executor executor, bool stdin_open, ExecStreams& ours);

std::unique_ptr<ExecSession> make_exec_session(async::Executor executor, supervisor::Supervisor& supervisor, std::string id, int pid, std::shared_ptr<ExecExit> exit,
                                               ExecStreams streams);

}  // namespace monopod::container
