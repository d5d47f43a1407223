#include "etcd/cluster/migrate.h"

#include "async/test_support.h"
#include "etcd/cluster/cluster_backend.h"
#include "etcd/cluster/test_cluster.h"
#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;
using namespace store;

// Two stores in memory, and time of their own.
struct Pair {
  Backend& from;
  Backend& to;
  async::Time& time;
};

Task<Result<>> with_pair(Task<Result<>> (*body)(Pair)) {
  async::FakeTime time(co_await async::this_executor());
  async::Pool pool(1);
  SeededRng rng(1);
  CO_TRY_ASSIGN(auto from, co_await SqliteBackend::open({.path = ":memory:"}, pool, time, rng));
  CO_TRY_ASSIGN(auto to, co_await SqliteBackend::open({.path = ":memory:"}, pool, time, rng));
  Result<> result = co_await body({*from, *to, time});
  CO_TRY(co_await from->close());
  CO_TRY(co_await to->close());
  co_return result;
}
void run_pair(Task<Result<>> (*body)(Pair)) {
  async::run_test([body](async::Loop&) { return with_pair(body); });
}

Task<Result<>> fill(Backend& store, int keys) {
  for (int i = 0; i < keys; ++i) CO_TRY(co_await store.put(cat("/registry/pods/", 100'000 + i), share(cat("value ", i))));
  co_return Result<>();
}

Task<Result<MigrateReport>> copy(Backend& from, KeySink& sink, bool replace = false) {
  CO_TRY_ASSIGN(auto source, co_await make_backend_source(from, "the source"));
  co_return co_await migrate(*source, sink, {.replace = replace});
}

Task<Result<std::string>> contents(Backend& store) {
  CO_TRY_ASSIGN(RangeResult all, co_await store.range(everything()));
  std::string text;
  for (const KeyValue& kv : all.kvs) text += cat(kv.key, "=", *kv.value, "@", kv.lease.value, "\n");
  co_return text;
}
Task<Result<>> expect_same(Backend& a, Backend& b) {
  CO_TRY_ASSIGN(std::string left, co_await contents(a));
  CO_TRY_ASSIGN(std::string right, co_await contents(b));
  EXPECT_EQ(left, right);
  co_return Result<>();
}

// A sink that is interrupted, or damages what it is given.
class OddSink final : public KeySink {
 public:
  explicit OddSink(KeySink& inner) : inner_(inner) {}
  int writes_left = 1'000'000;
  std::string damage;
  std::string describe() const override { return inner_.describe(); }
  Task<Result<std::int64_t>> count() override { return inner_.count(); }
  Task<Result<std::vector<KeyValue>>> read(std::string start, std::string end) override { return inner_.read(std::move(start), std::move(end)); }
  Task<Result<>> write(std::vector<KeyValue> put, std::vector<std::string> remove) override {
    if (writes_left-- == 0) co_return fail(Code::kCancelled, "interrupted");
    for (KeyValue& kv : put)
      if (kv.key == damage) kv.value = share(*kv.value + "!");
    co_return co_await inner_.write(std::move(put), std::move(remove));
  }
  Task<Result<>> need_lease(const Lease& lease) override { return inner_.need_lease(lease); }

 private:
  KeySink& inner_;
};

Task<Result<>> resumes(Pair t) {
  CO_TRY(co_await fill(t.from, 2'300));
  auto sink = make_backend_sink(t.to, t.time, "the sink");
  OddSink odd(*sink);
  odd.writes_left = 3;  // the marker, two pages
  auto stopped = co_await copy(t.from, odd);
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
  auto other = co_await make_backend_source(t.from, "another");
  CO_ASSERT_TRUE(other);
  auto foreign = co_await migrate(**other, *sink, {});
  EXPECT_EQ(foreign.error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(foreign.error().message().contains("unfinished migration from the source")) << foreign.error().message();
  CO_TRY_ASSIGN(MigrateReport report, co_await copy(t.from, *sink));
  EXPECT_TRUE(report.resumed);
  EXPECT_EQ(report.keys, 2'300);
  EXPECT_EQ(report.written, 1'300) << "two pages were there";
  CO_TRY(co_await expect_same(t.from, t.to));
  auto again = co_await copy(t.from, *sink);
  EXPECT_EQ(again.error().code(), Code::kFailedPrecondition) << "the marker is gone";
  co_return Result<>();
}
TEST(Migrate, GoesOnWhereItWasStopped) { run_pair(resumes); }

Task<Result<>> replaces(Pair t) {
  CO_TRY(co_await fill(t.from, 700));
  CO_TRY(co_await t.to.put("/registry/pods/100000", share("other")));
  CO_TRY(co_await t.to.put("/registry/pods/100001x", share("between")));
  CO_TRY(co_await t.to.put("zzz", share("behind")));
  CO_TRY(co_await t.to.put("0", share("before")));
  auto sink = make_backend_sink(t.to, t.time, "the sink");
  auto refused = co_await copy(t.from, *sink);
  EXPECT_EQ(refused.error().message(), "the sink is not empty (4 keys): --replace makes it hold the source's keys alone");
  CO_TRY_ASSIGN(MigrateReport report, co_await copy(t.from, *sink, true));
  EXPECT_EQ(report.removed, 3);
  EXPECT_EQ(report.written, 700);
  CO_TRY(co_await expect_same(t.from, t.to));
  co_return Result<>();
}
TEST(Migrate, ReplacesWhatIsThereOnlyWhenTold) { run_pair(replaces); }

Task<Result<>> verifies(Pair t) {
  CO_TRY(co_await fill(t.from, 600));
  auto sink = make_backend_sink(t.to, t.time, "the sink");
  OddSink odd(*sink);
  odd.damage = "/registry/pods/100555";
  auto damaged = co_await copy(t.from, odd);
  EXPECT_EQ(damaged.error().code(), Code::kDataLoss);
  EXPECT_EQ(damaged.error().message(), "verify: key /registry/pods/100555 has another value or lease in the sink");
  co_return Result<>();
}
TEST(Migrate, ReadsBackWhatItWrote) { run_pair(verifies); }

Task<Result<>> both_ways(const EtcdCluster& cluster) {
  async::RealTime time;
  async::Pool pool(1);
  SeededRng rng(1);
  CO_TRY_ASSIGN(auto from, co_await SqliteBackend::open({.path = ":memory:"}, pool, time, rng));
  CO_TRY_ASSIGN(auto back, co_await SqliteBackend::open({.path = ":memory:"}, pool, time, rng));
  CO_TRY_ASSIGN(auto etcd, co_await ClusterBackend::open({.client = {.endpoints = cluster.urls()}, .open_timeout = std::chrono::seconds(10)}, time));
  CO_TRY(co_await fill(*from, 1'100));
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  CO_TRY(co_await from->put(bytes.substr(0, 3) + "key", share(bytes)));
  CO_TRY(co_await from->put("empty", share("")));
  CO_TRY(co_await from->put("large", share(std::string(1'400'000, 'x'))));
  CO_TRY(co_await from->lease_grant(std::chrono::seconds(600), LeaseId(42)));
  CO_TRY(co_await from->put("leased", share("1"), LeaseId(42)));
  auto into = make_backend_sink(*etcd, time, "etcd");
  CO_TRY_ASSIGN(MigrateReport there, co_await copy(*from, *into));
  EXPECT_EQ(there.keys, 1'104);
  EXPECT_EQ(there.leases, 1);
  CO_TRY(co_await expect_same(*from, *etcd));
  CO_TRY_ASSIGN(Lease lease, co_await etcd->lease_time_to_live(LeaseId(42)));
  EXPECT_EQ(lease.ttl, std::chrono::seconds(600));
  auto home = make_backend_sink(*back, time, "back");
  CO_TRY_ASSIGN(MigrateReport returned, co_await copy(*etcd, *home));
  EXPECT_EQ(returned.written, 1'104);
  CO_TRY(co_await expect_same(*from, *back));
  CO_TRY(co_await from->put("too large", share(std::string(2'000'000, 'x'))));
  auto refused = co_await copy(*from, *into, true);
  EXPECT_EQ(refused.error().message(), "write a batch with key too large (2000009 bytes): etcdserver: request is too large");
  CO_TRY(co_await etcd->close());
  CO_TRY(co_await back->close());
  co_return co_await from->close();
}
TEST(Migrate, CopiesFromAFileToEtcdAndBack) {
  if (!EtcdCluster::available()) GTEST_SKIP() << EtcdCluster::kNeeds;
  EtcdCluster cluster({.members = 1, .heartbeat_ms = 20, .election_ms = 200});
  Result<> started = cluster.start();
  ASSERT_TRUE(started) << started.error().message();
  async::run_test([&](async::Loop&) { return both_ways(cluster); });
}

}  // namespace
}  // namespace monopod::etcd
