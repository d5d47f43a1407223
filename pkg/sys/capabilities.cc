#include "sys/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

// linux/capability.h, in order.
constexpr std::array kNames = {
    "CAP_CHOWN",          "CAP_DAC_OVERRIDE",   "CAP_DAC_READ_SEARCH", "CAP_FOWNER",         "CAP_FSETID",       "CAP_KILL",
    "CAP_SETGID",         "CAP_SETUID",         "CAP_SETPCAP",         "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",      "CAP_NET_RAW",        "CAP_IPC_LOCK",        "CAP_IPC_OWNER",      "CAP_SYS_MODULE",   "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",     "CAP_SYS_PTRACE",     "CAP_SYS_PACCT",       "CAP_SYS_ADMIN",      "CAP_SYS_BOOT",     "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",   "CAP_SYS_TIME",       "CAP_SYS_TTY_CONFIG",  "CAP_MKNOD",          "CAP_LEASE",        "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",  "CAP_SETFCAP",        "CAP_MAC_OVERRIDE",    "CAP_MAC_ADMIN",      "CAP_SYSLOG",       "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",  "CAP_AUDIT_READ",     "CAP_PERFMON",         "CAP_BPF",            "CAP_CHECKPOINT_RESTORE"};

struct Limit {
  const char* name;
  int number;
};
constexpr std::array kLimits = {
    Limit{"RLIMIT_CPU", RLIMIT_CPU},         Limit{"RLIMIT_FSIZE", RLIMIT_FSIZE},         Limit{"RLIMIT_DATA", RLIMIT_DATA},
    Limit{"RLIMIT_STACK", RLIMIT_STACK},     Limit{"RLIMIT_CORE", RLIMIT_CORE},           Limit{"RLIMIT_RSS", RLIMIT_RSS},
    Limit{"RLIMIT_NPROC", RLIMIT_NPROC},     Limit{"RLIMIT_NOFILE", RLIMIT_NOFILE},       Limit{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    Limit{"RLIMIT_AS", RLIMIT_AS},           Limit{"RLIMIT_LOCKS", RLIMIT_LOCKS},         Limit{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    Limit{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, Limit{"RLIMIT_NICE", RLIMIT_NICE},         Limit{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    Limit{"RLIMIT_RTTIME", RLIMIT_RTTIME}};

}  // namespace

std::optional<int> find_capability(std::string_view name) {
  auto it = std::find(kNames.begin(), kNames.end(), name);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<int>(it - kNames.begin());
}

std::string format_capability(int number) {
  return number >= 0 && static_cast<std::size_t>(number) < kNames.size() ? kNames[static_cast<std::size_t>(number)] : cat("CAP_", number);
}

const std::vector<std::string>& capability_names() {
  static const std::vector<std::string> names(kNames.begin(), kNames.end());
  return names;
}

int last_capability() {
  int last = 0;
  while (::prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0 && last < 63) ++last;
  return last;
}

Result<OwnCapabilities> own_capabilities() {
  TRY_ASSIGN(std::string text, read_host_file("/proc/thread-self/status", 1 << 16));
  OwnCapabilities out;
  for (std::string_view line : split(text, '\n')) {
    auto [key, value] = split_once(line, ':');
    if (!value) continue;
    std::string_view hex = trim(*value);
    CapabilitySet set = 0;
    if (!key.starts_with("Cap")) continue;
    std::from_chars(hex.data(), hex.data() + hex.size(), set, 16);
    if (key == "CapPrm") out.permitted = set;
    if (key == "CapEff") out.effective = set;
    if (key == "CapBnd") out.bounding = set;
  }
  return out;
}

Result<CapabilitySet> permitted_capabilities() {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<struct __user_cap_data_struct, 2> data = {};
  if (::syscall(SYS_capget, &header, data.data()) < 0) return fail_errno("read own capabilities");
  return static_cast<CapabilitySet>(data[1].permitted) << 32 | data[0].permitted;
}

Result<> drop_bounding(CapabilitySet keep) {
  for (int number = 0; number < 64; ++number) {
    if ((keep >> number & 1) != 0 || ::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return {};  // past the last that this kernel has
    return fail_errno(cat("drop ", format_capability(number), " from the bounding set"));
  }
  return {};
}

Result<> set_capabilities(CapabilitySet effective, CapabilitySet permitted, CapabilitySet ambient, CapabilitySet more_inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilitySet inheritable = ambient | more_inheritable;
  std::array<struct __user_cap_data_struct, 2> data = {};
  for (std::size_t half = 0; half < 2; ++half) {
    data[half].effective = static_cast<__u32>(effective >> (32 * half));
    data[half].permitted = static_cast<__u32>(permitted >> (32 * half));
    data[half].inheritable = static_cast<__u32>(inheritable >> (32 * half));
  }
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("set capabilities");
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return fail_errno("clear ambient capabilities");
  for (int number = 0; number < 64; ++number) {
    if ((ambient >> number & 1) != 0 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
      return fail_errno(cat("raise ambient ", format_capability(number)));
  }
  return {};
}

std::optional<int> find_rlimit(std::string_view name) {
  for (const Limit& limit : kLimits) {
    if (limit.name == name) return limit.number;
  }
  return std::nullopt;
}

Result<bool> set_rlimit(int resource, std::uint64_t soft, std::uint64_t hard) {
  auto which = static_cast<__rlimit_resource_t>(resource);
  struct rlimit wanted = {soft, hard};
  if (::setrlimit(which, &wanted) == 0) return false;
  if (errno != EPERM) return fail_errno("set resource limit");
  struct rlimit now = {};
  if (::getrlimit(which, &now) < 0) return fail_errno("read resource limit");
  wanted.rlim_max = std::min(wanted.rlim_max, now.rlim_max);
  wanted.rlim_cur = std::min(wanted.rlim_cur, wanted.rlim_max);
  if (::setrlimit(which, &wanted) < 0) return fail_errno("set resource limit");
  return true;
}

}  // namespace monopod::sys
