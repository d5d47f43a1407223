// Capabilities and resource limits of the calling process, by their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::sys {

using CapabilitySet = std::uint64_t;  // bit n: capability n

// "CAP_CHOWN" (upper case, with prefix) to its number; nullopt for what no kernel knows.
std::optional<int> find_capability(std::string_view name);
std::string format_capability(int number);
const std::vector<std::string>& capability_names();  // by number, all that Linux 6 has
// The kernel's own highest.
int last_capability();

// From /proc/self/status.
struct OwnCapabilities {
  CapabilitySet permitted = 0;
  CapabilitySet effective = 0;
  CapabilitySet bounding = 0;
};
Result<OwnCapabilities> own_capabilities();
// By capget(2): also where /proc is somebody else's to fill.
Result<CapabilitySet> permitted_capabilities();

// Two halves around the change of user id (PR_SET_KEEPCAPS in between): the bounding set while still privileged, then the rest.
// One call per capability that goes.
Result<> drop_bounding(CapabilitySet keep);
// Inheritable is ambient, since the kernel asks for it there, and what more is asked for: nothing as a rule (CVE-2022-29162).
Result<> set_capabilities(CapabilitySet effective, CapabilitySet permitted, CapabilitySet ambient, CapabilitySet inheritable = 0);

std::optional<int> find_rlimit(std::string_view name);  // "RLIMIT_NOFILE"
// Clamps to what we may set; true if it had to.
Result<bool> set_rlimit(int resource, std::uint64_t soft, std::uint64_t hard);

}  // namespace monopod::sys
