// What a container is: the Linux part of the OCI runtime spec's config.json (opencontainers/runtime-spec 1.3), as plain structs.
// parse_config reads config.json; format_config writes it back; unknown members are ignored, members that we know and cannot obey are errors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"
#include "sys/cgroup.h"
#include "sys/namespaces.h"

namespace monopod::container {

inline constexpr std::string_view kOciVersion = "1.3.0";

// Each name once, as "CAP_CHOWN". The inheritable set is empty (CVE-2022-29162) but where a bundle of `monopod runtime` asks for it.
struct Capabilities {
  std::vector<std::string> bounding;
  std::vector<std::string> effective;
  std::vector<std::string> permitted;
  std::vector<std::string> ambient;
  std::vector<std::string> inheritable;
};
// The sets that containers get unless asked otherwise (moby, containerd).
Capabilities default_capabilities();
std::vector<std::string> default_capability_names();
// Kubernetes securityContext.capabilities over the default: names with or without CAP_, "ALL".
Result<Capabilities> adjust_capabilities(const std::vector<std::string>& add, const std::vector<std::string>& drop);
Capabilities all_capabilities();

struct Rlimit {
  std::string type;  // RLIMIT_NOFILE
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

struct User {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> additional_gids;
  std::optional<std::uint32_t> umask;
};

struct Scheduler {
  std::string policy;  // SCHED_OTHER
  std::int32_t nice = 0;
  std::int32_t priority = 0;
  std::vector<std::string> flags;  // SCHED_FLAG_RESET_ON_FORK
  std::uint64_t runtime = 0;       // ns; SCHED_DEADLINE
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

struct IoPriority {
  std::string io_class;  // IOPRIO_CLASS_BE
  std::int32_t priority = 0;
};

struct ProcessSpec {
  std::vector<std::string> args;
  std::vector<std::string> env;  // NAME=value
  std::string cwd = "/";
  User user;
  // Name, uid or "user:group" to be looked up in the container's own /etc/passwd and /etc/group by the first stage; overrides user.uid and
  // user.gid where not empty. Not part of OCI: "x-username".
  std::string username;
  bool terminal = false;
  Capabilities capabilities = default_capabilities();
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::string apparmor_profile;
  std::string selinux_label;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::string exec_cpus_initial;  // lists of cpus ("0-3,7") for processes of exec: before and after the control group
  std::string exec_cpus_final;
  std::uint16_t console_rows = 0;  // 0: as it comes
  std::uint16_t console_columns = 0;
};

struct Mount {
  std::string destination;
  std::string type;    // proc, sysfs, tmpfs, devpts, mqueue, cgroup, bind (or options contain bind/rbind)
  std::string source;
  std::vector<std::string> options;  // mount(8) words: ro rw nosuid nodev noexec rbind rprivate rslave rshared rro size=... mode=...
  // Bind mounts: a path below source that others may have written (subPath), resolved inside source by the first stage. "x-sourceBelow".
  std::string source_below;
  std::vector<sys::IdMap> uid_mappings;  // of an id-mapped mount: inside is what the file system has, outside what the container's owner is
  std::vector<sys::IdMap> gid_mappings;
  int source_fd = -1;  // a detached mount that the first stage finds open instead of source: "x-sourceFd"
};

enum class NamespaceType { kPid, kNetwork, kMount, kIpc, kUts, kUser, kCgroup, kTime };
struct Namespace {
  NamespaceType type = NamespaceType::kMount;
  std::string path;  // empty: a new one. An absent entry: share the host's.
};

struct Device {
  std::string path;
  char type = 'c';
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t file_mode = 0666;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct Resources {
  sys::CgroupLimits limits;
  std::vector<sys::DeviceRule> devices;
};

// OCI linux.seccomp, kept close to the JSON.
struct SeccompArg {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  std::uint64_t value_two = 0;
  std::string op;  // SCMP_CMP_EQ
};
struct SeccompRule {
  std::vector<std::string> names;
  std::string action;  // SCMP_ACT_ALLOW
  std::optional<std::uint32_t> errno_ret;
  std::vector<SeccompArg> args;
};
struct SeccompProfile {
  std::string default_action = "SCMP_ACT_ERRNO";
  std::optional<std::uint32_t> default_errno_ret;
  std::vector<std::string> architectures;  // SCMP_ARCH_X86_64; empty: the machine's own
  std::vector<std::string> flags;
  std::vector<SeccompRule> rules;
  std::string listener_path;      // unix socket that gets the descriptor of SCMP_ACT_NOTIFY
  std::string listener_metadata;
};
// RuntimeDefault: equal in effect to the field's default profile for a process with these capabilities.
SeccompProfile default_seccomp_profile(const std::vector<std::string>& capabilities);
// A profile file (localhost/...): OCI form, or the Docker form whose rules have includes/excludes.
Result<SeccompProfile> parse_seccomp_profile(const json::Value& value, const std::vector<std::string>& capabilities);

struct Hook {
  std::string path;
  std::vector<std::string> args;  // with argv[0]
  std::vector<std::string> env;
  std::optional<std::int64_t> timeout_s;
};
struct Hooks {
  std::vector<Hook> prestart;
  std::vector<Hook> create_runtime;
  std::vector<Hook> create_container;
  std::vector<Hook> start_container;
  std::vector<Hook> poststart;
  std::vector<Hook> poststop;
};

struct TimeOffset {
  std::string clock;  // monotonic, boottime
  std::int64_t secs = 0;
  std::uint32_t nanosecs = 0;
};

struct Personality {
  std::string domain;  // LINUX, LINUX32
  std::vector<std::string> flags;
};

struct MemoryPolicy {
  std::string mode;   // MPOL_BIND
  std::string nodes;  // "0-3,7"
  std::vector<std::string> flags;
};

struct ContainerConfig {
  ProcessSpec process;
  std::string rootfs;             // host path of the root directory
  bool rootfs_readonly = false;
  std::string hostname;
  std::string domainname;
  std::vector<Mount> mounts;      // in order
  std::vector<Namespace> namespaces;
  // The container whose process namespace is shared (pod with shareProcessNamespace); overrides an own pid namespace.
  std::string pid_namespace_of;
  std::string rootfs_propagation;  // "", private, slave, shared, unbindable
  std::vector<Device> devices;     // besides the standard ones
  std::string cgroup_path;         // group below the node's root, "monopod/besteffort/podX/ctr"; empty: none of its own
  Resources resources;
  std::optional<SeccompProfile> seccomp;  // absent: unconfined
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::map<std::string, std::string> sysctl;
  bool init = false;               // a reaper is PID 1 and the program its child
  bool pause = false;              // no program: only the reaper (holds a shared process namespace)
  std::map<std::string, std::string> annotations;
  std::vector<sys::IdMap> uid_mappings;  // of a new user namespace
  std::vector<sys::IdMap> gid_mappings;
  std::vector<TimeOffset> time_offsets;
  std::string mount_label;
  Hooks hooks;
  std::optional<Personality> personality;
  std::optional<MemoryPolicy> memory_policy;
  std::map<std::string, std::string> net_devices;  // name on the host -> name inside, moved into the container's network namespace
};

// What every container gets unless asked otherwise, as the field does it.
std::vector<Mount> default_mounts();                 // /proc /dev /dev/pts /dev/shm /dev/mqueue /sys /sys/fs/cgroup
std::vector<std::string> default_masked_paths();
std::vector<std::string> default_readonly_paths();
std::vector<sys::DeviceRule> default_device_rules(); // null zero full random urandom tty ptmx pts, mknod of any
// A whole config with the defaults, new pid, ipc, uts, mount and cgroup namespaces and RuntimeDefault seccomp.
ContainerConfig default_config();

bool has_namespace(const ContainerConfig& config, NamespaceType type);           // new or by path
const Namespace* find_namespace(const ContainerConfig& config, NamespaceType type);  // null where absent

// Static checks that need no host: absolute paths, 32-bit ids, known capabilities, sysctls of the allow-list that match the namespaces, seccomp shape.
Result<> validate_config(const ContainerConfig& config);

// kInvalidArgument names the member; kUnimplemented: linux.intelRdt, a vm, another platform.
Result<ContainerConfig> parse_config(const json::Value& value);
// A process alone, as `exec --process` gets it.
Result<ProcessSpec> parse_process(const json::Value& value);
json::Value format_config(const ContainerConfig& config);

}  // namespace monopod::container
