// A container's config.json from its record.
#include <algorithm>

#include "base/duration.h"
#include "base/strings.h"
#include "container/users.h"
#include "docker/call.h"
#include "docker/plan.h"

namespace monopod::docker {
namespace {

using container::Mount;
using container::NamespaceType;

constexpr std::int64_t kMemoryMin = 6LL << 20;

Result<> add_mounts(const Container& c, const Place& place, container::ContainerConfig& config) {
  bool privileged = json::get_bool(c.host_config, {"Privileged"});
  for (Mount& m : config.mounts) {
    if (m.destination == "/dev/shm") {
      for (std::string& option : m.options)
        if (option.starts_with("size=")) option = cat("size=", json::get_int(c.host_config, {"ShmSize"}, 64 << 20));
      if (json::get_string(c.host_config, {"IpcMode"}) == "host") m = Mount{"/dev/shm", "bind", "/dev/shm", {"rbind", "rw", "nosuid", "nodev", "noexec"}, ""};
    }
    if (privileged && (m.destination == "/sys" || m.destination == "/sys/fs/cgroup")) std::ranges::replace(m.options, std::string("ro"), std::string("rw"));
  }
  std::vector<Mount> own;
  for (const char* name : {"hosts", "hostname", "resolv.conf"})
    own.push_back(Mount{cat("/etc/", name), "bind", cat(place.files, "/", name), {"rbind", "rprivate", "rw"}, ""});
  for (const MountPoint& m : c.mounts) {
    Mount mount{m.destination, "bind", m.source, {"rbind"}, ""};
    if (m.type == "tmpfs") {
      mount = Mount{m.destination, "tmpfs", "tmpfs", {"nosuid", "nodev", "noexec"}, ""};
      for (std::string_view option : split(m.options, ','))
        if (!option.empty()) {
          if (option == "exec") std::erase(mount.options, "noexec");
          else mount.options.emplace_back(option);
        }
    } else {
      mount.options.push_back(m.propagation.empty() ? "rprivate" : m.propagation);
      if (m.propagation == "rshared" || m.propagation == "shared") config.rootfs_propagation = "shared";
      if ((m.propagation == "rslave" || m.propagation == "slave") && config.rootfs_propagation.empty()) config.rootfs_propagation = "slave";
    }
    mount.options.push_back(m.read_only ? "ro" : "rw");
    std::erase_if(own, [&](const Mount& o) { return o.destination == m.destination; });
    own.push_back(std::move(mount));
  }
  for (const Mount& m : own) std::erase_if(config.mounts, [&](const Mount& d) { return d.destination == m.destination; });
  std::ranges::stable_sort(own, {}, [](const Mount& m) { return std::ranges::count(m.destination, '/'); });  // parents first
  std::ranges::move(own, std::back_inserter(config.mounts));
  return {};
}

Result<> add_namespaces(const Container& c, const Place& place, container::ContainerConfig& config) {
  config.namespaces = {{NamespaceType::kMount, ""}};
  if (c.network_mode() != "host") config.namespaces.push_back({NamespaceType::kNetwork, place.network_path});
  if (json::get_string(c.host_config, {"IpcMode"}) != "host") config.namespaces.push_back({NamespaceType::kIpc, place.ipc_path});
  if (json::get_string(c.host_config, {"UTSMode"}) != "host") config.namespaces.push_back({NamespaceType::kUts, ""});
  if (json::get_string(c.host_config, {"PidMode"}) != "host") config.namespaces.push_back({NamespaceType::kPid, ""});
  if (json::get_string(c.host_config, {"CgroupnsMode"}) != "host") config.namespaces.push_back({NamespaceType::kCgroup, ""});
  config.pid_namespace_of = place.pid_of;
  config.hostname = json::get_string(c.host_config, {"UTSMode"}) == "host" ? std::string() : std::string(json::get_string(c.config, {"Hostname"}));
  config.domainname = json::get_string(c.config, {"Domainname"});
  return {};
}

Result<> add_devices(const Container& c, const Place& place, container::ContainerConfig& config) {
  if (json::get_bool(c.host_config, {"Privileged"})) {
    config.resources.devices = {sys::DeviceRule{.allow = true, .type = 'a', .major = std::nullopt, .minor = std::nullopt, .access = "rwm"}};
    config.masked_paths.clear();
    config.readonly_paths.clear();
  }
  for (const container::Device& device : place.host_devices) {
    config.devices.push_back(device);
    if (!json::get_bool(c.host_config, {"Privileged"}))
      config.resources.devices.push_back({.allow = true, .type = device.type, .major = device.major, .minor = device.minor, .access = "rwm"});
  }
  return {};
}

Result<> add_security(const Container& c, container::ContainerConfig& config) {
  bool privileged = json::get_bool(c.host_config, {"Privileged"});
  if (privileged) {
    config.process.capabilities = container::all_capabilities();
  } else {
    TRY_ASSIGN(config.process.capabilities, container::adjust_capabilities(strings_of(c.host_config, {"CapAdd"}), strings_of(c.host_config, {"CapDrop"})));
  }
  if (config.process.user.uid != 0) {
    config.process.capabilities.effective.clear();
    config.process.capabilities.permitted.clear();
  }
  if (privileged) config.seccomp.reset();
  else config.seccomp = container::default_seccomp_profile(config.process.capabilities.bounding);
  for (const std::string& option : strings_of(c.host_config, {"SecurityOpt"})) {
    auto [key, value] = split_once(option, option.find('=') != std::string::npos ? '=' : ':');
    if (key == "no-new-privileges") {
      config.process.no_new_privileges = value.value_or("true") != "false";
    } else if (key == "seccomp" && value == "unconfined") {
      config.seccomp.reset();
    } else if (key == "seccomp" && value && value->starts_with('{')) {
      TRY_ASSIGN(json::Value tree, json::parse(*value));
      TRY_ASSIGN(config.seccomp, container::parse_seccomp_profile(tree, config.process.capabilities.bounding));
    } else if ((key == "apparmor" && value == "unconfined") || (key == "label" && value == "disable") || (key == "seccomp" && value == "builtin")) {
      continue;
    } else if (key == "systempaths" && value == "unconfined") {
      config.masked_paths.clear();
      config.readonly_paths.clear();
    } else {
      return fail(Code::kInvalidArgument, cat("invalid --security-opt: \"", option, "\""));
    }
  }
  for (auto [key, list] : {std::pair("MaskedPaths", &config.masked_paths), {"ReadonlyPaths", &config.readonly_paths}})
    if (json::get_array(c.host_config, {key}) != nullptr) *list = strings_of(c.host_config, {key});
  return {};
}

}  // namespace

Result<sys::CgroupLimits> make_limits(const json::Value& host) {
  sys::CgroupLimits out;
  auto number = [&](std::string_view key) { return json::get_int(host, {key}); };
  if (std::int64_t shares = number("CpuShares"); shares > 0) out.cpu_shares = static_cast<std::uint64_t>(shares);
  std::int64_t nano = number("NanoCpus");
  if (nano < 0) return fail(Code::kInvalidArgument, "NanoCPUs cannot be negative");
  if (nano > 0 && (number("CpuPeriod") > 0 || number("CpuQuota") > 0)) return fail(Code::kInvalidArgument, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
  if (nano > 0) {
    out.cpu_period_us = 100'000;
    out.cpu_quota_us = nano / 10'000;
    if (*out.cpu_quota_us < 1'000) return fail(Code::kInvalidArgument, "Range of CPUs is from 0.01 to what this machine has");
  }
  if (std::int64_t period = number("CpuPeriod"); period > 0) {
    if (period < 1'000 || period > 1'000'000) return fail(Code::kInvalidArgument, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    out.cpu_period_us = static_cast<std::uint64_t>(period);
  }
  if (std::int64_t quota = number("CpuQuota"); quota > 0) {
    if (quota < 1'000) return fail(Code::kInvalidArgument, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
    out.cpu_quota_us = quota;
  }
  if (std::string_view cpus = json::get_string(host, {"CpusetCpus"}); !cpus.empty()) out.cpuset_cpus = std::string(cpus);
  std::int64_t memory = number("Memory");
  std::int64_t swap = number("MemorySwap");
  if (memory != 0 && memory < kMemoryMin) return fail(Code::kInvalidArgument, "Minimum memory limit allowed is 6MB");
  if (swap > 0 && memory == 0) return fail(Code::kInvalidArgument, "You should always set the Memory limit when using Memoryswap limit, see usage");
  if (swap > 0 && swap < memory) return fail(Code::kInvalidArgument, "Minimum memoryswap limit should be larger than memory limit, see usage");
  if (memory > 0) {
    out.memory_bytes_max = memory;
    if (swap != -1) out.memory_swap_bytes_max = swap > 0 ? swap : memory * 2;
  }
  if (std::int64_t pids = number("PidsLimit"); pids > 0) out.pids_max = pids;
  return out;
}

supervisor::StdioOptions make_stdio(const Container& c, const std::string& log_path) {
  supervisor::StdioOptions out;
  if (json::get_string(c.host_config, {"LogConfig", "Type"}) != "none") out.log_path = log_path;
  out.terminal = c.tty();
  out.stdin_open = json::get_bool(c.config, {"OpenStdin"});
  out.stdin_once = json::get_bool(c.config, {"StdinOnce"});
  if (const json::Array* size = json::get_array(c.host_config, {"ConsoleSize"}); size != nullptr && size->size() == 2) {
    auto at = [&](std::size_t i) { return static_cast<std::uint16_t>((*size)[i].is_int64() ? (*size)[i].get_int64() : 0); };
    if (at(0) > 0 && at(1) > 0) {
      out.rows = at(0);
      out.columns = at(1);
    }
  }
  return out;
}

Result<container::ContainerConfig> make_config(const Container& c, const Place& place) {
  container::ContainerConfig config = container::default_config();
  config.rootfs = place.rootfs;
  config.rootfs_readonly = json::get_bool(c.host_config, {"ReadonlyRootfs"});
  container::ProcessSpec& process = config.process;
  process.args = strings_of(c.config, {"Entrypoint"});
  for (std::string& word : strings_of(c.config, {"Cmd"})) process.args.push_back(std::move(word));
  std::vector<std::string> env = strings_of(c.config, {"Env"});
  auto has = [&](std::string_view name) { return std::ranges::any_of(env, [&](const std::string& line) { return line.starts_with(name); }); };
  if (!has("PATH=")) process.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  process.env.push_back(cat("HOSTNAME=", json::get_string(c.config, {"Hostname"})));
  if (c.tty() && !has("TERM=")) process.env.push_back("TERM=xterm");
  if (!has("HOME=")) process.env.push_back(cat("HOME=", place.user.home.empty() ? "/" : place.user.home));
  if (has("HOSTNAME=")) std::erase_if(process.env, [](const std::string& line) { return line.starts_with("HOSTNAME="); });
  std::ranges::move(env, std::back_inserter(process.env));
  process.cwd = json::get_string(c.config, {"WorkingDir"});
  if (process.cwd.empty()) process.cwd = "/";
  process.terminal = c.tty();
  process.user.uid = place.user.uid;
  process.user.gid = place.user.gid;
  process.user.additional_gids = place.user.additional_gids;
  if (std::int64_t adjust = json::get_int(c.host_config, {"OomScoreAdj"}); adjust != 0) process.oom_score_adj = static_cast<int>(adjust);
  if (const json::Array* limits = json::get_array(c.host_config, {"Ulimits"}))
    for (const json::Value& v : *limits)
      process.rlimits.push_back({cat("RLIMIT_", [&] { std::string n(json::get_string(v, {"Name"})); std::ranges::transform(n, n.begin(), [](char ch) { return ch >= 'a' && ch <= 'z' ? static_cast<char>(ch - 32) : ch; }); return n; }()),
                                 static_cast<std::uint64_t>(json::get_int(v, {"Soft"})), static_cast<std::uint64_t>(json::get_int(v, {"Hard"}))});
  config.init = json::get_bool(c.host_config, {"Init"});
  config.cgroup_path = place.cgroup;
  TRY_ASSIGN(config.resources.limits, make_limits(c.host_config));
  config.sysctl = string_map_of(c.host_config, {"Sysctls"});
  TRY(add_namespaces(c, place, config));
  TRY(add_mounts(c, place, config));
  TRY(add_devices(c, place, config));
  TRY(add_security(c, config));
  return config;
}

}  // namespace monopod::docker
