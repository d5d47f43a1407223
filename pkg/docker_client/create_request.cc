#include "docker_client/create_request.h"

#include <algorithm>

#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/values.h"

namespace monopod::docker_client {
namespace {

using docker::array_of;

// A flag whose text is the member.
struct Row {
  const char* flag;
  const char* member;
};
constexpr Row kTexts[] = {{"hostname", "Hostname"}, {"domainname", "Domainname"}, {"user", "User"}, {"workdir", "WorkingDir"}, {"stop-signal", "StopSignal"}, {"mac-address", "MacAddress"}};
constexpr Row kHostTexts[] = {{"ipc", "IpcMode"}, {"pid", "PidMode"}, {"uts", "UTSMode"}, {"userns", "UsernsMode"}, {"cgroupns", "CgroupnsMode"}, {"runtime", "Runtime"}, {"cgroup-parent", "CgroupParent"}};
constexpr Row kHostLists[] = {{"cap-add", "CapAdd"}, {"cap-drop", "CapDrop"}, {"dns", "Dns"}, {"dns-option", "DnsOptions"}, {"dns-search", "DnsSearch"}, {"add-host", "ExtraHosts"},
                              {"group-add", "GroupAdd"}, {"security-opt", "SecurityOpt"}, {"volumes-from", "VolumesFrom"}, {"link", "Links"}};
constexpr Row kHostSwitches[] = {{"privileged", "Privileged"}, {"publish-all", "PublishAllPorts"}, {"read-only", "ReadonlyRootfs"}, {"rm", "AutoRemove"}, {"init", "Init"}, {"oom-kill-disable", "OomKillDisable"}};
constexpr Row kSizes[] = {{"memory", "Memory"}, {"memory-reservation", "MemoryReservation"}, {"memory-swap", "MemorySwap"}};
constexpr Row kNumbers[] = {{"cpu-period", "CpuPeriod"}, {"cpu-quota", "CpuQuota"}, {"cpu-shares", "CpuShares"}, {"pids-limit", "PidsLimit"}, {"blkio-weight", "BlkioWeight"}};
constexpr Row kCpuTexts[] = {{"cpuset-cpus", "CpusetCpus"}, {"cpuset-mems", "CpusetMems"}};

Result<std::int64_t> number(const Flags& flags, std::string_view flag) {
  std::string text = flags.text(flag);
  auto value = parse_int<std::int64_t>(text);
  if (!value) return fail(Code::kInvalidArgument, cat("--", flag, " ", text, ": want a number"));
  return *value;
}

Error in_flag(Error e, std::string_view flag) { return std::move(e).with(cat("--", flag)); }

Result<> add_health(const Flags& flags, json::Object& config) {
  bool any = std::ranges::any_of(std::initializer_list<std::string_view>{"health-cmd", "health-interval", "health-timeout", "health-start-period", "health-start-interval", "health-retries"}, [&](std::string_view f) { return flags.has(f); });
  if (flags.on("no-healthcheck")) {
    if (any) return fail(Code::kInvalidArgument, "--no-healthcheck conflicts with --health-* options");
    config["Healthcheck"] = json::Object{{"Test", json::Array{"NONE"}}};
    return {};
  }
  if (!any) return {};
  json::Object check;
  if (flags.has("health-cmd")) check["Test"] = json::Array{json::Value("CMD-SHELL"), json::Value(flags.text("health-cmd"))};
  for (auto [flag, member] : {Row{"health-interval", "Interval"}, {"health-timeout", "Timeout"}, {"health-start-period", "StartPeriod"}, {"health-start-interval", "StartInterval"}})
    if (flags.has(flag)) {
      auto nanos = parse_nanos(flags.text(flag));
      if (!nanos) return fail(in_flag(nanos.error(), flag));
      check[member] = *nanos;
    }
  if (flags.has("health-retries")) {
    TRY_ASSIGN(std::int64_t retries, number(flags, "health-retries"));
    check["Retries"] = retries;
  }
  config["Healthcheck"] = std::move(check);
  return {};
}

Result<> add_environments(const Flags& flags, json::Object& config) {
  std::vector<std::string> env;
  for (const std::string& file : flags.list("env-file")) {
    TRY_ASSIGN(std::vector<std::string> lines, read_env_file(file));
    env.insert(env.end(), lines.begin(), lines.end());
  }
  for (const std::string& line : flags.list("env")) add_environment(line, env);
  config["Env"] = array_of(env);
  std::vector<std::string> labels;
  for (const std::string& file : flags.list("label-file")) {
    TRY_ASSIGN(std::vector<std::string> lines, read_env_file(file));
    labels.insert(labels.end(), lines.begin(), lines.end());
  }
  for (const std::string& line : flags.list("label")) labels.push_back(line);
  config["Labels"] = object_of_pairs(labels);
  return {};
}

Result<> add_files(const Flags& flags, json::Object& config, json::Object& host) {
  json::Array binds, mounts;
  json::Object volumes, tmpfs;
  for (const std::string& text : flags.list("volume")) TRY(add_volume(text, "", binds, volumes));
  for (const std::string& text : flags.list("mount")) {
    TRY_ASSIGN(json::Value mount, parse_mount(text));
    mounts.push_back(std::move(mount));
  }
  for (const std::string& text : flags.list("tmpfs")) {
    auto [path, options] = split_once(text, ':');
    tmpfs[path] = options.value_or("");
  }
  if (!volumes.empty()) config["Volumes"] = std::move(volumes);
  if (!binds.empty()) host["Binds"] = std::move(binds);
  if (!mounts.empty()) host["Mounts"] = std::move(mounts);
  if (!tmpfs.empty()) host["Tmpfs"] = std::move(tmpfs);
  if (flags.has("shm-size")) {
    TRY_ASSIGN(std::int64_t bytes, parse_size(flags.text("shm-size")));
    host["ShmSize"] = bytes;
  }
  json::Array devices, ulimits;
  for (const std::string& text : flags.list("device")) {
    TRY_ASSIGN(json::Value device, parse_device(text));
    devices.push_back(std::move(device));
  }
  for (const std::string& text : flags.list("ulimit")) {
    TRY_ASSIGN(json::Value limit, parse_ulimit(text));
    ulimits.push_back(std::move(limit));
  }
  if (!devices.empty()) host["Devices"] = std::move(devices);
  if (!ulimits.empty()) host["Ulimits"] = std::move(ulimits);
  if (flags.has("sysctl")) host["Sysctls"] = object_of_pairs(flags.list("sysctl"));
  return {};
}

Result<> add_network(const Flags& flags, json::Object& config, json::Object& host, json::Object& body) {
  json::Object exposed, bindings;
  for (const std::string& text : flags.list("expose")) TRY(add_exposed_port(text, exposed));
  for (const std::string& text : flags.list("publish")) TRY(add_published_port(text, exposed, bindings));
  if (!exposed.empty()) config["ExposedPorts"] = std::move(exposed);
  if (!bindings.empty()) host["PortBindings"] = std::move(bindings);
  std::vector<std::string> networks = flags.list("network");
  for (const std::string& name : flags.list("net")) networks.push_back(name);
  std::string first = networks.empty() ? "default" : networks.front();
  host["NetworkMode"] = first;
  json::Object endpoints;
  for (const std::string& name : networks) endpoints[name] = json::Object{};
  std::vector<std::string> aliases = flags.list("network-alias");
  if (!aliases.empty() || flags.has("ip")) {
    if (networks.empty()) return fail(Code::kInvalidArgument, cat(aliases.empty() ? "--ip" : "--network-alias", ": works in a network of one's own: create one and name it with --network"));
    json::Object& settings = endpoints[first].get_object();
    if (!aliases.empty()) settings["Aliases"] = array_of(aliases);
    if (flags.has("ip")) settings["IPAMConfig"] = json::Object{{"IPv4Address", flags.text("ip")}};
  }
  if (!aliases.empty() || flags.has("ip") || networks.size() > 1) body["NetworkingConfig"] = json::Object{{"EndpointsConfig", std::move(endpoints)}};
  return {};
}

Result<> add_streams(const Flags& flags, json::Object& config) {
  bool detached = flags.on("detach"), interactive = flags.on("interactive");
  std::vector<std::string> attach = flags.list("attach");
  if (detached && !attach.empty()) return fail(Code::kInvalidArgument, "--attach and --detach cannot be used together");
  for (std::string& name : attach) {
    name = to_lower(name);
    if (name != "stdin" && name != "stdout" && name != "stderr") return fail(Code::kInvalidArgument, cat("--attach ", name, ": want stdin, stdout or stderr"));
  }
  auto attached = [&](std::string_view name) { return !detached && (attach.empty() ? name != "stdin" || interactive : std::ranges::find(attach, name) != attach.end()); };
  config["AttachStdin"] = attached("stdin");
  config["AttachStdout"] = attached("stdout");
  config["AttachStderr"] = attached("stderr");
  config["OpenStdin"] = interactive;
  config["StdinOnce"] = interactive && attached("stdin");
  config["Tty"] = flags.on("tty");
  return {};
}

}  // namespace

Result<json::Object> make_resources(const Flags& flags) {
  json::Object out;
  for (const Row& row : kSizes)
    if (flags.has(row.flag)) {
      auto bytes = parse_size(flags.text(row.flag));
      if (!bytes) return fail(in_flag(bytes.error(), row.flag));
      out[row.member] = *bytes;
    }
  for (const Row& row : kNumbers)
    if (flags.has(row.flag)) {
      TRY_ASSIGN(std::int64_t value, number(flags, row.flag));
      out[row.member] = value;
    }
  for (const Row& row : kCpuTexts)
    if (flags.has(row.flag)) out[row.member] = flags.text(row.flag);
  if (flags.has("cpus")) {
    TRY_ASSIGN(std::int64_t nanos, parse_cpus(flags.text("cpus")));
    out["NanoCpus"] = nanos;
  }
  if (flags.has("restart")) {
    TRY_ASSIGN(json::Value policy, parse_restart_policy(flags.text("restart")));
    out["RestartPolicy"] = std::move(policy);
  }
  return out;
}

Result<json::Value> make_create_request(const Flags& flags, const std::vector<std::string>& words) {
  if (words.empty()) return fail(Code::kInvalidArgument, "no image is named");
  if (flags.has("gpus")) return fail(Code::kUnimplemented, "--gpus: GPUs are not supported");
  json::Object config{{"Image", words[0]}};
  for (const Row& row : kTexts)
    if (flags.has(row.flag)) config[row.member] = flags.text(row.flag);
  if (words.size() > 1) config["Cmd"] = array_of(std::vector<std::string>(words.begin() + 1, words.end()));
  if (flags.has("entrypoint")) config["Entrypoint"] = json::Array{json::Value(flags.text("entrypoint"))};  // "": none at all
  if (flags.has("stop-timeout")) {
    TRY_ASSIGN(std::int64_t seconds, number(flags, "stop-timeout"));
    config["StopTimeout"] = seconds;
  }
  TRY_ASSIGN(json::Object host, make_resources(flags));
  for (const Row& row : kHostTexts)
    if (flags.has(row.flag)) host[row.member] = flags.text(row.flag);
  for (const Row& row : kHostLists)
    if (flags.has(row.flag)) host[row.member] = array_of(flags.list(row.flag));
  for (const Row& row : kHostSwitches)
    if (flags.on(row.flag)) host[row.member] = true;
  for (auto [flag, member] : {Row{"oom-score-adj", "OomScoreAdj"}, {"memory-swappiness", "MemorySwappiness"}})
    if (flags.has(flag)) {
      TRY_ASSIGN(std::int64_t value, number(flags, flag));
      host[member] = value;
    }
  if (flags.has("log-driver") || flags.has("log-opt")) host["LogConfig"] = json::Object{{"Type", flags.text("log-driver", "json-file")}, {"Config", object_of_pairs(flags.list("log-opt"))}};
  TRY(add_streams(flags, config));
  TRY(add_health(flags, config));
  TRY(add_environments(flags, config));
  TRY(add_files(flags, config, host));
  json::Object body;
  TRY(add_network(flags, config, host, body));
  config["HostConfig"] = std::move(host);
  for (auto& [key, value] : body) config[key] = std::move(value);
  return json::Value(std::move(config));
}

}  // namespace monopod::docker_client
