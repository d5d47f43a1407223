#include "async/time.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <optional>

#include "async/as_result.h"
#include "async/beside.h"
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

// A cancelled coroutine unwinds by an exception, which is no news to who cancelled it.
void rethrow_unless_cancelled(std::exception_ptr thrown) {
  if (!thrown) return;
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const boost::system::system_error& e) {
    if (e.code() != asio::error::operation_aborted) throw;
  }
}

// On the loop's own clock, as every request of a client has it: one timer is the clock, and what the end of work wakes.
Task<bool> finishes_before_timer(MonoTime until, Task<> work) {
  Executor executor = co_await this_executor();
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);  // work is waited for however this ends
  asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  bool late = false, asked_to_end = false;
  const bool shielded = state.cancelled() != asio::cancellation_type::none;  // cancelled before: it means to go on
  Beside beside(executor, until);
  beside.start(executor, std::move(work));
  while (!beside.ended) {
    boost::system::error_code ec = co_await beside.woken.async_wait(as_code);
    if (beside.ended || asked_to_end) continue;
    state = co_await asio::this_coro::cancellation_state;
    const bool cancelled = !shielded && state.cancelled() != asio::cancellation_type::none;
    if (ec && !cancelled) continue;
    late = !cancelled;
    asked_to_end = true;
    beside.woken.expires_at(MonoTime::max());
    beside.signal.emit(asio::cancellation_type::terminal);
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  rethrow_unless_cancelled(std::move(beside.thrown));
  co_return !late;
}

}  // namespace

Task<bool> finishes_before(Time& time, Duration limit, Task<> work) {
  if (dynamic_cast<RealTime*>(&time) != nullptr) co_return co_await finishes_before_timer(time.mono() + std::chrono::duration_cast<MonoTime::duration>(limit), std::move(work));
  Race race{std::nullopt, Event(co_await asio::this_coro::executor)};
  MonoTime until = time.mono() + std::chrono::duration_cast<MonoTime::duration>(limit);  // the call counts, not the turn its clock begins in
  Result<> ended = co_await run_scoped(
      [&](Scope& scope) -> Task<Result<>> { return await_decision(race, time, until, work, scope); });
  co_return race.work_first.value_or(ended.has_value() || ended.error().code() == Code::kCancelled);
}

}  // namespace detail
}  // namespace monopod::async
