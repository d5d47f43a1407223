// The tables, and the commands that are one call.
#include "docker_client/verbs.h"

#include <unistd.h>

#include <cstdio>

#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/create_request.h"
#include "docker_client/show.h"
#include "http/query.h"
#include "sys/terminal.h"

namespace monopod::docker_client {
namespace {

using enum FlagRow::Kind;

constexpr FlagRow kCreateFlags[] = {
    {kList, "-a,--attach", "Attach to stdin, stdout or stderr"},
    {kList, "--add-host", "NAME:ADDRESS for /etc/hosts"},
    {kValue, "--blkio-weight", "Share of block I/O, 10 to 1000"},
    {kList, "--cap-add", "Add a capability"},
    {kList, "--cap-drop", "Drop a capability"},
    {kValue, "--cgroupns", "Control group namespace: host or private"},
    {kValue, "--cidfile", "Write the container's id to this file"},
    {kValue, "--cpu-period", "Length of a CPU period, in microseconds"},
    {kValue, "--cpu-quota", "CPU time in a period, in microseconds"},
    {kValue, "-c,--cpu-shares", "Weight of CPU time"},
    {kValue, "--cpus", "Number of CPUs, 0.5 say"},
    {kValue, "--cpuset-cpus", "CPUs to run on: 0-3, 0,1"},
    {kValue, "--cpuset-mems", "Memory nodes to use"},
    {kList, "--device", "HOST-DEVICE[:PATH[:rwm]]"},
    {kList, "--dns", "Name server"},
    {kList, "--dns-option", "Option of resolv.conf"},
    {kList, "--dns-search", "Search domain"},
    {kValue, "--domainname", "Domain name"},
    {kValue, "--entrypoint", "Program instead of the image's entrypoint"},
    {kList, "-e,--env", "NAME=value, or NAME for our own value"},
    {kList, "--env-file", "File of NAME=value lines"},
    {kList, "--expose", "Port, without publishing it"},
    {kValue, "--gpus", "Not supported"},
    {kList, "--group-add", "One more group"},
    {kValue, "--health-cmd", "Command that checks health"},
    {kValue, "--health-interval", "Time between checks: 30s"},
    {kValue, "--health-retries", "Failures in a row that mean unhealthy"},
    {kValue, "--health-start-interval", "Time between checks while it starts"},
    {kValue, "--health-start-period", "Time in which failures do not count"},
    {kValue, "--health-timeout", "Time that a check may take"},
    {kValue, "-h,--hostname", "Host name"},
    {kSwitch, "--init", "An init of ours as process 1 passes signals on and reaps"},
    {kSwitch, "-i,--interactive", "Keep stdin open"},
    {kValue, "--ip", "Address in the network"},
    {kValue, "--ipc", "IPC namespace: private, host, shareable, container:NAME"},
    {kList, "-l,--label", "NAME=value"},
    {kList, "--label-file", "File of labels, a line each"},
    {kList, "--link", "CONTAINER[:NAME]: another container, known here by a name"},
    {kValue, "--log-driver", "json-file, local or none"},
    {kList, "--log-opt", "Option of the log driver"},
    {kValue, "--mac-address", "MAC address"},
    {kValue, "-m,--memory", "Memory limit: 64m, 1g"},
    {kValue, "--memory-reservation", "Soft memory limit"},
    {kValue, "--memory-swap", "Memory and swap; -1: no limit"},
    {kValue, "--memory-swappiness", "0 to 100"},
    {kList, "--mount", "type=bind|volume|tmpfs,source=…,target=…[,readonly]"},
    {kValue, "--name", "Name; one is made up otherwise"},
    {kList, "--network", "bridge, host, none, container:NAME or a network of one's own"},
    {kList, "--net", "The same"},
    {kList, "--network-alias", "One more name in the network"},
    {kSwitch, "--no-healthcheck", "No health check, whatever the image says"},
    {kSwitch, "--oom-kill-disable", "Not supported"},
    {kValue, "--oom-score-adj", "-1000 to 1000"},
    {kValue, "--pid", "PID namespace: host, container:NAME"},
    {kValue, "--pids-limit", "Number of processes"},
    {kValue, "--platform", "os/architecture[/variant] of the image"},
    {kSwitch, "--privileged", "All of the host's devices and capabilities"},
    {kList, "-p,--publish", "[ADDRESS:][HOST-PORT:]PORT[/udp]"},
    {kSwitch, "-P,--publish-all", "Publish all exposed ports on free ones of the host"},
    {kValue, "--pull", "always, missing or never"},
    {kSwitch, "-q,--quiet", "No progress of a pull"},
    {kSwitch, "--read-only", "Root file system read-only"},
    {kValue, "--restart", "no, always, unless-stopped, on-failure[:RETRIES]"},
    {kSwitch, "--rm", "Remove the container once it ends"},
    {kValue, "--runtime", "runc"},
    {kList, "--security-opt", "no-new-privileges, seccomp=FILE, …"},
    {kValue, "--shm-size", "Size of /dev/shm"},
    {kValue, "--stop-signal", "Signal that stops it"},
    {kValue, "--stop-timeout", "Seconds until it is killed"},
    {kList, "--sysctl", "NAME=value"},
    {kList, "--tmpfs", "PATH[:OPTIONS]"},
    {kSwitch, "-t,--tty", "A terminal"},
    {kList, "--ulimit", "NAME=SOFT[:HARD]"},
    {kValue, "-u,--user", "User[:group], names or numbers"},
    {kValue, "--userns", "User namespace: host"},
    {kValue, "--uts", "UTS namespace: host"},
    {kList, "-v,--volume", "SOURCE:PATH[:ro]: a directory or a volume's name; PATH alone: a volume without a name"},
    {kList, "--volumes-from", "Volumes of another container"},
    {kValue, "-w,--workdir", "Working directory"},
};
constexpr FlagRow kRunFlags[] = {
    {kSwitch, "-d,--detach", "Run in the background and print the id"},
    {kValue, "--detach-keys", "Keys that leave the container running: ctrl-p,ctrl-q"},
    {kSwitch, "--sig-proxy", "Pass signals on (default)"},
};
constexpr FlagRow kStartFlags[] = {
    {kSwitch, "-a,--attach", "Show its output, and end with its exit code"},
    {kSwitch, "-i,--interactive", "Attach stdin"},
    {kValue, "--detach-keys", "Keys that leave the container running"},
    {kSwitch, "--sig-proxy", "Pass signals on (default)"},
};
constexpr FlagRow kStopFlags[] = {
    {kValue, "-t,--time", "Seconds until it is killed"},
    {kValue, "-s,--signal", "Signal to send"},
};
constexpr FlagRow kKillFlags[] = {{kValue, "-s,--signal", "KILL by default"}};
constexpr FlagRow kRemoveFlags[] = {
    {kSwitch, "-f,--force", "Also where it runs"},
    {kSwitch, "-v,--volumes", "With its volumes that have no name"},
    {kSwitch, "-l,--link", "Not supported"},
};
constexpr FlagRow kListFlags[] = {
    {kList, "-f,--filter", "status=exited, name=…, label=…, ancestor=…, health=…"},
    {kValue, "--format", "A line for each: {{.Names}} {{.Status}}, json, or table {{…}}"},
    {kSwitch, "--no-trunc", "Whole ids and commands"},
    {kSwitch, "-q,--quiet", "Ids only"},
    {kValue, "-o,--output", "table or json"},
};
constexpr FlagRow kPsFlags[] = {
    {kSwitch, "-a,--all", "Also those that do not run"},
    {kValue, "-n,--last", "The last N, whatever their state"},
    {kSwitch, "-l,--latest", "The last one"},
};
constexpr FlagRow kLogsFlags[] = {
    {kSwitch, "-f,--follow", "Go on as it writes"},
    {kValue, "-n,--tail", "The last N lines"},
    {kValue, "--since", "A time, or 10m for ten minutes ago"},
    {kValue, "--until", "A time, or 10m for ten minutes ago"},
    {kSwitch, "-t,--timestamps", "With times"},
};
constexpr FlagRow kExecFlags[] = {
    {kSwitch, "-d,--detach", "In the background"},
    {kValue, "--detach-keys", "Keys that leave the program running"},
    {kList, "-e,--env", "NAME=value"},
    {kList, "--env-file", "File of NAME=value lines"},
    {kSwitch, "-i,--interactive", "Keep stdin open"},
    {kSwitch, "--privileged", "All capabilities"},
    {kSwitch, "-t,--tty", "A terminal"},
    {kValue, "-u,--user", "User[:group]"},
    {kValue, "-w,--workdir", "Working directory"},
};
constexpr FlagRow kAttachFlags[] = {
    {kSwitch, "--no-stdin", "Output only"},
    {kValue, "--detach-keys", "Keys that leave the container running"},
    {kSwitch, "--sig-proxy", "Pass signals on (default)"},
};
constexpr FlagRow kCopyFlags[] = {
    {kSwitch, "-a,--archive", "Keep owners"},
    {kSwitch, "-L,--follow-link", "Follow a symbolic link that is the source"},
    {kSwitch, "-q,--quiet", "Say nothing"},
};
constexpr FlagRow kStatsFlags[] = {
    {kSwitch, "-a,--all", "Also those that do not run"},
    {kSwitch, "--no-stream", "Once"},
    {kSwitch, "--no-trunc", "Whole ids"},
    {kValue, "--format", "A line for each: {{.Name}} {{.CPUPerc}}, or json"},
    {kValue, "-o,--output", "table or json"},
};
constexpr FlagRow kInspectFlags[] = {
    {kValue, "-f,--format", "{{.State.Status}}, {{json .Config}}"},
    {kSwitch, "-s,--size", "With sizes"},
};
constexpr FlagRow kUpdateFlags[] = {
    {kValue, "--blkio-weight", "Share of block I/O, 10 to 1000"}, {kValue, "--cpu-period", "Length of a CPU period, in microseconds"}, {kValue, "--cpu-quota", "CPU time in a period, in microseconds"},
    {kValue, "-c,--cpu-shares", "Weight of CPU time"}, {kValue, "--cpus", "Number of CPUs"}, {kValue, "--cpuset-cpus", "CPUs to run on"}, {kValue, "--cpuset-mems", "Memory nodes to use"},
    {kValue, "-m,--memory", "Memory limit"}, {kValue, "--memory-reservation", "Soft memory limit"}, {kValue, "--memory-swap", "Memory and swap"}, {kValue, "--pids-limit", "Number of processes"},
    {kValue, "--restart", "Restart policy"},
};
constexpr FlagRow kCommitFlags[] = {
    {kValue, "-a,--author", "Who made it"},
    {kValue, "-m,--message", "What was changed"},
    {kSwitch, "-p,--pause", "Pause the container meanwhile (default)"},
};
constexpr FlagRow kEventsFlags[] = {
    {kList, "-f,--filter", "container=…, event=…, type=…"},
    {kValue, "--format", "{{.Action}}, or json"},
    {kValue, "--since", "From this time on"},
    {kValue, "--until", "Up to this time"},
};
constexpr FlagRow kPruneFlags[] = {
    {kSwitch, "-f,--force", "Do not ask"},
    {kList, "--filter", "until=24h, label=…"},
};
constexpr FlagRow kExportFlags[] = {{kValue, "-o,--output", "File; standard output by default"}};

// POST for each word, which is printed.
Result<int> post_each(Command& c, std::string_view tail) {
  return for_each_word(c, [&](const std::string& name) -> Result<> {
    TRY(c.client.post(path_of("containers", name, tail)));
    return {};
  });
}

std::string stop_query(const Flags& flags) {
  http::Query query;
  if (flags.has("time")) query.add("t", flags.text("time"));
  if (flags.has("signal")) query.add("signal", flags.text("signal"));
  return query.empty() ? "" : "?" + query.format();
}

Result<int> stop(Command& c) { return post_each(c, "/stop" + stop_query(c.flags)); }
Result<int> restart(Command& c) { return post_each(c, "/restart" + stop_query(c.flags)); }
Result<int> kill(Command& c) { return post_each(c, "/kill" + stop_query(c.flags)); }
Result<int> pause(Command& c) { return post_each(c, "/pause"); }
Result<int> unpause(Command& c) { return post_each(c, "/unpause"); }

Result<int> remove(Command& c) {
  return for_each_word(c, [&](const std::string& name) -> Result<> {
    auto removed = c.client.call("DELETE", path_of("containers", name, cat("?force=", c.flags.on("force"), "&v=", c.flags.on("volumes"), "&link=", c.flags.on("link"))));
    if (!removed && removed.error().code() == Code::kNotFound && c.flags.on("force")) return {};
    TRY(std::move(removed));
    return {};
  });
}

Result<int> rename(Command& c) {
  TRY(c.client.post(path_of("containers", c.words[0], "/rename?name=" + http::encode_query_component(c.words[1]))));
  return 0;
}

Result<int> wait(Command& c) {
  int code = 0;
  for (const std::string& name : c.words) {
    auto ended = c.client.post(path_of("containers", name, "/wait"));
    if (ended) {
      std::printf("%lld\n", static_cast<long long>(json::get_int(*ended, {"StatusCode"})));
      continue;
    }
    print_error(ended.error());
    code = 1;
  }
  return code;
}

Result<int> update(Command& c) {
  TRY_ASSIGN(json::Object resources, make_resources(c.flags));
  if (resources.empty()) return fail(Code::kInvalidArgument, "nothing to update: say --memory, --cpus, --restart or the like");
  return for_each_word(c, [&](const std::string& name) -> Result<> {
    TRY(c.client.post(path_of("containers", name, "/update"), json::Value(resources)));
    return {};
  });
}

Result<int> top(Command& c) {
  std::string tail = "/top";
  if (c.words.size() > 1) tail += "?ps_args=" + http::encode_query_component(join(std::vector<std::string>(c.words.begin() + 1, c.words.end()), " "));
  TRY_ASSIGN(json::Value answer, c.client.get(path_of("containers", c.words[0], tail)));
  sys::Table table(docker::strings_of(answer, {"Titles"}));
  if (const json::Array* processes = json::get_array(answer, {"Processes"}))
    for (const json::Value& p : *processes) table.add(docker::strings_of(p, {}));
  table.print();
  return 0;
}

Result<int> diff(Command& c) {
  TRY_ASSIGN(json::Value answer, c.client.get(path_of("containers", c.words[0], "/changes")));
  if (answer.is_array())
    for (const json::Value& change : answer.get_array()) {
      static constexpr char kKinds[] = "CAD";
      std::printf("%c %s\n", kKinds[json::get_int(change, {"Kind"}) % 3], sys::printable(json::get_string(change, {"Path"})).c_str());
    }
  return 0;
}

Result<int> commit(Command& c) {
  http::Query query;
  query.add("container", c.words[0]);
  if (c.words.size() > 1) query.add("repo", c.words[1]);
  if (c.flags.has("author")) query.add("author", c.flags.text("author"));
  if (c.flags.has("message")) query.add("comment", c.flags.text("message"));
  query.add("pause", !c.flags.has("pause") || c.flags.on("pause") ? "1" : "0");
  TRY_ASSIGN(json::Value answer, c.client.post("/commit?" + query.format(), json::Object{}));
  std::printf("%s\n", std::string(json::get_string(answer, {"Id"})).c_str());
  return 0;
}

Result<int> port(Command& c) {
  TRY_ASSIGN(json::Value answer, c.client.get(path_of("containers", c.words[0], "/json")));
  std::string wanted = c.words.size() > 1 ? c.words[1] : "";
  if (!wanted.empty() && wanted.find('/') == std::string::npos) wanted += "/tcp";
  bool found = false;
  if (const json::Object* ports = json::get_object(answer, {"NetworkSettings", "Ports"}))
    for (const auto& [key, list] : *ports) {
      if (!list.is_array() || (!wanted.empty() && std::string_view(key) != wanted)) continue;
      for (const json::Value& binding : list.get_array()) {
        std::string text = cat(json::get_string(binding, {"HostIp"}), ":", json::get_string(binding, {"HostPort"}));
        if (wanted.empty()) text = cat(std::string_view(key), " -> ", text);
        std::printf("%s\n", text.c_str());
        found = true;
      }
    }
  if (!found && !wanted.empty()) return fail(Code::kNotFound, cat("no public port '", wanted, "' published for ", c.words[0]));
  return 0;
}

Result<int> prune(Command& c) {
  if (!confirmed(c.flags, "This removes all containers that do not run. Go on?")) return 0;
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  TRY_ASSIGN(json::Value answer, c.client.post("/containers/prune?filters=" + filters));
  std::vector<std::string> ids = docker::strings_of(answer, {"ContainersDeleted"});
  if (!ids.empty()) std::printf("Deleted Containers:\n%s\n\n", join(ids, "\n").c_str());
  std::printf("Total reclaimed space: %s\n", format_decimal_size(static_cast<double>(json::get_int(answer, {"SpaceReclaimed"}))).c_str());
  return 0;
}

Result<int> inspect(Command& c) { return inspect_objects(c, "containers"); }

}  // namespace

void print_error(const Error& error) { std::fprintf(stderr, "monopod: %s\n", sys::printable(error.message()).c_str()); }

Result<int> for_each_word(Command& command, const std::function<Result<>(const std::string&)>& run) {
  int code = 0;
  for (const std::string& word : command.words) {
    if (Result<> done = run(word); !done) {
      if (done.error().code() == Code::kUnavailable) return fail(done.error());  // no engine: once says it all
      print_error(done.error());
      code = 1;
    } else {
      std::printf("%s\n", sys::printable(word).c_str());
    }
    std::fflush(stdout);
  }
  return code;
}

bool confirmed(const Flags& flags, const char* question) {
  if (flags.on("force") || ::isatty(0) == 0) return true;
  std::fprintf(stderr, "%s [y/N] ", question);
  int c = std::getchar();
  return c == 'y' || c == 'Y';
}

Result<std::string> encode_filters(const std::vector<std::string>& filters) {
  json::Object out;
  for (const std::string& text : filters) {
    auto [key, value] = split_once(text, '=');
    if (!value) return fail(Code::kInvalidArgument, cat("--filter ", text, ": want NAME=value"));
    json::Value& list = out[trim(key)];
    if (!list.is_array()) list = json::Array{};
    list.get_array().emplace_back(trim(*value));
  }
  return http::encode_query_component(json::format(out));
}

std::span<const Verb> container_verbs() {
  static constexpr Verb kVerbs[] = {
      {"run", nullptr, "IMAGE [COMMAND...]", "Make a container and run a command in it", {kRunFlags, kCreateFlags}, 1, 1'000'000, true, run_container, 125},
      {"create", nullptr, "IMAGE [COMMAND...]", "Make a container, to be started later", {kCreateFlags}, 1, 1'000'000, true, create_only},
      {"start", nullptr, "CONTAINER...", "Start containers", {kStartFlags}, 1, 1'000'000, false, start_containers},
      {"stop", nullptr, "CONTAINER...", "Stop containers: a signal, and after a time another", {kStopFlags}, 1, 1'000'000, false, stop},
      {"restart", nullptr, "CONTAINER...", "Stop and start containers", {kStopFlags}, 1, 1'000'000, false, restart},
      {"kill", nullptr, "CONTAINER...", "Send a signal to containers", {kKillFlags}, 1, 1'000'000, false, kill},
      {"rm", "remove", "CONTAINER...", "Remove containers", {kRemoveFlags}, 1, 1'000'000, false, remove},
      {"ps", "ls", "", "List containers", {kPsFlags, kListFlags}, 0, 0, false, list_containers},
      {"logs", nullptr, "CONTAINER", "Show what a container wrote", {kLogsFlags}, 1, 1, false, show_logs},
      {"exec", nullptr, "CONTAINER COMMAND...", "Run a command in a container that runs", {kExecFlags}, 2, 1'000'000, true, exec_container},
      {"attach", nullptr, "CONTAINER", "Connect this terminal to a container's program", {kAttachFlags}, 1, 1, false, attach_container},
      {"cp", nullptr, "SOURCE DESTINATION", "Copy files: one of both is CONTAINER:PATH; - is a tar stream", {kCopyFlags}, 2, 2, false, copy_files},
      {"stats", nullptr, "[CONTAINER...]", "Show what containers use, live", {kStatsFlags}, 0, 1'000'000, false, show_stats},
      {"top", nullptr, "CONTAINER [PS-OPTIONS]", "Show a container's processes", {}, 1, 1'000'000, true, top},
      {"inspect", nullptr, "CONTAINER...", "Show all that is known of containers, as JSON", {kInspectFlags}, 1, 1'000'000, false, inspect},
      {"wait", nullptr, "CONTAINER...", "Wait until containers end, and print their exit codes", {}, 1, 1'000'000, false, wait},
      {"update", nullptr, "CONTAINER...", "Change limits and restart policy", {kUpdateFlags}, 1, 1'000'000, false, update},
      {"rename", nullptr, "CONTAINER NAME", "Give a container another name", {}, 2, 2, false, rename},
      {"pause", nullptr, "CONTAINER...", "Freeze all processes of containers", {}, 1, 1'000'000, false, pause},
      {"unpause", nullptr, "CONTAINER...", "Let frozen containers go on", {}, 1, 1'000'000, false, unpause},
      {"diff", nullptr, "CONTAINER", "List files that differ from the image: A added, C changed, D deleted", {}, 1, 1, false, diff},
      {"commit", nullptr, "CONTAINER [REFERENCE]", "Make an image of a container", {kCommitFlags}, 1, 2, false, commit},
      {"export", nullptr, "CONTAINER", "Write a container's files as a tar", {kExportFlags}, 1, 1, false, export_container},
      {"port", nullptr, "CONTAINER [PORT]", "List published ports", {}, 1, 2, false, port},
      {"events", nullptr, "", "Show what happens, as it happens", {kEventsFlags}, 0, 0, false, show_events},
      {"prune", nullptr, "", "Remove containers that do not run", {kPruneFlags}, 0, 0, false, prune},
  };
  return kVerbs;
}

}  // namespace monopod::docker_client
