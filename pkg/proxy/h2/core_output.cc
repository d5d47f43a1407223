// What leaves: frames as bytes, content as it is lent, and who waits for windows and room.
#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "proxy/h2/core.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kOutputBytesMax = 64U << 10;  // of a connection, before its streams wait
constexpr std::size_t kLentBytesMin = 8U << 10;     // of a DATA frame that is sent from where it lies: a copy costs less than a call

}  // namespace

void H2Core::append_frame(FrameType type, std::uint8_t flags, std::int32_t id, std::string_view payload) {
  append_frame_head(out_.tail(), {.length = static_cast<std::uint32_t>(payload.size()), .type = type, .flags = flags, .stream = id});
  out_.tail().append(payload);
}

void H2Core::append_reset(std::int32_t id, H2Error error) {
  append_frame_head(out_.tail(), {.length = 4, .type = FrameType::kRstStream, .flags = 0, .stream = id});
  append_u32(out_.tail(), static_cast<std::uint32_t>(error));
  closed_.note_reset(id);
}

void H2Core::append_window_update(std::int32_t id, std::size_t bytes) {
  append_frame_head(out_.tail(), {.length = 4, .type = FrameType::kWindowUpdate, .flags = 0, .stream = id});
  append_u32(out_.tail(), static_cast<std::uint32_t>(bytes));
}

void H2Core::append_goaway(H2Error error) {
  append_frame_head(out_.tail(), {.length = 8, .type = FrameType::kGoaway, .flags = 0, .stream = 0});
  append_u32(out_.tail(), side_ == Side::kServer ? static_cast<std::uint32_t>(last_id_) : 0U);
  append_u32(out_.tail(), static_cast<std::uint32_t>(error));
}

void H2Core::begin_fields() {
  out_.tail().append(kFrameHeadBytes, '\0');
  fields_at_ = out_.tail().size();
  encoder_.begin(out_.tail());
}

// Whatever is too long for one frame goes on in CONTINUATION.
void H2Core::end_fields(std::int32_t id, bool ends) {
  std::string& out = out_.tail();
  std::size_t size = out.size() - fields_at_;
  std::uint8_t flags = ends ? kFlagEndStream : 0;
  auto head = [&](FrameType type, std::size_t length, bool last) {
    return FrameHead{.length = static_cast<std::uint32_t>(length), .type = type, .flags = static_cast<std::uint8_t>(flags | (last ? kFlagEndHeaders : 0)), .stream = id};
  };
  write_frame_head(out.data() + fields_at_ - kFrameHeadBytes, head(FrameType::kHeaders, std::min(size, kFrameBytesMax), size <= kFrameBytesMax));
  if (size <= kFrameBytesMax) return;
  std::string rest = out.substr(fields_at_ + kFrameBytesMax);
  out.resize(fields_at_ + kFrameBytesMax);
  flags = 0;
  for (std::string_view left = rest; !left.empty(); left.remove_prefix(std::min(left.size(), kFrameBytesMax))) {
    append_frame_head(out, head(FrameType::kContinuation, std::min(left.size(), kFrameBytesMax), left.size() <= kFrameBytesMax));
    out.append(left.substr(0, kFrameBytesMax));
  }
}

void H2Core::end_request(H2Stream& stream, bool ends) {
  stream.id = last_id_ == 0 ? 1 : last_id_ + 2;
  last_id_ = stream.id;
  closed_.note_opened(stream.id);
  stream.opened_ms = host_.now_ms();
  end_fields(stream.id, ends);
  add(take_unsent(stream));
  schedule();
  if (last_id_ > 0x7fffffff - 2) go_away();  // identifiers are used up
}

void H2Core::end_response(H2Stream& stream, bool ends, bool interim) {
  end_fields(stream.id, ends);
  schedule();
  if (ends && !interim) end_output(stream);
}

void H2Core::append_data(H2Stream& stream, std::size_t size, bool ends) {
  std::string& out = out_.tail();
  append_frame_head(out, {.length = static_cast<std::uint32_t>(size), .type = FrameType::kData, .flags = ends ? kFlagEndStream : std::uint8_t{0}, .stream = stream.id});
  stream.window_out -= static_cast<std::int64_t>(size);
  window_out_ -= static_cast<std::int64_t>(size);
  moved_ms_ = host_.now_ms();
  bool lends = size >= kLentBytesMin && !wire_.tls();
  while (size > 0) {
    std::string_view bytes = stream.take_lent(size);
    size -= bytes.size();
    if (lends) {
      lent_.push_back({out_.size(), bytes});
      lent_bytes_ += bytes.size();
    } else {
      out.append(bytes);
    }
  }
}

void H2Core::append_trailers(H2Stream& stream) {
  begin_fields();
  std::string lower;
  for (std::string_view lines = stream.ending()->trailers; !lines.empty();) {
    std::size_t colon = lines.find(':'), end = lines.find('\n');
    lower = to_lower(lines.substr(0, colon));
    add_field(lower, trim(lines.substr(colon + 1, end - colon - 1)));
    lines.remove_prefix(end + 1);
  }
  end_fields(stream.id, true);
}

// END_STREAM left.
void H2Core::end_output(H2Stream& stream) {
  stream.end_output();
  if (stream.input_ended()) return close_stream(stream, H2Error::kNone);
  if (side_ == Side::kServer) linger(stream);
}

std::size_t H2Core::room() const {
  std::size_t taken = out_.size() + lent_bytes_;
  return taken < kOutputBytesMax ? kOutputBytesMax - taken : 0;
}

// Frames of what stream lends, as far as windows and room go.
void H2Core::lend_out(H2Stream& stream) {
  while (stream.lent_bytes() > 0 || stream.ending() != nullptr) {
    std::int64_t window = std::max<std::int64_t>(0, std::min(stream.window_out, window_out_));
    std::size_t size = std::min({stream.lent_bytes(), kFrameBytesMax, static_cast<std::size_t>(window), room()});
    bool ends = size == stream.lent_bytes() && stream.ending() != nullptr;
    if (size == 0 && !ends) return wait_for_room(stream);
    bool trails = ends && !stream.ending()->trailers.empty();
    if (size > 0 || !trails) append_data(stream, size, ends && !trails);
    if (trails) append_trailers(stream);
    if (ends) return end_output(stream);
  }
}

bool H2Core::pump(H2Stream& stream) {
  if (terminated_) return false;
  for (int round = 0; round < kStepsPerTurn; ++round) {
    std::size_t before = stream.lent_bytes();
    lend_out(stream);
    schedule();
    if (lost_) return false;
    if (lent_.empty()) return true;
    Sent sent = send_lent();
    lost_ = sent == Sent::kLost;
    if (sent != Sent::kAll) return !lost_;
    if (stream.lent_bytes() == before || stream.ended() || (stream.lent_bytes() == 0 && stream.ending() == nullptr)) return true;
  }
  return true;
}

// For the connection's window or its output; a stream whose own window is used up is told when that opens.
void H2Core::wait_for_room(H2Stream& stream) {
  if (stream.window_out <= 0 || std::exchange(stream.waits, true)) return;
  waiting_.push_back(&stream);
}

// Tells as many as there is room for, the longest waiting first. True: somebody was told.
bool H2Core::wake_waiting() {
  if (waiting_.empty() || window_out_ <= 0 || room() == 0) return false;
  std::size_t free = std::min(static_cast<std::size_t>(window_out_), room());
  std::size_t count = std::min(waiting_.size(), free / kSlabBytes + 1);
  for (std::size_t i = 0; i < count; ++i) {
    waiting_[i]->waits = false;
    waiting_[i]->want_output();
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  return true;
}

// The endpoint's limit of streams leaves room again.
void H2Core::send_parked() {
  for (std::size_t i = 0; i < unsent_.size() && has_room_for_stream();)
    if (!unsent_[i]->send_parked()) ++i;  // else it is no longer among them
}

bool H2Core::flush() {
  for (int round = 0; round < kStepsPerTurn; ++round) {
    if (lost_) return false;
    if (out_.size() == 0) return true;
    iovec part{const_cast<char*>(out_.front()), out_.size()};
    Moved moved = wire_.write({&part, 1});
    if (moved.kind == Moved::kBlocked) return true;
    if (moved.kind != Moved::kBytes) return false;
    out_.pop(moved.bytes);
    if (out_.size() == 0 && streams_.empty()) out_.release();
  }
  host_.poller().again(wakes_);
  return true;
}

// Sends out_ and what is lent between its bytes; of what does not leave now, a copy stays.
H2Core::Sent H2Core::send_lent() {
  std::array<iovec, 64> parts;
  std::size_t count = 0, total = 0, at = 0;
  auto add_part = [&](std::string_view bytes) {
    if (bytes.empty()) return;
    parts[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
    total += bytes.size();
  };
  std::string_view queued(out_.front(), out_.size());
  std::size_t used = std::min(lent_.size(), parts.size() / 2 - 1);  // the others are copied: many small parts
  for (std::size_t i = 0; i < used; ++i) {
    add_part(queued.substr(at, lent_[i].behind - at));
    add_part(lent_[i].bytes);
    at = lent_[i].behind;
  }
  std::string rest;
  for (std::size_t i = used; i < lent_.size(); ++i) {
    rest += queued.substr(at, lent_[i].behind - at);
    rest += lent_[i].bytes;
    at = lent_[i].behind;
  }
  if (rest.empty()) add_part(queued.substr(at));
  else rest += queued.substr(at);
  Moved moved = wire_.write({parts.data(), count});
  bool lost = moved.kind != Moved::kBytes && moved.kind != Moved::kBlocked;
  std::size_t sent = moved.kind == Moved::kBytes ? moved.bytes : 0;
  std::string kept;
  for (std::size_t i = 0; i < count && sent < total; ++i) {
    std::size_t gone = std::min(sent, parts[i].iov_len);
    kept.append(static_cast<const char*>(parts[i].iov_base) + gone, parts[i].iov_len - gone);
    sent -= gone;
    total -= gone;
  }
  kept += rest;
  lent_.clear();
  lent_bytes_ = 0;
  if (kept.empty()) out_.pop(out_.size());
  else out_.assign(std::move(kept));
  return lost ? Sent::kLost : out_.size() == 0 ? Sent::kAll : Sent::kPart;
}

}  // namespace monopod::proxy
