// E7: revisions at both ends, leases with odd times, clocks that jump. Codes and texts are etcd's.
#include <boost/asio/post.hpp>

#include "store/limits.h"
#include "store/row.h"
#include "store/statement.h"
#include "store/test_support.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;
using std::chrono::seconds;

const SqliteOptions kMemory{.path = ":memory:"};
constexpr std::string_view kCompacted = "etcdserver: mvcc: required revision has been compacted", kFuture = "etcdserver: mvcc: required revision is a future revision";

Task<Result<>> compactions(StoreTest& t) {
  for (int i = 0; i < 8; ++i) CO_TRY(co_await t.store.put("k", share(cat(i))));  // revision 9
  CO_TRY(co_await t.store.compact(Revision(5)));
  for (auto [revision, text] : {std::pair<std::int64_t, std::string_view>{5, kCompacted}, {4, kCompacted}, {0, kCompacted}, {-1, kCompacted}, {INT64_MIN, kCompacted}, {10, kFuture}, {INT64_MAX, kFuture}}) {
    auto done = co_await t.store.compact(Revision(revision));
    CO_ASSERT_TRUE(!done);
    EXPECT_EQ(done.error().message(), text) << revision;
    EXPECT_EQ(done.error().code(), Code::kOutOfRange);
  }
  for (auto [revision, text] : {std::pair<std::int64_t, std::string_view>{4, kCompacted}, {10, kFuture}, {INT64_MAX, kFuture}}) {
    auto read = co_await t.store.range({.key = "k", .revision = Revision(revision)});
    CO_ASSERT_TRUE(!read);
    EXPECT_EQ(read.error().message(), text) << revision;
    auto txn = co_await t.store.txn({.success = {RangeRequest{.key = "k", .revision = Revision(revision)}, PutRequest{.key = "never", .value = share("x")}}});
    CO_ASSERT_TRUE(!txn);
    EXPECT_EQ(txn.error().message(), text) << revision;
  }
  CO_TRY_ASSIGN(auto never, co_await t.store.get("never"));
  EXPECT_FALSE(never);
  EXPECT_EQ(t.store.current_revision().value, 9) << "a refused transaction uses no revision";
  CO_TRY(co_await t.store.range({.key = "k", .revision = Revision(5)}));
  co_return Result<>();
}
TEST(Edges, CompactionsAndReadsPastAndFutureAreToldApart) { test_store(kMemory, compactions); }

Task<Result<>> delete_at_compaction(StoreTest& t) {
  CO_TRY(co_await t.store.put("k", share("1")));
  CO_TRY_ASSIGN(TxnResult deleted, co_await t.store.txn({.success = {DeleteRequest{.key = "k"}}}));
  CO_TRY(co_await t.store.compact(deleted.revision));
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "k", .start_revision = deleted.revision}));
  CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
  EXPECT_EQ(text_of(batch), "3:delete k");
  CO_TRY_ASSIGN(auto old, co_await t.store.watch({.key = "k", .start_revision = Revision(2)}));
  auto end = co_await old->next();
  CO_ASSERT_TRUE(!end);
  EXPECT_EQ(end.error().message(), kCompacted);
  co_return Result<>();
}
TEST(Edges, ADeleteAtTheCompactedRevisionIsStillWatched) { test_store(kMemory, delete_at_compaction); }  // etcd #19179

Task<Result<>> future_watch(StoreTest& t) {
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "k", .start_revision = Revision(5)}));
  CO_TRY_ASSIGN(auto never, co_await t.store.watch({.key = "k", .start_revision = Revision(INT64_MAX)}));
  for (int i = 0; i < 5; ++i) CO_TRY(co_await t.store.put("k", share(cat(i))));
  CO_TRY_ASSIGN(WatchBatch first, co_await watch->next());
  EXPECT_EQ(text_of(first), "5:put k=3") << "nothing before its start";
  never->request_progress();
  CO_TRY_ASSIGN(WatchBatch progress, co_await never->next());
  EXPECT_FALSE(progress.shared);
  co_return Result<>();
}
TEST(Edges, AFutureWatchSeesNothingBeforeItsStart) { test_store(kMemory, future_watch); }  // etcd #20221

// Puts the newest revision near the end of all revisions.
void age(const std::string& path, std::int64_t revision) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, cat("INSERT OR REPLACE INTO meta VALUES('compact_revision', ", revision, ")").c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
}
Task<Result<>> nothing(StoreTest&) { co_return Result<>(); }
Task<Result<>> last_revisions(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(seconds(5), LeaseId(7)));
  CO_TRY(co_await t.store.put("k", share("1"), LeaseId(7)));
  EXPECT_EQ(t.store.current_revision().value, kRevisionMax);
  auto put = co_await t.store.put("k", share("2"));
  CO_ASSERT_TRUE(!put);
  EXPECT_EQ(put.error().code(), Code::kOutOfRange);
  EXPECT_TRUE(put.error().message().contains("revisions are exhausted")) << put.error().message();
  auto revoked = co_await t.store.lease_revoke(LeaseId(7));
  CO_ASSERT_TRUE(!revoked);
  EXPECT_TRUE(revoked.error().message().contains("revisions are exhausted")) << revoked.error().message();
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("k"));
  CO_ASSERT_TRUE(kv);
  EXPECT_EQ(*kv->value, "1");
  co_return Result<>();
}
TEST(Edges, TheLastRevisionIsTheLast) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, nothing);
  age(dir.file(), kRevisionMax - 1);
  test_store({.path = dir.file(), .durability = Durability::kOs}, last_revisions);
  test_store({.path = dir.file(), .durability = Durability::kOs}, nothing);
}

Task<Result<>> odd_times(StoreTest& t) {
  for (seconds ttl : {seconds(0), seconds(-1), seconds(INT64_MIN)}) {
    CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(ttl, LeaseId()));
    EXPECT_EQ(lease.ttl, kLeaseTtlMin) << "raised to the least, as etcd does";
  }
  for (seconds ttl : {kLeaseTtlMax + seconds(1), seconds(INT64_MAX)}) {
    auto lease = co_await t.store.lease_grant(ttl, LeaseId());
    CO_ASSERT_TRUE(!lease);
    EXPECT_EQ(lease.error().message(), "etcdserver: too large lease TTL");
    EXPECT_EQ(lease.error().code(), Code::kOutOfRange);
  }
  CO_TRY_ASSIGN(Lease longest, co_await t.store.lease_grant(kLeaseTtlMax, LeaseId()));
  EXPECT_EQ(longest.remaining, kLeaseTtlMax);
  CO_TRY_ASSIGN(Lease negative, co_await t.store.lease_grant(seconds(10), LeaseId(-5)));
  EXPECT_EQ(negative.id.value, -5);
  co_return Result<>();
}
TEST(Edges, LeaseTimesAreRaisedOrRefused) { test_store(kMemory, odd_times); }

Task<Result<>> clocks(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(seconds(10), LeaseId(7)));
  CO_TRY(co_await t.store.put("k", share("1"), LeaseId(7)));
  for (int days : {-4000, 4000, -1}) {
    t.time.step_wall(std::chrono::hours(24) * days);
    t.time.advance(seconds(1));
    for (int i = 0; i < 50; ++i) co_await async::asio::post(t.executor, async::use_task);
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("k"));
    CO_ASSERT_TRUE(kv);
  }
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_time_to_live(LeaseId(7)));
  EXPECT_EQ(lease.remaining, seconds(7)) << "the monotonic clock alone counts";
  co_return Result<>();
}
TEST(Edges, StepsOfTheWallClockMoveNoLease) { test_store(kMemory, clocks); }

}  // namespace
}  // namespace monopod::testing
