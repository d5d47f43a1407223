#include "proxy/h2/upstream.h"

#include <sys/epoll.h>

#include <algorithm>

#include "proxy/h2/downstream.h"
#include "proxy/limits.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

H2Upstream::H2Upstream(UpstreamConnection& carrier) : H2Core(carrier.cluster().worker(), carrier.socket(), *this, Side::kClient), carrier_(&carrier) {
  carrier.set_user(this);
  worker().wheel().arm(*this, worker().now_ms() + static_cast<std::uint64_t>(carrier.cluster().config().spec.connect_timeout.count()));
}

H2Upstream::~H2Upstream() {
  worker().wheel().disarm(*this);
  if (carrier_ != nullptr) carrier_->cluster().give(carrier_, false);
}

bool H2Upstream::has_room() const {
  if (carrier_ == nullptr || leaving()) return false;
  return stream_count() + unsent_count() < std::min(kStreamsMax, connected_ ? peer_streams_max() : kStreamsMax);
}

std::shared_ptr<H2Stream> H2Upstream::open_stream() {
  if (connected_) worker().wheel().disarm(*this);
  auto stream = std::allocate_shared<H2Stream>(BlockAllocator<H2Stream>(worker().blocks()), static_cast<H2Core&>(*this));
  add_unsent(stream);
  return stream;
}

bool H2Upstream::set_up() {
  switch (carrier_->advance()) {
    case UpstreamConnection::Progress::kWaiting: return true;
    case UpstreamConnection::Progress::kFailed: failure_ = carrier_->failure(); return false;
    case UpstreamConnection::Progress::kReady: break;
  }
  if (carrier_->socket().tls() && !is_http2(carrier_->socket().ssl())) {
    failure_ = "handshake: the endpoint does not speak HTTP/2";
    return false;
  }
  open();
  connected_ = true;
  worker().wheel().disarm(*this);
  note_unsent();
  return true;
}

bool H2Upstream::has_waiting() const {
  return std::ranges::any_of(unsent(), [](const auto& stream) { return stream->user() != nullptr; });
}

void H2Upstream::drive() {
  if (carrier_ == nullptr) return;
  if (!connected_ && !set_up()) return end();
  if (!connected_) return;
  if (!turn()) return end();
  for (int freed = std::exchange(freed_, 0); freed > 0; --freed) carrier_->cluster().tell_room();
  bool idle_now = idle() && !has_waiting();
  if (idle_now && leaving()) return end();
  if (idle_now) worker().wheel().arm(*this, worker().now_ms() + static_cast<std::uint64_t>(carrier_->cluster().config().spec.idle_timeout.count()));
}

void H2Upstream::drain() {
  if (!connected_) return end();
  go_away();
  worker().poller().again(*this);
}

void H2Upstream::on_timer() {
  if (!connected_) failure_ = "connect: timed out";
  if (!connected_ || (idle() && !has_waiting())) drain();
}

void H2Upstream::end() {
  if (carrier_ == nullptr) return;
  if (failure_.empty()) failure_ = carrier_->failure();
  UpstreamConnection* carrier = std::exchange(carrier_, nullptr);
  connected_ = false;
  auto cluster = carrier->shared_cluster();
  Endpoint& endpoint = carrier->endpoint();
  std::erase(endpoint.http2, this);
  fail_all();
  cluster->give(carrier, false);
  worker().wheel().disarm(*this);
  worker().poller().retire(this);
}

}  // namespace monopod::proxy
