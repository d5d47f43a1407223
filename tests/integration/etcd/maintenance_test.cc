// Snapshots, hashes, alarms and defragmentation under Debian's etcdctl and beside Debian's etcd.
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>

#include "codec/json.h"
#include "etcd/messages.h"
#include "etcd/snapshot/snapshot.h"
#include "tests/integration/etcd/served_store.h"

namespace monopod::testing {
namespace {

using store::TempDir;

// Versions, deletes, a transaction of several changes, a value of several pages, a compaction; no leases, whose ids nobody can choose.
constexpr const char* kHistory =
    "for i in 1 2 3; do etcdctl put a $i; etcdctl put /x/$i \"\"; done\n"
    "etcdctl del /x/2; etcdctl put /x/2 again\n"
    "printf \"\\n\\nput t1 1\\nput t2 2\\ndel a\\n\\n\\n\" | etcdctl txn -i=false\n"
    "head -c 100000 /dev/zero | tr \"\\0\" v | etcdctl put big\n"
    "etcdctl compact 9\n"
    "etcdctl put a back; etcdctl del /x/ --prefix; etcdctl put t1 3\n";

constexpr const char* kReadAll = "etcdctl get \"\" --from-key -w json";

// kvs and revision of an answer; the ids of cluster and member differ.
std::string content_of(const std::string& answer) {
  Result<json::Value> value = json::parse(answer);
  EXPECT_TRUE(value && json::find(*value, {"kvs"})) << answer;
  if (!value) return "";
  json::Value* kvs = json::find(*value, {"kvs"});
  return cat("revision ", json::get_int(*value, {"header", "revision"}), " ", kvs ? json::format(*kvs) : "none");
}

// "hash compacted" of `endpoint hashkv -w json`.
std::string hash_of(const std::string& answer) {
  Result<json::Value> value = json::parse(answer);
  EXPECT_TRUE(value && value->is_array() && value->as_array().size() == 1) << answer;
  if (!value || !value->is_array() || value->as_array().empty()) return "";
  const json::Value& hash = value->as_array()[0];
  EXPECT_NE(json::get_int(hash, {"HashKV", "hash"}), 0) << answer;
  return cat(json::get_int(hash, {"HashKV", "hash"}), " ", json::get_int(hash, {"HashKV", "compact_revision"}));
}

std::string ok(const Output& out) {
  EXPECT_EQ(out.status, 0) << out.text;
  return out.text;
}

TEST(SnapshotTools, EtcdctlAndEtcdTakeOurSnapshot) {
  if (!have_etcd()) GTEST_SKIP() << "needs etcd, etcdctl (packages etcd-server, etcd-client) and network namespaces";
  TempDir dir;
  std::string ours, ours_old, our_hash, old_hash, status;
  with_served_store({.data_dir = dir.file("data")}, [&](std::uint16_t port) {
    ok(run_etcdctl(port, kHistory));
    ok(run_etcdctl(port, "L=$(etcdctl lease grant 3000 | cut -d\" \" -f2); etcdctl put leased v --lease=$L"));
    ours = content_of(ok(run_etcdctl(port, kReadAll)));
    ours_old = content_of(ok(run_etcdctl(port, "etcdctl get \"\" --from-key -w json --rev=10")));
    our_hash = hash_of(ok(run_etcdctl(port, "etcdctl endpoint hashkv -w json")));
    old_hash = hash_of(ok(run_etcdctl(port, "etcdctl endpoint hashkv -w json --rev=11")));
    ok(run_etcdctl(port, cat("etcdctl snapshot save ", dir.file("s.db"))));
    status = ok(run_etcdctl(port, cat("etcdctl snapshot status -w json ", dir.file("s.db"))));
  });
  for (const auto& entry : std::filesystem::directory_iterator(dir.file("data"))) {
    std::string name = entry.path().filename();
    EXPECT_TRUE(name.starts_with("state.db") || name == "store.sock") << entry.path();
  }

  auto info = etcd::snapshot_status(dir.file("s.db"));
  ASSERT_TRUE(info) << info.error().message();
  Result<json::Value> told = json::parse(status);
  ASSERT_TRUE(told) << status;
  EXPECT_EQ(json::get_int(*told, {"hash"}), static_cast<std::int64_t>(info->hash)) << status;
  EXPECT_EQ(json::get_int(*told, {"revision"}), info->revision.value);
  EXPECT_EQ(json::get_int(*told, {"totalKey"}), info->total_keys);
  EXPECT_EQ(json::get_int(*told, {"totalSize"}), info->bytes);

  ok(run_script(cat("ETCDCTL_API=3 etcdctl snapshot restore ", dir.file("s.db"), " --data-dir ", dir.file("etcd"))));
  Output etcd = run_etcd(dir.file("etcd"), cat(kReadAll, ">", dir.file("all"), "; etcdctl get \"\" --from-key -w json --rev=10 >", dir.file("old"),
                                               "; etcdctl endpoint hashkv -w json >", dir.file("hash"), "; etcdctl endpoint hashkv -w json --rev=11 >", dir.file("hash11"),
                                               "; etcdctl lease list | head -1; etcdctl put after 1 -w json"));
  EXPECT_TRUE(etcd.text.contains("found 1 leases")) << etcd.text;
  EXPECT_EQ(content_of(ok(run_script("cat " + dir.file("all")))), ours);
  EXPECT_EQ(content_of(ok(run_script("cat " + dir.file("old")))), ours_old);
  EXPECT_EQ(hash_of(ok(run_script("cat " + dir.file("hash")))), our_hash);
  EXPECT_EQ(hash_of(ok(run_script("cat " + dir.file("hash11")))), old_hash);
}

TEST(SnapshotTools, WeTakeEtcdsSnapshotAndHashAsItDoes) {
  if (!have_etcd()) GTEST_SKIP() << "needs etcd, etcdctl (packages etcd-server, etcd-client) and network namespaces";
  TempDir dir;
  const std::string read_both = cat("etcdctl endpoint hashkv -w json >", dir.file("hash"), "; ", kReadAll, ">", dir.file("all"));
  Output etcd = run_etcd(dir.file("etcd"), cat("etcdctl endpoint hashkv -w json >", dir.file("hash0"), "\n", kHistory, read_both,
                                               "; L=$(etcdctl lease grant 3000 | cut -d\" \" -f2); etcdctl put leased v --lease=$L; etcdctl snapshot save ", dir.file("s.db"),
                                               "; etcdctl endpoint hashkv -w json >", dir.file("hash2"), "; ", kReadAll, ">", dir.file("all2"),
                                               "; etcdctl user add root:pw && etcdctl role add reader && etcdctl auth enable && etcdctl --user root:pw snapshot save ", dir.file("auth.db")));
  ok(etcd);
  // The same commands make the same history.
  with_served_store({.data_dir = dir.file("same")}, [&](std::uint16_t port) {
    EXPECT_EQ(hash_of(ok(run_etcdctl(port, "etcdctl endpoint hashkv -w json"))), hash_of(ok(run_script("cat " + dir.file("hash0"))))) << "empty";
    ok(run_etcdctl(port, kHistory));
    EXPECT_EQ(content_of(ok(run_etcdctl(port, kReadAll))), content_of(ok(run_script("cat " + dir.file("all")))));
    EXPECT_EQ(hash_of(ok(run_etcdctl(port, "etcdctl endpoint hashkv -w json"))), hash_of(ok(run_script("cat " + dir.file("hash")))));
  });
  auto restored = etcd::restore_snapshot({.snapshot = dir.file("s.db"), .store = dir.file("restored/state.db")});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(restored->leases, 1);
  EXPECT_EQ(restored->compacted.value, 9);
  with_served_store({.data_dir = dir.file("restored")}, [&](std::uint16_t port) {
    EXPECT_EQ(content_of(ok(run_etcdctl(port, kReadAll))), content_of(ok(run_script("cat " + dir.file("all2")))));
    EXPECT_EQ(hash_of(ok(run_etcdctl(port, "etcdctl endpoint hashkv -w json"))), hash_of(ok(run_script("cat " + dir.file("hash2")))));
    EXPECT_TRUE(ok(run_etcdctl(port, "etcdctl lease list")).contains("found 1 leases"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl get a --rev=8").text.contains("required revision has been compacted"));
  });
  // Whose passwords only etcd can check.
  etcd::RestoreSnapshotOptions guarded{.snapshot = dir.file("auth.db"), .store = dir.file("open.db")};
  EXPECT_EQ(etcd::restore_snapshot(guarded).error().code(), Code::kFailedPrecondition);
  guarded.drop_auth = true;
  auto open = etcd::restore_snapshot(guarded);
  ASSERT_TRUE(open) << open.error().message();
  EXPECT_TRUE(open->auth_enabled);
  EXPECT_EQ(open->records, restored->records);
  // What a stopped etcd leaves is a snapshot without a hash.
  auto file = etcd::restore_snapshot({.snapshot = dir.file("etcd/member/snap/db"), .store = dir.file("copied.db"), .drop_auth = true, .skip_hash_check = true});
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->revision, restored->revision);
}

// Rows 2 to 1 + count, 1 KiB each, of as many keys.
void build_store(const std::string& path, int count) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  auto builder = store::StoreBuilder::create(path);
  ASSERT_TRUE(builder) << builder.error().message();
  for (int i = 0; i < count; ++i) {
    std::string key = cat("k", 1'000'000 + i), value(1024, 'v');
    ASSERT_TRUE((*builder)->add({.revision = i + 2, .create = i + 2, .version = 1, .key = key, .value = value}));
  }
  Result<> done = (*builder)->finish({.current = store::Revision(count + 1)}, {});
  ASSERT_TRUE(done) << done.error().message();
}

TEST(SnapshotTools, ASnapshotIsOneMomentWhileWritesGoOn) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  constexpr int kRows = 3'000;
  build_store(dir.file("data/state.db"), kRows);
  with_served_store({.data_dir = dir.file("data")}, [&](std::uint16_t port) {
    ok(run_etcdctl(port, cat("(for i in $(seq 200); do etcdctl put w $i || exit 1; [ -e ", dir.file("stop"), " ] && break; done) >/dev/null & sleep 0.2; etcdctl snapshot save ",
                             dir.file("s.db"), "; touch ", dir.file("stop"), "; wait")));
    ok(run_etcdctl(port, cat("etcdctl snapshot status ", dir.file("s.db"))));  // etcd's own check of every page
  });
  auto restored = etcd::restore_snapshot({.snapshot = dir.file("s.db"), .store = dir.file("restored.db")});
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_GT(restored->revision.value, kRows + 1) << "writes went on before";
  EXPECT_EQ(restored->records, restored->revision.value - 1) << "every revision up to the newest, none beyond";
  auto dump = store::Dump::open(dir.file("data/state.db"));
  ASSERT_TRUE(dump);
  EXPECT_GT((*dump)->head().current, restored->revision) << "and after";
}

TEST(Alarms, AFullQuotaStopsPutsUntilItIsDisarmed) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  etcd::ServeOptions options{.data_dir = dir.file("data"), .quota_backend_bytes = 400'000};
  with_served_store(options, [&](std::uint16_t port) {
    Output full = run_etcdctl(port, "for i in 1 2 3 4 5 6 7; do head -c 100000 /dev/urandom | etcdctl put k$i || exit 1; done");
    EXPECT_TRUE(full.text.contains("etcdserver: mvcc: database space exceeded")) << full.text;
    EXPECT_TRUE(full.text.starts_with("OK\nOK\nOK\n")) << full.text;
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl alarm list")), cat("memberID:", etcd::kMemberId, " alarm:NOSPACE \n"));
    EXPECT_TRUE(ok(run_etcdctl(port, "etcdctl endpoint status -w json")).contains("NOSPACE"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl put small 1").text.contains("database space exceeded"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl lease grant 100").text.contains("database space exceeded"));
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl get k1 --keys-only")), "k1\n\n");
  });
  with_served_store(options, [&](std::uint16_t port) {
    EXPECT_TRUE(run_etcdctl(port, "etcdctl put small 1").text.contains("database space exceeded")) << "the alarm survives a restart";
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl del k --prefix")), "3\n");
    ok(run_etcdctl(port, "etcdctl compact --physical 5"));
    ok(run_etcdctl(port, "etcdctl defrag"));
    EXPECT_LT(std::filesystem::file_size(dir.file("data/state.db")), 100'000U);
    EXPECT_TRUE(run_etcdctl(port, "etcdctl put small 1").text.contains("database space exceeded")) << "until it is disarmed";
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl alarm disarm")), cat("memberID:", etcd::kMemberId, " alarm:NOSPACE \n"));
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl put small 1; etcdctl alarm list")), "OK\n");
  });
}

// A mount namespace of this process' own, for a small disk.
bool make_small_disk(const std::string& path) {
  if (::unshare(CLONE_NEWNS) < 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return false;
  std::filesystem::create_directories(path);
  return ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m,mode=0700") == 0;
}

TEST(Alarms, AFullDiskStopsPutsUntilThereIsSpaceAndItIsDisarmed) {
  TempDir dir;
  if (!have_etcdctl() || !make_small_disk(dir.file("data"))) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client) and the right to mount";
  with_served_store({.data_dir = dir.file("data")}, [&](std::uint16_t port) {
    Output full = run_etcdctl(port, "for i in $(seq 20); do head -c 100000 /dev/urandom | etcdctl put k$i || exit 1; done");
    EXPECT_TRUE(full.text.contains("etcdserver: mvcc: database space exceeded")) << full.text;
    EXPECT_TRUE(ok(run_etcdctl(port, "etcdctl alarm list")).contains("NOSPACE"));
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl get k1 --keys-only")), "k1\n\n");
    Output still = run_etcdctl(port, "etcdctl put small 1");
    EXPECT_TRUE(still.text.contains("database space exceeded")) << still.text;
    EXPECT_EQ(::mount(nullptr, dir.file("data").c_str(), nullptr, MS_REMOUNT, "size=8m"), 0);
    EXPECT_TRUE(ok(run_etcdctl(port, "etcdctl alarm disarm")).contains("NOSPACE"));
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl put small 1; etcdctl alarm list")), "OK\n");
  });
  EXPECT_EQ(::umount2(dir.file("data").c_str(), MNT_DETACH), 0);
}

void run_sql(const std::string& path, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

TEST(Alarms, ADamagedRowIsFoundByTheHashAndStopsUse) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  build_store(dir.file("data/state.db"), 10);
  run_sql(dir.file("data/state.db"), "UPDATE log SET value = x'00' WHERE id = (SELECT max(id) FROM log)");
  with_served_store({.data_dir = dir.file("data")}, [&](std::uint16_t port) {
    ok(run_etcdctl(port, "etcdctl get k1000000 --keys-only"));
    EXPECT_TRUE(run_etcdctl(port, cat("etcdctl snapshot save ", dir.file("s.db"))).text.contains("checksum does not match"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl endpoint hashkv").text.contains("checksum does not match"));
    EXPECT_EQ(ok(run_etcdctl(port, "etcdctl alarm list")), cat("memberID:", etcd::kMemberId, " alarm:CORRUPT \n"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl get k1000000").text.contains("etcdserver: corrupt cluster"));
    EXPECT_TRUE(run_etcdctl(port, "etcdctl put a 1").text.contains("etcdserver: corrupt cluster"));
  });
}

TEST(Cluster, RefusesWhatOneMemberCannotDo) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  with_served_store({.data_dir = dir.file("data")}, [&](std::uint16_t port) {
    auto refused = [port](const std::string& line, std::string_view why) {
      Output out = run_etcdctl(port, line);
      EXPECT_NE(out.status, 0) << line;
      EXPECT_TRUE(out.text.contains(why)) << line << "\n" << out.text;
    };
    refused("etcdctl member add m2 --peer-urls=http://127.0.0.1:2", "not enough started members");
    refused("etcdctl member add m2 --learner --peer-urls=http://127.0.0.1:2", "too many learner members in cluster");
    refused(cat("etcdctl member add m2 --peer-urls=http://127.0.0.1:", port), "Peer URLs already exists");
    refused("etcdctl member remove 1234", "etcdserver: member not found");
    refused("etcdctl member remove 6d6f6e6f706f6432", "not enough started members");
    refused("etcdctl member update 1234 --peer-urls=http://127.0.0.1:2", "etcdserver: member not found");
    refused("etcdctl member promote 6d6f6e6f706f6432", "can only promote a learner member");
    refused("etcdctl move-leader 1234", "bad leader transferee");
    ok(run_etcdctl(port, "etcdctl member list"));
  });
}

}  // namespace
}  // namespace monopod::testing
