// up: what the file asks for becomes what the engine has.
#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/strings.h"
#include "compose/load.h"
#include "docker/call.h"
#include "docker_client/transfer.h"
#include "http/query.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::EngineClient;
using docker_client::path_of;

constexpr std::chrono::milliseconds kLookAgain{200};

Result<> build_image(EngineClient& client, const std::string& image, const Build& build) {
  http::Query query;
  query.add("t", image);
  query.add("dockerfile", build.dockerfile);
  if (!build.target.empty()) query.add("target", build.target);
  if (!build.arguments.empty()) query.add("buildargs", json::format(docker::object_of(build.arguments)));
  if (!build.labels.empty()) query.add("labels", json::format(docker::object_of(build.labels)));
  if (build.no_cache) query.add("nocache", "1");
  say(cat("Image ", image, "  Building"));
  TRY_ASSIGN(std::string answer, docker_client::upload_tree(client, "POST", "/build?" + query.format(), build.context, "/", "."));
  TRY_ASSIGN(std::vector<json::Value> lines, docker_client::take_documents(answer));
  for (const json::Value& line : lines) {
    std::fputs(std::string(json::get_string(line, {"stream"})).c_str(), stderr);
    if (std::string_view error = json::get_string(line, {"error"}); !error.empty()) return fail(Code::kUnknown, cat("build ", image, ": ", error));
  }
  say(cat("Image ", image, "  Built"));
  return {};
}

class Up {
 public:
  Up(Command& command, const Project& project) : client_(command.client), flags_(command.flags), project_(project) {}

  Result<> run(const std::set<std::string>& services) {
    TRY_ASSIGN(auto steps, order_services(project_, services));
    TRY(make_networks(services));
    TRY(make_volumes(services));
    TRY_ASSIGN(members_, find_members(client_, project_.name));
    TRY(look_at_orphans());
    for (const auto& step : steps)
      for (const std::string& name : step) {
        auto done = bring_up(project_.services.at(name));
        if (!done) return fail(std::move(done).error().with(name));
      }
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
    for (const Dependency& on : service.dependencies) TRY(await(on));
    std::string image(json::get_string(json::Value(service.body), {"Image"}));
    auto there = client_.get(path_of("images", image, "/json"));
    bool build = service.build && !flags_.on("no-build") && (!there || flags_.on("build") || service.pull_policy == "build");
    if (build) TRY(build_image(client_, image, *service.build));
    else if (service.pull_policy == "always" || flags_.text("pull") == "always") TRY(docker_client::pull_image(client_, image, service.platform, false));
    else if (!there && service.pull_policy != "never" && flags_.text("pull") != "never") TRY(docker_client::pull_image(client_, image, service.platform, false));
    there = client_.get(path_of("images", image, "/json"));
    if (!there) return fail(there.error());
    std::string image_id(json::get_string(*there, {"Id"}));
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

  Result<std::string> create(const Service& service, int number, const std::string& name, const std::string& hash) {
    json::Value body(service.body);
    for (const auto& [key, value] : labels_of(project_, service, number, hash)) json::at_path(body, {"Labels", key}) = value;
    json::Object endpoints;
    std::string first;
    for (const auto& [key, settings] : service.networks) {
      json::Value endpoint(settings);
      json::Value& aliases = json::at_path(endpoint, {"Aliases"});
      if (!aliases.is_array()) aliases = json::Array{};
      aliases.get_array().emplace_back(service.name);
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
    docker_client::Flags flags;
    if (!service.platform.empty()) flags.add("platform", service.platform);
    flags.add("pull", "never");
    return docker_client::create_container(client_, body, name, flags);
  }

  std::string id_of(const std::string& service) const {
    for (const Member& m : chosen)
      if (m.service == service) return m.id;
    for (const Member& m : members_)
      if (m.service == service) return m.id;
    return service;
  }

  // Until the service it depends on is what the file wants of it. forever: its health check, or its program, decides.
  Result<> await(const Dependency& on) {
    if (on.condition == Condition::kStarted || flags_.on("no-start")) return {};
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

Result<int> up(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(loaded.project, c.words, loaded.profiles));
  std::string since = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(RealClock().wall().time_since_epoch()).count());
  Up up(c, loaded.project);
  TRY(up.run(chosen));
  if (c.flags.on("wait")) TRY(up.await_all());
  if (c.flags.on("detach") || c.flags.on("wait") || c.flags.on("no-start")) return 0;
  TRY_ASSIGN(int signal, show_members_logs(c.client, up.chosen, {.query = "follow=1&since=" + since, .prefix = !c.flags.on("no-log-prefix")}));
  if (signal == 0) return 0;
  std::fprintf(stderr, "Gracefully stopping... (again: at once)\n");
  TRY_ASSIGN(std::vector<Member> members, find_members(c.client, loaded.project.name));
  std::erase_if(members, [&](const Member& m) { return !chosen.contains(m.service); });
  TRY(stop_members(c.client, members, c.flags.text("timeout")));
  return 128 + signal;
}

}  // namespace monopod::compose
