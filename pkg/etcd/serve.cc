#include "etcd/serve.h"

#include <functional>

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/server.h"
#include "etcd/service.h"

namespace monopod::etcd {

using namespace store;

namespace {

using async::Task;

Result<sys::Fd> listen_on(const std::string& where) {
  if (where.starts_with("unix:")) return http::listen_unix(where.substr(5));
  std::size_t colon = where.rfind(':');
  auto port = colon == std::string::npos ? std::nullopt : parse_int<std::uint16_t>(std::string_view(where).substr(colon + 1));
  if (!port) return fail(Code::kInvalidArgument, cat("listen address \"", where, "\": want address:port or unix:/path"));
  std::string host = where.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return http::listen_tcp(host, *port);
}

Result<std::unique_ptr<http::TlsServer>> make_tls(const ServeOptions& options) {
  if (options.certificate_pem.empty() != options.key_pem.empty()) return fail(Code::kInvalidArgument, "a certificate and its key belong together");
  if (options.client_cert_auth && (options.certificate_pem.empty() || options.client_ca_pem.empty()))
    return fail(Code::kInvalidArgument, "client certificates need a server certificate, its key and a trusted CA");
  if (options.certificate_pem.empty()) return nullptr;
  return http::TlsServer::make({.certificate_pem = options.certificate_pem,
                                .key_pem = options.key_pem,
                                .client_ca_pem = options.client_ca_pem,
                                .client_certificate = options.client_cert_auth ? http::ClientCertificate::kRequired : http::ClientCertificate::kNone});
}

// The socket for commands on this host; none if it cannot be made, since all else works without.
sys::Fd listen_locally(const ServeOptions& options) {
  std::string path = local_socket_path(options.data_dir);
  if (!options.local_socket || options.listen == "unix:" + path) return {};
  Result<sys::Fd> socket = http::listen_unix(path);
  if (socket) return std::move(*socket);
  log::warn("no local socket", {{"path", path}, {"error", socket.error()}});
  return {};
}

// Serves until cancelled. A coroutine for run_scoped.
struct Listeners {
  SqliteBackend& store;
  http::Server& server;
  http::Server& local;
  backup::Schedule* schedule;
  sys::Fd socket, local_socket;
  Task<Result<>> operator()(async::Scope& scope) {
    if (local_socket) scope.spawn(local.serve(std::move(local_socket)));
    if (schedule != nullptr) scope.spawn(schedule->run());
    scope.spawn(server.serve(std::move(socket)));
    // A store that failed serves nobody: the process ends, and whoever starts it again gets what the file holds.
    scope.spawn(store.until_failure());
    co_return co_await scope.join();
  }
};

Task<Result<>> serve_store(SqliteBackend& store, const ServeOptions& options, async::Time& time, async::Pool& pool) {
  auto tokens = make_tokens(options.tokens, time);
  if (!tokens) co_return fail(std::move(tokens).error().with("auth tokens"));
  CO_TRY_ASSIGN(auto auth, co_await AuthStore::open(store.state(), std::move(*tokens), options.auth));
  CO_TRY_ASSIGN(auto tls, make_tls(options));
  CO_TRY_ASSIGN(sys::Fd socket, listen_on(options.listen));
  Result<std::uint16_t> port = options.listen.starts_with("unix:") ? Result<std::uint16_t>(std::uint16_t{0}) : http::local_port(socket);
  CO_TRY(port);
  std::string host = options.listen.substr(0, options.listen.rfind(':'));
  std::string url = *port == 0 ? options.listen : cat(tls ? "https://" : "http://", host, ":", *port);
  std::unique_ptr<backup::Schedule> schedule;
  if (options.backup) schedule = std::make_unique<backup::Schedule>(backup::Source{.store = store, .folder = options.data_dir, .clock = time}, time, *options.backup);
  Operations operations{.store = store, .data_dir = options.data_dir, .pool = pool, .clock = time, .schedule = schedule.get()};
  Service service(store, time, {.client_url = url,
                                .progress_interval = options.progress_interval,
                                .sqlite = &store,
                                .quota_bytes = quota_of_flag(options.quota_backend_bytes),
                                .snapshot_dir = options.data_dir,
                                .auth = auth.get(),
                                .client_cert_auth = options.client_cert_auth,
                                .operations = &operations});
  CO_TRY(co_await service.start());
  async::Executor executor = co_await async::this_executor();
  http::Server server(executor, time, service, {.tls = tls.get()});
  http::Server local(executor, time, service, {});
  Listeners listeners{store, server, local, schedule.get(), std::move(socket), listen_locally(options)};
  log::info("store serves", {{"url", url}, {"revision", store.current_revision().value}});
  if (options.on_ready) options.on_ready(*port);
  co_return co_await async::run_scoped([&listeners](async::Scope& scope) { return listeners(scope); });
}

constexpr std::size_t kServedValueBytes = 16U << 20;  // clients of a server have no memory of their own to read from again

}  // namespace

Task<Result<>> serve(ServeOptions options, async::Time& time, Rng& rng) {
  async::Pool pool(2);
  CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open({.path = options.data_dir + "/state.db", .durability = options.durability, .compaction = options.compaction, .value_cache_bytes = kServedValueBytes},
                                                         pool, time, rng));
  co_await pool.run([&options] { backup::remove_copies(options.data_dir); });
  Result<> result;
  std::exception_ptr thrown;
  try {
    result = co_await serve_store(*store, options, time, pool);
  } catch (...) {
    thrown = std::current_exception();
  }
  co_await async::asio::this_coro::reset_cancellation_state();  // what cancelled the serving must not cancel the closing
  Result<> closed = co_await store->close();
  if (thrown) std::rethrow_exception(thrown);
  if (!result && result.error().code() != Code::kCancelled) co_return result;
  co_return closed;
}

}  // namespace monopod::etcd
