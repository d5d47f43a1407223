#include "sys/process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

Result<Fd> make_memfd(const char* name, unsigned flags) {
  // MFD_EXEC (6.3) is refused by older kernels, and wanted by newer ones where vm.memfd_noexec is set.
  constexpr unsigned kExec = 0x0010U;
  constexpr unsigned kNoExecSeal = 0x0008U;
  bool executable = (flags & kExec) != 0;
  unsigned base = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = ::memfd_create(name, base | (executable ? kExec : kNoExecSeal));
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(name, base);
  if (fd < 0) return fail_errno("make memory file");
  return Fd(fd);
}

// In the child: only async-signal-safe calls from here to exec. Arrays were built before.
struct ChildPlan {
  int executable;
  char** argv;
  char** envp;
  const int* fds;
  int fd_count;
  bool new_session;
  int parent_death_signal;
  bool become_root;
  std::uint32_t become_uid;
  std::uint32_t become_gid;
  bool set_groups;
  int gate;  // closed by the parent when the child may go on, with a byte before it; -1: none
  int key;   // the parent's end, which must not stay open here
};

// capabilities(7): an execve by another than root leaves those that are ambient, which needs them inheritable.
void keep_capabilities() {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) < 0) return;
  for (auto& half : data) half.inheritable = half.permitted;
  ::syscall(SYS_capset, &header, data);
  for (unsigned long number = 0; ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) == 0; ++number) {
  }
}

[[noreturn]] void run_child(const ChildPlan& plan, int* scratch) {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  // Handlers went with CLONE_CLEAR_SIGHAND; what was ignored (by us, or by nohup above us) is inherited and would stay so.
  for (int number : {SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGTSTP}) ::sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.new_session) ::setsid();
  if (plan.parent_death_signal != 0) ::prctl(PR_SET_PDEATHSIG, plan.parent_death_signal);
  if (plan.gate >= 0) {
    ::close(plan.key);
    char byte = 0;
    ssize_t n;
    do n = ::read(plan.gate, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1) ::_exit(127);
  }
  if (plan.become_root) {
    if (plan.set_groups) ::syscall(SYS_setgroups, 0, nullptr);
    ::syscall(SYS_setresgid, plan.become_gid, plan.become_gid, plan.become_gid);
    ::syscall(SYS_setresuid, plan.become_uid, plan.become_uid, plan.become_uid);
    if (plan.become_uid != 0) keep_capabilities();
  }
  // A number that is taken before its turn comes is put out of the way first; then each into its place.
  int executable = plan.executable >= plan.fd_count ? plan.executable : ::fcntl(plan.executable, F_DUPFD_CLOEXEC, plan.fd_count + 16);
  if (executable < 0) ::_exit(127);
  for (int i = 0; i < plan.fd_count; ++i) {
    int fd = plan.fds[i];
    scratch[i] = fd;
    if (fd < 0 || fd >= i || plan.fds[fd] == fd) continue;
    scratch[i] = ::fcntl(fd, F_DUPFD_CLOEXEC, plan.fd_count + 16);
    if (scratch[i] < 0) ::_exit(127);
  }
  for (int i = 0; i < plan.fd_count; ++i) {
    if (scratch[i] < 0) {
      ::close(i);
    } else if (scratch[i] != i) {
      if (::dup2(scratch[i], i) < 0) ::_exit(127);
    } else if (i > 2 && ::fcntl(i, F_SETFD, 0) < 0) {  // standard streams came through an exec themselves
      ::_exit(127);
    }
  }
  // The rest is closed by the kernel at exec, whoever forgot O_CLOEXEC; the executable must stay until then.
  ::syscall(SYS_close_range, plan.fd_count, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  ::syscall(SYS_execveat, executable, "", plan.argv, plan.envp, AT_EMPTY_PATH);
  ::_exit(127);
}

long clone_process(struct clone_args& args) { return ::syscall(SYS_clone3, &args, sizeof args); }

// 0, or minus the error.
std::int32_t enter_all(const SpawnOptions& options) {
  std::uint32_t late = 0;
  for (std::size_t i = 0; i < options.namespace_fds.size(); ++i)
    if (::setns(options.namespace_fds[i], 0) < 0) late |= 1U << i;
  if (options.user_namespace_fd >= 0 && ::setns(options.user_namespace_fd, CLONE_NEWUSER) < 0) return -errno;
  for (std::size_t i = 0; i < options.namespace_fds.size(); ++i)
    if ((late & 1U << i) != 0 && ::setns(options.namespace_fds[i], 0) < 0) return -errno;
  if (options.pid_namespace_fd >= 0 && ::setns(options.pid_namespace_fd, CLONE_NEWPID) < 0) return -errno;
  return 0;
}

// The process in between: joins, clones its sibling, says the sibling's number (or minus the error) and ends.
[[noreturn]] void run_middle(const SpawnOptions& options, const ChildPlan& plan, int* scratch, struct clone_args args, int answer) {
  std::int32_t said = enter_all(options);
  if (said == 0) {
    args.flags = (args.flags & ~static_cast<std::uint64_t>(CLONE_PIDFD)) | CLONE_PARENT;
    args.exit_signal = 0;
    long pid = clone_process(args);
    if (pid == 0) run_child(plan, scratch);
    said = pid < 0 ? -errno : static_cast<std::int32_t>(pid);
  }
  (void)!::write(answer, &said, sizeof said);
  ::_exit(0);
}

std::vector<char*> c_strings(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Result<Pidfd> Pidfd::open(pid_t pid) {
  long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return fail_errno(cat("open process ", pid));
  return Pidfd(pid, Fd(static_cast<int>(fd)));
}

Result<> Pidfd::send_signal(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, fd(), signal, nullptr, 0) < 0) return fail_errno(cat("signal process ", pid_));
  return {};
}

namespace {

Result<std::optional<ExitStatus>> wait_for(int pidfd, pid_t pid, int options) {
  siginfo_t info = {};
  int r;
  do r = ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | options);
  while (r < 0 && errno == EINTR);
  if (r < 0) return fail_errno(cat("wait for process ", pid));
  if (info.si_pid == 0) return std::nullopt;
  if (info.si_code == CLD_EXITED) return ExitStatus{info.si_status, 0};
  return ExitStatus{128 + info.si_status, info.si_status};
}

}  // namespace

Result<std::optional<ExitStatus>> Pidfd::try_reap() const { return wait_for(fd(), pid_, WNOHANG); }

Result<ExitStatus> Pidfd::reap() const {
  TRY_ASSIGN(std::optional<ExitStatus> status, wait_for(fd(), pid_, 0));
  return status.value_or(ExitStatus{});
}

bool Pidfd::exited() const {
  struct pollfd p = {fd(), POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

Result<Pidfd> spawn(const SpawnOptions& options) {
  std::vector<char*> argv = c_strings(options.argv);
  std::vector<char*> envp = c_strings(options.env);
  std::vector<int> scratch(options.fds.size() + 1);
  ChildPlan plan{options.executable, argv.data(), envp.data(), options.fds.data(), static_cast<int>(options.fds.size()), options.new_session,
                 options.parent_death_signal, options.become_root, options.become_uid, options.become_gid, options.set_groups, -1, -1};
  Fd gate;
  Fd key;
  if (options.before_exec) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return fail_errno("make pipe");
    gate = Fd(ends[0]);
    key = Fd(ends[1]);
    plan.gate = gate.get();
    plan.key = key.get();
  }
  // Root of a user namespace could not come back into its own PID namespace, which is the host's.
  bool joins = options.user_namespace_fd >= 0 || !options.namespace_fds.empty() || (options.pid_namespace_fd >= 0 && !in_initial_user_namespace());
  Fd answer;
  Fd say;
  if (joins) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return fail_errno("make pipe");
    answer = Fd(ends[0]);
    say = Fd(ends[1]);
  }
  Fd own_pid_namespace;
  if (options.pid_namespace_fd >= 0 && !joins) {
    TRY_ASSIGN(own_pid_namespace, own_namespace("pid"));
    if (::setns(options.pid_namespace_fd, CLONE_NEWPID) < 0) return fail_errno("enter process namespace");
  }
  int pidfd = -1;
  struct clone_args args = {};
  args.flags = options.clone_flags | CLONE_PIDFD | 0x100000000ULL /* CLONE_CLEAR_SIGHAND, 5.5 */;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (options.cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(options.cgroup_fd);
  }
  // Signals wait while the child still has our handlers.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  long pid = 0;
  if (joins) {
    struct clone_args middle = {};
    middle.exit_signal = SIGCHLD;
    pid = clone_process(middle);
    if (pid == 0) run_middle(options, plan, scratch.data(), args, say.get());
  } else {
    pid = clone_process(args);
    if (pid == 0) run_child(plan, scratch.data());
  }
  int saved = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (own_pid_namespace && ::setns(own_pid_namespace.get(), CLONE_NEWPID) < 0) {
    // Every later child would be born into a container: not a state to go on in.
    std::abort();
  }
  if (pid < 0) {
    errno = saved;
    return fail_errno("clone");
  }
  if (joins) {
    say.reset();
    std::int32_t sibling = -ECHILD;
    ssize_t n;
    do n = ::read(answer.get(), &sibling, sizeof sibling);
    while (n < 0 && errno == EINTR);
    while (::waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
    }
    if (n != sizeof sibling || sibling < 0) return fail(errno_error(n == sizeof sibling ? -sibling : ECHILD, "join namespaces"));
    pid = sibling;
  }
  // Our own child either way: its number is its own until we reap it.
  Result<Pidfd> child = joins ? Pidfd::open(static_cast<pid_t>(pid)) : Pidfd(static_cast<pid_t>(pid), Fd(pidfd));
  if (!child || !options.before_exec) return child;
  Result<> done = options.before_exec(*child);
  if (done) done = write_all(key.get(), "x");
  if (done) return child;
  key.reset();
  (void)child->send_signal(SIGKILL);
  (void)child->reap();
  return fail(std::move(done).error());
}

Result<Fd> sealed_self_executable() {
  Fd self(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!self) return fail_errno("open own executable");
  struct ::stat info = {};
  if (::fstat(self.get(), &info) < 0) return fail_errno("stat own executable");
  int seals = ::fcntl(self.get(), F_GET_SEALS);
  if (seals >= 0 && (seals & kSeals) == kSeals) return self;  // we already run from one
  TRY_ASSIGN(Fd copy, make_memfd("monopod", 0x0010U));
  off_t left = info.st_size;
  while (left > 0) {
    ssize_t n = ::sendfile(copy.get(), self.get(), nullptr, static_cast<std::size_t>(left));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("copy own executable");
    left -= n;
  }
  if (::fchmod(copy.get(), 0555) < 0) return fail_errno("copy own executable");
  if (::fcntl(copy.get(), F_ADD_SEALS, kSeals) < 0) return fail_errno("seal own executable");
  // Read-only from here on: the kernel refuses to execute a file that someone holds open for writing.
  Fd read_only(::open(fd_path(copy.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!read_only) return fail_errno("reopen own executable");
  return read_only;
}

Result<Fd> protected_self_executable() {
  Result<Fd> mount = clone_mount("/proc/self/exe", false, {MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0, 0});
  return mount ? std::move(mount) : sealed_self_executable();
}

Result<Fd> sealed_memfd(const char* name, std::string_view bytes) {
  TRY_ASSIGN(Fd fd, make_memfd(name, 0));
  // Readers begin at the start.
  for (std::size_t done = 0; done < bytes.size();) {
    ssize_t n = ::pwrite(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("write memory file");
    done += static_cast<std::size_t>(n);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) < 0) return fail_errno("seal memory file");
  return fd;
}

namespace {

// number: as in proc(5), 3 or more.
Result<std::uint64_t> process_stat_field(pid_t pid, std::size_t number) {
  std::string path = cat("/proc/", pid, "/stat");
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(cat("open ", path));
  char buffer[4096];  // one line, read at once
  ssize_t n = ::read(file.get(), buffer, sizeof buffer);
  if (n < 0) return fail_errno(cat("read ", path));
  std::string_view text(buffer, static_cast<std::size_t>(n));
  std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 > text.size()) return fail(Code::kInternal, "unexpected process stat");
  auto fields = split(text.substr(name_end + 2), ' ');
  std::optional<std::uint64_t> value;
  if (fields.size() > number - 3) value = parse_int<std::uint64_t>(fields[number - 3]);
  if (!value) return fail(Code::kInternal, "unexpected process stat");
  return *value;
}

}  // namespace

Result<std::uint64_t> process_start_ticks(pid_t pid) { return process_stat_field(pid, 22); }

Result<pid_t> process_parent(pid_t pid) {
  TRY_ASSIGN(std::uint64_t parent, process_stat_field(pid, 4));
  return static_cast<pid_t>(parent);
}

}  // namespace monopod::sys
