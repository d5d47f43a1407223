#include "build/copy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/test_archives.h"

namespace monopod::build {
namespace {

using image::read_text;
using image::TemporaryDirectory;
using image::write_text;

struct Trees {
  TemporaryDirectory from, into;
  sys::Root source = *sys::Root::open(from.path()), target = *sys::Root::open(into.path());
  CopySource all{.root = source};
  CopyOptions options(std::string destination) const {
    return {.destination = std::move(destination), .owner = std::pair<std::uint32_t, std::uint32_t>{::getuid(), ::getgid()}, .mode = {}};
  }
  Trees() {
    std::filesystem::create_directories(from / "d/e");
    write_text(from / "a.txt", "A");
    write_text(from / "b.txt", "B");
    write_text(from / "d/x", "X");
    write_text(from / "d/e/y", "Y");
    std::filesystem::create_symlink("/etc/passwd", from / "d/out");
  }
  Result<> copy(std::vector<std::string> words, std::string destination) const {
    TRY_ASSIGN(std::vector<std::string> paths, find_sources(all, words));
    return copy_sources(all, paths, target, options(std::move(destination)));
  }
};

TEST(Copy, FilesAndDirectoriesGoWhereTheyBelong) {
  Trees t;
  EXPECT_TRUE(t.copy({"a.txt"}, "/new/name"));
  EXPECT_TRUE(t.copy({"a.txt"}, "/dir/"));
  EXPECT_TRUE(t.copy({"*.txt", "d"}, "/many/"));
  EXPECT_TRUE(t.copy({"b.txt"}, "/dir"));  // is a directory by now
  EXPECT_EQ(read_text(t.into / "new/name"), "A");
  EXPECT_EQ(read_text(t.into / "dir/a.txt"), "A");
  EXPECT_EQ(read_text(t.into / "dir/b.txt"), "B");
  EXPECT_EQ(read_text(t.into / "many/b.txt"), "B");
  EXPECT_EQ(read_text(t.into / "many/x"), "X");
  EXPECT_EQ(read_text(t.into / "many/e/y"), "Y");
  EXPECT_EQ(std::filesystem::read_symlink(t.into / "many/out").string(), "/etc/passwd");  // a link below stays one
  EXPECT_EQ(t.copy({"a.txt"}, "/many/e").has_value(), true);
  EXPECT_EQ(t.copy({"d"}, "/new/name").error().message(), "cannot copy directory d over the file /new/name");
  EXPECT_EQ(t.copy({"none"}, "/").error().message(), "\"/none\": not found");
  EXPECT_EQ(t.copy({"*.none"}, "/").error().message(), "no files match \"*.none\"");
}

TEST(Copy, WhatIsTakenBackOfAnIgnoredDirectoryIsCopiedWithoutIt) {
  for (const char* text : {"d\n!d/e/y\n!d/out\n", "d/*\n!d/e/y\n!d/out\n", "**/*\n!d/e/y\n!d/out\n"}) {
    SCOPED_TRACE(text);
    Trees t;
    IgnoreList ignore = *IgnoreList::parse(text);
    CopySource from{.root = t.source, .ignore = &ignore};
    Result<> done = copy_sources(from, {"."}, t.target, t.options("/to/"));
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(read_text(t.into / "to/d/e/y"), "Y");
    EXPECT_EQ(std::filesystem::read_symlink(t.into / "to/d/out").string(), "/etc/passwd");
    EXPECT_FALSE(std::filesystem::exists(t.into / "to/d/x"));
  }
}

TEST(Copy, NothingLeadsOutOfEitherTree) {
  Trees t;
  TemporaryDirectory outside;
  write_text(outside / "secret", "S");
  std::filesystem::create_directory_symlink(outside.path(), t.from / "way");
  EXPECT_FALSE(t.copy({"way/secret"}, "/x"));
  EXPECT_FALSE(t.copy({"../../../../" + (outside / "secret")}, "/x"));
  std::filesystem::create_directory_symlink(outside.path(), t.into / "way");
  EXPECT_FALSE(t.copy({"a.txt"}, "/way/"));
  EXPECT_FALSE(std::filesystem::exists(outside / "a.txt"));
  std::filesystem::create_symlink(outside / "secret", t.into / "file");
  EXPECT_TRUE(t.copy({"a.txt"}, "/file"));  // the link is replaced, not followed
  EXPECT_EQ(read_text(outside / "secret"), "S");
}

TEST(Copy, IgnoredFilesAreNotThereUnlessTakenBack) {
  Trees t;
  IgnoreList ignore = *IgnoreList::parse("d\n!d/e\n*.txt\n");
  CopySource source{.root = t.source, .ignore = &ignore};
  EXPECT_FALSE(find_sources(source, {"a.txt"}));
  auto paths = find_sources(source, {"."});
  ASSERT_TRUE(paths);
  ASSERT_TRUE(copy_sources(source, *paths, t.target, t.options("/")));
  EXPECT_TRUE(std::filesystem::exists(t.into / "d/e/y"));
  EXPECT_FALSE(std::filesystem::exists(t.into / "d/x"));
  EXPECT_FALSE(std::filesystem::exists(t.into / "a.txt"));
}

TEST(Copy, TheDigestIsOverWhatIsCopied) {
  Trees t;
  auto digest = [&t](std::vector<std::string> paths) { return *digest_sources(t.all, paths); };
  std::string all = digest({"."});
  std::filesystem::last_write_time(t.from / "a.txt", std::filesystem::file_time_type::min() + std::chrono::hours(1'000'000));
  EXPECT_EQ(digest({"."}), all);
  EXPECT_NE(digest({"a.txt"}), digest({"b.txt"}));
  write_text(t.from / "d/x", "Z");
  EXPECT_NE(digest({"."}), all);
  write_text(t.from / "d/x", "X");
  EXPECT_EQ(digest({"."}), all);
  ::chmod((t.from / "d/x").c_str(), 0700);
  EXPECT_NE(digest({"."}), all);
}

TEST(FileMode, ClausesAreThoseOfChmod) {
  struct Case {
    const char* text;
    std::uint32_t mode, file, directory;
  };
  for (const Case& c : std::initializer_list<Case>{{"755", 0, 0755, 0755},
                                                   {"4755", 0, 04755, 04755},
                                                   {"u+x", 0644, 0744, 0744},
                                                   {"+x", 0640, 0751, 0751},
                                                   {"a-w", 0666, 0444, 0444},
                                                   {"go=", 0777, 0700, 0700},
                                                   {"u=rwX,go=rX", 0600, 0644, 0755},
                                                   {"u=rwX,go=rX", 0700, 0755, 0755},
                                                   {"g=u", 0740, 0770, 0770},
                                                   {"o=g-w", 0670, 0675, 0675},
                                                   {"ug+s", 0755, 06755, 06755},
                                                   {"+t", 0777, 01777, 01777}}) {
    auto mode = FileMode::parse(c.text);
    ASSERT_TRUE(mode) << c.text;
    EXPECT_EQ(mode->apply(c.mode, false), c.file) << c.text;
    EXPECT_EQ(mode->apply(c.mode, true), c.directory) << c.text;
  }
  for (const char* text : {"", "u", "u?x", "u=rwz", "789", "17777", "0x1", ",u+x", "u+x,"}) EXPECT_FALSE(FileMode::parse(text)) << text;
}

}  // namespace
}  // namespace monopod::build
