#include "base/duration.h"

#include <gtest/gtest.h>

namespace monopod {
namespace {

using namespace std::chrono_literals;

TEST(Duration, ReadsWhatPeopleWrite) {
  struct Case {
    const char* text;
    Duration expected;
  };
  for (const Case& c : {Case{"6h", 6h}, {"1h30m", 90min}, {"1.5s", 1500ms}, {"250ms", 250ms}, {"7d", 168h}, {"0", 0s}, {"0s", 0s}, {".5m", 30s}, {"10us", 10us}, {"3ns", 3ns}, {"1d2h3m4s", 26h + 3min + 4s}}) {
    Result<Duration> parsed = parse_duration(c.text);
    ASSERT_TRUE(parsed) << c.text;
    EXPECT_EQ(*parsed, c.expected) << c.text;
  }
}

TEST(Duration, RefusesTheRest) {
  for (const char* text : {"", "6", "h", "6 h", "-6h", "6h ", "6x", "1.2.3s", "1e3s", "6hm", ".s", "400y", "99999999d", "0x10s", "inf", "nans"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace monopod
