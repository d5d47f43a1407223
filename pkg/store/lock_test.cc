// The facts of locks and elections.
#include "store/lock.h"

#include <boost/asio/post.hpp>

#include "store/election.h"
#include "store/test_support.h"

namespace monopod::store {
namespace {

const SqliteOptions kMemory{.path = ":memory:"};
using async::Task;
using std::chrono::seconds;
const char* const kQueue = "job/";

// One candidate: notes when it gets the lock, keeps it until told to let go.
struct Client {
  Client(StoreTest& t, int i, LeaseId l) : test(t), id(i), lease(l), scope(t.executor), let_go(t.executor) {}
  StoreTest& test;
  int id;
  LeaseId lease;
  async::Scope scope;
  async::Event let_go;
  std::optional<Lock> held{};
  std::optional<Error> error{};
  bool over = false;
};

Task<Result<>> hold(Client& client, std::vector<int>& order, async::Notify& changed) {
  Result<Lock> lock = co_await acquire_lock(client.test.store, "job", client.lease);
  if (!lock) {
    client.error = lock.error();
    client.over = true;
    changed.wake_all();
    co_return Result<>();
  }
  client.held = *lock;
  order.push_back(client.id);
  changed.wake_all();
  CO_TRY(co_await client.let_go.wait());
  CO_TRY(co_await release_lock(client.test.store, *lock));
  client.held.reset();
  client.over = true;
  changed.wake_all();
  co_return Result<>();
}

Task<Result<std::int64_t>> queue_length(StoreTest& t) {
  CO_TRY_ASSIGN(RangeResult queue, co_await t.store.range({.key = kQueue, .range_end = prefix_end(kQueue), .count_only = true}));
  co_await async::asio::post(t.executor, async::use_task);  // somebody else's turn
  co_return queue.count;
}

// Lets the others run until as many wait.
Task<Result<>> until_queue_is(StoreTest& t, std::int64_t wanted) {
  for (;;) {
    CO_TRY_ASSIGN(std::int64_t length, co_await queue_length(t));
    if (length == wanted) co_return Result<>();
  }
}

// Second by second, with turns for all in between: who sleeps for a while begins at its own turn.
Task<Result<>> pass(StoreTest& t, int count) {
  for (int i = 0; i < count; ++i) {
    t.time.advance(seconds(1));
    for (int turn = 0; turn < 20; ++turn) co_await async::asio::post(t.executor, async::use_task);
  }
  co_return Result<>();
}

// Whoever is first in the queue, in the order of entering and without those that gave up, holds the lock next; never two at once.
Task<Result<>> fairness(StoreTest& t) {
  SeededRng rng(3);
  constexpr int kClients = 24;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<int> order, expected;
  async::Notify changed(t.executor);
  for (int i = 0; i < kClients; ++i) {
    CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(seconds(1000), LeaseId(100 + i)));
    clients.push_back(std::make_unique<Client>(t, i, lease.id));
    clients.back()->scope.spawn(hold(*clients.back(), order, changed));
    CO_TRY(co_await until_queue_is(t, i + 1));  // it has entered before the next one comes
  }
  while (order.empty()) CO_TRY(co_await changed.wait());
  std::vector<int> waiting;
  for (int i = 1; i < kClients; ++i) waiting.push_back(i);
  expected.push_back(0);
  int holder = 0;
  std::int64_t fence = 0;
  while (true) {
    // A few that wait give up, one by one or just as the lock comes free.
    for (std::size_t gone = rng.below(3); gone > 0 && waiting.size() > 1; --gone) {
      std::size_t at = rng.below(waiting.size());
      Client& client = *clients[static_cast<std::size_t>(waiting[at])];
      client.scope.cancel();
      (void)co_await client.scope.join();
      EXPECT_FALSE(client.held);
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(at));
    }
    CO_TRY_ASSIGN(std::int64_t length, co_await queue_length(t));
    EXPECT_EQ(length, static_cast<std::int64_t>(waiting.size()) + 1) << "who gave up left no key";
    Client& now = *clients[static_cast<std::size_t>(holder)];
    EXPECT_GT(now.held->create.value, fence) << "the fence grows";
    fence = now.held->create.value;
    now.let_go.set();
    while (!now.over) CO_TRY(co_await changed.wait());
    (void)co_await now.scope.join();
    if (waiting.empty()) break;
    holder = waiting.front();
    waiting.erase(waiting.begin());
    expected.push_back(holder);
    while (order.size() < expected.size()) CO_TRY(co_await changed.wait());
    int holding = 0;
    for (const auto& client : clients) holding += client->held.has_value() ? 1 : 0;
    EXPECT_EQ(holding, 1);
  }
  EXPECT_EQ(order, expected);
  for (const auto& client : clients) (void)co_await client->scope.join();
  CO_TRY_ASSIGN(std::int64_t left, co_await queue_length(t));
  EXPECT_EQ(left, 0);
  co_return Result<>();
}
TEST(Lock, GoesInOrderOfArrivalWhoeverGivesUp) { test_store(kMemory, fairness); }

Task<Result<>> leases_end(StoreTest& t) {
  CO_TRY_ASSIGN(Lease first, co_await t.store.lease_grant(seconds(10), LeaseId(1)));
  CO_TRY_ASSIGN(Lease second, co_await t.store.lease_grant(seconds(5), LeaseId(2)));
  CO_TRY_ASSIGN(Lease third, co_await t.store.lease_grant(seconds(1000), LeaseId(3)));
  CO_TRY_ASSIGN(Lock dead, co_await acquire_lock(t.store, "job", first.id));
  std::vector<int> order;
  async::Notify changed(t.executor);
  Client waits(t, 2, second.id), wins(t, 3, third.id);
  waits.scope.spawn(hold(waits, order, changed));
  CO_TRY(co_await until_queue_is(t, 2));
  wins.scope.spawn(hold(wins, order, changed));
  CO_TRY(co_await until_queue_is(t, 3));
  CO_TRY(co_await pass(t, 6));  // ends the one that waits
  CO_TRY(co_await until_queue_is(t, 2));
  EXPECT_TRUE(order.empty());
  while (!waits.over) CO_TRY(co_await changed.wait());  // it is told at once: time stands still until it is
  CO_TRY(co_await pass(t, 5));  // and the holder
  while (order.empty()) CO_TRY(co_await changed.wait());
  EXPECT_EQ(order, std::vector<int>{3});
  EXPECT_EQ(waits.error->message(), "mutex: session is expired");
  // The holder that slept comes back: its write is refused by the fence.
  Txn late;
  late.compare.push_back(still_held(dead));
  late.success.emplace_back(PutRequest{.key = "result", .value = share("old")});
  CO_TRY_ASSIGN(TxnResult refused, co_await t.store.txn(late));
  EXPECT_FALSE(refused.succeeded);
  EXPECT_GT(wins.held->create.value, dead.create.value);
  CO_TRY(co_await release_lock(t.store, dead));
  CO_TRY_ASSIGN(std::int64_t length, co_await queue_length(t));
  EXPECT_EQ(length, 1) << "releasing a lost lock takes nobody's";
  wins.let_go.set();
  (void)co_await waits.scope.join();
  (void)co_await wins.scope.join();
  co_return Result<>();
}
TEST(Lock, IsLostWithItsLeaseAndTheFenceTells) { test_store(kMemory, leases_end); }

Task<Result<>> small_facts(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(seconds(10), LeaseId(0xabc)));
  CO_TRY(co_await t.store.lease_grant(seconds(10), LeaseId(2)));
  auto none = co_await acquire_lock(t.store, "job", LeaseId(99));
  EXPECT_EQ(none.error().message(), "etcdserver: requested lease not found");
  CO_TRY_ASSIGN(Lock lock, co_await acquire_lock(t.store, "job", LeaseId(0xabc)));
  EXPECT_EQ(lock.key, "job/abc");
  CO_TRY_ASSIGN(Lock again, co_await acquire_lock(t.store, "job", LeaseId(0xabc)));
  EXPECT_EQ(again.create, lock.create) << "the same lease is the same candidate";
  CO_TRY_ASSIGN(auto busy, co_await try_lock(t.store, "job", LeaseId(2)));
  EXPECT_FALSE(busy);
  CO_TRY_ASSIGN(auto mine, co_await try_lock(t.store, "job", LeaseId(0xabc)));
  EXPECT_TRUE(mine && mine->create == lock.create);
  auto late = co_await async::with_timeout(t.time, seconds(0), "lock", acquire_lock(t.store, "job", LeaseId(2)));
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  CO_TRY(co_await release_lock(t.store, lock));
  CO_TRY_ASSIGN(std::int64_t left, co_await queue_length(t));
  EXPECT_EQ(left, 0);
  CO_TRY_ASSIGN(auto free, co_await try_lock(t.store, "job", LeaseId(2)));
  EXPECT_TRUE(free);
  co_return Result<>();
}
TEST(Lock, SameLeaseSameLockAndTryLockNeverWaits) { test_store(kMemory, small_facts); }

Task<Result<>> forgets(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(seconds(1000), LeaseId(1)));
  CO_TRY(co_await t.store.lease_grant(seconds(1000), LeaseId(2)));
  CO_TRY_ASSIGN(Lock lock, co_await acquire_lock(t.store, "job", LeaseId(1)));
  Client waits(t, 2, LeaseId(2));
  std::vector<int> order;
  async::Notify changed(t.executor);
  waits.scope.spawn(hold(waits, order, changed));
  CO_TRY(co_await until_queue_is(t, 2));
  for (int i = 0; i < 5; ++i) CO_TRY(co_await t.store.put("other", share("x")));
  CO_TRY(co_await t.store.compact(t.store.current_revision()));
  CO_TRY(co_await release_lock(t.store, lock));
  while (order.empty()) CO_TRY(co_await changed.wait());
  waits.let_go.set();
  (void)co_await waits.scope.join();
  co_return Result<>();
}
TEST(Lock, WaitingOutlivesACompaction) { test_store(kMemory, forgets); }

Task<Result<>> guarded(StoreTest& t, Lease lease, bool& cancelled) {
  struct Note {
    bool& flag;
    ~Note() { flag = true; }
  } note{cancelled};
  async::Scope scope(t.executor);
  scope.spawn(keep_lease(t.store, t.time, lease));
  co_return co_await scope.join();
}
Task<Result<>> keeps(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(seconds(9), LeaseId(1)));
  bool over = false;
  async::Scope scope(t.executor);
  scope.spawn(guarded(t, lease, over));
  CO_TRY(co_await pass(t, 60));
  CO_TRY_ASSIGN(Lease alive, co_await t.store.lease_time_to_live(lease.id));
  EXPECT_GE(alive.remaining, seconds(0));
  CO_TRY(co_await t.store.lease_revoke(lease.id));
  EXPECT_FALSE(over);
  CO_TRY(co_await pass(t, 4));
  Result<> ended = co_await scope.join();
  EXPECT_TRUE(over);
  EXPECT_EQ(ended.error().code(), Code::kNotFound);
  co_return Result<>();
}
TEST(KeepLease, RenewsUntilTheLeaseIsGoneAndThenFailsItsScope) { test_store(kMemory, keeps); }

struct Candidacy {
  explicit Candidacy(StoreTest& t) : scope(t.executor) {}
  async::Scope scope;
  std::optional<Result<Leadership>> won{};
};
Task<Result<>> run(StoreTest& t, Candidacy& candidacy, LeaseId lease, std::string value, async::Notify& changed) {
  candidacy.won = co_await campaign(t.store, "job", lease, share(std::move(value)));
  changed.wake_all();
  co_return Result<>();
}

Task<Result<>> election(StoreTest& t) {
  for (int i = 1; i <= 3; ++i) CO_TRY(co_await t.store.lease_grant(seconds(1000), LeaseId(i)));
  CO_TRY_ASSIGN(LeaderSeen nobody, co_await find_leader(t.store, "job"));
  EXPECT_FALSE(nobody.kv);
  Observer observer(t.store, "job");
  CO_TRY_ASSIGN(Leadership first, co_await campaign(t.store, "job", LeaseId(1), share("a")));
  EXPECT_EQ(first.key, "job/1");
  async::Notify changed(t.executor);
  Candidacy second(t), third(t);
  second.scope.spawn(run(t, second, LeaseId(2), "b", changed));
  third.scope.spawn(run(t, third, LeaseId(3), "c", changed));
  CO_TRY(co_await until_queue_is(t, 3));
  CO_TRY_ASSIGN(LeaderSeen one, co_await observer.next());
  EXPECT_EQ(*one.kv->value, "a");
  CO_TRY(co_await proclaim(t.store, first, share("a2")));
  CO_TRY_ASSIGN(LeaderSeen two, co_await observer.next());
  EXPECT_EQ(*two.kv->value, "a2");
  EXPECT_EQ(two.kv->create, first.create);
  second.scope.cancel();
  (void)co_await second.scope.join();
  CO_TRY(co_await resign(t.store, first));
  while (!third.won) CO_TRY(co_await changed.wait());
  (void)co_await third.scope.join();
  CO_ASSERT_TRUE(*third.won);
  EXPECT_GT((*third.won)->create.value, first.create.value);
  CO_TRY_ASSIGN(LeaderSeen three, co_await observer.next());
  EXPECT_EQ(*three.kv->value, "c") << "who gave up was never elected";
  auto late = co_await proclaim(t.store, first, share("a3"));
  EXPECT_EQ(late.error().message(), "election: not leader");
  auto zero = co_await proclaim(t.store, {.key = "elsewhere"}, share("a3"));
  EXPECT_EQ(zero.error().message(), "election: not leader");
  CO_TRY_ASSIGN(Leadership again, co_await campaign(t.store, "job", LeaseId(3), share("c2")));
  EXPECT_EQ(again.create, (*third.won)->create);
  CO_TRY_ASSIGN(LeaderSeen four, co_await observer.next());
  EXPECT_EQ(*four.kv->value, "c2");
  CO_TRY(co_await t.store.lease_revoke(LeaseId(3)));
  CO_TRY(co_await campaign(t.store, "job", LeaseId(1), share("a4")));
  CO_TRY_ASSIGN(LeaderSeen five, co_await observer.next());
  EXPECT_EQ(*five.kv->value, "a4") << "the observer waits over the time without a leader";
  co_return Result<>();
}
TEST(Election, LeadersFollowEachOtherAndObserversSeeThem) { test_store(kMemory, election); }

}  // namespace
}  // namespace monopod::store
