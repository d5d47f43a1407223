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

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "container/hooks.h"
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

// Where the parent is heard and told: the socket that we were born with, later the connection of whoever said start.
class Channel {
 public:
  int fd() const { return fd_; }
  Result<> say(char word, const std::vector<int>& fds = {}) const { return sys::send_packet(fd_, std::string_view(&word, 1), fds); }
  // Forever: a parent that is gone is the end of the stream.
  Result<> wait_for(char word) const {
    for (;;) {
      TRY_ASSIGN(sys::Packet packet, sys::receive_packet(fd_, 64));
      if (packet.bytes.empty()) return fail(Code::kCancelled, "the parent is gone");
      if (packet.bytes[0] == word) return {};
    }
  }
  void replace(sys::Fd fd) { fd_ = fd.release(); }  // the one before goes at exec
  int report(const Error& error) const {
    int code = error.code() == Code::kNotFound ? kExitNotFound : error.code() == Code::kPermissionDenied ? kExitCannotExecute : kExitOther;
    std::string bytes(1, supervisor::kSyncError);
    bytes += static_cast<char>(code);
    bytes += error.message().substr(0, kErrorBytesMax);
    (void)sys::send_packet(fd_, bytes);
    return code;
  }

 private:
  int fd_ = supervisor::kSyncFd;
};

constexpr int kLeftOpenMax = 200;

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
    case NamespaceType::kTime: return CLONE_NEWTIME;
  }
  return 0;
}

// "0" means the writer: no one has to wait for anyone. Before anything else, so that all memory and time is counted where it belongs.
Result<> enter_groups(const InitSpec& spec, int first_fd) {
  if (spec.enters_views) {
    for (const auto& [name, path] : spec.cgroup_views) {
      if (name.empty() || name == "unified") continue;  // v2: entered at birth
      // A thread that moves itself alone needs no lock of the whole system (sys::Cgroups::open_entry).
      sys::Fd tasks(::open(cat(path, "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
      Result<> written = tasks ? sys::write_all(tasks.get(), "0") : fail_errno(cat("open ", path, "/tasks"));
      if (!written) return fail(std::move(written).error().with("enter control group"));
      leave_open(std::move(tasks));
    }
  }
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
  leave_open(std::move(socket));
  return {};
}

// Before any process is in it. "monotonic 10 0": time_namespaces(7).
Result<> enter_time_namespace(const std::vector<TimeOffset>& offsets) {
  std::string text;
  for (const TimeOffset& offset : offsets) text += cat(offset.clock, " ", offset.secs, " ", offset.nanosecs, "\n");
  if (!text.empty()) TRY(sys::write_host_file("/proc/self/timens_offsets", text));
  // unshare(2) put only our children there.
  TRY_ASSIGN(sys::Fd fd, sys::open_namespace("/proc/self/ns/time_for_children"));
  if (::setns(fd.get(), CLONE_NEWTIME) < 0) return fail_errno("enter time namespace");
  return {};
}

Result<> enter_namespaces(const InitSpec& spec) {
  const ContainerConfig& config = spec.config;
  int fresh = 0;
  bool time = false;
  // By path first, and their descriptors before any is entered: a mount namespace hides the other paths.
  std::vector<std::pair<sys::Fd, const Namespace*>> joined;
  for (const Namespace& ns : config.namespaces) {
    if (ns.type == NamespaceType::kPid || ns.type == NamespaceType::kUser) continue;  // at birth
    if (ns.path.empty()) {
      fresh |= clone_flag(ns.type);
      time = time || ns.type == NamespaceType::kTime;
      continue;
    }
    if ((spec.joined & static_cast<std::uint64_t>(clone_flag(ns.type))) != 0) continue;
    TRY_ASSIGN(sys::Fd fd, sys::open_namespace(ns.path));
    joined.emplace_back(std::move(fd), &ns);
  }
  if (find_namespace(config, NamespaceType::kMount) == nullptr) fresh |= CLONE_NEWNS;
  for (const auto& [fd, ns] : joined) {
    if (::setns(fd.get(), clone_flag(ns->type)) < 0) return fail_errno(cat("join namespace ", ns->path));
  }
  if (::unshare(fresh) < 0) return fail_errno("make namespaces");
  if (time) TRY(enter_time_namespace(config.time_offsets));
  if ((fresh & CLONE_NEWNET) != 0) TRY(bring_loopback_up());
  if ((fresh & CLONE_NEWUTS) != 0) {
    if (!config.hostname.empty() && ::sethostname(config.hostname.data(), config.hostname.size()) < 0) return fail_errno("set host name");
    if (!config.domainname.empty() && ::setdomainname(config.domainname.data(), config.domainname.size()) < 0) return fail_errno("set domain name");
  }
  return {};
}

void close_rest_on_exec() { ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */); }

// All that the steps so far opened, of the host's file systems too, goes here at once.
void close_passed(const InitSpec& spec, const sys::Root& root, const Channel& channel, int label_fd) {
  std::vector<int> kept = {channel.fd(), root.fd(), label_fd, spec.listen_fd};
  for (int i = 0; i < spec.preserve_count; ++i) kept.push_back(spec.preserve_first + i);
  close_all_but(std::move(kept));
}

// Nobody in the container may look at us or trace us while we hold what it must not have (CVE-2016-9962).
void hide_from_others() { ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// A supervisor of another version may not know how: then nothing here may run as the host's root.
Result<> check_user_namespace(const ContainerConfig& config) {
  if (find_namespace(config, NamespaceType::kUser) == nullptr || !sys::in_initial_user_namespace()) return {};
  return fail(Code::kInternal, "not born into the user namespace that it belongs to");
}

Result<sys::Root> prepare_container(const InitSpec& spec, const Channel& channel) {
  TRY(check_user_namespace(spec.config));
  TRY(enter_groups(spec, supervisor::kFirstPassedFd));
  reset_cpu_affinity();
  hide_from_others();
  set_oom_score(spec.config.process);
  TRY(enter_namespaces(spec));
  auto before_pivot = [&]() -> Result<> {
    if (spec.host_hooks) {
      TRY(channel.say(supervisor::kSyncHooks));
      TRY(channel.wait_for(supervisor::kSyncGo));
    }
    const std::vector<Hook>& hooks = spec.config.hooks.create_container;
    return hooks.empty() ? Result<>() : run_hooks("createContainer", hooks, state_with(spec.state, "creating", ::getpid()));
  };
  TRY_ASSIGN(sys::Root root, build_root(spec, before_pivot));
  TRY(apply_sysctls(spec.config));
  return root;
}

Result<sys::Root> prepare_exec(const InitSpec& spec) {
  TRY(check_user_namespace(spec.config));
  hide_from_others();
  TRY(set_cpu_affinity(spec.config.process.exec_cpus_initial));
  TRY(enter_groups(spec, supervisor::kFirstPassedFd + 1));
  reset_cpu_affinity();
  set_oom_score(spec.config.process);
  std::uint64_t flags = spec.join != 0 ? spec.join : CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (::setns(supervisor::kFirstPassedFd, static_cast<int>(flags)) < 0) return fail_errno("join the container's namespaces");
  TRY(set_cpu_affinity(spec.config.process.exec_cpus_final));
  return sys::Root::open("/");
}

// Who connects and says start is heard from then on; who says nothing only looked whether we still wait.
Result<> wait_for_start(const InitSpec& spec, Channel& channel) {
  if (spec.acknowledged) TRY(channel.wait_for(supervisor::kSyncGo));
  if (!spec.hold) return {};
  if (spec.listen_fd < 0) return channel.wait_for(supervisor::kSyncStart);
  for (;;) {
    sys::Fd peer(::accept4(spec.listen_fd, nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return fail_errno("wait for start");
    }
    Result<sys::Packet> word = sys::receive_packet(peer.get(), 64);
    if (!word || word->bytes.empty() || word->bytes[0] != supervisor::kSyncStart) continue;
    channel.replace(std::move(peer));
    return {};
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

// From 3 on, in order: each goes down, so none is overwritten before it is copied.
void place_preserved(const InitSpec& spec, Channel& channel) {
  if (spec.preserve_count == 0) return;
  channel.replace(sys::Fd(::fcntl(channel.fd(), F_DUPFD_CLOEXEC, spec.preserve_first + spec.preserve_count)));
  for (int i = 0; i < spec.preserve_count; ++i) ::dup2(spec.preserve_first + i, 3 + i);
}

int execute(const InitSpec& spec, const std::string& program, const std::vector<std::string>& env, Channel& channel) {
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
    if (child < 0) return channel.report(errno_error(errno, "fork"));
    if (child > 0) {
      ::syscall(SYS_close_range, 0U, ~0U, 0U);
      return run_reaper(child);
    }
    if (!process.terminal) ::setpgid(0, 0);
  }
  place_preserved(spec, channel);
  ::execve(program.c_str(), argv.data(), envp.data());
  Error failed = exec_error(program);
  // What is wrong with it, in the field's words, if a filter lets us look.
  Result<std::string> looked = find_program(program, env);
  return channel.report(looked || looked.error().code() == Code::kInternal ? failed : looked.error());
}

Result<InitSpec> read_spec() {
  off_t size = ::lseek(supervisor::kSpecFd, 0, SEEK_END);
  if (size < 0) return fail(Code::kFailedPrecondition, "there is no spec");
  if (static_cast<std::size_t>(size) > kSpecBytesMax) return fail(Code::kInternal, "the spec of the first stage is not of its size");
  std::string text(static_cast<std::size_t>(size), '\0');
  ssize_t n = ::pread(supervisor::kSpecFd, text.data(), text.size(), 0);  // sealed memory: whole or not at all
  leave_open(sys::Fd(supervisor::kSpecFd));
  if (n != size) return fail_errno("read the spec of the first stage");
  return parse_init_spec(text);
}

// A program that is not there is known before start, where no hook can still bring it.
Result<> look_for_program(const InitSpec& spec, const std::vector<std::string>& env) {
  const ProcessSpec& process = spec.config.process;
  if (!spec.acknowledged || spec.config.pause || !spec.config.hooks.start_container.empty()) return {};
  if (process.args[0].find('/') != std::string::npos && !process.args[0].starts_with('/')) return {};  // as seen from the working directory
  Result<std::string> program = find_program(process.args[0], env);
  if (!program && program.error().code() == Code::kNotFound) return fail(std::move(program).error());
  return {};
}

// The streams, the terminal, and what only the container's own files tell.
Result<Credentials> prepare_process(const InitSpec& spec, const sys::Root& root, const Channel& channel) {
  TRY_ASSIGN(Credentials credentials, find_credentials(root, spec.config.process));
  if (spec.config.process.terminal) {
    TRY_ASSIGN(sys::Fd master, open_terminal(root, spec, spec.mode == InitMode::kContainer));
    TRY(channel.say(supervisor::kSyncTerminal, {master.get()}));
  }
  TRY(give_stdio(credentials));
  return credentials;
}

// They are programs of the container: they may no more than its own. A filter with a listener is left out: that is for the program's one alone.
Result<> start_hooks(const InitSpec& spec, const sys::Root& root, const Credentials& credentials, const std::vector<std::string>& env) {
  const std::vector<Hook>& hooks = spec.config.hooks.start_container;
  if (hooks.empty() || spec.mode == InitMode::kExec) return {};
  InitSpec limited = spec;
  if (limited.seccomp_notify) limited.seccomp_program.clear();
  auto become_program = [&]() -> Result<> {
    Result<std::string> program;
    return become(root, limited, credentials, env, program, [](sys::Fd) { return Result<>(); });
  };
  return run_hooks("startContainer", hooks, state_with(spec.state, "created", ::getpid()), become_program);
}

int run() {
  ::prctl(PR_SET_NAME, "monopod:init", 0, 0, 0);
  ::umask(0);
  close_rest_on_exec();
  Channel channel;
  Result<InitSpec> spec = read_spec();
  if (!spec && spec.error().code() == Code::kFailedPrecondition) {
    std::fputs("monopod init is started by monopod itself\n", stderr);
    return kExitOther;
  }
  if (!spec) return channel.report(Error(Code::kInternal, spec.error().message()));
  bool exec = spec->mode == InitMode::kExec;
  Result<sys::Fd> label_file = open_label_file(spec->config.process);
  if (!label_file) return channel.report(Error(Code::kInternal, label_file.error().message()));
  Result<sys::Root> root = exec ? prepare_exec(*spec) : prepare_container(*spec, channel);
  if (!root) return channel.report(Error(Code::kInternal, root.error().message()));
  if (exec) close_rest_on_exec();
  else close_passed(*spec, *root, channel, label_file->get());
  // A session keyring of its own: keys of the host's session are not the container's. Not where a kernel has none.
  if (spec->new_keyring) ::syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, nullptr);

  Result<Credentials> credentials = prepare_process(*spec, *root, channel);
  if (!credentials) return channel.report(Error(Code::kInternal, credentials.error().message()));
  std::vector<std::string> env = spec->config.process.env;
  complete_environment(env, *credentials, spec->config.process.terminal);
  if (Result<> there = look_for_program(*spec, env); !there) return channel.report(there.error());
  (void)channel.say(supervisor::kSyncReady);
  if (!wait_for_start(*spec, channel)) return kExitOther;
  Result<> ready = start_hooks(*spec, *root, *credentials, env);
  if (!ready) return channel.report(Error(Code::kInternal, ready.error().message()));
  // Said before the filter is there, which may forbid saying anything. What fails from here on still reports itself if it can.
  (void)channel.say(supervisor::kSyncExec);
  Result<std::string> program;
  auto on_listener = [&](sys::Fd listener) { return channel.say(supervisor::kSyncListener, {listener.get()}); };
  ready = apply_kernel_settings(*spec, label_file->get());
  if (ready) ready = become(*root, *spec, *credentials, env, program, on_listener);
  ready = as_internal(std::move(ready));
  if (!ready) return channel.report(ready.error());
  if (!program) return channel.report(program.error());
  return execute(*spec, *program, env, channel);
}

}  // namespace

void leave_open(sys::Fd fd) {
  if (fd.get() < kLeftOpenMax) (void)fd.release();
}

void close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (int fd : kept) {
    if (fd < 3) continue;
    auto number = static_cast<unsigned>(fd);
    if (number > next) ::syscall(SYS_close_range, next, number - 1, 0U);
    next = std::max(next, number + 1);
  }
  ::syscall(SYS_close_range, next, ~0U, 0U);
}

int init_main(int, char**) { return run(); }

}  // namespace monopod::container
