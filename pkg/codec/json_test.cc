#include "codec/json.h"

#include <gtest/gtest.h>

namespace monopod::json {
namespace {

TEST(Json, LookupsNeverThrow) {
  Value v = *parse(R"({"a":{"b":[1,2],"s":"x","n":7,"t":true}})");
  EXPECT_EQ(get_string(v, {"a", "s"}), "x");
  EXPECT_EQ(get_string(v, {"a", "b", "c"}, "none"), "none");
  EXPECT_EQ(get_int(v, {"a", "n"}), 7);
  EXPECT_TRUE(get_bool(v, {"a", "t"}));
  EXPECT_EQ(get_array(v, {"a", "b"})->size(), 2U);
  EXPECT_EQ(get_object(v, {"a", "s"}), nullptr);
  at_path(v, {"x", "y"}) = 1;
  EXPECT_EQ(get_int(v, {"x", "y"}), 1);
}

TEST(Json, LimitsAndGarbageAreRefusedWithAPosition) {
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse("{"));
  EXPECT_FALSE(parse("{} x"));
  EXPECT_TRUE(parse("{} \n"));
  EXPECT_NE(parse("{\"a\":tru}").error().message().find("at byte"), std::string::npos);
  std::string deep(200, '[');
  EXPECT_FALSE(parse(deep + std::string(200, ']')));
  EXPECT_FALSE(parse("[1,2]", {.depth_max = 8, .bytes_max = 4}));
}

TEST(Json, NumbersBeyondARangeAreRefusedOrSaturated) {
  for (const char* text : {"1e309", "[-1e400]", "0e33308", R"({"a":{"b":123456789012345678901234567890e300}})"}) {
    Result<Value> value = parse(text);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().message(), "json: number out of range") << text;
  }
  Value large = parse(R"({"up":1e300,"down":-1e300,"most":18446744073709551615})").value();
  EXPECT_EQ(get_int(large, {"up"}), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(get_int(large, {"down"}), std::numeric_limits<std::int64_t>::min());
}

}  // namespace
}  // namespace monopod::json
