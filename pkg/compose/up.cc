// up, create and run: what the file asks for becomes what the engine has.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/rng.h"
#include "base/strings.h"
#include "compose/load.h"
#include "docker/call.h"
#include "docker_client/transfer.h"
#include "docker_client/values.h"
#include "http/query.h"
#include "image/fd_streams.h"
#include "image/tar.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::EngineClient;
using docker_client::path_of;

constexpr std::chrono::milliseconds kLookAgain{200};

// As one tar, which the engine unpacks.
Result<> put_files(EngineClient& client, const std::string& id, const std::vector<OwnFile>& files) {
  auto answer = docker_client::upload_from(client, "PUT", path_of("containers", id, "/archive?path=/"), [&](int to) -> Result<> {
    image::FdSink sink(to);
    image::TarWriter tar(sink);
    for (const OwnFile& file : files) {
      image::TarEntry entry;
      entry.name = file.target.substr(1);
      entry.mode = file.mode;
      entry.uid = file.uid;
      entry.gid = file.gid;
      entry.size = entry.data_bytes = file.content.size();
      TRY(tar.begin(entry));
      TRY(tar.write(std::as_bytes(std::span(file.content))));
    }
    return tar.finish();
  });
  if (!answer) return fail(std::move(answer).error());
  return {};
}

class Up {
 public:
  Up(Command& command, const Project& project) : client_(command.client), flags_(command.flags), project_(project) {}

  // more: services that are made otherwise, and want their networks and volumes, too.
  Result<> run(const std::set<std::string>& services, const std::set<std::string>& more = {}) {
    TRY_ASSIGN(auto steps, order_services(project_, services));
    std::set<std::string> all = services;
    all.insert(more.begin(), more.end());
    TRY(make_networks(all));
    TRY(make_volumes(all));
    TRY_ASSIGN(members_, find_members(client_, project_.name));
    TRY(look_at_orphans());
    for (const auto& step : steps)
      for (const std::string& name : step) {
        auto done = bring_up(project_.services.at(name));
        if (!done) return fail(std::move(done).error().with(name));
      }
    return {};
  }
  Result<> await_dependencies(const Service& service) {
    for (const Dependency& on : service.dependencies) TRY(await(on));
    return {};
  }
  std::vector<Member> chosen{};  // that run now, in the file's order

 private:
  Result<> make_networks(const std::set<std::string>& services) {
    std::set<std::string> wanted;
    for (const std::string& name : services)
      for (const auto& [key, settings] : project_.services.at(name).networks) wanted.insert(key);
    for (const std::string& key : wanted) {
      const Network& network = project_.networks.at(key);
      auto there = client_.get(path_of("networks", network.name));
      if (there) continue;
      if (there.error().code() != Code::kNotFound) return fail(there.error());
      if (network.external) return fail(Code::kNotFound, cat("network ", network.name, " is external, and is not there: make it with monopod network create ", network.name));
      TRY(client_.post("/networks/create", json::Value(network.body)));
      say(cat("Network ", network.name, "  Created"));
    }
    return {};
  }

  Result<> make_volumes(const std::set<std::string>& services) {
    std::set<std::string> wanted;
    for (const std::string& name : services) wanted.insert(project_.services.at(name).volumes.begin(), project_.services.at(name).volumes.end());
    for (const std::string& key : wanted) {
      const Volume& volume = project_.volumes.at(key);
      auto there = client_.get(path_of("volumes", volume.name));
      if (there) continue;
      if (there.error().code() != Code::kNotFound) return fail(there.error());
      if (volume.external) return fail(Code::kNotFound, cat("volume ", volume.name, " is external, and is not there: make it with monopod volume create ", volume.name));
      TRY(client_.post("/volumes/create", json::Value(volume.body)));
      say(cat("Volume ", volume.name, "  Created"));
    }
    return {};
  }

  Result<> look_at_orphans() {
    std::vector<Member> orphans;
    for (const Member& m : members_)
      if (!project_.services.contains(m.service)) orphans.push_back(m);
    if (orphans.empty()) return {};
    if (flags_.on("remove-orphans")) {
      TRY(stop_members(client_, orphans, flags_.text("timeout")));
      return remove_members(client_, orphans, false);
    }
    std::vector<std::string> names;
    for (const Member& m : orphans) names.push_back(m.name);
    std::fprintf(stderr, "WARNING: containers of services that are not in the file: %s: --remove-orphans removes them\n", join(names, ", ").c_str());
    return {};
  }

  Result<> bring_up(const Service& service) {
    TRY(await_dependencies(service));
    TRY_ASSIGN(std::string image_id, ensure_image(client_, service, flags_));
    int replicas = service.replicas;
    for (const std::string& text : flags_.list("scale"))
      if (auto [name, n] = split_once(text, '='); name == service.name) {
        auto count = parse_int<int>(n.value_or(""));
        if (!count || *count < 0 || *count > 100) return fail(Code::kInvalidArgument, cat("--scale ", text, ": want SERVICE=0..100"));
        replicas = *count;
      }
    std::vector<Member> own;
    for (const Member& m : members_)
      if (m.service == service.name) own.push_back(m);
    for (int number = 1; number <= replicas; ++number) {
      auto found = std::ranges::find(own, number, &Member::number);
      TRY(bring_up_one(service, number, image_id, found == own.end() ? nullptr : &*found));
    }
    std::vector<Member> surplus;
    for (const Member& m : own)
      if (m.number > replicas) surplus.push_back(m);
    TRY(stop_members(client_, surplus, flags_.text("timeout")));
    return remove_members(client_, surplus, false);
  }

  Result<> bring_up_one(const Service& service, int number, const std::string& image_id, const Member* there) {
    std::string hash = config_hash_of(service);
    std::string name = service.container_name.empty() ? cat(project_.name, "-", service.name, "-", number) : service.container_name;
    bool same = there != nullptr && !flags_.on("force-recreate") && (flags_.on("no-recreate") || (there->hash == hash && there->image_id == image_id));
    if (there != nullptr && !same) {
      TRY(stop_members(client_, {*there}, flags_.text("timeout")));
      TRY(remove_members(client_, {*there}, false));
    }
    Member member{.id = same ? there->id : "", .name = name, .service = service.name, .number = number};
    if (!same) {
      TRY_ASSIGN(member.id, create(service, number, name, hash));
      say(cat("Container ", name, there != nullptr ? "  Recreated" : "  Created"));
    }
    if (same && there->state == "running") {
      say(cat("Container ", name, "  Running"));
    } else if (!flags_.on("no-start")) {
      TRY(client_.post(path_of("containers", member.id, "/start")));
      say(cat("Container ", name, "  Started"));
    }
    chosen.push_back(std::move(member));
    return {};
  }

  Result<std::string> create(const Service& service, int number, const std::string& name, const std::string& hash) { return create(service, json::Value(service.body), name, labels_of(project_, service, number, hash)); }

 public:
  // body: the service's, or what became of it.
  Result<std::string> create(const Service& service, json::Value body, const std::string& name, const std::map<std::string, std::string>& labels) {
    json::Array links, from;
    for (const auto& [other, alias] : service.links) links.emplace_back(cat(name_of(other), ":", alias));
    for (const std::string& text : service.volumes_from) from.emplace_back(volumes_source(text));
    if (!from.empty()) json::at_path(body, {"HostConfig", "VolumesFrom"}) = std::move(from);
    for (const auto& [key, value] : labels) json::at_path(body, {"Labels", key}) = value;
    json::Object endpoints;
    std::string first;
    for (const auto& [key, settings] : service.networks) {
      json::Value endpoint(settings);
      json::Value& aliases = json::at_path(endpoint, {"Aliases"});
      if (!aliases.is_array()) aliases = json::Array{};
      aliases.get_array().emplace_back(service.name);
      if (!links.empty()) json::at_path(endpoint, {"Links"}) = links;
      const std::string& engine_name = project_.networks.at(key).name;
      if (first.empty() || key == "default") first = engine_name;
      endpoints[engine_name] = std::move(endpoint);
    }
    if (!first.empty()) {
      json::at_path(body, {"HostConfig", "NetworkMode"}) = first;
      json::at_path(body, {"NetworkingConfig", "EndpointsConfig"}) = std::move(endpoints);
    } else if (!service.shares_network_of.empty()) {
      json::at_path(body, {"HostConfig", "NetworkMode"}) = cat("container:", id_of(service.shares_network_of));
    }
    for (const auto& [member, other] : service.shares) json::at_path(body, {"HostConfig", member}) = cat("container:", id_of(other));
    docker_client::Flags flags;
    if (!service.platform.empty()) flags.add("platform", service.platform);
    flags.add("pull", "never");
    TRY_ASSIGN(std::string id, docker_client::create_container(client_, body, name, flags));
    if (!service.files.empty()) TRY(put_files(client_, id, service.files));
    return id;
  }


 private:
  // The service's first container, as it is now; null where it is none of the file.
  const Member* member_of(const std::string& service) const {
    for (const std::vector<Member>* all : {&chosen, &members_})
      for (const Member& m : *all)
        if (m.service == service) return &m;
    return nullptr;
  }
  std::string id_of(const std::string& service) const {
    const Member* m = member_of(service);
    return m == nullptr ? service : m->id;
  }
  std::string name_of(const std::string& service) const {
    const Member* m = member_of(service);
    return m == nullptr ? service : m->name;
  }
  // "db:ro" as its container's id and ":ro"
  std::string volumes_source(std::string_view text) const {
    if (text.starts_with("container:")) return std::string(text.substr(10));
    auto [service, mode] = split_once(text, ':');
    return cat(id_of(std::string(service)), mode ? ":" : "", mode.value_or(""));
  }

  // Until the service it depends on is what the file wants of it. forever: its health check, or its program, decides.
  Result<> await(const Dependency& on) {
    if (on.condition == Condition::kStarted || flags_.on("no-start") || flags_.on("no-deps")) return {};
    bool found = false;
    for (const Member& m : chosen) {
      if (m.service != on.service) continue;
      found = true;
      TRY(await_one(m, on.condition));
    }
    if (!found && on.required) return fail(Code::kFailedPrecondition, cat("dependency ", on.service, " does not run"));
    return {};
  }
  Result<> await_one(const Member& m, Condition condition) {
    if (condition == Condition::kCompleted) {
      TRY_ASSIGN(json::Value ended, client_.post(path_of("containers", m.id, "/wait")));
      std::int64_t code = json::get_int(ended, {"StatusCode"});
      if (code != 0) return fail(Code::kFailedPrecondition, cat("service ", m.service, " didn't complete successfully: exit ", code));
      say(cat("Container ", m.name, "  Exited"));
      return {};
    }
    for (;;) {
      TRY_ASSIGN(json::Value now, client_.get(path_of("containers", m.id, "/json")));
      std::string_view health = json::get_string(now, {"State", "Health", "Status"});
      if (health.empty()) return fail(Code::kFailedPrecondition, cat("container ", m.name, " has no healthcheck configured"));
      if (health == "healthy") break;
      if (health == "unhealthy" || !json::get_bool(now, {"State", "Running"})) return fail(Code::kFailedPrecondition, cat("dependency failed to start: container ", m.name, health == "unhealthy" ? " is unhealthy" : " exited"));
      std::this_thread::sleep_for(kLookAgain);
    }
    say(cat("Container ", m.name, "  Healthy"));
    return {};
  }

 public:
  Result<> await_all() {
    for (const Member& m : chosen) {
      TRY_ASSIGN(json::Value now, client_.get(path_of("containers", m.id, "/json")));
      if (json::get_object(now, {"State", "Health"}) != nullptr) TRY(await_one(m, Condition::kHealthy));
      else if (!json::get_bool(now, {"State", "Running"})) return fail(Code::kFailedPrecondition, cat("container ", m.name, " exited (", json::get_int(now, {"State", "ExitCode"}), ")"));
    }
    return {};
  }

 private:
  EngineClient& client_;
  const docker_client::Flags& flags_;
  const Project& project_;
  std::vector<Member> members_;  // as they were
};

}  // namespace

namespace {

// Whose end is that of up: all but those that others wait for the end of.
Result<std::set<std::string>> find_enders(const Project& project, const std::set<std::string>& chosen, const docker_client::Flags& flags) {
  std::string from = flags.text("exit-code-from");
  if (!from.empty() && !chosen.contains(from)) return fail(Code::kNotFound, cat("no such service: ", from));
  if (from.empty() && !flags.on("abort-on-container-exit")) return std::set<std::string>();
  if (flags.on("detach") || flags.on("wait")) return fail(Code::kInvalidArgument, "--abort-on-container-exit and --exit-code-from are not for the background");
  std::set<std::string> out = chosen;
  for (const std::string& name : chosen)
    for (const Dependency& on : project.services.at(name).dependencies)
      if (on.condition == Condition::kCompleted) out.erase(on.service);
  return out;
}

Result<int> exit_code_of(EngineClient& client, const std::string& id) {
  TRY_ASSIGN(json::Value now, client.get(path_of("containers", id, "/json")));
  return static_cast<int>(json::get_int(now, {"State", "ExitCode"}));
}

// Stops what runs; the code of the service that was asked for, else of the container that ended.
Result<int> end_up(Command& c, const Loaded& loaded, const std::set<std::string>& chosen, const LogsEnd& end) {
  TRY_ASSIGN(std::vector<Member> members, find_members(c.client, loaded.project.name));
  std::erase_if(members, [&](const Member& m) { return !chosen.contains(m.service); });
  std::fprintf(stderr, end.signal != 0 ? "Gracefully stopping... (again: at once)\n" : "Aborting on container exit...\n");
  TRY(stop_members(c.client, members, c.flags.text("timeout")));
  if (end.signal != 0) return 128 + end.signal;
  std::string from = c.flags.text("exit-code-from");
  auto of_service = std::ranges::find(members, from, &Member::service);
  return exit_code_of(c.client, of_service == members.end() ? end.ended : of_service->id);
}

}  // namespace

Result<int> up(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(loaded.project, c.words, loaded.profiles));
  if (c.flags.on("no-deps") && !c.words.empty()) chosen = std::set<std::string>(c.words.begin(), c.words.end());
  TRY_ASSIGN(std::set<std::string> enders, find_enders(loaded.project, chosen, c.flags));
  std::string since = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(RealClock().wall().time_since_epoch()).count());
  Up up(c, loaded.project);
  TRY(up.run(chosen));
  if (c.flags.on("wait")) TRY(up.await_all());
  if (c.flags.on("detach") || c.flags.on("wait") || c.flags.on("no-start")) return 0;
  TRY_ASSIGN(LogsEnd end, show_members_logs(c.client, up.chosen, {.query = "follow=1&since=" + since, .prefix = !c.flags.on("no-log-prefix"), .enders = std::move(enders)}));
  return end.signal == 0 && end.ended.empty() ? Result<int>(0) : end_up(c, loaded, chosen, end);
}

Result<int> create(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(loaded.project, c.words, loaded.profiles));
  docker_client::Flags flags = c.flags;
  flags.add("no-start", "true");
  Command quiet{c.client, flags, c.words};
  TRY(Up(quiet, loaded.project).run(chosen));
  return 0;
}

namespace {

// What run's flags and words make of a service's body.
Result<json::Value> once_body(const Service& service, const Command& c, bool tty) {
  json::Value body(service.body);
  json::Object& out = body.get_object();
  if (c.words.size() > 1) out["Cmd"] = docker::array_of(std::vector<std::string>(c.words.begin() + 1, c.words.end()));
  if (c.flags.has("entrypoint")) {
    TRY_ASSIGN(std::vector<std::string> words, split_command(c.flags.text("entrypoint")));
    out["Entrypoint"] = docker::array_of(words);
    if (c.words.size() < 2) out["Cmd"] = json::Array();
  }
  for (const auto& [flag, member] : {std::pair("user", "User"), {"workdir", "WorkingDir"}})
    if (c.flags.has(flag)) out[member] = c.flags.text(flag);
  std::vector<std::string> env = docker::strings_of(body, {"Env"});
  for (const std::string& line : c.flags.list("env")) docker_client::add_environment(line, env);
  out["Env"] = docker::array_of(env);
  json::Array binds;
  json::Object anonymous;
  for (const std::string& volume : c.flags.list("volume")) TRY(docker_client::add_volume(volume, "", binds, anonymous));
  json::Value& host = json::at_path(body, {"HostConfig"});
  json::Value& all = json::at_path(host, {"Binds"});
  if (!all.is_array()) all = json::Array();
  for (json::Value& bind : binds) all.get_array().push_back(std::move(bind));
  if (!c.flags.on("service-ports")) host.get_object().erase("PortBindings");
  json::Object exposed, bindings;
  for (const std::string& port : c.flags.list("publish")) TRY(docker_client::add_published_port(port, exposed, bindings));
  for (auto& [port, binding] : bindings) json::at_path(host, {"PortBindings", std::string_view(port)}) = binding;
  for (auto& [port, nothing] : exposed) json::at_path(body, {"ExposedPorts", std::string_view(port)}) = nothing;
  host.get_object().erase("RestartPolicy");
  if (c.flags.on("rm")) json::at_path(host, {"AutoRemove"}) = true;
  out["Tty"] = tty;
  bool input = !c.flags.on("detach");
  out["OpenStdin"] = out["StdinOnce"] = out["AttachStdin"] = input;
  out["AttachStdout"] = out["AttachStderr"] = input;
  return body;
}

}  // namespace

Result<int> run_once(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  auto found = loaded.project.services.find(c.words[0]);
  if (found == loaded.project.services.end()) return fail(Code::kNotFound, cat("no such service: ", c.words[0]));
  const Service& service = found->second;
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(loaded.project, {service.name}, loaded.profiles));
  chosen.erase(service.name);
  if (c.flags.on("no-deps")) chosen.clear();
  Up up(c, loaded.project);
  TRY(up.run(chosen, {service.name}));
  TRY(up.await_dependencies(service));
  TRY(ensure_image(c.client, service, c.flags));
  bool tty = !c.flags.on("no-TTY") && !c.flags.on("detach") && ::isatty(0) == 1 && ::isatty(1) == 1;
  TRY_ASSIGN(json::Value body, once_body(service, c, tty));
  std::map<std::string, std::string> labels = labels_of(loaded.project, service, 1, config_hash_of(service));
  labels["com.docker.compose.oneoff"] = "True";
  labels["com.docker.compose.slug"] = SystemRng().uuid().substr(24);
  for (const std::string& text : c.flags.list("label")) {
    auto [key, value] = split_once(text, '=');
    labels[std::string(key)] = value.value_or("");
  }
  TRY_ASSIGN(std::string id, up.create(service, std::move(body), c.flags.text("name", cat(loaded.project.name, "-", service.name, "-run-", labels["com.docker.compose.slug"])), labels));
  if (c.flags.on("detach")) {
    TRY(c.client.post(path_of("containers", id, "/start")));
    std::printf("%s\n", id.c_str());
    return 0;
  }
  docker_client::Flags flags;
  for (const char* name : {"attach", "interactive"}) flags.add(name, "true");
  std::vector<std::string> words{id};
  Command attached{c.client, flags, words};
  return docker_client::start_containers(attached);
}

}  // namespace monopod::compose
