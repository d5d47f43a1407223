#include "image/unpack.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/strings.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using Type = TarEntry::Type;

// A root beside a directory that nothing may touch.
struct Playground {
  TemporaryDirectory directory;
  std::string outside = directory / "outside", root = directory / "root";
  std::atomic<bool> stop{false};

  Playground() {
    ::mkdir(outside.c_str(), 0755);
    ::mkdir(root.c_str(), 0755);
    write_text(outside + "/secret", "secret");
    ::mkdir((outside + "/dir").c_str(), 0700);
  }
  Result<Unpacked> unpack(std::string_view tar, UnpackLimits limits = {}) {
    codec::MemorySource source(tar);
    return unpack_layer(source, *sys::Root::open(root), limits, stop);
  }
  std::string message(std::string_view tar, UnpackLimits limits = {}) {
    auto r = unpack(tar, limits);
    return r ? "ok" : r.error().message();
  }
};

TestEntry absolute_link(const std::string& name, const std::string& target) { return typed_entry(Type::kSymlink, name, target, 0777); }

TEST(Unpack, HostileNamesNeverReachOutside) {
  Playground p;
  const std::string before = tree_digest(p.outside);
  const std::string up = "../outside/";
  struct Case { const char* name; std::vector<TestEntry> entries; };
  std::vector<Case> cases = {
      {"dot-dot", {file_entry("../outside/new", "x")}},
      {"dot-dot inside", {file_entry("a/../../outside/new", "x")}},
      {"absolute", {file_entry(p.outside + "/new", "x")}},
      {"symlink then file", {absolute_link("l", p.outside), file_entry("l/new", "x")}},
      {"relative symlink then file", {absolute_link("l", "../outside"), file_entry("l/new", "x")}},
      {"symlink replaced by file", {absolute_link("l", p.outside + "/secret"), file_entry("l", "overwritten")}},
      {"symlink then directory", {absolute_link("l", p.outside + "/dir"), typed_entry(Type::kDirectory, "l/", {}, 0777)}},
      {"symlink chain", {absolute_link("a", "b"), absolute_link("b", "../outside"), file_entry("a/new", "x"), typed_entry(Type::kDirectory, "a/dir/", {}, 0777)}},
      {"hard link escape", {typed_entry(Type::kHardLink, "h", p.outside + "/secret"), file_entry("h", "x")}},
      {"hard link dot-dot", {typed_entry(Type::kHardLink, "h", "../outside/secret")}},
      {"hard link through symlink", {absolute_link("l", p.outside), typed_entry(Type::kHardLink, "h", "l/secret"), file_entry("h", "x", 0777)}},
      {"hard link to symlink, then attributes", {absolute_link("l", p.outside + "/secret"), typed_entry(Type::kHardLink, "h", "l", 0777), file_entry("h", "x", 0777)}},
      {"hard link to itself", {typed_entry(Type::kHardLink, "h", "h")}},
      {"whiteout of dot-dot", {file_entry("dir/.wh...", "")}},
      {"whiteout of dot", {file_entry(".wh..", "")}},
      {"whiteout of nothing", {file_entry(".wh.", "")}},
      {"whiteout through symlink", {absolute_link("l", p.outside), file_entry("l/.wh.secret", ""), file_entry("l/.wh..wh..opq", "")}},
      {"whiteout as directory", {file_entry(".wh.x/y", "x")}},
      {"empty and dot", {file_entry(".", "x")}},
      {"root as symlink", {absolute_link("./", p.outside)}},
      {"device in symlinked directory", {absolute_link("l", p.outside), typed_entry(Type::kFifo, "l/fifo")}},
      {"file as directory", {file_entry("f", "x"), file_entry("f/new", "x")}},
      {"deep", {file_entry(std::string(700, 'd') + "/x", "x")}},
      {"proc magic link", {absolute_link("l", "/proc/self/root"), file_entry("l" + p.outside + "/new", "x")}},
  };
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "d/";
  cases.push_back({"600 levels", {file_entry(deep + "x", "x")}});
  cases.push_back({"4 KiB name", {file_entry(std::string(4096, 'n'), "x")}});
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::filesystem::remove_all(p.root);
    ::mkdir(p.root.c_str(), 0755);
    (void)p.unpack(make_tar(c.entries));
    EXPECT_EQ(tree_digest(p.outside), before);
  }
}

TEST(Unpack, RefusalsNameTheEntry) {
  Playground p;
  EXPECT_EQ(p.message(make_tar({file_entry("a/../../b", "x")})), "unpack a/../../b: name contains \"..\"");
  EXPECT_EQ(p.message(make_tar({file_entry(std::string(256, 'n'), "x")})), cat("unpack ", std::string(200, 'n'), ": a name component of 256 bytes"));
  EXPECT_NE(p.message(make_tar({typed_entry(Type::kHardLink, "h", "absent")})).find("unpack h: hard link to absent"), std::string::npos);
}

TEST(Unpack, CapsOnBytesAndEntriesHold) {
  Playground p;
  EXPECT_EQ(p.message(make_tar({file_entry("a", std::string(100, 'x'))}), {.bytes_max = 100}), "ok");
  EXPECT_EQ(p.message(make_tar({file_entry("a", std::string(101, 'x'))}), {.bytes_max = 100}), "unpack a: layer exceeds 100 bytes unpacked");
  EXPECT_NE(p.message(make_tar({file_entry("a", ""), file_entry("b", "")}), {.entries_max = 1}), "ok");
  TestEntry huge = file_entry("huge", "");
  huge.entry.xattrs["user.x"] = std::string(2U << 20, 'v');
  EXPECT_NE(p.message(make_tar({huge})).find("extension header of"), std::string::npos);
}

TEST(Unpack, WhiteoutsHideOnlyWhatIsBelow) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes device nodes";
  Playground p;
  ASSERT_EQ(p.message(make_tar({file_entry("own", "x"), file_entry(".wh.own", ""), file_entry(".wh.file", ""), file_entry("file", "new"), file_entry(".wh.dir", ""),
                                typed_entry(Type::kDirectory, "dir/"), file_entry(".wh.implied", ""), file_entry("implied/x", "x"), file_entry(".wh.gone", "")})), "ok");
  EXPECT_EQ(read_text(p.root + "/own"), "x");
  EXPECT_EQ(read_text(p.root + "/file"), "new");
  char value[8];
  EXPECT_EQ(::getxattr((p.root + "/dir").c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
  EXPECT_EQ(::getxattr((p.root + "/implied").c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
  struct ::stat st{};
  ::lstat((p.root + "/gone").c_str(), &st);
  EXPECT_TRUE(S_ISCHR(st.st_mode) && st.st_rdev == 0);
}

TEST(Unpack, OverlayAttributesOfAnImageAreDropped) {
  Playground p;
  TestEntry dir = typed_entry(Type::kDirectory, "d/");
  dir.entry.xattrs = {{"trusted.overlay.redirect", "/etc"}, {"user.overlay.redirect", "/etc"}, {"user.kept", "yes"}};
  ASSERT_EQ(p.message(make_tar({dir})), "ok");
  char value[16];
  EXPECT_LT(::getxattr((p.root + "/d").c_str(), "trusted.overlay.redirect", value, sizeof value), 0);
  EXPECT_LT(::getxattr((p.root + "/d").c_str(), "user.overlay.redirect", value, sizeof value), 0);
}

TEST(Unpack, GnuTarsSparseLongAndPaxFormsAreRead) {
  if (std::system("tar --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "needs GNU tar";
  TemporaryDirectory source;
  std::string long_dir = source / std::string(150, 'l');
  ::mkdir(long_dir.c_str(), 0755);
  write_text(long_dir + "/" + std::string(120, 'f'), "long");
  ASSERT_EQ(::symlink(std::string(180, 't').c_str(), (source / "link").c_str()), 0);
  std::string sparse = source / "sparse";
  write_text(sparse, "start");
  ASSERT_EQ(::truncate(sparse.c_str(), 3 << 20), 0);
  {
    std::fstream f(sparse, std::ios::in | std::ios::out | std::ios::binary);
    for (int i = 0; i < 12; ++i) {
      f.seekp(100'000 + i * 200'000);
      f << "middle" << i;
    }
  }
  for (const char* format : {"--format=gnu -S", "--format=posix -S --sparse-version=1.0", "--format=posix -S --sparse-version=0.1", "--format=posix -S --sparse-version=0.0", "--format=gnu", "--format=posix"}) {
    SCOPED_TRACE(format);
    Playground p;
    std::string archive = p.directory / "a.tar";
    ASSERT_EQ(std::system(cat("tar ", format, " -C ", source.path(), " -cf ", archive, " .").c_str()), 0);
    ASSERT_EQ(p.message(read_text(archive)), "ok");
    EXPECT_EQ(std::system(cat("diff -r --no-dereference ", source.path(), " ", p.root).c_str()), 0);
    struct ::stat st{};
    ::stat((p.root + "/sparse").c_str(), &st);
    if (std::string_view(format).contains("-S")) EXPECT_LT(st.st_blocks * 512, 2 << 20);
  }
}

TEST(Unpack, DamagedArchivesNeverCrashOrEscape) {
  Playground p;
  const std::string before = tree_digest(p.outside);
  TestEntry with_xattr = file_entry("x/y", std::string(700, 'd'));
  with_xattr.entry.xattrs["user.a"] = "b";
  const std::string good = make_tar({typed_entry(Type::kDirectory, "x/"), with_xattr, typed_entry(Type::kHardLink, "h", "x/y"), absolute_link("l", p.outside), file_entry(std::string(150, 'n') + "/q", "1"), file_entry("x/.wh.z", "")});
  SeededRng rng(21);
  for (int i = 0; i < 600; ++i) {
    std::string bad = good;
    // Damage with right checksums, so that more than the checksum test is reached.
    for (std::uint64_t k = rng.below(3) + 1; k > 0; --k) bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    for (std::size_t at = 0; at + 512 <= bad.size(); at += 512) {
      if (good.compare(at + 257, 5, "ustar") != 0 || rng.below(8) == 0) continue;
      unsigned sum = 8 * ' ';
      for (std::size_t b = 0; b < 512; ++b)
        if (b < 148 || b >= 156) sum += static_cast<unsigned char>(bad[at + b]);
      std::snprintf(bad.data() + at + 148, 8, "%06o", sum);
    }
    if (rng.below(4) == 0) bad.resize(rng.below(bad.size()));
    (void)p.unpack(bad, {.bytes_max = 1U << 20, .entries_max = 100});
  }
  EXPECT_EQ(tree_digest(p.outside), before);
}

}  // namespace
}  // namespace monopod::image
