// A pod's container as the container engine wants it (OCI-shaped). Pure: what must be looked up on disk is handed in.
#pragma once

#include <string>
#include <vector>

#include "agent/pod_runtime.h"
#include "agent/security.h"
#include "container/config.h"
#include "container/sandbox.h"
#include "container/users.h"

namespace monopod::agent {

// What was prepared for the container.
struct ContainerPlace {
  std::string rootfs;
  std::string cgroup_path;
  container::SandboxNamespaces namespaces;
  std::string pid_namespace_of;  // the container (of the sandbox, or an ephemeral one's target) whose processes it is among; empty: none
  std::string shm_path;       // the pod's /dev/shm
  std::string seccomp_dir;    // Localhost profiles, already read:
  std::string seccomp_json;
  container::ResolvedUser user;
  std::int64_t node_memory_bytes = 0;
  std::vector<container::Device> host_devices;  // for privileged ones
};

// kFailedPrecondition (CreateContainerConfigError) for what cannot be.
Result<container::ContainerConfig> make_container_config(const ContainerPlan& plan, const ContainerPlace& place);

// Annotations by which a container is known again after a restart.
inline constexpr std::string_view kPodUid = "io.kubernetes.pod.uid";
inline constexpr std::string_view kPodName = "io.kubernetes.pod.name";
inline constexpr std::string_view kPodNamespace = "io.kubernetes.pod.namespace";
inline constexpr std::string_view kContainerName = "io.kubernetes.container.name";
inline constexpr std::string_view kAttempt = "io.kubernetes.container.restartCount";
inline constexpr std::string_view kHash = "io.kubernetes.container.hash";
inline constexpr std::string_view kImage = "io.kubernetes.container.image";
inline constexpr std::string_view kImageId = "io.kubernetes.container.imageId";
inline constexpr std::string_view kTerminationPolicy = "io.kubernetes.container.terminationMessagePolicy";
inline constexpr std::string_view kTerminationFile = "io.monopod.termination-file";

}  // namespace monopod::agent
