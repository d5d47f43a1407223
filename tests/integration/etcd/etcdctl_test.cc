// Debian's etcdctl against the store's own server, on loopback.
#include <sys/wait.h>
#include <unistd.h>

#include "async/scope.h"
#include "etcd/serve.h"
#include "store/test_support.h"

namespace monopod::testing {
namespace {

using namespace store;
using namespace etcd;
using async::Task;

struct Output {
  std::string text{};
  int status = 0;
};

// Runs a shell line with etcdctl's environment set; blocking.
Output shell(std::uint16_t port, const std::string& line) {
  std::string command = cat("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:", port, "; exec timeout 20 sh -c '", line, "' 2>&1");
  Output out;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t n; (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.text.append(buffer, n);
  out.status = ::pclose(pipe);
  return out;
}

bool have_etcdctl() { return ::access("/usr/bin/etcdctl", X_OK) == 0; }

struct Case {
  const char* line;
  const char* expected;  // whole output; nullptr: only success; starts with "~": contains
};

Task<Result<>> run_cases(async::Pool& pool, std::uint16_t& port, async::Event& ready, std::vector<Case> cases, async::Scope& server) {
  CO_TRY(co_await ready.wait());
  for (const Case& c : cases) {
    Output out = co_await pool.run([&] { return shell(port, c.line); });
    std::string_view expected = c.expected ? c.expected : "";
    if (expected.starts_with('~')) {
      EXPECT_TRUE(out.text.contains(expected.substr(1))) << c.line << "\n" << out.text;
    } else {
      EXPECT_EQ(out.status, 0) << c.line << "\n" << out.text;
      if (c.expected) EXPECT_EQ(out.text, expected) << c.line;
    }
  }
  server.cancel();
  co_return Result<>();
}

Task<Result<>> with_server(std::string directory, std::vector<Case> cases) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  SeededRng rng(1);
  async::Pool pool(1);
  std::uint16_t port = 0;
  async::Event ready(executor);
  async::Scope server(executor), client(executor);
  etcd::ServeOptions options{.data_dir = std::move(directory), .listen = "127.0.0.1:0"};
  options.on_ready = [&](std::uint16_t p) {
    port = p;
    ready.set();
  };
  server.spawn(serve(std::move(options), time, rng));
  client.spawn(run_cases(pool, port, ready, std::move(cases), server));
  Result<> served = co_await server.join();
  if (!served) client.cancel();
  Result<> done = co_await client.join();
  CO_TRY(std::move(served));
  co_return done;
}

void run(const std::vector<Case>& cases) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  async::Loop loop;
  Result<> done = loop.run(with_server(dir.file("data"), cases));
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

TEST(Etcdctl, PutsGetsAndDeletes) {
  run({
      {"etcdctl put a 1", "OK\n"},
      {"etcdctl put a 2 --prev-kv", "OK\na\n1\n"},
      {"etcdctl put b 3; etcdctl put c 4", "OK\nOK\n"},
      {"etcdctl get a", "a\n2\n"},
      {"etcdctl get a --rev=2", "a\n1\n"},
      {"etcdctl get \"\" --prefix --keys-only", "a\n\nb\n\nc\n\n"},
      {"etcdctl get \"\" --prefix --order=DESCEND --sort-by=KEY --print-value-only", "4\n3\n2\n"},
      {"etcdctl get \"\" --from-key --limit=2 --print-value-only", "2\n3\n"},
      {"etcdctl get \"\" --prefix --sort-by=MODIFY --order=DESCEND --limit=1", "c\n4\n"},
      {"etcdctl del b --prev-kv", "1\nb\n3\n"},
      {"etcdctl del \"\" --prefix", "2\n"},
      {"etcdctl get a -w json", "~\"revision\":7"},
      {"etcdctl get a --rev=99", "~required revision is a future revision"},
  });
}

TEST(Etcdctl, RunsTransactions) {
  run({
      {"etcdctl put a 1", "OK\n"},
      {"printf \"value(\\\"a\\\") = \\\"1\\\"\\n\\nput a 2\\nput b 1\\n\\nget a\\n\\n\" | etcdctl txn", "SUCCESS\n\nOK\n\nOK\n"},
      {"printf \"value(\\\"a\\\") = \\\"1\\\"\\n\\nput a 3\\n\\nget a\\n\\n\" | etcdctl txn", "FAILURE\n\na\n2\n"},
      {"printf \"\\nput x 1\\nput x 2\\n\\n\\n\" | etcdctl txn", "~duplicate key given in txn request"},
  });
}

TEST(Etcdctl, WatchesThePastAndThePresent) {
  run({
      {"etcdctl put a 1; etcdctl put a 2; etcdctl del a", "OK\nOK\n1\n"},
      {"timeout 2 etcdctl watch a --rev=2 --prev-kv; true", "~PUT\na\n1\nPUT\na\n1\na\n2\nDELETE\na\n2\na\n\n"},
      {"(timeout 4 etcdctl watch /p --prefix & sleep 1; etcdctl put /p/1 x >/dev/null; etcdctl put /q/1 y >/dev/null; etcdctl put /p/2 z >/dev/null; wait); true",
       "~PUT\n/p/1\nx\nPUT\n/p/2\nz\n"},
      {"etcdctl compact 4", "compacted revision 4\n"},
      {"timeout 3 etcdctl watch a --rev=2", "~compacted"},
      {"etcdctl get a --rev=2", "~required revision has been compacted"},
  });
}

TEST(Etcdctl, HandlesLeasesLocksAndElections) {
  run({
      {"etcdctl lease grant 100", "~granted with TTL(100s)"},
      {"L=$(etcdctl lease grant 100 | cut -d\" \" -f2); etcdctl put k v --lease=$L; etcdctl lease timetolive $L --keys", "~attached keys([k])"},
      {"L=$(etcdctl lease grant 100 | cut -d\" \" -f2); etcdctl put g v --lease=$L >/dev/null; etcdctl lease revoke $L >/dev/null; etcdctl get g", ""},
      {"L=$(etcdctl lease grant 2 | cut -d\" \" -f2); etcdctl lease keep-alive --once $L", "~keepalived with TTL(2)"},
      {"etcdctl lease list", "~found 3 leases"},
      {"etcdctl lease revoke 1234", "~requested lease not found"},
      {"etcdctl lock mutex echo locked", "locked\n"},
      {"timeout 2 etcdctl elect leader me; true", "~me"},
  });
}

TEST(Etcdctl, ShowsHealthStatusAndMembers) {
  run({
      {"etcdctl endpoint health", "~is healthy"},
      {"etcdctl endpoint status -w json", "~\"version\":\"3.5."},
      {"etcdctl member list", "~started"},
      {"etcdctl alarm list", ""},
      {"etcdctl defrag", "~Finished defragmenting"},
      {"etcdctl endpoint hashkv", nullptr},
      {"etcdctl user list", ""},
  });
}

}  // namespace
}  // namespace monopod::testing
