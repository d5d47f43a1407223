// What this kernel and machine offer, probed once at start; every lack has one line of what it means and what to do.
#pragma once

#include <string>
#include <vector>

#include "sys/cgroup.h"

namespace monopod::sys {

struct Features {
  int kernel_major = 0;
  int kernel_minor = 0;
  std::string kernel_release;
  CgroupMode cgroup_mode = CgroupMode::kNone;
  bool memory_controller = false;
  bool cpu_controller = false;
  bool pids_controller = false;
  bool overlayfs = false;
  bool openat2 = false;
  bool pidfd = false;
  bool mount_api = false;     // fsopen, open_tree, move_mount, mount_setattr (5.12)
  bool seccomp = false;
  bool user_namespaces = false;
  bool pressure_stall = false;
  bool cap_sys_resource = false;
  bool cap_sys_admin = false;
  bool cap_net_admin = false;
  bool nf_tables = false;
};

struct Finding {
  bool fatal = false;
  std::string text;    // what is missing and what it costs
  std::string advice;  // one line of what to do; may be empty
};

Features probe_features();
// In order of weight. A Raspberry Pi without the memory controller gets the exact cmdline.txt change.
std::vector<Finding> judge_features(const Features& features);

}  // namespace monopod::sys
