#include "tests/robustness/store/history/simulation.h"

#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <filesystem>

#include "async/loop.h"
#include "async/pool.h"
#include "base/failpoint.h"
#include "base/strings.h"
#include "store/sqlite_backend.h"
#include "tests/robustness/store/history/traffic.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr int kTurnsMax = 60'000;  // of a life; more means that something is stuck
constexpr int kClient = -1;        // the simulation itself

// In memory where the host allows it: a history writes a few hundred pages.
class Directory {
 public:
  Directory() {
    std::string name = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : "/tmp/") + std::string("monopod-history-XXXXXX");
    path_ = ::mkdtemp(name.data());
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  std::string file() const { return path_ + "/state.db"; }

 private:
  std::string path_;
};

enum class End { kClose, kPowerLoss, kKill };

struct Plan {
  CrashVfs::Plan disk{};
  std::string failpoints{};
  int end_turn = kTurnsMax;  // everything stops there
  End end = End::kClose;
  Durability durability = Durability::kAlways;
  int clients = 3;
  int calls_each = 12;
};

Plan make_plan(Rng& rng, bool last, bool syncs_lie) {
  Plan plan{.clients = 2 + static_cast<int>(rng.below(3)), .calls_each = 6 + static_cast<int>(rng.below(20))};
  if (last) return plan;
  plan.disk.syncs_lie = syncs_lie;
  auto n = static_cast<std::int64_t>(1 + rng.below(rng.below(3) == 0 ? 20 : 200));
  switch (rng.below(9)) {
    case 0: break;
    case 1: plan.disk.crash_at = n, plan.end = End::kPowerLoss; break;
    case 2: plan.disk.fail_at = n, plan.disk.fail_code = SQLITE_IOERR_WRITE, plan.end = End::kPowerLoss; break;
    case 3: plan.disk.fail_at = 1 + n / 8, plan.disk.fail_code = SQLITE_IOERR_FSYNC, plan.disk.fail_syncs_only = true, plan.end = End::kPowerLoss; break;
    case 4: plan.disk.fail_at = n, plan.disk.fail_count = 1 + static_cast<std::int64_t>(rng.below(10)), plan.disk.fail_code = SQLITE_FULL; break;
    case 5: plan.failpoints = cat("store.before_commit=", 1 + rng.below(5), "*error"); break;
    case 6: plan.failpoints = "store.after_commit=1*error", plan.end = rng.below(2) == 0 ? End::kKill : End::kPowerLoss; break;
    case 7: plan.end = End::kPowerLoss; break;
    default: plan.end = End::kKill; plan.durability = static_cast<Durability>(rng.below(3)); break;
  }
  if (plan.end != End::kClose || rng.below(3) == 0) plan.end_turn = static_cast<int>(5 + rng.below(400));
  return plan;
}

std::string describe(const Plan& plan, int life) {
  constexpr std::string_view kEnds[] = {"closed", "power loss", "killed"};
  return cat("life ", life, ": ends by turn ", plan.end_turn, ", ", kEnds[static_cast<int>(plan.end)], "; disk crashes at ", plan.disk.crash_at, ", fails at ", plan.disk.fail_at, " x",
             plan.disk.fail_count, " code ", plan.disk.fail_code, plan.disk.fail_syncs_only ? " (syncs)" : "", "; failpoints \"", plan.failpoints, "\"; durability ",
             static_cast<int>(plan.durability));
}

class Simulation {
 public:
  Simulation(const SimulationOptions& options, async::Executor executor)
      : options_(options), executor_(executor), rng_(options.seed), fault_rng_(options.seed ^ 0x9e3779b97f4a7c15ULL), pool_rng_(options.seed * 31), pool_(pool_rng_),
        commit_pool_(pool_rng_), time_(executor), traffic_(out_.history, rng_, time_, executor) {}

  Task<Result<>> run() {
    const int lives = 2 + static_cast<int>(fault_rng_.below(4));
    for (int life = 0; life < lives; ++life) {
      Result<> lived = co_await run_life(life, life == lives - 1);
      if (!lived) {
        out_.findings.push_back(cat("life ", life, ": ", lived.error().message()));
        break;
      }
      if (options_.between_lives && life < lives - 1) options_.between_lives(directory_.file(), fault_rng_);
    }
    co_return Result<>();
  }

  Simulated take() { return std::move(out_); }

 private:
  using Store = std::unique_ptr<SqliteBackend>;

  Task<Result<Store>> open(Durability durability) {
    SqliteOptions options{.path = directory_.file(), .durability = durability, .compaction = {.interval = std::chrono::seconds(0)}, .vfs = vfs_.name()};
    options.commit_pool = &commit_pool_;
    co_return co_await SqliteBackend::open(std::move(options), pool_, time_, rng_);
  }

  // The faults may strike while it opens; then again without them.
  Task<Result<Store>> open_in_the_end(const Plan& plan) {
    vfs_.arm(plan.disk);
    Result<Store> store = co_await open(plan.durability);
    if (!store) {
      // What a life that did not sync left behind may be lost by that: it promised no more.
      if (durability_before_ == Durability::kAlways) vfs_.lose_power(fault_rng_);
      else vfs_.arm({});
      store = co_await open(plan.durability);
    }
    co_return store;
  }

  Task<Result<>> run_life(int life, bool last) {
    Plan plan = make_plan(fault_rng_, last, options_.syncs_lie);
    History& history = out_.history;
    history.life = life;
    if (options_.verbose) std::printf("%s\n", describe(plan, life).c_str());
    CO_TRY_ASSIGN(Store store, co_await open_in_the_end(plan));
    history.starts.push_back({.life = life, .at = history.tick(), .revision = store->current_revision().value, .compacted = store->compact_revision().value});
    durability_before_ = plan.durability;
    std::unique_ptr<Backend> wrapped = options_.wrap ? options_.wrap(*store) : nullptr;
    async::Scope watchers(executor_), clients(executor_), quitters(executor_);
    traffic_.start(wrapped ? *wrapped : *store, watchers);
    if (!plan.failpoints.empty()) CO_TRY(arm_failpoints(plan.failpoints));
    Result<> resumed = co_await traffic_.resume_watches();
    if (resumed) {
      for (int client = 0; client < plan.clients; ++client) clients.spawn(traffic_.run_client(client, plan.calls_each));
      quitters.spawn(traffic_.run_client(plan.clients, plan.calls_each));
    }
    bool finished = co_await let_run(*store, clients, quitters, plan.end_turn);
    disarm_failpoints();
    bool healthy = finished && !store->failure() && plan.end == End::kClose;
    if (healthy && last) co_await let_leases_end();
    if (healthy) co_await drain(*store);
    if (plan.end != End::kClose) vfs_.arm({.crash_at = 1});
    for (async::Scope* scope : {&clients, &quitters, &watchers}) {
      scope->cancel();
      (void)co_await scope->join();
    }
    history.healed = healthy && last;
    traffic_.stop();
    wrapped.reset();
    CO_TRY(co_await store->close());
    store.reset();
    if (plan.end == End::kPowerLoss) vfs_.lose_power(fault_rng_);
    else vfs_.arm({});
    co_return Result<>();
  }

  // Until all clients are done (true), the end has come, or the store failed.
  Task<bool> let_run(SqliteBackend& store, async::Scope& clients, async::Scope& quitters, int end_turn) {
    const int quit_turn = static_cast<int>(fault_rng_.below(200));
    for (int turn = 0; clients.live() > 0 || (turn < quit_turn && quitters.live() > 0); ++turn) {
      (void)co_await traffic_.turns(1);
      if (turn >= end_turn) {
        if (end_turn == kTurnsMax) out_.findings.push_back("clients are stuck");
        co_return false;
      }
      if (turn == quit_turn) quitters.cancel();
      if (fault_rng_.below(25) == 0) time_.advance(std::chrono::milliseconds(fault_rng_.below(fault_rng_.below(20) == 0 ? 400'000 : 900)));
      if (fault_rng_.below(200) == 0) time_.step_wall(std::chrono::hours(24) * (static_cast<int>(fault_rng_.below(400)) - 200));
    }
    quitters.cancel();
    co_return !store.failure();
  }

  Task<> let_leases_end() {
    for (int round = 0; round < 200; ++round) {
      time_.advance(std::chrono::seconds(100));
      (void)co_await traffic_.turns(20);
      Result<std::vector<LeaseId>> ids = co_await traffic_.read_leases(kClient);
      if (ids && ids->empty()) co_return;
    }
    out_.findings.push_back("leases do not end");
  }

  // Every watch gets what there is.
  Task<> drain(SqliteBackend& store) {
    (void)co_await traffic_.read_everything(kClient);
    const std::int64_t target = store.current_revision().value;
    auto behind = [target](const LiveWatch& live) { return !live.run->end && live.reached < target; };
    for (int round = 0; round < 200; ++round) {
      bool all = true;
      for (LiveWatch& live : traffic_.watches()) {
        if (!behind(live)) continue;
        all = false;
        live.watch->request_progress();
      }
      if (all) break;
      (void)co_await traffic_.turns(40);
    }
    for (LiveWatch& live : traffic_.watches()) {
      if (live.run->end) continue;
      live.run->must_reach = target;
      if (behind(live)) out_.findings.push_back(cat("watch ", live.run->index, " is stuck at ", live.reached, " of ", target, " (etcd #17529)"));
    }
  }

  const SimulationOptions& options_;
  async::Executor executor_;
  SeededRng rng_, fault_rng_, pool_rng_;
  async::Pool pool_, commit_pool_;
  async::FakeTime time_;
  Directory directory_;
  CrashVfs vfs_{"history"};
  Durability durability_before_ = Durability::kAlways;
  Simulated out_;
  Traffic traffic_;
};

Task<Result<>> run_simulation(Simulation& simulation) { return simulation.run(); }

}  // namespace

Simulated simulate(const SimulationOptions& options) {
  async::Loop loop;
  Simulation simulation(options, loop.executor());
  Result<> run = loop.run(run_simulation(simulation));
  Simulated out = simulation.take();
  if (!run) out.findings.push_back(run.error().message());
  return out;
}

}  // namespace monopod::testing
