#include "proxy/h2/core.h"

#include <sys/epoll.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "http/limits.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

const http::Limits kLimits;  // what the servers of this program judge by, too

MonoTime mono(std::uint64_t now_ms) { return MonoTime(std::chrono::milliseconds(now_ms)); }

std::string_view text(const std::uint8_t* bytes, std::size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace

struct H2Core::Callbacks {
  static H2Core& self(void* user) { return *static_cast<H2Core*>(user); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Core& c = self(user);
    c.in_head_ = true;
    c.head_wire_bytes_ = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      if (c.leaving_ || c.streams_.size() >= 2 * kStreamsMax) {
        c.in_head_ = false;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
      auto stream = std::make_shared<H2Stream>(c);
      stream->id = frame->hd.stream_id;
      c.streams_.emplace(stream->id, std::move(stream));
    }
    if (H2Stream* stream = c.find(frame->hd.stream_id); stream != nullptr && !stream->head_done()) stream->begin_head();
    c.moved_ms_ = c.host_.now_ms();
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    H2Core& c = self(user);
    H2Stream* stream = c.find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    bool good = stream->head_done() ? stream->add_trailer(text(name, name_size), text(value, value_size)) : stream->add_field(text(name, name_size), text(value, value_size));
    if (stream->list_bytes() > 4 * kHeadBytesMax) {
      c.calm_down("header list");
      return 0;
    }
    if (good) return 0;
    c.in_head_ = false;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
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
    auto found = c.streams_.find(id);
    if (found == c.streams_.end()) return 0;
    std::shared_ptr<H2Stream> stream = found->second;
    c.streams_.erase(found);
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
    std::size_t n = std::min(size, stream.output_bytes());
    if (n > 0) c.moved_ms_ = c.host_.now_ms();
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;  // send_data() follows
    if (n < stream.output_bytes()) return static_cast<ssize_t>(n);
    if (!stream.output_done()) {
      if (n > 0) return static_cast<ssize_t>(n);
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream.trailers().empty()) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    std::vector<std::string> names;
    names.reserve(stream.trailers().size());
    std::vector<nghttp2_nv> fields;
    for (const std::string& line : stream.trailers()) {
      std::size_t colon = line.find(':');
      const std::string& name = names.emplace_back(to_lower(line.substr(0, colon)));
      std::string_view value = trim(std::string_view(line).substr(colon + 1));
      fields.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    nghttp2_submit_trailer(session, id, fields.data(), fields.size());
    return static_cast<ssize_t>(n);
  }

  // The frame's head and then the stream's bytes, copied once.
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t size, nghttp2_data_source* source, void* user) {
    H2Core& c = self(user);
    if (c.out_.size() >= kStreamOutputBytesMax) return NGHTTP2_ERR_WOULDBLOCK;  // comes again with the next round of flush()
    c.out_.tail().append(text(head, 9));
    static_cast<H2Stream*>(source->ptr)->move_output(c.out_.tail(), size);
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
  for (auto& [id, stream] : streams_) stream->detach();
  for (auto& stream : ready_) stream->detach();
  nghttp2_session_del(session_);
}

bool H2Core::open() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) return false;
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::frame_received);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, Callbacks::invalid_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::data_received);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::frame_sent);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::send_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::stream_closed);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  // Our own budget comes first and says why; this one would just fail the session.
  nghttp2_option_set_max_outbound_ack(option, kLimits.control_budget + 1000);
  nghttp2_option_set_max_settings(option, 32);
  int made = side_ == Side::kServer ? nghttp2_session_server_new2(&session_, callbacks, this, option) : nghttp2_session_client_new2(&session_, callbacks, this, option);
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

H2Stream* H2Core::find(std::int32_t id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

bool H2Core::has_users() const {
  for (const auto& [id, stream] : streams_)
    if (stream->user() != nullptr) return true;
  return false;
}

std::uint32_t H2Core::peer_streams_max() const { return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS); }

bool H2Core::over_budget(const nghttp2_frame& frame) {
  bool control = frame.hd.type == NGHTTP2_PING || frame.hd.type == NGHTTP2_SETTINGS || frame.hd.type == NGHTTP2_PRIORITY ||
                 (frame.hd.type == NGHTTP2_DATA && frame.hd.length == 0 && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
  return control && !controls_.spend(mono(host_.now_ms()));
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
    if (stream != nullptr && !stream->head_done()) on_head(frame, *stream);
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
  if (stream.oversized()) {
    stream.discards = true;
    constexpr std::string_view kName = ":status", kValue = "431";
    nghttp2_nv field{reinterpret_cast<std::uint8_t*>(const_cast<char*>(kName.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(kValue.data())), kName.size(), kValue.size(), NGHTTP2_NV_FLAG_NONE};
    nghttp2_submit_response(session_, stream.id, &field, 1, nullptr);
    return;
  }
  if (!stream.finish_request_head(ends)) return reset(stream, NGHTTP2_PROTOCOL_ERROR);
  requests_.push_back(streams_[stream.id]);
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
  if (side_ == Side::kServer && !stream.output_done()) {
    flush();  // what was written so far goes out; a reset would overtake it
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
  if (side_ == Side::kServer || (stream.input_ended() && stream.output_done())) return;
  reset(stream, NGHTTP2_CANCEL);
  // An endpoint that fell silent would hold every request that shares the connection.
  if (host_.now_ms() - std::max(heard_ms_, stream.opened_ms) >= kSilenceMs) go_away();
}

bool H2Core::submit_request(H2Stream& stream, std::vector<nghttp2_nv>& fields, bool with_body) {
  nghttp2_data_provider provider = Callbacks::provider(stream);
  std::int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), with_body ? &provider : nullptr, nullptr);
  if (id < 0) return false;
  stream.id = id;
  stream.opened_ms = host_.now_ms();
  streams_.emplace(id, stream.shared_from_this());
  return true;
}

bool H2Core::submit_response(H2Stream& stream, std::vector<nghttp2_nv>& fields, bool with_body) {
  nghttp2_data_provider provider = Callbacks::provider(stream);
  return nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), with_body ? &provider : nullptr) == 0;
}

void H2Core::go_away() {
  if (std::exchange(leaving_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
  schedule();
}

void H2Core::deliver() {
  while (!requests_.empty() || !ready_.empty()) {
    for (auto& stream : std::exchange(requests_, {}))
      if (!stream->closed()) on_request(stream);
    for (auto& stream : std::exchange(ready_, {})) {
      stream->queued = false;
      std::uint32_t events = std::exchange(stream->events, 0);
      if (stream->user() != nullptr) stream->user()->on_ready(events);
    }
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

bool H2Core::flush() {
  for (int round = 0; round < kStepsPerTurn; ++round) {
    while (out_.size() < kStreamOutputBytesMax) {
      const std::uint8_t* data = nullptr;
      ssize_t n = nghttp2_session_mem_send(session_, &data);
      if (n < 0) return false;
      if (n == 0) break;
      out_.tail().append(text(data, static_cast<std::size_t>(n)));
    }
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
  for (auto& [id, stream] : std::exchange(streams_, {})) all.push_back(std::move(stream));
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
