// A request of the proxy's own to a cluster: a filter asks, a copy goes to a mirror, spans go to a collector. It takes part in the cluster's balancing,
// limits and pools as clients' requests do. The answer is read whole, up to a bound.
#pragma once

#include <memory>
#include <string>

#include "proxy/codec/chunked.h"
#include "proxy/io/poller.h"
#include "proxy/io/wheel.h"
#include "proxy/upstream/cluster.h"
#include "proxy/upstream/side_message.h"

namespace monopod::proxy {

class SideCallUser {
 public:
  // Comes from within a turn of the worker's loop: it may only take note.
  virtual void on_side_answer(SideAnswer answer) = 0;

 protected:
  ~SideCallUser() = default;
};

// Lives until it is over, and retires itself. The handle that start() gives abandons it: the user hears nothing more.
class SideCall final : public Pollable, public Timer, private UpstreamUser, private Waiter {
 public:
  struct Abandon {
    void operator()(SideCall* call) const { call->abandon(); }
  };
  using Handle = std::unique_ptr<SideCall, Abandon>;
  // user: outlives the handle.
  static Handle start(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout, SideCallUser& user);
  // Nobody waits for the answer.
  static void send(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout);

 private:
  SideCall(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout, SideCallUser* user);
  ~SideCall() override;
  void abandon();
  void on_ready(std::uint32_t) override { drive(); }
  void on_timer() override { end("timed out"); }
  void on_upstream_ready() override { drive(); }
  void on_capacity() override;
  void drive();
  bool begin();  // picks and connects
  bool write();
  bool write_stream();
  bool read();
  bool read_stream();
  bool read_head();
  bool read_body();
  void failed(std::string why);  // the connection: once more on a new one, or the end
  void release(bool reusable);
  void end(std::string failure);
  void over();

  std::shared_ptr<Cluster> cluster_;
  SideCallUser* user_;
  std::string request_;
  EndpointPin endpoint_;
  UpstreamConnection* upstream_ = nullptr;
  std::size_t sent_ = 0;
  std::string input_;  // bytes of the body that no decoder has taken
  SideAnswer answer_;
  std::uint64_t left_ = 0;
  ChunkedBody chunked_;
  std::uint64_t begun_ms_ = 0;
  bool fresh_ = false, over_ = false, counted_ = false;
  bool unchunked_ = false;  // the request's body is content now
};

}  // namespace monopod::proxy
