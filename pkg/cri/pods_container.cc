// Containers: from a request to a process, and back.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "async/whole.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "cri/limits.h"
#include "cri/messages.h"
#include "cri/pods.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr int kStartErrorCode = 128;   // as containerd has it
constexpr int kUnknownExitCode = 255;  // of a container that was lost with the host

Result<container::Device> host_device(const std::string& path, const std::string& inside, bool follow = true) {
  struct ::stat st {};
  if ((follow ? ::stat(path.c_str(), &st) : ::lstat(path.c_str(), &st)) != 0) return fail_errno(cat("device ", path));
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) return refuse(Code::kInvalidArgument, {"device ", path, ": not a device node"});
  return container::Device{.path = inside, .type = S_ISCHR(st.st_mode) ? 'c' : 'b', .major = ::major(st.st_rdev), .minor = ::minor(st.st_rdev),
                           .file_mode = st.st_mode & 07777U, .uid = st.st_uid, .gid = st.st_gid};
}

// Those that every container has are made by the container engine.
std::vector<container::Device> all_host_devices() {
  static constexpr std::string_view kOwn[] = {"console", "tty", "ptmx", "null", "zero", "full", "random", "urandom"};
  std::vector<container::Device> out;
  for (const std::string& name : sys::list_directory("/dev"))
    if (std::ranges::find(kOwn, std::string_view(name)) == std::end(kOwn))
      if (auto device = host_device("/dev/" + name, "/dev/" + name, false)) out.push_back(std::move(*device));
  return out;
}

// Links are followed: what they lead to is mounted.
Result<std::string> resolve_source(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real) return fail_errno(cat("mount host_path ", path));
  return std::string(real.get());
}

// What is below it is looked up again when it is mounted: links of an image do not lead out of it.
Result<std::string> volume_source(std::string volume, std::string_view below) {
  if (below.empty()) return volume;
  TRY_ASSIGN(sys::Root root, sys::Root::open(volume));
  auto found = root.stat(below);
  if (!found) return fail(std::move(found).error().with(cat("image_sub_path ", below)));
  return volume;
}

// Whoever is given a writable tree of control groups may not leave it: the kernel sees to that only with this option (cgroups(7)).
bool delegates_groups() {
  auto mounts = sys::read_host_file("/proc/self/mounts", 1U << 20);
  if (!mounts) return false;
  for (std::string_view line : split(*mounts, '\n')) {
    std::vector<std::string_view> words = split(line, ' ');
    if (words.size() < 4 || words[1] != "/sys/fs/cgroup" || words[2] != "cgroup2") continue;
    std::vector<std::string_view> options = split(words[3], ',');
    return std::ranges::find(options, "nsdelegate") != options.end();
  }
  return false;
}

// The kernel refuses a profile that is not loaded only when the program starts. Where its list is not to be seen, that has to do.
Result<> check_loaded(const std::string& profile) {
  auto list = sys::read_host_file("/sys/kernel/security/apparmor/profiles", 4U << 20);
  if (!list || cat("\n", *list).find(cat("\n", profile, " (")) != std::string::npos) return {};
  return refuse(Code::kFailedPrecondition, {"apparmor profile ", profile, " is not loaded"});
}

std::string seccomp_file(const json::Value& security) {
  if (json::get_int(security, {"seccomp", "profile_type"}) == 2) return std::string(json::get_string(security, {"seccomp", "localhost_ref"}));
  std::string_view old = json::get_string(security, {"seccomp_profile_path"});
  return json::find(security, {"seccomp"}) == nullptr && old.starts_with("localhost/") ? std::string(old.substr(10)) : std::string();
}

// A machine without the controller has no limits of them: a kubelet asks for all sizes, most of them for 0.
void add_huge_pages(const sys::Cgroups& groups, const json::Value& resources, std::map<std::string, std::string>& files) {
  const json::Array* limits = json::get_array(resources, {"hugepage_limits"});
  if (limits == nullptr || !groups.has("hugetlb")) return;
  std::string_view name = groups.mode() == sys::CgroupMode::kV2 ? ".max" : ".limit_in_bytes";
  for (const json::Value& limit : *limits) files[cat("hugetlb.", json::get_string(limit, {"page_size"}), name)] = cat(json::get_int(limit, {"limit"}));
}

}  // namespace

Result<> Pods::check_new_container(const Sandbox& s, const json::Value& config) const {
  TRY(check_container(s, config));
  if (!s.ready || s.stopping) return refuse(Code::kFailedPrecondition, {"sandbox \"", s.id, "\" is not ready"});
  if (containers_.size() >= kContainersMax) return refuse(Code::kResourceExhausted, {"more than ", std::to_string(kContainersMax), " containers"});
  std::string name = container_name(config);
  for (const auto& [id, other] : containers_)
    if (other->sandbox_id == s.id && container_name(other->config) == name)
      return refuse(Code::kAlreadyExists, {"failed to reserve container name \"", name, "\": name is reserved for \"", id, "\""});
  return {};
}

Task<Result<std::string>> Pods::create(SandboxPtr s, json::Value config) {
  CO_TRY(check_new_container(*s, config));
  auto c = std::make_shared<Container>(parts_.executor);
  c->id = new_id();
  c->sandbox_id = s->id;
  c->config = std::move(config);
  c->created = parts_.time.wall();
  c->making = true;
  containers_[c->id] = c;
  CO_TRY(co_await async::whole(create_now(std::move(s), c)));
  co_return c->id;
}

Task<Result<>> Pods::create_now(SandboxPtr s, ContainerPtr c) {
  Turn turn(c);
  Result<> made = co_await make_container(s, c);
  if (made) made = co_await save(*c);
  if (made) made = failpoint("cri.container_recorded");
  if (!made) {
    (void)co_await parts_.state.remove(kRecords, cat("container/", c->id));
    co_await discard(c->id, cat(group(*s), "/", c->id), true);
    c->removed = true;
    c->making = false;
    containers_.erase(c->id);
    co_return made;
  }
  c->making = false;
  emit(EventKind::kCreated, c->id, c->sandbox_id);
  co_return Result<>();
}

Task<Result<>> Pods::make_container(SandboxPtr s, ContainerPtr c) {
  std::string id = c->id;
  std::string wanted(json::get_string(c->config, {"image", "image"}));
  parts_.images.mark_used(wanted);
  std::optional<image::Image> image = parts_.images.find(wanted);
  if (!image) co_return refuse(Code::kNotFound, {"failed to resolve image \"", wanted, "\": not found"});
  c->image_id = image->id;
  c->stop_signal = stop_signal(c->config, image->config);
  std::string_view logs = json::get_string(s->config, {"log_directory"}), log = json::get_string(c->config, {"log_path"});
  if (!logs.empty() && !log.empty()) c->log_path = cat(logs, "/", log);

  Place place{.rootfs = directories_.rootfs(id), .files = directories_.files(s->id), .cgroup = cat(group(*s), "/", id)};
  auto mode = static_cast<NamespaceMode>(json::get_int(c->config, {"linux", "security_context", "namespace_options", "pid"}));
  if (mode == NamespaceMode::kPod && s->mode("pid") == NamespaceMode::kPod) place.pid_of = runtime_id(s->id);
  if (mode == NamespaceMode::kTarget) {
    CO_TRY_ASSIGN(ContainerPtr target, find_container(json::get_string(c->config, {"linux", "security_context", "namespace_options", "target_id"})));
    if (target->sandbox_id != s->id) co_return refuse(Code::kInvalidArgument, {"target_id ", target->id, " is a container of another sandbox"});
    if (target->phase != Phase::kRunning) co_return refuse(Code::kFailedPrecondition, {"target_id ", target->id, " is not running"});
    place.pid_of = runtime_id(target->id);
  }
  CO_TRY(co_await parts_.images.prepare_snapshot(runtime_id(id), image->id));
  CO_TRY(failpoint("cri.snapshot_made"));
  CO_TRY(co_await on_pool([&] { return sys::make_directories(place.rootfs, 0711); }));
  sys::IdMaps maps = user_maps(s->config);
  CO_TRY(co_await parts_.images.mount(runtime_id(id), place.rootfs, maps));
  CO_TRY(failpoint("cri.mounted"));
  CO_TRY(co_await mount_volumes(c, maps));
  if (std::vector<std::string> declared = declared_volumes(c->config, image->config); !declared.empty()) {
    CO_TRY_ASSIGN(place.volumes, co_await mount_declared(id, image->id, std::move(declared), maps));
  }
  CO_TRY(co_await on_pool([&]() -> Result<> {
    TRY(fill_place(*s, *c, image->config, place));
    return prepare_group(*c, place.cgroup);
  }));
  CO_TRY_ASSIGN(container::ContainerConfig made, make_config(*s, *c, image->config, place));
  CO_TRY(co_await parts_.runtime.create(runtime_id(id), std::move(made), make_stdio(*c)));
  co_return failpoint("cri.process_made");
}

// Blocking: what the config needs to know from files.
Result<> Pods::fill_place(const Sandbox& s, Container& c, const image::ImageConfig& image, Place& place) const {
  place.namespaces = container::find_sandbox_namespaces(directories_.namespaces(s.id));
  auto ipc = static_cast<NamespaceMode>(json::get_int(c.config, {"linux", "security_context", "namespace_options", "ipc"}));
  if (ipc == NamespaceMode::kNode || place.namespaces.ipc_path.empty()) place.shm = "/dev/shm";
  else if (ipc == NamespaceMode::kPod) place.shm = directories_.shm(s.id);
  TRY_ASSIGN(std::string hostname, sys::read_host_file(place.files + "/hostname", 4096));
  place.hostname = trim(hostname);
  TRY_ASSIGN(sys::Root root, sys::Root::open(place.rootfs));
  auto user = container::resolve_user_in(root, user_text(c.config, image));
  if (!user) return fail(Code::kInvalidArgument, user.error().message());
  place.user = std::move(*user);
  c.user = effective_user(c.config, place.user);

  json::Value security = member_of(c.config, {"linux", "security_context"});
  if (std::string file = seccomp_file(security); !file.empty()) {
    auto text = sys::read_host_file(file, kProfileBytesMax);
    if (!text) return refuse(Code::kFailedPrecondition, {"failed to load seccomp profile ", file, ": ", text.error().message()});
    place.seccomp_json = std::move(*text);
  }
  place.apparmor = sys::read_host_file("/sys/module/apparmor/parameters/enabled", 16).value_or("").starts_with('Y');
  if (std::string profile = apparmor_profile(c.config); place.apparmor && !profile.empty()) TRY(check_loaded(profile));
  place.delegated = json::get_int(security, {"cgroup_mount_mode"}) == kGroupsWritable && delegates_groups();
  place.selinux = sys::path_exists("/sys/fs/selinux/enforce");
  if (json::get_bool(security, {"privileged"})) {
    place.devices = all_host_devices();
  } else if (const json::Array* devices = json::get_array(c.config, {"devices"})) {
    for (const json::Value& d : *devices) {
      TRY_ASSIGN(container::Device device, host_device(std::string(json::get_string(d, {"host_path"})), std::string(json::get_string(d, {"container_path"}))));
      place.devices.push_back(std::move(device));
    }
  }
  if (const json::Array* mounts = json::get_array(c.config, {"mounts"}))
    for (const json::Value& m : *mounts) {
      TRY_ASSIGN(std::string source, json::find(m, {"image"}) != nullptr ? volume_source(directories_.volume(c.id, place.mount_sources.size()), json::get_string(m, {"image_sub_path"}))
                                                                         : resolve_source(std::string(json::get_string(m, {"host_path"}))));
      place.mount_sources.push_back(std::move(source));
    }
  if (!c.log_path.empty()) TRY(sys::make_directories(c.log_path.substr(0, c.log_path.rfind('/'))));
  return {};
}

// Limits that the container engine has no name for. Blocking.
Result<> Pods::prepare_group(const Container& c, const std::string& group) const {
  json::Value resources = member_of(c.config, {"linux", "resources"});
  std::map<std::string, std::string> files = map_of(resources, {"unified"});
  if (!files.empty() && parts_.cgroups.mode() != sys::CgroupMode::kV2) return fail(Code::kFailedPrecondition, "linux.resources.unified: this host has no control groups v2");
  std::string mems(json::get_string(resources, {"cpuset_mems"}));
  if (!mems.empty()) files["cpuset.mems"] = mems;
  add_huge_pages(parts_.cgroups, resources, files);
  if (files.empty()) return {};
  TRY(parts_.cgroups.create(group));
  for (const auto& [file, value] : files) {
    auto [controller, rest] = split_once(file, '.');
    if (!rest || file.find('/') != std::string::npos) return refuse(Code::kInvalidArgument, {"linux.resources.unified: \"", file, "\" is no control file"});
    auto written = parts_.cgroups.write(group, controller, file, value);
    if (!written) return fail(std::move(written).error().with(cat("linux.resources: ", file)));
  }
  return {};
}

Task<Result<>> Pods::start(ContainerPtr c) { return async::whole(start_now(std::move(c))); }

Task<Result<>> Pods::start_now(ContainerPtr c) {
  CO_TRY(co_await wait_for_turn(c));
  Turn turn(c);
  if (c->phase != Phase::kCreated) co_return refuse(Code::kFailedPrecondition, {"container \"", c->id, "\" is in state ", c->phase == Phase::kRunning ? "running" : "exited", ", not created"});
  c->phase = Phase::kRunning;
  Result<> started = co_await parts_.runtime.start(runtime_id(c->id));
  if (started) {
    auto state = parts_.runtime.state(runtime_id(c->id));
    c->started = state && state->started_at != WallTime{} ? state->started_at : parts_.time.wall();
    (void)failpoint("cri.started");
    emit(EventKind::kStarted, c->id, c->sandbox_id);
    co_return started;
  }
  c->phase = Phase::kExited;
  c->exit_code = kStartErrorCode;
  c->reason = "StartError";
  c->message = started.error().message();
  c->finished = parts_.time.wall();
  warn("a container's end is not saved", c->id, co_await save(*c));
  co_await discard(c->id, {}, false);
  emit(EventKind::kStopped, c->id, c->sandbox_id);
  co_return fail(std::move(started).error().with("failed to start container"));
}

// All that it ran with; the group where one is named that the container engine may not know. With snapshot: its files too.
Task<> Pods::discard(std::string id, std::string group, bool snapshot) {
  warn("cannot remove a container's processes", id, co_await parts_.runtime.remove(runtime_id(id)));
  (void)failpoint("cri.process_removed");
  co_await unmount(id);
  Result<> removed = co_await on_pool([&]() -> Result<> {
    if (!group.empty()) TRY(parts_.cgroups.remove(group));
    return sys::remove_tree(directories_.runtime(id));
  });
  warn("cannot remove what a container ran with", id, removed);
  if (snapshot) co_await remove_snapshots(id);
}

Task<Result<>> Pods::stop(ContainerPtr c, Duration grace) {
  return async::whole(stop_now(std::move(c), grace));
}

Task<Result<>> Pods::stop_now(ContainerPtr c, Duration grace) {
  if (c->phase == Phase::kExited || c->removed) co_return Result<>();
  Result<> stopped = co_await parts_.runtime.stop(runtime_id(c->id), c->stop_signal, grace);
  if (!stopped && stopped.error().code() == Code::kNotFound) {  // lost without a word
    container::ContainerState lost;
    lost.exit_code = -1;
    co_await finish(c, std::move(lost));
    co_return Result<>();
  }
  CO_TRY(std::move(stopped));
  while (c->phase != Phase::kExited && !c->removed) CO_TRY(co_await c->changed.wait());  // forever: the process has ended, its exit follows
  co_return Result<>();
}

void Pods::stopped(const container::ContainerState& state) {
  if (!state.id.starts_with("cri-")) return;
  std::string id = state.id.substr(4);
  if (auto found = containers_.find(id); found != containers_.end()) {
    if (found->second->phase != Phase::kExited) parts_.scope.spawn(finish(found->second, state));
  } else if (auto sandbox = sandboxes_.find(id); sandbox != sandboxes_.end() && sandbox->second->ready) {
    log::warn("the process that holds a sandbox has ended", {{"sandbox", id}});
    sandbox->second->ready = false;  // what stands of it goes when it is stopped
  }
}

Task<> Pods::finish(ContainerPtr c, container::ContainerState state) {
  if (!co_await wait_for_turn(c)) co_return;
  Turn turn(c);
  if (c->phase == Phase::kExited) co_return;
  warn("a container's end is not saved", c->id, co_await take_exit(c, std::move(state)));
}

// The caller has the turn.
Task<Result<>> Pods::take_exit(ContainerPtr c, container::ContainerState state) {
  c->exit_code = state.exit_code < 0 ? kUnknownExitCode : state.exit_code;
  c->reason = state.oom_killed ? "OOMKilled" : state.exit_code < 0 ? "Unknown" : state.exit_code == 0 ? "Completed" : "Error";
  if (c->phase == Phase::kRunning && c->started == WallTime{}) c->started = state.started_at;
  c->finished = state.finished_at == WallTime{} ? parts_.time.wall() : state.finished_at;
  c->phase = Phase::kExited;
  Result<> saved = co_await save(*c);
  (void)failpoint("cri.exit_saved");
  emit(EventKind::kStopped, c->id, c->sandbox_id);
  c->changed.wake_all();
  co_await discard(c->id, {}, false);
  co_return saved;
}

Task<Result<>> Pods::remove(ContainerPtr c) { return async::whole(remove_now(std::move(c))); }

Task<Result<>> Pods::remove_now(ContainerPtr c) {
  for (;;) {
    if (!co_await wait_for_turn(c)) co_return Result<>();  // another remove was quicker
    if (c->phase != Phase::kRunning) break;
    CO_TRY(co_await stop_now(c, Duration::zero()));
  }
  Turn turn(c);
  std::string id = c->id;
  CO_TRY(co_await parts_.state.remove(kRecords, cat("container/", id)));
  // From here on it is gone; what cannot be removed now is swept by the next open().
  (void)failpoint("cri.container_record_removed");
  c->removed = true;
  containers_.erase(id);
  co_await discard(id, {}, true);
  emit(EventKind::kDeleted, id, c->sandbox_id);
  co_return Result<>();
}

Task<Result<>> Pods::update(ContainerPtr c, json::Value resources) {
  CO_TRY(co_await wait_for_turn(c));
  Turn turn(c);
  if (c->phase == Phase::kExited) co_return refuse(Code::kFailedPrecondition, {"container \"", c->id, "\" has exited"});
  json::Value merged = merge_resources(member_of(c->config, {"linux", "resources"}), resources);
  CO_TRY(co_await parts_.runtime.update(runtime_id(c->id), make_limits(merged)));
  json::Value before = std::exchange(json::at_path(c->config, {"linux", "resources"}), merged);
  std::string group;
  if (auto state = parts_.runtime.state(runtime_id(c->id))) group = state->cgroup_path;
  Result<> written = co_await on_pool([&] { return prepare_group(*c, group); });
  if (written) co_return co_await save(*c);
  json::at_path(c->config, {"linux", "resources"}) = std::move(before);
  co_return written;
}

}  // namespace monopod::cri
