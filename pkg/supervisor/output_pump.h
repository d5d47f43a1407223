// Moves container output: from pipes and terminals to log files and attached clients, and clients' input back. Runs on a thread of
// its own, so that a slow disk never holds the supervisor's loop, and gives every stream one bounded read per turn, so that no container
// starves another.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "supervisor/supervisor.h"
#include "sys/fd.h"

namespace monopod::supervisor {

struct PumpStreams {
  sys::Fd stdin_;     // write end, kept open so that the container does not read end of file; empty where stdin is closed
  sys::Fd stdout_;    // read ends
  sys::Fd stderr_;
  sys::Fd terminal;   // instead of the three
  // What an earlier pump had read and not yet passed on:
  std::string stdout_rest;    // an unfinished line
  std::string stderr_rest;
  std::string input_pending;  // input of clients that the process has not taken
};

class OutputPump {
 public:
  // finished(id) is called on the pump's thread once the output of an exited process is in its log.
  explicit OutputPump(std::function<void(const std::string&)> finished);
  ~OutputPump();  // stops the thread; unread output stays in the pipes

  // All of these hand over to the thread and do not wait, but add and reopen_log, which open the log first.
  Result<> add(const std::string& id, const StdioOptions& stdio, PumpStreams streams);
  // The process is gone: drains what is in the pipes, closes, then finished(id). Unknown ids finish at once.
  void finish(const std::string& id);
  // client descriptors: input is read, output written (both non-blocking from here on).
  void attach(const std::string& id, sys::Fd input, sys::Fd output, sys::Fd error);
  Result<> resize(const std::string& id, std::uint16_t columns, std::uint16_t rows);
  // The file is there when this returns; what comes from here on goes to it.
  Result<> reopen_log(const std::string& id, const StdioOptions& stdio);
  // Stops the thread and gives everything back, by id, for another pump to go on with; attached clients are dropped. The last call.
  std::map<std::string, PumpStreams> release();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monopod::supervisor
