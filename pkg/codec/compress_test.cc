#include "codec/compress.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace monopod::codec {
namespace {

std::string mixed_text(std::size_t bytes) {
  SeededRng rng(3);
  std::string out;
  while (out.size() < bytes) out += rng.below(3) == 0 ? std::string(rng.below(200), 'z') : rng.uuid();
  return out;
}

class Formats : public ::testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(Both, Formats, ::testing::Values(Compression::kGzip, Compression::kZstd),
                         [](const auto& p) { return std::string(compression_name(p.param)); });

TEST_P(Formats, RoundTripAndDetection) {
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{1'000'000}}) {
    std::string text = mixed_text(n);
    auto packed = compress(GetParam(), text);
    ASSERT_TRUE(packed);
    EXPECT_EQ(detect_compression(as_bytes(*packed)), GetParam());
    auto back = decompress(GetParam(), *packed);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(*back, text);
  }
}

TEST_P(Formats, ConcatenatedMembersReadAsOne) {
  std::string both = *compress(GetParam(), "hello ") + *compress(GetParam(), "world");
  EXPECT_EQ(*decompress(GetParam(), both), "hello world");
}

TEST_P(Formats, EveryTruncationIsAnError) {
  std::string packed = *compress(GetParam(), mixed_text(3'000));
  for (std::size_t n = 1; n < packed.size(); n += 7) {
    auto r = decompress(GetParam(), packed.substr(0, n));
    ASSERT_FALSE(r) << n;
    EXPECT_EQ(r.error().code(), Code::kInvalidArgument);
  }
}

TEST_P(Formats, TrailingBytesAreAnError) {
  auto r = decompress(GetParam(), *compress(GetParam(), "x") + "garbage");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kInvalidArgument);
}

TEST_P(Formats, BombsStopAtTheRatio) {
  std::string packed = *compress(GetParam(), std::string(64U << 20, 'a'));
  auto r = decompress(GetParam(), packed, {.ratio_max = 100, .ratio_floor_bytes = 1U << 20});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kResourceExhausted);
  r = decompress(GetParam(), packed, {.bytes_max = 1U << 20});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kResourceExhausted);
}

TEST_P(Formats, DamageNeverCrashes) {
  SeededRng rng(11);
  const std::string packed = *compress(GetParam(), mixed_text(2'000));
  for (int i = 0; i < 500; ++i) {
    std::string bad = packed;
    for (int k = 0; k < 3; ++k) bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    (void)decompress(GetParam(), bad, {.bytes_max = 1U << 20});
  }
}

TEST(Compress, ZerosMayPadTheEndOfGzip) {
  EXPECT_EQ(*decompress(Compression::kGzip, *compress(Compression::kGzip, "x") + std::string(1024, '\0')), "x");
}

TEST(Compress, PlainBytesAreNotDetectedAsCompressed) {
  EXPECT_EQ(detect_compression(as_bytes("{\"a\"")), Compression::kNone);
  EXPECT_EQ(detect_compression({}), Compression::kNone);
}

}  // namespace
}  // namespace monopod::codec
