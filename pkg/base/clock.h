// Wall and monotonic time. What only reads the time takes a Clock&; what also waits takes async::Time&.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod {

using Duration = std::chrono::nanoseconds;
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
using MonoTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual MonoTime mono() const = 0;
};

class RealClock final : public Clock {
 public:
  WallTime wall() const override { return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now()); }
  MonoTime mono() const override { return std::chrono::steady_clock::now(); }
};

// RFC 3339 in UTC: seconds as Kubernetes' metav1.Time, micros as metav1.MicroTime, nanos as container logs.
std::string format_rfc3339(WallTime t);        // 2026-01-02T03:04:05Z
std::string format_rfc3339_micro(WallTime t);  // 2026-01-02T03:04:05.000006Z
std::string format_rfc3339_nano(WallTime t);   // 2026-01-02T03:04:05.000000007Z
// Accepts a fraction of any length (kept to nanoseconds) and any numeric offset.
Result<WallTime> parse_rfc3339(std::string_view text);

// Go's short duration form as kubectl shows ages: "5s", "3m20s", "4d2h".
std::string format_age(Duration d);
// How long format_age() goes on giving the same for what has the age d now; at least a part of a second.
Duration age_lasts(Duration d);

}  // namespace monopod
