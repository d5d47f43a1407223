// Settings of the kernel for the program that the first stage becomes: labels of security modules, personality, scheduling, memory policy.
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "container/init_steps.h"
#include "container/kernel_words.h"
#include "sys/mounts.h"

namespace monopod::container {
namespace {

// sched_setattr(2); glibc has no declaration of it.
struct SchedulerAttributes {
  std::uint32_t size = sizeof(SchedulerAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(SchedulerAttributes) == 48);

constexpr int kIoPriorityWhoProcess = 1;
constexpr int kIoClassShift = 13;

Result<> set_scheduler(const Scheduler& wanted) {
  SchedulerAttributes attributes;
  attributes.policy = find_scheduler_policy(wanted.policy).value_or(0);
  for (const std::string& flag : wanted.flags) attributes.flags |= find_scheduler_flag(flag).value_or(0);
  attributes.nice = wanted.nice;
  attributes.priority = static_cast<std::uint32_t>(wanted.priority);
  attributes.runtime = wanted.runtime;
  attributes.deadline = wanted.deadline;
  attributes.period = wanted.period;
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0) < 0) {
    bool bound = errno == EPERM && wanted.policy == "SCHED_DEADLINE";  // sched_setattr(2): it has to have all processors
    return fail_errno(cat("set scheduler ", wanted.policy, bound ? ": process scheduler can't be used together with AllowedCPUs" : ""));
  }
  return {};
}

Result<> set_memory_policy(const MemoryPolicy& wanted) {
  std::uint32_t mode = find_memory_policy(wanted.mode).value_or(0);
  for (const std::string& flag : wanted.flags) mode |= find_memory_policy(flag).value_or(0);
  std::vector<std::uint64_t> nodes;
  if (!wanted.nodes.empty()) nodes = parse_cpu_list(wanted.nodes).value_or(nodes);
  if (::syscall(SYS_set_mempolicy, mode, nodes.empty() ? nullptr : nodes.data(), nodes.size() * 64 + (nodes.empty() ? 0 : 1)) < 0)
    return fail_errno(cat("set memory policy ", wanted.mode, ": set_mempolicy"));
  return {};
}

}  // namespace

Result<sys::Fd> open_label_file(const ProcessSpec& process) {
  if (process.apparmor_profile.empty() && process.selinux_label.empty()) return sys::Fd();
  sys::Fd file;
  if (!process.apparmor_profile.empty()) file = sys::Fd(::open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) file = sys::Fd(::open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail_errno("open /proc/self/attr/exec");
  // A planted file would swallow the label (CVE-2019-16884).
  TRY_ASSIGN(std::uint64_t magic, sys::file_system_magic(file.get()));
  if (magic != PROC_SUPER_MAGIC) return fail(Code::kFailedPrecondition, "/proc is not a proc file system");
  return file;
}

Result<> set_cpu_affinity(const std::string& cpus) {
  if (cpus.empty()) return {};
  std::vector<std::uint64_t> mask = parse_cpu_list(cpus).value_or(std::vector<std::uint64_t>());
  if (::syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof mask[0], mask.data()) < 0) return fail_errno(cat("run on cpus ", cpus));
  return {};
}

void reset_cpu_affinity() {
  std::array<std::uint64_t, kCpusMax / 64> all;
  all.fill(~std::uint64_t{0});
  (void)::syscall(SYS_sched_setaffinity, 0, sizeof all, all.data());
}

Result<> apply_kernel_settings(const InitSpec& spec, int label_fd) {
  const ContainerConfig& config = spec.config;
  const ProcessSpec& process = config.process;
  if (config.personality) {
    unsigned long domain = config.personality->domain == "LINUX32" ? PER_LINUX32 : PER_LINUX;
    if (::personality(domain) < 0) return fail_errno("set personality");
  }
  if (process.scheduler) TRY(set_scheduler(*process.scheduler));
  if (process.io_priority) {
    int value = static_cast<int>(find_io_class(process.io_priority->io_class).value_or(0)) << kIoClassShift | process.io_priority->priority;
    if (::syscall(SYS_ioprio_set, kIoPriorityWhoProcess, 0, value) < 0) return fail_errno("set I/O priority");
  }
  if (config.memory_policy) TRY(set_memory_policy(*config.memory_policy));
  if (label_fd >= 0) {
    std::string label = process.apparmor_profile.empty() ? process.selinux_label : "exec " + process.apparmor_profile;
    Result<> written = sys::write_all(label_fd, label);
    if (!written) return fail(std::move(written).error().with(cat("set security label ", label)));
  }
  return {};
}

}  // namespace monopod::container
