#include "sys/rotating_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "sys/root.h"

namespace monopod::sys {
namespace {

class RotatingFileTest : public ::testing::Test {
 protected:
  RotatingFileTest() {
    char name[] = "/tmp/monopod-rotating-XXXXXX";
    folder_ = ::mkdtemp(name);
    now_ = *parse_rfc3339("2026-01-02T03:04:05.006Z");
  }
  ~RotatingFileTest() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name = "audit.log") const { return folder_ + "/" + name; }
  std::set<std::string> names() const {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) out.insert(entry.path().filename());
    return out;
  }
  std::string folder_;
  WallTime now_;
};

TEST_F(RotatingFileTest, AFullFileIsPutAsideUnderItsTime) {
  auto file = RotatingFile::open(path(), {.bytes_max = 10});
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(file->write("12345678\n", now_));  // 9
  ASSERT_TRUE(file->write("1\n", now_));         // 11: past the limit
  EXPECT_EQ(names(), (std::set<std::string>{"audit.log", "audit-2026-01-02T03-04-05.006.log"}));
  EXPECT_EQ(read_host_file(path()).value(), "1\n");
  ASSERT_TRUE(file->write("1234567\n", now_));  // 10: at it
  EXPECT_EQ(names().size(), 2U);
  ASSERT_TRUE(file->write("a line that is larger than a file\n", now_));  // alone, in the same millisecond
  EXPECT_EQ(names(), (std::set<std::string>{"audit.log", "audit-2026-01-02T03-04-05.006.log", "audit-2026-01-02T03-04-05.007.log"}));
  struct ::stat info = {};
  for (const std::string& name : names()) {
    ASSERT_EQ(::stat(path(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U) << name;
  }
}

TEST_F(RotatingFileTest, LinesThatComeTogetherAreSpreadOverFiles) {
  auto file = RotatingFile::open(path(), {.bytes_max = 10});
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write("123\n567\n9\nthis one is too large for any\n1\n2\n", now_));
  EXPECT_EQ(names().size(), 3U);
  EXPECT_EQ(read_host_file(path("audit-2026-01-02T03-04-05.006.log")).value(), "123\n567\n9\n");
  EXPECT_EQ(read_host_file(path("audit-2026-01-02T03-04-05.007.log")).value(), "this one is too large for any\n");
  EXPECT_EQ(read_host_file(path()).value(), "1\n2\n");
}

TEST_F(RotatingFileTest, OldOnesGoByNumberAndAge) {
  std::ofstream(path("audit-notes.log")) << "not ours";
  std::ofstream(path("audit-2026-01-02T03-04-05.006.txt")) << "not ours";
  std::ofstream(path("audit-2025-12-01T00-00-00.000.log")) << "old";
  auto file = RotatingFile::open(path(), {.bytes_max = 1, .old_files_max = 2, .age_max = std::chrono::days(7)});
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write("0\n", now_));
  ASSERT_TRUE(file->write("1\n", now_));
  EXPECT_FALSE(names().contains("audit-2025-12-01T00-00-00.000.log"));  // of age
  for (int i = 2; i < 6; ++i) ASSERT_TRUE(file->write(std::to_string(i) + "\n", now_ + std::chrono::seconds(i)));
  EXPECT_EQ(names(), (std::set<std::string>{"audit-notes.log", "audit-2026-01-02T03-04-05.006.txt", "audit.log", "audit-2026-01-02T03-04-09.006.log", "audit-2026-01-02T03-04-10.006.log"}));
  EXPECT_EQ(read_host_file(path("audit-2026-01-02T03-04-10.006.log")).value(), "4\n");
}

TEST_F(RotatingFileTest, GoesOnWithWhatIsThereAndMakesWhatIsGone) {
  std::ofstream(path()) << "before\n";
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  auto file = RotatingFile::open(path(), {});
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write("after\n", now_));
  EXPECT_EQ(read_host_file(path()).value(), "before\nafter\n");
  struct ::stat info = {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(::unlink(path().c_str()), 0);
  ASSERT_TRUE(file->write("anew\n", now_));
  EXPECT_EQ(read_host_file(path()).value(), "anew\n");
}

TEST_F(RotatingFileTest, NoLinkIsFollowedAndNoDeviceOpened) {
  std::ofstream(path("target")) << "x";
  ASSERT_EQ(::symlink("target", path().c_str()), 0);
  EXPECT_FALSE(RotatingFile::open(path(), {}));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_FALSE(RotatingFile::open(path("fifo"), {}));
  EXPECT_FALSE(RotatingFile::open(folder_ + "/none/audit.log", {}));
  EXPECT_EQ(read_host_file(path("target")).value(), "x");
}

TEST_F(RotatingFileTest, AFullDiskLeavesNoPartOfALine) {
  auto file = RotatingFile::open(path(), {});
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write("whole\n", now_));
  struct rlimit_guard {
    rlimit_guard() { ::signal(SIGXFSZ, SIG_IGN); ::getrlimit(RLIMIT_FSIZE, &old); }
    ~rlimit_guard() { ::setrlimit(RLIMIT_FSIZE, &old); ::signal(SIGXFSZ, SIG_DFL); }
    struct rlimit old {};
  } guard;
  struct rlimit small = guard.old;
  small.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_FALSE(file->write("does not fit\n", now_));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &guard.old), 0);
  EXPECT_EQ(read_host_file(path()).value(), "whole\n");
  ASSERT_TRUE(file->write("again\n", now_));
  EXPECT_EQ(read_host_file(path()).value(), "whole\nagain\n");
}

}  // namespace
}  // namespace monopod::sys
