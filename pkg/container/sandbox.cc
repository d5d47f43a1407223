#include "container/sandbox.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

constexpr std::size_t kSysctlValueBytesMax = 1024;

std::string existing(const std::string& path) { return ::access(path.c_str(), F_OK) == 0 ? path : std::string(); }

// Through the thread's own /proc: net sysctls follow the opener's namespace.
Result<> write_sysctls(const std::vector<std::pair<std::string, std::string>>& sysctls) {
  if (sysctls.empty()) return {};
  TRY_ASSIGN(sys::Root root, sys::Root::open("/proc/sys"));
  TRY_ASSIGN(std::uint64_t magic, sys::file_system_magic(root.fd()));
  if (magic != PROC_SUPER_MAGIC) return fail(Code::kFailedPrecondition, "/proc is not a proc file system");
  for (const auto& [name, value] : sysctls) {
    std::string path = name;
    std::replace(path.begin(), path.end(), '.', '/');
    TRY_ASSIGN(sys::Fd file, root.open_no_symlinks(path, O_WRONLY));
    Result<> written = sys::write_all(file.get(), value);
    if (!written) return fail(std::move(written).error().with(cat("set sysctl ", name)));
  }
  return {};
}

std::string dotted_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

bool is_ipc(std::string_view dotted) { return dotted.starts_with("fs.mqueue.") || dotted.starts_with("kernel.shm") || dotted.starts_with("kernel.msg") || dotted == "kernel.sem"; }

// Those of an ipc namespace of other users are writable to their root alone, even the host's has no say (ipc_permissions). By the calling thread, which is one of
// its own.
Result<> write_as_owner(const SandboxOptions& options) {
  std::vector<std::pair<std::string, std::string>> ipc, rest;
  for (const auto& entry : options.sysctls) (!options.maps.empty() && is_ipc(dotted_name(entry.first)) ? ipc : rest).push_back(entry);
  TRY(write_sysctls(rest));
  if (ipc.empty()) return {};
  if (::syscall(SYS_setresuid, -1, options.maps.uids[0].outside, -1) < 0) return fail_errno("become the sandbox's root");
  Result<> written = write_sysctls(ipc);
  if (::syscall(SYS_setresuid, -1, 0, -1) < 0) return fail_errno("become root again");
  return written;
}

// As containerd does: ping and low ports without capabilities, which the pod's own namespace makes harmless. The pod's own settings come after.
void write_network_defaults() {
  for (const auto& [name, value] : {std::pair("net.ipv4.ping_group_range", "0 2147483647"), std::pair("net.ipv4.ip_unprivileged_port_start", "0")})
    if (Result<> written = write_sysctls({{name, value}}); !written) log::debug("a network default cannot be set", {{"error", written.error()}});
}

}  // namespace

Result<> check_sysctl(const std::string& name, const std::string& value, const SysctlNamespaces& own) {
  for (char c : name) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
    if (!good) return fail(Code::kInvalidArgument, cat("sysctl ", name, " has a character that no sysctl has"));
  }
  std::string dotted = dotted_name(name);
  if (dotted.find("..") != std::string::npos || dotted.starts_with('.') || dotted.ends_with('.'))
    return fail(Code::kInvalidArgument, cat("sysctl ", name, " is not a sysctl name"));
  if (value.size() > kSysctlValueBytesMax) return fail(Code::kInvalidArgument, cat("value of sysctl ", name, " is too long"));
  for (char c : value) {
    bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ' ' || c == '\t' || c == '-' || c == '.' || c == ',' || c == '_';
    if (!good) return fail(Code::kInvalidArgument, cat("value of sysctl ", name, " has a character that is not allowed"));
  }
  bool is_net = dotted.starts_with("net.");
  bool is_uts = dotted == "kernel.domainname";
  if (!is_net && !is_ipc(dotted) && !is_uts) return fail(Code::kInvalidArgument, cat("sysctl ", name, " is not of a namespace: it would change the host"));
  if ((is_net && !own.network) || (is_ipc(dotted) && !own.ipc) || (is_uts && !own.uts))
    return fail(Code::kInvalidArgument, cat("sysctl ", name, " needs a namespace of its own: the host's is shared"));
  return {};
}

Result<SandboxNamespaces> create_sandbox_namespaces(const SandboxOptions& options) {
  SysctlNamespaces own{options.network, options.ipc, options.uts};
  for (const auto& [name, value] : options.sysctls) TRY(check_sysctl(name, value, own));
  if (options.hostname.size() > 64) return fail(Code::kInvalidArgument, "hostname is longer than 64 bytes");
  int flags = (options.network ? CLONE_NEWNET : 0) | (options.ipc ? CLONE_NEWIPC : 0) | (options.uts ? CLONE_NEWUTS : 0);
  TRY(sys::pin_new_namespaces(flags, options.directory, [&]() -> Result<> {
    if (options.uts && !options.hostname.empty() && ::sethostname(options.hostname.data(), options.hostname.size()) < 0) return fail_errno("set host name");
    if (options.network) write_network_defaults();
    return write_as_owner(options);
  }, options.maps));
  return find_sandbox_namespaces(options.directory);
}

SandboxNamespaces find_sandbox_namespaces(const std::string& directory) {
  return {existing(directory + "/net"), existing(directory + "/ipc"), existing(directory + "/uts"), existing(directory + "/user")};
}

Result<> remove_sandbox_namespaces(const std::string& directory) { return sys::unpin_namespaces(directory); }

}  // namespace monopod::container
