#include "tests/robustness/store/workload.h"

#include "async/scope.h"

namespace monopod::testing {
namespace {

using async::Task;
using namespace store;

std::string partner(const std::string& key) { return key + "/partner"; }

Task<Result<>> run_client(StoreTest& test, Journal& journal, std::uint64_t seed, int client, int writes) {
  SeededRng rng(seed);
  for (int i = 0; i < writes; ++i) {
    std::string key = cat("c", client, "/k", rng.below(4));
    Journal::Key& state = journal.keys[key];
    if (rng.below(40) == 0 && test.store.current_revision().value > test.store.compact_revision().value + 30) {
      auto compacted = co_await test.store.compact(Revision(test.store.current_revision().value - 20));
      if (!compacted && compacted.error().code() != Code::kOutOfRange) co_return compacted;
    }
    int number = ++state.attempted;
    std::string value = cat(number, ":", std::string(rng.below(rng.below(20) == 0 ? 9000 : 300), 'x'));
    Txn txn;
    txn.success = {PutRequest{.key = key, .value = share(value)}, PutRequest{.key = partner(key), .value = share(value)}};
    auto result = co_await test.store.txn(std::move(txn));
    if (!result) co_return fail(result.error());
    state.acknowledged = number;
    journal.revision_max = std::max(journal.revision_max, result->revision.value);
    ++journal.writes;
  }
  co_return Result<>();
}

int number_of(const KeyValue& kv) { return parse_int<int>(split_once(*kv.value, ':').first).value_or(-1); }

}  // namespace

Task<Result<>> run_clients(StoreTest& test, Journal& journal, std::uint64_t seed, int clients, int writes_each) {
  async::Scope scope(test.executor);
  for (int client = 0; client < clients; ++client)
    scope.spawn(run_client(test, journal, seed * 1000 + static_cast<std::uint64_t>(client), client, writes_each));
  co_return co_await scope.join();
}

Task<Result<>> check_store(StoreTest& test, Journal& journal) {
  CO_TRY_ASSIGN(RangeResult all, co_await test.store.range(everything()));
  EXPECT_GE(test.store.current_revision().value, journal.revision_max) << "the revision fell";
  std::map<std::string, KeyValue> state;
  for (const KeyValue& kv : all.kvs) state[kv.key] = kv;
  for (auto& [key, written] : journal.keys) {
    auto at = state.find(key);
    int number = at == state.end() ? 0 : number_of(at->second);
    EXPECT_GE(number, written.acknowledged) << key << ": an acknowledged write is lost";
    EXPECT_LE(number, written.attempted) << key << ": a write from nowhere";
    if (at != state.end()) {
      EXPECT_EQ(state[partner(key)].mod, at->second.mod) << key << ": half a transaction";
    }
    written.acknowledged = std::max(number, 0);  // what is there now stays
    written.attempted = std::max(written.attempted, number);
  }
  std::int64_t start = std::max<std::int64_t>(2, test.store.compact_revision().value);
  CO_TRY_ASSIGN(auto watch, co_await test.store.watch({.key = std::string(1, '\0'), .range_end = std::string(1, '\0'), .start_revision = Revision(start)}));
  watch->request_progress();
  std::map<std::string, std::string> replayed;
  CO_TRY_ASSIGN(RangeResult first, co_await test.store.range({.key = std::string(1, '\0'), .range_end = std::string(1, '\0'), .revision = Revision(start > 2 ? start : 0)}));
  if (start > 2)
    for (const KeyValue& kv : first.kvs) replayed[kv.key] = *kv.value;
  for (std::int64_t last = start - 1;;) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
    if (!batch.shared) break;
    EXPECT_GT(batch.revision.value, last) << "watch out of order";
    last = batch.revision.value;
    for (const WatchEvent& event : batch.events()) {
      if (event.type == WatchEvent::Type::kPut) replayed[event.kv.key] = *event.kv.value;
      else replayed.erase(event.kv.key);
    }
  }
  EXPECT_EQ(replayed.size(), state.size());
  for (const auto& [key, kv] : state) EXPECT_EQ(replayed[key], *kv.value) << key << ": watch and range differ";
  co_return Result<>();
}

}  // namespace monopod::testing
