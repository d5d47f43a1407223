#include "wasm/engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/strings.h"
#include "sys/fd.h"
#include "wasm/test_support.h"
#include "wasm/text.h"

namespace monopod::wasm {
namespace {

using namespace testing;

// What is tested: each of the tests below that runs code runs on every engine.
EngineKind engine_under_test = EngineKind::kInterpreter;

Result<std::shared_ptr<const Module>> load(const Bytes& bytes, EngineOptions options = {}) {
  options.engine = engine_under_test;
  options.background = false;
  options.warm = 1;
  return Module::load(Engine(options), bytes);
}

class OnEngine : public ::testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    if (GetParam() != EngineKind::kInterpreter && !jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
    engine_under_test = GetParam();
  }
  void TearDown() override { engine_under_test = EngineKind::kInterpreter; }
};
class LinearMemory : public OnEngine {};
class StoreLife : public OnEngine {};
class Run : public OnEngine {};
class Proposals : public OnEngine {};
std::string engine_name(const ::testing::TestParamInfo<EngineKind>& info) {
  static constexpr std::string_view kNames[] = {"Auto", "Interpreter", "Baseline", "Jit"};
  return std::string(kNames[static_cast<std::size_t>(info.param)]);
}
#define ON_EVERY_ENGINE(suite) INSTANTIATE_TEST_SUITE_P(Engines, suite, ::testing::Values(EngineKind::kInterpreter, EngineKind::kBaseline, EngineKind::kJit, EngineKind::kAuto), engine_name)
ON_EVERY_ENGINE(LinearMemory);
ON_EVERY_ENGINE(StoreLife);
ON_EVERY_ENGINE(Run);
ON_EVERY_ENGINE(Proposals);
std::string error_of(const Bytes& bytes) {
  Result<std::shared_ptr<const Module>> module = load(bytes);
  return module ? "" : module.error().message();
}

struct Guest {
  explicit Guest(const Bytes& bytes, StoreOptions limits = {}, EngineOptions options = {}) : store(limits) {
    Result<std::shared_ptr<const Module>> module = load(bytes, options);
    EXPECT_TRUE(module) << module.error().message();
    if (!module) return;
    Result<Instance*> made = store.instantiate(*module, linker);
    EXPECT_TRUE(made) << made.error().message();
    if (made) instance = *made;
  }
  Result<std::vector<Value>> call(std::string_view name, std::vector<Value> arguments = {}) { return store.call(*instance->function(name), arguments); }
  std::int64_t number(std::string_view name, std::vector<Value> arguments = {}) {
    Result<std::vector<Value>> got = call(name, std::move(arguments));
    EXPECT_TRUE(got) << got.error().message();
    return !got || got->empty() ? -1 : (*got)[0].type == kI32 ? (*got)[0].as_i32() : (*got)[0].as_i64();
  }
  std::string trap(std::string_view name, std::vector<Value> arguments = {}) {
    Result<std::vector<Value>> got = call(name, std::move(arguments));
    return got ? "" : got.error().message();
  }
  Linker linker;
  Store store;
  Instance* instance = nullptr;
};

double seconds(auto work) {
  auto from = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

constexpr std::uint8_t kBlockVoid[] = {0x02, 0x40};
const Bytes kLoopForever{0x03, 0x40, 0x0c, 0, 0x0b};

// ---- W1: hostile modules

TEST(Decode, CountsThatTheFileHasNoRoomForAreRefusedBeforeAnythingIsAllocated) {
  for (std::uint8_t section = 1; section <= 13; ++section) {
    if (section == 8 || section == 12) continue;  // no count
    Bytes body = leb(0xffff'ffff) + Bytes(20, 0);
    Bytes module = Bytes{0, 'a', 's', 'm', 1, 0, 0, 0, section} + leb(body.size()) + body;
    double took = seconds([&] { EXPECT_FALSE(load(module)) << int{section}; });
    EXPECT_LT(took, 0.5);
  }
  // A function with 2^32 - 1 locals, in one group and in many.
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, {}, "f", Bytes{1} + leb(0xffff'ffff) + Bytes{I32}).build()).find("too many locals"), std::string::npos);
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, {}, "f", leb(20) + repeat(leb(0xffff'ffff) + Bytes{I64}, 20)).build()).find("too many locals"), std::string::npos);
}

TEST(Decode, OverlongAndOverflowingNumbersAreRefused) {
  Bytes head{0, 'a', 's', 'm', 1, 0, 0, 0};
  EXPECT_NE(error_of(head + Bytes{1, 0x82, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0x60}).find("integer representation too long"), std::string::npos);
  EXPECT_NE(error_of(head + Bytes{1, 0x82, 0x80, 0x80, 0x80, 0x70}).find("integer too large"), std::string::npos);
  EXPECT_NE(error_of(head + Bytes{1, 0x7f, 0}).find("length out of bounds"), std::string::npos);
  EXPECT_NE(error_of(head + Bytes{3, 1, 0, 1, 1, 0}).find("unexpected content after last section"), std::string::npos);
  EXPECT_NE(error_of(head + Bytes{1, 1, 0, 1, 1, 0}).find("duplicate section"), std::string::npos);
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, Bytes{0x41, 0x80, 0x80, 0x80, 0x80, 0x70, 0x1a}).build()), "");
}

TEST(Decode, NestingIsLimitedAndDeepNestingIsLinear) {
  auto nested = [](std::size_t depth) { return Builder().type({}, {}).function(0, repeat(Bytes(std::begin(kBlockVoid), std::end(kBlockVoid)), depth) + Bytes(depth, 0x0b), "f").build(); };
  double took = seconds([&] {
    Guest guest(nested(kBlockDepthMax - 1));
    EXPECT_TRUE(guest.call("f"));
  });
  EXPECT_LT(took, 5);
  EXPECT_NE(error_of(nested(kBlockDepthMax)).find("too many nested blocks"), std::string::npos);
  EXPECT_NE(error_of(nested(100'000)).find("too many nested blocks"), std::string::npos);
}

TEST(Decode, LocalsAreLimited) {
  auto with = [](std::uint32_t n) { return Builder().type({}, {I32}).function(0, Bytes{0x20} + leb(n - 1), "f", Bytes{1} + leb(n) + Bytes{I32}).build(); };
  Guest guest(with(kLocalsMax));
  EXPECT_EQ(guest.number("f"), 0);
  EXPECT_NE(error_of(with(kLocalsMax + 1)).find("too many locals"), std::string::npos);
  // Frames are limited too: 50,000 vectors are 100,000 slots.
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, {}, "f", Bytes{1} + leb(kLocalsMax) + Bytes{0x7b}).build()).find("function too large"), std::string::npos);
}

TEST(Decode, BranchTablesAreLimited) {
  auto with = [](std::uint32_t n) { return Builder().type({I32}, {}).function(0, Bytes{0x20, 0, 0x0e} + leb(n) + Bytes(n + 1, 0), "f").build(); };
  Guest guest(with(kBranchTableMax));
  EXPECT_TRUE(guest.call("f", {Value::i32(-1)}));
  EXPECT_NE(error_of(with(kBranchTableMax + 1)).find("br_table too large"), std::string::npos);
  double took = seconds([&] { EXPECT_NE(error_of(Builder().type({I32}, {}).function(0, Bytes{0x20, 0, 0x0e} + leb(10'000'000) + Bytes(5'000'000, 0)).build()), ""); });
  EXPECT_LT(took, 1);
}

TEST(Decode, OperandsAreLimited) {
  auto with = [](std::uint32_t n) { return Builder().type({}, {}).function(0, repeat({0x41, 0}, n) + Bytes(n, 0x1a), "f").build(); };
  Guest guest(with(kFrameSlotsMax));
  EXPECT_TRUE(guest.call("f"));
  EXPECT_NE(error_of(with(kFrameSlotsMax + 1)).find("function too large"), std::string::npos);
}

TEST(Decode, ABadNameSectionIsNoError) {
  for (const Bytes& garbage : {Bytes{1, 0xff, 0xff, 0xff, 0xff, 0x0f}, Bytes{1, 3, 1, 0, 200}, Bytes{0xff, 0xff}, Bytes{1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f}, Bytes{}}) {
    Guest guest(Builder().type({}, {}).function(0, {0x00}, "f").custom("name", garbage).build());
    EXPECT_NE(guest.trap("f").find("unreachable"), std::string::npos);
  }
}

TEST(Decode, ErrorsNameTheByteAndTheFunction) {
  Bytes names = Bytes{1} + leb(7) + Bytes{1, 0} + name("frob");
  names[1] = static_cast<std::uint8_t>(names.size() - 2);
  std::string error = error_of(Builder().type({}, {I32}).function(0, {0x42, 0}).custom("name", names).build());
  EXPECT_EQ(error, "wasm module: at byte 0x1a in $frob: type mismatch: expected i32, found i64");
}

TEST(Decode, WhatIsNotSupportedIsSaidClearly) {
  Result<std::shared_ptr<const Module>> component = load({0, 'a', 's', 'm', 0x0d, 0, 1, 0});
  EXPECT_EQ(component.error().code(), Code::kUnimplemented);
  EXPECT_NE(component.error().message().find("component (WASI preview 2)"), std::string::npos);
  EXPECT_EQ(load(Bytes{0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1, 0x5f, 0, 0}).error().code(), Code::kUnimplemented);
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, {0x06, 0x40, 0x0b}).build()).find("legacy exception handling is not supported"), std::string::npos);
  EXPECT_NE(error_of(Builder().type({}, {}).function(0, {0xfe, 0x03, 0}).build()).find("threads and atomics are not supported"), std::string::npos);
  EXPECT_NE(error_of({'#', '!', '/', 'b'}).find("not a WebAssembly binary"), std::string::npos);
}

// ---- W2: edges of memory

TEST_P(LinearMemory, EveryAccessStopsExactlyAtTheEnd) {
  struct Access {
    std::uint8_t code, align, type;
    std::uint32_t bytes;
    bool is_store;
  };
  constexpr Access kAccesses[] = {{0x28, 2, I32, 4, false}, {0x29, 3, I64, 8, false}, {0x2a, 2, F32, 4, false}, {0x2b, 3, F64, 8, false}, {0x2c, 0, I32, 1, false}, {0x2d, 0, I32, 1, false},
                                  {0x2e, 1, I32, 2, false}, {0x2f, 1, I32, 2, false}, {0x30, 0, I64, 1, false}, {0x31, 0, I64, 1, false}, {0x32, 1, I64, 2, false}, {0x33, 1, I64, 2, false},
                                  {0x34, 2, I64, 4, false}, {0x35, 2, I64, 4, false}, {0x36, 2, I32, 4, true}, {0x37, 3, I64, 8, true}, {0x38, 2, F32, 4, true}, {0x39, 3, F64, 8, true},
                                  {0x3a, 0, I32, 1, true}, {0x3b, 1, I32, 2, true}, {0x3c, 0, I64, 1, true}, {0x3d, 1, I64, 2, true}, {0x3e, 2, I64, 4, true}};
  for (bool is64 : {false, true}) {
    for (const Access& a : kAccesses) {
      for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65'535}, std::uint64_t{0xffff'ffff}}) {
        Bytes zero = a.type == I32 ? Bytes{0x41, 0} : a.type == I64 ? Bytes{0x42, 0} : a.type == F32 ? Bytes{0x43, 0, 0, 0, 0} : Bytes{0x44, 0, 0, 0, 0, 0, 0, 0, 0};
        Bytes code = Bytes{0x20, 0} + (a.is_store ? zero : Bytes{}) + Bytes{a.code, a.align} + leb(offset) + (a.is_store ? Bytes{} : Bytes{0x1a});
        // Also as a sum of two locals, which is an instruction of its own.
        Bytes sum = Bytes{0x20, 0, 0x20, 1, static_cast<std::uint8_t>(is64 ? 0x7c : 0x6a)} + Bytes(code.begin() + 2, code.end());
        std::uint8_t address = is64 ? I64 : I32;
        Guest guest(Builder().type({address}, {}).type({address, address}, {}).memory(1, is64).function(0, code, "f").function(1, sum, "g").build());
        auto value = [is64](std::uint64_t n) { return is64 ? Value::i64(static_cast<std::int64_t>(n)) : Value::i32(static_cast<std::int32_t>(n)); };
        std::string what = cat("code ", a.code, " offset ", offset, is64 ? " memory64" : "");
        bool reachable = offset + a.bytes <= 65'536;
        if (reachable) {
          EXPECT_EQ(guest.trap("f", {value(65'536 - a.bytes - offset)}), "") << what;
          EXPECT_EQ(guest.trap("g", {value(65'536 - a.bytes - offset - 3), value(3)}), "") << what;
        }
        for (std::uint64_t at : {65'536 - a.bytes - offset + 1, std::uint64_t{65'536}, std::uint64_t{0x7fff'ffff}, std::uint64_t{0xffff'ffff}, ~std::uint64_t{0}, ~offset + 1}) {
          std::uint64_t narrowed = is64 ? at : at & 0xffff'ffff;
          if (narrowed + offset >= narrowed && narrowed + offset + a.bytes <= 65'536) continue;
          EXPECT_NE(guest.trap("f", {value(narrowed)}).find("out of bounds memory access"), std::string::npos) << what << " at " << narrowed;
        }
      }
    }
  }
}

TEST_P(LinearMemory, GrowingEndsAtTheLimitsAndNewPagesAreZero) {
  Builder b = Builder().type({I32}, {I32}).memory(1).function(0, {0x20, 0, 0x40, 0}, "grow").function(0, {0x20, 0, 0x28, 2, 0}, "load");
  Guest guest(b.build(), {.memory_bytes_max = 10 * kPageBytes});
  EXPECT_EQ(guest.number("grow", {Value::i32(9)}), 1);
  EXPECT_EQ(guest.number("grow", {Value::i32(1)}), -1);
  EXPECT_EQ(guest.number("grow", {Value::i32(-1)}), -1);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(guest.number("grow", {Value::i32(i + 1)}), -1);
  EXPECT_EQ(guest.number("grow", {Value::i32(0)}), 10);
  EXPECT_EQ(guest.number("load", {Value::i32(10 * 65'536 - 4)}), 0);
  EXPECT_NE(guest.trap("load", {Value::i32(10 * 65'536 - 3)}), "");
  Store small({.memory_bytes_max = kPageBytes});
  Result<Instance*> refused = small.instantiate(*load(Builder().memory(2).build()), Linker());
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
}

// ---- W3: what a field of a machine instruction may be too narrow for

// Every local is set from the parameter and read again, behind all the others: slots on either side of what an offset holds.
Bytes body_of_locals(std::uint32_t locals) {
  Bytes out;
  auto put = [&out](const Bytes& part) { out.insert(out.end(), part.begin(), part.end()); };
  for (std::uint32_t i = 1; i <= locals; ++i) put(Bytes{0x20, 0} + i64_const(static_cast<std::int64_t>(i) * 0x1'0001) + Bytes{0x7c, 0x21} + leb(i));
  put(i64_const(0));
  for (std::uint32_t i = 1; i <= locals; ++i) put(i64_const(31) + Bytes{0x7e, 0x20} + leb(i) + Bytes{0x7c});
  return out;
}

TEST_P(Run, SlotsAreFoundHoweverFar) {
  for (std::uint32_t locals : {1U, 14U, 15U, 16U, 30U, 31U, 32U, 62U, 63U, 64U, 126U, 127U, 128U, 254U, 255U, 256U, 510U, 511U, 512U, 4'090U, 4'095U, 4'096U, 4'097U, 8'190U, 8'192U, 20'000U, kLocalsMax - 1}) {
    Guest guest(Builder().type({I64}, {I64}).function(0, body_of_locals(locals), "f", Bytes{1} + leb(locals) + Bytes{I64}).build(), {.stack_bytes = 4 << 20});
    for (std::uint64_t start : {std::uint64_t{0}, std::uint64_t{1} << 33 | 5, ~std::uint64_t{0}}) {
      std::uint64_t want = 0;
      for (std::uint32_t i = 1; i <= locals; ++i) want = want * 31 + start + std::uint64_t{i} * 0x1'0001;
      for (int call = 0; call < 3; ++call) ASSERT_EQ(static_cast<std::uint64_t>(guest.number("f", {Value::i64(static_cast<std::int64_t>(start))})), want) << locals;
    }
  }
}

TEST_P(Run, BranchesReachHoweverFar) {
  // forth(n): over `steps` additions where n is not 0; back(n): that often around a loop with them in it
  Bytes step{0x20, 1, 0x41, 1, 0x6a, 0x21, 1};
  for (std::size_t steps : {1UZ, 2UZ, 3UZ, 4UZ, 5UZ, 6UZ, 7UZ, 8UZ, 9UZ, 10UZ, 11UZ, 12UZ, 14UZ, 16UZ, 20UZ, 30UZ, 40UZ, 1'000UZ, 2'700UZ, 5'000UZ, 40'000UZ, 200'000UZ}) {
    Bytes many = repeat(step, steps);
    Bytes forth = Bytes{0x02, 0x40, 0x20, 0, 0x0d, 0} + many + Bytes{0x0b, 0x20, 1};
    Bytes back = Bytes{0x03, 0x40} + many + Bytes{0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1};
    Guest guest(Builder().type({I32}, {I32}).function(0, forth, "forth", Bytes{1, 1, I32}).function(0, back, "back", Bytes{1, 1, I32}).build());
    for (int call = 0; call < 3; ++call) {
      ASSERT_EQ(guest.number("forth", {Value::i32(1)}), 0) << steps;
      ASSERT_EQ(guest.number("forth", {Value::i32(0)}), static_cast<std::int64_t>(steps));
      ASSERT_EQ(guest.number("back", {Value::i32(3)}), static_cast<std::int64_t>(3 * steps));
    }
  }
}

// ---- a host's pages in a guest's memory

TEST_P(StoreLife, PagesOfTheHostAreMappedIntoAMemory) {
  constexpr std::uint64_t kPage = 65536;
  Bytes module = Builder().type({I32}, {I32}).type({I32, I32}, {}).memory(4).export_as("memory", 2, 0).function(0, Bytes{0x20, 0, 0x28, 2, 0}, "load").function(1, Bytes{0x20, 0, 0x20, 1, 0x36, 2, 0}, "store").build();
  sys::Fd buffer(::memfd_create("buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(buffer.get(), 2 * kPage), 0);
  auto* host = static_cast<std::int32_t*>(::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.get(), 0));
  ASSERT_NE(host, MAP_FAILED);
  host[0] = 11, host[kPage / 4] = 22;
  Pool pool(4);
  for (bool shared : {true, false}) {
    Result<std::shared_ptr<const Module>> loaded = load(module);
    Store store({.pool = &pool});
    Instance& instance = **store.instantiate(*loaded, Linker());
    Memory memory(*instance.memory("memory"));
    auto load_at = [&](std::uint64_t at) { return store.call(*instance.function("load"), {Value::i32(static_cast<std::int32_t>(at))})->at(0).as_i32(); };
    EXPECT_EQ(load_at(kPage), 0) << "a range that had pages of a host's is nobody's any more";
    if (shared && host[1] == 0) {
      EXPECT_EQ(memory.map(kPage, buffer.get(), 0, kPage, shared).error().code(), Code::kFailedPrecondition);
      ASSERT_EQ(::fcntl(buffer.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    }
    EXPECT_EQ(memory.map(kPage + 1, buffer.get(), 0, kPage, shared).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(memory.map(kPage, buffer.get(), kPage, 2 * kPage, shared).error().code(), Code::kOutOfRange);
    EXPECT_EQ(memory.map(3 * kPage, buffer.get(), 0, 2 * kPage, shared).error().code(), Code::kOutOfRange);
    ASSERT_TRUE(memory.map(kPage, buffer.get(), 0, 2 * kPage, shared));
    EXPECT_EQ(load_at(kPage), 11);
    EXPECT_EQ(load_at(2 * kPage), 22);
    ASSERT_TRUE(store.call(*instance.function("store"), {Value::i32(static_cast<std::int32_t>(kPage + 4)), Value::i32(33)}));
    EXPECT_EQ(host[1], 33 * (shared ? 1 : 0));
    EXPECT_EQ(load_at(kPage + 4), 33);
    ASSERT_TRUE(memory.unmap(kPage, kPage));
    EXPECT_EQ(load_at(kPage), 0);
    EXPECT_EQ(load_at(2 * kPage), 22);
    host[1] = 0;
  }
  ::munmap(host, 2 * kPage);
}

// ---- W5, leaks

TEST_P(StoreLife, MemoriesAndTablesOfTheNextInstanceAreFresh) {
  Bytes module = Builder().type({}, {I32}).type({}, {}).memory(1).table(4).global(I32, true, i32_const(0)).function(0, Bytes{0x41, 8, 0x28, 2, 0}, "load").function(1, Bytes{0x41, 8} + i32_const(-1) + Bytes{0x36, 2, 0}, "store").build();
  for (int i = 0; i < 100; ++i) {
    Guest guest(module);
    EXPECT_EQ(guest.number("load"), 0);
    EXPECT_TRUE(guest.call("store"));
    EXPECT_EQ(guest.number("load"), -1);
  }
}

long status_kib(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::strtol(line.c_str() + field.size() + 1, nullptr, 10);
  return -1;
}
long mappings() {
  std::ifstream maps("/proc/self/maps");
  long n = 0;
  for (std::string line; std::getline(maps, line);) ++n;
  return n;
}

TEST_P(StoreLife, TenThousandInstancesLeaveNothing) {
  Result<std::shared_ptr<const Module>> module = load(Builder().type({}, {I32}).memory(19).table(10).data(0, std::string(4096, 'x')).function(0, Bytes{0x41, 0, 0x28, 2, 0}, "f").elements(0, {0, 0}).build());
  ASSERT_TRUE(module);
  auto once = [&module] {
    Store store({});
    Result<Instance*> instance = store.instantiate(*module, Linker());
    ASSERT_TRUE(instance);
    ASSERT_TRUE(store.call(*(*instance)->function("f"), {}));
  };
  for (int i = 0; i < 100; ++i) once();
  long rss = status_kib("VmRSS:"), maps = mappings();
  for (int i = 0; i < 10'000; ++i) once();
#if !__has_feature(address_sanitizer)  // which keeps what was freed for a while
  EXPECT_LT(status_kib("VmRSS:"), rss + 2048);
#else
  (void)rss;
#endif
  EXPECT_LE(mappings(), maps + 2);
}

TEST_P(StoreLife, APoolHandsOutZeros) {
  Pool pool(4);
  // write(at), read(at), grow(n)
  Result<std::shared_ptr<const Module>> module = load(Builder().type({I32}, {I32}).memory(3).function(0, Bytes{0x20, 0, 0x20, 0, 0x36, 2, 0, 0x41, 0}, "write").function(0, {0x20, 0, 0x28, 2, 0}, "read").function(0, {0x20, 0, 0x40, 0}, "grow").build());
  std::vector<std::int32_t> places{4, 65'532, 131'068, 131'072, 196'604, 196'608, 400'000, 1'000'000};
  for (int round = 0; round < 20; ++round) {
    Store store({.pool = &pool});
    Result<Instance*> instance = store.instantiate(*module, Linker());
    ASSERT_TRUE(instance);
    auto call = [&](const char* name, std::int32_t n) { return store.call(*(*instance)->function(name), {Value::i32(n)}); };
    EXPECT_FALSE(call("read", 196'608));  // what the last one grew is not there
    EXPECT_EQ((*call("grow", 20))[0].as_i32(), 3);
    for (std::int32_t at : places) {
      Result<std::vector<Value>> got = call("read", at);
      ASSERT_TRUE(got);
      EXPECT_EQ((*got)[0].as_i32(), 0) << at;
      EXPECT_TRUE(call("write", at));
    }
  }
}

TEST_P(StoreLife, InstancesAreLimited) {
  Result<std::shared_ptr<const Module>> module = load(Builder().build());
  Store store({.instances_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(store.instantiate(*module, Linker()));
  EXPECT_EQ(store.instantiate(*module, Linker()).error().code(), Code::kResourceExhausted);
}

// ---- W7: what does not end

TEST_P(Run, AnotherThreadInterruptsLoopsAndRecursion) {
  // if n is odd loop, else: fib, which recurses without a loop
  Bytes fib{0x20, 0, 0x41, 2, 0x48, 0x04, I32, 0x20, 0, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 1, 0x20, 0, 0x41, 2, 0x6b, 0x10, 1, 0x6a, 0x0b};
  Guest guest(Builder().type({}, {}).type({I32}, {I32}).function(0, kLoopForever, "loop").function(1, fib, "fib").build());
  for (int round = 0; round < 4; ++round) {
    std::thread other([&guest] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      guest.store.interrupt();
    });
    Result<std::vector<Value>> got = round % 2 == 0 ? guest.call("loop") : guest.call("fib", {Value::i32(200)});
    other.join();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code(), Code::kCancelled);
    EXPECT_FALSE(guest.call("fib", {Value::i32(3)}));  // still interrupted
    guest.store.clear_interrupt();
    EXPECT_EQ(guest.number("fib", {Value::i32(10)}), 55);
  }
}

TEST(Engine, TheSameBytesAreOneModuleWhileSomebodyHoldsIt) {
  Engine engine({}), another({});
  Bytes bytes = Builder().type({}, {I32}).function(0, {0x41, 7}, "f").build(), other = bytes;
  other[other.size() - 2] = 8;
  std::shared_ptr<const Module> first = *Module::load(engine, bytes);
  EXPECT_EQ(*Module::load(engine, bytes), first);
  EXPECT_NE(*Module::load(engine, other), first);
  EXPECT_NE(*Module::load(another, bytes), first);
  std::weak_ptr<const Module> gone = first;
  first.reset();
  EXPECT_TRUE(gone.expired()) << "the engine itself holds none";
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(Module::load(engine, Builder().type({}, {}).data(0, cat(i)).memory(1).build()));
  EXPECT_TRUE(Module::load(engine, bytes));
}

TEST_P(Run, EndlessRecursionIsATrapAndTheStoreGoesOn) {
  Bytes names = Bytes{1} + leb(10) + Bytes{1, 0} + name("deeper");
  names[1] = static_cast<std::uint8_t>(names.size() - 2);
  Guest guest(Builder().type({}, {}).type({}, {I32}).function(0, {0x10, 0}, "f").function(1, {0x41, 7}, "g").custom("name", names).build());
  for (int i = 0; i < 3; ++i) {
    std::string error = guest.trap("f");
    EXPECT_TRUE(error.starts_with("wasm trap: call stack exhausted\n  #0 $deeper at 0x")) << error;
    EXPECT_LT(error.size(), 6000U);
    EXPECT_EQ(guest.number("g"), 7);
  }
}

TEST_P(Run, FuelIsCountedTheSameEveryTime) {
  Bytes code{0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 0};
  Bytes module = Builder().type({I32}, {I32}).type({}, {}).function(0, code, "count").function(1, kLoopForever, "loop").build();
  std::int64_t used[2];
  for (std::int64_t& u : used) {
    Guest guest(module, {.fuel = 1'000'000}, {.fuel = true});
    EXPECT_EQ(guest.number("count", {Value::i32(1000)}), 0);
    u = 1'000'000 - guest.store.fuel();
  }
  EXPECT_EQ(used[0], used[1]);
  EXPECT_NEAR(static_cast<double>(used[0]), 5000, 20);  // five instructions a round
  Guest guest(module, {.fuel = used[0]}, {.fuel = true});
  EXPECT_EQ(guest.number("count", {Value::i32(1000)}), 0);  // exactly enough
  guest.store.set_fuel(used[0] - 1);
  Result<std::vector<Value>> got = guest.call("count", {Value::i32(1000)});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::kResourceExhausted);
  guest.store.set_fuel(100'000);
  EXPECT_NE(guest.trap("loop").find("all fuel consumed"), std::string::npos);
  // What is used up stays so, however little is asked for, until there is more.
  EXPECT_NE(guest.trap("loop").find("all fuel consumed"), std::string::npos);
  EXPECT_FALSE(guest.call("count", {Value::i32(1)}));
}

struct Host {
  Store* store = nullptr;
  FunctionObject* back = nullptr;
  int calls = 0;
};
std::uint32_t reenter(Host& host, Caller& caller, std::uint32_t n) {
  ++host.calls;
  Result<std::vector<Value>> got = host.store->call(*host.back, {Value::i32(static_cast<std::int32_t>(n))});
  if (!got) caller.trap(got.error().message());
  return got ? static_cast<std::uint32_t>((*got)[0].as_i32()) : 0;
}
std::uint32_t broken(Host&, Caller& caller, std::uint32_t) {
  caller.trap("the host is out of order");
  return 0;
}
constexpr HostFunction kHostRows[] = {host<reenter>("reenter"), host<broken>("broken")};

TEST_P(Run, TheHostMayCallBackAndTrapsPassThroughIt) {
  // f(n) = n == 0 ? 1 : n < 0 ? unreachable : reenter(n - 1) + 1
  Bytes f{0x20, 0, 0x45, 0x04, 0x40, 0x41, 1, 0x0f, 0x0b, 0x20, 0, 0x41, 0, 0x48, 0x04, 0x40, 0x00, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x41, 1, 0x6a};
  Bytes bad{0x41, 0, 0x10, 1};
  Bytes module = Builder().type({I32}, {I32}).type({}, {I32}).import("h", "reenter", 0).import("h", "broken", 0).function(0, f, "f").function(1, bad, "bad").build();
  Host self;
  Store store({});
  Linker linker;
  linker.add("h", kHostRows, &self);
  Result<Instance*> instance = store.instantiate(*load(module), linker);
  ASSERT_TRUE(instance) << instance.error().message();
  self.store = &store;
  self.back = (*instance)->function("f");
  EXPECT_EQ((*store.call(*self.back, {Value::i32(50)}))[0].as_i32(), 51);
  EXPECT_EQ(self.calls, 50);
  Result<std::vector<Value>> deep = store.call(*self.back, {Value::i32(100'000)});
  ASSERT_FALSE(deep);
  EXPECT_NE(deep.error().message().find("call stack exhausted"), std::string::npos);
  Result<std::vector<Value>> failed = store.call(*(*instance)->function("bad"), {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message().substr(0, 62), "wasm trap: the host is out of order\n  #0 h.broken\n  #1 functio");
  EXPECT_EQ((*store.call(*self.back, {Value::i32(3)}))[0].as_i32(), 4);
}

// ---- W9: signals

TEST(Signals, TheInterpreterLeavesHandlersAsTheyWere) {
  constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  struct sigaction before[4] {};
  for (int i = 0; i < 4; ++i) ASSERT_EQ(::sigaction(kSignals[i], nullptr, &before[i]), 0);
  Guest guest(Builder().type({}, {I32}).memory(1).function(0, Bytes{0x41} + sleb(65'536) + Bytes{0x28, 2, 0}, "f").build());
  EXPECT_NE(guest.trap("f"), "");
  for (int i = 0; i < 4; ++i) {
    struct sigaction now {};
    ASSERT_EQ(::sigaction(kSignals[i], nullptr, &now), 0);
    EXPECT_EQ(now.sa_handler, before[i].sa_handler);
  }
}

// ---- beyond 2.0

TEST_P(Proposals, TailCallsTakeNoStack) {
  // loop(n, acc) = n == 0 ? acc : return_call loop(n - 1, acc + n); the same through a table and a reference
  Bytes head{0x20, 0, 0x50, 0x04, 0x40, 0x20, 1, 0x0f, 0x0b, 0x20, 0, 0x42, 1, 0x7d, 0x20, 1, 0x20, 0, 0x7c};
  Guest guest(Builder().type({I64, I64}, {I64}).table(1).elements(0, {0}).function(0, head + Bytes{0x12, 0}, "direct").function(0, head + Bytes{0x41, 0, 0x13, 0, 0}, "indirect").function(0, head + Bytes{0xd2, 2, 0x15, 0}, "reference").build());
  for (const char* name : {"direct", "indirect", "reference"}) EXPECT_EQ(guest.number(name, {Value::i64(1'000'000), Value::i64(0)}), 500'000'500'000) << name;
}

TEST_P(Proposals, ExceptionsAreCaughtByTagAndUnwind) {
  // thrower(n): throw tag0(n); f(n): catches tag 0 thrown two calls deep -> n + 1; g(n): catch_all_ref, rethrown, caught outside -> n
  Bytes thrower{0x20, 0, 0x08, 0};
  Bytes middle{0x20, 0, 0x10, 0};
  // block (result i32) try_table (catch 0 0) local.get 0; call 1 end; i32.const 99; return end; i32.const 1; i32.add
  Bytes f{0x02, I32, 0x1f, 0x40, 1, 0x00, 0, 0, 0x20, 0, 0x10, 1, 0x0b, 0x41, 5, 0x0f, 0x0b, 0x41, 1, 0x6a};
  // block (result i32) try_table (catch 0 0): block (result exnref) try_table (catch_all_ref 0) call 1 end unreachable end throw_ref end unreachable end
  Bytes g{0x02, I32, 0x1f, 0x40, 1, 0x00, 0, 0, 0x02, 0x64, EXNREF, 0x1f, 0x40, 1, 0x03, 0, 0x20, 0, 0x10, 1, 0x0b, 0x00, 0x0b, 0x0a, 0x0b, 0x00, 0x0b};
  Builder b;
  b.type({I32}, {}).type({I32}, {I32}).tag(0).tag(0).function(0, thrower, "thrower").function(0, middle).function(1, f, "f").function(1, g, "g");
  Guest guest(b.build());
  EXPECT_EQ(guest.number("f", {Value::i32(41)}), 42);
  EXPECT_EQ(guest.number("g", {Value::i32(7)}), 7);
  EXPECT_NE(guest.trap("thrower", {Value::i32(1)}).find("uncaught exception"), std::string::npos);
  EXPECT_EQ(guest.store.trap(), Trap::kException);
  for (int i = 0; i < 50'000; ++i) ASSERT_EQ(guest.number("g", {Value::i32(i)}), i);  // what is no longer reachable is collected
}

TEST_P(Proposals, SeveralMemoriesAndExtendedConstants) {
  // global = 2 * 3 + 4; store to memory 1, load from both
  Guest guest(Builder().type({}, {I32}).memory(1).memory(1).global(I32, false, Bytes{0x41, 2, 0x41, 3, 0x6c, 0x41, 4, 0x6a})
                  .function(0, Bytes{0x41, 0, 0x23, 0, 0x36, 0x42, 1, 0, 0x41, 0, 0x28, 0x42, 1, 0}, "one").function(0, Bytes{0x41, 0, 0x28, 2, 0}, "zero")
                  .function(0, Bytes{0x41, 8, 0x41, 0, 0x41, 4, 0xfc, 10, 0, 1, 0x41, 8, 0x28, 2, 0}, "copied").build());
  EXPECT_EQ(guest.number("one"), 10);
  EXPECT_EQ(guest.number("zero"), 0);
  EXPECT_EQ(guest.number("copied"), 10);
}

TEST(Text, EveryInstructionHasAName) {
  Bytes code{0x20, 0, 0x41, 0x7f, 0x6a, 0x02, I32, 0x41, 1, 0x0b, 0x6a, 0x28, 2, 8};
  Result<std::shared_ptr<const Module>> module = load(Builder().type({I32}, {I32}).memory(1).function(0, code, "f").data(3, "a\"b").build());
  ASSERT_TRUE(module);
  EXPECT_EQ(disassemble(**module), "(module\n  (type (;0;) (func (param i32) (result i32)))\n  (memory (;0;) 1)\n  (export \"f\" (func 0))\n  (func (;0;) (param i32) (result i32)\n    local.get 0\n    i32.const -1\n    i32.add\n"
                                   "    block (result i32)\n      i32.const 1\n    end\n    i32.add\n    i32.load offset=8)\n  (data (memory 0) (offset i32.const 3) \"a\\22b\")\n)\n");
  EXPECT_NE(describe(**module).find("export     \"f\" func 0 (i32) -> i32"), std::string::npos);
}

}  // namespace
}  // namespace monopod::wasm
