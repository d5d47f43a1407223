// Against nghttp2's coder both ways, and what RFC 7541 says of blocks that are wrong.
#include "proxy/codec/hpack.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <random>
#include <vector>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::optional<Fields> decode(HpackDecoder& decoder, std::string_view block) {
  Fields out;
  HpackField field;
  decoder.begin(block);
  for (;;) {
    switch (decoder.next(field)) {
      case HpackDecoder::Step::kField: out.emplace_back(field.name, field.value); continue;
      case HpackDecoder::Step::kEnd: return out;
      case HpackDecoder::Step::kBad: return std::nullopt;
    }
  }
}

// nghttp2's coders.
struct Peer {
  Peer() {
    nghttp2_hd_deflate_new(&deflater, 4096);
    nghttp2_hd_inflate_new(&inflater);
  }
  ~Peer() {
    nghttp2_hd_deflate_del(deflater);
    nghttp2_hd_inflate_del(inflater);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  std::string encode(const Fields& fields, std::uint8_t flags = 0) {
    std::vector<nghttp2_nv> nva;
    for (const auto& [name, value] : fields)
      nva.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), flags});
    std::string out(nghttp2_hd_deflate_bound(deflater, nva.data(), nva.size()), '\0');
    ssize_t n = nghttp2_hd_deflate_hd(deflater, reinterpret_cast<std::uint8_t*>(out.data()), out.size(), nva.data(), nva.size());
    EXPECT_GE(n, 0);
    out.resize(static_cast<std::size_t>(n));
    return out;
  }
  std::optional<Fields> decode(std::string_view block) {
    Fields out;
    for (;;) {
      nghttp2_nv nv;
      int flags = 0;
      ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, reinterpret_cast<const std::uint8_t*>(block.data()), block.size(), 1);
      if (n < 0) return std::nullopt;
      block.remove_prefix(static_cast<std::size_t>(n));
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) out.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen), std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
    return out;
  }
  nghttp2_hd_deflater* deflater = nullptr;
  nghttp2_hd_inflater* inflater = nullptr;
};

// Lists as messages have them, and as they have them not: repeated, long, empty, of every byte.
struct Lists {
  explicit Lists(unsigned seed) : rng(seed) {}
  Fields next() {
    static const std::vector<std::string> kNames{":method", ":path", ":scheme", ":authority", ":status", "content-type", "content-length", "cookie", "authorization", "date", "x-forwarded-for", "x-request-id", "te", "a", ""};
    static const std::vector<std::string> kValues{"GET", "POST", "/", "http", "https", "200", "404", "application/grpc", "gzip, deflate", "Mon, 02 Jan 2006 15:04:05 GMT", "trailers", "127.0.0.1", ""};
    Fields out;
    for (std::size_t n = below(20); n > 0; --n) {
      std::string name = below(4) == 0 ? cat("x-", below(200)) : kNames[below(kNames.size())];
      std::string value = below(3) == 0 ? random_text() : kValues[below(kValues.size())];
      out.emplace_back(name, value);
    }
    return out;
  }
  std::string random_text() {
    std::string out(below(8) == 0 ? below(5000) : below(40), '\0');
    for (char& c : out) c = static_cast<char>(below(2) == 0 ? below(256) : 'a' + below(26));
    return out;
  }
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(rng); }
  std::mt19937 rng;
};

TEST(Hpack, WhatAnotherEncoderWritesIsReadAsAnotherDecoderReadsIt) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Lists lists(seed);
    Peer peer;
    HpackDecoder decoder;
    for (int i = 0; i < 200; ++i) {
      Fields fields = lists.next();
      if (i % 37 == 36) nghttp2_hd_deflate_change_table_size(peer.deflater, lists.below(5000));
      std::string block = peer.encode(fields, i % 3 == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : 0);
      ASSERT_EQ(decode(decoder, block), fields) << "seed " << seed << ", block " << i;
    }
  }
}

TEST(Hpack, WhatIsWrittenAnotherDecoderReads) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Lists lists(seed);
    Peer peer;
    HpackEncoder encoder;
    HpackDecoder own;
    for (int i = 0; i < 200; ++i) {
      if (i % 37 == 36) {
        std::uint32_t size = static_cast<std::uint32_t>(lists.below(4097));
        encoder.limit(size / 2);
        encoder.limit(size);
      }
      Fields fields = lists.next();
      std::string block;
      encoder.begin(block);
      for (const auto& [name, value] : fields) encoder.add(block, name, value, i % 5 == 0);
      ASSERT_EQ(peer.decode(block), fields) << "seed " << seed << ", block " << i;
      ASSERT_EQ(decode(own, block), fields);
    }
  }
}

TEST(Hpack, AFieldThatWasSentIsAByteAndASecretIsNot) {
  HpackEncoder encoder;
  auto block = [&encoder](std::string_view name, std::string_view value, bool secret = false) {
    std::string out;
    encoder.begin(out);
    encoder.add(out, name, value, secret);
    return out;
  };
  EXPECT_EQ(block(":status", "200"), "\x88");
  EXPECT_EQ(block("x-a", "b"), std::string("\x40\x03x-a\x01" "b"));
  EXPECT_EQ(block("x-a", "b"), "\xbe");
  EXPECT_EQ(block("x-a", "c"), std::string("\x7e\x01" "c"));
  EXPECT_EQ(block("x-a", "b"), "\xbf");
  EXPECT_EQ(block("x-a", "b", true), std::string("\x1f\x2f\x01" "b"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(block("authorization", "s"), std::string("\x1f\x08\x01s"));
    EXPECT_EQ(block("cookie", "short"), std::string("\x1f\x11\x05short"));
    EXPECT_EQ(block(":path", "/p"), std::string("\x04\x02/p"));
  }
  HpackDecoder decoder;
  HpackField field;
  decoder.begin("\x1f\x08\x01s");
  ASSERT_EQ(decoder.next(field), HpackDecoder::Step::kField);
  EXPECT_TRUE(field.never_indexed);
  EXPECT_EQ(field.name, "authorization");
}

TEST(Hpack, APeerThatKeepsNothingIsToldSo) {
  HpackEncoder encoder;
  Peer peer;
  for (std::uint32_t limit : {0U, 4096U, 100U}) {
    encoder.limit(limit);
    for (int i = 0; i < 3; ++i) {
      std::string block;
      encoder.begin(block);
      encoder.add(block, "x-name", "value");
      EXPECT_EQ(peer.decode(block), (Fields{{"x-name", "value"}})) << limit;
      EXPECT_EQ(block.size() == 1, limit != 0 && i > 0) << limit;
    }
  }
}

TEST(Hpack, WrongBlocksAreRefused) {
  const std::string_view rows[] = {
      std::string_view("\x80", 1), "\xbe", "\xff\x80\x80\x80\x80\x80\x01", "\x40", "\x40\x01", "\x40\x01x", "\x40\x01x\x05yyyy", std::string_view("\x00\x00\x01", 3), "\x7e\x01x", "\x82\x20", "\x3f\xe2\x1f",
      std::string_view("\x00\x01x\x84\xff\xff\xff\xff", 8),  // EOS
      std::string_view("\x00\x01x\x82\x1f\xff", 6),          // padding of more than seven bits
      std::string_view("\x00\x01x\x81\x18", 5),              // padding of zeros
      std::string_view("\x00\x7f\xff\xff\xff\x7f", 6),       // a length beyond any block
  };
  for (std::string_view row : rows) {
    HpackDecoder decoder;
    EXPECT_FALSE(decode(decoder, row)) << testing::PrintToString(row);
  }
}

}  // namespace
}  // namespace monopod::proxy
