// `monopod engine`: containers for people, without a cluster. This process becomes the supervisor, and starts the one that serves the API.
#include "cmd/engine/engine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/engine/rootless.h"
#include "cmd/host.h"
#include "http/server.h"
#include "store/sqlite_backend.h"
#include "supervisor/server.h"

namespace monopod::cmd {
namespace {

constexpr int kEngineStopTimeoutMs = 90'000;
constexpr int kSocketFd = 3;     // in the engine's process
constexpr std::chrono::milliseconds kSocketLook{50};
constexpr int kCriSocketFd = 4;  // there too, where CRI is served

void add_engine_options(CLI::App& app, EngineCommand& c) {
  add_log_options(app);
  app.add_option("--data-dir", c.data_dir, "Everything that survives a reboot: images, containers, volumes")->envname("MONOPOD_ENGINE_DATA_DIR")->capture_default_str();
  app.add_option("--run-dir", c.run_dir, "What is gone after a reboot: mounts, namespaces")->envname("MONOPOD_ENGINE_RUN_DIR")->capture_default_str();
  app.add_option("--docker-socket", c.docker_socket, "Unix socket of the Docker Engine API; a leading unix:// is allowed")->envname("MONOPOD_ENGINE_DOCKER_SOCKET")->capture_default_str();
  app.add_option("--cri-socket", c.cri_socket, "Unix socket of CRI v1, for kubelet and crictl; a leading unix:// is allowed; empty: none")->envname("MONOPOD_ENGINE_CRI_SOCKET")->capture_default_str();
  app.add_option("--pod-cidr", c.pod_cidr, "Addresses of CRI's pods, until a kubelet names others")->capture_default_str();
  app.add_option("--bridge", c.bridge, "Name of the default network's bridge")->capture_default_str();
  app.add_option("--subnet", c.subnet, "Addresses of the default network")->capture_default_str();
  app.add_option("--hosts-dir", c.hosts_dir, "Mirrors and trust of registries: HOST/hosts.toml")->capture_default_str();
  add_layers_option(app, c.layers);
  app.add_option("--leave-after", c.leave_after, "End once no container has run and nobody has asked for so long: 10s")->envname("MONOPOD_ENGINE_LEAVE_AFTER");
  app.add_option("--gc-after", c.collect_after, "Images without a name go once nobody used them for so long; 0s: never")->envname("MONOPOD_ENGINE_GC_AFTER")->capture_default_str();
  app.add_option("--gc-disk-percent", c.collect_disk_percent, "They go, least recently used first, where the disk is fuller than this")->check(CLI::Range(1, 100))->capture_default_str();
  app.add_flag("--gc-named", c.collect_named, "Where the disk is too full, images with a name go too that no container has");
  app.add_option("--store-sync", c.store_sync, "always: lose nothing acknowledged; batch: a power cut may lose 10 ms; os: seconds")->check(CLI::IsMember({"always", "batch", "os"}))->capture_default_str();
}

Result<> check(EngineCommand& c) {
  TRY(check_kernel());
  for (std::string* path : {&c.docker_socket, &c.cri_socket})
    if (path->starts_with("unix://")) path->erase(0, 7);
  for (std::string* path : {&c.data_dir, &c.run_dir, &c.docker_socket, &c.cri_socket})
    if (path != &c.cri_socket || !path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  if (!c.leave_after.empty()) TRY(parse_duration(c.leave_after));
  TRY(parse_duration(c.collect_after));
  TRY(network::parse_cidr(c.subnet));
  TRY(network::parse_cidr(c.pod_cidr));
  TRY(make_private_dir(c.data_dir));
  return make_private_dir(c.run_dir);
}

// Held by the supervisor, over its own exec too, so that nobody is turned away while the engine's process starts again.
Result<> listen(const std::string& path, int number) {
  Result<sys::Fd> made = http::listen_unix(path);
  // A killed engine's process may answer for a moment more.
  for (auto waited = kSocketLook; !made && made.error().code() == Code::kUnavailable && waited < kPredecessorGoes; waited += kSocketLook) {
    std::this_thread::sleep_for(kSocketLook);
    made = http::listen_unix(path);
  }
  TRY_ASSIGN(sys::Fd socket, std::move(made));
  bool kept = socket.get() == number ? ::fcntl(number, F_SETFD, 0) == 0 : ::dup2(socket.get(), number) == number;
  if (!kept) return fail_errno("keep the socket");
  if (socket.get() == number) (void)socket.release();
  return {};
}

Result<> listen_on_all(const EngineCommand& c) {
  TRY(listen(c.docker_socket, kSocketFd));
  return c.cri_socket.empty() ? Result<>() : listen(c.cri_socket, kCriSocketFd);
}

// An engine that left may have a successor by the time that its supervisor ends: that one's sockets are not ours.
std::vector<std::pair<std::string, ::ino_t>> own_sockets(const EngineCommand& c) {
  std::vector<std::pair<std::string, ::ino_t>> out;
  struct ::stat st;
  for (const std::string& path : {c.docker_socket, c.cri_socket})
    if (::lstat(path.c_str(), &st) == 0) out.emplace_back(path, st.st_ino);
  return out;
}

int run_engine(EngineCommand c, const std::vector<std::string>& log_arguments, std::vector<std::string> argv, bool only_check) {
  configure_logging();
  if (::geteuid() != 0) return run_rootless(argv);
  if (Result<> ready = check(c); !ready) return report(ready);
  if (only_check) return 0;
  if (Result<> free = store::wait_until_unused(c.data_dir + "/state.db", kPredecessorGoes); !free) return report(free);
  std::vector<int> inherited = take_inherited_sockets();
  if (inherited.empty())
    if (Result<> listening = listen_on_all(c); !listening) return report(listening);
  supervisor::ServerOptions supervisor;
  supervisor.argv = std::move(argv);
  supervisor.run_dir = c.run_dir + "/supervisor";
  supervisor.node_argv = {"monopod", "engine-process", "--data-dir", c.data_dir, "--run-dir", c.run_dir, "--docker-socket", c.docker_socket, "--cri-socket", c.cri_socket, "--pod-cidr", c.pod_cidr, "--bridge", c.bridge, "--subnet", c.subnet,
                          "--hosts-dir", c.hosts_dir, "--store-sync", c.store_sync, "--layers", c.layers, "--leave-after", c.leave_after,
                          "--gc-after", c.collect_after, "--gc-disk-percent", std::to_string(c.collect_disk_percent)};
  if (c.collect_named) supervisor.node_argv.push_back("--gc-named");
  supervisor.node_argv.insert(supervisor.node_argv.end(), log_arguments.begin(), log_arguments.end());
  supervisor.passed_fds = {kSocketFd};
  if (!c.cri_socket.empty()) supervisor.passed_fds.push_back(kCriSocketFd);
  if (std::getenv(kRootlessVariable) != nullptr) supervisor.passed_fds.push_back(kSocketBrokerFd);
  supervisor.stop_timeout_ms = kEngineStopTimeoutMs;
  for (const char* name : {"PATH", "MONOPOD_FAILPOINTS", kRootlessVariable})
    if (const char* value = std::getenv(name); value != nullptr) supervisor.node_env.push_back(cat(name, "=", value));
  const std::vector<std::pair<std::string, ::ino_t>> sockets = inherited.empty() ? own_sockets(c) : std::vector<std::pair<std::string, ::ino_t>>{};
  int code = supervisor::run_server(std::move(supervisor));
  struct ::stat st;
  for (const auto& [path, inode] : sockets)
    if (::lstat(path.c_str(), &st) == 0 && st.st_ino == inode) ::unlink(path.c_str());
  return code;
}

// Root's, or where XDG says, else below the user's home: never in a directory of everybody's, where others could be first.
std::string own_directory(const char* of_root, const char* variable, const char* below_home) {
  if (::geteuid() == 0 && !rootless()) return of_root;
  const char* own = std::getenv(variable);
  const char* home = std::getenv("HOME");
  return own != nullptr && *own == '/' ? cat(own, "/monopod-engine") : cat(home != nullptr ? home : "", below_home, "/monopod-engine");
}

}  // namespace

std::string engine_data_dir() { return own_directory("/var/lib/monopod-engine", "XDG_DATA_HOME", "/.local/share"); }
std::string engine_run_dir() { return own_directory("/run/monopod-engine", "XDG_RUNTIME_DIR", "/.local/run"); }

void add_engine(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "engine", "Run containers without a cluster, for docker clients and kubelets",
                              "  sudo monopod engine\n"
                              "  export DOCKER_HOST=unix:///run/monopod-engine/docker.sock\n"
                              "  docker run --rm -p 8080:80 web\n"
                              "  crictl --runtime-endpoint unix:///run/monopod-engine/cri.sock pods");
  auto command = std::make_shared<EngineCommand>();
  add_engine_options(*app, *command);
  auto only_check = std::make_shared<bool>(false);
  app->add_flag("--check", *only_check, "Look at options and host, say what is wrong, and exit");
  app->callback([app, command, only_check, &invocation] {
    std::vector<std::string> log_arguments = {"--log-level", app->get_option("--log-level")->as<std::string>(), "--log-format", app->get_option("--log-format")->as<std::string>()};
    invocation.run = [command, log_arguments, only_check, argv = invocation.argv] { return run_engine(*command, log_arguments, argv, *only_check); };
  });
}

void add_engine_process(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "engine-process", "The engine's process; started by monopod engine", "");
  app->group("");  // hidden
  auto command = std::make_shared<EngineCommand>();
  add_engine_options(*app, *command);
  app->callback([command, &invocation] {
    invocation.run = [command] {
      configure_logging();
      return report(run_engine_process(*command, sys::Fd(kSocketFd), command->cri_socket.empty() ? sys::Fd() : sys::Fd(kCriSocketFd)));
    };
  });
}

}  // namespace monopod::cmd
