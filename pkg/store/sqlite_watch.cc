// One watch: reads its group's queue while it keeps up, else the tail in memory, else the log.
#include <algorithm>

#include "store/sqlite_store.h"

namespace monopod::store {

class SqliteWatch final : public Watch {
 public:
  SqliteWatch(SqliteStore& store, const WatchRequest& request)
      : store_(store), group_(store.hub_.join({request.key, request.range_end, request.prev_kv}, store.mvcc_.committed)) {
    position_.next = request.start_revision.value > 0 ? request.start_revision.value : store.mvcc_.committed + 1;
    too_old_ = position_.next < store.mvcc_.compacted;  // even where the tail still has it, as etcd
  }
  ~SqliteWatch() override {
    group_.end_waiting(position_);
    store_.hub_.leave(group_);
  }

  async::Task<Result<WatchBatch>> next() override;
  async::Task<Result<std::optional<WatchBatch>>> try_next() override;
  void set_listener(std::function<void()> listener) override { position_.listener = std::move(listener); }
  void request_progress() override {
    progress_wanted_ = true;
    if (!position_.waiting) return;
    if (position_.listener) position_.listener();
    else group_.changed.wake_all();
  }

 private:
  Result<> alive() const;
  std::shared_ptr<const WatchEvents> take_read();
  async::Task<Result<>> read_tail();
  async::Task<Result<>> read_log();
  async::Task<Result<>> add_previous(std::vector<Change>& changes);
  void keep(std::int64_t revision, const std::vector<Change>& changes);

  SqliteStore& store_;
  WatchGroup& group_;
  WatchPosition position_;
  std::deque<std::shared_ptr<const WatchEvents>> read_ahead_;  // from the log, before position_.next
  bool progress_wanted_ = false;
  bool too_old_ = false;
};

async::Task<Result<std::unique_ptr<Watch>>> SqliteStore::watch(WatchRequest request) {
  CO_TRY(writable());
  if (request.key.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  co_return std::make_unique<SqliteWatch>(*this, request);
}

Result<> SqliteWatch::alive() const {
  if (too_old_) return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted");
  if (store_.closing_) return fail(Code::kUnavailable, "the store is closed");
  if (store_.failure_) return fail(*store_.failure_);
  return {};
}

std::shared_ptr<const WatchEvents> SqliteWatch::take_read() {
  if (!read_ahead_.empty()) {
    auto batch = std::move(read_ahead_.front());
    read_ahead_.pop_front();
    return batch;
  }
  if (position_.next < group_.floor()) return nullptr;
  auto batch = group_.find_from(position_.next);
  if (batch) position_.next = batch->revision.value + 1;
  return batch;
}

async::Task<Result<WatchBatch>> SqliteWatch::next() {
  for (;;) {
    CO_TRY_ASSIGN(std::optional<WatchBatch> batch, co_await try_next());
    if (batch) co_return std::move(*batch);
    struct Waiting {
      WatchGroup& group;
      WatchPosition& position;
      ~Waiting() { group.end_waiting(position); }
    } waiting{group_, position_};
    CO_TRY(co_await group_.changed.wait());
  }
}

async::Task<Result<std::optional<WatchBatch>>> SqliteWatch::try_next() {
  group_.end_waiting(position_);
  for (;;) {
    CO_TRY(alive());
    if (auto batch = take_read()) co_return WatchBatch{.revision = batch->revision, .shared = std::move(batch)};
    if (position_.next < group_.floor()) {
      if (position_.next >= store_.tail_.floor()) CO_TRY(co_await read_tail());
      else CO_TRY(co_await read_log());
      continue;
    }
    if (std::exchange(progress_wanted_, false)) co_return WatchBatch{.revision = Revision(store_.mvcc_.committed)};
    position_.next = std::max(position_.next, store_.mvcc_.committed + 1);
    group_.begin_waiting(position_);
    co_return std::nullopt;
  }
}

void SqliteWatch::keep(std::int64_t revision, const std::vector<Change>& changes) {
  auto batch = std::make_shared<WatchEvents>(WatchEvents{.revision = Revision(revision)});
  for (const Change& change : changes) batch->events.push_back(make_event(change, change.prev_value, group_.range.prev_kv));
  read_ahead_.push_back(std::move(batch));
}

// The next revision of the tail that has something for this range.
async::Task<Result<>> SqliteWatch::read_tail() {
  std::vector<Change> mine;
  while (auto committed = store_.tail_.find_from(position_.next)) {
    for (const Change& change : committed->changes)
      if (in_range(change.key, group_.range.key, group_.range.range_end)) mine.push_back(change);
    position_.next = committed->revision + 1;
    if (mine.empty()) continue;
    if (group_.range.prev_kv) CO_TRY(co_await add_previous(mine));
    keep(committed->revision, mine);
    co_return Result<>();
  }
  position_.next = store_.mvcc_.committed + 1;
  co_return Result<>();
}

async::Task<Result<>> SqliteWatch::read_log() {
  const std::int64_t from = position_.next;
  auto still_there = [&]() -> Result<> {
    // A watch from the compacted revision itself misses nothing: all its rows are kept.
    if (from >= store_.mvcc_.compacted && (from >= store_.tail_.floor() || !store_.mvcc_.touches_volatile(group_.range.key, group_.range.range_end)))
      return {};
    return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted");
  };
  CO_TRY(still_there());
  const std::int64_t last = store_.mvcc_.committed;
  CO_TRY_ASSIGN(Database::LogSlice slice, co_await store_.read([&] {
    return store_.db_->read_log(from, last, group_.range.key, group_.range.range_end);
  }));
  CO_TRY(alive());
  if (from < store_.mvcc_.compacted) CO_TRY(still_there());
  std::vector<Change> changes;
  for (LogRow& row : slice.rows) changes.push_back({.key = std::move(row.key), .now = row.version, .value = std::move(row.value)});
  if (group_.range.prev_kv) {
    for (Change& change : changes) {
      const KeyIndex::Entry* entry = store_.mvcc_.index.find(change.key);
      if (!entry || !entry->older) continue;
      for (const Version& version : *entry->older)
        if (version.row < change.now.row) change.prev = version;
    }
    CO_TRY(co_await add_previous(changes));
  }
  for (auto begin = changes.begin(); begin != changes.end();) {
    std::int64_t revision = begin->now.revision();
    auto end = std::find_if(begin, changes.end(), [revision](const Change& c) { return c.now.revision() != revision; });
    keep(revision, std::vector<Change>(begin, end));
    begin = end;
  }
  position_.next = slice.next_revision;
  co_return Result<>();
}

async::Task<Result<>> SqliteWatch::add_previous(std::vector<Change>& changes) {
  std::vector<RowId> rows;
  for (const Change& change : changes)
    if (!change.prev_value && !change.prev.tombstone()) rows.push_back(change.prev.row);
  if (rows.empty()) co_return Result<>();
  CO_TRY_ASSIGN(std::vector<SharedBytes> values, co_await store_.values_of(rows));
  std::size_t i = 0;
  for (Change& change : changes)
    if (!change.prev_value && !change.prev.tombstone()) change.prev_value = std::move(values[i++]);
  co_return Result<>();
}

}  // namespace monopod::store
