// Power loss at every kind of moment: at operation number N the disk stops; what was not synced is dropped, torn or kept at random;
// then the store must open and hold every acknowledged write.
#include "tests/robustness/store/workload.h"
#include "tests/support/crash_vfs/crash_vfs.h"

namespace monopod::testing {
namespace {

using namespace store;

struct Crasher {
  Journal& journal;
  std::uint64_t seed;
  async::Task<Result<>> operator()(StoreTest& test) { return run_clients(test, journal, seed, 3, 60); }
};
struct Checker {
  Journal& journal;
  async::Task<Result<>> operator()(StoreTest& test) { return check_store(test, journal); }
};

void crash_and_check(CrashVfs& vfs, const SqliteOptions& options, Journal& journal, std::uint64_t seed, std::int64_t crash_at) {
  SCOPED_TRACE(cat("SEED=", seed, " crash at operation ", crash_at));
  SeededRng rng(seed ^ 0x9e3779b97f4a7c15ULL);
  vfs.arm({.crash_at = crash_at});
  (void)run_store(options, Crasher{journal, seed});  // fails somewhere, as it should
  vfs.lose_power(rng);
  Result<> checked = run_store({.path = options.path}, Checker{journal});
  EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
}

TEST(PowerLoss, LosesNothingAcknowledgedWhereverItStrikes) {
  const std::uint64_t first = seed_or(1), rounds = ::getenv("SEED") ? 1 : long_run() ? 3000 : 25;
  for (std::uint64_t seed = first; seed < first + rounds && !::testing::Test::HasFailure(); ++seed) {
    TempDir dir;
    CrashVfs vfs("crash");
    SeededRng rng(seed);
    Journal journal;
    SqliteOptions options{.path = dir.file(), .compaction = {.interval = std::chrono::seconds(0)}, .vfs = vfs.name()};
    // One crash after another on the same file: the second strikes while the first is being recovered, or long after.
    for (int round = 0; round < 3; ++round)
      crash_and_check(vfs, options, journal, seed, static_cast<std::int64_t>(rng.below(round == 1 ? 30 : 600)) + 1);
  }
}

async::Task<Result<>> write_and_defragment(StoreTest& test, Journal& journal, std::uint64_t seed) {
  for (std::uint64_t round = 0; round < 6; ++round) {
    CO_TRY(co_await run_clients(test, journal, seed * 10 + round, 1, 15));
    Result<> compacted = co_await test.store.compact(test.store.current_revision());
    if (!compacted && compacted.error().code() != Code::kOutOfRange) co_return compacted;
    CO_TRY(co_await test.store.defragment());
  }
  co_return Result<>();
}

TEST(PowerLoss, DuringDefragmentationLosesNothingEither) {
  const std::uint64_t first = seed_or(1), rounds = ::getenv("SEED") ? 1 : long_run() ? 1000 : 8;
  for (std::uint64_t seed = first; seed < first + rounds && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(cat("SEED=", seed));
    TempDir dir;
    CrashVfs vfs("crash");
    SeededRng rng(seed);
    Journal journal;
    SqliteOptions options{.path = dir.file(), .compaction = {.interval = std::chrono::seconds(0)}, .vfs = vfs.name()};
    vfs.arm({.crash_at = static_cast<std::int64_t>(rng.below(600)) + 1});
    (void)run_store(options, [&](StoreTest& test) { return write_and_defragment(test, journal, seed); });
    vfs.lose_power(rng);
    Result<> checked = run_store({.path = options.path}, Checker{journal});
    EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
  }
}

TEST(PowerLoss, WithoutFsyncLosesOnlyTheEndAndNeverBreaksTheFile) {
  for (std::uint64_t seed = 1; seed <= (long_run() ? 500u : 10u); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    TempDir dir;
    CrashVfs vfs("crash");
    SeededRng rng(seed);
    Journal journal;
    vfs.arm({.crash_at = static_cast<std::int64_t>(rng.below(600)) + 50});
    (void)run_store({.path = dir.file(), .durability = Durability::kOs, .compaction = {.interval = std::chrono::seconds(0)}, .vfs = vfs.name()}, Crasher{journal, seed});
    vfs.lose_power(rng);
    for (auto& [key, written] : journal.keys) written.acknowledged = 0;
    journal.revision_max = 0;
    Result<> checked = run_store({.path = dir.file()}, Checker{journal});
    EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
  }
}

}  // namespace
}  // namespace monopod::testing
