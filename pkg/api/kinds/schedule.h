// When a CronJob runs: the five fields of cron as Kubernetes reads them (batch/v1; the syntax of the standard parser of robfig/cron v3).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace monopod::api::kinds {

// Bit n of a field is set where the schedule names n (months from 1, days of the week from Sunday = 0).
struct Schedule {
  std::uint64_t minutes = 0;
  std::uint64_t hours = 0;
  std::uint64_t days = 0;
  std::uint64_t months = 0;
  std::uint64_t weekdays = 0;
  bool every_day = false;      // days is "*" or "?": weekdays decide alone
  bool every_weekday = false;  // and the other way round; where both are restricted, one of them is enough
  std::chrono::seconds every{0};  // "@every 1h30m": apart from the fields; zero otherwise
};

// "*/5 0-6 ? jan-mar MON,wed", "@hourly", "@every 1h30m". kInvalidArgument with upstream's text.
Result<Schedule> parse_schedule(std::string_view text);

}  // namespace monopod::api::kinds
