// Waiting for something that another coroutine of the same loop makes true. Level-triggered: wait() returns at once while set.
#pragma once

#include <boost/asio/steady_timer.hpp>

#include "async/task.h"

namespace monopod::async {

class Event {
 public:
  explicit Event(Executor executor);

  void set();
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

  // Fails only with kCancelled. forever: the setter decides; bound it with with_timeout.
  Task<Result<>> wait();

 private:
  bool set_ = false;
  asio::steady_timer waiters_;
};

// Wakes every coroutine that waits now, and remembers nothing: check your condition in a loop around wait().
class Notify {
 public:
  explicit Notify(Executor executor);
  void wake_all();
  Task<Result<>> wait();  // kCancelled only

 private:
  asio::steady_timer waiters_;
};

}  // namespace monopod::async
