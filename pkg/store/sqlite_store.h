// SqliteStore: the SqliteBackend. State and meaning live in Mvcc, bytes in Database; this class is the plumbing between them:
//
//   txn -> Mvcc::evaluate -> queue -> committer: one SQLite transaction for all that is queued -> publish -> answer
//
// A Work stays queued from evaluation to durability. If a commit fails, all Works, newest first, are taken back.
// sqlite_store.cc open and close · commit.cc the queue · read.cc ranges · sqlite_watch.cc · sqlite_lease.cc · compactor.cc
#pragma once

#include <atomic>
#include <deque>

#include "async/scope.h"
#include "store/commit_queue.h"
#include "store/database.h"
#include "store/mvcc.h"
#include "store/watch_hub.h"

namespace monopod::store {

class SqliteStore final : public SqliteBackend, private async::StateStore {
 public:
  SqliteStore(async::Executor executor, SqliteOptions options, async::Pool& pool, async::Time& time, Rng& rng);
  ~SqliteStore() override;

  Result<> load();  // blocking: opens and reads the log; nothing else runs yet
  void start();

  async::Task<Result<RangeResult>> range(RangeRequest request) override;
  async::Task<Result<TxnResult>> txn(Txn txn) override;
  async::Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override;
  async::Task<Result<>> compact(Revision revision) override;
  async::Task<Result<Lease>> lease_grant(std::chrono::seconds ttl, LeaseId id) override;
  async::Task<Result<>> lease_revoke(LeaseId id) override;
  async::Task<Result<Lease>> lease_keep_alive(LeaseId id) override;
  async::Task<Result<Lease>> lease_time_to_live(LeaseId id) override;
  async::Task<Result<std::vector<LeaseId>>> leases() override;
  Revision current_revision() const override { return Revision(mvcc_.committed); }
  Revision compact_revision() const override { return Revision(mvcc_.compacted); }

  async::Task<Result<>> close() override;
  async::StateStore& state() override { return *this; }
  std::optional<Error> failure() const override { return failure_; }
  async::Task<Result<>> until_failure() override;
  async::Task<Result<StoreStats>> stats() override;
  std::int64_t file_bytes() const override { return db_ ? db_->file_bytes() : 0; }
  async::Task<Result<>> snapshot(std::string path) override;
  async::Task<Result<std::unique_ptr<Dump>>> dump() override;
  async::Task<Result<Places>> places_at(Revision revision, Revision newest) override;
  async::Task<Result<>> finish_compaction() override;
  async::Task<Result<>> defragment() override;

  // StateStore
  async::Task<Result<>> apply(std::string bucket, std::vector<async::StateChange> changes, async::Lasts lasts) override;
  async::Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) override;
  using Backend::put;
  using Backend::remove;

 private:
  friend class SqliteWatch;

  // --- sqlite_store.cc
  Result<> index_row(const Version& version, std::string_view key);
  Result<> usable() const;           // kUnavailable once closed
  Result<> writable() const;         // and once failed
  async::Task<> close_down();
  // While one exists, close() waits.
  struct ReadGuard {
    SqliteStore& store;
    explicit ReadGuard(SqliteStore& s) : store(s) { ++s.reads_; }
    ~ReadGuard() {
      if (--store.reads_ == 0) store.reads_ended_.wake_all();
    }
    ReadGuard(const ReadGuard&) = delete;
    ReadGuard& operator=(const ReadGuard&) = delete;
  };
  class GuardedDump;
  // Runs a read of the database on the pool; close() waits for it.
  template <typename F>
  async::Task<std::invoke_result_t<F>> read(F work) {
    ReadGuard guard(*this);
    co_return co_await pool_.run(std::move(work));
  }

  // --- commit.cc
  WorkPtr make_work() { return std::make_shared<Work>(executor_); }
  // Queues; from here on work is the committer's. No wait between evaluation and this.
  void submit(const WorkPtr& work);
  async::Task<Result<>> finish(WorkPtr work);  // submits at the call, even if never awaited; the task waits until durable
  async::Task<Result<>> wait_for(WorkPtr work);
  // Once all that was evaluated so far is durable; its error if it was taken back. An answer that rests on it waits for this first.
  async::Task<Result<>> settled();
  void take_changes(Work& work, std::vector<Change> changes);  // changes at head, evaluated just now
  async::Task<Result<>> run_committer();
  async::Task<Result<>> until_queued();  // wake_at_ works, or closing_
  void plan_commits();             // enough_ and wanted_, from how the last one went
  async::Task<Result<>> gather();  // wanted_ works, or fewer after a moment
  struct CommittedBatch {
    std::vector<WorkPtr> works{};
    Result<> result{};
    bool rows = false;  // any was written
    std::int64_t wal_bytes_written = 0;
  };
  void commit_queued();             // on the commit thread, as is checkpoint_if_due()
  void end_commit(CommittedBatch done);
  void publish(const std::vector<WorkPtr>& batch);
  void take_back(std::vector<WorkPtr> batch, const Error& why);
  void checkpoint_if_due();
  async::Task<Result<>> run_syncer();

  // --- read.cc
  struct Found {
    std::string key;
    Version version;
  };
  async::Task<Result<RangeResult>> range_at(const RangeRequest& request, std::int64_t at);
  // Fills the values of rows that are in memory; the others are read. Null where a row is gone.
  async::Task<Result<std::vector<SharedBytes>>> values_of(const std::vector<RowId>& rows);
  async::Task<Result<std::vector<SharedBytes>>> read_values(const std::vector<RowId>& rows);  // of the file; rows outlives the call
  async::Task<Result<>> read_part(std::span<const RowId> rows, std::span<SharedBytes> values);

  // --- sqlite_lease.cc
  async::Task<Result<bool>> settled_or_again();  // false: read again
  async::Task<Result<>> run_lessor();
  async::Task<Result<>> store_lease_times();
  Lease describe(LeaseId id, const LeaseEntry& entry) const;

  // --- compactor.cc
  async::Task<Result<>> run_compactor();
  async::Task<Result<>> remove_stale();
  async::Task<Result<>> give_pages_back(std::int64_t keep_bytes);
  void sample_revision();
  std::optional<std::int64_t> revision_to_compact() const;

  async::Executor executor_;
  SqliteOptions options_;
  async::Pool& pool_;
  async::Time& time_;
  Rng& rng_;
  std::unique_ptr<async::Pool> own_commit_thread_;
  async::Pool& commit_thread_;
  std::unique_ptr<Database> db_;
  Mvcc mvcc_;
  Tail tail_;
  WatchHub hub_;
  async::Scope committer_scope_;
  async::Scope background_;

  CommitQueue queue_;
  std::size_t unfinished_ = 0;  // works submitted and neither published nor taken back
  async::Notify work_arrived_;
  std::size_t wake_at_ = 1;           // works in the queue, before the committer is woken
  std::size_t expected_writers_ = 0;  // unfinished at the end of the last commit
  std::atomic<std::size_t> enough_ = 1;  // works that are committed without asking the loop whether more will come
  std::size_t wanted_ = 1;               // works that the loop waits for, a moment
  MonoTime commit_began_{};
  Duration last_commit_{};
  int gather_pause_ = 0;  // commits that wait for nobody
  std::int64_t reserved_ = 0;          // by evaluated work
  std::int64_t reserved_durable_ = 0;
  std::int64_t compact_requested_ = 0;
  std::int64_t checkpointed_pages_ = 0;
  bool unsynced_ = false;  // durability batch: commits since the last fsync
  async::Notify unsynced_changed_;
  async::Notify failed_;
  std::optional<Error> failure_;
  bool closing_ = false;
  bool closed_ = false;

  std::int64_t reads_ = 0;
  async::Notify reads_ended_;
  async::Notify leases_changed_;
  std::vector<LeaseRow> loaded_leases_;
  std::vector<RowId> stale_rows_;  // pruned from the index, not from the file
  std::string prune_cursor_;
  async::Notify compact_wanted_;
  std::int64_t pruned_ = 0;        // the compaction whose rows are gone
  async::Notify compact_finished_;
  std::deque<std::pair<MonoTime, std::int64_t>> revision_samples_;
  StoreStats counters_;
  MonoTime opened_{};
};

}  // namespace monopod::store
