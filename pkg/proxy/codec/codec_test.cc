#include <gtest/gtest.h>

#include "base/strings.h"
#include "proxy/codec/chunked.h"
#include "proxy/codec/client_hello.h"
#include "proxy/codec/head.h"
#include "proxy/codec/proxy_protocol.h"
#include "proxy/codec/scan.h"

namespace monopod::proxy {
namespace {

TEST(Scan, EveryWayFindsTheSameByte) {
  ScanWays ways = scan_ways();
  ASSERT_GE(ways.count, 1U);
  std::string text(200, 'a');
  for (std::size_t begin = 0; begin < 40; ++begin)
    for (std::size_t at = begin; at < text.size(); at += 7)
      for (char c : {'\0', '\x01', '\n', '\r', '\x1f', '\x7f', '\t', ' ', '\x80', '\xff'}) {
        text[at] = c;
        const char* want = ways.ways[0].find_control(text.data() + begin, text.data() + text.size());
        for (std::size_t w = 1; w < ways.count; ++w)
          ASSERT_EQ(ways.ways[w].find_control(text.data() + begin, text.data() + text.size()), want) << ways.ways[w].name << " " << begin << " " << at << " " << int(c);
        ASSERT_EQ(find_control(text.data() + begin, text.data() + text.size()), want);
        text[at] = 'a';
      }
}

TEST(Head, EveryPrefixIsPartialAndTheWholeIsDone) {
  std::string text = "POST /a/b?c=d HTTP/1.1\r\nHost: example.test:8080\r\nContent-Length: 12\r\nX-One:  two \r\n\r\n";
  Head head;
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_EQ(parse_request_head(text.data(), n, head), Parsed::kPartial) << text.substr(0, n);
  ASSERT_EQ(parse_request_head(text.data(), text.size(), head), Parsed::kDone);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/a/b?c=d");
  EXPECT_EQ(head.host, "example.test:8080");
  EXPECT_EQ(head.length, 12U);
  EXPECT_EQ(head.size, text.size());
  ASSERT_NE(head.find("x-one"), nullptr);
  EXPECT_EQ(head.value(*head.find("x-one")), "two");
}

TEST(Head, HopByHopFieldsAreDropped) {
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nX-Stays: 1\r\n\r\n";
  Head head;
  ASSERT_EQ(parse_request_head(text.data(), text.size(), head), Parsed::kDone);
  EXPECT_FALSE(head.keep_alive);
  for (std::string_view gone : {"connection", "x-hop", "keep-alive", "te", "proxy-connection"}) EXPECT_EQ(head.find(gone), nullptr) << gone;
  EXPECT_NE(head.find("x-stays"), nullptr);
}

TEST(Head, AnswersAreFramedAsRfc9112Says) {
  struct Row {
    const char* text;
    bool to_head;
    Parsed parsed;
    Framing framing;
  };
  const Row rows[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Parsed::kDone, Framing::kLength},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Parsed::kDone, Framing::kNone},
      {"HTTP/1.1 200 OK\r\n\r\n", false, Parsed::kDone, Framing::kUntilClose},
      {"HTTP/1.1 204 No Content\r\n\r\n", false, Parsed::kDone, Framing::kNone},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, Parsed::kDone, Framing::kNone},
      {"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", false, Parsed::kDone, Framing::kChunked},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"HTTP/1.1 99 OK\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"HTTP/2 200 OK\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"HTTP/1.1 200 OK\nA: b\r\n\r\n", false, Parsed::kBad, Framing::kNone},
      {"SSH-2.0-OpenSSH\r\n", false, Parsed::kBad, Framing::kNone},
  };
  for (const Row& row : rows) {
    Head head;
    std::string_view text = row.text;
    EXPECT_EQ(parse_response_head(text.data(), text.size(), row.to_head, head), row.parsed) << text;
    if (row.parsed == Parsed::kDone) EXPECT_EQ(head.framing, row.framing) << text;
  }
}

TEST(ChunkedBody, PassesByReferenceInWhateverPieces) {
  std::string text = "5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: y\r\n\r\nGET";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    ChunkedBody body;
    std::string data, passed, pending;
    std::size_t fed = 0;
    while (!body.done() && fed < text.size()) {
      std::size_t n = std::min(piece, text.size() - fed);
      pending += text.substr(fed, n);
      fed += n;
      while (!pending.empty() && !body.done()) {
        ChunkedBody::Step step = body.consume(pending);
        ASSERT_FALSE(step.bad);
        if (step.bytes == 0) break;
        data += step.data;
        passed += pending.substr(0, step.bytes);
        pending.erase(0, step.bytes);
      }
    }
    EXPECT_EQ(data, "hello0123456789") << piece;
    EXPECT_EQ(passed, text.substr(0, text.size() - 3)) << piece;
  }
}

TEST(ProxyProtocol, BothVersionsRoundTrip) {
  for (const char* pair : {"192.0.2.1:1234", "[2001:db8::1]:443"}) {
    Address source = *Address::parse(pair);
    for (const std::string& text : {format_proxy_v1(source, source), format_proxy_v2(source, source)}) {
      for (std::size_t n = 0; n < text.size(); ++n) {
        auto partial = parse_proxy_header(std::string_view(text).substr(0, n));
        ASSERT_TRUE(partial) << n;
        EXPECT_FALSE(*partial) << n;
      }
      auto parsed = parse_proxy_header(text + "GET");
      ASSERT_TRUE(parsed && *parsed) << text;
      EXPECT_EQ((*parsed)->bytes, text.size());
      EXPECT_EQ((*parsed)->source->format(), pair);
    }
  }
}

TEST(ProxyProtocol, WhatIsNoneIsRefused) {
  using namespace std::string_literals;
  for (const std::string& text : {"GET / HTTP/1.1\r\n"s, "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"s, "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n"s, "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"s, "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"s,
                                  "PROXY "s + std::string(200, 'a'), "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c"s, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04"s + "abcd", "\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"s})
    EXPECT_FALSE(parse_proxy_header(text)) << text;
}

TEST(ClientHello, AnythingElseIsOther) {
  EXPECT_EQ(find_server_name("GET / HTTP/1.1\r\n").kind, ServerName::kOther);
  EXPECT_EQ(find_server_name(std::string_view("\x16\x03\x01", 3)).kind, ServerName::kPartial);
  EXPECT_EQ(find_server_name(std::string_view("\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9)).kind, ServerName::kOther);  // a server's hello
}

}  // namespace
}  // namespace monopod::proxy
