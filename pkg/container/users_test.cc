#include "container/users.h"

#include <gtest/gtest.h>

namespace monopod::container {
namespace {

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n# comment\nuser:x:1000:1001::/home/user:/bin/sh\nbroken\n:x:1:1::/:\nneg:x:-1:0::/:\nbig:x:4294967296:0::/:\n42:x:7:8::/seven:\n";
constexpr const char* kGroup = "root:x:0:\nusers:x:1001:\nextra:x:2000:root, user\nnone\n";

struct Case {
  const char* spec;
  std::uint32_t uid;
  std::uint32_t gid;
  std::vector<std::uint32_t> additional;
  const char* home;
};

TEST(Users, SpecsResolve) {
  const std::vector<Case> cases = {
      {"", 0, 0, {2000}, "/root"},       {"user", 1000, 1001, {2000}, "/home/user"}, {"1000", 1000, 1001, {2000}, "/home/user"},
      {"user:extra", 1000, 2000, {}, "/home/user"}, {"user:5", 1000, 5, {}, "/home/user"},  {"1234", 1234, 0, {}, "/"},
      {"1234:99", 1234, 99, {}, "/"},    {"42", 7, 8, {}, "/seven"},                 {"2147483647", 2147483647, 0, {}, "/"},
  };
  for (const Case& one : cases) {
    Result<ResolvedUser> user = resolve_user(one.spec, kPasswd, kGroup);
    ASSERT_TRUE(user) << one.spec << ": " << user.error().message();
    EXPECT_EQ(user->uid, one.uid) << one.spec;
    EXPECT_EQ(user->gid, one.gid) << one.spec;
    EXPECT_EQ(user->additional_gids, one.additional) << one.spec;
    EXPECT_EQ(user->home, one.home) << one.spec;
  }
}

TEST(Users, WhatCannotBeResolvedIsAnError) {
  EXPECT_EQ(resolve_user("ghost", kPasswd, kGroup).error().message(), "unable to find user ghost: no matching entries in passwd file");
  EXPECT_EQ(resolve_user("user:ghosts", kPasswd, kGroup).error().message(), "unable to find group ghosts: no matching entries in group file");
  for (const char* spec : {"4294967296", "4294967295", "2147483648", "-1", "user:4294967296", "user:-1", "big", "neg"})
    EXPECT_FALSE(resolve_user(spec, kPasswd, kGroup)) << spec;
}

}  // namespace
}  // namespace monopod::container
