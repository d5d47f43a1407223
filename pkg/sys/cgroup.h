// Control groups: v2, v1 and hybrid behind one set of verbs. What a controller lacks is a warning once, never a failure
// to start: limits degrade, containers run.
//
// A group is named by its path below our own root ("monopod/burstable/podX/ctrY"); which hierarchies it exists in is the back end's business.
// v1 and hybrid use only memory, cpu and pids (plus the v2 tree for kill, freeze, cpu time and device rules where mounted; cpuacct, freezer
// and devices where not).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sys/fd.h"

namespace monopod::sys {

enum class CgroupMode { kNone, kV1, kHybrid, kV2 };
const char* format_cgroup_mode(CgroupMode mode);

// Absent means: leave the kernel's default.
struct CgroupLimits {
  std::optional<std::uint64_t> cpu_shares;         // v1 scale 2..262144; on v2 converted to weight 1..10000
  std::optional<std::int64_t> cpu_quota_us;        // <= 0: none
  std::optional<std::uint64_t> cpu_period_us;      // 100000 where absent
  std::optional<std::string> cpuset_cpus;
  std::optional<std::int64_t> memory_bytes_max;    // < 0: none
  std::optional<std::int64_t> memory_swap_bytes_max;  // memory plus swap, as OCI
  std::optional<std::int64_t> pids_max;            // <= 0: none
};

struct DeviceRule {
  bool allow = false;
  char type = 'a';                     // a, b, c
  std::optional<std::uint32_t> major;  // absent: any
  std::optional<std::uint32_t> minor;
  std::string access = "rwm";
};

struct CgroupStats {
  std::uint64_t cpu_usage_ns = 0;
  std::uint64_t cpu_throttled_ns = 0;
  std::uint64_t cpu_throttled_periods = 0;
  std::uint64_t memory_usage_bytes = 0;
  std::uint64_t memory_working_set_bytes = 0;  // usage less inactive file, as cAdvisor
  std::uint64_t memory_rss_bytes = 0;
  std::uint64_t memory_limit_bytes = 0;        // 0: none
  std::uint64_t memory_page_faults = 0;
  std::uint64_t memory_major_page_faults = 0;
  std::uint64_t oom_kills = 0;
  std::uint64_t pids_current = 0;
  std::uint64_t pids_limit = 0;                // 0: none
};

// All calls block shortly (some v1 writes take milliseconds): call on async::Pool when on the loop. Thread-safe: immutable after open.
class Cgroups {
 public:
  virtual ~Cgroups() = default;
  virtual CgroupMode mode() const = 0;
  virtual bool has_memory() const = 0;
  virtual bool has_cpu() const = 0;
  virtual bool has_pids() const = 0;

  // Makes the group and its missing parents. Idempotent.
  virtual Result<> create(const std::string& group) = 0;
  // Removes the group, which must have no process; children groups first. Absent is no error. kFailedPrecondition while busy.
  virtual Result<> remove(const std::string& group) = 0;
  virtual Result<> set_limits(const std::string& group, const CgroupLimits& limits) = 0;
  // Later rules win. Replaces rules set before.
  virtual Result<> set_devices(const std::string& group, const std::vector<DeviceRule>& rules) = 0;

  // One control file ("memory", "memory.high"). kUnimplemented where this machine has no such controller. On v2 the controller says only that.
  virtual bool has(std::string_view controller) const = 0;
  virtual Result<> write(const std::string& group, std::string_view controller, std::string_view file, std::string_view value) = 0;
  virtual Result<std::string> read(const std::string& group, std::string_view controller, std::string_view file) = 0;

  struct Entry {
    Fd cgroup;               // directory for CLONE_INTO_CGROUP; empty where there is no v2 tree
    std::vector<Fd> procs;   // tasks files of v1, open for writing: a process of one thread moves itself by writing "0"
  };
  virtual Result<Entry> open_entry(const std::string& group) = 0;

  virtual Result<std::vector<int>> processes(const std::string& group) = 0;  // this group and below
  // SIGKILL to all in it and below, also to those that fork meanwhile.
  virtual Result<> kill_all(const std::string& group) = 0;
  virtual Result<> set_frozen(const std::string& group, bool frozen) = 0;
  virtual bool is_frozen(const std::string& group) = 0;
  virtual Result<CgroupStats> stats(const std::string& group) = 0;
  virtual Result<std::vector<std::string>> children(const std::string& group) = 0;  // names
  // What a container sees below its /sys/fs/cgroup: name ("" for the one tree of v2, else "memory", "cpu", ..., "unified") and host directory.
  virtual std::vector<std::pair<std::string, std::string>> views(const std::string& group) const = 0;
  // Paths that identify the group to others: what /proc/PID/cgroup of a member shows in the main hierarchy.
  virtual std::string path(const std::string& group) const = 0;
};

struct CgroupOptions {
  std::string mount = "/sys/fs/cgroup";
  // Our root in each hierarchy. Empty: the group we are in. On v2 the processes of that group are moved into the leaf "init.scope"-like
  // child first, since a group with controllers enabled for its children may hold no process.
  std::string root;
  std::string leaf = "node";
  bool make_room = true;                 // false: nobody is moved, whatever that costs in controllers
  std::vector<std::string> controllers;  // hierarchies (v1) and controllers (v2) to use besides memory, cpu and pids
};
Result<std::unique_ptr<Cgroups>> open_cgroups(const CgroupOptions& options = {});
// Where none may be made (an ordinary user without a delegated one): nothing is limited, counted or frozen.
std::unique_ptr<Cgroups> make_no_cgroups();
// Makes and removes a group of this name, to see.
bool may_make_groups(Cgroups& groups, const std::string& group);

// 2 to 1, 1024 to 100 and 262144 to 10000, on a parabola between the logarithms: as runc from 1.3.2 and crun from 1.23 on.
std::uint64_t cpu_weight_of_shares(std::uint64_t shares);

}  // namespace monopod::sys
