#include "cmd/runtime/runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/clock.h"
#include "base/duration.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/runtime/options.h"
#include "codec/json_indent.h"
#include "container/oci/bundle.h"
#include "container/oci/runtime.h"
#include "docker_client/values.h"
#include "sys/stream.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using container::oci::Runtime;

constexpr std::size_t kResourcesBytesMax = 1U << 20;

constexpr OptionKind kFlag = OptionKind::kFlag;
constexpr OptionKind kValue = OptionKind::kValue;
constexpr OptionKind kList = OptionKind::kList;
constexpr OptionKind kIgnored = OptionKind::kIgnored;

constexpr std::array kGlobalOptions = {
    RuntimeOption{"root", kValue, "directory of the containers' state (/run/monopod/runtime)"},
    RuntimeOption{"log", kValue, "file that errors and warnings are added to (standard error)"},
    RuntimeOption{"log-format", kValue, "text or json"},
    RuntimeOption{"log-level", kValue, "debug, info, warn or error"},
    RuntimeOption{"debug", kFlag, "the same as --log-level debug"},
    RuntimeOption{"systemd-cgroup", kFlag, "control groups are scopes of systemd's: cgroupsPath is slice:prefix:name"},
    RuntimeOption{"rootless", kValue, "auto, true or false: taken, found out by itself"},
    RuntimeOption{"criu", kIgnored, ""},
    RuntimeOption{"version v", kFlag, "print the version"},
    RuntimeOption{"help h", kFlag, "print this"}};

constexpr RuntimeOption kBundle{"bundle b", kValue, "directory with config.json (.)"};
constexpr RuntimeOption kConsoleSocket{"console-socket", kValue, "unix socket that gets the terminal"};
constexpr RuntimeOption kPidFile{"pid-file", kValue, "file for the process id"};
constexpr RuntimeOption kPidfdSocket{"pidfd-socket", kValue, "unix socket that gets a descriptor of the process"};
constexpr RuntimeOption kPreserveFds{"preserve-fds", kValue, "number of descriptors from 3 on for the program"};
constexpr RuntimeOption kNoPivot{"no-pivot", kFlag, "chroot instead of pivot_root (initramfs)"};
constexpr RuntimeOption kNoNewKeyring{"no-new-keyring", kFlag, "stay in the caller's session keyring"};

constexpr std::array kCreateOptions = {kBundle, kConsoleSocket, kPidFile, kPidfdSocket, kPreserveFds, kNoPivot, kNoNewKeyring};
constexpr std::array kRunOptions = {kBundle,       kConsoleSocket, kPidFile,
                                    kPidfdSocket,  kPreserveFds,  kNoPivot,       kNoNewKeyring,
                                    RuntimeOption{"detach d", kFlag, "do not wait for its end"},
                                    RuntimeOption{"keep", kFlag, "do not delete it at its end"},
                                    RuntimeOption{"no-subreaper", kFlag, "leave orphans to the caller's subreaper"}};
constexpr std::array kExecOptions = {RuntimeOption{"process p", kValue, "process.json"},
                                     RuntimeOption{"detach d", kFlag, "do not wait for its end"},
                                     RuntimeOption{"tty t", kFlag, "with a terminal"},
                                     RuntimeOption{"env e", kList, "NAME=value"},
                                     RuntimeOption{"cwd", kValue, "working directory"},
                                     RuntimeOption{"user u", kValue, "UID[:GID]"},
                                     RuntimeOption{"additional-gids g", kList, "supplementary group"},
                                     RuntimeOption{"cap c", kList, "capability to add"},
                                     RuntimeOption{"apparmor", kValue, "AppArmor profile"},
                                     RuntimeOption{"process-label", kValue, "SELinux label"},
                                     RuntimeOption{"no-new-privs", kFlag, "gain no privileges"},
                                     RuntimeOption{"cgroup", kList, "[CONTROLLER,...:]PATH: control group below the container's"},
                                     RuntimeOption{"ignore-paused", kFlag, "also in a paused container"},
                                     kConsoleSocket,
                                     kPidFile,
                                     kPidfdSocket,
                                     kPreserveFds};
constexpr std::array kKillOptions = {RuntimeOption{"all a", kFlag, "every process of the container"}};
constexpr std::array kDeleteOptions = {RuntimeOption{"force f", kFlag, "kill what runs; absent is no error"}};
constexpr std::array kListOptions = {RuntimeOption{"format f", kValue, "table or json"}, RuntimeOption{"quiet q", kFlag, "ids only"}};
constexpr std::array kPsOptions = {RuntimeOption{"format f", kValue, "table or json"}};
constexpr std::array kEventsOptions = {RuntimeOption{"interval", kValue, "between statistics (5s): 500ms, 1m"}, RuntimeOption{"stats", kFlag, "statistics once"}};
constexpr std::array kSpecOptions = {kBundle, RuntimeOption{"rootless", kFlag, "for a user without privileges"}};
constexpr std::array kUpdateOptions = {RuntimeOption{"resources r", kValue, "file with linux.resources, - for standard input"},
                                       RuntimeOption{"blkio-weight", kValue, "10-1000"},
                                       RuntimeOption{"cpu-period", kValue, "microseconds"},
                                       RuntimeOption{"cpu-quota", kValue, "microseconds per period"},
                                       RuntimeOption{"cpu-burst", kValue, "microseconds"},
                                       RuntimeOption{"cpu-rt-period", kValue, "microseconds"},
                                       RuntimeOption{"cpu-rt-runtime", kValue, "microseconds"},
                                       RuntimeOption{"cpu-share", kValue, "2-262144"},
                                       RuntimeOption{"cpu-idle", kValue, "0 or 1"},
                                       RuntimeOption{"cpuset-cpus", kValue, "0-3,7"},
                                       RuntimeOption{"cpuset-mems", kValue, "0-1"},
                                       RuntimeOption{"memory", kValue, "bytes, or with k, m, g"},
                                       RuntimeOption{"memory-reservation", kValue, "bytes"},
                                       RuntimeOption{"memory-swap", kValue, "bytes, memory included; -1: any"},
                                       RuntimeOption{"kernel-memory", kIgnored, ""},
                                       RuntimeOption{"kernel-memory-tcp", kIgnored, ""},
                                       RuntimeOption{"pids-limit", kValue, "-1: any"},
                                       RuntimeOption{"l3-cache-schema", kValue, "refused"},
                                       RuntimeOption{"mem-bw-schema", kValue, "refused"}};

struct Call {
  Runtime& runtime;
  const RuntimeArguments& global;
  const RuntimeArguments& arguments;
  std::vector<std::string> words;

  const std::string& id() const { return words[0]; }
};

Result<container::oci::CreateOptions> create_options(const Call& call) {
  container::oci::CreateOptions out;
  out.id = call.id();
  out.bundle = call.arguments.value("bundle");
  out.console_socket = call.arguments.value("console-socket");
  out.pid_file = call.arguments.value("pid-file");
  out.pidfd_socket = call.arguments.value("pidfd-socket");
  TRY_ASSIGN(out.preserve_fds, call.arguments.number("preserve-fds", 0));
  // systemd's sockets come along, as they do under runc.
  if (const char* sockets = std::getenv("LISTEN_FDS"); sockets != nullptr && out.preserve_fds == 0) out.preserve_fds = parse_int<int>(sockets).value_or(0);
  if (out.preserve_fds > 4096) return fail(Code::kInvalidArgument, "option --preserve-fds: more than 4096");
  for (int i = 0; i < out.preserve_fds; ++i) {
    if (::fcntl(3 + i, F_GETFD) < 0) return fail_errno(cat("option --preserve-fds: preserved-fd ", i, " (descriptor ", 3 + i, ")"));
  }
  out.pivot = !call.arguments.flag("no-pivot");
  out.systemd = call.global.flag("systemd-cgroup");
  out.new_keyring = !call.arguments.flag("no-new-keyring");
  return out;
}

Result<int> done(Result<> result) {
  if (!result) return fail(std::move(result).error());
  return 0;
}

void print(const json::Value& value) { std::printf("%s\n", json::format_indented(value).c_str()); }

Result<int> run_create(Call& call) {
  TRY_ASSIGN(container::oci::CreateOptions options, create_options(call));
  return done(call.runtime.create(options));
}

Result<int> run_start(Call& call) { return done(call.runtime.start(call.id())); }

Result<int> run_run(Call& call) {
  TRY_ASSIGN(container::oci::CreateOptions options, create_options(call));
  container::oci::RunOptions run;
  run.detach = call.arguments.flag("detach");
  run.keep = call.arguments.flag("keep");
  run.subreaper = !call.arguments.flag("no-subreaper");
  return call.runtime.run(options, run);
}

Result<int> run_state(Call& call) {
  TRY_ASSIGN(json::Value state, call.runtime.state(call.id()));
  print(state);
  return 0;
}

Result<int> run_kill(Call& call) {
  std::string name = call.words.size() > 1 ? call.words[1] : "SIGTERM";
  auto signal = container::oci::find_signal(name);
  if (!signal) return fail(Code::kInvalidArgument, cat("unknown signal \"", name, "\""));
  return done(call.runtime.kill(call.id(), *signal, call.arguments.flag("all")));
}

Result<int> run_delete(Call& call) { return done(call.runtime.remove(call.id(), call.arguments.flag("force"))); }
Result<int> run_pause(Call& call) { return done(call.runtime.set_paused(call.id(), true)); }
Result<int> run_resume(Call& call) { return done(call.runtime.set_paused(call.id(), false)); }

Result<int> run_exec(Call& call) {
  const RuntimeArguments& given = call.arguments;
  container::oci::ExecRequest request;
  request.id = call.id();
  request.args.assign(call.words.begin() + 1, call.words.end());
  if (!request.args.empty() && request.args[0] == "--") request.args.erase(request.args.begin());
  request.process_file = given.value("process");
  request.env = given.list("env");
  request.cwd = given.value("cwd");
  request.user = given.value("user");
  for (const std::string& text : given.list("additional-gids")) {
    auto gid = parse_int<std::uint32_t>(text);
    if (!gid) return fail(Code::kInvalidArgument, cat("option --additional-gids: \"", text, "\" is not a number"));
    request.additional_gids.push_back(*gid);
  }
  request.capabilities = given.list("cap");
  request.apparmor_profile = given.value("apparmor");
  request.selinux_label = given.value("process-label");
  request.console_socket = given.value("console-socket");
  request.pid_file = given.value("pid-file");
  request.pidfd_socket = given.value("pidfd-socket");
  request.cgroups = given.list("cgroup");
  TRY_ASSIGN(request.preserve_fds, given.number("preserve-fds", 0));
  request.terminal = given.flag("tty");
  request.no_new_privileges = given.flag("no-new-privs");
  request.detach = given.flag("detach");
  request.ignore_paused = given.flag("ignore-paused");
  return call.runtime.exec(request);
}

Result<int> run_list(Call& call) {
  std::string format = call.arguments.value("format", "table");
  if (format != "table" && format != "json") return fail(Code::kInvalidArgument, cat("option --format: \"", format, "\" is not table or json"));
  TRY_ASSIGN(std::vector<json::Value> all, call.runtime.list());
  if (call.arguments.flag("quiet")) {
    for (const json::Value& one : all) std::printf("%s\n", std::string(json::get_string(one, {"id"})).c_str());
    return 0;
  }
  if (format == "json") {
    std::printf("%s\n", json::format(json::Array(all.begin(), all.end())).c_str());
    return 0;
  }
  sys::Table table({"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"});
  for (const json::Value& one : all) {
    auto text = [&](std::string_view name) { return std::string(json::get_string(one, {name})); };
    table.add({text("id"), cat(json::get_int(one, {"pid"})), text("status"), text("bundle"), text("created"), text("owner")});
  }
  table.print();
  return 0;
}

// The host's ps(1), as everybody calls it; ours are the lines whose PID is the container's.
Result<std::string> read_ps(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe.write.get(), 1);
  pid_t pid = -1;
  int error = ::posix_spawnp(&pid, "ps", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(errno_error(error, "run ps"));
  pipe.write.reset();
  Result<std::string> out = sys::read_all(pipe.read.get(), 16U << 20);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (out && status != 0) return fail(Code::kInvalidArgument, "ps does not take these options");
  return out;
}

Result<int> run_ps(Call& call) {
  TRY_ASSIGN(std::vector<int> pids, call.runtime.processes(call.id()));
  if (call.arguments.value("format", "table") == "json") {
    std::printf("%s\n", json::format(json::Array(pids.begin(), pids.end())).c_str());
    return 0;
  }
  std::vector<std::string> words = {"ps"};
  if (call.words.size() > 1) words.insert(words.end(), call.words.begin() + 1, call.words.end());
  else words.emplace_back("-ef");
  TRY_ASSIGN(std::string text, read_ps(std::move(words)));
  std::size_t column = 0;
  bool first = true;
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> fields;
    for (std::string_view field : split(line, ' ')) {
      if (!field.empty()) fields.push_back(field);
    }
    if (first) {
      column = static_cast<std::size_t>(std::find(fields.begin(), fields.end(), "PID") - fields.begin());
      if (column == fields.size()) return fail(Code::kInvalidArgument, "ps prints no PID column with these options");
    }
    auto pid = column < fields.size() ? parse_int<int>(fields[column]) : std::nullopt;
    if (first || (pid && std::find(pids.begin(), pids.end(), *pid) != pids.end())) std::printf("%s\n", std::string(line).c_str());
    first = false;
  }
  return 0;
}

Result<int> run_events(Call& call) {
  if (call.arguments.flag("stats")) {
    TRY_ASSIGN(json::Value stats, call.runtime.stats(call.id()));
    std::printf("%s\n", json::format(stats).c_str());
    return 0;
  }
  std::string text = call.arguments.value("interval", "5s");
  auto number = parse_int<int>(text);  // of seconds
  Result<Duration> interval = number ? Result<Duration>(std::chrono::seconds(*number)) : parse_duration(text);
  if (!interval || *interval < std::chrono::milliseconds(1) || *interval > std::chrono::hours(24)) return fail(Code::kInvalidArgument, cat("option --interval: \"", text, "\" is not 1ms to 24h"));
  return done(call.runtime.follow_events(call.id(), std::chrono::duration_cast<std::chrono::milliseconds>(*interval)));
}

Result<int> run_features(Call&) {
  print(container::oci::features());
  return 0;
}

Result<int> run_spec(Call& call) {
  std::string path = call.arguments.value("bundle", ".") + "/config.json";
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file) return fail_errno(cat("make ", path));
  TRY_ASSIGN(json::Value example, json::parse(container::oci::example_config(call.arguments.flag("rootless"))));
  return done(sys::write_all(file.get(), json::format_indented(example) + "\n"));
}

struct UpdateMember {
  std::string_view option;
  std::string_view object;
  std::string_view member;
};
constexpr std::array kUpdateMembers = {
    UpdateMember{"blkio-weight", "blockIO", "weight"},     UpdateMember{"cpu-period", "cpu", "period"},
    UpdateMember{"cpu-quota", "cpu", "quota"},             UpdateMember{"cpu-burst", "cpu", "burst"},
    UpdateMember{"cpu-rt-period", "cpu", "realtimePeriod"}, UpdateMember{"cpu-rt-runtime", "cpu", "realtimeRuntime"},
    UpdateMember{"cpu-share", "cpu", "shares"},            UpdateMember{"cpu-idle", "cpu", "idle"},
    UpdateMember{"cpuset-cpus", "cpu", "cpus"},            UpdateMember{"cpuset-mems", "cpu", "mems"},
    UpdateMember{"memory", "memory", "limit"},             UpdateMember{"memory-reservation", "memory", "reservation"},
    UpdateMember{"memory-swap", "memory", "swap"},         UpdateMember{"pids-limit", "pids", "limit"}};

Result<int> run_update(Call& call) {
  for (const char* name : {"l3-cache-schema", "mem-bw-schema"}) {
    if (call.arguments.has(name)) return fail(Code::kUnimplemented, cat("option --", name, ": intelRdt is not supported"));
  }
  json::Value resources = json::Object();
  if (std::string file = call.arguments.value("resources"); !file.empty()) {
    Result<std::string> text = file == "-" ? sys::read_all(0, kResourcesBytesMax) : sys::read_host_file(file, kResourcesBytesMax);
    if (!text) return fail(std::move(text).error());
    TRY_ASSIGN(resources, json::parse(*text));
    if (!resources.is_object()) return fail(Code::kInvalidArgument, "option --resources: not an object");
  }
  for (const UpdateMember& row : kUpdateMembers) {
    if (!call.arguments.has(row.option)) continue;
    std::string text = call.arguments.value(row.option);
    json::Value& member = json::at_path(resources, {row.object, row.member});
    if (row.option.starts_with("cpuset")) {
      member = text;
      continue;
    }
    if (row.object == "memory") {
      TRY_ASSIGN(std::int64_t bytes, docker_client::parse_size(text));
      member = bytes;
      continue;
    }
    auto number = parse_int<std::int64_t>(text);
    if (!number) return fail(Code::kInvalidArgument, cat("option --", row.option, ": \"", text, "\" is not a number"));
    member = *number;
  }
  return done(call.runtime.update(call.id(), resources));
}

struct RuntimeCommand {
  std::string_view name;
  std::string_view usage;
  std::string_view summary;
  std::span<const RuntimeOption> options;
  std::size_t words_min;
  std::size_t words_max;
  Result<int> (*run)(Call&);
};
constexpr std::size_t kAny = 1U << 20;
const std::array kCommands = {
    RuntimeCommand{"create", "ID", "set a container up from a bundle; its program waits", kCreateOptions, 1, 1, run_create},
    RuntimeCommand{"start", "ID", "run the program of a created container", {}, 1, 1, run_start},
    RuntimeCommand{"run", "ID", "create, start, wait and delete", kRunOptions, 1, 1, run_run},
    RuntimeCommand{"state", "ID", "print the state", {}, 1, 1, run_state},
    RuntimeCommand{"kill", "ID [SIGNAL]", "send a signal (SIGTERM)", kKillOptions, 1, 2, run_kill},
    RuntimeCommand{"delete", "ID", "remove a stopped container", kDeleteOptions, 1, 1, run_delete},
    RuntimeCommand{"exec", "ID [COMMAND...]", "run one more process in a container", kExecOptions, 1, kAny, run_exec},
    RuntimeCommand{"ps", "ID [PS-OPTION...]", "list the processes of a container", kPsOptions, 1, kAny, run_ps},
    RuntimeCommand{"pause", "ID", "freeze all processes", {}, 1, 1, run_pause},
    RuntimeCommand{"resume", "ID", "thaw them", {}, 1, 1, run_resume},
    RuntimeCommand{"update", "ID", "change resource limits", kUpdateOptions, 1, 1, run_update},
    RuntimeCommand{"events", "ID", "print statistics and out-of-memory events", kEventsOptions, 1, 1, run_events},
    RuntimeCommand{"list", "", "list containers", kListOptions, 0, 0, run_list},
    RuntimeCommand{"spec", "", "write an example config.json", kSpecOptions, 0, 0, run_spec},
    RuntimeCommand{"features", "", "print what of the specification is supported", {}, 0, 0, run_features}};

int print_help(const RuntimeCommand* command) {
  if (command != nullptr) {
    std::printf("monopod runtime %s [OPTIONS] %s\n  %s\n", std::string(command->name).c_str(), std::string(command->usage).c_str(), std::string(command->summary).c_str());
    if (!command->options.empty()) std::printf("\nOptions:\n%s", format_option_help(command->options).c_str());
    return 0;
  }
  std::printf("monopod runtime [OPTIONS] COMMAND [OPTIONS] ...\n  an OCI runtime with runc's command line\n\nCommands:\n");
  for (const RuntimeCommand& one : kCommands) std::printf("  %-10s%s\n", std::string(one.name).c_str(), std::string(one.summary).c_str());
  std::printf("\nOptions:\n%s", format_option_help(kGlobalOptions).c_str());
  return 0;
}

// "...: No such file or directory", as the kernel's errors are written here: callers look for them as Go writes them.
std::string lower_reason(std::string text) {
  std::size_t at = text.rfind(": ");
  at = at == std::string::npos ? 0 : at + 2;
  auto is = [&](std::size_t i, char first, char last) { return i < text.size() && text[i] >= first && text[i] <= last; };
  if (is(at, 'A', 'Z') && is(at + 1, 'a', 'z')) text[at] = static_cast<char>(text[at] - 'A' + 'a');
  return text;
}

// Where --log points, in the shape that callers read; containerd's shim takes the last error of it.
void log_error(const RuntimeArguments& global, const std::string& message) {
  std::string path = global.value("log");
  if (path.empty()) return;
  std::string time = format_rfc3339(RealClock().wall());
  json::Object line{{"level", "error"}, {"msg", message}, {"time", time}};
  std::string text = global.value("log-format") == "json" ? json::format(line) : cat("time=\"", time, "\" level=error msg=", json::format(json::Value(message)));
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (file) (void)sys::write_all(file.get(), text + "\n");
}

Result<int> dispatch(RuntimeArguments& global, std::vector<std::string>& words, bool& is_exec, std::optional<Runtime>& runtime) {
  TRY(global.parse(kGlobalOptions, words, false));
  if (global.flag("version")) {
    std::printf("monopod runtime version %s\nspec: %s\n", MONOPOD_VERSION, std::string(container::kOciVersion).c_str());
    return 0;
  }
  bool help = words.empty() || words[0] == "help" || global.flag("help");
  if (help) return print_help(nullptr);
  log::Options logging;
  logging.level = global.flag("debug") || global.value("log-level") == "debug" ? log::Level::kDebug : log::Level::kError;
  // Where --log points, warnings go too; open for as long as the process.
  if (std::string path = global.value("log"); !path.empty()) logging.fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (global.value("log-format") == "json") logging.format = log::Format::kJson;
  log::configure(logging);
  auto command = std::find_if(kCommands.begin(), kCommands.end(), [&](const RuntimeCommand& one) { return one.name == words[0]; });
  if (words[0] == "checkpoint" || words[0] == "restore") return fail(Code::kUnimplemented, cat(words[0], ": checkpoints are not supported by this runtime"));
  if (command == kCommands.end()) return fail(Code::kInvalidArgument, cat("unknown command \"", words[0], "\": monopod runtime --help lists them"));
  words.erase(words.begin());
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) return print_help(&*command);
  is_exec = command->name == "exec";
  RuntimeArguments arguments;
  TRY(arguments.parse(command->options, words, command->words_max != kAny));
  if (words.size() < command->words_min || words.size() > command->words_max)
    return fail(Code::kInvalidArgument, cat("want: monopod runtime ", command->name, " [OPTIONS] ", command->usage));
  runtime.emplace(global.value("root", "/run/monopod/runtime"));
  Call call{*runtime, global, arguments, std::move(words)};
  return command->run(call);
}

}  // namespace

bool is_runtime_call(std::span<char*> argv) {
  if (argv.empty()) return false;
  std::string_view name = argv[0];
  name = name.substr(name.rfind('/') + 1);
  if (name == "runc" || name == "crun" || name == "monopod-runtime") return true;
  return argv.size() > 1 && std::string_view(argv[1]) == "runtime";
}

int runtime_main(std::span<char*> argv) {
  // Descriptors that we open must never be taken for the standard streams.
  std::array<struct pollfd, 3> streams = {pollfd{0, 0, 0}, pollfd{1, 0, 0}, pollfd{2, 0, 0}};
  ::poll(streams.data(), streams.size(), 0);
  for (const struct pollfd& stream : streams) {
    if ((stream.revents & POLLNVAL) != 0 && ::open("/dev/null", O_RDWR) < 0) break;  // takes the lowest number that is free: this one
  }
  if (const char* points = std::getenv("MONOPOD_FAILPOINTS"); points != nullptr) {
    if (Result<> armed = arm_failpoints(points); !armed) return report(armed);
  }
  std::string_view name = argv[0];
  bool by_name = !name.ends_with("monopod");
  std::size_t skip = !by_name || (argv.size() > 1 && std::string_view(argv[1]) == "runtime") ? 2 : 1;
  std::vector<std::string> words;
  for (std::size_t i = skip; i < argv.size(); ++i) words.emplace_back(argv[i]);
  RuntimeArguments global;
  bool is_exec = false;
  std::optional<Runtime> runtime;
  Result<int> code = dispatch(global, words, is_exec, runtime);
  if (code) {
    // What is open goes with the process.
    std::fflush(nullptr);
    std::_Exit(*code);
  }
  std::string message = lower_reason(code.error().message());
  log_error(global, message);
  std::fprintf(stderr, "monopod runtime: %s\n", message.c_str());
  return is_exec ? 255 : 1;
}

void add_runtime(CLI::App& parent, Invocation&) {
  // Answered before the command line is parsed (main.cc): here for the list of commands.
  add_command(parent, "runtime", "Containers from OCI bundles, with runc's command line", "  monopod runtime run --bundle DIR c1\n  podman --runtime /usr/local/bin/monopod-runtime run …");
}

}  // namespace monopod::cmd
