// Control groups of others: a name that begins with "/" is a path from the top of each hierarchy ("/kubepods/burstable/podX/ctrY"), where a client
// such as kubelet keeps groups of its own; all other names are below our own root, as ever.
#pragma once

#include <memory>

#include "sys/cgroup.h"

namespace monopod::sys {

// controllers: as of CgroupOptions.
Result<std::unique_ptr<Cgroups>> with_host_groups(std::unique_ptr<Cgroups> own, std::vector<std::string> controllers = {});

}  // namespace monopod::sys
