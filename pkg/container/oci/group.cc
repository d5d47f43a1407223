#include "container/oci/group.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/strings.h"
#include "container/oci/resources.h"

namespace monopod::container::oci {
namespace {

bool may_go_without(const Error& error) { return error.os_errno() == EPERM || error.os_errno() == EACCES || error.os_errno() == EROFS; }

constexpr const char* kMount = "/sys/fs/cgroup";

enum class Kind { kNone, kV1, kV2 };

Kind kind_of_groups() {
  struct statfs info = {};
  if (::statfs(kMount, &info) < 0) return Kind::kNone;
  return info.f_type == CGROUP2_SUPER_MAGIC ? Kind::kV2 : Kind::kV1;
}

// As the config says, then what every container may use: the standard devices, nodes of any, and its own.
std::vector<sys::DeviceRule> all_device_rules(std::vector<sys::DeviceRule> rules, const std::vector<Device>& devices) {
  std::vector<sys::DeviceRule> standard = default_device_rules();
  if (rules.empty()) {
    for (const Device& device : devices) {
      if (device.type != 'p') standard.push_back({true, device.type == 'u' ? 'c' : device.type, device.major, device.minor, "rwm"});
    }
    return standard;
  }
  rules.insert(rules.end(), standard.begin() + 1, standard.end());
  return rules;
}

Result<> limit_group(sys::Cgroups& groups, const Record& record, const Bundle& bundle, const std::vector<Setting>& settings) {
  TRY(apply_resources(groups, record.group, settings));
  TRY_ASSIGN(std::vector<sys::DeviceRule> rules, parse_device_rules(bundle.resources));
  return groups.set_devices(record.group, all_device_rules(std::move(rules), bundle.config.devices));
}

}  // namespace

Result<std::unique_ptr<sys::Cgroups>> open_groups(const std::vector<std::string>& controllers) {
  sys::CgroupOptions options;
  options.root = ".";
  options.make_room = false;
  options.controllers = controllers;
  // Where v1 has them: what clients look for. Elsewhere these are part of every group.
  for (const char* name : {"cpuacct", "devices"}) options.controllers.emplace_back(name);
  return sys::open_cgroups(options);
}

bool is_v2() { return kind_of_groups() == Kind::kV2; }

std::string group_path(const std::string& cgroups_path, const std::string& id) {
  std::string_view path = cgroups_path;
  if (path.empty()) return cat("monopod-", id);
  while (path.starts_with('/')) path.remove_prefix(1);
  return std::string(path);
}

Result<> plan_group(Record& record, const Bundle& bundle, Systemd* manager) {
  Kind kind = kind_of_groups();
  if (kind == Kind::kNone) {
    log::warn("this machine has no control groups", {});
    return {};
  }
  TRY_ASSIGN(std::vector<Setting> settings, plan_resources(bundle.resources, kind == Kind::kV2));
  record.controllers = controllers_of(settings);
  record.group = group_path(bundle.config.cgroup_path, record.id);
  record.resources = bundle.resources;
  if (manager != nullptr) {
    TRY_ASSIGN(Scope scope, plan_scope(bundle.config.cgroup_path, record.id, manager->of_user()));
    TRY_ASSIGN(std::string above, manager->control_group());
    record.scope = scope.unit;
    record.group = group_path(cat(above, "/", scope.group), record.id);
  }
  if (record.group.empty()) return fail(Code::kInvalidArgument, "config: linux.cgroupsPath is the top of all control groups");
  return {};
}

Result<> check_unused(sys::Cgroups& groups, const Record& record) {
  if (::access(groups.path(record.group).c_str(), F_OK) < 0) return {};
  Result<std::vector<int>> pids = groups.processes(record.group);
  if (!pids || pids->empty()) return {};  // it went meanwhile
  return fail(Code::kFailedPrecondition, cat("container's cgroup is not empty: ", pids->size(), " process(es) found"));
}

Result<MadeGroup> make_group(sys::Cgroups* groups, Record& record, const Bundle& bundle, bool host_ids) {
  if (groups == nullptr) return MadeGroup();
  MadeGroup out;
  out.views = groups->views(record.group);
  if (!record.scope.empty()) return out;
  TRY_ASSIGN(std::vector<Setting> settings, plan_resources(bundle.resources, groups->mode() == sys::CgroupMode::kV2));
  Result<> made = groups->create(record.group);
  if (!made) {
    if (!may_go_without(made.error()) || !settings.empty()) return fail(std::move(made).error());
    log::warn("the container has no control group of its own", {{"error", made.error()}});
    record.group.clear();
    return MadeGroup();
  }
  TRY(limit_group(*groups, record, bundle, settings));
  out.by_path = host_ids;
  if (!host_ids) {
    TRY_ASSIGN(out.entry, groups->open_entry(record.group));
    return out;
  }
  for (const auto& [name, path] : out.views) {
    if (!name.empty() && name != "unified") continue;
    out.entry.cgroup = sys::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!out.entry.cgroup) return fail_errno(cat("open ", path));
  }
  return out;
}

Result<> start_scope(const Record& record, const Bundle& bundle, Systemd& manager, int pid) {
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(record.controllers));
  TRY_ASSIGN(std::vector<Setting> settings, plan_resources(bundle.resources, groups->mode() == sys::CgroupMode::kV2));
  TRY_ASSIGN(Scope scope, plan_scope(bundle.config.cgroup_path, record.id, manager.of_user()));
  TRY(manager.start_scope(scope, cat("container ", record.id), pid, settings));
  // v1: systemd removes the empty groups that it has no use for, and knows of few hierarchies.
  Result<> made = groups->create(record.group);
  if (!made && may_go_without(made.error()) && settings.empty()) return {};  // an ordinary user has what the user's manager gave
  TRY(std::move(made));
  TRY(limit_group(*groups, record, bundle, settings));
  for (const auto& [name, path] : groups->views(record.group)) {
    if (!name.empty() && name != "unified") TRY(sys::write_host_file(cat(path, "/cgroup.procs"), cat(pid)));
  }
  return {};
}

Result<> enter_controller(const Record& record, const std::string& controller) {
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> before, open_groups(record.controllers));
  TRY_ASSIGN(std::vector<int> pids, before->processes(record.group));
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> after, open_groups({controller}));
  TRY(after->create(record.group));
  for (int pid : pids) {
    Result<> moved = after->write(record.group, controller, "cgroup.procs", cat(pid));
    if (!moved && moved.error().os_errno() != ESRCH) return moved;
  }
  return {};
}

bool is_frozen(const Record& record) {
  if (record.group.empty()) return false;
  Result<std::unique_ptr<sys::Cgroups>> groups = open_groups(record.controllers);
  return groups && (*groups)->is_frozen(record.group);
}

}  // namespace monopod::container::oci
