// What Prometheus' clients tell of their own process, in its text form: process_resident_memory_bytes, process_virtual_memory_bytes,
// process_cpu_seconds_total, process_open_fds, process_max_fds. What cannot be read is left out.
#pragma once

#include <string>

namespace monopod::sys {

std::string format_process_metrics();

}  // namespace monopod::sys
