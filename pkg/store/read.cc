// Ranges: the index is walked on the loop, in slices; values that are not in memory are read on the pool.
#include <algorithm>
#include <boost/asio/post.hpp>

#include "store/sqlite_store.h"

namespace monopod::store {
namespace {

constexpr int kAttemptsMax = 5;
constexpr std::size_t kParallelRowsMin = 1000;

Error compacted_error() { return Error(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"); }

}  // namespace

async::Task<Result<RangeResult>> SqliteStore::range(RangeRequest request) {
  if (request.key.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  ++counters_.ranges;
  for (int attempt = 1;; ++attempt) {
    CO_TRY(usable());
    CO_TRY(mvcc_.check_revision(request.revision.value, mvcc_.committed, request.key, request.range_end));
    bool latest = request.revision.value <= 0;
    Result<RangeResult> result = co_await range_at(request, latest ? mvcc_.committed : request.revision.value);
    // Compaction overtook a long read of the newest state: read the newer one.
    if (!result && result.error().code() == Code::kOutOfRange && latest && attempt < kAttemptsMax) continue;
    co_return result;
  }
}

async::Task<Result<RangeResult>> SqliteStore::range_at(const RangeRequest& request, std::int64_t at) {
  RangeResult result;
  result.revision = Revision(mvcc_.committed);
  std::vector<RowId> rows;
  std::string cursor = request.key;
  for (bool more = true; more;) {
    more = false;
    std::size_t steps = 0;
    mvcc_.index.walk(cursor, request.range_end, [&](const KeyIndex::Entry& entry) {
      if (++steps > kRangeSliceKeys) {
        cursor = entry.key;
        more = true;
        return false;
      }
      const Version* version = entry.visible_at(at);
      if (!version) return true;
      ++result.count;
      if (request.count_only) return true;
      if (request.limit > 0 && result.count > request.limit) {
        result.more = true;
        return true;
      }
      result.kvs.push_back(make_key_value(entry.key, *version, nullptr));
      if (!request.keys_only) rows.push_back(version->row);
      return true;
    });
    if (!more) break;
    co_await async::asio::post(executor_, async::use_task);
    CO_TRY(usable());
    if (mvcc_.compacted > at) co_return fail(compacted_error());
  }
  CO_TRY_ASSIGN(std::vector<SharedBytes> values, co_await values_of(rows));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) {
      if (mvcc_.compacted > at) co_return fail(compacted_error());
      co_return fail(Code::kDataLoss, "log row of key " + result.kvs[i].key + " is missing: restore a snapshot");
    }
    result.kvs[i].value = std::move(values[i]);
  }
  co_return result;
}

async::Task<Result<SqliteBackend::Places>> SqliteStore::places_at(Revision revision, Revision newest) {
  const std::string everything(1, '\0');
  Places places;
  std::string cursor = everything;
  for (bool more = true; more;) {
    CO_TRY(usable());
    CO_TRY(mvcc_.check_revision(revision.value, mvcc_.committed, everything, everything));
    more = false;
    std::size_t steps = 0;
    mvcc_.index.walk(cursor, everything, [&](const KeyIndex::Entry& entry) {
      if (++steps > kRangeSliceKeys) {
        cursor = entry.key;
        more = true;
        return false;
      }
      const Version* version = entry.visible_at(revision.value);
      if (!version || mvcc_.is_volatile(entry.key)) return true;
      ++places.keys;
      if (version->revision() <= newest.value) places.kept.emplace_back(version->revision(), version->row & kSubMax);
      return true;
    });
    if (more) co_await async::asio::post(executor_, async::use_task);
  }
  std::ranges::sort(places.kept);
  co_return places;
}

// Keeps the store open while it exists.
class SqliteStore::GuardedDump final : public Dump {
 public:
  GuardedDump(SqliteStore& store, std::unique_ptr<Dump> dump) : guard_(store), dump_(std::move(dump)) {}
  const DumpHead& head() const override { return dump_->head(); }
  Result<bool> read(const OnDumpRow& on_row) override { return dump_->read(on_row); }
  Result<std::vector<std::pair<std::string, std::string>>> state(const std::string& bucket) override { return dump_->state(bucket); }

 private:
  ReadGuard guard_;
  std::unique_ptr<Dump> dump_;  // goes first
};

async::Task<Result<std::unique_ptr<Dump>>> SqliteStore::dump() {
  CO_TRY(usable());
  if (!failure_) CO_TRY(co_await finish_compaction());
  CO_TRY(usable());
  ReadGuard guard(*this);
  CO_TRY_ASSIGN(std::unique_ptr<Dump> dump, co_await pool_.run([this] { return db_->dump(); }));
  co_return std::make_unique<GuardedDump>(*this, std::move(dump));
}

async::Task<Result<std::vector<SharedBytes>>> SqliteStore::values_of(const std::vector<RowId>& rows) {
  std::vector<SharedBytes> values(rows.size());
  std::vector<RowId> absent;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    values[i] = mvcc_.values.find(rows[i]);
    if (values[i]) continue;
    absent.push_back(rows[i]);
    places.push_back(i);
  }
  if (absent.empty()) co_return values;
  CO_TRY_ASSIGN(std::vector<SharedBytes> fetched, co_await read_values(absent));
  mvcc_.values.add_all(absent, fetched);
  for (std::size_t i = 0; i < absent.size(); ++i) values[places[i]] = std::move(fetched[i]);
  co_return values;
}

async::Task<Result<>> SqliteStore::read_part(std::span<const RowId> rows, std::span<SharedBytes> values) {
  CO_TRY_ASSIGN(std::vector<SharedBytes> read_now, co_await read([this, rows] { return db_->read_values(rows); }));
  std::ranges::move(read_now, values.begin());
  co_return Result<>();
}

// Many rows are read by two threads of the pool at once: expanding values costs more than finding them.
async::Task<Result<std::vector<SharedBytes>>> SqliteStore::read_values(const std::vector<RowId>& rows) {
  std::vector<SharedBytes> values(rows.size());
  if (rows.size() < kParallelRowsMin) {
    CO_TRY(co_await read_part(rows, values));
    co_return values;
  }
  std::size_t half = rows.size() / 2;
  std::span<const RowId> all(rows);
  std::span<SharedBytes> into(values);
  async::Scope scope(executor_);
  scope.spawn(read_part(all.first(half), into.first(half)));
  scope.spawn(read_part(all.subspan(half), into.subspan(half)));
  CO_TRY(co_await scope.join());
  co_return values;
}

}  // namespace monopod::store
