// `monopod store check perf`: does this store keep up? A load of puts at a fixed rate, judged as etcdctl does.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "async/scope.h"
#include "base/duration.h"
#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

// etcdctl's loads (etcdctl/README.md, CHECK PERF).
struct Load {
  const char* name;
  int clients;
  int per_second;
};
constexpr Load kLoads[] = {{"s", 50, 150}, {"m", 200, 1000}, {"l", 500, 8000}, {"xl", 1000, 15000}};

constexpr std::size_t kKeyBytes = 256, kValueBytes = 1024;
constexpr double kThroughputMin = 0.9;  // of the load's rate
constexpr double kSlowestSecondsMax = 0.5, kStddevSecondsMax = 0.1;
constexpr std::chrono::milliseconds kTick{100};

struct CheckCommand {
  RemoteOptions remote;
  std::string load = "s";
  std::string prefix = "/monopod-check-perf/";
  std::string duration = "60s";
};

// Puts at a steady rate: request i is due at start + i / rate, whoever is free takes the next one.
class Perf {
 public:
  Perf(Remote& remote, const CheckCommand& command, const Load& load, Duration length) : remote_(remote), command_(command), load_(load), length_(length) {}

  Task<Result<>> operator()(async::Scope& scope) {
    start_ = remote_.time.mono();
    for (int i = 0; i < load_.clients; ++i) scope.spawn(put_in_turn());
    scope.spawn(show_progress());
    Result<> joined = co_await scope.join();
    end_ = remote_.time.mono();
    co_return joined;
  }
  const std::vector<double>& seconds() const { return seconds_; }
  double elapsed() const { return std::chrono::duration<double>(end_ - start_).count(); }
  std::int64_t errors() const { return errors_; }
  const std::optional<Error>& first_error() const { return first_error_; }

 private:
  Task<Result<>> put_in_turn() {
    for (;;) {
      std::int64_t turn = next_++;
      Duration due(turn * 1'000'000'000 / load_.per_second);
      if (due >= length_) co_return Result<>();
      CO_TRY(co_await remote_.time.sleep_until(start_ + std::chrono::duration_cast<MonoTime::duration>(due)));
      MonoTime begun = remote_.time.mono();
      Result<> done = co_await put(turn);
      if (done) seconds_.push_back(std::chrono::duration<double>(remote_.time.mono() - begun).count());
      else if (done.error().code() == Code::kCancelled) co_return done;
      else if (++errors_ == 1) first_error_ = done.error();
    }
  }
  Task<Result<>> put(std::int64_t turn) {
    std::string key = cat(command_.prefix, turn);
    key.resize(std::max(key.size(), kKeyBytes), 'k');
    CO_TRY(co_await remote_.run<store::PutResult>(store::PutRequest{.key = std::move(key), .value = value_}));
    co_return Result<>();
  }
  Task<Result<>> show_progress() {
    sys::ProgressBar bar(cat("check perf, load ", load_.name), sys::ProgressBar::Unit::kCount);
    std::int64_t total = static_cast<std::int64_t>(std::chrono::duration<double>(length_).count() * load_.per_second);
    while (remote_.time.mono() < start_ + std::chrono::duration_cast<MonoTime::duration>(length_)) {
      bar.update(static_cast<std::int64_t>(seconds_.size()), total, "writes");
      CO_TRY(co_await remote_.time.sleep_for(kTick));
    }
    co_return Result<>();
  }

  Remote& remote_;
  const CheckCommand& command_;
  const Load load_;
  const Duration length_;
  const SharedBytes value_ = share(std::string(kValueBytes, 'v'));
  MonoTime start_{}, end_{};
  std::int64_t next_ = 0, errors_ = 0;
  std::vector<double> seconds_;
  std::optional<Error> first_error_;
};

struct Verdict {
  double throughput = 0, slowest = 0, stddev = 0, mean = 0;
  std::int64_t writes = 0, errors = 0;
  bool throughput_ok = false, slowest_ok = false, stddev_ok = false;
  bool pass() const { return throughput_ok && slowest_ok && stddev_ok && errors == 0; }
};

Verdict judge(const Perf& perf, const Load& load) {
  const std::vector<double>& s = perf.seconds();
  Verdict v{.writes = static_cast<std::int64_t>(s.size()), .errors = perf.errors()};
  if (s.empty() || perf.elapsed() <= 0) return v;
  for (double t : s) v.mean += t / static_cast<double>(s.size());
  for (double t : s) v.stddev += (t - v.mean) * (t - v.mean) / static_cast<double>(s.size());
  v.stddev = std::sqrt(v.stddev);
  v.slowest = *std::ranges::max_element(s);
  v.throughput = static_cast<double>(s.size()) / perf.elapsed();
  v.throughput_ok = v.throughput >= kThroughputMin * load.per_second;
  v.slowest_ok = v.slowest <= kSlowestSecondsMax;
  v.stddev_ok = v.stddev <= kStddevSecondsMax;
  return v;
}

void print(const CheckCommand& command, const Load& load, const Verdict& v) {
  if (command.remote.output == "json") {
    print_json(json::Object{{"load", load.name}, {"clients", load.clients}, {"wanted_per_s", load.per_second}, {"writes", v.writes}, {"errors", v.errors}, {"writes_per_s", v.throughput},
                            {"slowest_s", v.slowest}, {"mean_s", v.mean}, {"stddev_s", v.stddev}, {"pass", v.pass()}});
    return;
  }
  auto verdict = [](bool ok) { return ok ? "PASS" : "FAIL"; };
  std::printf("%s: Throughput is %.0f writes/s (wanted %d)\n", verdict(v.throughput_ok), v.throughput, load.per_second);
  std::printf("%s: Slowest request took %.6fs (at most %.1fs)\n", verdict(v.slowest_ok), v.slowest, kSlowestSecondsMax);
  std::printf("%s: Stddev is %.6fs (at most %.1fs)\n", verdict(v.stddev_ok), v.stddev, kStddevSecondsMax);
  if (v.errors > 0) std::printf("FAIL: %lld writes failed\n", static_cast<long long>(v.errors));
  std::printf("%s\n", verdict(v.pass()));
}

Task<Result<>> check_perf(Remote& remote, const CheckCommand& command) {
  const Load& load = *std::ranges::find(kLoads, command.load, &Load::name);
  CO_TRY_ASSIGN(Duration length, parse_duration(command.duration));
  if (command.prefix.empty()) co_return fail(Code::kInvalidArgument, "--prefix: an empty one would mean every key");
  std::string end = store::prefix_end(command.prefix);
  CO_TRY_ASSIGN(store::RangeResult there, co_await remote.range({.key = command.prefix, .range_end = end, .count_only = true}));
  if (there.count > 0) co_return fail(Code::kFailedPrecondition, cat(there.count, " keys begin with ", command.prefix, " already: delete them or choose another --prefix"));
  Perf perf(remote, command, load, length);
  Result<> ran = co_await async::run_scoped([&perf](async::Scope& scope) { return perf(scope); });
  Result<std::pair<store::Revision, store::DeleteResult>> cleaned = co_await remote.run<store::DeleteResult>(store::DeleteRequest{.key = command.prefix, .range_end = end});
  CO_TRY(std::move(ran));
  CO_TRY(cleaned);
  Verdict verdict = judge(perf, load);
  print(command, load, verdict);
  if (perf.first_error()) co_return fail(perf.first_error()->with("put"));
  if (!verdict.pass()) co_return fail(Code::kFailedPrecondition, "this store does not keep up with the load");
  co_return Result<>();
}

}  // namespace

void add_store_check(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "check", "Check what a running store can do", "  monopod store check perf --load m");
  app->require_subcommand(1);
  CLI::App* perf_app = add_command(*app, "perf", "Write at a steady rate for a while, and judge; the keys are deleted afterwards",
                                   "  monopod store check perf\n"
                                   "  monopod store check perf --load l --duration 30s -o json\n"
                                   "\n"
                                   "Loads: s 50 clients, 150 writes/s; m 200, 1000; l 500, 8000; xl 1000, 15000. Keys of 256 bytes, values of 1024.");
  auto command = std::make_shared<CheckCommand>();
  perf_app->add_option("--load", command->load, "s, m, l or xl")->check(CLI::IsMember({"s", "m", "l", "xl"}))->capture_default_str();
  perf_app->add_option("--prefix", command->prefix, "Of the keys it writes")->capture_default_str();
  perf_app->add_option("--duration", command->duration, "How long to write")->capture_default_str();
  add_remote_options(*perf_app, command->remote);
  perf_app->callback([command, &invocation] {
    invocation.run = [command] { return run_remote("check perf", command->remote, [&](Remote& remote) { return check_perf(remote, *command); }); };
  });
}

}  // namespace monopod::cmd
