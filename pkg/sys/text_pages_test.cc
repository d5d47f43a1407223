#include "sys/text_pages.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace monopod::sys {
namespace {

std::int64_t shared_pages() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t size = 0, resident = 0, shared = 0;
  statm >> size >> resident >> shared;
  return shared;
}

TEST(TextPages, AreGivenBackAndComeAgain) {
  const std::int64_t before = shared_pages();
  EXPECT_GT(forget_program_pages(), 64U << 10);
  EXPECT_LT(shared_pages(), before);
  EXPECT_EQ(std::to_string(12345), "12345") << "and the program goes on";
}

}  // namespace
}  // namespace monopod::sys
