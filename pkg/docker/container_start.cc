// From a record to a process, and back.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "build/copy.h"
#include "container/sandbox.h"
#include "docker/call.h"
#include "docker/containers.h"
#include "docker/limits.h"
#include "network/dns/resolv_conf.h"
#include "sys/files.h"

namespace monopod::docker {
namespace {

using async::Task;

// A volume that is empty gets what the image has at its place, and its owner.
Result<> copy_up(const std::string& volume, const sys::Root& rootfs, const std::string& destination) {
  if (!sys::list_directory(volume).empty()) return {};
  auto from = rootfs.open_root(destination);
  if (!from) return {};  // nothing there
  TRY_ASSIGN(struct ::stat st, from->stat("."));
  if (!S_ISDIR(st.st_mode)) return {};
  TRY_ASSIGN(sys::Root into, sys::Root::open(volume));
  build::CopySource source{.root = *from, .keep_owner = true};
  TRY(build::copy_tree(source, into, {.destination = "/"}));
  if (::chown(volume.c_str(), st.st_uid, st.st_gid) != 0 || ::chmod(volume.c_str(), st.st_mode & 07777U) != 0) return fail_errno(cat("set attributes of ", volume));
  return {};
}

Result<container::Device> host_device(const std::string& path, const std::string& inside) {
  struct ::stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_errno(cat("error gathering device information while adding custom device \"", path, "\""));
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) return fail(Code::kInvalidArgument, cat("error gathering device information while adding custom device \"", path, "\": not a device node"));
  return container::Device{.path = inside, .type = S_ISCHR(st.st_mode) ? 'c' : 'b', .major = ::major(st.st_rdev), .minor = ::minor(st.st_rdev), .file_mode = st.st_mode & 07777U, .uid = st.st_uid, .gid = st.st_gid};
}

std::string read_host(const char* path) { return sys::read_host_file(path, 1U << 20).value_or(""); }

}  // namespace

int start_error_code(const Error& error) {
  const std::string& text = error.message();
  if (text.find("no such file or directory") != std::string::npos || text.find("executable file not found") != std::string::npos || error.code() == Code::kNotFound) return 127;
  if (text.find("permission denied") != std::string::npos || text.find("is a directory") != std::string::npos || error.code() == Code::kPermissionDenied) return 126;
  return 128;
}

Result<ContainerPtr> Containers::find_peer(std::string_view mode) const {
  if (!mode.starts_with("container:")) return ContainerPtr();
  TRY_ASSIGN(ContainerPtr peer, find(mode.substr(10)));
  if (peer->phase != Phase::kRunning) return fail(Code::kFailedPrecondition, cat("cannot join network of a non running container: ", peer->id));
  return peer;
}

std::string Containers::make_hosts(const Container& c) const {
  std::string text = c.network_mode() == "host" ? read_host("/etc/hosts")
                                                : "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
  for (const std::string& line : strings_of(c.host_config, {"ExtraHosts"})) {
    auto [name, ip] = split_once(line, ':');
    std::string address(ip.value_or(""));
    if (address == "host-gateway") address = c.endpoints.empty() ? "127.0.0.1" : c.endpoints.begin()->second.gateway;
    text += cat(address, "\t", name, "\n");
  }
  std::string_view hostname = json::get_string(c.config, {"Hostname"});
  std::string_view domain = json::get_string(c.config, {"Domainname"});
  for (const auto& [network, endpoint] : c.endpoints) text += cat(endpoint.ip, "\t", domain.empty() ? "" : cat(hostname, ".", domain, " "), hostname, "\n");
  return text;
}

std::string Containers::make_linked_hosts(const Container& c) const {
  std::vector<std::string> links = strings_of(c.host_config, {"Links"});
  for (const auto& [network, settings] : c.networks.get_object())
    for (std::string& link : strings_of(settings, {"Links"})) links.push_back(std::move(link));
  std::string text;
  for (const std::string& link : links) {
    auto [name, alias] = split_once(link, ':');
    auto peer = find(name);
    if (!peer) continue;
    for (const auto& [network, endpoint] : (*peer)->endpoints)
      if (c.endpoints.contains(network)) text += cat(endpoint.ip, "\t", alias.value_or(name), " ", (*peer)->id.substr(0, 12), " ", (*peer)->name, "\n");
  }
  return text;
}

std::string Containers::make_resolv_conf(const Container& c) const {
  namespace dns = network::dns;
  dns::ResolvConf conf = dns::parse_resolv_conf(read_host("/etc/resolv.conf"));
  if (c.network_mode() == "host" && strings_of(c.host_config, {"Dns"}).empty()) return read_host("/etc/resolv.conf");
  std::erase_if(conf.nameservers, [](const network::IpAddress& ip) { return ip.is_loopback(); });
  if (auto servers = strings_of(c.host_config, {"Dns"}); !servers.empty()) {
    conf.nameservers.clear();
    for (const std::string& server : servers)
      if (auto ip = network::parse_ip(server)) conf.nameservers.push_back(*ip);
  }
  for (const auto& [id, endpoint] : c.endpoints)
    if (!endpoint.names.empty())
      if (auto ip = network::parse_ip(endpoint.gateway)) {
        conf.nameservers.insert(conf.nameservers.begin(), *ip);
        if (conf.nameservers.size() > 1 && strings_of(c.host_config, {"Dns"}).empty()) conf.nameservers.resize(1);
        break;
      }
  if (auto search = strings_of(c.host_config, {"DnsSearch"}); !search.empty()) conf.search = search[0] == "." ? std::vector<std::string>() : search;
  if (auto options = strings_of(c.host_config, {"DnsOptions"}); !options.empty()) conf.options = options;
  return dns::format_resolv_conf(conf);
}

// Blocking: what the config needs to know from files, and the files it mounts.
Result<> Containers::fill_files(const Container& c, Place& place) const {
  TRY_ASSIGN(sys::Root root, sys::Root::open(place.rootfs));
  auto user = container::resolve_user_in(root, json::get_string(c.config, {"User"}));
  if (!user) return fail(Code::kInvalidArgument, user.error().message());
  place.user = std::move(*user);
  for (const std::string& group : strings_of(c.host_config, {"GroupAdd"})) {
    TRY_ASSIGN(container::ResolvedUser extra, container::resolve_user_in(root, cat("0:", group)));
    place.user.additional_gids.push_back(extra.gid);
  }
  for (const MountPoint& m : c.mounts)
    if (m.type == "volume" && m.copy_up) TRY(copy_up(m.source, root, m.destination));
  bool privileged = json::get_bool(c.host_config, {"Privileged"});
  if (privileged) {
    for (const std::string& name : sys::list_directory("/dev"))
      if (name != "console" && name != "tty" && name != "ptmx" && name != "null" && name != "zero" && name != "full" && name != "random" && name != "urandom")
        if (auto device = host_device("/dev/" + name, "/dev/" + name)) place.host_devices.push_back(std::move(*device));
  }
  if (const json::Array* devices = json::get_array(c.host_config, {"Devices"}); devices != nullptr && !privileged) {
    for (const json::Value& d : *devices) {
      std::string inside(json::get_string(d, {"PathInContainer"}));
      std::string outside(json::get_string(d, {"PathOnHost"}));
      TRY_ASSIGN(container::Device device, host_device(outside, inside.empty() ? outside : inside));
      place.host_devices.push_back(std::move(device));
    }
  }
  if (place.files != directories_.container(c.id)) return {};  // another container's
  TRY(sys::replace_file(place.files + "/hosts", make_hosts(c) + place.linked_hosts));
  TRY(sys::replace_file(place.files + "/hostname", cat(json::get_string(c.config, {"Hostname"}), "\n")));
  return sys::replace_file(place.files + "/resolv.conf", make_resolv_conf(c));
}

Task<Result<Place>> Containers::find_place(ContainerPtr c, std::string network_path) {
  Place place{.rootfs = directories_.rootfs(c->id), .files = directories_.container(c->id), .cgroup = cat("docker/", c->id), .network_path = std::move(network_path)};
  CO_TRY_ASSIGN(ContainerPtr network, find_peer(c->network_mode()));
  if (network) {
    place.files = directories_.container(network->id);
    place.network_path = cat("/proc/", network->pid, "/ns/net");
    auto pinned = container::find_sandbox_namespaces(directories_.namespaces(network->id));
    if (!pinned.network_path.empty()) place.network_path = pinned.network_path;
  }
  CO_TRY_ASSIGN(ContainerPtr ipc, find_peer(json::get_string(c->host_config, {"IpcMode"})));
  if (ipc) place.ipc_path = cat("/proc/", ipc->pid, "/ns/ipc");
  CO_TRY_ASSIGN(ContainerPtr pid, find_peer(json::get_string(c->host_config, {"PidMode"})));
  if (pid) place.pid_of = pid->id;
  place.linked_hosts = make_linked_hosts(*c);
  CO_TRY(co_await parts_.pool.run([&]() -> Result<> { return fill_files(*c, place); }));
  co_return place;
}

Task<Result<>> Containers::connect_one(ContainerPtr c, std::string name, std::string netns_path, bool first) {
  NetworkInfo* info = networks_.find(name);
  if (info == nullptr) co_return fail(Code::kNotFound, cat("network ", name, " not found"));
  if (info->driver != "bridge") co_return Result<>();
  const json::Value* settings = json::find(c->networks, {name});
  ConnectRequest request{.container_id = c->id, .netns_path = std::move(netns_path), .interface = cat("eth", c->endpoints.size()), .default_route = first};
  if (settings != nullptr) request.ip = json::get_string(*settings, {"IPAMConfig", "IPv4Address"});
  if (first) {
    CO_TRY_ASSIGN(request.ports, host_ports(c->ports));
  }
  if (!info->builtin) {
    request.names = {c->name, c->id.substr(0, 12)};
    if (settings != nullptr)
      for (std::string& alias : strings_of(*settings, {"Aliases"})) request.names.push_back(std::move(alias));
    if (std::string host(json::get_string(c->config, {"Hostname"})); !host.empty() && std::ranges::find(request.names, host) == request.names.end()) request.names.push_back(std::move(host));
  }
  CO_TRY_ASSIGN(Endpoint endpoint, co_await networks_.connect(*info, std::move(request)));
  c->endpoints[endpoint.network_id] = endpoint;
  if (NetworkInfo* still = networks_.find(endpoint.network_id)) events_.emit("network", "connect", still->id, {{"container", c->id}, {"name", still->name}, {"type", still->driver}});
  co_return Result<>();
}

// The mode's network first: it has the default route and the published ports.
Task<Result<>> Containers::connect_all(ContainerPtr c, std::string netns_path) {
  CO_TRY_ASSIGN(c->ports, plan_ports(c->config, c->host_config));
  if (!c->ports.empty()) {
    while (ports_held_ > 0) CO_TRY(co_await ports_freed_.wait());  // forever: what is taken down is bounded
    CO_TRY_ASSIGN(std::vector<network::HostPort> ports, proxied_ports(c->ports));
    auto proxy = std::make_unique<network::PortProxy>(parts_.executor, parts_.time);
    Result<> bound = proxy->bind(ports);
    for (std::size_t i = 0; i < ports.size(); ++i) c->ports[i].host_port = ports[i].host_port;
    proxies_[c->id] = std::move(proxy);
    if (!bound) co_return fail(Code::kInternal, cat("driver failed programming external connectivity on endpoint ", c->name, ": ", bound.error().message()));
  }
  std::string mode = c->network_mode();
  std::vector<std::string> names;
  for (const auto& [name, settings] : c->networks.get_object()) names.insert(std::string_view(name) == mode ? names.begin() : names.end(), std::string(name));
  for (const std::string& name : names) CO_TRY(co_await connect_one(c, name, netns_path, name == names.front()));
  if (auto proxy = proxies_.find(c->id); proxy != proxies_.end() && !c->endpoints.empty()) {
    NetworkInfo* info = networks_.find(mode);
    auto own = info == nullptr ? c->endpoints.begin() : c->endpoints.find(info->id);
    proxy->second->start(own == c->endpoints.end() ? c->endpoints.begin()->second.ip : own->second.ip);
  }
  co_return Result<>();
}

Task<Result<>> Containers::make(ContainerPtr c) {
  std::string id = c->id;
  CO_TRY(co_await parts_.pool.run([&] { return sys::make_directories(directories_.rootfs(id), 0711); }));
  CO_TRY(co_await parts_.images.mount(id, directories_.rootfs(id)));
  CO_TRY(failpoint("docker.mounted"));
  std::string network_path;
  if (c->has_own_network() && c->network_mode() != "none") {
    container::SandboxOptions options{.directory = directories_.namespaces(id), .network = true, .ipc = false, .uts = false};
    CO_TRY_ASSIGN(container::SandboxNamespaces made, co_await parts_.pool.run([&]() -> Result<container::SandboxNamespaces> {
      TRY(container::remove_sandbox_namespaces(options.directory));
      return container::create_sandbox_namespaces(options);
    }));
    network_path = made.network_path;
    CO_TRY(co_await connect_all(c, network_path));
    CO_TRY(failpoint("docker.connected"));
    CO_TRY(co_await save(*c));
  }
  CO_TRY_ASSIGN(Place place, co_await find_place(c, std::move(network_path)));
  CO_TRY_ASSIGN(container::ContainerConfig config, make_config(*c, place));
  co_return co_await parts_.runtime.create(id, std::move(config), make_stdio(*c, directories_.log(id)));
}

Task<Result<>> Containers::start(ContainerPtr c) {
  if (c->phase == Phase::kRunning) {
    if (c->paused) co_return fail(Code::kFailedPrecondition, "cannot start a paused container, try unpause instead");
    co_return not_modified();
  }
  co_return co_await async::whole(start_now(std::move(c)));
}

Task<Result<>> Containers::start_now(ContainerPtr c) {
  CO_TRY(co_await wait_for_turn(c));
  if (c->phase == Phase::kRunning) co_return not_modified();
  Turn turn(c);
  c->restarting = false;
  c->stopped_by_user = false;
  c->error.clear();
  Result<> made = co_await make(c);
  if (made) made = failpoint("docker.process_made");
  if (!made) co_return co_await fail_start(c, std::move(made).error());
  c->process_made = true;
  c->changed.wake_all();
  MonoTime until = parts_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(kAttachWait);
  while (c->attaching > 0 && parts_.time.mono() < until) {
    Result<> woken = co_await async::with_timeout<void>(parts_.time, until - parts_.time.mono(), "attach", c->changed.wait());
    if (!woken && woken.error().code() != Code::kDeadlineExceeded) break;
  }
  c->phase = Phase::kRunning;
  c->exit_code = 0;
  c->oom_killed = false;
  c->started = parts_.time.wall();
  c->finished = {};
  Result<> started = co_await parts_.runtime.start(c->id);
  if (started) (void)failpoint("docker.started");
  if (!started) {
    c->phase = Phase::kExited;
    co_return co_await fail_start(c, std::move(started).error());
  }
  if (auto state = parts_.runtime.state(c->id)) {
    c->pid = state->pid;
    if (state->started_at != WallTime{}) c->started = state->started_at;
  }
  emit(*c, "start");
  c->changed.wake_all();
  if (on_started) on_started(c);
  co_return Result<>();
}

// The caller has the turn.
Task<Result<>> Containers::fail_start(ContainerPtr c, Error error) {
  c->process_made = false;
  c->exit_code = start_error_code(error);
  c->error = cat("failed to create task for container: ", error.message());
  co_await take_down(c);
  ++c->exits;
  if (auto saved = co_await save(*c); !saved) log::warn("a container's record is not saved", {{"id", c->id}, {"error", saved.error()}});
  emit(*c, "die", {{"exitCode", std::to_string(c->exit_code)}});
  if (c->auto_remove())
    if (auto removed = co_await remove_now(c, true); !removed) log::warn("cannot remove a container", {{"id", c->id}, {"error", removed.error()}});
  c->changed.wake_all();
  Code code = error.code() == Code::kInvalidArgument || error.code() == Code::kFailedPrecondition ? error.code() : error.code() == Code::kNotFound && c->exit_code == 127 ? Code::kInvalidArgument : Code::kInternal;
  co_return fail(code, c->error);
}

Task<> Containers::take_down(ContainerPtr c) {
  std::string id = c->id;
  if (auto removed = co_await parts_.runtime.remove(id); !removed) log::warn("cannot remove a container's processes", {{"id", id}, {"error", removed.error()}});
  if (auto unmounted = co_await parts_.images.unmount(directories_.rootfs(id)); !unmounted) log::warn("cannot unmount a container's root", {{"id", id}, {"error", unmounted.error()}});
  Endpoints endpoints = std::exchange(c->endpoints, {});
  c->ports.clear();
  co_await take_down_links(id, std::move(endpoints), nullptr);
}

std::shared_ptr<void> Containers::hold_ports() {
  ++ports_held_;
  return {this, [](void* containers) {
            auto* self = static_cast<Containers*>(containers);
            --self->ports_held_;
            self->ports_freed_.wake_all();
          }};
}

Task<> Containers::take_down_links(std::string id, Endpoints endpoints, std::shared_ptr<void> /*held*/) {
  if (auto proxy = proxies_.find(id); proxy != proxies_.end()) {
    std::unique_ptr<network::PortProxy> ended = std::move(proxy->second);
    proxies_.erase(proxy);
    co_await ended->stop();
  }
  for (const auto& [network_id, endpoint] : endpoints) {
    NetworkInfo* info = networks_.find(network_id);
    if (info == nullptr) continue;
    if (auto gone = co_await networks_.disconnect(*info, id); !gone) log::warn("cannot remove a container's link", {{"id", id}, {"error", gone.error()}});
    events_.emit("network", "disconnect", network_id, {{"container", id}});
  }
  Result<> removed = co_await parts_.pool.run([&]() -> Result<> {
    TRY(container::remove_sandbox_namespaces(directories_.namespaces(id)));
    return sys::remove_tree(directories_.runtime(id));
  });
  if (!removed) log::warn("cannot remove what a container ran with", {{"id", id}, {"error", removed.error()}});
}

}  // namespace monopod::docker
