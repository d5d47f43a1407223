#include "store/sqlite_store.h"

#include "base/log.h"
#include "base/strings.h"

namespace monopod::store {

Result<Durability> parse_durability(std::string_view text) {
  if (text == "always") return Durability::kAlways;
  if (text == "batch" || text == "batch(10ms)") return Durability::kBatch;
  if (text == "os") return Durability::kOs;
  return fail(Code::kInvalidArgument, cat("durability \"", text, "\": want always, batch or os"));
}

async::Task<Result<std::unique_ptr<SqliteBackend>>> SqliteBackend::open(SqliteOptions options, async::Pool& pool, async::Time& time, Rng& rng) {
  async::Executor executor = co_await async::this_executor();
  const CompactionPolicy& retention = options.compaction;
  if (retention.keep_revisions < 0 || retention.keep_age.count() < 0 || retention.interval.count() < 0)
    co_return fail(Code::kInvalidArgument, "compaction: revisions, age and interval to keep may not be negative");
  auto store = std::make_unique<SqliteStore>(executor, std::move(options), pool, time, rng);
  CO_TRY(co_await pool.run([&store] { return store->load(); }));
  store->start();
  co_return store;
}

SqliteStore::SqliteStore(async::Executor executor, SqliteOptions options, async::Pool& pool, async::Time& time, Rng& rng)
    : executor_(executor),
      options_(std::move(options)),
      pool_(pool),
      time_(time),
      rng_(rng),
      own_commit_thread_(options_.commit_pool ? nullptr : std::make_unique<async::Pool>(1)),
      commit_thread_(options_.commit_pool ? *options_.commit_pool : *own_commit_thread_),
      mvcc_(options_.volatile_prefixes, options_.value_cache_bytes),
      hub_(executor),
      committer_scope_(executor),
      background_(executor),
      work_arrived_(executor),
      unsynced_changed_(executor),
      failed_(executor),
      reads_ended_(executor),
      leases_changed_(executor),
      compact_wanted_(executor),
      compact_finished_(executor) {}

SqliteStore::~SqliteStore() = default;

Result<> SqliteStore::index_row(const Version& version, std::string_view key) {
  auto broken = [&](std::string_view what) {
    return fail(Code::kDataLoss, cat("log row ", version.row, ": ", what));
  };
  if (mvcc_.is_volatile(key)) {  // written before its prefix became volatile
    stale_rows_.push_back(version.row);
    return {};
  }
  std::int64_t revision = version.revision();
  if (version.row <= 0 || revision < 2 || key.empty() || key.size() > kKeyBytesMax) return broken("no valid key or revision");
  if (version.tombstone() ? version.create != 0 : (version.version < 0 || version.create < 2 || version.create > revision))
    return broken("impossible version");
  if (const KeyIndex::Entry* entry = mvcc_.index.find(key)) {
    const Version& before = entry->latest;
    bool follows = version.tombstone()  ? !before.tombstone()
                   : before.tombstone() ? version.version == 1 && version.create == revision
                                        : version.version == before.version + 1 && version.create == before.create;
    if (!follows || before.revision() >= revision) return broken("does not follow the change before it");
  }
  mvcc_.index.push(key, version);
  mvcc_.head = std::max(mvcc_.head, revision);
  return {};
}

Result<> SqliteStore::load() {
  TRY_ASSIGN(db_, Database::open(options_));
  TRY_ASSIGN(Meta meta, db_->read_meta());
  TRY(db_->scan([this](const Version& version, std::string_view key) { return index_row(version, key); }));
  TRY_ASSIGN(loaded_leases_, db_->read_leases());
  mvcc_.head = std::max({mvcc_.head, meta.compact_revision, meta.reserved_revision > 0 ? meta.reserved_revision + 1 : 0});
  mvcc_.committed = mvcc_.head;
  mvcc_.compacted = compact_requested_ = meta.compact_revision;
  mvcc_.volatile_floor = mvcc_.head;
  reserved_ = reserved_durable_ = meta.reserved_revision;
  tail_.start(mvcc_.head + 1);
  while (!mvcc_.index.prune(mvcc_.compacted, kRangeSliceKeys, prune_cursor_, stale_rows_)) {
  }
  return {};
}

void SqliteStore::start() {
  MonoTime now = opened_ = time_.mono();
  for (const LeaseRow& row : loaded_leases_) {
    auto remaining = std::chrono::milliseconds(row.remaining_ms);
    mvcc_.leases.insert(row.id, {.ttl = std::chrono::seconds(row.ttl_s), .expires = now + remaining, .stored = remaining});
  }
  if (!loaded_leases_.empty()) {
    mvcc_.index.walk(std::string_view("\0", 1), std::string_view("\0", 1), [&](const KeyIndex::Entry& entry) {
      mvcc_.leases.attach(entry.latest.lease, entry.key);
      return true;
    });
  }
  loaded_leases_ = {};
  sample_revision();
  committer_scope_.spawn(run_committer());
  background_.spawn(run_lessor());
  background_.spawn(run_compactor());
  if (options_.durability == Durability::kBatch) background_.spawn(run_syncer());
}

Result<> SqliteStore::usable() const {
  if (closing_) return fail(Code::kUnavailable, "the store is closed");
  return {};
}

Result<> SqliteStore::writable() const {
  TRY(usable());
  if (failure_) return fail(*failure_);
  return {};
}

async::Task<Result<>> SqliteStore::close() {
  if (closed_) co_return Result<>();
  co_await async::asio::this_coro::throw_if_cancelled(false);
  co_await async::shielded(close_down());
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return Result<>();
}

async::Task<> SqliteStore::close_down() {
  background_.cancel();
  (void)co_await background_.join();
  if (!failure_ && !closing_) (void)co_await store_lease_times();
  closing_ = true;
  hub_.wake_all();
  compact_finished_.wake_all();
  work_arrived_.wake_all();
  (void)co_await committer_scope_.join();
  while (reads_ > 0) (void)co_await reads_ended_.wait();
  co_await commit_thread_.run([this] { db_.reset(); });
  closed_ = true;
}

async::Task<Result<>> SqliteStore::until_failure() {
  while (!failure_) CO_TRY(co_await failed_.wait());
  co_return fail(*failure_);
}

async::Task<Result<StoreStats>> SqliteStore::stats() {
  CO_TRY(usable());
  CO_TRY_ASSIGN(Database::FileSize size, co_await read([this] { return db_->file_size(); }));
  StoreStats stats = counters_;
  stats.keys = static_cast<std::int64_t>(mvcc_.index.live());
  stats.versions = static_cast<std::int64_t>(mvcc_.index.versions());
  stats.file_bytes_written = db_->file_bytes_written();
  stats.leases = static_cast<std::int64_t>(mvcc_.leases.all().size());
  stats.watchers = static_cast<std::int64_t>(hub_.watchers());
  stats.open_for = std::chrono::duration_cast<std::chrono::seconds>(time_.mono() - opened_);
  stats.file_bytes = size.pages * size.page_bytes;
  stats.file_bytes_in_use = (size.pages - size.free_pages) * size.page_bytes;
  stats.slow_watchers = stats.watchers - static_cast<std::int64_t>(hub_.waiting());
  co_return stats;
}

async::Task<Result<>> SqliteStore::snapshot(std::string path) {
  CO_TRY(usable());
  co_return co_await read([this, &path] { return db_->snapshot(path); });
}

async::Task<Result<>> SqliteStore::apply(std::string bucket, std::vector<async::StateChange> changes, async::Lasts lasts) {
  CO_TRY(writable());
  WorkPtr work = make_work();  // one work is one part of a commit, whole or not at all
  work->lasts = lasts;
  for (async::StateChange& change : changes) {
    if (change.value && change.value->size() > kStateValueBytesMax)
      co_return fail(Code::kInvalidArgument, cat("state ", bucket, "/", change.key, ": value over 1 MiB"));
    work->writes.state.push_back({.bucket = bucket, .key = std::move(change.key), .value = std::move(change.value)});
  }
  co_return co_await finish(std::move(work));
}

async::Task<Result<std::vector<std::pair<std::string, std::string>>>> SqliteStore::list(std::string bucket) {
  CO_TRY(usable());
  co_return co_await read([this, &bucket] { return db_->read_state(bucket); });
}

}  // namespace monopod::store
