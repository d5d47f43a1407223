#include "sys/features.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "sys/capabilities.h"
#include "sys/process.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

// Which controllers the kernel offers, wherever they are mounted: /proc/cgroups for v1, cgroup.controllers for v2.
bool has_controller(const std::string& name, CgroupMode mode) {
  if (mode == CgroupMode::kV2) {
    Result<std::string> text = read_host_file("/sys/fs/cgroup/cgroup.controllers");
    if (!text) return false;
    for (std::string_view word : split(trim(*text), ' ')) {
      if (word == name) return true;
    }
    return false;
  }
  return ::access(cat("/sys/fs/cgroup/", name, "/cgroup.procs").c_str(), F_OK) == 0;
}

CgroupMode probe_mode() {
  Result<std::string> mounts = read_host_file("/proc/self/mountinfo", 16U << 20);
  if (!mounts) return CgroupMode::kNone;
  bool v1 = mounts->find(" - cgroup ") != std::string::npos;
  bool v2 = mounts->find(" - cgroup2 ") != std::string::npos;
  return v1 && v2 ? CgroupMode::kHybrid : v1 ? CgroupMode::kV1 : v2 ? CgroupMode::kV2 : CgroupMode::kNone;
}

// Asks nf_tables for its generation; the question loads the module where the kernel has one. Only "no such thing" counts as absent:
// who may not ask learns it elsewhere.
bool probe_nf_tables() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) return false;
  struct {
    struct nlmsghdr head;
    struct nfgenmsg body;
  } ask = {};
  ask.head.nlmsg_len = sizeof ask;
  ask.head.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
  ask.head.nlmsg_flags = NLM_F_REQUEST;
  ask.body.version = NFNETLINK_V0;
  if (::send(socket.get(), &ask, sizeof ask, 0) < 0) return false;
  struct pollfd wait = {socket.get(), POLLIN, 0};
  if (::poll(&wait, 1, 5000) <= 0) return false;
  alignas(struct nlmsghdr) char answer[4096];
  ssize_t n = ::recv(socket.get(), answer, sizeof answer, 0);
  struct nlmsghdr head = {};
  if (n < static_cast<ssize_t>(sizeof head)) return false;
  std::memcpy(&head, answer, sizeof head);
  if (head.nlmsg_type != NLMSG_ERROR || n < static_cast<ssize_t>(sizeof head + sizeof(int))) return true;
  int error = 0;
  std::memcpy(&error, answer + sizeof head, sizeof error);
  return error == 0 || error == -EPERM;
}

}  // namespace

Features probe_features() {
  Features out;
  struct utsname name = {};
  if (::uname(&name) == 0) {
    out.kernel_release = name.release;
    auto parts = split(out.kernel_release, '.');
    if (parts.size() >= 2) {
      out.kernel_major = parse_int<int>(parts[0]).value_or(0);
      std::string_view minor = parts[1].substr(0, parts[1].find_first_not_of("0123456789"));
      out.kernel_minor = parse_int<int>(minor).value_or(0);
    }
  }
  out.cgroup_mode = probe_mode();
  out.memory_controller = has_controller("memory", out.cgroup_mode);
  out.cpu_controller = has_controller("cpu", out.cgroup_mode);
  out.pids_controller = has_controller("pids", out.cgroup_mode);
  Result<std::string> file_systems = read_host_file("/proc/filesystems");
  out.overlayfs = file_systems && file_systems->find("\toverlay\n") != std::string::npos;
  Result<Root> host = Root::open("/");
  out.openat2 = host && host->open_file(".", O_PATH | O_DIRECTORY);
  out.pidfd = Pidfd::open(::getpid()).has_value();
  Fd context(static_cast<int>(::syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */)));
  out.mount_api = static_cast<bool>(context);
  // With a null filter: EFAULT means that the kernel has it.
  out.seccomp = ::prctl(PR_SET_SECCOMP, 2, nullptr, 0, 0) < 0 && errno == EFAULT;
  out.user_namespaces = ::access("/proc/self/ns/user", F_OK) == 0;
  out.pressure_stall = ::access("/proc/pressure/memory", F_OK) == 0;
  out.nf_tables = probe_nf_tables();
  if (Result<OwnCapabilities> own = own_capabilities()) {
    out.cap_sys_resource = (own->effective >> CAP_SYS_RESOURCE & 1) != 0;
    out.cap_net_admin = (own->effective >> CAP_NET_ADMIN & 1) != 0;
    out.cap_sys_admin = (own->effective >> CAP_SYS_ADMIN & 1) != 0;
  }
  return out;
}

std::vector<Finding> judge_features(const Features& f) {
  std::vector<Finding> out;
  auto fatal = [&](std::string text, std::string advice) { out.push_back({true, std::move(text), std::move(advice)}); };
  auto note = [&](std::string text, std::string advice) { out.push_back({false, std::move(text), std::move(advice)}); };
  if (f.kernel_major < 5 || (f.kernel_major == 5 && f.kernel_minor < 15))
    fatal(cat("kernel ", f.kernel_release, " is older than 5.15"), "install a newer kernel");
  if (!f.cap_sys_admin) fatal("this process may not manage containers (no CAP_SYS_ADMIN)", "run as root: sudo monopod server");
  if (!f.openat2 || !f.pidfd) fatal("the kernel has no openat2 or no pidfd, or a seccomp filter hides them", "run outside of the sandbox that filters system calls");
  if (!f.mount_api) fatal("the kernel has no fsopen, or a seccomp filter hides it", "run outside of the sandbox that filters system calls");
  if (f.cgroup_mode == CgroupMode::kNone)
    fatal("no control groups are mounted at /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup");
  if (!f.cap_net_admin) fatal("this process may not manage the network (no CAP_NET_ADMIN)", "run as root: sudo monopod server");
  if (!f.nf_tables) fatal("the kernel has no nf_tables, which services and pod networks need", "modprobe nf_tables");
  if (!f.overlayfs) fatal("the kernel has no overlayfs", "modprobe overlay");
  if (f.cgroup_mode != CgroupMode::kNone && !f.memory_controller)
    note("the memory control group is off: memory limits are not enforced and memory figures are 0",
         "append cgroup_enable=memory cgroup_memory=1 to the one line of /boot/firmware/cmdline.txt (older systems: /boot/cmdline.txt), then reboot");
  if (f.cgroup_mode != CgroupMode::kNone && !f.pids_controller) note("the pids control group is off: process limits are not enforced", "");
  if (f.cgroup_mode != CgroupMode::kNone && !f.cpu_controller) note("the cpu control group is off: cpu requests and limits are not enforced", "");
  if (!f.seccomp) note("the kernel has no seccomp filters: containers run without a system call filter", "");
  if (!f.cap_sys_resource) note("no CAP_SYS_RESOURCE: hard limits are clamped and oom_score_adj is not lowered", "");
  if (!f.pressure_stall) note("no pressure stall information: node pressure is judged by usage alone", "append psi=1 to the kernel command line");
  return out;
}

}  // namespace monopod::sys
