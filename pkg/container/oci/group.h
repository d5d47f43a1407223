// The control group of a container: which, in which hierarchies, with what limits.
#pragma once

#include <memory>
#include <string>

#include "container/oci/bundle.h"
#include "container/oci/state.h"
#include "container/oci/systemd.h"
#include "sys/cgroup.h"

namespace monopod::container::oci {

// The groups of the whole machine, since config.json names its own from the top. null where this machine has none.
Result<std::unique_ptr<sys::Cgroups>> open_groups(const std::vector<std::string>& controllers);

// linux.cgroupsPath below the top of every hierarchy, absolute or not; "monopod-ID" where there is none.
std::string group_path(const std::string& cgroups_path, const std::string& id);

// Decides group and controllers of the record; makes nothing. manager: systemd's, null without its driver.
Result<> plan_group(Record& record, const Bundle& bundle, Systemd* manager);
// One that has processes already is somebody else's, who would lose them with this container: kFailedPrecondition, with runc's text.
Result<> check_unused(sys::Cgroups& groups, const Record& record);
// Makes it (groups: null where there is none), with limits and device rules, and opens the ways in. A scope is only named: start_scope makes it. Where we
// may not make groups (rootless) and nothing is limited there is none.
struct MadeGroup {
  sys::Cgroups::Entry entry;
  bool by_path = false;  // the first stage opens the ways into v1 by itself: entry has v2's alone
  std::vector<std::pair<std::string, std::string>> views;  // sys::Cgroups::views
};
// host_ids: the first stage has the host's user ids, so that it may.
Result<MadeGroup> make_group(sys::Cgroups* groups, Record& record, const Bundle& bundle, bool host_ids);

// The scope of the record around its first process, then limits and device rules: systemd would write its own over those of before.
Result<> start_scope(const Record& record, const Bundle& bundle, Systemd& manager, int pid);

// Whether v2 alone is mounted.
bool is_v2();

// v1: the group in one hierarchy more, with all of its processes moved there.
Result<> enter_controller(const Record& record, const std::string& controller);

bool is_frozen(const Record& record);

}  // namespace monopod::container::oci
