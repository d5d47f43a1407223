#include <fcntl.h>

#include "base/strings.h"
#include "store/checksum.h"
#include "store/database.h"
#include "store/key_index.h"

namespace monopod::store {
namespace {

constexpr std::size_t kFindingsMax = 100;

}  // namespace

Result<std::vector<std::string>> fsck(const std::string& path) {
  TRY_ASSIGN(auto db, Database::open({.path = path}));
  return db->check_everything();
}

Result<std::vector<std::string>> Database::check_everything() {
  std::vector<std::string> findings;
  {
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare("PRAGMA integrity_check(100)"));
    Statement statement(stmt);
    for (;;) {
      TRY_ASSIGN(bool row, statement.step("check"));
      if (!row) break;
      std::string finding(statement.bytes(0));
      std::replace(finding.begin(), finding.end(), '\n', ' ');
      if (finding != "ok") findings.push_back(std::move(finding));
    }
  }
  KeyIndex index;
  TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare("SELECT id, create_rev, version, lease, sum, key, value, coding FROM log ORDER BY id"));
  Statement statement(stmt);
  while (findings.size() < kFindingsMax) {
    TRY_ASSIGN(bool row, statement.step("read the log"));
    if (!row) break;
    Version version{.row = statement.integer(0), .create = statement.integer(1), .version = statement.integer(2), .lease = statement.integer(3)};
    std::string_view key = statement.bytes(5);
    Result<SharedBytes> value = decoder_.decode(statement.integer(7), statement.bytes(6));
    if (!value || row_checksum(version, key, **value) != static_cast<std::uint32_t>(statement.integer(4)))
      findings.push_back(cat("log row ", version.row, ": checksum does not match"));
    if (const KeyIndex::Entry* entry = index.find(key)) {
      const Version& before = entry->latest;
      bool follows = version.tombstone() ? !before.tombstone()
                                         : version.version == (before.tombstone() ? 1 : before.version + 1) &&
                                               version.create == (before.tombstone() ? version.revision() : before.create);
      if (!follows) findings.push_back(cat("log row ", version.row, ": does not follow the change before it"));
    }
    index.push(key, version);
  }
  return findings;
}

}  // namespace monopod::store
