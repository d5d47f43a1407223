// etcd's hashes, by which members of a cluster (or a backup and its source) are compared. Read on a pool thread in slices; memory: 16 bytes
// for each key that lives since before the compaction.
#pragma once

#include "async/pool.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

struct KvHash {
  std::uint32_t hash = 0;            // CRC-32C of "key" and the records up to revision that a compaction has not dropped
  store::Revision revision{};
  store::Revision compacted{};       // 0: nothing was ever compacted
};

// revision 0: the newest. kOutOfRange (etcd's texts) if it is compacted or in the future; kDataLoss if a checksum fails.
async::Task<Result<KvHash>> hash_kv(store::SqliteBackend& store, async::Pool& pool, store::Revision revision);

}  // namespace monopod::etcd
