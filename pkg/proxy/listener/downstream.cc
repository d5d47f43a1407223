#include "proxy/listener/downstream.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/strings.h"
#include "proxy/codec/proxy_protocol.h"

namespace monopod::proxy {

Downstream::Downstream(Worker& worker, std::shared_ptr<ListenSlot> slot, sys::Fd fd, const Address& remote)
    : worker_(worker), slot_(std::move(slot)), runtime_(slot_->current), stats_(runtime_->stats), socket_(std::move(fd)), remote_(remote) {
  ++slot_->connections;
  stats_->connections_active.add();
  worker_.add(*this);
}

Downstream::Downstream(const Downstream& carrier, std::shared_ptr<StreamPeer> stream)
    : worker_(carrier.worker_), slot_(carrier.slot_), runtime_(slot_->current), stats_(runtime_->stats), remote_(carrier.remote_), step_(Step::kEstablished), counted_(false) {
  peer_ = carrier.peer_;
  client_text_ = carrier.client_text_;
  original_ = carrier.original_;
  socket_.adopt(std::move(stream), carrier.socket_.tls());
  worker_.add(*this);
}

Downstream::Downstream(Downstream& from)
    : worker_(from.worker_), slot_(from.slot_), runtime_(from.runtime_), stats_(from.stats_), remote_(from.remote_), original_(from.original_), peer_(std::move(from.peer_)), step_(Step::kEstablished) {
  socket_.take(from.socket_);
  ++slot_->connections;
  stats_->connections_active.add();
  worker_.add(*this);
  if (!worker_.poller().move(socket_.fd(), *this)) close();
}

Downstream::~Downstream() {
  if (counted_) {
    --slot_->connections;
    stats_->connections_active.subtract();
  }
  worker_.remove(*this);
}

void Downstream::start() {
  arm(worker_.now_ms() + static_cast<std::uint64_t>(runtime_->config->spec.header_timeout.count()));
  if (!worker_.poller().add(socket_.fd(), *this)) close();  // the first event comes at once: it is writable
}

void Downstream::close() {
  if (closed_) return;
  closed_ = true;
  socket_.close();
  worker_.wheel().disarm(*this);
  worker_.poller().retire(this);
}

const Downstream::ClientText& Downstream::client_text() {
  if (!client_text_)
    client_text_ = std::make_shared<const ClientText>(remote_.format(), cat("x-forwarded-for: ", remote_.format_ip(), "\r\nx-forwarded-proto: ", runtime_->config->tls ? "https" : "http", "\r\n"));
  return *client_text_;
}

bool Downstream::read_proxy_header() {
  std::array<char, kProxyHeaderBytesMax> bytes;
  Moved moved = socket_.peek(bytes.data(), bytes.size());
  if (moved.kind == Moved::kBlocked) return false;
  auto header = moved.kind == Moved::kBytes ? parse_proxy_header({bytes.data(), moved.bytes}) : fail(Code::kUnavailable, "end");
  if (!header) return close(), false;
  if (!*header) return false;
  socket_.read(bytes.data(), (*header)->bytes);
  if ((*header)->source) remote_ = *(*header)->source;
  socket_.note(1);  // EPOLLIN: what follows may be there already
  return true;
}

bool Downstream::shake_hands() {
  const ServerTls& tls = *runtime_->config->tls;
  if (!std::exchange(handshake_begun_, true)) socket_.start_tls_server(tls.context());
  Moved moved = socket_.handshake();
  if (moved.kind == Moved::kBlocked) return false;
  bool good = moved.kind == Moved::kBytes;
  bool resumed = good && SSL_session_reused(socket_.ssl()) == 1;
  if (good && !tls.spec().client_ca_pem.empty()) {
    peer_ = std::make_shared<PeerIdentity>(peer_identity(socket_.ssl()));
    peer_->cut_at_ms = cut_time_ms(socket_.ssl(), nullptr, tls.spec().peers.grace, worker_.now_ms());
    good = (tls.spec().spiffe_ids.empty() || is_accepted(tls.spec().spiffe_ids, *peer_)) && !(resumed && is_over(socket_.ssl(), tls.revocations()));
  }
  if (!good) {
    runtime_->stats->handshake_failures.add();
    log::debug("handshake failed", {{"listener", runtime_->config->spec.name}, {"peer", client_text().address}, {"why", socket_.failure()}});
    return close(), false;
  }
  stats_->handshakes.add();
  if (resumed) stats_->handshakes_resumed.add();
  return true;
}

void Downstream::look_up_revocation() {
  if (!peer_ || !counted_ || closed_ || !slot_->current || !slot_->current->config->tls) return;
  const ServerTls& tls = *slot_->current->config->tls;
  if (tls.revocations() == nullptr || socket_.ssl() == nullptr) return;
  peer_->cut_at_ms = std::min(peer_->cut_at_ms, cut_time_ms(socket_.ssl(), tls.revocations(), tls.spec().peers.grace, worker_.now_ms()));
}

void Downstream::cut_if_orphaned() {
  if (!slot_->current && !runtime_->config->spec.netns.empty() && counted_ && !closed_) socket_.cut();
}

bool Downstream::cut_if_over() {
  if (!peer_ || peer_->cut_at_ms > worker_.now_ms() || !counted_ || closed_) return false;
  log::info("connection cut: the client's certificate expired or was revoked", {{"listener", runtime_->config->spec.name}, {"peer", client_text().address}});
  stats_->peers_cut.add();
  peer_->cut_at_ms = kNever;
  socket_.cut();  // what runs on it sees its end, as it would see the client's
  return true;
}

bool Downstream::set_up() {
  if (step_ == Step::kProxyHeader) {
    if (runtime_->config->spec.proxy_protocol && !read_proxy_header()) return false;
    step_ = Step::kHandshake;
  }
  if (runtime_->config->tls && !shake_hands()) return false;
  step_ = Step::kEstablished;
  on_established();
  return !closed_;
}

void Downstream::on_ready(std::uint32_t events) {
  socket_.note(events);
  if (closed_) return;
  if (step_ != Step::kEstablished && !set_up()) return;
  if (!closed_) drive();
}

void Downstream::on_timer() {
  if (closed_) return;
  if (step_ != Step::kEstablished) return close();
  on_deadline();
}

}  // namespace monopod::proxy
