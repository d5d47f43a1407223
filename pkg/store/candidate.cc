#include "store/candidate.h"

#include <charconv>
#include <exception>

#include "async/event.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::store {
namespace {

using async::Task;

RangeRequest queue_of(std::string_view name) {
  std::string prefix = cat(name, '/');
  std::string end = prefix_end(prefix);
  return {.key = std::move(prefix), .range_end = std::move(end), .keys_only = true};
}

// Until key is deleted.
Task<Result<>> wait_for_delete(Backend& backend, std::string key, Revision from) {
  CO_TRY_ASSIGN(std::unique_ptr<Watch> watch, co_await backend.watch({.key = std::move(key), .start_revision = from}));
  for (;;) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
    for (const WatchEvent& event : batch.events())
      if (event.type == WatchEvent::Type::kDelete) co_return Result<>();
  }
}

Task<Result<>> tell_of_delete(Backend& backend, std::string key, Revision from, async::Event& changed) {
  Result<> gone = co_await wait_for_delete(backend, std::move(key), from);
  changed.set();
  if (!gone && gone.error().code() != Code::kOutOfRange) co_return gone;
  co_return Result<>();  // a compaction overtook the watch: look again
}

struct Pair {
  Backend& backend;
  std::string one, other;
  Revision from;
  async::Event changed;
};
Task<Result<>> watch_both(Pair& pair, async::Scope& scope) {
  scope.spawn(tell_of_delete(pair.backend, pair.one, pair.from, pair.changed));
  scope.spawn(tell_of_delete(pair.backend, pair.other, pair.from, pair.changed));
  co_return co_await pair.changed.wait();
}
// Until one of two keys may have been deleted.
Task<Result<>> wait_for_either(Backend& backend, std::string one, std::string other, Revision from) {
  Pair pair{backend, std::move(one), std::move(other), from, async::Event(co_await async::this_executor())};
  co_return co_await async::run_scoped([&pair](async::Scope& scope) { return watch_both(pair, scope); });
}

Task<Result<>> leave_if_younger(Backend& backend, std::string key, Revision before) {
  Txn txn;
  txn.compare.push_back({.key = key, .target = Compare::Target::kCreate, .op = Compare::Op::kGreater, .number = before.value});
  txn.success.emplace_back(DeleteRequest{.key = std::move(key)});
  CO_TRY(co_await backend.txn(std::move(txn)));
  co_return Result<>();
}

}  // namespace

std::string candidate_key(std::string_view name, LeaseId lease) {
  char hex[16];
  auto [end, ec] = std::to_chars(hex, hex + sizeof hex, static_cast<std::uint64_t>(lease.value), 16);
  return cat(name, '/', std::string_view(hex, static_cast<std::size_t>(end - hex)));
}

Task<Result<Candidate>> enter_queue(Backend& backend, std::string key, SharedBytes value, LeaseId lease) {
  Txn txn;
  txn.compare.push_back({.key = key, .target = Compare::Target::kCreate, .number = 0});
  txn.success.emplace_back(PutRequest{.key = key, .value = std::move(value), .lease = lease});
  txn.failure.emplace_back(RangeRequest{.key = key});
  CO_TRY_ASSIGN(TxnResult result, co_await backend.txn(std::move(txn)));
  Candidate candidate{.key = std::move(key), .create = result.revision, .revision = result.revision, .entered = result.succeeded};
  if (!result.succeeded) {
    const KeyValue& found = std::get<RangeResult>(result.results.at(0)).kvs.at(0);
    candidate.create = found.create;
    candidate.found_value = found.value;
  }
  co_return candidate;
}

Task<Result<Revision>> wait_for_turn(Backend& backend, std::string name, Candidate candidate, std::string expired_text) {
  for (;;) {
    CO_TRY_ASSIGN(RangeResult queue, co_await backend.range(queue_of(name)));
    const KeyValue* before = nullptr;  // the youngest of those older than the candidate
    bool present = false;
    for (const KeyValue& kv : queue.kvs) {
      if (kv.key == candidate.key) present = kv.create == candidate.create;
      if (kv.create.value < candidate.create.value && (before == nullptr || before->create.value < kv.create.value)) before = &kv;
    }
    if (!present) co_return fail(Code::kFailedPrecondition, std::move(expired_text));
    if (before == nullptr) co_return queue.revision;
    CO_TRY(co_await wait_for_either(backend, before->key, candidate.key, Revision(queue.revision.value + 1)));
  }
}

Task<Result<Revision>> leave_queue(Backend& backend, std::string key, Revision create) {
  Txn txn;
  txn.compare.push_back({.key = key, .target = Compare::Target::kCreate, .number = create.value});
  txn.success.emplace_back(DeleteRequest{.key = std::move(key)});
  CO_TRY_ASSIGN(TxnResult result, co_await backend.txn(std::move(txn)));
  co_return result.revision;
}

Task<Result<Candidate>> or_leave_queue(Backend& backend, std::string key, Revision before, Task<Result<Candidate>> work) {
  Result<Candidate> done = fail(Code::kCancelled, "cancelled");
  std::exception_ptr thrown;
  try {
    done = co_await std::move(work);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (done) co_return done;
  bool throws = co_await async::asio::this_coro::throw_if_cancelled();
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a cancelled caller still takes its key away: one local commit
  Result<> left = co_await leave_if_younger(backend, std::move(key), before);
  co_await async::asio::this_coro::throw_if_cancelled(throws);
  // The delete was queued in any case; a cancelled coroutine is told kCancelled when it is done.
  if (!left && left.error().code() != Code::kCancelled) log::warn("a candidate's key stays until its lease ends", {{"error", left.error()}});
  if (thrown) std::rethrow_exception(thrown);
  co_return done;
}

}  // namespace monopod::store
