#include "sys/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <filesystem>

#include "base/metrics_text.h"

namespace monopod::sys {

using metrics::append_family;
using metrics::append_one;
using metrics::append_sample;

std::string format_process_metrics() {
  std::string out;
  long pages = 0, resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%ld %ld", &pages, &resident) == 2) {
      append_one(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident * ::sysconf(_SC_PAGESIZE));
      append_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", pages * ::sysconf(_SC_PAGESIZE));
    }
    std::fclose(file);
  }
  timespec used{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0) {
    append_family(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    append_sample(out, "process_cpu_seconds_total", {}, static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9);
  }
  std::error_code failed;
  std::int64_t open = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", failed), end; !failed && at != end; at.increment(failed)) ++open;
  if (!failed) append_one(out, "process_open_fds", "gauge", "Number of open file descriptors.", open - 1);  // not the one that looks
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    append_one(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", static_cast<std::int64_t>(limit.rlim_cur));
  return out;
}

}  // namespace monopod::sys
