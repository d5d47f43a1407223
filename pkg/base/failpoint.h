// Failpoints: named places where a test can make the process fail. Every name stands in kFailpoints, so a test can walk
// all of them: start, traffic, trip, restart, check. Cost when none is set: one relaxed load.
//   TRY(failpoint("store.before_commit"));
// Set from MONOPOD_FAILPOINTS="name=action[;name=action]" with action
//   [<count>*]off | error | crash | delay(<ms>)      a count trips that many times, then the point is off.
#pragma once

#include <span>
#include <string_view>

#include "base/error.h"

namespace monopod {

std::span<const std::string_view> failpoint_names();

// Ok unless armed. error: Code::kUnavailable "failpoint <name>"; crash: _exit(98) at once; delay: sleeps the calling thread.
// The name must stand in the table (failpoint.cc); an unknown one aborts.
Result<> failpoint(std::string_view name);

// Parses and arms. Fails on unknown names or actions. Call before threads start, or in tests.
Result<> arm_failpoints(std::string_view spec);
void disarm_failpoints();

}  // namespace monopod
