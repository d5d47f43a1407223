// SPDY/3.1 frames (draft-mbelshe-httpbis-spdy-00, and 3.1's window of the whole session) as functions of bytes; no I/O. Kubernetes' older
// streaming clients speak it: exec, attach and port-forward.
//
//   control   1|version:15=3|type:16   flags:8|length:24   payload      SYN_STREAM, SYN_REPLY, HEADERS end in a header block:
//   data      0|stream id:31           flags:8|length:24   bytes        zlib with the dictionary of SPDY/3, one stream per direction
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"
#include "http/limits.h"

namespace monopod::http {

enum class SpdyType : std::uint16_t {
  kData = 0,  // ours: a data frame has no type
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoaway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};

enum SpdyResetStatus : std::uint32_t { kSpdyProtocolError = 1, kSpdyInvalidStream = 2, kSpdyRefusedStream = 3, kSpdyCancel = 5, kSpdyFlowControlError = 7 };
enum SpdyGoawayStatus : std::uint32_t { kSpdyGoawayOk = 0, kSpdyGoawayProtocolError = 1 };

struct SpdyFrame {
  SpdyType type = SpdyType::kData;
  std::uint32_t stream_id = 0;  // kPing: its id; kGoaway: the last good stream; kWindowUpdate: 0 is the session
  std::uint32_t value = 0;      // kRstStream, kGoaway: status; kWindowUpdate: delta
  bool fin = false;             // the sender's last frame of this stream
  bool unidirectional = false;  // kSynStream: no answer is wanted
  std::optional<std::uint32_t> initial_window{};  // kSettings, where it is among them
  Headers headers{};                              // names lowercase
  std::string data{};
};

// One per connection: the header blocks of a direction share their compression state.
class SpdyFramer {
 public:
  explicit SpdyFramer(const Limits& limits = {});
  ~SpdyFramer();

  // Takes a frame off the front of input; nullopt where it is not all there yet. Data frames come in the pieces in which they arrive, fin with
  // the last. Frames of unknown types are skipped, as the draft says. Any error is the session's end: kInvalidArgument for what the draft
  // forbids, kResourceExhausted past a limit (control_frame_bytes_max, header_bytes_max inflated, header_fields_max).
  Result<std::optional<SpdyFrame>> parse(std::string_view& input);

  // In the order in which they are sent, all of them: the peer's inflater follows.
  Result<std::string> format_syn_stream(std::uint32_t id, const Headers& headers, bool fin);
  Result<std::string> format_syn_reply(std::uint32_t id, const Headers& headers);

  static std::string format_data_head(std::uint32_t id, std::size_t bytes, bool fin);  // bytes < 2^24
  static std::string format_rst_stream(std::uint32_t id, SpdyResetStatus status);
  static std::string format_ping(std::uint32_t id);
  static std::string format_goaway(std::uint32_t last_good_stream, SpdyGoawayStatus status);
  static std::string format_window_update(std::uint32_t id, std::uint32_t delta);

 private:
  class HeaderBlocks;  // both zlib streams

  std::optional<SpdyFrame> parse_data(std::string_view& input);
  Result<std::optional<SpdyFrame>> parse_control(SpdyType type, std::uint8_t flags, std::string_view payload);

  Limits limits_;
  std::unique_ptr<HeaderBlocks> blocks_;
  std::uint32_t data_stream_ = 0;  // of the data frame in progress
  std::size_t data_left_ = 0;
  bool data_fin_ = false;
};

// The 1423 bytes that both sides know before the first header block (section 2.6.10.1).
const std::string& spdy_dictionary();

}  // namespace monopod::http
