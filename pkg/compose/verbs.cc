#include "compose/verbs.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "codec/yaml.h"
#include "compose/load.h"
#include "docker_client/show.h"
#include "http/query.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::FlagRow;
using docker_client::path_of;
using docker_client::Verb;
using enum FlagRow::Kind;

constexpr FlagRow kGroupFlags[] = {
    {kList, "-f,--file", "The compose file; compose.yaml here or above by default; - for standard input"},
    {kValue, "-p,--project-name", "Name of the project; the file's, or the directory's, by default"},
    {kValue, "--project-directory", "Where relative paths begin; the file's directory by default"},
    {kList, "--profile", "Services of this profile, too"},
    {kList, "--env-file", "Variables, instead of .env"},
};
constexpr FlagRow kUpFlags[] = {
    {kSwitch, "-d,--detach", "In the background"},
    {kSwitch, "--build", "Build images even where they are there"},
    {kSwitch, "--no-build", "Build nothing"},
    {kSwitch, "--force-recreate", "New containers even where nothing has changed"},
    {kSwitch, "--no-recreate", "Keep containers that are there"},
    {kSwitch, "--no-start", "Create, but do not start"},
    {kSwitch, "--no-log-prefix", "Lines without the names of services"},
    {kValue, "--pull", "always, missing or never"},
    {kSwitch, "--remove-orphans", "Remove containers of services that are not in the file"},
    {kList, "--scale", "SERVICE=N containers"},
    {kValue, "-t,--timeout", "Seconds until a container that is stopped is killed"},
    {kSwitch, "--no-deps", "Without what the services depend on"},
    {kSwitch, "--abort-on-container-exit", "Stop all when one ends; its exit code is that of the command"},
    {kValue, "--exit-code-from", "The same, with the exit code of this service"},
    {kSwitch, "--wait", "Until all run and are healthy; in the background"},
};
constexpr FlagRow kDownFlags[] = {
    {kSwitch, "-v,--volumes", "With the volumes of the file"},
    {kSwitch, "--remove-orphans", "With containers of services that are not in the file"},
    {kValue, "-t,--timeout", "Seconds until they are killed"},
    {kValue, "--rmi", "With images: local are those that are built here and have no name in the file, all are all"},
};
constexpr FlagRow kPsFlags[] = {
    {kSwitch, "-a,--all", "Also those that do not run"},
    {kSwitch, "-q,--quiet", "Ids only"},
    {kSwitch, "--services", "Names of services"},
    {kSwitch, "--no-trunc", "Whole commands"},
    {kValue, "--format", "A line for each: {{.Name}} {{.State}}, json, or table {{…}}"},
    {kValue, "-o,--output", "table or json"},
};
constexpr FlagRow kLogsFlags[] = {
    {kSwitch, "-f,--follow", "Go on as they write"},
    {kValue, "-n,--tail", "The last N lines of each"},
    {kValue, "--since", "A time"},
    {kValue, "--until", "A time"},
    {kSwitch, "-t,--timestamps", "With times"},
    {kSwitch, "--no-log-prefix", "Lines without the names of services"},
    {kSwitch, "--no-color", "As it is"},
};
constexpr FlagRow kConfigFlags[] = {
    {kSwitch, "-q,--quiet", "Say only what is wrong"},
    {kSwitch, "--services", "Names of services"},
    {kSwitch, "--volumes", "Names of volumes"},
    {kSwitch, "--images", "Names of images"},
};
constexpr FlagRow kStopFlags[] = {{kValue, "-t,--timeout", "Seconds until they are killed"}};
constexpr FlagRow kCreateFlags[] = {
    {kSwitch, "--build", "Build images even where they are there"},
    {kSwitch, "--no-build", "Build nothing"},
    {kSwitch, "--force-recreate", "New containers even where nothing has changed"},
    {kSwitch, "--no-recreate", "Keep containers that are there"},
    {kValue, "--pull", "always, missing or never"},
    {kSwitch, "--remove-orphans", "Remove containers of services that are not in the file"},
    {kList, "--scale", "SERVICE=N containers"},
};
constexpr FlagRow kRunFlags[] = {
    {kSwitch, "-d,--detach", "In the background; the container's id is printed"},
    {kSwitch, "--build", "Build the image even where it is there"},
    {kValue, "--entrypoint", "Another entrypoint"},
    {kList, "-e,--env", "NAME=value"},
    {kList, "-l,--label", "NAME=value"},
    {kValue, "--name", "Name of the container"},
    {kSwitch, "-T,--no-TTY", "No terminal"},
    {kSwitch, "--no-deps", "Without the services it depends on"},
    {kList, "-p,--publish", "[ADDRESS:][HOST-PORT:]PORT[/udp]"},
    {kValue, "--pull", "always, missing or never"},
    {kSwitch, "--rm", "Remove the container when it ends"},
    {kSwitch, "-P,--service-ports", "Publish the service's ports"},
    {kValue, "-u,--user", "User, or user:group"},
    {kList, "-v,--volume", "SOURCE:/target[:ro]"},
    {kValue, "-w,--workdir", "Directory to run in"},
};
constexpr FlagRow kExecFlags[] = {
    {kSwitch, "-d,--detach", "In the background"},
    {kList, "-e,--env", "NAME=value"},
    {kValue, "--index", "The service's container of this number"},
    {kSwitch, "-T,--no-TTY", "No terminal"},
    {kSwitch, "--privileged", "With all capabilities"},
    {kValue, "-u,--user", "User, or user:group"},
    {kValue, "-w,--workdir", "Directory to run in"},
};
constexpr FlagRow kBuildFlags[] = {{kList, "--build-arg", "NAME=value, or NAME for our own value"}, {kSwitch, "--no-cache", "Every step anew"}, {kSwitch, "--pull", "Fetch base images anew"}};
constexpr FlagRow kPullFlags[] = {{kSwitch, "--ignore-pull-failures", "Go on where an image is not to be had"}, {kSwitch, "-q,--quiet", "No progress"}};
constexpr FlagRow kKillFlags[] = {{kValue, "-s,--signal", "Signal instead of SIGKILL"}};
constexpr FlagRow kRmFlags[] = {{kSwitch, "-f,--force", "Do not ask"}, {kSwitch, "-s,--stop", "Stop them first"}, {kSwitch, "-v,--volumes", "With their anonymous volumes"}};
constexpr FlagRow kIndexFlags[] = {{kValue, "--index", "The service's container of this number"}};
constexpr FlagRow kPortFlags[] = {{kValue, "--index", "The service's container of this number"}, {kValue, "--protocol", "tcp or udp"}};
constexpr FlagRow kListFlags[] = {{kSwitch, "-q,--quiet", "Names, or ids, only"}, {kValue, "--format", "table, json or a template"}, {kValue, "-o,--output", "table or json"}};
constexpr FlagRow kProjectFlags[] = {{kSwitch, "-a,--all", "Also those of which nothing runs"}, {kSwitch, "-q,--quiet", "Names only"}, {kValue, "--format", "table, json or a template"}, {kValue, "-o,--output", "table or json"}};
constexpr FlagRow kStatsFlags[] = {{kSwitch, "--no-stream", "Once"}, {kValue, "--format", "table, json or a template"}, {kValue, "-o,--output", "table or json"}};
constexpr FlagRow kEventsFlags[] = {{kValue, "--since", "A time"}, {kValue, "--until", "A time"}, {kValue, "-o,--output", "json for a line each"}};

// Networks or volumes that carry the project's label.
Result<std::vector<std::string>> labelled(docker_client::EngineClient& client, const char* kind, const std::string& project) {
  TRY_ASSIGN(std::string filters, docker_client::encode_filters({"label=com.docker.compose.project=" + project}));
  TRY_ASSIGN(json::Value answer, client.get(cat("/", kind, "?filters=", filters)));
  const json::Array* list = answer.is_array() ? &answer.get_array() : json::get_array(answer, {"Volumes"});
  std::vector<std::string> out;
  if (list != nullptr)
    for (const json::Value& item : *list) out.emplace_back(json::get_string(item, {"Name"}));
  return out;
}

// which: "", local or all.
Result<std::vector<Change>> images_to_remove(const Project& project, std::string_view which) {
  std::vector<Change> out;
  if (which.empty()) return out;
  if (which != "local" && which != "all") return fail(Code::kInvalidArgument, cat("--rmi ", which, ": want local or all"));
  for (const auto& [name, service] : project.services) {
    std::string image(json::get_string(json::Value(service.body), {"Image"}));
    bool own = service.build && image == cat(project.name, "-", name);
    if (own || which == "all") out.push_back({"DELETE", path_of("images", image), cat("Image ", image, "  Removed")});
  }
  return out;
}

Result<int> down(Command& c) {
  std::string project;
  std::set<std::string> services;
  std::vector<Change> images;
  bool by_name = c.flags.has("project-name") && !c.flags.has("file");
  if (auto loaded = load_project(c.flags)) {
    project = loaded->project.name;
    for (const auto& [name, service] : loaded->project.services) services.insert(name);
    TRY_ASSIGN(images, images_to_remove(loaded->project, c.flags.text("rmi")));
  } else if (by_name) {
    TRY_ASSIGN(project, load_name(c.flags));
  } else {
    return fail(loaded.error());
  }
  TRY_ASSIGN(std::vector<Member> members, find_members(c.client, project, true, true));
  if (!services.empty() && !c.flags.on("remove-orphans")) std::erase_if(members, [&](const Member& m) { return !services.contains(m.service); });
  TRY(stop_members(c.client, members, c.flags.text("timeout")));
  TRY(remove_members(c.client, members, true));
  std::vector<Change> changes;
  TRY_ASSIGN(std::vector<std::string> networks, labelled(c.client, "networks", project));
  for (const std::string& name : networks) changes.push_back({"DELETE", path_of("networks", name), cat("Network ", name, "  Removed")});
  if (c.flags.on("volumes")) {
    TRY_ASSIGN(std::vector<std::string> volumes, labelled(c.client, "volumes", project));
    for (const std::string& name : volumes) changes.push_back({"DELETE", path_of("volumes", name), cat("Volume ", name, "  Removed")});
  }
  changes.insert(changes.end(), images.begin(), images.end());
  TRY(change_all(c.client, std::move(changes)));
  return 0;
}

Result<int> ps(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c, c.flags.on("all")));
  if (c.flags.on("services")) {
    std::set<std::string> names;
    for (const Member& m : members) names.insert(m.service);
    for (const std::string& name : names) std::printf("%s\n", name.c_str());
    return 0;
  }
  docker_client::Listing listing{{{"Name"}, {"Image"}, {"Command"}, {"Service"}, {"RunningFor", "CREATED"}, {"Status"}, {"Ports"}}, "ID"};
  json::Array raw;
  for (Member& m : members) {
    WallTime created(std::chrono::seconds(json::get_int(m.summary, {"Created"})));
    const json::Array* ports = json::get_array(m.summary, {"Ports"});
    std::string command(json::get_string(m.summary, {"Command"}));
    listing.rows.push_back(json::Object{{"ID", m.id}, {"Name", m.name}, {"Service", m.service}, {"State", m.state}, {"Status", json::get_string(m.summary, {"Status"})}, {"Image", json::get_string(m.summary, {"Image"})},
                                        {"Command", cat("\"", c.flags.on("no-trunc") ? command : docker_client::cut(command, 20), "\"")}, {"RunningFor", cat(docker_client::format_age_words(RealClock().wall() - created), " ago")},
                                        {"Ports", ports == nullptr ? "" : docker_client::format_ports(*ports)}});
    raw.push_back(std::move(m.summary));
  }
  listing.raw = std::move(raw);
  TRY(docker_client::print(listing, c.flags));
  return 0;
}

Result<int> logs(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  http::Query query;
  for (const char* name : {"tail", "since", "until"})
    if (c.flags.has(name)) query.add(name, c.flags.text(name));
  if (c.flags.on("follow")) query.add("follow", "1");
  if (c.flags.on("timestamps")) query.add("timestamps", "1");
  TRY_ASSIGN(LogsEnd end, show_members_logs(c.client, members, {.query = query.format(), .prefix = !c.flags.on("no-log-prefix")}));
  return end.signal == 0 ? 0 : 128 + end.signal;
}

Result<int> config(Command& c) {
  TRY_ASSIGN(Loaded loaded, load_project(c.flags));
  const Project& p = loaded.project;
  TRY_ASSIGN(std::set<std::string> chosen, choose_services(p, c.words, loaded.profiles));
  if (c.flags.on("quiet")) return 0;
  if (c.flags.on("services") || c.flags.on("images")) {
    for (const std::string& name : chosen) std::printf("%s\n", c.flags.on("services") ? name.c_str() : std::string(json::get_string(json::Value(p.services.at(name).body), {"Image"})).c_str());
    return 0;
  }
  if (c.flags.on("volumes")) {
    for (const auto& [key, volume] : p.volumes) std::printf("%s\n", key.c_str());
    return 0;
  }
  loaded.tree.get_object()["name"] = p.name;
  std::fputs(yaml::format(loaded.tree).c_str(), stdout);
  return 0;
}

Result<int> stop(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  TRY(stop_members(c.client, members, c.flags.text("timeout")));
  return 0;
}

Result<int> start(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  auto steps = in_steps(std::move(members));
  for (std::size_t i = steps.size(); i-- > 0;)
    for (const Member& m : steps[i]) {
      TRY(c.client.post(path_of("containers", m.id, "/start")));
      say(cat("Container ", m.name, "  Started"));
    }
  return 0;
}

Result<int> restart(Command& c) {
  TRY(stop(c));
  return start(c);
}

}  // namespace

std::span<const FlagRow> compose_flags() { return kGroupFlags; }

std::span<const Verb> compose_verbs() {
  static constexpr Verb kVerbs[] = {
      {"up", nullptr, "[SERVICE...]", "Make and start what the file describes; what has changed is made anew", {kUpFlags}, 0, 1'000'000, false, up},
      {"down", nullptr, "", "Stop and remove containers and networks", {kDownFlags}, 0, 0, false, down},
      {"ps", nullptr, "[SERVICE...]", "List containers", {kPsFlags}, 0, 1'000'000, false, ps},
      {"logs", nullptr, "[SERVICE...]", "Show what containers wrote", {kLogsFlags}, 0, 1'000'000, false, logs},
      {"config", "convert", "[SERVICE...]", "Check the file and print it with its variables filled in", {kConfigFlags}, 0, 1'000'000, false, config, 1, false},
      {"create", nullptr, "[SERVICE...]", "Make what the file describes, without starting it", {kCreateFlags}, 0, 1'000'000, false, create},
      {"run", nullptr, "SERVICE [COMMAND...]", "Run a command in a new container of a service", {kRunFlags}, 1, 1'000'000, true, run_once, 125},
      {"exec", nullptr, "SERVICE COMMAND...", "Run a command in a service's container", {kExecFlags}, 2, 1'000'000, true, exec},
      {"attach", nullptr, "SERVICE", "Connect this terminal to a service's program", {kIndexFlags}, 1, 1, false, attach},
      {"build", nullptr, "[SERVICE...]", "Build images", {kBuildFlags}, 0, 1'000'000, false, build},
      {"pull", nullptr, "[SERVICE...]", "Fetch images from their registries", {kPullFlags}, 0, 1'000'000, false, pull},
      {"push", nullptr, "[SERVICE...]", "Send images that are built here to their registries", {}, 0, 1'000'000, false, push},
      {"images", nullptr, "[SERVICE...]", "List images of containers", {kListFlags}, 0, 1'000'000, false, images},
      {"stop", nullptr, "[SERVICE...]", "Stop containers", {kStopFlags}, 0, 1'000'000, false, stop},
      {"start", nullptr, "[SERVICE...]", "Start containers that were stopped", {}, 0, 1'000'000, false, start},
      {"restart", nullptr, "[SERVICE...]", "Stop and start containers", {kStopFlags}, 0, 1'000'000, false, restart},
      {"kill", nullptr, "[SERVICE...]", "Send a signal to containers", {kKillFlags}, 0, 1'000'000, false, kill},
      {"rm", nullptr, "[SERVICE...]", "Remove containers that do not run", {kRmFlags}, 0, 1'000'000, false, remove},
      {"pause", nullptr, "[SERVICE...]", "Freeze all processes of containers", {}, 0, 1'000'000, false, pause},
      {"unpause", nullptr, "[SERVICE...]", "Let frozen containers go on", {}, 0, 1'000'000, false, unpause},
      {"wait", nullptr, "SERVICE...", "Wait until containers end, and print their exit codes", {}, 1, 1'000'000, false, wait},
      {"top", nullptr, "[SERVICE...]", "Show processes", {}, 0, 1'000'000, false, top},
      {"stats", nullptr, "[SERVICE...]", "Show what containers use, live", {kStatsFlags}, 0, 1'000'000, false, stats},
      {"events", nullptr, "", "Show what happens, as it happens", {kEventsFlags}, 0, 0, false, events},
      {"port", nullptr, "SERVICE PORT", "Show where a port is published", {kPortFlags}, 2, 2, false, port},
      {"cp", nullptr, "SERVICE:PATH PATH | PATH SERVICE:PATH", "Copy files", {kIndexFlags}, 2, 2, false, copy},
      {"ls", "list", "", "List projects", {kProjectFlags}, 0, 0, false, list_projects},
  };
  return kVerbs;
}

}  // namespace monopod::compose
