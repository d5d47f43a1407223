// `monopod store migrate`: every live key from one store to another.
#include "cmd/store/migrate.h"

#include <unistd.h>

#include <cstdio>

#include "async/loop.h"
#include "async/scope.h"
#include "base/strings.h"
#include "cmd/node/datastore.h"
#include "cmd/resolver.h"
#include "cmd/until_signal.h"
#include "etcd/cluster/migrate.h"
#include "pki/pki.h"
#include "store/sqlite_backend.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr Duration kOpenTimeout = std::chrono::seconds(15);

struct MigrateCommand {
  std::string from;
  std::string to;
  DatastoreOptions etcd;  // of whichever side is a cluster; its endpoints come from from and to
  bool replace = false;
};

// What the stores of both sides are opened with.
struct Context {
  async::RealTime time{};
  SystemRng rng{};
  async::Pool pool{2};
  HostResolver resolver{time, rng};
};

// One side, open.
struct Place {
  std::unique_ptr<store::SqliteBackend> sqlite{};
  std::unique_ptr<etcd::ClusterBackend> cluster{};
  store::Backend& backend() { return cluster ? static_cast<store::Backend&>(*cluster) : *sqlite; }
  Task<Result<>> close() {
    if (cluster) CO_TRY(co_await cluster->close());
    if (sqlite) CO_TRY(co_await sqlite->close());
    co_return Result<>();
  }
};

enum class Side { kFrom, kTo };

Task<Result<Place>> open_place(const std::string& text, Side side, const DatastoreOptions& etcd, Context& context) {
  Place place;
  if (text.starts_with("sqlite:")) {
    std::string path = text.substr(7);
    if (side == Side::kFrom && ::access(path.c_str(), R_OK) != 0) co_return fail_errno(cat("open ", path));
    CO_TRY_ASSIGN(place.sqlite, co_await store::SqliteBackend::open({.path = path, .compaction = {.interval = std::chrono::seconds(0)}}, context.pool, context.time, context.rng));
    co_return place;
  }
  if (!text.starts_with("etcd:")) co_return fail(Code::kInvalidArgument, cat("\"", text, "\": want sqlite:/path/state.db or etcd:https://host:port,..."));
  DatastoreOptions options = etcd;
  for (std::string_view endpoint : split(std::string_view(text).substr(5), ',')) options.endpoints.emplace_back(endpoint);
  CO_TRY_ASSIGN(etcd::ClientOptions client, read_datastore_options(options, &context.resolver));
  etcd::ClusterOptions cluster{.client = std::move(client), .compaction_interval = std::chrono::seconds(0), .open_timeout = kOpenTimeout};
  CO_TRY_ASSIGN(place.cluster, co_await etcd::ClusterBackend::open(std::move(cluster), context.time));
  co_return place;
}

Task<Result<>> copy(const MigrateCommand& command, Place& from, Place& to, Context& context) {
  CO_TRY_ASSIGN(auto source, co_await etcd::make_backend_source(from.backend(), command.from));
  auto sink = etcd::make_backend_sink(to.backend(), context.time, command.to);
  sys::ProgressBar bar("migrate");
  etcd::MigrateOptions options{.replace = command.replace, .progress = [&bar](std::int64_t done, std::int64_t total, std::string_view step) { bar.update(done, total, step); }};
  Result<etcd::MigrateReport> report = co_await etcd::migrate(*source, *sink, std::move(options));
  bar.finish();
  if (!report) co_return fail(report.error());
  std::printf("%lld keys are in %s, compared one by one; %lld written now%s, %lld removed\n", static_cast<long long>(report->keys), command.to.c_str(), static_cast<long long>(report->written),
              report->resumed ? " (an earlier run had begun)" : "", static_cast<long long>(report->removed));
  if (report->leases > 0) std::printf("%lld leases begin anew with their full time to live\n", static_cast<long long>(report->leases));
  if (report->expired > 0) std::printf("%lld keys are left out: their leases ended meanwhile\n", static_cast<long long>(report->expired));
  std::printf("revisions are not copied, the new store counts its own: clients must list anew\n");
  co_return Result<>();
}

// Opens, copies, and closes however copying ended.
Task<Result<>> run(const MigrateCommand& command, Context& context) {
  CO_TRY_ASSIGN(Place from, co_await open_place(command.from, Side::kFrom, command.etcd, context));
  Result<Place> to = fail(Code::kCancelled, "stopped");
  Result<> done = fail(Code::kCancelled, "stopped");
  std::exception_ptr thrown;
  try {
    to = co_await open_place(command.to, Side::kTo, command.etcd, context);
    if (to) done = co_await copy(command, from, *to, context);
    else done = fail(to.error());
  } catch (...) {
    thrown = std::current_exception();
  }
  co_await async::asio::this_coro::reset_cancellation_state();  // what cancelled the copying must not cancel the closing
  Result<> closed = co_await from.close();
  if (to && closed) closed = co_await to->close();
  if (thrown) std::rethrow_exception(thrown);
  CO_TRY(std::move(done));
  co_return closed;
}

Task<Result<>> run_and_end(const MigrateCommand& command, Context& context, async::Scope& scope) {
  Result<> done = co_await run(command, context);
  scope.cancel();
  co_return done;
}

Task<Result<>> run_until_signal(const MigrateCommand& command, Context& context, bool& stopped) {
  async::Scope scope(co_await async::this_executor());
  scope.spawn(run_and_end(command, context, scope));
  scope.spawn(until_signal(scope, stopped));
  co_return co_await scope.join();
}

Result<> migrate(const MigrateCommand& command) {
  if (command.from == command.to) return fail(Code::kInvalidArgument, "--from and --to are the same store");
  pki::initialise();
  async::Loop loop;
  Context context;
  bool stopped = false;
  Result<> done = loop.run(run_until_signal(command, context, stopped));
  if (done && stopped) return fail(Code::kCancelled, "stopped; the same command goes on where it was");
  return done;
}

}  // namespace

void add_store_migrate(CLI::App& store, Invocation& invocation) {
  CLI::App* app = store.add_subcommand("migrate", "Copy every live key to another store, and compare");
  app->footer(
      "A store is sqlite:/path/state.db, which nobody has open, or etcd:https://host:port,https://host:port.\n"
      "Values and leases are copied; revisions cannot be: a live etcd counts its own. A run that was stopped goes on when started again.\n"
      "Stop what writes to the source first; the node's own state (certificates, containers, images) stays where it is.\n"
      "Examples:\n"
      "  systemctl stop monopod\n"
      "  monopod store migrate --from sqlite:/var/lib/monopod/state.db --to etcd:https://10.0.0.1:2379,https://10.0.0.2:2379 --cacert ca.pem --cert me.pem --key me.key\n"
      "  monopod server --datastore-endpoint https://10.0.0.1:2379,https://10.0.0.2:2379 --datastore-cafile ca.pem ...\n"
      "  monopod store migrate --from etcd:https://10.0.0.1:2379 --to sqlite:/var/lib/monopod/state.db --replace");
  auto command = std::make_shared<MigrateCommand>();
  app->add_option("--from", command->from, "The store to copy")->required();
  app->add_option("--to", command->to, "The store to fill: empty, or left by a run that was stopped")->required();
  app->add_flag("--replace", command->replace, "Let --to hold the source's keys alone, whatever it holds now");
  app->add_option("--cacert", command->etcd.ca_file, "Authority of the etcd servers (PEM; default: the host's)");
  app->add_option("--cert", command->etcd.cert_file, "Certificate to show to them (PEM)");
  app->add_option("--key", command->etcd.key_file, "Its key (PEM)");
  app->add_option("--user", command->etcd.user, "User, where etcd has authentication on");
  app->add_option("--password-file", command->etcd.password_file, "File that holds the user's password");
  app->callback([command, &invocation] { invocation.run = [command] { return report(migrate(*command)); }; });
}

}  // namespace monopod::cmd
