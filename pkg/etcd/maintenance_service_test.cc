// Maintenance over gRPC, in process: fields and codes that etcdctl does not show.
#include "async/scope.h"
#include "etcd/snapshot/bolt_reader.h"
#include "etcd/methods.h"
#include "etcd/snapshot/snapshot_file.h"
#include "http/in_process.h"
#include "store/test_support.h"

namespace monopod::etcd {
namespace {

using async::Task;
using store::StoreTest;
using store::TempDir;
using store::test_store;

using Fields = std::map<std::uint32_t, std::vector<std::string>>;  // numbers as text

Fields fields_of(std::string_view message) {
  Fields fields;
  ProtoReader reader(message);
  for (;;) {
    Result<bool> more = reader.next();
    EXPECT_TRUE(more);
    if (!more || !*more) return fields;
    fields[reader.field()].push_back(reader.is_bytes() ? reader.text() : cat(reader.integer()));
  }
}
std::string one(Fields& fields, std::uint32_t field) { return fields.contains(field) ? fields[field].front() : ""; }

// A service over the store, and calls to it.
struct Served {
  explicit Served(StoreTest& t, std::string directory = "/tmp")
      : service(t.store, t.time, {.sqlite = &t.store, .quota_bytes = 5'000'000, .snapshot_dir = std::move(directory)}), scope(t.executor), client(scope, service) {}
  Task<Result<Fields>> call(std::string method, std::string message) {
    CO_TRY_ASSIGN(std::string answer, co_await http::call_grpc(client, "/etcdserverpb." + method, std::move(message)));
    co_return fields_of(answer);
  }
  Service service;
  async::Scope scope;
  http::InProcessClient client;
};

Task<Result<>> put_some(StoreTest& t) {
  for (int i = 0; i < 20; ++i) CO_TRY(co_await t.store.put(cat("k", i), share(std::string(50'000, static_cast<char>('a' + i)))));
  co_return Result<>();
}

Task<Result<>> status_and_alarms(StoreTest& t) {
  Served served(t);
  CO_TRY(co_await served.service.start());
  CO_TRY(co_await put_some(t));
  CO_TRY_ASSIGN(Fields status, co_await served.call("Maintenance/Status", ""));
  EXPECT_EQ(one(status, 3), cat(t.store.file_bytes()));
  EXPECT_EQ(one(status, 5), "21");
  EXPECT_EQ(one(status, 12), "5000000");
  EXPECT_FALSE(status.contains(8));
  EXPECT_LE(*parse_int<std::int64_t>(one(status, 9)), t.store.file_bytes());

  auto alarm = [&](int action, int type) { return served.call("Maintenance/Alarm", ProtoWriter().integer(1, action).unsigned_integer(2, kMemberId).integer(3, type).take()); };
  CO_TRY_ASSIGN(Fields raised, co_await alarm(1, 1));
  EXPECT_EQ(one(raised, 2), format_alarm({.type = AlarmType::kNoSpace}));
  CO_TRY_ASSIGN(Fields listed, co_await alarm(0, 0));
  EXPECT_EQ(listed[2].size(), 1U);
  CO_TRY_ASSIGN(Fields corrupt_only, co_await alarm(0, 2));
  EXPECT_FALSE(corrupt_only.contains(2));
  CO_TRY_ASSIGN(status, co_await served.call("Maintenance/Status", ""));
  EXPECT_EQ(one(status, 8), cat("memberID:", kMemberId, " alarm:NOSPACE "));
  auto put = co_await served.call("KV/Put", ProtoWriter().bytes(1, "k").bytes(2, "v").take());
  EXPECT_EQ(put.error().code(), Code::kResourceExhausted);
  CO_TRY_ASSIGN(Fields disarmed, co_await alarm(2, 1));
  EXPECT_TRUE(disarmed.contains(2));
  CO_TRY_ASSIGN(Fields again, co_await alarm(2, 1));
  EXPECT_FALSE(again.contains(2));
  CO_TRY(co_await served.call("KV/Put", ProtoWriter().bytes(1, "k").bytes(2, "v").take()));
  auto unknown = co_await alarm(1, 7);
  EXPECT_EQ(unknown.error().code(), Code::kInvalidArgument);
  co_return co_await served.scope.join();
}
TEST(Maintenance, StatusTellsSizesQuotaAndAlarms) { test_store({.path = ":memory:"}, status_and_alarms); }

Task<Result<>> hash_all(StoreTest& t, std::vector<std::string>& out) {
  Served served(t);
  CO_TRY_ASSIGN(Fields empty, co_await served.call("Maintenance/HashKV", ""));
  EXPECT_EQ(one(empty, 3), "-1") << "never compacted, as etcd says it";
  CO_TRY(co_await put_some(t));
  CO_TRY_ASSIGN(Fields hash, co_await served.call("Maintenance/Hash", ""));
  out.push_back(one(hash, 2));
  CO_TRY(co_await served.call("KV/Compact", ProtoWriter().integer(1, 9).boolean(2, true).take()));
  CO_TRY_ASSIGN(Fields kv, co_await served.call("Maintenance/HashKV", ProtoWriter().integer(1, 15).take()));
  out.push_back(one(kv, 2));
  EXPECT_EQ(one(kv, 3), "9");
  EXPECT_EQ(one(kv, 4), "15");
  auto compacted = co_await served.call("Maintenance/HashKV", ProtoWriter().integer(1, 9).take());
  EXPECT_EQ(compacted.error().code(), Code::kOutOfRange);
  co_return co_await served.scope.join();
}
TEST(Maintenance, HashesAreThoseOfTheContent) {
  std::vector<std::string> first, second;
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, [&](StoreTest& t) { return hash_all(t, first); });
  test_store({.path = ":memory:"}, [&](StoreTest& t) { return hash_all(t, second); });
  EXPECT_EQ(first, second);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_NE(first[0], "");
}

Task<Result<>> refuse(StoreTest& t) {
  Served served(t);
  auto refused = [&](std::string method, std::string message) -> Task<Result<Fields>> { return served.call(std::move(method), std::move(message)); };
  auto validate = co_await refused("Maintenance/Downgrade", ProtoWriter().bytes(2, "3.4").take());
  EXPECT_EQ(validate.error().message(), "etcdserver: invalid downgrade target version");
  auto cancel = co_await refused("Maintenance/Downgrade", ProtoWriter().integer(1, 2).take());
  EXPECT_EQ(cancel.error().message(), "etcdserver: no inflight downgrade job");
  auto away = co_await refused("Maintenance/MoveLeader", ProtoWriter().integer(1, 5).take());
  EXPECT_EQ(away.error().message(), "etcdserver: bad leader transferee");
  CO_TRY(co_await served.call("Maintenance/MoveLeader", ProtoWriter().unsigned_integer(1, kMemberId).take()));
  auto bad_url = co_await refused("Cluster/MemberAdd", ProtoWriter().bytes(1, "nonsense").take());
  EXPECT_EQ(bad_url.error().message(), "etcdserver: given member URLs are invalid");
  CO_TRY_ASSIGN(Fields list, co_await served.call("Cluster/MemberList", ""));
  EXPECT_EQ(list[2].size(), 1U);
  co_return co_await served.scope.join();
}
TEST(Maintenance, WhatOneMemberCannotDoHasEtcdsWords) { test_store({.path = ":memory:"}, refuse); }

Task<Result<>> stream_snapshot(StoreTest& t, std::string directory) {
  Served served(t, directory);
  CO_TRY(co_await put_some(t));
  CO_TRY_ASSIGN(auto call, co_await http::open_grpc(served.client, "/etcdserverpb.Maintenance/Snapshot"));
  CO_TRY(co_await call->write(""));
  CO_TRY(co_await call->finish_writing());
  std::string bytes, last;
  std::int64_t remaining = -1;
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await call->read());
    if (!message) break;
    Fields fields = fields_of(*message);
    bytes += last;
    last = one(fields, 3);
    std::int64_t told = parse_int<std::int64_t>(one(fields, 2)).value_or(0);
    if (remaining >= 0 && remaining > 0) EXPECT_EQ(told + static_cast<std::int64_t>(last.size()), remaining);
    remaining = told;
  }
  EXPECT_EQ(remaining, 0);
  EXPECT_EQ(last, pki::sha256(bytes)) << "the last message is the hash";
  EXPECT_EQ(bytes.size() % 4096, 0U);
  StringSource source(bytes);
  CO_TRY_ASSIGN(BoltReader reader, BoltReader::open(source));
  EXPECT_EQ(reader.buckets(), (std::vector<std::string>{"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta"}));
  int rows = 0;
  CO_TRY(reader.walk("key", [&rows](std::string_view, std::string_view) -> Result<> {
    ++rows;
    return {};
  }));
  EXPECT_EQ(rows, 20);
  {
    // A client that goes away in the middle.
    CO_TRY_ASSIGN(auto dropped, co_await http::open_grpc(served.client, "/etcdserverpb.Maintenance/Snapshot"));
    CO_TRY(co_await dropped->write(""));
    CO_TRY_ASSIGN(std::optional<std::string> first, co_await dropped->read());
    EXPECT_TRUE(first);
  }
  (void)co_await served.scope.join();
  for (const auto& entry : std::filesystem::directory_iterator(directory)) EXPECT_TRUE(entry.path().filename().string().starts_with("state.db")) << entry.path();
  co_return Result<>();
}
TEST(Maintenance, ASnapshotIsStreamedAndLeavesNothingBehind) {
  TempDir dir;
  test_store({.path = dir.file("data/state.db"), .durability = Durability::kOs}, [&](StoreTest& t) { return stream_snapshot(t, dir.file("data")); });
}

}  // namespace
}  // namespace monopod::etcd
