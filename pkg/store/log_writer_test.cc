#include "store/log_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/rng.h"
#include "base/strings.h"
#include "store/log_damage.h"
#include "store/statement.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

using Rows = std::map<std::int64_t, std::string>;

std::unique_ptr<Connection> open(const std::string& path, int flags = SQLITE_OPEN_READWRITE) {
  return Connection::open(path, flags, nullptr).value();
}

Rows read_rows(Connection& connection) {
  Rows rows;
  Statement statement(connection.prepare("SELECT id, value FROM t ORDER BY id").value());
  while (statement.step("read").value()) rows[statement.integer(0)] = statement.bytes(1);
  return rows;
}

void must(Connection& connection, const std::string& sql) {
  Result<> done = connection.execute(sql.c_str(), sql);
  ASSERT_TRUE(done) << done.error().message();
}

// A connection whose log goes through a LogWriter.
struct Written {
  explicit Written(const std::string& path, bool direct) : sql(open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) {
    EXPECT_TRUE(sql->execute("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=16; "
                             "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, value BLOB)",
                             "set up"));
    writer.attach(sql->get(), direct ? path + "-wal" : std::string());
  }
  void put(std::int64_t id, std::string_view value) {
    Statement statement(sql->prepare("INSERT OR REPLACE INTO t(id, value) VALUES(?, ?)").value());
    statement.bind(1, id).bind(2, value);
    ASSERT_TRUE(statement.run("put"));
  }
  LogWriter writer;  // outlives sql
  std::unique_ptr<Connection> sql;
};

class LogWriterTest : public testing::TestWithParam<bool> {};

// Transactions of any size, some taken back, some larger than the page cache (so that SQLite rewrites its own frames), with checkpoints that
// let the log begin anew: after each, another connection sees exactly what was committed, and the log is sound for whoever opens it next.
TEST_P(LogWriterTest, OthersSeeWhatWasCommitted) {
  TempDir dir;
  const std::string path = dir.file();
  Written written(path, GetParam());
  if (GetParam() && !written.writer.direct()) GTEST_SKIP() << "this file system takes no writes past its page cache";
  auto reader = open(path);
  SeededRng rng(20261126);
  Rows rows;
  for (int i = 0; i < 150; ++i) {
    Rows next = rows;
    must(*written.sql, "BEGIN IMMEDIATE");
    const std::uint64_t changes = rng.below(10) == 0 ? 200 : 1 + rng.below(6);
    for (std::uint64_t k = 0; k < changes; ++k) {
      const auto id = static_cast<std::int64_t>(rng.below(300));
      const std::string value(rng.below(rng.below(20) == 0 ? 20'000 : 900), static_cast<char>('a' + rng.below(26)));
      written.put(id, value);
      next[id] = value;
    }
    if (rng.below(8) == 0) {
      must(*written.sql, "ROLLBACK");
    } else {
      must(*written.sql, "COMMIT");
      rows = std::move(next);
    }
    ASSERT_EQ(read_rows(*reader), rows) << "transaction " << i;
    auto damage = find_log_damage(path + "-wal");
    ASSERT_TRUE(damage && !*damage) << "transaction " << i;
    if (rng.below(25) == 0) must(*written.sql, rng.below(3) == 0 ? "PRAGMA wal_checkpoint(TRUNCATE)" : "PRAGMA wal_checkpoint(PASSIVE)");
    if (rng.below(40) == 0) {  // as after a kill: what is on disk, opened by somebody else
      TempDir copy;
      std::filesystem::copy_file(path, copy.file());
      std::filesystem::copy_file(path + "-wal", copy.file() + "-wal");
      ASSERT_EQ(read_rows(*open(copy.file())), rows) << "transaction " << i;
    }
  }
  EXPECT_EQ(written.sql->query_text("PRAGMA integrity_check", "check").value(), "ok");
}

TEST_P(LogWriterTest, ReopenedLogIsGoneOnWith) {
  TempDir dir;
  Rows rows;
  for (int round = 0; round < 5; ++round) {
    Written written(dir.file(), GetParam());
    sqlite3_db_config(written.sql->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    for (int i = 0; i < 20; ++i) {
      written.put(round * 100 + i, cat("value ", i));
      rows[round * 100 + i] = cat("value ", i);
    }
    ASSERT_EQ(read_rows(*open(dir.file())), rows);
  }
  EXPECT_EQ(read_rows(*open(dir.file())), rows);
}

TEST(LogWriter, SmallCommitsWriteSectors) {
  TempDir dir;
  Written written(dir.file(), true);
  if (!written.writer.direct()) GTEST_SKIP() << "this file system takes no writes past its page cache";
  auto written_bytes = [] {
    std::ifstream io("/proc/self/io");
    std::string word;
    std::int64_t n = 0;
    while (io >> word >> n)
      if (word == "write_bytes:") return n;
    return std::int64_t{-1};
  };
  // Long enough already: appending to a file costs pages for whoever does it.
  for (int i = 0; i < 200; ++i) written.put(i, std::string(900, 'x'));
  must(*written.sql, "PRAGMA wal_checkpoint(PASSIVE)");
  written.put(0, "y");  // the log begins anew
  const std::int64_t before = written_bytes();
  for (int i = 0; i < 50; ++i) written.put(0, "z");
  const std::int64_t each = (written_bytes() - before) / 50;
  if (before < 0 || each == 0) GTEST_SKIP() << "this kernel does not count what reaches the disk here";
  EXPECT_LE(each, 2048) << "a frame is 1048 bytes";
}

INSTANTIATE_TEST_SUITE_P(All, LogWriterTest, testing::Bool(), [](const auto& info) { return info.param ? "Direct" : "Joined"; });

}  // namespace
}  // namespace monopod::store
