// Everything after create but exec: start, kill, delete, pause, update, and what is told of a container.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/failpoint.h"
#include "base/strings.h"
#include "container/hooks.h"
#include "container/oci/destroy.h"
#include "container/oci/group.h"
#include "container/oci/launch.h"
#include "container/oci/listener.h"
#include "container/oci/resources.h"
#include "container/oci/runtime.h"
#include "supervisor/init_protocol.h"
#include "sys/packet_socket.h"

namespace monopod::container::oci {
namespace {

struct SignalName {
  std::string_view name;
  int number;
};
constexpr std::array kSignals = {
    SignalName{"HUP", SIGHUP},   SignalName{"INT", SIGINT},   SignalName{"QUIT", SIGQUIT}, SignalName{"ILL", SIGILL},       SignalName{"TRAP", SIGTRAP},
    SignalName{"ABRT", SIGABRT}, SignalName{"IOT", SIGABRT},  SignalName{"BUS", SIGBUS},   SignalName{"FPE", SIGFPE},       SignalName{"KILL", SIGKILL},
    SignalName{"USR1", SIGUSR1}, SignalName{"SEGV", SIGSEGV}, SignalName{"USR2", SIGUSR2}, SignalName{"PIPE", SIGPIPE},     SignalName{"ALRM", SIGALRM},
    SignalName{"TERM", SIGTERM}, SignalName{"STKFLT", 16},    SignalName{"CHLD", SIGCHLD}, SignalName{"CLD", SIGCHLD},      SignalName{"CONT", SIGCONT},
    SignalName{"STOP", SIGSTOP}, SignalName{"TSTP", SIGTSTP}, SignalName{"TTIN", SIGTTIN}, SignalName{"TTOU", SIGTTOU},     SignalName{"URG", SIGURG},
    SignalName{"XCPU", SIGXCPU}, SignalName{"XFSZ", SIGXFSZ}, SignalName{"VTALRM", SIGVTALRM}, SignalName{"PROF", SIGPROF}, SignalName{"WINCH", SIGWINCH},
    SignalName{"IO", SIGIO},     SignalName{"POLL", SIGIO},   SignalName{"PWR", SIGPWR},   SignalName{"SYS", SIGSYS},       SignalName{"RTMIN", 34},
    SignalName{"RTMAX", 64}};

std::unexpected<Error> wrong_status(const std::string& text) { return fail(Code::kFailedPrecondition, text); }

bool lives(RuntimeStatus status) { return status == RuntimeStatus::kCreated || status == RuntimeStatus::kRunning || status == RuntimeStatus::kPaused; }

Result<std::vector<int>> processes_of(const Record& record) {
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(record.controllers));
  return groups->processes(record.group);
}

Result<> signal_all(const Record& record, int signal) {
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(record.controllers));
  if (signal == SIGKILL) return groups->kill_all(record.group);
  TRY_ASSIGN(std::vector<int> pids, groups->processes(record.group));
  for (int pid : pids) {
    // A number may be another's by now, but not with this group: looked at once more through the descriptor.
    Result<sys::Pidfd> process = sys::Pidfd::open(pid);
    if (process) (void)process->send_signal(signal);
  }
  return {};
}

// Where its processes do not end with its first one: there is no process namespace, or it is another's.
bool outlives_first_process(const StateDirectory& directory, const Record& record) {
  if (record.group.empty()) return false;
  Result<ContainerConfig> config = directory.read_config();
  if (!config) return false;
  auto own = [](const Namespace& ns) { return ns.type == NamespaceType::kPid && ns.path.empty(); };
  return std::ranges::none_of(config->namespaces, own);
}

}  // namespace

std::optional<int> find_signal(std::string_view name) {
  if (auto number = parse_int<int>(name)) return *number >= 0 && *number <= 64 ? number : std::nullopt;  // 0 only asks
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string_view text = upper;
  if (text.starts_with("SIG")) text.remove_prefix(3);
  auto [base, offset] = split_once(text, text.starts_with("RTMIN") ? '+' : '-');
  auto row = std::find_if(kSignals.begin(), kSignals.end(), [&](const SignalName& s) { return s.name == base; });
  if (row == kSignals.end()) return std::nullopt;
  if (!offset) return row->number;
  auto distance = parse_int<int>(*offset);
  if (!distance || *distance < 0 || *distance > 30 || !base.starts_with("RT")) return std::nullopt;
  return base == "RTMIN" ? row->number + *distance : row->number - *distance;
}

void Runtime::look(Found& c) const {
  Result<sys::Pidfd> process = find_process(c.record);
  if (!process) {
    c.status = c.record.pid == 0 && c.directory.locked_by_other() ? RuntimeStatus::kCreating : RuntimeStatus::kStopped;
    return;
  }
  c.process = std::move(*process);
  Result<sys::Fd> waiting = c.directory.connect();
  if (waiting) c.waiting = std::move(*waiting);
  c.status = c.waiting ? RuntimeStatus::kCreated : is_frozen(c.record) ? RuntimeStatus::kPaused : RuntimeStatus::kRunning;
}

void Runtime::let_go() {
  stage_.reset();
  made_.reset();
  found_.reset();
}

Result<Runtime::Found> Runtime::find(const std::string& id, bool lock) {
  let_go();
  TRY_ASSIGN(StateDirectory directory, StateDirectory::open(root_, id));
  if (lock) TRY(directory.lock());
  Result<Record> record = directory.read();
  if (!record && record.error().code() == Code::kNotFound) {
    // Its creator died, or is about to write one.
    Record nothing;
    nothing.id = id;
    RuntimeStatus status = directory.locked_by_other() ? RuntimeStatus::kCreating : RuntimeStatus::kStopped;
    return Found{std::move(directory), std::move(nothing), lock ? RuntimeStatus::kStopped : status, std::nullopt, {}};
  }
  if (!record) return fail(std::move(record).error());
  Found out{std::move(directory), std::move(*record), RuntimeStatus::kStopped, std::nullopt, {}};
  look(out);
  if (!lock) out.waiting.reset();
  if (lock && out.status == RuntimeStatus::kCreating) out.status = RuntimeStatus::kStopped;  // the lock is ours: its creator is dead
  return out;
}

Result<> Runtime::start(const std::string& id) {
  TRY_ASSIGN(found_, find(id, true));
  Found& c = *found_;
  if (c.status == RuntimeStatus::kStopped) return wrong_status("cannot start a container that has stopped");
  if (c.status != RuntimeStatus::kCreated) return wrong_status(cat("cannot start an already ", format_status(c.status), " container"));
  ContainerConfig config;
  if (!c.record.plain) {
    TRY_ASSIGN(config, c.directory.read_config());
  }
  if (config.pause) {
    (void)kill_everything(c.record);
    return fail(Code::kFailedPrecondition, "cannot start a container whose process is not set");
  }
  TRY(failpoint("runtime.before_start"));
  int channel = c.waiting.get();
  TRY(sys::send_packet(channel, std::string_view(&supervisor::kSyncStart, 1)));
  auto on_listener = [&](sys::Fd listener) { return hand_over_listener(config, format_state(c.record, RuntimeStatus::kRunning), c.record.pid, listener.get()); };
  Result<> started = follow_to_exec(channel, on_listener);
  if (started) started = failpoint("runtime.after_start");
  if (started) started = run_hooks("poststart", config.hooks.poststart, json::format(format_state(c.record, RuntimeStatus::kRunning)));
  if (started) return {};
  // Stopped, and left for delete.
  (void)kill_everything(c.record);
  return started;
}

Result<> Runtime::kill(const std::string& id, int signal, bool all) {
  TRY_ASSIGN(Found c, find(id, false));
  // After its process, others of a shared process namespace may still be there.
  if (all && !c.record.group.empty()) return signal_all(c.record, signal);
  if (signal == SIGKILL && outlives_first_process(c.directory, c.record)) {
    TRY_ASSIGN(std::vector<int> left, processes_of(c.record));
    if (!left.empty()) return signal_all(c.record, signal);
  }
  if (!lives(c.status)) return all ? Result<>() : wrong_status("container not running");
  Result<> sent = c.process->send_signal(signal);
  if (!sent && sent.error().os_errno() == ESRCH) return wrong_status("container not running");
  if (!sent) return sent;
  if (signal == SIGKILL && c.status == RuntimeStatus::kPaused) {
    TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(c.record.controllers));
    if (groups->mode() == sys::CgroupMode::kV1) return groups->set_frozen(c.record.group, false);
  }
  return {};
}

Result<> Runtime::remove(const std::string& id, bool force) {
  Result<Found> c = find(id, true);
  if (!c && c.error().code() == Code::kNotFound && force) return {};
  if (!c && force) {
    // A record that cannot be read (a disk that lost power) says of nothing else that is left: what its name tells is undone.
    TRY_ASSIGN(StateDirectory directory, StateDirectory::open(root_, id));
    TRY(directory.lock());
    Record guess;
    guess.id = id;
    Result<ContainerConfig> config = directory.read_config();
    guess.group = group_path(config ? config->cgroup_path : std::string(), id);
    return destroy(directory, guess);
  }
  if (!c) return fail(std::move(c).error());
  found_ = std::move(*c);
  return remove_found(id, force);
}

Result<> Runtime::remove_found(const std::string& id, bool force) {
  Found* c = &*found_;
  if (!force && c->status != RuntimeStatus::kStopped)
    return wrong_status(cat("cannot delete container ", id, " that is not stopped: ", format_status(c->status)));
  Result<ContainerConfig> config = c->record.plain ? ContainerConfig() : c->directory.read_config();
  bool was_created = c->record.pid != 0;
  TRY(destroy(c->directory, c->record, c->process ? &*c->process : nullptr));
  if (config && was_created) run_poststop_hooks(config->hooks.poststop, json::format(format_state(c->record, RuntimeStatus::kStopped)), id);
  return {};
}

Result<> Runtime::set_paused(const std::string& id, bool paused) {
  TRY_ASSIGN(Found c, find(id, true));
  if (paused && c.status != RuntimeStatus::kRunning && c.status != RuntimeStatus::kCreated) return wrong_status("container not running");
  if (!paused && c.status != RuntimeStatus::kPaused) return wrong_status("container not paused");
  if (c.record.group.empty()) return fail(Code::kFailedPrecondition, "the container has no control group: it cannot be paused");
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(c.record.controllers));
  return groups->set_frozen(c.record.group, paused);
}

Result<> Runtime::update(const std::string& id, const json::Value& given) {
  json::Value resources = spell_resources(given);
  TRY_ASSIGN(Found c, find(id, true));
  if (!lives(c.status)) return wrong_status("container not running");
  if (c.record.group.empty()) return fail(Code::kFailedPrecondition, "the container has no control group: it cannot be limited");
  json::Value all = c.record.resources;
  merge_resources(all, resources);
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> probe, open_groups({}));
  bool v2 = is_v2();
  // What is written is what changed; what is checked, and remembered, is the whole.
  TRY_ASSIGN(std::vector<Setting> whole, plan_resources(all, v2));
  json::Value needed = resources;
  if (const json::Value* swap = json::find(needed, {"memory", "swap"}); swap != nullptr && json::find(needed, {"memory", "limit"}) == nullptr) {
    if (const json::Value* limit = json::find(all, {"memory", "limit"})) json::at_path(needed, {"memory", "limit"}) = *limit;
  }
  TRY_ASSIGN(std::vector<Setting> changed, plan_resources(needed, v2));
  for (const std::string& controller : controllers_of(changed)) {
    if (v2 || probe->has(controller)) continue;
    if (std::find(c.record.controllers.begin(), c.record.controllers.end(), controller) != c.record.controllers.end()) continue;
    // Its processes are not in that hierarchy: they would have to be moved there, one by one.
    TRY(enter_controller(c.record, controller));
    c.record.controllers.push_back(controller);
  }
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(c.record.controllers));
  if (v2 && json::find(resources, {"memory"}) != nullptr) {
    auto bytes = [&](const char* file) { return parse_int<std::uint64_t>(trim(groups->read(c.record.group, "memory", file).value_or(""))).value_or(0); };
    TRY(check_memory_use(all, bytes("memory.current"), bytes("memory.swap.current")));
  }
  if (!c.record.scope.empty()) {
    TRY_ASSIGN(Systemd manager, Systemd::connect());
    TRY(manager.set_limits(c.record.scope, changed));
  }
  TRY(apply_resources(*groups, c.record.group, changed));
  c.record.resources = std::move(all);
  return c.directory.write(c.record);
}

Result<json::Value> Runtime::state(const std::string& id) {
  TRY_ASSIGN(Found c, find(id, false));
  return format_state(c.record, c.status);
}

Result<std::vector<json::Value>> Runtime::list() {
  std::vector<json::Value> out;
  TRY_ASSIGN(std::vector<std::string> ids, StateDirectory::list(root_));
  for (const std::string& id : ids) {
    if (Result<json::Value> one = state(id)) out.push_back(std::move(*one));
  }
  return out;
}

Result<std::vector<int>> Runtime::processes(const std::string& id) {
  TRY_ASSIGN(Found c, find(id, false));
  if (c.record.group.empty()) return lives(c.status) ? std::vector<int>{c.record.pid} : std::vector<int>();
  return processes_of(c.record);
}

}  // namespace monopod::container::oci
