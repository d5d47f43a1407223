// The facts of KV and transactions, each on the SQLite backend.
#include "store/backend.h"

#include "store/limits.h"

#include "store/test_support.h"

namespace monopod::store {
namespace {

const SqliteOptions kMemory{.path = ":memory:"};
using async::Task;

Task<Result<>> first_revisions(StoreTest& t) {
  EXPECT_EQ(t.store.current_revision().value, 1);
  CO_TRY_ASSIGN(Revision made, co_await t.store.create("a", share("1")));
  EXPECT_EQ(made.value, 2);
  CO_TRY_ASSIGN(Revision changed, co_await t.store.update("a", share("2"), made));
  EXPECT_EQ(changed.value, 3);
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("a"));
  CO_ASSERT_TRUE(kv);
  EXPECT_EQ(*kv->value, "2");
  EXPECT_EQ(kv->create.value, 2);
  EXPECT_EQ(kv->mod.value, 3);
  EXPECT_EQ(kv->version, 2);
  co_return Result<>();
}
TEST(Backend, FirstWriteIsRevisionTwo) { test_store(kMemory, first_revisions); }

Task<Result<>> conflicts(StoreTest& t) {
  CO_TRY_ASSIGN(Revision a, co_await t.store.create("a", share("1")));
  auto again = co_await t.store.create("a", share("1"));
  EXPECT_EQ(again.error().code(), Code::kAlreadyExists);
  auto stale = co_await t.store.update("a", share("2"), Revision(a.value + 5));
  EXPECT_EQ(stale.error().code(), Code::kAborted);
  auto absent = co_await t.store.update("b", share("2"), a);
  EXPECT_EQ(absent.error().code(), Code::kNotFound);
  auto gone = co_await t.store.remove("b", a);
  EXPECT_EQ(gone.error().code(), Code::kNotFound);
  CO_TRY(co_await t.store.remove("a", a));
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("a"));
  EXPECT_FALSE(kv);
  CO_TRY_ASSIGN(Revision anew, co_await t.store.create("a", share("3")));
  CO_TRY_ASSIGN(kv, co_await t.store.get("a"));
  EXPECT_EQ(kv->version, 1) << "a key made anew starts at version 1";
  EXPECT_EQ(kv->create, anew);
  co_return Result<>();
}
TEST(Backend, GuardedWritesFailWithTheReason) { test_store(kMemory, conflicts); }

Task<Result<>> history(StoreTest& t) {
  for (int i = 0; i < 5; ++i) CO_TRY(co_await t.store.put("k", share(cat("v", i))));
  CO_TRY(co_await t.store.remove("k", Revision(6)));
  for (int i = 0; i < 5; ++i) {
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("k", Revision(2 + i)));
    CO_ASSERT_TRUE(kv);
    EXPECT_EQ(*kv->value, cat("v", i));
    EXPECT_EQ(kv->version, i + 1);
  }
  CO_TRY_ASSIGN(auto gone, co_await t.store.get("k", Revision(7)));
  EXPECT_FALSE(gone);
  auto future = co_await t.store.get("k", Revision(8));
  EXPECT_EQ(future.error().message(), "etcdserver: mvcc: required revision is a future revision");
  EXPECT_EQ(future.error().code(), Code::kOutOfRange);
  co_return Result<>();
}
TEST(Backend, EveryRevisionCanBeRead) { test_store(kMemory, history); }

Task<Result<>> ranges(StoreTest& t) {
  for (const char* key : {"/a/1", "/a/2", "/a/3", "/b/1", "/a"}) CO_TRY(co_await t.store.put(key, share(key)));
  RangeRequest request{.key = "/a/", .range_end = prefix_end("/a/")};
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(request));
  EXPECT_EQ(text_of(all.kvs), "/a/1=/a/1 /a/2=/a/2 /a/3=/a/3");
  EXPECT_EQ(all.count, 3);
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.revision.value, 6);
  request.limit = 2;
  CO_TRY_ASSIGN(RangeResult some, co_await t.store.range(request));
  EXPECT_EQ(some.kvs.size(), 2u);
  EXPECT_EQ(some.count, 3) << "count is of the whole range";
  EXPECT_TRUE(some.more);
  request.count_only = true;
  CO_TRY_ASSIGN(RangeResult count, co_await t.store.range(request));
  EXPECT_EQ(count.count, 3);
  EXPECT_TRUE(count.kvs.empty());
  CO_TRY_ASSIGN(RangeResult from, co_await t.store.range({.key = "/a/3", .range_end = std::string(1, '\0'), .keys_only = true}));
  EXPECT_EQ(text_of(from.kvs), "/a/3=- /b/1=-");
  auto empty = co_await t.store.range({});
  EXPECT_EQ(empty.error().code(), Code::kInvalidArgument);
  co_return Result<>();
}
TEST(Backend, RangesAreHalfOpenAndCounted) { test_store(kMemory, ranges); }

Task<Result<>> one_revision(StoreTest& t) {
  Txn txn;
  txn.success = {PutRequest{.key = "a", .value = share("1")}, PutRequest{.key = "b", .value = share("2")}, RangeRequest{.key = "a", .range_end = "c"}};
  CO_TRY_ASSIGN(TxnResult result, co_await t.store.txn(txn));
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision.value, 2);
  EXPECT_EQ(text_of(std::get<RangeResult>(result.results[2]).kvs), "a=1 b=2") << "a read sees the writes before it";
  CO_TRY_ASSIGN(RangeResult both, co_await t.store.range({.key = "a", .range_end = "c"}));
  EXPECT_EQ(both.kvs[0].mod, both.kvs[1].mod);
  Txn nothing;
  nothing.success = {DeleteRequest{.key = "x"}};
  CO_TRY_ASSIGN(TxnResult none, co_await t.store.txn(nothing));
  EXPECT_EQ(none.revision.value, 2) << "a transaction that changes nothing makes no revision";
  co_return Result<>();
}
TEST(Txn, OperationsShareOneRevision) { test_store(kMemory, one_revision); }

Task<Result<>> compares(StoreTest& t) {
  CO_TRY(co_await t.store.put("a", share("m")));
  CO_TRY(co_await t.store.put("a", share("n")));
  using T = Compare::Target;
  using O = Compare::Op;
  struct Row {
    const char* what;
    Compare compare;
    bool holds;
  };
  const std::vector<Row> rows = {
      {"version", {.key = "a", .target = T::kVersion, .number = 2}, true},
      {"create", {.key = "a", .target = T::kCreate, .number = 2}, true},
      {"mod less", {.key = "a", .target = T::kMod, .op = O::kLess, .number = 4}, true},
      {"mod greater", {.key = "a", .target = T::kMod, .op = O::kGreater, .number = 3}, false},
      {"lease", {.key = "a", .target = T::kLease, .number = 0}, true},
      {"value equal", {.key = "a", .target = T::kValue, .value = "n"}, true},
      {"value not equal", {.key = "a", .target = T::kValue, .op = O::kNotEqual, .value = "n"}, false},
      {"value greater", {.key = "a", .target = T::kValue, .op = O::kGreater, .value = "m"}, true},
      {"absent key has version 0", {.key = "x", .target = T::kVersion, .number = 0}, true},
      {"absent key has create 0", {.key = "x", .target = T::kCreate, .op = O::kNotEqual, .number = 0}, false},
      {"value of an absent key", {.key = "x", .target = T::kValue, .op = O::kNotEqual, .value = "q"}, false},
      {"range holds for all", {.key = "a", .range_end = "z", .target = T::kVersion, .op = O::kGreater, .number = 0}, true},
      {"range fails for one", {.key = "a", .range_end = "z", .target = T::kVersion, .op = O::kGreater, .number = 2}, false},
  };
  for (const Row& row : rows) {
    Txn txn;
    txn.compare = {row.compare};
    CO_TRY_ASSIGN(TxnResult result, co_await t.store.txn(txn));
    EXPECT_EQ(result.succeeded, row.holds) << row.what;
  }
  co_return Result<>();
}
TEST(Txn, ComparesAsEtcd) { test_store(kMemory, compares); }

Task<Result<>> nested(StoreTest& t) {
  CO_TRY(co_await t.store.put("a", share("0")));
  auto inner = std::make_shared<Txn>();
  inner->compare = {{.key = "a", .target = Compare::Target::kValue, .value = "1"}};
  inner->success = {PutRequest{.key = "inner", .value = share("after")}};
  inner->failure = {PutRequest{.key = "inner", .value = share("before")}, RangeRequest{.key = "a"}};
  Txn txn;
  txn.success = {PutRequest{.key = "a", .value = share("1")}, std::shared_ptr<const Txn>(inner)};
  CO_TRY_ASSIGN(TxnResult result, co_await t.store.txn(txn));
  auto inside = std::get<std::shared_ptr<const TxnResult>>(result.results[1]);
  EXPECT_FALSE(inside->succeeded);
  EXPECT_EQ(text_of(std::get<RangeResult>(inside->results.at(1)).kvs), "a=1");
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(text_of(all.kvs), "a=1 inner=before");
  EXPECT_EQ(all.revision.value, 3);
  co_return Result<>();
}
// etcd's server/etcdserver/txn decides the whole path by the state before the transaction; its operations see each other.
TEST(Txn, NestedComparesSeeTheStateBeforeAndNestedReadsTheOuterWrites) { test_store(kMemory, nested); }

Task<Result<>> refused(StoreTest& t) {
  CO_TRY(co_await t.store.put("a", share("1")));
  Txn twice;
  twice.success = {PutRequest{.key = "n", .value = share("1")}, PutRequest{.key = "n", .value = share("2")}};
  auto duplicate = co_await t.store.txn(twice);
  EXPECT_EQ(duplicate.error().message(), "etcdserver: duplicate key given in txn request");
  auto untaken = co_await t.store.txn({.failure = {PutRequest{.key = "n"}, DeleteRequest{.key = "m", .range_end = "o"}}});
  EXPECT_EQ(untaken.error().message(), "etcdserver: duplicate key given in txn request") << "in the branch that is not taken, too";
  Txn late;
  late.success = {PutRequest{.key = "n", .value = share("1")}, PutRequest{.key = "o", .value = share("2"), .lease = LeaseId(77)}};
  auto no_lease = co_await t.store.txn(late);
  EXPECT_EQ(no_lease.error().message(), "etcdserver: requested lease not found");
  EXPECT_EQ(no_lease.error().code(), Code::kNotFound);
  auto keep = co_await t.store.txn({.success = {PutRequest{.key = "n", .ignore_value = true}}});
  EXPECT_EQ(keep.error().message(), "etcdserver: key not found");
  Txn deep;
  for (int i = 0; i < 20; ++i) {
    auto inner = std::make_shared<const Txn>(std::move(deep));
    deep = Txn();
    deep.success = {inner};
  }
  auto too_deep = co_await t.store.txn(deep);
  EXPECT_EQ(too_deep.error().code(), Code::kInvalidArgument);
  auto big = co_await t.store.put("n", share(std::string(kValueBytesMax + 1, 'x')));
  EXPECT_EQ(big.error().code(), Code::kInvalidArgument);
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(text_of(all.kvs), "a=1") << "a refused transaction leaves nothing";
  EXPECT_EQ(t.store.current_revision().value, 2);
  co_return Result<>();
}
TEST(Txn, RefusedTransactionChangesNothing) { test_store(kMemory, refused); }

Task<Result<>> previous(StoreTest& t) {
  CO_TRY(co_await t.store.put("a", share("1")));
  CO_TRY(co_await t.store.put("b", share("2")));
  CO_TRY_ASSIGN(TxnResult put, co_await t.store.txn({.success = {PutRequest{.key = "a", .value = share("3"), .prev_kv = true}}}));
  EXPECT_EQ(*std::get<PutResult>(put.results[0]).prev->value, "1");
  CO_TRY_ASSIGN(TxnResult del, co_await t.store.txn({.success = {DeleteRequest{.key = "a", .range_end = "c", .prev_kv = true}}}));
  EXPECT_EQ(text_of(std::get<DeleteResult>(del.results[0]).prev), "a=3 b=2");
  EXPECT_EQ(std::get<DeleteResult>(del.results[0]).deleted, 2);
  co_return Result<>();
}
TEST(Txn, PreviousValuesAreReturned) { test_store(kMemory, previous); }

Task<Result<>> compaction(StoreTest& t) {
  for (int i = 0; i < 10; ++i) CO_TRY(co_await t.store.put("k", share(cat(i))));
  CO_TRY(co_await t.store.put("gone", share("x")));
  CO_TRY(co_await t.store.remove("gone", Revision(12)));
  CO_TRY(co_await t.store.put("last", share("x")));
  CO_TRY(co_await t.store.compact(Revision(13)));
  EXPECT_EQ(t.store.compact_revision().value, 13);
  auto before = co_await t.store.get("k", Revision(12));
  EXPECT_EQ(before.error().message(), "etcdserver: mvcc: required revision has been compacted");
  CO_TRY_ASSIGN(auto at, co_await t.store.get("k", Revision(13)));
  EXPECT_EQ(*at->value, "9");
  auto again = co_await t.store.compact(Revision(13));
  EXPECT_EQ(again.error().message(), "etcdserver: mvcc: required revision has been compacted");
  auto future = co_await t.store.compact(Revision(99));
  EXPECT_EQ(future.error().message(), "etcdserver: mvcc: required revision is a future revision");
  co_return Result<>();
}
TEST(Compaction, CompactedRevisionIsRejected) { test_store(kMemory, compaction); }

Task<Result<>> by_count(StoreTest& t) {
  for (int i = 0; i < 500; ++i) CO_TRY(co_await t.store.put("k", share(cat(i))));
  t.time.advance(std::chrono::seconds(300));
  for (int i = 0; i < 200 && t.store.compact_revision().value == 0; ++i) CO_TRY(co_await t.store.get("k"));
  for (int turn = 0; turn < 1000; ++turn) {
    CO_TRY(co_await t.store.put("other", share("x")));
    CO_TRY_ASSIGN(StoreStats stats, co_await t.store.stats());
    if (t.store.compact_revision().value > 0 && stats.versions < 110 + turn + 2) break;
  }
  EXPECT_GE(t.store.compact_revision().value, 401);
  co_return Result<>();
}
TEST(Compaction, PolicyKeepsTheNewestRevisions) {
  test_store({.path = ":memory:", .compaction = {.keep_revisions = 100, .keep_age = std::chrono::seconds(0)}}, by_count);
}

Task<Result<>> write_state(StoreTest& t) {
  CO_TRY(co_await t.store.state().put("image", "b", "2"));
  CO_TRY(co_await t.store.state().put("image", "a", "1"));
  CO_TRY(co_await t.store.state().put("network", "a", "3"));
  CO_TRY(co_await t.store.state().put("image", "gone", "3"));
  CO_TRY(co_await t.store.state().remove("image", "gone"));
  CO_TRY(co_await t.store.put("k", share("v")));
  co_return Result<>();
}
Task<Result<>> read_state(StoreTest& t) {
  CO_TRY_ASSIGN(auto pairs, co_await t.store.state().list("image"));
  EXPECT_EQ(pairs, (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}));
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("k"));
  CO_ASSERT_TRUE(kv);
  EXPECT_EQ(*kv->value, "v");
  EXPECT_EQ(t.store.current_revision().value, 2);
  co_return Result<>();
}
TEST(StateStore, SurvivesARestartBesideTheKeys) {
  TempDir dir;
  test_store({.path = dir.file()}, write_state);
  test_store({.path = dir.file()}, read_state);
}

Task<Result<>> change_state_at_once(StoreTest& t) {
  CO_TRY(co_await t.store.state().put("b", "old", "1"));
  std::vector<async::StateChange> changes{{.key = "old"}, {.key = "x", .value = "2"}, {.key = "y", .value = "3"}};
  CO_TRY(co_await t.store.state().apply("b", changes));
  changes.push_back({.key = "huge", .value = std::string(kStateValueBytesMax + 1, 'h')});
  changes[1].value = "4";
  Result<> refused = co_await t.store.state().apply("b", changes);
  EXPECT_FALSE(refused);
  CO_TRY_ASSIGN(auto pairs, co_await t.store.state().list("b"));
  CO_ASSERT_TRUE(pairs.size() == 2);
  EXPECT_EQ(pairs[0].second, "2") << "nothing of a refused change happened";
  EXPECT_EQ(pairs[1].first, "y");
  co_return Result<>();
}
TEST(StateStore, AppliesChangesTogether) {
  TempDir dir;
  test_store({.path = dir.file()}, change_state_at_once);
}

TEST(PrefixEnd, IsTheNextKeyThatHasNotThePrefix) {
  EXPECT_EQ(prefix_end("/a/"), "/a0");
  EXPECT_EQ(prefix_end("a\xff\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), std::string(1, '\0'));
  EXPECT_EQ(prefix_end(""), std::string(1, '\0'));
}

}  // namespace
}  // namespace monopod::store
