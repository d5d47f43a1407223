// Backend: the datastore under the API server and under the etcd service. SqliteBackend is one, an external
// etcd cluster is another.
//
//   auto made = co_await backend.create("/registry/pods/default/a", share(json));      // kAlreadyExists if present
//   auto list = co_await backend.range({.key = "/registry/pods/", .range_end = prefix_end("/registry/pods/")});
//   auto watch = co_await backend.watch({.key = ..., .range_end = ..., .start_revision = Revision(list->revision.value + 1)});
//
// Everything is called on one loop. What a call acknowledged is durable (as the durability mode says); nothing that is
// not durable can be seen. A cancelled or kUnavailable write may or may not have happened.
//
// Errors, texts as etcd's since clients match them:
//   kInvalidArgument    empty key, duplicate key in a transaction, too many operations, too large a request
//   kOutOfRange         revision compacted or in the future; lease TTL too large
//   kNotFound           lease does not exist
//   kFailedPrecondition lease exists already
//   kResourceExhausted  no space: this write failed, reads work, later writes work once there is space
//   kDataLoss           a stored row fails its checksum
//   kUnavailable        closed, or failed for good after an I/O error (restart; the text names the error)
#pragma once

#include <chrono>

#include "async/task.h"
#include "store/types.h"
#include "store/watch.h"

namespace monopod::store {

struct Lease {
  LeaseId id{};
  std::chrono::seconds ttl{};        // as granted
  std::chrono::seconds remaining{};  // rounded down; -1: no such lease (time_to_live only)
  std::vector<std::string> keys{};     // time_to_live with keys
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual async::Task<Result<RangeResult>> range(RangeRequest request) = 0;
  virtual async::Task<Result<TxnResult>> txn(Txn txn) = 0;
  virtual async::Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) = 0;
  // Forgets every state before revision; values still live at it stay. Returns when the loss is recorded; rows go in the background.
  virtual async::Task<Result<>> compact(Revision revision) = 0;

  // id 0: the store picks one. ttl below 1 s counts as 1 s.
  virtual async::Task<Result<Lease>> lease_grant(std::chrono::seconds ttl, LeaseId id) = 0;
  // Deletes its keys in one revision.
  virtual async::Task<Result<>> lease_revoke(LeaseId id) = 0;
  virtual async::Task<Result<Lease>> lease_keep_alive(LeaseId id) = 0;
  virtual async::Task<Result<Lease>> lease_time_to_live(LeaseId id) = 0;
  virtual async::Task<Result<std::vector<LeaseId>>> leases() = 0;

  // Of the newest durable state that this backend has seen.
  virtual Revision current_revision() const = 0;
  // Of everything that was acknowledged to any client of the store when this was called: what a consistent read must have.
  virtual async::Task<Result<Revision>> newest_revision() { co_return current_revision(); }
  // States before it are gone; 0 or -1: nothing was ever compacted.
  virtual Revision compact_revision() const = 0;

  // The three writes of optimistic concurrency. Each returns the new revision.
  async::Task<Result<Revision>> create(std::string key, SharedBytes value, LeaseId lease = LeaseId());  // kAlreadyExists
  // expected: mod revision the key must have. kAborted if it differs, kNotFound if there is no such key.
  async::Task<Result<Revision>> update(std::string key, SharedBytes value, Revision expected, LeaseId lease = LeaseId());
  async::Task<Result<Revision>> remove(std::string key, Revision expected);
  // Unconditional.
  async::Task<Result<Revision>> put(std::string key, SharedBytes value, LeaseId lease = LeaseId());
  // nullopt if absent. revision 0: latest.
  async::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision = Revision());
};

}  // namespace monopod::store
