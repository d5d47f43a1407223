#include "codec/yaml.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/rng.h"
#include "base/strings.h"

namespace monopod::yaml {
namespace {

std::string as_json(std::string_view text) {
  auto value = parse(text);
  return value ? json::format(*value) : value.error().message();
}

TEST(Yaml, PlainScalarsTakeTheTypesThatKubernetesToolsGiveThem) {
  struct Case { std::string_view yaml, json; };
  for (auto [text, want] : {
           Case{"yes", "true"}, {"No", "false"}, {"on", "true"}, {"OFF", "false"}, {"y", "true"}, {"n", "false"}, {"True", "true"},
           {"yEs", "\"yEs\""}, {"~", "null"}, {"null", "null"}, {"0755", "493"}, {"0o17", "15"}, {"0x1F", "31"}, {"0b101", "5"},
           {"08", "8"}, {"1_000", "1000"}, {"+5", "5"}, {"-0x10", "-16"}, {"1.0", "1"}, {"1.5", "1.5E0"}, {".5", "5E-1"}, {"1e3", "1000"},
           {"1.2.3", "\"1.2.3\""}, {"12:30:45", "\"12:30:45\""}, {"2001-12-14", "\"2001-12-14\""}, {"'yes'", "\"yes\""},
           {"\"1\"", "\"1\""}, {"!!str 1", "\"1\""}, {"!!float 1", "1"}, {"100m", "\"100m\""}, {"1Gi", "\"1Gi\""}, {"-", "[null]"},
           {"18446744073709551615", "18446744073709551615"}, {"-9223372036854775808", "-9223372036854775808"},
           {"!!binary aGk=", "\"hi\""}, {"0x", "\"0x\""}, {"1: a", R"({"1":"a"})"}, {"true: a", R"({"true":"a"})"},
           {"!custom 5", "\"5\""}, {"", "null"}, {"# only a comment", "null"}})
    EXPECT_EQ(as_json(text), want) << text;
}

TEST(Yaml, MergeKeysYieldToExplicitOnes) {
  EXPECT_EQ(as_json("base: &b {a: 1, b: 2}\nc:\n  <<: *b\n  b: 3\n"), R"({"base":{"a":1,"b":2},"c":{"b":3,"a":1}})");
  EXPECT_EQ(as_json("- &x {a: 1}\n- &y {b: 2}\n- <<: [*x, *y]\n"), R"([{"a":1},{"b":2},{"a":1,"b":2}])");
}

TEST(Yaml, ErrorsNameLineAndColumn) {
  EXPECT_EQ(as_json("a: 1\nb: 2\na: 3\n"), "yaml: line 3, column 1: key \"a\" already set in map");
  std::vector<std::string> twice;
  auto lenient = parse_noting_twice("\na: 1\nb:\n  c: 1\n  c: {d: 2}\na: 3\n", twice);
  ASSERT_TRUE(lenient);
  EXPECT_EQ(json::format(*lenient), R"({"a":3,"b":{"c":{"d":2}}})");
  EXPECT_EQ(twice, (std::vector<std::string>{"line 5: key \"c\" already set in map", "line 6: key \"a\" already set in map"}));
  EXPECT_EQ(as_json("a: [1, 2"), "yaml: line 1, column 1: end of sequence flow not found");
  EXPECT_EQ(as_json("? {a: 1}\n: 2\n").substr(0, 14), "yaml: line 1, ");
  EXPECT_EQ(as_json("a: .inf"), "yaml: line 1, column 4: \".inf\" has no JSON form");
  EXPECT_EQ(as_json("a: *x"), "yaml: line 1, column 4: the referenced anchor is not defined");
}

TEST(Yaml, DocumentsComeInOrderWithoutTheEmptyOnes) {
  auto docs = parse_all("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n");
  ASSERT_TRUE(docs) << docs.error().message();
  ASSERT_EQ(docs->size(), 2U);
  EXPECT_EQ(json::format((*docs)[1]), R"({"b":2})");
  EXPECT_FALSE(parse("a: 1\n---\nb: 2\n"));
}

TEST(Yaml, AliasBombsStopAtTheBudget) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    text += cat("a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) text += cat(k > 0 ? "," : "", "*a", i - 1);
    text += "]\n";
  }
  auto value = parse(text);
  ASSERT_FALSE(value);
  EXPECT_NE(value.error().message().find("aliases expand"), std::string::npos);
}

TEST(Yaml, DepthAndSizeHaveLimits) {
  EXPECT_NE(as_json(std::string(5000, '[')).find("nested deeper than 100"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "- ";
  EXPECT_FALSE(parse(deep));
  std::string nested = std::string(100, '[') + std::string(100, ']');
  EXPECT_TRUE(parse(nested));
  EXPECT_FALSE(parse("[" + nested + "]"));
  EXPECT_FALSE(parse("aaaa", {.bytes_max = 3}));
}

TEST(Yaml, TimeGrowsLinearly) {
  auto seconds_for = [](int lines) {
    std::string text;
    for (int i = 0; i < lines; ++i) text += cat("key", i, ": {a: [1, \"two\", three], b: 'x'}\n");
    auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(parse(text));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds_for(500);
  double small = seconds_for(1'000), large = seconds_for(8'000);
  EXPECT_LT(large, small * 8 * 6 + 0.2);  // far below quadratic (64 times)
}

TEST(Yaml, WhatIsWrittenReadsBackEqual) {
  for (std::string_view text : {
           R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"app":"x","on":"yes"}},"spec":{"containers":[{"args":["-c","echo 'hi'"],"n":1},{}],"e":[],"m":{}}})",
           R"([["a",["b"]],{"k":[{"a":1,"b":[1,2]}]}])", R"({"s":"line one\nline two\n","t":"x\n\n","u":"a\nb","v":" lead\nx","w":"tab\tin\nit"})",
           R"(["1","1.5","true","null","~","","- a","a: b","a #b","0755","2001-12-14","12:30","@x","%y","é","\u0001","\u0085","a\u2028b","\\\"q"])",
           R"({"a":null,"b":true,"c":-5,"d":2.5,"e":1e300})", R"("x")", "{}", "[]", R"({"":1,"a b":2,"#":3,"<<":{"a":1}})"}) {
    auto value = json::parse(text);
    ASSERT_TRUE(value);
    std::string written = format(*value);
    auto again = parse(written);
    ASSERT_TRUE(again) << written << again.error().message();
    EXPECT_EQ(*value, *again) << written;
  }
}

TEST(Yaml, BlockStyleAsKubectlPrintsIt) {
  auto value = json::parse(R"({"a":{"b":[{"c":1,"d":"x"},"yes"]},"e":"l1\nl2\n"})");
  EXPECT_EQ(format(*value), "a:\n  b:\n  - c: 1\n    d: x\n  - \"yes\"\ne: |\n  l1\n  l2\n");
}

TEST(Yaml, GarbageNeverCrashes) {
  SeededRng rng(7);
  constexpr std::string_view kAlphabet = "ab:-?&*!|>%@`#{}[],\"'\\ \n\n\t01~<=.";
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(60); n > 0; --n) text += rng.below(20) == 0 ? static_cast<char>(rng.next()) : kAlphabet[rng.below(kAlphabet.size())];
    auto value = parse_all(text);
    if (value)
      for (const auto& v : *value) {
        auto again = parse(format(v));
        // Text that is not UTF-8 may change; structure never fails to parse otherwise.
        if (again) continue;
      }
  }
}

TEST(Yaml, TextKeepsPlainScalarsAsTheyAreWritten) {
  auto value = parse_text("a: 1.10\nb: yes\nc: 0755\nd: ~\ne:\nf: 'null'\n1: [on, 1e3]\n");
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_EQ(json::format(*value), R"({"a":"1.10","b":"yes","c":"0755","d":null,"e":null,"f":"null","1":["on","1e3"]})");
  auto tagged = parse_text("a: !reset\nb: !x [1, !y {c: !z 2}]\nd: ! e\nf: !!str 3\n");
  ASSERT_TRUE(tagged);
  EXPECT_EQ(json::format(*tagged), R"({"a":{"!reset":null},"b":{"!x":["1",{"!y":{"c":{"!z":"2"}}}]},"d":"e","f":"3"})");
  EXPECT_FALSE(parse_text("a: 1\n---\nb: 2\n"));
}

}  // namespace
}  // namespace monopod::yaml
