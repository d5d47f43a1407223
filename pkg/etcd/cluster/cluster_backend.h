// ClusterBackend: an external etcd cluster (3.4 or newer) as the store. The meaning is etcd's own; what this adds is fail-over (client.h),
// ranges in pages, watches that survive their stream, and revisions it has seen. ADR 6 says what is local and what is remote.
//
//   CO_TRY_ASSIGN(auto store, co_await ClusterBackend::open({.client = {.endpoints = urls}}, time));
//   ...
//   co_await store->close();   // required before destruction
//
// A write of which no answer came is kUnavailable "... may have happened" and is not sent again. Reads are linearizable. Watches
// follow every key of the cluster and drop what was not asked for: revisions then have no holes, so what was delivered is known
// exactly, without the progress notifications that servers before 3.4.31 and 3.5.13 send too early. The user of a cluster with
// authentication must therefore be able to read every key.
#pragma once

#include "etcd/cluster/client.h"
#include "store/backend.h"

namespace monopod::etcd {

struct ClusterOptions {
  ClientOptions client{};
  std::chrono::seconds compaction_interval{300};  // history older than one to two of these is compacted, as kube-apiserver does; 0: never
  Duration open_timeout{};                        // how long open() waits for the cluster; zero: as long as it takes
};

class ClusterBackend : public store::Backend {
 public:
  // Returns once the cluster answered. kUnavailable after open_timeout; what etcd says of the user; kFailedPrecondition: too old an etcd.
  // time outlives it.
  static async::Task<Result<std::unique_ptr<ClusterBackend>>> open(ClusterOptions options, async::Time& time);

  // Ends watches and connections. Later calls fail with kUnavailable.
  virtual async::Task<Result<>> close() = 0;
  // Why no call can succeed now; nullopt while a member can be reached.
  virtual std::optional<Error> failure() const = 0;
  virtual Client& client() = 0;
};

}  // namespace monopod::etcd
