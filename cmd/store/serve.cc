// `monopod store serve`: the datastore as a server of its own (etcd's v3 API).

#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/scope.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/host.h"
#include "cmd/node/backup_options.h"
#include "cmd/store/commands.h"
#include "cmd/until_signal.h"
#include "etcd/serve.h"
#include "pki/random.h"
#include "sys/text_pages.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct StoreServeOptions {
  std::string data_dir = "/var/lib/monopod-store";
  std::string listen = "127.0.0.1:2379";
  std::string sync = "always";
  std::string cert_file, key_file, trusted_ca_file;
  bool client_cert_auth = false;
  std::string auth_token = "simple";
  std::int64_t auth_token_ttl_s = etcd::kTokenTtl.count();
  std::int64_t quota_backend_bytes = 0;
  std::string compaction_mode = "periodic";
  std::string compaction_retention = "0";
  std::uint64_t compaction_bytes = 0;
  BackupOptions backup;
};

constexpr std::chrono::seconds kHour = std::chrono::hours(1);
constexpr int kSamplesPerRetention = 10;  // the age of history is known as finely as this

// etcd's two modes: what is older than a time (a bare number counts hours), or what lies before the newest N revisions. "0" leaves it to clients.
Result<store::CompactionPolicy> parse_compaction(std::string_view mode, std::string_view retention) {
  store::CompactionPolicy policy{.keep_revisions = 0, .keep_age = std::chrono::seconds(0)};
  std::optional<std::uint64_t> number = parse_int<std::uint64_t>(retention);
  if (mode == "revision") {
    if (!number || *number > INT64_MAX) return fail(Code::kInvalidArgument, cat("--auto-compaction-retention ", retention, ": how many revisions are kept, e.g. 10000"));
    policy.keep_revisions = static_cast<std::int64_t>(*number);
    return policy;
  }
  Result<Duration> age = number && *number < 1'000'000 ? Result<Duration>(kHour * static_cast<std::int64_t>(*number)) : parse_duration(retention);
  if (!age || age->count() < 0) return fail(Code::kInvalidArgument, cat("--auto-compaction-retention ", retention, ": how long history is kept, e.g. 30m or 10h"));
  policy.keep_age = std::chrono::duration_cast<std::chrono::seconds>(*age);
  if (policy.keep_age.count() == 0) return policy;
  policy.keep_revisions = 1;
  policy.interval = std::max(std::min(policy.keep_age, kHour) / kSamplesPerRetention, std::chrono::seconds(1));
  return policy;
}

Task<Result<>> serve_until_signal(async::Loop& loop, etcd::ServeOptions options, async::Time& time, Rng& rng) {
  async::Scope scope(loop.executor());
  scope.spawn(etcd::serve(std::move(options), time, rng));
  bool stopped = false;
  scope.spawn(until_signal(scope, stopped));
  co_return co_await scope.join();
}

Result<> serve(const StoreServeOptions& o) {
  pki::initialise();
  etcd::ServeOptions options{.data_dir = o.data_dir, .listen = o.listen, .quota_backend_bytes = o.quota_backend_bytes, .client_cert_auth = o.client_cert_auth};
  TRY_ASSIGN(options.durability, store::parse_durability(o.sync));
  TRY_ASSIGN(options.compaction, parse_compaction(o.compaction_mode, o.compaction_retention));
  options.compaction.file_bytes_max = static_cast<std::int64_t>(o.compaction_bytes);
  TRY_ASSIGN(options.backup, parse_backup_options(o.backup));
  for (auto [path, into] : {std::pair{&o.cert_file, &options.certificate_pem}, {&o.key_file, &options.key_pem}, {&o.trusted_ca_file, &options.client_ca_pem}})
    if (!path->empty()) {
      TRY_ASSIGN(*into, read_file(*path));
    }
  Result<etcd::TokenOptions> tokens = etcd::parse_token_options(o.auth_token, read_file);
  if (!tokens) return fail(std::move(tokens).error().with("--auth-token"));
  options.tokens = std::move(*tokens);
  if (options.tokens.kind == etcd::TokenOptions::Kind::kSimple) options.tokens.ttl = std::chrono::seconds(o.auth_token_ttl_s);
  options.on_ready = [listen = o.listen](std::uint16_t) {
    sys::forget_program_pages();
    log::info("store is up", {{"listen", listen}});
  };
  async::ignore_broken_pipes();
  async::Loop loop;
  async::RealTime time;
  SystemRng rng;
  return loop.run(serve_until_signal(loop, std::move(options), time, rng));
}

}  // namespace

void add_store_serve(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "serve", "Serve etcd's v3 API over gRPC",
                              "  monopod store serve --data-dir /var/lib/monopod-store --listen 127.0.0.1:2379\n"
                              "  monopod store serve --backup-dir /mnt/usb/backups --backup-every 6h --backup-keep 8\n"
                              "  etcdctl --endpoints 127.0.0.1:2379 put greeting hello");
  auto options = std::make_shared<StoreServeOptions>();
  add_log_options(*app);
  app->add_option("--data-dir", options->data_dir, "Holds the database file, and store.sock for commands on this host")->capture_default_str();
  app->add_option("--listen", options->listen, "address:port, or unix:/path")->capture_default_str();
  app->add_option("--store-sync", options->sync, "always, batch or os")->check(CLI::IsMember({"always", "batch", "os"}))->capture_default_str();
  app->add_option("--quota-backend-bytes", options->quota_backend_bytes, "Size of the database file at which writes are refused; 0: 2 GiB, negative: none")->capture_default_str();
  app->add_option("--auto-compaction-mode", options->compaction_mode, "What --auto-compaction-retention counts: periodic (time) or revision")
      ->check(CLI::IsMember({"periodic", "revision"}))
      ->capture_default_str();
  app->add_option("--auto-compaction-retention", options->compaction_retention, "History that is kept: 30m, 10h (a bare number: hours) or, by revision, a count; 0: clients compact")
      ->capture_default_str();
  app->add_option("--auto-compaction-size", options->compaction_bytes, "Size of the database file (e.g. 512MiB) from which on all history beyond the retention by time goes; 0: none")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{INT64_MAX}))
      ->capture_default_str();
  app->add_option("--cert-file", options->cert_file, "Server certificate (PEM)");
  app->add_option("--key-file", options->key_file, "Its key (PEM)");
  app->add_option("--trusted-ca-file", options->trusted_ca_file, "Authority of client certificates (PEM)");
  app->add_flag("--client-cert-auth", options->client_cert_auth, "Every client must show a certificate of --trusted-ca-file");
  app->add_option("--auth-token", options->auth_token, "Tokens of users: simple, or jwt,sign-method=ES256,priv-key=FILE[,pub-key=FILE][,ttl=10m]")->capture_default_str();
  app->add_option("--auth-token-ttl", options->auth_token_ttl_s, "Seconds a simple token lives unused")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{31'536'000}))
      ->capture_default_str();
  add_backup_options(*app, options->backup, "");
  app->callback([options, &invocation] {
    invocation.run = [options] {
      configure_logging();
      return report(serve(*options));
    };
  });
}

}  // namespace monopod::cmd
