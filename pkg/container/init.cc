#include "container/init.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "container/init_steps.h"
#include "supervisor/init_protocol.h"
#include "supervisor/supervisor.h"
#include "sys/namespaces.h"
#include "sys/packet_socket.h"

namespace monopod::container {
namespace {

constexpr int kExitCannotExecute = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitOther = 128;
constexpr std::size_t kSpecBytesMax = 8U << 20;
constexpr std::size_t kErrorBytesMax = 3000;

int say(char word, const std::vector<int>& fds = {}) {
  return sys::send_packet(supervisor::kSyncFd, std::string_view(&word, 1), fds) ? 0 : -1;
}

int report(const Error& error) {
  int code = error.code() == Code::kNotFound ? kExitNotFound : error.code() == Code::kPermissionDenied ? kExitCannotExecute : kExitOther;
  std::string bytes(1, supervisor::kSyncError);
  bytes += static_cast<char>(code);
  bytes += error.message().substr(0, kErrorBytesMax);
  (void)sys::send_packet(supervisor::kSyncFd, bytes);
  return code;
}

// Everything but finding and executing the program is one kind of failure to the outside.
Result<> as_internal(Result<> result) {
  if (result) return result;
  return fail(Code::kInternal, result.error().message());
}

int clone_flag(NamespaceType type) {
  switch (type) {
    case NamespaceType::kPid: return CLONE_NEWPID;
    case NamespaceType::kNetwork: return CLONE_NEWNET;
    case NamespaceType::kMount: return CLONE_NEWNS;
    case NamespaceType::kIpc: return CLONE_NEWIPC;
    case NamespaceType::kUts: return CLONE_NEWUTS;
    case NamespaceType::kUser: return CLONE_NEWUSER;
    case NamespaceType::kCgroup: return CLONE_NEWCGROUP;
  }
  return 0;
}

// "0" means the writer: no one has to wait for anyone. Before anything else, so that all memory and time is counted where it belongs.
Result<> enter_groups(const InitSpec& spec, int first_fd) {
  for (int i = 0; i < spec.procs_fds; ++i) {
    Result<> written = sys::write_all(first_fd + i, "0");
    if (!written) return fail(std::move(written).error().with("enter control group"));
  }
  return {};
}

// Raising is always allowed; lowering needs CAP_SYS_RESOURCE and is left out without it.
void set_oom_score(const ProcessSpec& process) {
  if (process.oom_score_adj) (void)sys::write_host_file("/proc/self/oom_score_adj", cat(*process.oom_score_adj));
}

Result<> bring_loopback_up() {
  sys::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("open socket");
  struct ifreq request = {};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return fail_errno("bring lo up");
  return {};
}

Result<> enter_namespaces(const ContainerConfig& config) {
  int fresh = CLONE_NEWNS;
  for (const Namespace& ns : config.namespaces) {
    if (ns.type == NamespaceType::kPid) continue;  // at birth
    if (ns.path.empty()) {
      fresh |= clone_flag(ns.type);
      continue;
    }
    TRY_ASSIGN(sys::Fd fd, sys::open_namespace(ns.path));
    if (::setns(fd.get(), clone_flag(ns.type)) < 0) return fail_errno(cat("join namespace ", ns.path));
  }
  if (::unshare(fresh) < 0) return fail_errno("make namespaces");
  if ((fresh & CLONE_NEWNET) != 0) TRY(bring_loopback_up());
  if ((fresh & CLONE_NEWUTS) != 0) {
    if (!config.hostname.empty() && ::sethostname(config.hostname.data(), config.hostname.size()) < 0) return fail_errno("set host name");
    if (!config.domainname.empty() && ::setdomainname(config.domainname.data(), config.domainname.size()) < 0) return fail_errno("set domain name");
  }
  return {};
}

void close_rest_on_exec() { ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */); }

Result<sys::Root> prepare_container(const InitSpec& spec) {
  TRY(enter_groups(spec, supervisor::kFirstPassedFd));
  set_oom_score(spec.config.process);
  TRY(enter_namespaces(spec.config));
  TRY_ASSIGN(sys::Root root, build_root(spec));
  TRY(apply_sysctls(spec.config));
  TRY(hide_paths(root, spec.config));
  return root;
}

Result<sys::Root> prepare_exec(const InitSpec& spec) {
  TRY(enter_groups(spec, supervisor::kFirstPassedFd + 1));
  set_oom_score(spec.config.process);
  int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (::setns(supervisor::kFirstPassedFd, flags) < 0) return fail_errno("join the container's namespaces");
  return sys::Root::open("/");
}

Result<> wait_for_start() {
  for (;;) {
    TRY_ASSIGN(sys::Packet packet, sys::receive_packet(supervisor::kSyncFd, 64));
    if (packet.bytes.empty()) return fail(Code::kCancelled, "never started");
    if (packet.bytes[0] == supervisor::kSyncStart) return {};
  }
}

// What a login shell would know.
void complete_environment(std::vector<std::string>& env, const Credentials& credentials, bool terminal) {
  auto has = [&](std::string_view name) {
    return std::any_of(env.begin(), env.end(), [&](const std::string& e) { return e.starts_with(name); });
  };
  if (!has("HOME=")) env.push_back("HOME=" + credentials.home);
  if (terminal && !has("TERM=")) env.push_back("TERM=xterm");
}

Error exec_error(const std::string& path) {
  int saved = errno;
  Error error = errno_error(saved, cat("exec ", path));
  if (saved == ENOENT) return Error(Code::kNotFound, error.message());
  return Error(Code::kPermissionDenied, error.message());  // ENOEXEC, EACCES, ...: cannot execute
}

int execute(const InitSpec& spec, const std::string& program, const std::vector<std::string>& env) {
  const ProcessSpec& process = spec.config.process;
  if (spec.config.pause) {
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    return run_reaper(-1);
  }
  std::vector<char*> argv;
  std::vector<char*> envp;
  for (const std::string& arg : process.args) argv.push_back(const_cast<char*>(arg.c_str()));
  for (const std::string& entry : env) envp.push_back(const_cast<char*>(entry.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  if (spec.config.init && spec.mode == InitMode::kContainer) {
    pid_t child = ::fork();
    if (child < 0) return report(errno_error(errno, "fork"));
    if (child > 0) {
      ::syscall(SYS_close_range, 0U, ~0U, 0U);
      return run_reaper(child);
    }
    if (!process.terminal) ::setpgid(0, 0);
  }
  ::execve(program.c_str(), argv.data(), envp.data());
  return report(exec_error(program));
}

Result<InitSpec> read_spec() {
  Result<std::string> text = sys::read_all(supervisor::kSpecFd, kSpecBytesMax);
  ::close(supervisor::kSpecFd);
  if (!text) return fail(std::move(text).error());
  return parse_init_spec(*text);
}

int run() {
  // Nobody in the container may look at us or trace us while we hold what it must not have (CVE-2016-9962).
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_NAME, "monopod:init", 0, 0, 0);
  ::umask(0);
  close_rest_on_exec();
  Result<InitSpec> spec = read_spec();
  if (!spec) return report(Error(Code::kInternal, spec.error().message()));
  bool exec = spec->mode == InitMode::kExec;
  Result<sys::Root> root = exec ? prepare_exec(*spec) : prepare_container(*spec);
  if (!root) return report(Error(Code::kInternal, root.error().message()));
  close_rest_on_exec();
  // A session keyring of its own: keys of the host's session are not the container's. Not where a kernel has none.
  ::syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, nullptr);

  Credentials credentials;
  Result<> ready = [&]() -> Result<> {
    TRY_ASSIGN(credentials, find_credentials(*root, spec->config.process));
    if (spec->config.process.terminal) {
      TRY_ASSIGN(sys::Fd master, open_terminal(*root, *spec, !exec));
      if (say(supervisor::kSyncTerminal, {master.get()}) < 0) return fail_errno("hand over terminal");
    }
    return give_stdio(credentials);
  }();
  if (!ready) return report(Error(Code::kInternal, ready.error().message()));
  say(supervisor::kSyncReady);
  if (spec->hold) {
    ready = wait_for_start();
    if (!ready) return kExitOther;
  }
  std::vector<std::string> env = spec->config.process.env;
  complete_environment(env, credentials, spec->config.process.terminal);
  // Said before the filter is there, which may forbid saying anything. What fails from here on still reports itself if it can.
  say(supervisor::kSyncExec);
  Result<std::string> program;
  ready = as_internal(become(*root, *spec, credentials, env, program));
  if (!ready) return report(ready.error());
  if (!program) return report(program.error());
  return execute(*spec, *program, env);
}

}  // namespace

int init_main(int, char**) {
  if (::fcntl(supervisor::kSyncFd, F_GETFD) < 0 || ::fcntl(supervisor::kSpecFd, F_GETFD) < 0) {
    std::fputs("monopod init is started by monopod itself\n", stderr);
    return kExitOther;
  }
  return run();
}

}  // namespace monopod::container
