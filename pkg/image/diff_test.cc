#include "image/diff.h"

#include "base/strings.h"
#include "image/digest.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using Type = TarEntry::Type;

Listing listing_of(const std::vector<TestEntry>& entries, codec::Compression compression = codec::Compression::kNone) {
  std::string blob = *codec::compress(compression, make_tar(entries));
  codec::MemorySource source(blob);
  auto out = read_listing(source, {});
  EXPECT_TRUE(out) << (out ? "" : out.error().message());
  return out ? *std::move(out) : Listing{};
}

Tree tree_of(const std::vector<std::vector<TestEntry>>& layers) {
  Tree out;
  for (const auto& layer : layers) apply_listing(listing_of(layer), out);
  return out;
}

std::string text_of(const std::vector<Change>& changes) {
  std::string out;
  for (const Change& change : changes) {
    out += cat(out.empty() ? "" : " ", change.kind == Change::Kind::kAdded ? "+" : change.kind == Change::Kind::kRemoved ? "-" : "~", change.path);
    for (std::string_view what : change.what) out += cat(":", what);
  }
  return out;
}

TEST(ImageDiff, TellsWhatWasAddedChangedAndRemoved) {
  TestEntry owned = file_entry("a", "1");
  owned.entry.uid = 7;
  TestEntry marked = file_entry("a", "1");
  marked.entry.xattrs["user.x"] = "y";
  TestEntry later = file_entry("a", "1");
  later.entry.mtime_seconds = 1;
  struct Case {
    const char* name;
    std::vector<TestEntry> before, after;
    const char* want;
  };
  const Case cases[] = {
      {"nothing", {file_entry("a", "1")}, {file_entry("./a", "1")}, ""},
      {"times do not count", {file_entry("a", "1")}, {later}, ""},
      {"content of the same length", {file_entry("a", "1")}, {file_entry("a", "2")}, "~a:content"},
      {"mode", {file_entry("a", "1")}, {file_entry("a", "1", 0600)}, "~a:mode"},
      {"owner", {file_entry("a", "1")}, {owned}, "~a:owner"},
      {"attributes", {file_entry("a", "1")}, {marked}, "~a:attributes"},
      {"type", {file_entry("a", "1")}, {typed_entry(Type::kDirectory, "a/")}, "~a:type"},
      {"a link's target", {typed_entry(Type::kSymlink, "a", "x")}, {typed_entry(Type::kSymlink, "a", "y", 0777)}, "~a:content"},
      {"a second name is the file", {file_entry("a", "1"), file_entry("b", "1")}, {file_entry("a", "1"), typed_entry(Type::kHardLink, "b", "a")}, ""},
      {"below a directory", {typed_entry(Type::kDirectory, "d"), file_entry("d/x", "1")}, {file_entry("e", "1")}, "-d -d/x +e"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(text_of(compare_trees(tree_of({c.before}), tree_of({c.after}))), c.want);
  }
}

TEST(ImageDiff, LayersHideWhatTheyReplaceAndWhiteOut) {
  std::vector<TestEntry> base = {typed_entry(Type::kDirectory, "d"), file_entry("d/x", "1"), file_entry("d/y", "1"), typed_entry(Type::kDirectory, "e"), file_entry("e/x", "1"), file_entry("dx", "1")};
  EXPECT_EQ(text_of(compare_trees(tree_of({base}), tree_of({base, {file_entry("d/.wh.x", "")}}))), "-d/x");
  EXPECT_EQ(text_of(compare_trees(tree_of({base}), tree_of({base, {file_entry(".wh.d", "")}}))), "-d -d/x -d/y");
  // What the layer itself puts there stays, wherever in it the mark stands.
  EXPECT_EQ(text_of(compare_trees(tree_of({base}), tree_of({base, {typed_entry(Type::kDirectory, "d"), file_entry("d/new", ""), file_entry("d/.wh..wh..opq", "")}}))), "+d/new -d/x -d/y");
  EXPECT_EQ(text_of(compare_trees(tree_of({base}), tree_of({base, {file_entry("e", "2")}}))), "~e:type -e/x");
}

TEST(ImageDiff, ReadsASavedArchiveWhicheverWayItsLayersCame) {
  for (codec::Compression compression : {codec::Compression::kNone, codec::Compression::kGzip, codec::Compression::kZstd}) {
    TestImage image{.layers = {make_tar({file_entry("{a", "1")}), make_tar({file_entry("b", "22")})}, .compression = compression};
    image.build();
    std::string tar = image.tar();
    codec::MemorySource source(tar);
    auto saved = read_saved_images(source, {});
    ASSERT_TRUE(saved) << saved.error().message();
    ASSERT_EQ(saved->images.size(), 1u);
    EXPECT_EQ(saved->images[0].id, image.id());
    Tree tree;
    for (const SavedLayer& layer : saved->images[0].layers) apply_listing(*layer.listing, tree);
    EXPECT_EQ(text_of(compare_trees({}, tree)), "+b +{a");
    EXPECT_EQ(tree.at("b").bytes, 2u);
  }
}

TEST(ImageDiff, AnArchiveThatIsNotWhatItSaysIsRefused) {
  TestImage image{.layers = {make_tar({file_entry("a", "1")})}};
  image.build();
  for (std::size_t i = 0; i < image.files.size(); ++i) {
    if (!image.files[i].first.starts_with("blobs/")) continue;
    TestImage broken = image;
    std::string& bytes = broken.files[i].second;
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    std::string tar = broken.tar();
    codec::MemorySource source(tar);
    EXPECT_FALSE(read_saved_images(source, {})) << image.files[i].first;
    TestImage lacking = image;
    lacking.files.erase(lacking.files.begin() + static_cast<std::ptrdiff_t>(i));
    tar = lacking.tar();
    codec::MemorySource without(tar);
    auto out = read_saved_images(without, {});
    ASSERT_FALSE(out);
    EXPECT_TRUE(out.error().message().contains("lacks")) << out.error().message();
  }
}

}  // namespace
}  // namespace monopod::image
