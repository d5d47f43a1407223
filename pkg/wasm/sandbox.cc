#include "wasm/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "base/strings.h"
#include "sys/capabilities.h"

namespace monopod::wasm {
namespace {

// What the engine, the calls of WASI and the libc's threads make.
constexpr int kAllowed[] = {
    // open files
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2),
    SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fcntl), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fadvise64), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(getdents64), SCMP_SYS(utimensat), SCMP_SYS(ioctl),
    // paths below the granted directories
    SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(unlinkat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(linkat), SCMP_SYS(symlinkat), SCMP_SYS(readlinkat),
    // waiting and time
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall),
    // memory
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(memfd_create), SCMP_SYS(membarrier),
    // threads and signals
    SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(gettid),
    SCMP_SYS(getpid), SCMP_SYS(tgkill), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(prlimit64),
    SCMP_SYS(exit), SCMP_SYS(exit_group),
    // sockets that are open already
    SCMP_SYS(accept4), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
};
constexpr int kConnecting[] = {SCMP_SYS(socket), SCMP_SYS(connect)};
// Nothing of ours makes these: who does has taken the process over.
constexpr int kDeadly[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(bpf), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount)};

struct Release {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};

Result<> filter_system_calls(const SandboxOptions& options) {
  std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (filter == nullptr) return fail(Code::kResourceExhausted, "sandbox: make system call filter");
  int bad = 0;
  auto rule = [&filter, &bad](std::uint32_t action, int call) {
    int result = ::seccomp_rule_add(filter.get(), action, call, 0);
    if (result != 0 && bad == 0) bad = result;
  };
  for (int call : kAllowed) rule(SCMP_ACT_ALLOW, call);
  if (options.may_connect)
    for (int call : kConnecting) rule(SCMP_ACT_ALLOW, call);
  for (int call : kDeadly) rule(SCMP_ACT_KILL_PROCESS, call);
  // Threads, and nothing else that clone makes; its younger form cannot be looked into, and the libc does without.
  rule(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  scmp_arg_cmp thread{.arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_THREAD | CLONE_VM, .datum_b = CLONE_THREAD | CLONE_VM};
  if (::seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread) != 0) bad = -EINVAL;
  if (bad == 0) bad = ::seccomp_load(filter.get());
  if (bad != 0) return fail(errno_error(-bad, "sandbox: load system call filter"));
  return {};
}

Result<> leave_file_system() {
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("sandbox: make mounts private");
  for (const char* place : {"/tmp", "/proc", "/dev", "/sys"}) {  // any directory will do: it is only the way in
    if (::mount("none", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0500") != 0) continue;
    if (::chdir(place) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0) return fail_errno("sandbox: change root");
    if (::umount2(".", MNT_DETACH) != 0) return fail_errno("sandbox: detach the host's files");
    if (::mount("none", "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0 || ::chdir("/") != 0) return fail_errno("sandbox: make root read-only");
    return {};
  }
  return fail_errno("sandbox: mount an empty root");
}

}  // namespace

Result<> enter_sandbox(const SandboxOptions& options) {
  TRY(leave_file_system());
  rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno("sandbox: forbid core files");
  TRY(sys::drop_bounding(0));
  TRY(sys::set_capabilities(0, 0, 0));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("sandbox: forbid new privileges");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno("sandbox: forbid being traced");
  return filter_system_calls(options);
}

}  // namespace monopod::wasm
