#include "agent/machine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "sys/files.h"
#include "agent/logs.h"
#include "base/log.h"
#include "sys/root.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kTerminationBytesMax = 4096;
constexpr int kStartErrorExitCode = 128;  // as containerd reports a program that could not be started
constexpr std::size_t kFallbackLines = 80;
constexpr std::size_t kFallbackBytesMax = 2048;

RunState run_state(container::Status status) {
  switch (status) {
    case container::Status::kCreating:
    case container::Status::kCreated: return RunState::kCreated;
    case container::Status::kRunning: return RunState::kRunning;
    case container::Status::kStopped: return RunState::kExited;
  }
  return RunState::kExited;
}

void copy_state(const container::ContainerState& from, Instance& to) {
  to.state = run_state(from.status);
  to.created_at = from.created_at;
  to.started_at = from.started_at;
  to.finished_at = from.finished_at;
  if (to.state != RunState::kExited) return;
  to.exit_code = from.exit_code < 0 ? 137 : from.exit_code;
  to.signal = from.signal;
  to.oom_killed = from.oom_killed;
  if (from.exit_code < 0) {
    to.reason = "ContainerStatusUnknown";
    to.message = "The container could not be located when the pod was terminated";
  } else if (from.oom_killed) {
    to.reason = "OOMKilled";
  } else if (from.started_at == WallTime{}) {
    to.reason = "StartError";
    to.exit_code = kStartErrorExitCode;
  } else {
    to.reason = from.exit_code == 0 ? "Completed" : "Error";
  }
}

std::string annotation(const container::ContainerState& state, std::string_view key) {
  auto it = state.annotations.find(std::string(key));
  return it == state.annotations.end() ? std::string() : it->second;
}

// 64 hexadecimal digits, as ids of containers look everywhere.
std::string make_id(Rng& rng) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    std::uint64_t n = rng.next();
    bytes.append(reinterpret_cast<const char*>(&n), sizeof n);
  }
  return format_hex(as_bytes(bytes));
}

// A missing path below a volume becomes a directory that is open to whom the volume is. What it resolves to when the container starts is the
// first stage's business.
Result<> make_sub_path(const sys::Root& root, const std::string& path) {
  TRY_ASSIGN(struct ::stat top, root.stat("."));
  TRY_ASSIGN(sys::Fd made, root.make_directories(path, top.st_mode & 0777U));
  struct stat is{};
  if (::fstat(made.get(), &is) != 0 || ::chmod(sys::fd_path(made.get()).c_str(), (top.st_mode & 0777U) | (is.st_mode & S_ISGID)) != 0) return fail_errno(cat("chmod ", path));
  return {};
}

Result<> make_sub_path(const Bind& bind) {
  TRY_ASSIGN(sys::Root root, sys::Root::open(bind.source));
  auto there = root.stat(bind.sub_path);
  if (there) return {};
  if (there.error().code() == Code::kNotFound) {
    auto made = make_sub_path(root, bind.sub_path);
    if (made) return {};
    there = fail(std::move(made).error());
  }
  return fail(Code::kFailedPrecondition, cat("failed to prepare subPath for volumeMount \"", bind.destination, "\": ", there.error().message()));
}

std::vector<container::Device> find_host_devices() {
  std::vector<container::Device> out;
  for (const std::string& name : sys::list_directory("/dev")) {
    struct stat st{};
    std::string path = "/dev/" + name;
    if (::lstat(path.c_str(), &st) != 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))) continue;
    if (name == "console" || name == "tty" || name == "ptmx" || name == "null" || name == "zero" || name == "full" || name == "random" || name == "urandom") continue;
    container::Device d;
    d.path = path;
    d.type = S_ISCHR(st.st_mode) ? 'c' : 'b';
    d.major = static_cast<std::uint32_t>(((st.st_rdev >> 8) & 0xfffU) | ((st.st_rdev >> 32) & ~0xfffULL));
    d.minor = static_cast<std::uint32_t>((st.st_rdev & 0xffU) | ((st.st_rdev >> 12) & ~0xffULL));
    d.file_mode = st.st_mode & 07777U;
    d.uid = st.st_uid;
    d.gid = st.st_gid;
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace

Machine::Machine(async::Scope& scope, const AgentDependencies& dependencies, const AgentOptions& options, std::int64_t node_memory_bytes)
    : scope_(scope), deps_(dependencies), options_(options), paths_{options.data_dir, options.run_dir}, node_memory_bytes_(node_memory_bytes) {}

async::Task<Result<>> Machine::open() {
  CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
    TRY(sys::make_directories(paths_.pods(), 0750));
    TRY(sys::make_directories(paths_.logs()));
    return sys::make_directories(paths_.run_pods(), 0700);
  }));
  CO_TRY(co_await load_records());
  for (const container::ContainerState& state : deps_.containers.list()) adopt(state);
  // A container whose pod has no record, and a snapshot without a container, were left by a death in the middle.
  std::vector<std::string> orphans;
  for (const container::ContainerState& state : deps_.containers.list()) {
    std::string uid = annotation(state, kPodUid);
    if (!uid.empty() && !pods_.contains(uid)) orphans.push_back(state.id);
  }
  for (const std::string& id : orphans)
    if (auto removed = co_await deps_.containers.remove(id); !removed) log::warn("cannot remove an orphaned container", {{"id", id}, {"error", removed.error()}});
  for (const std::string& id : orphans) containers_.erase(id);
  std::set<std::string> known;
  for (const container::ContainerState& state : deps_.containers.list()) known.insert(state.id);
  for (const std::string& id : deps_.images.list_snapshots()) {
    bool ours = id.size() == 64;  // other users of the store name theirs otherwise
    if (!ours || known.contains(id)) continue;
    for (const auto& [uid, entry] : pods_) co_await discard(id, uid);
    if (auto removed = co_await deps_.images.remove_snapshot(id); !removed) log::warn("cannot remove an orphaned snapshot", {{"id", id}, {"error", removed.error()}});
  }
  deps_.containers.on_stopped([this](const container::ContainerState& state) { stopped(state); });
  co_return Result<>();
}

void Machine::adopt(const container::ContainerState& state) {
  std::string uid = annotation(state, kPodUid);
  std::string name = annotation(state, kContainerName);
  if (uid.empty() || name.empty()) return;
  ContainerEntry entry;
  entry.pod_uid = uid;
  entry.termination_policy = annotation(state, kTerminationPolicy);
  Instance& i = entry.instance;
  i.id = state.id;
  i.container = name;
  i.attempt = parse_int<int>(annotation(state, kAttempt)).value_or(0);
  i.hash = annotation(state, kHash);
  i.image = annotation(state, kImage);
  i.image_id = annotation(state, kImageId);
  copy_state(state, i);
  bool ended = i.state == RunState::kExited;
  containers_[state.id] = std::move(entry);
  if (ended) scope_.spawn(finish_stopped(state.id));
}

void Machine::stopped(const container::ContainerState& state) {
  if (containers_.contains(state.id)) scope_.spawn(finish_stopped(state.id));
}

async::Task<> Machine::finish_stopped(std::string id) {
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return;
  auto state = deps_.containers.state(id);
  if (!state || state->status != container::Status::kStopped) co_return;
  if (found->second.instance.reason == "StartError") co_return;  // told by who tried to start it
  Instance ended = found->second.instance;
  copy_state(*state, ended);
  std::string uid = found->second.pod_uid;
  std::string policy = found->second.termination_policy;
  std::string file = paths_.termination(uid, ended.container, ended.attempt);
  std::string log = state->log_path;
  if (ended.reason != "ContainerStatusUnknown") {
    std::string message = co_await deps_.pool.run([&] { return read_termination_message(file, policy, ended.exit_code != 0, log); });
    if (!message.empty()) ended.message = std::move(message);
  }
  found = containers_.find(id);
  if (found == containers_.end()) co_return;
  found->second.instance = ended;
  if (on_exit) on_exit(uid, ended);
}

std::string read_termination_message(const std::string& file, const std::string& policy, bool failed, const std::string& log_path) {
  std::string message;
  sys::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd) {
    struct stat st{};
    if (::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode)) {
      auto size = static_cast<std::size_t>(st.st_size);
      off_t from = size > kTerminationBytesMax ? static_cast<off_t>(size - kTerminationBytesMax) : 0;
      message.resize(std::min(size, kTerminationBytesMax));
      ssize_t n = ::pread(fd.get(), message.data(), message.size(), from);
      message.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
  }
  if (message.empty() && failed && policy == "FallbackToLogsOnError" && !log_path.empty()) message = read_log_tail(log_path, kFallbackLines, kFallbackBytesMax);
  return message;
}

async::Task<Result<Instance>> Machine::create_container(ContainerPlan plan) {
  const Pod& pod = *plan.pod;
  const Container& c = *plan.container;
  CO_TRY(check_path_name(pod.uid));
  CO_TRY(check_path_name(c.name));
  auto found = pods_.find(pod.uid);
  if (found == pods_.end() || !found->second.sandbox.ready) co_return fail(Code::kUnavailable, "sandbox is not ready");
  std::string id = make_id(deps_.rng);
  std::string termination = paths_.termination(pod.uid, c.name, plan.attempt);
  auto created = co_await prepare_and_create(plan, id, termination);
  if (!created) {
    co_await discard(id, pod.uid);
    if (auto removed = co_await deps_.images.remove_snapshot(id); !removed) log::warn("cannot remove a snapshot", {{"id", id}, {"error", removed.error()}});
    co_return fail(std::move(created).error());
  }
  auto state = deps_.containers.state(id);
  if (!state) co_return fail(std::move(state).error());
  ContainerEntry entry;
  entry.pod_uid = pod.uid;
  entry.termination_policy = c.termination_policy;
  Instance& i = entry.instance;
  i.id = id;
  i.container = c.name;
  i.attempt = plan.attempt;
  i.hash = c.hash;
  i.image = c.image;
  i.image_id = plan.image.reference;
  copy_state(*state, i);
  Instance out = i;
  containers_[id] = std::move(entry);
  co_return out;
}

async::Task<Result<>> Machine::prepare_and_create(const ContainerPlan& plan, std::string id, std::string termination_file) {
  const Pod& pod = *plan.pod;
  const Container& c = *plan.container;
  const PodEntry& entry = pods_.at(pod.uid);
  ContainerPlace place;
  place.rootfs = paths_.rootfs(pod.uid, id);
  place.cgroup_path = cat(entry.group, "/", id);
  place.pid_namespace_of = entry.pause_id;
  if (!c.target.empty() && entry.pause_id.empty() && !pod.host_pid) {
    CO_TRY_ASSIGN(place.pid_namespace_of, find_target(pod.uid, c.target));
  }
  place.shm_path = pod.host_ipc ? "/dev/shm" : paths_.shm(pod.uid);
  place.node_memory_bytes = node_memory_bytes_;
  CO_TRY(co_await deps_.images.prepare_snapshot(id, plan.image.id));
  CO_TRY(co_await deps_.pool.run([&] { return sys::make_directories(place.rootfs, 0711); }));
  CO_TRY(co_await deps_.images.mount(id, place.rootfs));

  EffectiveSecurity security = merge_security(pod, c);
  ContainerPlan ready = plan;
  std::string log = log_path(pod, c.name, plan.attempt);
  CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
    place.namespaces = container::find_sandbox_namespaces(paths_.namespaces(pod.uid));
    TRY_ASSIGN(sys::Root root, sys::Root::open(place.rootfs));
    std::string spec = plan.image.user;
    if (security.user) spec = security.group ? cat(*security.user, ":", *security.group) : std::to_string(*security.user);
    auto user = container::resolve_user_in(root, spec);
    if (!user) return fail(Code::kFailedPrecondition, user.error().message());
    place.user = std::move(*user);
    if (security.seccomp.type == "Localhost") {
      auto profiles = sys::Root::open(paths_.seccomp());
      auto text = profiles ? profiles->read_file(security.seccomp.localhost, 4U << 20) : Result<std::string>(fail(std::move(profiles).error()));
      if (!text) return fail(Code::kFailedPrecondition, cat("failed to load seccomp spec: ", security.seccomp.localhost, ": ", text.error().message()));
      place.seccomp_json = std::move(*text);
    }
    if (security.privileged) place.host_devices = find_host_devices();
    TRY(sys::make_directories(log.substr(0, log.rfind('/'))));
    TRY(sys::make_directories(termination_file.substr(0, termination_file.rfind('/')), 0750));
    TRY(sys::replace_file(termination_file, "", 0666));
    for (const Bind& bind : ready.binds)
      if (!bind.sub_path.empty()) TRY(make_sub_path(bind));
    return {};
  }));
  auto mounted = [&](std::string_view path) { return std::ranges::any_of(plan.binds, [&](const Bind& b) { return b.destination == path; }); };
  std::string etc = paths_.etc(pod.uid);
  for (const char* name : {"hosts", "hostname", "resolv.conf"})
    if (std::string path = cat("/etc/", name); !mounted(path)) ready.binds.push_back({cat(etc, "/", name), "", path, c.security.read_only_root && path != "/etc/hosts", ""});
  if (!c.termination_path.empty() && !mounted(c.termination_path)) ready.binds.push_back({termination_file, "", c.termination_path, false, ""});
  CO_TRY_ASSIGN(container::ContainerConfig config, make_container_config(ready, place));

  supervisor::StdioOptions stdio;
  stdio.log_path = log;
  stdio.terminal = c.tty;
  stdio.stdin_open = c.stdin_open;
  stdio.stdin_once = c.stdin_once;
  stdio.log_bytes_max = static_cast<std::uint64_t>(options_.log_bytes_max);
  stdio.log_files_max = options_.log_files_max;
  co_return co_await deps_.containers.create(id, std::move(config), std::move(stdio));
}

// The running container whose processes an ephemeral one asks to see.
Result<std::string> Machine::find_target(const std::string& uid, const std::string& name) const {
  for (const auto& [id, entry] : containers_)
    if (entry.pod_uid == uid && entry.instance.container == name && entry.instance.state == RunState::kRunning) return id;
  return fail(Code::kFailedPrecondition, cat("unable to find target container ", name));
}

// What stands beside a container: its root mount.
async::Task<> Machine::discard(std::string id, std::string uid) {
  auto unmounted = co_await deps_.images.unmount(paths_.rootfs(uid, id));
  auto removed = co_await deps_.pool.run([&]() -> Result<> {
    std::string root = paths_.rootfs(uid, id);
    TRY(sys::unmount_all(root));
    if (::rmdir(root.c_str()) != 0 && errno != ENOENT) return fail_errno(cat("rmdir ", root));
    return {};
  });
  if (!unmounted) log::warn("cannot unmount a container's root", {{"id", id}, {"error", unmounted.error()}});
  if (!removed) log::warn("cannot remove a container's mounts", {{"id", id}, {"error", removed.error()}});
}

async::Task<Result<>> Machine::start_container(std::string id) {
  auto started = co_await deps_.containers.start(id);
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return fail(Code::kNotFound, "container is gone");
  Instance& i = found->second.instance;
  if (!started) {
    i.state = RunState::kExited;
    i.exit_code = kStartErrorExitCode;
    i.reason = "StartError";
    i.message = started.error().message();
    i.started_at = WallTime{};
    i.finished_at = deps_.time.wall();
    co_return fail(std::move(started).error());
  }
  auto state = deps_.containers.state(id);
  if (state && state->status == container::Status::kRunning) copy_state(*state, i);
  // It has ended already, and its end is still being told: to everybody it runs until then, and is not started once more.
  if (i.state == RunState::kCreated) i.state = RunState::kRunning;
  if (state && i.started_at == WallTime{}) i.started_at = state->started_at;
  co_return Result<>();
}

async::Task<Result<>> Machine::signal_container(std::string id, int signal) { co_return co_await deps_.containers.kill(id, signal); }

async::Task<Result<>> Machine::remove_container(std::string id) {
  auto found = containers_.find(id);
  std::string uid = found == containers_.end() ? std::string() : found->second.pod_uid;
  std::string termination = found == containers_.end() ? std::string() : paths_.termination(uid, found->second.instance.container, found->second.instance.attempt);
  CO_TRY(co_await deps_.containers.remove(id));
  if (!uid.empty()) co_await discard(id, uid);
  CO_TRY(co_await deps_.images.remove_snapshot(id));
  co_await deps_.pool.run([&] { ::unlink(termination.c_str()); });
  containers_.erase(id);
  co_return Result<>();
}

async::Task<Result<ExecResult>> Machine::exec(std::string id, std::vector<std::string> argv, Duration timeout, std::size_t output_bytes_max) {
  container::ExecOptions options;
  options.args = std::move(argv);
  CO_TRY_ASSIGN(auto output, co_await deps_.containers.exec_sync(id, std::move(options), timeout, output_bytes_max));
  ExecResult out;
  out.exit_code = output.exit_code;
  out.output = std::move(output.stdout_text);
  out.output += output.stderr_text;
  if (out.output.size() > output_bytes_max) out.output.resize(output_bytes_max);
  co_return out;
}

std::optional<ImageFacts> Machine::find_image(std::string_view reference) const {
  auto image = deps_.images.find(reference);
  if (!image) return std::nullopt;
  ImageFacts out;
  out.id = image->id;
  out.reference = image->repo_digests.empty() ? image->id : image->repo_digests.front();
  out.entrypoint = image->config.entrypoint;
  out.cmd = image->config.cmd;
  out.env = image->config.env;
  out.working_dir = image->config.working_dir;
  out.user = image->config.user;
  out.stop_signal = image->config.stop_signal;
  out.size_bytes = image->size_bytes;
  return out;
}

const Instance* Machine::find_instance(std::string_view id) const {
  auto found = containers_.find(id);
  return found == containers_.end() ? nullptr : &found->second.instance;
}

std::vector<PodRecord> Machine::list() const {
  std::map<std::string, PodRecord> out;
  for (const auto& [uid, entry] : pods_) out[uid] = PodRecord{uid, entry.name, entry.namespace_name, entry.sandbox, {}};
  for (const auto& [id, entry] : containers_)
    if (auto found = out.find(entry.pod_uid); found != out.end()) found->second.instances.push_back(entry.instance);
  std::vector<PodRecord> list;
  for (auto& [uid, record] : out) {
    std::ranges::sort(record.instances, {}, &Instance::attempt);
    list.push_back(std::move(record));
  }
  return list;
}

std::string Machine::log_path(const Pod& pod, std::string_view container, int attempt) const {
  return cat(paths_.pod_logs(pod.namespace_name, pod.name, pod.uid), "/", container, "/", attempt, ".log");
}

}  // namespace monopod::agent
