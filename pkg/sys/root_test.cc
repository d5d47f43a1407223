#include "sys/root.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/strings.h"

namespace monopod::sys {
namespace {

class RootTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/root_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    base_ = name;
    std::filesystem::create_directory(base_ + "/in");
    std::filesystem::create_directory(base_ + "/out");
    root_.emplace(*Root::open(base_ + "/in"));
  }
  void TearDown() override {
    root_.reset();
    std::filesystem::remove_all(base_);
  }
  std::string base_;
  std::optional<Root> root_;
};

TEST_F(RootTest, AbsoluteSymlinkStaysInside) {
  ASSERT_TRUE(root_->make_directories("etc"));
  ASSERT_TRUE(root_->write_file("etc/passwd", "inside", 0644));
  ASSERT_TRUE(root_->make_symlink("/etc/passwd", "link"));
  EXPECT_EQ(root_->read_file("link", 100).value(), "inside");
}

TEST_F(RootTest, DotDotStopsAtTheRoot) {
  ASSERT_TRUE(root_->write_file("../../../f", "x", 0644));
  EXPECT_TRUE(std::filesystem::exists(base_ + "/in/f"));
  EXPECT_FALSE(std::filesystem::exists(base_ + "/f"));
}

TEST_F(RootTest, WritingDoesNotFollowTheLastLink) {
  ASSERT_TRUE(root_->make_symlink("/target", "link"));
  EXPECT_FALSE(root_->write_file("link", "x", 0644));
  EXPECT_FALSE(std::filesystem::exists(base_ + "/in/target"));
}

TEST_F(RootTest, MagicLinksAreRefused) {
  Result<Root> proc = Root::open("/proc");
  ASSERT_TRUE(proc);
  EXPECT_FALSE(proc->open_file("self/root/etc", O_PATH));
  EXPECT_FALSE(proc->open_file("self/fd/0", O_PATH));
}

TEST_F(RootTest, MakeDirectoriesFollowsLinksInside) {
  ASSERT_TRUE(root_->make_directories("a/b"));
  ASSERT_TRUE(root_->make_symlink("/a", "c"));
  ASSERT_TRUE(root_->make_directories("c/b/d"));
  EXPECT_TRUE(std::filesystem::is_directory(base_ + "/in/a/b/d"));
}

TEST_F(RootTest, DanglingLinkIsNotMadeADirectory) {
  ASSERT_TRUE(root_->make_symlink("/nowhere", "c"));
  EXPECT_FALSE(root_->make_directories("c/d"));
  EXPECT_FALSE(std::filesystem::exists(base_ + "/in/nowhere"));
}

TEST_F(RootTest, RemoveTreeDoesNotFollowLinks) {
  std::filesystem::create_directory(base_ + "/out/keep");
  ASSERT_TRUE(root_->make_directories("a/b/c"));
  ASSERT_TRUE(root_->write_file("a/b/f", "x", 0400));
  std::filesystem::create_directory_symlink(base_ + "/out", base_ + "/in/a/escape");
  ASSERT_TRUE(root_->remove_tree("a"));
  EXPECT_FALSE(std::filesystem::exists(base_ + "/in/a"));
  EXPECT_TRUE(std::filesystem::exists(base_ + "/out/keep"));
  EXPECT_TRUE(root_->remove_tree("a"));
}

TEST_F(RootTest, NamesWithoutLastComponentAreRefused) {
  for (const char* path : {"", ".", "..", "/", "a/..", "a/."}) EXPECT_FALSE(root_->open_parent(path)) << path;
  EXPECT_FALSE(root_->open_parent(std::string("a\0b", 3)));
  EXPECT_FALSE(root_->open_parent(std::string(5000, 'x')));
}

TEST_F(RootTest, LinksNodesRenamesAndListing) {
  ASSERT_TRUE(root_->write_file("a", "1", 0640));
  ASSERT_TRUE(root_->make_hard_link("a", "b"));
  ASSERT_TRUE(root_->rename("b", "c"));
  ASSERT_TRUE(root_->make_symlink("a", "l"));
  EXPECT_EQ(root_->read_link("l").value(), "a");
  EXPECT_TRUE(S_ISLNK(root_->lstat("l")->st_mode));
  EXPECT_TRUE(S_ISREG(root_->stat("l")->st_mode));
  EXPECT_EQ(root_->stat("c")->st_nlink, 2U);
  EXPECT_EQ(root_->read_directory("/")->size(), 3U);
  EXPECT_EQ(root_->read_file("a", 0).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(root_->remove_file("zz").error().code(), Code::kNotFound);
}

// While another thread swaps a directory for a symlink to the outside, nothing we make ever appears there.
TEST_F(RootTest, SwappedComponentsNeverLeadOutside) {
  ASSERT_TRUE(root_->make_directories("d"));
  std::filesystem::create_directory_symlink(base_ + "/out", base_ + "/in/s");
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    while (!stop) ::renameat2(AT_FDCWD, (base_ + "/in/d").c_str(), AT_FDCWD, (base_ + "/in/s").c_str(), RENAME_EXCHANGE);
  });
  for (int i = 0; i < 3000; ++i) {
    (void)root_->make_directories("d/x/y");
    (void)root_->write_file("d/f", "x", 0644);
    (void)root_->remove_tree("d/x");
  }
  stop = true;
  swapper.join();
  EXPECT_TRUE(std::filesystem::is_empty(base_ + "/out"));
}

}  // namespace
}  // namespace monopod::sys
