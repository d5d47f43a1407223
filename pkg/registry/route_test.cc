#include "registry/route.h"

#include <gtest/gtest.h>

#include "registry/limits.h"

namespace monopod::registry {
namespace {

using Kind = Route::Kind;

TEST(Route, EveryEndpointIsFound) {
  struct Case {
    const char* path;
    Kind kind;
    const char *name, *reference;
  };
  for (const Case& c : std::initializer_list<Case>{{"/v2", Kind::kBase, "", ""},
                                                   {"/v2/", Kind::kBase, "", ""},
                                                   {"/v2/_catalog", Kind::kCatalog, "", ""},
                                                   {"/v2/a/b/tags/list", Kind::kTags, "a/b", ""},
                                                   {"/v2/a/manifests/1", Kind::kManifest, "a", "1"},
                                                   {"/v2/a/manifests/b/manifests/1", Kind::kManifest, "a/manifests/b", "1"},
                                                   {"/v2/a/blobs/sha256:00", Kind::kBlob, "a", "sha256:00"},
                                                   {"/v2/a/blobs/uploads/", Kind::kUploads, "a", ""},
                                                   {"/v2/a/blobs/uploads", Kind::kUploads, "a", ""},
                                                   {"/v2/a/blobs/uploads/x", Kind::kUpload, "a", "x"},
                                                   {"/v2/a/referrers/sha256:00", Kind::kReferrers, "a", "sha256:00"},
                                                   {"/v2/manifests/1", Kind::kNone, "", ""},
                                                   {"/v2/tags/list", Kind::kNone, "", ""},
                                                   {"/v2/a/manifests/1/2", Kind::kNone, "", ""},
                                                   {"/v3/a/manifests/1", Kind::kNone, "", ""},
                                                   {"", Kind::kNone, "", ""}}) {
    Route got = parse_route(c.path);
    EXPECT_EQ(got.kind, c.kind) << c.path;
    EXPECT_EQ(got.name, c.name) << c.path;
    EXPECT_EQ(got.reference, c.reference) << c.path;
  }
}

TEST(Route, NamesFollowTheGrammar) {
  for (const char* good : {"a", "a1/b2", "a.b", "a_b", "a__b", "a---b", "0/0"}) EXPECT_TRUE(is_repository_name(good)) << good;
  for (const char* bad : {"", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", ".a", "a.", "a b", "a/../b", "\xc3\xa4"}) EXPECT_FALSE(is_repository_name(bad)) << bad;
  EXPECT_TRUE(is_repository_name(std::string(kNameBytesMax, 'a')));
  EXPECT_FALSE(is_repository_name(std::string(kNameBytesMax + 1, 'a')));
  for (const char* good : {"1", "_", "A.b-c_d"}) EXPECT_TRUE(is_tag(good)) << good;
  for (const char* bad : {"", ".a", "-a", "a/b", "a:b", "a b"}) EXPECT_FALSE(is_tag(bad)) << bad;
  EXPECT_TRUE(is_tag(std::string(kTagBytesMax, 'a')));
  EXPECT_FALSE(is_tag(std::string(kTagBytesMax + 1, 'a')));
}

TEST(Route, ContentRangeIsInclusive) {
  auto range = parse_content_range("0-99");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 0U);
  EXPECT_EQ(range->last, 99U);
  EXPECT_TRUE(parse_content_range("bytes 0-99/200"));
  for (const char* bad : {"", "-", "1-", "-1", "2-1", "a-b", "0-18446744073709551615", "0-18446744073709551616"}) EXPECT_FALSE(parse_content_range(bad)) << bad;
}

TEST(Route, RangeOfAnEmptyBlobIsNotSatisfiable) {
  EXPECT_EQ(parse_range("bytes=0-", 0).kind, RangeAnswer::Kind::kUnsatisfiable);
  EXPECT_EQ(parse_range("bytes=-5", 0).kind, RangeAnswer::Kind::kUnsatisfiable);
  EXPECT_EQ(parse_range("bytes=-0", 10).kind, RangeAnswer::Kind::kUnsatisfiable);
  EXPECT_EQ(parse_range("bytes=5-0", 10).kind, RangeAnswer::Kind::kUnsatisfiable);
  RangeAnswer all = parse_range("bytes=-50", 10);
  EXPECT_EQ(all.range.first, 0U);
  EXPECT_EQ(all.range.last, 9U);
}

}  // namespace
}  // namespace monopod::registry
