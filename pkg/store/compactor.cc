// Compaction: the compacted revision is made durable first; then versions leave the index and their rows the file, in small steps
// between other commits. A crash in the middle leaves rows that the next start finds and removes.
#include <algorithm>

#include <boost/asio/post.hpp>

#include "base/log.h"
#include "store/sqlite_store.h"

namespace monopod::store {
namespace {

constexpr std::int64_t kGainMin = 1000;        // revisions; less is not worth the writes
constexpr std::int64_t kFreeBytesMin = 1024 * 1024;  // kept for reuse
constexpr std::int64_t kVacuumBytes = 512 * 1024;    // per step
constexpr int kTruncateAttempts = 50;
constexpr std::chrono::milliseconds kTruncatePause{100};

}  // namespace

async::Task<Result<>> SqliteStore::compact(Revision revision) {
  CO_TRY(writable());
  if (revision.value > mvcc_.committed) co_return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision");
  if (revision.value <= std::max(mvcc_.compacted, compact_requested_)) {
    CO_TRY(co_await settled());
    co_return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted");
  }
  std::int64_t before = std::exchange(compact_requested_, revision.value);
  WorkPtr work = make_work();
  work->writes.compact_revision = revision.value;
  work->undo = [this, before] { compact_requested_ = before; };
  work->on_durable = [this, revision] {
    mvcc_.compacted = std::max(mvcc_.compacted, revision.value);
    compact_wanted_.wake_all();
  };
  co_return co_await finish(std::move(work));
}

void SqliteStore::sample_revision() {
  MonoTime now = time_.mono();
  revision_samples_.emplace_back(now, mvcc_.committed);
  // The newest sample that is old enough is the one that counts.
  while (revision_samples_.size() > 1 && revision_samples_[1].first + options_.compaction.keep_age <= now) revision_samples_.pop_front();
}

std::optional<std::int64_t> SqliteStore::revision_to_compact() const {
  const CompactionPolicy& policy = options_.compaction;
  bool too_large = policy.file_bytes_max > 0 && db_->file_bytes() > policy.file_bytes_max;
  if (policy.keep_revisions <= 0 && !too_large) return std::nullopt;
  std::int64_t keep = too_large ? 0 : policy.keep_revisions;
  std::int64_t target = mvcc_.committed - keep;
  const auto& [when, revision] = revision_samples_.front();
  if (policy.keep_age.count() > 0) {
    if (when + policy.keep_age > time_.mono()) return std::nullopt;
    target = std::min(target, revision);
  }
  if (target < compact_requested_ + std::clamp<std::int64_t>(keep, 1, kGainMin)) return std::nullopt;
  return target;
}

async::Task<Result<>> SqliteStore::run_compactor() {
  const bool by_policy = options_.compaction.interval.count() > 0;
  std::int64_t revision = mvcc_.compacted;  // the index was pruned as it was loaded
  CO_TRY(co_await remove_stale());
  for (;;) {
    pruned_ = revision;
    compact_finished_.wake_all();
    if (mvcc_.compacted <= pruned_) {
      Result<> woken = by_policy ? co_await async::with_timeout<void>(time_, options_.compaction.interval, "compaction", compact_wanted_.wait())
                                 : co_await compact_wanted_.wait();
      if (!woken && woken.error().code() == Code::kCancelled) co_return woken;
      if (failure_) co_return Result<>();
      if (!woken) {
        sample_revision();
        if (std::optional<std::int64_t> target = revision_to_compact()) {
          Result<> compacted = co_await compact(Revision(*target));
          if (!compacted) log::warn("compaction failed", {{"error", compacted.error()}});
        }
      }
      continue;
    }
    revision = mvcc_.compacted;
    prune_cursor_.clear();
    for (bool complete = false; !complete;) {
      complete = mvcc_.index.prune(revision, kRangeSliceKeys, prune_cursor_, stale_rows_);
      co_await async::asio::post(executor_, async::use_task);
    }
    CO_TRY(co_await remove_stale());
    Result<> given = co_await give_pages_back(kFreeBytesMin);
    if (!given && given.error().code() == Code::kCancelled) co_return given;
  }
}

// Ends with an error only when cancelled; rows left behind go at the next compaction or start.
async::Task<Result<>> SqliteStore::remove_stale() {
  std::sort(stale_rows_.begin(), stale_rows_.end(), std::greater<>());
  while (!stale_rows_.empty() && !failure_) {
    std::size_t take = std::min(stale_rows_.size(), kCompactSliceRows);
    auto first = stale_rows_.end() - static_cast<std::ptrdiff_t>(take);
    WorkPtr work = make_work();
    for (auto row = stale_rows_.end(); row != first;) {
      --row;  // oldest first: what a crash leaves of a key's history has no hole
      if (mvcc_.values.pinned(*row)) mvcc_.values.unpin(*row, false);
      else work->writes.delete_rows.push_back(*row);
    }
    Result<> removed = co_await finish(work);
    if (removed) {
      stale_rows_.erase(stale_rows_.end() - static_cast<std::ptrdiff_t>(take), stale_rows_.end());
      continue;
    }
    if (removed.error().code() == Code::kCancelled) co_return removed;
    log::warn("compaction could not remove rows", {{"error", removed.error()}});
    co_return Result<>();
  }
  co_return Result<>();
}

// Leaves a quarter of the file, and keep_bytes, for reuse; keep_bytes 0: nothing.
async::Task<Result<>> SqliteStore::give_pages_back(std::int64_t keep_bytes) {
  while (!failure_) {
    Result<Database::FileSize> size = co_await read([this] { return db_->file_size(); });
    if (!size) co_return fail(size.error());
    bool few = size->free_pages * size->page_bytes < keep_bytes || size->free_pages < size->pages / 4;
    if (size->free_pages == 0 || (keep_bytes > 0 && few)) co_return Result<>();
    WorkPtr work = make_work();
    work->writes.vacuum_pages = static_cast<int>(std::max<std::int64_t>(1, kVacuumBytes / size->page_bytes));
    CO_TRY(co_await finish(work));
  }
  co_return Result<>();
}

async::Task<Result<>> SqliteStore::finish_compaction() {
  while (pruned_ < mvcc_.compacted) {
    CO_TRY(writable());
    CO_TRY(co_await compact_finished_.wait());  // run_compactor goes on to the end, or fails the store
  }
  co_return Result<>();
}

async::Task<Result<>> SqliteStore::defragment() {
  CO_TRY(writable());
  CO_TRY(co_await finish_compaction());
  CO_TRY(co_await give_pages_back(0));
  for (int attempt = 0; attempt < kTruncateAttempts; ++attempt) {
    CO_TRY(writable());
    ReadGuard guard(*this);
    CO_TRY_ASSIGN(bool done, co_await commit_thread_.run([this] { return db_->checkpoint_and_truncate(); }));
    if (done) co_return Result<>();
    CO_TRY(co_await time_.sleep_for(kTruncatePause));
  }
  co_return fail(Code::kUnavailable, "the file cannot shrink while it is being read, by a snapshot perhaps: try again later");
}

}  // namespace monopod::store
