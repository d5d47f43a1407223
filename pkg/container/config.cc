#include "container/config.h"

#include <algorithm>

#include "base/strings.h"
#include "container/sandbox.h"
#include "sys/capabilities.h"

namespace monopod::container {
namespace {

constexpr std::uint32_t kIdMax = 0x7fffffff;
constexpr std::size_t kMountsMax = 1024;
constexpr std::size_t kArgsBytesMax = 2U << 20;
constexpr std::size_t kHostnameBytesMax = 64;

bool is_absolute(std::string_view path) { return path.starts_with('/') && path.find('\0') == std::string_view::npos && path.size() < 4096; }

Result<> check_capabilities(const std::vector<std::string>& names, std::string_view set) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!sys::find_capability(names[i])) return fail(Code::kInvalidArgument, cat("unknown capability ", names[i], " in ", set));
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) != names.begin() + static_cast<std::ptrdiff_t>(i))
      return fail(Code::kInvalidArgument, cat("capability ", names[i], " stands twice in ", set));
  }
  return {};
}

Result<> check_subset(const std::vector<std::string>& inner, const std::vector<std::string>& outer, std::string_view text) {
  for (const std::string& name : inner) {
    if (std::find(outer.begin(), outer.end(), name) == outer.end()) return fail(Code::kInvalidArgument, cat("capability ", name, " is ", text));
  }
  return {};
}

}  // namespace

std::vector<std::string> default_capability_names() {
  return {"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",  "CAP_FOWNER",           "CAP_MKNOD",      "CAP_NET_RAW", "CAP_SETGID",
          "CAP_SETUID", "CAP_SETFCAP",      "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",    "CAP_AUDIT_WRITE"};
}

Capabilities default_capabilities() {
  std::vector<std::string> names = default_capability_names();
  return {names, names, names, {}};
}

Capabilities all_capabilities() {
  const std::vector<std::string>& names = sys::capability_names();
  return {names, names, names, {}};
}

Result<Capabilities> adjust_capabilities(const std::vector<std::string>& add, const std::vector<std::string>& drop) {
  auto normal = [](const std::string& name) -> Result<std::string> {
    std::string out = name;
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (out == "ALL") return out;
    if (!out.starts_with("CAP_")) out = "CAP_" + out;
    if (!sys::find_capability(out)) return fail(Code::kInvalidArgument, cat("unknown capability ", name));
    return out;
  };
  bool add_all = false;
  bool drop_all = false;
  std::vector<std::string> added;
  std::vector<std::string> dropped;
  for (const std::string& name : add) {
    TRY_ASSIGN(std::string n, normal(name));
    if (n == "ALL") add_all = true;
    else added.push_back(n);
  }
  for (const std::string& name : drop) {
    TRY_ASSIGN(std::string n, normal(name));
    if (n == "ALL") drop_all = true;
    else dropped.push_back(n);
  }
  // As CRI does it: ALL first, then single names; an added name wins over "drop ALL", a dropped one over "add ALL".
  std::vector<std::string> out = add_all ? sys::capability_names() : drop_all ? std::vector<std::string>() : default_capability_names();
  for (const std::string& name : added) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  std::erase_if(out, [&](const std::string& name) { return std::find(dropped.begin(), dropped.end(), name) != dropped.end(); });
  return Capabilities{out, out, out, {}};
}

std::vector<Mount> default_mounts() {
  return {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "noexec", "mode=755", "size=65536k"}, {}},
      {"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}, {}},
      {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}, {}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, {}},
      {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}, {}},
  };
}

std::vector<std::string> default_masked_paths() {
  return {"/proc/asound",     "/proc/acpi",       "/proc/interrupts", "/proc/kcore",    "/proc/keys",   "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",   "/sys/firmware", "/sys/devices/virtual/powercap"};
}

std::vector<std::string> default_readonly_paths() { return {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}; }

std::vector<sys::DeviceRule> default_device_rules() {
  std::vector<sys::DeviceRule> out = {{false, 'a', {}, {}, "rwm"}, {true, 'c', {}, {}, "m"}, {true, 'b', {}, {}, "m"}};
  auto allow = [&](std::uint32_t major, std::optional<std::uint32_t> minor) { out.push_back({true, 'c', major, minor, "rwm"}); };
  allow(1, 3);     // null
  allow(1, 5);     // zero
  allow(1, 7);     // full
  allow(1, 8);     // random
  allow(1, 9);     // urandom
  allow(5, 0);     // tty
  allow(5, 1);     // console
  allow(5, 2);     // ptmx
  allow(136, {});  // pts
  return out;
}

ContainerConfig default_config() {
  ContainerConfig out;
  out.mounts = default_mounts();
  out.namespaces = {{NamespaceType::kPid, {}}, {NamespaceType::kIpc, {}}, {NamespaceType::kUts, {}}, {NamespaceType::kMount, {}}, {NamespaceType::kCgroup, {}}};
  out.masked_paths = default_masked_paths();
  out.readonly_paths = default_readonly_paths();
  out.resources.devices = default_device_rules();
  out.process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  out.seccomp = default_seccomp_profile(out.process.capabilities.bounding);
  return out;
}

Result<> validate_config(const ContainerConfig& config) {
  auto bad = [](std::string text) { return fail(Code::kInvalidArgument, std::move(text)); };
  const ProcessSpec& process = config.process;
  if (!is_absolute(config.rootfs)) return bad("root path is not absolute");
  if (!config.pause && process.args.empty()) return bad("process has no arguments");
  if (!config.pause && process.args[0].empty()) return bad("process has an empty program name");
  std::size_t bytes = 0;
  for (const auto* list : {&process.args, &process.env}) {
    for (const std::string& text : *list) {
      if (text.find('\0') != std::string::npos) return bad("process arguments and environment may not contain NUL");
      bytes += text.size() + 1;
    }
  }
  if (bytes > kArgsBytesMax) return bad("process arguments and environment are too large");
  if (!is_absolute(process.cwd)) return bad(cat("working directory ", process.cwd, " is not absolute"));
  if (process.user.uid > kIdMax || process.user.gid > kIdMax) return bad("user or group id is out of range 0-2147483647");
  for (std::uint32_t gid : process.user.additional_gids) {
    if (gid > kIdMax) return bad("supplementary group id is out of range 0-2147483647");
  }
  const Capabilities& caps = process.capabilities;
  TRY(check_capabilities(caps.bounding, "bounding"));
  TRY(check_capabilities(caps.effective, "effective"));
  TRY(check_capabilities(caps.permitted, "permitted"));
  TRY(check_capabilities(caps.ambient, "ambient"));
  TRY(check_subset(caps.effective, caps.permitted, "effective but not permitted"));
  TRY(check_subset(caps.ambient, caps.permitted, "ambient but not permitted"));
  TRY(check_subset(caps.permitted, caps.bounding, "permitted but not in the bounding set"));
  for (const Rlimit& limit : process.rlimits) {
    if (!sys::find_rlimit(limit.type)) return bad(cat("unknown resource limit ", limit.type));
    if (limit.soft > limit.hard) return bad(cat("soft ", limit.type, " exceeds hard"));
  }
  if (process.oom_score_adj && (*process.oom_score_adj < -1000 || *process.oom_score_adj > 1000)) return bad("oomScoreAdj is out of range");
  if (config.hostname.size() > kHostnameBytesMax) return bad("hostname is longer than 64 bytes");
  if (config.mounts.size() > kMountsMax) return bad("too many mounts");
  for (const Mount& mount : config.mounts) {
    if (!is_absolute(mount.destination)) return bad(cat("mount destination ", mount.destination, " is not absolute"));
  }
  for (const auto* list : {&config.masked_paths, &config.readonly_paths}) {
    for (const std::string& path : *list) {
      if (!is_absolute(path)) return bad(cat("path ", path, " is not absolute"));
    }
  }
  for (const Device& device : config.devices) {
    if (!device.path.starts_with("/dev/")) return bad(cat("device ", device.path, " is not below /dev"));
    if (std::string_view("bcup").find(device.type) == std::string_view::npos) return bad(cat("device ", device.path, " has an unknown type"));
  }
  SysctlNamespaces own;
  for (const Namespace& ns : config.namespaces) {
    if (!ns.path.empty() && !is_absolute(ns.path)) return bad(cat("namespace path ", ns.path, " is not absolute"));
    if (ns.type == NamespaceType::kUser) return fail(Code::kUnimplemented, "user namespaces are not supported yet");
    if (ns.type == NamespaceType::kNetwork) own.network = true;
    if (ns.type == NamespaceType::kIpc) own.ipc = true;
    if (ns.type == NamespaceType::kUts) own.uts = true;
  }
  for (const auto& [name, value] : config.sysctl) TRY(check_sysctl(name, value, own));
  for (std::string_view part : split(config.cgroup_path, '/')) {
    if (part == "." || part == "..") return bad("control group path contains . or ..");
  }
  return {};
}

}  // namespace monopod::container
