#include "codec/json_arena.h"

#include <gtest/gtest.h>

#include "base/rng.h"

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

Value random_tree(SeededRng& rng, int depth) {
  switch (rng.below(depth > 4 ? 6 : 8)) {
    case 0: return nullptr;
    case 1: return rng.below(2) == 0;
    case 2: return static_cast<std::int64_t>(rng.below(1U << 31)) - (1 << 30);
    case 3: return std::numeric_limits<std::uint64_t>::max() - rng.below(5);
    case 4: return static_cast<double>(rng.below(1U << 20)) / 7;
    case 5: {
      std::string text;
      for (std::size_t i = rng.below(40); i > 0; --i) text += static_cast<char>(rng.below(3) == 0 ? rng.below(0x30) : rng.below(0x80));
      return Value(text + (rng.below(4) == 0 ? "\xc3\xa9\x7f\\\"" : ""));
    }
    case 6: {
      Array array;
      for (std::size_t i = rng.below(5); i > 0; --i) array.push_back(random_tree(rng, depth + 1));
      return array;
    }
    default: {
      Object object;
      for (std::size_t i = rng.below(30); i > 0; --i) object[std::string(rng.below(12), static_cast<char>(rng.below(0x60)))] = random_tree(rng, depth + 1);
      return object;
    }
  }
}

TEST(Json, AnArenaHoldsTheSameTrees) {
  SeededRng rng(5);
  for (int i = 0; i < 2000; ++i) {
    Value tree = random_tree(rng, 0);
    std::string text = format(tree);
    Arena arena;
    Result<Value> again = parse_into(arena, text);
    ASSERT_TRUE(again);
    ASSERT_EQ(*again, parse(text).value());
    Value kept(nullptr);
    kept = *again;  // out of the arena
    EXPECT_NE(kept.storage(), again->storage());
  }
}

}  // namespace
}  // namespace monopod::json
