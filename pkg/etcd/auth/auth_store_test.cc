#include "etcd/auth/auth_store.h"

#include <boost/asio/post.hpp>

#include "etcd/auth/auth_test_support.h"
#include "codec/proto_wire.h"
#include "pki/key.h"

namespace monopod::etcd {
namespace {

using async::Task;

struct Fixture {
  async::Executor executor;
  async::FakeTime time;
  async::MemoryStateStore records{};
  explicit Fixture(async::Executor e) : executor(e), time(e) {}
};

void run(Task<Result<>> (*body)(Fixture&)) {
  async::run_test([body](async::Loop& loop) -> Task<Result<>> {
    return [](Task<Result<>> (*b)(Fixture&), async::Executor executor) -> Task<Result<>> {
      Fixture fixture(executor);
      co_return co_await b(fixture);
    }(body, loop.executor());
  });
}

Task<Result<>> refusals(Fixture& f) {
  CO_TRY_ASSIGN(auto opened, co_await open_auth(f.records, f.time));
  AuthStore& auth = *opened;
  const std::string no_user = "failed_precondition: etcdserver: user name not found", no_role = "failed_precondition: etcdserver: role name not found";
  const std::string managed = "invalid_argument: etcdserver: invalid auth management";
  EXPECT_EQ(outcome(co_await auth.enable()), "failed_precondition: etcdserver: root user does not exist");
  EXPECT_EQ(outcome(co_await auth.authenticate("root", "pw")), "failed_precondition: etcdserver: authentication is not enabled");
  CO_TRY(co_await auth.add_user({.name = "root", .password = "pw"}));
  EXPECT_EQ(outcome(co_await auth.enable()), "failed_precondition: etcdserver: root user does not have root role");
  EXPECT_EQ(outcome(co_await auth.add_user({.name = "root", .password = "x"})), "failed_precondition: etcdserver: user name already exists");
  EXPECT_EQ(outcome(co_await auth.add_user({.name = "", .password = "x"})), "invalid_argument: etcdserver: user name is empty");
  EXPECT_EQ(outcome(co_await auth.add_user({.name = std::string(kAuthNameBytesMax, 'n'), .password = "x"})), "ok");
  EXPECT_FALSE(co_await auth.add_user({.name = std::string(kAuthNameBytesMax + 1, 'n'), .password = "x"}));
  EXPECT_EQ(outcome(co_await auth.add_user({.name = "long", .password = std::string(pki::kPasswordBytesMax, 'p')})), "ok");
  EXPECT_EQ(outcome(co_await auth.add_user({.name = "longer", .password = std::string(pki::kPasswordBytesMax + 1, 'p')})),
            "invalid_argument: etcdserver: password is longer than 72 bytes");
  EXPECT_EQ(outcome(co_await auth.delete_user("bob")), no_user);
  EXPECT_EQ(outcome(co_await auth.change_password("bob", "x")), no_user);
  EXPECT_EQ(outcome(co_await auth.grant_role("bob", "root")), no_user);
  EXPECT_EQ(outcome(co_await auth.grant_role("root", "staff")), no_role);
  EXPECT_EQ(outcome(co_await auth.revoke_role("bob", "root")), no_user);
  EXPECT_EQ(outcome(co_await auth.revoke_role("root", "root")), "failed_precondition: etcdserver: role is not granted to the user");
  EXPECT_EQ(outcome(co_await auth.add_role("")), "invalid_argument: etcdserver: role name is empty");
  CO_TRY(co_await auth.add_role("r"));
  EXPECT_EQ(outcome(co_await auth.add_role("r")), "failed_precondition: etcdserver: role name already exists");
  EXPECT_EQ(outcome(co_await auth.delete_role("s")), no_role);
  EXPECT_EQ(outcome(co_await auth.grant_permission("s", {.key = "k"})), no_role);
  EXPECT_EQ(outcome(co_await auth.grant_permission("r", {.key = "b", .range_end = "a"})), managed);
  EXPECT_EQ(outcome(co_await auth.revoke_permission("s", {"k", ""})), no_role);
  EXPECT_EQ(outcome(co_await auth.revoke_permission("r", {"k", ""})), "failed_precondition: etcdserver: permission is not granted to the role");
  CO_TRY(co_await auth.grant_role("root", "root"));
  CO_TRY(co_await auth.add_role("root"));
  CO_TRY(co_await auth.enable());
  EXPECT_EQ(outcome(co_await auth.delete_user("root")), managed);
  EXPECT_EQ(outcome(co_await auth.revoke_role("root", "root")), managed);
  EXPECT_EQ(outcome(co_await auth.delete_role("root")), managed);
  co_return Result<>();
}
TEST(AuthStore, RefusesWithTheTextsOfEtcd) { run(refusals); }

Task<Result<>> passwords(Fixture& f) {
  CO_TRY_ASSIGN(auto opened, co_await open_auth(f.records, f.time));
  AuthStore& auth = *opened;
  CO_TRY(co_await make_users(auth));
  CO_TRY(co_await auth.add_user({.name = "cert", .no_password = true}));
  const std::string wrong = "invalid_argument: etcdserver: authentication failed, invalid user ID or password";
  EXPECT_EQ(outcome(co_await auth.authenticate("root", "pw")), "ok");
  EXPECT_EQ(outcome(co_await auth.authenticate("root", "PW")), wrong);
  EXPECT_EQ(outcome(co_await auth.authenticate("root", "")), wrong);
  EXPECT_EQ(outcome(co_await auth.authenticate("nobody", "pw")), wrong);
  EXPECT_EQ(outcome(co_await auth.authenticate("root", std::string(100'000, 'p'))), wrong);
  EXPECT_EQ(outcome(co_await auth.authenticate("cert", "")), "unknown: auth: authentication failed, password was given for no password user");
  CO_TRY(co_await auth.change_password("cert", "now"));
  EXPECT_EQ(outcome(co_await auth.authenticate("cert", "now")), "unknown: auth: authentication failed, password was given for no password user");
  CO_TRY(co_await auth.change_password("alice", "b"));
  EXPECT_EQ(outcome(co_await auth.authenticate("alice", "a")), wrong);
  EXPECT_EQ(outcome(co_await auth.authenticate("alice", "b")), "ok");
  CO_TRY(co_await auth.change_password("alice", "a password in full"));
  EXPECT_EQ(outcome(co_await auth.authenticate("alice", "a password in full")), "ok");
  // Long enough that no hash holds it by chance.
  for (const auto& [key, value] : *co_await f.records.list("etcd-auth")) EXPECT_FALSE(value.contains("a password in full")) << key << ": kept as a hash only";
  CO_TRY(co_await auth.change_password("alice", ""));
  EXPECT_EQ(outcome(co_await auth.authenticate("alice", "")), wrong) << "no password is not the empty one";
  co_return Result<>();
}
TEST(AuthStore, OnlyTheRightPasswordGetsAToken) { run(passwords); }

Task<Result<>> restart(Fixture& f) {
  std::uint64_t revision = 0;
  {
    CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
    CO_TRY(co_await make_users(*auth));
    CO_TRY(co_await auth->grant_permission("staff", {.type = PermissionType::kWrite, .key = std::string("\0\xff/", 3), .range_end = std::string(1, '\0')}));
    CO_TRY(co_await auth->add_user({.name = std::string("odd/\0name", 9), .no_password = true}));
    revision = auth->state().revision;
  }
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  EXPECT_TRUE(auth->enabled());
  EXPECT_EQ(auth->state().revision, revision);
  EXPECT_EQ(outcome(co_await auth->authenticate("alice", "a")), "ok");
  const Role* staff = auth->state().find_role("staff");
  CO_ASSERT_TRUE(staff && staff->permissions.size() == 1);
  EXPECT_EQ(staff->permissions[0].key, std::string("\0\xff/", 3));
  EXPECT_EQ(staff->permissions[0].type, PermissionType::kWrite);
  CO_ASSERT_TRUE(auth->state().find_user(std::string_view("odd/\0name", 9)));
  EXPECT_TRUE(auth->state().find_user(std::string_view("odd/\0name", 9))->no_password);
  CO_TRY(co_await auth->disable());
  CO_TRY_ASSIGN(auto again, co_await open_auth(f.records, f.time));
  EXPECT_FALSE(again->enabled());
  EXPECT_EQ(again->state().revision, revision + 1);
  co_return Result<>();
}
TEST(AuthStore, SurvivesARestart) { run(restart); }

Task<Result<>> broken_records(Fixture& f) {
  CO_TRY(co_await f.records.put("etcd-auth", "user/root", "\xff\xff"));
  EXPECT_EQ((co_await open_auth(f.records, f.time)).error().code(), Code::kDataLoss);
  CO_TRY(co_await f.records.remove("etcd-auth", "user/root"));
  CO_TRY(co_await f.records.put("etcd-auth", "policy/new", ""));
  EXPECT_EQ((co_await open_auth(f.records, f.time)).error().code(), Code::kDataLoss) << "of a newer version, perhaps";
  co_return Result<>();
}
TEST(AuthStore, DoesNotOpenWithRecordsItCannotRead) { run(broken_records); }

// As etcd's own records, which a restored snapshot brings: roles in any order, permissions by key alone.
Task<Result<>> foreign_records(Fixture& f) {
  std::string root = ProtoWriter().bytes(1, "root").message(3, "root").message(3, "a").take();
  ProtoWriter role;
  role.bytes(1, "a");
  for (const char* end : {"z", "", "m"}) role.message(2, format_permission({.key = "k", .range_end = end}));
  CO_TRY(co_await f.records.put("etcd-auth", "user/root", root));
  CO_TRY(co_await f.records.put("etcd-auth", "role/a", role.take()));
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  EXPECT_EQ(outcome(co_await auth->enable()), "ok");
  for (const char* end : {"", "m", "z"}) EXPECT_EQ(outcome(co_await auth->revoke_permission("a", {"k", end})), "ok") << end;
  EXPECT_EQ(outcome(co_await auth->authenticate("root", "")), "invalid_argument: etcdserver: authentication failed, invalid user ID or password");
  co_return Result<>();
}
TEST(AuthStore, ReadsRecordsInAnyOrder) { run(foreign_records); }

// A store that fails its writes.
class BrokenStore final : public async::StateStore {
 public:
  bool broken = false;
  Task<Result<>> apply(std::string bucket, std::vector<async::StateChange> changes, async::Lasts lasts) override {
    if (broken) co_return fail(Code::kResourceExhausted, "disk full");
    co_return co_await inner_.apply(std::move(bucket), std::move(changes), lasts);
  }
  Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) override { return inner_.list(std::move(bucket)); }

 private:
  async::MemoryStateStore inner_;
};

Task<Result<>> failed_writes(Fixture& f) {
  BrokenStore records;
  CO_TRY_ASSIGN(auto auth, co_await open_auth(records, f.time));
  CO_TRY(co_await make_users(*auth));
  std::uint64_t revision = auth->state().revision;
  records.broken = true;
  EXPECT_EQ(outcome(co_await auth->disable()), "resource_exhausted: disk full");
  EXPECT_FALSE(co_await auth->delete_role("staff"));
  EXPECT_TRUE(auth->enabled());
  EXPECT_EQ(auth->state().revision, revision);
  EXPECT_TRUE(auth->state().find_role("staff"));
  records.broken = false;
  EXPECT_EQ(outcome(co_await auth->disable()), "ok");
  co_return Result<>();
}
TEST(AuthStore, AChangeThatIsNotDurableDidNotHappen) { run(failed_writes); }

Task<Result<>> role_deletion(Fixture& f) {
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  CO_TRY(co_await make_users(*auth));
  CO_TRY(co_await auth->delete_role("staff"));
  CO_TRY_ASSIGN(auto again, co_await open_auth(f.records, f.time));
  for (AuthStore* store : {auth.get(), again.get()}) {
    EXPECT_FALSE(store->state().find_role("staff"));
    EXPECT_TRUE(store->state().find_user("alice")->roles.empty()) << "a role of that name to come is not hers";
  }
  co_return Result<>();
}
TEST(AuthStore, ADeletedRoleLeavesItsUsers) { run(role_deletion); }

Task<Result<>> simple_tokens(Fixture& f) {
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  CO_TRY(co_await make_users(*auth));
  CO_TRY_ASSIGN(std::string token, co_await auth->authenticate("alice", "a"));
  CO_TRY_ASSIGN(std::string other, co_await auth->authenticate("alice", "a"));
  EXPECT_NE(token, other);
  EXPECT_EQ(auth->identify_token(token)->user, "alice");
  for (int i = 0; i < 4; ++i) {
    f.time.advance(kTokenTtl - std::chrono::seconds(1));
    EXPECT_TRUE(auth->identify_token(token)) << "use prolongs it";
  }
  const std::string invalid = "unauthenticated: etcdserver: invalid auth token";
  EXPECT_EQ(outcome(auth->identify_token(other)), invalid) << "unused, it expired";
  f.time.advance(kTokenTtl);
  EXPECT_EQ(outcome(auth->identify_token(token)), invalid);
  for (const char* forged : {"", "x", "abc.1", "."}) EXPECT_EQ(outcome(auth->identify_token(forged)), invalid) << forged;

  CO_TRY_ASSIGN(token, co_await auth->authenticate("alice", "a"));
  CO_TRY(co_await auth->add_role("more"));
  EXPECT_EQ(outcome(auth->check_keys(*auth->identify_token(token), {{"k", ""}}, {})), "permission_denied: etcdserver: permission denied")
      << "a simple token is of the revision of its use";
  CO_TRY(co_await auth->change_password("alice", "b"));
  EXPECT_EQ(outcome(auth->identify_token(token)), invalid);
  CO_TRY_ASSIGN(token, co_await auth->authenticate("alice", "b"));
  CO_TRY(co_await auth->delete_user("alice"));
  EXPECT_EQ(outcome(auth->identify_token(token)), invalid);
  CO_TRY_ASSIGN(token, co_await auth->authenticate("root", "pw"));
  CO_TRY(co_await auth->disable());
  CO_TRY(co_await auth->enable());
  EXPECT_EQ(outcome(auth->identify_token(token)), invalid);
  CO_TRY_ASSIGN(token, co_await auth->authenticate("root", "pw"));
  CO_TRY_ASSIGN(auto again, co_await open_auth(f.records, f.time));
  EXPECT_EQ(outcome(again->identify_token(token)), invalid) << "lost at a restart";
  co_return Result<>();
}
TEST(AuthStore, SimpleTokensExpireAndAreForgotten) { run(simple_tokens); }

Task<Result<>> signed_tokens(Fixture& f) {
  pki::PrivateKey key = *pki::PrivateKey::make();
  TokenOptions tokens{.kind = TokenOptions::Kind::kJwt, .ttl = std::chrono::seconds(60), .sign_method = "ES256", .private_key_pem = key.format_pem()};
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time, tokens));
  CO_TRY(co_await make_users(*auth));
  CO_TRY(co_await auth->grant_permission("staff", {.type = PermissionType::kRead, .key = "k"}));
  CO_TRY_ASSIGN(std::string token, co_await auth->authenticate("alice", "a"));
  CO_TRY_ASSIGN(std::string root, co_await auth->authenticate("root", "pw"));
  EXPECT_EQ(outcome(auth->check_keys(*auth->identify_token(token), {{"k", ""}}, {})), "ok");
  CO_TRY_ASSIGN(auto again, co_await open_auth(f.records, f.time, tokens));
  EXPECT_EQ(outcome(again->check_keys(*again->identify_token(token), {{"k", ""}}, {})), "ok") << "kept over a restart";

  CO_TRY(co_await auth->add_role("more"));
  EXPECT_EQ(outcome(auth->check_keys(*auth->identify_token(token), {{"k", ""}}, {})), "invalid_argument: etcdserver: revision of auth store is old");
  EXPECT_EQ(outcome(auth->check_root(*auth->identify_token(root))), "ok") << "as etcd: or no administrator could do two things";
  CO_TRY(co_await auth->change_password("root", "new"));
  EXPECT_EQ(outcome(auth->identify_token(root)), "unauthenticated: etcdserver: invalid auth token") << "but not past its password";
  CO_TRY_ASSIGN(token, co_await auth->authenticate("alice", "a"));
  f.time.advance(std::chrono::seconds(59));
  EXPECT_TRUE(auth->identify_token(token));
  f.time.advance(std::chrono::seconds(1));
  EXPECT_FALSE(auth->identify_token(token));

  TokenOptions verify_only{.kind = TokenOptions::Kind::kJwt, .sign_method = "ES256", .public_key_pem = key.public_key().format_pem()};
  CO_TRY_ASSIGN(auto verifier, co_await open_auth(f.records, f.time, verify_only));
  EXPECT_EQ(outcome(co_await verifier->authenticate("alice", "a")), "unknown: auth: token signing attempted with verify-only key");
  CO_TRY_ASSIGN(token, co_await auth->authenticate("alice", "a"));
  EXPECT_TRUE(verifier->identify_token(token));
  token.back() = token.back() == 'A' ? 'B' : 'A';
  EXPECT_FALSE(verifier->identify_token(token));
  co_return Result<>();
}
TEST(AuthStore, SignedTokensCarryTheirRevision) { run(signed_tokens); }

Task<Result<>> guess(AuthStore& auth, std::size_t& refused, std::size_t& wrong) {
  Result<std::string> token = co_await auth.authenticate("root", "guess");
  ++(token.error().code() == Code::kResourceExhausted ? refused : wrong);
  co_return Result<>();
}
Task<Result<>> guessing(Fixture& f) {
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  CO_TRY(co_await make_users(*auth));
  std::size_t refused = 0, wrong = 0;
  async::Scope scope(f.executor);
  constexpr std::size_t kGuesses = kPasswordChecksWaitingMax + 10;
  for (std::size_t i = 0; i < kGuesses; ++i) scope.spawn(guess(*auth, refused, wrong));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(refused + wrong, kGuesses);
  EXPECT_GE(wrong, kPasswordChecksWaitingMax);
  EXPECT_GT(refused, 0u) << "guesses queue up to a limit, then are refused before they cost anything";
  EXPECT_EQ(outcome(co_await auth->authenticate("root", "pw")), "ok");
  co_return Result<>();
}
TEST(AuthStore, GuessesWaitInAShortQueueOfTheirOwn) { run(guessing); }

Task<Result<>> count_turns(bool& over, int& turns) {
  async::Executor executor = co_await async::this_executor();
  for (;;) {
    if (over) co_return Result<>();
    ++turns;
    co_await async::asio::post(executor, async::use_task);
  }
}
Task<Result<>> log_in(AuthStore& auth, bool& over) {
  Result<std::string> token = co_await auth.authenticate("root", "pw");
  over = true;
  CO_TRY(std::move(token));
  co_return Result<>();
}
Task<Result<>> hashing_elsewhere(Fixture& f) {
  CO_TRY_ASSIGN(auto tokens, make_tokens({}, f.time));
  CO_TRY_ASSIGN(auto auth, co_await AuthStore::open(f.records, std::move(tokens), {.password_cost = 12}));  // milliseconds
  CO_TRY(co_await make_users(*auth));
  bool over = false;
  int turns = 0;
  async::Scope scope(f.executor);
  scope.spawn(log_in(*auth, over));
  scope.spawn(count_turns(over, turns));
  CO_TRY(co_await scope.join());
  EXPECT_GT(turns, 20) << "others had their turn while the password was checked";
  co_return Result<>();
}
TEST(AuthStore, HashingDoesNotHoldTheLoop) { run(hashing_elsewhere); }

Task<Result<>> many_changes(Fixture& f) {
  CO_TRY_ASSIGN(auto auth, co_await open_auth(f.records, f.time));
  std::uint64_t before = auth->state().revision;
  async::Scope scope(f.executor);
  for (int i = 0; i < 20; ++i) scope.spawn(auth->add_role("role" + std::to_string(i)));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(auth->state().roles.size(), 20u);
  EXPECT_EQ(auth->state().revision, before + 20);
  CO_TRY_ASSIGN(auto again, co_await open_auth(f.records, f.time));
  EXPECT_EQ(again->state().roles.size(), 20u);
  co_return Result<>();
}
TEST(AuthStore, ChangesAtTheSameTimeAllHappen) { run(many_changes); }

}  // namespace
}  // namespace monopod::etcd
