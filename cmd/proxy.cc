// `monopod proxy`: the data plane of the mesh, from a file.
#include "proxy/proxy.h"

#include <malloc.h>

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "async/as_result.h"
#include "async/broken_pipe.h"
#include "async/event.h"
#include "async/loop.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/block_cache.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/metrics_text.h"
#include "base/strings.h"
#include "commands.h"
#include "http/query.h"
#include "http/server.h"
#include "pki/random.h"
#include "proxy/config/last_good.h"
#include "proxy/config/watch.h"
#include "proxy/observe/explain.h"
#include "proxy/observe/merge.h"
#include "proxy_intercept.h"
#include "sys/process_metrics.h"
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

// Everything beside the data path: loads the file, watches it, listens to signals and to the admin socket.
class ProxyControl final : public http::Handler {
 public:
  ProxyControl(const ProxyCommand& command, async::Executor executor, async::Time& time, proxy::Proxy& proxy, proxy::FileWatch& watch, Duration drain)
      : command_(command), executor_(executor), time_(time), proxy_(proxy), watch_(watch), drain_(drain) {}

  // What is wrong is said and changes nothing.
  Result<> load() {
    BlockCache gives_all_back(0);  // the loop's would keep what the tree was made of
    Result<proxy::Loaded> loaded = proxy::load_config(command_.config, proxy_.snapshot().get());
    if (!loaded) return fail(loaded.error());
    watch_.set(loaded->files);
    TRY(apply(*loaded));
    last_error_.clear();
    from_last_good_ = false;
    keep(std::move(loaded->sources));
    return {};
  }

  // The first one. A broken configuration does not keep the proxy from starting where there is one that was good.
  Result<> start() {
    Result<> loaded = load();
    std::string path = command_.last_good_path();
    if (loaded || path.empty()) return loaded;
    Result<proxy::Loaded> before = proxy::load_last_good(path, nullptr);
    if (!before && before.error().code() == Code::kNotFound) return loaded;
    if (!before) {
      log::error("the last good configuration is of no use", {{"error", before.error()}});
      return loaded;
    }
    if (!apply(*before)) return loaded;
    last_error_ = loaded.error().message();
    from_last_good_ = true;
    ++rejected_;
    // What is mended may be any of them.
    std::vector<std::string> files{command_.config};
    std::string directory = command_.config.substr(0, command_.config.rfind('/') + 1);
    for (const auto& [name, bytes] : before->sources.files) files.push_back(name.starts_with('/') ? name : directory + name);
    watch_.set(files);
    log::error("configuration refused: started with the last good one", {{"error", loaded.error()}, {"last_good", path}});
    return {};
  }

  Result<> apply(const proxy::Loaded& loaded) {
    for (const proxy::InterceptionSpec& spec : loaded.snapshot->interceptions) TRY(intercept_spec(spec));
    if (Result<> applied = proxy_.apply(loaded.snapshot); !applied) return fail(Error(applied.error()).with(command_.config));
    TRY(interceptions_.apply(loaded.snapshot->interceptions));  // who is redirected finds the listener there
    // The file's tree is several times what is kept of it, and by then the snapshot before is gone as well.
    proxy_.on_workers([](proxy::Worker&) {}, [executor = executor_] { async::asio::post(executor, [] { ::malloc_trim(0); }); });
    return {};
  }

  Task<Result<>> run() {
    async::Scope scope(executor_);
    scope.spawn(watch_files());
    scope.spawn(handle_signals(scope));
    const std::string& admin = proxy_.snapshot()->admin_socket;
    http::Server server(executor_, time_, *this, {});
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

  Task<Result<>> handle(http::Exchange& exchange) override {
    std::string path(exchange.request().raw_path());
    std::string body;
    if (exchange.request().method == "POST" && path == "/reload") {
      Result<> loaded = load();
      if (!loaded) co_return co_await exchange.respond(400, {}, cat(loaded.error().message(), "\n"));
      co_return co_await exchange.respond(200, {}, cat("version ", proxy_.snapshot()->version, "\n"));
    }
    if (path == "/metrics") {
      co_await gather([](proxy::Worker& worker, std::string& out) { worker.append_metrics(out); }, body);
      if (command_.workers > 1) body = proxy::merge_metrics(body);
      metrics::append_one(body, "monopod_proxy_config_version", "gauge", "The snapshot in use, counted from 1.", static_cast<std::int64_t>(proxy_.snapshot()->version));
      metrics::append_one(body, "monopod_proxy_config_rejected_total", "counter", "Configurations that were refused.", rejected_);
      metrics::append_one(body, "monopod_proxy_config_last_good", "gauge", "Whether the one in use is the last good one, the present one being broken since the start.", from_last_good_ ? 1 : 0);
      body += sys::format_process_metrics();
    } else if (path == "/clusters") {
      co_await gather([](proxy::Worker& worker, std::string& out) { out += worker.describe_clusters(); }, body);
    } else if (path == "/explain") {
      http::Query query = http::parse_query(exchange.request().raw_query());
      std::vector<std::string> fields;
      for (std::string_view field : query.get_all("header")) fields.emplace_back(field);
      Result<std::string> text = proxy::explain(*proxy_.snapshot(), query.get("request").value_or(""), fields);
      if (!text) co_return co_await exchange.respond(400, {}, cat(text.error().message(), "\n"));
      body = cat(*text, "\n");
      co_await gather([](proxy::Worker& worker, std::string& out) { out += worker.describe_clusters(); }, body);
    } else if (path == "/ready") {
      body = from_last_good_ ? cat("ready, with the last good configuration: ", last_error_, "\n") : last_error_.empty() ? "ready\n" : cat("ready; a later configuration was refused: ", last_error_, "\n");
    } else {
      co_return co_await exchange.respond(404, {}, std::string("there are GET /metrics, /clusters, /explain?request=GET+http://host/path&header=name:+value, /ready and POST /reload\n"));
    }
    co_return co_await exchange.respond(200, {{"content-type", path == "/metrics" ? std::string_view(metrics::kContentType) : "text/plain"}}, std::move(body));
  }

 private:
  struct Gathered {
    explicit Gathered(async::Executor executor) : done(executor) {}
    std::string text;
    async::Event done;
  };
  // Texts of every worker, one after the other.
  Task<> gather(void (*append)(proxy::Worker&, std::string&), std::string& out) {
    auto gathered = std::make_shared<Gathered>(executor_);
    proxy_.on_workers([gathered, append](proxy::Worker& worker) { append(worker, gathered->text); },
                      [gathered, executor = executor_] { async::asio::post(executor, [gathered] { gathered->done.set(); }); });
    [[maybe_unused]] Result<> waited = co_await gathered->done.wait();  // forever: a worker takes its turn within milliseconds
    out += gathered->text;
  }

  void reload(std::string_view why) {
    Result<> loaded = load();
    if (loaded) return log::info("configuration reloaded", {{"why", why}, {"version", proxy_.snapshot()->version}});
    ++rejected_;
    last_error_ = loaded.error().message();
    log::error("configuration refused: the old one stays", {{"error", loaded.error()}});
  }

  Task<Result<>> watch_files() {
    for (;;) {
      CO_TRY(co_await watch_.wait());
      CO_TRY(co_await time_.sleep_for(std::chrono::milliseconds(2)));  // a certificate and its key change one after the other
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
      co_await gather([](proxy::Worker& worker, std::string& out) { out += std::string(worker.connections(), '.'); }, left);
      if (left.empty()) break;
      CO_TRY(co_await time_.sleep_for(std::chrono::milliseconds(20)));
    }
    scope.cancel();
    co_return Result<>();
  }

  // That a proxy which cannot write goes on is worth more than the copy.
  void keep(proxy::Sources sources) {
    std::string path = command_.last_good_path();
    if (path.empty() || kept_ == sources) return;
    if (Result<> saved = proxy::save_last_good(path, sources); !saved) return log::warn("the last good configuration is not kept", {{"error", saved.error()}});
    kept_ = std::move(sources);
  }

  const ProxyCommand& command_;
  async::Executor executor_;
  async::Time& time_;
  proxy::Proxy& proxy_;
  proxy::FileWatch& watch_;
  Interceptions interceptions_;
  Duration drain_;
  std::int64_t rejected_ = 0;
  std::string last_error_;       // of the configuration as it stands; empty: it is in use
  bool from_last_good_ = false;
  proxy::Sources kept_;          // as it stands on disk
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
  ProxyControl control(command, loop.executor(), time, *proxy, watch, drain);
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
