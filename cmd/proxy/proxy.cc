// `monopod proxy`: the data plane of the mesh, from a file.
#include "proxy/proxy.h"

#include <malloc.h>

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "async/as_result.h"
#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/block_cache.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/proxy/admin.h"
#include "cmd/proxy/config.h"
#include "cmd/proxy/intercept.h"
#include "cmd/proxy/ocsp.h"
#include "pki/random.h"
#include "proxy/observe/explain.h"
#include "sys/text_pages.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct ProxyCommand {
  std::string config = "proxy.yaml";
  bool check = false;
  std::string explain;
  std::vector<std::string> headers;
  unsigned workers = 1;
  std::string drain_timeout = "10s";
  std::string last_good;  // empty: beside the configuration
  bool no_last_good = false;

  std::string last_good_path() const { return no_last_good ? std::string() : last_good.empty() ? config + ".last-good" : last_good; }
};

// Everything beside the data path: applies the file, watches it, listens to signals and to the admin socket.
class ProxyControl {
 public:
  ProxyControl(const ProxyCommand& command, async::Executor executor, async::Time& time, proxy::Proxy& proxy, proxy::FileWatch watch, Duration drain)
      : command_(command), executor_(executor), time_(time), proxy_(proxy), drain_(drain),
        config_(command.config, command.last_good_path(), std::move(watch), [this](proxy::Loaded& loaded) { return apply(loaded); }),
        admin_(executor, proxy, config_, command.workers, [this] { return load_later(); }), ocsp_(executor, time, rng_, proxy) {}

  Result<> start() {
    BlockCache gives_all_back(0);  // the loop's would keep what the file's tree was made of
    return config_.start(config_.read(nullptr), config_.keeps_last_good() ? config_.read_last_good() : fail(Code::kNotFound, "none is kept"));
  }

  Task<Result<>> run() {
    async::Scope scope(executor_);
    scope.spawn(watch_files());
    scope.spawn(handle_signals(scope));
    scope.spawn(ocsp_.run());
    const std::string& admin = proxy_.snapshot()->admin_socket;
    http::Server server(executor_, time_, admin_, {});
    if (!admin.empty()) {
      Result<sys::Fd> socket = http::listen_unix(admin);
      if (!socket) {
        scope.cancel();
        [[maybe_unused]] Result<> joined = co_await scope.join();
        co_return fail(std::move(socket).error().with(cat("admin socket ", admin)));
      }
      scope.spawn(server.serve(std::move(*socket)));
    }
    log::info("proxy is up", {{"config", command_.config}, {"listeners", proxy_.snapshot()->listeners.size()}, {"workers", command_.workers}});
    co_return co_await scope.join();
  }

 private:
  Result<> apply(proxy::Loaded& loaded) {
    for (const proxy::InterceptionSpec& spec : loaded.snapshot->interceptions) TRY(intercept_spec(spec));
    if (Result<> applied = proxy_.apply(loaded.snapshot); !applied) return fail(Error(applied.error()).with(command_.config));
    TRY(interceptions_.apply(loaded.snapshot->interceptions));  // who is redirected finds the listener there
    ocsp_.wake();
    loaded.spec = {};
    // The file's tree is several times what is kept of it, and by then the snapshot before is gone as well.
    proxy_.on_workers([](proxy::Worker&) {}, [executor = executor_] { async::asio::post(executor, [] { ::malloc_trim(0); }); });
    return {};
  }

  Result<> load() {
    BlockCache gives_all_back(0);
    return config_.take(config_.read(proxy_.snapshot().get()));
  }
  Task<Result<>> load_later() { co_return load(); }

  void reload(std::string_view why) {
    Result<> loaded = load();
    if (loaded) log::info("configuration reloaded", {{"why", why}, {"version", proxy_.snapshot()->version}});
    else log::error("configuration refused: the old one stays", {{"error", loaded.error()}});
  }

  Task<Result<>> watch_files() {
    for (;;) {  // forever: until cancelled
      CO_TRY(co_await config_.wait_for_change(time_));
      reload("file");
    }
  }

  Task<Result<>> handle_signals(async::Scope& scope) {
    async::asio::signal_set signals(executor_, SIGINT, SIGTERM, SIGHUP);
    signals.add(SIGUSR1);
    for (;;) {
      auto [ec, number] = co_await signals.async_wait(async::as_tuple);  // forever: the user decides
      if (ec) co_return Result<>();
      if (number == SIGHUP) reload("signal");
      else if (number == SIGUSR1) proxy_.reopen_logs();
      else break;
    }
    log::info("draining", {});
    proxy_.drain();
    MonoTime until = time_.mono() + std::chrono::duration_cast<MonoTime::duration>(drain_);
    for (std::string left; time_.mono() < until; left.clear()) {
      co_await admin_.gather([](proxy::Worker& worker, std::string& out) { out += std::string(worker.connections(), '.'); }, left);
      if (left.empty()) break;
      CO_TRY(co_await time_.sleep_for(std::chrono::milliseconds(20)));
    }
    scope.cancel();
    co_return Result<>();
  }

  const ProxyCommand& command_;
  async::Executor executor_;
  async::Time& time_;
  proxy::Proxy& proxy_;
  Interceptions interceptions_;
  Duration drain_;
  ProxyConfig config_;
  ProxyAdmin admin_;
  SystemRng rng_;
  OcspFetcher ocsp_;
};

Result<> run(const ProxyCommand& command) {
  pki::initialise();
  if (!command.explain.empty()) {
    TRY_ASSIGN(proxy::Loaded loaded, proxy::load_config(command.config, nullptr));
    TRY_ASSIGN(std::string text, proxy::explain(*loaded.snapshot, command.explain, command.headers));
    std::fputs(text.c_str(), stdout);
    return {};
  }
  if (command.check) {
    TRY_ASSIGN(proxy::Loaded loaded, proxy::load_config(command.config, nullptr));
    for (const proxy::InterceptionSpec& spec : loaded.snapshot->interceptions) TRY(intercept_spec(spec));
    std::printf("%s: %zu listeners, %zu clusters\n", command.config.c_str(), loaded.snapshot->listeners.size(), loaded.snapshot->clusters.size());
    return {};
  }
  TRY_ASSIGN(Duration drain, parse_duration(command.drain_timeout));
  async::ignore_broken_pipes();
  async::Loop loop;
  async::RealTime time;
  TRY_ASSIGN(proxy::FileWatch watch, proxy::FileWatch::make());
  TRY_ASSIGN(std::unique_ptr<proxy::Proxy> proxy, proxy::Proxy::start({.workers = command.workers}));
  ProxyControl control(command, loop.executor(), time, *proxy, std::move(watch), drain);
  TRY(control.start());
  sys::forget_program_pages();
  return loop.run(control.run());
}

}  // namespace

void add_proxy(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "proxy", "Proxy HTTP/1.1, HTTP/2, TLS and TCP as a file says; reloads it when it changes",
                              "  monopod proxy --config proxy.yaml\n  monopod proxy --config proxy.yaml --check\n"
                              "  monopod proxy --config proxy.yaml --explain 'GET http://shop.test/cart?id=5'\n"
                              "  curl --unix-socket /run/monopod/proxy.sock http://proxy/metrics");
  auto command = std::make_shared<ProxyCommand>();
  add_log_options(*app);
  app->add_option("--config", command->config, "The configuration (YAML); pkg/proxy/config/example.yaml has every field")->capture_default_str();
  app->add_flag("--check", command->check, "Check the configuration and what it names, and end");
  app->add_option("--explain", command->explain, "Say which route takes a request and where it would go, and end");
  app->add_option("--header", command->headers, "\"name: value\" of the request to explain; repeatable")->allow_extra_args(false);
  app->add_option("--workers", command->workers, "Threads that serve")->check(CLI::Range(1, 64))->capture_default_str();
  app->add_option("--drain-timeout", command->drain_timeout, "How long requests under way may go on after SIGTERM")->capture_default_str();
  app->add_option("--last-good", command->last_good, "Where the last configuration that was taken is kept, for a start with a broken one; default: CONFIG.last-good");
  app->add_flag("--no-last-good", command->no_last_good, "Keep none, use none");
  add_proxy_top(*app, invocation);
  app->callback([app, command, &invocation] {
    if (!app->get_subcommands().empty()) return;  // that is what was asked for
    invocation.run = [command] {
      configure_logging();
      return report(run(*command));
    };
  });
}

}  // namespace monopod::cmd
