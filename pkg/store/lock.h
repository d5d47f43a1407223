// Locks between programs that share a store, by etcd's recipe (client/v3/concurrency): each candidate puts a key of its own under
// the lock's name, "name/<lease in hex>", and holds the lock when no older key is left. A candidate watches only its own key and the
// one just before it, so one that goes wakes one. etcdctl lock, v3lockpb and clients in other languages are candidates of the same queue.
//
//   scope.spawn(keep_lease(backend, time, lease));                      // its end cancels the work that relies on the lock
//   CO_TRY_ASSIGN(Lock lock, co_await acquire_lock(backend, "jobs/rotate", lease.id));
//   txn.compare.push_back(still_held(lock));                            // every write under the lock carries its fence
//   CO_TRY(co_await release_lock(backend, lock));
//
// A lock is only as good as its lease. A holder that sleeps, is stopped or cut off past its time to live has lost the lock without
// knowing it, and somebody else works already. So: writes to the store carry still_held(); what lives elsewhere compares
// Lock::create, which is larger for every later holder, and refuses a smaller one.
//
// Names are not escaped: "a" has the keys of "a/b" in its queue, as in etcd. One lease is one candidate: acquiring twice with it
// gives the same lock twice, and one release ends both.
//
// Cancelled while waiting, or failing, a candidate takes its key out of the queue before it returns.
#pragma once

#include "async/time.h"
#include "store/backend.h"

namespace monopod::store {

struct Lock {
  std::string key{};    // name/<lease>
  Revision create{};    // of key: the fencing token
  Revision revision{};  // of the store when the lock was seen to be held
};

// Waits until the lock is held. forever: the holders decide; bound it with with_timeout.
//   kNotFound            there is no such lease
//   kFailedPrecondition  "mutex: session is expired": the lease ended, or somebody deleted the key, while waiting
async::Task<Result<Lock>> acquire_lock(Backend& backend, std::string name, LeaseId lease);
// nullopt if somebody else holds it, or is before us in the queue.
async::Task<Result<std::optional<Lock>>> try_lock(Backend& backend, std::string name, LeaseId lease);
// Releasing a lock that is lost changes nothing. Returns the store's revision.
async::Task<Result<Revision>> release_lock(Backend& backend, Lock lock);
// For the compares of a transaction that must not happen once the lock is lost.
Compare still_held(const Lock& lock);

// Renews the lease at each third of its time to live until cancelled. kNotFound once it is gone: spawned beside the work that
// relies on it, this cancels that work. kDeadlineExceeded when renewing failed for a whole time to live.
async::Task<Result<>> keep_lease(Backend& backend, async::Time& time, Lease lease);

}  // namespace monopod::store
