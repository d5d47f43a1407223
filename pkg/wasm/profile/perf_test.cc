#include "wasm/profile/perf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "base/strings.h"
#include "sys/root.h"
#include "wasm/engine.h"
#include "wasm/test_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;
namespace fs = std::filesystem;

// $twice(n) = n + n, $other(n) = twice(n); names as a guest may give them.
Bytes named_module() {
  Bytes body = Bytes{2, 0} + name("twice") + Bytes{1} + name("ot\nher");
  return Builder().type({I32}, {I32}).function(0, {0x20, 0, 0x20, 0, 0x6a}, "twice").function(0, {0x20, 0, 0x10, 0}, "other").custom("name", Bytes{1} + leb(body.size()) + body).build();
}

class Profile : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
    folder_ = fs::temp_directory_path() / cat("perf-test-", ::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string run(std::shared_ptr<CodeListener> listener, const std::string& file, std::shared_ptr<const CodeStore> store = nullptr) {
    Engine engine({.engine = EngineKind::kJit, .code_store = std::move(store), .code_listener = std::move(listener)});
    Result<std::shared_ptr<const Module>> module = Module::load(engine, named_module());
    EXPECT_TRUE(module);
    Store s({});
    Result<Instance*> instance = s.instantiate(*module, Linker());
    EXPECT_EQ((*s.call(*(*instance)->function("other"), {Value::i32(21)}))[0].as_i32(), 42);
    (void)(*module)->keep_code();
    return *sys::read_host_file(folder_ / file, 1 << 20);
  }
  fs::path folder_;
};

TEST_F(Profile, APerfMapNamesWhatWasCompiledAndWhatWasFoundInAFile) {
  Result<std::unique_ptr<CodeStore>> opened = CodeStore::open(folder_ / "cache");
  ASSERT_TRUE(opened);
  std::shared_ptr<const CodeStore> store = std::move(*opened);
  for (std::string_view tier : {"jit", "cached"}) {
    std::string map = run(*make_perf_map(folder_ / "map"), "map", store);
    EXPECT_NE(map.find(cat(" $twice [wasm ", tier, "]\n")), std::string::npos) << map;
    EXPECT_NE(map.find(cat(" $ot?her [wasm ", tier, "]\n")), std::string::npos) << map;
    EXPECT_NE(map.find(" wasm stub"), std::string::npos) << map;
    // Every line is an address, a size and a name; no two overlap.
    std::map<std::uint64_t, std::uint64_t> ranges;
    for (std::string_view line : split(trim(map), '\n')) {
      std::uint64_t from = 0, bytes = 0;
      auto [space, bad] = std::from_chars(line.data(), line.data() + line.size(), from, 16);
      ASSERT_TRUE(bad == std::errc() && *space == ' ') << line;
      auto [second, bad2] = std::from_chars(space + 1, line.data() + line.size(), bytes, 16);
      ASSERT_TRUE(bad2 == std::errc() && *second == ' ' && bytes != 0) << line;
      EXPECT_TRUE(ranges.emplace(from, from + bytes).second) << line;
    }
    std::uint64_t end = 0;
    for (auto [from, to] : ranges) EXPECT_GE(from, end), end = to;
  }
}

TEST_F(Profile, AJitDumpHoldsNamesAndTheBytesThatRun) {
  std::string dump = run(*make_jit_dump(folder_), cat("jit-", ::getpid(), ".dump"));
  auto u32 = [&dump](std::size_t at) {
    std::uint32_t n = 0;
    std::memcpy(&n, dump.data() + at, 4);
    return n;
  };
  ASSERT_GE(dump.size(), 40U);
  EXPECT_EQ(u32(0), 0x4a69'5444U);
  EXPECT_EQ(u32(4), 1U);
  EXPECT_EQ(u32(8), 40U);
  EXPECT_EQ(u32(20), static_cast<std::uint32_t>(::getpid()));
  std::vector<std::string> names;
  for (std::size_t at = 40; at < dump.size(); at += u32(at + 4)) {
    ASSERT_GE(u32(at + 4), 16U);
    ASSERT_EQ(u32(at), 0U);  // code; without DWARF there are no lines
    std::string found(dump.c_str() + at + 56);
    EXPECT_EQ(u32(at + 4), 56 + found.size() + 1 + u32(at + 40)) << found;
    names.push_back(found);
  }
  EXPECT_TRUE(std::ranges::count(names, "$twice [wasm jit]") == 1);
  EXPECT_TRUE(std::ranges::count(names, "$ot?her [wasm jit]") == 1);
}

TEST_F(Profile, WhatSomebodyElseHasPutInThePlaceIsNotWrittenTo) {
  fs::create_symlink(folder_ / "victim", folder_ / "map");
  (void)run(*make_perf_map(folder_ / "map"), "map");
  EXPECT_FALSE(fs::exists(folder_ / "victim"));
  EXPECT_FALSE(make_perf_map(folder_ / "no" / "map"));
}

}  // namespace
}  // namespace monopod::wasm
