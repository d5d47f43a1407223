#include "base/bytes.h"

#include <gtest/gtest.h>

namespace monopod {
namespace {

TEST(Bytes, Base64MatchesTheVectorsOfRfc4648) {
  for (auto [plain, text] : {std::pair{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
                             {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(format_base64(plain), text);
    EXPECT_EQ(parse_base64(text), plain);
  }
}

TEST(Bytes, Base64RefusesWhatIsNotInTheAlphabet) {
  for (const char* text : {"Z", "Zg=", "Zg", "Z g=", "Zm9v\n", "Zm9v!", "_w=="}) EXPECT_FALSE(parse_base64(text)) << text;
}

TEST(Bytes, Base64UrlIsUnpadded) {
  std::string bytes = "\xff\xfe\xfd\xfc";
  EXPECT_EQ(format_base64url(bytes), "__79_A");
  EXPECT_EQ(parse_base64url("__79_A"), bytes);
  EXPECT_EQ(parse_base64url("__79_A=="), bytes);
}

TEST(Bytes, HexRoundTrips) {
  EXPECT_EQ(format_hex(as_bytes("\x01\xab")), "01ab");
  EXPECT_EQ(parse_hex("01AB"), "\x01\xab");
  EXPECT_FALSE(parse_hex("0"));
  EXPECT_FALSE(parse_hex("0g"));
}

}  // namespace
}  // namespace monopod
