#include "docker/health.h"

#include "base/strings.h"
#include "docker/call.h"

namespace monopod::docker {
namespace {

constexpr std::size_t kOutputBytesMax = 4096;
constexpr std::size_t kEntriesMax = 5;
constexpr int kTimedOut = -1;

}  // namespace

HealthPlan plan_health(const json::Value& config) {
  HealthPlan out;
  std::vector<std::string> test = strings_of(config, {"Healthcheck", "Test"});
  if (test.size() < 2) return out;
  if (test[0] == "CMD") out.command.assign(test.begin() + 1, test.end());
  else if (test[0] == "CMD-SHELL") out.command = {"/bin/sh", "-c", test[1]};
  auto duration = [&](std::string_view key, Duration& to) {
    if (std::int64_t ns = json::get_int(config, {"Healthcheck", key}); ns > 0) to = Duration(ns);
  };
  duration("Interval", out.interval);
  duration("Timeout", out.timeout);
  duration("StartPeriod", out.start_period);
  if (std::int64_t retries = json::get_int(config, {"Healthcheck", "Retries"}); retries > 0) out.retries = static_cast<int>(std::min<std::int64_t>(retries, 1'000'000));
  return out;
}

bool record_health(Health& health, Health::Entry entry, const HealthPlan& plan, bool starting) {
  std::string before = health.status;
  if (entry.exit_code == 0) {
    health.failing_streak = 0;
    health.status = "healthy";
  } else if (!(starting && health.status == "starting")) {
    if (++health.failing_streak >= plan.retries) health.status = "unhealthy";
  }
  health.log.push_back(std::move(entry));
  if (health.log.size() > kEntriesMax) health.log.erase(health.log.begin());
  return health.status != before;
}

async::Task<> watch_health(Parts parts, Containers& containers, ContainerPtr c) {
  HealthPlan plan = plan_health(c->config);
  if (plan.command.empty()) co_return;
  c->health = Health{};
  std::uint64_t exits = c->exits;
  auto runs = [&] { return c->phase == Phase::kRunning && c->exits == exits && !c->removed; };
  for (;;) {
    MonoTime next = parts.time.mono() + std::chrono::duration_cast<MonoTime::duration>(plan.interval);
    while (runs() && parts.time.mono() < next) {
      Result<> woken = co_await async::with_timeout<void>(parts.time, next - parts.time.mono(), "health", c->changed.wait());
      if (!woken && woken.error().code() == Code::kCancelled) co_return;
    }
    if (!runs()) co_return;
    if (c->paused) continue;
    Health::Entry entry{.start = parts.time.wall()};
    auto output = co_await parts.runtime.exec_sync(c->id, {.args = plan.command}, plan.timeout, kOutputBytesMax);
    entry.end = parts.time.wall();
    if (!runs() || !c->health) co_return;
    if (output) {
      entry.exit_code = output->exit_code;
      entry.output = (output->stdout_text + output->stderr_text).substr(0, kOutputBytesMax);
    } else {
      entry.exit_code = kTimedOut;
      entry.output = output.error().code() == Code::kDeadlineExceeded ? "Health check exceeded timeout" : output.error().message();
    }
    bool starting = parts.time.wall() - c->started < plan.start_period;
    if (record_health(*c->health, std::move(entry), plan, starting)) {
      containers.emit(*c, cat("health_status: ", c->health->status));
      c->changed.wake_all();
    }
  }
}

}  // namespace monopod::docker
