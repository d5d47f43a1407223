// What a server of HTTP/2 remembers of streams that are over, so that a late frame is judged as RFC 9113 section 5.1 says: nghttp2 lets them all pass.
// Frames that crossed a RST_STREAM of ours are nothing odd; behind the peer's own end they are an error, as is an identifier that was passed over.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace monopod::http {

class ClosedStreams {
 public:
  void note_opened(std::int32_t id) { last_ = std::max(last_, id); }
  void note_closed(std::int32_t id) { ended_[ended_at_++ % ended_.size()] = id; }
  // A RST_STREAM of ours was sent.
  void note_reset(std::int32_t id) {
    if (reset_.size() < kResetMax) reset_.push_back(id);
    else reset_[reset_at_++ % kResetMax] = id;
  }
  bool is_new(std::int32_t id) const { return id > last_; }
  // Of HEADERS for a stream of the peer's that is not open.
  enum class Verdict : std::uint8_t { kNew, kLate, kClosed, kPassedOver };
  Verdict judge(std::int32_t id) const {
    if (is_new(id)) return Verdict::kNew;
    if (std::ranges::find(reset_, id) != reset_.end()) return Verdict::kLate;
    return std::ranges::find(ended_, id) != ended_.end() ? Verdict::kClosed : Verdict::kPassedOver;
  }

 private:
  static constexpr std::size_t kResetMax = 256;  // what a peer has on its way when it learns of them is no more
  std::int32_t last_ = 0;
  std::array<std::int32_t, 16> ended_{};
  std::vector<std::int32_t> reset_;
  std::size_t ended_at_ = 0, reset_at_ = 0;
};

}  // namespace monopod::http
