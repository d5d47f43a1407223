// The chunked coding as it passes: bytes are judged, not copied. consume() says how many bytes at the start of the input belong to the body and are
// sound; they may be forwarded as they are. Lines are strict (RFC 9112 section 7.1): hexadecimal digits, an extension without control characters,
// CRLF; trailers hold nothing that frames or authorises.
#pragma once

#include <cstdint>
#include <string_view>

namespace monopod::proxy {

inline constexpr std::size_t kTrailerLineBytesMax = 4U << 10;

class ChunkedBody {
 public:
  struct Step {
    std::size_t bytes = 0;      // of the input, sound; 0 with !bad: more input is needed
    std::string_view data{};    // what of them is content, where the step was within a chunk
    bool bad = false;
  };
  // One step: a chunk's line, some of its data, its end, or a line of the trailer. input is not empty.
  Step consume(std::string_view input);
  bool done() const { return state_ == State::kDone; }
  // The next step is a line of the trailer, or its end.
  bool in_trailer() const { return state_ == State::kTrailer; }
  // Within a chunk's data: how much of it is still to come.
  std::uint64_t remaining() const { return state_ == State::kData ? left_ : 0; }

 private:
  enum class State : std::uint8_t { kLine, kData, kDataEnd, kTrailer, kDone };
  Step consume_line(std::string_view input);
  Step consume_trailer(std::string_view input);
  State state_ = State::kLine;
  std::uint64_t left_ = 0;
  std::size_t extension_bytes_ = 0;
  std::size_t trailer_bytes_ = 0;
};

}  // namespace monopod::proxy
