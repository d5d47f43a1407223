#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "store/checksum.h"
#include "store/database.h"
#include "store/key_index.h"
#include "store/offline.h"

namespace monopod::store {
namespace {

constexpr std::size_t kFindingsMax = 100;
constexpr int kOpcodesPerTick = 100'000;  // of SQLite's virtual machine: some milliseconds

class Check {
 public:
  Check(Connection& connection, const OnProgress& progress) : connection_(connection), progress_(progress) {}

  Result<FsckReport> run() {
    TRY(check_pages());
    TRY(check_log());
    return std::move(report_);
  }

 private:
  bool full() {
    report_.more = report_.findings.size() >= kFindingsMax;
    return report_.more;
  }
  void tick(std::string_view step, std::int64_t done, std::int64_t total) const {
    if (progress_) progress_(step, done, total);
  }

  Result<> check_pages() {
    sqlite3_progress_handler(connection_.get(), kOpcodesPerTick, [](void* self) {
      static_cast<const Check*>(self)->tick("pages", 0, 0);
      return 0;
    }, this);
    Result<> checked = read_integrity_check();
    sqlite3_progress_handler(connection_.get(), 0, nullptr, nullptr);
    return checked;
  }
  Result<> read_integrity_check() {
    TRY_ASSIGN(sqlite3_stmt * stmt, connection_.prepare("PRAGMA integrity_check(100)"));
    Statement statement(stmt);
    for (;;) {
      TRY_ASSIGN(bool row, statement.step("check"));
      if (!row) return {};
      std::string finding(statement.bytes(0));
      std::replace(finding.begin(), finding.end(), '\n', ' ');
      if (finding != "ok") report_.findings.push_back({"file", std::move(finding)});
    }
  }

  Result<> check_log() {
    TRY_ASSIGN(std::int64_t total, connection_.query_integer("SELECT count(*) FROM log", "count the log"));
    TRY_ASSIGN(sqlite3_stmt * stmt, connection_.prepare("SELECT id, create_rev, version, lease, sum, key, value, coding FROM log ORDER BY id"));
    Statement statement(stmt);
    while (!full()) {
      TRY_ASSIGN(bool row, statement.step("read the log"));
      if (!row) break;
      check_row(statement);
      if (++report_.rows % 256 == 0) tick("rows", report_.rows, total);
    }
    report_.live_keys = static_cast<std::int64_t>(index_.live());
    return {};
  }
  void check_row(const Statement& statement) {
    Version version{.row = statement.integer(0), .create = statement.integer(1), .version = statement.integer(2), .lease = statement.integer(3)};
    std::string_view key = statement.bytes(5);
    auto found = [&](std::string_view problem) {
      report_.findings.push_back({cat("log row ", version.row, " (revision ", version.revision(), ")"), std::string(problem)});
    };
    Result<SharedBytes> value = decoder_.decode(statement.integer(7), statement.bytes(6));
    if (!value || row_checksum(version, key, **value) != static_cast<std::uint32_t>(statement.integer(4))) found("checksum does not match");
    if (const KeyIndex::Entry* entry = index_.find(key)) {
      const Version& before = entry->latest;
      bool follows = version.tombstone() ? !before.tombstone()
                                         : version.version == (before.tombstone() ? 1 : before.version + 1) &&
                                               version.create == (before.tombstone() ? version.revision() : before.create);
      if (!follows) found("does not follow the change before it");
    }
    index_.push(key, version);
    report_.revision = std::max(report_.revision, Revision(version.revision()));
  }

  Connection& connection_;
  const OnProgress& progress_;
  ValueDecoder decoder_;
  FsckReport report_;
  KeyIndex index_;
};

}  // namespace

Result<FsckReport> fsck(const std::string& path, const OnProgress& progress) {
  if (::access(path.c_str(), F_OK) != 0) return fail_errno("check " + path);
  TRY_ASSIGN(auto db, Database::open({.path = path}));
  return db->check_everything(progress);
}

Result<FsckReport> Database::check_everything(const OnProgress& progress) {
  TRY_ASSIGN(FsckReport report, Check(*writer_, progress).run());
  TRY_ASSIGN(Meta meta, read_meta());
  report.compacted = Revision(meta.compact_revision);
  TRY_ASSIGN(std::int64_t pages, writer_->query_integer("PRAGMA page_count", "read file size"));  // the builder's connection has the file alone
  TRY_ASSIGN(std::int64_t page_bytes, writer_->query_integer("PRAGMA page_size", "read file size"));
  report.file_bytes = pages * page_bytes;
  return report;
}

}  // namespace monopod::store
