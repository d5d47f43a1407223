#include "image/layer_pack.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image/test_archives.h"
#include "image/unpack.h"

namespace monopod::image {
namespace {

const std::atomic<bool> kGoOn{false};

std::string pack(const std::string& directory, const PackOptions& options = {}) {
  codec::StringSink out;
  auto root = sys::Root::open(directory);
  auto packed = pack_layer(*root, out, options, kGoOn);
  EXPECT_TRUE(packed) << (packed ? "" : packed.error().message());
  return std::move(out.text());
}

TEST(LayerPack, WhatIsUnpackedIsPackedAgainTheSame) {
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED: needs root for owners, devices and overlayfs's attributes";
  TemporaryDirectory temporary;
  TestEntry hard = typed_entry(TarEntry::Type::kHardLink, "d/z", "d/a");
  hard.entry.mode = 0644;
  TestEntry xattr = file_entry("x", "xx");
  xattr.entry.xattrs["user.note"] = std::string("a\0b", 3);
  TestEntry owned = file_entry("owned", "", 04755);
  owned.entry.uid = 1000;
  owned.entry.gid = 70'000;
  owned.entry.mtime_nanos = 5;
  std::string tar = make_tar({typed_entry(TarEntry::Type::kDirectory, "d/"), file_entry("d/.wh..wh..opq", "", 0), file_entry("d/a", "abc"), hard, typed_entry(TarEntry::Type::kFifo, "fifo", "", 0600), owned,
                              typed_entry(TarEntry::Type::kSymlink, "s", "../up", 0777), file_entry(".wh.gone", "", 0), xattr});
  for (int round = 0; round < 2; ++round) {
    std::string at = temporary / ("r" + std::to_string(round));
    ::mkdir(at.c_str(), 0755);
    auto root = sys::Root::open(at);
    codec::MemorySource source(tar);
    auto unpacked = unpack_layer(source, *root, {}, kGoOn);
    if (!unpacked && unpacked.error().message().find("xattr") != std::string::npos) GTEST_SKIP() << "SKIPPED: " << unpacked.error().message();
    ASSERT_TRUE(unpacked) << unpacked.error().message();
    std::string again = pack(at);
    if (round > 0) EXPECT_EQ(digest_of(again), digest_of(tar));
    tar = again;
  }
  codec::MemorySource source(tar);
  TarReader reader(source);
  std::string names;
  for (TarEntry entry; *reader.next(entry);) names += entry.name + (entry.type == TarEntry::Type::kHardLink ? "=" + entry.link : "") + " ";
  EXPECT_EQ(names, "d/ d/.wh..wh..opq d/a d/z=d/a fifo .wh.gone owned s x ");
}

TEST(LayerPack, TimesAreClampedAndOddNamesRefused) {
  TemporaryDirectory temporary;
  write_text(temporary / "a", "x");
  std::string tar = pack(temporary.path(), {.mtime_max_seconds = 1000});
  codec::MemorySource source(tar);
  TarReader reader(source);
  TarEntry entry;
  ASSERT_TRUE(*reader.next(entry));
  EXPECT_EQ(entry.mtime_seconds, 1000);
  EXPECT_EQ(entry.mtime_nanos, 0U);
  write_text(temporary / ".wh.x", "x");
  codec::StringSink out;
  auto packed = pack_layer(*sys::Root::open(temporary.path()), out, {}, kGoOn);
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().message(), ".wh.x: a file of this name cannot be in a layer");
}

}  // namespace
}  // namespace monopod::image
