// `monopod server`: checks the host, then becomes the supervisor, which starts the node process.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/host.h"
#include "cmd/node/server_options.h"
#include "store/sqlite_backend.h"
#include "supervisor/server.h"

namespace monopod::cmd {
namespace {

Result<> check_host(const ServerOptions& options) {
  if (geteuid() != 0) return fail(Code::kPermissionDenied, "monopod server must run as root: try sudo monopod server");
  if (!options.disable_agent) TRY(check_kernel());
  TRY(parse_backup_options(options.backup));
  TRY(read_audit_policy(options.audit));
  Result<> made = make_private_dir(options.data_dir);
  if (made && ::access(options.data_dir.c_str(), W_OK) != 0) made = fail_errno("data dir " + options.data_dir);
  if (!made && made.error().os_errno() == EROFS)
    return fail(Code::kFailedPrecondition, cat("data dir ", options.data_dir, ": read-only file system; mount it writable, or choose another place with --data-dir"));
  TRY(std::move(made));
  return make_private_dir(options.run_dir);
}

int run_server(const ServerOptions& options, const std::vector<std::string>& log_arguments, std::vector<std::string> argv, bool only_check) {
  configure_logging();
  if (Result<> ready = check_host(options); !ready) return report(ready);
  if (only_check) return 0;
  if (Result<> free = store::wait_until_unused(options.data_dir + "/state.db", kPredecessorGoes); !free) return report(free);
  supervisor::ServerOptions supervisor;
  supervisor.argv = std::move(argv);
  supervisor.run_dir = options.run_dir + "/supervisor";
  supervisor.node_argv = node_arguments(options);
  supervisor.node_argv.insert(supervisor.node_argv.end(), log_arguments.begin(), log_arguments.end());
  supervisor.passed_fds = take_inherited_sockets();
  supervisor.stop_timeout_ms = (options.stop_timeout_s + 10) * 1000;
  for (const char* name : {"PATH", "MONOPOD_FAILPOINTS", "WATCHDOG_USEC"})
    if (const char* value = std::getenv(name); value != nullptr) supervisor.node_env.push_back(cat(name, "=", value));
  if (!supervisor.passed_fds.empty()) supervisor.node_env.push_back(cat("MONOPOD_LISTEN_FDS=", supervisor.passed_fds.size()));
  return supervisor::run_server(std::move(supervisor));
}

}  // namespace

void add_server(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "server", "Run the node: API server, controllers, scheduler, agent",
                              "  sudo monopod server\n"
                              "  sudo monopod server --data-dir /data/monopod --node-name edge-1\n"
                              "  sudo kubectl --kubeconfig /var/lib/monopod/admin.kubeconfig get nodes");
  auto options = std::make_shared<ServerOptions>();
  add_server_options(*app, *options);
  auto only_check = std::make_shared<bool>(false);
  app->add_flag("--check", *only_check, "Look at options and host, say what is wrong, and exit");
  auto config = std::make_shared<std::string>("/etc/monopod/config.yaml");
  add_config_option(*app, *config);
  app->callback([app, options, config, only_check, &invocation] {
    if (Result<> applied = apply_config(*app, *config, app->get_option("--config")->count() > 0); !applied) {
      invocation.run = [error = applied.error()] { return report(error); };
      return;
    }
    std::vector<std::string> log_arguments = {"--log-level", app->get_option("--log-level")->as<std::string>(), "--log-format", app->get_option("--log-format")->as<std::string>()};
    invocation.run = [options, log_arguments, only_check, argv = invocation.argv] { return run_server(*options, log_arguments, argv, *only_check); };
  });
}

}  // namespace monopod::cmd
