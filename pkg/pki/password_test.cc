#include "pki/password.h"

#include <gtest/gtest.h>

namespace monopod::pki {
namespace {

TEST(Password, OnlyTheRightOneVerifies) {
  std::string hash = *hash_password("secret", kPasswordCostMin);
  EXPECT_TRUE(verify_password("secret", hash));
  EXPECT_FALSE(verify_password("Secret", hash));
  EXPECT_FALSE(verify_password("", hash));
  EXPECT_TRUE(hash.starts_with("$scrypt$ln=4,r=8,p=1$")) << hash;
}

TEST(Password, EqualPasswordsHaveDifferentHashes) { EXPECT_NE(*hash_password("a", kPasswordCostMin), *hash_password("a", kPasswordCostMin)); }

// The third test vector of RFC 7914 section 12; its first 32 bytes, since PBKDF2 makes a shorter output a prefix of a longer one.
TEST(Password, FollowsTheRfc) {
  EXPECT_TRUE(verify_password("pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI"));
}

TEST(Password, LengthIsLimited) {
  std::string longest(kPasswordBytesMax, 'x');
  std::string hash = *hash_password(longest, kPasswordCostMin);
  EXPECT_TRUE(verify_password(longest, hash));
  EXPECT_FALSE(verify_password(longest + "x", hash)) << "nothing is cut off";
  EXPECT_EQ(hash_password(longest + "x", kPasswordCostMin).error().code(), Code::kInvalidArgument);
}

TEST(Password, MalformedHashesVerifyNothing) {
  for (const char* hash : {"", "$", "secret", "$scrypt$ln=4,r=8,p=1$AAAA", "$scrypt$ln=99,r=8,p=1$AAAA$AAAA", "$scrypt$ln=4,r=9,p=1$AAAA$AAAA",
                           "$bcrypt$ln=4,r=8,p=1$AAAA$AAAA", "$scrypt$ln=4,r=8,p=1$AAAA$"})
    EXPECT_FALSE(verify_password("", hash)) << hash;
  EXPECT_EQ(hash_password("x", 3).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(hash_password("x", 21).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace monopod::pki
