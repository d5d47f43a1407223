// Durations as people write them.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace monopod {

// "6h", "1h30m", "1.5s", "250ms", "7d": Go's time.ParseDuration without a sign and with days (24 h); "0" alone needs no unit. Up to about
// 290 years. kInvalidArgument otherwise.
Result<Duration> parse_duration(std::string_view text);

}  // namespace monopod
