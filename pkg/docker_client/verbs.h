// The commands of `monopod container`, `network` and `volume`: what each takes, and what it does with an engine. Who parses the command line walks
// these tables.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "docker_client/engine_client.h"
#include "docker_client/flags.h"

namespace monopod::docker_client {

struct Command {
  EngineClient& client;
  const Flags& flags;
  const std::vector<std::string>& words;  // what is no flag
};

struct FlagRow {
  enum Kind { kSwitch, kValue, kList };
  Kind kind;
  const char* names;  // "-e,--env"
  const char* help;
};

struct Verb {
  const char* name;
  const char* alias;  // or null
  const char* usage;  // of the words: "CONTAINER..."
  const char* summary;
  std::array<std::span<const FlagRow>, 2> flags{};
  int words_min = 0;
  int words_max = 1'000'000;
  bool rest_is_command = false;  // flags end at the first word
  Result<int> (*run)(Command& command) = nullptr;  // the exit code
  int error_code = 1;  // of an error of ours, as docker has it
  bool needs_engine = true;
};

std::span<const Verb> container_verbs();
std::span<const Verb> network_verbs();
std::span<const Verb> volume_verbs();

// Each word on its own: what worked is printed, what failed is an error line and exit code 1.
Result<int> for_each_word(Command& command, const std::function<Result<>(const std::string& word)>& run);
void print_error(const Error& error);
// Asks on a terminal unless --force was said; true: go on.
bool confirmed(const Flags& flags, const char* question);
// {"label":["a=b"]} of --filter a=b, encoded for a query.
Result<std::string> encode_filters(const std::vector<std::string>& filters);

// Pulls with what docker's and podman's logins know; progress on standard error, quiet or not.
Result<> pull_image(EngineClient& client, const std::string& name, const std::string& platform, bool quiet);
// A pull or push of the image named: POST, with its registry's login, and progress on standard error.
Result<> show_transfer(EngineClient& client, std::string target, const std::string& name, bool quiet);
// Creates a container; pulls its image where it is missing and --pull allows it. Returns its id.
Result<std::string> create_container(EngineClient& client, const json::Value& body, const std::string& name, const Flags& flags);
// 125, 126 or 127: why a container did not start.
int exit_code_of_start(const Error& error);

Result<int> run_container(Command& command);
Result<int> create_only(Command& command);
Result<int> start_containers(Command& command);
Result<int> attach_container(Command& command);
Result<int> exec_container(Command& command);
Result<int> list_containers(Command& command);
Result<int> show_logs(Command& command);
Result<int> show_stats(Command& command);
Result<int> show_events(Command& command);
Result<int> inspect_objects(Command& command, const char* kind);
Result<int> copy_files(Command& command);
Result<int> export_container(Command& command);

}  // namespace monopod::docker_client
