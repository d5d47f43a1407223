// One service of a compose file as the body of a create request.
#include <algorithm>

#include "base/strings.h"
#include "compose/reader.h"
#include "docker/call.h"
#include "docker_client/values.h"

namespace monopod::compose {
namespace {

using docker::array_of;

struct Row {
  std::string_view key;
  const char* member;
};
constexpr Row kTexts[] = {{"hostname", "Hostname"}, {"domainname", "Domainname"}, {"user", "User"}, {"working_dir", "WorkingDir"}, {"stop_signal", "StopSignal"}, {"mac_address", "MacAddress"}, {"image", "Image"}};
constexpr Row kHostTexts[] = {{"uts", "UTSMode"}, {"userns_mode", "UsernsMode"}, {"cgroup_parent", "CgroupParent"}, {"runtime", "Runtime"}, {"cpuset", "CpusetCpus"}};
constexpr Row kSwitches[] = {{"tty", "Tty"}, {"stdin_open", "OpenStdin"}};
constexpr Row kHostSwitches[] = {{"privileged", "Privileged"}, {"read_only", "ReadonlyRootfs"}, {"init", "Init"}, {"oom_kill_disable", "OomKillDisable"}};
constexpr Row kHostLists[] = {{"cap_add", "CapAdd"}, {"cap_drop", "CapDrop"}, {"security_opt", "SecurityOpt"}, {"group_add", "GroupAdd"}, {"dns", "Dns"}, {"dns_search", "DnsSearch"}, {"dns_opt", "DnsOptions"}};
constexpr Row kHostSizes[] = {{"mem_limit", "Memory"}, {"mem_reservation", "MemoryReservation"}, {"memswap_limit", "MemorySwap"}, {"shm_size", "ShmSize"}};
constexpr Row kHostNumbers[] = {{"cpu_shares", "CpuShares"}, {"cpu_quota", "CpuQuota"}, {"cpu_period", "CpuPeriod"}, {"pids_limit", "PidsLimit"}, {"oom_score_adj", "OomScoreAdj"}, {"mem_swappiness", "MemorySwappiness"}};

const char* member_of(std::span<const Row> rows, std::string_view key) {
  for (const Row& row : rows)
    if (row.key == key) return row.member;
  return nullptr;
}

std::vector<std::string> lines_of(const At::Pairs& pairs, char between) {
  std::vector<std::string> out;
  for (const auto& [key, value] : pairs) out.push_back(value ? cat(key, between, *value) : key);
  return out;
}

json::Object object_of(const At& at) {
  json::Object out;
  for (const auto& [key, value] : at.pairs()) out[key] = value.value_or("");
  return out;
}

// What a parser of docker_client says, at its place.
template <typename T>
T taken(const At& at, Result<T> parsed) {
  if (parsed) return *std::move(parsed);
  at.wrong(parsed.error().message());
  return T();
}
void checked(const At& at, const Result<>& done) {
  if (!done) at.wrong(done.error().message());
}

class ServiceReader {
 public:
  ServiceReader(Service& service, const Context& context) : service_(service), context_(context), directory_(context.options.directory) {}

  void read(const At& at) {
    if (!at.value.is_object()) return at.wrong("want a map");
    for (const auto& [key, member] : at.members())
      if (!key.starts_with("x-")) read_member(key, member);
    finish(at);
  }

 private:
  void read_member(std::string_view key, const At& at) {
    if (const char* member = member_of(kTexts, key)) service_.body[member] = at.text();
    else if (const char* host = member_of(kHostTexts, key)) host_[host] = at.text();
    else if (const char* flag = member_of(kSwitches, key)) service_.body[flag] = at.truth();
    else if (const char* host_flag = member_of(kHostSwitches, key)) host_[host_flag] = at.truth();
    else if (const char* list = member_of(kHostLists, key)) host_[list] = array_of(at.texts());
    else if (const char* size = member_of(kHostSizes, key)) host_[size] = size_of(at);
    else if (const char* number = member_of(kHostNumbers, key)) host_[number] = at.number();
    else read_own(key, at);
  }
  void read_own(std::string_view key, const At& at) {
    struct Own {
      std::string_view key;
      void (ServiceReader::*read)(const At&);
    };
    static constexpr Own kOwn[] = {
        {"build", &ServiceReader::build}, {"command", &ServiceReader::command}, {"entrypoint", &ServiceReader::entrypoint}, {"environment", &ServiceReader::environment}, {"env_file", &ServiceReader::env_file},
        {"ports", &ServiceReader::ports}, {"expose", &ServiceReader::expose}, {"volumes", &ServiceReader::volumes}, {"tmpfs", &ServiceReader::tmpfs}, {"networks", &ServiceReader::networks},
        {"network_mode", &ServiceReader::network_mode}, {"pid", &ServiceReader::pid}, {"ipc", &ServiceReader::ipc}, {"depends_on", &ServiceReader::depends_on}, {"restart", &ServiceReader::restart}, {"healthcheck", &ServiceReader::healthcheck},
        {"labels", &ServiceReader::labels}, {"deploy", &ServiceReader::deploy}, {"profiles", &ServiceReader::profiles}, {"container_name", &ServiceReader::container_name}, {"scale", &ServiceReader::scale},
        {"pull_policy", &ServiceReader::pull_policy}, {"platform", &ServiceReader::platform}, {"stop_grace_period", &ServiceReader::stop_grace_period}, {"extra_hosts", &ServiceReader::extra_hosts},
        {"sysctls", &ServiceReader::sysctls}, {"ulimits", &ServiceReader::ulimits}, {"devices", &ServiceReader::devices}, {"logging", &ServiceReader::logging}, {"cpus", &ServiceReader::cpus},
        {"secrets", &ServiceReader::secrets}, {"configs", &ServiceReader::configs}, {"attach", &ServiceReader::nothing}, {"develop", &ServiceReader::nothing},
        {"links", &ServiceReader::links}, {"external_links", &ServiceReader::external_links}, {"volumes_from", &ServiceReader::volumes_from}, {"label_file", &ServiceReader::label_file}, {"annotations", &ServiceReader::annotations},
    };
    for (const Own& own : kOwn)
      if (own.key == key) return (this->*own.read)(at);
    at.parent->not_supported(cat("key \"", key, "\" is not supported"));
  }

  // --- members of one kind
  static std::int64_t size_of(const At& at) { return taken(at, docker_client::parse_size(at.text())); }
  static std::int64_t nanos_of(const At& at) { return taken(at, docker_client::parse_nanos(at.text())); }
  void nothing(const At&) {}

  // --- the program
  void words(const At& at, const char* member) {
    if (at.value.is_array()) service_.body[member] = array_of(at.texts());
    else if (!at.value.is_null()) service_.body[member] = array_of(taken(at, split_command(at.text())));
  }
  void command(const At& at) { words(at, "Cmd"); }
  void entrypoint(const At& at) { words(at, "Entrypoint"); }

  void environment(const At& at) {
    for (auto& [name, value] : at.pairs()) {
      if (!value) value = context_.sources.variable(name);
      if (value) environment_[name] = *value;
    }
  }
  // Lines as docker's --env-file has them: no quotes, no variables.
  static Result<std::map<std::string, std::string>> parse_raw(std::string_view text) {
    std::map<std::string, std::string> out;
    for (std::string_view line : split(text, '\n')) {
      if (line.empty() || line.starts_with('#')) continue;
      auto [name, value] = split_once(line, '=');
      if (name.empty() || !value) return fail(Code::kInvalidArgument, cat("\"", line.substr(0, 200), "\": want NAME=VALUE"));
      out[std::string(name)] = *value;
    }
    return out;
  }
  void env_file(const At& at) {
    json::Array one{at.value};
    for (const json::Value& v : at.value.is_array() ? at.value.get_array() : one) {
      At file = at.item(v);
      std::string path;
      bool required = true, raw = false;
      if (v.is_object()) {
        for (auto& [key, member] : file.members({"path", "required", "format"})) {
          if (key == "path") path = member.text();
          else if (key == "required") required = member.truth();
          else if (member.text() == "raw") raw = true;
          else member.wrong("want raw");
        }
      } else {
        path = file.text();
      }
      auto text = context_.sources.read_file(docker_client::absolute_path(path, directory_));
      if (!text && required) at.wrong(text.error().message());
      if (!text) continue;
      auto pairs = raw ? parse_raw(*text) : parse_dotenv(*text, context_.sources.variable);
      if (!pairs) at.wrong(cat(path, ": ", pairs.error().message()));
      else
        for (const auto& [name, value] : *pairs) from_files_[name] = value;
    }
  }

  void healthcheck(const At& at) {
    json::Object check;
    for (auto& [key, member] : at.members({"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"})) {
      if (key == "test") check["Test"] = member.value.is_array() ? array_of(member.texts()) : array_of({"CMD-SHELL", member.text()});
      else if (key == "retries") check["Retries"] = member.number();
      else if (key != "disable") check[key == "interval" ? "Interval" : key == "timeout" ? "Timeout" : key == "start_period" ? "StartPeriod" : "StartInterval"] = nanos_of(member);
      else if (member.truth()) check["Test"] = array_of({"NONE"});
    }
    service_.body["Healthcheck"] = std::move(check);
  }

  void build(const At& at) {
    Build& build = service_.build.emplace();
    build.context = directory_;
    if (!at.value.is_object()) build.context = docker_client::absolute_path(at.text(), directory_);
    else
      for (auto& [key, member] : at.members({"context", "dockerfile", "dockerfile_inline", "args", "target", "labels", "no_cache", "pull", "network", "tags", "platforms", "cache_from", "cache_to"})) {
        if (key == "args" || key == "labels") {
          for (auto& [name, value] : member.pairs()) {
            if (!value && key == "args") value = context_.sources.variable(name);
            if (value) (key == "args" ? build.arguments : build.labels)[name] = *value;
          }
        } else if (key == "no_cache" || key == "pull") {
          (key == "pull" ? build.pull : build.no_cache) = member.truth();
        } else if (key == "tags") {
          build.tags = member.texts();
        } else if (key == "platforms") {
          std::vector<std::string> all = member.texts();
          if (all.size() > 1) member.not_supported("an image of several platforms is not supported");
          else if (all.size() == 1 && service_.platform.empty()) service_.platform = all[0];
        } else if (key == "cache_from" || key == "cache_to") {
          continue;  // where else layers may be found: the engine's own are looked at
        } else if (key == "context") {
          build.context = docker_client::absolute_path(member.text(), directory_);
        } else {
          (key == "target" ? build.target : key == "network" ? build.network : key == "dockerfile" ? build.dockerfile : build.inline_dockerfile) = member.text();
        }
      }
    if (build.context.find(":/") != std::string::npos) at.wrong("contexts are directories: addresses are not supported");
  }

  // --- network
  void ports(const At& at) {
    for (const json::Value& v : at.list()) {
      At port = at.item(v);
      std::string text;
      if (v.is_object()) {
        std::string target, published, address, protocol = "tcp";
        for (auto& [key, member] : port.members({"target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"})) {
          std::string value = member.text();
          if (key == "target") target = value;
          else if (key == "published") published = value;
          else if (key == "host_ip") address = value;
          else if (key == "protocol") protocol = value;
        }
        text = cat(address, address.empty() ? "" : ":", published, published.empty() && address.empty() ? "" : ":", target, "/", protocol);
      } else {
        text = port.text();
      }
      checked(at, docker_client::add_published_port(text, exposed_, bindings_));
    }
  }
  void expose(const At& at) {
    for (const std::string& text : at.texts()) checked(at, docker_client::add_exposed_port(text, exposed_));
  }
  void networks(const At& at) {
    if (!at.value.is_object()) {
      for (const std::string& name : at.texts()) service_.networks[name] = json::Object{};
      return;
    }
    for (const auto& [name, network] : at.members()) {
      json::Object settings;
      for (auto& [key, member] : network.members({"aliases", "ipv4_address", "priority", "gw_priority", "mac_address"})) {
        if (key == "mac_address") settings["MacAddress"] = member.text();
        if (key == "aliases") settings["Aliases"] = array_of(member.texts());
        if (key == "ipv4_address") settings["IPAMConfig"] = json::Object{{"IPv4Address", member.text()}};
      }
      service_.networks[std::string(name)] = std::move(settings);
    }
  }
  void network_mode(const At& at) {
    mode_ = at.text();
    if (mode_.starts_with("service:")) service_.shares_network_of = mode_.substr(8);
  }
  void pid(const At& at) { share(at, "PidMode"); }
  void ipc(const At& at) { share(at, "IpcMode"); }
  void share(const At& at, const char* member) {
    std::string mode = at.text();
    host_[member] = mode;
    if (!mode.starts_with("service:")) return;
    service_.shares[member] = mode.substr(8);
    depend_on(mode.substr(8));
  }
  // "name:address" in a list has no '=' and stays as it is.
  void extra_hosts(const At& at) { host_["ExtraHosts"] = array_of(lines_of(at.pairs(), ':')); }

  // --- files
  void volumes(const At& at) {
    for (const json::Value& v : at.list()) {
      At volume = at.item(v);
      if (v.is_object()) {
        long_volume(volume);
        continue;
      }
      std::string text = volume.text();
      auto [source, target] = split_once(text, ':');
      if (target && !source.starts_with('/') && !source.starts_with('.') && !source.starts_with('~')) text = cat(volume_name(source, at), ":", *target);
      checked(at, docker_client::add_volume(text, directory_, binds_, anonymous_));
    }
  }
  // The engine's name of a volume of the file.
  std::string volume_name(std::string_view key, const At& at) {
    const json::Value* declared = json::find(context_.tree, {"volumes", key});
    if (declared == nullptr) {
      at.wrong(cat("volume \"", key, "\" is not declared below volumes"));
      return "none";
    }
    service_.volumes.emplace(key);
    std::string_view name = json::get_string(*declared, {"name"});
    bool external = json::find(*declared, {"external"}) != nullptr;
    return name.empty() ? external ? std::string(key) : cat(context_.project, "_", key) : std::string(name);
  }
  void long_volume(const At& at) {
    json::Value mount = json::Object{{"Type", "volume"}};
    json::Object& out = mount.get_object();
    for (auto& [key, member] : at.members({"type", "source", "target", "read_only", "bind", "volume", "tmpfs", "consistency"})) {
      if (key == "read_only") out["ReadOnly"] = member.truth();
      else if (key == "type" || key == "source" || key == "target") out[key == "type" ? "Type" : key == "source" ? "Source" : "Target"] = member.text();
      else if (key != "consistency") out[key == "bind" ? "BindOptions" : key == "volume" ? "VolumeOptions" : "TmpfsOptions"] = volume_options(member);
    }
    std::string type(json::get_string(mount, {"Type"})), source(json::get_string(mount, {"Source"}));
    if (json::get_string(mount, {"Target"}).empty()) at.wrong("target is missing");
    if (type == "bind") {
      if (json::find(mount, {"BindOptions", "CreateMountpoint"}) == nullptr) json::at_path(mount, {"BindOptions", "CreateMountpoint"}) = true;
      out["Source"] = docker_client::absolute_path(source, directory_);
    } else if (type == "volume" && !source.empty()) {
      out["Source"] = volume_name(source, at);
    }
    mounts_.push_back(std::move(mount));
  }
  json::Object volume_options(const At& at) {
    json::Object options;
    for (auto& [key, member] : at.members({"propagation", "create_host_path", "nocopy", "size", "mode", "selinux"})) {
      if (key == "propagation") options["Propagation"] = member.text();
      else if (key == "create_host_path") options["CreateMountpoint"] = member.truth();
      else if (key == "nocopy") options["NoCopy"] = member.truth();
      else if (key == "size") options["SizeBytes"] = size_of(member);
      else if (key == "mode") options["Mode"] = octal_of(member);
    }
    return options;
  }
  void tmpfs(const At& at) {
    json::Object out;
    for (const std::string& text : at.texts()) {
      auto [path, options] = split_once(text, ':');
      out[path] = options.value_or("");
    }
    host_["Tmpfs"] = std::move(out);
  }
  // Secrets and configs: files of the host are bound read-only, what a variable or the compose file itself holds is written into the container.
  void declared_files(const At& at, std::string_view kind, std::string_view below) {
    for (const json::Value& v : at.list()) {
      At use = at.item(v);
      std::string source;
      OwnFile out;
      if (v.is_object()) {
        for (auto& [key, member] : use.members({"source", "target", "uid", "gid", "mode"})) {
          if (key == "source" || key == "target") (key == "source" ? source : out.target) = member.text();
          else if (key == "mode") out.mode = static_cast<std::uint32_t>(octal_of(member));
          else (key == "uid" ? out.uid : out.gid) = static_cast<std::uint32_t>(member.number());
        }
      } else {
        source = use.text();
      }
      const json::Value* declared = json::find(context_.tree, {kind, source});
      if (declared == nullptr) return at.wrong(cat("\"", source, "\" is not declared below ", kind));
      At section{*declared, at.note, nullptr, kind}, one{*declared, at.note, &section, source};
      if (out.target.empty()) out.target = source;
      if (!out.target.starts_with('/')) out.target = cat(below, out.target);
      add_declared(one, std::move(out));
    }
  }
  void add_declared(const At& one, OwnFile file) {
    for (auto& [key, member] : one.members({"file", "environment", "content", "name", "external"})) {
      if (key == "name" || key == "external") continue;
      std::string text = member.text();
      if (key == "file") {
        mounts_.push_back(json::Object{{"Type", "bind"}, {"Source", docker_client::absolute_path(text, directory_)}, {"Target", file.target}, {"ReadOnly", true}});
        return;
      }
      std::optional<std::string> content = key == "content" ? text : context_.sources.variable(text);
      if (!content) return member.wrong(cat("the variable ", text, " is not set"));
      file.content = *std::move(content);
      service_.files.push_back(std::move(file));
      return;
    }
    one.not_supported("only those of a file, a variable (environment) or the compose file itself (content) are supported");
  }
  static int octal_of(const At& at) {
    std::string text = at.text();
    std::string_view digits = text.starts_with("0o") ? std::string_view(text).substr(2) : text;
    int mode = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
    if (ec != std::errc() || end != digits.data() + digits.size() || mode > 07777) at.wrong("want octal digits");
    return mode;
  }
  void secrets(const At& at) { declared_files(at, "secrets", "/run/secrets/"); }
  void configs(const At& at) { declared_files(at, "configs", "/"); }
  void devices(const At& at) {
    json::Array out;
    for (const json::Value& v : at.list()) {
      At device = at.item(v);
      std::string text;
      if (v.is_object()) {
        std::string target, permissions;
        for (auto& [key, member] : device.members({"source", "target", "permissions"})) (key == "source" ? text : key == "target" ? target : permissions) = member.text();
        text += cat(":", target.empty() ? text : target, permissions.empty() ? "" : ":", permissions);
      } else {
        text = device.text();
      }
      out.push_back(taken(at, docker_client::parse_device(text)));
    }
    host_["Devices"] = std::move(out);
  }

  // --- the rest
  void depends_on(const At& at) {
    if (!at.value.is_object()) {
      for (const std::string& name : at.texts()) depend_on(name);
      return;
    }
    for (const auto& [name, on] : at.members()) {
      std::erase_if(service_.dependencies, [&](const Dependency& d) { return d.service == name; });  // one of links
      Dependency dependency{std::string(name)};
      for (auto& [key, member] : on.members({"condition", "restart", "required"})) {
        if (key == "required") dependency.required = member.truth();
        if (key != "condition") continue;
        std::string text = member.text();
        if (text == "service_healthy") dependency.condition = Condition::kHealthy;
        else if (text == "service_completed_successfully") dependency.condition = Condition::kCompleted;
        else if (text != "service_started") member.wrong("want service_started, service_healthy or service_completed_successfully");
      }
      service_.dependencies.push_back(std::move(dependency));
    }
  }
  void restart(const At& at) {
    std::string text = at.text();
    host_["RestartPolicy"] = taken(at, docker_client::parse_restart_policy(text == "false" ? "no" : text));
  }
  void labels(const At& at) {
    json::Object& all = service_.body["Labels"].is_object() ? service_.body["Labels"].get_object() : service_.body["Labels"].emplace_object();
    for (const auto& [key, value] : object_of(at)) all[key] = value;  // over those of a file
  }
  void label_file(const At& at) {
    for (const std::string& path : at.texts()) {
      auto text = context_.sources.read_file(docker_client::absolute_path(path, directory_));
      auto pairs = text ? parse_dotenv(*text, context_.sources.variable) : Result<std::map<std::string, std::string>>(fail(text.error()));
      if (!pairs) return at.wrong(cat(path, ": ", pairs.error().message()));
      json::Value& all = service_.body["Labels"];
      if (!all.is_object()) all = json::Object();
      for (const auto& [name, value] : *pairs) all.get_object().insert({{name, value}});
    }
  }
  void annotations(const At& at) { host_["Annotations"] = object_of(at); }
  static std::pair<std::string, std::string> link_of(const std::string& text) {
    auto [name, alias] = split_once(text, ':');
    return {std::string(name), std::string(alias.value_or(name))};
  }
  void links(const At& at) {
    for (const std::string& text : at.texts()) {
      service_.links.push_back(link_of(text));
      depend_on(service_.links.back().first);
    }
  }
  void external_links(const At& at) {
    for (const std::string& text : at.texts()) service_.links.push_back(link_of(text));
  }
  void volumes_from(const At& at) {
    service_.volumes_from = at.texts();
    for (const std::string& text : service_.volumes_from)
      if (!text.starts_with("container:")) depend_on(std::string(split_once(text, ':').first));
  }
  void depend_on(const std::string& name) {
    if (std::ranges::find(service_.dependencies, name, &Dependency::service) == service_.dependencies.end()) service_.dependencies.push_back({name});
  }
  void restart_of(const At& at) {
    std::string condition = "any", attempts;
    for (auto& [key, member] : at.members({"condition", "delay", "max_attempts", "window"})) {
      if (key == "condition") condition = member.text();
      if (key == "max_attempts") attempts = member.text();
    }
    if (condition == "none") condition = "no";
    else if (condition == "any") condition = "always";
    else if (condition != "on-failure") at.wrong("condition: want none, on-failure or any");
    host_["RestartPolicy"] = taken(at, docker_client::parse_restart_policy(condition == "on-failure" && !attempts.empty() ? cat(condition, ":", attempts) : condition));
  }
  // What only a swarm could do (placement, updates) is read over, as docker compose does.
  void deploy(const At& at) {
    for (auto& [key, member] : at.members({"resources", "replicas", "labels", "mode", "restart_policy", "placement", "update_config", "rollback_config", "endpoint_mode"})) {
      if (key == "replicas") scale(member);
      if (key == "restart_policy" && !host_.contains("RestartPolicy")) restart_of(member);
      if (key != "resources") continue;
      for (auto& [kind, of] : member.members({"limits", "reservations"})) {
        bool limits = kind == "limits";
        for (auto& [name, value] : of.members({"cpus", "memory", "pids", "devices"})) {
          if (name == "devices") value.not_supported("devices (GPUs) are not supported");
          else if (name == "memory") host_[limits ? "Memory" : "MemoryReservation"] = size_of(value);
          else if (name == "pids") host_["PidsLimit"] = value.number();
          else if (limits) cpus(value);  // a reservation of CPU is the scheduler's of a swarm
        }
      }
    }
  }
  void cpus(const At& at) { host_["NanoCpus"] = taken(at, docker_client::parse_cpus(at.text())); }
  void profiles(const At& at) { service_.profiles = at.texts(); }
  void container_name(const At& at) { service_.container_name = at.text(); }
  void scale(const At& at) {
    std::int64_t n = at.number();
    if (n < 0 || n > 100) at.wrong("want 0 to 100");
    service_.replicas = static_cast<int>(n);
  }
  void pull_policy(const At& at) {
    std::string text = at.text();
    if (text == "if_not_present") text = "missing";
    if (text != "always" && text != "never" && text != "missing" && text != "build") at.wrong("want always, missing, never or build");
    service_.pull_policy = text;
  }
  void platform(const At& at) { service_.platform = at.text(); }
  void stop_grace_period(const At& at) { service_.body["StopTimeout"] = nanos_of(at) / 1'000'000'000; }
  void sysctls(const At& at) { host_["Sysctls"] = object_of(at); }
  void ulimits(const At& at) {
    json::Array out;
    for (const auto& [name, one] : at.members()) {
      json::Object limit{{"Name", name}};
      if (one.value.is_object())
        for (auto& [key, member] : one.members({"soft", "hard"})) limit[key == "soft" ? "Soft" : "Hard"] = member.number();
      else limit["Hard"] = limit["Soft"] = one.number();
      out.push_back(std::move(limit));
    }
    host_["Ulimits"] = std::move(out);
  }
  void logging(const At& at) {
    json::Object log{{"Type", "json-file"}, {"Config", json::Object{}}};
    for (auto& [key, member] : at.members({"driver", "options"})) {
      if (key == "driver") log["Type"] = member.text();
      else log["Config"] = object_of(member);
    }
    host_["LogConfig"] = std::move(log);
  }

  void finish(const At& at) {
    json::Object& body = service_.body;
    if (!service_.build && !body.contains("Image")) at.wrong("neither an image nor a build is given");
    if (service_.build && !body.contains("Image")) body["Image"] = cat(context_.project, "-", service_.name);
    for (const auto& [name, value] : environment_) from_files_[name] = value;  // the file's own win
    std::vector<std::string> env;
    for (const auto& [name, value] : from_files_) env.push_back(cat(name, "=", value));
    if (!env.empty()) body["Env"] = array_of(env);
    if (!exposed_.empty()) body["ExposedPorts"] = std::move(exposed_);
    if (!anonymous_.empty()) body["Volumes"] = std::move(anonymous_);
    if (!bindings_.empty()) host_["PortBindings"] = std::move(bindings_);
    if (!binds_.empty()) host_["Binds"] = std::move(binds_);
    if (!mounts_.empty()) host_["Mounts"] = std::move(mounts_);
    if (!mode_.empty()) {
      if (!service_.networks.empty()) at.wrong("network_mode and networks exclude each other");
      host_["NetworkMode"] = mode_;
      if (!service_.shares_network_of.empty()) service_.dependencies.push_back({service_.shares_network_of});
    } else if (service_.networks.empty()) {
      service_.networks["default"] = json::Object{};
    }
    if (service_.replicas > 1 && !service_.container_name.empty()) at.wrong("container_name is of one container: it cannot be scaled");
    body["HostConfig"] = std::move(host_);
  }

  Service& service_;
  const Context& context_;
  const std::string& directory_;
  json::Object host_, exposed_, bindings_, anonymous_;
  json::Array binds_, mounts_;
  std::map<std::string, std::string> environment_, from_files_;
  std::string mode_;
};

}  // namespace

Service read_service(const At& at, const Context& context) {
  Service service{.name = std::string(at.key)};
  ServiceReader(service, context).read(at);
  return service;
}

}  // namespace monopod::compose
