#include "proxy/proxy.h"

#include <algorithm>
#include <csignal>

#include "base/strings.h"
#include "sys/namespaces.h"

namespace monopod::proxy {
namespace {

// getrandom(2) once, then a generator: what picks endpoints and jitter need not be secret.
class SeededOnce final : public Rng {
 public:
  SeededOnce() : inner_(SystemRng().next()) {}
  std::uint64_t next() override { return inner_.next(); }

 private:
  SeededRng inner_;
};

Result<sys::Fd> open_listener(const ListenerConfig& config, bool reuse_port) {
  if (!config.netns) return listen_on(config.address, reuse_port, config.spec.transparent);
  sys::Fd out;
  TRY(sys::run_in_network_namespace(config.netns.get(), [&]() -> Result<> {
    TRY_ASSIGN(out, listen_on(config.address, reuse_port, config.spec.transparent));
    return {};
  }));
  return out;
}

}  // namespace

struct Proxy::Running {
  SeededOnce rng;
  std::unique_ptr<Worker> worker;
  std::thread thread;
};

Proxy::Proxy(ProxyOptions options) : options_(std::move(options)) {}

Result<std::unique_ptr<Proxy>> Proxy::start(ProxyOptions options) {
  std::unique_ptr<Proxy> out(new Proxy(std::move(options)));
  // Signals are the control thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (unsigned i = 0; i < std::max(1U, out->options_.workers); ++i) {
    auto running = std::make_unique<Running>();
    auto worker = Worker::make(running->rng);
    if (!worker) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      return fail(worker.error());
    }
    running->worker = std::move(*worker);
    if (out->options_.workers > 0) running->thread = std::thread([w = running->worker.get()] { w->run(); });
    out->running_.push_back(std::move(running));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return out;
}

Proxy::~Proxy() {
  for (auto& running : running_) running->worker->stop();
  for (auto& running : running_)
    if (running->thread.joinable()) running->thread.join();
}

Worker& Proxy::own_worker() { return *running_.front()->worker; }

Result<> Proxy::apply(std::shared_ptr<const Snapshot> snapshot) {
  std::vector<Update> updates(running_.size());
  std::set<std::string> addresses;
  for (std::size_t i = 0; i < snapshot->listeners.size(); ++i) {
    const ListenerConfig& config = *snapshot->listeners[i];
    std::string address = config.key();
    for (Update& update : updates) {
      sys::Fd fd;
      if (!addresses_.contains(address)) {
        TRY_ASSIGN(fd, options_.open ? options_.open(config) : open_listener(config, updates.size() > 1));
      }
      update.sockets.push_back(std::move(fd));
    }
    addresses.insert(std::move(address));
  }
  snapshot_ = snapshot;
  addresses_ = std::move(addresses);
  for (std::size_t w = 0; w < running_.size(); ++w) {
    updates[w].snapshot = snapshot;
    Worker& worker = *running_[w]->worker;
    worker.post([&worker, update = std::move(updates[w])]() mutable { worker.apply(std::move(update)); });
  }
  return {};
}

void Proxy::reopen_logs() {
  for (auto& running : running_) running->worker->post([w = running->worker.get()] { w->reopen_logs(); });
}

void Proxy::drain() {
  for (auto& running : running_) running->worker->post([w = running->worker.get()] { w->begin_drain(); });
}

void Proxy::on_workers(std::function<void(Worker&)> work, std::function<void()> done) {
  auto left = std::make_shared<std::atomic<std::size_t>>(running_.size());
  auto lock = std::make_shared<std::mutex>();
  for (auto& running : running_)
    running->worker->post([w = running->worker.get(), left, lock, work, done] {
      {
        std::lock_guard held(*lock);  // work may gather into one place
        work(*w);
      }
      if (left->fetch_sub(1) == 1) done();
    });
}

}  // namespace monopod::proxy
