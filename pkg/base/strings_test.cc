#include "base/strings.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace monopod {
namespace {

TEST(Strings, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ',').size(), 3U);
  EXPECT_EQ(split("", ',').size(), 1U);
  EXPECT_EQ(split_once("k=v=w", '=').second, "v=w");
  EXPECT_FALSE(split_once("k", '=').second);
}

TEST(Strings, CatMixesTextAndNumbers) { EXPECT_EQ(cat("a", 1, ':', std::string("b"), -2), "a1:b-2"); }

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
