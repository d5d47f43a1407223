#include "controllers/cron_clock.h"

namespace monopod::controllers {

using api::kinds::Schedule;

namespace {

constexpr std::int64_t kMissedMany = 100;
constexpr std::int64_t kYears = 5;

constexpr bool names(std::uint64_t bits, std::int64_t n) { return (bits >> n & 1) != 0; }

struct Civil {
  std::chrono::year_month_day date;
  std::int64_t day;  // since the epoch
  std::int64_t minute_of_day;
};

Civil civil_of(std::int64_t local_s) {
  std::int64_t second = (local_s % 86400 + 86400) % 86400, day = (local_s - second) / 86400;
  return {std::chrono::year_month_day(std::chrono::sys_days(std::chrono::days(day))), day, second / 60};
}

bool names_day(const Schedule& schedule, const Civil& civil) {
  bool day = names(schedule.days, static_cast<unsigned>(civil.date.day()));
  bool weekday = names(schedule.weekdays, ((civil.day + 4) % 7 + 7) % 7);
  return schedule.every_day || schedule.every_weekday ? day && weekday : day || weekday;
}

// The local time to try next, in seconds; the same one where it is named.
std::int64_t skip_ahead(const Schedule& schedule, std::int64_t local_s) {
  Civil civil = civil_of(local_s);
  if (!names(schedule.months, static_cast<unsigned>(civil.date.month()))) {
    auto next = std::chrono::sys_days(std::chrono::year_month_day(civil.date.year(), civil.date.month(), std::chrono::day(1)) + std::chrono::months(1));
    return next.time_since_epoch().count() * std::int64_t{86400};
  }
  if (!names_day(schedule, civil)) return (civil.day + 1) * 86400;
  std::int64_t hour = civil.minute_of_day / 60;
  if (!names(schedule.hours, hour)) return civil.day * 86400 + (hour + 1) * 3600;
  if (!names(schedule.minutes, civil.minute_of_day % 60)) return local_s + 60;
  return local_s;
}

}  // namespace

std::optional<SysSeconds> next_time(const Schedule& schedule, const TimeZone& zone, SysSeconds after) {
  if (schedule.every.count() > 0) return after + schedule.every;
  for (std::uint64_t field : {schedule.minutes, schedule.hours, schedule.days, schedule.months, schedule.weekdays})
    if (field == 0) return std::nullopt;  // ", * * * *"
  std::int64_t now = after.time_since_epoch().count(), end = now + kYears * 366 * 86400;
  std::int64_t local = now + zone.offset_at(now);
  now += 60 - (local % 60 + 60) % 60;  // the next full minute there
  while (now < end) {
    local = now + zone.offset_at(now);
    std::int64_t wanted = skip_ahead(schedule, local);
    if (wanted == local) return SysSeconds(std::chrono::seconds(now));
    std::int64_t candidate = now + (wanted - local);
    std::int64_t beyond = candidate + zone.offset_at(candidate) - wanted;  // clocks went forward on the way
    now = beyond > 0 && candidate - beyond > now ? candidate - beyond : candidate;
  }
  return std::nullopt;
}

Result<DueTime> due_time(const Schedule& schedule, const TimeZone& zone, SysSeconds since, SysSeconds now) {
  auto first = next_time(schedule, zone, since);
  if (!first) return fail(Code::kFailedPrecondition, "the schedule names no time within five years");
  DueTime out;
  if (now < *first) return out;
  auto second = next_time(schedule, zone, *first);
  out.time = first;
  if (!second || now < *second) return out;
  // Roughly how many were missed; then the last one to the second, from a little before where it should be.
  std::int64_t between = (*second - *first).count(), missed = (now - *first).count() / between + 1;
  out.missed_any = true;
  out.missed_many = missed > kMissedMany;
  out.time.reset();
  for (auto time = next_time(schedule, zone, *first + std::chrono::seconds((missed - 2) * between)); time && *time <= now; time = next_time(schedule, zone, *time)) out.time = time;
  return out;
}

}  // namespace monopod::controllers
