#include "store/offline.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

Task<Result<>> write_some(StoreTest& t) {
  CO_TRY(co_await t.store.put("/a/1", share("one")));         // 2
  CO_TRY(co_await t.store.put("/a/2", share("two")));         // 3
  CO_TRY(co_await t.store.put("/b/1", share("other")));       // 4
  CO_TRY(co_await t.store.put("/a/1", share("uno")));         // 5
  CO_TRY(co_await t.store.remove("/a/2", Revision(3)));       // 6
  co_return Result<>();
}

// "/a/1=one@2 -/a/2@6"
std::string dump(const std::string& path, ExportOptions options) {
  std::string text;
  Result<Revision> done = export_file(path, options, [&](const ExportRow& row) -> Result<> {
    text += cat(text.empty() ? "" : " ", row.deleted ? "-" : "", row.kv.key, row.kv.value ? "=" + *row.kv.value : std::string(), "@", row.kv.mod.value);
    return {};
  });
  return done ? text : done.error().message();
}
const std::string kAll(1, '\0');

TEST(Export, ShowsTheNewestStateAPastOneAndHistory) {
  TempDir dir;
  test_store({.path = dir.file()}, write_some);
  EXPECT_EQ(dump(dir.file(), {.key = kAll, .range_end = kAll}), "/a/1=uno@5 /b/1=other@4");
  EXPECT_EQ(dump(dir.file(), {.key = "/a/", .range_end = "/a0", .revision = Revision(4)}), "/a/1=one@2 /a/2=two@3");
  EXPECT_EQ(dump(dir.file(), {.key = "/a/", .range_end = "/a0", .keys_only = true}), "/a/1@5");
  EXPECT_EQ(dump(dir.file(), {.key = "/a/", .range_end = "/a0", .history = true}), "/a/1=one@2 /a/2=two@3 /a/1=uno@5 -/a/2@6");
  EXPECT_EQ(dump(dir.file(), {.key = kAll, .range_end = kAll, .history = true, .revision = Revision(3)}), "/a/1=one@2 /a/2=two@3");
  EXPECT_EQ(dump(dir.file(), {.key = kAll, .range_end = kAll, .revision = Revision(7)}), "revision 7: the newest is 6");
}

TEST(Export, LeavesTheFolderAsItWas) {
  TempDir dir;
  test_store({.path = dir.file()}, write_some);
  ::unlink((dir.file() + ".lock").c_str());
  struct stat before{}, after{};
  ASSERT_EQ(::stat(dir.file().c_str(), &before), 0);
  dump(dir.file(), {.key = kAll, .range_end = kAll});
  ASSERT_EQ(::stat(dir.file().c_str(), &after), 0);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.file(""))) ++files;
  EXPECT_EQ(files, 1U);
}

Task<Result<>> dump_while_open(StoreTest& t, std::string path) {
  CO_TRY(co_await t.store.put("k", share("v")));
  EXPECT_TRUE(dump(path, {.key = kAll, .range_end = kAll}).contains("in use by another monopod process"));
  co_return Result<>();
}
TEST(Export, RefusesAFileInUse) {
  TempDir dir;
  struct Body {
    std::string path;
    Task<Result<>> operator()(StoreTest& t) { return dump_while_open(t, path); }
  };
  test_store({.path = dir.file()}, Body{dir.file()});
}

TEST(Export, RefusesWhatIsNoStore) {
  TempDir dir;
  std::ofstream(dir.file("text")) << std::string(8192, 'x');
  EXPECT_TRUE(dump(dir.file("text"), {}).contains("not a database")) << dump(dir.file("text"), {});
  EXPECT_TRUE(dump(dir.file("absent"), {}).contains("No such file"));
}

TEST(Fsck, FindsNothingInASoundFile) {
  TempDir dir;
  test_store({.path = dir.file()}, write_some);
  int ticks = 0;
  Result<FsckReport> report = fsck(dir.file(), [&](std::string_view, std::int64_t, std::int64_t) { ++ticks; });
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->findings.empty());
  EXPECT_EQ(report->rows, 5);
  EXPECT_EQ(report->live_keys, 2);
  EXPECT_EQ(report->revision.value, 6);
}

TEST(Fsck, MakesNoFileWhereThereIsNone) {
  TempDir dir;
  EXPECT_FALSE(fsck(dir.file()));
  EXPECT_NE(::access(dir.file().c_str(), F_OK), 0);
}

Task<Result<>> write_much(StoreTest& t) {
  SeededRng rng(7);
  std::string value(40'000, '\0');
  for (int i = 0; i < 300; ++i) {
    for (char& c : value) c = static_cast<char>(rng.next());  // nothing to compress
    CO_TRY(co_await t.store.put("k", share(value)));
  }
  CO_TRY_ASSIGN(StoreStats stats, co_await t.store.stats());
  EXPECT_GE(stats.payload_bytes, 300 * 40'000);
  EXPECT_GE(stats.wal_bytes_written, stats.payload_bytes);
  EXPECT_GE(stats.file_bytes_written, 1'000'000);  // some checkpoints were due
  EXPECT_LE(stats.file_bytes_written, stats.wal_bytes_written);
  co_return Result<>();
}
TEST(Stats, CountWhatCheckpointsWrite) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, write_much);
}

}  // namespace
}  // namespace monopod::store
