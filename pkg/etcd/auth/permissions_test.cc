#include "etcd/auth/permissions.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "base/strings.h"
#include "store/types.h"

namespace monopod::etcd {
namespace {

const std::string kOpen(1, '\0');

TEST(RangeSet, CoversWhatWasGrantedAndNoMore) {
  RangeSet set;
  set.add({"k", ""});
  set.add({"/p/", "/p0"});
  set.add({"x", kOpen});
  struct Case {
    const char* what;
    KeyRange range;
    bool covered;
  } cases[] = {
      {"the key", {"k", ""}, true},
      {"a longer key", {"ka", ""}, false},
      {"a shorter key", {"", ""}, false},
      {"the key as a range", {"k", std::string("k\0", 2)}, true},
      {"the key and the next", {"k", "l"}, false},
      {"all keys from the key", {"k", kOpen}, false},
      {"the prefix", {"/p/", "/p0"}, true},
      {"a key in the prefix", {"/p/a", ""}, true},
      {"a part of the prefix", {"/p/a", "/p/b"}, true},
      {"the key after the prefix", {"/p0", ""}, false},
      {"the key before the prefix", {"/p", ""}, false},
      {"one key more than the prefix", {"/p/", std::string("/p0\0", 4)}, false},
      {"from a key in the prefix", {"/p/a", kOpen}, false},
      {"from x", {"x", kOpen}, true},
      {"from beyond x", {"xyz", kOpen}, true},
      {"a key beyond x", {"zzz", ""}, true},
      {"a range beyond x", {"y", "z"}, true},
      {"from before x", {"w", kOpen}, false},
      {"everything", {kOpen, kOpen}, false},
      {"an empty range", {"/p/b", "/p/a"}, false},
  };
  for (const Case& c : cases) EXPECT_EQ(set.covers(c.range), c.covered) << c.what;
}

TEST(RangeSet, RangesThatTouchAreOne) {
  RangeSet set;
  set.add({"c", "d"});
  set.add({"a", "b"});
  EXPECT_FALSE(set.covers({"a", "d"}));
  set.add({"b", "c"});
  EXPECT_TRUE(set.covers({"a", "d"}));
  set.add({"d", kOpen});
  EXPECT_TRUE(set.covers({"a", kOpen}));
  EXPECT_FALSE(set.covers({kOpen, kOpen}));
  set.add({kOpen, kOpen});
  EXPECT_TRUE(set.covers({kOpen, kOpen}));
}

// Keys of two letters, each range checked key by key.
TEST(RangeSet, AgreesWithASetOfKeys) {
  SeededRng rng(4);
  std::vector<std::string> keys;
  for (char a = 'a'; a < 'f'; ++a) {
    keys.emplace_back(1, a);
    for (char b = 'a'; b < 'f'; ++b) keys.push_back({a, b});
  }
  auto random_range = [&] {
    KeyRange range{keys[rng.below(keys.size())], {}};
    if (auto kind = rng.below(4); kind == 0) range.range_end = kOpen;
    else if (kind < 3) range.range_end = keys[rng.below(keys.size())];
    return range;
  };
  for (int round = 0; round < 3000; ++round) {
    RangeSet set;
    std::vector<KeyRange> added;
    for (std::size_t i = rng.below(5); i-- > 0;) set.add(added.emplace_back(random_range()));
    KeyRange asked = random_range();
    bool any = false, all = true;
    for (const std::string& key : keys) {
      if (!store::in_range(key, asked.key, asked.range_end)) continue;
      any = true;
      bool granted = false;
      for (const KeyRange& range : added) granted |= store::in_range(key, range.key, range.range_end);
      all &= granted;
    }
    // A finite set of keys cannot tell "up to here" from "and beyond": only the sound direction is an error.
    if (set.covers(asked)) EXPECT_TRUE(any && all) << "round " << round;
    if (any && !all) EXPECT_FALSE(set.covers(asked)) << "round " << round;
  }
}

TEST(Permission, RangesThatHoldNothingAreInvalid) {
  EXPECT_TRUE(is_valid_permission({.key = "a"}));
  EXPECT_TRUE(is_valid_permission({.key = "a", .range_end = "b"}));
  EXPECT_TRUE(is_valid_permission({.key = "a", .range_end = kOpen}));
  EXPECT_FALSE(is_valid_permission({.key = "b", .range_end = "a"}));
  EXPECT_FALSE(is_valid_permission({.key = "a", .range_end = "a"}));
  EXPECT_FALSE(is_valid_permission({.key = "", .range_end = "a"}));
}

}  // namespace
}  // namespace monopod::etcd
