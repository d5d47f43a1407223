// What the parent of a first stage mounts for it, detached: id-mapped mounts, and what the root of a user namespace could not reach by its path.
#pragma once

#include <string>
#include <vector>

#include "container/config.h"
#include "sys/fd.h"

namespace monopod::container {

// Copies of bound mounts with all their attributes, appended to out; the mounts they stand for get source_fd 0: their numbers come with the launch, in this
// order. all: of every bind mount, else of the mapped ones only. Where we may not mount (rootless) and nothing is mapped, paths stay.
Result<> prepare_mounts(ContainerConfig& config, bool all, std::vector<sys::Fd>& out);
// The root file system. Empty where we may not mount: its path it is.
Result<sys::Fd> prepare_root(const std::string& path);

}  // namespace monopod::container
