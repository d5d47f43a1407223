// When a CronJob runs: the five fields of cron as Kubernetes reads them (batch/v1; the syntax of the standard parser of robfig/cron v3).
#pragma once

#include <string_view>

#include "base/error.h"

namespace monopod::api::kinds {

// "*/5 0-6 ? jan-mar MON,wed", "@hourly", "@every 1h30m". kInvalidArgument with upstream's text.
Result<> check_schedule(std::string_view text);

}  // namespace monopod::api::kinds
