// The facts of watches: ordered, no gap, no duplicate, whole revisions, resumable.
#include "store/watch.h"

#include "store/limits.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

const SqliteOptions kMemory{.path = ":memory:"};
using async::Task;

Task<Result<std::string>> read_batches(Watch& watch, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch.next());
    text += cat(text.empty() ? "" : " ", text_of(batch));
  }
  co_return text;
}

WatchRequest prefix(std::string_view text, std::int64_t start = 0, bool prev_kv = false) {
  return {.key = std::string(text), .range_end = prefix_end(text), .start_revision = Revision(start), .prev_kv = prev_kv};
}

Task<Result<>> from_the_log(StoreTest& t) {
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a", .start_revision = Revision(3), .prev_kv = true}));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(*watch, 4));
  EXPECT_EQ(seen, "3:put a=1(0) 4:put a=2(1) 5:put a=3(2) 6:delete a(3)");
  watch->request_progress();
  CO_TRY_ASSIGN(std::string progress, co_await read_batches(*watch, 1));
  EXPECT_EQ(progress, "6:");
  co_return Result<>();
}
Task<Result<>> fill_log(StoreTest& t) {
  for (int i = 0; i < 4; ++i) CO_TRY(co_await t.store.put("a", share(cat(i))));
  CO_TRY(co_await t.store.remove("a", Revision(5)));
  co_return Result<>();
}
TEST(Watch, BeginsBeforeTheLastRestart) {
  TempDir dir;
  test_store({.path = dir.file()}, fill_log);
  test_store({.path = dir.file()}, from_the_log);
}

Task<Result<>> compacted(StoreTest& t) {
  for (int i = 0; i < 4; ++i) CO_TRY(co_await t.store.put("a", share(cat(i))));
  CO_TRY(co_await t.store.remove("a", Revision(5)));
  CO_TRY(co_await t.store.compact(Revision(6)));
  co_return Result<>();
}
Task<Result<>> after_compaction(StoreTest& t) {
  CO_TRY_ASSIGN(auto early, co_await t.store.watch({.key = "a", .start_revision = Revision(5)}));
  auto gone = co_await early->next();
  EXPECT_EQ(gone.error().code(), Code::kOutOfRange);
  EXPECT_TRUE(gone.error().message().contains("compacted"));
  CO_TRY_ASSIGN(auto edge, co_await t.store.watch({.key = "a", .start_revision = Revision(6)}));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(*edge, 1));
  EXPECT_EQ(seen, "6:delete a") << "a delete at the compaction revision is not lost";
  EXPECT_EQ(t.store.current_revision().value, 6);
  co_return Result<>();
}
TEST(Watch, BeforeTheCompactionRevisionIsRefusedAndAtItIsWhole) {
  TempDir dir;
  test_store({.path = dir.file()}, compacted);
  test_store({.path = dir.file()}, after_compaction);
}

Task<Result<>> slow(StoreTest& t) {
  constexpr int kWrites = static_cast<int>(kTailRevisionsMax + kGroupBatchesMax + 700);
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch(prefix("a/", 0, true)));
  CO_TRY(co_await t.store.put("a/first", share("0")));
  CO_TRY_ASSIGN(std::string first, co_await read_batches(*watch, 1));
  for (int i = 0; i < kWrites; ++i) CO_TRY(co_await t.store.put(cat("a/", i % 7), share(cat(i))));
  for (int i = 0; i < kWrites; ++i) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
    std::string want = cat(i + 3, ":put a/", i % 7, "=", i);
    if (i >= 7) want += cat("(", i - 7, ")");
    CO_ASSERT_TRUE(text_of(batch) == want);
  }
  watch->request_progress();
  CO_TRY_ASSIGN(std::string end, co_await read_batches(*watch, 1));
  EXPECT_EQ(end, cat(kWrites + 2, ":"));
  co_return Result<>();
}
TEST(Watch, SlowWatcherCatchesUpFromTheLogWithoutAGap) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, slow);
}

Task<Result<>> count_all(Watch& watch, int count, int& delivered) {
  for (int i = 0; i < count; ++i) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch.next());
    delivered += static_cast<int>(batch.events().size());
  }
  co_return Result<>();
}
Task<Result<>> many(StoreTest& t) {
  constexpr int kWatchers = 3000;
  std::vector<std::unique_ptr<Watch>> watches;
  int delivered = 0;
  async::Scope scope(t.executor);
  for (int i = 0; i < kWatchers; ++i) {
    CO_TRY_ASSIGN(auto watch, co_await t.store.watch(prefix("a/")));
    scope.spawn(count_all(*watch, 5, delivered));
    watches.push_back(std::move(watch));
  }
  for (int i = 0; i < 5; ++i) CO_TRY(co_await t.store.put(cat("a/", i), share("x")));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(delivered, 5 * kWatchers);
  co_return Result<>();
}
TEST(Watch, ThousandsOnOnePrefixAllGetEverything) { test_store(kMemory, many); }

Task<Result<>> cancelled(StoreTest& t) {
  CO_TRY_ASSIGN(auto one, co_await t.store.watch(prefix("a/")));
  CO_TRY_ASSIGN(auto two, co_await t.store.watch(prefix("a/")));
  int delivered = 0;
  async::Scope scope(t.executor);
  scope.spawn(count_all(*one, 1, delivered));
  CO_TRY(co_await t.store.get("x"));
  CO_TRY(co_await t.store.put("unrelated", share("x")));
  scope.cancel();
  (void)co_await scope.join();
  one.reset();
  CO_TRY(co_await t.store.put("a/1", share("x")));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(*two, 1));
  EXPECT_EQ(seen, "3:put a/1=x");
  EXPECT_EQ(delivered, 0);
  co_return Result<>();
}
TEST(Watch, ACancelledWatcherLeavesTheOthersAlone) { test_store(kMemory, cancelled); }

Task<Result<>> expect_closed(Watch& watch, Code& code) {
  Result<WatchBatch> end = co_await watch.next();
  code = end ? Code::kOk : end.error().code();
  co_return Result<>();
}
TEST(Watch, EndsWhenTheStoreCloses) {
  struct Body {
    static Task<Result<>> run(StoreTest& t) {
      CO_TRY_ASSIGN(auto watch, co_await t.store.watch(prefix("a/")));
      Code code = Code::kOk;
      async::Scope scope(t.executor);
      scope.spawn(expect_closed(*watch, code));
      CO_TRY(co_await t.store.put("b", share("x")));
      CO_TRY(co_await t.store.close());
      CO_TRY(co_await scope.join());
      EXPECT_EQ(code, Code::kUnavailable);
      auto late = co_await t.store.put("b", share("x"));
      EXPECT_EQ(late.error().code(), Code::kUnavailable);
      co_return Result<>();
    }
  };
  test_store(kMemory, Body::run);
}

}  // namespace
}  // namespace monopod::store
