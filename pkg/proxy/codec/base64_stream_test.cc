#include "proxy/codec/base64_stream.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace monopod::proxy {
namespace {

TEST(Base64Stream, AnyPiecesMakeTheSameText) {
  std::string bytes;
  for (int size = 0; size < 40; ++size, bytes += static_cast<char>(size * 37)) {
    for (std::size_t piece = 1; piece < 6; ++piece) {
      Base64Encoder encoder;
      Base64Decoder decoder;
      std::string text, back;
      for (std::size_t at = 0; at < bytes.size(); at += piece) encoder.append(std::string_view(bytes).substr(at, piece), text);
      encoder.finish(text);
      EXPECT_EQ(text, format_base64(bytes));
      for (std::size_t at = 0; at < text.size(); at += piece) EXPECT_TRUE(decoder.append(std::string_view(text).substr(at, piece), back));
      EXPECT_TRUE(decoder.whole());
      EXPECT_EQ(back, bytes);
    }
  }
}

TEST(Base64Stream, TextsMayFollowOneAnother) {
  Base64Decoder decoder;
  std::string out;
  EXPECT_TRUE(decoder.append("YQ==YmM=ZGVm", out));
  EXPECT_EQ(out, "abcdef");
}

TEST(Base64Stream, WhatIsNoneIsRefused) {
  for (std::string_view text : {"YQ=a", "=", "Y===", "Y Q=", "YQ-_", "YQ==="}) {
    Base64Decoder decoder;
    std::string out;
    EXPECT_FALSE(decoder.append(text, out)) << text;
  }
  Base64Decoder decoder;
  std::string out;
  EXPECT_TRUE(decoder.append("YWJ", out));
  EXPECT_FALSE(decoder.whole());
}

}  // namespace
}  // namespace monopod::proxy
