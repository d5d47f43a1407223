#include "controllers/cron_clock.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "base/strings.h"
#include "controllers/tzif_testing.h"

namespace monopod::controllers {
namespace {

SysSeconds at(std::string_view text) {
  auto parsed = parse_rfc3339(text);
  EXPECT_TRUE(parsed) << text;
  return std::chrono::floor<std::chrono::seconds>(*parsed);
}

std::string next_text(std::string_view schedule, const TimeZone& zone, std::string_view after) {
  auto parsed = api::kinds::parse_schedule(schedule);
  if (!parsed) return parsed.error().message();
  auto next = next_time(*parsed, zone, at(after));
  return next ? format_rfc3339(*next) : "never";
}

TEST(CronClock, TheNextTimeOfASchedule) {
  struct Row {
    std::string_view schedule, after, next;
  };
  for (const Row& row : {
           Row{"* * * * *", "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"}, Row{"* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T03:05:00Z"}, Row{"*/15 * * * *", "2026-01-02T03:46:00Z", "2026-01-02T04:00:00Z"},
           Row{"5/20 * * * *", "2026-01-02T03:26:00Z", "2026-01-02T03:45:00Z"}, Row{"30 8-10/2 * * *", "2026-01-02T08:30:00Z", "2026-01-02T10:30:00Z"}, Row{"0 0 1 jan *", "2026-01-02T00:00:00Z", "2027-01-01T00:00:00Z"},
           Row{"0 0 29 2 *", "2026-01-02T00:00:00Z", "2028-02-29T00:00:00Z"}, Row{"0 0 31 2 *", "2026-01-02T00:00:00Z", "never"}, Row{"0 12 * * MON", "2026-01-02T00:00:00Z", "2026-01-05T12:00:00Z"},
           Row{"0 12 13 * fri", "2026-01-02T13:00:00Z", "2026-01-09T12:00:00Z"},  // both restricted: one of them is enough
           Row{"0 12 13 * ?", "2026-01-02T13:00:00Z", "2026-01-13T12:00:00Z"}, Row{"0 12 */2 * 1", "2026-01-02T13:00:00Z", "2026-01-03T12:00:00Z"}, Row{"59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"},
           Row{"@hourly", "2026-01-02T03:04:05Z", "2026-01-02T04:00:00Z"}, Row{"@daily", "2026-01-02T03:04:05Z", "2026-01-03T00:00:00Z"}, Row{"@midnight", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"},
           Row{"@weekly", "2026-01-02T03:04:05Z", "2026-01-04T00:00:00Z"}, Row{"@monthly", "2026-01-02T03:04:05Z", "2026-02-01T00:00:00Z"}, Row{"@yearly", "2026-01-02T03:04:05Z", "2027-01-01T00:00:00Z"},
           Row{"@annually", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"}, Row{"@every 1h30m", "2026-01-02T03:04:05Z", "2026-01-02T04:34:05Z"}, Row{"@every 1ms", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"},
           Row{",,, * * * *", "2026-01-02T03:04:05Z", "never"},
       })
    EXPECT_EQ(next_text(row.schedule, TimeZone(), row.after), row.next) << row.schedule;
}

// Central European rules: forward on the last Sunday of March at 2:00, back on the last one of October at 3:00.
TEST(CronClock, SummerTimeSkipsAndRepeats) {
  auto zone = TimeZone::parse(make_tzif({}, "CET-1CEST,M3.5.0,M10.5.0/3"));
  ASSERT_TRUE(zone) << zone.error().message();
  struct Row {
    std::string_view schedule, after, next;
  };
  for (const Row& row : {
           Row{"0 12 * * *", "2026-03-28T12:00:00Z", "2026-03-29T10:00:00Z"},   // 12:00 in summer
           Row{"30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"},   // there is no 2:30 on the 29th
           Row{"0 3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},    // the minute after the jump
           Row{"30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},   // the first 2:30 …
           Row{"30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},   // … and the second
           Row{"0 0 29 3 *", "2026-01-01T00:00:00Z", "2026-03-28T23:00:00Z"}, Row{"0 0 30 3 *", "2026-01-01T00:00:00Z", "2026-03-29T22:00:00Z"},
           Row{"59 23 25 10 *", "2026-01-01T00:00:00Z", "2026-10-25T22:59:00Z"},
       })
    EXPECT_EQ(next_text(row.schedule, *zone, row.after), row.next) << row.schedule << " after " << row.after;
}

// What next_time() says is the first minute whose wall clock time is named: found by trying each.
TEST(CronClock, NoTimeIsPassedOver) {
  const char* given = std::getenv("SEED");
  unsigned seed = given != nullptr ? static_cast<unsigned>(std::stoul(given)) : 20260103U;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  auto pick = [&](unsigned bound) { return static_cast<unsigned>(random() % bound); };
  auto berlin = TimeZone::parse(make_tzif({}, "CET-1CEST,M3.5.0,M10.5.0/3"));
  auto odd = TimeZone::parse(make_tzif({{at("2026-03-01T00:00:30Z").time_since_epoch().count(), 12345}}, "<+0345>-3:45<+0445>,J60/0,J300/24"));
  ASSERT_TRUE(berlin && odd);
  for (int round = 0; round < 150; ++round) {
    auto field = [&](unsigned least, unsigned most) {
      if (pick(3) == 0) return std::string("*");
      std::string text;
      for (unsigned i = 0, n = 1 + pick(3); i < n; ++i) text += cat(i > 0 ? "," : "", least + pick(most - least + 1));
      return text;
    };
    std::string text = cat(field(0, 59), " ", field(0, 23), " ", field(1, 31), " ", pick(2) ? "*" : field(1, 12), " ", field(0, 6));
    auto schedule = api::kinds::parse_schedule(text);
    ASSERT_TRUE(schedule) << text;
    const TimeZone& zone = pick(2) ? *berlin : *odd;
    SysSeconds after = at(pick(2) ? "2026-03-27T00:00:00Z" : "2026-10-23T00:00:00Z") + std::chrono::seconds(pick((pick(2) ? 3 : 300) * 86400));  // often shortly before a change
    auto next = next_time(*schedule, zone, after);
    auto named = [&](SysSeconds time) {
      std::int64_t local = time.time_since_epoch().count() + zone.offset_at(time.time_since_epoch().count());
      if (local % 60 != 0) return false;
      std::chrono::sys_days day = std::chrono::floor<std::chrono::days>(SysSeconds(std::chrono::seconds(local)));
      std::chrono::year_month_day date(day);
      auto has = [](std::uint64_t bits, unsigned n) { return (bits >> n & 1) != 0; };
      bool in_days = has(schedule->days, static_cast<unsigned>(date.day())), in_weekdays = has(schedule->weekdays, std::chrono::weekday(day).c_encoding());
      bool on_day = schedule->every_day || schedule->every_weekday ? in_days && in_weekdays : in_days || in_weekdays;
      return on_day && has(schedule->months, static_cast<unsigned>(date.month())) && has(schedule->hours, static_cast<unsigned>(local / 3600 % 24)) && has(schedule->minutes, static_cast<unsigned>(local / 60 % 60));
    };
    SysSeconds end = after + std::chrono::days(8);  // far enough to be wrong in
    if (next) end = std::min(end, *next);
    if (next) {
      ASSERT_TRUE(named(*next)) << text << " after " << format_rfc3339(after);
    }
    for (SysSeconds time = std::chrono::floor<std::chrono::minutes>(after); time < end; time += std::chrono::minutes(1)) {
      if (time <= after) continue;
      ASSERT_FALSE(named(time)) << text << " after " << format_rfc3339(after) << " passed over " << format_rfc3339(time);
    }
  }
}

TEST(CronClock, WhatIsDueIsTheLatestTimeThatHasCome) {
  struct Row {
    std::string_view schedule, since, now, due;
    bool many;
  };
  for (const Row& row : {Row{"0 * * * *", "2026-01-02T03:04:00Z", "2026-01-02T03:59:59Z", "none", false}, Row{"0 * * * *", "2026-01-02T03:04:00Z", "2026-01-02T04:00:00Z", "2026-01-02T04:00:00Z", false},
                         Row{"0 * * * *", "2026-01-02T03:04:00Z", "2026-01-02T07:30:00Z", "2026-01-02T07:00:00Z", false}, Row{"* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T04:44:00Z", "2026-01-02T04:44:00Z", false},
                         Row{"* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T04:45:00Z", "2026-01-02T04:45:00Z", true}, Row{"30 6-16/4 * * 1-5", "2026-01-02T07:00:00Z", "2026-01-05T10:45:00Z", "2026-01-05T10:30:00Z", false},
                         Row{"30 6-16/4 * * 1-5", "2026-01-02T07:00:00Z", "2026-01-05T06:00:00Z", "none", false},  // over a week-end, as upstream
                         Row{"@every 7m", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05Z", "2026-01-02T04:00:05Z", false}, Row{"0 0 1 1 *", "2020-06-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-01-01T00:00:00Z", false}}) {
    auto schedule = api::kinds::parse_schedule(row.schedule);
    ASSERT_TRUE(schedule);
    auto due = due_time(*schedule, TimeZone(), at(row.since), at(row.now));
    ASSERT_TRUE(due) << row.schedule;
    EXPECT_EQ(due->time ? format_rfc3339(*due->time) : "none", row.due) << row.schedule << " at " << row.now;
    EXPECT_EQ(due->missed_many, row.many) << row.schedule << " at " << row.now;
  }
  auto never = api::kinds::parse_schedule("0 0 31 2 *");
  EXPECT_FALSE(due_time(*never, TimeZone(), at("2026-01-02T03:04:00Z"), at("2026-01-02T03:04:00Z")));
}

TEST(TimeZone, FilesThatAreNoneAreRefused) {
  std::string good = make_tzif({{100, 3600}, {200, 7200}}, "CET-1CEST,M3.5.0,M10.5.0/3");
  ASSERT_TRUE(TimeZone::parse(good));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(TimeZone::parse(std::string_view(good).substr(0, n))) << n;
  for (std::string_view footer : {"CET", "-1", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,J0,J365", "CET-1CEST,M3.5.0,M10.5.0/200", "CET-1CEST,M3.5.0,M10.5.0x", "<+01-1", "CET-25"})
    EXPECT_FALSE(TimeZone::parse(make_tzif({}, footer))) << footer;
  EXPECT_FALSE(TimeZone::parse(make_tzif({{200, 3600}, {100, 7200}}, "")));
  EXPECT_FALSE(TimeZone::parse(make_tzif({{100, 30 * 3600}}, "")));
  for (std::string_view bad : {"", "/etc/passwd", "../x", "a//b", "a/../b", "a b", "a/", ".hidden", "x.y"}) EXPECT_FALSE(TimeZone::is_name(bad)) << bad;
  for (std::string_view fine : {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"}) EXPECT_TRUE(TimeZone::is_name(fine)) << fine;
}

TEST(TimeZone, OffsetsBeforeBetweenAndAfterTransitions) {
  auto zone = TimeZone::parse(make_tzif({{1000, 3600}, {2000, 7200}}, "EST5EDT,M3.2.0,M11.1.0"));
  ASSERT_TRUE(zone);
  EXPECT_EQ(zone->offset_at(999), 0);
  EXPECT_EQ(zone->offset_at(1000), 3600);
  EXPECT_EQ(zone->offset_at(1999), 3600);
  EXPECT_EQ(zone->offset_at(at("2026-03-08T06:59:59Z").time_since_epoch().count()), -18000);
  EXPECT_EQ(zone->offset_at(at("2026-03-08T07:00:00Z").time_since_epoch().count()), -14400);
  EXPECT_EQ(zone->offset_at(at("2026-11-01T05:59:59Z").time_since_epoch().count()), -14400);
  EXPECT_EQ(zone->offset_at(at("2026-11-01T06:00:00Z").time_since_epoch().count()), -18000);
  auto south = TimeZone::parse(make_tzif({}, "AEST-10AEDT,M10.1.0,M4.1.0/3"));
  ASSERT_TRUE(south);
  EXPECT_EQ(south->offset_at(at("2026-01-15T00:00:00Z").time_since_epoch().count()), 39600);
  EXPECT_EQ(south->offset_at(at("2026-07-15T00:00:00Z").time_since_epoch().count()), 36000);
}

TEST(TimeZone, TheHostsOwnFileIsRead) {
  std::ifstream file("/usr/share/zoneinfo/America/New_York", std::ios::binary);
  if (!file) GTEST_SKIP() << "this host has no /usr/share/zoneinfo";
  std::stringstream bytes;
  bytes << file.rdbuf();
  auto zone = TimeZone::parse(bytes.str());
  ASSERT_TRUE(zone) << zone.error().message();
  EXPECT_EQ(zone->offset_at(at("1943-06-01T00:00:00Z").time_since_epoch().count()), -14400);  // war time
  EXPECT_EQ(zone->offset_at(at("2006-04-01T12:00:00Z").time_since_epoch().count()), -18000);
  EXPECT_EQ(zone->offset_at(at("2026-07-01T00:00:00Z").time_since_epoch().count()), -14400);
  EXPECT_EQ(zone->offset_at(at("2060-12-01T00:00:00Z").time_since_epoch().count()), -18000);
}

}  // namespace
}  // namespace monopod::controllers
