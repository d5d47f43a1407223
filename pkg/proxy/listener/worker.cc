#include "proxy/listener/worker.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/metrics_text.h"
#include "base/strings.h"
#include "proxy/io/sockmap.h"
#include "proxy/listener/downstream.h"
#include "proxy/limits.h"
#include "proxy/listener/listen_socket.h"
#include "proxy/observe/tracing.h"
#include "proxy/stream/exchange.h"
#include "proxy/upstream/health.h"
#include "proxy/upstream/resolver.h"

namespace monopod::proxy {
namespace {

std::uint64_t read_clock_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

template <typename T>
std::shared_ptr<T> find_or_make(std::unordered_map<std::string, std::shared_ptr<T>>& map, const std::string& name) {
  std::shared_ptr<T>& entry = map[name];
  if (!entry) entry = std::make_shared<T>();
  return entry;
}

}  // namespace

// Work from other threads; an eventfd wakes the worker.
struct Worker::Posts final : Pollable {
  Posts(Worker& owner, sys::Fd fd) : worker(owner), wake(std::move(fd)) {}
  void on_ready(std::uint32_t) override { worker.run_posts(); }
  Worker& worker;
  sys::Fd wake;
  std::mutex mutex;
  std::vector<std::move_only_function<void()>> queue;
};

// Makes poll_fd() readable when a timer is due. A deadline that moved away costs nothing: it goes off early, and is set anew.
struct Worker::Alarm final : Pollable {
  explicit Alarm(sys::Fd fd) : timer(std::move(fd)) {}
  void on_ready(std::uint32_t) override {
    std::uint64_t count = 0;
    [[maybe_unused]] ssize_t n = ::read(timer.get(), &count, sizeof count);
    due_ms = kNever;
  }
  void set(std::uint64_t now, std::uint64_t next) {
    if (next >= due_ms) return;
    due_ms = next;
    std::uint64_t wait = next <= now ? 1 : next - now;
    itimerspec when{.it_interval = {}, .it_value = {.tv_sec = static_cast<time_t>(wait / 1000), .tv_nsec = static_cast<long>(wait % 1000 * 1'000'000)}};
    ::timerfd_settime(timer.get(), 0, &when, nullptr);
  }
  sys::Fd timer;
  std::uint64_t due_ms = kNever;
};

Worker::Worker(Poller poller, sys::Fd wake, Rng& rng)
    : rng_(rng), exchanges_(std::make_unique<ExchangePool>()), poller_(std::move(poller)), now_ms_(read_clock_ms()), wheel_(now_ms_), posts_(std::make_unique<Posts>(*this, std::move(wake))), tracer_(std::make_unique<Tracer>(*this)) {}

Result<std::unique_ptr<Worker>> Worker::make(Rng& rng) {
  TRY_ASSIGN(Poller poller, Poller::make());
  sys::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno("create eventfd");
  std::unique_ptr<Worker> out(new Worker(std::move(poller), std::move(wake), rng));
  TRY(out->poller_.watch_readable(out->posts_->wake.get(), *out->posts_));
  return out;
}

Worker::~Worker() {
  checkers_.clear();
  resolvers_.clear();
  sockets_.clear();
  for (Downstream* downstream : std::vector<Downstream*>(downstreams_)) poller_.retire(downstream);
  tracer_ = nullptr;
  for (Pollable* stray : strays_) poller_.retire(stray);
  for (auto& cluster : clusters_) cluster->drain();
  for (int turn = 0; turn < 100 && poller_.has_work(); ++turn) poller_.poll(0);
}

void Worker::refresh_clock() { now_ms_ = read_clock_ms(); }

// Many streams run and little came: more is about to, and each time costs a call for each connection that it came from and goes to, whatever there is
// to be moved. Nothing waits for this that was there before, and who is alone does not come here: as network cards moderate their interrupts. A
// few microseconds for each stream are a small part of what its request takes at the least, as all of them pass here one after the other.
void Worker::rest() {
  std::size_t told = std::exchange(stream_load_.told, 0);
  if (now_ms_ != told_ms_) {
    told_before_ = now_ms_ == told_ms_ + 1 ? told_now_ : 0;
    told_now_ = 0;
    told_ms_ = now_ms_;
  }
  told_now_ += told;
  bool rushes = std::max(told_now_, told_before_) >= kRestToldPerMsMin;  // streams may be open for long and have little to say
  if (!rushes || stream_load_.open < kRestStreamsMin || told == 0 || told >= kRestToldMax) return;
  timespec pause{.tv_sec = 0, .tv_nsec = static_cast<long>(std::min(stream_load_.open * kRestMicrosPerStream, kRestMicrosMax)) * 1'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
}

void Worker::run() {
  ::prctl(PR_SET_TIMERSLACK, 1'000UL);  // ns; rest() is for less than the usual 50 us
  while (!stopped_.load(std::memory_order_relaxed)) {
    rest();
    std::uint64_t next = wheel_.next_ms();
    int timeout = next == kNever ? -1 : next <= now_ms_ ? 0 : static_cast<int>(std::min<std::uint64_t>(next - now_ms_, 60'000));
    poller_.poll(timeout, [this] { refresh_clock(); });
    wheel_.advance(now_ms_);
  }
}

bool Worker::turn() {
  if (!alarm_) {
    auto alarm = std::make_unique<Alarm>(sys::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)));
    if (alarm->timer && poller_.watch_readable(alarm->timer.get(), *alarm)) alarm_ = std::move(alarm);
  }
  poller_.poll(0, [this] { refresh_clock(); });
  wheel_.advance(now_ms_);
  if (alarm_) alarm_->set(now_ms_, wheel_.next_ms());
  return poller_.has_work();
}

void Worker::post(std::move_only_function<void()> work) {
  {
    std::lock_guard lock(posts_->mutex);
    posts_->queue.push_back(std::move(work));
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(posts_->wake.get(), &one, sizeof one);
}

void Worker::stop() {
  post([this] { stopped_.store(true, std::memory_order_relaxed); });
}

void Worker::run_posts() {
  std::uint64_t count = 0;
  [[maybe_unused]] ssize_t n = ::read(posts_->wake.get(), &count, sizeof count);
  std::vector<std::move_only_function<void()>> work;
  {
    std::lock_guard lock(posts_->mutex);
    work.swap(posts_->queue);
  }
  for (auto& item : work) item();
}

Sockmap* Worker::sockmap() {
  if (!std::exchange(sockmap_tried_, true)) {
    Result<std::unique_ptr<Sockmap>> made = Sockmap::make(poller_);
    if (made) sockmap_ = std::move(*made);
    else log::info("connections are not joined in the kernel: bytes are spliced and copied", {{"why", made.error()}});
  }
  return sockmap_.get();
}

std::unique_ptr<HeadList> Worker::take_head() {
  if (heads_.empty()) return std::make_unique<HeadList>();
  std::unique_ptr<HeadList> out = std::move(heads_.back());
  heads_.pop_back();
  return out;
}

void Worker::give_head(std::unique_ptr<HeadList> list) {
  if (heads_.size() < kStreamsMax) heads_.push_back(std::move(list));
}

std::string Worker::take_text() {
  if (texts_.empty()) return {};
  std::string out = std::move(texts_.back());
  texts_.pop_back();
  return out;
}

void Worker::give_text(std::string text) {
  bool has_room = text.capacity() > std::string().capacity() && text.capacity() <= kTextBytesKeptMax;
  if (!has_room || texts_.size() >= 2 * kStreamsMax) return;
  text.clear();
  texts_.push_back(std::move(text));
}

void Worker::add(Downstream& downstream) {
  downstream.position = downstreams_.size();
  downstreams_.push_back(&downstream);
}

void Worker::remove(Downstream& downstream) {
  downstreams_[downstream.position] = downstreams_.back();
  downstreams_[downstream.position]->position = downstream.position;
  downstreams_.pop_back();
}

// Clusters that did not change keep their connections, counters and verdicts.
std::vector<std::shared_ptr<Cluster>> Worker::bind_clusters(const Snapshot& snapshot) {
  std::unordered_map<const ClusterConfig*, std::shared_ptr<Cluster>> old;
  std::unordered_map<std::string_view, const Cluster*> by_name;
  for (auto& cluster : clusters_) {
    old.emplace(&cluster->config(), cluster);
    by_name.emplace(cluster->config().spec.name, cluster.get());
  }
  std::vector<std::shared_ptr<Cluster>> out;
  for (const auto& config : snapshot.clusters) {
    auto found = old.find(config.get());
    if (found != old.end()) {
      out.push_back(found->second);
      old.erase(found);
      continue;
    }
    out.push_back(std::make_shared<Cluster>(*this, config, find_or_make(cluster_stats_, config->spec.name)));
    if (auto before = by_name.find(config->spec.name); before != by_name.end()) out.back()->succeed(*before->second);
    if (!config->names.empty()) start_resolver(out.back());
    if (config->spec.health_check) checkers_.emplace(out.back().get(), std::make_unique<HealthChecker>(*this, *out.back()));
  }
  std::erase_if(leaving_, [](const auto& weak) { return weak.expired(); });
  for (auto& [config, cluster] : old) {
    checkers_.erase(cluster.get());
    resolvers_.erase(cluster.get());
    if (config->tls) {
      for (const auto& next : snapshot.clusters)
        if (next->spec.name == config->spec.name) cluster->look_up_revocations(*next);
      leaving_.push_back(cluster);
    }
    cluster->drain();
  }
  return out;
}

// What the cluster of that name knew already is used until the servers have answered.
void Worker::start_resolver(const std::shared_ptr<Cluster>& cluster) {
  std::unique_ptr<ClusterResolver>& resolver = resolvers_[cluster.get()];
  const ClusterResolver* before = nullptr;
  for (const auto& [old, other] : resolvers_)
    if (other && old != cluster.get() && old->config().spec.name == cluster->config().spec.name) before = other.get();
  resolver = std::make_unique<ClusterResolver>(*this, *cluster, before);
}

void Worker::endpoints_changed(Cluster& cluster) {
  if (auto checker = checkers_.find(&cluster); checker != checkers_.end()) checker->second = std::make_unique<HealthChecker>(*this, cluster);
}

std::shared_ptr<const ListenerRuntime> Worker::bind_listener(const std::shared_ptr<const Snapshot>& snapshot, const std::shared_ptr<const ListenerConfig>& config,
                                                             const std::vector<std::shared_ptr<Cluster>>& clusters) {
  auto out = std::make_shared<ListenerRuntime>();
  out->snapshot = snapshot;
  out->config = config;
  out->stats = find_or_make(listener_stats_, config->spec.name);
  out->clusters = clusters;
  if (config->routes)
    for (const Route* route : config->routes->all()) {
      std::string name = cat(config->spec.name, "\",route=\"", route->name);
      if (route_stats_.size() >= kRouteSeriesMax && !route_stats_.contains(name)) name = cat(config->spec.name, "\",route=\"_others");
      out->routes.push_back(find_or_make(route_stats_, name));
    }
  const std::string& path = config->spec.access_log.path;
  if (path.empty()) return out;
  auto open = std::ranges::find(logs_, path, [](const auto& log) { return log->path(); });
  if (open != logs_.end()) {
    out->log = *open;
    return out;
  }
  if (Result<> opened = open_log(config->spec.access_log)) out->log = logs_.back();
  else log::error("no access log", {{"listener", config->spec.name}, {"error", opened.error()}});
  return out;
}

Result<> Worker::open_log(const AccessLogSpec& spec) {
  if (!log_writer_) {
    TRY_ASSIGN(log_writer_, LogWriter::start());
  }
  TRY_ASSIGN(std::shared_ptr<AccessLogFile> log, AccessLogFile::open(spec, log_writer_));
  logs_.push_back(std::move(log));
  return {};
}

void Worker::apply(Update update) {
  update.snapshot->memory->allow(update.snapshot->memory_bytes_max);
  std::vector<std::shared_ptr<Cluster>> clusters = bind_clusters(*update.snapshot);
  std::unordered_map<std::string, std::unique_ptr<ListenSocket>> kept;
  for (std::size_t i = 0; i < update.snapshot->listeners.size(); ++i) {
    const auto& config = update.snapshot->listeners[i];
    std::string address = config->key();
    std::unique_ptr<ListenSocket> socket;
    if (auto found = sockets_.find(address); found != sockets_.end()) {
      socket = std::move(found->second);
      sockets_.erase(found);
    } else {
      socket = std::make_unique<ListenSocket>(*this, std::move(update.sockets[i]));
    }
    bool fresh = !socket->slot().current;
    if (!fresh && socket->slot().current->config->spec.transparent != config->spec.transparent)
      if (Result<> set = socket->be_transparent(config->address.is_v6(), config->spec.transparent); !set) log::error("listener stays as it was", {{"listener", config->spec.name}, {"error", set.error()}});
    socket->slot().current = bind_listener(update.snapshot, config, clusters);
    if (fresh)
      if (Result<> started = socket->start(); !started) log::error("listener does not start", {{"listener", config->spec.name}, {"error", started.error()}});
    kept.emplace(std::move(address), std::move(socket));
  }
  for (auto& [address, socket] : sockets_) {
    socket->slot().current = nullptr;
    socket->stop();
    poller_.retire(socket.release());
  }
  sockets_ = std::move(kept);
  tracer_->use(update.snapshot->tracing, update.snapshot->tracing ? clusters[update.snapshot->tracing_cluster] : nullptr);
  clusters_ = std::move(clusters);
  std::erase_if(logs_, [](const auto& log) { return log.use_count() == 1; });
  // Pods come and go under ever new names: counters of what is configured no more, and used no more, go as well.
  std::erase_if(route_stats_, [](const auto& entry) { return entry.second.use_count() == 1; });
  std::erase_if(listener_stats_, [](const auto& entry) { return entry.second.use_count() == 1; });
  std::erase_if(cluster_stats_, [](const auto& entry) { return entry.second.use_count() == 1; });
  for (Downstream* downstream : std::vector<Downstream*>(downstreams_)) {
    downstream->look_up_revocation();
    downstream->on_update();
  }
  wheel_.arm(peer_sweep_, now_ms_);
}

void Worker::PeerSweep::on_timer() {
  bool verifies = false;
  for (const auto& [address, socket] : worker.sockets_) {
    const auto& runtime = socket->slot().current;
    verifies = verifies || (runtime && runtime->config->tls && !runtime->config->tls->spec().client_ca_pem.empty());
  }
  if (verifies)
    for (Downstream* downstream : worker.downstreams_) downstream->cut_if_over();
  for (const auto& cluster : worker.clusters_) {
    verifies = verifies || cluster->config().tls;
    cluster->cut_what_is_over();
  }
  for (const auto& weak : worker.leaving_)
    if (auto cluster = weak.lock()) cluster->cut_what_is_over();
  if (verifies) worker.wheel_.arm(*this, worker.now_ms_ + kPeerSweepMs);
}

void Worker::cut_orphans() {
  for (Downstream* downstream : std::vector<Downstream*>(downstreams_)) downstream->cut_if_orphaned();
}

void Worker::begin_drain() {
  draining_ = true;
  tracer_->flush();
  for (auto& [address, socket] : sockets_) {
    socket->stop();
    poller_.retire(socket.release());
  }
  sockets_.clear();
  for (Downstream* downstream : std::vector<Downstream*>(downstreams_)) downstream->on_drain();
}

void Worker::log(AccessLogFile& file, const LogFormat& format, const LogRecord& record) {
  if (file.append(format, record)) wheel_.arm(log_flush_, now_ms_ + kLogFlushMs);
}

void Worker::LogFlush::on_timer() {
  for (auto& log : worker.logs_) log->flush();
}

void Worker::reopen_logs() {
  for (auto& log : logs_) log->reopen();
}

}  // namespace monopod::proxy
