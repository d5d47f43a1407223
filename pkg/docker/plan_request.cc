// What a create request says, checked and completed.
#include <algorithm>

#include "base/duration.h"
#include "base/strings.h"
#include "build/copy.h"
#include "docker/call.h"
#include "docker/names.h"
#include "docker/plan.h"

namespace monopod::docker {
namespace {

json::Value or_null(const std::vector<std::string>& list) { return list.empty() ? json::Value(nullptr) : json::Value(array_of(list)); }

std::string env_name(std::string_view line) { return std::string(split_once(line, '=').first); }

struct Member {
  const char* name;
  const char* json;  // its default
};
// HostConfig as clients of 1.41 and later expect to find it.
constexpr Member kHostConfig[] = {
    {"Binds", "null"}, {"ContainerIDFile", "\"\""}, {"LogConfig", R"({"Type":"json-file","Config":{}})"}, {"NetworkMode", "\"default\""}, {"PortBindings", "{}"},
    {"RestartPolicy", R"({"Name":"no","MaximumRetryCount":0})"}, {"AutoRemove", "false"}, {"VolumeDriver", "\"\""}, {"VolumesFrom", "null"}, {"ConsoleSize", "[0,0]"}, {"CapAdd", "null"},
    {"CapDrop", "null"}, {"CgroupnsMode", "\"private\""}, {"Dns", "[]"}, {"DnsOptions", "[]"}, {"DnsSearch", "[]"}, {"ExtraHosts", "null"}, {"GroupAdd", "null"}, {"IpcMode", "\"private\""},
    {"Cgroup", "\"\""}, {"Links", "null"}, {"OomScoreAdj", "0"}, {"PidMode", "\"\""}, {"Privileged", "false"}, {"PublishAllPorts", "false"}, {"ReadonlyRootfs", "false"}, {"SecurityOpt", "null"},
    {"UTSMode", "\"\""}, {"UsernsMode", "\"\""}, {"ShmSize", "67108864"}, {"Runtime", "\"runc\""}, {"Isolation", "\"\""}, {"CpuShares", "0"}, {"Memory", "0"}, {"NanoCpus", "0"},
    {"CgroupParent", "\"\""}, {"BlkioWeight", "0"}, {"BlkioWeightDevice", "null"}, {"BlkioDeviceReadBps", "null"}, {"BlkioDeviceWriteBps", "null"}, {"BlkioDeviceReadIOps", "null"},
    {"BlkioDeviceWriteIOps", "null"}, {"CpuPeriod", "0"}, {"CpuQuota", "0"}, {"CpuRealtimePeriod", "0"}, {"CpuRealtimeRuntime", "0"}, {"CpusetCpus", "\"\""}, {"CpusetMems", "\"\""},
    {"Devices", "[]"}, {"DeviceCgroupRules", "null"}, {"DeviceRequests", "null"}, {"MemoryReservation", "0"}, {"MemorySwap", "0"}, {"MemorySwappiness", "null"}, {"OomKillDisable", "false"},
    {"PidsLimit", "null"}, {"Ulimits", "null"}, {"CpuCount", "0"}, {"CpuPercent", "0"}, {"IOMaximumIOps", "0"}, {"IOMaximumBandwidth", "0"},
};

bool is_set(const json::Value& v) {
  if (v.is_null()) return false;
  if (v.is_bool()) return v.get_bool();
  if (v.is_string()) return !v.get_string().empty();
  if (v.is_array()) return !v.get_array().empty();
  if (v.is_object()) return !v.get_object().empty();
  return !(v.is_int64() && v.get_int64() == 0) && !(v.is_uint64() && v.get_uint64() == 0);
}

// Refused by name rather than ignored.
constexpr std::string_view kRefused[] = {"BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "CpuRealtimePeriod", "CpuRealtimeRuntime",
                                         "DeviceCgroupRules", "OomKillDisable", "CgroupParent", "StorageOpt", "VolumeDriver", "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "CpusetMems"};

Result<> check_restart_policy(const json::Value& host) {
  std::string_view name = json::get_string(host, {"RestartPolicy", "Name"});
  std::int64_t retries = json::get_int(host, {"RestartPolicy", "MaximumRetryCount"});
  if (!name.empty() && name != "no" && name != "always" && name != "on-failure" && name != "unless-stopped")
    return fail(Code::kInvalidArgument, cat("invalid restart policy '", name, "'"));
  if (retries != 0 && name != "on-failure") return fail(Code::kInvalidArgument, "maximum retry count cannot be used with restart policy '" + std::string(name) + "'");
  if (retries < 0) return fail(Code::kInvalidArgument, "maximum retry count cannot be negative");
  if (json::get_bool(host, {"AutoRemove"}) && !name.empty() && name != "no") return fail(Code::kInvalidArgument, "can't create 'AutoRemove' container with restart policy");
  return {};
}

// "other", "other:alias".
Result<> check_links(const json::Value& host) {
  for (const std::string& link : strings_of(host, {"Links"})) {
    std::vector<std::string_view> parts = split(link, ':');
    if (parts.size() > 2 || std::ranges::any_of(parts, [](std::string_view part) { return part.empty(); })) return fail(Code::kInvalidArgument, cat("bad format for links: ", link));
  }
  return {};
}

Result<MountPoint> parse_bind(std::string_view text) {
  std::vector<std::string_view> parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty() || !parts[1].starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid volume specification: '", text, "'"));
  MountPoint m{.destination = build::clean_path(parts[1]), .propagation = "rprivate"};
  if (m.destination == "/") return fail(Code::kInvalidArgument, cat("invalid volume specification: '", text, "': invalid mount config for type \"bind\": destination can't be '/'"));
  if (parts[0].starts_with('/')) {
    m.type = "bind";
    m.source = build::clean_path(parts[0]);
  } else {
    m.type = "volume";
    m.name = parts[0];
    TRY(check_object_name(m.name, "volume"));
    m.propagation.clear();
  }
  if (parts.size() == 3) {
    for (std::string_view option : split(parts[2], ',')) {
      if (option == "ro") m.read_only = true;
      else if (option == "nocopy") m.copy_up = false;
      else if (option == "rprivate" || option == "rslave" || option == "rshared" || option == "private" || option == "slave" || option == "shared") m.propagation = option;
      else if (option != "rw" && option != "z" && option != "Z" && option != "delegated" && option != "cached" && option != "consistent")
        return fail(Code::kInvalidArgument, cat("invalid mode: ", parts[2]));
    }
  }
  return m;
}

Result<MountPoint> parse_mount(const json::Value& v) {
  MountPoint m{.type = std::string(json::get_string(v, {"Type"})), .read_only = json::get_bool(v, {"ReadOnly"})};
  std::string_view target = json::get_string(v, {"Target"});
  std::string_view source = json::get_string(v, {"Source"});
  if (!target.starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid mount config for type \"", m.type, "\": invalid mount path: '", target, "' mount path must be absolute"));
  m.destination = build::clean_path(target);
  if (m.type == "bind") {
    if (!source.starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid mount config for type \"bind\": invalid mount path: '", source, "' mount path must be absolute"));
    m.source = build::clean_path(source);
    m.propagation = json::get_string(v, {"BindOptions", "Propagation"}, "rprivate");
    if (m.propagation.empty()) m.propagation = "rprivate";
    if (!json::get_bool(v, {"BindOptions", "CreateMountpoint"})) m.options = "must-exist";
  } else if (m.type == "volume") {
    m.name = source;
    m.copy_up = !json::get_bool(v, {"VolumeOptions", "NoCopy"});
    if (!m.name.empty()) TRY(check_object_name(m.name, "volume"));
  } else if (m.type == "tmpfs") {
    if (std::int64_t size = json::get_int(v, {"TmpfsOptions", "SizeBytes"}); size > 0) m.options = cat("size=", size);
    if (std::int64_t mode = json::get_int(v, {"TmpfsOptions", "Mode"}); mode > 0) {
      std::string octal;
      for (std::int64_t left = mode; left > 0; left /= 8) octal.insert(octal.begin(), static_cast<char>('0' + left % 8));
      m.options += cat(m.options.empty() ? "" : ",", "mode=", octal);
    }
  } else {
    return fail(Code::kInvalidArgument, cat("mount type unknown: \"", m.type, "\""));
  }
  return m;
}

}  // namespace

Result<json::Value> merge_config(const json::Value& request, const image::ImageConfig& image, const std::string& id) {
  json::Object out;
  auto text = [&](std::string_view key, std::string_view fallback) {
    std::string_view own = json::get_string(request, {key});
    out[key] = own.empty() ? fallback : own;
  };
  text("Hostname", std::string_view(id).substr(0, 12));
  text("Domainname", "");
  text("User", image.user);
  for (std::string_view key : {"AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"}) out[key] = json::get_bool(request, {key});
  std::vector<std::string> env = strings_of(request, {"Env"});
  for (const std::string& line : env)
    if (line.empty() || line[0] == '=') return fail(Code::kInvalidArgument, cat("invalid environment variable: ", line.substr(0, 64)));
  for (const std::string& line : image.env)
    if (std::ranges::none_of(env, [&](const std::string& own) { return env_name(own) == env_name(line); })) env.push_back(line);
  std::erase_if(env, [](const std::string& line) { return line.find('=') == std::string::npos; });  // a name alone takes the image's away
  out["Env"] = array_of(env);
  // An entrypoint of one's own forgets the image's command.
  const json::Value* own_entrypoint = json::find(request, {"Entrypoint"});
  bool has_entrypoint = own_entrypoint != nullptr && !own_entrypoint->is_null();
  std::vector<std::string> entrypoint = has_entrypoint ? strings_of(request, {"Entrypoint"}) : image.entrypoint;
  if (has_entrypoint && entrypoint.size() == 1 && entrypoint[0].empty()) entrypoint.clear();
  std::vector<std::string> cmd = strings_of(request, {"Cmd"});
  if (cmd.empty() && !has_entrypoint) cmd = image.cmd;
  if (cmd.empty() && entrypoint.empty()) return fail(Code::kInvalidArgument, "No command specified");
  out["Cmd"] = or_null(cmd);
  out["Entrypoint"] = or_null(entrypoint);
  out["Image"] = json::get_string(request, {"Image"});
  json::Object volumes;
  for (const std::string& path : image.volumes) volumes[path] = json::Object{};
  if (const json::Object* own = json::get_object(request, {"Volumes"}))
    for (const auto& [path, v] : *own) volumes[path] = json::Object{};
  out["Volumes"] = volumes.empty() ? json::Value(nullptr) : json::Value(std::move(volumes));
  json::Object exposed;
  for (const std::string& port : image.exposed_ports) exposed[port] = json::Object{};
  if (const json::Object* own = json::get_object(request, {"ExposedPorts"}))
    for (const auto& [port, v] : *own) exposed[port] = json::Object{};
  if (!exposed.empty()) out["ExposedPorts"] = std::move(exposed);
  text("WorkingDir", image.working_dir);
  if (std::string_view dir = json::get_string(request, {"WorkingDir"}); !dir.empty() && !dir.starts_with('/'))
    return fail(Code::kInvalidArgument, cat("the working directory '", dir, "' is invalid, it needs to be an absolute path"));
  std::map<std::string, std::string> labels = image.labels;
  for (auto& [key, value] : string_map_of(request, {"Labels"})) labels[key] = value;
  out["Labels"] = object_of(labels);
  text("StopSignal", image.stop_signal);
  if (std::string_view signal = json::get_string(out, {"StopSignal"}); !signal.empty() && !parse_signal(signal)) return fail(Code::kInvalidArgument, cat("Invalid signal: ", signal));
  if (const json::Value* timeout = json::find(request, {"StopTimeout"}); timeout != nullptr && timeout->is_int64()) out["StopTimeout"] = *timeout;
  if (const json::Object* check = json::get_object(request, {"Healthcheck"})) {
    out["Healthcheck"] = *check;
  } else if (const image::HealthCheck& own = image.health_check; !own.test.empty()) {
    out["Healthcheck"] = json::Object{{"Test", array_of(own.test)}, {"Interval", own.interval_ns}, {"Timeout", own.timeout_ns}, {"StartPeriod", own.start_period_ns}, {"Retries", own.retries}};
  }
  out["OnBuild"] = nullptr;
  return json::Value(std::move(out));
}

Result<json::Value> complete_host_config(const json::Value& request) {
  json::Object out;
  for (const Member& member : kHostConfig) out[member.name] = *json::parse(member.json);
  if (const json::Object* own = json::get_object(request, {"HostConfig"}))
    for (const auto& [key, value] : *own)
      if (!value.is_null()) out[key] = value;
  json::Value host(std::move(out));
  for (std::string_view key : kRefused)
    if (const json::Value* v = json::find(host, {key}); v != nullptr && is_set(*v)) return fail(Code::kUnimplemented, cat("HostConfig.", key, " is not supported"));
  if (const json::Array* requests = json::get_array(host, {"DeviceRequests"}); requests != nullptr && !requests->empty())
    return fail(Code::kUnimplemented, "could not select device driver \"\" with capabilities: [[gpu]]: GPUs are not supported");
  TRY(check_restart_policy(host));
  TRY(check_links(host));
  std::string_view runtime = json::get_string(host, {"Runtime"});
  if (!runtime.empty() && runtime != "runc" && runtime != "io.containerd.runc.v2") return fail(Code::kInvalidArgument, cat("unknown or invalid runtime name: ", runtime));
  std::string_view log = json::get_string(host, {"LogConfig", "Type"});
  if (!log.empty() && log != "json-file" && log != "local" && log != "none") return fail(Code::kInvalidArgument, cat("logger: no log driver named '", log, "' is registered"));
  if (std::string_view userns = json::get_string(host, {"UsernsMode"}); !userns.empty() && userns != "host") return fail(Code::kInvalidArgument, "invalid user namespace mode");
  TRY(make_limits(host));
  return host;
}

Result<std::vector<MountPoint>> plan_mounts(const json::Value& config, const json::Value& host) {
  std::vector<MountPoint> out;
  auto add = [&](MountPoint m) -> Result<> {
    if (std::ranges::any_of(out, [&](const MountPoint& o) { return o.destination == m.destination; })) return fail(Code::kInvalidArgument, cat("Duplicate mount point: ", m.destination));
    out.push_back(std::move(m));
    return {};
  };
  for (const std::string& bind : strings_of(host, {"Binds"})) {
    TRY_ASSIGN(MountPoint m, parse_bind(bind));
    TRY(add(std::move(m)));
  }
  if (const json::Array* mounts = json::get_array(host, {"Mounts"})) {
    for (const json::Value& v : *mounts) {
      TRY_ASSIGN(MountPoint m, parse_mount(v));
      TRY(add(std::move(m)));
    }
  }
  for (const auto& [path, options] : string_map_of(host, {"Tmpfs"})) {
    if (!path.starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid mount path: '", path, "' mount path must be absolute"));
    TRY(add({.type = "tmpfs", .destination = build::clean_path(path), .options = options}));
  }
  if (const json::Object* volumes = json::get_object(config, {"Volumes"})) {
    for (const auto& [path, v] : *volumes) {
      std::string at = build::clean_path(path);
      if (std::ranges::none_of(out, [&](const MountPoint& o) { return o.destination == at; })) out.push_back({.type = "volume", .destination = at});
    }
  }
  return out;
}

Result<std::vector<PublishedPort>> plan_ports(const json::Value& config, const json::Value& host) {
  std::vector<PublishedPort> out;
  auto check = [](std::string_view port) -> Result<std::string> {
    auto [number, protocol] = split_once(port, '/');
    auto n = parse_int<std::uint16_t>(number);
    std::string_view p = protocol.value_or("tcp");
    if (!n || *n == 0 || (p != "tcp" && p != "udp" && p != "sctp")) return fail(Code::kInvalidArgument, cat("invalid port specification: \"", port, "\""));
    return cat(*n, "/", p);
  };
  if (const json::Object* bindings = json::get_object(host, {"PortBindings"})) {
    for (const auto& [key, list] : *bindings) {
      TRY_ASSIGN(std::string port, check(key));
      if (!list.is_array() || list.get_array().empty()) {
        out.push_back({port, "", 0});
        continue;
      }
      for (const json::Value& b : list.get_array()) {
        std::string_view text = json::get_string(b, {"HostPort"});
        std::string_view ip = json::get_string(b, {"HostIp"});
        auto n = parse_int<std::uint16_t>(text.empty() ? "0" : split_once(text, '-').first);
        if (!n) return fail(Code::kInvalidArgument, cat("invalid port specification: \"", text, "\""));
        if (!ip.empty() && !network::parse_ip(ip)) return fail(Code::kInvalidArgument, cat("invalid IP address: ", ip));
        out.push_back({port, std::string(ip), *n});
      }
    }
  }
  if (json::get_bool(host, {"PublishAllPorts"}))
    if (const json::Object* exposed = json::get_object(config, {"ExposedPorts"}))
      for (const auto& [key, v] : *exposed) {
        TRY_ASSIGN(std::string port, check(key));
        if (std::ranges::none_of(out, [&](const PublishedPort& p) { return p.container == port; })) out.push_back({port, "", 0});
      }
  if (out.size() > network::kHostPortsPerPodMax) return fail(Code::kInvalidArgument, cat("more than ", network::kHostPortsPerPodMax, " published ports"));
  return out;
}

Result<std::vector<network::HostPort>> proxied_ports(const std::vector<PublishedPort>& ports) {
  std::vector<network::HostPort> out;
  for (const PublishedPort& p : ports) {
    auto [number, protocol] = split_once(p.container, '/');
    network::HostPort port{.host_port = p.host_port, .container_port = parse_int<std::uint16_t>(number).value_or(0), .protocol = network::parse_protocol(*protocol).value_or(network::Protocol::kTcp)};
    if (!p.host_ip.empty()) {
      TRY_ASSIGN(port.host_ip, network::parse_ip(p.host_ip));
    }
    out.push_back(port);
  }
  return out;
}

Result<std::vector<network::HostPort>> host_ports(const std::vector<PublishedPort>& ports) {
  TRY_ASSIGN(std::vector<network::HostPort> all, proxied_ports(ports));
  std::vector<network::HostPort> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (ports[i].host_ip == "0.0.0.0" || ports[i].host_ip == "::") all[i].host_ip = {};
    else if (all[i].host_ip.is_v6() || all[i].host_ip.is_loopback()) continue;  // the proxy alone
    if (std::ranges::find(out, all[i]) == out.end()) out.push_back(all[i]);
  }
  return out;
}

}  // namespace monopod::docker
