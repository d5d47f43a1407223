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
// What the loop takes to answer a writer and to hear it again. Where a commit is shorter than that for all of them, a part of the writers is
// committed while the loop has the others: neither waits for the other.
constexpr std::chrono::microseconds kLoopPerWriter{20};
constexpr int kGatherShare = 4;  // of the last commit's time, at most
constexpr Duration kGatherMax = std::chrono::milliseconds(1);
constexpr int kGatherPause = 16;  // commits, after a wait that few came in

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
    if (evaluation.changes.empty() && unfinished_ == 0) co_return std::move(evaluation.result);
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
  ++unfinished_;
  queue_.push(work);
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
  if (unfinished_ == 0) co_return Result<>();
  co_return co_await finish(make_work());
}

async::Task<Result<>> SqliteStore::until_queued() {
  while (queue_.size() < wake_at_ && !closing_) CO_TRY(co_await work_arrived_.wait());
  co_return Result<>();
}

void SqliteStore::plan_commits() {
  const bool many = expected_writers_ >= kGatherWritersMin, brief = last_commit_ < kLoopPerWriter * expected_writers_;
  enough_.store(many ? expected_writers_ / (brief ? 4 : 1) : 1, std::memory_order_relaxed);
  wanted_ = many && brief ? expected_writers_ / 2 : expected_writers_;
}

// Lets the writers of the last commits join the next one, where they are many. One writer alone never waits, and a file whose commits take no
// time neither.
async::Task<Result<>> SqliteStore::gather() {
  const std::size_t before = queue_.size(), wanted = wanted_;
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
    if (queue_.size() < std::max<std::size_t>(enough_, kGatherWritersMin)) {
      co_await async::asio::post(executor_, async::use_task);  // the rest of this turn comes along
      CO_TRY(co_await gather());
    }
    commit_began_ = time_.mono();
    co_await commit_thread_.run([this] { commit_queued(); });
  }
}

// On the commit thread: one commit after the other while enough waits, so that none waits for the loop, which is busy with the answers of the last.
void SqliteStore::commit_queued() {
  for (bool more = true; more;) {
    CommittedBatch done{.works = queue_.take(kCommitBytesMax)};
    std::vector<Writes*> writes;
    for (const WorkPtr& work : done.works)
      if (!work->writes.empty()) writes.push_back(&work->writes);
    if (!writes.empty()) done.result = db_->commit(writes);
    done.rows = !writes.empty();
    done.wal_bytes_written = db_->wal_bytes_written();
    more = done.result && queue_.size() >= enough_.load(std::memory_order_relaxed);
    const bool written = done.result && done.rows;
    async::asio::post(executor_, [this, done = std::move(done)]() mutable { end_commit(std::move(done)); });
    if (written) checkpoint_if_due();
  }
}

void SqliteStore::end_commit(CommittedBatch done) {
  if (done.result && failure_) done.result = fail(*failure_);
  last_commit_ = time_.mono() - std::exchange(commit_began_, time_.mono());
  expected_writers_ = unfinished_;
  plan_commits();
  if (!done.result) return take_back(std::move(done.works), done.result.error());
  if (done.rows) {
    ++counters_.commits;
    counters_.commit_seconds.observe(std::chrono::duration<double>(last_commit_).count());
    counters_.wal_bytes_written = done.wal_bytes_written;
  }
  publish(done.works);
}

void SqliteStore::publish(const std::vector<WorkPtr>& batch) {
  unfinished_ -= batch.size();
  bool lasting = false;
  for (const WorkPtr& work : batch) {
    lasting |= work->lasts == async::Lasts::kForever;
    if (work->writes.reserved_revision) reserved_durable_ = *work->writes.reserved_revision;
    counters_.payload_bytes += static_cast<std::int64_t>(work->writes.bytes());
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
  if (options_.durability == Durability::kBatch && lasting && !unsynced_) {
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
  std::vector<WorkPtr> later = queue_.take(SIZE_MAX);
  batch.insert(batch.end(), std::make_move_iterator(later.begin()), std::make_move_iterator(later.end()));
  unfinished_ -= batch.size();
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

void SqliteStore::checkpoint_if_due() {
  std::int64_t pages = db_->wal_pages();
  if (pages < checkpointed_pages_) checkpointed_pages_ = 0;  // the log began anew
  if ((pages - checkpointed_pages_) * db_->page_bytes() < kCheckpointBytes) return;
  checkpointed_pages_ = pages;
  Result<> done = db_->checkpoint();
  async::asio::post(executor_, [this, done = std::move(done)] {
    commit_began_ = time_.mono();
    if (done) return;
    log::warn("checkpoint failed", {{"error", done.error()}});
    if (db_->broken() && !failure_) take_back({}, done.error());
  });
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
