#include "etcd/auth/tokens.h"

#include <gtest/gtest.h>

#include "async/test_support.h"
#include "base/strings.h"
#include "pki/key.h"

namespace monopod::etcd {
namespace {

Result<std::string> no_file(const std::string& path) { return fail(Code::kNotFound, path + ": no such file"); }
Result<std::string> its_name(const std::string& path) { return "bytes of " + path; }

TEST(TokenOptions, AreReadAsEtcdWritesThem) {
  EXPECT_EQ(parse_token_options("simple", no_file)->kind, TokenOptions::Kind::kSimple);
  TokenOptions jwt = *parse_token_options("jwt,pub-key=a.pub,priv-key=b.key,sign-method=RS256,ttl=1h30m5s", its_name);
  EXPECT_EQ(jwt.kind, TokenOptions::Kind::kJwt);
  EXPECT_EQ(jwt.public_key_pem, "bytes of a.pub");
  EXPECT_EQ(jwt.private_key_pem, "bytes of b.key");
  EXPECT_EQ(jwt.sign_method, "RS256");
  EXPECT_EQ(jwt.ttl, std::chrono::seconds(5405));
  EXPECT_EQ(parse_token_options("jwt,sign-method=ES256", its_name)->ttl, kTokenTtl);
}

TEST(TokenOptions, SayWhatIsWrong) {
  struct Case {
    const char* spec;
    const char* error;
  } cases[] = {
      {"", "token type \"\": want simple or jwt"},
      {"magic", "token type \"magic\": want simple or jwt"},
      {"simple,ttl=1m", "token option \"ttl\": simple tokens have none"},
      {"jwt,ttl", "token option \"ttl\": want name=value"},
      {"jwt,color=red", "token option \"color\" is unknown"},
      {"jwt,sign-method=ES256,sign-method=RS256", "token option \"sign-method\" is given twice"},
      {"jwt,ttl=0s", "token option ttl=0s: want hours, minutes or seconds like 1h30m, at least 1s"},
      {"jwt,ttl=5", "token option ttl=5: want hours, minutes or seconds like 1h30m, at least 1s"},
      {"jwt,ttl=99999999h", "token option ttl=99999999h: want hours, minutes or seconds like 1h30m, at least 1s"},
      {"jwt,priv-key=/missing", "/missing: no such file"},
  };
  for (const Case& c : cases) {
    auto options = parse_token_options(c.spec, no_file);
    ASSERT_FALSE(options) << c.spec;
    EXPECT_EQ(options.error().message(), c.error);
  }
}

TEST(Tokens, KeysMustFitTheMethodAndEachOther) {
  async::Loop loop;
  async::FakeTime time(loop.executor());
  pki::PrivateKey ec = *pki::PrivateKey::make(), ed = *pki::PrivateKey::make(pki::KeyKind::kEd25519);
  auto make = [&](std::string method, std::string private_pem, std::string public_pem) {
    auto tokens = make_tokens({.kind = TokenOptions::Kind::kJwt, .sign_method = std::move(method), .private_key_pem = std::move(private_pem), .public_key_pem = std::move(public_pem)}, time);
    return tokens ? std::string("ok") : tokens.error().message();
  };
  EXPECT_EQ(make("ES256", ec.format_pem(), ""), "ok");
  EXPECT_EQ(make("ES256", ec.format_pem(), ec.public_key().format_pem()), "ok");
  EXPECT_EQ(make("ES256", "", ec.public_key().format_pem()), "ok");
  EXPECT_EQ(make("EdDSA", ed.format_pem(), ""), "ok");
  EXPECT_EQ(make("ES256", ed.format_pem(), ""), "sign-method ES256: the key is of another kind");
  EXPECT_EQ(make("ES256", ec.format_pem(), ed.public_key().format_pem()), "pub-key and priv-key do not belong together");
  EXPECT_EQ(make("HS256", ec.format_pem(), ""), "sign-method \"HS256\": want RS256, ES256 or EdDSA");
  EXPECT_EQ(make("ES256", "", ""), "jwt needs priv-key, or pub-key to verify only");
}

// The oldest makes room, so a client that logs in for every request costs bounded memory.
TEST(Tokens, SimpleTokensAreBounded) {
  async::Loop loop;
  async::FakeTime time(loop.executor());
  auto tokens = *make_tokens({}, time);
  std::string first = *tokens->assign("a", 1);
  time.advance(std::chrono::seconds(1));
  std::string second = *tokens->assign("a", 1);
  for (std::size_t i = 2; i < kSimpleTokensMax; ++i) (void)tokens->assign("b", 1);
  EXPECT_TRUE(tokens->find(second, 1));
  time.advance(std::chrono::seconds(1));
  EXPECT_TRUE(tokens->find(second, 1));
  std::string last = *tokens->assign("c", 1);
  EXPECT_FALSE(tokens->find(first, 1));
  EXPECT_TRUE(tokens->find(second, 1));
  EXPECT_TRUE(tokens->find(last, 1));
}

}  // namespace
}  // namespace monopod::etcd
