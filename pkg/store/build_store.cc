// A new store file out of rows: an ordinary store beside its place, filled in large commits, checked, then renamed.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "base/strings.h"
#include "store/database.h"
#include "store/limits.h"

namespace monopod::store {
namespace {

constexpr std::size_t kCommitRows = 2000;

class FileBuilder final : public StoreBuilder {
 public:
  explicit FileBuilder(std::string path) : path_(std::move(path)), fresh_(path_ + ".new") {}
  ~FileBuilder() override {
    database_.reset();
    remove_files(fresh_);
  }

  // Whoever opens path waits for this; what a killed builder left goes.
  Result<> start() {
    TRY_ASSIGN(lock_, Database::lock(path_));
    if (std::error_code ec; std::filesystem::exists(path_, ec)) return fail(Code::kAlreadyExists, cat("create ", path_, ": there is a file; choose another path"));
    remove_files(fresh_);
    TRY_ASSIGN(database_, Database::open({.path = fresh_, .durability = Durability::kOs}));
    return {};
  }

  Result<> add(const DumpRow& row) override {
    if (row.key.empty() || row.key.size() > kKeyBytesMax)
      return fail(Code::kInvalidArgument, cat("revision ", row.revision, ": a key of ", row.key.size(), " bytes; the store takes 1 to ", kKeyBytesMax));
    if (row.value.size() > kValueBytesMax)
      return fail(Code::kInvalidArgument, cat("revision ", row.revision, ": a value of ", row.value.size(), " bytes; the store takes up to ", kValueBytesMax));
    if (row.revision < 2 || row.revision > kRevisionMax || row.sub < 0 || row.sub > kSubMax)
      return fail(Code::kInvalidArgument, cat("revision ", row.revision, ".", row.sub, " is beyond what the store can number"));
    RowId id = row_id(row.revision, row.sub);
    bool possible = row.tombstone() ? row.create == 0 && row.value.empty() && row.lease == 0 : row.version > 0 && row.create >= 2 && row.create <= row.revision;
    if (id <= last_ || !possible) return fail(Code::kDataLoss, cat("revision ", row.revision, ".", row.sub, ": the record cannot stand there"));
    last_ = id;
    Change change{.key = std::string(row.key), .now = {.row = id, .create = row.create, .version = row.version, .lease = row.lease}};
    if (!row.tombstone()) change.value = share(std::string(row.value));
    pending_bytes_ += row.key.size() + row.value.size();
    pending_.changes.push_back(std::move(change));
    if (pending_.changes.size() >= kCommitRows || pending_bytes_ >= kCommitBytesMax) TRY(commit());
    return {};
  }

  Result<> put_state(std::string bucket, std::string key, std::string value) override {
    pending_.state.push_back({.bucket = std::move(bucket), .key = std::move(key), .value = std::move(value)});
    return {};
  }

  Result<> finish(const DumpHead& head, const std::function<Result<>(const std::string& path)>& verify) override {
    if (head.compacted > head.current || head.current.value > kRevisionMax || head.current.value < revision_of(last_))
      return fail(Code::kDataLoss, cat("revision ", head.current.value, " does not go with its rows and compaction"));
    for (const DumpLease& lease : head.leases) {
      std::int64_t ttl_s = lease.ttl.count();
      if (lease.id.value == 0 || ttl_s < 1 || lease.ttl > kLeaseTtlMax) return fail(Code::kDataLoss, cat("lease ", lease.id.value, ": no valid time to live"));
      pending_.leases.push_back({.row = {.id = lease.id.value, .ttl_s = ttl_s, .remaining_ms = ttl_s * 1000}});
    }
    if (head.compacted.value > 0) pending_.compact_revision = head.compacted.value;
    // Revisions of which nothing is left are not used again.
    std::int64_t seen = std::max({std::int64_t{1}, revision_of(last_), head.compacted.value});
    std::int64_t reserved = std::max(head.reserved, head.current.value > seen ? head.current.value - 1 : 0);
    if (reserved > 0) pending_.reserved_revision = reserved;
    TRY(commit());
    TRY_ASSIGN(bool whole, database_->checkpoint_and_truncate());  // synced; closing leaves no log behind
    if (!whole) return fail(Code::kUnavailable, cat("write ", fresh_, ": another process reads it"));
    TRY_ASSIGN(FsckReport report, database_->check_everything({}));
    if (!report.findings.empty()) return fail(Code::kDataLoss, cat(report.findings.front().place, ": ", report.findings.front().problem));
    database_.reset();
    if (verify) TRY(verify(fresh_));
    if (::rename(fresh_.c_str(), path_.c_str()) < 0) return fail_errno(cat("rename ", fresh_));
    return Database::sync_directory_of(path_);
  }

 private:
  Result<> commit() {
    Writes* writes[] = {&pending_};
    TRY(database_->commit(writes));
    if (database_->wal_pages() > kCheckpointPages) TRY(database_->checkpoint());
    pending_ = {};
    pending_bytes_ = 0;
    return {};
  }

  static void remove_files(const std::string& path) {
    for (const char* suffix : {"", "-journal", "-wal", "-shm", ".lock", ".new"}) ::unlink((path + suffix).c_str());
  }

  static constexpr std::int64_t kCheckpointPages = 4000;
  std::string path_;
  std::string fresh_;
  sys::Fd lock_;
  std::unique_ptr<Database> database_;
  Writes pending_;
  std::size_t pending_bytes_ = 0;
  RowId last_ = 0;
};

}  // namespace

Result<std::unique_ptr<StoreBuilder>> StoreBuilder::create(const std::string& path) {
  auto builder = std::make_unique<FileBuilder>(path);
  TRY(builder->start());
  return builder;
}

}  // namespace monopod::store
