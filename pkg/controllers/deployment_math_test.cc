#include "controllers/deployment_math.h"

#include <gtest/gtest.h>

namespace monopod::controllers {
namespace {

TEST(Rollout, NewSetGrowsAsFarAsTheSurgeAllows) {
  EXPECT_EQ(new_set_size({.replicas = 3, .surge = 1, .unavailable = 0}, 3, 0), 1);
  EXPECT_EQ(new_set_size({.replicas = 3, .surge = 1, .unavailable = 0}, 4, 1), 1);
  EXPECT_EQ(new_set_size({.replicas = 3, .surge = 5, .unavailable = 0}, 3, 0), 3);
  EXPECT_EQ(new_set_size({.replicas = 2, .surge = 1, .unavailable = 0}, 5, 5), 2);
}

TEST(Rollout, OldSetsShrinkOnlyWhileEnoughIsAvailable) {
  RolloutLimits limits{.replicas = 3, .surge = 1, .unavailable = 0};
  EXPECT_EQ(old_set_sizes(limits, {1, 0}, {{3, 3}}), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(old_set_sizes(limits, {1, 1}, {{3, 3}}), (std::vector<std::int64_t>{2}));
  EXPECT_EQ(old_set_sizes(limits, {3, 3}, {{1, 1}}), (std::vector<std::int64_t>{0}));
}

TEST(Rollout, UnhealthyOldPodsGoFirst) {
  RolloutLimits limits{.replicas = 4, .surge = 1, .unavailable = 1};
  EXPECT_EQ(old_set_sizes(limits, {1, 1}, {{2, 0}, {2, 2}}), (std::vector<std::int64_t>{0, 2}));
}

TEST(Rollout, ARolloutEndsFromEveryStateWithoutBreakingItsPromise) {
  for (std::int64_t replicas = 1; replicas <= 6; ++replicas)
    for (std::int64_t surge = 0; surge <= 2; ++surge)
      for (std::int64_t unavailable = surge == 0 ? 1 : 0; unavailable <= 2; ++unavailable) {
        RolloutLimits limits{replicas, surge, std::min(unavailable, replicas)};
        SetSize fresh{0, 0};
        SetSize old{replicas, replicas};
        for (int step = 0; step < 100 && (fresh.available < replicas || old.want > 0); ++step) {
          fresh.want = new_set_size(limits, fresh.want + old.want, fresh.want);
          old.want = old_set_sizes(limits, fresh, {old})[0];
          old.available = std::min(old.available, old.want);
          ASSERT_GE(fresh.available + old.available, limits.replicas - limits.unavailable);
          ASSERT_LE(fresh.want + old.want, limits.replicas + limits.surge);
          fresh.available = fresh.want;
        }
        EXPECT_EQ(fresh.available, replicas) << replicas << surge << unavailable;
        EXPECT_EQ(old.want, 0);
      }
}

TEST(Rollout, ScalingInTheMiddleIsSharedInProportion) {
  EXPECT_EQ(proportional_sizes({5, 5}, 20, 10), (std::vector<std::int64_t>{10, 10}));
  EXPECT_EQ(proportional_sizes({8, 2}, 5, 10), (std::vector<std::int64_t>{4, 1}));
  auto sizes = proportional_sizes({3, 3, 3}, 10, 9);
  EXPECT_EQ(sizes[0] + sizes[1] + sizes[2], 10);
}

TEST(Rollout, HashesUseTheNameAlphabetAndHeedCollisions) {
  std::string a = template_hash("{}", 0);
  EXPECT_NE(a, template_hash("{}", 1));
  EXPECT_EQ(a, template_hash("{}", 0));
  EXPECT_EQ(a.find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos);
}

}  // namespace
}  // namespace monopod::controllers
