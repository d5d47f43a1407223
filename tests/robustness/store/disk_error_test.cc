// A disk that fails: I/O errors end all writing, a full disk ends this write alone.
#include <cstring>

#include "base/failpoint.h"
#include "tests/robustness/store/workload.h"
#include "tests/support/crash_vfs/crash_vfs.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

SqliteOptions on(const TempDir& dir, const char* vfs) { return {.path = dir.file(), .compaction = {.interval = std::chrono::seconds(0)}, .vfs = vfs}; }

struct FullDisk {
  CrashVfs& vfs;
  std::int64_t at;
  async::Task<Result<>> operator()(StoreTest& t) { return run(t, vfs, at); }
  static Task<Result<>> run(StoreTest& t, CrashVfs& vfs, std::int64_t at) {
    for (int i = 0; i < 20; ++i) CO_TRY(co_await t.store.put(cat("k", i % 3), share(cat(i))));
    vfs.arm({.fail_at = at, .fail_count = 1, .fail_code = SQLITE_FULL});
    int failures = 0, last = 0;
    std::int64_t before = t.store.current_revision().value;
    for (int i = 0; i < 30; ++i) {
      auto put = co_await t.store.put("full", share(cat(i)));
      if (put) {
        last = i;
        continue;
      }
      ++failures;
      EXPECT_EQ(put.error().code(), Code::kResourceExhausted) << put.error().message();
      CO_TRY_ASSIGN(auto read, co_await t.store.get("k1"));
      EXPECT_TRUE(read) << "reads go on";
    }
    EXPECT_EQ(failures, 1);
    EXPECT_FALSE(t.store.failure());
    EXPECT_EQ(t.store.current_revision().value, before + 29) << "a failed write uses no revision";
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("full"));
    CO_ASSERT_TRUE(kv);
    EXPECT_EQ(*kv->value, cat(last));
    EXPECT_EQ(kv->version, 29);
    co_return Result<>();
  }
};

struct Reopened {
  async::Task<Result<>> operator()(StoreTest& t) { return run(t); }
  static Task<Result<>> run(StoreTest& t) {
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("full"));
    CO_ASSERT_TRUE(kv);
    EXPECT_EQ(kv->version, 29);
    co_return Result<>();
  }
};

TEST(DiskFull, FailsTheWriteAndNothingElse) {
  for (std::int64_t at : {1, 2, 5, 9, 17, 30}) {
    SCOPED_TRACE(cat("full at write ", at));
    TempDir dir;
    CrashVfs vfs("full");
    Result<> done = run_store(on(dir, vfs.name()), FullDisk{vfs, at});
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    done = run_store({.path = dir.file()}, Reopened{});
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
  }
}

struct BadSync {
  CrashVfs& vfs;
  async::Task<Result<>> operator()(StoreTest& t) { return run(t, vfs); }
  static Task<Result<>> run(StoreTest& t, CrashVfs& vfs) {
    CO_TRY(co_await t.store.put("a", share("1")));
    CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a"}));
    vfs.arm({.fail_at = 1, .fail_code = SQLITE_IOERR_FSYNC, .fail_syncs_only = true});
    auto put = co_await t.store.put("a", share("2"));
    EXPECT_EQ(put.error().code(), Code::kUnavailable);
    EXPECT_TRUE(put.error().message().contains("disk I/O error")) << put.error().message();
    std::int64_t syncs = vfs.syncs();
    auto later = co_await t.store.put("a", share("3"));
    EXPECT_EQ(later.error().code(), Code::kUnavailable);
    EXPECT_EQ(vfs.syncs(), syncs) << "a failed fsync is never tried again";
    EXPECT_TRUE(t.store.failure());
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("a"));
    EXPECT_EQ(*kv->value, "1") << "what was not made durable is not shown";
    auto event = co_await watch->next();
    EXPECT_EQ(event.error().code(), Code::kUnavailable);
    co_return Result<>();
  }
};

TEST(DiskError, AFailedFsyncEndsAllWriting) {
  TempDir dir;
  CrashVfs vfs("badsync");
  Result<> done = run_store(on(dir, vfs.name()), BadSync{vfs});
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

struct Clients {
  Journal& journal;
  std::uint64_t seed;
  async::Task<Result<>> operator()(StoreTest& test) { return run_clients(test, journal, seed, 3, 40); }
};
struct Checker {
  Journal& journal;
  async::Task<Result<>> operator()(StoreTest& test) { return check_store(test, journal); }
};

TEST(DiskError, AtTheNthCallLosesNothingAcknowledged) {
  std::int64_t step = long_run() ? 1 : 37;
  for (int code : {SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC, SQLITE_FULL})
    for (std::int64_t at = 1; at < 400; at += step) {
      SCOPED_TRACE(cat("error ", code, " at call ", at));
      TempDir dir;
      CrashVfs vfs("nth");
      SeededRng rng(static_cast<std::uint64_t>(at));
      Journal journal;
      vfs.arm({.fail_at = at, .fail_code = code});
      (void)run_store(on(dir, vfs.name()), Clients{journal, static_cast<std::uint64_t>(at)});
      vfs.lose_power(rng);
      Result<> checked = run_store({.path = dir.file()}, Checker{journal});
      EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
    }
}

// Its commit is whole on the disk before the index fails: who starts next finds it, so it may not be called refused.
struct FullIndex {
  CrashVfs& vfs;
  int& attempts;
  async::Task<Result<>> operator()(StoreTest& t) { return run(t, vfs, attempts); }
  static Task<Result<>> run(StoreTest& t, CrashVfs& vfs, int& attempts) {
    CO_TRY(co_await t.store.put("a", share("1")));
    vfs.arm({.index_full = true});
    SeededRng rng(1);
    Result<Revision> put;
    std::string noise(100'000, '\0');  // does not compress, and a commit of it stays in memory until its end
    for (attempts = 0; put && attempts < 80; ++attempts) {
      for (std::size_t i = 0; i < noise.size(); i += 8) {
        std::uint64_t word = rng.next();
        std::memcpy(&noise[i], &word, sizeof word);
      }
      put = co_await t.store.put(cat("big", attempts), share(noise));
    }
    CO_ASSERT_TRUE(!put);
    EXPECT_EQ(put.error().code(), Code::kUnavailable) << put.error().message();
    EXPECT_TRUE(t.store.failure());
    vfs.arm({.crash_at = 1});
    co_return Result<>();
  }
};
TEST(DiskFull, ForTheIndexLeavesOpenWhetherTheWriteHappened) {
  TempDir dir;
  CrashVfs vfs("index");
  int attempts = 0;
  Result<> done = run_store(on(dir, vfs.name()), FullIndex{vfs, attempts});
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
  vfs.arm({});
  struct Whole {
    int attempts;
    Task<Result<>> operator()(StoreTest& t) { return run(t, attempts); }
    static Task<Result<>> run(StoreTest& t, int attempts) {
      CO_TRY_ASSIGN(RangeResult all, co_await t.store.range({.key = "big", .range_end = prefix_end("big"), .keys_only = true}));
      EXPECT_EQ(all.kvs.size(), static_cast<std::size_t>(attempts)) << "the disk has the last one too; if not, this test tests nothing";
      co_return Result<>();
    }
  };
  test_store({.path = dir.file()}, Whole{attempts});
}

Task<Result<>> half_a_lease(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(std::chrono::seconds(100), LeaseId(7)));
  t.time.advance(std::chrono::seconds(50));  // closing stores what is left
  co_return Result<>();
}
struct KeepAlive {
  CrashVfs& vfs;
  async::Task<Result<>> operator()(StoreTest& t) { return run(t, vfs); }
  static Task<Result<>> run(StoreTest& t, CrashVfs& vfs) {
    vfs.arm({.fail_at = 1, .fail_code = SQLITE_FULL});
    auto kept = co_await t.store.lease_keep_alive(LeaseId(7));
    CO_ASSERT_TRUE(!kept);
    EXPECT_EQ(kept.error().code(), Code::kResourceExhausted) << kept.error().message();
    CO_TRY(co_await t.store.lease_keep_alive(LeaseId(7)));
    vfs.arm({.crash_at = 1});
    co_return Result<>();
  }
};
Task<Result<>> whole_lease(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_time_to_live(LeaseId(7)));
  EXPECT_EQ(lease.remaining, std::chrono::seconds(100)) << "an acknowledged keep-alive is lost";
  co_return Result<>();
}
TEST(DiskFull, DuringAKeepAliveIsMadeGoodByTheNext) {
  TempDir dir;
  CrashVfs vfs("lease");
  SeededRng rng(1);
  test_store({.path = dir.file()}, half_a_lease);
  Result<> done = run_store(on(dir, vfs.name()), KeepAlive{vfs});
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
  vfs.lose_power(rng);
  test_store({.path = dir.file()}, whole_lease);
}

struct RowGone {
  std::string path;
  async::Task<Result<>> operator()(StoreTest& t) { return run(t, path); }
  static Task<Result<>> run(StoreTest& t, const std::string& path) {
    sqlite3* other = nullptr;
    CO_ASSERT_TRUE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(other, "DELETE FROM log", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(other);
    Txn txn;
    txn.compare = {{.key = "a", .target = Compare::Target::kValue, .value = "1"}};
    auto result = co_await t.store.txn(std::move(txn));
    CO_ASSERT_TRUE(!result);
    EXPECT_EQ(result.error().code(), Code::kDataLoss) << result.error().message();
    co_return Result<>();
  }
};
TEST(DiskError, ARowThatVanishedIsToldNotAwaited) {
  TempDir dir;
  test_store({.path = dir.file()}, [](StoreTest& t) -> Task<Result<>> {
    CO_TRY(co_await t.store.put("a", share("1")));
    co_return Result<>();
  });
  test_store({.path = dir.file()}, RowGone{dir.file()});
}

struct Tripped {
  Journal& journal;
  async::Task<Result<>> operator()(StoreTest& test) { return run(test, journal); }
  static Task<Result<>> run(StoreTest& test, Journal& journal) {
    CO_TRY(co_await run_clients(test, journal, 1, 2, 20));
    CO_TRY(arm_failpoints("store.before_commit=2*error"));
    auto failed = co_await test.store.put("f", share("1"));
    EXPECT_EQ(failed.error().message(), "failpoint store.before_commit");
    failed = co_await test.store.put("f", share("1"));
    EXPECT_FALSE(failed);
    CO_TRY(co_await run_clients(test, journal, 2, 2, 20));
    disarm_failpoints();
    co_return co_await check_store(test, journal);
  }
};

TEST(Failpoints, ACommitThatFailsBeforeItsEndIsTakenBack) {
  TempDir dir;
  Journal journal;
  Result<> done = run_store({.path = dir.file()}, Tripped{journal});
  disarm_failpoints();
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

}  // namespace
}  // namespace monopod::testing
