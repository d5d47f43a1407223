// Waiting for something that another coroutine of the same loop makes true. Level-triggered: wait() returns at once while set.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>

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

// Wakes every coroutine whose wait() was called before; check your condition in a loop around wait(). What counts is the call,
// not the turn in which its task begins to run: with_timeout(..., notify.wait()) begins it later and misses nothing.
class Notify {
 public:
  explicit Notify(Executor executor);
  void wake_all();
  Task<Result<>> wait();  // kCancelled only

 private:
  Task<Result<>> wait_after(std::uint64_t wakes);

  std::uint64_t wakes_ = 0;
  asio::steady_timer waiters_;
};

}  // namespace monopod::async
