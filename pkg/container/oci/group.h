// The control group of a container: which, in which hierarchies, with what limits.
#pragma once

#include <memory>
#include <string>

#include "container/oci/bundle.h"
#include "container/oci/state.h"
#include "sys/cgroup.h"

namespace monopod::container::oci {

// The groups of the whole machine, since config.json names its own from the top. null where this machine has none.
Result<std::unique_ptr<sys::Cgroups>> open_groups(const std::vector<std::string>& controllers);

// linux.cgroupsPath below the top of every hierarchy, absolute or not; "monopod-ID" where there is none.
std::string group_path(const std::string& cgroups_path, const std::string& id);

// Decides group and controllers of the record; makes nothing.
Result<> plan_group(Record& record, const Bundle& bundle);
// Makes it, with limits and device rules, and opens the ways in. Where we may not make groups (rootless) and nothing is limited there is none.
struct MadeGroup {
  sys::Cgroups::Entry entry;
  bool by_path = false;  // the first stage opens the ways into v1 by itself: entry has v2's alone
  std::vector<std::pair<std::string, std::string>> views;  // sys::Cgroups::views
};
// host_ids: the first stage has the host's user ids, so that it may.
Result<MadeGroup> make_group(Record& record, const Bundle& bundle, bool host_ids);

// Whether v2 alone is mounted.
bool is_v2();

// v1: the group in one hierarchy more, with all of its processes moved there.
Result<> enter_controller(const Record& record, const std::string& controller);

bool is_frozen(const Record& record);

}  // namespace monopod::container::oci
