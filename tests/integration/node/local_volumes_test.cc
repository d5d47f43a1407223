// The directories of volumes: what is removed is gone at once for who looks, and in the end for the disk, whoever dies between.
#include "cmd/node/local_volumes.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "async/scope.h"
#include "async/test_support.h"

namespace monopod::cmd {
namespace {

namespace fs = std::filesystem;

struct Bench {
  explicit Bench(async::Loop& loop) : executor(loop.executor()), pool(1) {
    char name[] = "/tmp/local_volumes_test.XXXXXX";
    top = ::mkdtemp(name);
    dir = top + "/volumes";
  }
  ~Bench() { fs::remove_all(top); }
  void write(const std::string& path) const {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << "data";
  }

  async::Executor executor;
  async::Pool pool;
  std::string top, dir;
};

// Runs the deletions until nothing is left of them.
async::Task<Result<>> empty(Bench& bench, LocalVolumes& volumes) {
  async::Scope scope(bench.executor);
  scope.spawn(volumes.run());
  async::RealTime time;
  while (fs::exists(bench.dir + "/.removed") && !fs::is_empty(bench.dir + "/.removed")) CO_TRY(co_await time.sleep_for(std::chrono::milliseconds(1)));
  scope.cancel();
  (void)co_await scope.join();
  co_return Result<>();
}

async::Task<Result<>> life_of_a_volume(Bench& bench) {
  LocalVolumes volumes(bench.executor, bench.pool, bench.dir, "n1");
  EXPECT_FALSE(fs::exists(bench.dir)) << "nothing is made before the first volume";
  CO_TRY(co_await volumes.remove("pvc-1"));  // absent is no error
  CO_TRY_ASSIGN(std::string path, co_await volumes.make("pvc-1"));
  EXPECT_EQ(path, bench.dir + "/pvc-1");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0777)) << "whatever the umask";
  EXPECT_EQ(fs::status(bench.dir).permissions(), fs::perms(0700));
  bench.write(path + "/a/b");
  bench.write(bench.top + "/outside");
  fs::create_symlink(bench.top + "/outside", path + "/link");
  fs::permissions(path, fs::perms(0750));
  CO_TRY(co_await volumes.make("pvc-1"));
  EXPECT_TRUE(fs::exists(path + "/a/b")) << "one that is there stays as it is";
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0750));
  CO_TRY(co_await volumes.remove("pvc-1"));
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(fs::exists(bench.dir + "/.removed/pvc-1/a/b"));
  CO_TRY(co_await volumes.make("pvc-1"));  // again, while the first is still being deleted
  CO_TRY(co_await volumes.remove("pvc-1"));
  CO_TRY(co_await empty(bench, volumes));
  EXPECT_TRUE(fs::exists(bench.top + "/outside")) << "what a link leads to is another's";
  co_return Result<>();
}

async::Task<Result<>> after_a_death(Bench& bench) {
  bench.write(bench.dir + "/.removed/pvc-1/a/b");
  bench.write(bench.dir + "/pvc-2/kept");
  LocalVolumes volumes(bench.executor, bench.pool, bench.dir, "n1");
  CO_TRY(co_await empty(bench, volumes));
  EXPECT_TRUE(fs::is_empty(bench.dir + "/.removed"));
  EXPECT_TRUE(fs::exists(bench.dir + "/pvc-2/kept"));
  co_return Result<>();
}

async::Task<Result<>> bad_names(Bench& bench) {
  LocalVolumes volumes(bench.executor, bench.pool, bench.dir, "n1");
  for (const char* name : {"", ".", "..", ".removed", "../x", "a/b", "A", "a\n"}) {
    Result<std::string> made = co_await volumes.make(name);
    EXPECT_FALSE(made) << name;
    Result<> removed = co_await volumes.remove(name);
    EXPECT_FALSE(removed) << name;
  }
  co_return Result<>();
}

template <async::Task<Result<>> (*body)(Bench&)>
async::Task<Result<>> with_bench(async::Loop& loop) {
  Bench bench(loop);
  co_return co_await body(bench);
}
TEST(LocalVolumes, ADirectoryIsMadeKeptAndTakenAway) { async::run_test(with_bench<life_of_a_volume>); }
TEST(LocalVolumes, WhatADeathLeftIsDeletedAtTheNextStart) { async::run_test(with_bench<after_a_death>); }
TEST(LocalVolumes, NamesThatLeadElsewhereAreRefused) { async::run_test(with_bench<bad_names>); }

}  // namespace
}  // namespace monopod::cmd
