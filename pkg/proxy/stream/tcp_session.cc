#include "proxy/stream/tcp_session.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "proxy/codec/client_hello.h"
#include "proxy/codec/proxy_protocol.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

bool is_among(const std::vector<Cidr>& prefixes, const Address& address) {
  unsigned char ip[16];
  address.copy_ip(ip);
  return prefixes.empty() || std::ranges::any_of(prefixes, [&ip](const Cidr& prefix) { return prefix.contains(ip); });
}

constexpr std::uint32_t kAttemptsMax = 3;

std::uint64_t count_ms(Milliseconds ms) { return static_cast<std::uint64_t>(ms.count()); }

}  // namespace

std::string proxy_preface(const ClusterSpec& cluster, const Address& source, int client_fd) {
  if (cluster.proxy_protocol == ClusterSpec::ProxyProtocol::kNone) return {};
  Address local = Address::of(client_fd).value_or(Address());
  return cluster.proxy_protocol == ClusterSpec::ProxyProtocol::kV1 ? format_proxy_v1(source, local) : format_proxy_v2(source, local);
}

TcpSession::TcpSession(Worker& worker, std::shared_ptr<ListenSlot> slot, sys::Fd fd, const Address& remote)
    : Downstream(worker, std::move(slot), std::move(fd), remote), begun_ms_(worker.now_ms()), last_moved_ms_(worker.now_ms()) {}

TcpSession::~TcpSession() {
  if (upstream_ != nullptr) cluster_->give(upstream_, false);
  if (cluster_) cluster_->stop_waiting(*this);
}

void TcpSession::on_established() {}

bool TcpSession::choose() {
  const ListenerConfig& config = *runtime_->config;
  std::size_t index = config.tcp_cluster;
  if (!config.sni.empty()) {
    char* slab = worker_.slabs().take();
    Moved moved = socket_.can_read() ? socket_.peek(slab, kSlabBytes) : Moved{Moved::kBlocked};
    ServerName name = moved.kind == Moved::kBytes ? find_server_name({slab, moved.bytes}) : ServerName{};
    worker_.slabs().give(slab);
    if (moved.kind == Moved::kBlocked || (moved.kind == Moved::kBytes && name.kind == ServerName::kPartial)) return false;
    if (moved.kind != Moved::kBytes) return finish("client_closed"), false;
    auto found = config.sni.find(name.name);
    std::size_t dot = name.name.find('.');
    if (found == config.sni.end() && dot != std::string::npos) found = config.sni.find(cat("*", std::string_view(name.name).substr(dot)));
    if (found != config.sni.end()) index = found->second;
  }
  if (index == kNoCluster) return finish("no_route"), false;
  cluster_ = runtime_->clusters[index];
  return connect();
}

bool TcpSession::connect() {
  endpoint_ = cluster_->pick(worker_.rng().next(), endpoint_.get(), original_.get());
  if (endpoint_ == nullptr && cluster_->awaits_names() && cluster_->wait(*this)) {
    phase_ = Phase::kCapacity;
    return false;
  }
  if (endpoint_ == nullptr) return finish("no_endpoint"), false;
  ++attempts_;
  std::optional<std::string> failed;
  upstream_ = cluster_->take(*endpoint_, true, failed, &remote_);
  if (failed) return connect_failed(*failed), false;
  if (upstream_ == nullptr) {
    phase_ = Phase::kCapacity;
    if (cluster_->wait(*this)) return false;
    cluster_->stats().overflows.add();
    return finish("overflow"), false;
  }
  upstream_->set_user(this);
  upstream_->set_preface(proxy_preface(cluster_->config().spec, remote_, socket_.fd()));
  phase_ = Phase::kConnecting;
  arm(worker_.now_ms() + count_ms(cluster_->config().spec.connect_timeout));
  return true;
}

void TcpSession::connect_failed(std::string_view why) {
  log::debug("connect failed", {{"cluster", cluster_->config().spec.name}, {"endpoint", endpoint_->label}, {"why", why}});
  cluster_->stats().connect_failures.add();
  cluster_->observe(*endpoint_, 0);
  if (upstream_ != nullptr) cluster_->give(std::exchange(upstream_, nullptr), false);
  if (attempts_ >= kAttemptsMax) return finish("connect_failed");
  connect();
  worker_.poller().again(*this);
}

void TcpSession::on_capacity() {
  phase_ = Phase::kChoosing;
  worker_.poller().again(*this);
}

void TcpSession::drive() {
  if (closed()) return;
  if (phase_ == Phase::kChoosing && !(cluster_ ? connect() : choose())) return;
  if (phase_ == Phase::kConnecting) {
    switch (upstream_->advance()) {
      case UpstreamConnection::Progress::kWaiting: return;
      case UpstreamConnection::Progress::kFailed: return connect_failed(upstream_->failure());
      case UpstreamConnection::Progress::kReady: break;
    }
    phase_ = Phase::kOpen;
    if (!cluster_->begin_request(*endpoint_)) {
      cluster_->stats().overflows.add();
      endpoint_ = nullptr;
      return finish("overflow");
    }
    cluster_->observe(*endpoint_, 200);
    duplex_ = std::make_unique<Duplex>(worker_.slabs(), worker_.pipes());
    arm(idle_due());
  }
  if (phase_ == Phase::kOpen) pump();
}

std::uint64_t TcpSession::idle_due() const { return last_moved_ms_ + std::max(kTunnelIdleMsMin, count_ms(runtime_->config->spec.idle_timeout)); }

void TcpSession::try_to_join() {
  Socket& upstream = upstream_->socket();
  bool possible = runtime_->config->spec.sockmap && !join_refused_ && !runtime_->config->spec.proxy_protocol && socket_.can_splice() && upstream.can_splice();
  if (!possible || !duplex_->up.is_empty() || !duplex_->down.is_empty() || socket_.peer_ended() || upstream.peer_ended()) return;
  join_refused_ = true;  // one try
  const std::vector<Cidr>& peers = runtime_->config->sockmap_peers;
  Sockmap* map = is_among(peers, remote_) && is_among(peers, endpoint_->address) ? worker_.sockmap() : nullptr;
  if (map == nullptr) return;
  Result<std::unique_ptr<Joined>> joined = Joined::make(*map, socket_, upstream, {.first = duplex_->up.moved(), .second = duplex_->down.moved()}, *this);
  if (!joined) return finish("reset");
  if (!*joined) return;
  joined_ = std::move(*joined);
  // Segments no longer concern us; an end that comes now is told as the interest changes.
  if (!worker_.poller().watch_end(socket_.fd(), *this) || !worker_.poller().watch_end(upstream.fd(), *upstream_)) return finish("reset");
  stats_->joined.add();
  pump_joined();
}

void TcpSession::pump_joined() {
  switch (joined_->step()) {
    case Joined::Outcome::kFailed: return finish("reset");
    case Joined::Outcome::kEnded: return finish("closed");
    case Joined::Outcome::kTick: return arm(worker_.now_ms() + kJoinTickMs);
    case Joined::Outcome::kWaiting: return arm(idle_due());
  }
}

void TcpSession::pump() {
  if (joined_) return pump_joined();
  std::uint64_t before = duplex_->moved();
  Duplex::Outcome outcome = duplex_->pump(socket_, upstream_->socket());
  if (duplex_->moved() != before) last_moved_ms_ = worker_.now_ms();
  switch (outcome) {
    case Duplex::Outcome::kFailed: return finish("reset");
    case Duplex::Outcome::kEnded: return finish("closed");
    case Duplex::Outcome::kCut: return finish("cut");
    case Duplex::Outcome::kBusy: return worker_.poller().again(*this);
    case Duplex::Outcome::kWaiting: return try_to_join();
  }
}

void TcpSession::on_deadline() {
  if (phase_ == Phase::kConnecting) {
    cluster_->stats().timeouts.add();
    return connect_failed("timed out");
  }
  if (joined_) {
    if (std::uint64_t now = joined_->up_bytes() + joined_->down_bytes(); now != std::exchange(joined_bytes_, now)) last_moved_ms_ = worker_.now_ms();
    if (worker_.now_ms() < idle_due()) return pump_joined();
  }
  if (phase_ == Phase::kOpen && worker_.now_ms() < idle_due()) return arm(idle_due());
  finish("idle_timeout");
}

void TcpSession::finish(std::string_view details) {
  if (closed()) return;
  std::uint64_t up = bytes_up(), down = bytes_down();
  stats_->bytes_received.add(up);
  stats_->bytes_sent.add(down);
  if (phase_ == Phase::kOpen && endpoint_ != nullptr) cluster_->end_request(*endpoint_);
  if (runtime_->log) {
    std::uint64_t duration = worker_.now_ms() - begun_ms_;
    worker_.log(*runtime_->log, runtime_->config->log_format,
                {.start = RealClock().wall() - Milliseconds(duration), .protocol = "TCP", .details = details, .upstream_host = endpoint_ != nullptr ? std::string_view(endpoint_->label) : std::string_view(),
                 .upstream_cluster = cluster_ ? std::string_view(cluster_->config().spec.name) : std::string_view(), .remote_address = client_text().address,
                 .peer_uri = peer_ && !peer_->uris.empty() ? std::string_view(peer_->uris.front()) : std::string_view(), .listener = runtime_->config->spec.name, .bytes_received = up, .bytes_sent = down, .duration_ms = duration,
                 .attempts = attempts_});
  }
  if (upstream_ != nullptr) cluster_->give(std::exchange(upstream_, nullptr), false);
  close();
}

}  // namespace monopod::proxy
