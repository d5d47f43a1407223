#include "container/oci/bundle.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "container/mount_options.h"
#include "container/oci/resources.h"
#include "sys/capabilities.h"
#include "sys/root.h"

namespace monopod::container::oci {
namespace {

std::unexpected<Error> bad(std::string text) { return fail(Code::kInvalidArgument, cat("config: ", text)); }

std::string absolute(const std::string& base, const std::string& path) {
  if (path.starts_with('/')) return path;
  return path.empty() || path == "." ? base : cat(base, "/", path);
}

// SemVer of major version 1; a later minor version only adds what may be ignored.
Result<> check_version(const json::Value& value) {
  std::string_view text = json::get_string(value, {"ociVersion"});
  if (text.empty()) return bad("ociVersion is missing");
  auto numbers = split(text.substr(0, text.find_first_of("-+")), '.');
  for (std::string_view number : numbers) {
    if (!parse_int<std::uint32_t>(number)) return bad(cat("ociVersion \"", text, "\" is not a version"));
  }
  if (numbers.size() != 3) return bad(cat("ociVersion \"", text, "\" is not a version"));
  if (numbers[0] != "1") return bad(cat("ociVersion \"", text, "\" is not supported: this runtime speaks ", kOciVersion));
  return {};
}

// What must be there, before the shape of the rest is looked at.
Result<> check_members(const json::Value& value) {
  TRY(check_version(value));
  if (json::get_object(value, {"root"}) == nullptr || json::get_string(value, {"root", "path"}).empty()) return bad("root.path is missing");
  const json::Value* process = json::find(value, {"process"});
  if (process != nullptr && !process->is_null() && json::get_string(*process, {"cwd"}).empty()) return bad("process.cwd is missing");
  if (json::get_object(value, {"linux"}) == nullptr) return bad("linux is missing: this is a runtime for linux");
  return {};
}

Result<> complete_mounts(ContainerConfig& config, const std::string& base) {
  for (Mount& mount : config.mounts) {
    if (mount.destination.empty()) return bad("mounts: destination is missing");
    // Since 1.2 a relative destination starts at the container's root.
    if (!mount.destination.starts_with('/')) mount.destination.insert(0, "/");
    MountOptions options = parse_mount_options(mount);
    if (options.remount) continue;
    if (options.bind) {
      if (mount.source.empty()) return bad(cat("mount ", mount.destination, ": a bind mount has no source"));
      mount.source = absolute(base, mount.source);
    } else if (mount.type.empty()) {
      return bad(cat("mount ", mount.destination, ": type is missing"));
    }
    if (options.copy_up && mount.type != "tmpfs") return bad(cat("mount ", mount.destination, ": tmpcopyup is for tmpfs"));
    if (options.id_map && !options.bind) return bad(cat("mount ", mount.destination, ": only bind mounts are mapped"));
    if (options.id_map && mount.uid_mappings.empty() && (config.uid_mappings.empty() || config.gid_mappings.empty()))
      return bad(cat("mount ", mount.destination, ": idmap has no mappings, and no user namespace has them"));
  }
  return {};
}

Result<> check_namespaces(const ContainerConfig& config) {
  // pivot_root in the caller's own namespace would be the end of the host.
  if (!has_namespace(config, NamespaceType::kMount)) return bad("linux.namespaces: a container without a mount namespace is not supported");
  bool uts = has_namespace(config, NamespaceType::kUts);
  if (!config.hostname.empty() && !uts) return bad("hostname needs a uts namespace");
  if (!config.domainname.empty() && !uts) return bad("domainname needs a uts namespace");
  if (config.process.console_rows != 0 && !config.process.terminal) return bad("process.consoleSize needs process.terminal");
  if (config.seccomp && config.seccomp->listener_path.empty() && !config.seccomp->listener_metadata.empty())
    return bad("linux.seccomp.listenerMetadata needs listenerPath");
  return {};
}

}  // namespace

Result<> drop_unknown_capabilities(Capabilities& capabilities) {
  for (auto* set : {&capabilities.bounding, &capabilities.effective, &capabilities.permitted, &capabilities.ambient, &capabilities.inheritable}) {
    for (const std::string& name : *set) {
      bool shaped = name.starts_with("CAP_") && std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9'); });
      if (!shaped) return fail(Code::kInvalidArgument, cat("process.capabilities: \"", name, "\" is not a capability"));
    }
    std::erase_if(*set, [](const std::string& name) {
      if (sys::find_capability(name)) return false;
      log::warn("an unknown capability is ignored", {{"capability", name}});
      return true;
    });
  }
  return {};
}

Result<Bundle> parse_bundle(const std::string& path, std::string_view text) {
  TRY_ASSIGN(json::Value value, json::parse(text));
  if (!value.is_object()) return bad("not an object");
  TRY(check_members(value));
  Bundle out;
  out.path = path;
  if (const json::Value* resources = json::find(value, {"linux", "resources"}); resources != nullptr) {
    out.resources = spell_resources(*resources);
    // Its members are read by their own table, which knows more of them.
    json::at_path(value, {"linux"}).as_object().erase("resources");
  }
  TRY_ASSIGN(out.config, parse_config(value));
  ContainerConfig& config = out.config;
  // Without a process there is a container, which cannot be started (runtime.md, "Start").
  config.pause = json::get_object(value, {"process"}) == nullptr;
  if (config.pause) config.process.capabilities = {};
  TRY(drop_unknown_capabilities(config.process.capabilities));
  config.rootfs = absolute(path, config.rootfs);
  TRY(complete_mounts(config, path));
  TRY(check_namespaces(config));
  Result<> valid = validate_config(config);
  if (!valid) return fail(std::move(valid).error().with("config"));
  // Types and ranges; what this machine's version of control groups lacks is found when they are applied.
  Result<std::vector<Setting>> planned = plan_resources(out.resources, false);
  if (!planned && planned.error().code() == Code::kInvalidArgument) return fail(std::move(planned).error().with("config"));
  TRY(parse_device_rules(out.resources));
  return out;
}

Result<Bundle> load_bundle(const std::string& path) {
  std::string base = path;
  if (base.empty() || base == ".") base.clear();
  if (!base.starts_with('/')) {
    char now[4096];
    if (::getcwd(now, sizeof now) == nullptr) return fail_errno("working directory");
    base = base.empty() ? now : cat(now, "/", base);
  }
  while (base.size() > 1 && base.back() == '/') base.pop_back();
  TRY_ASSIGN(std::string text, sys::read_host_file(base + "/config.json", kConfigBytesMax));
  return parse_bundle(base, text);
}

Result<> check_host(const ContainerConfig& config) {
  if (!config.process.apparmor_profile.empty()) {
    Result<std::string> enabled = sys::read_host_file("/sys/module/apparmor/parameters/enabled");
    if (!enabled || !enabled->starts_with('Y')) return bad("process.apparmorProfile: this machine has no AppArmor");
  }
  if ((!config.process.selinux_label.empty() || !config.mount_label.empty()) && ::access("/sys/fs/selinux/enforce", F_OK) != 0)
    return bad("process.selinuxLabel, linux.mountLabel: this machine has no SELinux");
  return {};
}

std::string example_config(bool rootless) {
  ContainerConfig config = default_config();
  config.seccomp.reset();
  config.rootfs = "rootfs";
  config.rootfs_readonly = true;
  config.hostname = "monopod";
  config.resources = {};
  ProcessSpec& process = config.process;
  process.args = {"sh"};
  process.env.push_back("TERM=xterm");
  process.terminal = true;
  process.no_new_privileges = true;
  std::vector<std::string> names = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  process.capabilities = {names, names, names, {}, {}};
  process.rlimits = {{"RLIMIT_NOFILE", 1024, 1024}};
  config.namespaces.insert(config.namespaces.begin() + 1, {NamespaceType::kNetwork, {}});
  if (rootless) {
    std::erase_if(config.namespaces, [](const Namespace& ns) { return ns.type == NamespaceType::kNetwork; });
    config.namespaces.push_back({NamespaceType::kUser, {}});
    config.uid_mappings = {{0, ::geteuid(), 1}};
    config.gid_mappings = {{0, ::getegid(), 1}};
    for (Mount& mount : config.mounts) {
      std::erase_if(mount.options, [](const std::string& option) { return option.starts_with("gid="); });
      // A sysfs of one's own needs a network namespace of one's own.
      if (mount.type == "sysfs") mount = {"/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}};
    }
    std::erase_if(config.mounts, [](const Mount& mount) { return mount.type == "cgroup"; });
  }
  json::Value out = format_config(config);
  if (!rootless) json::at_path(out, {"linux", "resources", "devices"}) = json::Array{json::Object{{"allow", false}, {"access", "rwm"}}};
  return json::format(out);
}

}  // namespace monopod::container::oci
