// create: everything is set up, the program does not run yet.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "container/hooks.h"
#include "container/oci/bundle.h"
#include "container/oci/destroy.h"
#include "container/oci/group.h"
#include "container/oci/launch.h"
#include "container/oci/net_devices.h"
#include "container/oci/pid_file.h"
#include "container/oci/runtime.h"
#include "container/prepared_mounts.h"
#include "container/seccomp.h"
#include "sys/namespaces.h"

namespace monopod::container::oci {
namespace {

Result<> check_terminal(const ContainerConfig& config, const CreateOptions& options) {
  if (config.process.terminal && options.console_socket.empty() && !options.on_terminal) return fail(Code::kInvalidArgument, "cannot allocate tty if monopod will detach without setting console socket");
  if (!config.process.terminal && !options.console_socket.empty()) return fail(Code::kInvalidArgument, "cannot use console socket if monopod will not allocate tty");
  return {};
}

struct Creation {
  const CreateOptions& options;
  StateDirectory& directory;
  std::optional<FirstStage>& stage;
  Bundle bundle;
  Record record;
  std::optional<Systemd> manager;  // with its driver
  std::uint64_t joined = 0;  // CLONE_NEW* of launch.namespaces
  bool hooked = false;  // the hooks' phase was reached: poststop belongs to its undoing

  // What start and delete would have to look for in the config.
  bool is_plain() const {
    const ContainerConfig& config = bundle.config;
    return !config.pause && config.hooks.poststart.empty() && config.hooks.poststop.empty() && !(config.seccomp && uses_notify(*config.seccomp));
  }

  std::string state_text(RuntimeStatus status) const { return json::format(format_state(record, status)); }

  // Those that need not belong to the user namespace: from inside of it, they could neither be looked up nor entered.
  Result<> open_others(const ContainerConfig& config, LaunchOptions& launch) {
    for (auto [type, flag] : {std::pair(NamespaceType::kNetwork, CLONE_NEWNET), {NamespaceType::kIpc, CLONE_NEWIPC}, {NamespaceType::kUts, CLONE_NEWUTS}}) {
      const Namespace* ns = find_namespace(config, type);
      if (ns == nullptr || ns->path.empty()) continue;
      TRY_ASSIGN(sys::Fd fd, sys::open_namespace(ns->path));
      launch.namespaces.push_back(std::move(fd));
      joined |= static_cast<std::uint64_t>(flag);
    }
    return {};
  }

  // Ids of namespaces that are made at birth or joined there.
  Result<> choose_namespaces(LaunchOptions& launch, sys::Fd& pid_namespace, sys::Fd& user_namespace) {
    const ContainerConfig& config = bundle.config;
    if (const Namespace* user = find_namespace(config, NamespaceType::kUser)) {
      launch.new_user_namespace = user->path.empty();
      launch.uid_maps = config.uid_mappings;
      launch.gid_maps = config.gid_mappings;
      if (!user->path.empty()) {
        TRY_ASSIGN(user_namespace, sys::open_namespace(user->path));
        launch.user_namespace = user_namespace.get();
      }
      TRY(open_others(config, launch));
    }
    if (const Namespace* pid = find_namespace(config, NamespaceType::kPid)) {
      launch.new_pid_namespace = pid->path.empty();
      if (!pid->path.empty()) {
        TRY_ASSIGN(pid_namespace, sys::open_namespace(pid->path));
        launch.pid_namespace = pid_namespace.get();
      }
    }
    return {};
  }

  Result<InitSpec> make_spec(const LaunchOptions& launch) {
    InitSpec spec;
    spec.config = bundle.config;
    spec.state = state_text(RuntimeStatus::kCreating);
    if (bundle.config.seccomp) {
      TRY_ASSIGN(spec.seccomp_program, compile_seccomp(*bundle.config.seccomp));
      spec.seccomp_flags = seccomp_load_flags(*bundle.config.seccomp);
      spec.seccomp_notify = uses_notify(*bundle.config.seccomp);
    }
    spec.hold = true;
    spec.joined = joined;
    spec.acknowledged = true;
    // poststop too: its turn comes once theirs would have.
    const Hooks& hooks = bundle.config.hooks;
    spec.host_hooks = !hooks.prestart.empty() || !hooks.create_runtime.empty() || !hooks.poststop.empty() || !bundle.config.net_devices.empty();
    spec.setgroups = !launch.new_user_namespace || ::geteuid() == 0 || bundle.config.gid_mappings.size() > 1;
    spec.pivot = options.pivot;
    spec.new_keyring = options.new_keyring;
    if (bundle.config.process.console_rows != 0) {
      spec.rows = bundle.config.process.console_rows;
      spec.columns = bundle.config.process.console_columns;
    }
    return spec;
  }

  // Somebody else's: not ours to undo.
  void disown_group() {
    record.group.clear();
    record.scope.clear();
  }

  Result<> on_born(const sys::Pidfd& process) {
    Result<> started = start_scope(record, bundle, *manager, process.pid());
    if (!started && started.error().code() == Code::kAlreadyExists) disown_group();
    return started;
  }

  Result<> on_hooks(const sys::Pidfd& process) {
    hooked = true;
    Record shown = record;
    shown.pid = process.pid();
    TRY(move_net_devices(bundle.config.net_devices, process.pid()));
    json::Value state = format_state(shown, RuntimeStatus::kCreated);
    state.as_object()["status"] = "creating";
    std::string text = json::format(state);
    TRY(run_hooks("prestart", bundle.config.hooks.prestart, text));
    return run_hooks("createRuntime", bundle.config.hooks.create_runtime, text);
  }

  Result<> on_ready(const sys::Pidfd& process) {
    TRY(failpoint("runtime.after_ready"));
    record.pid = process.pid();
    TRY_ASSIGN(record.start_ticks, sys::process_start_ticks(process.pid()));
    TRY(directory.write(record));
    TRY(failpoint("runtime.before_pid_file"));
    return tell_process(options.pid_file, options.pidfd_socket, process);
  }

  Result<> go() {
    record.id = options.id;
    record.bundle = bundle.path;
    record.rootfs = bundle.config.rootfs;
    record.created = format_rfc3339_nano(RealClock().wall());
    record.owner = ::geteuid();
    record.annotations = bundle.config.annotations;
    record.plain = is_plain();
    if (options.systemd) {
      TRY_ASSIGN(manager, Systemd::connect());
    }
    TRY(plan_group(record, bundle, manager ? &*manager : nullptr));
    std::unique_ptr<sys::Cgroups> groups;
    if (!record.group.empty()) {
      TRY_ASSIGN(groups, open_groups(record.controllers));
      Result<> unused = check_unused(*groups, record);
      if (!unused) disown_group();
      TRY(std::move(unused));
    }
    TRY(directory.write_config(bundle.config));
    TRY(directory.write(record));
    TRY(failpoint("runtime.after_record"));

    LaunchOptions launch;
    TRY_ASSIGN(MadeGroup group, make_group(groups.get(), record, bundle, find_namespace(bundle.config, NamespaceType::kUser) == nullptr));
    TRY(failpoint("runtime.after_group"));
    launch.cgroup = std::move(group.entry.cgroup);
    launch.procs = std::move(group.entry.procs);
    if (!record.scope.empty()) launch.on_born = [this](const sys::Pidfd& child) { return on_born(child); };
    launch.console_socket = options.console_socket;
    launch.preserve_fds = options.preserve_fds;
    sys::Fd pid_namespace;
    sys::Fd user_namespace;
    TRY(choose_namespaces(launch, pid_namespace, user_namespace));
    // The paths may be closed to who is root in there.
    bool mapped = launch.new_user_namespace || launch.user_namespace >= 0;
    TRY(prepare_mounts(bundle.config, mapped, launch.mounts));
    if (mapped) {
      TRY_ASSIGN(launch.root, prepare_root(bundle.config.rootfs));
    }
    TRY_ASSIGN(launch.listener, directory.listen());
    TRY_ASSIGN(InitSpec spec, make_spec(launch));
    spec.enters_views = group.by_path;
    spec.cgroup_views = std::move(group.views);
    LaunchEvents events;
    events.on_hooks = [this](const sys::Pidfd& process) { return on_hooks(process); };
    events.on_terminal = options.on_terminal;
    events.on_ready = [this](const sys::Pidfd& process) { return on_ready(process); };
    TRY_ASSIGN(stage, FirstStage::launch(std::move(spec), std::move(launch), events));
    return {};
  }
};

}  // namespace

Result<> Runtime::create(const CreateOptions& options) {
  TRY_ASSIGN(Bundle bundle, load_bundle(options.bundle));
  TRY(check_terminal(bundle.config, options));
  TRY(check_host(bundle.config));
  let_go();
  TRY_ASSIGN(made_, StateDirectory::create(root_, options.id));
  StateDirectory& directory = *made_;
  if (options.preserve_fds > 0) {
    bundle.config.process.env.push_back(cat("LISTEN_FDS=", options.preserve_fds));
    bundle.config.process.env.emplace_back("LISTEN_PID=1");
  }
  Result<> done = failpoint("runtime.after_directory");
  Creation creation{options, directory, stage_, std::move(bundle), {}, std::nullopt, false};
  if (done) done = creation.go();
  if (done) return {};
  // As if it had never been.
  Result<> undone = destroy(directory, creation.record);
  if (!undone) log::warn("a container that could not be created leaves something behind", {{"container", options.id}, {"error", undone.error()}});
  if (creation.hooked) run_poststop_hooks(creation.bundle.config.hooks.poststop, creation.state_text(RuntimeStatus::kStopped), options.id);
  return done;
}

}  // namespace monopod::container::oci
