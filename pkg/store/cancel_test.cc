// Callers that go away in the middle: what they asked for happens wholly or not at all, and nothing else suffers.
#include <boost/asio/post.hpp>

#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

Task<Result<>> fill(StoreTest& t) {
  for (int i = 0; i < 3; ++i) CO_TRY(co_await t.store.put(cat("k", i), share(cat(i))));
  co_return Result<>();
}

Task<Result<>> compare_and_put(SqliteBackend& store) {
  Txn txn;
  txn.compare = {{.key = "k0", .target = Compare::Target::kValue, .value = "0"}};  // the value is in the file only
  txn.success = {PutRequest{.key = "new", .value = share("1")}};
  CO_TRY(co_await store.txn(std::move(txn)));
  co_return Result<>();
}

Task<> turns(async::Executor executor, int count) {
  for (int i = 0; i < count; ++i) co_await async::asio::post(executor, async::use_task);
}

Task<Result<>> give_up_after(StoreTest& t, int count) {
  async::Scope scope(t.executor);
  scope.spawn(compare_and_put(t.store));
  co_await turns(t.executor, count);
  scope.cancel();
  (void)co_await scope.join();
  CO_TRY(co_await t.store.put("k1", share("after")));
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  Revision made = all.kvs.size() == 4 ? all.kvs.back().mod : Revision();
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "new", .start_revision = Revision(2)}));
  watch->request_progress();
  CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
  EXPECT_EQ(batch.shared != nullptr, made.value > 0) << "the state and the watch tell of different histories";
  co_return Result<>();
}

TEST(Cancel, ATransactionGivenUpAnywhereLeavesTheFileWhole) {
  for (int count = 0; count < 40; ++count) {
    SCOPED_TRACE(count);
    TempDir dir;
    test_store({.path = dir.file(), .durability = Durability::kOs}, fill);
    struct Body {
      int count;
      Task<Result<>> operator()(StoreTest& t) { return give_up_after(t, count); }
    };
    test_store({.path = dir.file(), .durability = Durability::kOs}, Body{count});
    test_store({.path = dir.file()}, [](StoreTest&) -> Task<Result<>> { co_return Result<>(); });
  }
}

Task<Result<>> grant(SqliteBackend& store) {
  CO_TRY(co_await store.lease_grant(std::chrono::seconds(5), LeaseId(7)));
  co_return Result<>();
}
Task<Result<>> orphaned_lease(StoreTest& t) {
  async::Scope scope(t.executor);
  scope.spawn(grant(t.store));
  co_await turns(t.executor, 2);
  scope.cancel();
  (void)co_await scope.join();
  CO_TRY_ASSIGN(std::vector<LeaseId> ids, co_await t.store.leases());
  CO_ASSERT_TRUE(ids.size() == 1);
  CO_TRY(co_await t.store.put("k", share("v"), LeaseId(7)));
  t.time.advance(std::chrono::seconds(6));
  for (int i = 0; i < 10'000; ++i) {
    co_await turns(t.executor, 1);
    CO_TRY_ASSIGN(auto left, co_await t.store.get("k"));
    if (!left) co_return Result<>();
  }
  co_return fail(Code::kInternal, "the lease does not end");
}
TEST(Cancel, ALeaseWhoseGrantWasGivenUpEndsInItsTime) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, orphaned_lease);
}

}  // namespace
}  // namespace monopod::store
