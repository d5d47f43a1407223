#include "store/value_cache.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace monopod::store {
namespace {

constexpr std::size_t kBytesMax = 1 << 20;

SharedBytes value(std::size_t bytes) { return share(std::string(bytes, 'v')); }

TEST(ValueCache, KeepsTheNewestAndWhatIsPinned) {
  ValueCache cache(kBytesMax);
  cache.pin(1, value(100'000));
  for (RowId row = 2; row < 100; ++row) cache.add(row, value(100'000));
  EXPECT_TRUE(cache.find(1)) << "pinned, and not counted";
  EXPECT_FALSE(cache.find(2));
  EXPECT_TRUE(cache.find(99));
  EXPECT_LE(cache.bytes(), kBytesMax);
  cache.unpin(1, true);
  EXPECT_TRUE(cache.find(1));
  EXPECT_FALSE(cache.pinned(1));
  for (RowId row = 100; row < 120; ++row) cache.add(row, value(100'000));
  EXPECT_FALSE(cache.find(1)) << "now one of the others";
}

TEST(ValueCache, ForgetsWhatWasTakenBackAndWhatIsLarge) {
  ValueCache cache(kBytesMax);
  cache.pin(1, value(10));
  cache.unpin(1, false);
  EXPECT_FALSE(cache.find(1));
  cache.pin(1, value(20));  // the same row, evaluated anew
  EXPECT_EQ(cache.find(1)->size(), 20U);
  cache.unpin(1, true);
  cache.unpin(1, false);
  EXPECT_TRUE(cache.find(1)) << "not pinned any more";
  cache.add(2, value(kBytesMax / 8));
  EXPECT_FALSE(cache.find(2)) << "one value does not take an eighth";
  cache.pin(3, value(kBytesMax));
  cache.unpin(3, true);
  EXPECT_FALSE(cache.find(3));
  EXPECT_LT(cache.bytes(), 1000U);
}

TEST(ValueCache, AReadThatWouldSweepItIsNotKept) {
  ValueCache cache(kBytesMax);
  cache.add(1, value(1000));
  std::vector<RowId> rows;
  std::vector<SharedBytes> values;
  for (RowId row = 10; row < 90; ++row) {
    rows.push_back(row);
    values.push_back(row == 50 ? nullptr : value(10'000));
  }
  cache.add_all(rows, values);
  EXPECT_FALSE(cache.find(10)) << "over three quarters";
  cache.add_all(std::span(rows).first(70), std::span(values).first(70));
  EXPECT_TRUE(cache.find(10));
  EXPECT_FALSE(cache.find(50)) << "gone from the log";
  EXPECT_TRUE(cache.find(1));
}

}  // namespace
}  // namespace monopod::store
