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
constexpr Row kHostTexts[] = {{"ipc", "IpcMode"}, {"uts", "UTSMode"}, {"userns_mode", "UsernsMode"}, {"cgroup_parent", "CgroupParent"}, {"runtime", "Runtime"}, {"cpuset", "CpusetCpus"}};
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

std::vector<std::string> lines_of(const std::vector<std::pair<std::string, std::optional<std::string>>>& pairs, char between) {
  std::vector<std::string> out;
  for (const auto& [key, value] : pairs) out.push_back(value ? cat(key, between, *value) : key);
  return out;
}

class ServiceReader {
 public:
  ServiceReader(Service& service, const Context& context) : service_(service), context_(context), directory_(context.options.directory) {}

  Result<> read(const json::Value& value) {
    At at{value, cat("services.", service_.name)};
    if (!value.is_object()) return at.wrong("want a map");
    for (const auto& [key, v] : value.get_object()) {
      if (std::string_view(key).starts_with("x-")) continue;
      TRY(read_member(key, At{v, cat(at.place, ".", std::string_view(key))}, at.place));
    }
    return finish(at);
  }

 private:
  Result<> read_member(std::string_view key, const At& at, const std::string& place) {
    if (const char* member = member_of(kTexts, key)) return put_text(at, service_.body, member);
    if (const char* member = member_of(kHostTexts, key)) return put_text(at, host_, member);
    if (const char* member = member_of(kSwitches, key)) return put_truth(at, service_.body, member);
    if (const char* member = member_of(kHostSwitches, key)) return put_truth(at, host_, member);
    if (const char* member = member_of(kHostLists, key)) return put_texts(at, host_, member);
    if (const char* member = member_of(kHostSizes, key)) return put_size(at, host_, member);
    if (const char* member = member_of(kHostNumbers, key)) return put_number(at, host_, member);
    struct Own {
      std::string_view key;
      Result<> (ServiceReader::*read)(const At&);
    };
    static constexpr Own kOwn[] = {
        {"build", &ServiceReader::build}, {"command", &ServiceReader::command}, {"entrypoint", &ServiceReader::entrypoint}, {"environment", &ServiceReader::environment}, {"env_file", &ServiceReader::env_file},
        {"ports", &ServiceReader::ports}, {"expose", &ServiceReader::expose}, {"volumes", &ServiceReader::volumes}, {"tmpfs", &ServiceReader::tmpfs}, {"networks", &ServiceReader::networks},
        {"network_mode", &ServiceReader::network_mode}, {"pid", &ServiceReader::pid}, {"depends_on", &ServiceReader::depends_on}, {"restart", &ServiceReader::restart}, {"healthcheck", &ServiceReader::healthcheck},
        {"labels", &ServiceReader::labels}, {"deploy", &ServiceReader::deploy}, {"profiles", &ServiceReader::profiles}, {"container_name", &ServiceReader::container_name}, {"scale", &ServiceReader::scale},
        {"pull_policy", &ServiceReader::pull_policy}, {"platform", &ServiceReader::platform}, {"stop_grace_period", &ServiceReader::stop_grace_period}, {"extra_hosts", &ServiceReader::extra_hosts},
        {"sysctls", &ServiceReader::sysctls}, {"ulimits", &ServiceReader::ulimits}, {"devices", &ServiceReader::devices}, {"logging", &ServiceReader::logging}, {"cpus", &ServiceReader::cpus},
        {"secrets", &ServiceReader::secrets}, {"configs", &ServiceReader::configs}, {"attach", &ServiceReader::nothing},
    };
    for (const Own& own : kOwn)
      if (own.key == key) return (this->*own.read)(at);
    return not_supported(place, key);
  }

  // --- members of one kind
  Result<> put_text(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(into[member], at.text());
    return {};
  }
  Result<> put_truth(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(into[member], at.truth());
    return {};
  }
  Result<> put_texts(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(std::vector<std::string> list, at.texts());
    into[member] = array_of(list);
    return {};
  }
  Result<> put_number(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(into[member], at.number());
    return {};
  }
  Result<> put_size(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(std::string text, at.text());
    auto bytes = docker_client::parse_size(text);
    if (!bytes) return at.wrong(bytes.error().message());
    into[member] = *bytes;
    return {};
  }
  Result<> put_nanos(const At& at, json::Object& into, const char* member) {
    TRY_ASSIGN(std::string text, at.text());
    auto nanos = docker_client::parse_nanos(text);
    if (!nanos) return at.wrong(nanos.error().message());
    into[member] = *nanos;
    return {};
  }
  Result<> nothing(const At&) { return {}; }

  // --- the program
  Result<> words(const At& at, const char* member) {
    if (at.value.is_array()) return put_texts(at, service_.body, member);
    if (at.value.is_null()) return {};
    TRY_ASSIGN(std::string text, at.text());
    auto split = split_command(text);
    if (!split) return at.wrong(split.error().message());
    service_.body[member] = array_of(*split);
    return {};
  }
  Result<> command(const At& at) { return words(at, "Cmd"); }
  Result<> entrypoint(const At& at) { return words(at, "Entrypoint"); }

  Result<> environment(const At& at) {
    TRY_ASSIGN(auto pairs, at.pairs());
    for (auto& [name, value] : pairs) {
      if (!value) value = context_.sources.variable(name);
      if (value) environment_[name] = *value;
    }
    return {};
  }
  Result<> env_file(const At& at) {
    json::Array one{at.value};
    for (const json::Value& v : at.value.is_array() ? at.value.get_array() : one) {
      std::string path;
      bool required = true;
      if (v.is_object()) {
        TRY_ASSIGN(auto members, (At{v, at.place}.members({"path", "required"})));
        for (auto& [key, member] : members) {
          if (key == "path") { TRY_ASSIGN(path, member.text()); }
          else { TRY_ASSIGN(required, member.truth()); }
        }
      } else {
        TRY_ASSIGN(path, (At{v, at.place}.text()));
      }
      auto text = context_.sources.read_file(docker_client::absolute_path(path, directory_));
      if (!text && !required) continue;
      if (!text) return fail(std::move(text).error().with(at.place));
      auto pairs = parse_dotenv(*text, context_.sources.variable);
      if (!pairs) return at.wrong(cat(path, ": ", pairs.error().message()));
      for (const auto& [name, value] : *pairs) from_files_[name] = value;
    }
    return {};
  }

  Result<> healthcheck(const At& at) {
    TRY_ASSIGN(auto members, at.members({"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}));
    json::Object check;
    for (auto& [key, member] : members) {
      if (key == "test" && member.value.is_array()) TRY(put_texts(member, check, "Test"));
      else if (key == "test") {
        TRY_ASSIGN(std::string text, member.text());
        check["Test"] = array_of({"CMD-SHELL", text});
      } else if (key == "disable") {
        TRY_ASSIGN(bool disabled, member.truth());
        if (disabled) check["Test"] = array_of({"NONE"});
      } else if (key == "retries") TRY(put_number(member, check, "Retries"));
      else TRY(put_nanos(member, check, key == "interval" ? "Interval" : key == "timeout" ? "Timeout" : key == "start_period" ? "StartPeriod" : "StartInterval"));
    }
    service_.body["Healthcheck"] = std::move(check);
    return {};
  }

  Result<> build(const At& at) {
    Build build{.context = directory_};
    if (!at.value.is_object()) {
      TRY_ASSIGN(std::string text, at.text());
      build.context = docker_client::absolute_path(text, directory_);
    } else {
      TRY_ASSIGN(auto members, at.members({"context", "dockerfile", "args", "target", "labels", "no_cache"}));
      for (auto& [key, member] : members) {
        if (key == "args" || key == "labels") {
          TRY_ASSIGN(auto pairs, member.pairs());
          for (auto& [name, value] : pairs) {
            if (!value && key == "args") value = context_.sources.variable(name);
            if (value) (key == "args" ? build.arguments : build.labels)[name] = *value;
          }
        } else if (key == "no_cache") {
          TRY_ASSIGN(build.no_cache, member.truth());
        } else {
          TRY_ASSIGN(std::string text, member.text());
          if (key == "context") build.context = docker_client::absolute_path(text, directory_);
          else (key == "target" ? build.target : build.dockerfile) = text;
        }
      }
    }
    if (build.context.find("://") != std::string::npos) return at.wrong("contexts are directories: addresses are not supported");
    service_.build = std::move(build);
    return {};
  }

  // --- network
  Result<> ports(const At& at) {
    if (!at.value.is_array()) return at.wrong("want a list");
    for (const json::Value& v : at.value.get_array()) {
      std::string text;
      if (v.is_object()) {
        std::string target, published, address, protocol = "tcp";
        TRY_ASSIGN(auto members, (At{v, at.place}.members({"target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"})));
        for (auto& [key, member] : members) {
          TRY_ASSIGN(std::string value, member.text());
          if (key == "target") target = value;
          else if (key == "published") published = value;
          else if (key == "host_ip") address = value;
          else if (key == "protocol") protocol = value;
        }
        text = cat(address, address.empty() ? "" : ":", published, published.empty() && address.empty() ? "" : ":", target, "/", protocol);
      } else {
        TRY_ASSIGN(text, (At{v, at.place}.text()));
      }
      Result<> added = docker_client::add_published_port(text, exposed_, bindings_);
      if (!added) return at.wrong(added.error().message());
    }
    return {};
  }
  Result<> expose(const At& at) {
    TRY_ASSIGN(std::vector<std::string> list, at.texts());
    for (const std::string& text : list)
      if (Result<> added = docker_client::add_exposed_port(text, exposed_); !added) return at.wrong(added.error().message());
    return {};
  }
  Result<> networks(const At& at) {
    if (!at.value.is_object()) {
      TRY_ASSIGN(std::vector<std::string> names, at.texts());
      for (const std::string& name : names) service_.networks[name] = json::Object{};
      return {};
    }
    for (const auto& [key, v] : at.value.get_object()) {
      TRY_ASSIGN(auto members, (At{v, cat(at.place, ".", std::string_view(key))}.members({"aliases", "ipv4_address", "priority"})));
      json::Object settings;
      for (auto& [name, member] : members) {
        if (name == "aliases") TRY(put_texts(member, settings, "Aliases"));
        if (name == "ipv4_address") {
          json::Object ipam;
          TRY(put_text(member, ipam, "IPv4Address"));
          settings["IPAMConfig"] = std::move(ipam);
        }
      }
      service_.networks[std::string(key)] = std::move(settings);
    }
    return {};
  }
  Result<> network_mode(const At& at) {
    TRY_ASSIGN(mode_, at.text());
    if (mode_.starts_with("service:")) service_.shares_network_of = mode_.substr(8);
    return {};
  }
  Result<> pid(const At& at) {
    TRY_ASSIGN(std::string mode, at.text());
    if (mode.starts_with("service:")) return fail(Code::kUnimplemented, cat(at.place, ": service:NAME is not supported: container:NAME and host are"));
    host_["PidMode"] = mode;
    return {};
  }
  Result<> extra_hosts(const At& at) {
    TRY_ASSIGN(auto pairs, at.pairs());
    std::vector<std::string> lines = lines_of(pairs, ':');  // "name:address" in a list has no '=' and stays as it is
    host_["ExtraHosts"] = array_of(lines);
    return {};
  }

  // --- files
  Result<> volumes(const At& at) {
    if (!at.value.is_array()) return at.wrong("want a list");
    for (const json::Value& v : at.value.get_array()) {
      if (v.is_object()) {
        TRY(long_volume(At{v, at.place}));
        continue;
      }
      TRY_ASSIGN(std::string text, (At{v, at.place}.text()));
      auto [source, target] = split_once(text, ':');
      bool named = target && !source.starts_with('/') && !source.starts_with('.') && !source.starts_with('~');
      if (named) {
        TRY_ASSIGN(std::string name, volume_name(source, at));
        text = cat(name, ":", *target);
      }
      if (Result<> added = docker_client::add_volume(text, directory_, binds_, anonymous_); !added) return at.wrong(added.error().message());
    }
    return {};
  }
  // The engine's name of a volume of the file.
  Result<std::string> volume_name(std::string_view key, const At& at) {
    const json::Value* declared = json::find(context_.tree, {"volumes", key});
    if (declared == nullptr) return at.wrong(cat("volume \"", key, "\" is not declared below volumes"));
    service_.volumes.emplace(key);
    std::string_view name = json::get_string(*declared, {"name"});
    bool external = json::find(*declared, {"external"}) != nullptr;
    return name.empty() ? external ? std::string(key) : cat(context_.project, "_", key) : std::string(name);
  }
  Result<> long_volume(const At& at) {
    TRY_ASSIGN(auto members, at.members({"type", "source", "target", "read_only", "bind", "volume", "tmpfs", "consistency"}));
    json::Value mount = json::Object{{"Type", "volume"}};
    for (auto& [key, member] : members) {
      if (key == "read_only") TRY(put_truth(member, mount.get_object(), "ReadOnly"));
      else if (key == "type" || key == "source" || key == "target") TRY(put_text(member, mount.get_object(), key == "type" ? "Type" : key == "source" ? "Source" : "Target"));
      else TRY(volume_options(key, member, mount));
    }
    std::string type(json::get_string(mount, {"Type"})), source(json::get_string(mount, {"Source"}));
    if (json::get_string(mount, {"Target"}).empty()) return at.wrong("target is missing");
    if (type == "bind") {
      if (json::find(mount, {"BindOptions", "CreateMountpoint"}) == nullptr) json::at_path(mount, {"BindOptions", "CreateMountpoint"}) = true;
      mount.get_object()["Source"] = docker_client::absolute_path(source, directory_);
    } else if (type == "volume" && !source.empty()) {
      TRY_ASSIGN(mount.get_object()["Source"], volume_name(source, at));
    }
    mounts_.push_back(std::move(mount));
    return {};
  }
  Result<> volume_options(const std::string& kind, const At& at, json::Value& mount) {
    TRY_ASSIGN(auto members, at.members({"propagation", "create_host_path", "nocopy", "size", "mode", "selinux"}));
    json::Object options;
    for (auto& [key, member] : members) {
      if (key == "propagation") TRY(put_text(member, options, "Propagation"));
      else if (key == "create_host_path") TRY(put_truth(member, options, "CreateMountpoint"));
      else if (key == "nocopy") TRY(put_truth(member, options, "NoCopy"));
      else if (key == "size") TRY(put_size(member, options, "SizeBytes"));
      else if (key == "mode") {
        TRY_ASSIGN(std::string text, member.text());
        std::int64_t mode = 0;
        auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
        if (ec != std::errc() || end != text.data() + text.size()) return member.wrong("want octal digits");
        options["Mode"] = mode;
      }
    }
    if (kind != "consistency") mount.get_object()[kind == "bind" ? "BindOptions" : kind == "volume" ? "VolumeOptions" : "TmpfsOptions"] = std::move(options);
    return {};
  }
  Result<> tmpfs(const At& at) {
    TRY_ASSIGN(std::vector<std::string> list, at.texts());
    json::Object out;
    for (const std::string& text : list) {
      auto [path, options] = split_once(text, ':');
      out[path] = options.value_or("");
    }
    host_["Tmpfs"] = std::move(out);
    return {};
  }
  // Secrets and configs are files of the host, bound read-only.
  Result<> bound_files(const At& at, std::string_view kind, std::string_view below) {
    if (!at.value.is_array()) return at.wrong("want a list");
    for (const json::Value& v : at.value.get_array()) {
      std::string source, target;
      if (v.is_object()) {
        TRY_ASSIGN(auto members, (At{v, at.place}.members({"source", "target"})));
        for (auto& [key, member] : members) { TRY_ASSIGN((key == "source" ? source : target), member.text()); }
      } else {
        TRY_ASSIGN(source, (At{v, at.place}.text()));
      }
      const json::Value* declared = json::find(context_.tree, {kind, source});
      if (declared == nullptr) return at.wrong(cat("\"", source, "\" is not declared below ", kind));
      TRY_ASSIGN(auto members, (At{*declared, cat(kind, ".", source)}.members({"file", "name"})));
      std::string file;
      for (auto& [key, member] : members)
        if (key == "file") { TRY_ASSIGN(file, member.text()); }
      if (file.empty()) return fail(Code::kUnimplemented, cat(kind, ".", source, ": only those of a file are supported"));
      if (target.empty()) target = source;
      if (!target.starts_with('/')) target = cat(below, target);
      mounts_.push_back(json::Object{{"Type", "bind"}, {"Source", docker_client::absolute_path(file, directory_)}, {"Target", target}, {"ReadOnly", true}});
    }
    return {};
  }
  Result<> secrets(const At& at) { return bound_files(at, "secrets", "/run/secrets/"); }
  Result<> configs(const At& at) { return bound_files(at, "configs", "/"); }
  Result<> devices(const At& at) {
    TRY_ASSIGN(std::vector<std::string> list, at.texts());
    json::Array out;
    for (const std::string& text : list) {
      auto device = docker_client::parse_device(text);
      if (!device) return at.wrong(device.error().message());
      out.push_back(*device);
    }
    host_["Devices"] = std::move(out);
    return {};
  }

  // --- the rest
  Result<> depends_on(const At& at) {
    if (!at.value.is_object()) {
      TRY_ASSIGN(std::vector<std::string> names, at.texts());
      for (std::string& name : names) service_.dependencies.push_back({std::move(name)});
      return {};
    }
    for (const auto& [key, v] : at.value.get_object()) {
      Dependency dependency{std::string(key)};
      TRY_ASSIGN(auto members, (At{v, cat(at.place, ".", std::string_view(key))}.members({"condition", "restart", "required"})));
      for (auto& [name, member] : members) {
        if (name == "required") { TRY_ASSIGN(dependency.required, member.truth()); }
        if (name != "condition") continue;
        TRY_ASSIGN(std::string text, member.text());
        if (text == "service_healthy") dependency.condition = Condition::kHealthy;
        else if (text == "service_completed_successfully") dependency.condition = Condition::kCompleted;
        else if (text != "service_started") return member.wrong("want service_started, service_healthy or service_completed_successfully");
      }
      service_.dependencies.push_back(std::move(dependency));
    }
    return {};
  }
  Result<> restart(const At& at) {
    TRY_ASSIGN(std::string text, at.text());
    auto policy = docker_client::parse_restart_policy(text == "false" ? "no" : text);
    if (!policy) return at.wrong(policy.error().message());
    host_["RestartPolicy"] = *policy;
    return {};
  }
  Result<> labels(const At& at) {
    TRY_ASSIGN(auto pairs, at.pairs());
    json::Object out;
    for (const auto& [key, value] : pairs) out[key] = value.value_or("");
    service_.body["Labels"] = std::move(out);
    return {};
  }
  Result<> deploy(const At& at) {
    TRY_ASSIGN(auto members, at.members({"resources", "replicas", "labels", "mode"}));
    for (auto& [key, member] : members) {
      if (key == "replicas") TRY(scale(member));
      if (key != "resources") continue;
      TRY_ASSIGN(auto kinds, member.members({"limits", "reservations"}));
      for (auto& [kind, of] : kinds) {
        bool limits = kind == "limits";
        TRY_ASSIGN(auto resources, of.members({"cpus", "memory", "pids"}));
        for (auto& [name, value] : resources) {
          if (name == "memory") TRY(put_size(value, host_, limits ? "Memory" : "MemoryReservation"));
          else if (name == "pids") TRY(put_number(value, host_, "PidsLimit"));
          else if (limits) TRY(cpus(value));  // a reservation of CPU is the scheduler's of a swarm
        }
      }
    }
    return {};
  }
  Result<> cpus(const At& at) {
    TRY_ASSIGN(std::string text, at.text());
    auto nanos = docker_client::parse_cpus(text);
    if (!nanos) return at.wrong(nanos.error().message());
    host_["NanoCpus"] = *nanos;
    return {};
  }
  Result<> profiles(const At& at) {
    TRY_ASSIGN(service_.profiles, at.texts());
    return {};
  }
  Result<> container_name(const At& at) {
    TRY_ASSIGN(service_.container_name, at.text());
    return {};
  }
  Result<> scale(const At& at) {
    TRY_ASSIGN(std::int64_t n, at.number());
    if (n < 0 || n > 100) return at.wrong("want 0 to 100");
    service_.replicas = static_cast<int>(n);
    return {};
  }
  Result<> pull_policy(const At& at) {
    TRY_ASSIGN(std::string text, at.text());
    if (text == "if_not_present") text = "missing";
    if (text != "always" && text != "never" && text != "missing" && text != "build") return at.wrong("want always, missing, never or build");
    service_.pull_policy = text;
    return {};
  }
  Result<> platform(const At& at) {
    TRY_ASSIGN(service_.platform, at.text());
    return {};
  }
  Result<> stop_grace_period(const At& at) {
    json::Object nanos;
    TRY(put_nanos(at, nanos, "n"));
    service_.body["StopTimeout"] = nanos["n"].get_int64() / 1'000'000'000;
    return {};
  }
  Result<> sysctls(const At& at) {
    TRY_ASSIGN(auto pairs, at.pairs());
    host_["Sysctls"] = docker_client::object_of_pairs(lines_of(pairs, '='));
    return {};
  }
  Result<> ulimits(const At& at) {
    if (!at.value.is_object()) return at.wrong("want a map");
    json::Array out;
    for (const auto& [name, v] : at.value.get_object()) {
      At one{v, cat(at.place, ".", std::string_view(name))};
      json::Object limit{{"Name", std::string_view(name)}};
      if (v.is_object()) {
        TRY_ASSIGN(auto members, one.members({"soft", "hard"}));
        for (auto& [key, member] : members) TRY(put_number(member, limit, key == "soft" ? "Soft" : "Hard"));
      } else {
        TRY(put_number(one, limit, "Soft"));
        TRY(put_number(one, limit, "Hard"));
      }
      out.push_back(std::move(limit));
    }
    host_["Ulimits"] = std::move(out);
    return {};
  }
  Result<> logging(const At& at) {
    TRY_ASSIGN(auto members, at.members({"driver", "options"}));
    json::Object log{{"Type", "json-file"}, {"Config", json::Object{}}};
    for (auto& [key, member] : members) {
      if (key == "driver") TRY(put_text(member, log, "Type"));
      else {
        TRY_ASSIGN(auto pairs, member.pairs());
        log["Config"] = docker_client::object_of_pairs(lines_of(pairs, '='));
      }
    }
    host_["LogConfig"] = std::move(log);
    return {};
  }

  Result<> finish(const At& at) {
    json::Object& body = service_.body;
    if (!service_.build && !body.contains("Image")) return at.wrong("neither an image nor a build is given");
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
      if (!service_.networks.empty()) return at.wrong("network_mode and networks exclude each other");
      host_["NetworkMode"] = mode_;
      if (!service_.shares_network_of.empty()) service_.dependencies.push_back({service_.shares_network_of});
    } else if (service_.networks.empty()) {
      service_.networks["default"] = json::Object{};
    }
    if (service_.replicas > 1 && !service_.container_name.empty()) return at.wrong("container_name is of one container: it cannot be scaled");
    body["HostConfig"] = std::move(host_);
    return {};
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

Result<Service> read_service(const std::string& name, const json::Value& value, const Context& context) {
  Service service{.name = name};
  TRY(ServiceReader(service, context).read(value));
  return service;
}

}  // namespace monopod::compose
