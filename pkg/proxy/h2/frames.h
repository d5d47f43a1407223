// Frames of HTTP/2 (RFC 9113 sections 4 and 6) as bytes: heads, codes, and a reader that cuts what comes into frames.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace monopod::proxy {

enum class FrameType : std::uint8_t { kData, kHeaders, kPriority, kRstStream, kSettings, kPushPromise, kPing, kGoaway, kWindowUpdate, kContinuation };

inline constexpr std::uint8_t kFlagEndStream = 0x1, kFlagAck = 0x1, kFlagEndHeaders = 0x4, kFlagPadded = 0x8, kFlagPriority = 0x20;

// RFC 9113 section 7.
enum class H2Error : std::uint32_t {
  kNone = 0, kProtocol = 1, kInternal = 2, kFlowControl = 3, kStreamClosed = 5, kFrameSize = 6, kRefusedStream = 7, kCancel = 8, kCompression = 9, kEnhanceYourCalm = 11,
};

// RFC 9113 section 6.5.2.
enum class Setting : std::uint16_t { kHeaderTableSize = 1, kEnablePush = 2, kMaxConcurrentStreams = 3, kInitialWindowSize = 4, kMaxFrameSize = 5, kMaxHeaderListSize = 6, kEnableConnectProtocol = 8 };

inline constexpr std::size_t kFrameHeadBytes = 9;
inline constexpr std::size_t kFrameBytesMax = 16384;  // of a payload, either way: what every peer takes
inline constexpr std::int64_t kWindowMax = 0x7fffffff;
inline constexpr std::int64_t kWindowInitial = 65535;

struct FrameHead {
  std::uint32_t length = 0;
  FrameType type = FrameType::kData;
  std::uint8_t flags = 0;
  std::int32_t stream = 0;
  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

inline std::uint32_t read_u32(std::string_view at) {
  auto byte = [at](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(at[i])); };
  return byte(0) << 24U | byte(1) << 16U | byte(2) << 8U | byte(3);
}

inline void append_u32(std::string& out, std::uint32_t n) {
  const char bytes[] = {static_cast<char>(n >> 24U), static_cast<char>(n >> 16U), static_cast<char>(n >> 8U), static_cast<char>(n)};
  out.append(bytes, sizeof bytes);
}

inline void write_frame_head(char* to, const FrameHead& head) {
  auto id = static_cast<std::uint32_t>(head.stream);
  const char bytes[kFrameHeadBytes] = {static_cast<char>(head.length >> 16U), static_cast<char>(head.length >> 8U), static_cast<char>(head.length), static_cast<char>(head.type),
                                       static_cast<char>(head.flags), static_cast<char>(id >> 24U), static_cast<char>(id >> 16U), static_cast<char>(id >> 8U), static_cast<char>(id)};
  for (std::size_t i = 0; i < kFrameHeadBytes; ++i) to[i] = bytes[i];
}

inline void append_frame_head(std::string& out, const FrameHead& head) {
  char bytes[kFrameHeadBytes];
  write_frame_head(bytes, head);
  out.append(bytes, sizeof bytes);
}

// Frames come whole, but for DATA, whose bytes come as they are there: a frame that is cut is kept until the rest is here.
class FrameReader {
 public:
  explicit FrameReader(std::string_view preface) : preface_(preface) {}
  struct Piece {
    FrameHead head{};
    std::string_view payload{};
    bool first = true, last = true;  // of its frame. The first of padded DATA holds the padding's length
  };
  enum class Step : std::uint8_t { kPiece, kMore, kTooLarge, kNoPreface };
  // Takes from the front of bytes. kMore: all is taken. out: valid until the next call; payload may lie in bytes.
  Step next(std::string_view& bytes, Piece& out);

 private:
  bool take_preface(std::string_view& bytes);
  static std::size_t wanted(std::string_view frame);

  std::string_view preface_;  // that has not come
  std::string held_;          // of a frame that is not whole
  bool held_done_ = false;    // it was handed out
  FrameHead data_{};          // whose bytes come
  std::size_t data_left_ = 0;
};

}  // namespace monopod::proxy
