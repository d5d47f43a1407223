#include "proxy/upstream/retry_budget.h"

#include <gtest/gtest.h>

namespace monopod::proxy {
namespace {

constexpr RetryBudgetSpec kSpec{.percent = 20, .min = 3, .window = Milliseconds(1000)};

int take_all(RetryBudget& budget, std::uint64_t now_ms) {
  int taken = 0;
  while (taken < 1000 && budget.take(kSpec, now_ms)) ++taken;
  return taken;
}

TEST(RetryBudget, TheMinimumIsThereWithoutRequests) {
  RetryBudget budget;
  EXPECT_EQ(take_all(budget, 5000), 3);
}

TEST(RetryBudget, TheShareIsOfRequestsThatAreNoRetries) {
  RetryBudget budget;
  for (int i = 0; i < 100; ++i) budget.note_request(kSpec, 5000);
  int taken = 0;
  for (; taken < 1000 && budget.take(kSpec, 5000); ++taken) budget.note_request(kSpec, 5000);  // as a retry is an attempt as well
  EXPECT_EQ(taken, 20);
}

TEST(RetryBudget, WhatIsOlderThanTheWindowIsForgotten) {
  RetryBudget budget;
  for (int i = 0; i < 100; ++i) budget.note_request(kSpec, 5000);
  EXPECT_EQ(take_all(budget, 5899), 16);  // 100 requests less those 16
  EXPECT_EQ(take_all(budget, 6000), 0) << "the retries are of the window, the requests no more";
  EXPECT_EQ(take_all(budget, 6900), 3);
}

}  // namespace
}  // namespace monopod::proxy
