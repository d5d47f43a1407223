#include "base/failpoint.h"

#include <gtest/gtest.h>

namespace monopod {
namespace {

TEST(Failpoint, TripsAsOftenAsAskedThenIsOff) {
  ASSERT_TRUE(arm_failpoints("store.before_commit=2*error"));
  EXPECT_FALSE(failpoint("store.before_commit"));
  EXPECT_FALSE(failpoint("store.before_commit"));
  EXPECT_TRUE(failpoint("store.before_commit"));
  EXPECT_TRUE(failpoint("store.after_commit"));
  disarm_failpoints();
}

TEST(Failpoint, UnknownNamesAndActionsAreRefused) {
  for (const char* spec : {"nope=error", "store.before_commit=explode", "store.before_commit=0*error", "store.before_commit=delay(x)"})
    EXPECT_FALSE(arm_failpoints(spec)) << spec;
}

TEST(Failpoint, NamesAreSorted) {
  auto names = failpoint_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

}  // namespace
}  // namespace monopod
