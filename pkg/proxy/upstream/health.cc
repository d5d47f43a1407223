#include "proxy/upstream/health.h"

#include "base/log.h"
#include "base/strings.h"
#include "proxy/codec/head.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {

// One check of one endpoint, on a connection of its own.
class HealthChecker::Check final : public Pollable, public Timer {
 public:
  Check(HealthChecker& owner, std::size_t index) : owner_(&owner), worker_(owner.worker_), index_(index) {}

  void start() {
    const Endpoint& endpoint = *owner_->cluster_.endpoints()[index_];
    const HealthCheckSpec& spec = *owner_->cluster_.config().spec.health_check;
    worker_.wheel().arm(*this, worker_.now_ms() + static_cast<std::uint64_t>(spec.timeout.count()));
    if (!spec.path.empty()) request_ = cat("GET ", spec.path, " HTTP/1.1\r\nhost: ", spec.host.empty() ? endpoint.label : spec.host, "\r\nuser-agent: monopod-health\r\nconnection: close\r\n\r\n");
    sys::Fd fd(::socket(endpoint.address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || (::connect(fd.get(), endpoint.address.get(), endpoint.address.size) != 0 && errno != EINPROGRESS)) return end(false);
    if (!worker_.poller().add(fd.get(), *this)) return end(false);
    socket_.adopt(std::move(fd));
  }
  void abandon() {
    owner_ = nullptr;
    retire();
  }
  void on_ready(std::uint32_t events) override {
    socket_.note(events);
    if (owner_ != nullptr) advance();
  }
  void on_timer() override { end(false); }

 private:
  bool prepare() {
    const ClusterConfig& config = owner_->cluster_.config();
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return end(false), false;
      connected_ = true;
      bool by_name = config.tls && config.tls->verifies() && config.spec.tls->spiffe_ids.empty();
      if (config.tls && !socket_.start_tls_client(config.tls->context(), config.tls->server_name(), by_name)) return end(false), false;
    }
    if (!config.tls || shaken_) return true;
    Moved moved = socket_.handshake();
    if (moved.kind == Moved::kFailed || moved.kind == Moved::kEnd) end(false);
    shaken_ = moved.kind == Moved::kBytes;
    return shaken_;
  }
  void advance() {
    if ((!connected_ && !socket_.can_write()) || !prepare()) return;
    if (request_.empty()) return end(true);
    while (sent_ < request_.size()) {
      iovec part{request_.data() + sent_, request_.size() - sent_};
      Moved moved = socket_.write({&part, 1});
      if (moved.kind == Moved::kBlocked) return;
      if (moved.kind != Moved::kBytes) return end(false);
      sent_ += moved.bytes;
    }
    char buffer[4096];
    while (socket_.can_read() && answer_.size() < kHeadBytesMax) {
      Moved moved = socket_.read(buffer, sizeof buffer);
      if (moved.kind == Moved::kBlocked) return;
      if (moved.kind != Moved::kBytes) return end(false);
      answer_.append(buffer, moved.bytes);
      auto head = std::make_unique<Head>();
      Parsed parsed = parse_response_head(answer_.data(), answer_.size(), false, *head);
      if (parsed != Parsed::kPartial) return end(parsed == Parsed::kDone && head->status >= 200 && head->status < 300);
    }
  }
  void end(bool good) {
    HealthChecker* owner = std::exchange(owner_, nullptr);
    if (owner == nullptr) return;
    owner->running_[index_] = nullptr;
    owner->report(*owner->cluster_.endpoints()[index_], index_, good);
    retire();
  }
  void retire() {
    socket_.close();
    worker_.wheel().disarm(*this);
    worker_.poller().retire(this);
  }

  HealthChecker* owner_;
  Worker& worker_;
  std::size_t index_;
  Socket socket_;
  std::string request_, answer_;
  std::size_t sent_ = 0;
  bool connected_ = false, shaken_ = false;
};

HealthChecker::HealthChecker(Worker& worker, Cluster& cluster) : worker_(worker), cluster_(cluster), running_(cluster.endpoints().size()), streaks_(cluster.endpoints().size()) {
  worker_.wheel().arm(*this, worker_.now_ms());
}

HealthChecker::~HealthChecker() {
  for (Check* check : running_)
    if (check != nullptr) check->abandon();
}

void HealthChecker::on_timer() {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (running_[i] != nullptr) continue;  // the last one still runs: the timeout is longer than the interval
    running_[i] = std::make_unique<Check>(*this, i).release();
    running_[i]->start();
  }
  worker_.wheel().arm(*this, worker_.now_ms() + static_cast<std::uint64_t>(std::max<std::int64_t>(10, cluster_.config().spec.health_check->interval.count())));
}

void HealthChecker::report(Endpoint& endpoint, std::size_t index, bool good) {
  const HealthCheckSpec& spec = *cluster_.config().spec.health_check;
  std::int32_t& streak = streaks_[index];
  streak = good ? std::max(streak, 0) + 1 : std::min(streak, 0) - 1;
  bool healthy = endpoint.healthy;
  if (good && streak >= static_cast<std::int32_t>(spec.healthy_threshold)) healthy = true;
  if (!good && -streak >= static_cast<std::int32_t>(spec.unhealthy_threshold)) healthy = false;
  if (healthy == endpoint.healthy) return;
  endpoint.healthy = healthy;
  if (healthy) endpoint.since_ms = worker_.now_ms();
  log::warn(healthy ? "endpoint is healthy again" : "endpoint is unhealthy", {{"cluster", cluster_.config().spec.name}, {"endpoint", endpoint.label}});
}

}  // namespace monopod::proxy
