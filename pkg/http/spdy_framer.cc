#include "http/spdy_framer.h"

#include <algorithm>

#include "base/strings.h"
#include "http/spdy_headers.h"

namespace monopod::http {
namespace {

constexpr std::size_t kHeadBytes = 8;
constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kIdMask = 0x7fffffffU;
constexpr std::uint8_t kFin = 1;
constexpr std::uint8_t kUnidirectional = 2;
constexpr std::uint32_t kInitialWindowSetting = 7;

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8U | static_cast<std::uint8_t>(bytes[at + i]);
  return out;
}

void append_u32(std::string& out, std::uint32_t n) {
  for (unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(n >> shift & 0xffU);
}

std::string control(SpdyType type, std::uint8_t flags, std::string_view payload) {
  std::string out;
  append_u32(out, 0x80000000U | kVersion << 16U | static_cast<std::uint32_t>(type));
  append_u32(out, static_cast<std::uint32_t>(flags) << 24U | static_cast<std::uint32_t>(payload.size()));
  out += payload;
  return out;
}

std::string control(SpdyType type, std::uint32_t first) {
  std::string payload;
  append_u32(payload, first);
  return control(type, 0, payload);
}

std::string control(SpdyType type, std::uint32_t first, std::uint32_t second) {
  std::string payload;
  append_u32(payload, first);
  append_u32(payload, second);
  return control(type, 0, payload);
}

// Bytes of a payload before its header block, or all of it; 0 for a type that we do not know.
std::size_t fixed_bytes(SpdyType type) {
  switch (type) {
    case SpdyType::kSynStream: return 10;
    case SpdyType::kSynReply:
    case SpdyType::kHeaders:
    case SpdyType::kSettings:
    case SpdyType::kPing: return 4;
    case SpdyType::kRstStream:
    case SpdyType::kGoaway:
    case SpdyType::kWindowUpdate: return 8;
    case SpdyType::kData: break;
  }
  return 0;
}

bool has_header_block(SpdyType type) { return type == SpdyType::kSynStream || type == SpdyType::kSynReply || type == SpdyType::kHeaders; }

std::unexpected<Error> malformed(std::string_view what) { return fail(Code::kInvalidArgument, cat("spdy: malformed ", what)); }

//  count:32 { flags:8 id:24 value:32 }*
Result<> parse_settings(std::string_view payload, SpdyFrame& out) {
  std::size_t count = u32_at(payload, 0);
  if ((payload.size() - 4) % 8 != 0 || (payload.size() - 4) / 8 != count) return malformed("SETTINGS");
  for (std::size_t at = 4; at < payload.size(); at += 8) {
    if ((u32_at(payload, at) & 0xffffffU) == kInitialWindowSetting) out.initial_window = u32_at(payload, at + 4);
  }
  if (out.initial_window.value_or(0) > kIdMask) return malformed("SETTINGS");
  return {};
}

}  // namespace

SpdyFramer::SpdyFramer(const Limits& limits) : limits_(limits), blocks_(std::make_unique<HeaderBlocks>()) {}
SpdyFramer::~SpdyFramer() = default;

std::optional<SpdyFrame> SpdyFramer::parse_data(std::string_view& input) {
  std::size_t n = std::min(input.size(), data_left_);
  if (n == 0 && data_left_ > 0) return std::nullopt;
  SpdyFrame out;
  out.stream_id = data_stream_;
  out.data = input.substr(0, n);
  input.remove_prefix(n);
  data_left_ -= n;
  out.fin = data_left_ == 0 && data_fin_;
  if (data_left_ == 0) data_stream_ = 0;
  return out;
}

Result<std::optional<SpdyFrame>> SpdyFramer::parse(std::string_view& input) {
  for (;;) {
    if (data_stream_ != 0) return parse_data(input);
    if (input.size() < kHeadBytes) return std::nullopt;
    std::uint32_t first = u32_at(input, 0);
    std::uint32_t second = u32_at(input, 4);
    auto flags = static_cast<std::uint8_t>(second >> 24U);
    std::size_t length = second & 0xffffffU;
    if ((first & ~kIdMask) == 0) {
      if (first == 0) return malformed("DATA");
      input.remove_prefix(kHeadBytes);
      data_stream_ = first;
      data_left_ = length;
      data_fin_ = (flags & kFin) != 0;
      continue;
    }
    if ((first >> 16U & 0x7fffU) != kVersion) return fail(Code::kInvalidArgument, "spdy: version is not 3");
    if (length > limits_.spdy_control_frame_bytes_max) return fail(Code::kResourceExhausted, "spdy: control frame too large");
    if (input.size() < kHeadBytes + length) return std::nullopt;
    std::string_view payload = input.substr(kHeadBytes, length);
    input.remove_prefix(kHeadBytes + length);
    TRY_ASSIGN(std::optional<SpdyFrame> frame, parse_control(static_cast<SpdyType>(first & 0xffffU), flags, payload));
    if (frame) return frame;
  }
}

Result<std::optional<SpdyFrame>> SpdyFramer::parse_control(SpdyType type, std::uint8_t flags, std::string_view payload) {
  std::size_t fixed = fixed_bytes(type);
  if (fixed == 0) return std::nullopt;
  bool open_ended = has_header_block(type) || type == SpdyType::kSettings;
  if (payload.size() < fixed || (!open_ended && payload.size() != fixed)) return malformed("control frame");
  SpdyFrame out;
  out.type = type;
  if (type == SpdyType::kSettings) {
    TRY(parse_settings(payload, out));
    return out;
  }
  out.stream_id = u32_at(payload, 0);
  if (type == SpdyType::kPing) return out;
  out.stream_id &= kIdMask;
  if (has_header_block(type)) {
    if (out.stream_id == 0) return malformed("stream id");
    out.fin = (flags & kFin) != 0;
    out.unidirectional = type == SpdyType::kSynStream && (flags & kUnidirectional) != 0;
    TRY_ASSIGN(out.headers, blocks_->read(payload.substr(fixed), limits_));
    return out;
  }
  out.value = u32_at(payload, 4);
  if (type == SpdyType::kRstStream && (out.stream_id == 0 || out.value == 0)) return malformed("RST_STREAM");
  if (type == SpdyType::kWindowUpdate) {
    out.value &= kIdMask;
    if (out.value == 0) return malformed("WINDOW_UPDATE");
  }
  return out;
}

//  stream:32 associated:32 priority:3 unused:5 slot:8 headers
Result<std::string> SpdyFramer::format_syn_stream(std::uint32_t id, const Headers& headers, bool fin) {
  TRY_ASSIGN(std::string block, blocks_->write(headers));
  std::string payload;
  append_u32(payload, id);
  append_u32(payload, 0);
  payload.append(2, '\0');
  payload += block;
  return control(SpdyType::kSynStream, fin ? kFin : 0, payload);
}

Result<std::string> SpdyFramer::format_syn_reply(std::uint32_t id, const Headers& headers) {
  TRY_ASSIGN(std::string block, blocks_->write(headers));
  std::string payload;
  append_u32(payload, id);
  payload += block;
  return control(SpdyType::kSynReply, 0, payload);
}

std::string SpdyFramer::format_data_head(std::uint32_t id, std::size_t bytes, bool fin) {
  std::string out;
  append_u32(out, id);
  append_u32(out, (fin ? 0x01000000U : 0U) | static_cast<std::uint32_t>(bytes));
  return out;
}

std::string SpdyFramer::format_rst_stream(std::uint32_t id, SpdyResetStatus status) { return control(SpdyType::kRstStream, id, status); }
std::string SpdyFramer::format_ping(std::uint32_t id) { return control(SpdyType::kPing, id); }
std::string SpdyFramer::format_goaway(std::uint32_t last_good_stream, SpdyGoawayStatus status) { return control(SpdyType::kGoaway, last_good_stream, status); }
std::string SpdyFramer::format_window_update(std::uint32_t id, std::uint32_t delta) { return control(SpdyType::kWindowUpdate, id, delta); }

}  // namespace monopod::http
