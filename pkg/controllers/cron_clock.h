// The times of a schedule: a moment is one where its wall clock time in the zone is what the fields name. What summer time skips is skipped, what it
// repeats comes twice, as in robfig/cron v3.
#pragma once

#include <optional>

#include "api/kinds/schedule.h"
#include "controllers/time_zone.h"

namespace monopod::controllers {

using SysSeconds = std::chrono::sys_seconds;

// The first one after a time; none within five years: never ("0 0 31 2 *").
std::optional<SysSeconds> next_time(const api::kinds::Schedule& schedule, const TimeZone& zone, SysSeconds after);

// What is due. Times count after `since` (the last one that ran, or the creation), and no earlier than the deadline allows.
struct DueTime {
  std::optional<SysSeconds> time;  // the latest that is not in the future
  bool missed_many = false;        // more than 100 before it
  bool missed_any = false;
};
// kFailedPrecondition: the schedule never comes.
Result<DueTime> due_time(const api::kinds::Schedule& schedule, const TimeZone& zone, SysSeconds since, SysSeconds now);

}  // namespace monopod::controllers
