// Private: the project of a command line, and what an engine has of it.
#pragma once

#include "compose/project.h"
#include "docker_client/verbs.h"

namespace monopod::compose {

struct Loaded {
  json::Value tree;
  Project project;
  std::set<std::string> profiles;
};
// The files that --file or COMPOSE_FILE name; else the first of compose.yaml, compose.yml, docker-compose.yaml, docker-compose.yml here or above, and
// the override file beside it. kNotFound where there is none.
Result<Loaded> load_project(const docker_client::Flags& flags);
// Without a file where --project-name says all that is asked.
Result<std::string> load_name(const docker_client::Flags& flags);

struct Member {
  std::string id, name, service, hash, image_id, state, depends_on;
  int number = 1;
  json::Value summary;  // of GET /containers/json
};
// The project's containers, by service and number; those of run only where once is asked.
Result<std::vector<Member>> find_members(docker_client::EngineClient& client, const std::string& project, bool all = true, bool once = false);
// Of the words' services, all where there are none. kNotFound names a service without a container.
Result<std::vector<Member>> members_of(docker_client::Command& command, bool all = true);

// One POST or DELETE each, side by side; the first error is returned when all have ended. Missing ones are no error.
struct Change {
  std::string method, target, done;  // done: what is said of it: "Container web-1  Stopped"
};
Result<> change_all(docker_client::EngineClient& client, std::vector<Change> changes);
// " Container web-1  Started" on standard error.
void say(std::string_view what);

// Follows or prints the members' logs, each line with its service before it, until all have ended, or one of enders. A signal ends it.
struct LogsOptions {
  std::string query;      // of GET /containers/ID/logs, "follow=1&tail=10"
  bool prefix = true;
  std::set<std::string> enders{};  // services: the end of a container of theirs is the end
};
struct LogsEnd {
  int signal = 0;     // the one that ended it
  std::string ended;  // id of the container that did
};
Result<LogsEnd> show_members_logs(docker_client::EngineClient& client, const std::vector<Member>& members, LogsOptions options);

// Steps of members, those that others depend on last.
std::vector<std::vector<Member>> in_steps(std::vector<Member> left);
// Last to first: those that depend on others before them.
Result<> stop_members(docker_client::EngineClient& client, const std::vector<Member>& members, const std::string& timeout);
Result<> remove_members(docker_client::EngineClient& client, const std::vector<Member>& members, bool volumes);

// The id of a service's image, which is built or pulled where the flags (build, no-build, pull) and the file want it.
Result<std::string> ensure_image(docker_client::EngineClient& client, const Service& service, const docker_client::Flags& flags);

// Commands: up.cc
Result<int> up(docker_client::Command& command);
Result<int> create(docker_client::Command& command);
Result<int> run_once(docker_client::Command& command);
// images.cc
Result<int> build(docker_client::Command& command);
Result<int> pull(docker_client::Command& command);
Result<int> push(docker_client::Command& command);
Result<int> images(docker_client::Command& command);
// on_members.cc
Result<int> attach(docker_client::Command& command);
Result<int> copy(docker_client::Command& command);
Result<int> events(docker_client::Command& command);
Result<int> exec(docker_client::Command& command);
Result<int> kill(docker_client::Command& command);
Result<int> list_projects(docker_client::Command& command);
Result<int> pause(docker_client::Command& command);
Result<int> port(docker_client::Command& command);
Result<int> remove(docker_client::Command& command);
Result<int> stats(docker_client::Command& command);
Result<int> top(docker_client::Command& command);
Result<int> unpause(docker_client::Command& command);
Result<int> wait(docker_client::Command& command);

}  // namespace monopod::compose
