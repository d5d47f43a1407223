#include "store/election.h"

#include "base/strings.h"
#include "store/candidate.h"

namespace monopod::store {
namespace {

using async::Task;

constexpr const char* kExpired = "election: session expired";
constexpr const char* kNotLeader = "election: not leader";  // etcd's text

Task<Result<Candidate>> enter_and_wait(Backend& backend, std::string name, std::string key, LeaseId lease, SharedBytes value) {
  CO_TRY_ASSIGN(Candidate candidate, co_await enter_queue(backend, std::move(key), value, lease));
  if (!candidate.entered && *candidate.found_value != *value)
    CO_TRY(co_await proclaim(backend, {.key = candidate.key, .create = candidate.create, .lease = lease}, value));
  CO_TRY_ASSIGN(candidate.revision, co_await wait_for_turn(backend, std::move(name), candidate, kExpired));
  co_return candidate;
}

}  // namespace

Task<Result<Leadership>> campaign(Backend& backend, std::string name, LeaseId lease, SharedBytes value) {
  std::string key = candidate_key(name, lease);
  Revision before = backend.current_revision();
  CO_TRY_ASSIGN(Candidate candidate,
                co_await or_leave_queue(backend, key, before, enter_and_wait(backend, std::move(name), key, lease, std::move(value))));
  co_return Leadership{.key = std::move(candidate.key), .create = candidate.create, .lease = lease, .revision = candidate.revision};
}

Task<Result<Revision>> proclaim(Backend& backend, Leadership leadership, SharedBytes value) {
  if (leadership.create.value <= 0) co_return fail(Code::kFailedPrecondition, kNotLeader);  // 0 would stand for "no such key"
  Txn txn;
  txn.compare.push_back(still_leader(leadership));
  txn.success.emplace_back(PutRequest{.key = std::move(leadership.key), .value = std::move(value), .lease = leadership.lease});
  CO_TRY_ASSIGN(TxnResult result, co_await backend.txn(std::move(txn)));
  if (!result.succeeded) co_return fail(Code::kFailedPrecondition, kNotLeader);
  co_return result.revision;
}

Task<Result<Revision>> resign(Backend& backend, Leadership leadership) {
  co_return co_await leave_queue(backend, std::move(leadership.key), leadership.create);
}

Compare still_leader(const Leadership& leadership) {
  return {.key = leadership.key, .target = Compare::Target::kCreate, .number = leadership.create.value};
}

Task<Result<LeaderSeen>> find_leader(Backend& backend, std::string name) {
  std::string prefix = name + "/";
  std::string end = prefix_end(prefix);
  CO_TRY_ASSIGN(RangeResult queue, co_await backend.range({.key = std::move(prefix), .range_end = std::move(end)}));
  LeaderSeen seen{.revision = queue.revision};
  for (KeyValue& kv : queue.kvs)
    if (!seen.kv || kv.create.value < seen.kv->create.value) seen.kv = std::move(kv);
  co_return seen;
}

Task<Result<LeaderSeen>> Observer::next() {
  for (;;) {
    if (!leader_) {
      CO_TRY_ASSIGN(LeaderSeen seen, co_await find_leader(backend_, name_));
      Revision after(seen.revision.value + 1);
      if (!seen.kv) {
        CO_TRY(co_await wait_for_candidate(after));
        continue;
      }
      CO_TRY_ASSIGN(leader_, co_await backend_.watch({.key = seen.kv->key, .start_revision = after}));
      co_return seen;
    }
    Result<WatchBatch> batch = co_await leader_->next();
    if (!batch) {
      leader_.reset();
      if (batch.error().code() == Code::kOutOfRange) continue;  // a compaction overtook the watch: look again
      co_return fail(batch.error());
    }
    for (const WatchEvent& event : batch->events()) {  // a key changes once a revision: one event
      if (event.type == WatchEvent::Type::kPut) co_return LeaderSeen{.revision = batch->revision, .kv = event.kv};
      leader_.reset();
    }
  }
}

Task<Result<>> Observer::wait_for_candidate(Revision from) {
  std::string prefix = name_ + "/";
  std::string end = prefix_end(prefix);
  CO_TRY_ASSIGN(std::unique_ptr<Watch> watch, co_await backend_.watch({.key = std::move(prefix), .range_end = std::move(end), .start_revision = from}));
  for (;;) {
    Result<WatchBatch> batch = co_await watch->next();
    if (!batch && batch.error().code() == Code::kOutOfRange) co_return Result<>();
    CO_TRY(batch);
    for (const WatchEvent& event : batch->events())
      if (event.type == WatchEvent::Type::kPut) co_return Result<>();
  }
}

}  // namespace monopod::store
