// Sandboxes: what a pod's containers share.
#include <unistd.h>

#include "async/whole.h"
#include "base/failpoint.h"
#include "base/strings.h"
#include "cri/limits.h"
#include "cri/messages.h"
#include "cri/pods.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::cri {
namespace {

using async::Task;

std::string read_host(const char* path) { return sys::read_host_file(path, 1U << 20).value_or(""); }

bool wants_pause(const Sandbox& s) { return s.mode("pid") == NamespaceMode::kPod; }

Result<> write_files(const Sandbox& s, const std::string& directory) {
  std::string hostname(json::get_string(s.config, {"hostname"}));
  if (hostname.empty() || !s.own_network()) hostname = trim(read_host("/proc/sys/kernel/hostname"));
  TRY(sys::replace_file(directory + "/hosts", make_hosts(s, s.own_network() ? std::string() : read_host("/etc/hosts"))));
  TRY(sys::replace_file(directory + "/hostname", hostname + "\n"));
  return sys::replace_file(directory + "/resolv.conf", make_resolv_conf(s.config, read_host("/etc/resolv.conf")));
}

}  // namespace

Result<> Pods::check_new_sandbox(const json::Value& config, std::string_view handler) const {
  TRY(check_sandbox(config));
  if (!user_maps(config).empty() && !user_namespaces_) return refuse(Code::kFailedPrecondition, {"userns_options: ", user_namespaces_.error().message()});
  if (!handler.empty()) return refuse(Code::kInvalidArgument, {"no runtime for \"", handler, "\" is configured"});
  if (sandboxes_.size() >= kSandboxesMax) return refuse(Code::kResourceExhausted, {"more than ", std::to_string(kSandboxesMax), " sandboxes"});
  std::string name = sandbox_name(config);
  for (const auto& [id, other] : sandboxes_)
    if (sandbox_name(other->config) == name) return refuse(Code::kAlreadyExists, {"failed to reserve sandbox name \"", name, "\": name is reserved for \"", id, "\""});
  return {};
}

Task<Result<std::string>> Pods::run_sandbox(json::Value config, std::string handler) {
  CO_TRY(check_new_sandbox(config, handler));
  auto s = std::make_shared<Sandbox>(parts_.executor);
  s->id = new_id();
  s->config = std::move(config);
  s->created = parts_.time.wall();
  s->making = true;
  sandboxes_[s->id] = s;
  CO_TRY(co_await async::whole(run_now(s)));
  co_return s->id;
}

Task<Result<>> Pods::run_now(SandboxPtr s) {
  Turn turn(s);
  Result<> made = co_await make_sandbox(s);
  if (!made) {
    warn("a sandbox that could not be made leaves something behind", s->id, co_await take_down(*s));
    co_await sweep_sandbox(s->id);
    s->removed = true;
    sandboxes_.erase(s->id);
    co_return made;
  }
  s->making = false;
  emit(EventKind::kCreated, s->id, s->id);
  emit(EventKind::kStarted, s->id, s->id);
  co_return Result<>();
}

Task<Result<>> Pods::make_sandbox(SandboxPtr s) {
  container::SandboxOptions make{.directory = directories_.namespaces(s->id), .hostname = std::string(json::get_string(s->config, {"hostname"})), .network = s->own_network(),
                                 .ipc = s->mode("ipc") != NamespaceMode::kNode, .uts = s->own_network(), .maps = user_maps(s->config)};
  for (const auto& entry : map_of(s->config, {"linux", "sysctls"})) make.sysctls.push_back(entry);
  CO_TRY(co_await on_pool([&]() -> Result<> {
    TRY(sys::make_directories(directories_.files(s->id)));
    TRY(sys::make_directories(directories_.runtime(s->id), 0700));
    if (std::string logs(json::get_string(s->config, {"log_directory"})); !logs.empty()) TRY(sys::make_directories(logs));
    if (make.ipc) TRY(sys::mount_tmpfs(directories_.shm(s->id), {{"mode", "1777"}, {"size", "64m"}}));
    if (!make.network && !make.ipc && !make.uts) return {};
    TRY(container::create_sandbox_namespaces(make));
    return {};
  }));
  CO_TRY(failpoint("cri.namespaces_made"));
  if (make.network) {
    network::PodNetworkRequest request{.id = s->id, .netns_path = network_path(*s), .host_ports = host_ports(s->config)};
    CO_TRY_ASSIGN(network::PodNetworkStatus status, co_await network_.add(std::move(request)));
    s->ip = network::format_ip(status.ip);
    CO_TRY(publish(*s));
  }
  CO_TRY(failpoint("cri.connected"));
  CO_TRY(co_await on_pool([&] { return write_files(*s, directories_.files(s->id)); }));
  CO_TRY(co_await parts_.runtime.create_group(group(*s), owns_group(*s) ? make_limits(member_of(s->config, {"linux", "resources"})) : sys::CgroupLimits{}));
  if (wants_pause(*s)) CO_TRY(co_await start_pause(*s));
  CO_TRY(failpoint("cri.pause_started"));
  s->ready = true;
  CO_TRY(co_await save(*s));
  co_return failpoint("cri.sandbox_recorded");
}

// Host ports where the kernel's rules do not reach: on loopback. Their sockets also keep others off them.
Result<> Pods::publish(const Sandbox& s) {
  std::vector<network::HostPort> ports = host_ports(s.config);
  if (ports.empty()) return {};
  auto proxy = std::make_unique<network::PortProxy>(parts_.executor, parts_.time);
  Result<> bound = proxy->bind(ports);
  if (bound) proxy->start(s.ip);
  proxies_[s.id] = std::move(proxy);
  return bound;
}

Task<> Pods::unpublish(std::string id) {
  auto proxy = proxies_.extract(id);
  if (proxy) co_await proxy.mapped()->stop();
}

// Holds the process namespace of a pod, and is its PID 1.
Task<Result<>> Pods::start_pause(const Sandbox& s) {
  std::string root = directories_.rootfs(s.id);
  sys::IdMaps maps = user_maps(s.config);
  CO_TRY(co_await on_pool([&]() -> Result<> {
    TRY(sys::make_directories(root, 0711));
    if (!maps.empty() && ::chown(root.c_str(), maps.uids[0].outside, maps.gids[0].outside) != 0) return fail_errno(cat("give away ", root));
    return {};
  }));
  container::SandboxNamespaces made = container::find_sandbox_namespaces(directories_.namespaces(s.id));
  container::ContainerConfig config = container::default_config();
  config.pause = true;
  config.rootfs = root;
  config.hostname.clear();
  config.namespaces = {{container::NamespaceType::kMount, ""}, {container::NamespaceType::kPid, ""}};
  if (!made.network_path.empty()) config.namespaces.push_back({container::NamespaceType::kNetwork, made.network_path});
  if (!made.ipc_path.empty()) config.namespaces.push_back({container::NamespaceType::kIpc, made.ipc_path});
  if (!made.uts_path.empty()) config.namespaces.push_back({container::NamespaceType::kUts, made.uts_path});
  if (!maps.empty()) {
    config.namespaces.push_back({container::NamespaceType::kUser, made.user_path});
    config.uid_mappings = std::move(maps.uids);
    config.gid_mappings = std::move(maps.gids);
  }
  config.cgroup_path = cat(group(s), "/", s.id);
  std::string id = runtime_id(s.id);
  CO_TRY(co_await parts_.runtime.create(id, std::move(config), supervisor::StdioOptions{}));
  co_return co_await parts_.runtime.start(id);
}

Task<Result<>> Pods::stop_sandbox(SandboxPtr s) { return async::whole(stop_sandbox_now(std::move(s))); }

Task<Result<>> Pods::stop_sandbox_now(SandboxPtr s) {
  s->stopping = true;
  for (;;) {  // also those that are being made
    ContainerPtr live;
    for (const auto& [id, c] : containers_)
      if (c->sandbox_id == s->id && (c->making || c->phase != Phase::kExited)) live = c;
    if (!live) break;
    if (live->making) (void)co_await wait_for_turn(live);
    else CO_TRY(co_await stop_now(live, Duration::zero()));
  }
  if (!co_await wait_for_turn(s)) co_return Result<>();  // removed meanwhile
  Turn turn(s);
  CO_TRY(co_await take_down(*s));
  if (!s->ready) co_return Result<>();
  s->ready = false;
  CO_TRY(co_await save(*s));
  emit(EventKind::kStopped, s->id, s->id);
  co_return Result<>();
}

// Idempotent.
Task<Result<>> Pods::take_down(const Sandbox& s) {
  std::string id = s.id;
  std::string above = owns_group(s) ? group(s) : std::string();
  CO_TRY(co_await parts_.runtime.remove(runtime_id(id)));
  co_await unpublish(id);
  CO_TRY(co_await network_.remove(id));
  co_return co_await on_pool([&]() -> Result<> {
    TRY(container::remove_sandbox_namespaces(directories_.namespaces(id)));
    TRY(sys::remove_tree(directories_.runtime(id)));
    if (above.empty()) return {};
    return parts_.cgroups.remove(above);
  });
}

Task<Result<>> Pods::remove_sandbox(SandboxPtr s) { return async::whole(remove_sandbox_now(std::move(s))); }

Task<Result<>> Pods::remove_sandbox_now(SandboxPtr s) {
  CO_TRY(co_await stop_sandbox_now(s));
  for (const ContainerPtr& c : containers_of(s->id)) CO_TRY(co_await remove_now(c));
  if (!co_await wait_for_turn(s)) co_return Result<>();
  Turn turn(s);
  std::string id = s->id;
  CO_TRY(co_await parts_.state.remove(kRecords, cat("sandbox/", id)));
  (void)failpoint("cri.sandbox_record_removed");
  s->removed = true;
  sandboxes_.erase(id);
  co_await sweep_sandbox(id);
  emit(EventKind::kDeleted, id, id);
  co_return Result<>();
}

// What stands of a sandbox that has no record.
Task<> Pods::sweep_sandbox(std::string id) {
  Result<> removed = co_await on_pool([&]() -> Result<> {
    TRY(container::remove_sandbox_namespaces(directories_.namespaces(id)));
    TRY(sys::remove_tree(directories_.runtime(id)));
    return sys::remove_tree(directories_.files(id));
  });
  warn("cannot remove what a sandbox leaves", id, removed);
}

}  // namespace monopod::cri
