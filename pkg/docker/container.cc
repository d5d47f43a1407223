#include "docker/container.h"

#include "base/strings.h"
#include "docker/call.h"

namespace monopod::docker {
namespace {

json::Array format_mounts(const std::vector<MountPoint>& mounts) {
  json::Array out;
  for (const MountPoint& m : mounts)
    out.push_back(json::Object{{"type", m.type}, {"name", m.name}, {"source", m.source}, {"destination", m.destination}, {"readOnly", m.read_only}, {"copyUp", m.copy_up},
                               {"propagation", m.propagation}, {"options", m.options}});
  return out;
}

std::vector<MountPoint> parse_mounts(const json::Value& root) {
  std::vector<MountPoint> out;
  const json::Array* array = json::get_array(root, {"mounts"});
  if (array == nullptr) return out;
  for (const json::Value& v : *array) {
    auto text = [&](std::string_view key) { return std::string(json::get_string(v, {key})); };
    out.push_back({.type = text("type"), .name = text("name"), .source = text("source"), .destination = text("destination"), .read_only = json::get_bool(v, {"readOnly"}),
                   .copy_up = json::get_bool(v, {"copyUp"}), .propagation = text("propagation"), .options = text("options")});
  }
  return out;
}

json::Object format_endpoints(const std::map<std::string, Endpoint>& endpoints) {
  json::Object out;
  for (const auto& [id, e] : endpoints)
    out[id] = json::Object{{"ip", e.ip}, {"gateway", e.gateway}, {"mac", e.mac}, {"prefix", e.prefix_bits}, {"interface", e.interface}, {"names", array_of(e.names)}};
  return out;
}

WallTime time_of(const json::Value& root, std::string_view key) {
  auto at = parse_rfc3339(json::get_string(root, {key}));
  return at ? *at : WallTime{};
}

}  // namespace

std::string_view Container::status() const {
  if (removing) return "removing";
  if (restarting) return "restarting";
  if (phase == Phase::kRunning) return paused ? "paused" : "running";
  return phase == Phase::kCreated ? "created" : "exited";
}

std::string Container::network_mode() const {
  std::string_view mode = json::get_string(host_config, {"NetworkMode"});
  return mode.empty() || mode == "default" ? "bridge" : std::string(mode);
}

bool Container::has_own_network() const {
  std::string mode = network_mode();
  return mode != "host" && !mode.starts_with("container:");
}

std::string format_container(const Container& c) {
  json::Array ports;
  for (const PublishedPort& p : c.ports) ports.push_back(json::Object{{"container", p.container}, {"hostIp", p.host_ip}, {"hostPort", p.host_port}});
  json::Object out{{"name", c.name}, {"created", format_rfc3339_nano(c.created)}, {"image", c.image_id}, {"config", c.config}, {"hostConfig", c.host_config}, {"networks", c.networks},
                   {"mounts", format_mounts(c.mounts)}, {"started", c.phase != Phase::kCreated}, {"exitCode", c.exit_code}, {"oom", c.oom_killed}, {"error", c.error},
                   {"startedAt", format_rfc3339_nano(c.started)}, {"finishedAt", format_rfc3339_nano(c.finished)}, {"restarts", c.restart_count}, {"stoppedByUser", c.stopped_by_user},
                   {"endpoints", format_endpoints(c.endpoints)}, {"ports", std::move(ports)}};
  return json::format(out);
}

Result<ContainerPtr> parse_container(async::Executor executor, std::string id, std::string_view text) {
  TRY_ASSIGN(json::Value v, json::parse(text));
  auto c = std::make_shared<Container>(executor);
  c->id = std::move(id);
  c->name = json::get_string(v, {"name"});
  c->created = time_of(v, "created");
  c->image_id = json::get_string(v, {"image"});
  for (auto [member, key] : {std::pair(&c->config, "config"), {&c->host_config, "hostConfig"}, {&c->networks, "networks"}}) {
    const json::Value* found = json::find(v, {key});
    if (found == nullptr || !found->is_object()) return fail(Code::kDataLoss, cat("record has no ", key));
    *member = *found;
  }
  c->mounts = parse_mounts(v);
  c->phase = json::get_bool(v, {"started"}) ? Phase::kExited : Phase::kCreated;
  c->exit_code = static_cast<int>(json::get_int(v, {"exitCode"}));
  c->oom_killed = json::get_bool(v, {"oom"});
  c->error = json::get_string(v, {"error"});
  c->started = time_of(v, "startedAt");
  c->finished = time_of(v, "finishedAt");
  c->restart_count = static_cast<int>(json::get_int(v, {"restarts"}));
  c->stopped_by_user = json::get_bool(v, {"stoppedByUser"});
  if (const json::Object* endpoints = json::get_object(v, {"endpoints"})) {
    for (const auto& [network, e] : *endpoints)
      c->endpoints[std::string(network)] = {.network_id = std::string(network), .ip = std::string(json::get_string(e, {"ip"})), .gateway = std::string(json::get_string(e, {"gateway"})),
                                            .mac = std::string(json::get_string(e, {"mac"})), .prefix_bits = static_cast<int>(json::get_int(e, {"prefix"})),
                                            .interface = std::string(json::get_string(e, {"interface"})), .names = strings_of(e, {"names"})};
  }
  if (const json::Array* ports = json::get_array(v, {"ports"}))
    for (const json::Value& p : *ports)
      c->ports.push_back({std::string(json::get_string(p, {"container"})), std::string(json::get_string(p, {"hostIp"})), static_cast<std::uint16_t>(json::get_int(p, {"hostPort"}))});
  return c;
}

}  // namespace monopod::docker
