// The device allow-list of a v2 control group: an eBPF program made from OCI device rules.
#pragma once

#include <vector>

#include "sys/cgroup.h"

namespace monopod::sys {

// Attaches rules to the group directory, in place of programs that were attached to it before. Rules that allow everything detach
// all. Needs CAP_BPF and CAP_SYS_ADMIN (or CAP_SYS_ADMIN alone on older kernels).
Result<> attach_device_filter(int cgroup_directory, const std::vector<DeviceRule>& rules);

}  // namespace monopod::sys
