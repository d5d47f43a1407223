// Time that can be waited for. RealTime on the loop's timers; FakeTime for tests: it stands still until advance().
#pragma once

#include <map>
#include <memory>

#include "async/event.h"
#include "base/clock.h"

namespace monopod::async {

class Time : public Clock {
 public:
  // Fails only with kCancelled.
  virtual Task<Result<>> sleep_until(MonoTime when) = 0;
  Task<Result<>> sleep_for(Duration d) { return sleep_until(mono() + std::chrono::duration_cast<MonoTime::duration>(d)); }
};

class RealTime final : public Time {
 public:
  WallTime wall() const override { return clock_.wall(); }
  MonoTime mono() const override { return clock_.mono(); }
  Task<Result<>> sleep_until(MonoTime when) override;

 private:
  RealClock clock_;
};

class FakeTime final : public Time {
 public:
  explicit FakeTime(Executor executor, WallTime wall = WallTime(std::chrono::seconds(1'767'225'600)));  // 2026-01-01
  WallTime wall() const override { return wall_; }
  MonoTime mono() const override { return mono_; }
  Task<Result<>> sleep_until(MonoTime when) override;

  // Moves both clocks and wakes who is due; they run at the next turns of the loop.
  void advance(Duration d);
  // Moves only the wall clock, as a clock step does.
  void step_wall(Duration d) { wall_ += d; }

 private:
  Notify changed_;
  WallTime wall_;
  MonoTime mono_{};
};

// Runs task; once the time is up cancels it, waits for it to unwind, and fails with kDeadlineExceeded "<what>: timed out".
template <typename T>
Task<Result<T>> with_timeout(Time& time, Duration limit, std::string what, Task<Result<T>> task);

// --- implementation
namespace detail {
// Runs work beside a sleep, ends both; true if work was first.
Task<bool> finishes_before(Time& time, Duration limit, Task<> work);
template <typename T>
Task<> store_into(Task<Result<T>> task, std::optional<Result<T>>& out) {
  out = co_await std::move(task);
}
}  // namespace detail

template <typename T>
Task<Result<T>> with_timeout(Time& time, Duration limit, std::string what, Task<Result<T>> task) {
  std::optional<Result<T>> out;
  bool first = co_await detail::finishes_before(time, limit, detail::store_into(std::move(task), out));
  if (out && (first || *out)) co_return std::move(*out);
  if (first) co_return fail(Code::kCancelled, what + ": cancelled");
  co_return fail(Code::kDeadlineExceeded, what + ": timed out");
}

}  // namespace monopod::async
