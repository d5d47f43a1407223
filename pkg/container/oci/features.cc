#include "container/mount_options.h"
#include "container/oci/runtime.h"
#include "container/seccomp.h"
#include "sys/capabilities.h"

namespace monopod::container::oci {
namespace {

json::Array list(const std::vector<std::string>& names) { return json::Array(names.begin(), names.end()); }

}  // namespace

json::Value features() {
  json::Object seccomp{{"enabled", true},
                       {"actions", list(seccomp_action_names())},
                       {"operators", list(seccomp_operator_names())},
                       {"archs", list(seccomp_architecture_names())},
                       {"knownFlags", list(seccomp_flag_names())},
                       {"supportedFlags", list(seccomp_flag_names())}};
  json::Object of_linux{{"namespaces", json::Array{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}},
                        {"capabilities", list(sys::capability_names())},
                        {"cgroup", json::Object{{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}}},
                        {"seccomp", std::move(seccomp)},
                        {"apparmor", json::Object{{"enabled", true}}},
                        {"selinux", json::Object{{"enabled", true}}},
                        {"intelRdt", json::Object{{"enabled", false}}},
                        {"memoryPolicy", json::Object{{"modes", json::Array{"MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL",
                                                                            "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"}},
                                                      {"flags", json::Array{"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING"}}}},
                        {"mountExtensions", json::Object{{"idmap", json::Object{{"enabled", true}}}}},
                        {"netDevices", json::Object{{"enabled", true}}}};
  return json::Object{{"ociVersionMin", "1.0.0"},
                      {"ociVersionMax", kOciVersion},
                      {"hooks", json::Array{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
                      {"mountOptions", list(mount_option_names())},
                      {"linux", std::move(of_linux)},
                      {"potentiallyUnsafeConfigAnnotations", json::Array{}}};
}

}  // namespace monopod::container::oci
