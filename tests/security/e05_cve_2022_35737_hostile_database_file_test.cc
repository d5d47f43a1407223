// E5: a database file made by somebody else. It is refused with one line that says why, and not a byte of it changes; nothing in it
// runs, and nothing in it makes the process take memory without bound.
#include <fstream>

#include "store/format.h"
#include "store/statement.h"
#include "store/test_support.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_content(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

Task<Result<>> fill(StoreTest& t) {
  for (int i = 0; i < 40; ++i) CO_TRY(co_await t.store.put(cat("k", i), share(std::string(200, 'x'))));
  CO_TRY(co_await t.store.lease_grant(std::chrono::seconds(60), LeaseId(7)));
  co_return Result<>();
}
Task<Result<>> read_all(StoreTest& t) {
  CO_TRY(co_await t.store.range(everything()));
  co_return Result<>();
}

std::string sound_file(const TempDir& dir) {
  test_store({.path = dir.file(), .durability = Durability::kOs}, fill);
  return dir.file();
}
// Outside the file's own rules: writable_schema, another journal mode, anything.
void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, ("PRAGMA journal_mode=DELETE; " + sql).c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db);
  sqlite3_close(db);
}
void expect_refused(const std::string& path, Code code, std::string_view words) {
  Result<> opened = run_store({.path = path, .durability = Durability::kOs}, read_all);
  ASSERT_FALSE(opened) << "opened, looking for: " << words;
  EXPECT_EQ(opened.error().code(), code) << opened.error().message();
  EXPECT_TRUE(opened.error().message().contains(words)) << opened.error().message();
  EXPECT_FALSE(opened.error().message().contains('\n')) << opened.error().message();
}

TEST(HostileFile, GarbageInAnyHeaderByteIsRefusedOrHarmless) {
  TempDir dir;
  const std::string whole = content_of(sound_file(dir));
  for (std::size_t at = 0; at < 100; ++at)
    for (int value : {0x00, 0x7f, 0xff}) {
      std::string bad = whole;
      bad[at] = static_cast<char>(value);
      write_content(dir.file(), bad);
      Result<> opened = run_store({.path = dir.file(), .durability = Durability::kOs}, read_all);
      if (opened) continue;
      EXPECT_TRUE(opened.error().code() == Code::kFailedPrecondition || opened.error().code() == Code::kDataLoss || opened.error().code() == Code::kUnavailable)
          << "byte " << at << ": " << opened.error().message();
      EXPECT_FALSE(opened.error().message().contains('\n'));
    }
}

TEST(HostileFile, TruncatedAtAnyPageIsRefused) {
  TempDir dir;
  const std::string whole = content_of(sound_file(dir));
  for (std::size_t size = 1024; size < whole.size(); size += 1024) {
    write_content(dir.file(), whole.substr(0, size));
    expect_refused(dir.file(), Code::kDataLoss, "truncated");
  }
}

TEST(HostileFile, OfAnotherApplicationOrANewerMonopodIsRefused) {
  TempDir other, newer;
  run_sql(sound_file(other), "PRAGMA application_id=1");
  expect_refused(other.file(), Code::kFailedPrecondition, "another application");
  run_sql(sound_file(newer), cat("PRAGMA user_version=", kSchemaVersion + 1));
  expect_refused(newer.file(), Code::kFailedPrecondition, "newer monopod");
}

TEST(HostileFile, WithCodeInItsSchemaIsRefusedAndTheCodeNeverRuns) {
  for (const char* sql : {"CREATE TRIGGER evil AFTER INSERT ON log BEGIN DELETE FROM log; END", "CREATE VIEW evil AS SELECT load_extension('x')",
                          "CREATE INDEX evil ON log(abs(version))", "CREATE TABLE evil(a, b AS (abs(a)))",
                          "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='CREATE TABLE log(id INTEGER PRIMARY KEY, x CHECK(load_extension(id)))' WHERE name='log'",
                          "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES('table','log2','log2',2,'CREATE TABLE log2(a)')"}) {
    SCOPED_TRACE(sql);
    TempDir dir;
    run_sql(sound_file(dir), sql);
    Result<> opened = run_store({.path = dir.file(), .durability = Durability::kOs}, read_all);
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().code() == Code::kFailedPrecondition || opened.error().code() == Code::kDataLoss) << opened.error().message();
  }
}

TEST(HostileFile, WithHugeOrImpossibleRowsIsRefused) {
  struct Row {
    const char* sql;
    const char* words;
  };
  for (const Row& row : {Row{"INSERT INTO log VALUES(1<<30, 1024, 1, 0, 0, zeroblob(70000000), x'', 0)", ""},  // beyond what a statement may hold
                         Row{"INSERT INTO log VALUES(1<<30, 1024, 1, 0, 0, zeroblob(100000), x'', 0)", "no valid key or revision"},
                         Row{"INSERT INTO log VALUES(-5, 1, 1, 0, 0, x'61', x'', 0)", "no valid key or revision"},
                         Row{"INSERT INTO log VALUES(1<<30, 5000, 1, 0, 0, x'61', x'', 0)", "impossible version"},
                         Row{"INSERT INTO log VALUES(1<<30, 1024, 7, 0, 0, x'6b30', x'', 0)", "does not follow"},
                         Row{"UPDATE meta SET number=-1; INSERT OR REPLACE INTO meta VALUES('compact_revision', -9)", "is no revision"},
                         Row{"INSERT OR REPLACE INTO meta VALUES('compact_revision', 9223372036854775807)", "is no revision"},
                         Row{"INSERT INTO lease VALUES(8, 9223372036854775807, 9223372036854775807)", "impossible times"},
                         Row{"INSERT INTO lease VALUES(9, 60, -1)", "impossible times"}, Row{"INSERT INTO lease VALUES(10, 0, 0)", "impossible times"}}) {
    SCOPED_TRACE(row.sql);
    TempDir dir;
    run_sql(sound_file(dir), row.sql);
    Result<> opened = run_store({.path = dir.file(), .durability = Durability::kOs}, read_all);
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().message().contains(row.words)) << opened.error().message();
    EXPECT_FALSE(opened.error().message().contains('\n'));
  }
}

}  // namespace
}  // namespace monopod::testing
