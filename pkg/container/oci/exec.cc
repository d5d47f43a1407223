// exec: one more process in a container.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "container/oci/bundle.h"
#include "container/oci/console.h"
#include "container/oci/group.h"
#include "container/oci/launch.h"
#include "container/oci/listener.h"
#include "container/oci/pid_file.h"
#include "container/oci/runtime.h"
#include "container/seccomp.h"
#include "sys/capabilities.h"

namespace monopod::container::oci {
namespace {

constexpr std::size_t kProcessBytesMax = 4U << 20;

Result<ProcessSpec> read_process(const std::string& path) {
  TRY_ASSIGN(std::string text, sys::read_host_file(path, kProcessBytesMax));
  TRY_ASSIGN(json::Value value, json::parse(text));
  Result<ProcessSpec> process = parse_process(value);
  if (!process) return fail(std::move(process).error().with(path));
  TRY(drop_unknown_capabilities(process->capabilities));
  return process;
}

Result<> set_user(ProcessSpec& process, const std::string& text) {
  auto [uid, gid] = split_once(text, ':');
  auto number = parse_int<std::uint32_t>(uid);
  auto group = gid ? parse_int<std::uint32_t>(*gid) : std::optional(process.user.gid);
  if (!number || !group) return fail(Code::kInvalidArgument, cat("--user \"", text, "\" is not UID[:GID]"));
  process.user.uid = *number;
  process.user.gid = *group;
  return {};
}

Result<> add_capability(Capabilities& capabilities, const std::string& name) {
  if (!sys::find_capability(name)) return fail(Code::kInvalidArgument, cat("--cap: unknown capability ", name));
  // Not the ambient set: it cannot be had without the inheritable one.
  for (auto* set : {&capabilities.bounding, &capabilities.effective, &capabilities.permitted}) {
    if (std::find(set->begin(), set->end(), name) == set->end()) set->push_back(name);
  }
  return {};
}

Result<ProcessSpec> choose_process(const ExecRequest& request, const ProcessSpec& of_container) {
  if (!request.process_file.empty()) return read_process(request.process_file);
  if (request.args.empty()) return fail(Code::kInvalidArgument, "process args cannot be empty");
  ProcessSpec process = of_container;
  process.args = request.args;
  process.terminal = request.terminal;
  process.console_rows = 0;
  process.capabilities.inheritable.clear();  // CVE-2022-29162
  if (!request.cwd.empty()) process.cwd = request.cwd;
  for (const std::string& entry : request.env) process.env.push_back(entry);
  if (!request.user.empty()) TRY(set_user(process, request.user));
  if (!request.additional_gids.empty()) process.user.additional_gids = request.additional_gids;
  for (const std::string& name : request.capabilities) TRY(add_capability(process.capabilities, name));
  if (!request.apparmor_profile.empty()) process.apparmor_profile = request.apparmor_profile;
  if (!request.selinux_label.empty()) process.selinux_label = request.selinux_label;
  if (request.no_new_privileges) process.no_new_privileges = true;
  return process;
}

std::uint64_t flags_to_join(const ContainerConfig& config) {
  std::uint64_t out = CLONE_NEWNS;
  for (const Namespace& ns : config.namespaces) {
    switch (ns.type) {
      case NamespaceType::kNetwork: out |= CLONE_NEWNET; break;
      case NamespaceType::kIpc: out |= CLONE_NEWIPC; break;
      case NamespaceType::kUts: out |= CLONE_NEWUTS; break;
      case NamespaceType::kCgroup: out |= CLONE_NEWCGROUP; break;
      case NamespaceType::kTime: out |= CLONE_NEWTIME; break;
      default: break;  // at birth
    }
  }
  return out;
}

using Views = std::vector<std::pair<std::string, std::string>>;  // sys::Cgroups::views()

// The path below a group, by the name of its hierarchy; by "" for all.
Result<std::map<std::string, std::string>> parse_groups(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> out;
  for (const std::string& text : texts) {
    auto [names, path] = split_once(text, ':');
    std::string below(path.value_or(text));
    for (std::string_view part : split(below, '/'))
      if (part == "..") return fail(Code::kInvalidArgument, cat("bad sub cgroup path: ", below));
    if (!path && texts.size() > 1) return fail(Code::kInvalidArgument, cat("--cgroup ", text, ": of several, each names its controllers"));
    for (std::string_view name : path ? split(names, ',') : std::vector<std::string_view>{""}) {
      if (path && name.empty()) return fail(Code::kInvalidArgument, cat("--cgroup ", text, ": no controller before the colon"));
      if (!out.emplace(name, below).second) return fail(Code::kInvalidArgument, cat("--cgroup: controller ", name, " twice"));
    }
  }
  return out;
}

Result<sys::Cgroups::Entry> open_below(const Views& views, const std::vector<std::string>& texts) {
  TRY_ASSIGN(auto wanted, parse_groups(texts));
  for (const auto& [name, path] : wanted)
    if (!name.empty() && std::ranges::find(views, name, &Views::value_type::first) == views.end()) return fail(Code::kInvalidArgument, cat("unknown controller ", name, " in --cgroup"));
  sys::Cgroups::Entry out;
  for (const auto& [name, directory] : views) {
    auto found = wanted.find(wanted.contains("") ? "" : name);
    bool unified = name.empty() || name == "unified";
    // On a machine with both kinds of hierarchies the unified one is no controller: there it stays with the container's own.
    std::string below = found == wanted.end() || (name == "unified") ? std::string() : found->second;
    std::string path = cat(directory, "/", below, unified ? "" : "/tasks");
    sys::Fd fd(::open(path.c_str(), unified ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno(cat("adding pid of the new process to ", path));
    if (unified) out.cgroup = std::move(fd);
    else out.procs.push_back(std::move(fd));
  }
  return out;
}

// Its own; on v2, where that has given its controllers to groups below, in which the first process is now, that one: the other takes nobody.
Result<sys::Cgroups::Entry> open_own_group(sys::Cgroups& groups, const Record& record) {
  Views views = groups.views(record.group);
  if (groups.mode() != sys::CgroupMode::kV2 || views.empty()) return groups.open_entry(record.group);
  Result<std::string> given = sys::read_host_file(views[0].second + "/cgroup.subtree_control");
  Result<std::string> text = sys::read_host_file(cat("/proc/", record.pid, "/cgroup"));
  if (!given || trim(*given).empty() || !text) return groups.open_entry(record.group);
  std::string_view path = trim(*text);
  std::size_t at = path.find(cat(record.group, "/"));
  if (!path.starts_with("0::") || at == std::string_view::npos) return groups.open_entry(record.group);
  return open_below(views, {std::string(path.substr(at + record.group.size() + 1))});
}

Result<> check_terminal(const ProcessSpec& process, const ExecRequest& request) {
  if (process.terminal && request.detach && request.console_socket.empty())
    return fail(Code::kInvalidArgument, "cannot allocate tty if monopod will detach without setting console socket");
  if (!process.terminal && !request.console_socket.empty()) return fail(Code::kInvalidArgument, "cannot use console socket if monopod will not allocate tty");
  return {};
}

// What the container joined may belong to others than its user namespace: entered before that.
Result<> open_others(const ContainerConfig& config, pid_t target, LaunchOptions& launch, InitSpec& spec) {
  struct Kind {
    NamespaceType type;
    const char* name;
    std::uint64_t flag;
  };
  for (const Kind& kind : {Kind{NamespaceType::kNetwork, "net", CLONE_NEWNET}, {NamespaceType::kIpc, "ipc", CLONE_NEWIPC}, {NamespaceType::kUts, "uts", CLONE_NEWUTS}}) {
    const Namespace* ns = find_namespace(config, kind.type);
    if (ns == nullptr || ns->path.empty()) continue;
    TRY_ASSIGN(sys::Fd fd, sys::open_namespace(cat("/proc/", target, "/ns/", kind.name)));
    launch.namespaces.push_back(std::move(fd));
    spec.join &= ~kind.flag;
  }
  return {};
}

}  // namespace

Result<int> Runtime::exec(const ExecRequest& request) {
  TRY_ASSIGN(Found c, find(request.id, false));
  if (c.status == RuntimeStatus::kPaused && !request.ignore_paused) return fail(Code::kFailedPrecondition, "cannot exec in a paused container (use --ignore-paused to override)");
  if (c.status == RuntimeStatus::kStopped || c.status == RuntimeStatus::kCreating) return fail(Code::kFailedPrecondition, "cannot exec in a stopped container");
  TRY_ASSIGN(ContainerConfig config, c.directory.read_config());
  TRY_ASSIGN(config.process, choose_process(request, config.process));
  TRY(check_terminal(config.process, request));
  config.mounts.clear();
  config.hooks = {};
  if (request.preserve_fds > 0) {
    config.process.env.push_back(cat("LISTEN_FDS=", request.preserve_fds));
  }
  Result<> valid = validate_config(config);
  if (!valid) return fail(std::move(valid).error().with("process"));
  TRY(check_host(config));

  TRY_ASSIGN(sys::Pidfd target, find_process(c.record));
  InitSpec spec;
  LaunchOptions launch;
  spec.mode = InitMode::kExec;
  spec.acknowledged = true;
  spec.join = flags_to_join(config);
  spec.new_keyring = false;
  if (config.seccomp) {
    TRY_ASSIGN(spec.seccomp_program, compile_seccomp(*config.seccomp));
    spec.seccomp_flags = seccomp_load_flags(*config.seccomp);
    spec.seccomp_notify = uses_notify(*config.seccomp);
  }
  if (config.process.console_rows != 0) {
    spec.rows = config.process.console_rows;
    spec.columns = config.process.console_columns;
  }
  bool has_user_namespace = has_namespace(config, NamespaceType::kUser);
  spec.setgroups = !has_user_namespace || c.record.owner == 0 || config.gid_mappings.size() > 1;
  sys::Fd user_namespace;
  if (has_user_namespace) {
    TRY_ASSIGN(user_namespace, sys::open_namespace(cat("/proc/", target.pid(), "/ns/user")));
    launch.user_namespace = user_namespace.get();
    TRY(open_others(config, target.pid(), launch, spec));
  }
  if (has_namespace(config, NamespaceType::kPid)) launch.pid_namespace = target.fd();
  launch.target = target.fd();
  launch.preserve_fds = request.preserve_fds;
  launch.console_socket = request.console_socket;
  if (!c.record.group.empty()) {
    TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(c.record.controllers));
    Result<sys::Cgroups::Entry> entry = request.cgroups.empty() ? open_own_group(*groups, c.record) : open_below(groups->views(c.record.group), request.cgroups);
    if (!entry) return fail(std::move(entry).error().with("enter the container's control group"));
    launch.cgroup = std::move(entry->cgroup);
    launch.procs = std::move(entry->procs);
  }
  spec.config = config;

  Foreground foreground;
  LaunchEvents events;
  if (!request.detach) TRY(foreground.prepare());
  events.on_terminal = [&](sys::Fd master) { return foreground.take_terminal(std::move(master)); };
  events.on_ready = [&](const sys::Pidfd& process) { return tell_process(request.pid_file, request.pidfd_socket, process); };
  int pid = 0;
  auto on_listener = [&](sys::Fd listener) { return hand_over_listener(config, format_state(c.record, c.status), pid, listener.get()); };
  TRY_ASSIGN(FirstStage stage, FirstStage::launch(std::move(spec), std::move(launch), events));
  pid = stage.process().pid();
  Result<> running = follow_to_exec(stage.channel(), on_listener);
  if (!running) {
    stage.end();
    return fail(std::move(running).error());
  }
  if (request.detach) return 0;
  return foreground.wait(stage.process());
}

}  // namespace monopod::container::oci
