// Pod and container security contexts merged, and what follows from them for a process. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/pod.h"
#include "container/config.h"

namespace monopod::agent {

// The container's word over the pod's.
struct EffectiveSecurity {
  std::optional<std::int64_t> user;
  std::optional<std::int64_t> group;
  bool non_root = false;
  bool privileged = false;
  bool no_new_privileges = false;
  bool masked_proc = true;
  SeccompProfile seccomp;  // type never empty
  std::vector<std::int64_t> extra_groups;  // supplementalGroups and fsGroup
  bool image_groups = true;                // supplementalGroupsPolicy Merge
};
EffectiveSecurity merge_security(const Pod& pod, const Container& container);

// runAsNonRoot against what would run; image_user as the image has it. The text is upstream's.
Result<> check_non_root(const Pod& pod, const Container& container, const EffectiveSecurity& security, std::string_view image_user);

Result<container::Capabilities> make_capabilities(const Container& container);

// "web_default(uid)", as messages name pods.
std::string describe_pod(const Pod& pod);

}  // namespace monopod::agent
