// Snapshots of files: what goes in comes out, and nothing half-made stays. Real etcd's tools have their say in tests/integration/etcd.
#include "etcd/snapshot/snapshot.h"

#include <fcntl.h>

#include <fstream>

#include "etcd/snapshot/backend_image.h"
#include "etcd/snapshot/hash.h"
#include "store/offline.h"
#include "store/test_support.h"
#include "sys/fd.h"

namespace monopod::etcd {
namespace {

using async::Task;
using store::StoreTest;
using store::TempDir;

std::string text_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}
void write_file(const std::string& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }

Txn put_all(std::vector<std::pair<std::string, std::string>> pairs) {
  Txn txn;
  for (auto& [key, value] : pairs) txn.success.push_back(PutRequest{.key = key, .value = share(value)});
  return txn;
}

// History with everything in it: versions, tombstones, several changes in a revision, leases, a compaction.
Task<Result<>> fill(StoreTest& t) {
  CO_TRY_ASSIGN(Lease lease, co_await t.store.lease_grant(std::chrono::seconds(3600), LeaseId(77)));
  CO_TRY(co_await t.store.put("a", share("1")));                                              // 2
  CO_TRY(co_await t.store.put("b", share(""), lease.id));                                     // 3
  CO_TRY(co_await t.store.txn(put_all({{"a", "2"}, {"c", std::string(20'000, 'c')}, {"d", "4"}})));  // 4
  CO_TRY(co_await t.store.remove("d", Revision(4)));                                          // 5
  CO_TRY(co_await t.store.put("a", share("3")));                                              // 6
  CO_TRY(co_await t.store.compact(Revision(5)));
  CO_TRY(co_await t.store.put("d", share("again")));                                          // 7
  CO_TRY(co_await t.store.remove("a", Revision(6)));                                          // 8
  co_return co_await t.store.finish_compaction();
}

std::string describe(const std::string& path) {
  auto dump = store::Dump::open(path);
  if (!dump) return dump.error().message();
  const store::DumpHead& head = (*dump)->head();
  std::string text = cat("current ", head.current.value, " compacted ", head.compacted.value);
  for (const store::DumpLease& lease : head.leases) text += cat(" lease ", lease.id.value, "/", lease.ttl.count());
  for (;;) {
    Result<bool> more = (*dump)->read([&text](const store::DumpRow& row) -> Result<> {
      text += cat("\n", row.revision, ".", row.sub, " ", row.key, " ", row.create, " ", row.version, " ", row.lease, " ", row.value.size() < 100 ? row.value : "long");
      return {};
    });
    if (!more) return more.error().message();
    if (!*more) return text;
  }
}

constexpr const char* kFilled =
    "current 8 compacted 5 lease 77/3600\n"
    "3.0 b 3 1 77 \n4.0 a 2 2 0 2\n4.1 c 4 1 0 long\n5.0 d 0 0 0 \n6.0 a 2 3 0 3\n7.0 d 7 1 0 again\n8.0 a 0 0 0 ";

TEST(Snapshot, RestoresTheSameHistory) {
  TempDir dir;
  store::test_store({.path = dir.file()}, fill);
  EXPECT_EQ(describe(dir.file()), kFilled);
  auto saved = save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")});
  ASSERT_TRUE(saved) << saved.error().message();
  EXPECT_EQ(saved->revision.value, 8);
  EXPECT_EQ(saved->compacted.value, 5);
  EXPECT_EQ(saved->records, 7);
  EXPECT_EQ(saved->leases, 1);
  auto status = snapshot_status(dir.file("backup.db"));
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(status->hash, saved->hash);
  EXPECT_EQ(status->total_keys, saved->total_keys);
  EXPECT_EQ(status->revision, saved->revision);
  EXPECT_TRUE(status->has_sha256);
  auto restored = restore_snapshot({.snapshot = dir.file("backup.db"), .store = dir.file("restored.db")});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(restored->hash, saved->hash);
  EXPECT_EQ(describe(dir.file("restored.db")), kFilled);
  auto findings = store::fsck(dir.file("restored.db"));
  ASSERT_TRUE(findings) << findings.error().message();
  EXPECT_TRUE(findings->findings.empty());
  for (const char* left : {"restored.db.new", "restored.db.new.lock", "backup.db.part", "restored.db-wal"}) EXPECT_FALSE(std::filesystem::exists(dir.file(left))) << left;
}

TEST(Snapshot, OfAnEmptyStoreIsAWholeSnapshot) {
  TempDir dir;
  store::test_store({.path = dir.file()}, [](StoreTest&) -> Task<Result<>> { co_return Result<>(); });
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}));
  auto restored = restore_snapshot({.snapshot = dir.file("backup.db"), .store = dir.file("restored.db")});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(describe(dir.file("restored.db")), "current 1 compacted 0");
}

TEST(Snapshot, KeepsARevisionOfWhichNoKeyIsLeft) {
  TempDir dir;
  {
    auto builder = store::StoreBuilder::create(dir.file());
    ASSERT_TRUE(builder);
    ASSERT_TRUE((*builder)->finish({.current = Revision(900), .compacted = Revision(40)}, {}));
  }
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}));
  ASSERT_TRUE(restore_snapshot({.snapshot = dir.file("backup.db"), .store = dir.file("restored.db")}));
  EXPECT_EQ(describe(dir.file("restored.db")), "current 900 compacted 40");
}

TEST(Snapshot, RefusesWhatIsDamagedAndLeavesNothingBehind) {
  TempDir dir;
  store::test_store({.path = dir.file()}, fill);
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}));
  std::string whole = text_of_file(dir.file("backup.db"));
  struct Case {
    const char* name;
    std::string bytes;
    bool skip_hash_check;
    Code code;
  };
  std::string flipped = whole, without_hash = whole.substr(0, whole.size() - 32), broken_page = without_hash;
  flipped[5 * 4096] ^= 1;
  broken_page[3 * 4096] ^= 1;  // its number
  for (const Case& c : {Case{"flipped", flipped, false, Code::kDataLoss}, Case{"flipped, check skipped", flipped, true, Code::kDataLoss},
                        Case{"truncated", whole.substr(0, whole.size() - 4096), true, Code::kDataLoss},
                        Case{"no hash", without_hash, false, Code::kFailedPrecondition}, Case{"broken page", broken_page, true, Code::kDataLoss},
                        Case{"sqlite", text_of_file(dir.file()), true, Code::kFailedPrecondition}, Case{"empty", "", true, Code::kFailedPrecondition}}) {
    write_file(dir.file("bad.db"), c.bytes);
    auto restored = restore_snapshot({.snapshot = dir.file("bad.db"), .store = dir.file("restored.db"), .skip_hash_check = c.skip_hash_check});
    ASSERT_FALSE(restored) << c.name;
    EXPECT_EQ(restored.error().code(), c.code) << c.name << ": " << restored.error().message();
    EXPECT_FALSE(std::filesystem::exists(dir.file("restored.db"))) << c.name;
    EXPECT_FALSE(std::filesystem::exists(dir.file("restored.db.new"))) << c.name;
  }
  write_file(dir.file("bad.db"), without_hash);
  EXPECT_TRUE(restore_snapshot({.snapshot = dir.file("bad.db"), .store = dir.file("restored.db"), .skip_hash_check = true}));
}

std::string format_user(std::string_view name, std::string_view password) { return ProtoWriter().bytes(1, name).bytes(2, password).bytes(3, "root").take(); }

TEST(Snapshot, OfEtcdWithPasswordsIsRefusedUnlessTheyMayGo) {
  TempDir dir;
  {
    sys::Fd fd(::open(dir.file("db").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    BoltWriter writer(fd.get());
    auto [key, value] = format_row({.revision = 2, .create = 2, .version = 1, .key = "k", .value = "v"});
    const std::string user = format_user("root", "$2a$10$bcrypt");
    for (const auto& [bucket, k, v] : {std::tuple<std::string, std::string, std::string>{"auth", "authEnabled", "\x01"}, {"authUsers", "root", user}, {"key", key, value},
                                       {"meta", "term", "12345678"}}) {
      ASSERT_TRUE(writer.begin_bucket(bucket));
      ASSERT_TRUE(writer.add(k, v));
      ASSERT_TRUE(writer.end_bucket());
    }
    ASSERT_TRUE(writer.finish());
  }
  auto refused = restore_snapshot({.snapshot = dir.file("db"), .store = dir.file("restored.db"), .skip_hash_check = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition) << refused.error().message();
  auto restored = restore_snapshot({.snapshot = dir.file("db"), .store = dir.file("restored.db"), .drop_auth = true, .skip_hash_check = true});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_TRUE(restored->auth_enabled);
  auto dump = store::Dump::open(dir.file("restored.db"));
  ASSERT_TRUE(dump);
  EXPECT_TRUE((*dump)->state(kAuthBucket)->empty());
}

TEST(Snapshot, CarriesUsersRolesAndAlarms) {
  TempDir dir;
  const std::string config = ProtoWriter().boolean(1, true).integer(2, 7).take(), user = format_user("root", "$scrypt$ln=14"), role = ProtoWriter().bytes(1, "reader").take();
  const std::vector<Pair> auth{{"config", config}, {"role/reader", role}, {"user/root", user}};
  const std::string alarms = format_stored_alarms(std::vector<Alarm>{{.type = AlarmType::kNoSpace}});
  {
    auto builder = store::StoreBuilder::create(dir.file());
    ASSERT_TRUE(builder);
    for (const auto& [key, value] : auth) ASSERT_TRUE((*builder)->put_state(kAuthBucket, key, value));
    ASSERT_TRUE((*builder)->put_state(kAlarmBucket, kAlarmKey, alarms));
    ASSERT_TRUE((*builder)->put_state("image", "x", "the node's own"));
    ASSERT_TRUE((*builder)->finish({}, {}));
  }
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}));
  auto restored = restore_snapshot({.snapshot = dir.file("backup.db"), .store = dir.file("restored.db")});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_TRUE(restored->auth_enabled);
  auto dump = store::Dump::open(dir.file("restored.db"));
  ASSERT_TRUE(dump);
  EXPECT_EQ(*(*dump)->state(kAuthBucket), auth);
  EXPECT_EQ(*(*dump)->state(kAlarmBucket), (std::vector<Pair>{{kAlarmKey, alarms}}));
  EXPECT_TRUE((*dump)->state("image")->empty());
}

TEST(Snapshot, OverwritesNothingAndNamesWhatIsMissing) {
  TempDir dir;
  store::test_store({.path = dir.file()}, fill);
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}));
  EXPECT_EQ(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db")}).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(restore_snapshot({.snapshot = dir.file("backup.db"), .store = dir.file()}).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(save_snapshot({.store = dir.file("none"), .snapshot = dir.file("x")}).error().code(), Code::kNotFound);
  EXPECT_EQ(restore_snapshot({.snapshot = dir.file("none"), .store = dir.file("x")}).error().code(), Code::kNotFound);
  EXPECT_EQ(snapshot_status(dir.file("none")).error().code(), Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(dir.file("none")));
}

TEST(Snapshot, CanBeStoppedByItsProgress) {
  TempDir dir;
  store::test_store({.path = dir.file()}, fill);
  auto stop = [](SnapshotProgress) -> Result<> { return fail(Code::kCancelled, "stopped"); };
  EXPECT_EQ(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db"), .on_progress = stop}).error().code(), Code::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(dir.file("backup.db")));
  EXPECT_FALSE(std::filesystem::exists(dir.file("backup.db.part")));
  std::int64_t last = 0;
  auto watch = [&last](SnapshotProgress progress) -> Result<> {
    EXPECT_LE(progress.done, progress.total);
    last = progress.done;
    return {};
  };
  ASSERT_TRUE(save_snapshot({.store = dir.file(), .snapshot = dir.file("backup.db"), .on_progress = watch}));
  EXPECT_EQ(last, 8);
}

TEST(Snapshot, RefusesRecordsThatAreNotEtcds) {
  auto [key, value] = format_row({.revision = 5, .sub = 1, .create = 3, .version = 2, .lease = 9, .key = "k", .value = "v"});
  EXPECT_EQ(format_hex(as_bytes(key)), "00000000000000055f0000000000000001");
  EXPECT_EQ(format_hex(as_bytes(value)), "0a016b1003180520022a01763009");
  auto row = parse_row(key, value);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->lease, 9);
  EXPECT_FALSE(parse_row(key + "t", value)) << "a tombstone with a version";
  EXPECT_FALSE(parse_row(key + "x", value));
  EXPECT_FALSE(parse_row(key.substr(1), value));
  EXPECT_FALSE(parse_row(key, value + "\x38\x01")) << "an unknown field";
  EXPECT_FALSE(parse_row(key, value.substr(0, 5)));
  auto [dead_key, dead_value] = format_row({.revision = 6, .sub = 0, .key = "k"});
  EXPECT_EQ(dead_key.back(), 't');
  EXPECT_EQ(dead_value, "\x0a\x01k");
  ASSERT_TRUE(parse_row(dead_key, dead_value));
}

// --- hashes of a running store

Task<Result<std::vector<std::uint32_t>>> hashes(StoreTest& t, std::vector<std::int64_t> revisions) {
  async::Pool pool(1);
  std::vector<std::uint32_t> out;
  for (std::int64_t revision : revisions) {
    CO_TRY_ASSIGN(KvHash hash, co_await hash_kv(t.store, pool, Revision(revision)));
    out.push_back(hash.hash);
  }
  co_return out;
}

Task<Result<>> hash_history(StoreTest& t, std::vector<std::uint32_t>& out, bool differ) {
  CO_TRY(co_await fill(t));
  if (differ) CO_TRY(co_await t.store.put("z", share("z")));
  CO_TRY_ASSIGN(out, co_await hashes(t, {6, 7, 8, 0}));
  co_return Result<>();
}

TEST(HashKv, IsTheSameForTheSameHistory) {
  std::vector<std::uint32_t> first, second, other;
  auto run = [](std::vector<std::uint32_t>& out, bool differ) {
    TempDir dir;
    store::test_store({.path = dir.file()}, [&](StoreTest& t) { return hash_history(t, out, differ); });
  };
  run(first, false);
  run(second, false);
  run(other, true);
  EXPECT_EQ(first, second);
  ASSERT_EQ(first.size(), 4U);
  EXPECT_EQ(first[2], first[3]) << "0 is the newest";
  EXPECT_NE(first[0], first[1]);
  EXPECT_EQ(std::vector(first.begin(), first.begin() + 3), std::vector(other.begin(), other.begin() + 3)) << "later changes do not count";
  EXPECT_NE(first[3], other[3]);
}

Task<Result<>> refuse_revisions(StoreTest& t) {
  CO_TRY(co_await fill(t));
  auto compacted = co_await hashes(t, {5});
  CO_ASSERT_TRUE(!compacted);
  EXPECT_EQ(compacted.error().message(), "etcdserver: mvcc: required revision has been compacted");
  auto future = co_await hashes(t, {9});
  CO_ASSERT_TRUE(!future);
  EXPECT_EQ(future.error().message(), "etcdserver: mvcc: required revision is a future revision");
  CO_TRY(co_await t.store.compact(Revision(8)));
  auto newest = co_await hashes(t, {0});
  EXPECT_TRUE(newest);
  co_return Result<>();
}
TEST(HashKv, RefusesCompactedAndFutureRevisions) {
  TempDir dir;
  store::test_store({.path = dir.file()}, refuse_revisions);
}

}  // namespace
}  // namespace monopod::etcd
