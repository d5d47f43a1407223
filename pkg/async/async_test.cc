#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <stdexcept>

#include "async/channel.h"
#include "async/pool.h"
#include "async/test_support.h"

namespace monopod::async {
namespace {

using namespace std::chrono_literals;

Task<Result<>> fail_after(Time& time, Duration d) {
  CO_TRY(co_await time.sleep_for(d));
  co_return fail(Code::kDataLoss, "broken");
}

Task<Result<>> sleep_long(Time& time, bool& unwound) {
  struct Mark {
    bool& flag;
    ~Mark() { flag = true; }
  } mark{unwound};
  for (;;) {  // even a loop that ignores errors cannot outlive its scope
    Result<> ignored = co_await time.sleep_for(1h);
  }
}

Task<Result<>> siblings(Loop& loop) {
  RealTime time;
  bool unwound = false;
  Scope scope(loop.executor());
  scope.spawn(sleep_long(time, unwound));
  scope.spawn(fail_after(time, 1ms));
  Result<> result = co_await scope.join();
  EXPECT_FALSE(result);
  EXPECT_EQ(result.error().message(), "broken");
  EXPECT_TRUE(unwound);
  co_return Result<>();
}
TEST(Scope, FirstErrorCancelsTheSiblings) { run_test(siblings); }

Task<Result<>> cancelled_join(Loop& loop) {
  RealTime time;
  bool unwound = false;
  auto inner = [](Loop& l, RealTime& t, bool& flag) -> Task<Result<>> {
    Scope scope(l.executor());
    scope.spawn(sleep_long(t, flag));
    co_return co_await scope.join();
  };
  Scope outer(loop.executor());
  outer.spawn(inner(loop, time, unwound));
  CO_TRY(co_await time.sleep_for(1ms));
  outer.cancel();
  CO_TRY(co_await outer.join());
  EXPECT_TRUE(unwound);
  co_return Result<>();
}
TEST(Scope, CancellingAJoinCancelsTheChildrenFirst) { run_test(cancelled_join); }

Task<Result<>> spawn_after_cancel(Loop& loop) {
  RealTime time;
  bool unwound = false;
  Scope scope(loop.executor());
  scope.cancel();
  scope.spawn(sleep_long(time, unwound));
  CO_TRY(co_await scope.join());
  EXPECT_TRUE(unwound);
  co_return Result<>();
}
TEST(Scope, ChildrenSpawnedAfterCancelEnd) { run_test(spawn_after_cancel); }

Task<Result<>> mark(bool& begun) {
  begun = true;
  co_return Result<>();
}
Task<Result<>> cancel_before_begin(Loop& loop) {
  Scope scope(loop.executor());
  bool begun = false;
  scope.spawn(mark(begun));
  scope.cancel();
  Result<> joined = co_await scope.join();
  EXPECT_TRUE(joined) << joined.error().message();
  EXPECT_FALSE(begun);
  co_return Result<>();
}
TEST(Scope, AChildCancelledBeforeItsFirstTurnDoesNotBegin) { run_test(cancel_before_begin); }

struct Body {
  RealTime& time;
  bool& unwound;
  Task<Result<>> operator()(Scope& scope) {
    scope.spawn(sleep_long(time, unwound));
    co_return co_await time.sleep_for(1h);
  }
};

Task<Result<>> scoped_is_cancelled(Loop& loop) {
  RealTime time;
  bool unwound = false;
  auto inner = [](RealTime& t, bool& flag) -> Task<Result<>> {
    Body body{t, flag};
    co_return co_await run_scoped([&body](Scope& scope) { return body(scope); });
  };
  Scope outer(loop.executor());
  outer.spawn(inner(time, unwound));
  CO_TRY(co_await time.sleep_for(1ms));
  outer.cancel();
  CO_TRY(co_await outer.join());
  EXPECT_TRUE(unwound);
  co_return Result<>();
}
TEST(Scope, RunScopedJoinsItsChildrenWhenItsCallerIsCancelled) { run_test(scoped_is_cancelled); }

Task<> write_slowly(RealTime& time, Result<>& slept) {
  slept = co_await time.sleep_for(5ms);
  if (slept) slept = co_await time.sleep_for(1ms);
}
struct Shielded {
  RealTime& time;
  Result<>& slept;
  Task<Result<>> during() const {
    co_await shielded(write_slowly(time, slept));
    co_return co_await time.sleep_for(1h);
  }
  Task<Result<>> afterwards() const {
    Result<> interrupted = co_await time.sleep_for(1h);
    EXPECT_FALSE(interrupted);
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await shielded(write_slowly(time, slept));
    co_return Result<>();
  }
};
Task<Result<>> shielded_tasks(Loop& loop) {
  RealTime time;
  Result<> during = fail(Code::kInternal, "not run"), afterwards = during;
  Scope scope(loop.executor());
  Shielded first{time, during}, second{time, afterwards};
  scope.spawn(first.during());
  scope.spawn(second.afterwards());
  CO_TRY(co_await time.sleep_for(1ms));
  scope.cancel();
  CO_TRY(co_await scope.join());
  EXPECT_TRUE(during) << during.error().message();
  EXPECT_TRUE(afterwards) << afterwards.error().message();
  co_return Result<>();
}
TEST(Scope, AShieldedTaskEndsThoughItsCallerIsCancelledMeanwhileOrWasBefore) { run_test(shielded_tasks); }

Task<Result<int>> answer_after(Time& time, Duration d) {
  CO_TRY(co_await time.sleep_for(d));
  co_return 42;
}

Task<Result<>> timeouts(Loop& loop) {
  FakeTime time(loop.executor());
  RealTime real;
  CO_TRY_ASSIGN(int fast, co_await with_timeout<int>(real, 10s, "answer", answer_after(real, 1ms)));
  EXPECT_EQ(fast, 42);
  auto slow = co_await with_timeout<int>(real, 1ms, "answer", answer_after(time, 1h));
  EXPECT_EQ(slow.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(slow.error().message(), "answer: timed out");
  co_return Result<>();
}
TEST(Time, WithTimeoutCutsOnlyWhatIsLate) { run_test(timeouts); }

Task<Result<int>> answer_at_once() { co_return 7; }
Task<Result<int>> never(Time& time, bool& unwound) {
  CO_TRY(co_await sleep_long(time, unwound));
  co_return 0;
}
Task<Result<int>> throws_later(Time& time) {
  CO_TRY(co_await time.sleep_for(1ms));
  throw std::runtime_error("a bug");
}
Task<Result<>> waits_for(Time& time, bool& unwound, std::optional<Code>& ended) {
  Result<int> out = co_await with_timeout<int>(time, 1h, "answer", never(time, unwound));
  if (!out) ended = out.error().code();
  co_return Result<>();
}

// On both clocks: the loop's own has a way of its own.
Task<Result<>> ends_of_with_timeout(Loop& loop, Time& time) {
  CO_TRY_ASSIGN(int seven, co_await with_timeout<int>(time, 10s, "answer", answer_at_once()));
  EXPECT_EQ(seven, 7);
  bool unwound = false;
  std::optional<Code> ended;
  Scope scope(loop.executor());
  scope.spawn(waits_for(time, unwound, ended));
  for (int turn = 0; turn < 5; ++turn) co_await asio::post(loop.executor(), use_task);
  scope.cancel();
  CO_TRY(co_await scope.join());
  EXPECT_TRUE(unwound) << "what it waited for is over before it is";
  EXPECT_EQ(ended, Code::kCancelled);
  co_return Result<>();
}
Task<Result<>> ends_on_both(Loop& loop) {
  RealTime real;
  CO_TRY(co_await ends_of_with_timeout(loop, real));
  bool unwound = false;
  Result<int> late = co_await with_timeout<int>(real, 1ms, "answer", never(real, unwound));
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(unwound);
  EXPECT_THROW((void)co_await with_timeout<int>(real, 10s, "answer", throws_later(real)), std::runtime_error);
  FakeTime fake(loop.executor());
  co_return co_await ends_of_with_timeout(loop, fake);
}
TEST(Time, WithTimeoutWaitsForWhatItCancels) { run_test(ends_on_both); }

Task<Result<>> advance_later(FakeTime& time) {
  time.advance(59min);
  RealTime real;
  CO_TRY(co_await real.sleep_for(1ms));
  time.advance(1min);
  co_return Result<>();
}

Task<Result<>> fake_time(Loop& loop) {
  FakeTime time(loop.executor());
  MonoTime start = time.mono();
  Scope scope(loop.executor());
  scope.spawn(advance_later(time));
  CO_TRY(co_await time.sleep_for(1h));
  EXPECT_EQ(time.mono() - start, 1h);
  co_return co_await scope.join();
}
TEST(Time, FakeTimeWakesAtTheAskedMoment) { run_test(fake_time); }

Task<Result<>> produce(Channel<int>& channel, int count) {
  for (int i = 0; i < count; ++i) CO_TRY(co_await channel.push(i));
  channel.close();
  co_return Result<>();
}

Task<Result<>> channel(Loop& loop) {
  Channel<int> numbers(loop.executor(), 2);
  Scope scope(loop.executor());
  scope.spawn(produce(numbers, 100));
  int sum = 0;
  for (;;) {
    Result<int> n = co_await numbers.pop();
    if (!n) break;
    sum += *n;
  }
  EXPECT_EQ(sum, 4950);
  co_return co_await scope.join();
}
TEST(Channel, DeliversInOrderThroughASmallBuffer) { run_test(channel); }

Task<Result<>> pool(Loop&) {
  Pool threads(2);
  int answer = co_await threads.run([] { return 6 * 7; });
  EXPECT_EQ(answer, 42);
  Result<int> failed = co_await threads.run([]() -> Result<int> { return fail(Code::kNotFound, "none"); });
  EXPECT_EQ(failed.error().code(), Code::kNotFound);
  co_return Result<>();
}
TEST(Pool, ReturnsValuesAndErrorsToTheLoop) { run_test(pool); }

// The smoke test of toolchain facts: a co_await in a condition, an aggregate and beside a capturing lambda.
struct Pair {
  std::string a;
  std::string b;
};
Task<std::string> text(std::string s) { co_return s + s; }
Task<Result<>> smoke(Loop&) {
  if ((co_await text("x")) == "xx") {
    Pair pair{co_await text("a"), co_await text("b")};
    EXPECT_EQ(pair.a + pair.b, "aabb");
  } else {
    ADD_FAILURE();
  }
  co_return Result<>();
}
TEST(Coroutine, CompilerHandlesAwaitInsideExpressions) { run_test(smoke); }

Task<Result<>> woken_before_it_begins(Loop& loop) {
  FakeTime time(loop.executor());
  Notify notify(loop.executor());
  Task<Result<>> waiting = notify.wait();
  notify.wake_all();
  CO_TRY(co_await with_timeout<void>(time, std::chrono::seconds(1), "wake-up", std::move(waiting)));
  co_return Result<>();
}
TEST(Notify, AWakeUpBetweenTheCallAndTheWaitCounts) { run_test(woken_before_it_begins, std::chrono::seconds(5)); }

}  // namespace
}  // namespace monopod::async
