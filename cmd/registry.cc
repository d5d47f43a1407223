// `monopod registry`: the server of the OCI distribution protocol.
#include "registry/registry.h"

#include <boost/asio/signal_set.hpp>

#include "async/as_result.h"
#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/host.h"
#include "http/server.h"
#include "pki/random.h"
#include "registry/access.h"
#include "store/sqlite_backend.h"
#include "sys/text_pages.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct RegistryCommand {
  std::string data_dir = "/var/lib/monopod-registry";
  std::string listen = "127.0.0.1:5000";
  std::string cert_file, key_file, password_file;
};

constexpr std::size_t kRegistryThreads = 4;

struct Server {
  const RegistryCommand& command;
  http::TlsServer* tls;
  const registry::Access* access;
  async::Executor executor;
  async::Pool& pool;
  async::Time& time;
  Rng& rng;

  Task<Result<>> until_signal(async::Scope& scope) {
    async::asio::signal_set signals(executor, SIGINT, SIGTERM);
    [[maybe_unused]] auto [ec, number] = co_await signals.async_wait(async::as_tuple);  // forever: the user decides
    scope.cancel();
    co_return Result<>();
  }

  Task<Result<>> serve(async::StateStore& state) {
    CO_TRY_ASSIGN(ListenAddress address, parse_listen_address(command.listen));
    CO_TRY_ASSIGN(auto registry, co_await registry::Registry::open({.data_dir = command.data_dir, .access = access}, pool, time, rng, state));
    CO_TRY_ASSIGN(sys::Fd socket, http::listen_tcp(address.host, address.port));
    http::Server server(executor, time, *registry, {.tls = tls});
    async::Scope scope(executor);
    scope.spawn(server.serve(std::move(socket)));
    scope.spawn(registry->maintain());
    scope.spawn(until_signal(scope));
    sys::forget_program_pages();
    log::info("registry is up", {{"listen", command.listen}, {"tls", tls != nullptr}});
    co_return co_await scope.join();
  }

  Task<Result<>> run() {
    CO_TRY_ASSIGN(auto database, co_await store::SqliteBackend::open({.path = command.data_dir + "/registry.db"}, pool, time, rng));
    Result<> served = co_await serve(database->state());
    Result<> closed = co_await database->close();
    co_return served ? closed : served;
  }
};

Result<> run(const RegistryCommand& command) {
  pki::initialise();
  if (command.cert_file.empty() != command.key_file.empty()) return fail(Code::kInvalidArgument, "--tls-cert-file and --tls-private-key-file go together");
  std::unique_ptr<http::TlsServer> tls;
  if (!command.cert_file.empty()) {
    http::TlsServerOptions options;
    TRY_ASSIGN(options.certificate_pem, read_file(command.cert_file));
    TRY_ASSIGN(options.key_pem, read_file(command.key_file));
    TRY_ASSIGN(tls, http::TlsServer::make(options));
  }
  std::unique_ptr<registry::Access> access;
  if (!command.password_file.empty()) {
    TRY_ASSIGN(std::string text, read_file(command.password_file));
    auto parsed = registry::Access::parse(text);
    if (!parsed) return fail(std::move(parsed).error().with(command.password_file));
    access = *std::move(parsed);
  }
  async::ignore_broken_pipes();
  async::Loop loop;
  async::Pool pool(kRegistryThreads);
  async::RealTime time;
  SystemRng rng;
  Server server{command, tls.get(), access.get(), loop.executor(), pool, time, rng};
  return loop.run(server.run());
}

}  // namespace

void add_registry(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "registry", "Serve images to others: the OCI distribution protocol",
                              "  monopod registry --listen 127.0.0.1:5000 --data-dir /var/lib/monopod-registry\n"
                              "  skopeo copy --dest-tls-verify=false docker-archive:app.tar docker://127.0.0.1:5000/app:1\n"
                              "  monopod registry --listen 0.0.0.0:443 --tls-cert-file tls.crt --tls-private-key-file tls.key --htpasswd-file users");
  auto command = std::make_shared<RegistryCommand>();
  add_log_options(*app);
  app->add_option("--listen", command->listen, "address:port")->capture_default_str();
  app->add_option("--data-dir", command->data_dir, "Holds registry.db and registry/ with the content")->capture_default_str();
  app->add_option("--tls-cert-file", command->cert_file, "Server certificate (PEM); without one the registry speaks plain http");
  app->add_option("--tls-private-key-file", command->key_file, "Its key (PEM)");
  app->add_option("--htpasswd-file,--basic-auth-file", command->password_file, "user:hash lines, bcrypt as htpasswd -B writes it; without it everybody may read and write");
  app->callback([command, &invocation] {
    invocation.run = [command] {
      configure_logging();
      return report(run(*command));
    };
  });
}

}  // namespace monopod::cmd
