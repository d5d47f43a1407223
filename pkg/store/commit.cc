// Group commit: everything queued becomes one SQLite transaction with one fsync; what arrives meanwhile waits for the next.
#include <boost/asio/post.hpp>

#include "base/log.h"
#include "base/strings.h"
#include "store/sqlite_store.h"

namespace monopod::store {
namespace {

constexpr std::int64_t kCheckpointBytes = 8 << 20;  // of write-ahead log
constexpr std::int64_t kReservedBlock = 100'000;  // revisions, so rarely a write; a restart skips at most as many
constexpr std::chrono::milliseconds kSyncInterval{10};
// Writers that were answered come back within a moment: a commit that waits for them saves them one of their own.
constexpr std::size_t kGatherWritersMin = 8;
// What the loop takes to answer a writer and to hear it again. Where a commit is shorter than that for all of them, half the writers are
// committed while the loop has the other half: neither waits for the other.
constexpr std::chrono::microseconds kLoopPerWriter{20};
constexpr int kGatherShare = 4;  // of the last commit's time, at most
constexpr Duration kGatherMax = std::chrono::milliseconds(1);
constexpr int kGatherPause = 16;  // commits, after a wait that few came in

std::size_t bytes_of(const Writes& writes) {
  std::size_t bytes = 0;
  for (const Change& change : writes.changes) bytes += change.key.size() + (change.value ? change.value->size() : 0);
  for (const StateWrite& state : writes.state) bytes += state.value ? state.value->size() : 0;
  return bytes;
}

}  // namespace

async::Task<Result<TxnResult>> SqliteStore::txn(Txn txn) {
  CO_TRY(Mvcc::validate(txn));
  FetchedValues fetched;
  std::set<RowId> gone;  // once: compaction took it, the next attempt does not need it
  for (;;) {
    CO_TRY(writable());
    Result<Evaluation> evaluated = mvcc_.evaluate(txn, fetched);
    if (!evaluated) {
      CO_TRY(co_await settled());
      co_return fail(std::move(evaluated).error());
    }
    Evaluation evaluation = *std::move(evaluated);
    if (!evaluation.missing.empty()) {
      // Rows do not change, so a value fetched once is good for every later attempt.
      std::vector<RowId> rows = std::move(evaluation.missing);
      CO_TRY_ASSIGN(std::vector<SharedBytes> values, co_await read([this, &rows] { return db_->read_values(rows); }));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (values[i]) fetched[rows[i]] = values[i];
        else if (!gone.insert(rows[i]).second) co_return fail(Code::kDataLoss, cat("log row ", rows[i], " is missing: restore a snapshot"));
      }
      continue;
    }
    if (evaluation.changes.empty() && queue_.empty() && in_flight_.empty()) co_return std::move(evaluation.result);
    WorkPtr work = make_work();
    take_changes(*work, std::move(evaluation.changes));
    submit(work);  // before anything is awaited, as in finish()
    CO_TRY(co_await work->done.wait());
    if (work->error) co_return fail(*work->error);
    co_return std::move(evaluation.result);
  }
}

void SqliteStore::take_changes(Work& work, std::vector<Change> changes) {
  if (changes.empty()) return;
  work.revision = mvcc_.head;
  bool any_volatile = false;
  for (Change& change : changes) {
    any_volatile |= change.is_volatile;
    change.want_prev = !change.prev.tombstone() && hub_.wants_previous(change.key);
    if (change.want_prev && !change.prev_value) change.prev_value = mvcc_.values.find(change.prev.row);
  }
  if (any_volatile && work.revision > reserved_) {
    reserved_ = std::min(work.revision + kReservedBlock, kRevisionMax);
    work.writes.reserved_revision = reserved_;
  }
  work.writes.changes = std::move(changes);
}

void SqliteStore::submit(const WorkPtr& work) {
  queue_.push_back(work);
  if (queue_.size() >= wake_at_) work_arrived_.wake_all();
}

// Not a coroutine: one that was cancelled before is unwound where it awaits, and what was evaluated must be in the queue by then.
async::Task<Result<>> SqliteStore::finish(WorkPtr work) {
  submit(work);
  return wait_for(std::move(work));
}

async::Task<Result<>> SqliteStore::wait_for(WorkPtr work) {
  CO_TRY(co_await work->done.wait());
  if (work->error) co_return fail(*work->error);
  co_return Result<>();
}

async::Task<Result<>> SqliteStore::settled() {
  if (queue_.empty() && in_flight_.empty()) co_return Result<>();
  co_return co_await finish(make_work());
}

std::vector<WorkPtr> SqliteStore::next_batch(std::size_t most) {
  std::vector<WorkPtr> batch;
  std::size_t bytes = 0;
  while (!queue_.empty() && bytes < kCommitBytesMax && batch.size() < most) {
    bytes += bytes_of(queue_.front()->writes);
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

async::Task<Result<>> SqliteStore::until_queued() {
  while (queue_.size() < wake_at_ && !closing_) CO_TRY(co_await work_arrived_.wait());
  co_return Result<>();
}

std::size_t SqliteStore::writers_per_commit() const {
  const bool halves = expected_writers_ >= kGatherWritersMin && last_commit_ < kLoopPerWriter * expected_writers_;
  return halves ? (expected_writers_ + 1) / 2 : expected_writers_;
}

// Lets the writers of the last commits join the next one, where they are many. One writer alone never waits, and a file whose commits take no
// time neither.
async::Task<Result<>> SqliteStore::gather(std::size_t wanted) {
  std::size_t before = queue_.size();
  Duration limit = std::min<Duration>(last_commit_ / kGatherShare, kGatherMax);
  if (expected_writers_ < kGatherWritersMin || before >= wanted || limit.count() <= 0 || closing_) co_return Result<>();
  if (gather_pause_ > 0) {
    --gather_pause_;
    co_return Result<>();
  }
  wake_at_ = wanted;
  Result<> came = co_await async::with_timeout<void>(time_, limit, "more writers", until_queued());
  wake_at_ = 1;
  if (!came && came.error().code() == Code::kCancelled) co_return came;
  if (queue_.size() - before < (wanted - before) / 2) gather_pause_ = kGatherPause;
  co_return Result<>();
}

async::Task<Result<>> SqliteStore::run_committer() {
  for (;;) {
    CO_TRY(co_await until_queued());
    if (queue_.empty()) co_return Result<>();  // closing
    const std::size_t share = writers_per_commit();
    if (queue_.size() < share / 2 || share == expected_writers_) {
      co_await async::asio::post(executor_, async::use_task);  // the rest of this turn comes along
      CO_TRY(co_await gather(share));
    }
    in_flight_ = next_batch(share < expected_writers_ ? share : SIZE_MAX);
    std::vector<Writes*> writes;
    for (const WorkPtr& work : in_flight_)
      if (!work->writes.empty()) writes.push_back(&work->writes);
    Result<> committed;
    MonoTime began = time_.mono();
    if (failure_) committed = fail(*failure_);
    else if (!writes.empty()) committed = co_await commit_thread_.run([this, &writes] { return db_->commit(writes); });
    last_commit_ = time_.mono() - began;
    std::vector<WorkPtr> batch = std::exchange(in_flight_, {});
    expected_writers_ = batch.size() + queue_.size();
    if (committed) {
      if (!writes.empty()) {
        ++counters_.commits;
        counters_.commit_seconds.observe(std::chrono::duration<double>(last_commit_).count());
        counters_.wal_bytes_written = db_->wal_bytes_written();
      }
      publish(batch);
      if (!writes.empty()) co_await checkpoint_if_due();
    } else {
      take_back(std::move(batch), committed.error());
    }
  }
}

void SqliteStore::publish(const std::vector<WorkPtr>& batch) {
  for (const WorkPtr& work : batch) {
    if (work->writes.reserved_revision) reserved_durable_ = *work->writes.reserved_revision;
    counters_.payload_bytes += static_cast<std::int64_t>(bytes_of(work->writes));
    if (work->revision > 0) {
      ++counters_.txns;
      mvcc_.commit(work->revision, work->writes.changes);
      for (const Change& change : work->writes.changes) ++(change.now.tombstone() ? counters_.deletes : counters_.puts);
      auto committed = std::make_shared<Committed>(Committed{.revision = work->revision, .changes = std::move(work->writes.changes)});
      hub_.publish(*committed);
      tail_.append(std::move(committed));
    }
    if (work->on_durable) work->on_durable();
    work->done.set();
  }
  if (options_.durability == Durability::kBatch && !unsynced_) {
    unsynced_ = true;
    unsynced_changed_.wake_all();
  }
}

void SqliteStore::take_back(std::vector<WorkPtr> batch, const Error& why) {
  if (!failure_ && db_->broken()) {
    failure_ = Error(Code::kUnavailable, "the store failed and takes no more writes until it is opened again: " + why.message());
    log::error("store failed", {{"error", why}});
    failed_.wake_all();
  }
  // What was evaluated later rests on what failed.
  batch.insert(batch.end(), std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
  queue_.clear();
  for (auto work = batch.rbegin(); work != batch.rend(); ++work) {
    mvcc_.undo((*work)->writes.changes);
    if ((*work)->undo) (*work)->undo();
  }
  mvcc_.head = mvcc_.committed;
  reserved_ = reserved_durable_;
  for (const WorkPtr& work : batch) {
    work->error = failure_ ? *failure_ : why;
    work->done.set();
  }
  if (failure_) {
    hub_.wake_all();
    compact_finished_.wake_all();
  }
}

async::Task<> SqliteStore::checkpoint_if_due() {
  std::int64_t pages = db_->wal_pages();
  if (pages < checkpointed_pages_) checkpointed_pages_ = 0;  // the log began anew
  if ((pages - checkpointed_pages_) * db_->page_bytes() < kCheckpointBytes) co_return;
  checkpointed_pages_ = pages;
  Result<> done = co_await commit_thread_.run([this] { return db_->checkpoint(); });
  if (done) co_return;
  log::warn("checkpoint failed", {{"error", done.error()}});
  if (db_->broken() && !failure_) take_back({}, done.error());
}

// Durability batch: fsync some milliseconds after the first commit that has none.
async::Task<Result<>> SqliteStore::run_syncer() {
  for (;;) {
    while (!unsynced_) CO_TRY(co_await unsynced_changed_.wait());
    CO_TRY(co_await time_.sleep_for(kSyncInterval));
    unsynced_ = false;
    Result<> synced = co_await commit_thread_.run([this] { return db_->sync_wal(); });
    if (!synced && !failure_) take_back({}, synced.error());
  }
}

}  // namespace monopod::store
