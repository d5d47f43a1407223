#include "backup/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "backup/file.h"
#include "base/failpoint.h"
#include "codec/compress.h"
#include "store/test_support.h"

namespace monopod::backup {
namespace {

using async::Task;
using store::StoreTest;
using store::TempDir;

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_content(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

// A store in dir/data with keys k0...k9, saved to dir/b.db.zst.
Task<Result<>> fill_and_save(StoreTest& t, std::string folder, std::string path) {
  async::Pool pool(1);
  for (int i = 0; i < 10; ++i) CO_TRY(co_await t.store.put(cat("k", i), share(std::string(1000, static_cast<char>('a' + i)))));
  CO_TRY_ASSIGN(Info info, co_await save({.store = t.store, .folder = folder, .clock = t.time}, pool, path));
  EXPECT_EQ(info.head.revision, 11);
  EXPECT_EQ(info.file_bytes, static_cast<std::int64_t>(content_of(path).size()));
  co_return Result<>();
}
std::string make_backup(const TempDir& dir) {
  struct Body {
    std::string folder, path;
    Task<Result<>> operator()(StoreTest& t) { return fill_and_save(t, folder, path); }
  };
  std::string path = dir.file("b.db.zst");
  store::test_store({.path = dir.file("data/state.db")}, Body{dir.file("data"), path});
  return path;
}

Task<Result<>> holds_ten_keys(StoreTest& t) {
  CO_TRY_ASSIGN(store::RangeResult all, co_await t.store.range(store::everything()));
  EXPECT_EQ(all.kvs.size(), 10U);
  EXPECT_EQ(*all.kvs[3].value, std::string(1000, 'd'));
  co_return Result<>();
}

TEST(Backup, ComesBackAsItWas) {
  TempDir dir;
  std::string path = make_backup(dir);
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  Result<Info> restored = restore(path, dir.file("new"), {});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(restored->head.revision, 11);
  EXPECT_EQ(restored->head.created, "2026-01-01T00:00:00Z");
  EXPECT_EQ(names_in(dir.file("new")), std::vector<std::string>{"state.db"});
  store::test_store({.path = dir.file("new/state.db")}, holds_ten_keys);
  for (const std::string& name : names_in(dir.file("data"))) EXPECT_FALSE(name.starts_with("backup-copy")) << name;
}

TEST(Backup, IsAPlainZstdStreamOfTheDatabase) {
  TempDir dir;
  Result<std::string> database = codec::decompress(codec::Compression::kZstd, content_of(make_backup(dir)));
  ASSERT_TRUE(database) << database.error().message();
  EXPECT_TRUE(database->starts_with("SQLite format 3"));
  EXPECT_EQ(database->size() % 1024, 0U);
}

TEST(Backup, ChangedOrCutAnywhereIsRefused) {
  TempDir dir;
  std::string path = make_backup(dir);
  const std::string whole = content_of(path);
  std::string bad_path = dir.file("bad.db.zst");
  auto refused = [&](const std::string& content) {
    write_content(bad_path, content);
    return !decode(bad_path, nullptr);
  };
  ASSERT_FALSE(refused(whole));
  for (std::size_t at = 0; at < whole.size(); at += at < 300 || at + 300 > whole.size() ? 1 : 37) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    if (whole[at] == ' ' || whole[at] == '\0') bad[at] = '\x7f';
    EXPECT_TRUE(refused(bad)) << "byte " << at << " of " << whole.size() << " changed";
  }
  for (std::size_t size = 0; size < whole.size(); size += 97) EXPECT_TRUE(refused(whole.substr(0, size))) << size << " bytes of " << whole.size();
  EXPECT_TRUE(refused(whole + "x"));
}

TEST(Backup, ADamagedOneRestoresNothing) {
  TempDir dir;
  std::string path = make_backup(dir);
  std::string bad = content_of(path);
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
  write_content(path, bad);
  Result<Info> restored = restore(path, dir.file("new"), {});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code(), Code::kDataLoss);
  EXPECT_NE(::access(dir.file("new").c_str(), F_OK), 0);
}

TEST(Backup, IsNotRestoredOverSomething) {
  TempDir dir;
  std::string path = make_backup(dir);
  ::mkdir(dir.file("new").c_str(), 0700);
  write_content(dir.file("new/state.db.partial"), "left by a restore that was killed");
  EXPECT_TRUE(restore(path, dir.file("new"), {}));
  Result<Info> again = restore(path, dir.file("new"), {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Code::kAlreadyExists);
}

Task<Result<>> counts_on_from_1011(StoreTest& t) {
  EXPECT_EQ(t.store.current_revision().value, 1011);
  auto past = co_await t.store.get("k1", store::Revision(500));
  CO_ASSERT_TRUE(!past);
  EXPECT_EQ(past.error().code(), Code::kOutOfRange);
  CO_TRY_ASSIGN(store::Revision next, co_await t.store.put("k1", share("new")));
  EXPECT_EQ(next.value, 1012);
  co_return Result<>();
}
Task<Result<>> holds_the_new_value(StoreTest& t) {
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("k1"));
  EXPECT_EQ(*kv->value, "new");
  co_return Result<>();
}
TEST(Backup, RestoredWithABumpNeverRepeatsRevisions) {
  TempDir dir;
  Result<Info> restored = restore(make_backup(dir), dir.file("new"), {.bump_revision = 1000});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(restored->head.revision, 1011);
  store::test_store({.path = dir.file("new/state.db")}, counts_on_from_1011);
  store::test_store({.path = dir.file("new/state.db")}, holds_the_new_value);
}

TEST(BackupName, ReadsWhatItWrites) {
  WallTime when(std::chrono::seconds(1'767'225'601));
  EXPECT_EQ(format_backup_name(12, when), "state-00000012-20260101T000001Z.db.zst");
  EXPECT_EQ(format_backup_name(123'456'789, when), "state-123456789-20260101T000001Z.db.zst");
  auto parsed = parse_backup_name("state-00000012-20260101T000001Z.db.zst");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->number, 12);
  EXPECT_EQ(parsed->created, when);
  for (const char* other : {"state.db", "state-.db.zst", "state-1-.db.zst", "state-x-20260101T000001Z.db.zst", "state-1-20260101T000001Z.db.zst.partial", "state-1-2026x101T000001Z.db.zst", "mine.db.zst"})
    EXPECT_FALSE(parse_backup_name(other)) << other;
}

TEST(Rotation, GoesByNumberNotByClock) {
  std::vector<std::string> names = {"state-00000003-20200101T000000Z.db.zst", "notes.txt", "state-00000001-20300101T000000Z.db.zst", "state-00000002-20290101T000000Z.db.zst"};
  EXPECT_EQ(find_surplus(names, 2), std::vector<std::string>{"state-00000001-20300101T000000Z.db.zst"});
  EXPECT_EQ(find_surplus(names, 3), std::vector<std::string>{});
  EXPECT_EQ(find_surplus(names, 0).size(), 2U);  // the newest always stays
}

// Lets pool threads and the loop work until done() or a bound of turns.
Task<Result<>> until(StoreTest& t, std::function<bool()> done) {
  for (int turn = 0; turn < 20'000 && !done(); ++turn) CO_TRY(co_await t.store.stats());
  CO_ASSERT_TRUE(done());
  co_return Result<>();
}

Task<Result<>> five_periods(StoreTest& t, Schedule& schedule, std::string folder, async::Scope& scope) {
  CO_TRY(co_await until(t, [&] { return !schedule.status().next.empty(); }));
  EXPECT_EQ(schedule.status().next, "2026-01-01T00:01:00Z");
  t.time.advance(std::chrono::minutes(1));
  for (int taken = 1; taken <= 5; ++taken) {
    CO_TRY(co_await t.store.put("k", share(cat(taken))));
    CO_TRY(co_await until(t, [&] { return schedule.status().taken == taken; }));
    if (taken < 5) t.time.advance(std::chrono::hours(6));
  }
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"state-00000003-20260101T120100Z.db.zst", "state-00000004-20260101T180100Z.db.zst", "state-00000005-20260102T000100Z.db.zst"}));
  EXPECT_EQ(schedule.status().newest_file, "state-00000005-20260102T000100Z.db.zst");
  EXPECT_EQ(schedule.status().next, "2026-01-02T06:01:00Z");
  EXPECT_EQ(schedule.status().last_error, "");
  scope.cancel();
  co_return Result<>();
}

using Script = Task<Result<>> (*)(StoreTest&, Schedule&, std::string, async::Scope&);
Task<Result<>> beside_schedule(StoreTest& t, std::string data, std::string folder, Script script) {
  Schedule schedule({.store = t.store, .folder = data, .clock = t.time}, t.time, {.folder = folder, .every = std::chrono::hours(6), .keep = 3});
  async::Scope scope(t.executor);
  scope.spawn(schedule.run());
  scope.spawn(script(t, schedule, folder, scope));
  co_return co_await scope.join();
}
void test_schedule(const TempDir& dir, Script script) {
  struct Body {
    std::string data, folder;
    Script script;
    Task<Result<>> operator()(StoreTest& t) { return beside_schedule(t, data, folder, script); }
  };
  store::test_store({.path = dir.file("data/state.db")}, Body{dir.file("data"), dir.file("backups"), script});
}

TEST(Schedule, TakesOneEachPeriodAndKeepsTheNewest) {
  TempDir dir;
  test_schedule(dir, five_periods);
}

Task<Result<>> goes_on(StoreTest& t, Schedule& schedule, std::string, async::Scope& scope) {
  CO_TRY(co_await until(t, [&] { return !schedule.status().next.empty(); }));
  EXPECT_EQ(schedule.status().next, "2026-01-01T04:00:00Z");  // six hours after the newest there
  EXPECT_EQ(schedule.status().newest_file, "state-00000041-20251231T220000Z.db.zst");
  t.time.advance(std::chrono::hours(4));
  CO_TRY(co_await until(t, [&] { return schedule.status().taken == 1; }));
  EXPECT_EQ(schedule.status().newest_file, "state-00000042-20260101T040000Z.db.zst");
  scope.cancel();
  co_return Result<>();
}
TEST(Schedule, GoesOnWhereTheLastProcessStoppedAndRemovesItsLeftovers) {
  TempDir dir;
  ::mkdir(dir.file("backups").c_str(), 0700);
  ::mkdir(dir.file("data").c_str(), 0700);
  write_content(dir.file("backups/state-00000041-20251231T220000Z.db.zst"), "x");
  write_content(dir.file("backups/state-00000042-20251231T230000Z.db.zst.partial"), "half");
  test_schedule(dir, goes_on);
  EXPECT_EQ(names_in(dir.file("backups")).size(), 2U);
}

TEST(Leftovers, OfCopiesAreRemoved) {
  TempDir dir;
  for (const char* name : {"backup-copy-0.db", "backup-copy-0.db-journal", "state.db", "backup"}) write_content(dir.file(name), "x");
  EXPECT_EQ(remove_copies(dir.file("")), 2U);
  EXPECT_EQ(names_in(dir.file("")), (std::vector<std::string>{"backup", "state.db"}));
}

Task<Result<>> fails_then_works(StoreTest& t, Schedule& schedule, std::string folder, async::Scope& scope) {
  CO_TRY(co_await until(t, [&] { return !schedule.status().next.empty(); }));
  EXPECT_TRUE(schedule.status().last_error.contains("backups")) << schedule.status().last_error;
  t.time.advance(std::chrono::minutes(1));
  CO_TRY(co_await until(t, [&] { return schedule.status().failed == 1; }));
  EXPECT_FALSE(schedule.status().last_error.empty());
  ::unlink(folder.c_str());
  t.time.advance(std::chrono::minutes(10));  // not six hours
  CO_TRY(co_await until(t, [&] { return schedule.status().taken == 1; }));
  EXPECT_EQ(schedule.status().last_error, "");
  scope.cancel();
  co_return Result<>();
}
TEST(Schedule, ShowsAFailureAndTriesAgainSoon) {
  TempDir dir;
  write_content(dir.file("backups"), "a file where the folder should be");
  test_schedule(dir, fails_then_works);
}

Task<Result<>> fails_at_the_rename(StoreTest& t, Schedule& schedule, std::string folder, async::Scope& scope) {
  CO_TRY(arm_failpoints("backup.before_rename=1*error"));
  Result<Info> taken = co_await schedule.take();
  EXPECT_FALSE(taken);
  EXPECT_EQ(names_in(folder), std::vector<std::string>{});
  CO_TRY(co_await schedule.take());
  EXPECT_EQ(names_in(folder).size(), 1U);
  CO_TRY(co_await t.store.put("k", share("v")));
  scope.cancel();
  co_return Result<>();
}
TEST(Schedule, AFailureInTheMiddleLeavesNothingThatLooksLikeABackup) {
  TempDir dir;
  ::mkdir(dir.file("backups").c_str(), 0700);
  test_schedule(dir, fails_at_the_rename);
  disarm_failpoints();
}

}  // namespace
}  // namespace monopod::backup
