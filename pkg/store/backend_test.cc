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
  CO_TRY(co_await t.store.state().apply("b", changes, async::Lasts::kForever));
  changes.push_back({.key = "huge", .value = std::string(kStateValueBytesMax + 1, 'h')});
  changes[1].value = "4";
  Result<> refused = co_await t.store.state().apply("b", changes, async::Lasts::kForever);
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
