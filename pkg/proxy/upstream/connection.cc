#include "proxy/upstream/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "network/intercept.h"
#include "proxy/listener/worker.h"
#include "proxy/h2/stream.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

UpstreamConnection::UpstreamConnection(std::shared_ptr<Cluster> cluster, Endpoint& endpoint, std::shared_ptr<H2Stream> stream)
    : cluster_(std::move(cluster)), endpoint_(endpoint), stream_(stream.get()), step_(stream_->connected() ? Step::kReady : Step::kStream) {
  ++endpoint_.connections;
  socket_.adopt(std::move(stream), cluster_->config().tls != nullptr);
}

UpstreamConnection::UpstreamConnection(std::shared_ptr<Cluster> cluster, Endpoint& endpoint) : cluster_(std::move(cluster)), endpoint_(endpoint) { ++endpoint_.connections; }

UpstreamConnection::~UpstreamConnection() {
  --endpoint_.connections;
  if (stream_ == nullptr) cluster_->closed(this, in_list_);
}

Result<> UpstreamConnection::connect(const Address* source) {
  const Address& to = endpoint_.address;
  TRY_ASSIGN(sys::Fd fd, make_socket(to.storage.ss_family, cluster_->config().netns.get()));
  int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const std::uint32_t mark = cluster_->config().spec.mark | (source != nullptr ? network::kTransparentMark : 0);
  if (mark != 0 && ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) return fail_errno("mark socket");
  if (source != nullptr) TRY(come_from(fd.get(), *source, to));
  if (::connect(fd.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) return fail_errno("connect");
  TRY(cluster_->worker().poller().add(fd.get(), *this));
  socket_.adopt(std::move(fd));
  return {};
}

UpstreamConnection::Progress UpstreamConnection::start_tls() {
  const http::TlsClient& tls = *cluster_->config().tls;
  // An identity by URI replaces the name: SPIFFE's certificates carry none.
  bool by_name = tls.verifies() && cluster_->config().spec.tls->spiffe_ids.empty();
  if (Result<> started = socket_.start_tls_client(tls.context(), tls.server_name(), by_name); !started) return fail_with(started.error().message());
  if (cluster_->config().spec.tls->resume) {
    SSL_set_app_data(socket_.ssl(), &endpoint_.session);
    if (endpoint_.session.session) resume(socket_.ssl(), endpoint_.session);
  }
  static constexpr unsigned char kH2[] = {2, 'h', '2'};
  if (cluster_->config().spec.http2) SSL_set_alpn_protos(socket_.ssl(), kH2, sizeof kH2);
  step_ = Step::kHandshake;
  return handshake();
}

UpstreamConnection::Progress UpstreamConnection::handshake() {
  Moved moved = socket_.handshake();
  if (moved.kind == Moved::kBlocked) return Progress::kWaiting;
  if (moved.kind != Moved::kBytes) return fail_with(cat("handshake: ", socket_.failure()));
  const ClientTlsSpec& spec = *cluster_->config().spec.tls;
  if (spec.verify && !spec.spiffe_ids.empty() && !is_accepted(spec.spiffe_ids, peer_identity(socket_.ssl()))) return fail_with("handshake: the peer's SPIFFE id is not accepted");
  bool resumed = SSL_session_reused(socket_.ssl()) == 1;
  if (spec.verify && resumed && is_over(socket_.ssl(), cluster_->config().revocations.get())) {
    endpoint_.session.session.reset();
    return fail_with("handshake: the peer's certificate is over");
  }
  cluster_->stats().handshakes.add();
  if (resumed) cluster_->stats().handshakes_resumed.add();
  if (spec.verify) {
    cut_at_ms_ = cut_time_ms(socket_.ssl(), nullptr, spec.peers.grace, cluster_->worker().now_ms());
    in_list_ = true;
    cluster_->shaken(*this);
  }
  step_ = Step::kReady;
  return Progress::kReady;
}

UpstreamConnection::Progress UpstreamConnection::advance() {
  if (step_ == Step::kReady) return Progress::kReady;
  if (step_ == Step::kStream) {
    if (stream_->lost()) return fail_with("the connection it shares is lost");
    std::optional<bool> takes = awaits_extended_connect_ ? stream_->takes_extended_connect() : true;
    if (!stream_->connected() || !takes) return Progress::kWaiting;
    lacks_extended_connect_ = !*takes;
    if (lacks_extended_connect_) return fail_with("the endpoint does not announce SETTINGS_ENABLE_CONNECT_PROTOCOL");
    step_ = Step::kReady;
    return Progress::kReady;
  }
  if (step_ == Step::kHandshake) return handshake();
  if (step_ == Step::kConnecting) {
    if (!socket_.can_write()) return Progress::kWaiting;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_with(cat("connect: ", std::strerror(error)));
    step_ = Step::kPreface;
    has_preface_ = !preface_.empty();
  }
  while (preface_sent_ < preface_.size()) {
    iovec part{preface_.data() + preface_sent_, preface_.size() - preface_sent_};
    Moved moved = socket_.write({&part, 1});
    if (moved.kind == Moved::kBlocked) return Progress::kWaiting;
    if (moved.kind != Moved::kBytes) return fail_with(socket_.failure());
    preface_sent_ += moved.bytes;
  }
  preface_ = {};
  if (cluster_->config().tls) return start_tls();
  step_ = Step::kReady;
  return Progress::kReady;
}

void UpstreamConnection::look_up_revocation(const Revocations& revocations, Milliseconds grace) {
  cut_at_ms_ = std::min(cut_at_ms_, cut_time_ms(socket_.ssl(), &revocations, grace, cluster_->worker().now_ms()));
}

void UpstreamConnection::cut_if_over() {
  if (cut_at_ms_ > cluster_->worker().now_ms()) return;
  cut_at_ms_ = kNever;
  cluster_->stats().peers_cut.add();
  socket_.cut();
}

void UpstreamConnection::on_ready(std::uint32_t events) {
  socket_.note(events);
  if (user_ != nullptr) return user_->on_upstream_ready();
  // Idle: bytes that nobody asked for, or the end. Mere writability says nothing.
  if (ready() && socket_.can_read()) cluster_->give(this, false);
}

void UpstreamConnection::on_timer() {
  if (user_ == nullptr) cluster_->give(this, false);
}

}  // namespace monopod::proxy
