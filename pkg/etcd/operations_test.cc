#include "etcd/operations.h"

#include <fstream>

#include "backup/backup_file.h"
#include "etcd/messages.h"
#include "etcd/service.h"
#include "http/in_process.h"
#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;

// A service over a store with one key, in a scope of its own; script asks it in process.
using Script = Task<Result<>> (*)(StoreTest& t, http::Caller& caller, std::string folder);

struct Asked {
  StoreTest& t;
  std::string folder;
  Script script;
  bool read_only;

  Task<Result<>> operator()(async::Scope& scope) {
    async::Pool pool(1);
    Operations operations{.store = t.store, .data_dir = folder, .pool = pool, .clock = t.time};
    Service service(t.store, t.time, {.sqlite = &t.store, .operations = &operations, .read_only = read_only});
    CO_TRY(co_await service.start());
    CO_TRY(co_await t.store.put("k", share("v")));
    http::InProcessClient caller(scope, service);
    Result<> done = co_await script(t, caller, folder);
    scope.cancel();
    co_return done;
  }
};

Task<Result<>> ask(StoreTest& t, std::string folder, Script script, bool read_only) {
  Asked asked{t, std::move(folder), script, read_only};
  co_return co_await async::run_scoped([&asked](async::Scope& scope) { return asked(scope); });
}

void test_service(bool read_only, Script script) {
  TempDir dir;
  struct Body {
    std::string folder;
    Script script;
    bool read_only;
    Task<Result<>> operator()(StoreTest& t) { return ask(t, folder, script, read_only); }
  };
  test_store({.path = dir.file("data/state.db")}, Body{dir.file("data"), script, read_only});
}

Task<Result<>> reads_only(StoreTest& t, http::Caller& caller, std::string) {
  CO_TRY(co_await http::call_grpc(caller, "/etcdserverpb.KV/Range", ProtoWriter().bytes(1, "k").take()));
  CO_TRY(co_await http::call_grpc(caller, "/etcdserverpb.Maintenance/Status", ""));
  for (const char* path : {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact", "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Lease/LeaseRevoke",
                           "/etcdserverpb.Maintenance/Alarm", "/etcdserverpb.Maintenance/Defragment", "/etcdserverpb.Auth/AuthEnable", "/v3lockpb.Lock/Lock", "/made.Up/Call"}) {
    auto answer = co_await http::call_grpc(caller, path, ProtoWriter().bytes(1, "k").take());
    CO_ASSERT_TRUE(!answer);
    EXPECT_EQ(answer.error().code(), Code::kPermissionDenied) << path;
    EXPECT_TRUE(answer.error().message().contains("kubectl")) << path;
  }
  EXPECT_EQ(t.store.current_revision().value, 2);
  co_return Result<>();
}
TEST(ReadOnlyService, LetsNothingChangeKeysOrLeases) { test_service(true, reads_only); }

Task<Result<>> stats(StoreTest&, http::Caller& caller, std::string) {
  CO_TRY_ASSIGN(std::string answer, co_await http::call_grpc(caller, "/monopod.Store/Stats", ""));
  ProtoReader reader(answer);
  CO_TRY_ASSIGN(bool more, reader.next());
  CO_ASSERT_TRUE(more && reader.field() == 1);
  CO_TRY_ASSIGN(json::Value described, json::parse(reader.bytes()));
  EXPECT_EQ(json::get_int(described, {"revision"}), 2);
  EXPECT_EQ(json::get_int(described, {"store", "keys"}), 1);
  EXPECT_GT(json::get_int(described, {"store", "wal_bytes_written"}), 0);
  EXPECT_TRUE(described.at("backup").is_null());
  CO_TRY_ASSIGN(http::Response plain, co_await caller.request({.target = "/v1/stats"}));
  EXPECT_EQ(plain.status, 404);  // not a unix socket
  CO_TRY_ASSIGN(http::Response backup, co_await caller.request({.target = "/v1/snapshot"}));
  EXPECT_EQ(backup.status, 404);
  co_return Result<>();
}
TEST(Operations, TellHowTheStoreIs) { test_service(false, stats); }

Task<Result<>> snapshot(StoreTest&, http::Caller& caller, std::string folder) {
  CO_TRY_ASSIGN(auto call, co_await http::open_grpc(caller, "/monopod.Store/Snapshot"));
  CO_TRY(co_await call->write(""));
  CO_TRY(co_await call->finish_writing());
  std::string bytes;
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await call->read());
    if (!message) break;
    ProtoReader reader(*message);
    CO_TRY_ASSIGN(bool more, reader.next());
    CO_ASSERT_TRUE(more && reader.field() == 1);
    bytes += reader.bytes();
  }
  std::string path = folder + "/received";
  std::ofstream(path, std::ios::binary) << bytes;
  CO_TRY_ASSIGN(backup::Info info, backup::decode(path, nullptr));
  EXPECT_EQ(info.head.revision, 2);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) EXPECT_FALSE(entry.path().filename().string().starts_with("backup-copy")) << entry.path();
  co_return Result<>();
}
TEST(Operations, SendABackupAndLeaveNoCopy) { test_service(false, snapshot); }

}  // namespace
}  // namespace monopod::etcd
