#include "api/admission/pod_security_checks.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/strings.h"

namespace monopod::api {
namespace {

using Names = std::vector<std::string>;
using Values = std::set<std::string>;
using Found = std::optional<PodSecurityViolation>;

constexpr int kNewest = 34;  // the last version with a change of its own

struct Pod {
  const json::Value& metadata;
  const json::Value& spec;
  int minor;
};

const json::Value* find_set(const json::Value& root, std::initializer_list<std::string_view> path) {
  const json::Value* value = json::find(root, path);
  return value == nullptr || value->is_null() ? nullptr : value;
}

template <typename F>
void visit(const Pod& pod, F on_container) {
  for (std::string_view member : {"initContainers", "containers", "ephemeralContainers"})
    if (const json::Array* list = json::get_array(pod.spec, {member}))
      for (const json::Value& container : *list) on_container(container);
}

// Names of the containers for which bad() holds.
template <typename F>
Names containers_where(const Pod& pod, F bad) {
  Names out;
  visit(pod, [&](const json::Value& container) {
    if (bad(container)) out.emplace_back(json::get_string(container, {"name"}));
  });
  return out;
}

template <typename List>
std::string quoted(const List& items) {
  std::string out;
  for (const std::string& item : items) out += cat(out.empty() ? "\"" : ", \"", item, '"');
  return out;
}

template <typename List>
std::string_view plural(const List& items, std::string_view one, std::string_view many) {
  return items.size() == 1 ? one : many;
}

std::string containers_text(const Names& names) { return cat(plural(names, "container", "containers"), ' ', quoted(names)); }

// "pod", `container "a"` or `pod and containers "a", "b"`.
std::string setters_text(bool pod_too, const Names& names) {
  Names parts;
  if (pod_too) parts.emplace_back("pod");
  if (!names.empty()) parts.push_back(containers_text(names));
  return join(parts, " and ");
}

bool contains(std::initializer_list<std::string_view> list, std::string_view value) { return std::ranges::find(list, value) != list.end(); }

bool on_windows(const Pod& pod) { return pod.minor >= 25 && json::get_string(pod.spec, {"os", "name"}) == "windows"; }

bool profile_fits(const json::Value& profile) { return contains({"RuntimeDefault", "Localhost"}, json::get_string(profile, {"type"})); }

template <typename F>
void each_string(const json::Value& root, std::initializer_list<std::string_view> path, F on_string) {
  if (const json::Array* list = json::get_array(root, path))
    for (const json::Value& one : *list)
      if (one.is_string()) on_string(std::string_view(one.get_string()));
}

// Who sets a profile (seccomp, AppArmor) of a type that is not allowed.
struct BadProfiles {
  bool pod = false;
  Names containers;
  Values types;
};

BadProfiles bad_profiles(const Pod& pod, std::string_view member) {
  BadProfiles out;
  auto bad = [&](const json::Value& owner) {
    const json::Value* profile = find_set(owner, {"securityContext", member});
    if (profile == nullptr || profile_fits(*profile)) return false;
    out.types.emplace(json::get_string(*profile, {"type"}));
    return true;
  };
  out.pod = bad(pod.spec);
  out.containers = containers_where(pod, bad);
  return out;
}

Found apparmor(const Pod& pod) {
  BadProfiles bad = bad_profiles(pod, "appArmorProfile");
  Names values(bad.types.begin(), bad.types.end());
  Values annotations;
  if (const json::Object* all = json::get_object(pod.metadata, {"annotations"}))
    for (const auto& [key, value] : *all) {
      std::string_view text = value.is_string() ? std::string_view(value.get_string()) : std::string_view();
      bool fits = text.empty() || text == "runtime/default" || text.starts_with("localhost/");
      if (std::string_view(key).starts_with("container.apparmor.security.beta.kubernetes.io/") && !fits)
        annotations.insert(cat(std::string_view(key), "=\"", text, '"'));
    }
  values.insert(values.end(), annotations.begin(), annotations.end());
  if (values.empty()) return std::nullopt;
  std::string who = setters_text(bad.pod, bad.containers);
  if (!annotations.empty()) who += cat(who.empty() ? "" : " and ", plural(annotations, "annotation", "annotations"));
  return PodSecurityViolation{cat(plural(values, "forbidden AppArmor profile", "forbidden AppArmor profiles")),
                              cat(who, " must not set AppArmor profile type to ", quoted(values))};
}

Found capabilities_baseline(const Pod& pod) {
  Values added;
  Names bad = containers_where(pod, [&](const json::Value& container) {
    bool any = false;
    each_string(container, {"securityContext", "capabilities", "add"}, [&](std::string_view name) {
      if (contains({"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                    "SETPCAP", "SETUID", "SYS_CHROOT"}, name)) return;
      any = true;
      added.emplace(name);
    });
    return any;
  });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"non-default capabilities",
                              cat(containers_text(bad), " must not include ", quoted(added), " in securityContext.capabilities.add")};
}

Found host_namespaces(const Pod& pod) {
  Names bad;
  for (std::string_view member : {"hostIPC", "hostNetwork", "hostPID"})
    if (json::get_bool(pod.spec, {member})) bad.emplace_back(member);
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"host namespaces", join(bad, ", ")};
}

Found host_path_volumes(const Pod& pod) {
  Names bad;
  if (const json::Array* volumes = json::get_array(pod.spec, {"volumes"}))
    for (const json::Value& volume : *volumes)
      if (find_set(volume, {"hostPath"}) != nullptr) bad.emplace_back(json::get_string(volume, {"name"}));
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"hostPath volumes", cat(plural(bad, "volume", "volumes"), ' ', quoted(bad))};
}

Found host_ports(const Pod& pod) {
  Values ports;
  Names bad = containers_where(pod, [&](const json::Value& container) {
    bool any = false;
    if (const json::Array* list = json::get_array(container, {"ports"}))
      for (const json::Value& port : *list)
        if (std::int64_t number = json::get_int(port, {"hostPort"}); number != 0) {
          any = true;
          ports.insert(cat(number));
        }
    return any;
  });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"hostPort", cat(containers_text(bad), plural(bad, " uses ", " use "), plural(ports, "hostPort ", "hostPorts "),
                                              join(Names(ports.begin(), ports.end()), ", "))};
}

Found probe_hosts(const Pod& pod) {
  Values hosts, bad;
  visit(pod, [&](const json::Value& container) {
    auto look = [&](const json::Value* handler) {
      if (handler == nullptr) return;
      for (std::string_view action : {"httpGet", "tcpSocket"})
        if (std::string_view host = json::get_string(*handler, {action, "host"}); !host.empty()) {
          hosts.emplace(host);
          bad.emplace(json::get_string(container, {"name"}));
        }
    };
    for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) look(find_set(container, {probe}));
    for (std::string_view hook : {"postStart", "preStop"}) look(find_set(container, {"lifecycle", hook}));
  });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"probe or lifecycle host",
                              cat(containers_text(Names(bad.begin(), bad.end())), plural(bad, " uses ", " use "),
                                  plural(hosts, "probe or lifecycle host ", "probe or lifecycle hosts "), quoted(hosts))};
}

Found privileged(const Pod& pod) {
  Names bad = containers_where(pod, [](const json::Value& container) { return json::get_bool(container, {"securityContext", "privileged"}); });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"privileged", cat(containers_text(bad), " must not set securityContext.privileged=true")};
}

// hostUsers: false relaxes nothing here: this node gives pods no user namespace.
Found proc_mount(const Pod& pod) {
  Values types;
  Names bad = containers_where(pod, [&](const json::Value& container) {
    const json::Value* type = find_set(container, {"securityContext", "procMount"});
    std::string_view text = json::get_string(container, {"securityContext", "procMount"});
    if (type == nullptr || text == "Default") return false;
    types.emplace(text);
    return true;
  });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"procMount", cat(containers_text(bad), " must not set securityContext.procMount to ", quoted(types))};
}

Found selinux(const Pod& pod) {
  Values types;
  bool user = false, role = false;
  auto bad = [&](const json::Value& owner) {
    const json::Value* options = find_set(owner, {"securityContext", "seLinuxOptions"});
    if (options == nullptr) return false;
    std::string_view type = json::get_string(*options, {"type"});
    bool type_fits = contains({"", "container_t", "container_init_t", "container_kvm_t"}, type) || (pod.minor >= 31 && type == "container_engine_t");
    bool sets_user = !json::get_string(*options, {"user"}).empty(), sets_role = !json::get_string(*options, {"role"}).empty();
    if (!type_fits) types.emplace(type);
    user |= sets_user;
    role |= sets_role;
    return !type_fits || sets_user || sets_role;
  };
  bool pod_too = bad(pod.spec);
  Names containers = containers_where(pod, bad);
  if (!pod_too && containers.empty()) return std::nullopt;
  Names what;
  if (!types.empty()) what.push_back(cat(plural(types, "type ", "types "), quoted(types)));
  if (user) what.emplace_back("user may not be set");
  if (role) what.emplace_back("role may not be set");
  return PodSecurityViolation{"seLinuxOptions", cat(setters_text(pod_too, containers), " set forbidden securityContext.seLinuxOptions: ", join(what, "; "))};
}

Found seccomp_annotations(const Pod& pod) {
  Values bad;
  auto look = [&](const std::string& key) {
    const json::Value* value = json::find(pod.metadata, {"annotations", key});
    if (value == nullptr || !value->is_string()) return;
    std::string_view text(value->get_string());
    if (text != "runtime/default" && text != "docker/default" && !text.starts_with("localhost/")) bad.insert(cat(key, "=\"", text, '"'));
  };
  look("seccomp.security.alpha.kubernetes.io/pod");
  visit(pod, [&](const json::Value& container) { look(cat("container.seccomp.security.alpha.kubernetes.io/", json::get_string(container, {"name"}))); });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"seccompProfile", cat("forbidden ", plural(bad, "annotation ", "annotations "), join(Names(bad.begin(), bad.end()), ", "))};
}

Found seccomp_baseline(const Pod& pod) {
  BadProfiles bad = bad_profiles(pod, "seccompProfile");
  if (!bad.pod && bad.containers.empty()) return std::nullopt;
  return PodSecurityViolation{"seccompProfile", cat(setters_text(bad.pod, bad.containers), " must not set securityContext.seccompProfile.type to ", quoted(bad.types))};
}

Found sysctls(const Pod& pod) {
  Names bad;
  auto fits = [&pod](std::string_view name) {
    if (contains({"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
                  "net.ipv4.ip_unprivileged_port_start"}, name)) return true;
    if (pod.minor >= 27 && name == "net.ipv4.ip_local_reserved_ports") return true;
    if (pod.minor >= 29 && contains({"net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                                     "net.ipv4.tcp_keepalive_probes"}, name)) return true;
    return pod.minor >= 32 && contains({"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}, name);
  };
  if (const json::Array* list = json::get_array(pod.spec, {"securityContext", "sysctls"}))
    for (const json::Value& one : *list)
      if (std::string_view name = json::get_string(one, {"name"}); !fits(name)) bad.emplace_back(name);
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"forbidden sysctls", join(bad, ", ")};
}

Found host_process(const Pod& pod) {
  auto bad = [](const json::Value& owner) { return json::get_bool(owner, {"securityContext", "windowsOptions", "hostProcess"}); };
  std::string who = setters_text(bad(pod.spec), containers_where(pod, bad));
  if (who.empty()) return std::nullopt;
  return PodSecurityViolation{"hostProcess", cat(who, " must not set securityContext.windowsOptions.hostProcess=true")};
}

Found privilege_escalation(const Pod& pod) {
  if (on_windows(pod)) return std::nullopt;
  Names bad = containers_where(pod, [](const json::Value& container) { return json::get_bool(container, {"securityContext", "allowPrivilegeEscalation"}, true); });
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"allowPrivilegeEscalation != false", cat(containers_text(bad), " must set securityContext.allowPrivilegeEscalation=false")};
}

Found capabilities_restricted(const Pod& pod) {
  if (on_windows(pod)) return std::nullopt;
  Values added;
  Names keep = containers_where(pod, [](const json::Value& container) {
    bool all = false;
    each_string(container, {"securityContext", "capabilities", "drop"}, [&all](std::string_view name) { all |= name == "ALL"; });
    return !all;
  });
  Names add = containers_where(pod, [&](const json::Value& container) {
    bool any = false;
    each_string(container, {"securityContext", "capabilities", "add"}, [&](std::string_view name) {
      if (name == "NET_BIND_SERVICE") return;
      any = true;
      added.emplace(name);
    });
    return any;
  });
  Names what;
  if (!keep.empty()) what.push_back(cat(containers_text(keep), " must set securityContext.capabilities.drop=[\"ALL\"]"));
  if (!add.empty()) what.push_back(cat(containers_text(add), " must not include ", quoted(added), " in securityContext.capabilities.add"));
  if (what.empty()) return std::nullopt;
  return PodSecurityViolation{"unrestricted capabilities", join(what, "; ")};
}

std::string_view restricted_type(const json::Value& volume) {  // empty where the volume is allowed
  for (std::string_view type : {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"})
    if (find_set(volume, {type}) != nullptr) return {};
  for (std::string_view type :
       {"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder", "cephfs", "flocker",
        "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos"})
    if (find_set(volume, {type}) != nullptr) return type;
  return "unknown";
}

Found volume_types(const Pod& pod) {
  Names bad;
  Values types;
  if (const json::Array* volumes = json::get_array(pod.spec, {"volumes"}))
    for (const json::Value& volume : *volumes)
      if (std::string_view type = restricted_type(volume); !type.empty()) {
        bad.emplace_back(json::get_string(volume, {"name"}));
        types.emplace(type);
      }
  if (bad.empty()) return std::nullopt;
  return PodSecurityViolation{"restricted volume types", cat(plural(bad, "volume ", "volumes "), quoted(bad), plural(bad, " uses ", " use "),
                                                             plural(types, "restricted volume type ", "restricted volume types "), quoted(types))};
}

Found run_as_non_root(const Pod& pod) {
  auto set_to = [](const json::Value& owner, bool value) {
    const json::Value* member = find_set(owner, {"securityContext", "runAsNonRoot"});
    return member != nullptr && member->is_bool() && member->get_bool() == value;
  };
  std::string who = setters_text(set_to(pod.spec, false), containers_where(pod, [&](const json::Value& one) { return set_to(one, false); }));
  if (!who.empty()) return PodSecurityViolation{"runAsNonRoot != true", cat(who, " must not set securityContext.runAsNonRoot=false")};
  Names silent = containers_where(pod, [](const json::Value& one) { return find_set(one, {"securityContext", "runAsNonRoot"}) == nullptr; });
  if (set_to(pod.spec, true) || silent.empty()) return std::nullopt;
  return PodSecurityViolation{"runAsNonRoot != true", cat("pod or ", containers_text(silent), " must set securityContext.runAsNonRoot=true")};
}

Found run_as_user(const Pod& pod) {
  auto root = [](const json::Value& owner) { return json::get_int(owner, {"securityContext", "runAsUser"}, 1) == 0; };
  std::string who = setters_text(root(pod.spec), containers_where(pod, root));
  if (who.empty()) return std::nullopt;
  return PodSecurityViolation{"runAsUser=0", cat(who, " must not set runAsUser=0")};
}

Found seccomp_restricted(const Pod& pod) {
  if (on_windows(pod)) return std::nullopt;
  if (Found bad = seccomp_baseline(pod)) return bad;
  if (find_set(pod.spec, {"securityContext", "seccompProfile"}) != nullptr) return std::nullopt;
  Names silent = containers_where(pod, [](const json::Value& one) { return find_set(one, {"securityContext", "seccompProfile"}) == nullptr; });
  if (silent.empty()) return std::nullopt;
  return PodSecurityViolation{"seccompProfile", cat("pod or ", containers_text(silent), " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")};
}

constexpr int kEvery = kNewest + 1;

struct Check {
  Found (*run)(const Pod& pod);
  PodSecurityLevel level;
  int first = 0;                    // versions v1.first up to, without, v1.end
  int end = kEvery;
  int restricted_from = kEvery;    // from here on a stricter check stands for it at the restricted level
};

constexpr PodSecurityLevel kBaseline = PodSecurityLevel::kBaseline;
constexpr PodSecurityLevel kRestricted = PodSecurityLevel::kRestricted;

constexpr Check kChecks[] = {  // the order of the messages
    {.run = apparmor, .level = kBaseline},
    {.run = capabilities_baseline, .level = kBaseline, .restricted_from = 22},
    {.run = host_namespaces, .level = kBaseline},
    {.run = host_path_volumes, .level = kBaseline, .restricted_from = 0},
    {.run = host_ports, .level = kBaseline},
    {.run = probe_hosts, .level = kBaseline, .first = 34},
    {.run = privileged, .level = kBaseline},
    {.run = proc_mount, .level = kBaseline},
    {.run = selinux, .level = kBaseline},
    {.run = seccomp_annotations, .level = kBaseline, .end = 19},
    {.run = seccomp_baseline, .level = kBaseline, .first = 19, .restricted_from = 19},
    {.run = sysctls, .level = kBaseline},
    {.run = host_process, .level = kBaseline},
    {.run = privilege_escalation, .level = kRestricted, .first = 8},
    {.run = capabilities_restricted, .level = kRestricted, .first = 22},
    {.run = volume_types, .level = kRestricted},
    {.run = run_as_non_root, .level = kRestricted},
    {.run = run_as_user, .level = kRestricted, .first = 23},
    {.run = seccomp_restricted, .level = kRestricted, .first = 19},
};

}  // namespace

std::string PodSecurityPolicy::text() const {
  std::string_view name = level == PodSecurityLevel::kPrivileged ? "privileged" : level == kBaseline ? "baseline" : "restricted";
  return minor == kPodSecurityLatest ? cat(name, ":latest") : cat(name, ":v1.", minor);
}

std::vector<PodSecurityViolation> check_pod_security(const PodSecurityPolicy& policy, const json::Value& metadata, const json::Value& spec) {
  std::vector<PodSecurityViolation> out;
  Pod pod{metadata, spec, std::min(policy.minor, kNewest)};
  for (const Check& check : kChecks) {
    if (check.level > policy.level || pod.minor < check.first || pod.minor >= check.end) continue;
    if (policy.level == kRestricted && pod.minor >= check.restricted_from) continue;
    if (Found found = check.run(pod)) out.push_back(std::move(*found));
  }
  return out;
}

std::string format_reasons(const std::vector<PodSecurityViolation>& violations) {
  Names parts;
  for (const PodSecurityViolation& one : violations) parts.push_back(one.reason);
  return join(parts, ", ");
}

std::string format_details(const std::vector<PodSecurityViolation>& violations) {
  Names parts;
  for (const PodSecurityViolation& one : violations) parts.push_back(cat(one.reason, " (", one.detail, ')'));
  return join(parts, ", ");
}

}  // namespace monopod::api
