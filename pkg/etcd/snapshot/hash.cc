#include "etcd/snapshot/hash.h"

#include <algorithm>

#include "etcd/snapshot/backend_image.h"

namespace monopod::etcd {
namespace {

using async::Task;
using store::Revision;

constexpr int kAttemptsMax = 5;

Error compacted_error() { return Error(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"); }

// Which records count, as every etcd since 3.4.34 and 3.5.16 has it.
struct Filter {
  std::int64_t revision;
  std::int64_t compacted;
  const store::SqliteBackend::Places& places;  // at revision, no newer than compacted

  bool counts(const store::DumpRow& row) const {
    if (row.revision > revision) return false;
    if (row.revision > compacted) return true;
    if (row.tombstone() && row.revision == compacted) return false;
    return places.keys == 0 || std::ranges::binary_search(places.kept, std::pair{row.revision, row.sub});
  }
};

Task<Result<KvHash>> hash_at(store::SqliteBackend& store, async::Pool& pool, Revision revision) {
  CO_TRY_ASSIGN(std::unique_ptr<store::Dump> dump, co_await store.dump());
  Revision compacted = dump->head().compacted;
  if (revision < compacted) co_return fail(compacted_error());
  store::SqliteBackend::Places places;
  if (compacted.value > 0) {
    CO_TRY_ASSIGN(places, co_await store.places_at(revision, compacted));
  }
  Filter filter{.revision = revision.value, .compacted = compacted.value, .places = places};
  std::uint32_t crc = crc32c(0, "key");
  auto slice = [&]() -> Result<bool> {
    return dump->read([&](const store::DumpRow& row) -> Result<> {
      if (!filter.counts(row)) return {};
      auto [key, value] = format_row(row);
      crc = crc32c(crc32c(crc, key), value);
      return {};
    });
  };
  for (bool more = true; more;) {
    CO_TRY_ASSIGN(more, co_await pool.run(slice));
  }
  co_return KvHash{.hash = crc, .revision = revision, .compacted = compacted};
}

}  // namespace

Task<Result<KvHash>> hash_kv(store::SqliteBackend& store, async::Pool& pool, Revision revision) {
  for (int attempt = 1;; ++attempt) {
    if (revision > store.current_revision()) co_return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision");
    if (revision.value > 0 && revision <= store.compact_revision()) co_return fail(compacted_error());
    Result<KvHash> hash = co_await hash_at(store, pool, revision.value > 0 ? revision : store.current_revision());
    // Compaction overtook the newest revision of a moment ago: there is a newer one now, unless it is compacted itself.
    if (!hash && hash.error().code() == Code::kOutOfRange && revision.value <= 0 && attempt < kAttemptsMax) continue;
    co_return hash;
  }
}

}  // namespace monopod::etcd
