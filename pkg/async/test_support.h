// For tests: run a coroutine to its end on a fresh loop, within a hard limit of real time.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/scope.h"
#include "async/time.h"

namespace monopod::async {

// Runs body(loop) as the loop's main task; fails the test on error or after 30 s of real time.
template <typename Body>
void run_test(Body body, std::chrono::seconds limit = std::chrono::seconds(30)) {
  ignore_broken_pipes();
  Loop loop;
  RealTime real;
  auto bounded = [](RealTime& time, std::chrono::seconds max, Task<Result<>> task) -> Task<Result<>> {
    co_return co_await with_timeout<void>(time, max, "test", std::move(task));
  };
  Result<> result = loop.run(bounded(real, limit, body(loop)));
  EXPECT_TRUE(result) << (result ? "" : result.error().message());
}

}  // namespace monopod::async

// ASSERT_ for coroutines: records the failure and ends the test body with an error.
#define CO_ASSERT_TRUE(...)                                                                     \
  do {                                                                                          \
    bool co_assert_ok = static_cast<bool>(__VA_ARGS__);                                         \
    EXPECT_TRUE(co_assert_ok) << #__VA_ARGS__;                                                  \
    if (!co_assert_ok) co_return ::monopod::fail(::monopod::Code::kInternal, "assertion");      \
  } while (false)
