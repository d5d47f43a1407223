#include "proxy/h2/core.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "http/limits.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

const http::Limits kLimits;  // what the servers of this program judge by, too

MonoTime mono(std::uint64_t now_ms) { return MonoTime(std::chrono::milliseconds(now_ms)); }

std::string_view text(const std::uint8_t* bytes, std::size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

constexpr std::size_t kOutputBytesMax = 64U << 10;  // of a connection, before its streams wait
constexpr std::size_t kLentBytesMin = 8U << 10;     // of a DATA frame that is sent from where it lies: a copy costs less than a call

void* take_block(std::size_t size, void* pool) { return static_cast<BlockPool*>(pool)->take(size); }
void give_block(void* block, void*) { BlockPool::give(block); }
void* resize_block(void* block, std::size_t size, void* pool) { return static_cast<BlockPool*>(pool)->resize(block, size); }
void* take_blocks(std::size_t count, std::size_t size, void* pool) {
  void* out = take_block(count * size, pool);
  if (out != nullptr) std::memset(out, 0, count * size);
  return out;
}

}  // namespace

struct H2Core::Callbacks {
  static H2Core& self(void* user) { return *static_cast<H2Core*>(user); }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
    H2Core& c = self(user);
    bool known = head->type != NGHTTP2_HEADERS || c.side_ == Side::kClient || head->stream_id % 2 == 0 || c.closed_.is_new(head->stream_id);
    if (!known && c.find(head->stream_id) == nullptr) c.judge_late(head->stream_id);
    return 0;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Core& c = self(user);
    c.in_head_ = true;
    c.head_wire_bytes_ = 0;
    c.of_head_ = nullptr;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      c.closed_.note_opened(frame->hd.stream_id);
      if (c.leaving_ || c.streams_.size() >= 2 * kStreamsMax) {
        nghttp2_submit_rst_stream(c.session_, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
      }
      auto stream = std::allocate_shared<H2Stream>(BlockAllocator<H2Stream>(c.host_.blocks()), c);
      stream->id = frame->hd.stream_id;
      nghttp2_session_set_stream_user_data(c.session_, stream->id, stream.get());
      c.add(std::move(stream));
    }
    c.of_head_ = c.find(frame->hd.stream_id);
    if (c.of_head_ != nullptr && !c.of_head_->head_done()) c.of_head_->begin_head(c.host_.take_head());
    c.moved_ms_ = c.host_.now_ms();
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    H2Core& c = self(user);
    H2Stream* stream = c.of_head_;
    if (stream == nullptr) return 0;
    bool trailer = stream->head_done();
    bool good = trailer ? stream->add_trailer(text(name, name_size), text(value, value_size)) : stream->list().add(text(name, name_size), text(value, value_size));
    if (!trailer && stream->list().list_bytes() > 4 * kHeadBytesMax) {
      c.calm_down("header list");
      return 0;
    }
    if (good) return 0;
    c.of_head_ = nullptr;
    stream->discards = true;
    c.reset(*stream, NGHTTP2_PROTOCOL_ERROR);
    return 0;
  }

  // What nghttp2 would pass over makes a message malformed (RFC 9113 section 8.2.1).
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*, std::size_t, const std::uint8_t*, std::size_t, std::uint8_t, void* user) {
    H2Core& c = self(user);
    H2Stream* stream = std::exchange(c.of_head_, nullptr);
    if (stream == nullptr) return 0;
    stream->discards = true;
    c.reset(*stream, NGHTTP2_PROTOCOL_ERROR);
    return 0;
  }

  static int invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    self(user).in_head_ = false;
    return 0;
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).on_frame(*frame);
    return 0;
  }

  static int data_received(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* user) {
    H2Core& c = self(user);
    // The connection's window is never held back by one slow reader; the stream's is what bounds memory.
    nghttp2_session_consume_connection(session, size);
    H2Stream* stream = c.find(id);
    if (stream == nullptr || stream->discards) {
      nghttp2_session_consume_stream(session, id, size);
      return 0;
    }
    c.moved_ms_ = c.host_.now_ms();
    stream->add_data(text(data, size));
    c.note(*stream, EPOLLIN);
    return 0;
  }

  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    H2Core& c = self(user);
    if (frame->hd.type == NGHTTP2_RST_STREAM) c.closed_.note_reset(frame->hd.stream_id);
    bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    H2Stream* stream = ends && c.side_ == Side::kServer ? c.find(frame->hd.stream_id) : nullptr;
    // The whole answer is out and nobody reads the request's rest (RFC 9113 section 8.1).
    if (stream != nullptr && !stream->input_ended()) {
      stream->reset_by_us = true;
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    H2Core& c = self(user);
    H2Stream* known = c.find(id);
    if (known == nullptr) return 0;
    std::shared_ptr<H2Stream> stream = c.streams_[known->position];
    c.drop(*stream);
    c.closed_.note_closed(id);
    if (c.of_head_ == known) c.of_head_ = nullptr;
    stream->mark_closed();
    bool answered = c.side_ == Side::kClient && stream->input_ended();
    if (stream->user() != nullptr) c.note(*stream, answered ? EPOLLIN : EPOLLIN | EPOLLHUP);
    // Resets the peer sent, or provoked (CVE-2023-44487, CVE-2025-8671).
    if (c.side_ == Side::kServer && error != NGHTTP2_NO_ERROR && !stream->reset_by_us && !c.resets_.spend(mono(c.host_.now_ms()))) c.calm_down("resets");
    c.on_stream_gone();
    return 0;
  }

  static ssize_t read_data(nghttp2_session* session, std::int32_t id, std::uint8_t*, std::size_t size, std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    H2Core& c = self(user);
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    std::size_t n = std::min(size, stream.lent_bytes());
    bool ends = n == stream.lent_bytes() && stream.ending() != nullptr;
    if (n == 0 && !ends) {
      stream.deferred = true;
      stream.want_output();
      return NGHTTP2_ERR_DEFERRED;
    }
    c.moved_ms_ = c.host_.now_ms();
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;  // send_data() follows
    if (!ends) return static_cast<ssize_t>(n);
    stream.end_output();
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream.ending()->trailers.empty()) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    c.scratch_.clear();
    for (std::string_view lines = stream.ending()->trailers; !lines.empty();) {
      std::size_t colon = lines.find(':'), end = lines.find('\n');
      c.scratch_.push_back(h2_field(lines.substr(0, colon), trim(lines.substr(colon + 1, end - colon - 1))));
      lines.remove_prefix(end + 1);
    }
    nghttp2_submit_trailer(session, id, c.scratch_.data(), c.scratch_.size());
    return static_cast<ssize_t>(n);
  }

  // The frame's head, and then the stream's bytes: small ones are copied.
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t size, nghttp2_data_source* source, void* user) {
    H2Core& c = self(user);
    c.out_.tail().append(text(head, 9));
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    bool lends = size >= kLentBytesMin && !c.wire_.tls();
    while (size > 0) {
      std::string_view bytes = stream.take_lent(size);
      size -= bytes.size();
      if (lends) {
        c.lent_.push_back({c.out_.size(), bytes});
        c.lent_bytes_ += bytes.size();
      } else {
        c.out_.tail().append(bytes);
      }
    }
    return 0;
  }

  static nghttp2_data_provider provider(H2Stream& stream) {
    nghttp2_data_provider out{};
    out.source.ptr = &stream;
    out.read_callback = read_data;
    return out;
  }
};

H2Core::H2Core(Worker& worker, Socket& socket, Pollable& wakes, Side side)
    : host_(worker), wire_(socket), wakes_(wakes), side_(side), resets_(kLimits.reset_budget, kLimits.reset_refill_per_second),
      controls_(kLimits.control_budget, kLimits.control_refill_per_second), moved_ms_(worker.now_ms()) {}

H2Core::~H2Core() {
  for (auto& stream : streams_) stream->detach();
  for (auto& stream : ready_) stream->detach();
  nghttp2_session_del(session_);
}

bool H2Core::open() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) return false;
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, Callbacks::begin_frame);
  nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, Callbacks::invalid_header);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::frame_received);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, Callbacks::invalid_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::data_received);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::frame_sent);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::send_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::stream_closed);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // A server's stay for a while, so that DATA behind a stream's end is seen to be late; of HEADERS, ClosedStreams knows.
  nghttp2_option_set_no_closed_streams(option, side_ == Side::kClient ? 1 : 0);
  // Our own budget comes first and says why; this one would just fail the session.
  nghttp2_option_set_max_outbound_ack(option, kLimits.control_budget + 1000);
  nghttp2_option_set_max_settings(option, 32);
  nghttp2_mem memory{.mem_user_data = &host_.blocks(), .malloc = take_block, .free = give_block, .calloc = take_blocks, .realloc = resize_block};
  int made = side_ == Side::kServer ? nghttp2_session_server_new3(&session_, callbacks, this, option, &memory) : nghttp2_session_client_new3(&session_, callbacks, this, option, &memory);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  if (made != 0) return false;
  std::vector<nghttp2_settings_entry> settings{{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kLimits.stream_window_bytes}, {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeadBytesMax}};
  if (side_ == Side::kServer) settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreamsMax});
  else settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindowBytes);
  return true;
}

H2Stream* H2Core::find(std::int32_t id) { return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session_, id)); }

void H2Core::add(std::shared_ptr<H2Stream> stream) {
  stream->position = streams_.size();
  streams_.push_back(std::move(stream));
}

void H2Core::drop(H2Stream& stream) {
  nghttp2_session_set_stream_user_data(session_, stream.id, nullptr);
  streams_.back()->position = stream.position;
  std::swap(streams_[stream.position], streams_.back());
  streams_.pop_back();
}

bool H2Core::has_users() const {
  for (const auto& stream : streams_)
    if (stream->user() != nullptr) return true;
  return false;
}

std::uint32_t H2Core::peer_streams_max() const { return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS); }

bool H2Core::over_budget(const nghttp2_frame& frame) {
  bool control = frame.hd.type == NGHTTP2_PING || frame.hd.type == NGHTTP2_SETTINGS || frame.hd.type == NGHTTP2_PRIORITY ||
                 (frame.hd.type == NGHTTP2_DATA && frame.hd.length == 0 && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
  return control && !controls_.spend(mono(host_.now_ms()));
}

// A head for a stream that is not open; nghttp2 sees to those that were never opened, and to DATA.
void H2Core::judge_late(std::int32_t id) {
  using Verdict = http::ClosedStreams::Verdict;
  Verdict verdict = closed_.judge(id);
  if (verdict == Verdict::kNew || verdict == Verdict::kLate) return;
  leaving_ = true;
  nghttp2_session_terminate_session(session_, verdict == Verdict::kClosed ? NGHTTP2_STREAM_CLOSED : NGHTTP2_PROTOCOL_ERROR);
}

void H2Core::calm_down(std::string_view why) {
  if (std::exchange(calmed_, true)) return;
  leaving_ = true;
  log::debug("http2 peer is told to calm down", {{"why", why}});
  nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
}

void H2Core::on_frame(const nghttp2_frame& frame) {
  if (over_budget(frame)) return calm_down("control frames");
  if (frame.hd.type == NGHTTP2_GOAWAY) leaving_ = leaving_ || side_ == Side::kClient;
  if (frame.hd.type == NGHTTP2_SETTINGS) on_stream_gone();  // there may be room for more
  H2Stream* stream = find(frame.hd.stream_id);
  if (frame.hd.type == NGHTTP2_HEADERS) {
    in_head_ = false;
    if (stream != nullptr && !stream->head_done() && !stream->discards) on_head(frame, *stream);
  }
  if (stream == nullptr || stream->closed()) return;
  bool ends = (frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA) && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (!ends) return;
  stream->end_input();
  note(*stream, EPOLLIN);
}

void H2Core::on_head(const nghttp2_frame& frame, H2Stream& stream) {
  bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (side_ == Side::kClient) {
    if (!stream.finish_response_head(ends)) reset(stream, NGHTTP2_PROTOCOL_ERROR);
    else note(stream, EPOLLIN);
    return;
  }
  if (stream.list().oversized()) {
    stream.discards = true;
    nghttp2_nv field = h2_field(":status", "431");
    nghttp2_submit_response(session_, stream.id, &field, 1, nullptr);
    return;
  }
  if (!stream.finish_request_head(ends)) return reset(stream, NGHTTP2_PROTOCOL_ERROR);
  requests_.push_back(streams_[stream.position]);
}

void H2Core::schedule() {
  if (!in_turn_) host_.poller().again(wakes_);
}

void H2Core::note(H2Stream& stream, std::uint32_t events) {
  stream.events |= events;
  if (std::exchange(stream.queued, true)) return;
  ready_.push_back(stream.shared_from_this());
  schedule();
}

void H2Core::consume(H2Stream& stream, std::size_t bytes) {
  nghttp2_session_consume_stream(session_, stream.id, bytes);
  schedule();
}

void H2Core::reset(H2Stream& stream, std::uint32_t error) {
  if (stream.closed() || stream.id == 0) return;
  stream.reset_by_us = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error);
  schedule();
}

void H2Core::user_gone(H2Stream& stream) {
  if (stream.closed() || stream.id == 0) return on_stream_gone();
  if (side_ == Side::kServer && !stream.ended()) {
    flush();  // what was written so far goes out; a reset would overtake it
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
  if (side_ == Side::kServer || (stream.input_ended() && stream.ended())) return;
  reset(stream, NGHTTP2_CANCEL);
  // An endpoint that fell silent would hold every request that shares the connection.
  if (host_.now_ms() - std::max(heard_ms_, stream.opened_ms) >= kSilenceMs) go_away();
}

bool H2Core::submit_request(H2Stream& stream, const std::vector<nghttp2_nv>& fields, bool with_body) {
  nghttp2_data_provider provider = Callbacks::provider(stream);
  std::int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), with_body ? &provider : nullptr, &stream);
  if (id < 0) return false;
  stream.id = id;
  stream.opened_ms = host_.now_ms();
  add(stream.shared_from_this());
  schedule();
  return true;
}

bool H2Core::submit_response(H2Stream& stream, const std::vector<nghttp2_nv>& fields, bool with_body) {
  nghttp2_data_provider provider = Callbacks::provider(stream);
  schedule();
  return nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), with_body ? &provider : nullptr) == 0;
}

bool H2Core::submit_interim(H2Stream& stream, const std::vector<nghttp2_nv>& fields) {
  schedule();
  return nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, fields.data(), fields.size(), nullptr) == 0;
}

void H2Core::go_away() {
  if (std::exchange(leaving_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
  schedule();
}

void H2Core::deliver() {
  while (!requests_.empty() || !ready_.empty()) {
    running_.swap(requests_);
    for (auto& stream : running_)
      if (!stream->closed()) on_request(stream);
    running_.clear();
    running_.swap(ready_);
    for (auto& stream : running_) {
      stream->queued = false;
      std::uint32_t events = std::exchange(stream->events, 0);
      if (stream->user() != nullptr) stream->user()->on_ready(events);
    }
    running_.clear();
  }
}

void H2Core::feed(std::string_view bytes) {
  ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (n < 0) {
    bool flood = n == NGHTTP2_ERR_FLOODED;
    calmed_ = true;
    leaving_ = true;
    nghttp2_session_terminate_session(session_, flood || in_head_ ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
  }
  // A head that does not end, in CONTINUATION frames of whatever size.
  if (in_head_ && (head_wire_bytes_ += bytes.size()) > 4 * kHeadBytesMax) calm_down("head without an end");
}

void H2Core::collect() {
  while (out_.size() + lent_bytes_ < kOutputBytesMax) {
    const std::uint8_t* data = nullptr;
    ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) lost_ = true;
    if (n <= 0) return;
    out_.tail().append(text(data, static_cast<std::size_t>(n)));
  }
}

bool H2Core::flush() {
  for (int round = 0; round < kStepsPerTurn; ++round) {
    collect();
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

bool H2Core::pump(H2Stream& stream) {
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
  for (int round = 0; round < kStepsPerTurn; ++round) {
    std::size_t before = stream.lent_bytes();
    collect();
    schedule();
    if (lost_) return false;
    if (lent_.empty()) return true;
    Sent sent = send_lent();
    lost_ = sent == Sent::kLost;
    if (sent != Sent::kAll) return !lost_;
    if (stream.lent_bytes() == before || (stream.lent_bytes() == 0 && (stream.ending() == nullptr || stream.ended()))) return true;
  }
  return true;
}

bool H2Core::turn() {
  in_turn_ = true;
  bool alive = true;
  for (int step = 0; alive; ++step) {
    if (step == kStepsPerTurn) {
      host_.poller().again(wakes_);
      break;
    }
    bool came = false;
    if (wire_.can_read() && nghttp2_session_want_read(session_) != 0) {
      char* slab = host_.slabs().take();
      Moved moved = wire_.read(slab, kSlabBytes);
      if (moved.kind == Moved::kBytes) feed({slab, moved.bytes});
      host_.slabs().give(slab);
      came = moved.kind == Moved::kBytes;
      if (came) heard_ms_ = host_.now_ms();
      alive = came || moved.kind == Moved::kBlocked;
    }
    deliver();
    alive = flush() && alive;
    if (!came && ready_.empty()) break;
  }
  in_turn_ = false;
  if (leaving_ && streams_.empty() && out_.size() == 0 && nghttp2_session_want_write(session_) == 0) return false;
  return alive && (out_.size() > 0 || nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0);
}

void H2Core::fail_all() {
  leaving_ = true;
  std::vector<std::shared_ptr<H2Stream>> all = std::exchange(unsent_, {});
  for (auto& stream : std::exchange(streams_, {})) all.push_back(std::move(stream));
  for (auto& stream : all) {
    stream->mark_closed();
    if (stream->user() != nullptr) note(*stream, EPOLLIN | EPOLLHUP);
  }
  in_turn_ = true;
  requests_.clear();
  deliver();
  in_turn_ = false;
  for (auto& stream : all) stream->detach();
}

}  // namespace monopod::proxy
