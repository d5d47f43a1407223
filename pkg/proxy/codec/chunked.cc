#include "proxy/codec/chunked.h"

#include <algorithm>

#include "http/h1_strict.h"
#include "proxy/codec/head.h"

namespace monopod::proxy {

ChunkedBody::Step ChunkedBody::consume_line(std::string_view input) {
  auto line = http::scan_chunk_line(input);
  if (!line) return {.bad = true};
  if (!*line) return {};
  extension_bytes_ += (*line)->extension_bytes;
  if (extension_bytes_ > http::kExtensionBytesMax) return {.bad = true};
  left_ = (*line)->size;
  state_ = left_ == 0 ? State::kTrailer : State::kData;
  return {.bytes = (*line)->line_bytes};
}

ChunkedBody::Step ChunkedBody::consume_trailer(std::string_view input) {
  std::size_t end = input.find('\n');
  if (end == std::string_view::npos) return {.bad = input.size() > kTrailerLineBytesMax};
  std::string_view line = input.substr(0, end + 1);
  if (line == "\r\n") {
    state_ = State::kDone;
    return {.bytes = 2};
  }
  trailer_bytes_ += line.size();
  if (trailer_bytes_ > http::kTrailerBytesMax || line.size() > kTrailerLineBytesMax || !is_trailer_line(line)) return {.bad = true};
  return {.bytes = line.size()};
}

ChunkedBody::Step ChunkedBody::consume(std::string_view input) {
  switch (state_) {
    case State::kLine: return consume_line(input);
    case State::kTrailer: return consume_trailer(input);
    case State::kData: {
      std::string_view data = input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size())));
      left_ -= data.size();
      if (left_ == 0) state_ = State::kDataEnd;
      return {.bytes = data.size(), .data = data};
    }
    case State::kDataEnd:
      if (input[0] != '\r' || (input.size() > 1 && input[1] != '\n')) return {.bad = true};
      if (input.size() < 2) return {};
      state_ = State::kLine;
      return {.bytes = 2};
    case State::kDone: return {};
  }
  return {.bad = true};
}

}  // namespace monopod::proxy
