// The facts of leases and of volatile keys.
#include "store/limits.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

const SqliteOptions kMemory{.path = ":memory:"};
using async::Task;
using std::chrono::seconds;

Task<Result<>> expiry(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(seconds(10), LeaseId()));
  CO_TRY(co_await t.store.put("a", share("1"), lease.id));
  CO_TRY(co_await t.store.put("b", share("2"), lease.id));
  CO_TRY(co_await t.store.put("c", share("3")));
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch(WatchRequest{.key = "a", .range_end = "z"}));
  t.time.advance(seconds(9));
  CO_TRY_ASSIGN(Lease alive, co_await t.store.lease_time_to_live(lease.id));
  EXPECT_EQ(alive.remaining, seconds(1));
  EXPECT_EQ(alive.keys, (std::vector<std::string>{"a", "b"}));
  CO_TRY_ASSIGN(Lease kept, co_await t.store.lease_keep_alive(lease.id));
  EXPECT_EQ(kept.remaining, seconds(10));
  t.time.step_wall(seconds(-100'000));
  t.time.advance(seconds(9));
  CO_TRY_ASSIGN(auto still, co_await t.store.get("a"));
  EXPECT_TRUE(still);
  t.time.advance(seconds(1));
  CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
  EXPECT_EQ(text_of(batch), "5:delete a,delete b") << "expiry is one revision";
  CO_TRY_ASSIGN(Lease gone, co_await t.store.lease_time_to_live(lease.id));
  EXPECT_EQ(gone.remaining, seconds(-1));
  auto late = co_await t.store.lease_keep_alive(lease.id);
  EXPECT_EQ(late.error().message(), "etcdserver: requested lease not found");
  co_return Result<>();
}
TEST(Lease, ExpiryDeletesItsKeysInOneRevision) { test_store(kMemory, expiry); }

Task<Result<>> before_restart(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(seconds(100), LeaseId(7)));
  CO_TRY(co_await t.store.put("a", share("1"), LeaseId(7)));
  t.time.advance(seconds(60));
  co_return Result<>();
}
Task<Result<>> after_restart(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_time_to_live(LeaseId(7)));
  EXPECT_EQ(lease.remaining, seconds(40));
  EXPECT_EQ(lease.ttl, seconds(100));
  EXPECT_EQ(lease.keys, std::vector<std::string>{"a"});
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a"}));
  t.time.advance(seconds(40));
  CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
  EXPECT_EQ(text_of(batch), "3:delete a");
  co_return Result<>();
}
TEST(Lease, RemainingTimeSurvivesARestart) {
  TempDir dir;
  test_store({.path = dir.file()}, before_restart);
  test_store({.path = dir.file()}, after_restart);
}

SqliteOptions with_volatile(const TempDir& dir) { return {.path = dir.file(), .volatile_prefixes = {"/registry/leases/kube-node-lease/"}}; }
const char* const kNodeLease = "/registry/leases/kube-node-lease/n1";

Task<Result<>> write_volatile(StoreTest& t) {
  CO_TRY(co_await t.store.put("durable", share("d")));
  CO_TRY_ASSIGN(StoreStats before, co_await t.store.stats());
  for (int i = 0; i < 50; ++i) CO_TRY(co_await t.store.put(kNodeLease, share(cat(i))));
  CO_TRY_ASSIGN(StoreStats after, co_await t.store.stats());
  EXPECT_EQ(after.commits, before.commits + 1) << "one reservation of a block of revisions";
  CO_TRY_ASSIGN(auto kv, co_await t.store.get(kNodeLease));
  EXPECT_EQ(*kv->value, "49");
  EXPECT_EQ(kv->version, 50);
  CO_TRY_ASSIGN(auto old, co_await t.store.get(kNodeLease, Revision(5)));
  EXPECT_EQ(*old->value, "2");
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = kNodeLease, .start_revision = Revision(51)}));
  CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
  EXPECT_EQ(text_of(batch), cat("51:put ", kNodeLease, "=48"));
  EXPECT_EQ(t.store.current_revision().value, 52);
  co_return Result<>();
}
Task<Result<>> after_volatile(StoreTest& t) {
  EXPECT_GT(t.store.current_revision().value, 52) << "no revision is used twice";
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(text_of(all.kvs), "durable=d");
  EXPECT_EQ(all.revision, t.store.current_revision());
  CO_TRY_ASSIGN(auto now, co_await t.store.get(kNodeLease, t.store.current_revision()));
  EXPECT_FALSE(now);
  auto past = co_await t.store.get(kNodeLease, Revision(52));
  EXPECT_EQ(past.error().code(), Code::kOutOfRange);
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = kNodeLease, .start_revision = Revision(52)}));
  auto gap = co_await watch->next();
  EXPECT_EQ(gap.error().code(), Code::kOutOfRange) << "a watcher learns that it missed something";
  CO_TRY_ASSIGN(auto other, co_await t.store.watch({.key = "durable", .start_revision = Revision(2)}));
  CO_TRY_ASSIGN(WatchBatch batch, co_await other->next());
  EXPECT_EQ(text_of(batch), "2:put durable=d");
  co_return Result<>();
}
TEST(VolatileKeys, AreNotWrittenAndTheirRevisionsNeverComeAgain) {
  TempDir dir;
  test_store(with_volatile(dir), write_volatile);
  test_store(with_volatile(dir), after_volatile);
}

}  // namespace
}  // namespace monopod::store
