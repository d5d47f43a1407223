// What comes: each frame by its section of RFC 9113.
#include <sys/epoll.h>

#include <algorithm>

#include "http/limits.h"
#include "proxy/h2/core.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

const http::Limits kLimits;

constexpr std::size_t kSettingsMax = 32;  // of one frame

// Takes padding's length from the front, and padding from the end. False: it is more than there is.
bool strip_padding(const FrameHead& head, std::string_view& payload) {
  if (!head.has(kFlagPadded)) return true;
  if (payload.empty()) return false;
  std::size_t padding = static_cast<unsigned char>(payload[0]);
  payload.remove_prefix(1);
  if (padding > payload.size()) return false;
  payload.remove_suffix(padding);
  return true;
}

}  // namespace

void H2Core::feed(std::string_view bytes) {
  Piece piece;
  while (!terminated_) {
    switch (reader_.next(bytes, piece)) {
      case FrameReader::Step::kPiece: on_piece(piece); continue;
      case FrameReader::Step::kMore: return;
      case FrameReader::Step::kTooLarge: return terminate(H2Error::kFrameSize);
      case FrameReader::Step::kNoPreface: return terminate(H2Error::kProtocol);
    }
  }
}

void H2Core::on_piece(const Piece& piece) {
  const FrameHead& head = piece.head;
  // Nothing stands within a block (section 4.3), nor before SETTINGS (section 3.4).
  bool out_of_place = in_head_ ? head.type != FrameType::kContinuation || head.stream != block_id_ : !got_settings_ && (head.type != FrameType::kSettings || head.has(kFlagAck));
  if (out_of_place) return terminate(H2Error::kProtocol);
  switch (head.type) {
    case FrameType::kData: return on_data(piece);
    case FrameType::kHeaders: return on_headers(head, piece.payload);
    case FrameType::kPriority: return on_priority(head, piece.payload);
    case FrameType::kRstStream: return on_reset(head, piece.payload);
    case FrameType::kSettings: return on_settings(head, piece.payload);
    case FrameType::kPushPromise: return terminate(H2Error::kProtocol);  // no client may, and no server of ours
    case FrameType::kPing:
      if (head.stream != 0) return terminate(H2Error::kProtocol);
      if (head.length != 8) return terminate(H2Error::kFrameSize);
      spend_control("ping");
      if (!terminated_ && !head.has(kFlagAck)) append_frame(FrameType::kPing, kFlagAck, 0, piece.payload);
      return;
    case FrameType::kGoaway: return on_goaway(head, piece.payload);
    case FrameType::kWindowUpdate: return on_window_update(head, piece.payload);
    case FrameType::kContinuation: return in_head_ ? on_continuation(head, piece.payload) : terminate(H2Error::kProtocol);
  }
  // Types that nobody knows are ignored.
}

// Not opened yet. Servers open none.
bool H2Core::is_idle(std::int32_t id) const {
  return id % 2 == 0 || id > last_id_;
}

void H2Core::spend_control(std::string_view why) {
  if (!controls_.spend(MonoTime(std::chrono::milliseconds(host_.now_ms())))) calm_down(why);
}

void H2Core::fail_stream(H2Stream& stream, H2Error error) {
  if (stream.closed()) return;
  append_reset(stream.id, error);
  close_stream(stream, error);
}

// --- DATA

void H2Core::on_data(const Piece& piece) {
  const FrameHead& head = piece.head;
  std::string_view content = piece.payload;
  if (piece.first) {
    if (head.stream == 0) return terminate(H2Error::kProtocol);
    content_left_ = head.length;
    if (head.has(kFlagPadded)) {
      std::size_t padding = content.empty() ? 0 : static_cast<unsigned char>(content[0]);
      if (content.empty() || padding + 1 > head.length) return terminate(H2Error::kProtocol);
      content_left_ = head.length - 1 - padding;
      content.remove_prefix(1);
    }
    if (head.length == 0 && !head.has(kFlagEndStream)) spend_control("empty data");
    window_in_ -= head.length;
    if (window_in_ < 0) return terminate(H2Error::kFlowControl);
  }
  // The connection's window is never held back by one slow reader; the stream's is what bounds memory.
  announce_connection_window(piece.payload.size());
  H2Stream* stream = find(head.stream);
  if (piece.first) {
    if (stream == nullptr && is_idle(head.stream)) return terminate(H2Error::kProtocol);
    // Behind the peer's own end; what crossed a RST_STREAM of ours is nothing odd.
    if (stream == nullptr && closed_.judge(head.stream) == http::ClosedStreams::Verdict::kClosed) return terminate(H2Error::kStreamClosed);
    if (stream != nullptr) {
      stream->window_in -= head.length;
      if (stream->window_in < 0) return fail_stream(*stream, H2Error::kFlowControl);
      if (stream->input_ended()) return fail_stream(*stream, H2Error::kStreamClosed);
      if (!stream->head_done()) return fail_stream(*stream, H2Error::kProtocol);
      consume(*stream, head.length - content_left_);  // padding
    }
  }
  content = content.substr(0, content_left_);
  content_left_ -= content.size();
  if (stream == nullptr) return;
  if (!content.empty()) on_content(*stream, content);
  if (piece.last && head.has(kFlagEndStream) && !stream->closed()) on_input_end(*stream);
}

void H2Core::on_content(H2Stream& stream, std::string_view content) {
  if (!stream.rules.take_content(content.size())) return fail_stream(stream, H2Error::kProtocol);
  if (stream.lingers && (stream.unannounced += content.size()) > kLateRequestBytesMax) return reset(stream, H2Error::kNone);
  if (stream.lingers) return;
  if (stream.discards) return consume(stream, content.size());
  moved_ms_ = host_.now_ms();
  stream.add_data(content);
  note(stream, EPOLLIN);
}

void H2Core::announce_connection_window(std::size_t bytes) {
  unannounced_ += bytes;
  if (unannounced_ < kConnectionWindowBytes / 2) return;
  append_window_update(0, unannounced_);
  window_in_ += static_cast<std::int64_t>(std::exchange(unannounced_, 0));
}

void H2Core::consume(H2Stream& stream, std::size_t bytes) {
  stream.unannounced += bytes;
  if (stream.unannounced < kLimits.stream_window_bytes / 2 || stream.input_ended() || stream.closed()) return;
  append_window_update(stream.id, stream.unannounced);
  stream.window_in += static_cast<std::int64_t>(std::exchange(stream.unannounced, 0));
  schedule();
}

void H2Core::on_input_end(H2Stream& stream) {
  if (!stream.rules.finish()) return fail_stream(stream, H2Error::kProtocol);
  stream.end_input();
  note(stream, EPOLLIN);
  if (stream.ended()) close_stream(stream, H2Error::kNone);
}

// --- HEADERS, CONTINUATION

void H2Core::on_headers(const FrameHead& head, std::string_view payload) {
  if (head.stream == 0 || !strip_padding(head, payload)) return terminate(H2Error::kProtocol);
  if (head.has(kFlagPriority)) {
    if (payload.size() < 5) return terminate(H2Error::kFrameSize);
    if ((read_u32(payload) & 0x7fffffffU) == static_cast<std::uint32_t>(head.stream)) return terminate(H2Error::kProtocol);
    payload.remove_prefix(5);
  }
  if (!judge_headers(head.stream)) return;
  block_id_ = head.stream;
  block_flags_ = head.flags;
  if (head.has(kFlagEndHeaders)) return on_block(payload);
  in_head_ = true;
  head_wire_bytes_ = head.length;
  block_.assign(payload);
}

void H2Core::on_continuation(const FrameHead& head, std::string_view payload) {
  head_wire_bytes_ += kFrameHeadBytes + payload.size();
  // One that does not end, in frames of whatever size (CVE-2024-27316).
  if (head_wire_bytes_ > 4 * kHeadBytesMax) return calm_down("head without an end");
  block_.append(payload);
  if (!head.has(kFlagEndHeaders)) return;
  in_head_ = false;
  on_block(std::exchange(block_, {}));
}

// False: such a stream may have none, and the connection ends.
bool H2Core::judge_headers(std::int32_t id) {
  if (find(id) != nullptr) return true;
  if (id % 2 == 0 || (side_ == Side::kClient && is_idle(id))) return terminate(H2Error::kProtocol), false;
  using Verdict = http::ClosedStreams::Verdict;
  Verdict verdict = closed_.judge(id);
  bool late = verdict == Verdict::kLate || (side_ == Side::kClient && verdict == Verdict::kPassedOver);  // none of ours is passed over: it was long ago
  if (verdict == Verdict::kNew || late) return true;
  return terminate(verdict == Verdict::kClosed ? H2Error::kStreamClosed : H2Error::kProtocol), false;
}

// Null: nobody's fields, which are decoded all the same, as both tables must stay alike.
H2Stream* H2Core::stream_of_block(std::int32_t id, bool& refused) {
  H2Stream* stream = find(id);
  if (stream != nullptr || side_ == Side::kClient || !closed_.is_new(id)) return stream;
  closed_.note_opened(id);
  last_id_ = id;
  refused = leaving_ || streams_.size() >= kStreamsMax;
  if (refused) return nullptr;
  auto made = std::allocate_shared<H2Stream>(BlockAllocator<H2Stream>(host_.blocks()), *this);
  made->id = id;
  stream = made.get();
  add(std::move(made));
  return stream;
}

void H2Core::on_block(std::string_view block) {
  bool refused = false, ends = (block_flags_ & kFlagEndStream) != 0;
  H2Stream* stream = stream_of_block(block_id_, refused);
  moved_ms_ = host_.now_ms();
  H2Stream* of = stream;
  if (stream != nullptr && stream->input_ended()) {
    fail_stream(*stream, H2Error::kStreamClosed);
    of = nullptr;
  }
  if (of != nullptr && !of->head_done() && !of->discards) {
    of->begin_head(host_.take_head());
    of->rules.begin(side_ == Side::kServer ? MessageRules::Block::kRequest : MessageRules::Block::kResponse);
  } else if (of != nullptr) {
    of->rules.begin(MessageRules::Block::kTrailer);
  }
  if (!read_block(block, of)) return;
  if (refused) {
    append_reset(block_id_, H2Error::kRefusedStream);
    if (!leaving_ && !resets_.spend(MonoTime(std::chrono::milliseconds(host_.now_ms())))) calm_down("streams beyond the limit");
  }
  if (of != nullptr && !of->closed()) finish_block(*of, ends);
}

// stream: null from the first field on that made it malformed. False: the connection ends.
bool H2Core::read_block(std::string_view block, H2Stream*& stream) {
  HpackField field;
  decoder_.begin(block);
  for (;;) {
    switch (decoder_.next(field)) {
      case HpackDecoder::Step::kBad: return terminate(H2Error::kCompression), false;
      case HpackDecoder::Step::kEnd: return true;
      case HpackDecoder::Step::kField: break;
    }
    if (stream == nullptr) continue;
    if (!take_field(*stream, field)) {
      fail_stream(*stream, H2Error::kProtocol);
      stream = nullptr;
    } else if (!stream->head_done() && !stream->discards && stream->list().list_bytes() > 4 * kHeadBytesMax) {
      return calm_down("header list"), false;
    }
  }
}

bool H2Core::take_field(H2Stream& stream, const HpackField& field) {
  MessageRules::Verdict verdict = stream.rules.take(field.name, field.value);
  if (verdict == MessageRules::Verdict::kBad) return false;
  if (verdict == MessageRules::Verdict::kSkip || stream.discards) return true;
  return stream.head_done() ? stream.add_trailer(field.name, field.value) : stream.list().add(field.name, field.value, field.never_indexed);
}

void H2Core::finish_block(H2Stream& stream, bool ends) {
  bool trailer = stream.head_done();
  if (stream.discards) return ends ? on_input_end(stream) : fail_stream(stream, H2Error::kProtocol);
  if (!stream.rules.finish_block(stream.asked()) || (trailer && !ends)) return fail_stream(stream, H2Error::kProtocol);
  if (!trailer && side_ == Side::kServer) {
    if (stream.list().oversized()) {
      stream.discards = true;
      begin_fields();
      add_field(":status", "431");
      end_response(stream, true, false);
      return;
    }
    if (!stream.finish_request_head(ends)) return fail_stream(stream, H2Error::kProtocol);
    requests_.push_back(&stream);
  } else if (!trailer) {
    if (!stream.finish_response_head(ends)) return fail_stream(stream, H2Error::kProtocol);
    note(stream, EPOLLIN);
  }
  if (ends) on_input_end(stream);
}

// --- the others

// Nobody heeds it (section 5.3.2), but it is to be well formed.
void H2Core::on_priority(const FrameHead& head, std::string_view payload) {
  if (head.stream == 0) return terminate(H2Error::kProtocol);
  if (payload.size() != 5) return terminate(H2Error::kFrameSize);
  if ((read_u32(payload) & 0x7fffffffU) == static_cast<std::uint32_t>(head.stream)) return terminate(H2Error::kProtocol);
  spend_control("priority");
}

void H2Core::on_reset(const FrameHead& head, std::string_view payload) {
  if (head.length != 4) return terminate(H2Error::kFrameSize);
  if (head.stream == 0 || (find(head.stream) == nullptr && is_idle(head.stream))) return terminate(H2Error::kProtocol);
  if (H2Stream* stream = find(head.stream)) close_stream(*stream, static_cast<H2Error>(read_u32(payload)));
}

void H2Core::on_settings(const FrameHead& head, std::string_view payload) {
  if (head.stream != 0) return terminate(H2Error::kProtocol);
  if ((head.has(kFlagAck) && !payload.empty()) || payload.size() % 6 != 0) return terminate(H2Error::kFrameSize);
  spend_control("settings");
  if (terminated_ || head.has(kFlagAck)) return;
  if (payload.size() / 6 > kSettingsMax) return calm_down("settings");
  bool first = !std::exchange(got_settings_, true);
  for (; !payload.empty(); payload.remove_prefix(6)) {
    auto id = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8U | static_cast<unsigned char>(payload[1]));
    if (!apply_setting(static_cast<Setting>(id), read_u32(payload.substr(2)))) return;
  }
  append_frame(FrameType::kSettings, kFlagAck, 0, {});
  if (first) note_unsent();  // who waits for what is offered
  on_stream_gone();          // there may be room for more
  send_parked();
}

bool H2Core::apply_setting(Setting setting, std::uint32_t value) {
  auto refuse = [this](H2Error error) { return terminate(error), false; };
  switch (setting) {
    case Setting::kHeaderTableSize: encoder_.limit(value); break;
    case Setting::kEnablePush: return value <= (side_ == Side::kServer ? 1U : 0U) || refuse(H2Error::kProtocol);
    case Setting::kMaxConcurrentStreams: peer_streams_max_ = value; break;
    case Setting::kInitialWindowSize: return (value <= kWindowMax && set_initial_window(value)) || refuse(H2Error::kFlowControl);
    case Setting::kMaxFrameSize: return (value >= kFrameBytesMax && value < 1U << 24U) || refuse(H2Error::kProtocol);  // ours are no larger than the least
    case Setting::kMaxHeaderListSize: break;
    case Setting::kEnableConnectProtocol:  // RFC 8441 section 3; of a client it says nothing
      if (value > 1 || (side_ == Side::kClient && extended_connect_ && value == 0)) return refuse(H2Error::kProtocol);
      extended_connect_ = value == 1;
      break;
  }
  return true;
}

// Counts for streams that are open, too (section 6.9.2). False: a window grows past what it may be.
bool H2Core::set_initial_window(std::uint32_t value) {
  std::int64_t change = static_cast<std::int64_t>(value) - std::exchange(initial_window_out_, value);
  for (const auto& stream : streams_) {
    stream->window_out += change;
    if (stream->window_out > kWindowMax) return false;
    if (change > 0 && stream->window_out > 0) stream->want_output();
  }
  return true;
}

void H2Core::on_goaway(const FrameHead& head, std::string_view payload) {
  if (head.stream != 0) return terminate(H2Error::kProtocol);
  if (payload.size() < 8) return terminate(H2Error::kFrameSize);
  peer_went_away_ = true;
  if (side_ == Side::kServer) return;
  leaving_ = true;
  // What it did not look at, and will not.
  auto last = static_cast<std::int32_t>(read_u32(payload) & 0x7fffffffU);
  for (std::size_t i = streams_.size(); i-- > 0;)
    if (i < streams_.size() && streams_[i]->id > last) close_stream(*streams_[i], H2Error::kRefusedStream);
}

void H2Core::on_window_update(const FrameHead& head, std::string_view payload) {
  if (head.length != 4) return terminate(H2Error::kFrameSize);
  std::uint32_t bytes = read_u32(payload) & 0x7fffffffU;
  if (head.stream == 0) {
    window_out_ += bytes;
    if (bytes == 0) return terminate(H2Error::kProtocol);
    if (window_out_ > kWindowMax) return terminate(H2Error::kFlowControl);
    return;  // who waits for it is told at the turn's end
  }
  H2Stream* stream = find(head.stream);
  if (stream == nullptr) return is_idle(head.stream) ? terminate(H2Error::kProtocol) : void();
  if (bytes == 0) return fail_stream(*stream, H2Error::kProtocol);
  stream->window_out += bytes;
  if (stream->window_out > kWindowMax) return fail_stream(*stream, H2Error::kFlowControl);
  if (stream->window_out > 0) stream->want_output();
}

}  // namespace monopod::proxy
