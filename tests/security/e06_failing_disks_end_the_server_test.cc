// E6: a full disk, an fsync that fails, a lock held by another program, a log that a reader keeps from starting over; the server as a process.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "store/statement.h"
#include "store/test_support.h"
#include "tests/robustness/store/history/wire_backend.h"
#include "tests/robustness/store/server_process.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;
using std::chrono::milliseconds;

struct Remote {
  ServerProcess& server;
  WireBackend& store;
  async::Time& time;
};
using Body = Task<Result<>> (*)(Remote& remote);

Task<Result<>> until_up(Remote& remote) {
  for (int i = 0; i < 5000; ++i) {
    if (co_await remote.store.hash()) co_return Result<>();
    if (!remote.server.running()) break;
    CO_TRY(co_await remote.time.sleep_for(milliseconds(2)));
  }
  co_return fail(Code::kUnavailable, remote.server.output());
}

Task<Result<>> with_client(ServerProcess& server, Body body) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  async::Scope background(executor), requests(executor);
  Result<> result;
  {
    http::Client client(background, executor, time, {.endpoint = server.endpoint(), .http2_prior_knowledge = true});
    WireBackend store(client, requests);
    Remote remote{server, store, time};
    result = co_await until_up(remote);
    if (result) result = co_await body(remote);
    requests.cancel();
    (void)co_await requests.join();
  }
  background.cancel();
  (void)co_await background.join();
  co_return result;
}

void run(ServerProcess& server, Body body) {
  async::Loop loop;
  Result<> done = loop.run(with_client(server, body));
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

// What does not compress.
std::string noise(std::size_t bytes, std::uint64_t seed) {
  SeededRng rng(seed);
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    std::uint64_t word = rng.next();
    std::memcpy(&text[i], &word, sizeof word);
  }
  return text;
}

// What the user is told: the last line, from the program itself.
std::string last_line(const std::string& output) {
  std::vector<std::string_view> lines = split(trim(output), '\n');
  return std::string(lines.back());
}

Task<Result<>> put_until_refused(Remote& remote) {
  for (int i = 0; i < 100; ++i) {
    auto put = co_await remote.store.put(cat("k", i), share("v"));
    if (put) continue;
    EXPECT_EQ(put.error().code(), Code::kUnavailable) << put.error().message();
    co_return Result<>();
  }
  co_return fail(Code::kInternal, "every write went through");
}

TEST(FailingDisk, EndsTheServerWithOneLineAndNothingIsTriedAgain) {
  TempDir dir;
  {
    // Every fsync after the failed one would succeed: to try again would be to believe it.
    ServerProcess server(dir.file("data"), {}, {"MONOPOD_FAILPOINTS=store.after_commit=1*error"});
    run(server, put_until_refused);
    int status = server.wait();
    EXPECT_NE(status, 0);
    EXPECT_LT(status, 128) << "ended by a signal";
    EXPECT_TRUE(last_line(server.output()).starts_with("monopod: the store failed and takes no more writes until it is opened again: ")) << server.output();
  }
  ServerProcess again(dir.file("data"));
  run(again, [](Remote& remote) -> Task<Result<>> {
    CO_TRY(co_await remote.store.put("after", share("works")));
    co_return Result<>();
  });
  again.kill(SIGTERM);
  EXPECT_EQ(again.wait(), 0) << again.output();
}

Task<Result<>> fill_the_disk(Remote& remote) {
  int written = 0;
  Result<Revision> put;
  for (; written < 100; ++written) {
    put = co_await remote.store.put(cat("big", written), share(noise(200'000, static_cast<std::uint64_t>(written))));
    if (!put) break;
  }
  CO_ASSERT_TRUE(!put);
  EXPECT_EQ(put.error().code(), Code::kResourceExhausted) << put.error().message();
  EXPECT_EQ(put.error().message(), "etcdserver: mvcc: database space exceeded");
  CO_TRY_ASSIGN(auto first, co_await remote.store.get("big0"));
  EXPECT_TRUE(first) << "reads go on";
  std::string filler = cat("/proc/", remote.server.pid(), "/root", remote.server.endpoint().unix_path.substr(0, remote.server.endpoint().unix_path.rfind('/')), "/disk/filler");
  EXPECT_EQ(::unlink(filler.c_str()), 0) << filler;
  auto early = co_await remote.store.put("small", share("too early"));
  EXPECT_FALSE(early) << "the alarm stays until somebody clears it";
  CO_TRY(co_await remote.store.disarm());
  CO_TRY(co_await remote.store.put("small", share("works again")));
  EXPECT_GT(written, 0);
  co_return Result<>();
}

TEST(FailingDisk, ThatIsFullRefusesWritesUntilThereIsSpace) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small file system";
  TempDir dir;
  std::filesystem::create_directories(dir.file("data/disk"));
  // The file lives on 6 MiB in a mount namespace of the server's own; half is taken by a file that can go.
  ServerProcess server(dir.file("data"), {}, {}, cat("mount -t tmpfs -o size=6m tmpfs ", dir.file("data/disk"), " && head -c 3000000 /dev/zero > ", dir.file("data/disk/filler")),
                       dir.file("data/disk"));
  run(server, fill_the_disk);
  server.kill(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.output();
}

// --- other programs at the same file; the store in this process

struct Other {
  explicit Other(const std::string& path) { EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK); }
  ~Other() { sqlite3_close(db); }
  void run(const char* sql) const { EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db); }
  sqlite3* db = nullptr;
};

Task<Result<>> busy(StoreTest& t, const std::string& path) {
  CO_TRY(co_await t.store.put("a", share("1")));
  Other other(path);
  other.run("BEGIN IMMEDIATE");
  std::thread release([&other] {
    std::this_thread::sleep_for(milliseconds(200));
    other.run("ROLLBACK");
  });
  Result<Revision> put = co_await t.store.put("a", share("2"));
  release.join();
  CO_TRY(std::move(put));
  EXPECT_FALSE(t.store.failure());
  co_return Result<>();
}
struct Busy {
  std::string path;
  Task<Result<>> operator()(StoreTest& t) { return busy(t, path); }
};
TEST(OtherProgram, ThatHoldsTheLockForAMomentIsWaitedFor) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, Busy{dir.file()});
}

std::int64_t size_of(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 ? st.st_size : 0;
}

Task<Result<>> write_pages(StoreTest& t, int rounds) {
  for (int i = 0; i < rounds; ++i) CO_TRY(co_await t.store.put("k", share(noise(400'000, static_cast<std::uint64_t>(i)))));
  co_return Result<>();
}
Task<Result<>> starved(StoreTest& t, const std::string& path) {
  CO_TRY(co_await write_pages(t, 5));
  std::int64_t held = 0;
  {
    Other reader(path);
    reader.run("BEGIN; SELECT count(*) FROM log");
    CO_TRY(co_await write_pages(t, 60));  // 24 MB that no checkpoint may make room for
    held = size_of(path + "-wal");
    EXPECT_GT(held, 20'000'000) << "the reader held nothing up";
    reader.run("COMMIT");
  }
  CO_TRY(co_await write_pages(t, 60));
  EXPECT_LE(size_of(path + "-wal"), held + 10'000'000) << "the log starts over once the reader is gone";
  EXPECT_FALSE(t.store.failure());
  co_return Result<>();
}
struct Starved {
  std::string path;
  Task<Result<>> operator()(StoreTest& t) { return starved(t, path); }
};
TEST(OtherProgram, ThatReadsForLongLetsTheLogGrowAndNoLonger) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, Starved{dir.file()});
}

}  // namespace
}  // namespace monopod::testing
