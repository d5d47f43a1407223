// Sandboxes: what a pod's containers share.
#include <sys/stat.h>

#include "agent/etc_files.h"
#include "sys/files.h"
#include "agent/machine.h"
#include "agent/resources.h"
#include "base/log.h"
#include "client/api.h"
#include "sys/root.h"

namespace monopod::agent {

namespace {

sys::CgroupLimits make_limits(const CgroupValues& values) {
  sys::CgroupLimits limits;
  limits.cpu_shares = static_cast<std::uint64_t>(values.cpu_shares);
  limits.cpu_quota_us = values.cpu_quota_us;
  if (values.cpu_quota_us) limits.cpu_period_us = static_cast<std::uint64_t>(values.cpu_period_us);
  limits.memory_bytes_max = values.memory_limit_bytes;
  return limits;
}

std::vector<network::HostPort> host_ports(const Pod& pod) {
  std::vector<network::HostPort> out;
  auto add = [&](const std::vector<Container>& containers) {
    for (const Container& c : containers)
      for (const Port& p : c.ports) {
        if (p.host_port <= 0) continue;
        network::HostPort port;
        if (auto ip = network::parse_ip(p.host_ip); ip && p.host_ip != "0.0.0.0") port.host_ip = *ip;
        port.host_port = static_cast<std::uint16_t>(p.host_port);
        port.container_port = static_cast<std::uint16_t>(p.container_port);
        port.protocol = network::parse_protocol(p.protocol).value_or(network::Protocol::kTcp);
        out.push_back(port);
      }
  };
  add(pod.init_containers);
  add(pod.containers);
  return out;
}

std::string_view qos_group(QosClass qos) {
  switch (qos) {
    case QosClass::kGuaranteed: return "";
    case QosClass::kBurstable: return "/burstable";
    case QosClass::kBestEffort: return "/besteffort";
  }
  return "";
}

}  // namespace

async::Task<Result<Sandbox>> Machine::start_sandbox(const Pod& pod) {
  CO_TRY(check_path_name(pod.uid));
  PodEntry& entry = pods_[pod.uid];  // stays where it is: nodes of a map do not move, and only remove_pod erases
  entry.name = pod.name;
  entry.namespace_name = pod.namespace_name;
  entry.host_network = pod.host_network;
  entry.group = cat(options_.cgroup_root, qos_group(qos_class(pod)), "/pod", pod.uid);
  auto sandbox = co_await build_sandbox(pod, entry);
  if (!sandbox) co_return fail(std::move(sandbox).error().with("create pod sandbox"));
  entry.sandbox = *sandbox;
  CO_TRY(co_await write_record(pod.uid));
  co_return *sandbox;
}

async::Task<Result<Sandbox>> Machine::build_sandbox(const Pod& pod, PodEntry& entry) {
  std::string uid = pod.uid;
  CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
    TRY(sys::make_directories(paths_.pod(uid), 0750));
    TRY(sys::make_directories(paths_.etc(uid)));
    TRY(sys::make_directories(paths_.pod_logs(pod.namespace_name, pod.name, uid)));
    TRY(sys::make_directories(paths_.run_pod(uid), 0700));
    if (!pod.host_ipc) TRY(sys::mount_tmpfs(paths_.shm(uid), {{"mode", "1777"}, {"size", "64m"}}));
    return {};
  }));
  CO_TRY(co_await write_record(uid));  // from here on a restart knows of it
  CO_TRY(co_await make_groups(pod, entry.group));

  container::SandboxOptions make;
  make.directory = paths_.namespaces(uid);
  make.hostname = pod.hostname_as_fqdn && !pod.subdomain.empty() ? pod_fqdn(pod, options_.cluster_domain) : pod_hostname(pod);
  make.network = !pod.host_network;
  make.ipc = !pod.host_ipc;
  make.uts = !pod.host_network;
  make.sysctls = pod.security.sysctls;
  container::SandboxNamespaces made = co_await deps_.pool.run([&] { return container::find_sandbox_namespaces(make.directory); });
  bool complete = (!make.network || !made.network_path.empty()) && (!make.ipc || !made.ipc_path.empty()) && (!make.uts || !made.uts_path.empty());
  if (!complete && (make.network || make.ipc || make.uts)) {
    if (deps_.sidecars != nullptr) CO_TRY(co_await deps_.sidecars->detach(uid));  // of namespaces that will be replaced
    CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
      TRY(container::remove_sandbox_namespaces(make.directory));
      TRY_ASSIGN(made, container::create_sandbox_namespaces(make));
      return {};
    }));
  }

  Sandbox out;
  out.created_at = entry.sandbox.created_at == WallTime{} ? deps_.time.wall() : entry.sandbox.created_at;
  if (!pod.host_network) {
    network::PodNetworkRequest request;
    request.id = uid;
    request.netns_path = made.network_path;
    request.host_ports = host_ports(pod);
    CO_TRY_ASSIGN(auto status, co_await deps_.network.add_pod(std::move(request)));
    out.ips = {network::format_ip(status.ip)};
    if (!complete || entry.sandbox.created_at == WallTime{}) {  // the record of a sandbox that was finished has it
      CO_TRY_ASSIGN(entry.sidecar, co_await decide_on_sidecar(pod));
    }
    CO_TRY(co_await attach_sidecar(uid, made.network_path));
  }
  CO_TRY(co_await write_etc_files(pod, out.ips));
  if (pod.share_process && !pod.host_pid) CO_TRY(co_await start_pause(pod, entry));
  out.ready = true;
  co_return out;
}

// A namespace is asked only where the pod leaves it open. The nodes of some control planes may not read namespaces: there pods decide for themselves.
async::Task<Result<std::optional<SidecarWish>>> Machine::decide_on_sidecar(const Pod& pod) {
  if (deps_.sidecars == nullptr) co_return std::optional<SidecarWish>();
  Labels labels;
  if (!decides_on_sidecar(pod)) {
    auto object = co_await deps_.api.get(client::resources::kNamespaces, "", pod.namespace_name);
    if (!object && object.error().code() != Code::kNotFound && object.error().code() != Code::kPermissionDenied) co_return fail(std::move(object).error());
    json::Value tree = object ? object->tree() : json::Value();
    if (const json::Object* found = json::get_object(tree, {"metadata", "labels"}))
      for (const auto& label : *found)
        if (label.value().is_string()) labels.emplace(label.key(), label.value().get_string());
  }
  co_return find_sidecar_wish(pod, labels);
}

async::Task<Result<>> Machine::attach_sidecar(std::string uid, std::string netns_path) {
  const PodEntry& entry = pods_.at(uid);
  if (deps_.sidecars == nullptr || !entry.sidecar) co_return Result<>();
  CO_TRY_ASSIGN(SidecarRules rules, parse_sidecar_rules(*entry.sidecar));
  co_return co_await deps_.sidecars->attach({.uid = uid, .name = entry.name, .namespace_name = entry.namespace_name, .netns_path = std::move(netns_path), .rules = std::move(rules)});
}

async::Task<Result<>> Machine::make_groups(const Pod& pod, std::string group) {
  sys::CgroupLimits none;
  CO_TRY(co_await deps_.containers.create_group(options_.cgroup_root, none));
  std::string qos = cat(options_.cgroup_root, qos_group(qos_class(pod)));
  if (qos != options_.cgroup_root) {
    sys::CgroupLimits limits;
    if (qos_class(pod) == QosClass::kBestEffort) limits.cpu_shares = 2;
    CO_TRY(co_await deps_.containers.create_group(qos, limits));
  }
  co_return co_await deps_.containers.create_group(group, make_limits(pod_cgroup(pod)));
}

async::Task<Result<>> Machine::write_etc_files(const Pod& pod, std::vector<std::string> ips) {
  std::string etc = paths_.etc(pod.uid);
  co_return co_await deps_.pool.run([&]() -> Result<> {
    auto text_of = [](const std::string& path) { return sys::read_host_file(path, 1U << 20).value_or(""); };
    std::string host_hosts = pod.host_network ? text_of("/etc/hosts") : "";
    TRY(sys::replace_file(etc + "/hosts", make_hosts(pod, ips, options_.cluster_domain, host_hosts)));
    TRY(sys::replace_file(etc + "/hostname", pod_hostname(pod) + "\n"));
    DnsOptions dns{options_.cluster_dns, options_.cluster_domain, text_of(options_.resolv_conf)};
    return sys::replace_file(etc + "/resolv.conf", make_resolv_conf(pod, dns));
  });
}

async::Task<Result<>> Machine::start_pause(const Pod& pod, PodEntry& entry) {
  std::string id = cat("pause-", pod.uid);
  if (auto state = deps_.containers.state(id); state && state->status == container::Status::kRunning) {
    entry.pause_id = id;
    co_return Result<>();
  }
  CO_TRY(co_await deps_.containers.remove(id));
  std::string root = paths_.rootfs(pod.uid, "pause");
  CO_TRY(co_await deps_.pool.run([&] { return sys::make_directories(root); }));
  container::SandboxNamespaces made = container::find_sandbox_namespaces(paths_.namespaces(pod.uid));
  container::ContainerConfig config = container::default_config();
  config.pause = true;
  config.rootfs = root;
  config.namespaces = {{container::NamespaceType::kMount, ""}, {container::NamespaceType::kPid, ""}};
  if (!made.network_path.empty()) config.namespaces.push_back({container::NamespaceType::kNetwork, made.network_path});
  if (!made.ipc_path.empty()) config.namespaces.push_back({container::NamespaceType::kIpc, made.ipc_path});
  if (!made.uts_path.empty()) config.namespaces.push_back({container::NamespaceType::kUts, made.uts_path});
  config.cgroup_path = cat(entry.group, "/", id);
  config.annotations[std::string(kPodUid)] = pod.uid;
  CO_TRY(co_await deps_.containers.create(id, std::move(config), supervisor::StdioOptions{}));
  CO_TRY(co_await deps_.containers.start(id));
  entry.pause_id = id;
  co_return Result<>();
}

async::Task<Result<>> Machine::stop_sandbox(std::string uid) {
  CO_TRY(check_path_name(uid));
  auto found = pods_.find(uid);
  std::string group = found == pods_.end() ? std::string() : found->second.group;
  CO_TRY(co_await deps_.containers.remove(cat("pause-", uid)));
  std::vector<std::string> dead;
  for (const auto& [id, entry] : containers_)
    if (entry.pod_uid == uid) dead.push_back(id);
  for (const std::string& id : dead) co_await discard(id, uid);  // nobody looks into a dead container's files: only its log stays
  if (deps_.sidecars != nullptr) CO_TRY(co_await deps_.sidecars->detach(uid));
  CO_TRY(co_await deps_.network.remove_pod(uid));
  CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
    TRY(container::remove_sandbox_namespaces(paths_.namespaces(uid)));
    return sys::remove_tree(paths_.run_pod(uid));
  }));
  if (auto entry = pods_.find(uid); entry != pods_.end()) {
    entry->second.sandbox.ready = false;
    entry->second.pause_id.clear();
  }
  // Dead containers keep no processes; a group that is busy is taken by the next try.
  if (!group.empty())
    if (auto removed = co_await deps_.containers.remove_group(group); !removed && removed.error().code() != Code::kNotFound)
      log::debug("pod group is busy, the next pass takes it", {{"group", group}, {"error", removed.error()}});
  co_return Result<>();
}

async::Task<Result<>> Machine::remove_pod(std::string uid) {
  CO_TRY(check_path_name(uid));
  std::vector<std::string> ids;
  for (const auto& [id, entry] : containers_)
    if (entry.pod_uid == uid) ids.push_back(id);
  for (const std::string& id : ids) CO_TRY(co_await remove_container(id));
  CO_TRY(co_await stop_sandbox(uid));
  auto found = pods_.find(uid);
  std::string logs = found == pods_.end() ? std::string() : paths_.pod_logs(found->second.namespace_name, found->second.name, uid);
  CO_TRY(co_await deps_.pool.run([&]() -> Result<> {
    TRY(sys::remove_tree(paths_.run_pod(uid)));
    if (!logs.empty()) TRY(sys::remove_tree(logs));
    return sys::remove_tree(paths_.pod(uid));  // the record goes last: a restart in the middle takes up again
  }));
  pods_.erase(uid);
  co_return Result<>();
}

async::Task<Result<>> Machine::write_record(std::string uid) {
  const PodEntry& entry = pods_.at(uid);
  json::Object o{{"name", entry.name}, {"namespace", entry.namespace_name}, {"hostNetwork", entry.host_network}, {"group", entry.group}};
  if (entry.sandbox.created_at != WallTime{}) o["created"] = format_rfc3339_nano(entry.sandbox.created_at);
  if (entry.sidecar) {
    json::Object& wish = o["sidecar"].emplace_object();
    for (const auto& [name, text] : *entry.sidecar) wish[name] = text;
  }
  std::string text = json::format(json::Value(std::move(o)));
  std::string path = paths_.record(uid);
  co_return co_await deps_.pool.run([&] { return sys::replace_file(path, text, 0600); });
}

async::Task<Result<>> Machine::load_records() {
  struct Found {
    std::string uid;
    std::string text;
    container::SandboxNamespaces namespaces;
  };
  std::vector<Found> found = co_await deps_.pool.run([&] {
    std::vector<Found> out;
    std::set<std::string> known;
    for (const std::string& uid : sys::list_directory(paths_.pods())) {
      auto text = sys::read_host_file(paths_.record(uid), 1U << 20);
      if (!check_path_name(uid) || !text) continue;
      known.insert(uid);
      out.push_back({uid, *text, container::find_sandbox_namespaces(paths_.namespaces(uid))});
    }
    // What no record names was left by a death before the record was written, or after it was removed.
    for (const std::string& dir : {paths_.run_pods(), paths_.pods()})
      for (const std::string& uid : sys::list_directory(dir))
        if (!known.contains(uid)) {
          auto unpinned = container::remove_sandbox_namespaces(paths_.namespaces(uid));
          auto removed = sys::remove_tree(cat(dir, "/", uid));
          if (!unpinned || !removed) log::warn("cannot remove what an earlier run left", {{"path", cat(dir, "/", uid)}});
        }
    return out;
  });
  std::vector<std::string> live;
  for (const Found& f : found) {
    auto tree = json::parse(f.text);
    if (!tree) continue;
    PodEntry& entry = pods_[f.uid];
    entry.name = json::get_string(*tree, {"name"});
    entry.namespace_name = json::get_string(*tree, {"namespace"});
    entry.host_network = json::get_bool(*tree, {"hostNetwork"});
    entry.group = json::get_string(*tree, {"group"});
    if (auto at = parse_rfc3339(json::get_string(*tree, {"created"}))) entry.sandbox.created_at = *at;
    if (const json::Object* wish = json::get_object(*tree, {"sidecar"})) {
      entry.sidecar.emplace();
      for (const auto& member : *wish)
        if (member.value().is_string()) entry.sidecar->emplace(member.key(), member.value().get_string());
    }
    live.push_back(f.uid);
    auto status = deps_.network.find_pod(f.uid);
    bool complete = entry.host_network || (!f.namespaces.network_path.empty() && status);
    if (status) entry.sandbox.ips = {network::format_ip(status->ip)};
    entry.sandbox.ready = complete && entry.sandbox.created_at != WallTime{};
    std::string pause = cat("pause-", f.uid);
    if (auto state = deps_.containers.state(pause)) {
      if (state->status == container::Status::kRunning) entry.pause_id = pause;
      else entry.sandbox.ready = false;
    }
  }
  auto gone = co_await deps_.network.retain(live);
  if (!gone) log::warn("cannot clean up pod networks", {{"error", gone.error()}});
  // Rules are there yet, and connections wait since the process before: a sandbox whose proxy does not come back is made anew.
  for (const Found& f : found) {
    auto entry = pods_.find(f.uid);
    if (entry == pods_.end() || !entry->second.sandbox.ready) continue;
    auto attached = co_await attach_sidecar(f.uid, f.namespaces.network_path);
    if (attached) continue;
    log::error("the proxy of a pod does not come back", {{"pod", cat(entry->second.namespace_name, "/", entry->second.name)}, {"error", attached.error()}});
    entry->second.sandbox.ready = false;
  }
  co_return Result<>();
}

container::SandboxNamespaces Machine::namespaces(const std::string& uid) const { return container::find_sandbox_namespaces(paths_.namespaces(uid)); }

std::string Machine::group(const std::string& uid) const {
  auto found = pods_.find(uid);
  return found == pods_.end() ? std::string() : found->second.group;
}

}  // namespace monopod::agent
