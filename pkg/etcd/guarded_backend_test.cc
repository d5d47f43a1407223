// Quota and alarms before the backend.
#include "etcd/guarded_backend.h"

#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;
using store::StoreTest;
using store::test_store;

constexpr const char* kNoSpace = "etcdserver: mvcc: database space exceeded";

Txn put_of(std::size_t bytes) {
  Txn txn;
  txn.success.push_back(PutRequest{.key = "k", .value = share(store::noise(bytes))});
  return txn;
}

Task<Result<>> refuse_growth(StoreTest& t) {
  async::MemoryStateStore state;
  Alarms alarms(&state);
  GuardedBackend guarded(t.store, &t.store, alarms, 400'000);
  CO_TRY(co_await guarded.txn(put_of(100'000)));
  CO_TRY(co_await guarded.txn(put_of(100'000)));
  Txn nested;
  nested.failure.push_back(std::make_shared<const Txn>(put_of(200'000)));
  auto refused = co_await guarded.txn(std::move(nested));
  CO_ASSERT_TRUE(!refused);
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.error().message(), kNoSpace);
  EXPECT_TRUE(alarms.active(AlarmType::kNoSpace));
  auto small = co_await guarded.txn(put_of(1));
  EXPECT_FALSE(small) << "once raised, any put";
  auto lease = co_await guarded.lease_grant(std::chrono::seconds(5), LeaseId());
  EXPECT_EQ(lease.error().message(), kNoSpace);

  Txn del;
  del.success.push_back(DeleteRequest{.key = "k"});
  CO_TRY(co_await guarded.txn(std::move(del)));
  CO_TRY(co_await guarded.range(store::everything()));
  CO_TRY(co_await guarded.compact(guarded.current_revision()));

  Alarms after_restart(&state);
  CO_TRY(co_await after_restart.load());
  EXPECT_TRUE(after_restart.active(AlarmType::kNoSpace));
  CO_TRY_ASSIGN(bool other, co_await alarms.disarm({.type = AlarmType::kCorrupt}));
  EXPECT_FALSE(other);
  CO_TRY_ASSIGN(bool disarmed, co_await alarms.disarm({.type = AlarmType::kNoSpace}));
  EXPECT_TRUE(disarmed);
  CO_TRY(co_await guarded.txn(put_of(1)));
  Alarms after_disarming(&state);
  CO_TRY(co_await after_disarming.load());
  EXPECT_TRUE(after_disarming.all().empty());
  co_return Result<>();
}
TEST(Quota, RefusesGrowthUntilItIsDisarmed) { test_store({.path = ":memory:"}, refuse_growth); }

Task<Result<>> no_quota(StoreTest& t) {
  Alarms alarms(nullptr);
  GuardedBackend guarded(t.store, &t.store, alarms, quota_of_flag(-1));
  for (int i = 0; i < 5; ++i) CO_TRY(co_await guarded.txn(put_of(100'000)));
  EXPECT_TRUE(alarms.all().empty());
  co_return Result<>();
}
TEST(Quota, NegativeIsNoneAndZeroTheDefault) {
  EXPECT_EQ(quota_of_flag(0), kQuotaBytesDefault);
  EXPECT_EQ(quota_of_flag(5), 5);
  test_store({.path = ":memory:"}, no_quota);
}

Task<Result<>> corrupt(StoreTest& t) {
  Alarms alarms(nullptr);
  GuardedBackend guarded(t.store, &t.store, alarms, 0);
  CO_TRY(co_await guarded.txn(put_of(1)));
  CO_TRY(co_await alarms.raise({.type = AlarmType::kCorrupt}));
  auto read = co_await guarded.range(store::everything());
  EXPECT_EQ(read.error().code(), Code::kDataLoss);
  EXPECT_EQ(read.error().message(), "etcdserver: corrupt cluster");
  auto write = co_await guarded.txn(put_of(1));
  EXPECT_EQ(write.error().message(), "etcdserver: corrupt cluster");
  auto compacted = co_await guarded.compact(Revision(2));
  EXPECT_EQ(compacted.error().message(), "etcdserver: corrupt cluster");
  co_return Result<>();
}
TEST(Alarms, ACorruptStoreIsNotUsed) { test_store({.path = ":memory:"}, corrupt); }

// A disk that is full, as the store tells it.
class FullState final : public async::StateStore {
 public:
  Task<Result<>> apply(std::string, std::vector<async::StateChange>, async::Lasts) override { co_return fail(error()); }
  Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string) override { co_return fail(error()); }
  static Error error() { return Error(Code::kResourceExhausted, "write log: no space left on the device: free some, then try again"); }
};

Task<Result<>> alarm_on_a_full_disk(StoreTest&) {
  FullState state;
  Alarms alarms(&state);
  auto raised = co_await alarms.raise({.type = AlarmType::kNoSpace});
  EXPECT_FALSE(raised) << "it could not be stored";
  EXPECT_TRUE(alarms.active(AlarmType::kNoSpace)) << "and is in force";
  EXPECT_EQ(describe_alarm(alarms.all()[0]), cat("memberID:", kMemberId, " alarm:NOSPACE "));
  co_return Result<>();
}
TEST(Alarms, AreInForceEvenIfTheyCannotBeStored) { test_store({.path = ":memory:"}, alarm_on_a_full_disk); }

TEST(Alarms, RoundTripTheirStoredForm) {
  std::vector<Alarm> alarms{{.member = 5, .type = AlarmType::kNoSpace}, {.member = 7, .type = AlarmType::kCorrupt}};
  auto parsed = parse_stored_alarms({{kAlarmKey, format_stored_alarms(alarms)}});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, alarms);
  EXPECT_FALSE(parse_stored_alarms({{kAlarmKey, "\x0a\x02\x10\x07"}})) << "an alarm nobody knows";
}

}  // namespace
}  // namespace monopod::etcd
