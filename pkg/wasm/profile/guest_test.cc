#include "wasm/profile/guest.h"

#include <gtest/gtest.h>
#include <time.h>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/test_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;

// $spin(n): a loop of n rounds; $outer(n) = spin(n) + 1.
Bytes spinning_module() {
  Bytes body = Bytes{2, 0} + name("spin") + Bytes{1} + name("ou;ter");
  Bytes spin{0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 0};
  return Builder().type({I32}, {I32}).function(0, spin, "spin").function(0, {0x20, 0, 0x10, 0, 0x41, 1, 0x6a}, "outer").custom("name", Bytes{1} + leb(body.size()) + body).build();
}

double cpu_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

TEST(GuestProfiler, StacksOfCompiledCodeAreCountedByName) {
  if (!jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
  Result<std::shared_ptr<GuestProfiler>> profiler = GuestProfiler::make();
  ASSERT_TRUE(profiler);
  Result<std::shared_ptr<const Module>> module = Module::load(Engine({.engine = EngineKind::kJit, .code_listener = *profiler}), spinning_module());
  ASSERT_TRUE(module);
  Store store({});
  Instance& instance = **store.instantiate(*module, Linker());
  ASSERT_TRUE(store.call(*instance.function("outer"), {Value::i32(10)}));
  EXPECT_EQ((*profiler)->folded(), "") << "nothing was asked for yet";
  ASSERT_TRUE((*profiler)->start());
  double from = cpu_ms();
  for (std::int32_t rounds = 1 << 20; cpu_ms() - from < 400;) ASSERT_TRUE(store.call(*instance.function("outer"), {Value::i32(rounds)}));
  (*profiler)->stop();
  std::string folded = (*profiler)->folded();
  std::uint64_t together = 0, deep = 0;
  for (std::string_view line : split(trim(folded), '\n')) {
    std::uint64_t count = parse_int<std::uint64_t>(line.substr(line.rfind(' ') + 1)).value_or(0);
    together += count;
    if (line.starts_with("$ou?ter;$spin ")) deep = count;
  }
  EXPECT_GE(together, 20U) << folded;  // each millisecond, or each tick of a kernel that has nothing finer (10 ms at the most)
  EXPECT_GT(deep * 10, together * 8) << folded;
  (*profiler)->stop();
  ASSERT_TRUE(store.call(*instance.function("outer"), {Value::i32(1 << 24)}));
  EXPECT_EQ((*profiler)->folded(), folded) << "stopped";
}

}  // namespace
}  // namespace monopod::wasm
