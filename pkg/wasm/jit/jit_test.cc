// What is of compiled code alone: signals, memories without guard pages, code pages, where it takes over from the interpreter.
#include "wasm/jit/jit.h"

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/run_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;

class Jit : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
  }
  Instance* instantiate(const Bytes& bytes, EngineOptions options = {.engine = EngineKind::kJit}) { return testing::instantiate(store, linker, Engine(options), bytes); }
  std::string call(Instance& instance, std::string_view name, std::vector<Value> arguments = {}) { return testing::call(store, instance, name, arguments); }
  Store store{{}};
  Linker linker;
};

// f(n): the i64 at n of memory 0; g(n): the same stored
Bytes accesses() {
  return Builder().type({I32}, {I64}).import_memory("h", "m", 1).function(0, {0x20, 0, 0x29, 3, 0}, "f").function(0, {0x20, 0, 0x42, 9, 0x37, 3, 0, 0x20, 0, 0x29, 3, 0}, "g").function(0, Bytes{0x20, 0, 0x29, 3} + leb(0xffff'fff0), "far").build();
}

TEST_F(Jit, MemoriesWithAndWithoutGuardPagesEndAtTheSameByte) {
  for (bool guarded : {true, false}) {
    MemoryObject* memory = *store.make_memory({.min = 1, .max = 1, .has_max = true});
    if (!guarded) memory->guarded = false;
    linker.add("h", "m", memory);
    Instance& instance = *instantiate(accesses());
    for (const char* name : {"f", "g"}) {
      EXPECT_EQ(call(instance, name, {Value::i32(65'528)}), name[0] == 'f' ? "0" : "9") << guarded;
      for (std::int32_t at : {65'529, 65'535, 65'536, 1 << 30, -1, -8}) EXPECT_TRUE(call(instance, name, {Value::i32(at)}).starts_with("wasm trap: out of bounds memory access\n  #0 ")) << at << guarded;
      memory->base[65'528] = 0;
    }
    for (std::int32_t at : {0, 8, 16, 65'535, -1}) EXPECT_TRUE(call(instance, "far", {Value::i32(at)}).starts_with("wasm trap: out of bounds")) << at << guarded;
    EXPECT_EQ(instance.module().tier()->functions_compiled(), 3U);
  }
}

TEST_F(Jit, ARangeThatAnEarlierGuestHadFaultsBehindTheEndAgain) {
  Pool pool(4);
  // grow(n), read(address)
  Bytes bytes = Builder().type({I32}, {I32}).memory(1).function(0, {0x20, 0, 0x40, 0}, "grow").function(0, {0x20, 0, 0x28, 2, 0}, "read").build();
  Result<std::shared_ptr<const Module>> module = Module::load(Engine({.engine = EngineKind::kJit}), bytes);
  for (bool first : {true, false}) {
    Store own({.pool = &pool});
    Instance* instance = *own.instantiate(*module, linker);
    std::uint64_t slot[1] = {3};
    if (first) EXPECT_TRUE(own.call_raw(*instance->function("grow"), slot));
    slot[0] = 2 << 16;
    EXPECT_EQ(own.call_raw(*instance->function("read"), slot), first);
  }
}

volatile sig_atomic_t seen = 0;
sigjmp_buf back;
void on_fault(int) {
  seen = seen + 1;
  siglongjmp(back, 1);
}

// In a process of its own: handlers are installed once, by the first module that compiles.
void other_signals() {
  struct sigaction mine {};
  mine.sa_handler = on_fault;
  mine.sa_flags = SA_NODEFER;
  ::sigaction(SIGSEGV, &mine, nullptr);
  Store store({});
  Result<std::shared_ptr<const Module>> module = Module::load(Engine({.engine = EngineKind::kJit}), Builder().type({I32}, {I32}).memory(1).function(0, {0x20, 0, 0x28, 2, 0}, "f").build());
  Instance* instance = *store.instantiate(*module, Linker());
  std::uint64_t slot[1] = {1 << 20};
  bool trapped = !store.call_raw(*instance->function("f"), slot) && seen == 0;
  void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (sigsetjmp(back, 1) == 0) *static_cast<volatile char*>(page) = 1;  // a fault of the host's own
  if (sigsetjmp(back, 1) == 0) ::raise(SIGSEGV);                       // sent
  slot[0] = 1 << 20;
  trapped = trapped && !store.call_raw(*instance->function("f"), slot);
  std::_Exit(trapped && seen == 2 ? 7 : 1);
}

// ---- W9: signals and pages

TEST_F(Jit, SignalsOfTheHostReachItsOwnHandler) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(other_signals(), ::testing::ExitedWithCode(7), "");
}

TEST_F(Jit, NoPageIsWritableWhereItRuns) {
  Instance& instance = *instantiate(Builder().type({}, {I32}).function(0, {0x41, 5}, "f").build());
  EXPECT_EQ(call(instance, "f"), "5");
  std::ifstream maps("/proc/self/maps");
  std::string line;
  int executable = 0;
  while (std::getline(maps, line)) {
    std::string_view rights = std::string_view(line).substr(line.find(' ') + 1, 4);
    EXPECT_FALSE(rights[1] == 'w' && rights[2] == 'x') << line;
    if (rights[2] == 'x' && line.find("wasm-code") != std::string::npos) ++executable;
  }
  EXPECT_GE(executable, 1);
}

TEST_F(Jit, ALoopIsLeftForMachineCodeWhileItRuns) {
  // sum of n, n-1, … 1, with an operand below the loop
  Bytes code{0x41, 7, 0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x6a};
  Bytes module = Builder().type({I32}, {I32}).function(0, code, "sum", Bytes{1, 1, I32}).build();
  for (bool background : {false, true}) {
    Instance& instance = *instantiate(module, {.engine = EngineKind::kAuto, .background = background});
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do EXPECT_EQ(call(instance, "sum", {Value::i32(30'000)}), cat(30'000 * 30'001 / 2 + 7));
    while (instance.module().tier()->functions_compiled() == 0 && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(instance.module().tier()->functions_compiled(), 1U);
  }
}

TEST_F(Jit, WhatCannotBeCompiledIsInterpretedAndCallsGoBothWays) {
  // even(n) is compiled; odd(n) has too large a frame: even calls odd calls even …
  Bytes even{0x20, 0, 0x45, 0x04, I32, 0x41, 1, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 1, 0x0b};
  Bytes odd{0x20, 0, 0x45, 0x04, 0x40, 0x41, 0, 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0};
  Instance& instance = *instantiate(Builder().type({I32}, {I32}).function(0, even, "even").function(0, odd, "odd", Bytes{1} + leb(8'400) + Bytes{I64}).build());
  EXPECT_EQ(call(instance, "even", {Value::i32(20)}), "1");
  EXPECT_EQ(call(instance, "odd", {Value::i32(20)}), "0");
  EXPECT_EQ(instance.module().tier()->functions_compiled(), 1U);
  std::string deep = call(instance, "even", {Value::i32(100'000'000)});
  EXPECT_TRUE(deep.starts_with("wasm trap: call stack exhausted")) << deep;
  EXPECT_LT(deep.size(), 10'000U);
  EXPECT_EQ(call(instance, "even", {Value::i32(10)}), "1");
}

// By the baseline compiler, which arm64 has not.
#if defined(__aarch64__)
#define SKIP_WITHOUT_BASELINE() GTEST_SKIP() << "no baseline compiler for this processor: large functions are interpreted"
#else
#define SKIP_WITHOUT_BASELINE() static_cast<void>(0)
#endif

TEST_F(Jit, LargeFunctionsCompileToo) {
  SKIP_WITHOUT_BASELINE();
  Instance& instance = *instantiate(Builder().type({}, {I32}).function(0, Bytes{0x41, 0} + repeat({0x41, 1, 0x6a}, kCompiledBodyBytesMax / 3), "large").function(0, Bytes{0x41, 0} + repeat({0x41, 1, 0x6a}, 100), "small").build());
  EXPECT_EQ(call(instance, "large"), cat(kCompiledBodyBytesMax / 3));
  EXPECT_EQ(call(instance, "small"), "100");
  EXPECT_EQ(instance.module().tier()->functions_compiled(), 2U);
}

TEST_F(Jit, ALargeFunctionIsEnteredAtTheLoopThatRuns) {
  SKIP_WITHOUT_BASELINE();
  // sum of n, n-1, … 1 with an operand below the loop, and much behind it
  Bytes code = Bytes{0x41, 7, 0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x6a} + repeat({0x41, 1, 0x6a}, kCompiledBodyBytesMax / 3);
  Instance& instance = *instantiate(Builder().type({I32}, {I32}).function(0, code, "sum", Bytes{1, 1, I32}).build(), {.engine = EngineKind::kAuto, .background = false});
  EXPECT_EQ(call(instance, "sum", {Value::i32(30'000)}), cat(30'000 * 30'001 / 2 + 7 + kCompiledBodyBytesMax / 3));
  EXPECT_EQ(instance.module().tier()->functions_compiled(), 1U);
}

TEST_F(Jit, TheBaselineCompilerTakesLinearTime) {
  SKIP_WITHOUT_BASELINE();
  // Nested blocks with a jump table of all of them, above many operands: nothing is looked through again.
  constexpr std::uint32_t kBlocks = 8'000;
  Bytes body = repeat({0x20, 0}, 1'000) + repeat({0x02, 0x40}, kBlocks) + Bytes{0x20, 0, 0x0e} + leb(kBlocks - 1);
  for (std::uint32_t i = 0; i < kBlocks; ++i) body = body + leb(i);
  body = body + repeat({0x0b, 0x20, 0, 0x22, 0, 0x1a}, kBlocks) + repeat({0x6a}, 999);
  Bytes module = Builder().type({I32}, {I32}).function(0, body, "f").build();
  Result<std::shared_ptr<const Module>> loaded = Module::load(Engine({.engine = EngineKind::kBaseline}), module);
  ASSERT_TRUE(loaded) << loaded.error().message();
  auto from = std::chrono::steady_clock::now();
  EXPECT_GT((*loaded)->tier()->compile_all(), 60'000U);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count(), 1);
}

TEST_F(Jit, WhatTakesTheAllocatorLongestIsStillQuick) {
  // Bodies of the most bytes that compile: nested blocks, a jump table of all of them, many locals alive across many calls.
  Bytes nested = repeat({0x02, 0x40}, 1'600) + Bytes{0x20, 0, 0x0e} + leb(1'500);
  for (std::uint32_t i = 0; i <= 1'500; ++i) nested = nested + leb(i);
  nested = nested + repeat({0x0b}, 1'600);
  Bytes calls;
  for (std::uint32_t i = 0; i < 900; ++i) calls = calls + Bytes{0x10, 0, 0x21} + leb(1 + i) ;
  for (std::uint32_t i = 0; i < 900; ++i) calls = calls + Bytes{0x20} + leb(1 + i) + Bytes{0x1a};
  Bytes module = Builder().type({}, {I32}).type({I32}, {}).function(0, {0x41, 1}).function(1, nested, "nested").function(1, calls, "calls", Bytes{1} + leb(900) + Bytes{I32}).build();
  Result<std::shared_ptr<const Module>> loaded = Module::load(Engine({.engine = EngineKind::kJit}), module);
  ASSERT_TRUE(loaded) << loaded.error().message();
  auto from = std::chrono::steady_clock::now();
  EXPECT_GT((*loaded)->tier()->compile_all(), 12'000U);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count(), 10);
}

}  // namespace
}  // namespace monopod::wasm
