// A compose file as what it asks for: bodies of Engine API requests, and the order of things. The subset is in README.md; a key that is not of it is
// refused by name. Pure, but for the files that are read through Sources.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "compose/interpolate.h"

namespace monopod::compose {

struct Build {
  std::string context;  // absolute
  std::string dockerfile = "Dockerfile";
  std::string inline_dockerfile{};  // instead of a file
  std::string target{}, network{};
  std::vector<std::string> tags{};  // besides the service's image
  std::map<std::string, std::string> arguments{}, labels{};
  bool no_cache = false;
  bool pull = false;
};

enum class Condition { kStarted, kHealthy, kCompleted };
struct Dependency {
  std::string service;
  Condition condition = Condition::kStarted;
  bool required = true;
};

// A file of the compose file's own, or of a variable: put into the container before it starts.
struct OwnFile {
  std::string target;  // absolute
  std::string content;
  std::uint32_t mode = 0444, uid = 0, gid = 0;
};

struct Service {
  std::string name;
  json::Object body{};                  // of POST /containers/create, without labels of ours
  std::optional<Build> build{};
  std::vector<Dependency> dependencies{};
  std::vector<std::string> profiles{};
  std::string container_name{};
  int replicas = 1;
  std::string pull_policy = "missing";  // always, never, missing or build
  std::string platform{};
  std::map<std::string, json::Object> networks{};  // key of the file -> endpoint settings; empty with a network_mode
  std::string shares_network_of{};                 // the service of network_mode: service:NAME
  std::map<std::string, std::string> shares;         // PidMode, IpcMode: the service of service:NAME
  std::set<std::string> volumes{};                 // keys of the file
  std::vector<OwnFile> files{};
  std::vector<std::pair<std::string, std::string>> links{};  // a service, or a container where it is none of the file; and its name here
  std::vector<std::string> volumes_from{};                   // "SERVICE[:ro]" or "container:NAME[:ro]"
};

struct Network {
  std::string name;          // the engine's
  bool external = false;
  json::Object body{};       // of POST /networks/create
};
struct Volume {
  std::string name;
  bool external = false;
  json::Object body{};       // of POST /volumes/create
};

struct Project {
  std::string name;
  std::string directory;
  std::string file;
  std::map<std::string, Service> services{};
  std::map<std::string, Network> networks{};
  std::map<std::string, Volume> volumes{};
};

struct Sources {
  FindVariable variable;                                             // environment over .env
  std::function<Result<std::string>(const std::string&)> read_file;  // absolute paths
};

struct ProjectOptions {
  std::string name{};       // wins over the file's; empty: the file's, else the directory's
  std::string directory;    // what relative paths start from, absolute
  std::string file{};       // or several, with commas between; for labels
};

// The file's tree with its variables filled in. kInvalidArgument.
Result<json::Value> read_tree(std::string_view text, const Sources& sources);
// kInvalidArgument "services.web.ports: ..." for what is wrong, kUnimplemented "services.web: key \"gpus\" is not supported" for what we lack.
Result<Project> read_project(const json::Value& tree, const ProjectOptions& options, const Sources& sources);

// Those that the profiles and names choose, with all they depend on. kNotFound for a name that is not there.
Result<std::set<std::string>> choose_services(const Project& project, const std::vector<std::string>& names, const std::set<std::string>& profiles);
// In the order of their dependencies, those that may go side by side in one step. kInvalidArgument names a circle.
Result<std::vector<std::vector<std::string>>> order_services(const Project& project, const std::set<std::string>& chosen);

// Of a directory: lowercase letters, digits, - and _; kInvalidArgument where nothing is left.
Result<std::string> project_name_of(std::string_view directory);

// The labels that docker compose's tools look for.
std::map<std::string, std::string> labels_of(const Project& project, const Service& service, int number, const std::string& config_hash);
// Over what makes a container of the service: another hash, another container.
std::string config_hash_of(const Service& service);

// Words of a shell line: quotes and backslashes, no variables.
Result<std::vector<std::string>> split_command(std::string_view text);

}  // namespace monopod::compose
