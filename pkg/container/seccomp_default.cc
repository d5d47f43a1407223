// RuntimeDefault: what the field's default profile (moby profiles/seccomp, containerd contrib/seccomp) lets through, as a table of facts;
// and profile files, in OCI form or in Docker's form with includes and excludes.
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "container/config.h"

namespace monopod::container {
namespace {

constexpr std::string_view kAlways =
    "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres "
    "clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 "
    "dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit "
    "exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl "
    "fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 "
    "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid "
    "geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 "
    "getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 "
    "getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown "
    "lchown32 lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack "
    "membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify "
    "mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock "
    "munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc "
    "pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 "
    "pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename "
    "renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max "
    "sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto "
    "setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid "
    "setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 "
    "setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs "
    "statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime "
    "timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill "
    "truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write "
    "writev process_vm_readv process_vm_writev ptrace";

#if defined(__x86_64__)
constexpr std::string_view kArchitecture = "arch_prctl modify_ldt";
constexpr std::array<std::string_view, 3> kHostArchitectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";
constexpr std::array<std::string_view, 2> kHostArchitectures = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#endif

struct ByCapability {
  std::string_view capability;
  std::string_view names;
};
constexpr std::array kByCapability = {
    ByCapability{"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    ByCapability{"CAP_SYS_ADMIN",
                 "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open quotactl "
                 "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"},
    ByCapability{"CAP_SYS_BOOT", "reboot"},
    ByCapability{"CAP_SYS_CHROOT", "chroot"},
    ByCapability{"CAP_SYS_MODULE", "delete_module init_module finit_module"},
    ByCapability{"CAP_SYS_PACCT", "acct"},
    ByCapability{"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
    ByCapability{"CAP_SYS_RAWIO", "iopl ioperm"},
    ByCapability{"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
    ByCapability{"CAP_SYS_TTY_CONFIG", "vhangup"},
    ByCapability{"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    ByCapability{"CAP_SYSLOG", "syslog"},
    ByCapability{"CAP_BPF", "bpf"},
    ByCapability{"CAP_PERFMON", "perf_event_open"},
};

constexpr std::uint64_t kCloneNamespaceFlags = 0x7E020000;  // CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
constexpr std::uint64_t kAfVsock = 40;
constexpr std::array<std::uint64_t, 5> kPersonalities = {0x0, 0x0008, 0x20000, 0x20008, 0xffffffff};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (std::string_view word : split(text, ' ')) {
    if (!word.empty()) out.emplace_back(word);
  }
  return out;
}

SeccompRule allow(std::vector<std::string> names, std::vector<SeccompArg> args = {}) { return {std::move(names), "SCMP_ACT_ALLOW", {}, std::move(args)}; }

bool has(const std::vector<std::string>& list, std::string_view name) { return std::find(list.begin(), list.end(), name) != list.end(); }

#if defined(__x86_64__)
constexpr std::string_view kMachine = "amd64";
#else
constexpr std::string_view kMachine = "arm64";
#endif

// Docker's conditions: every capability and any architecture of includes, none of excludes.
bool conditions_hold(const json::Value& rule, const std::vector<std::string>& capabilities) {
  auto strings = [](const json::Array* list) {
    std::vector<std::string> out;
    if (list == nullptr) return out;
    for (const json::Value& v : *list) {
      if (v.is_string()) out.emplace_back(std::string_view(v.get_string()));
    }
    return out;
  };
  for (const std::string& cap : strings(json::get_array(rule, {"includes", "caps"}))) {
    if (!has(capabilities, cap)) return false;
  }
  std::vector<std::string> arches = strings(json::get_array(rule, {"includes", "arches"}));
  if (!arches.empty() && !has(arches, kMachine)) return false;
  for (const std::string& cap : strings(json::get_array(rule, {"excludes", "caps"}))) {
    if (has(capabilities, cap)) return false;
  }
  return !has(strings(json::get_array(rule, {"excludes", "arches"})), kMachine);
}

}  // namespace

SeccompProfile default_seccomp_profile(const std::vector<std::string>& capabilities) {
  SeccompProfile out;
  out.default_action = "SCMP_ACT_ERRNO";
  out.default_errno_ret = 1;
  out.architectures.assign(kHostArchitectures.begin(), kHostArchitectures.end());
  out.rules.push_back(allow(words(kAlways)));
  out.rules.push_back(allow(words(kArchitecture)));
  out.rules.push_back(allow({"socket"}, {{0, kAfVsock, 0, "SCMP_CMP_NE"}}));
  for (std::uint64_t value : kPersonalities) out.rules.push_back(allow({"personality"}, {{0, value, 0, "SCMP_CMP_EQ"}}));
  for (const ByCapability& row : kByCapability) {
    if (has(capabilities, row.capability)) out.rules.push_back(allow(words(row.names)));
  }
  if (!has(capabilities, "CAP_SYS_ADMIN")) {
    out.rules.push_back(allow({"clone"}, {{0, kCloneNamespaceFlags, 0, "SCMP_CMP_MASKED_EQ"}}));
    // Its flags lie in memory, where a filter cannot look: libc falls back to clone.
    out.rules.push_back({{"clone3"}, "SCMP_ACT_ERRNO", 38, {}});
  }
  return out;
}

Result<SeccompProfile> parse_seccomp_profile(const json::Value& value, const std::vector<std::string>& capabilities) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, "seccomp: profile is not an object");
  if (json::get_string(value, {"defaultAction"}).empty()) return fail(Code::kInvalidArgument, "seccomp: profile has no defaultAction");
  json::Value copy = value;
  json::Object& object = copy.get_object();
  json::Array rules;
  if (const json::Array* list = json::get_array(value, {"syscalls"})) {
    for (const json::Value& rule : *list) {
      if (!conditions_hold(rule, capabilities)) continue;
      json::Value one = rule;
      if (one.is_object() && one.get_object().contains("name") && !one.get_object().contains("names"))
        one.get_object()["names"] = json::Array{one.get_object().at("name")};
      rules.push_back(std::move(one));
    }
  }
  object["syscalls"] = std::move(rules);
  if (const json::Array* map = json::get_array(value, {"archMap"})) {
    json::Array arches;
    for (const json::Value& row : *map) {
      if (json::get_string(row, {"architecture"}) != kHostArchitectures[0]) continue;
      arches.emplace_back(kHostArchitectures[0]);
      if (const json::Array* sub = json::get_array(row, {"subArchitectures"})) {
        for (const json::Value& v : *sub) arches.push_back(v);
      }
    }
    object["architectures"] = std::move(arches);
  }
  // The reader of config.json knows the rest.
  json::Object holder{{"linux", json::Object{{"seccomp", std::move(copy)}}}};
  TRY_ASSIGN(ContainerConfig config, parse_config(json::Value(std::move(holder))));
  return std::move(*config.seccomp);
}

}  // namespace monopod::container
