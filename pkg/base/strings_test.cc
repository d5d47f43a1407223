#include "base/strings.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/rng.h"

namespace monopod {
namespace {

TEST(Strings, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ',').size(), 3U);
  EXPECT_EQ(split("", ',').size(), 1U);
  EXPECT_EQ(split_once("k=v=w", '=').second, "v=w");
  EXPECT_FALSE(split_once("k", '=').second);
}

TEST(Strings, CatMixesTextAndNumbers) {
  EXPECT_EQ(cat("a", 1, ':', std::string("b"), -2), "a1:b-2");
  EXPECT_EQ(cat(std::string_view(), "", std::string()), "") << "nothing is no number";
  EXPECT_EQ(cat(std::numeric_limits<std::int64_t>::min(), ' ', std::numeric_limits<std::uint64_t>::max(), ' ', std::uint8_t{7}, ' ', std::int16_t{-7}), "-9223372036854775808 18446744073709551615 7 -7");
  EXPECT_EQ(cat(std::string_view("a\0b", 3)).size(), 3U);
}

TEST(Strings, ParseIntTakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_int<int>("-7"), -7);
  for (const char* text : {"", " 1", "1 ", "+1", "0x1", "99999999999"}) EXPECT_FALSE(parse_int<int>(text)) << text;
}

TEST(Rng, UuidIsVersion4AndSeedsReplay) {
  SeededRng a(1);
  SeededRng b(1);
  std::string uuid = a.uuid();
  EXPECT_EQ(uuid, b.uuid());
  EXPECT_EQ(uuid.size(), 36U);
  EXPECT_EQ(uuid[14], '4');
  EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
}

}  // namespace
}  // namespace monopod
