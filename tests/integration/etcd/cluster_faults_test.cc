// A cluster of three whose members are killed, stopped and started under load: what was acknowledged stays, a watch has no gap and
// no duplicate, and calls succeed while two of three live. SEED= replays the order of faults; MONOPOD_LONG=1 for the long run.
#include <cstdlib>
#include <map>

#include "async/test_support.h"
#include "base/rng.h"
#include "etcd/cluster/cluster_backend.h"
#include "etcd/cluster/test_cluster.h"
#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;
using namespace store;
using namespace std::chrono_literals;

bool long_run() { return std::getenv("MONOPOD_LONG") != nullptr; }

ClusterOptions quick(const EtcdCluster& cluster) {
  ClusterOptions options{.client = {.endpoints = cluster.urls()}, .compaction_interval = std::chrono::seconds(0), .open_timeout = 10s};
  options.client.probe_interval = 200ms;
  options.client.probe_timeout = 500ms;
  options.client.attempt_timeout = 1s;
  options.client.backoff_max = 200ms;
  return options;
}

// What writers were told, and what the watch told.
struct Ledger {
  std::map<std::string, std::int64_t> acknowledged;  // key -> revision of its only write
  std::set<std::string> unknown;                     // keys whose write may have happened
  std::map<std::string, std::int64_t> watched;
  std::int64_t last_watched = 0;
  int refused = 0;
  std::chrono::steady_clock::duration slowest_read{};
  int reads = 0;
};

struct Run {
  EtcdCluster& cluster;
  ClusterBackend& store;
  async::Time& time;
  Ledger ledger{};
  bool over = false;
};

Task<Result<>> write_keys(Run& run, int writer) {
  for (int i = 0; !run.over; ++i) {
    std::string key = cat("w/", writer, "/", i);
    Result<Revision> made = co_await run.store.create(key, share(key));
    if (made) {
      run.ledger.acknowledged[key] = made->value;
    } else {
      CO_ASSERT_TRUE(made.error().code() == Code::kUnavailable);
      run.ledger.unknown.insert(key);
      ++run.ledger.refused;
    }
    CO_TRY(co_await run.time.sleep_for(2ms));
  }
  co_return Result<>();
}

// Every read succeeds within its time-out, whichever one member is gone, and sees every write acknowledged before.
Task<Result<>> read_keys(Run& run) {
  while (!run.over) {
    std::size_t known = run.ledger.acknowledged.size();
    std::string newest = known ? std::prev(run.ledger.acknowledged.end())->first : std::string("none");
    auto begin = std::chrono::steady_clock::now();
    auto kv = co_await run.store.get(newest);
    run.ledger.slowest_read = std::max(run.ledger.slowest_read, std::chrono::steady_clock::now() - begin);
    CO_TRY(kv);
    if (known) CO_ASSERT_TRUE(kv->has_value());
    ++run.ledger.reads;
    CO_TRY(co_await run.time.sleep_for(5ms));
  }
  co_return Result<>();
}

Task<Result<>> follow(Run& run, Watch& watch, std::int64_t until) {
  Ledger& ledger = run.ledger;
  for (;;) {
    if (until > 0 && ledger.last_watched >= until) co_return Result<>();
    if (until > 0) watch.request_progress();
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch.next());
    CO_ASSERT_TRUE(batch.revision.value > ledger.last_watched || (!batch.shared && batch.revision.value == ledger.last_watched));
    ledger.last_watched = batch.revision.value;
    if (!batch.shared) continue;
    for (const WatchEvent& event : batch.events()) {
      CO_ASSERT_TRUE(event.kv.mod == batch.revision);
      CO_ASSERT_TRUE(ledger.watched.emplace(event.kv.key, event.kv.mod.value).second);  // each key is written once
    }
  }
}

Task<Result<>> judge(Run& run, Watch& watch) {
  const Ledger& ledger = run.ledger;
  CO_TRY_ASSIGN(RangeResult all, co_await run.store.range({.key = "w/", .range_end = prefix_end("w/")}));
  CO_TRY(co_await follow(run, watch, all.revision.value));
  std::map<std::string, std::int64_t> stored;
  for (const KeyValue& kv : all.kvs) stored[kv.key] = kv.mod.value;
  for (const auto& [key, revision] : ledger.acknowledged) CO_ASSERT_TRUE(stored.contains(key) && stored[key] == revision);
  for (const auto& [key, revision] : stored) CO_ASSERT_TRUE(ledger.acknowledged.contains(key) || ledger.unknown.contains(key));
  EXPECT_EQ(ledger.watched, stored) << "the watch has every change once";
  co_return Result<>();
}

Task<Result<>> stop_after(Run& run, Task<Result<>> faults) {
  Result<> done = co_await std::move(faults);
  run.over = true;
  co_return done;
}

Task<Result<>> under_load(EtcdCluster& cluster, Task<Result<>> (*faults)(Run&), int& acknowledged) {
  async::RealTime time;
  async::Executor executor = co_await async::this_executor();
  CO_TRY_ASSIGN(auto store, co_await ClusterBackend::open(quick(cluster), time));
  Run run{cluster, *store, time};
  CO_TRY_ASSIGN(auto watch, co_await store->watch({.key = "w/", .range_end = prefix_end("w/")}));
  run.ledger.last_watched = store->current_revision().value;
  async::Scope load(executor), following(executor);
  following.spawn(follow(run, *watch, 0));
  for (int i = 0; i < 4; ++i) load.spawn(write_keys(run, i));
  load.spawn(read_keys(run));
  load.spawn(stop_after(run, faults(run)));
  Result<> loaded = co_await load.join();
  following.cancel();
  Result<> followed = co_await following.join();
  Result<> judged = loaded && followed ? co_await judge(run, *watch) : Result<>();
  acknowledged = static_cast<int>(run.ledger.acknowledged.size());
  auto slowest = std::chrono::duration_cast<std::chrono::milliseconds>(run.ledger.slowest_read).count();
  std::printf("%zu writes acknowledged, %d unknown, %d reads, slowest %lld ms\n", run.ledger.acknowledged.size(), run.ledger.refused, run.ledger.reads, static_cast<long long>(slowest));
  watch.reset();
  CO_TRY(co_await store->close());
  CO_TRY(loaded);
  CO_TRY(followed);
  co_return judged;
}

void run_faults(Task<Result<>> (*faults)(Run&)) {
  if (!EtcdCluster::available()) GTEST_SKIP() << EtcdCluster::kNeeds;
  EtcdCluster cluster({.members = 3, .heartbeat_ms = 30, .election_ms = 300});
  Result<> started = cluster.start();
  ASSERT_TRUE(started) << started.error().message();
  int acknowledged = 0;
  async::run_test([&](async::Loop&) { return under_load(cluster, faults, acknowledged); }, long_run() ? 600s : 60s);
  EXPECT_GT(acknowledged, 100);
}

std::size_t leader_of(const EtcdCluster& cluster) {
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    std::string line = cluster.etcdctl("endpoint status", static_cast<int>(i));
    // endpoint, id, version, size, is leader, ...
    auto fields = split(line, ',');
    if (fields.size() > 4 && trim(fields[4]) == "true") return i;
  }
  return 0;
}

Task<Result<>> one_of_each(Run& run) {
  CO_TRY(co_await run.time.sleep_for(200ms));
  std::size_t leader = leader_of(run.cluster);
  std::size_t follower = (leader + 1) % 3;
  run.cluster.kill(leader);
  CO_TRY(co_await run.time.sleep_for(900ms));
  CO_TRY(run.cluster.launch(leader));
  CO_TRY(co_await run.time.sleep_for(900ms));
  run.cluster.pause(follower);
  CO_TRY(co_await run.time.sleep_for(1s));
  run.cluster.resume(follower);
  CO_TRY(co_await run.time.sleep_for(400ms));
  std::size_t third = (leader + 2) % 3;
  run.cluster.terminate(third);
  CO_TRY(co_await run.time.sleep_for(400ms));
  CO_TRY(run.cluster.launch(third));
  CO_TRY(co_await run.time.sleep_for(400ms));
  co_return Result<>();
}
TEST(EtcdCluster, LosesNothingWhileOneMemberIsKilledStoppedAndRestarted) { run_faults(one_of_each); }

Task<Result<>> random_faults(Run& run) {
  const char* given = std::getenv("SEED");
  std::uint64_t seed = given ? parse_int<std::uint64_t>(given).value_or(1) : 20260101;
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  SeededRng rng(seed);
  for (int round = 0; round < 25; ++round) {
    std::size_t member = rng.below(3);
    auto length = std::chrono::milliseconds(200 + rng.below(2500));
    switch (rng.below(3)) {
      case 0: run.cluster.kill(member); break;
      case 1: run.cluster.terminate(member); break;
      default: run.cluster.pause(member); break;
    }
    CO_TRY(co_await run.time.sleep_for(length));
    run.cluster.resume(member);
    if (!run.cluster.running(member)) CO_TRY(run.cluster.launch(member));
    CO_TRY(co_await run.time.sleep_for(std::chrono::milliseconds(500 + rng.below(1500))));
  }
  co_return Result<>();
}
TEST(EtcdCluster, LosesNothingUnderRandomFaults) {
  if (!long_run()) GTEST_SKIP() << "needs MONOPOD_LONG=1";
  run_faults(random_faults);
}

}  // namespace
}  // namespace monopod::etcd
