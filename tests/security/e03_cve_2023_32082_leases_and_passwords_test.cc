// E3: what a lease tells about foreign keys (CVE-2023-32082), and passwords without bounds (CVE-2020-15115).
#include "etcd/auth/auth_stage.h"

namespace monopod::etcd {
namespace {

using async::Task;

const std::string kDenied = "permission_denied: etcdserver: permission denied";

std::string lease_message(std::int64_t id, bool keys = false) { return ProtoWriter().integer(1, id).boolean(2, keys).take(); }

Task<Result<>> leases(AuthStage& stage) {
  const std::string time_to_live = "/etcdserverpb.Lease/LeaseTimeToLive", revoke = "/etcdserverpb.Lease/LeaseRevoke";
  const std::string list = "/etcdserverpb.Lease/LeaseLeases", keep_alive = "/etcdserverpb.Lease/LeaseKeepAlive";
  CO_TRY(co_await stage.add_user("alice", {{.type = PermissionType::kReadWrite, .key = "a"}, {.type = PermissionType::kRead, .key = "r"}}));
  for (std::int64_t id : {1, 2, 3}) CO_TRY(co_await stage.store.lease_grant(std::chrono::seconds(100), LeaseId(id)));
  CO_TRY(co_await stage.store.put("a", share("1"), LeaseId(1)));
  CO_TRY(co_await stage.store.put("r", share("1"), LeaseId(2)));

  EXPECT_EQ(co_await stage.say("alice", time_to_live, lease_message(1, true)), "ok");
  EXPECT_EQ(co_await stage.say("alice", time_to_live, lease_message(2, true)), "ok");
  EXPECT_EQ(co_await stage.say("alice", list, ""), "ok");
  CO_TRY(co_await stage.store.put("secret", share("1"), LeaseId(1)));
  EXPECT_EQ(co_await stage.say("alice", time_to_live, lease_message(1, true)), kDenied);
  EXPECT_EQ(co_await stage.say("alice", time_to_live, lease_message(1)), "ok") << "without keys it tells none";
  EXPECT_EQ(co_await stage.say("alice", list, ""), kDenied);
  EXPECT_EQ(co_await stage.say("root", time_to_live, lease_message(1, true)), "ok");

  // Revoking deletes its keys, so it is writing them; keeping alive is keeping them.
  EXPECT_EQ(co_await stage.say("alice", revoke, lease_message(1)), kDenied);
  EXPECT_EQ(co_await stage.say("alice", revoke, lease_message(2)), kDenied) << "read only";
  EXPECT_EQ(outcome(co_await stage.call_stream("alice", keep_alive, lease_message(1))), kDenied);
  EXPECT_EQ(outcome(co_await stage.call_stream("alice", keep_alive, lease_message(3))), "ok");
  EXPECT_EQ(co_await stage.say("alice", revoke, lease_message(3)), "ok") << "no keys, nobody's loss";
  for (const std::string* path : {&time_to_live, &revoke, &list}) EXPECT_EQ(co_await stage.say("", *path, lease_message(1)), "invalid_argument: etcdserver: user name is empty");
  CO_TRY_ASSIGN(auto secret, co_await stage.store.get("secret"));
  EXPECT_TRUE(secret);
  co_return Result<>();
}
TEST(E03Leases, TellAndTakeOnlyWhatIsGranted) { test_stage(leases); }

Task<Result<>> passwords(AuthStage& stage) {
  auto user = [](std::string_view name, std::size_t bytes) { return ProtoWriter().bytes(1, name).bytes(2, std::string(bytes, 'p')).take(); };
  const std::string add = "/etcdserverpb.Auth/UserAdd", authenticate = "/etcdserverpb.Auth/Authenticate";
  const std::string too_long = "invalid_argument: etcdserver: password is longer than 72 bytes";
  EXPECT_EQ(co_await stage.say("root", add, user("longest", pki::kPasswordBytesMax)), "ok");
  EXPECT_EQ(co_await stage.say("root", add, user("longer", pki::kPasswordBytesMax + 1)), too_long);
  EXPECT_EQ(co_await stage.say("root", add, user("huge", 1'000'000)), too_long);
  EXPECT_EQ(co_await stage.say("root", "/etcdserverpb.Auth/UserChangePassword", user("longest", pki::kPasswordBytesMax + 1)), too_long);
  EXPECT_EQ(co_await stage.say("", authenticate, user("longest", pki::kPasswordBytesMax)), "ok");
  EXPECT_EQ(co_await stage.say("", authenticate, user("longest", pki::kPasswordBytesMax + 1)), "invalid_argument: etcdserver: authentication failed, invalid user ID or password")
      << "nothing is cut off";
  co_return Result<>();
}
TEST(E03Passwords, AreBounded) { test_stage(passwords); }

}  // namespace
}  // namespace monopod::etcd
