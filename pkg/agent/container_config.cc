#include "agent/container_config.h"

#include <algorithm>

#include "agent/resources.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

using container::Mount;
using container::Namespace;
using container::NamespaceType;

std::vector<Namespace> make_namespaces(const Pod& pod, const ContainerPlace& place) {
  std::vector<Namespace> out{{NamespaceType::kMount, ""}};
  if (!place.namespaces.network_path.empty()) out.push_back({NamespaceType::kNetwork, place.namespaces.network_path});
  if (!place.namespaces.ipc_path.empty()) out.push_back({NamespaceType::kIpc, place.namespaces.ipc_path});
  if (!place.namespaces.uts_path.empty()) out.push_back({NamespaceType::kUts, place.namespaces.uts_path});
  if (!pod.host_pid) out.push_back({NamespaceType::kPid, ""});
  out.push_back({NamespaceType::kCgroup, ""});
  return out;
}

Mount make_bind(const Bind& bind) {
  Mount m{bind.destination, "bind", bind.source, {"rbind"}, bind.sub_path};
  m.options.push_back(bind.read_only ? "ro" : "rw");
  if (bind.propagation == "HostToContainer") m.options.push_back("rslave");
  else if (bind.propagation == "Bidirectional") m.options.push_back("rshared");
  else m.options.push_back("rprivate");
  return m;
}

void add_mounts(const ContainerPlan& plan, const ContainerPlace& place, bool privileged, container::ContainerConfig& config) {
  for (Mount& m : config.mounts) {
    if (m.destination == "/dev/shm" && !place.shm_path.empty()) m = Mount{"/dev/shm", "bind", place.shm_path, {"rbind", "rw", "nosuid", "nodev", "noexec"}, ""};
    if (privileged && (m.destination == "/sys" || m.destination == "/sys/fs/cgroup")) std::ranges::replace(m.options, std::string("ro"), std::string("rw"));
  }
  // A volume over a default mount point replaces it.
  for (const Bind& bind : plan.binds) std::erase_if(config.mounts, [&](const Mount& m) { return m.destination == bind.destination; });
  std::vector<Bind> binds = plan.binds;
  std::ranges::stable_sort(binds, {}, [](const Bind& b) { return std::ranges::count(b.destination, '/'); });  // parents first
  for (const Bind& bind : binds) config.mounts.push_back(make_bind(bind));
  for (const Bind& bind : binds) {
    if (bind.propagation == "Bidirectional") config.rootfs_propagation = "shared";
    if (bind.propagation == "HostToContainer" && config.rootfs_propagation != "shared") config.rootfs_propagation = "slave";
  }
}

Result<> set_user(const EffectiveSecurity& security, const container::ResolvedUser& resolved, container::ProcessSpec& process) {
  process.user.uid = security.user ? static_cast<std::uint32_t>(*security.user) : resolved.uid;
  process.user.gid = security.group ? static_cast<std::uint32_t>(*security.group) : resolved.gid;
  std::set<std::uint32_t> groups;
  if (security.image_groups) groups.insert(resolved.additional_gids.begin(), resolved.additional_gids.end());
  for (std::int64_t g : security.extra_groups) groups.insert(static_cast<std::uint32_t>(g));
  process.user.additional_gids.assign(groups.begin(), groups.end());
  return {};
}

Result<> set_seccomp(const EffectiveSecurity& security, const ContainerPlace& place, container::ContainerConfig& config) {
  const std::vector<std::string>& capabilities = config.process.capabilities.bounding;
  if (security.seccomp.type == "Unconfined") {
    config.seccomp.reset();
  } else if (security.seccomp.type == "Localhost") {
    auto tree = json::parse(place.seccomp_json);
    if (!tree) return fail(Code::kFailedPrecondition, cat("failed to load seccomp spec: ", security.seccomp.localhost, ": ", tree.error().message()));
    auto profile = container::parse_seccomp_profile(*tree, capabilities);
    if (!profile) return fail(Code::kFailedPrecondition, cat("failed to load seccomp spec: ", security.seccomp.localhost, ": ", profile.error().message()));
    config.seccomp = std::move(*profile);
  } else {
    config.seccomp = container::default_seccomp_profile(capabilities);
  }
  return {};
}

void set_limits(const Container& c, container::ContainerConfig& config) {
  CgroupValues values = container_cgroup(c);
  sys::CgroupLimits& limits = config.resources.limits;
  limits.cpu_shares = static_cast<std::uint64_t>(values.cpu_shares);
  limits.cpu_quota_us = values.cpu_quota_us;
  if (values.cpu_quota_us) limits.cpu_period_us = static_cast<std::uint64_t>(values.cpu_period_us);
  limits.memory_bytes_max = values.memory_limit_bytes;
  if (values.memory_limit_bytes) limits.memory_swap_bytes_max = values.memory_limit_bytes;  // no swap
  limits.pids_max = values.pids_max;
}

void set_annotations(const ContainerPlan& plan, container::ContainerConfig& config) {
  auto set = [&](std::string_view key, std::string value) { config.annotations[std::string(key)] = std::move(value); };
  set(kPodUid, plan.pod->uid);
  set(kPodName, plan.pod->name);
  set(kPodNamespace, plan.pod->namespace_name);
  set(kContainerName, plan.container->name);
  set(kAttempt, std::to_string(plan.attempt));
  set(kHash, plan.container->hash);
  set(kImage, plan.container->image);
  set(kImageId, plan.image.reference);
  set(kTerminationPolicy, plan.container->termination_policy);
}

}  // namespace

Result<container::ContainerConfig> make_container_config(const ContainerPlan& plan, const ContainerPlace& place) {
  const Pod& pod = *plan.pod;
  const Container& c = *plan.container;
  EffectiveSecurity security = merge_security(pod, c);
  if (!pod.host_users) return fail(Code::kUnimplemented, "hostUsers: false: user namespaces are not supported by this node");
  TRY(check_non_root(pod, c, security, plan.image.user));

  container::ContainerConfig config = container::default_config();
  config.rootfs = place.rootfs;
  config.rootfs_readonly = c.security.read_only_root;
  config.process.args = plan.command;
  if (config.process.args.empty()) return fail(Code::kFailedPrecondition, "no command specified");
  config.process.env = plan.env;
  config.process.cwd = !c.working_dir.empty() ? c.working_dir : !plan.image.working_dir.empty() ? plan.image.working_dir : "/";
  config.process.terminal = c.tty;
  if (c.tty && std::ranges::none_of(plan.env, [](const std::string& line) { return line.starts_with("TERM="); })) config.process.env.push_back("TERM=xterm");
  bool has_home = std::ranges::any_of(plan.env, [](const std::string& line) { return line.starts_with("HOME="); });
  if (!has_home) config.process.env.push_back(cat("HOME=", place.user.home.empty() ? "/" : place.user.home));
  TRY(set_user(security, place.user, config.process));
  auto capabilities = make_capabilities(c);
  if (!capabilities) return fail(Code::kFailedPrecondition, capabilities.error().message());
  config.process.capabilities = std::move(*capabilities);
  config.process.no_new_privileges = security.no_new_privileges;
  config.process.oom_score_adj = oom_score_adjust(pod, c, place.node_memory_bytes);

  config.hostname.clear();  // of the pod's uts namespace
  config.namespaces = make_namespaces(pod, place);
  config.pid_namespace_of = place.pid_namespace_of;
  add_mounts(plan, place, security.privileged, config);
  if (!security.masked_proc) {
    config.masked_paths.clear();
    config.readonly_paths.clear();
  }
  if (security.privileged) {
    config.resources.devices = {sys::DeviceRule{.allow = true, .type = 'a', .major = std::nullopt, .minor = std::nullopt, .access = "rwm"}};
    config.devices.insert(config.devices.end(), place.host_devices.begin(), place.host_devices.end());
  }
  TRY(set_seccomp(security, place, config));
  config.cgroup_path = place.cgroup_path;
  set_limits(c, config);
  set_annotations(plan, config);
  return config;
}

}  // namespace monopod::agent
