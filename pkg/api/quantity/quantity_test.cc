#include "api/quantity/quantity.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace monopod::api {
namespace {

std::string canonical(std::string_view text) {
  auto q = parse_quantity(text);
  return q ? q->text() : q.error().message();
}

TEST(Quantity, CanonicalTextsAreUpstreams) {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "0"},         {"0.5", "500m"},     {"1", "1"},           {"1000m", "1"},       {"1500m", "1500m"},  {"100m", "100m"},
      {"0.1", "100m"},    {"1Gi", "1Gi"},      {"1024Mi", "1Gi"},    {"1.5Gi", "1536Mi"},  {"0.5Gi", "512Mi"},  {"1000", "1k"},
      {"1000000", "1M"},  {"12e6", "12e6"},    {"1e3", "1e3"},       {"1E3", "1e3"},       {"1E", "1E"},        {"100Ki", "100Ki"},
      {"512Ki", "512Ki"}, {"1023Ki", "1023Ki"}, {"0.3Gi", "322122547200m"}, {"-1", "-1"}, {"+5", "5"},         {".5", "500m"},
      {"5.", "5"},        {"1n", "1n"},        {"0.1n", "1n"},       {"1u", "1u"},         {"250e-3", "250e-3"}, {"1Ki", "1Ki"},
      {"512", "512"},     {"0Ki", "0"},        {"1234567890123456789012", "9223372036854775807"}, {"1e100", "9223372036854775807"},
      {"10Ei", "9223372036854775807"}, {"0.000000000000000000000000000000001", "1n"}, {"1e-100", "1e-9"}};
  for (auto& [in, out] : cases) EXPECT_EQ(canonical(in), out) << in;
}

TEST(Quantity, BadTextsAreRefusedInUpstreamsWords) {
  for (const char* bad : {"", "abc", "1.2.3", "-", "1x", "Ki", " 1", "1 ", "1e+", "--1"})
    EXPECT_FALSE(parse_quantity(bad)) << bad;
  EXPECT_EQ(canonical("abc"), "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(canonical("1mm"), "unable to parse quantity's suffix");
}

TEST(Quantity, ComparesAndAddsExactly) {
  EXPECT_EQ(*parse_quantity("1Gi"), *parse_quantity("1073741824"));
  EXPECT_LT(*parse_quantity("1G"), *parse_quantity("1Gi"));
  Quantity sum = *parse_quantity("100m");
  sum += *parse_quantity("0.9");
  EXPECT_EQ(sum.text(), "1");
  EXPECT_EQ(parse_quantity("1500m")->value(), 2);
  EXPECT_EQ(parse_quantity("0.25")->milli_value(), 250);
  sum -= *parse_quantity("2");
  EXPECT_EQ(sum.text(), "-1");
}

TEST(Quantity, CanonicalTextIsAFixedPointOnRandomInput) {
  SeededRng rng(7);
  const std::string_view alphabet = "0123456789.eEinumkKMGTP+-";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(9); n > 0; --n) text += alphabet[rng.below(alphabet.size())];
    auto q = parse_quantity(text);
    if (!q) continue;
    auto again = parse_quantity(q->text());
    ASSERT_TRUE(again) << text << " " << q->text();
    ASSERT_EQ(again->text(), q->text()) << text;
    ASSERT_EQ(*again, *q) << text;
  }
}

}  // namespace
}  // namespace monopod::api
