// Readings of everything, stores made of them, and giving space back.
#include <boost/asio/post.hpp>

#include "async/scope.h"
#include "base/failpoint.h"
#include "store/limits.h"
#include "store/offline.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

Task<Result<>> put_many(StoreTest& t, int count, std::size_t bytes) {
  Txn txn;
  for (int i = 0; i < count; ++i) {
    txn.success.push_back(PutRequest{.key = cat("k", 100'000 + i), .value = share(noise(bytes, static_cast<std::uint64_t>(i)))});
    if (txn.success.size() < 500 && i + 1 < count) continue;
    CO_TRY(co_await t.store.txn(std::move(txn)));
    txn = {};
  }
  co_return Result<>();
}

Task<Result<>> delete_prefix(StoreTest& t, std::string prefix) {
  Txn txn;
  txn.success.push_back(DeleteRequest{.key = prefix, .range_end = prefix_end(prefix)});
  CO_TRY(co_await t.store.txn(std::move(txn)));
  co_return Result<>();
}

std::vector<std::string> rows_of(Dump& dump) {
  std::vector<std::string> rows;
  for (;;) {
    Result<bool> more = dump.read([&rows](const DumpRow& row) -> Result<> {
      rows.push_back(cat(row.revision, ".", row.sub, row.tombstone() ? " delete " : " put ", row.key));
      return {};
    });
    EXPECT_TRUE(more) << more.error().message();
    if (!more || !*more) return rows;
  }
}

// A sync shows itself by the store's failure.
Task<Result<>> sync_what_lasts(StoreTest& t) {
  auto synced = [](StoreTest& test, int turns) -> Task<bool> {
    for (int i = 0; i < turns && !test.store.failure(); ++i) {
      test.time.advance(std::chrono::milliseconds(20));
      co_await async::asio::post(test.executor, async::use_task);
    }
    co_return test.store.failure().has_value();
  };
  EXPECT_TRUE(arm_failpoints("store.before_sync=1*error"));
  CO_TRY(co_await t.store.state().put("b", "mount", "v", async::Lasts::kUntilReboot));
  CO_TRY(co_await t.store.state().remove("b", "mount", async::Lasts::kUntilReboot));
  EXPECT_FALSE(co_await synced(t, 200));
  CO_TRY(co_await t.store.state().put("b", "image", "v"));
  EXPECT_TRUE(co_await synced(t, 1'000'000));
  disarm_failpoints();
  co_return Result<>();
}
TEST(StateStore, WhatEndsWithTheBootIsNotSynced) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kBatch}, sync_what_lasts);
}

Task<Result<>> shrink(StoreTest& t, std::string path) {
  CO_TRY(co_await t.store.put("stays", share("v")));
  CO_TRY(co_await put_many(t, 3000, 1000));
  CO_TRY(co_await delete_prefix(t, "k"));
  CO_TRY(co_await t.store.compact(t.store.current_revision()));
  CO_TRY(co_await t.store.finish_compaction());
  CO_TRY_ASSIGN(StoreStats before, co_await t.store.stats());
  EXPECT_GT(before.file_bytes, before.file_bytes_in_use) << "compaction leaves pages for reuse";
  CO_TRY(co_await t.store.defragment());
  CO_TRY_ASSIGN(StoreStats after, co_await t.store.stats());
  EXPECT_EQ(after.file_bytes, after.file_bytes_in_use);
  EXPECT_EQ(t.store.file_bytes(), after.file_bytes);
  EXPECT_EQ(static_cast<std::int64_t>(std::filesystem::file_size(path)), after.file_bytes);
  EXPECT_LT(after.file_bytes, 300'000) << "3000 tombstones at the compaction revision stay";
  EXPECT_EQ(std::filesystem::file_size(path + "-wal"), 0U);
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("stays"));
  EXPECT_TRUE(kv);
  CO_TRY(co_await t.store.put("after", share("v")));
  co_return Result<>();
}
TEST(Defragment, TheFileIsAsShortAsItsContent) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, [&](StoreTest& t) { return shrink(t, dir.file()); });
  auto findings = fsck(dir.file());
  ASSERT_TRUE(findings) << findings.error().message();
  EXPECT_TRUE(findings->findings.empty());
}

Task<Result<>> defragment_into(SqliteBackend& store, std::optional<Result<>>& out) {
  out = co_await store.defragment();
  co_return Result<>();
}

Task<Result<>> read_and_defragment(StoreTest& t) {
  CO_TRY(co_await put_many(t, 10, 1000));
  CO_TRY_ASSIGN(std::unique_ptr<Dump> dump, co_await t.store.dump());
  async::Scope scope(t.executor);
  std::optional<Result<>> done;
  scope.spawn(defragment_into(t.store, done));
  for (int i = 0; i < 2000 && !done; ++i) {
    CO_TRY(co_await t.store.put("writes", share("go on")));
    t.time.advance(std::chrono::milliseconds(100));
  }
  CO_TRY(co_await scope.join());
  CO_ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->error().code(), Code::kUnavailable);
  dump.reset();
  co_return co_await t.store.defragment();
}
TEST(Defragment, SaysThatAReaderIsInTheWay) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, read_and_defragment);
}

Task<Result<>> read_while_writing(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(std::chrono::seconds(50), LeaseId(9)));
  CO_TRY(co_await t.store.put("a", share("1"), lease.id));
  CO_TRY(co_await t.store.put("a", share("2")));
  CO_TRY(co_await t.store.compact(Revision(3)));
  CO_TRY(co_await t.store.remove("a", Revision(3)));
  CO_TRY_ASSIGN(std::unique_ptr<Dump> dump, co_await t.store.dump());
  CO_TRY(co_await t.store.put("b", share("3")));
  CO_TRY(co_await t.store.compact(Revision(5)));
  CO_TRY(co_await t.store.finish_compaction());
  EXPECT_EQ(dump->head().current.value, 4);
  EXPECT_EQ(dump->head().compacted.value, 3);
  CO_ASSERT_TRUE(dump->head().leases.size() == 1);
  EXPECT_EQ(dump->head().leases[0].ttl.count(), 50);
  EXPECT_EQ(rows_of(*dump), (std::vector<std::string>{"3.0 put a", "4.0 delete a"}));
  CO_TRY_ASSIGN(dump, co_await t.store.dump());
  EXPECT_EQ(rows_of(*dump), (std::vector<std::string>{"5.0 put b"}));
  co_return Result<>();
}
TEST(Dump, IsOneMomentWithoutWhatWasCompacted) {
  TempDir dir;
  test_store({.path = dir.file()}, read_while_writing);
  test_store({.path = ":memory:"}, read_while_writing);
}

Task<Result<>> count_places(StoreTest& t) {
  CO_TRY(co_await t.store.put("a", share("1")));  // 2
  CO_TRY(co_await t.store.put("b", share("1")));  // 3
  CO_TRY(co_await t.store.put("a", share("2")));  // 4
  CO_TRY(co_await t.store.remove("b", Revision(3)));
  using Kept = std::vector<std::pair<std::int64_t, std::int64_t>>;
  CO_TRY_ASSIGN(auto newest, co_await t.store.places_at(Revision(5), Revision(5)));
  EXPECT_EQ(newest.keys, 1);
  EXPECT_EQ(newest.kept, (Kept{{4, 0}}));
  CO_TRY_ASSIGN(auto earlier, co_await t.store.places_at(Revision(4), Revision(3)));
  EXPECT_EQ(earlier.keys, 2);
  EXPECT_EQ(earlier.kept, (Kept{{3, 0}})) << "a was put later than that";
  co_return Result<>();
}
TEST(Dump, PlacesAreThoseOfTheKeysThatExist) { test_store({.path = ":memory:"}, count_places); }

TEST(StoreBuilder, RefusesWhatCannotFollow) {
  TempDir dir;
  const std::string large_key(kKeyBytesMax + 1, 'k'), large_value(kValueBytesMax + 1, 'v');
  struct Case {
    const char* name;
    DumpRow row;
    Code code;
  };
  const Case cases[] = {
      {"no key", {.revision = 9, .create = 9, .version = 1}, Code::kInvalidArgument},
      {"large key", {.revision = 9, .create = 9, .version = 1, .key = large_key}, Code::kInvalidArgument},
      {"large value", {.revision = 9, .create = 9, .version = 1, .key = "k", .value = large_value}, Code::kInvalidArgument},
      {"revision 1", {.revision = 1, .create = 1, .version = 1, .key = "k"}, Code::kInvalidArgument},
      {"before the last", {.revision = 4, .create = 4, .version = 1, .key = "k"}, Code::kDataLoss},
      {"same place", {.revision = 5, .create = 5, .version = 1, .key = "k"}, Code::kDataLoss},
      {"created later", {.revision = 9, .create = 10, .version = 1, .key = "k"}, Code::kDataLoss},
      {"tombstone with a value", {.revision = 9, .key = "k", .value = "v"}, Code::kDataLoss},
  };
  for (const Case& c : cases) {
    auto builder = StoreBuilder::create(dir.file());
    ASSERT_TRUE(builder) << builder.error().message();
    ASSERT_TRUE((*builder)->add({.revision = 5, .create = 5, .version = 1, .key = "first"}));
    Result<> added = (*builder)->add(c.row);
    ASSERT_FALSE(added) << c.name;
    EXPECT_EQ(added.error().code(), c.code) << c.name << ": " << added.error().message();
  }
  {
    auto builder = StoreBuilder::create(dir.file());
    ASSERT_TRUE(builder);
    EXPECT_EQ(StoreBuilder::create(dir.file()).error().code(), Code::kUnavailable) << "one at a time";
    ASSERT_TRUE((*builder)->add({.revision = 5, .create = 5, .version = 1, .key = "k"}));
    ASSERT_TRUE((*builder)->add({.revision = 6, .create = 5, .version = 3, .key = "k"}));
    EXPECT_EQ((*builder)->finish({.current = Revision(6)}, {}).error().code(), Code::kDataLoss) << "version 2 is missing";
  }
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(dir.file()).parent_path()))
    EXPECT_EQ(entry.path().filename(), "state.db.lock") << "left behind";
}

Task<Result<>> expect_version_two(StoreTest& t) {
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("k"));
  CO_ASSERT_TRUE(kv);
  EXPECT_EQ(kv->version, 2);
  EXPECT_EQ(kv->create.value, 5);
  EXPECT_EQ(kv->mod.value, 7);
  EXPECT_EQ(t.store.current_revision().value, 20);
  EXPECT_EQ(t.store.compact_revision().value, 6);
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_time_to_live(LeaseId(3)));
  EXPECT_EQ(lease.remaining.count(), 100);
  EXPECT_EQ(lease.keys, (std::vector<std::string>{"k"}));
  CO_TRY_ASSIGN(auto state, co_await t.store.state().list("b"));
  EXPECT_EQ(state.size(), 1U);
  CO_TRY_ASSIGN(Revision next, co_await t.store.put("next", share("v")));
  EXPECT_EQ(next.value, 21);
  co_return Result<>();
}
TEST(StoreBuilder, MakesAStoreThatGoesOn) {
  TempDir dir;
  {
    auto builder = StoreBuilder::create(dir.file());
    ASSERT_TRUE(builder);
    ASSERT_TRUE((*builder)->add({.revision = 5, .create = 5, .version = 1, .key = "k", .value = "1"}));
    ASSERT_TRUE((*builder)->add({.revision = 7, .create = 5, .version = 2, .lease = 3, .key = "k", .value = "2"}));
    ASSERT_TRUE((*builder)->put_state("b", "k", "v"));
    DumpHead head{.current = Revision(20), .compacted = Revision(6), .leases = {{LeaseId(3), std::chrono::seconds(100)}}};
    Result<> done = (*builder)->finish(head, {});
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(StoreBuilder::create(dir.file()).error().code(), Code::kUnavailable) << "until the builder is gone";
  }
  EXPECT_EQ(StoreBuilder::create(dir.file()).error().code(), Code::kAlreadyExists);
  test_store({.path = dir.file()}, expect_version_two);
}

Task<Result<>> grow(StoreTest& t) {
  for (int i = 0; i < 60; ++i) CO_TRY(co_await t.store.put("k", share(noise(10'000))));
  t.time.advance(std::chrono::seconds(300));
  for (int turn = 0; turn < 2000 && t.store.compact_revision().value == 0; ++turn) CO_TRY(co_await t.store.put("turn", share("x")));
  EXPECT_GE(t.store.compact_revision().value, 61);
  co_return Result<>();
}
TEST(Compaction, PolicyBoundsTheSize) {
  CompactionPolicy policy{.keep_revisions = 0, .keep_age = std::chrono::seconds(0), .file_bytes_max = 300'000};
  test_store({.path = ":memory:", .compaction = policy}, grow);
}

}  // namespace
}  // namespace monopod::store
