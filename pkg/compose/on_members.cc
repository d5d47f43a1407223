// Commands on containers of services, by the commands that do the same to a container.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/strings.h"
#include "compose/load.h"
#include "docker/call.h"
#include "docker_client/show.h"

namespace monopod::compose {
namespace {

using docker_client::Command;
using docker_client::Flags;
using docker_client::path_of;

// What `monopod container NAME` does, with some of our flags.
Result<int> as_container(Command& c, std::string_view name, const std::vector<std::string>& words, Flags flags = {}, std::initializer_list<const char*> passed = {}) {
  for (const char* flag : passed)
    for (const std::string& value : c.flags.list(flag)) flags.add(flag, value);
  Command command{c.client, flags, words};
  auto verb = std::ranges::find(docker_client::container_verbs(), name, &docker_client::Verb::name);
  return verb->run(command);
}

// The service's container that runs, of --index where that is said.
Result<Member> running_member(Command& c, const std::string& service) {
  std::vector<std::string> words{service};
  Command one{c.client, c.flags, words};
  TRY_ASSIGN(std::vector<Member> members, members_of(one));
  for (Member& m : members)
    if (c.flags.has("index") ? std::to_string(m.number) == c.flags.text("index") : m.state == "running") return std::move(m);
  return fail(Code::kFailedPrecondition, c.flags.has("index") ? cat("service ", service, " has no container of number ", c.flags.text("index")) : cat("service ", service, " is not running"));
}

std::vector<std::string> ids_of(const std::vector<Member>& members) {
  std::vector<std::string> out;
  for (const Member& m : members) out.push_back(m.id);
  return out;
}

Result<int> change(Command& c, const char* verb, const char* done, bool (*takes)(const Member&), const std::string& query = "") {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  std::vector<Change> changes;
  for (const Member& m : members)
    if (takes(m)) changes.push_back({"POST", path_of("containers", m.id, cat("/", verb, query)), cat("Container ", m.name, "  ", done)});
  TRY(change_all(c.client, std::move(changes)));
  return 0;
}

}  // namespace

Result<std::vector<Member>> members_of(Command& c, bool all) {
  TRY_ASSIGN(std::string name, load_name(c.flags));
  TRY_ASSIGN(std::vector<Member> members, find_members(c.client, name, all));
  for (const std::string& word : c.words)
    if (std::ranges::find(members, word, &Member::service) == members.end()) return fail(Code::kNotFound, cat("no container of service ", word, ": monopod compose ps -a shows what is there"));
  if (!c.words.empty()) std::erase_if(members, [&](const Member& m) { return std::ranges::find(c.words, m.service) == c.words.end(); });
  return members;
}

Result<int> exec(Command& c) {
  TRY_ASSIGN(Member m, running_member(c, c.words[0]));
  std::vector<std::string> words = c.words;
  words[0] = m.id;
  Flags flags;
  if (!c.flags.on("no-TTY") && !c.flags.on("detach") && ::isatty(0) == 1 && ::isatty(1) == 1) flags.add("tty", "true");
  flags.add("interactive", "true");
  return as_container(c, "exec", words, std::move(flags), {"detach", "env", "privileged", "user", "workdir"});
}

Result<int> attach(Command& c) {
  TRY_ASSIGN(Member m, running_member(c, c.words[0]));
  return as_container(c, "attach", {m.id});
}

Result<int> copy(Command& c) {
  std::vector<std::string> words = c.words;
  for (std::string& word : words) {
    auto [service, path] = split_once(word, ':');
    if (!path || service.empty() || service.find('/') != std::string::npos) continue;
    std::vector<std::string> one{std::string(service)};
    Command of{c.client, c.flags, one};
    TRY_ASSIGN(std::vector<Member> members, members_of(of));
    if (c.flags.has("index")) std::erase_if(members, [&](const Member& m) { return std::to_string(m.number) != c.flags.text("index"); });
    if (members.empty()) return fail(Code::kNotFound, cat("service ", service, " has no container of number ", c.flags.text("index")));
    word = cat(members[0].id, ":", *path);
  }
  return as_container(c, "cp", words);
}

Result<int> kill(Command& c) {
  std::string signal = c.flags.text("signal", "SIGKILL");
  return change(c, "kill", "Killed", [](const Member& m) { return m.state == "running" || m.state == "paused"; }, cat("?signal=", signal));
}
Result<int> pause(Command& c) {
  return change(c, "pause", "Paused", [](const Member& m) { return m.state == "running"; });
}
Result<int> unpause(Command& c) {
  return change(c, "unpause", "Unpaused", [](const Member& m) { return m.state == "paused"; });
}

Result<int> remove(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  if (c.flags.on("stop")) TRY(stop_members(c.client, members, ""));
  else std::erase_if(members, [](const Member& m) { return m.state == "running" || m.state == "paused" || m.state == "restarting"; });
  if (members.empty()) {
    std::fprintf(stderr, "No stopped containers\n");
    return 0;
  }
  std::string question = "This removes";
  for (const Member& m : members) question += " " + m.name;
  if (!docker_client::confirmed(c.flags, (question + ". Go on?").c_str())) return 0;
  TRY(remove_members(c.client, members, c.flags.on("volumes")));
  return 0;
}

Result<int> wait(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c));
  return as_container(c, "wait", ids_of(members));
}

Result<int> top(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c, false));
  for (const Member& m : members) {
    std::printf("%s\n", m.name.c_str());
    TRY(as_container(c, "top", {m.id}));
    std::printf("\n");
  }
  return 0;
}

Result<int> stats(Command& c) {
  TRY_ASSIGN(std::vector<Member> members, members_of(c, false));
  if (members.empty()) return fail(Code::kFailedPrecondition, "nothing of the project runs");
  return as_container(c, "stats", ids_of(members), {}, {"no-stream", "format", "output"});
}

Result<int> events(Command& c) {
  TRY_ASSIGN(std::string name, load_name(c.flags));
  Flags flags;
  flags.add("filter", "label=com.docker.compose.project=" + name);
  return as_container(c, "events", {}, std::move(flags), {"since", "until", "output"});
}

Result<int> port(Command& c) {
  TRY_ASSIGN(Member m, running_member(c, c.words[0]));
  std::string wanted = c.words[1].find('/') == std::string::npos ? cat(c.words[1], "/", c.flags.text("protocol", "tcp")) : c.words[1];
  return as_container(c, "port", {m.id, wanted});
}

Result<int> list_projects(Command& c) {
  TRY_ASSIGN(std::string filters, docker_client::encode_filters({"label=com.docker.compose.project"}));
  TRY_ASSIGN(json::Value answer, c.client.get(cat("/containers/json?all=1&filters=", filters)));
  struct Project {
    std::map<std::string, int> states;
    std::string files;
  };
  std::map<std::string, Project> projects;
  if (answer.is_array())
    for (const json::Value& one : answer.get_array()) {
      Project& project = projects[std::string(json::get_string(one, {"Labels", "com.docker.compose.project"}))];
      ++project.states[std::string(json::get_string(one, {"State"}))];
      project.files = json::get_string(one, {"Labels", "com.docker.compose.project.config_files"});
    }
  docker_client::Listing listing{{{"Name"}, {"Status"}, {"ConfigFiles", "CONFIG FILES"}}, "Name"};
  for (const auto& [name, project] : projects) {
    if (!c.flags.on("all") && !project.states.contains("running")) continue;
    std::vector<std::string> states;
    for (const auto& [state, count] : project.states) states.push_back(cat(state, "(", count, ")"));
    listing.rows.emplace_back(json::Object{{"Name", name}, {"Status", join(states, ", ")}, {"ConfigFiles", project.files}});
  }
  TRY(docker_client::print(listing, c.flags));
  return 0;
}

}  // namespace monopod::compose
