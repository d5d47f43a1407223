#include "api/quota/ledger.h"

#include <gtest/gtest.h>

#include "api/limits.h"
#include "api/slice.h"
#include "async/scope.h"
#include "async/test_support.h"

namespace monopod::api {
namespace {

async::Task<Result<>> take_turn(async::Executor executor, async::FakeTime& time, QuotaTurn::Lines& lines, std::string name, std::vector<std::string>& log) {
  QuotaTurn turn(executor, lines, "ns");
  Result<> reached = co_await turn.wait(time);
  if (!reached) {
    log.push_back(name + (reached.error().code() == Code::kDeadlineExceeded ? " gave up" : " was cancelled"));
    co_return Result<>();
  }
  log.push_back(name);
  for (int i = 0; i < 3; ++i) CO_TRY(co_await yield_loop());
  log.push_back(name + " done");
  co_return Result<>();
}

async::Task<Result<>> in_order(async::Executor executor, async::FakeTime& time, QuotaTurn::Lines& lines, std::vector<std::string>& log) {
  async::Scope scope(executor);
  for (const char* name : {"a", "b", "c"}) scope.spawn(take_turn(executor, time, lines, name, log));
  co_return co_await scope.join();
}

async::Task<Result<>> turns(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  QuotaTurn::Lines lines;
  std::vector<std::string> log;
  CO_TRY(co_await in_order(loop.executor(), time, lines, log));
  EXPECT_EQ(log, (std::vector<std::string>{"a", "a done", "b", "b done", "c", "c done"}));
  EXPECT_TRUE(lines.empty());
  co_return Result<>();
}
TEST(QuotaTurn, GoesRoundInOrderAndLeavesNothing) { async::run_test(turns); }

async::Task<Result<>> advance_past_the_limit(async::FakeTime& time, std::unique_ptr<QuotaTurn>& holder, std::vector<std::string>& log) {
  for (int i = 0; i < 20; ++i) CO_TRY(co_await yield_loop());
  time.advance(kQuotaTurnMax - std::chrono::milliseconds(1));
  for (int i = 0; i < 20; ++i) CO_TRY(co_await yield_loop());
  EXPECT_TRUE(log.empty());
  time.advance(std::chrono::milliseconds(1));
  for (int i = 0; i < 20; ++i) CO_TRY(co_await yield_loop());
  EXPECT_EQ(log, std::vector<std::string>{"late gave up"});
  holder.reset();
  co_return Result<>();
}

async::Task<Result<>> waits(async::Executor executor, async::FakeTime& time, QuotaTurn::Lines& lines, std::unique_ptr<QuotaTurn>& holder, std::vector<std::string>& log) {
  async::Scope scope(executor);
  scope.spawn(take_turn(executor, time, lines, "late", log));
  scope.spawn(advance_past_the_limit(time, holder, log));
  co_return co_await scope.join();
}

async::Task<Result<>> limit(async::Loop& loop) {
  async::FakeTime time(loop.executor());
  QuotaTurn::Lines lines;
  std::vector<std::string> log;
  auto holder = std::make_unique<QuotaTurn>(loop.executor(), lines, "ns");
  QuotaTurn elsewhere(loop.executor(), lines, "other");
  CO_TRY(co_await elsewhere.wait(time));  // another namespace waits for nobody
  CO_TRY(co_await waits(loop.executor(), time, lines, holder, log));
  EXPECT_EQ(lines.size(), 1U);
  co_return Result<>();
}
TEST(QuotaTurn, IsWaitedForUpToTheLimit) { async::run_test(limit); }

}  // namespace
}  // namespace monopod::api
