#include "client/work_queue.h"

#include <gtest/gtest.h>

#include "async/test_support.h"

namespace monopod::client {
namespace {

using namespace std::chrono_literals;

async::Task<Result<>> stingy(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  WorkQueue queue(loop.executor(), time);
  queue.add("a");
  queue.add("a");
  queue.add("b");
  EXPECT_EQ(queue.size(), 2U);
  CO_TRY_ASSIGN(std::string first, co_await queue.take());
  EXPECT_EQ(first, "a");
  queue.add("a");  // while it is being worked on: not handed to a second worker
  EXPECT_EQ(queue.size(), 1U);
  queue.done("a");
  EXPECT_EQ(queue.size(), 2U);
  CO_TRY_ASSIGN(std::string second, co_await queue.take());
  EXPECT_EQ(second, "b");
  queue.shut_down();
  CO_TRY_ASSIGN(std::string third, co_await queue.take());
  EXPECT_EQ(third, "a");
  auto fourth = co_await queue.take();
  EXPECT_EQ(fourth.error().code(), Code::kUnavailable);
  co_return Result<>();
}
TEST(WorkQueue, KeysAreTakenOnceAndInOrder) { async::run_test(stingy); }

async::Task<Result<>> backoff(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  WorkQueue queue(loop.executor(), time);
  async::Scope scope(loop.executor());
  scope.spawn(queue.run_timers());
  MonoTime start = time.mono();
  for (auto expected : {5ms, 10ms, 20ms, 40ms}) {
    queue.add_rate_limited("x");
    for (int i = 0; i < 1000 && queue.size() == 0; ++i) {
      time.advance(1ms);
      async::RealTime real;
      CO_TRY(co_await real.sleep_for(0ms));
      CO_TRY(co_await real.sleep_for(0ms));
    }
    Duration waited = time.mono() - start;
    EXPECT_GE(waited, expected);
    EXPECT_LE(waited, expected + 5ms);
    start = time.mono();
    CO_TRY_ASSIGN(std::string key, co_await queue.take());
    queue.done(key);
  }
  EXPECT_EQ(queue.failures("x"), 4);
  queue.forget("x");
  EXPECT_EQ(queue.failures("x"), 0);
  scope.cancel();
  co_return co_await scope.join();
}
TEST(WorkQueue, FailuresComeBackAfterDoublingDelays) { async::run_test(backoff); }

async::Task<Result<>> earlier(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  WorkQueue queue(loop.executor(), time);
  async::Scope scope(loop.executor());
  scope.spawn(queue.run_timers());
  async::RealTime real;
  queue.add_after("late", 1h);
  CO_TRY(co_await real.sleep_for(1ms));
  queue.add_after("soon", 1min);
  CO_TRY(co_await real.sleep_for(1ms));
  time.advance(1min);
  CO_TRY_ASSIGN(std::string key, co_await queue.take());
  EXPECT_EQ(key, "soon");
  scope.cancel();
  co_return co_await scope.join();
}
TEST(WorkQueue, AnEarlierDeadlineOvertakesALaterOne) { async::run_test(earlier); }

}  // namespace
}  // namespace monopod::client
