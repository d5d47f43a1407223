// What a request may say.
#include <algorithm>
#include <array>
#include <csignal>

#include "base/strings.h"
#include "container/signals.h"
#include "cri/messages.h"
#include "cri/plan.h"
#include "network/dns/resolv_conf.h"

namespace monopod::cri {
namespace {

// CRI's Signal, from 1 on; the real-time ones follow: 35 is SIGRTMIN (34 of Linux), 50 SIGRTMIN+15, 51 SIGRTMAX-14, 65 SIGRTMAX.
constexpr std::array<std::uint8_t, 34> kSignals = {SIGABRT, SIGALRM, SIGBUS,  SIGCHLD, SIGCHLD,   SIGCONT, SIGFPE,  SIGHUP,  SIGILL,  SIGINT,  SIGIO,   SIGABRT,
                                                   SIGKILL, SIGPIPE, SIGIO,   SIGPROF, SIGPWR,    SIGQUIT, SIGSEGV, 16,      SIGSTOP, SIGSYS,  SIGTERM, SIGTRAP,
                                                   SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,  SIGUSR1,   SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ};
constexpr std::int64_t kRealTimeFirst = 35;
constexpr int kLinuxRealTimeFirst = 34;
constexpr int kSignalMax = 64;

std::vector<sys::IdMap> read_maps(const json::Value& root, std::string_view which) {
  std::vector<sys::IdMap> out;
  const json::Array* lines = json::get_array(root, {which});
  for (std::size_t i = 0; lines != nullptr && i < lines->size(); ++i) {
    auto number = [&](std::string_view name) { return static_cast<std::uint32_t>(json::get_int((*lines)[i], {name})); };
    out.push_back({.inside = number("container_id"), .outside = number("host_id"), .size = number("length")});
  }
  return out;
}

sys::IdMaps user_maps_of(const json::Value& options) {
  json::Value user = member_of(options, {"userns_options"});
  if (json::find(options, {"userns_options"}) == nullptr || static_cast<NamespaceMode>(json::get_int(user, {"mode"})) == NamespaceMode::kNode) return {};
  return {read_maps(user, "uids"), read_maps(user, "gids")};
}

// One line from 0 on, as the field has it: a kubelet gives no others.
Result<> check_maps(const json::Value& root, std::string_view which) {
  const json::Array* lines = json::get_array(root, {which});
  if (lines == nullptr || lines->size() != 1) return refuse(Code::kInvalidArgument, {"userns_options.", which, ": want one mapping"});
  auto number = [&](std::string_view name) { return json::get_int((*lines)[0], {name}); };
  if (number("container_id") != 0) return refuse(Code::kInvalidArgument, {"userns_options.", which, ": container_id is not 0"});
  if (number("length") <= 0 || number("host_id") < 0 || number("host_id") + number("length") > 0xffffffffLL) return refuse(Code::kInvalidArgument, {"userns_options.", which, ": host_id and length are out of range"});
  if (number("host_id") == 0) return refuse(Code::kInvalidArgument, {"userns_options.", which, ": host_id is the host's root"});
  return {};
}

Result<> check_user_namespace(const json::Value& user, const json::Value& options) {
  auto mode = static_cast<NamespaceMode>(json::get_int(user, {"mode"}));
  if (mode == NamespaceMode::kNode) return {};
  if (mode != NamespaceMode::kPod) return fail(Code::kInvalidArgument, "userns_options.mode: want POD or NODE");
  for (std::string_view which : {"uids", "gids"}) TRY(check_maps(user, which));
  for (std::string_view which : {"network", "pid", "ipc"})
    if (static_cast<NamespaceMode>(json::get_int(options, {which})) == NamespaceMode::kNode)
      return refuse(Code::kInvalidArgument, {"userns_options: a pod with a user namespace has no ", which, " namespace of the node"});
  return {};
}

Result<> check_namespaces(const json::Value& options, std::string_view where) {
  for (std::string_view which : {"network", "pid", "ipc"}) {
    std::int64_t mode = json::get_int(options, {which});
    if (mode < 0 || mode > 3) return refuse(Code::kInvalidArgument, {where, ".namespace_options.", which, ": unknown mode ", std::to_string(mode)});
    if (mode == 3 && which != "pid") return refuse(Code::kInvalidArgument, {where, ".namespace_options.", which, ": TARGET is for pid alone"});
  }
  const json::Value* user = json::find(options, {"userns_options"});
  return user == nullptr ? Result<>() : check_user_namespace(*user, options);
}

Result<> check_id(const json::Value& root, std::string_view name) {
  const json::Value* value = json::find(root, {name});
  if (value == nullptr) return {};
  std::int64_t id = json::get_int(*value, {"value"});
  if (id < 0 || id > 0x7fffffff) return refuse(Code::kInvalidArgument, {name, ": ", std::to_string(id), " is not within 0 and 2147483647"});
  return {};
}

Result<> check_profile(const json::Value& security, std::string_view which) {
  std::int64_t type = json::get_int(security, {which, "profile_type"});
  if (type < 0 || type > 2) return refuse(Code::kInvalidArgument, {which, ": unknown profile type ", std::to_string(type)});
  std::string_view name = json::get_string(security, {which, "localhost_ref"});
  if (type == 2 && name.empty()) return refuse(Code::kInvalidArgument, {which, ": a Localhost profile needs a localhost_ref"});
  if (type == 2 && which == "seccomp" && !name.starts_with('/')) return refuse(Code::kInvalidArgument, {"seccomp: localhost_ref ", name, " is not absolute"});
  if (type != 2 && !name.empty()) return refuse(Code::kInvalidArgument, {which, ": localhost_ref is for Localhost profiles"});
  return {};
}

Result<> check_image_volume(const json::Value& m) {
  std::string_view path = json::get_string(m, {"container_path"}), below = json::get_string(m, {"image_sub_path"});
  if (json::get_string(m, {"image", "image"}).empty()) return refuse(Code::kInvalidArgument, {"mount ", path, ": image is missing"});
  if (!json::get_bool(m, {"readonly"})) return refuse(Code::kInvalidArgument, {"mount ", path, ": an image is mounted readonly only"});
  if (json::get_int(m, {"propagation"}) != 0) return refuse(Code::kInvalidArgument, {"mount ", path, ": an image has private propagation only"});
  for (std::string_view part : split(below, '/'))
    if (below.starts_with('/') || part == "..") return refuse(Code::kInvalidArgument, {"mount ", path, ": image_sub_path ", below, " is not a path below the image"});
  return {};
}

Result<> check_mounts(const json::Value& config) {
  const json::Array* mounts = json::get_array(config, {"mounts"});
  if (mounts == nullptr) return {};
  for (const json::Value& m : *mounts) {
    std::string_view path = json::get_string(m, {"container_path"});
    if (!path.starts_with('/')) return refuse(Code::kInvalidArgument, {"mount: container_path \"", path, "\" is not absolute"});
    if ((json::get_array(m, {"uidMappings"}) != nullptr) != (json::get_array(m, {"gidMappings"}) != nullptr)) return refuse(Code::kInvalidArgument, {"mount ", path, ": uidMappings and gidMappings go together"});
    bool image = json::find(m, {"image"}) != nullptr;
    std::string_view host = json::get_string(m, {"host_path"});
    if (image && !host.empty()) return refuse(Code::kInvalidArgument, {"mount ", path, ": host_path and image exclude each other"});
    if (image) TRY(check_image_volume(m));
    else if (!host.starts_with('/')) return refuse(Code::kInvalidArgument, {"mount ", path, ": host_path \"", host, "\" is not absolute"});
    std::int64_t propagation = json::get_int(m, {"propagation"});
    if (propagation < 0 || propagation > 2) return refuse(Code::kInvalidArgument, {"mount ", path, ": unknown propagation ", std::to_string(propagation)});
    if (json::get_bool(m, {"recursive_read_only"}) && (!json::get_bool(m, {"readonly"}) || propagation != 0))
      return refuse(Code::kInvalidArgument, {"mount ", path, ": recursive_read_only needs readonly and private propagation"});
  }
  return {};
}

Result<> check_devices(const json::Value& config) {
  const json::Array* devices = json::get_array(config, {"devices"});
  if (devices == nullptr) return {};
  for (const json::Value& d : *devices) {
    for (std::string_view name : {"host_path", "container_path"})
      if (std::string_view path = json::get_string(d, {name}); !path.starts_with('/')) return refuse(Code::kInvalidArgument, {"device: ", name, " \"", path, "\" is not absolute"});
    std::string_view access = json::get_string(d, {"permissions"});
    if (access.find_first_not_of("rwm") != std::string_view::npos) return refuse(Code::kInvalidArgument, {"device ", json::get_string(d, {"host_path"}), ": permissions \"", access, "\" are not of r, w and m"});
  }
  return {};
}

Result<> check_security(const Sandbox& sandbox, const json::Value& security) {
  json::Value options = member_of(security, {"namespace_options"});
  TRY(check_namespaces(options, "linux.security_context"));
  if (json::find(options, {"userns_options"}) != nullptr && !(user_maps_of(options) == user_maps_of(member_of(sandbox.config, {"linux", "security_context", "namespace_options"}))))
    return fail(Code::kInvalidArgument, "userns_options are not those of the sandbox");
  for (std::string_view id : {"run_as_user", "run_as_group"}) TRY(check_id(security, id));
  bool user = json::find(security, {"run_as_user"}) != nullptr;
  bool name = !json::get_string(security, {"run_as_username"}).empty();
  if (user && name) return fail(Code::kInvalidArgument, "run_as_user and run_as_username exclude each other");
  if (json::find(security, {"run_as_group"}) != nullptr && !user && !name)
    return fail(Code::kInvalidArgument, "user group is specified without user: run_as_group needs run_as_user or run_as_username");
  for (std::string_view which : {"seccomp", "apparmor"}) TRY(check_profile(security, which));
  static constexpr std::string_view kOldProfiles[] = {"", "unconfined", "runtime/default", "docker/default"};
  std::string_view old = json::get_string(security, {"seccomp_profile_path"});
  if (std::ranges::find(kOldProfiles, old) == std::end(kOldProfiles) && !old.starts_with("localhost//")) return refuse(Code::kInvalidArgument, {"invalid seccomp profile \"", old, "\""});
  if (json::get_bool(security, {"privileged"}) && !json::get_bool(sandbox.config, {"linux", "security_context", "privileged"}))
    return fail(Code::kInvalidArgument, "no privileged container allowed in sandbox");
  if (const json::Array* groups = json::get_array(security, {"supplemental_groups"}))
    for (const json::Value& g : *groups)
      if (!g.is_int64() || g.get_int64() < 0 || g.get_int64() > 0x7fffffff) return fail(Code::kInvalidArgument, "supplemental_groups: a group is not within 0 and 2147483647");
  std::int64_t groups_mode = json::get_int(security, {"cgroup_mount_mode"});
  if (groups_mode < 0 || groups_mode > kGroupsWritable) return refuse(Code::kInvalidArgument, {"cgroup_mount_mode: unknown mode ", std::to_string(groups_mode)});
  if (groups_mode == kGroupsReadOnly && json::get_bool(security, {"privileged"})) return fail(Code::kInvalidArgument, "cgroup_mount_mode: a privileged container's control groups are writable");
  for (std::string_view which : {"masked_paths", "readonly_paths"})
    for (const std::string& path : strings_of(security, {which}))
      if (!path.starts_with('/')) return refuse(Code::kInvalidArgument, {which, ": ", path, " is not absolute"});
  return {};
}

}  // namespace

Result<> check_sandbox(const json::Value& config) {
  for (std::string_view name : {"name", "namespace", "uid"})
    if (json::get_string(config, {"metadata", name}).empty()) return refuse(Code::kInvalidArgument, {"sandbox config: metadata.", name, " is missing"});
  json::Value security = member_of(config, {"linux", "security_context"});
  TRY(check_namespaces(member_of(security, {"namespace_options"}), "linux.security_context"));
  for (std::string_view id : {"run_as_user", "run_as_group"}) TRY(check_id(security, id));
  if (json::find(security, {"run_as_group"}) != nullptr && json::find(security, {"run_as_user"}) == nullptr)
    return fail(Code::kInvalidArgument, "run_as_group is specified without run_as_user");
  std::string_view logs = json::get_string(config, {"log_directory"});
  if (!logs.empty() && !logs.starts_with('/')) return refuse(Code::kInvalidArgument, {"log_directory ", logs, " is not absolute"});
  if (json::get_string(config, {"hostname"}).size() > 64) return fail(Code::kInvalidArgument, "hostname is longer than 64 bytes");
  std::string_view group = json::get_string(config, {"linux", "cgroup_parent"});
  for (std::string_view part : split(group, '/'))
    if (part == "." || part == "..") return refuse(Code::kInvalidArgument, {"cgroup_parent ", group, " is not a plain path"});
  if (group.ends_with(".slice") && !group.starts_with('/')) return refuse(Code::kUnimplemented, {"cgroup_parent ", group, ": want a path; this runtime's cgroup driver is cgroupfs"});
  bool node_network = json::get_int(security, {"namespace_options", "network"}) == static_cast<int>(NamespaceMode::kNode);
  bool node_ipc = json::get_int(security, {"namespace_options", "ipc"}) == static_cast<int>(NamespaceMode::kNode);
  for (const auto& [name, value] : map_of(config, {"linux", "sysctls"}))
    TRY(container::check_sysctl(name, value, {.network = !node_network, .ipc = !node_ipc, .uts = !node_network}));
  if (const json::Array* ports = json::get_array(config, {"port_mappings"}))
    for (const json::Value& p : *ports) {
      std::int64_t host = json::get_int(p, {"host_port"}), inside = json::get_int(p, {"container_port"});
      if (host < 0 || host > 65'535 || inside < 0 || inside > 65'535 || (host > 0 && inside == 0))
        return refuse(Code::kInvalidArgument, {"port mapping ", std::to_string(host), " to ", std::to_string(inside), ": want ports within 1 and 65535"});
      std::string_view ip = json::get_string(p, {"host_ip"});
      if (!ip.empty()) TRY(network::parse_ip(ip));
      if (json::get_int(p, {"protocol"}) < 0 || json::get_int(p, {"protocol"}) > 2) return refuse(Code::kInvalidArgument, {"port mapping of ", std::to_string(host), ": unknown protocol"});
    }
  for (const std::string& server : strings_of(config, {"dns_config", "servers"})) TRY(network::parse_ip(server));
  return {};
}

Result<> check_container(const Sandbox& sandbox, const json::Value& config) {
  if (json::get_string(config, {"metadata", "name"}).empty()) return fail(Code::kInvalidArgument, "container config: metadata.name is missing");
  if (json::get_string(config, {"image", "image"}).empty()) return fail(Code::kInvalidArgument, "container config: image is missing");
  if (const json::Array* devices = json::get_array(config, {"CDI_devices"}); devices != nullptr && !devices->empty())
    return fail(Code::kUnimplemented, "CDI_devices are not supported by this runtime");
  std::string_view log = json::get_string(config, {"log_path"});
  for (std::string_view part : split(log, '/'))
    if (part == "..") return refuse(Code::kInvalidArgument, {"log_path ", log, " leaves the log directory"});
  std::int64_t signal = json::get_int(config, {"stop_signal"});
  if (signal != 0 && signal_of_enum(signal) == 0) return refuse(Code::kInvalidArgument, {"stop_signal: unknown signal ", std::to_string(signal)});
  TRY(check_mounts(config));
  TRY(check_devices(config));
  return check_security(sandbox, member_of(config, {"linux", "security_context"}));
}

sys::IdMaps user_maps(const json::Value& sandbox_config) { return user_maps_of(member_of(sandbox_config, {"linux", "security_context", "namespace_options"})); }

sys::IdMaps mount_maps(const json::Value& mount) { return {read_maps(mount, "uidMappings"), read_maps(mount, "gidMappings")}; }

std::string sandbox_name(const json::Value& config) {
  auto text = [&](std::string_view name) { return json::get_string(config, {"metadata", name}); };
  return cat(text("name"), "_", text("namespace"), "_", text("uid"), "_", json::get_int(config, {"metadata", "attempt"}));
}

std::string container_name(const json::Value& config) { return cat(json::get_string(config, {"metadata", "name"}), "_", json::get_int(config, {"metadata", "attempt"})); }

std::vector<network::HostPort> host_ports(const json::Value& config) {
  static constexpr network::Protocol kProtocols[] = {network::Protocol::kTcp, network::Protocol::kUdp, network::Protocol::kSctp};
  std::vector<network::HostPort> out;
  const json::Array* ports = json::get_array(config, {"port_mappings"});
  if (ports == nullptr) return out;
  for (const json::Value& p : *ports) {
    network::HostPort port;
    port.host_port = static_cast<std::uint16_t>(json::get_int(p, {"host_port"}));
    if (port.host_port == 0) continue;  // none on the host
    port.container_port = static_cast<std::uint16_t>(json::get_int(p, {"container_port"}));
    port.protocol = kProtocols[json::get_int(p, {"protocol"})];
    std::string_view text = json::get_string(p, {"host_ip"});
    if (auto ip = network::parse_ip(text); ip && text != "0.0.0.0" && text != "::") port.host_ip = *ip;
    if (std::ranges::find(out, port) == out.end()) out.push_back(port);
  }
  return out;
}

std::string make_hosts(const Sandbox& sandbox, std::string_view hosts) {
  if (!sandbox.own_network()) return std::string(hosts);
  std::string text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
  std::string_view name = json::get_string(sandbox.config, {"hostname"});
  if (!sandbox.ip.empty() && !name.empty()) text += cat(sandbox.ip, "\t", name, "\n");
  return text;
}

std::string make_resolv_conf(const json::Value& config, std::string_view resolv_conf) {
  const json::Value* dns = json::find(config, {"dns_config"});
  if (dns == nullptr || (strings_of(*dns, {"servers"}).empty() && strings_of(*dns, {"searches"}).empty() && strings_of(*dns, {"options"}).empty())) return std::string(resolv_conf);
  network::dns::ResolvConf conf;
  for (const std::string& server : strings_of(*dns, {"servers"}))
    if (auto ip = network::parse_ip(server)) conf.nameservers.push_back(*ip);
  conf.search = strings_of(*dns, {"searches"});
  conf.options = strings_of(*dns, {"options"});
  return network::dns::format_resolv_conf(conf);
}

// Its old form, and at times the new one too, has a prefix.
std::string apparmor_profile(const json::Value& config) {
  constexpr std::string_view kPrefix = "localhost/";
  json::Value security = member_of(config, {"linux", "security_context"});
  std::string_view name = json::get_string(security, {"apparmor", "localhost_ref"}), old = json::get_string(security, {"apparmor_profile"});
  if (json::find(security, {"apparmor"}) == nullptr && old.starts_with(kPrefix)) name = old;
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  return std::string(name);
}

std::string user_text(const json::Value& config, const image::ImageConfig& image) {
  json::Value security = member_of(config, {"linux", "security_context"});
  std::string user(json::get_string(security, {"run_as_username"}));
  if (json::find(security, {"run_as_user"}) != nullptr) user = std::to_string(json::get_int(security, {"run_as_user", "value"}));
  if (user.empty()) return image.user;
  if (json::find(security, {"run_as_group"}) != nullptr) user += cat(":", json::get_int(security, {"run_as_group", "value"}));
  return user;
}

json::Value effective_user(const json::Value& config, const container::ResolvedUser& user) {
  json::Value security = member_of(config, {"linux", "security_context"});
  std::vector<std::int64_t> groups{user.gid};  // the primary one too, as the kernel's list of containers has it elsewhere
  auto add = [&](std::int64_t group) {
    if (std::ranges::find(groups, group) == groups.end()) groups.push_back(group);
  };
  bool merge = json::get_int(security, {"supplemental_groups_policy"}) == 0;
  if (merge)
    for (std::uint32_t group : user.additional_gids) add(group);
  if (const json::Array* more = json::get_array(security, {"supplemental_groups"}))
    for (const json::Value& group : *more) add(group.get_int64());
  return json::Object{{"uid", user.uid}, {"gid", user.gid}, {"supplemental_groups", json::Array(groups.begin(), groups.end())}};
}

json::Value merge_resources(const json::Value& before, const json::Value& after) {
  json::Value out = before.is_object() ? before : json::Value(json::Object{});
  for (const auto& member : after.get_object()) {
    const json::Value& v = member.value();
    bool absent = (v.is_int64() && v.get_int64() == 0) || (v.is_string() && v.get_string().empty());
    if (!absent) out.get_object()[member.key()] = v;
  }
  return out;
}

sys::CgroupLimits make_limits(const json::Value& resources) {
  sys::CgroupLimits out;
  auto number = [&](std::string_view name) { return json::get_int(resources, {name}); };
  if (std::int64_t n = number("cpu_shares"); n > 0) out.cpu_shares = static_cast<std::uint64_t>(n);
  if (std::int64_t n = number("cpu_quota"); n != 0) out.cpu_quota_us = n;
  if (std::int64_t n = number("cpu_period"); n > 0) out.cpu_period_us = static_cast<std::uint64_t>(n);
  if (std::string_view cpus = json::get_string(resources, {"cpuset_cpus"}); !cpus.empty()) out.cpuset_cpus = cpus;
  if (std::int64_t n = number("memory_limit_in_bytes"); n != 0) out.memory_bytes_max = n;
  if (std::int64_t n = number("memory_swap_limit_in_bytes"); n != 0) out.memory_swap_bytes_max = n;
  return out;
}

std::vector<std::string> declared_volumes(const json::Value& config, const image::ImageConfig& image) {
  std::vector<std::string> out;
  if (!json::get_bool(config, {"linux", "security_context", "readonly_rootfs"})) return out;
  const json::Array* mounts = json::get_array(config, {"mounts"});
  for (std::string_view path : image.volumes) {
    while (path.ends_with('/')) path.remove_suffix(1);
    bool mounted = mounts != nullptr && std::ranges::any_of(*mounts, [&](const json::Value& m) { return json::get_string(m, {"container_path"}) == path; });
    if (!path.empty() && !mounted) out.emplace_back(path);
  }
  return out;
}

int signal_of_enum(std::int64_t value) {
  if (value >= 1 && value < kRealTimeFirst) return kSignals[static_cast<std::size_t>(value - 1)];
  std::int64_t number = value - kRealTimeFirst + kLinuxRealTimeFirst;
  return value >= kRealTimeFirst && number <= kSignalMax ? static_cast<int>(number) : 0;
}

std::int64_t enum_of_signal(int signal) {
  if (signal >= kLinuxRealTimeFirst && signal <= kSignalMax) return signal - kLinuxRealTimeFirst + kRealTimeFirst;
  auto found = std::ranges::find(kSignals, signal);
  return found == kSignals.end() ? 0 : found - kSignals.begin() + 1;
}

int stop_signal(const json::Value& config, const image::ImageConfig& image) {
  if (int asked = signal_of_enum(json::get_int(config, {"stop_signal"})); asked != 0) return asked;
  return container::parse_signal(image.stop_signal).value_or(SIGTERM);
}

}  // namespace monopod::cri
