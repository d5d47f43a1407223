// `monopod trial`: the server in mount and network namespaces of its own, so that a host can try it and stay as it was.
//
//   host                          trial
//   127.0.0.1:PORT ──fd──► API server (inherited listening socket, as with systemd socket activation)
//                                 bridge, pods, cluster addresses: exist only in here
//
// start: opens the socket in the host's namespace, unshares, brings loopback up, executes `monopod server`.
// exec: runs a command inside. stop: ends the server and removes the directory and the control groups it made.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/host.h"
#include "http/server.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

namespace monopod::cmd {
namespace {

struct TrialOptions {
  std::string dir = "/var/lib/monopod-trial";
  int port = 6443;
  std::vector<std::string> arguments;  // for the server, or the command to execute
};

std::string pid_path(const TrialOptions& o) { return o.dir + "/server.pid"; }

// The server's process and proof that it still is the same one: its start time.
struct ServerProcess {
  pid_t pid = 0;
  std::string start_time;
};

std::string start_time_of(pid_t pid) {
  Result<std::string> stat = read_file(cat("/proc/", pid, "/stat"));
  if (!stat) return "";
  std::size_t end = stat->rfind(')');
  if (end == std::string::npos) return "";
  auto fields = split(std::string_view(*stat).substr(end + 2), ' ');
  if (fields[0] == "Z" || fields[0] == "X") return "";  // ended, not yet reaped
  return fields.size() > 19 ? std::string(fields[19]) : "";
}

Result<ServerProcess> find_server(const TrialOptions& o) {
  Result<std::string> text = read_file(pid_path(o));
  if (!text) return fail(Code::kNotFound, cat("no trial runs in ", o.dir));
  auto [pid, start] = split_once(trim(*text), ' ');
  ServerProcess server{.pid = parse_int<pid_t>(pid).value_or(0), .start_time = std::string(start.value_or(""))};
  if (server.pid <= 1 || start_time_of(server.pid) != server.start_time) return fail(Code::kNotFound, cat("no trial runs in ", o.dir));
  return server;
}

Result<> loopback_up() {
  sys::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("bring loopback up");
  return {};
}

Result<> enter_new_namespaces(const TrialOptions& o) {
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return fail_errno("make namespaces for the trial");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("make mounts private");
  // /sys shows the network namespace it was mounted in; the pods' links must not be looked for in the host's.
  std::string run = o.dir + "/run";
  ::mkdir(run.c_str(), 0700);
  if (::mount("tmpfs", run.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=64m") != 0) return fail_errno("mount " + run);
  return loopback_up();
}

// In the child: becomes the server. Only returns on failure.
Error become_server(const TrialOptions& o, sys::Fd socket, const std::string& executable) {
  if (Result<> entered = enter_new_namespaces(o); !entered) return entered.error();
  std::string log = o.dir + "/server.log";
  sys::Fd log_file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  sys::Fd null_file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ::dup2(null_file.get(), 0);
  ::dup2(log_file.get(), 1);
  ::dup2(log_file.get(), 2);
  if (socket.get() != 3) ::dup2(socket.get(), 3);
  else ::fcntl(3, F_SETFD, 0);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  std::vector<std::string> args = {"monopod", "server", "--data-dir", o.dir + "/data", "--run-dir", o.dir + "/run", "--listen", cat("0.0.0.0:", o.port),
                                   "--pod-manifests-dir", o.dir + "/manifests"};
  args.insert(args.end(), o.arguments.begin(), o.arguments.end());
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  ::execv(executable.c_str(), argv.data());
  return errno_error(errno, "execute " + executable);
}

Result<> start(const TrialOptions& o) {
  if (geteuid() != 0) return fail(Code::kPermissionDenied, "monopod trial must run as root: try sudo monopod trial start");
  if (find_server(o)) return fail(Code::kAlreadyExists, cat("a trial already runs in ", o.dir, ": stop it with monopod trial stop --dir ", o.dir));
  std::error_code ec;
  std::filesystem::create_directories(o.dir, ec);
  if (::chmod(o.dir.c_str(), 0700) != 0) return fail_errno("make " + o.dir);
  TRY_ASSIGN(sys::Fd socket, http::listen_tcp("127.0.0.1", static_cast<std::uint16_t>(o.port)));
  char executable[4096] = {};
  if (::readlink("/proc/self/exe", executable, sizeof executable - 1) < 0) return fail_errno("find own executable");
  int status_pipe[2];
  if (::pipe2(status_pipe, O_CLOEXEC) != 0) return fail_errno("make a pipe");
  pid_t child = ::fork();
  if (child < 0) return fail_errno("start the trial");
  if (child == 0) {
    ::setsid();
    Error error = become_server(o, std::move(socket), executable);
    [[maybe_unused]] ssize_t n = ::write(status_pipe[1], error.message().data(), error.message().size());
    ::_exit(1);
  }
  ::close(status_pipe[1]);
  sys::Fd status(status_pipe[0]);
  char failure[512] = {};
  ssize_t n = ::read(status.get(), failure, sizeof failure - 1);  // closes on exec: 0 bytes is success
  if (n > 0) {
    ::waitpid(child, nullptr, 0);
    return fail(Code::kInternal, std::string(failure, static_cast<std::size_t>(n)));
  }
  std::FILE* file = std::fopen(pid_path(o).c_str(), "we");
  if (file == nullptr) return fail_errno("write " + pid_path(o));
  std::fprintf(file, "%d %s\n", child, start_time_of(child).c_str());
  std::fclose(file);
  std::printf("kubeconfig: %s/data/admin.kubeconfig\nlog:        %s/server.log\n", o.dir.c_str(), o.dir.c_str());
  return {};
}

// Directories of the control groups that hold the server's pods, one per hierarchy.
std::vector<std::string> pod_groups_of(pid_t server) {
  std::vector<std::string> out;
  Result<std::string> text = read_file(cat("/proc/", server, "/cgroup"));
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {  // "4:memory:/group", "0::/group" for v2
    auto fields = split(line, ':');
    if (fields.size() < 3) continue;
    std::string group(fields[2] == "/" ? "" : fields[2]);
    if (group.ends_with("/node")) group.resize(group.size() - 5);  // v2: the leaf that the processes moved into
    for (std::string base : fields[1].empty() ? std::vector<std::string>{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} : std::vector<std::string>{cat("/sys/fs/cgroup/", fields[1])})
      out.push_back(base + group + "/pods");
  }
  return out;
}

// Removes what is empty, leaves first: a group that another node still uses is busy and stays.
void remove_groups(const std::string& directory) {
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ec))
    if (entry.is_directory(ec)) remove_groups(entry.path());
  ::rmdir(directory.c_str());
}

Result<> stop(const TrialOptions& o) {
  Result<ServerProcess> server = find_server(o);
  if (server) {
    std::vector<std::string> groups = pod_groups_of(server->pid);
    ::kill(server->pid, SIGTERM);
    for (int tenths = 0; tenths < 600 && start_time_of(server->pid) == server->start_time; ++tenths) ::usleep(100'000);
    if (start_time_of(server->pid) == server->start_time) {
      ::kill(server->pid, SIGKILL);
      for (int tenths = 0; tenths < 50 && start_time_of(server->pid) == server->start_time; ++tenths) ::usleep(100'000);
    }
    for (const std::string& group : groups) remove_groups(group);
  }
  std::error_code ec;
  std::filesystem::remove_all(o.dir, ec);
  if (ec) return fail(Code::kUnknown, cat("remove ", o.dir, ": ", ec.message()));
  return {};
}

// Joins the trial's namespaces and executes; only returns on failure.
Result<> execute(const TrialOptions& o) {
  TRY_ASSIGN(ServerProcess server, find_server(o));
  for (const char* kind : {"net", "mnt"}) {
    std::string path = cat("/proc/", server.pid, "/ns/", kind);
    sys::Fd ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!ns || ::setns(ns.get(), 0) != 0) return fail_errno("join " + path);
  }
  if (o.arguments.empty()) return fail(Code::kInvalidArgument, "name a command: monopod trial exec -- ip address");
  std::vector<std::string> args = o.arguments;
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  return fail_errno("execute " + args[0]);
}

}  // namespace

void add_trial(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "trial", "Try the server in namespaces of its own; the host stays as it was",
                              "  sudo monopod trial start --port 6443\n"
                              "  sudo kubectl --kubeconfig /var/lib/monopod-trial/data/admin.kubeconfig get pods -A\n"
                              "  sudo monopod trial exec -- ip address\n"
                              "  sudo monopod trial stop");
  app->require_subcommand(1);
  struct Verb {
    const char* name;
    const char* summary;
    Result<> (*run)(const TrialOptions&);
    const char* rest;
  };
  static constexpr Verb kVerbs[] = {
      {"start", "Start it; options after -- go to monopod server", start, "options of monopod server"},
      {"stop", "Stop it and remove every trace", stop, nullptr},
      {"exec", "Run a command inside its namespaces", execute, "the command and its arguments"},
  };
  for (const Verb& verb : kVerbs) {
    auto options = std::make_shared<TrialOptions>();
    CLI::App* sub = app->add_subcommand(verb.name, verb.summary);
    sub->add_option("--dir", options->dir, "Everything it writes")->capture_default_str();
    if (std::string_view(verb.name) == "start") sub->add_option("--port", options->port, "Port on 127.0.0.1")->check(CLI::Range(1, 65535))->capture_default_str();
    if (verb.rest != nullptr) sub->footer("After -- comes: " + std::string(verb.rest));
    auto run = verb.run;
    sub->callback([options, run, &invocation] {
      options->arguments = invocation.tail;
      invocation.run = [options, run] { return report(run(*options)); };
    });
  }
}

}  // namespace monopod::cmd
