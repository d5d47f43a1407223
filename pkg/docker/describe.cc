// Containers as GET /containers/json and GET /containers/ID/json show them.
#include "base/strings.h"
#include "docker/api.h"
#include "docker/names.h"

namespace monopod::docker {
namespace {

std::string moment(WallTime at) { return at == WallTime{} ? "0001-01-01T00:00:00Z" : format_rfc3339_nano(at); }

std::string human(Duration d) {
  std::int64_t s = std::chrono::duration_cast<std::chrono::seconds>(d).count();
  if (s < 1) return "Less than a second";
  if (s == 1) return "1 second";
  if (s < 60) return cat(s, " seconds");
  std::int64_t m = s / 60;
  if (m == 1) return "About a minute";
  if (m < 60) return cat(m, " minutes");
  std::int64_t h = (m + 30) / 60;
  if (h == 1) return "About an hour";
  if (h < 48) return cat(h, " hours");
  if (h < 24 * 14) return cat(h / 24, " days");
  if (h < 24 * 60) return cat(h / 24 / 7, " weeks");
  if (h < 24 * 365 * 2) return cat(h / 24 / 30, " months");
  return cat(h / 24 / 365, " years");
}

json::Value health_of(const Health& health) {
  json::Array log;
  for (const Health::Entry& e : health.log)
    log.push_back(json::Object{{"Start", format_rfc3339_nano(e.start)}, {"End", format_rfc3339_nano(e.end)}, {"ExitCode", e.exit_code}, {"Output", e.output}});
  return json::Object{{"Status", health.status}, {"FailingStreak", health.failing_streak}, {"Log", std::move(log)}};
}

json::Object state_of(const Container& c) {
  bool running = c.phase == Phase::kRunning;
  json::Object out{{"Status", c.status()}, {"Running", running || c.restarting}, {"Paused", c.paused}, {"Restarting", c.restarting}, {"OOMKilled", c.oom_killed}, {"Dead", false}, {"Pid", c.pid},
                   {"ExitCode", c.exit_code}, {"Error", c.error}, {"StartedAt", moment(c.started)}, {"FinishedAt", moment(c.finished)}};
  if (c.health) out["Health"] = health_of(*c.health);
  return out;
}

json::Array mounts_of(const Container& c) {
  json::Array out;
  for (const MountPoint& m : c.mounts) {
    if (m.type == "tmpfs") continue;
    json::Object item{{"Type", m.type}, {"Source", m.source}, {"Destination", m.destination}, {"Mode", ""}, {"RW", !m.read_only}, {"Propagation", m.propagation}};
    if (m.type == "volume") {
      item["Name"] = m.name;
      item["Driver"] = "local";
    }
    out.push_back(std::move(item));
  }
  return out;
}

json::Object ports_of(const Container& c) {
  json::Object out;
  if (const json::Object* exposed = json::get_object(c.config, {"ExposedPorts"}))
    for (const auto& [port, v] : *exposed) out[port] = nullptr;
  for (const PublishedPort& p : c.ports) {
    json::Value& list = out[p.container];
    if (!list.is_array()) list = json::Array{};
    list.get_array().push_back(json::Object{{"HostIp", p.host_ip.empty() ? "0.0.0.0" : p.host_ip}, {"HostPort", std::to_string(p.host_port)}});
  }
  return out;
}

}  // namespace

json::Object Api::describe_endpoints(const Container& c) const {
  json::Object out;
  for (const auto& [name, settings] : c.networks.get_object()) {
    NetworkInfo* info = p_.networks.find(name);
    const Endpoint* endpoint = nullptr;
    if (info != nullptr)
      if (auto found = c.endpoints.find(info->id); found != c.endpoints.end()) endpoint = &found->second;
    const json::Value* ipam = settings.get_object().if_contains("IPAMConfig");
    std::vector<std::string> aliases = strings_of(settings, {"Aliases"});
    std::vector<std::string> names = aliases;
    if (info != nullptr && !info->builtin) {
      names.push_back(c.name);
      names.push_back(c.id.substr(0, 12));
      aliases.push_back(c.id.substr(0, 12));
    }
    std::string key = info != nullptr ? info->name : std::string(name);
    out[key] = json::Object{{"IPAMConfig", ipam != nullptr ? *ipam : json::Value(nullptr)}, {"Links", nullptr}, {"Aliases", aliases.empty() ? json::Value(nullptr) : json::Value(array_of(aliases))},
                            {"DNSNames", names.empty() ? json::Value(nullptr) : json::Value(array_of(names))},
                            {"NetworkID", info != nullptr ? info->id : ""}, {"EndpointID", endpoint != nullptr ? cat(c.id.substr(0, 32), info->id.substr(0, 32)) : ""},
                            {"Gateway", endpoint != nullptr ? endpoint->gateway : ""}, {"IPAddress", endpoint != nullptr ? endpoint->ip : ""}, {"IPPrefixLen", endpoint != nullptr ? endpoint->prefix_bits : 0},
                            {"IPv6Gateway", ""}, {"GlobalIPv6Address", ""}, {"GlobalIPv6PrefixLen", 0}, {"MacAddress", endpoint != nullptr ? endpoint->mac : ""}, {"DriverOpts", nullptr}};
  }
  std::string mode = c.network_mode();
  if (mode == "host") {
    NetworkInfo* host = p_.networks.find("host");
    out["host"] = json::Object{{"NetworkID", host->id}, {"IPAddress", ""}, {"Gateway", ""}, {"Aliases", nullptr}, {"EndpointID", ""}, {"MacAddress", ""}, {"IPPrefixLen", 0}};
  }
  return out;
}

json::Value Api::describe_container(const Container& c, bool) const {
  std::vector<std::string> argv = strings_of(c.config, {"Entrypoint"});
  for (std::string& word : strings_of(c.config, {"Cmd"})) argv.push_back(std::move(word));
  json::Array args(argv.begin() + (argv.empty() ? 0 : 1), argv.end());
  const Directories& d = p_.containers.directories();
  std::string files = d.container(c.id);
  json::Object networks = describe_endpoints(c);
  const Endpoint* first = nullptr;
  for (const auto& [id, endpoint] : c.endpoints)
    if (NetworkInfo* info = p_.networks.find(id); info != nullptr && info->builtin) first = &endpoint;
  json::Object network_settings{{"Bridge", ""}, {"SandboxID", c.phase == Phase::kRunning ? c.id : ""}, {"SandboxKey", c.phase == Phase::kRunning ? d.namespaces(c.id) + "/net" : ""},
                                {"HairpinMode", false}, {"LinkLocalIPv6Address", ""}, {"LinkLocalIPv6PrefixLen", 0}, {"SecondaryIPAddresses", nullptr}, {"SecondaryIPv6Addresses", nullptr},
                                {"Ports", ports_of(c)}, {"EndpointID", first != nullptr ? c.id : ""}, {"Gateway", first != nullptr ? first->gateway : ""}, {"GlobalIPv6Address", ""},
                                {"GlobalIPv6PrefixLen", 0}, {"IPAddress", first != nullptr ? first->ip : ""}, {"IPPrefixLen", first != nullptr ? first->prefix_bits : 0}, {"IPv6Gateway", ""},
                                {"MacAddress", first != nullptr ? first->mac : ""}, {"Networks", std::move(networks)}};
  json::Array execs;
  for (const auto& [id, exec] : execs_)
    if (exec->container->id == c.id && exec->running) execs.emplace_back(id);
  return json::Object{{"Id", c.id}, {"Created", format_rfc3339_nano(c.created)}, {"Path", argv.empty() ? "" : argv[0]}, {"Args", std::move(args)}, {"State", state_of(c)}, {"Image", c.image_id},
                      {"ResolvConfPath", files + "/resolv.conf"}, {"HostnamePath", files + "/hostname"}, {"HostsPath", files + "/hosts"}, {"LogPath", d.log(c.id)}, {"Name", "/" + c.name},
                      {"RestartCount", c.restart_count}, {"Driver", "overlay2"}, {"Platform", "linux"}, {"MountLabel", ""}, {"ProcessLabel", ""}, {"AppArmorProfile", ""},
                      {"ExecIDs", execs.empty() ? json::Value(nullptr) : json::Value(std::move(execs))}, {"HostConfig", c.host_config},
                      {"GraphDriver", json::Object{{"Name", "overlay2"}, {"Data", json::Object{{"MergedDir", d.rootfs(c.id)}}}}}, {"Mounts", mounts_of(c)}, {"Config", c.config},
                      {"NetworkSettings", std::move(network_settings)}};
}

json::Value Api::summarize_container(const Container& c) const {
  std::vector<std::string> argv = strings_of(c.config, {"Entrypoint"});
  for (std::string& word : strings_of(c.config, {"Cmd"})) argv.push_back(std::move(word));
  json::Array ports;
  for (const PublishedPort& p : c.ports) {
    auto [number, protocol] = split_once(p.container, '/');
    ports.push_back(json::Object{{"IP", p.host_ip.empty() ? "0.0.0.0" : p.host_ip}, {"PrivatePort", parse_int<int>(number).value_or(0)}, {"PublicPort", p.host_port}, {"Type", *protocol}});
  }
  if (c.phase == Phase::kRunning)
    if (const json::Object* exposed = json::get_object(c.config, {"ExposedPorts"}))
      for (const auto& [port, v] : *exposed) {
        bool published = false;
        for (const PublishedPort& p : c.ports) published = published || p.container == std::string_view(port);
        auto [number, protocol] = split_once(port, '/');
        if (!published) ports.push_back(json::Object{{"PrivatePort", parse_int<int>(number).value_or(0)}, {"Type", protocol.value_or("tcp")}});
      }
  WallTime now = p_.parts.time.wall();
  std::string status;
  if (c.restarting) status = cat("Restarting (", c.exit_code, ") ", human(now - c.finished), " ago");
  else if (c.phase == Phase::kRunning) status = cat("Up ", human(now - c.started), c.paused ? " (Paused)" : c.health ? cat(" (", c.health->status == "starting" ? "health: starting" : c.health->status, ")") : "");
  else if (c.removing) status = "Removal In Progress";
  else if (c.phase == Phase::kCreated) status = "Created";
  else status = cat("Exited (", c.exit_code, ") ", human(now - c.finished), " ago");
  std::string image(json::get_string(c.config, {"Image"}));
  if (auto found = p_.parts.images.find(image); !found || found->id != c.image_id) image = c.image_id;
  return json::Object{{"Id", c.id}, {"Names", json::Array{json::Value("/" + c.name)}}, {"Image", image}, {"ImageID", c.image_id}, {"Command", join(argv, " ")},
                      {"Created", std::chrono::duration_cast<std::chrono::seconds>(c.created.time_since_epoch()).count()}, {"Ports", std::move(ports)},
                      {"Labels", *json::get_object(c.config, {"Labels"})}, {"State", c.status()}, {"Status", status}, {"HostConfig", json::Object{{"NetworkMode", c.network_mode()}}},
                      {"NetworkSettings", json::Object{{"Networks", describe_endpoints(c)}}}, {"Mounts", mounts_of(c)}};
}

}  // namespace monopod::docker
