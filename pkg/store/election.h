// Elections by etcd's recipe: the queue of lock.h, whose keys carry what their candidate has to say. The leader is the oldest key.
//
//   CO_TRY_ASSIGN(Leadership mine, co_await campaign(backend, "scheduler", lease.id, share("node-a")));
//   CO_TRY(co_await proclaim(backend, mine, share("node-a:10259")));
//   CO_TRY(co_await resign(backend, mine));
//
// What lock.h says of leases and fences holds here too: a leader that lost its lease does not know it, so writes in the leader's
// name carry still_leader(), and Leadership::create grows from leader to leader.
#pragma once

#include "store/backend.h"

namespace monopod::store {

struct Leadership {
  std::string key{};    // name/<lease in hex>
  Revision create{};    // of key: the fencing token
  LeaseId lease{};
  Revision revision{};  // of the store when it was won
};

// Waits until elected. forever: the leaders decide; bound it with with_timeout. Cancelled or failing, it leaves the election.
// Campaigning again with the same lease changes the value.
//   kNotFound            there is no such lease
//   kFailedPrecondition  "election: session expired": the lease ended, or somebody deleted the key, while waiting
async::Task<Result<Leadership>> campaign(Backend& backend, std::string name, LeaseId lease, SharedBytes value);
// kFailedPrecondition "election: not leader" once the key is gone. Returns the new revision.
async::Task<Result<Revision>> proclaim(Backend& backend, Leadership leadership, SharedBytes value);
// Resigning what is lost changes nothing. Returns the store's revision.
async::Task<Result<Revision>> resign(Backend& backend, Leadership leadership);
Compare still_leader(const Leadership& leadership);

struct LeaderSeen {
  Revision revision{};           // of the store when seen
  std::optional<KeyValue> kv{};  // nullopt: nobody leads
};
async::Task<Result<LeaderSeen>> find_leader(Backend& backend, std::string name);

// What the leaders of an election say, in order; may leave out what was said before another leader came, never the newest.
class Observer {
 public:
  // backend outlives it.
  Observer(Backend& backend, std::string name) : backend_(backend), name_(std::move(name)) {}
  // The leader there is, then each change. forever: there may be none. One call at a time.
  async::Task<Result<LeaderSeen>> next();

 private:
  async::Task<Result<>> wait_for_candidate(Revision from);
  Backend& backend_;
  std::string name_;
  std::unique_ptr<Watch> leader_;  // of its key
};

}  // namespace monopod::store
