#pragma once

#include <string>

#include "base/error.h"
#include "sys/process.h"

namespace monopod::container::oci {

// Appears whole or not at all: callers watch for it. An empty path asks for none.
Result<> write_pid_file(const std::string& path, int pid);
// Both ways in which a caller may ask for its number; each may be empty.
Result<> tell_process(const std::string& pid_file, const std::string& pidfd_socket, const sys::Pidfd& process);

}  // namespace monopod::container::oci
