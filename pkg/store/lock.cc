#include "store/lock.h"

#include "store/candidate.h"

namespace monopod::store {
namespace {

using async::Task;

constexpr const char* kExpired = "mutex: session is expired";  // etcd's text

Task<Result<Candidate>> enter_and_wait(Backend& backend, std::string name, std::string key, LeaseId lease) {
  CO_TRY_ASSIGN(Candidate candidate, co_await enter_queue(backend, std::move(key), share(""), lease));
  CO_TRY_ASSIGN(candidate.revision, co_await wait_for_turn(backend, std::move(name), candidate, kExpired));
  co_return candidate;
}

}  // namespace

Task<Result<Lock>> acquire_lock(Backend& backend, std::string name, LeaseId lease) {
  std::string key = candidate_key(name, lease);
  Revision before = backend.current_revision();
  CO_TRY_ASSIGN(Candidate candidate, co_await or_leave_queue(backend, key, before, enter_and_wait(backend, std::move(name), key, lease)));
  co_return Lock{.key = std::move(candidate.key), .create = candidate.create, .revision = candidate.revision};
}

Task<Result<std::optional<Lock>>> try_lock(Backend& backend, std::string name, LeaseId lease) {
  std::string key = candidate_key(name, lease);
  std::string prefix = name + "/";
  // Only an empty queue, or one where we are first already, lets us in: nobody ever waits behind a key that gives up.
  Txn txn;
  txn.compare.push_back({.key = prefix, .range_end = prefix_end(prefix), .target = Compare::Target::kCreate, .number = 0});
  txn.success.emplace_back(PutRequest{.key = key, .value = share(""), .lease = lease});
  txn.failure.emplace_back(RangeRequest{.key = prefix, .range_end = prefix_end(prefix), .keys_only = true});
  CO_TRY_ASSIGN(TxnResult result, co_await backend.txn(std::move(txn)));
  if (result.succeeded) co_return Lock{.key = std::move(key), .create = result.revision, .revision = result.revision};
  const KeyValue* first = nullptr;
  for (const KeyValue& kv : std::get<RangeResult>(result.results.at(0)).kvs)
    if (first == nullptr || kv.create.value < first->create.value) first = &kv;
  if (first == nullptr || first->key != key) co_return std::nullopt;
  co_return Lock{.key = std::move(key), .create = first->create, .revision = result.revision};
}

Task<Result<Revision>> release_lock(Backend& backend, Lock lock) { co_return co_await leave_queue(backend, std::move(lock.key), lock.create); }

Compare still_held(const Lock& lock) { return {.key = lock.key, .target = Compare::Target::kCreate, .number = lock.create.value}; }

Task<Result<>> keep_lease(Backend& backend, async::Time& time, Lease lease) {
  MonoTime renewed = time.mono();
  for (;;) {
    CO_TRY(co_await time.sleep_for(std::chrono::milliseconds(lease.ttl) / 3));
    Result<Lease> kept = co_await backend.lease_keep_alive(lease.id);
    if (kept) {
      renewed = time.mono();
      continue;
    }
    if (kept.error().code() == Code::kNotFound || kept.error().code() == Code::kCancelled) co_return fail(kept.error());
    if (time.mono() - renewed >= lease.ttl) co_return fail(Code::kDeadlineExceeded, "renew lease: " + kept.error().message());
  }
}

}  // namespace monopod::store
