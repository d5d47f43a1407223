// Files of older formats open, keep what they hold, and are of the newest format afterwards.
#include "base/failpoint.h"
#include "store/checksum.h"
#include "store/database.h"
#include "store/format.h"
#include "store/offline.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

// A file as format 1 made it: two keys, one deleted.
void make_format_1(const std::string& path) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  auto run = [&](const std::string& sql) { ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db) << " " << sql; };
  run(cat("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA application_id=", kApplicationId, "; PRAGMA user_version=1"));
  for (const auto& [name, sql] : kTables) run(std::string_view(name) == "log" ? kLogOfFormat1 : sql);
  auto row = [&](std::int64_t revision, std::int64_t create, std::int64_t version, const std::string& key, const std::string& value) {
    Version v{.row = row_id(revision, 0), .create = create, .version = version};
    run(cat("INSERT INTO log VALUES(", v.row, ",", create, ",", version, ",0,", row_checksum(v, key, value), ",CAST('", key, "' AS BLOB),",
            version == 0 ? "NULL" : cat("CAST('", value, "' AS BLOB)"), ")"));
  };
  row(2, 2, 1, "a", std::string(500, 'a'));
  row(3, 3, 1, "b", "short");
  row(4, 2, 2, "a", std::string(600, 'A'));
  row(5, 0, 0, "b", "");
  run("PRAGMA journal_mode=WAL");
  sqlite3_close(db);
}

Task<Result<>> look(StoreTest& t) {
  CO_TRY_ASSIGN(auto now, co_await t.store.get("a"));
  EXPECT_EQ(*now->value, std::string(600, 'A'));
  EXPECT_EQ(now->version, 2);
  CO_TRY_ASSIGN(auto before, co_await t.store.get("a", Revision(3)));
  EXPECT_EQ(*before->value, std::string(500, 'a'));
  CO_TRY_ASSIGN(auto gone, co_await t.store.get("b"));
  EXPECT_FALSE(gone);
  co_return Result<>();
}
Task<Result<>> look_and_write(StoreTest& t) {
  CO_TRY(co_await look(t));
  CO_TRY(co_await t.store.put("c", share(std::string(5000, 'c'))));
  co_return Result<>();
}
Task<Result<>> look_at_all(StoreTest& t) {
  CO_TRY(co_await look(t));
  CO_TRY_ASSIGN(auto c, co_await t.store.get("c"));
  EXPECT_EQ(*c->value, std::string(5000, 'c'));
  co_return Result<>();
}

TEST(Migrate, Format1OpensAndKeepsWhatItHolds) {
  TempDir dir;
  make_format_1(dir.file());
  test_store({.path = dir.file()}, look_and_write);
  test_store({.path = dir.file()}, look_at_all);
  auto findings = fsck(dir.file());
  ASSERT_TRUE(findings) << findings.error().message();
  EXPECT_TRUE(findings->findings.empty());
}

TEST(Migrate, AStopInTheMiddleLeavesTheOlderFormat) {
  TempDir dir;
  make_format_1(dir.file());
  ASSERT_TRUE(arm_failpoints("store.before_migrate=1*error"));
  EXPECT_FALSE(run_store({.path = dir.file()}, look));
  disarm_failpoints();
  test_store({.path = dir.file()}, look_and_write);
  test_store({.path = dir.file()}, look_at_all);
}

TEST(Migrate, AnAlteredOlderFileIsRefused) {
  TempDir dir;
  make_format_1(dir.file());
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(dir.file().c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "ALTER TABLE log ADD COLUMN other INTEGER", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  Result<> opened = run_store({.path = dir.file()}, look);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace monopod::store
