// From what a client asks for to what the container engine takes. Pure: what is looked up in files is handed in.
#pragma once

#include <string>
#include <vector>

#include "container/config.h"
#include "container/sandbox.h"
#include "container/users.h"
#include "cri/pod.h"
#include "image/config.h"
#include "network/network.h"
#include "supervisor/supervisor.h"

namespace monopod::cri {

// kInvalidArgument and kUnimplemented name what is wrong and what cannot be had.
Result<> check_sandbox(const json::Value& config);
Result<> check_container(const Sandbox& sandbox, const json::Value& config);

// Of the user namespace that a sandbox asks for; empty: the node's. check_sandbox has seen them.
sys::IdMaps user_maps(const json::Value& sandbox_config);
sys::IdMaps mount_maps(const json::Value& mount);

// "PodSandboxMetadata.name_namespace_uid_attempt": what no two sandboxes share; of a container within its sandbox, "name_attempt".
std::string sandbox_name(const json::Value& config);
std::string container_name(const json::Value& config);

std::vector<network::HostPort> host_ports(const json::Value& sandbox_config);
// hosts: the node's own file, for pods on its network.
std::string make_hosts(const Sandbox& sandbox, std::string_view hosts);
// resolv_conf: the node's own file, for sandboxes without DNS settings.
std::string make_resolv_conf(const json::Value& sandbox_config, std::string_view resolv_conf);

// The profile that a container asks for by its name; empty: none.
std::string apparmor_profile(const json::Value& container_config);

// "uid[:gid]" or "name[:gid]" as container::resolve_user_in takes it.
std::string user_text(const json::Value& container_config, const image::ImageConfig& image);
// Who the program is: LinuxContainerUser.
json::Value effective_user(const json::Value& container_config, const container::ResolvedUser& user);

// LinuxContainerResources, over what there was: what is 0 or "" stays as it is.
json::Value merge_resources(const json::Value& before, const json::Value& after);
sys::CgroupLimits make_limits(const json::Value& resources);

// Paths that the image declares as volumes and that need a place of their own: below a read-only root, where nothing else is mounted.
std::vector<std::string> declared_volumes(const json::Value& container_config, const image::ImageConfig& image);

// The signal that ends a container: the request's, else the image's, else SIGTERM.
int stop_signal(const json::Value& container_config, const image::ImageConfig& image);
// CRI's Signal enum to Linux's number and back; 0: none.
int signal_of_enum(std::int64_t value);
std::int64_t enum_of_signal(int signal);

inline constexpr std::int64_t kGroupsReadOnly = 1, kGroupsWritable = 2;  // CRI's CgroupMountMode

struct Place {
  std::string rootfs{};
  std::string files{};                         // directory with hosts, hostname, resolv.conf
  std::string hostname{};
  std::string cgroup{};
  container::SandboxNamespaces namespaces{};   // pinned ones of the sandbox
  std::string shm{};                           // directory that is its /dev/shm; empty: one of its own
  std::string pid_of{};                        // id of the container whose process namespace is shared
  container::ResolvedUser user{};
  std::vector<container::Device> devices{};    // privileged: all of the host; else those asked for, in their order
  std::vector<std::string> mount_sources{};    // of config.mounts, in their order, with links resolved
  std::string volumes{};                       // directory with those that the image declares, at their paths
  std::string seccomp_json{};                  // of a Localhost profile
  bool delegated = false;                      // a writable tree of control groups can be given
  bool apparmor = false;                       // what this host enforces
  bool selinux = false;
};
Result<container::ContainerConfig> make_config(const Sandbox& sandbox, const Container& container, const image::ImageConfig& image, const Place& place);
supervisor::StdioOptions make_stdio(const Container& container);

}  // namespace monopod::cri
