#include "registry/access.h"

#include "async/test_support.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/password.h"
#include "registry/bcrypt.h"

namespace monopod::registry {
namespace {

// Made by libxcrypt (htpasswd -B and Python's crypt give the like).
constexpr std::string_view kHashOfWonder = "$2b$05$4dW/uxE4XQsyg5uXKnmatefNAsUk2aw8LNRzaCPayyezhUfXs7d6m";

TEST(Bcrypt, KnowsOthersHashes) {
  EXPECT_TRUE(verify_bcrypt("wonder", kHashOfWonder));
  EXPECT_FALSE(verify_bcrypt("wonder ", kHashOfWonder));
  EXPECT_FALSE(verify_bcrypt("", kHashOfWonder));
  EXPECT_TRUE(verify_bcrypt("", "$2b$04$/p.vqRAzJtLcSIvlTmPd9.RMIWVZ7UvChGrJ3MQiyhkcDHHgPiuDG"));
  EXPECT_TRUE(verify_bcrypt(std::string(71, 'x'), "$2b$04$Y0doT//SveP/B4xWL9M/1OdzRUXxX2I0aKihdjAnS/Af.8VPv3/9a"));
  EXPECT_TRUE(verify_bcrypt(std::string(72, 'x'), "$2b$04$Osv8s6LJF2H8n1KC3mK/7OBlfuSISwihhZMuf14Q1GGz7.6tr8d0e"));
  EXPECT_TRUE(verify_bcrypt(std::string(73, 'x'), "$2b$04$Osv8s6LJF2H8n1KC3mK/7OBlfuSISwihhZMuf14Q1GGz7.6tr8d0e"));  // past the 72nd byte nothing counts
  EXPECT_TRUE(verify_bcrypt("\xc3\xa4\xff", "$2b$04$44UYrB6Obbmud9x5.I0Bp.1WKPGZ2oobapPrPb/aMrtapZPdKtIGu"));
}

TEST(Bcrypt, TakesNothingElse) {
  std::string hash(kHashOfWonder);
  EXPECT_TRUE(is_bcrypt_hash(hash));
  for (std::string bad : {hash.substr(1), hash + "a", "$2x$" + hash.substr(4), "$2b$03" + hash.substr(6), "$2b$18" + hash.substr(6), "$2b$a4" + hash.substr(6), hash.substr(0, 59) + "!"})
    EXPECT_FALSE(is_bcrypt_hash(bad)) << bad;
}

TEST(Access, FileIsReadLineByLine) {
  EXPECT_TRUE(Access::parse(""));
  EXPECT_TRUE(Access::parse(cat("# who\n\nann:", kHashOfWonder, "\r\n")));
  auto bad = Access::parse(cat("ann:", kHashOfWonder, "\nbob:{SHA}abc"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "line 2: the hash of bob is neither bcrypt (htpasswd -B) nor scrypt");
  EXPECT_FALSE(Access::parse("ann"));
  EXPECT_FALSE(Access::parse(":x"));
}

async::Task<Result<>> check_access(async::Loop&) {
  async::Pool pool(1);
  auto access = Access::parse(cat("ann:", kHashOfWonder, "\nbob:", *pki::hash_password("s:p", pki::kPasswordCostMin)));
  CO_ASSERT_TRUE(access);
  auto basic = [](std::string_view pair) { return "Basic " + format_base64(pair); };
  for (int round = 0; round < 2; ++round) {  // the second from memory
    bool ann = co_await (*access)->allows(basic("ann:wonder"), pool);
    EXPECT_TRUE(ann);
    bool bob = co_await (*access)->allows(basic("bob:s:p"), pool);
    EXPECT_TRUE(bob);
    for (const char* pair : {"ann:s:p", "bob:wonder", "eve:wonder", "ann", "ann:", ""}) {
      bool other = co_await (*access)->allows(basic(pair), pool);
      EXPECT_FALSE(other) << pair;
    }
    for (const char* header : {"", "Basic", "Basic !", "Bearer YW5uOndvbmRlcg=="}) {
      bool other = co_await (*access)->allows(header, pool);
      EXPECT_FALSE(other) << header;
    }
  }
  co_return Result<>{};
}
TEST(Access, ThePasswordDecides) { async::run_test(check_access); }

}  // namespace
}  // namespace monopod::registry
