#include "client/leader_election.h"

#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"

namespace monopod::client {
namespace {

using api::Reply;
using api::TestCluster;
using namespace std::chrono_literals;

const std::string kLease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";

// Counts what is under way, so that time does not run away from it.
int under_way = 0;
class CountedApi final : public Api {
 public:
  explicit CountedApi(std::unique_ptr<api::LocalApi> local) : api_(std::move(local)) {}
  async::Task<Result<json::Value>> get_subresource(Resource r, std::string ns, std::string name, std::string subresource) override {
    co_return co_await api_.get_subresource(r, std::move(ns), std::move(name), std::move(subresource));
  }
  async::Task<Result<Object>> get(Resource r, std::string ns, std::string name) override {
    Count count;
    co_return co_await api_.get(r, std::move(ns), std::move(name));
  }
  async::Task<Result<Object>> create(Resource r, std::string ns, json::Value object, WriteOptions o) override {
    Count count;
    co_return co_await api_.create(r, std::move(ns), std::move(object), std::move(o));
  }
  async::Task<Result<Object>> update(Resource r, std::string ns, std::string name, json::Value object, WriteOptions o) override {
    Count count;
    co_return co_await api_.update(r, std::move(ns), std::move(name), std::move(object), std::move(o));
  }
  async::Task<Result<ObjectList>> list(Resource r, ListOptions o) override { return api_.list(r, std::move(o)); }
  async::Task<Result<std::unique_ptr<Watch>>> watch(Resource r, WatchOptions o) override { return api_.watch(r, std::move(o)); }
  async::Task<Result<Object>> patch(Resource r, std::string ns, std::string name, PatchType t, json::Value p, WriteOptions o) override { return api_.patch(r, std::move(ns), std::move(name), t, std::move(p), std::move(o)); }
  async::Task<Result<>> remove(Resource r, std::string ns, std::string name, DeleteOptions o) override { return api_.remove(r, std::move(ns), std::move(name), std::move(o)); }
  async::Task<Result<json::Value>> post(Resource r, std::string ns, std::string name, std::string sub, json::Value b) override { return api_.post(r, std::move(ns), std::move(name), std::move(sub), std::move(b)); }

 private:
  struct Count {
    Count() { ++under_way; }
    ~Count() { --under_way; }
  };
  LocalApi api_;
};

// One replica: what it leads is a wait without end.
struct Replica {
  Replica(TestCluster& on, std::string identity, bool release = true)
      : api(on.server->local(api::system_user(identity))), elector(api, on.time, on.rng, {.ns = "default", .name = "l", .identity = identity, .release_on_cancel = release, .on_new_leader = [this](const std::string& who) { leaders.push_back(who); }}), scope(on.executor), never(on.executor) {
    scope.spawn(run());
  }
  async::Task<Result<>> run() {
    ended = co_await elector.run([this] { return lead(); });
    co_return Result<>();
  }
  async::Task<Result<>> lead() {
    struct In {
      bool& flag;
      explicit In(bool& f) : flag(f) { flag = true; }
      ~In() { flag = false; }
    } in(inside);
    co_return co_await never.wait();
  }
  async::Task<> stop() {
    scope.cancel();
    (void)co_await scope.join();
  }
  CountedApi api;
  LeaderElector elector;
  async::Scope scope;
  async::Event never;
  bool inside = false;
  std::optional<Result<>> ended;
  std::vector<std::string> leaders;
};

// Time goes on in small steps until the condition holds or the time is over.
template <typename Condition>
async::Task<bool> within(TestCluster& cluster, Duration limit, Condition holds) {
  for (Duration passed{}; passed <= limit; passed += 100ms) {
    for (int turn = 0; turn < 20 || under_way > 0; ++turn) co_await async::asio::post(cluster.executor, async::use_task);
    if (holds()) co_return true;
    cluster.time.advance(100ms);
  }
  co_return false;
}

async::Task<Result<>> hand_over(TestCluster& cluster) {
  Replica a(cluster, "a");
  EXPECT_TRUE(co_await within(cluster, 1s, [&] { return a.inside; }));
  Replica b(cluster, "b");
  EXPECT_FALSE(co_await within(cluster, 60s, [&] { return b.inside; })) << "while the leader renews";
  EXPECT_TRUE(a.inside && a.elector.leading());
  EXPECT_EQ(b.elector.leader(), "a");
  co_await a.stop();
  EXPECT_FALSE(a.inside);
  CO_CALL(released, "GET", kLease);
  EXPECT_EQ(released.text({"spec", "holderIdentity"}), "");
  EXPECT_TRUE(co_await within(cluster, 5s, [&] { return b.inside; })) << "it need not wait for the end of the lease";
  CO_CALL(taken, "GET", kLease);
  EXPECT_EQ(taken.text({"spec", "holderIdentity"}), "b");
  EXPECT_EQ(json::get_int(taken.tree(), {"spec", "leaseTransitions"}), 1);
  EXPECT_EQ(json::get_int(taken.tree(), {"spec", "leaseDurationSeconds"}), 15);
  EXPECT_EQ(b.leaders, (std::vector<std::string>{"a", "b"}));
  co_await b.stop();
  co_return Result<>();
}
TEST(LeaderElection, WhoStopsHandsOver) { api::with_cluster(hand_over); }

async::Task<Result<>> takes_over(TestCluster& cluster) {
  auto a = std::make_unique<Replica>(cluster, "a", false);
  EXPECT_TRUE(co_await within(cluster, 1s, [&] { return a->inside; }));
  Replica b(cluster, "b", false), c(cluster, "c", false);
  EXPECT_FALSE(co_await within(cluster, 6s, [&] { return b.inside || c.inside; }));
  co_await a->stop();  // without a word, as a crash
  cluster.time.step_wall(24h);  // another's clock proves nothing
  EXPECT_FALSE(co_await within(cluster, 12s, [&] { return b.inside || c.inside; })) << "before the lease is over";
  EXPECT_TRUE(co_await within(cluster, 10s, [&] { return b.inside || c.inside; }));
  EXPECT_NE(b.inside, c.inside) << "one of them";
  EXPECT_FALSE(co_await within(cluster, 30s, [&] { return b.inside && c.inside; })) << "and it stays one";
  co_await b.stop();
  co_await c.stop();
  co_return Result<>();
}
TEST(LeaderElection, WhoVanishesIsFollowedWhenItsLeaseIsOver) { api::with_cluster(takes_over); }

async::Task<Result<>> lost(TestCluster& cluster) {
  Replica a(cluster, "a");
  EXPECT_TRUE(co_await within(cluster, 1s, [&] { return a.inside; }));
  CO_CALL(stolen, "PATCH", kLease, cat(R"({"spec":{"holderIdentity":"thief","renewTime":")", format_rfc3339_micro(cluster.time.wall()), R"("}})"), {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(stolen, 200);
  EXPECT_TRUE(co_await within(cluster, 5s, [&] { return a.ended.has_value(); }));
  EXPECT_FALSE(a.inside) << "what it led has ended before";
  if (a.ended) EXPECT_EQ(a.ended->error().code(), Code::kUnavailable);
  if (a.ended) EXPECT_EQ(a.ended->error().message(), "leader election lost to thief");
  co_await a.stop();
  CO_CALL(theirs, "GET", kLease);
  EXPECT_EQ(theirs.text({"spec", "holderIdentity"}), "thief") << "and it gives nothing back that is not its own";
  co_return Result<>();
}
TEST(LeaderElection, AStolenLeaseEndsWhatWasLed) { api::with_cluster(lost); }

async::Task<Result<>> unreachable(TestCluster& cluster) {
  // An account that may hold leases until its role is taken away: all renewals fail from then on.
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
  CO_CALL(role, "POST", rbac + "/roles", R"({"metadata":{"name":"r"},"rules":[{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["*"]}]})");
  CO_CALL(binding, "POST", rbac + "/rolebindings", R"({"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"a","apiGroup":"rbac.authorization.k8s.io"}]})");
  CO_EXPECT_STATUS(binding, 201);
  CountedApi api(cluster.server->local({"a", {}, {"system:authenticated"}, {}}));
  LeaderElector elector(api, cluster.time, cluster.rng, {.ns = "default", .name = "l", .identity = "a"});
  async::Scope scope(cluster.executor);
  std::optional<Result<>> ended;
  bool inside = false;
  struct Run {
    LeaderElector& elector;
    std::optional<Result<>>& ended;
    bool& inside;
    async::Event never;
    async::Task<Result<>> lead() {
      inside = true;
      co_return co_await never.wait();
    }
    async::Task<Result<>> run() {
      ended = co_await elector.run([this] { return lead(); });
      co_return Result<>();
    }
  } one{elector, ended, inside, async::Event(cluster.executor)};
  scope.spawn(one.run());
  EXPECT_TRUE(co_await within(cluster, 1s, [&] { return inside; }));
  CO_CALL(revoked, "DELETE", rbac + "/rolebindings/b");
  EXPECT_FALSE(co_await within(cluster, 8s, [&] { return ended.has_value(); })) << "within the deadline it tries on";
  EXPECT_TRUE(co_await within(cluster, 6s, [&] { return ended.has_value(); })) << "before anybody else could lead";
  if (ended) EXPECT_EQ(ended->error().message(), "leader election lost: lease default/l could not be renewed");
  scope.cancel();
  (void)co_await scope.join();
  co_return Result<>();
}
TEST(LeaderElection, WhoCannotRenewGivesUpBeforeOthersTakeOver) { api::with_cluster(unreachable); }

async::Task<Result<>> ends(TestCluster& cluster) {
  LocalApi api(cluster.server->local(api::system_user("a")));
  LeaderElector elector(api, cluster.time, cluster.rng, {.ns = "default", .name = "l", .identity = "a"});
  auto done = []() -> async::Task<Result<>> { co_return fail(Code::kInternal, "enough"); };
  Result<> out = co_await elector.run(done);
  EXPECT_EQ(out.error().message(), "enough") << "the result of what was led";
  CO_CALL(released, "GET", kLease);
  EXPECT_EQ(released.text({"spec", "holderIdentity"}), "");
  for (auto [lease, renew, retry] : {std::tuple{10s, 10s, 2s}, {15s, 2s, 2s}, {15s, 10s, 0s}}) {
    LeaderElector wrong(api, cluster.time, cluster.rng, {.ns = "default", .name = "l", .identity = "a", .lease_duration = lease, .renew_deadline = renew, .retry_period = retry});
    EXPECT_EQ((co_await wrong.run(done)).error().code(), Code::kInvalidArgument);
  }
  co_return Result<>();
}
TEST(LeaderElection, EndsWithWhatWasLedAndRefusesSenselessTimes) { api::with_cluster(ends); }

}  // namespace
}  // namespace monopod::client
