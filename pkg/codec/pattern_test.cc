#include "codec/pattern.h"

#include <gtest/gtest.h>


namespace monopod {
namespace {

bool match(std::string_view pattern, std::string_view text) {
  auto compiled = Pattern::compile(pattern);
  if (!compiled) {
    ADD_FAILURE() << pattern << ": " << compiled.error().message();
    return false;
  }
  MatchBudget budget{1'000'000};
  bool found = (*compiled)->matches(text, budget);
  EXPECT_FALSE(budget.spent) << pattern;
  return found;
}

TEST(Pattern, MatchesWhatRe2Matches) {
  struct Case {
    std::string_view pattern, yes, no;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"^[a-z]+$", "abc", "aBc"},
           {"b", "abc", "acd"},
           {"^a.c$", "a\xC3\xA9" "c", "ac"},
           {"^(foo|ba(r|z))$", "baz", "bax"},
           {"^a{2,3}$", "aaa", "aaaa"},
           {"^a{2}$", "aa", "a"},
           {"^a{2,}b$", "aaaab", "ab"},
           {"^a{,2}$", "a{,2}", "aa"},
           {"^\\d{4}-\\d{2}$", "2026-11", "2026-1"},
           {"^[\\w.-]+@[\\w-]+$", "a.b@c", "a b@c"},
           {"^[^/]+$", "abc", "a/b"},
           {"(?i)^HELLO$", "hElLo", "hell"},
           {"^(?:a|b)*?c$", "ababc", "abad"},
           {"\\bfoo\\b", "a foo b", "afoob"},
           {"^\\Qa.b\\E$", "a.b", "axb"},
           {"^[[:alpha:]_][[:alnum:]_]*$", "_a1", "1a"},
           {"^\\x41\\x{e9}$", "A\xC3\xA9", "B"},
           {"^$", "", "a"},
           {"(?m)^b$", "a\nb", "ab"},
           {"(?s)^a.b$", "a\nb", "ab"},
           {"^([01]?[0-9]|2[0-3]):[0-5][0-9]$", "23:59", "24:00"},
           {"^[-a]+$", "a-a", "b"},
           {"^[a\\-z]+$", "a-z", "b"},
           {"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", "a-b.c", "-a"},
           {"^[]a]+$", "]a", "b"},
           {"\\.", "a.b", "ab"},
           {"^(a*)*$", "aaa", "b"},
           {"^\xE6\x97\xA5+$", "\xE6\x97\xA5\xE6\x97\xA5", "\xE6\x97"},
       }) {
    EXPECT_TRUE(match(c.pattern, c.yes)) << c.pattern << " " << c.yes;
    EXPECT_FALSE(match(c.pattern, c.no)) << c.pattern << " " << c.no;
  }
}

TEST(Pattern, SaysWhatIsWrongAsGoDoes) {
  for (auto [pattern, message] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"(a", "error parsing regexp: missing closing ): `(a`"},
           {"a)", "error parsing regexp: unexpected ): `a)`"},
           {"[a", "error parsing regexp: missing closing ]: `[a`"},
           {"*a", "error parsing regexp: missing argument to repetition operator: `*`"},
           {"a**", "error parsing regexp: invalid nested repetition operator: `*`"},
           {"(?=a)", "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
           {"(?<!a)", "error parsing regexp: invalid or unsupported Perl syntax: `(?<!`"},
           {"\\1", "error parsing regexp: invalid escape sequence: `\\1`"},
           {"[z-a]", "error parsing regexp: invalid character class range: `z-a`"},
           {"a{1001}", "error parsing regexp: invalid repeat count: `{1001}`"},
           {"a\\", "error parsing regexp: trailing backslash at end of expression: ``"},
           {"\\pL", "error parsing regexp: Unicode character classes are not supported: `\\p`"},
       }) {
    auto compiled = Pattern::compile(pattern);
    ASSERT_FALSE(compiled) << pattern;
    EXPECT_EQ(compiled.error().message(), message);
  }
}

TEST(Pattern, IsLinearWhereOthersBacktrack) {
  std::string text(20'000, 'a');
  EXPECT_FALSE(match("^(a+)+$", text.substr(0, 1000) + "b"));
  EXPECT_TRUE(match("^(a|aa)+$", text.substr(0, 1000)));
  std::string optional;
  for (int i = 0; i < 30; ++i) optional += "a?";
  EXPECT_TRUE(match(optional + std::string(30, 'a'), std::string(30, 'a')));
}

TEST(Pattern, IsBoundedInSizeDepthAndSteps) {
  EXPECT_TRUE(Pattern::compile("a{1000}"));
  auto large = Pattern::compile("((a{100}){100}){100}");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(Pattern::compile(std::string(kPatternDepthMax + 2, '(') + std::string(kPatternDepthMax + 2, ')')));
  EXPECT_TRUE(Pattern::compile(std::string(kPatternDepthMax, '(') + std::string(kPatternDepthMax, ')')));
  EXPECT_TRUE(Pattern::compile(std::string(kPatternBytesMax, 'a')));
  EXPECT_FALSE(Pattern::compile(std::string(kPatternBytesMax + 1, 'a')));
  auto slow = Pattern::compile("(.*x){20}b");
  ASSERT_TRUE(slow);
  MatchBudget budget{1000};
  EXPECT_FALSE((*slow)->matches(std::string(10'000, 'x'), budget));
  EXPECT_TRUE(budget.spent);
}

}  // namespace
}  // namespace monopod
