#include "http/spdy_framer.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/strings.h"

namespace monopod::http {
namespace {

Result<std::vector<SpdyFrame>> parse_all(SpdyFramer& framer, std::string_view wire) {
  std::vector<SpdyFrame> out;
  for (;;) {
    TRY_ASSIGN(std::optional<SpdyFrame> frame, framer.parse(wire));
    if (!frame) return out;
    out.push_back(std::move(*frame));
  }
}

Error error_of(std::string_view wire) {
  SpdyFramer framer;
  auto parsed = parse_all(framer, wire);
  return parsed ? Error(Code::kOk, "") : parsed.error();
}

TEST(SpdyFramer, DictionaryIsTheOneOfTheDraft) {
  const std::string& d = spdy_dictionary();
  EXPECT_EQ(d.size(), 1423U);
  EXPECT_EQ(adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size())), 0xe3c6a7c2U);
}

TEST(SpdyFramer, StreamsReadBackWithTheirHeadersOverOneCompressionState) {
  SpdyFramer sender, receiver;
  for (std::uint32_t id = 1; id < 200; id += 2) {
    Headers headers{{"streamType", "data"}, {"port", std::to_string(id)}, {"requestID", "0"}};
    auto wire = id % 3 == 0 ? sender.format_syn_reply(id, headers) : sender.format_syn_stream(id, headers, id % 5 == 0);
    ASSERT_TRUE(wire);
    std::string_view rest = *wire;
    auto frame = receiver.parse(rest);
    ASSERT_TRUE(frame && *frame) << (frame ? "incomplete" : frame.error().message());
    EXPECT_TRUE(rest.empty());
    EXPECT_EQ((*frame)->type, id % 3 == 0 ? SpdyType::kSynReply : SpdyType::kSynStream);
    EXPECT_EQ((*frame)->stream_id, id);
    EXPECT_EQ((*frame)->headers.find("streamtype"), "data");
    EXPECT_EQ((*frame)->headers.find("port"), std::to_string(id));
    EXPECT_EQ((*frame)->fin, id % 3 != 0 && id % 5 == 0);
  }
}

TEST(SpdyFramer, FramesMayArriveByteByByte) {
  SpdyFramer sender, receiver;
  std::string wire = *sender.format_syn_stream(1, {{"streamtype", "error"}}, true) + SpdyFramer::format_ping(7) +
                     SpdyFramer::format_data_head(1, 5, true) + "hello" + SpdyFramer::format_data_head(3, 0, true) + SpdyFramer::format_rst_stream(3, kSpdyCancel) +
                     SpdyFramer::format_window_update(1, 4096) + SpdyFramer::format_goaway(3, kSpdyGoawayOk);
  std::string held, seen, data;
  for (char c : wire) {
    held += c;
    std::string_view rest = held;
    for (;;) {
      auto frame = receiver.parse(rest);
      ASSERT_TRUE(frame);
      if (!*frame) break;
      const SpdyFrame& f = **frame;
      data += f.data;
      seen += cat(static_cast<int>(f.type), ":", f.stream_id, ":", f.value, f.fin ? "! " : " ");
    }
    held = rest;
  }
  EXPECT_EQ(data, "hello");
  EXPECT_EQ(seen, "1:1:0! 6:7:0 0:1:0 0:1:0 0:1:0 0:1:0 0:1:0! 0:3:0! 3:3:5 9:1:4096 7:3:0 ") << "data in the pieces in which it came, fin with the last";
}

TEST(SpdyFramer, UnknownTypesAreSkippedAndSettingsTellTheWindow) {
  using namespace std::string_literals;
  SpdyFramer framer;
  std::string wire = "\x80\x03\x00\x0a\x00\x00\x00\x02zz"s + "\x80\x03\x00\x04\x00\x00\x00\x14\x00\x00\x00\x02"s + "\x00\x00\x00\x04\x00\x00\x00\x64"s +
                     "\x00\x00\x00\x07\x00\x01\x00\x00"s;
  auto frames = parse_all(framer, wire);
  ASSERT_TRUE(frames);
  ASSERT_EQ(frames->size(), 1U);
  EXPECT_EQ(frames->front().type, SpdyType::kSettings);
  EXPECT_EQ(frames->front().initial_window, 65536U);
}

TEST(SpdyFramer, WhatTheDraftForbidsEndsTheSession) {
  using namespace std::string_literals;
  struct Case {
    const char* name;
    std::string wire;
  };
  SpdyFramer sender;
  std::string upper = *sender.format_syn_stream(1, {{"x", "y"}}, false);
  std::string flipped = upper;
  flipped[22] = static_cast<char>(flipped[22] ^ 0x55);  // in the identifier of the dictionary
  for (const Case& c : {Case{"version 2", "\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"s}, Case{"data of stream 0", "\x00\x00\x00\x00\x00\x00\x00\x01z"s},
                        Case{"short ping", "\x80\x03\x00\x06\x00\x00\x00\x03\x00\x00\x00"s}, Case{"long goaway", "\x80\x03\x00\x07\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00"s},
                        Case{"reset without status", "\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00"s},
                        Case{"window update of nothing", "\x80\x03\x00\x09\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00"s},
                        Case{"settings that lie about their count", "\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x09"s}, Case{"another dictionary", flipped},
                        Case{"a block that is not zlib", "\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01zzzz"s}})
    EXPECT_EQ(error_of(c.wire).code(), Code::kInvalidArgument) << c.name;
  EXPECT_EQ(error_of(upper).code(), Code::kOk);
}

TEST(SpdyFramer, LimitsHoldAtTheirValueAndNotOnePast) {
  Limits limits;
  auto fields = [&](std::size_t n) {
    Headers out;
    for (std::size_t i = 0; i < n; ++i) out.add(cat("h", i), "v");
    SpdyFramer sender, receiver(limits);
    return parse_all(receiver, *sender.format_syn_stream(1, out, false));
  };
  EXPECT_TRUE(fields(limits.header_fields_max));
  EXPECT_EQ(fields(limits.header_fields_max + 1).error().code(), Code::kResourceExhausted);

  // A few hundred bytes that inflate to the limit: 4 of the count, 2 x 4 of the lengths, 1 of the name.
  auto bomb = [&](std::size_t inflated) {
    SpdyFramer sender, receiver(limits);
    std::string wire = *sender.format_syn_stream(1, {{"x", std::string(inflated - 13, 'a')}}, false);
    EXPECT_LT(wire.size(), 2000U);
    return parse_all(receiver, wire);
  };
  EXPECT_TRUE(bomb(limits.header_bytes_max));
  EXPECT_EQ(bomb(limits.header_bytes_max + 1).error().code(), Code::kResourceExhausted);

  auto unknown = [&](std::size_t length) {
    std::string wire{'\x80', 3, 0, 99, 0, 0, static_cast<char>(length >> 8U), static_cast<char>(length & 0xffU)};
    return error_of(wire + std::string(length, 'x')).code();
  };
  EXPECT_EQ(unknown(limits.spdy_control_frame_bytes_max), Code::kOk);
  EXPECT_EQ(unknown(limits.spdy_control_frame_bytes_max + 1), Code::kResourceExhausted);
}

}  // namespace
}  // namespace monopod::http
