// Model: etcd's semantics without time, threads or disks. A state per revision; applying a transaction to one gives the next, its
// events and its answer. Written apart from the store, from etcd's documentation and source, so that it can disagree with it.
#pragma once

#include <map>

#include "store/backend.h"

namespace monopod::testing {

using State = std::map<std::string, store::KeyValue>;

struct Applied {
  State state{};
  std::vector<store::WatchEvent> events{};  // with the previous value where there was one
  store::TxnResult result{};
  std::optional<Error> refused{};           // then nothing else counts
};

// states[r]: the state at revision r; those that a read in a transaction may ask for.
using States = std::map<std::int64_t, State>;

// Applies txn to states.at(before), as revision before + 1.
Applied apply_txn(const States& states, std::int64_t before, const store::Txn& txn);
// The keys of a lease go, in key order.
Applied apply_lease_end(const State& state, std::int64_t before, store::LeaseId lease);
store::RangeResult apply_range(const State& state, const store::RangeRequest& request);

}  // namespace monopod::testing
