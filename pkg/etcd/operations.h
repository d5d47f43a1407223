// What etcd has no call for: how the store is, and a backup of it.
//
//   gRPC, beside etcd's Maintenance   /monopod.Store/Stats      one message; field 1: JSON, as describe_store() makes it
//                                     /monopod.Store/Snapshot   a stream; field 1: the next bytes of a backup (pkg/backup's format)
//   HTTP, on unix sockets alone       GET /v1/stats, GET /v1/snapshot: the same, for curl
#pragma once

#include "async/pool.h"
#include "backup/schedule.h"
#include "codec/json.h"
#include "http/exchange.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

// All outlive who holds this.
struct Operations {
  store::SqliteBackend& store;
  std::string data_dir{};                      // where copies for snapshots are made
  async::Pool& pool;
  const Clock& clock;
  const backup::Schedule* schedule = nullptr;  // null: no backups are scheduled
};

// {"revision":…,"compact_revision":…,"failure":"","store":{StoreStats},"backup":{…} or null}
async::Task<Result<json::Value>> describe_store(const Operations& operations);

// Answers the two paths; false: it is none of them, or came over the network. Nothing was answered then.
async::Task<Result<bool>> answer_operation(const Operations& operations, http::Exchange& exchange);

}  // namespace monopod::etcd
