// OCI linux.resources as writes to control files: one table of members, with where each stands on v1 and on v2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codec/json.h"
#include "sys/cgroup.h"

namespace monopod::container::oci {

struct Setting {
  std::string member;      // "memory.limit", for errors
  std::string controller;  // "memory"; on v2 "io", "cpu", ...
  std::string file;
  std::string value;
  bool may_fail = false;   // first of two tries in an order that depends on what was set before
  std::string bfq_value;   // v2: for io.bfq.weight, which is there instead of io.weight, or beside it; empty: another knob
};

// kInvalidArgument names the member that is of another type or out of range; kUnimplemented one that this version of control groups does not have.
// Unknown members are ignored; devices are not in here.
Result<std::vector<Setting>> plan_resources(const json::Value& resources, bool v2);
// Members of objects over members of objects; everything else is replaced.
void merge_resources(json::Value& into, const json::Value& from);
// Names by the specification's spelling: programs that were only ever run by runtimes in Go, which take any, write "CPU" and "Cpus" too.
json::Value spell_resources(json::Value resources);
// memory.checkBeforeUpdate: kFailedPrecondition where more is in use than the new limits let be. For v2, where the kernel would kill for it.
Result<> check_memory_use(const json::Value& resources, std::uint64_t memory_bytes, std::uint64_t swap_bytes);
// The controllers that these resources need, by the names of that version.
std::vector<std::string> controllers_of(const std::vector<Setting>& settings);
// kFailedPrecondition with the member's name where the kernel refuses one.
Result<> apply_resources(sys::Cgroups& groups, const std::string& group, const std::vector<Setting>& settings);

Result<std::vector<sys::DeviceRule>> parse_device_rules(const json::Value& resources);

}  // namespace monopod::container::oci
