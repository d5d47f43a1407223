// Every failpoint of the store: start, traffic that passes all of them, trip, restart, check. Once the process ends there, once the step fails.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "base/failpoint.h"
#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr int kRounds = 44;
constexpr std::size_t kValueBytes = 150'000;  // enough for checkpoints and for free pages to be given back

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

Task<> turns(async::Executor executor, int count) {
  for (int i = 0; i < count; ++i) co_await async::asio::post(executor, async::use_task);
}

Task<Result<>> lease_that_ends(StoreTest& t) {
  CO_TRY(co_await t.store.lease_grant(std::chrono::seconds(1), LeaseId(7)));
  CO_TRY(co_await t.store.put("leased", share("x"), LeaseId(7)));
  for (int i = 0; i < 2000; ++i) {
    t.time.advance(std::chrono::seconds(2));
    co_await turns(t.executor, 5);
    CO_TRY_ASSIGN(auto left, co_await t.store.get("leased"));
    if (!left) co_return Result<>();
  }
  co_return fail(Code::kInternal, "the lease does not end");
}

// Tells each acknowledged number through a pipe. Errors are part of it: what the store still takes goes on.
struct Traffic {
  int pipe;
  std::string snapshot;
  Task<Result<>> operator()(StoreTest& t) { return run(t, pipe, snapshot); }
  static Task<Result<>> run(StoreTest& t, int pipe, const std::string& snapshot) {
    for (int number = 1000; number < 1000 + kRounds; ++number) {
      std::string value = cat(number, ":", noise(kValueBytes, static_cast<std::uint64_t>(number)));
      Txn txn;
      txn.success = {PutRequest{.key = "k0", .value = share(value)}, PutRequest{.key = "k0/partner", .value = share(value)}};
      if (co_await t.store.txn(std::move(txn)) && ::write(pipe, &number, sizeof number) != sizeof number) ::_exit(1);
      t.time.advance(std::chrono::milliseconds(20));
      if (number % 4 == 0) (void)co_await t.store.compact(Revision(t.store.current_revision().value - 1));
      if (number % 20 == 10) (void)co_await lease_that_ends(t);
      if (number % 20 == 15) {
        (void)co_await t.store.snapshot(snapshot);
        ::unlink(snapshot.c_str());
      }
      co_await turns(t.executor, 20);
    }
    // All history at once: a quarter of the file is free then, and goes back.
    if (co_await t.store.compact(t.store.current_revision())) (void)co_await t.store.finish_compaction();
    co_return Result<>();
  }
};

struct Clients {
  Journal& journal;
  Task<Result<>> operator()(StoreTest& test) { return run_clients(test, journal, 1, 2, 20); }
};
struct Checker {
  Journal& journal;
  Task<Result<>> operator()(StoreTest& test) { return check_store(test, journal); }
};

SqliteOptions at(const TempDir& dir) { return {.path = dir.file(), .durability = Durability::kBatch, .compaction = {.interval = std::chrono::seconds(0)}}; }

// Exit status of a process that works with the failpoint armed; acknowledged writes go into the journal.
int work_with(const TempDir& dir, const std::string& failpoints, Journal& journal) {
  int fds[2];
  if (::pipe(fds) != 0) return -1;
  pid_t child = ::fork();
  if (child == 0) {
    ::close(fds[0]);
    (void)arm_failpoints(failpoints);
    (void)run_store(at(dir), Traffic{fds[1], dir.file("snapshot")});
    ::_exit(3);
  }
  ::close(fds[1]);
  Journal::Key& key = journal.keys["k0"];
  for (int number; ::read(fds[0], &number, sizeof number) == sizeof number;) key.acknowledged = number;
  key.attempted = 1000 + kRounds;
  ::close(fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Failpoints, EachCanEndTheProcessOrFailAndNothingAcknowledgedIsLost) {
  for (std::string_view name : failpoint_names()) {
    if (!name.starts_with("store.") || name == "store.before_migrate") continue;  // needs an older file: pkg/store/migrate_test.cc
    for (std::string_view action : {"1*crash", "1*error"}) {
      SCOPED_TRACE(cat(name, "=", action));
      TempDir dir;
      Journal journal;
      if (!name.ends_with("_create")) {
        Result<> filled = run_store(at(dir), Clients{journal});
        ASSERT_TRUE(filled) << filled.error().message();
      }
      int status = work_with(dir, cat(name, "=", action), journal);
      EXPECT_EQ(status, action == "1*crash" ? 98 : 3) << "never reached";
      Result<> checked = run_store(at(dir), Checker{journal});
      EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
    }
  }
}

}  // namespace
}  // namespace monopod::testing
