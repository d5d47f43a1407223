#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace monopod {
namespace {

TEST(Error, EveryCodeHasANameAndAStatus) {
  std::set<std::string_view> names;
  for (int i = 0; i < kCodeCount; ++i) {
    auto code = static_cast<Code>(i);
    EXPECT_TRUE(names.insert(code_name(code)).second) << i;
    EXPECT_GE(http_status(code), 200);
    EXPECT_EQ(exit_code(code) == 0, code == Code::kOk);
    EXPECT_EQ(status_reason(code).empty(), code == Code::kOk);
  }
}

TEST(Error, ErrnoKeepsItsNumberAndText) {
  Error error = errno_error(ENOENT, "open /x");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(error.os_errno(), ENOENT);
  EXPECT_EQ(error.message(), "open /x: No such file or directory");
}

Result<int> half(int x) {
  if (x % 2 != 0) return fail(Code::kInvalidArgument, "odd");
  return x / 2;
}

Result<int> quarter(int x) {
  TRY_ASSIGN(int h, half(x));
  TRY(half(h));
  return h / 2;
}

TEST(Error, TryPassesErrorsUp) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message(), "odd");
  EXPECT_EQ(quarter(5).error().with("quarter 5").message(), "quarter 5: odd");
}

}  // namespace
}  // namespace monopod
