#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cstdlib>

#include "async/broken_pipe.h"
#include "async/loop.h"
#include "base/duration.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "build/builder.h"
#include "cmd/engine/engine.h"
#include "cmd/engine/rootless.h"
#include "cmd/engine/run_bundle.h"
#include "cmd/host.h"
#include "cmd/node/vital.h"
#include "cmd/resolver.h"
#include "cri/engine.h"
#include "docker/engine.h"
#include "http/server.h"
#include "http/tls.h"
#include "pki/random.h"
#include "store/sqlite_backend.h"
#include "sys/cgroup_host.h"
#include "sys/files.h"
#include "sys/text_pages.h"
#include "sys/world_socket.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::size_t kEngineThreads = 4;
constexpr std::chrono::milliseconds kIdleLook{500};
constexpr std::chrono::milliseconds kLastLook{50};  // what had connected is accepted by then
constexpr std::string_view kHidden = ".leaving";    // the sockets' names meanwhile

// Counts who is being answered; for an engine that leaves when nobody is.
class Counted final : public http::Handler {
 public:
  Counted(http::Handler& inner, async::Time& time) : inner_(inner), time_(time), last_(time.mono()) {}
  Task<Result<>> handle(http::Exchange& exchange) override {
    ++answering_;
    Leaving leaving{*this};
    co_return co_await inner_.handle(exchange);
  }
  bool quiet_for(Duration d) const { return answering_ == 0 && time_.mono() - last_ >= d; }
  void touch() { last_ = time_.mono(); }

 private:
  struct Leaving {
    Counted& counted;
    ~Leaving() {
      --counted.answering_;
      counted.touch();
    }
  };
  http::Handler& inner_;
  async::Time& time_;
  int answering_ = 0;
  MonoTime last_;
};

class EngineProcess {
 public:
  EngineProcess(async::Loop& loop, const EngineCommand& command, sys::Fd socket, sys::Fd cri_socket)
      : executor_(loop.executor()), command_(command), socket_(std::move(socket)), cri_socket_(std::move(cri_socket)), pool_(kEngineThreads), background_(executor_), stopping_(executor_) {}

  Task<Result<>> run();

 private:
  Task<Result<>> start();
  Task<Result<>> open_cri();
  Task<Result<>> stop();
  Task<Result<>> leave_when_idle(Duration after);
  void hide_sockets();
  void show_sockets();

  async::Executor executor_;
  EngineCommand command_;
  sys::Fd socket_;
  sys::Fd cri_socket_;
  async::RealTime time_;
  SystemRng rng_;
  async::Pool pool_;
  async::Scope background_;
  async::Event stopping_;
  bool leave_containers_ = false;  // another process follows at once
  HostResolver resolver_{time_, rng_};

  std::unique_ptr<store::SqliteBackend> store_;
  std::unique_ptr<supervisor::Supervisor> supervisor_;
  std::unique_ptr<sys::Cgroups> cgroups_;
  std::unique_ptr<http::TlsClient> tls_;
  std::unique_ptr<image::ImageStore> images_;
  std::unique_ptr<container::Runtime> containers_;
  std::unique_ptr<docker::Engine> engine_;
  std::unique_ptr<cri::Engine> cri_;
  std::unique_ptr<Counted> counted_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<http::Server> cri_http_;
};

// Whoever connects finds nobody from here on, and may start an engine, which waits for this one; or finds us again.
void EngineProcess::hide_sockets() {
  for (const std::string& path : {command_.docker_socket, command_.cri_socket})
    if (!path.empty()) (void)::rename(path.c_str(), cat(path, kHidden).c_str());
}
void EngineProcess::show_sockets() {
  for (const std::string& path : {command_.docker_socket, command_.cri_socket})
    if (!path.empty()) (void)::renameat2(AT_FDCWD, cat(path, kHidden).c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE);
}

// The supervisor ends with a process that ends well, and closes the sockets: who has connected by then would be cut off. So nobody can connect any
// more before it is looked once more whether somebody has.
Task<Result<>> EngineProcess::leave_when_idle(Duration after) {
  auto accepted = [this] { return http_->stats().accepted + (cri_http_ ? cri_http_->stats().accepted : 0); };
  for (std::uint64_t known = 0;;) {  // forever: people decide
    CO_TRY(co_await time_.sleep_for(kIdleLook));
    if (engine_->busy() || !containers_->list().empty() || std::exchange(known, accepted()) != known) counted_->touch();
    if (!counted_->quiet_for(after)) continue;
    hide_sockets();
    CO_TRY(failpoint("engine.leaving"));
    CO_TRY(co_await time_.sleep_for(kLastLook));
    if (accepted() != known || !counted_->quiet_for(after)) {
      show_sockets();
      continue;
    }
    for (const std::string& path : {command_.docker_socket, command_.cri_socket})
      if (!path.empty()) (void)::unlink(cat(path, kHidden).c_str());
    log::info("nothing runs and nobody asks: leaving");
    stopping_.set();
    co_return Result<>();
  }
}

// Also where no socket is asked for: pods of an earlier run are known, and end with the engine.
Task<Result<>> EngineProcess::open_cri() {
  cri::EngineOptions options{.data_dir = command_.data_dir, .run_dir = command_.run_dir, .version = MONOPOD_VERSION, .network = {}};
  CO_TRY_ASSIGN(options.network.cidr, network::parse_cidr(command_.pod_cidr));
  CO_TRY_ASSIGN(network::Cidr subnet, network::parse_cidr(command_.subnet));
  options.network.isolated_from = {subnet};
  cri_ = std::make_unique<cri::Engine>(cri::EngineParts{executor_, time_, pool_, rng_, store_->state(), *containers_, *images_, *cgroups_}, std::move(options));
  CO_TRY(co_await cri_->open());
  if (!cri_socket_) co_return Result<>();
  CO_TRY(cri_->listen());
  cri_http_ = std::make_unique<http::Server>(executor_, time_, cri_->handler(), http::ServerOptions{});
  background_.spawn(cri_http_->serve(std::move(cri_socket_)));
  log::info("CRI is served", {{"socket", command_.cri_socket}});
  co_return Result<>();
}

Task<Result<>> EngineProcess::start() {
  std::optional<sys::Fd> socket = supervisor::inherited_socket();
  if (!socket) co_return fail(Code::kFailedPrecondition, "the engine process is started by monopod engine, not by hand");
  CO_TRY_ASSIGN(store::Durability durability, store::parse_durability(command_.store_sync));
  CO_TRY_ASSIGN(store_, co_await store::SqliteBackend::open({.path = command_.data_dir + "/state.db", .durability = durability, .value_cache_bytes = 64U << 10}, pool_, time_, rng_));
  background_.spawn(vital("engine", store_->until_failure()));
  supervisor_ = std::make_unique<supervisor::Supervisor>(executor_, std::move(*socket));
  supervisor_->on_terminate([this] { stopping_.set(); });
  supervisor_->on_detach([this] {
    leave_containers_ = true;
    stopping_.set();
  });
  background_.spawn(vital("engine", supervisor_->run()));
  CO_TRY_ASSIGN(cgroups_, co_await pool_.run([]() -> Result<std::unique_ptr<sys::Cgroups>> {
    // Limits of huge pages: on v1 another hierarchy that every process would have to be moved into, hence not there.
    sys::CgroupOptions groups;
    if (sys::path_exists("/sys/fs/cgroup/cgroup.controllers")) groups.controllers = {"hugetlb"};
    auto own = sys::open_cgroups(groups);
    if (rootless() && (!own || !sys::may_make_groups(**own, "docker"))) {
      log::warn("no control group may be made here: limits are not applied, and containers cannot be paused");
      return sys::make_no_cgroups();
    }
    if (!own) return fail(std::move(own).error());
    return sys::with_host_groups(*std::move(own));
  }));
  if (auto tls = http::TlsClient::make({})) tls_ = *std::move(tls);  // without roots https fails when it is needed, and says so
  image::ImageStore::Options images{.data_dir = command_.data_dir, .import_drop_ins = false, .keep_blobs = true, .limits = {}, .tls = tls_.get(), .resolver = &resolver_, .hosts_dir = command_.hosts_dir};
  CO_TRY_ASSIGN(images.form, image::parse_layer_form(command_.layers));
  CO_TRY_ASSIGN(images_, co_await image::ImageStore::open(std::move(images), pool_, time_, store_->state()));
  containers_ = std::make_unique<container::Runtime>(executor_, time_, pool_, store_->state(), *supervisor_, *cgroups_, container::Runtime::Options{.run_dir = command_.run_dir + "/containers"});
  CO_TRY(co_await containers_->open());
  docker::EngineOptions options{.data_dir = command_.data_dir, .run_dir = command_.run_dir, .version = MONOPOD_VERSION, .network = {.bridge = command_.bridge}};
  const std::string builds = command_.data_dir + "/build";
  co_await pool_.run([&builds] { end_bundles(builds + "/run"); });
  CO_TRY(co_await build::clear_work(*images_, pool_, builds));
  options.run_bundle = [root = builds + "/run"](std::string bundle, std::string id, int output) { return run_bundle(root, std::move(bundle), std::move(id), output); };
  options.collect = {.disk_percent_max = command_.collect_disk_percent, .named = command_.collect_named};
  CO_TRY_ASSIGN(options.collect.unused_max, parse_duration(command_.collect_after));
  options.tls = tls_.get();
  options.resolver = &resolver_;
  CO_TRY_ASSIGN(options.network.subnet, network::parse_cidr(command_.subnet));
  options.network.upstreams = read_upstreams("/etc/resolv.conf");
  if (rootless()) sys::use_socket_broker(sys::Fd(kSocketBrokerFd));
  engine_ = std::make_unique<docker::Engine>(docker::EngineParts{executor_, time_, pool_, rng_, store_->state(), *containers_, *images_, *cgroups_}, std::move(options));
  CO_TRY(co_await engine_->open());
  CO_TRY(co_await open_cri());
  counted_ = std::make_unique<Counted>(engine_->handler(), time_);
  http_ = std::make_unique<http::Server>(executor_, time_, *counted_, http::ServerOptions{});
  background_.spawn(http_->serve(std::move(socket_)));
  if (!command_.leave_after.empty()) {
    show_sockets();  // of a process that was killed as it left
    CO_TRY_ASSIGN(Duration after, parse_duration(command_.leave_after));
    background_.spawn(leave_when_idle(after));
  }
  CO_TRY(co_await supervisor_->notify_ready("serving the Docker API on " + command_.docker_socket));
  sys::forget_program_pages();
  log::info("engine is up", {{"socket", command_.docker_socket}, {"data_dir", command_.data_dir}});
  co_return Result<>();
}

Task<Result<>> EngineProcess::stop() {
  log::info("stopping");
  http_->shutdown();
  if (cri_http_) cri_http_->shutdown();
  if (leave_containers_) co_return Result<>();
  co_await engine_->stop_containers();
  co_await cri_->stop_pods();
  co_return Result<>();
}

Task<Result<>> EngineProcess::run() {
  struct Until {
    EngineProcess& process;
    Task<Result<>> operator()(async::Scope& scope) {
      CO_TRY(co_await process.start());
      scope.spawn(process.background_.join());
      CO_TRY(co_await process.stopping_.wait());  // forever: the supervisor decides
      co_return co_await process.stop();
    }
  } until{*this};
  Result<> ended = co_await async::run_scoped([&until](async::Scope& scope) { return until(scope); });
  background_.cancel();
  Result<> joined = co_await background_.join();
  if (cri_) co_await cri_->close();
  if (engine_) co_await engine_->close();
  if (store_) {
    Result<> closed = co_await store_->close();
    if (!closed) log::warn("store did not close cleanly", {{"why", closed.error()}});
  }
  if (!ended) co_return ended;
  co_return joined;
}

Task<Result<>> run(EngineProcess& process) { co_return co_await process.run(); }

}  // namespace

Result<> run_engine_process(const EngineCommand& command, sys::Fd socket, sys::Fd cri_socket) {
  pki::initialise();
  async::ignore_broken_pipes();
  async::Loop loop;
  EngineProcess process(loop, command, std::move(socket), std::move(cri_socket));
  return loop.run(run(process));
}

}  // namespace monopod::cmd
