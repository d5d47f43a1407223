#include "wasm/dwarf/source_map.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "sys/root.h"
#include "wasm/engine.h"
#include "wasm/test_support.h"

namespace monopod::wasm::dwarf {
namespace {

namespace fs = std::filesystem;
using testing::operator+;
using testing::leb;
using testing::sleb;
using Content = testing::Bytes;

Content text(std::string_view s) { return Content(s.begin(), s.end()) + Content{0}; }
Content u32(std::uint32_t n) { return {static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 24)}; }
Content u16(std::uint16_t n) { return {static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)}; }
Content with_length(const Content& body) { return u32(static_cast<std::uint32_t>(body.size())) + body; }

// Line program, version 4: files src/a.c and b.h; addresses 0x10 to 0x20 with three rows, then what a linker dropped.
Content line_section() {
  Content tables = text("src") + Content{0} + text("a.c") + Content{1, 0, 0} + text("b.h") + Content{0, 0, 0} + Content{0};
  Content after_length{1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};  // instructions of a byte, lines from -5 on in 14 steps, 12 standard opcodes
  auto set_address = [](std::uint32_t address) { return Content{0, 5, 2} + u32(address); };
  Content program = set_address(0x10) + Content{3} + sleb(9) + Content{5, 7} + Content{1}  // line 10, column 7
                    + Content{4, 2} + Content{18 + 14 * 4 + 2}                             // b.h; 4 bytes on, 2 lines on
                    + Content{9} + u16(4) + Content{4, 1} + Content{1}                     // 4 bytes on, a.c
                    + Content{2, 8} + Content{0, 1, 1};                                    // 8 bytes on: its end
  Content dropped = set_address(0) + Content{1} + Content{2, 100} + Content{0, 1, 1} + set_address(0xffff'ffff) + Content{1} + Content{2, 100} + Content{0, 1, 1};
  Content header = after_length + tables;
  return with_length(u16(4) + u32(static_cast<std::uint32_t>(header.size())) + header + program + dropped);
}

// One unit with one function "outer" from 0x10 to 0x20, into which "lower" is inlined from 0x14 to 0x18, called at a.c:11:3.
struct Info {
  Content abbreviations = leb(1) + leb(kCompileUnit) + Content{1, 0x03, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0}       // name, statements, low and high address
                          + leb(2) + leb(kSubprogram) + Content{0, 0x03, 0x08, 0, 0}                                          // a declaration
                          + leb(3) + leb(kSubprogram) + Content{1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0}                  // a definition
                          + leb(4) + leb(kInlinedSubroutine) + Content{0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x58, 0x0b, 0x59, 0x0b, 0x57, 0x0b, 0, 0} + Content{0};
  // beside: a second call, of what is at 0x16 and 0x17, from line 13, next to the first.
  Content section(bool beside = false) const {
    Content head = u16(4) + u32(0) + Content{4};
    Content root = leb(1) + text("src/a.c") + u32(0) + u32(0x10) + u32(0x10);
    auto declared_at = static_cast<std::uint32_t>(4 + head.size() + root.size());
    Content children = leb(2) + text("lower") + leb(3) + text("outer") + u32(0x10) + u32(0x10) + leb(4) + u32(declared_at) + u32(0x14) + u32(4) + Content{1, 11, 3};
    if (beside) children = children + leb(4) + u32(declared_at) + u32(0x16) + u32(2) + Content{1, 13, 5};
    children = children + Content{0} + Content{0};
    return with_length(head + root + children);
  }
};

std::string told(const std::vector<SourceFrame>& frames) {
  std::string out;
  for (const SourceFrame& f : frames) out += cat(out.empty() ? "" : " < ", f.function, " ", f.file, ":", f.line, ":", f.column, f.inlined ? " inlined" : "");
  return out;
}

TEST(SourceMap, RowsAndInlinedCallsAreFound) {
  Content line = line_section(), info = Info().section(), abbreviations = Info().abbreviations;
  SourceMap map({.info = info, .abbreviations = abbreviations, .line = line});
  static constexpr struct {
    std::uint64_t address;
    const char* expected;
  } kRows[] = {
      {0x0f, ""}, {0x10, "outer src/a.c:10:7"}, {0x13, "outer src/a.c:10:7"}, {0x14, "lower b.h:12:7 inlined < outer src/a.c:11:3"}, {0x17, "lower b.h:12:7 inlined < outer src/a.c:11:3"},
      {0x18, "outer src/a.c:12:7"}, {0x1f, "outer src/a.c:12:7"}, {0x20, ""}, {0, ""}, {0x40, ""}, {0xffff'ffff, ""},
  };
  for (const auto& row : kRows) EXPECT_EQ(told(map.find(row.address)), row.expected) << row.address;
  ASSERT_EQ(map.units(10).size(), 1U);
  EXPECT_EQ(map.units(10)[0].name, "src/a.c");
}

TEST(SourceMap, OfCallsThatOverlapTheLastOneIsTold) {
  Content line = line_section(), info = Info().section(true), abbreviations = Info().abbreviations;
  SourceMap map({.info = info, .abbreviations = abbreviations, .line = line});
  EXPECT_EQ(told(map.find(0x15)), "lower b.h:12:7 inlined < outer src/a.c:11:3");
  EXPECT_EQ(told(map.find(0x16)), "lower b.h:12:7 inlined < outer src/a.c:13:5");
}

TEST(SourceMap, LinesAloneAreEnoughForLines) {
  Content line = line_section();
  SourceMap map({.line = line});
  EXPECT_EQ(told(map.find(0x15)), " b.h:12:7");
  EXPECT_EQ(told(map.find(0x5)), "");
}

TEST(SourceMap, WhatIsCutOffAnywhereIsNoMoreThanUnknown) {
  Content line = line_section(), info = Info().section(), abbreviations = Info().abbreviations;
  for (std::size_t n = 0; n < info.size(); ++n) (void)SourceMap({.info = Bytes(info).first(n), .abbreviations = abbreviations, .line = line}).find(0x15);
  for (std::size_t n = 0; n < abbreviations.size(); ++n) (void)SourceMap({.info = info, .abbreviations = Bytes(abbreviations).first(n), .line = line}).find(0x15);
  for (std::size_t n = 0; n < line.size(); ++n) EXPECT_EQ(told(SourceMap({.line = Bytes(line).first(n)}).find(0x15)), "");
}

TEST(SourceMap, ALookupEndsWithItsSteps) {
  Content line = line_section(), info = Info().section(), abbreviations = Info().abbreviations;
  bool found = false;
  for (std::uint64_t steps = 0; steps < 200 && !found; ++steps) found = told(SourceMap({.info = info, .abbreviations = abbreviations, .line = line}, steps).find(0x15)).starts_with("lower b.h:12:7");
  EXPECT_TRUE(found);
  EXPECT_EQ(told(SourceMap({.info = info, .abbreviations = abbreviations, .line = line}, 3).find(0x15)), "");
  // A unit that refers to itself, and a list of files without an end of what it costs.
  Content endless = info;
  SourceMap map({.info = endless, .abbreviations = abbreviations, .line = line}, 50);
  for (int i = 0; i < 100; ++i) (void)map.find(0x15);
}

TEST(SourceMap, NamesThatWouldSteerATerminalAreShownWithout) {
  Content info = Info().section();
  auto at = std::ranges::search(info, std::string_view("outer")).begin();
  at[1] = 0x1b;
  at[2] = 0xff;
  Content line = line_section(), abbreviations = Info().abbreviations;
  EXPECT_EQ(told(SourceMap({.info = info, .abbreviations = abbreviations, .line = line}).find(0x10)), "o??er src/a.c:10:7");
}

// What Debian's compiler writes, for both versions; a function is compiled in its sequence, and inlined ones are told.
class OfClang : public ::testing::TestWithParam<const char*> {};

TEST_P(OfClang, ATrapIsToldWithFilesLinesAndInlinedCalls) {
  if (std::system("clang-19 --version >/dev/null 2>&1 && wasm-ld-19 --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs clang-19 and lld-19";
  fs::path folder = fs::temp_directory_path() / cat("dwarf-test-", ::getpid());
  fs::create_directories(folder);
  std::ofstream(folder / "t.c") << "static inline __attribute__((always_inline)) int lower(int *p) {\n"
                                   "  if (*p == 3)\n"
                                   "    __builtin_trap();\n"
                                   "  return *p;\n"
                                   "}\n"
                                   "__attribute__((noinline)) int outer(int *p) {\n"
                                   "  return lower(p) + 1;\n"
                                   "}\n"
                                   "__attribute__((noinline)) int unused(int *p) { return *p; }\n"
                                   "__attribute__((export_name(\"go\"))) int go(int n) {\n"
                                   "  int v = n;\n"
                                   "  return outer(&v);\n"
                                   "}\n";
  std::string command = cat("cd ", folder.string(), " && clang-19 --target=wasm32 -nostdlib -Wl,--no-entry -Wl,--gc-sections -O1 ", GetParam(), " -o t.wasm t.c 2>/dev/null");
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  Result<std::string> bytes = sys::read_host_file(folder / "t.wasm", 1 << 20);
  fs::remove_all(folder);
  ASSERT_TRUE(bytes);
  for (EngineKind kind : {EngineKind::kInterpreter, EngineKind::kJit}) {
    if (kind == EngineKind::kJit && !jit_unavailable().empty()) continue;
    Result<std::shared_ptr<const Module>> module = Module::load(Engine({.engine = kind}), {bytes->begin(), bytes->end()});
    ASSERT_TRUE(module);
    Store store({});
    Result<Instance*> instance = store.instantiate(*module, Linker());
    ASSERT_TRUE(instance);
    ASSERT_TRUE(store.call(*(*instance)->function("go"), {wasm::Value::i32(1)}));
    Result<std::vector<wasm::Value>> got = store.call(*(*instance)->function("go"), {wasm::Value::i32(3)});
    ASSERT_FALSE(got);
    std::string message = got.error().message();
    EXPECT_TRUE(message.starts_with("wasm trap: unreachable\n  #0 lower (t.c:3:5), inlined\n  #1 $outer (t.c:7:10) at 0x")) << message;
    EXPECT_NE(message.find("\n  #2 $go (t.c:12:10) at 0x"), std::string::npos) << message;
  }
}
INSTANTIATE_TEST_SUITE_P(Versions, OfClang, ::testing::Values("-g", "-gdwarf-5", "-gdwarf-5 -gline-tables-only"), [](const auto& info) {
  std::string name = info.param;
  std::erase_if(name, [](char c) { return c == '-' || c == ' '; });
  return name;
});

}  // namespace
}  // namespace monopod::wasm::dwarf
