#include "base/clock.h"

#include <gtest/gtest.h>

namespace monopod {
namespace {

using namespace std::chrono_literals;

TEST(Clock, Rfc3339RoundTripsToTheNanosecond) {
  for (const char* text : {"1970-01-01T00:00:00.000000000Z", "2026-11-23T09:20:01.123456789Z", "2000-02-29T23:59:59.000000001Z"}) {
    auto t = parse_rfc3339(text);
    ASSERT_TRUE(t) << text;
    EXPECT_EQ(format_rfc3339_nano(*t), text);
  }
}

TEST(Clock, OffsetsAreAppliedAndFractionsKept) {
  EXPECT_EQ(format_rfc3339(*parse_rfc3339("2026-01-01T01:30:00+01:30")), "2026-01-01T00:00:00Z");
  EXPECT_EQ(format_rfc3339_micro(*parse_rfc3339("2026-01-01T00:00:00.5Z")), "2026-01-01T00:00:00.500000Z");
}

TEST(Clock, BadTimesAreRefused) {
  for (const char* text : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z",
                           "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+1:00"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

TEST(Clock, AgesReadLikeKubectls) {
  EXPECT_EQ(format_age(5s), "5s");
  EXPECT_EQ(format_age(119s), "119s");
  EXPECT_EQ(format_age(200s), "3m20s");
  EXPECT_EQ(format_age(42min), "42m");
  EXPECT_EQ(format_age(3h + 5min), "3h5m");
  EXPECT_EQ(format_age(30h), "30h");
  EXPECT_EQ(format_age(98h), "4d2h");
}

TEST(Clock, AgesLastUntilTheyReadOtherwise) {
  for (std::int64_t s : {0, 1, 59, 119, 120, 599, 600, 601, 10'799, 10'800, 28'799, 28'800, 172'799, 172'800, 691'199, 691'200, 700'000, 63'072'000, 400'000'000}) {
    for (std::int64_t ms : {0, 1, 500, 999}) {
      Duration age = std::chrono::seconds(s) + std::chrono::milliseconds(ms);
      Duration lasts = age_lasts(age);
      EXPECT_GT(lasts, Duration{});
      EXPECT_EQ(format_age(age), format_age(age + lasts - std::chrono::milliseconds(1))) << s;
    }
  }
  EXPECT_EQ(age_lasts(90min + 20s), 40s);
  EXPECT_EQ(age_lasts(-1500ms), 500ms);
}

}  // namespace
}  // namespace monopod
