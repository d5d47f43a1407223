#include "container/config.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "container/kernel_words.h"
#include "container/sandbox.h"
#include "sys/capabilities.h"
#include "sys/namespaces.h"

namespace monopod::container {
namespace {

constexpr std::uint32_t kIdMax = 0x7fffffff;
constexpr std::size_t kMountsMax = 1024;
constexpr std::size_t kArgsBytesMax = 2U << 20;
constexpr std::size_t kHostnameBytesMax = 64;
constexpr std::size_t kMapLinesMax = 340;  // user_namespaces(7)
constexpr std::size_t kHooksMax = 64;

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

Result<> check_map(const std::vector<sys::IdMap>& map, std::string_view name) {
  if (map.size() > kMapLinesMax) return fail(Code::kInvalidArgument, cat(name, ": more than ", kMapLinesMax, " lines"));
  for (std::size_t i = 0; i < map.size(); ++i) {
    for (std::uint64_t first : {map[i].inside, map[i].outside}) {
      if (map[i].size == 0 || first + map[i].size > 1ULL << 32) return fail(Code::kInvalidArgument, cat(name, ": size is out of range"));
    }
    for (std::size_t k = 0; k < i; ++k) {
      auto overlap = [](std::uint64_t a, std::uint64_t a_size, std::uint64_t b, std::uint64_t b_size) { return a < b + b_size && b < a + a_size; };
      if (overlap(map[i].inside, map[i].size, map[k].inside, map[k].size) || overlap(map[i].outside, map[i].size, map[k].outside, map[k].size))
        return fail(Code::kInvalidArgument, cat(name, ": ranges overlap"));
    }
  }
  return {};
}

Result<> check_maps(const ContainerConfig& config) {
  TRY(check_map(config.uid_mappings, "linux.uidMappings"));
  TRY(check_map(config.gid_mappings, "linux.gidMappings"));
  const Namespace* user = find_namespace(config, NamespaceType::kUser);
  bool mapped = !config.uid_mappings.empty() || !config.gid_mappings.empty();
  if (user == nullptr && mapped) return fail(Code::kInvalidArgument, "linux.uidMappings: no user namespace is asked for");
  if (user != nullptr && user->path.empty() && (config.uid_mappings.empty() || config.gid_mappings.empty()))
    return fail(Code::kInvalidArgument, "linux.uidMappings and linux.gidMappings: a new user namespace needs both");
  const Namespace* time = find_namespace(config, NamespaceType::kTime);
  if (!config.time_offsets.empty() && (time == nullptr || !time->path.empty()))
    return fail(Code::kInvalidArgument, "linux.timeOffsets: no new time namespace is asked for");
  for (const TimeOffset& offset : config.time_offsets) {
    if (offset.nanosecs >= 1'000'000'000) return fail(Code::kInvalidArgument, "linux.timeOffsets: nanosecs is out of range");
  }
  for (const Mount& mount : config.mounts) {
    TRY(check_map(mount.uid_mappings, cat("mount ", mount.destination, ": uidMappings")));
    TRY(check_map(mount.gid_mappings, cat("mount ", mount.destination, ": gidMappings")));
    if (mount.uid_mappings.empty() != mount.gid_mappings.empty())
      return fail(Code::kInvalidArgument, cat("mount ", mount.destination, ": uidMappings and gidMappings go together"));
  }
  return {};
}

Result<> check_hooks(const Hooks& hooks) {
  struct Row {
    std::string_view name;
    const std::vector<Hook>& list;
  };
  for (const Row& row : {Row{"prestart", hooks.prestart}, Row{"createRuntime", hooks.create_runtime}, Row{"createContainer", hooks.create_container},
                         Row{"startContainer", hooks.start_container}, Row{"poststart", hooks.poststart}, Row{"poststop", hooks.poststop}}) {
    if (row.list.size() > kHooksMax) return fail(Code::kInvalidArgument, cat("hooks.", row.name, ": more than ", kHooksMax));
    for (const Hook& hook : row.list) {
      if (!is_absolute(hook.path)) return fail(Code::kInvalidArgument, cat("hooks.", row.name, ": path \"", hook.path, "\" is not absolute"));
      if (hook.timeout_s && *hook.timeout_s <= 0) return fail(Code::kInvalidArgument, cat("hooks.", row.name, ": timeout is not above 0"));
    }
  }
  return {};
}

template <std::size_t N>
bool is_one_of(std::string_view text, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Names in the order of the kernel's numbers are init_process.cc's business; here only that they exist.
Result<> check_scheduling(const ProcessSpec& process) {
  if (const auto& s = process.scheduler) {
    if (!find_scheduler_policy(s->policy)) return fail(Code::kInvalidArgument, cat("process.scheduler.policy: unknown ", s->policy));
    for (const std::string& flag : s->flags) {
      if (!find_scheduler_flag(flag)) return fail(Code::kInvalidArgument, cat("process.scheduler.flags: unknown ", flag));
    }
    if (s->nice < -20 || s->nice > 19) return fail(Code::kInvalidArgument, "process.scheduler.nice is out of range -20-19");
    bool real_time = s->policy == "SCHED_FIFO" || s->policy == "SCHED_RR";
    if (!real_time && s->priority != 0) return fail(Code::kInvalidArgument, "process.scheduler.priority: only for SCHED_FIFO and SCHED_RR");
    if (s->policy != "SCHED_DEADLINE" && (s->runtime | s->deadline | s->period) != 0)
      return fail(Code::kInvalidArgument, "process.scheduler: runtime, deadline and period are for SCHED_DEADLINE only");
  }
  if (const auto& p = process.io_priority) {
    if (!find_io_class(p->io_class)) return fail(Code::kInvalidArgument, cat("process.ioPriority.class: unknown ", p->io_class));
    if (p->priority < 0 || p->priority > 7) return fail(Code::kInvalidArgument, "process.ioPriority.priority is out of range 0-7");
  }
  for (const std::string* cpus : {&process.exec_cpus_initial, &process.exec_cpus_final}) {
    if (!cpus->empty() && !parse_cpu_list(*cpus)) return fail(Code::kInvalidArgument, cat("process.execCPUAffinity: \"", *cpus, "\" is not a list of cpus"));
  }
  return {};
}

Result<> check_kernel_settings(const ContainerConfig& config) {
  if (config.personality) {
    if (config.personality->domain != "LINUX" && config.personality->domain != "LINUX32")
      return fail(Code::kInvalidArgument, cat("linux.personality.domain: unknown ", config.personality->domain));
    if (!config.personality->flags.empty()) return fail(Code::kInvalidArgument, "linux.personality.flags: none is defined");
  }
  if (config.memory_policy) {
    auto invalid = [](std::string_view what, std::string_view text) { return fail(Code::kInvalidArgument, cat("linux.memoryPolicy: invalid memory policy ", what, " \"", text, "\"")); };
    if (!find_memory_policy(config.memory_policy->mode)) return invalid("mode", config.memory_policy->mode);
    for (const std::string& flag : config.memory_policy->flags)
      if (!find_memory_policy(flag)) return invalid("flag", flag);
    if (!config.memory_policy->nodes.empty() && !parse_cpu_list(config.memory_policy->nodes)) return invalid("nodes", config.memory_policy->nodes);
  }
  static constexpr std::array<std::string_view, 9> kPropagation = {"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"};
  if (!is_one_of(config.rootfs_propagation, kPropagation))
    return fail(Code::kInvalidArgument, cat("linux.rootfsPropagation: unknown ", config.rootfs_propagation));
  for (const auto& [outside, inside] : config.net_devices) {
    for (const std::string* name : {&outside, &inside}) {
      if (name->empty() || name->size() > 15 || name->find_first_of("/: \t\n%") != std::string::npos || *name == "." || *name == "..")
        return fail(Code::kInvalidArgument, cat("linux.netDevices: \"", *name, "\" is not a device name"));
    }
    if (!has_namespace(config, NamespaceType::kNetwork)) return fail(Code::kInvalidArgument, "linux.netDevices: unable to move network devices without a NET namespace");
  }
  return {};
}

}  // namespace

const Namespace* find_namespace(const ContainerConfig& config, NamespaceType type) {
  for (const Namespace& ns : config.namespaces) {
    if (ns.type == type) return &ns;
  }
  return nullptr;
}
bool has_namespace(const ContainerConfig& config, NamespaceType type) { return find_namespace(config, type) != nullptr; }

std::vector<std::string> default_capability_names() {
  return {"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",  "CAP_FOWNER",           "CAP_MKNOD",      "CAP_NET_RAW", "CAP_SETGID",
          "CAP_SETUID", "CAP_SETFCAP",      "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",    "CAP_AUDIT_WRITE"};
}

Capabilities default_capabilities() {
  std::vector<std::string> names = default_capability_names();
  return {names, names, names, {}, {}};
}

Capabilities all_capabilities() {
  const std::vector<std::string>& names = sys::capability_names();
  return {names, names, names, {}, {}};
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
  return Capabilities{out, out, out, {}, {}};
}

std::vector<Mount> default_mounts() {
  std::vector<std::string> terminals = {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"};
  if (sys::has_group_id(5)) terminals.emplace_back("gid=5");  // tty; an ordinary user may have its own id alone
  return {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "noexec", "mode=755", "size=65536k"}, {}},
      {"/dev/pts", "devpts", "devpts", std::move(terminals), {}},
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
  TRY(check_capabilities(caps.inheritable, "inheritable"));
  TRY(check_subset(caps.effective, caps.permitted, "effective but not permitted"));
  TRY(check_subset(caps.ambient, caps.permitted, "ambient but not permitted"));
  TRY(check_subset(caps.permitted, caps.bounding, "permitted but not in the bounding set"));
  for (const Rlimit& limit : process.rlimits) {
    if (std::count_if(process.rlimits.begin(), process.rlimits.end(), [&](const Rlimit& r) { return r.type == limit.type; }) > 1)
      return bad(cat("resource limit ", limit.type, " stands twice"));
    if (!sys::find_rlimit(limit.type)) return bad(cat("unknown resource limit ", limit.type));
    if (limit.soft > limit.hard) return bad(cat("soft ", limit.type, " exceeds hard"));
  }
  TRY(check_scheduling(process));
  if (process.user.umask && *process.user.umask > 0777) return bad("process.user.umask is out of range 0-0777");
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
    if (!is_absolute(device.path) || device.path.ends_with('/')) return bad(cat("device path ", device.path, " is not absolute"));
    if (std::string_view("bcup").find(device.type) == std::string_view::npos) return bad(cat("device ", device.path, " has an unknown type"));
  }
  SysctlNamespaces own;
  for (const Namespace& ns : config.namespaces) {
    if (!ns.path.empty() && !is_absolute(ns.path)) return bad(cat("namespace path ", ns.path, " is not absolute"));
    if (std::count_if(config.namespaces.begin(), config.namespaces.end(), [&](const Namespace& other) { return other.type == ns.type; }) > 1)
      return bad("linux.namespaces: a type stands twice");
    if (ns.type == NamespaceType::kNetwork) own.network = true;
    if (ns.type == NamespaceType::kIpc) own.ipc = true;
    if (ns.type == NamespaceType::kUts) own.uts = true;
  }
  for (const auto& [name, value] : config.sysctl) TRY(check_sysctl(name, value, own));
  TRY(check_maps(config));
  TRY(check_hooks(config.hooks));
  TRY(check_kernel_settings(config));
  for (std::string_view part : split(config.cgroup_path, '/')) {
    if (part == "." || part == "..") return bad("control group path contains . or ..");
  }
  return {};
}

}  // namespace monopod::container
