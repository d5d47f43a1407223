// Readiness of sockets, edge-triggered: a socket is registered once for its life, so that a request costs no call that says what to wait for.
// (Asio's descriptors call epoll_ctl for every wait.) fd() is readable when something is: a loop of another kind may drive poll(0).
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "sys/fd.h"

namespace monopod::proxy {

class Pollable {
 public:
  // epoll's bits. May destroy others only through Poller::retire(): they may stand in the batch being handed out.
  virtual void on_ready(std::uint32_t events) = 0;
  virtual ~Pollable() = default;

 private:
  friend class Poller;
  bool retired_ = false;
  bool queued_ = false;
};

class Poller {
 public:
  static Result<Poller> make();
  ~Poller();
  Poller(Poller&&) = default;

  int fd() const { return epoll_.get(); }
  // Tells of readable, writable, and the peer's end. Closing fd ends it.
  Result<> add(int fd, Pollable& pollable);
  // What was told to another is told to pollable from now on, what is ready already too.
  Result<> move(int fd, Pollable& pollable);
  // Of a socket that was added: tells of the peer's end and of errors alone from now on.
  Result<> watch_end(int fd, Pollable& pollable);
  // Level-triggered, readable only: listening sockets. on: whether it is watched now.
  Result<> watch_readable(int fd, Pollable& pollable);
  void unwatch(int fd);
  // Calls on_ready(0) after this batch: who has done enough for one turn lets others go first.
  void again(Pollable& pollable);
  // Waits up to timeout_ms (-1: forever), calls woken and hands out a batch. What was retired meanwhile is destroyed.
  template <typename F>
  void poll(int timeout_ms, F woken) {
    int n = wait(timeout_ms);
    woken();
    dispatch(n);
  }
  void poll(int timeout_ms) { dispatch(wait(timeout_ms)); }
  // Owns it from now on and destroys it at the end of the batch; it hears nothing more.
  void retire(Pollable* pollable);
  bool has_work() const { return !retired_.empty() || !again_.empty(); }

 private:
  explicit Poller(sys::Fd epoll) : epoll_(std::move(epoll)) {}
  int wait(int timeout_ms);
  void dispatch(int count);
  sys::Fd epoll_;
  std::array<epoll_event, 128> events_;
  std::vector<Pollable*> again_, running_;
  std::vector<Pollable*> retired_, dying_;
};

}  // namespace monopod::proxy
