// For tests: the facts that hold of every Backend, to be run on each: SqliteBackend in conformance_test.cc, an etcd cluster in
// pkg/etcd/cluster_backend_test.cc. Revisions are counted from where the store stood, so that one store may serve many tests.
#pragma once

#include "store/backend.h"
#include "store/limits.h"
#include "store/test_support.h"

namespace monopod::store::conformance {

using async::Task;

// A store without keys and leases.
struct Subject {
  Backend& store;
  std::int64_t base = 0;  // of an empty, fresh one; its newest revision is base + 1
  Revision at(std::int64_t n) const { return Revision(base + n); }
  // As text_of, with revisions counted from base.
  std::string text(const WatchBatch& batch) const {
    std::string whole = text_of(batch);
    return cat(batch.revision.value - base, whole.substr(whole.find(':')));
  }
};

inline Task<Result<std::string>> read_batches(Subject& t, Watch& watch, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch.next());
    text += cat(text.empty() ? "" : " ", t.text(batch));
  }
  co_return text;
}

inline Task<Result<>> conflicts(Subject& t) {
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

inline Task<Result<>> history(Subject& t) {
  for (int i = 0; i < 5; ++i) CO_TRY(co_await t.store.put("k", share(cat("v", i))));
  CO_TRY(co_await t.store.remove("k", t.at(6)));
  for (int i = 0; i < 5; ++i) {
    CO_TRY_ASSIGN(auto kv, co_await t.store.get("k", t.at(2 + i)));
    CO_ASSERT_TRUE(kv);
    EXPECT_EQ(*kv->value, cat("v", i));
    EXPECT_EQ(kv->version, i + 1);
  }
  CO_TRY_ASSIGN(auto gone, co_await t.store.get("k", t.at(7)));
  EXPECT_FALSE(gone);
  auto future = co_await t.store.get("k", t.at(8));
  EXPECT_EQ(future.error().message(), "etcdserver: mvcc: required revision is a future revision");
  EXPECT_EQ(future.error().code(), Code::kOutOfRange);
  co_return Result<>();
}

inline Task<Result<>> ranges(Subject& t) {
  for (const char* key : {"/a/1", "/a/2", "/a/3", "/b/1", "/a"}) CO_TRY(co_await t.store.put(key, share(key)));
  RangeRequest request{.key = "/a/", .range_end = prefix_end("/a/")};
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(request));
  EXPECT_EQ(text_of(all.kvs), "/a/1=/a/1 /a/2=/a/2 /a/3=/a/3");
  EXPECT_EQ(all.count, 3);
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.revision, t.at(6));
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

inline Task<Result<>> one_revision(Subject& t) {
  Txn txn;
  txn.success = {PutRequest{.key = "a", .value = share("1")}, PutRequest{.key = "b", .value = share("2")}, RangeRequest{.key = "a", .range_end = "c"}};
  CO_TRY_ASSIGN(TxnResult result, co_await t.store.txn(txn));
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision, t.at(2));
  EXPECT_EQ(text_of(std::get<RangeResult>(result.results[2]).kvs), "a=1 b=2") << "a read sees the writes before it";
  CO_TRY_ASSIGN(RangeResult both, co_await t.store.range({.key = "a", .range_end = "c"}));
  EXPECT_EQ(both.kvs[0].mod, both.kvs[1].mod);
  Txn nothing;
  nothing.success = {DeleteRequest{.key = "x"}};
  CO_TRY_ASSIGN(TxnResult none, co_await t.store.txn(nothing));
  EXPECT_EQ(none.revision, t.at(2)) << "a transaction that changes nothing makes no revision";
  co_return Result<>();
}

inline Task<Result<>> compares(Subject& t) {
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
      {"create", {.key = "a", .target = T::kCreate, .number = t.at(2).value}, true},
      {"mod less", {.key = "a", .target = T::kMod, .op = O::kLess, .number = t.at(4).value}, true},
      {"mod greater", {.key = "a", .target = T::kMod, .op = O::kGreater, .number = t.at(3).value}, false},
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

inline Task<Result<>> nested(Subject& t) {
  CO_TRY(co_await t.store.put("state", share("1")));
  auto inner = std::make_shared<Txn>();
  inner->compare = {{.key = "state", .target = Compare::Target::kValue, .value = "1"}};
  inner->success = {PutRequest{.key = "inner", .value = share("yes")}, RangeRequest{.key = "a"}};
  inner->failure = {PutRequest{.key = "inner", .value = share("no")}};
  auto other = std::make_shared<Txn>();
  other->compare = {{.key = "state", .target = Compare::Target::kVersion, .op = Compare::Op::kGreater, .number = 1}};
  other->failure = {DeleteRequest{.key = "nothing"}};
  Txn txn;
  txn.success = {PutRequest{.key = "a", .value = share("1")}, std::shared_ptr<const Txn>(inner), std::shared_ptr<const Txn>(other)};
  CO_TRY_ASSIGN(TxnResult result, co_await t.store.txn(txn));
  const TxnResult& done = *std::get<std::shared_ptr<const TxnResult>>(result.results.at(1));
  EXPECT_TRUE(done.succeeded);
  EXPECT_EQ(text_of(std::get<RangeResult>(done.results.at(1)).kvs), "a=1");
  EXPECT_FALSE(std::get<std::shared_ptr<const TxnResult>>(result.results.at(2))->succeeded);
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(text_of(all.kvs), "a=1 inner=yes state=1");
  EXPECT_EQ(all.revision, t.at(3)) << "one revision";
  co_return Result<>();
}

inline Task<Result<>> previous(Subject& t) {
  CO_TRY(co_await t.store.put("a", share("1")));
  CO_TRY(co_await t.store.put("b", share("2")));
  CO_TRY_ASSIGN(TxnResult put, co_await t.store.txn({.success = {PutRequest{.key = "a", .value = share("3"), .prev_kv = true}}}));
  EXPECT_EQ(*std::get<PutResult>(put.results[0]).prev->value, "1");
  CO_TRY_ASSIGN(TxnResult del, co_await t.store.txn({.success = {DeleteRequest{.key = "a", .range_end = "c", .prev_kv = true}}}));
  EXPECT_EQ(text_of(std::get<DeleteResult>(del.results[0]).prev), "a=3 b=2");
  EXPECT_EQ(std::get<DeleteResult>(del.results[0]).deleted, 2);
  co_return Result<>();
}

inline Task<Result<>> compaction(Subject& t) {
  for (int i = 0; i < 10; ++i) CO_TRY(co_await t.store.put("k", share(cat(i))));
  CO_TRY(co_await t.store.put("gone", share("x")));
  CO_TRY(co_await t.store.remove("gone", t.at(12)));
  CO_TRY(co_await t.store.put("last", share("x")));
  CO_TRY(co_await t.store.compact(t.at(13)));
  EXPECT_EQ(t.store.compact_revision(), t.at(13));
  auto before = co_await t.store.get("k", t.at(12));
  EXPECT_EQ(before.error().message(), "etcdserver: mvcc: required revision has been compacted");
  CO_TRY_ASSIGN(auto at, co_await t.store.get("k", t.at(13)));
  EXPECT_EQ(*at->value, "9");
  auto again = co_await t.store.compact(t.at(13));
  EXPECT_EQ(again.error().message(), "etcdserver: mvcc: required revision has been compacted");
  auto future = co_await t.store.compact(t.at(99));
  EXPECT_EQ(future.error().message(), "etcdserver: mvcc: required revision is a future revision");
  co_return Result<>();
}

inline Task<Result<>> live(Subject& t) {
  CO_TRY(co_await t.store.put("a/0", share("old")));
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch(WatchRequest{.key = "a/", .range_end = prefix_end("a/"), .prev_kv = true}));
  CO_TRY(co_await t.store.put("a/1", share("x")));
  CO_TRY(co_await t.store.put("b/1", share("x")));
  CO_TRY(co_await t.store.put("a/1", share("y")));
  CO_TRY(co_await t.store.txn({.success = {PutRequest{.key = "a/2", .value = share("z")}, DeleteRequest{.key = "a/1"}, PutRequest{.key = "c", .value = share("")}}}));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(t, *watch, 3));
  EXPECT_EQ(seen, "3:put a/1=x 5:put a/1=y(x) 6:put a/2=z,delete a/1(y)");
  watch->request_progress();
  CO_TRY_ASSIGN(WatchBatch progress, co_await watch->next());
  EXPECT_EQ(t.text(progress), "6:");
  co_return Result<>();
}

inline Task<Result<>> from_the_past(Subject& t) {
  for (int i = 0; i < 4; ++i) CO_TRY(co_await t.store.put("a", share(cat(i))));
  CO_TRY(co_await t.store.remove("a", t.at(5)));
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a", .start_revision = t.at(3), .prev_kv = true}));
  CO_TRY(co_await t.store.put("a", share("new")));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(t, *watch, 5));
  EXPECT_EQ(seen, "3:put a=1(0) 4:put a=2(1) 5:put a=3(2) 6:delete a(3) 7:put a=new");
  co_return Result<>();
}

inline Task<Result<>> future(Subject& t) {
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a", .start_revision = t.at(4)}));
  for (int i = 0; i < 4; ++i) CO_TRY(co_await t.store.put("a", share(cat(i))));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(t, *watch, 2));
  EXPECT_EQ(seen, "4:put a=2 5:put a=3");
  co_return Result<>();
}

inline Task<Result<>> revoke(Subject& t) {
  CO_TRY(co_await t.store.lease_grant(std::chrono::seconds(10), LeaseId(7)));
  auto again = co_await t.store.lease_grant(std::chrono::seconds(10), LeaseId(7));
  EXPECT_EQ(again.error().message(), "etcdserver: lease already exists");
  CO_TRY(co_await t.store.put("a", share("1"), LeaseId(7)));
  CO_TRY(co_await t.store.put("b", share("1"), LeaseId(7)));
  CO_TRY(co_await t.store.put("b", share("1")));
  CO_TRY(co_await t.store.lease_revoke(LeaseId(7)));
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(text_of(all.kvs), "b=1") << "a put without the lease detaches the key";
  auto late = co_await t.store.put("c", share("1"), LeaseId(7));
  EXPECT_EQ(late.error().code(), Code::kNotFound);
  auto twice = co_await t.store.lease_revoke(LeaseId(7));
  EXPECT_EQ(twice.error().code(), Code::kNotFound);
  auto eternal = co_await t.store.lease_grant(kLeaseTtlMax + std::chrono::seconds(1), LeaseId());
  EXPECT_EQ(eternal.error().code(), Code::kOutOfRange);
  CO_TRY_ASSIGN(Lease least, co_await t.store.lease_grant(std::chrono::seconds(0), LeaseId()));
  EXPECT_GE(least.ttl, kLeaseTtlMin);
  CO_TRY(co_await t.store.lease_revoke(least.id));
  CO_TRY_ASSIGN(auto left, co_await t.store.leases());
  EXPECT_TRUE(left.empty());
  co_return Result<>();
}

inline Task<Result<>> many_keys(Subject& t) {
  constexpr int kKeys = 1'300;
  for (int done = 0; done < kKeys;) {
    Txn txn;
    for (int i = 0; i < 100; ++i, ++done) txn.success.emplace_back(PutRequest{.key = cat("k/", 10'000 + done), .value = share(cat(done))});
    CO_TRY(co_await t.store.txn(std::move(txn)));
  }
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range({.key = "k/", .range_end = prefix_end("k/")}));
  EXPECT_EQ(all.kvs.size(), static_cast<std::size_t>(kKeys));
  EXPECT_EQ(all.count, kKeys);
  EXPECT_FALSE(all.more);
  for (int i = 0; i < kKeys && i < static_cast<int>(all.kvs.size()); ++i) CO_ASSERT_TRUE(*all.kvs[static_cast<std::size_t>(i)].value == cat(i));
  CO_TRY_ASSIGN(RangeResult some, co_await t.store.range({.key = "k/", .range_end = prefix_end("k/"), .limit = 1'100}));
  EXPECT_EQ(some.kvs.size(), 1'100u);
  EXPECT_TRUE(some.more);
  EXPECT_EQ(some.count, kKeys);
  CO_TRY_ASSIGN(RangeResult exact, co_await t.store.range({.key = "k/", .range_end = prefix_end("k/"), .limit = kKeys, .keys_only = true}));
  EXPECT_EQ(exact.kvs.size(), static_cast<std::size_t>(kKeys));
  EXPECT_FALSE(exact.more);
  CO_TRY(co_await t.store.txn({.success = {DeleteRequest{.key = "k/", .range_end = prefix_end("k/")}}}));
  CO_TRY_ASSIGN(RangeResult before, co_await t.store.range({.key = "k/", .range_end = prefix_end("k/"), .revision = all.revision}));
  EXPECT_EQ(before.kvs.size(), static_cast<std::size_t>(kKeys)) << "at an old revision, too";
  co_return Result<>();
}

inline Task<Result<>> too_old(Subject& t) {
  for (int i = 0; i < 4; ++i) CO_TRY(co_await t.store.put("a", share(cat(i))));
  CO_TRY(co_await t.store.compact(t.at(4)));
  CO_TRY_ASSIGN(auto early, co_await t.store.watch({.key = "a", .start_revision = t.at(3)}));
  auto gone = co_await early->next();
  EXPECT_EQ(gone.error().code(), Code::kOutOfRange);
  EXPECT_TRUE(gone.error().message().contains("compacted"));
  EXPECT_EQ(t.store.compact_revision(), t.at(4));
  CO_TRY_ASSIGN(auto edge, co_await t.store.watch({.key = "a", .start_revision = t.at(4)}));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(t, *edge, 2));
  EXPECT_EQ(seen, "4:put a=2 5:put a=3");
  auto no_key = co_await t.store.watch({});
  EXPECT_EQ(no_key.error().code(), Code::kInvalidArgument);
  co_return Result<>();
}

// Progress is told of what lies outside the range, too, and never before what lies in it.
inline Task<Result<>> progress(Subject& t) {
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "in/", .range_end = prefix_end("in/")}));
  for (int round = 0; round < 20; ++round) {
    Revision last;
    CO_TRY_ASSIGN(last, co_await t.store.put(cat("in/", round), share("x")));
    CO_TRY_ASSIGN(last, co_await t.store.put("out", share("x")));
    watch->request_progress();
    CO_TRY_ASSIGN(WatchBatch event, co_await watch->next());
    EXPECT_EQ(t.text(event), cat(2 + 2 * round, ":put in/", round, "=x"));
    CO_TRY_ASSIGN(WatchBatch told, co_await watch->next());
    EXPECT_FALSE(told.shared);
    EXPECT_EQ(told.revision, last);
  }
  CO_TRY_ASSIGN(Revision newest, co_await t.store.newest_revision());
  EXPECT_EQ(newest, t.at(41));
  co_return Result<>();
}

// More than any backend keeps for one watch.
inline Task<Result<>> slow_watcher(Subject& t) {
  constexpr int kWrites = 40;
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "big/", .range_end = prefix_end("big/")}));
  for (int i = 0; i < kWrites; ++i) CO_TRY(co_await t.store.put(cat("big/", i % 3), share(std::string(1'000'000, static_cast<char>('a' + i % 26)))));
  for (int i = 0; i < kWrites; ++i) {
    CO_TRY_ASSIGN(WatchBatch batch, co_await watch->next());
    CO_ASSERT_TRUE(batch.revision == t.at(2 + i));
    CO_ASSERT_TRUE(batch.events().size() == 1 && batch.events()[0].kv.key == cat("big/", i % 3));
    const std::string& value = *batch.events()[0].kv.value;
    CO_ASSERT_TRUE(value.size() == 1'000'000 && value[0] == 'a' + i % 26);
  }
  watch->request_progress();
  CO_TRY_ASSIGN(WatchBatch end, co_await watch->next());
  EXPECT_EQ(t.text(end), cat(kWrites + 1, ":"));
  co_return Result<>();
}

inline Task<Result<>> lease_life(Subject& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(std::chrono::seconds(100), LeaseId()));
  EXPECT_GT(lease.id.value, 0);
  EXPECT_EQ(lease.ttl, std::chrono::seconds(100));
  CO_TRY(co_await t.store.put("a", share("1"), lease.id));
  CO_TRY(co_await t.store.put("b", share("2"), lease.id));
  CO_TRY_ASSIGN(auto kv, co_await t.store.get("a"));
  EXPECT_EQ(kv->lease, lease.id);
  CO_TRY_ASSIGN(Lease alive, co_await t.store.lease_time_to_live(lease.id));
  EXPECT_EQ(alive.keys, (std::vector<std::string>{"a", "b"}));
  EXPECT_GE(alive.remaining, std::chrono::seconds(98));
  CO_TRY_ASSIGN(Lease kept, co_await t.store.lease_keep_alive(lease.id));
  EXPECT_EQ(kept.ttl, std::chrono::seconds(100));
  CO_TRY_ASSIGN(auto all, co_await t.store.leases());
  EXPECT_EQ(all, std::vector<LeaseId>{lease.id});
  CO_TRY_ASSIGN(auto watch, co_await t.store.watch({.key = "a", .range_end = "z"}));
  CO_TRY(co_await t.store.lease_revoke(lease.id));
  CO_TRY_ASSIGN(std::string seen, co_await read_batches(t, *watch, 1));
  EXPECT_EQ(seen, "4:delete a,delete b") << "one revision";
  CO_TRY_ASSIGN(Lease gone, co_await t.store.lease_time_to_live(lease.id));
  EXPECT_EQ(gone.remaining, std::chrono::seconds(-1));
  auto late = co_await t.store.lease_keep_alive(lease.id);
  EXPECT_EQ(late.error().code(), Code::kNotFound);
  EXPECT_EQ(late.error().message(), "etcdserver: requested lease not found");
  co_return Result<>();
}

inline Task<Result<>> refused_keeps(Subject& t) {
  Txn twice;
  twice.success = {PutRequest{.key = "n", .value = share("1")}, PutRequest{.key = "n", .value = share("2")}};
  auto duplicate = co_await t.store.txn(twice);
  EXPECT_EQ(duplicate.error().message(), "etcdserver: duplicate key given in txn request");
  auto keep = co_await t.store.txn({.success = {PutRequest{.key = "n", .ignore_value = true}}});
  EXPECT_EQ(keep.error().message(), "etcdserver: key not found");
  EXPECT_EQ(keep.error().code(), Code::kInvalidArgument);
  auto no_lease = co_await t.store.put("n", share("1"), LeaseId(77));
  EXPECT_EQ(no_lease.error().message(), "etcdserver: requested lease not found");
  EXPECT_EQ(no_lease.error().code(), Code::kNotFound);
  auto no_key = co_await t.store.put("", share("1"));
  EXPECT_EQ(no_key.error().code(), Code::kInvalidArgument);
  auto big = co_await t.store.put("n", share(std::string(kValueBytesMax + 1, 'x')));
  EXPECT_EQ(big.error().code(), Code::kInvalidArgument);
  Txn deep;
  for (int i = 0; i < 20; ++i) {
    auto inner = std::make_shared<const Txn>(std::move(deep));
    deep = Txn();
    deep.success = {inner};
  }
  auto too_deep = co_await t.store.txn(deep);
  EXPECT_EQ(too_deep.error().code(), Code::kInvalidArgument);
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_TRUE(all.kvs.empty());
  EXPECT_EQ(all.revision, t.at(1));
  co_return Result<>();
}

struct Fact {
  const char* name;
  Task<Result<>> (*body)(Subject& t);
};
inline constexpr Fact kFacts[] = {
    {"GuardedWritesFailWithTheReason", conflicts},
    {"EveryRevisionCanBeRead", history},
    {"RangesAreHalfOpenAndCounted", ranges},
    {"ManyKeysAreOneRange", many_keys},
    {"OperationsShareOneRevision", one_revision},
    {"ComparesAsEtcd", compares},
    {"NestedTransactionsChooseTheirBranchAndReadTheOuterWrites", nested},
    {"PreviousValuesAreReturned", previous},
    {"RefusedWriteChangesNothing", refused_keeps},
    {"CompactedRevisionIsRejected", compaction},
    {"WatchDeliversWholeRevisionsOfItsPrefix", live},
    {"WatchBeginsAtAnyRevision", from_the_past},
    {"WatchOfAFutureRevisionSkipsWhatComesBefore", future},
    {"WatchBeforeTheCompactionRevisionIsRefused", too_old},
    {"WatchProgressComesAfterWhatItCovers", progress},
    {"SlowWatcherGetsEverything", slow_watcher},
    {"RevokeDeletesOnlyWhatStillHangsOnIt", revoke},
    {"LeaseLivesUntilRevoked", lease_life},
};

}  // namespace monopod::store::conformance
