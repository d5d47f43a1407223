#include "image/reference.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/strings.h"

namespace monopod::image {
namespace {

const std::string kHex(64, 'a');

TEST(Reference, ShortNamesTakeDockersDefaults) {
  struct Case { std::string text, want; };
  for (const auto& [text, want] : {Case{"busybox", "docker.io/library/busybox:latest"}, {"busybox:1.36", "docker.io/library/busybox:1.36"},
                                   {"a/b", "docker.io/a/b:latest"}, {"localhost/a", "localhost/a:latest"}, {"localhost:5000/a/b:1", "localhost:5000/a/b:1"},
                                   {"quay.io/x/y@sha256:" + kHex, "quay.io/x/y@sha256:" + kHex}, {"index.docker.io/library/a", "docker.io/library/a:latest"},
                                   {"docker.io/a", "docker.io/library/a:latest"}, {"a:1@sha256:" + kHex, "docker.io/library/a:1@sha256:" + kHex},
                                   {"host:5000/a", "host:5000/a:latest"}, {"[::1]:5000/a", "[::1]:5000/a:latest"}, {"a--b/c__d.e", "docker.io/a--b/c__d.e:latest"},
                                   {"Host/a", "Host/a:latest"}}) {
    auto parsed = parse_reference(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message();
    EXPECT_EQ(parsed->text(), want);
    EXPECT_EQ(parse_reference(parsed->text())->text(), want) << "canonical text is stable";
  }
}

TEST(Reference, MalformedNamesAreRefused) {
  for (const std::string& text : {std::string(), std::string(":"), std::string("A"), std::string("a:"), std::string("a@"), std::string("a@sha256:short"), std::string("a//b"), std::string("/a"), std::string("a/"),
                                  std::string("a..b"), std::string("a___b"), std::string("-a"), std::string("a b"), std::string("../a"), std::string("host.io/../a"), std::string("a\n"), std::string("a\0b", 3), kHex,
                                  std::string("a@sha512:") + kHex + kHex, std::string(300, 'a'), std::string("a:") + std::string(129, 'b'), std::string("h:99999/a"), std::string("h.io/A")}) {
    auto parsed = parse_reference(text);
    EXPECT_FALSE(parsed) << text;
    if (!parsed) EXPECT_TRUE(parsed.error().message().starts_with("invalid reference format")) << parsed.error().message();
  }
}

TEST(Reference, GarbageNeverCrashesAndWhatParsesIsStable) {
  SeededRng rng(5);
  constexpr std::string_view kAlphabet = "ab1.:/@_-[]A sha256";
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint64_t n = rng.below(24); n > 0; --n) text += kAlphabet[rng.below(kAlphabet.size())];
    auto parsed = parse_reference(text);
    if (!parsed) continue;
    auto again = parse_reference(parsed->text());
    ASSERT_TRUE(again) << text;
    EXPECT_EQ(again->text(), parsed->text()) << text;
  }
}

}  // namespace
}  // namespace monopod::image
