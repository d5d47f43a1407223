// E1: nested transactions (CVE-2026-33343), prev_kv and leases of puts inside them (CVE-2026-44283), open-ended watches from a grant of
// one key (CVE-2026-73499), calls that nobody guarded (CVE-2026-33413).
#include "etcd/auth/auth_stage.h"

namespace monopod::etcd {
namespace {

using async::Task;

const std::string kOpen(1, '\0');
const std::string kDenied = "permission_denied: etcdserver: permission denied";
const std::string kTxn = "/etcdserverpb.KV/Txn";

// alice may read and write "/a/", read "k", write "w". The secret is "s".
Task<Result<>> add_alice(AuthStage& stage) {
  CO_TRY(co_await stage.store.put("s", share("secret")));
  CO_TRY(co_await stage.store.put("w", share("old")));
  co_return co_await stage.add_user("alice", {{.type = PermissionType::kReadWrite, .key = "/a/", .range_end = "/a0"},
                                              {.type = PermissionType::kRead, .key = "k"},
                                              {.type = PermissionType::kWrite, .key = "w"}});
}

// op inside depth transactions, in the branch not taken too.
std::string nested(std::string op, int depth, bool failure) {
  for (int i = 0; i < depth; ++i) op = operation(4, failure ? txn_message({.failure = {op}}) : txn_message({.success = {op}}));
  return txn_message({.success = {operation(1, range_message("k")), op}});
}

Task<Result<>> nested_transactions(AuthStage& stage) {
  CO_TRY(co_await add_alice(stage));
  struct Case {
    const char* what;
    std::string op;
    bool allowed;
  } cases[] = {
      {"reading the secret", operation(1, range_message("s")), false},
      {"reading everything", operation(1, range_message(kOpen, kOpen)), false},
      {"reading from the granted key on", operation(1, range_message("k", kOpen)), false},
      {"writing the secret", operation(2, put_message("s")), false},
      {"deleting the secret", operation(3, delete_message("s")), false},
      {"deleting everything", operation(3, delete_message(kOpen, {.end = kOpen})), false},
      {"seeing what a put replaced", operation(2, put_message("w", {.prev_kv = true})), false},
      {"seeing what a delete took", operation(3, delete_message("w", {.prev_kv = true})), false},
      {"comparing the secret", operation(4, txn_message({.compare_key = "s"})), false},
      {"comparing a range with the secret", operation(4, txn_message({.compare_key = "k", .compare_end = "t"})), false},
      {"what is granted", operation(2, put_message("/a/x", {.prev_kv = true})), true},
      {"writing what may be written", operation(2, put_message("w")), true},
  };
  for (const Case& c : cases)
    for (int depth : {0, 1, 2, 5})
      for (bool failure : {false, true})
        EXPECT_EQ(co_await stage.say("alice", kTxn, nested(c.op, depth, failure)), c.allowed ? "ok" : kDenied) << c.what << ", " << depth << " deep, failure " << failure;
  CO_TRY_ASSIGN(auto secret, co_await stage.store.get("s"));
  CO_ASSERT_TRUE(secret);
  EXPECT_EQ(*secret->value, "secret");
  co_return Result<>();
}
TEST(E01NestedTransactions, AreJudgedToTheBottom) { test_stage(nested_transactions); }

Task<Result<>> leases_of_puts(AuthStage& stage) {
  CO_TRY(co_await add_alice(stage));
  CO_TRY_ASSIGN(Lease lease, co_await stage.store.lease_grant(std::chrono::seconds(100), LeaseId(7)));
  CO_TRY(co_await stage.store.put("s", share("secret"), lease.id));
  std::string put = put_message("/a/x", {.lease = 7});
  EXPECT_EQ(co_await stage.say("alice", "/etcdserverpb.KV/Put", put), kDenied) << "the lease holds a key that is not hers";
  for (int depth : {0, 1, 3}) EXPECT_EQ(co_await stage.say("alice", kTxn, nested(operation(2, put), depth, false)), kDenied) << depth;
  EXPECT_EQ(co_await stage.say("root", kTxn, nested(operation(2, put), 1, false)), "ok");
  co_return Result<>();
}
TEST(E01PutsUnderForeignLeases, AreJudgedInTransactionsToo) { test_stage(leases_of_puts); }

Task<std::string> watch(AuthStage& stage, std::string key, std::string end) {
  std::string message = watch_message(key, end);
  Result<std::string> answer = co_await stage.call_stream("alice", "/etcdserverpb.Watch/Watch", std::move(message));
  if (!answer) co_return outcome(answer);
  if (*parse_integer(*answer, 4) == 0) co_return "ok";
  EXPECT_EQ(*parse_integer(*answer, 2), -1);
  co_return *parse_text(*answer, 6);
}
Task<Result<>> watches(AuthStage& stage) {
  CO_TRY(co_await add_alice(stage));
  const std::string denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
  EXPECT_EQ(co_await watch(stage, "k", ""), "ok");
  EXPECT_EQ(co_await watch(stage, "k", kOpen), denied);
  EXPECT_EQ(co_await watch(stage, "k", "l"), denied);
  EXPECT_EQ(co_await watch(stage, "/a/", "/a0"), "ok");
  EXPECT_EQ(co_await watch(stage, "/a/", kOpen), denied);
  EXPECT_EQ(co_await watch(stage, "", ""), denied) << "no key is the first key";
  EXPECT_EQ(co_await watch(stage, kOpen, kOpen), denied);
  EXPECT_EQ(co_await watch(stage, "w", ""), denied) << "writing is not reading";
  co_return Result<>();
}
TEST(E01Watches, OneKeyIsNotAllKeysFromItOn) { test_stage(watches); }

Task<Result<>> unguarded_calls(AuthStage& stage) {
  CO_TRY(co_await add_alice(stage));
  const std::string nobody = "invalid_argument: etcdserver: user name is empty";
  std::string raise = ProtoWriter().integer(1, 1).integer(3, 1).take();
  struct Case {
    const char* path;
    std::string message;
    bool for_users;
  } cases[] = {
      {"/etcdserverpb.Cluster/MemberList", "", true},
      {"/etcdserverpb.Maintenance/Alarm", "", true},
      {"/etcdserverpb.Maintenance/Alarm", raise, false},
      {"/etcdserverpb.Maintenance/Status", "", false},
      {"/etcdserverpb.Maintenance/Defragment", "", false},
      {"/etcdserverpb.Maintenance/HashKV", "", false},
      {"/etcdserverpb.KV/Compact", ProtoWriter().integer(1, 1).take(), false},
      {"/etcdserverpb.Lease/LeaseGrant", ProtoWriter().integer(1, 60).take(), true},
      {"/etcdserverpb.Lease/LeaseLeases", "", true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(co_await stage.say("", c.path, c.message), nobody) << c.path;
    EXPECT_EQ(co_await stage.say("alice", c.path, c.message), c.for_users ? "ok" : kDenied) << c.path;
  }
  co_return Result<>();
}
TEST(E01Calls, OfClusterMaintenanceLeasesAndCompactionAreGuarded) { test_stage(unguarded_calls); }

}  // namespace
}  // namespace monopod::etcd
