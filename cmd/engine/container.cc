// `monopod container`, `network`, `volume`, `compose`: the tables of docker_client and compose as command lines.
#include <algorithm>

#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/engine/engine.h"
#include "cmd/engine/on_demand.h"
#include "compose/verbs.h"
#include "docker_client/verbs.h"

namespace monopod::cmd {
namespace {

using docker_client::FlagRow;
using docker_client::Verb;

// "--env" of "-e,--env"
std::string long_name(const CLI::Option& option) { return option.get_lnames().empty() ? option.get_snames().front() : option.get_lnames().front(); }

void add_flags(CLI::App& app, std::span<const FlagRow> rows) {
  for (const FlagRow& row : rows) {
    const std::string help = row.help;
    if (row.kind == FlagRow::kSwitch) app.add_flag(row.names, help);
    else app.add_option(row.names, help)->type_name(row.kind == FlagRow::kList ? "TEXT ..." : "TEXT")->multi_option_policy(row.kind == FlagRow::kList ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
  }
}

void take_flags(const CLI::App& app, docker_client::Flags& flags) {
  for (const CLI::Option* option : app.get_options())
    for (const std::string& value : option->results()) flags.add(long_name(*option), value);
}

// What stands behind "--" belongs to the container's command where there is one.
std::vector<std::string> words_of(const CLI::App& app, const Verb& verb, const Invocation& invocation) {
  std::vector<std::string> words = app.remaining();
  bool cut = std::ranges::find(invocation.argv, "--") != invocation.argv.end();
  if (cut && verb.rest_is_command && !words.empty()) words.emplace_back("--");
  words.insert(words.end(), invocation.tail.begin(), invocation.tail.end());
  return words;
}

// A command line that cannot be: run's errors are 125, as docker has it.
int refuse(const Verb& verb, std::string why) {
  int code = report(Error(Code::kInvalidArgument, std::move(why)));
  return verb.error_code == 125 ? verb.error_code : code;
}

int run_verb(const CLI::App& app, const Verb& verb, const Invocation& invocation, const std::string& socket) {
  docker_client::Flags flags;
  take_flags(*app.get_parent(), flags);
  take_flags(app, flags);
  std::vector<std::string> words = words_of(app, verb, invocation);
  std::size_t own = verb.rest_is_command ? std::min<std::size_t>(words.size(), 1) : words.size();
  for (std::size_t i = 0; i < own; ++i)
    if (words[i].size() > 1 && words[i].starts_with('-')) return refuse(verb, cat("unknown option, or one without its value: ", words[i]));
  if (words.size() < static_cast<std::size_t>(verb.words_min) || words.size() > static_cast<std::size_t>(verb.words_max)) {
    return refuse(verb, cat(app.get_parent()->get_name(), " ", verb.name, ": want ", *verb.usage == '\0' ? "no more words" : verb.usage, ": --help says more"));
  }
  if (Result<> there = verb.needs_engine ? ensure_engine(socket) : Result<>(); !there) return docker_client::print_error(there.error()), verb.error_code;
  docker_client::EngineClient client(socket);
  docker_client::Command command{client, flags, words};
  Result<int> code = verb.run(command);
  if (code) return *code;
  docker_client::print_error(code.error());
  return verb.error_code;
}

void add_group(CLI::App& parent, Invocation& invocation, const char* name, const char* summary, const char* examples, std::span<const Verb> verbs, std::span<const FlagRow> group_flags = {}) {
  CLI::App* group = add_command(parent, name, summary, examples);
  group->require_subcommand(1);
  auto socket = std::make_shared<std::string>(EngineCommand().docker_socket);
  group->add_option("--docker-socket", *socket, "Unix socket of the engine; a leading unix:// is allowed")->envname("MONOPOD_ENGINE_DOCKER_SOCKET")->capture_default_str();
  add_flags(*group, group_flags);
  for (const Verb& verb : verbs) {
    CLI::App* app = group->add_subcommand(verb.name, verb.summary);
    if (verb.alias != nullptr) app->alias(verb.alias);
    for (std::span<const FlagRow> rows : verb.flags)
      for (const FlagRow& row : rows)
        if (std::string_view(row.names).starts_with("-h,")) app->set_help_flag("--help", "Print this help message and exit");
    app->footer(cat("In full:\n  monopod ", name, " ", verb.name, " [OPTIONS]", *verb.usage == '\0' ? "" : " ", verb.usage));
    for (std::span<const FlagRow> rows : verb.flags) add_flags(*app, rows);
    if (verb.rest_is_command) app->prefix_command();
    else app->allow_extras();
    app->callback([app, &verb, &invocation, socket] {
      invocation.run = [app, &verb, &invocation, socket] { return run_verb(*app, verb, invocation, socket->starts_with("unix://") ? socket->substr(7) : *socket); };
    });
  }
}

}  // namespace

void add_container(CLI::App& parent, Invocation& invocation) {
  add_group(parent, invocation, "container", "Run containers and look after them, as with docker",
            "  monopod container run --rm -it busybox sh\n"
            "  monopod container run -d --name web -p 8080:80 --restart unless-stopped nginx\n"
            "  monopod container logs -f web\n"
            "  monopod container exec -it web sh",
            docker_client::container_verbs());
}

void add_network(CLI::App& parent, Invocation& invocation) {
  add_group(parent, invocation, "network", "Networks of containers", "  monopod network create back\n  monopod container run -d --network back --name db postgres", docker_client::network_verbs());
}

void add_volume(CLI::App& parent, Invocation& invocation) {
  add_group(parent, invocation, "volume", "Volumes of containers", "  monopod volume create data\n  monopod container run -v data:/var/lib/data app", docker_client::volume_verbs());
}

void add_compose(CLI::App& parent, Invocation& invocation) {
  add_group(parent, invocation, "compose", "Services of a compose file", "  monopod compose up -d\n  monopod compose logs -f web\n  monopod compose down", compose::compose_verbs(), compose::compose_flags());
}

}  // namespace monopod::cmd
