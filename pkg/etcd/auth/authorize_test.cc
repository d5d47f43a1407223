#include "etcd/auth/authorize.h"

#include <map>
#include <set>

#include "etcd/auth/auth_stage.h"

namespace monopod::etcd {
namespace {

using async::Task;

const std::string kOpen(1, '\0');
const std::string kDenied = "permission_denied: etcdserver: permission denied";

// A message that each method understands, touching the key "k".
std::string sample_message(std::string_view path) {
  static const std::map<std::string_view, std::string> kShaped{
      {"/etcdserverpb.KV/Txn", txn_message({.success = {operation(1, range_message("k"))}})},
      {"/etcdserverpb.Watch/Watch", watch_message("k")},
      {"/etcdserverpb.Maintenance/Alarm", ProtoWriter().integer(1, 1).integer(3, 1).take()},  // raises NOSPACE
      {"/v3electionpb.Election/Proclaim", ProtoWriter().message(1, ProtoWriter().bytes(2, "k").str()).take()},
      {"/v3electionpb.Election/Resign", ProtoWriter().message(1, ProtoWriter().bytes(2, "k").str()).take()},
  };
  auto shaped = kShaped.find(path);
  return shaped != kShaped.end() ? shaped->second : ProtoWriter().bytes(1, "k").take();
}

// Open by decision, to anyone and to every user: a new method is not among them until someone writes it here.
const std::set<std::string_view> kForAnyone{"/etcdserverpb.Auth/Authenticate", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"};
const std::set<std::string_view> kForEveryUser{
    "/etcdserverpb.Cluster/MemberList",  "/etcdserverpb.Lease/LeaseGrant",     "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseKeepAlive", "/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases",
};

// Only the judging: some handlers would wait for ever.
Task<Result<Admission>> judge(AuthStage& stage, Credentials credentials, Needs needs, std::string message) {
  ServiceOptions options;
  async::Pool pool(1);
  Context context{.backend = stage.store, .time = stage.time, .options = options, .auth = &stage.auth, .credentials = std::move(credentials)};
  co_return co_await admit(context, needs, message);
}

Task<Result<>> every_row(AuthStage& stage) {
  CO_TRY(co_await stage.add_user("nothing", {}));
  std::vector<std::pair<std::string_view, Needs>> rows;
  for (const Method& method : all_methods()) rows.emplace_back(method.path, method.needs);
  for (const StreamMethod& stream : all_streams()) rows.emplace_back(stream.path, stream.needs);
  CO_TRY_ASSIGN(std::string nothing, co_await stage.auth.authenticate("nothing", "nothing"));
  CO_TRY_ASSIGN(std::string root, co_await stage.auth.authenticate("root", "root"));
  for (const auto& [path, needs] : rows) {
    std::string message = sample_message(path);
    bool anyone = kForAnyone.contains(path), every_user = anyone || kForEveryUser.contains(path);
    EXPECT_EQ(outcome(co_await judge(stage, {}, needs, message)), anyone ? "ok" : "invalid_argument: etcdserver: user name is empty") << path;
    EXPECT_EQ(outcome(co_await judge(stage, {.token = nothing}, needs, message)), every_user ? "ok" : kDenied) << path;
    EXPECT_EQ(outcome(co_await judge(stage, {.token = root}, needs, message)), "ok") << path;
    EXPECT_EQ(outcome(co_await judge(stage, {.token = "forged"}, needs, message)), anyone ? "ok" : "unauthenticated: etcdserver: invalid auth token") << path;
  }
  EXPECT_EQ(outcome(co_await judge(stage, {.token = root}, nullptr, "")), kDenied) << "a row without a requirement is for nobody";
  co_return Result<>();
}
TEST(Authorize, EveryMethodIsClosedToThoseWithoutGrants) { test_stage(every_row); }

Task<Result<>> through_the_door(AuthStage& stage) {
  for (const Method& method : all_methods()) {
    if (kForAnyone.contains(method.path)) continue;
    EXPECT_EQ(co_await stage.say("", std::string(method.path), sample_message(method.path)), "invalid_argument: etcdserver: user name is empty") << method.path;
  }
  for (const StreamMethod& stream : all_streams()) {
    if (kForAnyone.contains(stream.path)) continue;
    Result<std::string> answer = co_await stage.call_stream("", std::string(stream.path), sample_message(stream.path));
    // Watch tells in its own message.
    std::string said = answer ? *answer : answer.error().message();
    EXPECT_TRUE(said.contains("etcdserver: user name is empty")) << stream.path << ": " << said;
  }
  co_return Result<>();
}
TEST(Authorize, EveryMethodIsJudgedBeforeItsHandler) { test_stage(through_the_door); }

Task<Result<>> key_edges(AuthStage& stage) {
  CO_TRY(co_await stage.add_user("alice", {{.type = PermissionType::kRead, .key = "k"},
                                           {.type = PermissionType::kReadWrite, .key = "/p/", .range_end = "/p0"},
                                           {.type = PermissionType::kWrite, .key = "w"},
                                           {.type = PermissionType::kRead, .key = "x", .range_end = kOpen}}));
  const std::string range = "/etcdserverpb.KV/Range", put = "/etcdserverpb.KV/Put", del = "/etcdserverpb.KV/DeleteRange";
  struct Case {
    const char* what;
    std::string path;
    std::string message;
    bool allowed;
  } cases[] = {
      {"the granted key", range, range_message("k"), true},
      {"all keys from the granted key", range, range_message("k", kOpen), false},
      {"the granted key as a range of one", range, range_message("k", std::string("k\0", 2)), true},
      {"a range from the granted key", range, range_message("k", "l"), false},
      {"writing what may be read", put, put_message("k"), false},
      {"the prefix", range, range_message("/p/", "/p0"), true},
      {"a key of the prefix", range, range_message("/p/a"), true},
      {"the prefix and more", range, range_message("/p/", "/p1"), false},
      {"everything", range, range_message(kOpen, kOpen), false},
      {"writing in the prefix", put, put_message("/p/a"), true},
      {"writing what may not be read", put, put_message("w"), true},
      {"and looking at what was there", put, put_message("w", {.prev_kv = true}), false},
      {"with both, looking is fine", put, put_message("/p/a", {.prev_kv = true}), true},
      {"reading what may be written", range, range_message("w"), false},
      {"deleting it", del, delete_message("w"), true},
      {"deleting and looking", del, delete_message("w", {.prev_kv = true}), false},
      {"deleting the prefix", del, delete_message("/p/", {.end = "/p0"}), true},
      {"deleting from the prefix on", del, delete_message("/p/", {.end = kOpen}), false},
      {"deleting everything", del, delete_message(kOpen, {.end = kOpen}), false},
      {"all from x", range, range_message("x", kOpen), true},
      {"all from behind x", range, range_message("y", kOpen), true},
      {"all from before x", range, range_message("w", kOpen), false},
      {"an empty range", range, range_message("/p/b", "/p/a"), false},
  };
  for (const Case& c : cases) EXPECT_EQ(co_await stage.say("alice", c.path, c.message), c.allowed ? "ok" : kDenied) << c.what;
  EXPECT_EQ(co_await stage.say("alice", range, ""), "invalid_argument: etcdserver: key is not provided") << "the shape is checked first, as etcd does";
  co_return Result<>();
}
TEST(Authorize, KeysAreJudgedByWhatTheRolesGrantTogether) { test_stage(key_edges); }

Task<Result<>> own_records(AuthStage& stage) {
  CO_TRY(co_await stage.add_user("alice", {}));
  const std::string user_get = "/etcdserverpb.Auth/UserGet", role_get = "/etcdserverpb.Auth/RoleGet";
  auto named = [](std::string_view name) { return ProtoWriter().bytes(1, name).take(); };
  EXPECT_EQ(co_await stage.say("alice", user_get, named("alice")), "ok");
  EXPECT_EQ(co_await stage.say("alice", user_get, named("root")), kDenied);
  EXPECT_EQ(co_await stage.say("alice", user_get, named("unknown")), kDenied) << "existence is not told";
  EXPECT_EQ(co_await stage.say("alice", role_get, named("role-alice")), "ok");
  EXPECT_EQ(co_await stage.say("alice", role_get, named("role-root")), kDenied);
  EXPECT_EQ(co_await stage.say("root", user_get, named("alice")), "ok");
  EXPECT_EQ(co_await stage.say("root", role_get, named("role-alice")), "ok");
  EXPECT_EQ(co_await stage.say("", user_get, named("")), "invalid_argument: etcdserver: user name is empty");
  co_return Result<>();
}
TEST(Authorize, UsersMayLookAtThemselves) { test_stage(own_records); }

Task<Result<>> switched_off(AuthStage& stage) {
  EXPECT_EQ(co_await stage.say("", "/etcdserverpb.KV/Put", put_message("k")), "invalid_argument: etcdserver: user name is empty");
  EXPECT_EQ(co_await stage.say("root", "/etcdserverpb.Auth/AuthDisable", ""), "ok");
  EXPECT_EQ(co_await stage.say("", "/etcdserverpb.KV/Put", put_message("k")), "ok");
  EXPECT_EQ(co_await stage.say("", "/etcdserverpb.Auth/UserAdd", ProtoWriter().bytes(1, "bob").bytes(2, "bob").take()), "ok");
  EXPECT_EQ(co_await stage.say("", "/etcdserverpb.Auth/AuthEnable", ""), "ok");
  CO_TRY_ASSIGN(std::string status, co_await stage.call("root", "/etcdserverpb.Auth/AuthStatus", ""));
  EXPECT_EQ(*parse_integer(status, 2), 1);
  EXPECT_EQ(*parse_integer(status, 3), static_cast<std::int64_t>(stage.auth.state().revision));
  co_return Result<>();
}
TEST(Authorize, WithAuthenticationOffEveryoneMayEverything) { test_stage(switched_off); }

Task<Result<>> without_users(StoreTest& t) {
  async::Scope background(t.executor);
  Service service(t.store, t.time, {});
  http::InProcessClient client(background, service);
  for (const Method& method : auth_methods())
    EXPECT_EQ(outcome(co_await http::call_grpc(client, std::string(method.path), "")), "unimplemented: auth: this datastore keeps no users") << method.path;
  EXPECT_EQ(outcome(co_await http::call_grpc(client, "/etcdserverpb.KV/Put", put_message("k"))), "ok");
  background.cancel();
  co_return co_await background.join();
}
TEST(Authorize, ADatastoreWithoutUsersSaysSo) {
  store::test_store({.path = ":memory:"}, [](StoreTest& t) { return without_users(t); });
}

// The next message of a watch stream: "created", "canceled: reason", or the key of its first event.
Task<std::string> next_of(http::GrpcClientCall& stream) {
  Result<std::optional<std::string>> message = co_await stream.read();
  if (!message) co_return message.error().message();
  if (!*message) co_return "end";
  if (*parse_integer(**message, 4)) co_return "canceled: " + *parse_text(**message, 6);
  if (*parse_integer(**message, 3)) co_return "created";
  co_return *parse_text(*parse_text(*parse_text(**message, 11), 2), 1);
}

Task<Result<>> revoked_watch(AuthStage& stage) {
  CO_TRY(co_await stage.add_user("alice", {{.key = "k"}, {.key = "other"}}));
  CO_TRY_ASSIGN(auto stream, co_await stage.open("alice", "/etcdserverpb.Watch/Watch"));
  CO_TRY(co_await stream->write(watch_message("k")));
  EXPECT_EQ(co_await next_of(*stream), "created");
  CO_TRY(co_await stage.store.put("k", share("1")));
  EXPECT_EQ(co_await next_of(*stream), "k");
  CO_TRY(co_await stage.auth.revoke_permission("role-alice", {"other", ""}));
  CO_TRY(co_await stage.store.put("k", share("2")));
  EXPECT_EQ(co_await next_of(*stream), "k") << "asked again, and still allowed";
  CO_TRY(co_await stage.auth.revoke_permission("role-alice", {"k", ""}));
  CO_TRY(co_await stage.store.put("k", share("secret")));
  EXPECT_EQ(co_await next_of(*stream), "canceled: rpc error: code = PermissionDenied desc = etcdserver: permission denied");
  CO_TRY(co_await stream->finish_writing());
  co_return Result<>();
}
TEST(Authorize, AWatchEndsBeforeTheFirstEventItMayNotSeeAnyMore) { test_stage(revoked_watch); }

Task<Result<>> watch_of_before(AuthStage& stage) {
  CO_TRY(co_await stage.auth.disable());
  CO_TRY_ASSIGN(auto stream, co_await stage.open("", "/etcdserverpb.Watch/Watch"));
  CO_TRY(co_await stream->write(watch_message("k")));
  EXPECT_EQ(co_await next_of(*stream), "created");
  CO_TRY(co_await stage.auth.enable());
  CO_TRY(co_await stage.store.put("k", share("secret")));
  EXPECT_EQ(co_await next_of(*stream), "canceled: rpc error: code = InvalidArgument desc = etcdserver: user name is empty");
  CO_TRY(co_await stream->finish_writing());
  co_return Result<>();
}
TEST(Authorize, AWatchFromBeforeTheSwitchEndsToo) { test_stage(watch_of_before); }

// A stream that answers once for each write of "k", as Election's Observe would; it passes errors on.
Task<Result<>> ticking(Context& context, http::GrpcServerCall& call) {
  CO_TRY(co_await call.read());
  CO_TRY_ASSIGN(auto watch, co_await context.backend.watch({.key = "k"}));
  for (;;) {
    CO_TRY(co_await call.write("tick"));
    CO_TRY(co_await watch->next());
  }
}

class TickingService final : public http::Handler {
 public:
  explicit TickingService(AuthStage& stage) : stage_(stage) {}
  Task<Result<>> handle(http::Exchange& exchange) override {
    ServiceOptions options;
    Context context{.backend = stage_.store, .time = stage_.time, .options = options, .auth = &stage_.auth, .credentials = credentials_of(exchange.request(), false)};
    http::GrpcServerCall call(exchange);
    co_return co_await call_stream(context, call, {"/test/Ticks", needs_range, ticking});
  }

 private:
  AuthStage& stage_;
};

Task<Result<>> revoked_stream(AuthStage& stage) {
  CO_TRY(co_await stage.add_user("alice", {{.key = "k"}}));
  TickingService service(stage);
  async::Scope background(stage.executor);
  CO_TRY_ASSIGN(std::string token, co_await stage.auth.authenticate("alice", "alice"));
  http::InProcessClient client(background, service, {{"token", token}});
  CO_TRY_ASSIGN(auto refused, co_await http::open_grpc(client, "/test/Ticks"));
  CO_TRY(co_await refused->write(range_message("other")));
  EXPECT_EQ(outcome(co_await refused->read()), kDenied) << "though its handler only passes errors on";

  CO_TRY_ASSIGN(auto stream, co_await http::open_grpc(client, "/test/Ticks"));
  CO_TRY(co_await stream->write(range_message("k")));
  EXPECT_EQ(**(co_await stream->read()), "tick");
  stage.time.advance(2 * kTokenTtl);
  CO_TRY(co_await stage.auth.add_role("unrelated"));
  CO_TRY(co_await stage.store.put("k", share("1")));
  EXPECT_EQ(**(co_await stream->read()), "tick") << "still granted; the token was needed to begin";
  CO_TRY(co_await stage.auth.revoke_permission("role-alice", {"k", ""}));
  CO_TRY(co_await stage.store.put("k", share("secret")));
  EXPECT_EQ(outcome(co_await stream->read()), kDenied);
  background.cancel();
  co_return co_await background.join();
}
TEST(Authorize, AStreamEndsBeforeTheFirstAnswerItMayNotGiveAnyMore) { test_stage(revoked_stream); }

// A handler during which permissions change.
AuthStore* changed_by_handler = nullptr;
Answer changing(Context&, std::string_view) {
  CO_TRY(co_await changed_by_handler->add_role("late"));
  co_return std::string("secret");
}
Task<Result<>> read_over_a_change(AuthStage& stage) {
  CO_TRY_ASSIGN(std::string token, co_await stage.auth.authenticate("root", "root"));
  ServiceOptions options;
  changed_by_handler = &stage.auth;
  Context context{.backend = stage.store, .time = stage.time, .options = options, .auth = &stage.auth, .credentials = {.token = token}};
  EXPECT_EQ(outcome(co_await call_method(context, {"/test/Read", needs_range, changing}, range_message("k"))), "invalid_argument: etcdserver: revision of auth store is old");
  CO_TRY(co_await stage.auth.delete_role("late"));
  EXPECT_EQ(outcome(co_await call_method(context, {"/test/Write", needs_put, changing}, put_message("k"))), "ok") << "what is written is written";
  co_return Result<>();
}
TEST(Authorize, AReadOverAChangeOfPermissionsIsRefused) { test_stage(read_over_a_change); }

}  // namespace
}  // namespace monopod::etcd
