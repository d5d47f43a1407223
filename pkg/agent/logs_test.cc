#include "agent/logs.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "async/test_support.h"

namespace monopod::agent {
namespace {

struct LogFixture {
  LogFixture() {
    char name[] = "/tmp/monopod-log.XXXXXX";
    dir = ::mkdtemp(name);
    path = dir + "/0.log";
    std::ofstream(path) << "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n2026-01-01T00:00:03Z stdout P thr\n2026-01-01T00:00:03Z stdout F ee\n"
                           "2026-01-01T00:00:04Z stdout F four\n";
  }
  ~LogFixture() { std::filesystem::remove_all(dir); }
  std::string dir, path;
};

async::Task<Result<>> collect(LogFixture& f, LogOptions options, std::string& out) {
  async::RealTime time;
  async::Pool pool(1);
  struct Writer {
    static async::Task<Result<>> add(std::string& to, SharedBytes bytes) {
      to += *bytes;
      co_return Result<>();
    }
  };
  LogStream stream{.time = time, .pool = pool, .path = f.path, .options = options, .write = [&out](SharedBytes b) { return Writer::add(out, std::move(b)); }, .ended = [] { return true; }};
  co_return co_await stream_log(std::move(stream));
}

std::string read(LogFixture& f, const LogOptions& options) {
  std::string out;
  async::run_test([&](async::Loop&) { return collect(f, options, out); });
  return out;
}

TEST(Logs, OptionsSelectWhatIsSent) {
  LogFixture f;
  EXPECT_EQ(read(f, {}), "one\ntwo\nthree\nfour\n");
  EXPECT_EQ(read(f, {.tail_lines = 1}), "four\n");
  EXPECT_EQ(read(f, {.tail_lines = 0}), "");
  EXPECT_EQ(read(f, {.timestamps = true, .tail_lines = 1}), "2026-01-01T00:00:04Z four\n");
  EXPECT_EQ(read(f, {.limit_bytes = 5}), "one\nt");
  EXPECT_EQ(read(f, {.stream = "Stderr"}), "two\n");
  EXPECT_EQ(read(f, {.since = *parse_rfc3339("2026-01-01T00:00:03Z")}), "three\nfour\n");
  EXPECT_EQ(read(f, {.follow = true}), "one\ntwo\nthree\nfour\n") << "an ended container is not followed for ever";
}

TEST(Logs, RotatedFilesBelongToTheLog) {
  LogFixture f;
  auto write = [&f](const std::string& name, const std::string& text) { std::ofstream(f.path + name, std::ios::app) << "2026-01-01T00:00:00Z stdout F " << text << "\n"; };
  write(".1", "zero");
  write(".2", "oldest");
  write(".2", "older");
  EXPECT_EQ(read(f, {}), "one\ntwo\nthree\nfour\n") << "as a kubelet reads it";
  EXPECT_EQ(read(f, {.rotated = true}), "oldest\nolder\nzero\none\ntwo\nthree\nfour\n");
  EXPECT_EQ(read(f, {.rotated = true, .tail_lines = 4}), "two\nthree\nfour\n");
  EXPECT_EQ(read(f, {.rotated = true, .tail_lines = 5}), "one\ntwo\nthree\nfour\n");
  EXPECT_EQ(read(f, {.rotated = true, .tail_lines = 7}), "older\nzero\none\ntwo\nthree\nfour\n");
  EXPECT_EQ(read(f, {.rotated = true, .tail_lines = 60}), "oldest\nolder\nzero\none\ntwo\nthree\nfour\n");
}

TEST(Logs, NothingIsLostToRotationsWhileItIsFollowed) {
  LogFixture f;
  async::RealTime time;
  async::Pool pool(1);
  std::string out;
  struct Writer {
    static async::Task<Result<>> add(LogFixture& at, std::string& to, SharedBytes bytes) {
      if (to.empty()) {  // meanwhile: one more line, and two rotations
        auto write = [&at](const std::string& name, const std::string& text) { std::ofstream(at.path + name, std::ios::app) << "2026-01-01T00:00:00Z stdout F " << text << "\n"; };
        write("", "late");
        std::filesystem::rename(at.path, at.path + ".2");
        write(".1", "between");
        write("", "last");
      }
      to += *bytes;
      co_return Result<>();
    }
  };
  async::run_test([&](async::Loop&) {
    return stream_log({.time = time, .pool = pool, .path = f.path, .options = {.follow = true, .tail_lines = 1}, .write = [&](SharedBytes b) { return Writer::add(f, out, std::move(b)); }, .ended = [] { return true; }});
  });
  EXPECT_EQ(out, "four\nlate\nbetween\nlast\n");
}

TEST(Logs, QueryIsReadAndJudged) {
  WallTime now{std::chrono::seconds(100)};
  auto o = parse_log_options("follow=true&tailLines=5&sinceSeconds=40&timestamps=true&limitBytes=9", now);
  ASSERT_TRUE(o);
  EXPECT_TRUE(o->follow && o->timestamps);
  EXPECT_EQ(o->tail_lines, 5);
  EXPECT_EQ(o->limit_bytes, 9);
  EXPECT_EQ(o->since, WallTime{std::chrono::seconds(60)});
  EXPECT_FALSE(parse_log_options("tailLines=-1", now));
  EXPECT_FALSE(parse_log_options("tailLines=x", now));
  EXPECT_FALSE(parse_log_options("sinceTime=yesterday", now));
}

TEST(Logs, TailForTerminationMessagesIsPlainText) {
  LogFixture f;
  EXPECT_EQ(read_log_tail(f.path, 2, 100), "ee\nfour\n");
  EXPECT_EQ(read_log_tail(f.path, 80, 5), "four\n");
  EXPECT_EQ(read_log_tail("/nothing/here", 80, 5), "");
}

}  // namespace
}  // namespace monopod::agent
