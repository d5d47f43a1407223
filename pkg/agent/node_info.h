// What this machine is, for v1.Node's status. Blocking reads of proc and sys, once at start and for each check.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace monopod::agent {

struct NodeInfo {
  std::int64_t cpus = 1;
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;  // of the file system that the data directory is on
  std::string machine_id;
  std::string system_uuid;
  std::string boot_id;
  std::string kernel;        // "6.1.0-18-amd64"
  std::string os_image;      // PRETTY_NAME of os-release
  std::string architecture;  // "amd64", "arm64"
};
NodeInfo read_node_info(const std::string& data_dir);

struct NodePressure {
  std::int64_t memory_available_bytes = 0;
  std::int64_t disk_free_bytes = 0;
  std::int64_t disk_bytes = 0;
  std::int64_t inodes_free = 0;
  std::int64_t inodes = 0;
  std::int64_t pids = 0;
  std::int64_t pids_max = 0;
};
NodePressure read_pressure(const std::string& data_dir);

// Of the whole machine, whoever uses it.
struct NodeUse {
  std::uint64_t cpu_ns = 0;  // since boot, of all processors
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_working_set_bytes = 0;  // less the inactive file cache, as of a group
};
NodeUse read_node_use();

}  // namespace monopod::agent
