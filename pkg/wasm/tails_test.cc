// Tail calls where the engines differ in how they are made: between conventions, engines and instances, as deep as they like.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/run_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;

constexpr std::int32_t kDeep = 1'000'000;

class Tails : public ::testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    if (GetParam() != EngineKind::kInterpreter && !jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
  }
  Instance* instantiate(const Bytes& bytes, bool fuel = false) { return testing::instantiate(store, linker, engines_[fuel], bytes); }
  std::string call(Instance& instance, std::string_view name, std::vector<Value> arguments = {}) { return testing::call(store, instance, name, arguments); }
  bool compiles() const { return GetParam() == EngineKind::kBaseline || GetParam() == EngineKind::kJit; }
  Store store{{.stack_bytes = 256 << 10}};
  Linker linker;

 private:
  Engine engines_[2] = {Engine({.engine = GetParam(), .background = false, .warm = 3}), Engine({.fuel = true, .engine = GetParam(), .background = false, .warm = 3})};
};

// Of n parameters and as many results as named: all go on to the next function, the first one less by one, until it is 0; then the results are the parameters behind.
// The function of the next index is that of next_params.
Bytes passing(std::uint32_t params, std::uint32_t next, std::uint32_t next_params, const Bytes& at_end) {
  Bytes code{0x20, 0, 0x45, 0x04, 0x40};
  code = code + at_end + Bytes{0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b};
  for (std::uint32_t i = 1; i < next_params; ++i) code = code + (i < params ? Bytes{0x20} + leb(i) : i32_const(static_cast<std::int32_t>(i)));
  return code + Bytes{0x12} + leb(next);
}

TEST_P(Tails, AMillionBetweenFunctionsOfAnyNumbersOfParameters) {
  struct Case {
    std::uint32_t first, second;
  };
  // In registers alone; with words on the stack in one, both, more in one; by slots.
  for (Case c : {Case{1, 1}, {2, 5}, {1, 9}, {9, 1}, {7, 10}, {12, 12}, {1, 14}, {14, 1}, {13, 20}, {8, 13}, {13, 8}}) {
    Bytes result{0x41, 42};
    Instance& instance = *instantiate(Builder()
                                          .type(Bytes(c.first, I32), {I32})
                                          .type(Bytes(c.second, I32), {I32})
                                          .type({I32}, {I32})
                                          .function(0, passing(c.first, 1, c.second, result))
                                          .function(1, passing(c.second, 0, c.first, {0x20, static_cast<std::uint8_t>(c.second - 1), 0x41, 1, 0x6a}))
                                          .function(2, Bytes{0x20, 0} + repeat({0x41, 5}, c.first - 1) + Bytes{0x10, 0, 0x41, 1, 0x6a}, "run")
                                          .build());
    EXPECT_EQ(call(instance, "run", {Value::i32(kDeep)}), "43") << c.first << " " << c.second;
    std::string odd = c.second == 1 ? "2" : c.second <= c.first ? "7" : cat(c.second + 1);
    EXPECT_EQ(call(instance, "run", {Value::i32(kDeep + 1)}), odd) << c.first << " " << c.second;
    if (compiles()) EXPECT_EQ(instance.module().tier()->functions_compiled(), 3U);
  }
}

TEST_P(Tails, ResultsOfEveryTypeComeBackAcrossConventions) {
  // Types with 1 and with 14 parameters, of each result.
  struct Case {
    Bytes results, values;
  };
  Bytes vector = Bytes{0xfd, 12} + Bytes(16, 3);
  for (const Case& c : {Case{{}, {}}, {{I64}, {0x42, 7}}, {{F32}, {0x43, 0, 0, 0x80, 0x3f}}, {{F64}, {0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}}, {{0x7b}, vector}, {{I32, I64}, {0x41, 3, 0x42, 4}}}) {
    Instance& instance = *instantiate(Builder()
                                          .type({I32}, c.results)
                                          .type(Bytes(14, I32), c.results)
                                          .function(0, passing(1, 1, 14, c.values), "few")
                                          .function(1, passing(14, 0, 1, c.values), "many")
                                          .build());
    std::string want;
    for (int depth : {0, 1, 2, 3, 1000, 100'001}) {
      std::string few = call(instance, "few", {Value::i32(depth)});
      std::vector<Value> many(14, Value::i32(1));
      many[0] = Value::i32(depth);
      EXPECT_EQ(call(instance, "many", many), few);
      if (depth == 0) want = few;
      EXPECT_EQ(few, want) << depth;
    }
  }
}

struct Host {
  int calls = 0;
};
std::int32_t add_hundred(Host& h, Caller&, std::int32_t n) {
  ++h.calls;
  return n + 100;
}
constexpr HostFunction kHost[] = {host<add_hundred>("f")};

TEST_P(Tails, ThroughTablesAndReferencesAndToTheHost) {
  Host host_data;
  linker.add("h", kHost, &host_data);
  // 0: host; 1: by the table, n - 1 to itself; 2: by reference; 3: to the host
  Bytes by_table{0x20, 0, 0x45, 0x04, 0x40, 0x41, 9, 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x41, 0, 0x13, 0, 0};
  Bytes by_reference{0x20, 0, 0x45, 0x04, 0x40, 0x41, 8, 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0xd2, 2, 0x15, 0};
  Bytes to_host{0x20, 0, 0x12, 0};
  Bytes wrong{0x20, 0, 0x20, 0, 0x13, 0, 0};
  Instance& instance = *instantiate(Builder()
                                        .type({I32}, {I32})
                                        .type({}, {})
                                        .import("h", "f", 0)
                                        .table(4)
                                        .function(0, by_table, "table")
                                        .function(0, by_reference, "reference")
                                        .function(0, to_host, "host")
                                        .function(0, wrong, "wrong")
                                        .function(1, {}, "other")
                                        .function(0, {0x20, 0, 0x41, 2, 0x13, 0, 0}, "host_by_table")
                                        .elements(0, {1, 5, 0})
                                        .build());
  EXPECT_EQ(call(instance, "table", {Value::i32(kDeep)}), "9");
  EXPECT_EQ(call(instance, "reference", {Value::i32(kDeep)}), "8");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(call(instance, "host", {Value::i32(1)}), "101");
  EXPECT_EQ(call(instance, "host_by_table", {Value::i32(2)}), "102");
  EXPECT_EQ(host_data.calls, 6);
  // The failing call is the caller's own: its frame is still there.
  for (auto [at, text] : {std::pair{1, "indirect call type mismatch"}, {3, "uninitialized element"}, {4, "undefined element"}}) {
    std::string trap = call(instance, "wrong", {Value::i32(at)});
    EXPECT_TRUE(trap.starts_with(cat("wasm trap: ", text)) && trap.find("#0 function 4 (export \"wrong\") at ") != std::string::npos) << trap;
  }
}

TEST_P(Tails, BacktracesHaveWhoIsThereAndTrapsAreTheCallees) {
  // outer calls middle, which is replaced by inner, which traps
  Instance& instance = *instantiate(Builder()
                                        .type({}, {})
                                        .type(Bytes(14, I32), {})
                                        .function(0, {0x00}, "inner")
                                        .function(1, {0x12, 0}, "middle")
                                        .function(0, repeat({0x41, 1}, 14) + Bytes{0x10, 1}, "outer")
                                        .build());
  for (int i = 0; i < 4; ++i) {
    std::string trap = call(instance, "outer");
    EXPECT_TRUE(trap.starts_with("wasm trap: unreachable\n  #0 function 0 (export \"inner\") at ")) << trap;
    EXPECT_EQ(trap.find("middle"), std::string::npos) << trap;
    EXPECT_NE(trap.find("#1 function 2 (export \"outer\") at "), std::string::npos) << trap;
  }
}

TEST_P(Tails, LoopsOfThemEndByFuelAndInterruption) {
  Bytes module = Builder().type({}, {}).type(Bytes(14, I32), {}).function(0, repeat({0x41, 1}, 14) + Bytes{0x12, 1}, "loop").function(1, {0x12, 0}).function(0, {0x12, 2}, "self").build();
  for (const char* name : {"loop", "self"}) {
    store.set_fuel(100'000);
    std::string fuel = call(*instantiate(module, true), name);
    EXPECT_TRUE(fuel.starts_with("wasm trap: all fuel consumed")) << fuel;
    Instance& instance = *instantiate(module);
    std::jthread stops([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it cannot end otherwise
      store.interrupt();
    });
    std::string interrupted = call(instance, name);
    EXPECT_TRUE(interrupted.starts_with("wasm trap: interrupted")) << interrupted;
    stops.join();
    store.clear_interrupt();
  }
}

// What each such frame costs to clear leaves no time for a million. The host's stack would be too small for a tenth.
constexpr std::int32_t kDeeper = 20'000;

// A function that no compiler takes: its frame is too large.
Bytes large_locals() { return Bytes{1} + leb(8'400) + Bytes{I64}; }

TEST_P(Tails, AsDeepAsTheyLikeBetweenCompiledAndInterpretedFunctions) {
  for (std::uint32_t params : {1U, 9U, 14U}) {
    Instance& instance = *instantiate(Builder()
                                          .type({I32}, {I32})
                                          .type(Bytes(params, I32), {I32})
                                          .function(0, passing(1, 1, params, {0x41, 42}), "compiled")
                                          .function(1, passing(params, 0, 1, {0x41, 43}), "interpreted", large_locals())
                                          .function(0, {0x20, 0, 0x10, 0, 0x41, 1, 0x6a}, "from_compiled")
                                          .function(0, {0x20, 0, 0x10, 0, 0x41, 2, 0x6a}, "from_interpreted", large_locals())
                                          .build());
    EXPECT_EQ(call(instance, "compiled", {Value::i32(kDeeper)}), "42") << params;
    EXPECT_EQ(call(instance, "from_compiled", {Value::i32(kDeeper + 1)}), "44") << params;
    EXPECT_EQ(call(instance, "from_interpreted", {Value::i32(kDeeper)}), "44") << params;
    std::vector<Value> many(params, Value::i32(1));
    many[0] = Value::i32(kDeeper);
    EXPECT_EQ(call(instance, "interpreted", many), "43") << params;
    if (compiles()) EXPECT_EQ(instance.module().tier()->functions_compiled(), 2U);
  }
}

TEST_P(Tails, AMillionBetweenInstances) {
  // Each calls what the other has put into a table they share.
  TableObject* table = *store.make_table({kFuncRef, {.min = 2, .max = 2, .has_max = true}});
  linker.add("h", "t", table);
  auto side = [&](std::uint32_t params, std::uint32_t other_params, std::uint32_t own_slot) {
    Bytes code{0x20, 0, 0x45, 0x04, 0x40, 0x41, static_cast<std::uint8_t>(own_slot), 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b};
    for (std::uint32_t i = 1; i < other_params; ++i) code = code + Bytes{0x41, 1};
    code = code + Bytes{0x41, static_cast<std::uint8_t>(1 - own_slot), 0x13, 1, 0};
    return Builder()
        .type(Bytes(params, I32), {I32})
        .type(Bytes(other_params, I32), {I32})
        .type({I32}, {I32})
        .import_table("h", "t", 2)
        .function(0, code)
        .function(2, Bytes{0x20, 0} + repeat({0x41, 1}, params - 1) + Bytes{0x10, 0}, "run")
        .elements(own_slot, {0})
        .build();
  };
  for (auto [a, b] : {std::pair{1U, 2U}, {3U, 9U}, {2U, 14U}}) {
    Instance* first = instantiate(side(a, b, 0));
    instantiate(side(b, a, 1));
    EXPECT_EQ(call(*first, "run", {Value::i32(kDeep)}), "0");
    EXPECT_EQ(call(*first, "run", {Value::i32(kDeep + 1)}), "1");
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Tails, ::testing::Values(EngineKind::kInterpreter, EngineKind::kBaseline, EngineKind::kJit, EngineKind::kAuto), [](const auto& info) { return info.param == EngineKind::kJit ? "Jit" : info.param == EngineKind::kBaseline ? "Baseline" : info.param == EngineKind::kAuto ? "Auto" : "Interpreter"; });

}  // namespace
}  // namespace monopod::wasm
