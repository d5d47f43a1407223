// Exceptions where the engines differ in how they find who catches them: across frames of any engine and of the host, with what is alive there.
#include <gtest/gtest.h>

#include <bit>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/run_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;

struct Host {
  Store* store = nullptr;
  FunctionObject* back = nullptr;
};
// What it calls may throw: it says nothing of that, and so passes it on.
std::int32_t pass(Host& host, Caller&, std::int32_t n) {
  std::uint64_t slots[1] = {static_cast<std::uint32_t>(n)};
  return host.store->call_raw(*host.back, slots) ? static_cast<std::int32_t>(slots[0]) : 0;
}
constexpr HostFunction kRows[] = {host<pass>("pass")};

class Exceptions : public ::testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    if (GetParam() != EngineKind::kInterpreter && !jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
    host_.store = &store;
    linker.add("h", kRows, &host_);
  }
  Instance* instantiate(const Bytes& bytes) {
    Instance* instance = testing::instantiate(store, linker, engine_, bytes);
    host_.back = instance->function("back");
    return instance;
  }
  std::string call(Instance& instance, std::string_view name, std::vector<Value> arguments = {}) { return testing::call(store, instance, name, arguments); }
  void expect_compiled(Instance& instance, std::size_t functions) {
    if (GetParam() == EngineKind::kBaseline || GetParam() == EngineKind::kJit) EXPECT_EQ(instance.module().tier()->functions_compiled(), functions);
  }
  Store store{{.stack_bytes = 1 << 20}};
  Linker linker;

 private:
  Engine engine_{{.engine = GetParam(), .background = false, .warm = 3}};
  Host host_;
};

// So many that no compiler takes the function.
Bytes locals(bool interpreted) { return interpreted ? Bytes{1} + leb(8'400) + Bytes{I64} : Bytes{0}; }

// (block (result i32) (try_table (catch 0 0) call f(local 0), drop) -1, return) + 100
Bytes catching(std::uint32_t f) { return Bytes{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 0, 0x10} + leb(f) + Bytes{0x1a, 0x0b, 0x41, 0x7f, 0x0f, 0x0b, 0x41, 0xe4, 0, 0x6a}; }

TEST_P(Exceptions, PassFramesOfEveryEngineAndOfTheHost) {
  for (int variant = 0; variant < 16; ++variant) {
    bool by_host = (variant & 8) != 0;
    // 0: the host's; 1: throws; 2: calls it; 3: catches
    Instance& instance = *instantiate(Builder()
                                          .type({I32}, {I32})
                                          .type({I32}, {})
                                          .import("h", "pass", 0)
                                          .tag(1)
                                          .function(0, {0x20, 0, 0x08, 0}, "back", locals((variant & 1) != 0))
                                          .function(0, {0x20, 0, 0x10, static_cast<std::uint8_t>(by_host ? 0 : 1), 0x41, 1, 0x6a}, "middle", locals((variant & 2) != 0))
                                          .function(0, catching(2), "catch", locals((variant & 4) != 0))
                                          .build());
    for (int i = 0; i < 5; ++i) EXPECT_EQ(call(instance, "catch", {Value::i32(i)}), cat(100 + i)) << variant;
    std::string uncaught = call(instance, "middle", {Value::i32(1)});
    EXPECT_TRUE(uncaught.starts_with("wasm trap: uncaught exception\n  #0 function 1 (export \"back\") at ")) << uncaught;
    EXPECT_NE(uncaught.find(by_host ? "\n  #1 h.pass\n  #2 function 2" : "\n  #1 function 2"), std::string::npos) << uncaught;
    EXPECT_EQ(uncaught.find("catch"), std::string::npos) << uncaught;
    expect_compiled(instance, 3 - static_cast<std::size_t>(std::popcount(static_cast<unsigned>(variant & 7))));
  }
}

TEST_P(Exceptions, WhatIsAliveWhereOneIsCaughtIsAsItWas) {
  // f(n): locals 1 to 12 are n + i, floats too; g, which uses as many registers, throws; then their sum, and an operand below the block
  Bytes many = Bytes{2, 12, I32, 3, F64};
  auto fill = [](int k) {
    Bytes out;
    for (int i = 1; i <= 12; ++i) out = out + Bytes{0x20, 0, 0x41, static_cast<std::uint8_t>(i + k), 0x6a, 0x21, static_cast<std::uint8_t>(i)};
    for (int i = 13; i <= 15; ++i) out = out + Bytes{0x20, 0, 0xb7, 0x21, static_cast<std::uint8_t>(i)};
    return out;
  };
  auto sum = [] {
    Bytes out;
    for (int i = 1; i <= 12; ++i) out = out + Bytes{0x20, static_cast<std::uint8_t>(i), 0x6a};
    for (int i = 13; i <= 15; ++i) out = out + Bytes{0x20, static_cast<std::uint8_t>(i), 0xaa, 0x6a};
    return out;
  };
  // g(n): n == 0 ? throw 7 : g(n - 1) + its own
  Bytes g = fill(20) + Bytes{0x20, 0, 0x45, 0x04, 0x40, 0x41, 7, 0x08, 0, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0} + sum();
  Bytes f = fill(0) + Bytes{0x20, 0, 0x41, 3, 0x6c} + Bytes{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0} + repeat(Bytes{0x20, 0, 0x10, 0, 0x1a}, 1) + Bytes{0x0b, 0x00, 0x0b, 0x6a} + sum();
  Instance& instance = *instantiate(Builder().type({I32}, {I32}).type({I32}, {}).tag(1).function(0, g, "back", many).function(0, f, "f", many).build());
  for (int n : {1, 2, 5, 9, 30}) EXPECT_EQ(call(instance, "f", {Value::i32(n)}), cat(3 * n + 7 + 12 * n + 78 + 3 * n)) << n;
  expect_compiled(instance, 2);
}

TEST_P(Exceptions, ClausesAreTriedInOrderAndOthersPassOn) {
  // f(n): throws tag n (of 3); caught by 0: n + 10; 1: 20 + its payload; anything: 30; in an inner block that takes 1 alone, by reference
  Bytes throws{0x20, 0, 0x45, 0x04, 0x40, 0x08, 0, 0x0b, 0x20, 0, 0x41, 1, 0x46, 0x04, 0x40, 0x41, 5, 0x42, 6, 0x08, 1, 0x0b, 0x20, 0, 0x41, 2, 0x46, 0x04, 0x40, 0x08, 2, 0x0b, 0x41, 1};
  for (bool inside : {false, true}) {  // thrown by the function itself, or by what it calls
    Bytes body = inside ? throws + Bytes{0x1a} : Bytes{0x20, 0, 0x10, 0, 0x1a};
    Bytes f = Bytes{0x02, 0x40, 0x02, 0x40, 0x02, 4,  // $all, $zero, $one (result i32 i64)
                    0x1f, 0x40, 3, 0, 0, 1, 0, 1, 0, 2, 2} +
              Bytes{0x02, 5, 0x1f, 0x40, 1, 1, 1, 0} + body + Bytes{0x0b, 0x41, 1, 0x0f, 0x0b, 0x0a} +  // $ref (result i32 i64 exnref), thrown again
              Bytes{0x0b, 0x00, 0x0b, 0xa7, 0x6a, 0x41, 20, 0x6a, 0x0f, 0x0b, 0x41, 10, 0x0f, 0x0b, 0x41, 30};
    Instance& instance = *instantiate(Builder()
                                          .type({I32}, {I32})
                                          .type({}, {})
                                          .type({I32, I64}, {})
                                          .type({}, {})
                                          .type({}, {I32, I64})
                                          .type({}, {I32, I64, EXNREF})
                                          .tag(1)
                                          .tag(2)
                                          .tag(3)
                                          .function(0, throws, "back")
                                          .function(0, f, "f")
                                          .build());
    const char* want[] = {"10", "31", "30", "1"};
    for (int round = 0; round < 3; ++round)
      for (int n = 0; n < 4; ++n) EXPECT_EQ(call(instance, "f", {Value::i32(n)}), want[n]) << inside << n;
    expect_compiled(instance, inside ? 1 : 2);
  }
}

TEST_P(Exceptions, ATailCallLeavesItsTryBlock) {
  Bytes inner = Bytes{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 0, 0x12, 0, 0x0b, 0x41, 0x7f, 0x0b};
  Instance& instance = *instantiate(Builder().type({I32}, {I32}).type({I32}, {}).tag(1).function(0, {0x20, 0, 0x08, 0}, "back").function(0, inner, "inner").function(0, catching(1), "catch").build());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(call(instance, "catch", {Value::i32(i)}), cat(100 + i));
  EXPECT_TRUE(call(instance, "inner", {Value::i32(1)}).starts_with("wasm trap: uncaught exception"));
}

TEST_P(Exceptions, CatchingTakesNoStack) {
  // 20,000 of them, thrown by what is called by slots, across what is called by registers
  Bytes thrower = Bytes{0x20, 0, 0x08, 0};
  Bytes middle = Bytes{0x20, 0} + repeat({0x41, 1}, 19) + Bytes{0x10, 0};
  Bytes loop{0x03, 0x40, 0x20, 0, 0x10, 2, 0x20, 1, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1};
  Bytes catches{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 0, 0x10, 1, 0x1a, 0x0b, 0x41, 0x7f, 0x0b, 0x1a, 0x41, 1};
  Instance& instance = *instantiate(Builder()
                                        .type(Bytes(20, I32), {I32})
                                        .type({I32}, {I32})
                                        .type({I32}, {})
                                        .tag(2)
                                        .function(0, thrower)
                                        .function(1, middle, "back")
                                        .function(1, catches)
                                        .function(1, loop, "loop", {1, 1, I32})
                                        .build());
  EXPECT_EQ(call(instance, "loop", {Value::i32(20'000)}), "20000");
}

TEST_P(Exceptions, ReferencesLiveInLocalsParametersAndSlots) {
  // keep(n): an exception of payload n caught by reference; 30,000 others thrown and caught; then it is thrown again, through a function of 14 parameters
  Bytes again = Bytes{0x20, 0, 0x0a};
  Bytes other{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x41, 3, 0x08, 0, 0x0b, 0x00, 0x0b, 0x1a};
  Bytes keep = Bytes{0x02, 3, 0x1f, 0x40, 1, 1, 0, 0, 0x20, 0, 0x08, 0, 0x0b, 0x00, 0x0b, 0x21, 1, 0x1a} +  // its reference in local 1
               Bytes{0x41} + sleb(30'000) + Bytes{0x21, 2, 0x03, 0x40} + other + Bytes{0x20, 2, 0x41, 1, 0x6b, 0x22, 2, 0x0d, 0, 0x0b} +
               Bytes{0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 1} + repeat({0x41, 1}, 13) + Bytes{0x10, 0, 0x0b, 0x00, 0x0b};
  Bytes null{0xd0, EXNREF, 0x0a};
  Instance& instance = *instantiate(Builder()
                                        .type(Bytes{EXNREF} + Bytes(13, I32), {})
                                        .type({I32}, {I32})
                                        .type({I32}, {})
                                        .type({}, {I32, EXNREF})
                                        .type({}, {})
                                        .tag(2)
                                        .function(0, again)
                                        .function(1, keep, "keep", {2, 1, EXNREF, 1, I32})
                                        .function(4, null, "null")
                                        .build());
  EXPECT_EQ(call(instance, "keep", {Value::i32(77)}), "77");
  EXPECT_EQ(call(instance, "keep", {Value::i32(78)}), "78");
  EXPECT_TRUE(call(instance, "null").starts_with("wasm trap: null reference"));
  expect_compiled(instance, 3);
}

TEST_P(Exceptions, ALoopInATryBlockIsEnteredWhileItRuns) {
  // f(n): in a try block, a loop of n rounds, then a call that throws; the sum so far comes out
  Bytes f = Bytes{0x41, 5, 0x02, I32, 0x1f, 0x40, 1, 0, 0, 0, 0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x10, 0, 0x1a, 0x0b, 0x00, 0x0b, 0x6a};
  Instance& instance = *instantiate(Builder().type({I32}, {I32}).type({I32}, {}).tag(1).function(0, {0x20, 0, 0x08, 0}, "back").function(0, f, "f", {1, 1, I32}).build());
  EXPECT_EQ(call(instance, "f", {Value::i32(30'000)}), cat(30'000 * 30'001 / 2 + 5));
  EXPECT_EQ(call(instance, "f", {Value::i32(300)}), cat(300 * 301 / 2 + 5));
}

TEST_P(Exceptions, BacktracesForgetThoseThatWereCaught) {
  Bytes f = catching(0) + Bytes{0x00};
  // g: a try block that is for another tag
  Bytes g{0x02, 0x40, 0x1f, 0x40, 1, 0, 1, 0, 0x41, 1, 0x10, 0, 0x1a, 0x0b, 0x0b};
  Instance& instance = *instantiate(
      Builder().type({I32}, {I32}).type({I32}, {}).type({}, {}).tag(1).tag(2).function(0, {0x20, 0, 0x08, 0}, "back").function(0, f, "f").function(2, g, "g").function(2, {0x10, 2}, "outer").build());
  for (int i = 0; i < 4; ++i) {
    std::string trap = call(instance, "f", {Value::i32(1)});
    EXPECT_TRUE(trap.starts_with("wasm trap: unreachable\n  #0 function 1 (export \"f\") at ")) << trap;
    EXPECT_EQ(trap.find("#1"), std::string::npos) << trap;
    std::string uncaught = call(instance, "outer");
    EXPECT_TRUE(uncaught.starts_with("wasm trap: uncaught exception\n  #0 function 0 (export \"back\") at ")) << uncaught;
    EXPECT_NE(uncaught.find("\n  #1 function 2 (export \"g\") at "), std::string::npos) << uncaught;
    EXPECT_NE(uncaught.find("\n  #2 function 3 (export \"outer\") at "), std::string::npos) << uncaught;
    EXPECT_EQ(uncaught.find("#3"), std::string::npos) << uncaught;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Exceptions, ::testing::Values(EngineKind::kInterpreter, EngineKind::kBaseline, EngineKind::kJit, EngineKind::kAuto), [](const auto& info) { return info.param == EngineKind::kJit ? "Jit" : info.param == EngineKind::kBaseline ? "Baseline" : info.param == EngineKind::kAuto ? "Auto" : "Interpreter"; });

}  // namespace
}  // namespace monopod::wasm
