// Random histories with faults, judged. SEED=n replays one; MONOPOD_LONG=1 runs ten thousand.
#include <gtest/gtest.h>

#include <chrono>

#include "base/log.h"
#include "base/strings.h"
#include "tests/robustness/store/history/check.h"
#include "tests/robustness/store/history/simulation.h"
#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

void print(const History& history) {
  auto number = [](auto n) { return static_cast<long long>(n); };
  for (const Start& start : history.starts) std::printf("%lld start %d: revision %lld, compacted %lld\n", number(start.at), start.life, number(start.revision), number(start.compacted));
  for (const Call& call : history.calls) std::printf("%lld..%lld %s\n", number(call.invoked), call.returned == kNever ? 0 : number(call.returned), describe(call).c_str());
  for (const WatchRun& watch : history.watches)
    for (const auto& d : watch.deliveries)
      std::printf("%lld watch %zu%s in life %d: %lld %s\n", number(d.at), watch.index, watch.auditor ? " (auditor)" : "", watch.life, number(d.batch.revision.value),
                  describe(d.batch.events()).c_str());
}

TEST(History, KeepsEveryPromiseUnderFaults) {
  const std::uint64_t first = seed_or(1);
  const char* count = ::getenv("RUNS");
  const std::uint64_t runs = count ? std::strtoull(count, nullptr, 10) : ::getenv("SEED") ? 1 : long_run() ? 10'000 : 200;
  std::size_t calls = 0, unknown = 0, deliveries = 0, lives = 0;
  int bad = 0;
  log::configure({.level = log::Level::kError, .fd = -1});
  auto began = std::chrono::steady_clock::now();
  for (std::uint64_t seed = first; seed < first + runs && bad < 5; ++seed) {
    Simulated simulated = simulate({.seed = seed, .verbose = runs == 1});
    std::vector<std::string> findings = check_history(simulated.history);
    findings.insert(findings.end(), simulated.findings.begin(), simulated.findings.end());
    for (std::size_t i = 0; i < std::min<std::size_t>(findings.size(), 10); ++i) ADD_FAILURE() << "SEED=" << seed << ": " << findings[i];
    if (runs == 1 && !findings.empty()) print(simulated.history);
    bad += !findings.empty();
    calls += simulated.history.calls.size();
    lives += simulated.history.starts.size();
    for (const Call& call : simulated.history.calls) unknown += call.outcome == Call::Outcome::kUnknown;
    for (const WatchRun& watch : simulated.history.watches) deliveries += watch.deliveries.size();
  }
  auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  std::printf("%llu histories from SEED=%llu: %zu lives, %zu calls (%zu without an answer), %zu watch batches, %lld ms\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(first), lives, calls, unknown, deliveries, static_cast<long long>(took));
}

TEST(History, OfOneSeedIsTheSameEveryTime) {
  Simulated a = simulate({.seed = 42}), b = simulate({.seed = 42});
  ASSERT_EQ(a.history.calls.size(), b.history.calls.size());
  for (std::size_t i = 0; i < a.history.calls.size(); ++i) {
    EXPECT_EQ(describe(a.history.calls[i]), describe(b.history.calls[i]));
    EXPECT_EQ(a.history.calls[i].returned, b.history.calls[i].returned);
  }
}

}  // namespace
}  // namespace monopod::testing
