#include "async/time.h"

#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "async/as_result.h"
#include "async/scope.h"

namespace monopod::async {

Task<Result<>> RealTime::sleep_until(MonoTime when) {
  asio::steady_timer timer(co_await asio::this_coro::executor, when);
  boost::system::error_code ec = co_await timer.async_wait(as_code);
  if (ec) co_return fail(Code::kCancelled, "cancelled");
  co_return Result<>();
}

FakeTime::FakeTime(Executor executor, WallTime wall) : changed_(executor), wall_(wall) {}

Task<Result<>> FakeTime::sleep_until(MonoTime when) {
  while (mono_ < when) CO_TRY(co_await changed_.wait());
  co_return Result<>();
}

void FakeTime::advance(Duration d) {
  wall_ += d;
  mono_ += std::chrono::duration_cast<MonoTime::duration>(d);
  changed_.wake_all();
}

namespace detail {
namespace {

struct Race {
  std::optional<bool> work_first;
  Event decided;
};

Task<> run_work(Task<> work, Race& race) {
  co_await std::move(work);
  if (!race.work_first) race.work_first = true;
  race.decided.set();
}

Task<> run_clock(Time& time, MonoTime until, Race& race) {
  Result<> slept = co_await time.sleep_until(until);
  if (slept && !race.work_first) race.work_first = false;
  race.decided.set();
}

Task<Result<>> await_decision(Race& race, Time& time, MonoTime until, Task<>& work, Scope& scope) {
  scope.spawn(run_work(std::move(work), race));
  scope.spawn(run_clock(time, until, race));
  co_return co_await race.decided.wait();
}

}  // namespace

Task<bool> finishes_before(Time& time, Duration limit, Task<> work) {
  Race race{std::nullopt, Event(co_await asio::this_coro::executor)};
  MonoTime until = time.mono() + std::chrono::duration_cast<MonoTime::duration>(limit);  // the call counts, not the turn its clock begins in
  Result<> ended = co_await run_scoped(
      [&](Scope& scope) -> Task<Result<>> { return await_decision(race, time, until, work, scope); });
  co_return race.work_first.value_or(ended.has_value() || ended.error().code() == Code::kCancelled);
}

}  // namespace detail
}  // namespace monopod::async
