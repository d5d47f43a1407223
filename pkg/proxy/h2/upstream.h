// A connection to an endpoint that speaks HTTP/2, shared by requests: each takes a stream of it, which is an UpstreamConnection to its user. The
// carrier (connect, TLS, identity) is an UpstreamConnection as well; this uses it, and is owned by its endpoint.
#pragma once

#include <memory>
#include <vector>

#include "proxy/h2/core.h"
#include "proxy/upstream/connection.h"

namespace monopod::proxy {

class H2Upstream final : public Pollable, private Timer, private H2Core, private UpstreamUser {
 public:
  // carrier: begun to connect; given back to its cluster at the end.
  explicit H2Upstream(UpstreamConnection& carrier);
  ~H2Upstream() override;
  // False: it is full, ends, or failed.
  bool has_room() const;
  std::shared_ptr<H2Stream> open_stream();
  // No more requests; it ends with those under way.
  void drain();
  std::string failure() const { return carrier_ == nullptr ? failure_ : carrier_->failure(); }

 private:
  void on_ready(std::uint32_t) override { drive(); }
  void on_timer() override;  // not connected for too long, or idle
  void on_upstream_ready() override { drive(); }
  void on_request(const std::shared_ptr<H2Stream>&) override {}
  void on_stream_gone() override { ++freed_; }
  bool connected() const override { return connected_; }
  bool has_waiting() const;  // streams that have sent no head
  void drive();
  bool set_up();
  void end();

  UpstreamConnection* carrier_;
  std::string failure_;
  bool connected_ = false;
  int freed_ = 0;  // streams: there may be room
};

}  // namespace monopod::proxy
