#include "api/selector/selector.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace monopod::api {
namespace {

bool selects(std::string_view selector, const json::Object& labels) {
  auto s = parse_label_selector(selector);
  EXPECT_TRUE(s) << selector << ": " << (s ? "" : s.error().message());
  return s && s->matches(&labels);
}

TEST(LabelSelector, EveryOperatorMatchesAsDocumented) {
  json::Object labels{{"app", "web"}, {"tier", "front"}, {"n", "5"}, {"empty", ""}};
  for (const char* yes : {"", "app=web", "app==web", "app!=db", "x!=y", "app in (web, db)", "app notin (db)", "x notin (a)", "app", "!x", "n>4", "n<6",
                          "app=web,tier=front", " app = web , !x ", "empty=", "empty in ()"})
    EXPECT_TRUE(selects(yes, labels)) << yes;
  for (const char* no : {"app=db", "app!=web", "app in (db)", "app notin (web)", "x", "!app", "n>5", "n<5", "app=web,x", "app="})
    EXPECT_FALSE(selects(no, labels)) << no;
}

TEST(LabelSelector, BadTextsAreRefused) {
  for (const char* bad : {"a=b=c", "a in", "a in (b", "=x", ",", "a,,b", "a in b", "a>x", "$=1", "a=$", "!a=b", "a/b/c=1", "(a)", "a b"})
    EXPECT_FALSE(parse_label_selector(bad)) << bad;
  EXPECT_EQ(parse_label_selector("a b").error().message(), "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
}

TEST(LabelSelector, ObjectFormIsTheSameSelector) {
  auto s = make_label_selector(*json::parse(R"({"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"In","values":["y","x"]},{"key":"c","operator":"DoesNotExist"}]})"));
  ASSERT_TRUE(s);
  EXPECT_EQ(s->format(), "a=1,b in (x,y),!c");
  EXPECT_FALSE(make_label_selector(*json::parse(R"({"matchExpressions":[{"key":"b","operator":"Like"}]})")));
  EXPECT_TRUE(make_label_selector(json::Object())->empty());
}

TEST(FieldSelector, ParsesMatchesAndPins) {
  auto s = parse_field_selector("metadata.name=a,status.phase!=Running,x==y\\,z");
  ASSERT_TRUE(s);
  EXPECT_EQ(*s->find_equal("metadata.name"), "a");
  EXPECT_EQ(s->find_equal("status.phase"), nullptr);
  EXPECT_TRUE(s->matches([](std::string_view f) { return std::string(f == "metadata.name" ? "a" : f == "x" ? "y,z" : "Pending"); }));
  EXPECT_FALSE(s->matches([](std::string_view) { return std::string("a"); }));
  EXPECT_EQ(s->format(), "metadata.name=a,status.phase!=Running,x=y\\,z");
  EXPECT_EQ(parse_field_selector("abc").error().message(), "invalid selector: 'abc'; can't understand 'abc'");
  EXPECT_TRUE(parse_field_selector("")->empty());
}

TEST(Selectors, GarbageNeverCrashesAndFormatsParseAgain) {
  SeededRng rng(11);
  const std::string_view alphabet = "ab1=!(),<> in notin\\./-";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(20); n > 0; --n) text += alphabet[rng.below(alphabet.size())];
    if (auto s = parse_label_selector(text)) {
      EXPECT_TRUE(parse_label_selector(s->format())) << text << " -> " << s->format();
    }
    if (auto f = parse_field_selector(text)) {
      EXPECT_TRUE(parse_field_selector(f->format())) << text << " -> " << f->format();
    }
  }
}

}  // namespace
}  // namespace monopod::api
