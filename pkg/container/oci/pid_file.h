#pragma once

#include <string>

#include "base/error.h"

namespace monopod::container::oci {

// Appears whole or not at all: callers watch for it. An empty path asks for none.
Result<> write_pid_file(const std::string& path, int pid);

}  // namespace monopod::container::oci
