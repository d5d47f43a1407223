// `monopod wasm run --sandbox`: the guest runs in a child with namespaces of its own, which gives up everything else itself (pkg/wasm/sandbox.h) before the first
// instruction. The child is this program again, with the same command line.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/strings.h"
#include "cmd/wasm/wasm.h"
#include "sys/cgroup.h"
#include "sys/namespaces.h"
#include "sys/process.h"

namespace monopod::cmd {
namespace {

constexpr std::int64_t kEngineBytes = 128 << 20;  // what the engine itself may take beside the guest's memory

// A control group for one run, where we may make one; its limits are the kernel's then. Removed with the object.
class RunGroup {
 public:
  explicit RunGroup(const WasmRunOptions& options) {
    if (::geteuid() != 0) return;
    Result<std::unique_ptr<sys::Cgroups>> groups = sys::open_cgroups({.root = "/monopod-wasm", .make_room = false});
    if (!groups) return;
    sys::CgroupLimits limits{.pids_max = 32};
    if (Result<std::uint64_t> most = parse_byte_count(options.memory_max); !options.memory_max.empty() && most) limits.memory_bytes_max = static_cast<std::int64_t>(*most) + kEngineBytes;
    name_ = cat("run-", ::getpid());
    if (!(*groups)->create(name_)) return;
    groups_ = std::move(*groups);
    (void)groups_->set_limits(name_, limits);  // a controller that is missing leaves the engine's own limits
    if (Result<sys::Cgroups::Entry> entry = groups_->open_entry(name_); entry) entry_ = std::move(*entry);
  }
  ~RunGroup() {
    if (groups_ != nullptr) (void)groups_->remove(name_);
  }
  RunGroup(const RunGroup&) = delete;
  RunGroup& operator=(const RunGroup&) = delete;
  int fd() const { return entry_.cgroup.get(); }

 private:
  std::unique_ptr<sys::Cgroups> groups_;
  std::string name_;
  sys::Cgroups::Entry entry_;
};

sys::SpawnOptions child_of(const WasmRunOptions& options, int executable, std::span<const sys::Fd> listeners) {
  sys::SpawnOptions out{.executable = executable, .fds = {0, 1, 2}, .clone_flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
                        .become_root = true, .set_groups = ::geteuid() == 0, .new_session = false, .parent_death_signal = SIGKILL};
  if (options.connect.empty()) out.clone_flags |= CLONE_NEWNET;
  for (const sys::Fd& fd : listeners) out.fds.push_back(fd.get());
  out.argv = options.command_line;
  out.argv.insert(out.argv.begin() + 3, cat("--sandboxed=", listeners.size()));  // behind "monopod wasm run"
  for (char** e = environ; *e != nullptr; ++e) out.env.emplace_back(*e);
  // Root inside is who we are outside: the guest's files are opened with our rights, and with no capability.
  out.before_exec = [](const sys::Pidfd& child) { return sys::write_id_maps(child.pid(), {{.inside = 0, .outside = ::geteuid(), .size = 1}}, {{.inside = 0, .outside = ::getegid(), .size = 1}}); };
  return out;
}

}  // namespace

Result<int> run_wasm_in_sandbox(const WasmRunOptions& options, std::span<const sys::Fd> listeners) {
  sys::Fd self(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  if (!self) return fail_errno("open /proc/self/exe");
  RunGroup group(options);
  sys::SpawnOptions spawn = child_of(options, self.get(), listeners);
  spawn.cgroup_fd = group.fd();
  Result<sys::Pidfd> child = sys::spawn(spawn);
  if (!child && group.fd() >= 0) {  // a group that may not be entered is no reason
    spawn.cgroup_fd = -1;
    child = sys::spawn(spawn);
  }
  if (!child) {
    Error error = std::move(child).error();
    int number = error.os_errno();
    bool forbidden = number == EPERM || number == EACCES || number == ENOSPC || number == EINVAL || number == ENOSYS;
    return fail(std::move(error).with(forbidden ? "sandbox: this host gives no user namespace (user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)" : "sandbox"));
  }
  TRY_ASSIGN(sys::ExitStatus status, child->reap());
  return status.code;
}

}  // namespace monopod::cmd
