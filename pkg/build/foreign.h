// Programs of other architectures: they run where the kernel has an interpreter for them (binfmt_misc, which since Linux 6.7 each user namespace may have its own of).
#pragma once

#include <string>

#include "base/error.h"
#include "image/config.h"

namespace monopod::build {

// Blocking: asks the kernel, by having it execute a program that consists of its header, in a file that is made at this path for it. kFailedPrecondition says which interpreter is missing, and what to
// do. Of what this processor runs by itself, and of architectures we do not know the header of, nothing is asked.
Result<> check_runs_here(const image::Platform& platform, const std::string& path);

}  // namespace monopod::build
