#include "proxy/h2/frames.h"

#include <algorithm>

namespace monopod::proxy {
namespace {

FrameHead parse_head(std::string_view at) {
  auto byte = [at](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(at[i])); };
  return {.length = byte(0) << 16U | byte(1) << 8U | byte(2), .type = static_cast<FrameType>(byte(3)), .flags = static_cast<std::uint8_t>(byte(4)),
          .stream = static_cast<std::int32_t>(read_u32(at.substr(5)) & 0x7fffffffU)};
}

}  // namespace

bool FrameReader::take_preface(std::string_view& bytes) {
  std::size_t n = std::min(preface_.size(), bytes.size());
  if (!bytes.starts_with(preface_.substr(0, n))) return false;
  preface_.remove_prefix(n);
  bytes.remove_prefix(n);
  return true;
}

// How much of a frame must be there before it is handed out.
std::size_t FrameReader::wanted(std::string_view frame) {
  if (frame.size() < kFrameHeadBytes) return kFrameHeadBytes;
  FrameHead head = parse_head(frame);
  if (head.length > kFrameBytesMax) return kFrameHeadBytes;
  if (head.type != FrameType::kData) return kFrameHeadBytes + head.length;
  return kFrameHeadBytes + (head.has(kFlagPadded) && head.length > 0 ? 1 : 0);
}

FrameReader::Step FrameReader::next(std::string_view& bytes, Piece& out) {
  if (!preface_.empty() && !take_preface(bytes)) return Step::kNoPreface;
  if (std::exchange(held_done_, false)) held_.clear();
  if (data_left_ > 0) {
    if (bytes.empty()) return Step::kMore;
    std::string_view piece = bytes.substr(0, data_left_);
    bytes.remove_prefix(piece.size());
    data_left_ -= piece.size();
    out = {.head = data_, .payload = piece, .first = false, .last = data_left_ == 0};
    return Step::kPiece;
  }
  std::string_view frame = bytes;
  if (!held_.empty() || bytes.size() < wanted(bytes)) {
    for (std::size_t want = wanted(held_); held_.size() < want; want = wanted(held_)) {
      if (bytes.empty()) return Step::kMore;
      std::size_t n = std::min(want - held_.size(), bytes.size());
      held_.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
    }
    frame = held_;
    held_done_ = true;
  }
  FrameHead head = parse_head(frame);
  if (head.length > kFrameBytesMax) return Step::kTooLarge;
  std::string_view payload = frame.substr(kFrameHeadBytes, head.length);
  if (!held_done_) bytes.remove_prefix(kFrameHeadBytes + payload.size());
  data_ = head;
  data_left_ = head.length - payload.size();  // of DATA alone
  out = {.head = head, .payload = payload, .first = true, .last = data_left_ == 0};
  return Step::kPiece;
}

}  // namespace monopod::proxy
