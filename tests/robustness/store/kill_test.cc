// kill -9 of a writing process, again and again on one file.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

// The child tells each acknowledged number through a pipe: 8 bytes, key and number.
struct Writer {
  int pipe;
  int start;
  async::Task<Result<>> operator()(StoreTest& test) { return run(test, pipe, start); }
  static Task<Result<>> run(StoreTest& test, int pipe, int start) {
    async::Scope scope(test.executor);
    for (int client = 0; client < 4; ++client) scope.spawn(write_for_ever(test, pipe, client, start));
    co_return co_await scope.join();
  }
  static Task<Result<>> write_for_ever(StoreTest& test, int pipe, int client, int start) {
    for (int number = start;; ++number) {
      std::string key = cat("k", client);
      Txn txn;
      txn.success = {PutRequest{.key = key, .value = share(cat(number, ":"))}, PutRequest{.key = key + "/partner", .value = share(cat(number, ":"))}};
      CO_TRY(co_await test.store.txn(std::move(txn)));
      int message[2] = {client, number};
      if (::write(pipe, message, sizeof message) != sizeof message) ::_exit(1);
    }
  }
};

struct Checker {
  Journal& journal;
  async::Task<Result<>> operator()(StoreTest& test) { return check_store(test, journal); }
};

// Forks a writer, kills it once it has acknowledged enough, reads what it acknowledged.
void write_and_kill(const std::string& path, Journal& journal, int start, int acknowledgements) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::close(fds[0]);
    (void)run_store({.path = path}, Writer{fds[1], start});
    ::_exit(3);
  }
  ::close(fds[1]);
  int message[2], got = 0;
  while (::read(fds[0], message, sizeof message) == sizeof message) {
    Journal::Key& key = journal.keys[cat("k", message[0])];
    key.acknowledged = std::max(key.acknowledged, message[1]);
    key.attempted = std::max(key.attempted, message[1] + 1);
    if (++got == acknowledgements) ::kill(child, SIGKILL);
  }
  ::close(fds[0]);
  ::waitpid(child, nullptr, 0);
  for (int client = 0; client < 4; ++client) {
    Journal::Key& key = journal.keys[cat("k", client)];
    key.attempted = std::max(key.attempted, start);
  }
}

TEST(Kill, OfAWritingProcessLosesNothingAcknowledged) {
  TempDir dir;
  Journal journal;
  SeededRng rng(seed_or(5));
  int start = 1;
  for (int round = 0; round < (long_run() ? 1000 : 20) && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(cat("round ", round));
    write_and_kill(dir.file(), journal, start, static_cast<int>(rng.below(60)) + 1);
    Result<> checked = run_store({.path = dir.file()}, Checker{journal});
    EXPECT_TRUE(checked) << (checked ? "" : checked.error().message());
    for (const auto& [key, written] : journal.keys) start = std::max(start, written.attempted + 1);
  }
}

}  // namespace
}  // namespace monopod::testing
