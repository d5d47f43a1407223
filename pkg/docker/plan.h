// From what a client asks for to what the container engine takes. Pure: what is looked up in files is handed in.
#pragma once

#include <string>
#include <vector>

#include "container/config.h"
#include "container/users.h"
#include "docker/container.h"
#include "image/config.h"
#include "network/network.h"
#include "supervisor/supervisor.h"

namespace monopod::docker {

// A create request's Config over the image's, and HostConfig with every member; kInvalidArgument and kUnimplemented name what cannot be had.
Result<json::Value> merge_config(const json::Value& request, const image::ImageConfig& image, const std::string& id);
Result<json::Value> complete_host_config(const json::Value& request);
// Binds, Mounts, Tmpfs and the image's volumes. A volume without a name has an empty one.
Result<std::vector<MountPoint>> plan_mounts(const json::Value& config, const json::Value& host_config);
// PortBindings (with ranges resolved), and with PublishAllPorts what is exposed. A host port 0 is chosen later.
Result<std::vector<PublishedPort>> plan_ports(const json::Value& config, const json::Value& host_config);
Result<std::vector<network::HostPort>> host_ports(const std::vector<PublishedPort>& ports);  // those that the kernel's rules carry
Result<std::vector<network::HostPort>> proxied_ports(const std::vector<PublishedPort>& ports);  // all, in their order

struct Place {
  std::string rootfs{};
  std::string files{};          // directory with hosts, hostname, resolv.conf
  std::string cgroup{};
  std::string network_path{};   // pinned namespace; empty: a new one, or the host's
  std::string ipc_path{};       // of another container
  std::string pid_of{};         // id of another container
  std::string linked_hosts{};   // lines of its hosts file for the containers it is linked to
  container::ResolvedUser user{};
  std::vector<container::Device> host_devices{};  // privileged
};
Result<container::ContainerConfig> make_config(const Container& container, const Place& place);
// Memory, cpu and pids of a HostConfig (or of an update).
Result<sys::CgroupLimits> make_limits(const json::Value& host_config);
supervisor::StdioOptions make_stdio(const Container& container, const std::string& log_path);

}  // namespace monopod::docker
