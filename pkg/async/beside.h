// Private: a task on a thread of execution of its own, and who waits for it.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>

#include "async/task.h"

namespace monopod::async {

// Outlives the task: wait on `woken` until `ended`.
struct Beside {
  Beside(Executor executor, asio::steady_timer::time_point until) : woken(executor, until) {}
  void start(Executor executor, Task<> task);

  asio::steady_timer woken;          // cancelled by the task's end
  asio::cancellation_signal signal;  // asks it to end; nothing else does
  bool ended = false;
  std::exception_ptr thrown;
};

}  // namespace monopod::async
