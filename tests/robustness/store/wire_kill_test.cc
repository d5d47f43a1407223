// `monopod store serve` killed with signal 9 again and again under etcd's clients; the whole history is judged.
#include <signal.h>

#include "async/as_result.h"
#include "base/log.h"
#include "store/test_support.h"
#include "tests/robustness/store/history/check.h"
#include "tests/robustness/store/history/traffic.h"
#include "tests/robustness/store/history/wire_backend.h"
#include "tests/robustness/store/server_process.h"
#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr auto kStartMax = std::chrono::seconds(30);
constexpr int kLives = 10;  // of one history

class WireRun {
 public:
  WireRun(async::Executor executor, std::string data_dir, std::uint64_t seed)
      : executor_(executor), data_dir_(std::move(data_dir)), rng_(seed), traffic_(history, rng_, time_, executor) {
    traffic_.read_status = false;
  }

  Task<Result<>> run() {
    for (int life = 0; life < kLives; ++life) CO_TRY(co_await live(life, life == kLives - 1));
    co_return Result<>();
  }

  History history;

 private:
  Task<Result<>> until_up(WireBackend& backend, ServerProcess& server) {
    MonoTime deadline = time_.mono() + kStartMax;
    for (;;) {
      Result<> up = co_await backend.hash();
      if (up) co_return up;
      if (!server.running()) co_return fail(Code::kInternal, cat("the server ended: ", server.output()));
      if (time_.mono() > deadline) co_return fail(up.error());
      CO_TRY(co_await time_.sleep_for(std::chrono::milliseconds(2)));
    }
  }

  Task<Result<>> live(int life, bool last) {
    ServerProcess server(data_dir_);
    async::Scope background(executor_), requests(executor_), watchers(executor_), clients(executor_);
    Result<> result;
    {
      http::Client client(background, executor_, time_, {.endpoint = server.endpoint(), .http2_prior_knowledge = true});
      WireBackend backend(client, requests);
      history.life = life;
      result = co_await until_up(backend, server);
      if (result) {
        history.starts.push_back({.life = life, .at = history.tick(), .revision = backend.current_revision().value, .compacted = std::max<std::int64_t>(backend.compact_revision().value, 0)});  // HashKV says -1 of a store that was never compacted
        traffic_.start(backend, watchers);
        result = co_await traffic_.resume_watches();
      }
      if (result) {
        for (int c = 0; c < 4; ++c) clients.spawn(traffic_.run_client(c, last ? 15 : 1000));
        if (last) (void)co_await clients.join();
        else (void)co_await time_.sleep_for(std::chrono::milliseconds(5 + rng_.below(80)));
        if (last) result = co_await drain(backend);
      }
      server.kill(last ? SIGTERM : SIGKILL);
      for (async::Scope* scope : {&clients, &watchers, &requests}) {
        scope->cancel();
        (void)co_await scope->join();
      }
      traffic_.stop();
    }
    background.cancel();
    (void)co_await background.join();
    int status = server.wait();
    if (last) EXPECT_EQ(status, 0) << server.output();
    co_return result;
  }

  Task<Result<>> drain(WireBackend& backend) {
    CO_TRY(co_await traffic_.read_everything(-1));
    CO_TRY(co_await backend.hash());
    const std::int64_t target = backend.current_revision().value;
    MonoTime deadline = time_.mono() + std::chrono::seconds(20);
    for (bool all = false; !all && time_.mono() < deadline;) {
      all = true;
      for (LiveWatch& live : traffic_.watches()) {
        if (live.run->end || live.reached >= target) continue;
        all = false;
        live.watch->request_progress();
      }
      CO_TRY(co_await time_.sleep_for(std::chrono::milliseconds(5)));
    }
    for (LiveWatch& live : traffic_.watches())
      if (!live.run->end) live.run->must_reach = target;
    co_return Result<>();
  }

  async::Executor executor_;
  std::string data_dir_;
  SeededRng rng_;
  async::RealTime time_;
  Traffic traffic_;
};

Task<Result<>> run_wire(WireRun& run) { return run.run(); }

TEST(WireKill, OfAServerLosesNothingAndTellsNoLies) {
  const std::uint64_t first = seed_or(1), histories = ::getenv("SEED") ? 1 : long_run() ? 100 : 2;
  std::size_t calls = 0, unknown = 0, deliveries = 0;
  for (std::uint64_t seed = first; seed < first + histories && !::testing::Test::HasFailure(); ++seed) {
    TempDir dir;
    async::Loop loop;
    WireRun run(loop.executor(), dir.file("data"), seed);
    Result<> done = loop.run(run_wire(run));
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    std::vector<std::string> findings = check_history(run.history);
    for (std::size_t i = 0; i < std::min<std::size_t>(findings.size(), 10); ++i) ADD_FAILURE() << "SEED=" << seed << ": " << findings[i];
    calls += run.history.calls.size();
    for (const Call& call : run.history.calls) unknown += call.outcome == Call::Outcome::kUnknown;
    for (const WatchRun& watch : run.history.watches) deliveries += watch.deliveries.size();
  }
  std::printf("%llu kills: %zu calls (%zu without an answer), %zu watch batches\n", static_cast<unsigned long long>(histories * (kLives - 1)), calls, unknown, deliveries);
}

}  // namespace
}  // namespace monopod::testing
