// A container's config.json from its record.
#include <algorithm>

#include "base/strings.h"
#include "cri/messages.h"
#include "cri/plan.h"

namespace monopod::cri {
namespace {

using container::Mount;
using container::NamespaceType;

json::Value security_of(const Container& c) { return member_of(c.config, {"linux", "security_context"}); }

bool is_privileged(const Container& c) { return json::get_bool(c.config, {"linux", "security_context", "privileged"}); }

NamespaceMode mode_of(const Container& c, std::string_view which) {
  return static_cast<NamespaceMode>(json::get_int(c.config, {"linux", "security_context", "namespace_options", which}));
}

// CONTAINER is for pid and ipc alone: there is one network for all of a pod.
void add_namespaces(const Sandbox& sandbox, const Container& c, const Place& place, container::ContainerConfig& config) {
  config.namespaces = {{NamespaceType::kMount, ""}, {NamespaceType::kCgroup, ""}};
  auto add = [&](NamespaceType type, std::string path) { config.namespaces.push_back({type, std::move(path)}); };
  if (sandbox.own_network()) {
    add(NamespaceType::kNetwork, place.namespaces.network_path);
    add(NamespaceType::kUts, place.namespaces.uts_path);
  }
  if (mode_of(c, "ipc") == NamespaceMode::kContainer) add(NamespaceType::kIpc, "");
  else if (mode_of(c, "ipc") == NamespaceMode::kPod && !place.namespaces.ipc_path.empty()) add(NamespaceType::kIpc, place.namespaces.ipc_path);
  if (mode_of(c, "pid") != NamespaceMode::kNode) add(NamespaceType::kPid, "");
  if (sys::IdMaps maps = user_maps(sandbox.config); !maps.empty()) {
    add(NamespaceType::kUser, place.namespaces.user_path);
    config.uid_mappings = std::move(maps.uids);
    config.gid_mappings = std::move(maps.gids);
  }
  config.pid_namespace_of = place.pid_of;
  config.hostname.clear();  // of the sandbox
}

Mount make_mount(const json::Value& m, const std::string& source) {
  Mount out{std::string(json::get_string(m, {"container_path"})), "bind", source, {"rbind"}, std::string(json::get_string(m, {"image_sub_path"}))};
  static constexpr std::string_view kPropagations[] = {"rprivate", "rslave", "rshared"};
  out.options.emplace_back(kPropagations[json::get_int(m, {"propagation"})]);
  out.options.emplace_back(json::get_bool(m, {"readonly"}) ? "ro" : "rw");
  if (json::get_bool(m, {"recursive_read_only"})) out.options.emplace_back("rro");
  sys::IdMaps maps = mount_maps(m);
  out.uid_mappings = std::move(maps.uids);
  out.gid_mappings = std::move(maps.gids);
  return out;
}

void add_mounts(const Container& c, const image::ImageConfig& image, const Place& place, container::ContainerConfig& config) {
  for (Mount& m : config.mounts) {
    if (m.destination == "/dev/shm" && !place.shm.empty()) m = Mount{"/dev/shm", "bind", place.shm, {"rbind", "rw", "nosuid", "nodev", "noexec"}, ""};
    bool groups = m.destination == "/sys/fs/cgroup";
    if ((is_privileged(c) && (groups || m.destination == "/sys")) || (groups && place.delegated)) std::ranges::replace(m.options, std::string("ro"), std::string("rw"));
  }
  std::vector<Mount> own;
  for (std::string_view name : {"hosts", "hostname", "resolv.conf"})
    own.push_back(Mount{cat("/etc/", name), "bind", cat(place.files, "/", name), {"rbind", "rprivate", config.rootfs_readonly ? "ro" : "rw"}, ""});
  for (Mount& m : own) {  // its root may write them
    m.uid_mappings = config.uid_mappings;
    m.gid_mappings = config.gid_mappings;
  }
  for (const std::string& path : declared_volumes(c.config, image)) own.push_back(Mount{path, "bind", place.volumes, {"rbind", "rprivate", "rw"}, path.substr(1)});
  if (const json::Array* mounts = json::get_array(c.config, {"mounts"}))
    for (std::size_t i = 0; i < mounts->size(); ++i) {
      Mount mount = make_mount((*mounts)[i], place.mount_sources[i]);
      std::erase_if(own, [&](const Mount& o) { return o.destination == mount.destination; });
      std::int64_t propagation = json::get_int((*mounts)[i], {"propagation"});
      if (propagation == 2) config.rootfs_propagation = "shared";
      if (propagation == 1 && config.rootfs_propagation.empty()) config.rootfs_propagation = "slave";
      own.push_back(std::move(mount));
    }
  for (const Mount& m : own) std::erase_if(config.mounts, [&](const Mount& d) { return d.destination == m.destination; });
  std::ranges::stable_sort(own, {}, [](const Mount& m) { return std::ranges::count(m.destination, '/'); });  // parents first
  std::ranges::move(own, std::back_inserter(config.mounts));
}

void add_devices(const Container& c, const Place& place, container::ContainerConfig& config) {
  config.devices.insert(config.devices.end(), place.devices.begin(), place.devices.end());
  if (is_privileged(c)) {
    config.resources.devices = {sys::DeviceRule{.allow = true, .type = 'a', .major = std::nullopt, .minor = std::nullopt, .access = "rwm"}};
    return;
  }
  const json::Array* asked = json::get_array(c.config, {"devices"});
  for (std::size_t i = 0; i < place.devices.size() && asked != nullptr && i < asked->size(); ++i) {
    std::string_view access = json::get_string((*asked)[i], {"permissions"}, "rwm");
    config.resources.devices.push_back({.allow = true, .type = place.devices[i].type, .major = place.devices[i].major, .minor = place.devices[i].minor, .access = std::string(access)});
  }
}

Result<> add_capabilities(const Container& c, container::ContainerConfig& config) {
  if (is_privileged(c)) {
    config.process.capabilities = container::all_capabilities();
    return {};
  }
  json::Value asked = member_of(c.config, {"linux", "security_context", "capabilities"});
  TRY_ASSIGN(config.process.capabilities, container::adjust_capabilities(strings_of(asked, {"add_capabilities"}), strings_of(asked, {"drop_capabilities"})));
  std::vector<std::string> ambient = strings_of(asked, {"add_ambient_capabilities"});
  if (ambient.empty()) return {};
  TRY_ASSIGN(container::Capabilities more, container::adjust_capabilities(ambient, {"ALL"}));
  auto add = [](std::vector<std::string>& to, const std::string& name) {
    if (std::ranges::find(to, name) == to.end()) to.push_back(name);
  };
  container::Capabilities& all = config.process.capabilities;
  for (const std::string& name : more.bounding)
    for (auto* set : {&all.bounding, &all.effective, &all.permitted, &all.inheritable, &all.ambient}) add(*set, name);
  return {};
}

// Without a word about seccomp there is none, as CRI has it.
Result<> add_seccomp(const json::Value& security, const Place& place, container::ContainerConfig& config) {
  std::int64_t type = json::get_int(security, {"seccomp", "profile_type"}, 1);
  const std::vector<std::string>& capabilities = config.process.capabilities.bounding;
  if (json::find(security, {"seccomp"}) == nullptr) {
    std::string_view path = json::get_string(security, {"seccomp_profile_path"});
    type = path == "runtime/default" || path == "docker/default" ? 0 : path.starts_with("localhost/") ? 2 : 1;
  } else if (json::find(security, {"seccomp", "profile_type"}) == nullptr) {
    type = 0;
  }
  config.seccomp.reset();
  if (type == 0) config.seccomp = container::default_seccomp_profile(capabilities);
  if (type != 2) return {};
  TRY_ASSIGN(json::Value tree, json::parse(place.seccomp_json));
  TRY_ASSIGN(config.seccomp, container::parse_seccomp_profile(tree, capabilities));
  return {};
}

Result<> add_labels(const Container& c, const json::Value& security, const Place& place, container::ContainerConfig& config) {
  std::string profile = apparmor_profile(c.config);
  if (!profile.empty() && !place.apparmor) return refuse(Code::kFailedPrecondition, {"apparmor profile ", profile, ": this host has no AppArmor"});
  config.process.apparmor_profile = profile;
  if (!place.selinux) return {};
  auto part = [&](std::string_view name) { return json::get_string(security, {"selinux_options", name}); };
  if (!part("type").empty()) config.process.selinux_label = cat(part("user"), ":", part("role"), ":", part("type"), ":", part("level"));
  return {};
}

Result<> add_security(const Container& c, const Place& place, container::ContainerConfig& config) {
  json::Value security = security_of(c);
  if (json::get_int(security, {"cgroup_mount_mode"}) == kGroupsWritable && !place.delegated)
    return fail(Code::kFailedPrecondition, "cgroup_mount_mode: this host has no control groups v2 mounted with nsdelegate");
  TRY(add_capabilities(c, config));
  config.process.no_new_privileges = json::get_bool(security, {"no_new_privs"});
  config.masked_paths.clear();
  config.readonly_paths.clear();
  if (is_privileged(c)) {
    config.seccomp.reset();
    return {};
  }
  config.masked_paths = strings_of(security, {"masked_paths"});
  config.readonly_paths = strings_of(security, {"readonly_paths"});
  TRY(add_seccomp(security, place, config));
  return add_labels(c, security, place, config);
}

void add_environment(const Container& c, const image::ImageConfig& image, const Place& place, container::ContainerConfig& config) {
  std::vector<std::string>& env = config.process.env;
  auto set = [&](std::string_view name, std::string_view value) {
    std::erase_if(env, [&](const std::string& line) { return line.starts_with(cat(name, "=")); });
    env.push_back(cat(name, "=", value));
  };
  auto has = [&](std::string_view name) { return std::ranges::any_of(env, [&](const std::string& line) { return line.starts_with(cat(name, "=")); }); };
  env = image.env;
  if (!place.hostname.empty()) set("HOSTNAME", place.hostname);
  if (const json::Array* asked = json::get_array(c.config, {"envs"}))
    for (const json::Value& entry : *asked) set(json::get_string(entry, {"key"}), json::get_string(entry, {"value"}));
  if (!has("PATH")) set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  if (c.terminal() && !has("TERM")) set("TERM", "xterm");
  if (!has("HOME")) set("HOME", place.user.home.empty() ? "/" : place.user.home);
}

Result<> add_command(const Container& c, const image::ImageConfig& image, container::ContainerConfig& config) {
  std::vector<std::string> command = strings_of(c.config, {"command"});
  std::vector<std::string> args = strings_of(c.config, {"args"});
  if (command.empty()) {
    command = image.entrypoint;
    if (args.empty()) args = image.cmd;
  }
  std::ranges::move(args, std::back_inserter(command));
  if (command.empty()) return fail(Code::kInvalidArgument, "no command specified");
  config.process.args = std::move(command);
  config.process.cwd = json::get_string(c.config, {"working_dir"});
  if (config.process.cwd.empty()) config.process.cwd = image.working_dir.empty() ? "/" : image.working_dir;
  return {};
}

}  // namespace

Result<container::ContainerConfig> make_config(const Sandbox& sandbox, const Container& c, const image::ImageConfig& image, const Place& place) {
  container::ContainerConfig config = container::default_config();
  config.rootfs = place.rootfs;
  config.rootfs_readonly = json::get_bool(c.config, {"linux", "security_context", "readonly_rootfs"});
  TRY(add_command(c, image, config));
  add_environment(c, image, place, config);
  config.process.terminal = c.terminal();
  config.process.user.uid = static_cast<std::uint32_t>(json::get_int(c.user, {"uid"}));
  config.process.user.gid = static_cast<std::uint32_t>(json::get_int(c.user, {"gid"}));
  if (const json::Array* groups = json::get_array(c.user, {"supplemental_groups"}))
    for (const json::Value& group : *groups) config.process.user.additional_gids.push_back(static_cast<std::uint32_t>(group.is_uint64() ? group.get_uint64() : static_cast<std::uint64_t>(group.get_int64())));
  json::Value resources = member_of(c.config, {"linux", "resources"});
  config.resources.limits = make_limits(resources);
  if (std::int64_t adjust = json::get_int(resources, {"oom_score_adj"}); adjust != 0) config.process.oom_score_adj = static_cast<int>(std::clamp<std::int64_t>(adjust, -1000, 1000));
  config.cgroup_path = place.cgroup;
  add_namespaces(sandbox, c, place, config);
  TRY(add_security(c, place, config));
  add_mounts(c, image, place, config);
  add_devices(c, place, config);
  return config;
}

supervisor::StdioOptions make_stdio(const Container& c) {
  supervisor::StdioOptions out;
  out.log_path = c.log_path;
  out.log_bytes_max = ~std::uint64_t{0} >> 1U;  // who asked for it rotates it: ReopenContainerLog
  out.terminal = c.terminal();
  out.stdin_open = json::get_bool(c.config, {"stdin"});
  out.stdin_once = json::get_bool(c.config, {"stdin_once"});
  return out;
}

}  // namespace monopod::cri
