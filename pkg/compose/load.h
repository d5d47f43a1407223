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
// The file that --file names, or the first of compose.yaml, compose.yml, docker-compose.yaml, docker-compose.yml here or above. kNotFound where there
// is none.
Result<Loaded> load_project(const docker_client::Flags& flags);
// Without a file where --project-name says all that is asked.
Result<std::string> load_name(const docker_client::Flags& flags);

struct Member {
  std::string id, name, service, hash, image_id, state, depends_on;
  int number = 1;
  json::Value summary;  // of GET /containers/json
};
// The project's containers, by service and number.
Result<std::vector<Member>> find_members(docker_client::EngineClient& client, const std::string& project, bool all = true);

// One POST or DELETE each, side by side; the first error is returned when all have ended. Missing ones are no error.
struct Change {
  std::string method, target, done;  // done: what is said of it: "Container web-1  Stopped"
};
Result<> change_all(docker_client::EngineClient& client, std::vector<Change> changes);
// " Container web-1  Started" on standard error.
void say(std::string_view what);

// Follows or prints the members' logs, each line with its service before it, until all have ended or, if any_ends, one. A signal ends it: its number.
struct LogsOptions {
  std::string query;      // of GET /containers/ID/logs, "follow=1&tail=10"
  bool prefix = true;
};
Result<int> show_members_logs(docker_client::EngineClient& client, const std::vector<Member>& members, LogsOptions options);

// Steps of members, those that others depend on last.
std::vector<std::vector<Member>> in_steps(std::vector<Member> left);
// Last to first: those that depend on others before them.
Result<> stop_members(docker_client::EngineClient& client, const std::vector<Member>& members, const std::string& timeout);
Result<> remove_members(docker_client::EngineClient& client, const std::vector<Member>& members, bool volumes);

Result<int> up(docker_client::Command& command);

}  // namespace monopod::compose
