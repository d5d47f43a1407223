#include "base/log.h"

#include <gtest/gtest.h>

namespace monopod::log {
namespace {

TEST(Log, TextQuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(format_line(Level::kInfo, "T", "pod started", {{"pod", "a/b"}, {"why", "two words"}, {"n", 3}, {"ok", true}}, Format::kText),
            "T info pod started pod=a/b why=\"two words\" n=3 ok=true\n");
}

TEST(Log, JsonEscapesControlCharacters) {
  EXPECT_EQ(format_line(Level::kWarn, "T", "x", {{"v", "a\"\n\x1b"}}, Format::kJson),
            "{\"time\":\"T\",\"level\":\"warn\",\"msg\":\"x\",\"v\":\"a\\\"\\n\\u001b\"}\n");
}

}  // namespace
}  // namespace monopod::log
