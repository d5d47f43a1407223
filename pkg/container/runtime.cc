#include "container/runtime.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "async/event.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/strings.h"
#include "container/exec_session.h"
#include "container/init_spec.h"
#include "container/mount_options.h"
#include "container/prepared_mounts.h"
#include "container/seccomp.h"
#include "sys/capabilities.h"
#include "sys/namespaces.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::container {
namespace {

constexpr const char* kBucket = "container";
constexpr std::size_t kIdBytesMax = 128;
constexpr auto kKillWait = std::chrono::seconds(30);      // a killed process that does not end is stuck in the kernel
constexpr auto kDrainWait = std::chrono::milliseconds(500);  // of an exec whose children keep its pipes open
constexpr std::size_t kFiltersMax = 32;  // that are remembered for containers to come
constexpr std::size_t kPassedMax = 240;  // the kernel takes 253 descriptors in a message

bool valid_id(std::string_view id) {
  if (id.empty() || id.size() > kIdBytesMax || id[0] == '.') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

std::string profile_key(const SeccompProfile& profile) {
  std::string key = cat(profile.default_action, profile.default_errno_ret.value_or(0));
  for (const auto& list : {profile.architectures, profile.flags}) key += cat("|", join(list, ","));
  for (const SeccompRule& rule : profile.rules) {
    key += cat("|", rule.action, rule.errno_ret.value_or(0), ":", join(rule.names, ","));
    for (const SeccompArg& arg : rule.args) key += cat("(", arg.index, arg.op, arg.value, ",", arg.value_two, ")");
  }
  return key;
}

// What takes a parent that stays for the first stage's questions.
Result<> check_supported(const ContainerConfig& config) {
  const Hooks& hooks = config.hooks;
  for (const auto* list : {&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container, &hooks.poststart, &hooks.poststop}) {
    if (!list->empty()) return fail(Code::kUnimplemented, "hooks are not supported here");
  }
  const Namespace* user = find_namespace(config, NamespaceType::kUser);
  if (user != nullptr && (user->path.empty() || config.uid_mappings.empty())) return fail(Code::kUnimplemented, "a new user namespace is not supported here: one that is there is, with its maps");
  if (!config.net_devices.empty()) return fail(Code::kUnimplemented, "linux.netDevices is not supported here");
  if (config.seccomp && uses_notify(*config.seccomp)) return fail(Code::kUnimplemented, "SCMP_ACT_NOTIFY is not supported here");
  return {};
}

// Where id 0 is outside.
std::uint32_t root_outside(const std::vector<sys::IdMap>& maps) {
  for (const sys::IdMap& line : maps)
    if (line.inside == 0) return line.outside;
  return 0;
}

bool needs_preparing(const ContainerConfig& config) {
  return has_namespace(config, NamespaceType::kUser) || std::any_of(config.mounts.begin(), config.mounts.end(), [](const Mount& m) { return parse_mount_options(m).id_map; });
}

// What only we can open or mount for it, as descriptors that it finds. Blocking.
Result<> add_prepared(InitSpec& spec, supervisor::SpawnRequest& request) {
  ContainerConfig& config = spec.config;
  bool mapped = has_namespace(config, NamespaceType::kUser);
  auto pass = [&](sys::Fd fd) {
    request.fds.push_back(std::move(fd));
    return supervisor::kFirstPassedFd + static_cast<int>(request.fds.size()) - 1;
  };
  std::vector<sys::Fd> mounts;
  TRY(prepare_mounts(config, mapped, mounts));
  auto next = mounts.begin();
  for (Mount& mount : config.mounts)
    if (mount.source_fd >= 0) mount.source_fd = pass(std::move(*next++));
  if (mapped) {
    TRY_ASSIGN(sys::Fd root, prepare_root(config.rootfs));
    if (root) spec.root_fd = pass(std::move(root));
    for (Namespace& ns : config.namespaces) {
      if (ns.path.empty()) continue;
      TRY_ASSIGN(sys::Fd fd, sys::open_namespace(ns.path));
      if (ns.type == NamespaceType::kUser) request.user_namespace = std::move(fd);
      else ns.path = sys::fd_path(pass(std::move(fd)));
    }
    request.output_owner = root_outside(config.uid_mappings);
    request.output_group = root_outside(config.gid_mappings);
  }
  if (request.fds.size() > kPassedMax) return fail(Code::kResourceExhausted, cat("more than ", kPassedMax, " mounts that are handed over"));
  return {};
}

bool has_own_pid_namespace(const ContainerConfig& config) {
  if (!config.pid_namespace_of.empty()) return false;
  return std::any_of(config.namespaces.begin(), config.namespaces.end(), [](const Namespace& ns) { return ns.type == NamespaceType::kPid; });
}

}  // namespace

std::string_view format_status(Status status) {
  switch (status) {
    case Status::kCreating: return "creating";
    case Status::kCreated: return "created";
    case Status::kRunning: return "running";
    case Status::kStopped: return "stopped";
  }
  return "stopped";
}

struct Runtime::Impl {
  // Most containers have the same filter, and its names are ten times what else is kept of one.
  struct Filter {
    SeccompProfile profile;
    std::string program;  // empty: not compiled yet
  };
  using FilterHandle = std::shared_ptr<Filter>;  // null: unconfined
  struct Container {
    explicit Container(async::Executor executor) : stopped(executor), gone(executor) {}
    ContainerState state;
    ContainerConfig config;  // its seccomp is the filter's
    FilterHandle filter;
    supervisor::StdioOptions stdio;
    async::Event stopped;
    async::Event gone;
    bool removing = false;
  };
  using Handle = std::shared_ptr<Container>;  // an operation may outlive the removal of what it works on

  async::Executor executor;
  async::Time& time;
  async::Pool& pool;
  async::StateStore& store;
  supervisor::Supervisor& supervisor;
  sys::Cgroups& cgroups;
  Options options;
  std::map<std::string, Handle> containers;
  std::map<std::string, std::shared_ptr<ExecExit>> execs;
  std::map<std::string, FilterHandle> filters;  // by profile key
  std::vector<std::function<void(const ContainerState&)>> stopped_callbacks;
  bool limits_said = false;

  Result<Handle> find(const std::string& id) const {
    auto it = containers.find(id);
    if (it == containers.end()) return fail(Code::kNotFound, cat("container ", id, " does not exist"));
    return it->second;
  }

  Result<Handle> find_running(const std::string& id) const {
    TRY_ASSIGN(Handle c, find(id));
    if (c->state.status != Status::kRunning) return fail(Code::kFailedPrecondition, cat("container ", id, " is not running"));
    return c;
  }

  // ---- remembering

  static std::string remember(const Container& c) {
    ContainerConfig config = c.config;
    if (c.filter) config.seccomp = c.filter->profile;
    json::Object stdio{{"logPath", c.stdio.log_path},        {"terminal", c.stdio.terminal},         {"stdin", c.stdio.stdin_open},
                       {"stdinOnce", c.stdio.stdin_once},    {"logBytesMax", c.stdio.log_bytes_max}, {"logFilesMax", c.stdio.log_files_max}};
    json::Object out{{"config", format_config(config)}, {"stdio", std::move(stdio)}, {"created", format_rfc3339_nano(c.state.created_at)}};
    return json::format(out);
  }

  FilterHandle take_filter(ContainerConfig& config) {
    if (!config.seccomp) return nullptr;
    if (filters.size() >= kFiltersMax) filters.clear();
    FilterHandle& out = filters[profile_key(*config.seccomp)];
    if (!out) out = std::make_shared<Filter>(std::move(*config.seccomp));
    config.seccomp.reset();
    return out;
  }

  Result<Handle> recall(const std::string& id, const std::string& text) {
    TRY_ASSIGN(json::Value value, json::parse(text));
    auto c = std::make_shared<Container>(executor);
    const json::Value* config = json::find(value, {"config"});
    if (config == nullptr) return fail(Code::kDataLoss, cat("container ", id, ": record has no config"));
    TRY_ASSIGN(c->config, parse_config(*config));
    c->filter = take_filter(c->config);
    c->stdio.log_path = json::get_string(value, {"stdio", "logPath"});
    c->stdio.terminal = json::get_bool(value, {"stdio", "terminal"});
    c->stdio.stdin_open = json::get_bool(value, {"stdio", "stdin"});
    c->stdio.stdin_once = json::get_bool(value, {"stdio", "stdinOnce"});
    TRY_ASSIGN(c->state.created_at, parse_rfc3339(json::get_string(value, {"created"})));
    describe(id, *c);
    return c;
  }

  void describe(const std::string& id, Container& c) const {
    c.state.id = id;
    c.state.cgroup_path = c.config.cgroup_path;
    c.state.log_path = c.stdio.log_path;
    c.state.annotations = c.config.annotations;
  }

  // ---- the supervisor's news

  // Exits told before open() had made its picture: the list that it is made from may be older than they are.
  std::map<std::string, supervisor::Process> early_exits;
  bool opened = false;

  void on_exit(const supervisor::Process& process) {
    if (auto exec = execs.find(process.id); exec != execs.end()) {
      exec->second->result = {process.exit_code, process.signal};
      exec->second->done.set();
      execs.erase(exec);
      return;
    }
    auto it = containers.find(process.id);
    if (it == containers.end()) {
      if (!opened) early_exits[process.id] = process;
      return;
    }
    mark_stopped(*it->second, process);
    if (it->second->removing) return;
    ContainerState state = it->second->state;
    for (const auto& callback : stopped_callbacks) callback(state);
  }

  void mark_stopped(Container& c, const supervisor::Process& process) {
    c.state.status = Status::kStopped;
    c.state.pid = 0;
    c.state.exit_code = process.exit_code;
    c.state.signal = process.signal;
    c.state.finished_at = process.finished_at;
    if (c.state.started_at == WallTime{}) c.state.started_at = process.started_at;
    // The group outlives its processes, so a node that was away still learns this. A few small reads from memory.
    if (!c.config.cgroup_path.empty()) {
      Result<sys::CgroupStats> stats = cgroups.stats(c.config.cgroup_path);
      c.state.oom_killed = stats && stats->oom_kills > 0;
    }
    c.stopped.set();
  }

  // ---- creating

  struct Prepared {
    sys::Cgroups::Entry entry;
    std::string program;  // seccomp
  };

  // On the pool: control group and filter.
  static Result<Prepared> prepare(sys::Cgroups& groups, const ContainerConfig& config, const Filter* filter) {
    Prepared out;
    if (!config.cgroup_path.empty()) {
      TRY(groups.create(config.cgroup_path));
      TRY(groups.set_limits(config.cgroup_path, config.resources.limits));
      if (!config.resources.devices.empty()) TRY(groups.set_devices(config.cgroup_path, config.resources.devices));
      TRY_ASSIGN(out.entry, groups.open_entry(config.cgroup_path));
    }
    if (filter == nullptr) return out;
    out.program = filter->program;
    if (out.program.empty()) {
      TRY_ASSIGN(out.program, compile_seccomp(filter->profile));
    }
    return out;
  }

  async::Task<Result<Prepared>> prepare_on_pool(const ContainerConfig& config, FilterHandle filter) {
    // What the pool reads is not written meanwhile: another container may compile the same.
    Filter own = filter ? Filter{filter->program.empty() ? filter->profile : SeccompProfile{}, filter->program} : Filter{};
    auto work = [this, &config, own = filter ? &own : nullptr] { return prepare(cgroups, config, own); };
    CO_TRY_ASSIGN(Prepared prepared, co_await pool.run(work));
    if (filter) filter->program = prepared.program;
    co_return prepared;
  }

  void warn_limits(const ContainerConfig& config) {
    if (limits_said) return;
    for (const Rlimit& limit : config.process.rlimits) {
      auto number = sys::find_rlimit(limit.type);
      struct rlimit own = {};
      if (!number || ::getrlimit(static_cast<__rlimit_resource_t>(*number), &own) < 0 || limit.hard <= own.rlim_max) continue;
      Result<sys::OwnCapabilities> caps = sys::own_capabilities();
      if (caps && (caps->effective >> 24 & 1) != 0) return;  // CAP_SYS_RESOURCE
      limits_said = true;
      log::warn("hard resource limits are clamped: no CAP_SYS_RESOURCE", {{"limit", limit.type}, {"own_hard", own.rlim_max}});
      return;
    }
  }

  InitSpec base_spec(const ContainerConfig& config, const Filter* filter, Prepared& prepared) const {
    InitSpec spec;
    spec.config = config;
    spec.seccomp_program = std::move(prepared.program);
    if (filter != nullptr) spec.seccomp_flags = seccomp_load_flags(filter->profile);
    if (!config.cgroup_path.empty()) spec.cgroup_views = cgroups.views(config.cgroup_path);
    spec.procs_fds = static_cast<int>(prepared.entry.procs.size());
    spec.setgroups = sys::may_set_groups();
    return spec;
  }

  async::Task<Result<>> spawn(Handle c) {
    CO_TRY_ASSIGN(Prepared prepared, co_await prepare_on_pool(c->config, c->filter));
    InitSpec spec = base_spec(c->config, c->filter.get(), prepared);
    spec.hold = true;
    spec.columns = c->stdio.columns;
    spec.rows = c->stdio.rows;
    supervisor::SpawnRequest request;
    request.id = c->state.id;
    if (has_own_pid_namespace(c->config)) request.clone_flags |= CLONE_NEWPID;
    request.pid_namespace_of = c->config.pid_namespace_of;
    request.cgroup = std::move(prepared.entry.cgroup);
    request.fds = std::move(prepared.entry.procs);
    request.stdio = c->stdio;
    request.hold = true;
    if (needs_preparing(c->config)) CO_TRY(co_await pool.run([&] { return add_prepared(spec, request); }));
    request.spec = format_init_spec(spec);
    CO_TRY_ASSIGN(supervisor::SpawnResult spawned, co_await supervisor.spawn(std::move(request)));
    c->state.pid = spawned.pid;
    // What it may not do from inside of a user namespace.
    if (auto score = c->config.process.oom_score_adj; score && has_namespace(c->config, NamespaceType::kUser))
      (void)sys::write_host_file(cat("/proc/", spawned.pid, "/oom_score_adj"), cat(*score));
    c->state.status = Status::kCreated;
    co_return Result<>();
  }

  // ---- removing

  async::Task<Result<>> end_processes(Handle c) {
    std::string id = c->state.id;
    if (!c->config.cgroup_path.empty()) {
      auto work = [this, group = c->config.cgroup_path] { return cgroups.kill_all(group); };
      Result<> killed = co_await pool.run(work);
      if (!killed && killed.error().code() != Code::kNotFound) log::warn("a control group is not killed at once", {{"container", id}, {"error", killed.error()}});
    }
    if (c->state.status == Status::kCreated || c->state.status == Status::kRunning) {
      (void)co_await supervisor.signal(id, SIGKILL);
      CO_TRY(co_await async::with_timeout<void>(time, kKillWait, "kill container", c->stopped.wait()));
    }
    co_return Result<>();
  }

  async::Task<Result<>> remove_now(Handle c) {
    std::string id = c->state.id;
    CO_TRY(co_await end_processes(c));
    CO_TRY(co_await supervisor.forget(id));
    if (!c->config.cgroup_path.empty()) {
      auto work = [this, group = c->config.cgroup_path] { return cgroups.remove(group); };
      CO_TRY(co_await pool.run(work));
    }
    CO_TRY(co_await store.remove(kBucket, id, async::Lasts::kUntilReboot));
    containers.erase(id);
    c->gone.set();
    co_return Result<>();
  }

  // After a failed create: as if it had never been.
  async::Task<> discard(Handle c) {
    std::string id = c->state.id;
    c->removing = true;
    Result<> removed = co_await remove_now(c);
    if (!removed) log::warn("a container that could not be created leaves something behind", {{"container", id}, {"error", removed.error()}});
    containers.erase(id);
    c->gone.set();
  }
};

Runtime::Runtime(async::Executor executor, async::Time& time, async::Pool& pool, async::StateStore& state, supervisor::Supervisor& supervisor,
                 sys::Cgroups& cgroups, Options options)
    : impl_(new Impl{executor, time, pool, state, supervisor, cgroups, std::move(options), {}, {}, {}, {}, false}) {
  supervisor.on_exit([impl = impl_.get()](const supervisor::Process& process) { impl->on_exit(process); });
}
Runtime::~Runtime() { impl_->supervisor.on_exit({}); }

void Runtime::on_stopped(std::function<void(const ContainerState&)> callback) { impl_->stopped_callbacks.push_back(std::move(callback)); }

async::Task<Result<>> Runtime::open() {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CO_TRY_ASSIGN(Pairs remembered, co_await impl_->store.list(kBucket));
  CO_TRY_ASSIGN(std::vector<supervisor::Process> processes, co_await impl_->supervisor.list());
  for (const auto& [id, text] : remembered) {
    Result<Impl::Handle> c = impl_->recall(id, text);
    if (!c) {
      log::warn("a container record is damaged and is dropped", {{"container", id}, {"error", c.error()}});
      CO_TRY(co_await impl_->store.remove(kBucket, id, async::Lasts::kUntilReboot));
      continue;
    }
    impl_->containers[id] = std::move(*c);
  }
  for (const auto& entry : impl_->containers) {
    Impl::Container& c = *entry.second;
    auto process = std::find_if(processes.begin(), processes.end(), [&](const supervisor::Process& p) { return p.id == entry.first; });
    if (process == processes.end()) {
      // The host was restarted, or the node died between remembering and spawning.
      supervisor::Process lost;
      lost.exit_code = -1;
      lost.finished_at = impl_->time.wall();
      impl_->mark_stopped(c, lost);
      continue;
    }
    c.state.started_at = process->started_at;
    if (auto early = impl_->early_exits.find(entry.first); early != impl_->early_exits.end()) {
      impl_->mark_stopped(c, early->second);
    } else if (process->state == supervisor::ProcessState::kExited) {
      impl_->mark_stopped(c, *process);
    } else {
      c.state.pid = process->pid;
      c.state.status = process->state == supervisor::ProcessState::kCreated ? Status::kCreated : Status::kRunning;
    }
  }
  impl_->opened = true;
  impl_->early_exits.clear();
  for (const supervisor::Process& process : processes) {
    if (impl_->containers.contains(process.id)) continue;
    log::warn("a process that no container owns is ended", {{"process", process.id}});
    if (process.state != supervisor::ProcessState::kExited) (void)co_await impl_->supervisor.signal(process.id, SIGKILL);
    else (void)co_await impl_->supervisor.forget(process.id);
  }
  co_return Result<>();
}

async::Task<Result<>> Runtime::create(std::string id, ContainerConfig config, supervisor::StdioOptions stdio) {
  if (!valid_id(id)) co_return fail(Code::kInvalidArgument, cat("container id \"", id, "\" is not 1 to 128 of a-z A-Z 0-9 - _ ."));
  CO_TRY(validate_config(config));
  CO_TRY(check_supported(config));
  config.process.capabilities.inheritable.clear();
  if (impl_->containers.contains(id)) co_return fail(Code::kAlreadyExists, cat("container ", id, " exists"));
  if (impl_->containers.size() >= impl_->options.containers_max) co_return fail(Code::kResourceExhausted, "too many containers");
  impl_->warn_limits(config);
  auto c = std::make_shared<Impl::Container>(impl_->executor);
  stdio.terminal = config.process.terminal;
  c->config = std::move(config);
  c->filter = impl_->take_filter(c->config);
  c->stdio = std::move(stdio);
  c->state.created_at = impl_->time.wall();
  impl_->describe(id, *c);
  impl_->containers[id] = c;
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a cancelled caller still takes back what it has begun
  Result<> done = co_await impl_->store.put(kBucket, id, Impl::remember(*c), async::Lasts::kUntilReboot);
  if (done) done = co_await impl_->spawn(c);
  if (!done) co_await async::shielded(impl_->discard(c));
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return done;
}

async::Task<Result<>> Runtime::start(std::string id) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  if (c->state.status != Status::kCreated) co_return fail(Code::kFailedPrecondition, cat("container ", id, " is ", format_status(c->state.status)));
  CO_TRY_ASSIGN(WallTime started_at, co_await impl_->supervisor.start(id));  // its error is the program's own trouble; the exit event follows
  if (c->state.status == Status::kCreated) c->state.status = Status::kRunning;
  c->state.started_at = started_at;
  co_return Result<>();
}

async::Task<Result<>> Runtime::kill(std::string id, int signal) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  if (c->state.status == Status::kStopped) co_return fail(Code::kFailedPrecondition, cat("container ", id, " is not running"));
  co_return co_await impl_->supervisor.signal(id, signal);
}

async::Task<Result<>> Runtime::stop(std::string id, int signal, Duration grace) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  if (c->state.status != Status::kStopped && grace > Duration::zero()) {
    Result<> sent = co_await impl_->supervisor.signal(id, signal);
    if (sent) {
      Result<> stopped = co_await async::with_timeout<void>(impl_->time, grace, "stop container", c->stopped.wait());
      if (!stopped && stopped.error().code() != Code::kDeadlineExceeded) co_return stopped;
    }
  }
  // Also after a clean end: where the process namespace is shared, children of the program are still there.
  co_return co_await impl_->end_processes(c);
}

async::Task<Result<>> Runtime::remove(std::string id) {
  Result<Impl::Handle> found = impl_->find(id);
  if (!found) co_return Result<>();
  Impl::Handle c = *found;
  if (c->removing) co_return co_await c->gone.wait();  // forever: the first remover is bounded
  c->removing = true;
  Result<> removed = co_await impl_->remove_now(c);
  if (!removed) c->removing = false;
  co_return removed;
}

async::Task<Result<ContainerState>> Runtime::wait(std::string id) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  CO_TRY(co_await c->stopped.wait());
  co_return c->state;
}

async::Task<Result<std::unique_ptr<ExecSession>>> Runtime::exec(std::string id, ExecOptions options) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find_running(id));
  if (options.args.empty() || options.args[0].empty()) co_return fail(Code::kInvalidArgument, "exec has no command");
  ContainerConfig config = c->config;
  Impl::FilterHandle filter = options.privileged ? nullptr : c->filter;
  config.mounts.clear();
  config.init = false;
  config.pause = false;
  config.process.args = std::move(options.args);
  for (std::string& entry : options.env) {
    std::string name(split_once(entry, '=').first);
    std::erase_if(config.process.env, [&](const std::string& e) { return e.starts_with(name + "="); });
    config.process.env.push_back(std::move(entry));
  }
  if (!options.cwd.empty()) config.process.cwd = std::move(options.cwd);
  if (!options.username.empty()) config.process.username = std::move(options.username);
  config.process.terminal = options.terminal;
  if (options.privileged) {
    config.process.capabilities = all_capabilities();
  }
  CO_TRY(validate_config(config));

  // The group exists already: only its entry is opened.
  ContainerConfig for_prepare = config;
  for_prepare.cgroup_path.clear();
  CO_TRY_ASSIGN(Impl::Prepared prepared, co_await impl_->prepare_on_pool(for_prepare, filter));
  if (!config.cgroup_path.empty()) {
    CO_TRY_ASSIGN(prepared.entry, impl_->cgroups.open_entry(config.cgroup_path));
  }
  InitSpec spec = impl_->base_spec(config, filter.get(), prepared);
  spec.mode = InitMode::kExec;
  spec.columns = options.columns;
  spec.rows = options.rows;

  supervisor::SpawnRequest request;
  request.id = cat(id, "/exec-", impl_->time.wall().time_since_epoch().count());
  request.spec = format_init_spec(spec);
  request.pid_namespace_of = id;
  request.pass_pidfd_of = id;
  request.cgroup = std::move(prepared.entry.cgroup);
  request.fds = std::move(prepared.entry.procs);
  request.stdio.terminal = options.terminal;
  request.stdio.columns = options.columns;
  request.stdio.rows = options.rows;
  request.return_terminal = options.terminal;
  ExecStreams streams;
  if (!options.terminal) {
    CO_TRY_ASSIGN(request.streams, make_exec_pipes(impl_->executor, options.stdin_open, streams));
  }
  if (const Namespace* user = find_namespace(config, NamespaceType::kUser)) {
    CO_TRY_ASSIGN(request.user_namespace, sys::open_namespace(user->path));
    for (sys::Fd& fd : request.streams) (void)::fchown(fd.get(), root_outside(config.uid_mappings), root_outside(config.gid_mappings));
  }
  std::string exec_id = request.id;
  auto exit = std::make_shared<ExecExit>(impl_->executor);
  impl_->execs[exec_id] = exit;
  Result<supervisor::SpawnResult> spawned = co_await impl_->supervisor.spawn(std::move(request));
  if (!spawned) {
    impl_->execs.erase(exec_id);
    co_return fail(std::move(spawned).error());
  }
  if (options.terminal) streams.terminal = std::move(spawned->terminal);
  co_return make_exec_session(impl_->executor, impl_->supervisor, exec_id, spawned->pid, exit, std::move(streams));
}

namespace {

async::Task<Result<>> read_capped(async::Stream* stream, std::string* out, std::size_t bytes_max) {
  std::array<std::byte, 16384> buffer;
  while (stream != nullptr) {
    CO_TRY_ASSIGN(std::size_t n, co_await stream->read_some(buffer));
    if (n == 0) break;
    out->append(as_text(std::span(buffer).first(n)).substr(0, bytes_max - std::min(bytes_max, out->size())));
  }
  co_return Result<>();
}

async::Task<Result<>> collect_in(async::Scope& scope, async::Time& time, ExecSession& session, ExecSyncOutput& out, std::size_t bytes_max) {
  scope.spawn(read_capped(session.stdout_stream(), &out.stdout_text, bytes_max));
  scope.spawn(read_capped(session.stderr_stream(), &out.stderr_text, bytes_max));
  CO_TRY_ASSIGN(ExecResult ended, co_await session.wait());
  out.exit_code = ended.exit_code;
  // What the command left behind may hold the pipes: its output is not waited for.
  Result<> drained = co_await async::with_timeout<void>(time, kDrainWait, "drain", scope.join());
  if (!drained && drained.error().code() != Code::kDeadlineExceeded) co_return drained;
  co_return Result<>();
}

async::Task<Result<ExecSyncOutput>> collect(async::Time& time, ExecSession& session, std::size_t bytes_max) {
  ExecSyncOutput out;
  CO_TRY(co_await async::run_scoped([&](async::Scope& scope) { return collect_in(scope, time, session, out, bytes_max); }));
  co_return out;
}

}  // namespace

async::Task<Result<ExecSyncOutput>> Runtime::exec_sync(std::string id, ExecOptions options, Duration timeout, std::size_t bytes_max) {
  options.terminal = false;
  options.stdin_open = false;
  std::string name = options.args.empty() ? std::string() : options.args[0];
  CO_TRY_ASSIGN(std::unique_ptr<ExecSession> session, co_await exec(std::move(id), std::move(options)));
  auto work = collect(impl_->time, *session, bytes_max);
  if (timeout <= Duration::zero()) co_return co_await std::move(work);
  Result<ExecSyncOutput> out = co_await async::with_timeout<ExecSyncOutput>(impl_->time, timeout, cat("exec ", name), std::move(work));
  if (!out) (void)co_await session->signal(SIGKILL);
  co_return out;
}

async::Task<Result<AttachedStreams>> Runtime::attach(std::string id, bool stdin_, bool stdout_, bool stderr_) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  if (c->state.status == Status::kStopped) co_return fail(Code::kFailedPrecondition, cat("container ", id, " is not running"));
  bool terminal = c->config.process.terminal;
  bool input = stdin_ && (c->stdio.stdin_open || terminal);
  CO_TRY_ASSIGN(supervisor::AttachedStreams fds, co_await impl_->supervisor.attach({id, input, stdout_, stderr_ && !terminal}));
  AttachedStreams out;
  if (fds.stdin_) out.stdin_stream = sys::make_stream(impl_->executor, std::move(fds.stdin_));
  if (fds.stdout_) out.stdout_stream = sys::make_stream(impl_->executor, std::move(fds.stdout_));
  if (fds.stderr_) out.stderr_stream = sys::make_stream(impl_->executor, std::move(fds.stderr_));
  co_return out;
}

async::Task<Result<>> Runtime::resize(std::string id, std::uint16_t columns, std::uint16_t rows) {
  CO_TRY(impl_->find(id));
  co_return co_await impl_->supervisor.resize(id, columns, rows);
}

async::Task<Result<>> Runtime::reopen_log(std::string id) {
  CO_TRY(impl_->find(id));
  co_return co_await impl_->supervisor.reopen_log(id);
}

async::Task<Result<>> Runtime::update(std::string id, sys::CgroupLimits limits) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  c->config.resources.limits = limits;
  auto work = [impl = impl_.get(), group = c->config.cgroup_path, limits] { return impl->cgroups.set_limits(group, limits); };
  CO_TRY(co_await impl_->pool.run(work));
  co_return co_await impl_->store.put(kBucket, id, Impl::remember(*c), async::Lasts::kUntilReboot);
}

async::Task<Result<>> Runtime::set_paused(std::string id, bool paused) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find_running(id));
  auto work = [impl = impl_.get(), group = c->config.cgroup_path, paused] { return impl->cgroups.set_frozen(group, paused); };
  co_return co_await impl_->pool.run(work);
}

Result<ContainerState> Runtime::state(const std::string& id) const {
  TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  return c->state;
}

std::vector<ContainerState> Runtime::list() const {
  std::vector<ContainerState> out;
  for (const auto& [id, c] : impl_->containers) out.push_back(c->state);
  return out;
}

async::Task<Result<ContainerStats>> Runtime::stats(std::string id) {
  CO_TRY_ASSIGN(Impl::Handle c, impl_->find(id));
  co_return co_await group_stats(c->config.cgroup_path);
}

async::Task<Result<>> Runtime::create_group(std::string group, sys::CgroupLimits limits) {
  auto work = [impl = impl_.get(), group, limits]() -> Result<> {
    TRY(impl->cgroups.create(group));
    return impl->cgroups.set_limits(group, limits);
  };
  co_return co_await impl_->pool.run(work);
}

async::Task<Result<>> Runtime::remove_group(std::string group) {
  auto work = [impl = impl_.get(), group] { return impl->cgroups.remove(group); };
  co_return co_await impl_->pool.run(work);
}

async::Task<Result<ContainerStats>> Runtime::group_stats(std::string group) {
  auto work = [impl = impl_.get(), group] { return impl->cgroups.stats(group); };
  CO_TRY_ASSIGN(sys::CgroupStats stats, co_await impl_->pool.run(work));
  co_return ContainerStats{stats, impl_->time.wall()};
}

}  // namespace monopod::container
