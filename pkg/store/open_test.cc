// Opening: one process at a time, only our own sound files, and nothing else is ever changed.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "store/database.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

Task<Result<>> fill(StoreTest& t) {
  for (int i = 0; i < 300; ++i) CO_TRY(co_await t.store.put(cat("/registry/k", i), share(std::string(200, 'x'))));
  co_return Result<>();
}
Task<Result<>> nothing(StoreTest&) { co_return Result<>(); }

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_content(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

void run_sql(const std::string& path, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

// Refused with code and words, and not one byte of it changed.
void expect_refused(const std::string& path, Code code, std::string_view words) {
  std::string before = content_of(path);
  Result<> opened = run_store({.path = path}, nothing);
  ASSERT_FALSE(opened) << "opened, looking for: " << words;
  EXPECT_EQ(opened.error().code(), code) << opened.error().message();
  EXPECT_TRUE(opened.error().message().contains(words)) << opened.error().message();
  EXPECT_FALSE(opened.error().message().contains('\n'));
  EXPECT_EQ(content_of(path), before) << "the file was changed";
}

TEST(Open, MakesPrivateFiles) {
  TempDir dir;
  std::string path = dir.file("data/state.db");
  test_store({.path = path}, fill);
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(dir.file("data").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

Task<Result<>> open_again(StoreTest& t, const std::string& path) {
  async::Pool pool(1);
  SeededRng rng(1);
  auto second = co_await SqliteBackend::open({.path = path}, pool, t.time, rng);
  EXPECT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
  EXPECT_TRUE(second.error().message().contains("data dir in use")) << second.error().message();
  CO_TRY(co_await t.store.put("still", share("works")));
  co_return Result<>();
}
TEST(Open, ASecondProcessIsToldThatTheDirectoryIsInUse) {
  TempDir dir;
  std::string path = dir.file();
  struct Body {
    const std::string& path;
    Task<Result<>> operator()(StoreTest& t) { return open_again(t, path); }
  };
  test_store({.path = path}, Body{path});
}

TEST(Open, RefusesForeignFiles) {
  TempDir dir;
  write_content(dir.file("text"), std::string(5000, 'n'));
  expect_refused(dir.file("text"), Code::kFailedPrecondition, "not a monopod store");
  run_sql(dir.file("other"), "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  expect_refused(dir.file("other"), Code::kFailedPrecondition, "another application");
  write_content(dir.file("empty"), "");
  expect_refused(dir.file("empty"), Code::kDataLoss, "truncated");
}

TEST(Open, RefusesANewerFormat) {
  TempDir dir;
  test_store({.path = dir.file()}, fill);
  run_sql(dir.file(), "PRAGMA journal_mode=DELETE; PRAGMA user_version=99");
  expect_refused(dir.file(), Code::kFailedPrecondition, "newer monopod");
}

TEST(Open, RefusesTriggersViewsAndAlteredTables) {
  for (const char* sql : {"CREATE TRIGGER evil AFTER INSERT ON log BEGIN DELETE FROM log; END", "CREATE VIEW evil AS SELECT * FROM log",
                          "CREATE TABLE extra(a)", "CREATE INDEX extra ON log(key)", "ALTER TABLE log ADD COLUMN more INTEGER", "DROP TABLE lease"}) {
    SCOPED_TRACE(sql);
    TempDir dir;
    test_store({.path = dir.file()}, fill);
    run_sql(dir.file(), "PRAGMA journal_mode=DELETE");
    run_sql(dir.file(), sql);
    Result<> opened = run_store({.path = dir.file()}, nothing);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), Code::kFailedPrecondition) << opened.error().message();
  }
}

TEST(Open, RefusesTruncatedFiles) {
  TempDir dir;
  test_store({.path = dir.file()}, fill);
  std::string whole = content_of(dir.file());
  for (std::size_t size : {std::size_t{50}, std::size_t{4096}, whole.size() / 2, whole.size() - 4096}) {
    SCOPED_TRACE(size);
    write_content(dir.file(), whole.substr(0, size));
    expect_refused(dir.file(), Code::kDataLoss, "truncated");
  }
}

TEST(Open, ScribbledFilesAreRefusedOrTheirDamageIsReported) {
  TempDir dir;
  test_store({.path = dir.file()}, fill);
  const std::string whole = content_of(dir.file());
  SeededRng rng(3);
  int refused = 0, reported = 0, rounds = 60;
  for (int round = 0; round < rounds; ++round) {
    std::string bad = whole;
    std::size_t at = 100 + rng.below(bad.size() - 164);
    for (std::size_t i = 0; i < 64; ++i) bad[at + i] = static_cast<char>(rng.next());
    write_content(dir.file(), bad);
    struct ReadAll {
      static Task<Result<>> run(StoreTest& t) {
        CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
        co_return all.kvs.size() == 300 ? Result<>() : fail(Code::kInternal, "keys vanished");
      }
    };
    Result<> read = run_store({.path = dir.file()}, ReadAll::run);
    if (!read) {
      EXPECT_NE(read.error().code(), Code::kInternal) << "at byte " << at << ": " << read.error().message();
      ++refused;
    }
    write_content(dir.file(), bad);
    Result<FsckReport> report = fsck(dir.file());
    if (!report || !report->findings.empty()) ++reported;
    else EXPECT_TRUE(read) << "at byte " << at << ": fsck saw nothing of: " << read.error().message();
  }
  EXPECT_GT(refused, rounds / 2);
  EXPECT_GE(reported, refused);
}

TEST(Open, AMissingFileBesideItsLogIsNotReplacedByAnEmptyOne) {
  TempDir dir;
  write_content(dir.file() + "-wal", std::string(4096, 'w'));
  Result<> opened = run_store({.path = dir.file()}, nothing);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kDataLoss);
}


// A file and its log as a killed process leaves them: 40 commits in the log.
Task<Result<>> put_and_copy(StoreTest& t, const std::string& from, const std::string& to) {
  for (int i = 0; i < 40; ++i) CO_TRY(co_await t.store.put(cat("/registry/k", i), share(std::string(200, 'x'))));
  for (const char* suffix : {"", "-wal"}) write_content(to + suffix, content_of(from + suffix));
  co_return Result<>();
}
struct PutAndCopy {
  std::string from, to;
  Task<Result<>> operator()(StoreTest& t) const { return put_and_copy(t, from, to); }
};
Task<Result<>> count_keys(StoreTest& t, std::size_t& keys) {
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  keys = all.kvs.size();
  co_return Result<>();
}

// Without the zeros that stand ready for the frames to come.
std::string frames_of(const std::string& log) {
  const std::string all = content_of(log);
  const std::size_t frame = 24 + 1024, end = all.find_last_not_of('\0') + 1;
  return all.substr(0, 32 + (end - 32 + frame - 1) / frame * frame);
}

TEST(Open, RefusesALogThatIsDamagedBeforeAcknowledgedChanges) {
  TempDir dir;
  const std::string path = dir.file("copy.db"), log = path + "-wal";
  test_store({.path = dir.file()}, PutAndCopy{dir.file(), path});
  const std::string file = content_of(path), whole = frames_of(log);
  const std::size_t frame = 24 + 1024;
  ASSERT_GT(whole.size(), 50 * frame);
  SeededRng rng(11);
  std::size_t keys = 0;
  auto body = [&keys](StoreTest& t) { return count_keys(t, keys); };
  for (int round = 0; round < 30; ++round) {
    std::string bad = whole;
    std::size_t at = 32 + rng.below(whole.size() - 32 - 12 * frame);  // the last 12 frames hold two commits and more
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    SCOPED_TRACE(cat("byte ", at));
    write_content(path, file);
    write_content(log, bad);
    expect_refused(path, Code::kDataLoss, cat("damaged at byte ", 32 + (at - 32) / frame * frame));
    EXPECT_TRUE(content_of(log) == bad) << "the log was changed";
    // What the message proposes works, and loses what it says.
    write_content(log, bad.substr(0, 32 + (at - 32) / frame * frame));
    ASSERT_TRUE(run_store({.path = path}, body));
    EXPECT_LT(keys, 40U);
  }
}

TEST(Open, ALogWithoutItsEndIsWhatAPowerCutLeaves) {
  TempDir dir;
  const std::string path = dir.file("copy.db"), log = path + "-wal";
  test_store({.path = dir.file()}, PutAndCopy{dir.file(), path});
  const std::string file = content_of(path), whole = frames_of(log);
  std::size_t keys = 0;
  auto body = [&keys](StoreTest& t) { return count_keys(t, keys); };
  for (std::size_t cut : {std::size_t{1}, std::size_t{500}, std::size_t{1048}, std::size_t{3000}, whole.size() / 2}) {
    SCOPED_TRACE(cut);
    write_content(path, file);
    write_content(log, whole.substr(0, whole.size() - cut));
    ASSERT_TRUE(run_store({.path = path}, body));
    EXPECT_LT(keys, 40U);
    write_content(path, file);
    write_content(log, whole.substr(0, whole.size() - cut) + std::string(cut, 'z'));
    ASSERT_TRUE(run_store({.path = path}, body)) << "a torn end";
    EXPECT_LT(keys, 40U);
  }
}

TEST(Open, TheLogIsLongerThanItsFramesAndAnyLengthWillDo) {
  TempDir dir;
  const std::string path = dir.file("copy.db"), log = path + "-wal";
  test_store({.path = dir.file()}, PutAndCopy{dir.file(), path});
  const std::string file = content_of(path), longer = content_of(log), frames = frames_of(log);
  ASSERT_GT(longer.size(), frames.size());
  std::size_t keys = 0;
  auto body = [&keys](StoreTest& t) { return count_keys(t, keys); };
  for (std::size_t size : {frames.size(), frames.size() + 1, frames.size() + 2000, longer.size()}) {
    write_content(path, file);
    write_content(log, longer.substr(0, size));
    ASSERT_TRUE(run_store({.path = path}, body)) << size;
    EXPECT_EQ(keys, 40U) << size;
  }
}

Task<Result<>> put_one(StoreTest& t) {
  CO_TRY(co_await t.store.state().put("image", cat("k", (co_await t.store.state().list("image"))->size()), noise(20'000, 7)));
  co_return Result<>();
}

TEST(Open, ABriefCommandLeavesAShortLogToWhoeverOpensNext) {
  TempDir dir;
  std::string path = dir.file("state.db");
  test_store({.path = path}, nothing);
  std::string file = content_of(path);
  std::size_t longest = 0;
  for (std::size_t i = 1; i <= 60; ++i) {
    test_store({.path = path, .brief = true}, put_one);
    std::string log = content_of(path + "-wal");
    longest = std::max(longest, log.size());
    if (i == 1) {
      EXPECT_GT(log.size(), 0u);
      EXPECT_EQ(content_of(path), file) << "moved into the file";
    }
  }
  EXPECT_GT(longest, 500'000u);
  EXPECT_LE(longest, static_cast<std::size_t>(kBriefLogBytesMax) + 200'000) << "a log that has grown is moved into the file";
  auto count = [](StoreTest& t) -> Task<Result<>> {
    CO_TRY_ASSIGN(auto all, co_await t.store.state().list("image"));
    EXPECT_EQ(all.size(), 60u);
    co_return Result<>();
  };
  test_store({.path = path}, count);
  EXPECT_EQ(content_of(path + "-wal"), "") << "who stays moves it into the file";
}

TEST(Open, AWeaklySyncedLogMayHaveHolesAfterAPowerCut) {
  TempDir dir;
  const std::string path = dir.file("copy.db"), log = path + "-wal";
  test_store({.path = dir.file(), .durability = Durability::kOs}, PutAndCopy{dir.file(), path});
  const std::string file = content_of(path);
  std::string bad = frames_of(log);
  bad[bad.size() / 2] ^= 1;
  std::size_t keys = 0;
  auto body = [&keys](StoreTest& t) { return count_keys(t, keys); };
  for (Durability now : {Durability::kOs, Durability::kAlways}) {
    write_content(path, file);
    write_content(log, bad);
    ASSERT_TRUE(run_store({.path = path, .durability = now}, body));
    EXPECT_LT(keys, 40U);
    EXPECT_GT(keys, 0U);
  }
}

Task<Result<>> copy(StoreTest& t, const std::string& to) {
  CO_TRY(co_await t.store.put("k", share("v")));
  co_return co_await t.store.snapshot(to);
}
Task<Result<>> is_copied(StoreTest& t) {
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("k"));
  EXPECT_TRUE(kv);
  EXPECT_EQ(t.store.current_revision().value, 2);
  co_return Result<>();
}
TEST(Snapshot, OpensAsAStoreOfItsOwn) {
  TempDir dir;
  std::string to = dir.file("copy.db");
  struct Body {
    const std::string& to;
    Task<Result<>> operator()(StoreTest& t) { return copy(t, to); }
  };
  test_store({.path = dir.file()}, Body{to});
  test_store({.path = to}, is_copied);
}

}  // namespace
}  // namespace monopod::store
