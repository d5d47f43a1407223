// Ten thousand watchers of one prefix, and slow ones that must cost no memory while they lag.
#include <unistd.h>

#include <fstream>

#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

WatchRequest prefix(std::int64_t from) { return {.key = "a/", .range_end = prefix_end("a/"), .start_revision = Revision(from)}; }

// Every revision from first on, one event each, to the last.
Task<Result<>> read_until(Watch& watch, std::int64_t first, std::int64_t last, std::int64_t& delivered) {
  for (std::int64_t want = first; want <= last; ++want) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch.next());
    EXPECT_EQ(batch.revision.value, want);
    if (batch.revision.value != want) co_return fail(Code::kInternal, "gap");
    delivered += static_cast<std::int64_t>(batch.events().size());
  }
  co_return Result<>();
}

Task<Result<>> crowd(StoreTest& t) {
  constexpr int kWatchers = 10'000, kPuts = 10;
  std::vector<std::unique_ptr<Watch>> watches;
  std::int64_t delivered = 0, before = resident_bytes();
  async::Scope scope(t.executor);
  for (int i = 0; i < kWatchers; ++i) {
    CO_TRY_ASSIGN(auto watch, co_await t.store.watch(prefix(2)));
    scope.spawn(read_until(*watch, 2, 1 + kPuts, delivered));
    watches.push_back(std::move(watch));
  }
  for (int i = 0; i < kPuts; ++i) CO_TRY(co_await t.store.put(cat("a/", i), share(std::string(10'000, 'x'))));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(delivered, std::int64_t{kWatchers} * kPuts);
  std::int64_t each = (resident_bytes() - before) / kWatchers;
  std::printf("%d watchers: %lld bytes each\n", kWatchers, static_cast<long long>(each));
  EXPECT_LT(each, 10'000) << "each holds a copy of what it was told";
  co_return Result<>();
}
TEST(WatchCrowd, OfTenThousandOnOnePrefixGetsEverything) { test_store({.path = ":memory:"}, crowd); }

Task<Result<>> laggards(StoreTest& t) {
  constexpr int kWatchers = 300, kPuts = 3000, kCatchUp = 10;
  std::vector<std::unique_ptr<Watch>> watches;
  CO_TRY(co_await t.store.put("a/0", share("first")));
  for (int i = 0; i < kWatchers; ++i) {
    CO_TRY_ASSIGN(auto watch, co_await t.store.watch(prefix(2)));
    CO_TRY(co_await watch->next());  // one, then it is slow
    watches.push_back(std::move(watch));
  }
  std::int64_t before = resident_bytes();
  for (int i = 0; i < kPuts; ++i) CO_TRY(co_await t.store.put("a/0", share(std::string(8000, static_cast<char>('a' + i % 26)))));
  std::int64_t lagging = resident_bytes() - before;
  std::int64_t delivered = 0;
  for (int i = 0; i < kCatchUp; ++i) CO_TRY(co_await read_until(*watches[static_cast<std::size_t>(i)], 3, 2 + kPuts, delivered));
  EXPECT_EQ(delivered, std::int64_t{kCatchUp} * kPuts);
  std::printf("%d lagging watchers by %d MB: %lld KB held, %lld KB after %d caught up\n", kWatchers, kPuts * 8 / 1000, static_cast<long long>(lagging / 1024),
              static_cast<long long>((resident_bytes() - before) / 1024), kCatchUp);
  EXPECT_LT(resident_bytes() - before, 48'000'000) << "300 backlogs of 24 MB are somewhere";
  co_return Result<>();
}
TEST(WatchCrowd, ThatLagsCatchesUpFromTheLogAndHoldsNoMemory) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, laggards);
}

}  // namespace
}  // namespace monopod::testing
