// A listening socket of a worker: accepts, and makes of each connection a Downstream.
#pragma once

#include <memory>

#include "proxy/io/poller.h"
#include "proxy/io/wheel.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {

class ListenSocket final : public Pollable, public Timer {
 public:
  ListenSocket(Worker& worker, sys::Fd fd) : worker_(worker), fd_(std::move(fd)), slot_(std::make_shared<ListenSlot>()) {}
  Result<> start() { return worker_.poller().watch_readable(fd_.get(), *this); }
  // Listens no more, from now on.
  void stop() { fd_.reset(); }
  // How it is to be from now on, where that is another way than it was opened.
  Result<> be_transparent(bool is_v6, bool on) { return set_transparent(fd_.get(), is_v6, on); }
  ListenSlot& slot() { return *slot_; }

  void on_ready(std::uint32_t events) override;
  // Out of descriptors: it looks again after a pause.
  void on_timer() override;

 private:
  void accept_one(sys::Fd fd, const Address& remote);
  Worker& worker_;
  sys::Fd fd_;
  std::shared_ptr<ListenSlot> slot_;
};

}  // namespace monopod::proxy
