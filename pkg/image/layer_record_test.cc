#include "image/layer_record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/strings.h"
#include "image/archive.h"
#include "image/archive_writer.h"
#include "image/blob_reader.h"
#include "image/layer_unpacker.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using Type = TarEntry::Type;

const std::atomic<bool> kGoOn{false};

std::string large(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += std::to_string(out.size() * 2654435761U);
  out.resize(bytes);
  return out;
}

std::vector<LayerForm> usable_forms() {
  TemporaryDirectory directory;
  sys::Root root = *sys::Root::open(directory.path());
  std::vector<LayerForm> out = {LayerForm::kDirectory};
  for (LayerForm form : {LayerForm::kErofs, LayerForm::kErofsZstd}) {
    if (Result<> able = check_layer_form(root, form); able) out.push_back(form);
    else std::fprintf(stderr, "SKIPPED: %s\n", able.error().message().c_str());
  }
  return out;
}

struct Keeping {
  TemporaryDirectory directory;
  std::unique_ptr<Content> content;
  Limits limits;
  explicit Keeping(LayerForm form = LayerForm::kDirectory) { reopen(form); }
  void reopen(LayerForm form) {
    content.reset();
    content = *Content::open(directory / "content", true, form);
  }

  // Staged and published as an image's layer; its name.
  BlobName add(const std::string& blob) {
    codec::MemorySource source(blob);
    auto layer = stage_layer(*content, source, limits, kGoOn);
    EXPECT_TRUE(layer) << layer.error().message();
    const BlobName name{.digest = layer->meta.digest, .diff_id = layer->meta.diff_id, .chain = layer->meta.diff_id};
    EXPECT_TRUE(settle_layer(*content, *layer, name.chain, {}));
    std::vector<StagedLayer> layers;
    layers.push_back(*std::move(layer));
    EXPECT_TRUE(content->publish(layers, {}));
    return name;
  }
  Result<std::string> again(const BlobName& name, bool plain = false) {
    TRY_ASSIGN(auto reader, BlobReader::open(*content, name, plain));
    return codec::read_all(reader->source(), 64U << 20);
  }
  std::string file(const BlobName& name, const std::string& path) const { return content->layer_path(name.diff_id) + "/" + path; }
};

TestEntry sparse_entry(const std::string& name) {
  TestEntry out = file_entry(name, "abcdef");
  out.entry.sparse = true;
  out.entry.size = 10000;
  out.entry.extents = {{0, 2}, {5000, 4}};
  return out;
}

TEST(LayerRecord, GivesEveryTarBackBitForBit) {
  struct Case { const char* name; std::string tar; };
  const std::string two = make_tar({file_entry("a", "first"), file_entry("a", "second, longer"), file_entry("b", "b")});
  const std::vector<Case> cases = {
      {"files", make_tar({file_entry("a", large(300'000)), file_entry("dir/b", ""), file_entry("dir/c", large(513)), typed_entry(Type::kSymlink, "l", "a")})},
      {"long names", make_tar({file_entry(std::string(200, 'n') + "/" + std::string(200, 'm'), "x")})},
      {"a file twice", two},
      {"a file thrice", make_tar({file_entry("a", "1"), file_entry("a", "22"), file_entry("a", "333")})},
      {"through a link", make_tar({typed_entry(Type::kDirectory, "d"), file_entry("d/f", "one"), typed_entry(Type::kSymlink, "s", "d"), file_entry("s/f", "two")})},
      {"a directory becomes a file", make_tar({file_entry("d/e/f", "below"), file_entry("d/g", "too"), file_entry("d", "file")})},
      {"a file becomes a directory", make_tar({file_entry("d", "file"), typed_entry(Type::kDirectory, "d/"), file_entry("d/f", "x")})},
      {"both names of one file are replaced", make_tar({file_entry("a", "shared"), typed_entry(Type::kHardLink, "b", "a"), file_entry("a", "new"), file_entry("b", "newer")})},
      {"a link is replaced", make_tar({file_entry("a", "shared"), typed_entry(Type::kHardLink, "b", "a"), file_entry("b", "new")})},
      {"a file becomes a link", make_tar({file_entry("a", "old"), typed_entry(Type::kSymlink, "a", "/etc/passwd")})},
      {"whiteouts", make_tar({file_entry("d/.wh.x", ""), file_entry("d/.wh..wh..opq", ""), file_entry(".wh..wh.plnk/1", "bookkeeping")})},
      {"sparse", make_tar({sparse_entry("s"), file_entry("t", "x")})},
      {"padded", make_tar({file_entry("a", "x")}) + std::string(20 * 512, '\0')},
      {"no end blocks", make_tar({file_entry("a", std::string(512, 'x'))}).substr(0, 1024)},
      {"empty", std::string(1024, '\0')},
  };
  std::vector<std::pair<LayerForm, Case>> all;
  for (LayerForm form : usable_forms())
    for (const Case& c : cases) all.emplace_back(form, c);
  for (const auto& [form, c] : all) {
    SCOPED_TRACE(cat(c.name, " ", static_cast<int>(form)));
    Keeping k(form);
    const BlobName name = k.add(c.tar);
    EXPECT_EQ(name.digest, digest_of(c.tar));
    EXPECT_FALSE(k.content->has_blob(name.digest));
    auto tar = k.again(name);
    ASSERT_TRUE(tar) << tar.error().message();
    EXPECT_EQ(*tar == c.tar, true);
    for (std::size_t from : {std::size_t{1}, std::size_t{700}, c.tar.size() - 1, c.tar.size(), c.tar.size() + 1}) {
      auto reader = *BlobReader::open(*k.content, name);
      EXPECT_EQ(*reader->source().skip(from), std::min(from, c.tar.size()));
      EXPECT_EQ(*codec::read_all(reader->source(), 64U << 20), c.tar.substr(std::min(from, c.tar.size())));
    }
  }
}

TEST(LayerRecord, ACompressedBlobIsKeptAndItsTarComesFromTheRecord) {
  Keeping k;
  const std::string tar = make_tar({file_entry("a", large(5000))}), blob = *codec::compress(codec::Compression::kGzip, tar);
  const BlobName name = k.add(blob);
  EXPECT_EQ(*k.again(name) == blob, true);
  ASSERT_TRUE(k.content->root().remove_file(Content::blob_entry(name.digest)));
  EXPECT_EQ(*k.again(name, true) == tar, true);
  auto gone = k.again(name);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code(), Code::kFailedPrecondition);
}

TEST(LayerRecord, AFileChangedBehindOurBackIsAnErrorAndNeverGivenOutWhole) {
  const std::string tar = make_tar({file_entry("a", large(5000)), file_entry("b", "x")});
  struct Case { const char* name; void (*change)(const std::string& path); const char* error; };
  const Case cases[] = {
      {"other bytes", [](const std::string& path) { write_text(path, std::string(5000, 'x')); }, "a file of its directory was changed"},
      {"shorter", [](const std::string& path) { EXPECT_EQ(::truncate(path.c_str(), 100), 0); }, "layer file a: shorter than it was"},
      {"gone", [](const std::string& path) { EXPECT_EQ(::unlink(path.c_str()), 0); }, "layer file a: "},
      {"a pipe", [](const std::string& path) { EXPECT_EQ(::unlink(path.c_str()), 0); EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0); }, "layer file a: not a file any more"},
      {"a link outside", [](const std::string& path) { EXPECT_EQ(::unlink(path.c_str()), 0); EXPECT_EQ(::symlink("/etc/passwd", path.c_str()), 0); }, "layer file a: "},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Keeping k;
    const BlobName name = k.add(tar);
    c.change(k.file(name, "a"));
    auto again = k.again(name);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Code::kDataLoss);
    EXPECT_NE(again.error().message().find(c.error), std::string::npos) << again.error().message();
  }
}

TEST(LayerRecord, ALayerThatIsHereWithoutARecordGetsIt) {
  for (LayerForm before : usable_forms())
    for (LayerForm after : usable_forms()) {
      SCOPED_TRACE(cat(static_cast<int>(before), " then ", static_cast<int>(after)));
      Keeping k(before);
      const std::string tar = make_tar({file_entry("a", "first"), file_entry("a", "second")});
      const BlobName name = k.add(tar);
      ASSERT_TRUE(k.content->root().remove_file(Content::layer_entry(name.diff_id) + "/record"));
      ASSERT_TRUE(k.content->root().remove_tree(Content::layer_entry(name.diff_id) + "/kept"));
      k.reopen(after);
      EXPECT_FALSE(k.content->find_layer(name.diff_id, name.chain, name.digest));
      codec::MemorySource source(tar);
      std::vector<StagedLayer> layers;
      layers.push_back(*stage_layer(*k.content, source, k.limits, kGoOn));
      ASSERT_TRUE(settle_layer(*k.content, layers.front(), name.chain, {}));
      ASSERT_TRUE(arm_failpoints("image.between_kept_and_record=1*error"));
      EXPECT_FALSE(k.content->publish(layers, {}));
      EXPECT_FALSE(k.content->find_layer(name.diff_id, name.chain, name.digest));
      disarm_failpoints();
      k.add(tar);
      EXPECT_TRUE(k.content->find_layer(name.diff_id, name.chain, name.digest));
      EXPECT_EQ(*k.again(name) == tar, true);
    }
}

TEST(LayerRecord, ACompressedLayerOfADockerArchiveIsGivenOutPlain) {
  const std::string tar = make_tar({file_entry("bin/x", large(40'000), 0755)});
  for (codec::Compression compression : {codec::Compression::kNone, codec::Compression::kGzip}) {
    Keeping k;
    const std::string archive = k.directory / "archive.tar", out = k.directory / "out.tar";
    const std::string layer = compression == codec::Compression::kNone ? tar : *codec::compress(compression, tar);
    const std::string config = R"({"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[")" + digest_of(tar) + "\"]}}";
    write_text(archive, make_tar({file_entry("c.json", config), file_entry("l/layer.tar", layer), file_entry("manifest.json", R"([{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}])")}));
    sys::Fd in(::open(archive.c_str(), O_RDONLY | O_CLOEXEC)), to(::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    auto images = import_archive(in.get(), *k.content, k.limits, {}, kGoOn);
    ASSERT_TRUE(images) << images.error().message();
    EXPECT_TRUE(k.content->list_blobs().size() == 2);  // the documents
    ASSERT_TRUE(save_archive(*k.content, k.limits, {{.image = images->front(), .references = {}}}, {}, SaveForm::kAsItCame, to.get()));
    EXPECT_NE(read_text(out).find(tar), std::string::npos);
    Keeping other;
    sys::Fd back(::open(out.c_str(), O_RDONLY | O_CLOEXEC));
    auto loaded = import_archive(back.get(), *other.content, other.limits, {}, kGoOn);
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(loaded->front().id, images->front().id);
    EXPECT_EQ(loaded->front().manifest_digest, images->front().manifest_digest);
  }
}

TEST(LayerRecord, WhatIsNoRecordIsRefused) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> cases[] = {
      {"", "truncated"},
      {"MLR2\0\0"s, "unknown format"},
      {"MLR1"s, "truncated"},
      {"MLR1\x01\x05" "abc"s, "truncated"},
      {"MLR1\x01\x03" "abc\0\x04"s, "ends after 3 bytes of 4"},
      {"MLR1\x01\x03" "abc\0\x03x"s, "bytes after its end"},
      {"MLR1\x07"s, "unknown piece"},
      {"MLR1\x03\0\x01"s, "no file before a part of the same"},
      {"MLR1\x02\xff\xff\x03"s, "a name is too long"},
      {"MLR1\x01" + std::string(10, '\xff'), "a number is too long"},
      {"MLR1\x02\x01" "a\x01" + std::string(8, '\xff') + "\x7f\x01"s, "a part of a file is out of bounds"},
  };
  for (const auto& [record, why] : cases) {
    codec::MemorySource source(record);
    LayerTar tar(source, [](const std::string&, std::uint64_t) -> Result<sys::Fd> { return fail(Code::kNotFound, "none"); }, {});
    auto read = codec::read_all(tar, 1U << 20);
    ASSERT_FALSE(read) << why;
    EXPECT_EQ(read.error().code(), Code::kDataLoss);
    EXPECT_NE(read.error().message().find(why), std::string::npos) << read.error().message();
  }
}

}  // namespace
}  // namespace monopod::image
