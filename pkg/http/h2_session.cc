#include "http/h2_session.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cstring>
#include <limits>
#include <new>

#include "base/strings.h"

namespace monopod::http {
namespace {

constexpr std::size_t kReadBytes = 16U << 10;
constexpr int kReadsPerTurn = 8;
constexpr int kFlushesPerTurn = 16;
constexpr std::size_t kWriteParts = 64;
constexpr std::size_t kPackBytes = 4U << 10;  // small parts are packed into one up to this size

// nghttp2's memory, through operator new: the loop keeps freed blocks for it (base/block_cache.h).
void* allocate(std::size_t size, void*) { return ::operator new(size, std::nothrow); }
void release(void* block, void*) { ::operator delete(block); }

void* allocate_zeroed(std::size_t count, std::size_t size, void*) {
  if (size != 0 && count > std::numeric_limits<std::size_t>::max() / size) return nullptr;
  void* block = allocate(count * size, nullptr);
  return block == nullptr ? nullptr : std::memset(block, 0, count * size);
}

void* reallocate(void* block, std::size_t size, void*) {
  const std::size_t had = malloc_usable_size(block);
  if (block != nullptr && size <= had && size > had / 4) return block;
  void* larger = allocate(size, nullptr);
  if (larger == nullptr || block == nullptr) return larger;
  std::memcpy(larger, block, std::min(had, size));
  release(block, nullptr);
  return larger;
}

}  // namespace

struct H2Session::Callbacks {
  static H2Session& self(void* user) { return *static_cast<H2Session*>(user); }

  static ssize_t send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int, void* user) {
    H2Session& s = self(user);
    if (s.output_bytes_ >= s.limits_.output_bytes_max) return NGHTTP2_ERR_WOULDBLOCK;
    s.push_owned({reinterpret_cast<const char*>(data), size});
    return static_cast<ssize_t>(size);
  }

  static ssize_t read_data(nghttp2_session* session, std::int32_t, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                           nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    std::size_t n = std::min(size, stream.output_bytes);
    if (n == 0 && !stream.output_end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == stream.output_bytes && stream.output_end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        LowerNames names(stream.trailers);
        std::vector<nghttp2_nv> fields;
        fields.reserve(stream.trailers.size());
        for (const Headers::Field& f : stream.trailers) fields.push_back(field(names.next(f.name), f.value));
        nghttp2_submit_trailer(session, stream.id, fields.data(), fields.size());
      }
    }
    return static_cast<ssize_t>(n);
  }

  // The frame's head and then the stream's shared bytes, uncopied.
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t size, nghttp2_data_source* source, void* user) {
    H2Session& s = self(user);
    if (s.output_bytes_ >= s.limits_.output_bytes_max) return NGHTTP2_ERR_WOULDBLOCK;
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    s.push_owned({reinterpret_cast<const char*>(head), 9});
    stream.output_bytes -= size;
    while (size > 0) {
      SharedBytes& first = stream.output[stream.output_first];
      std::size_t n = std::min(size, first->size() - stream.output_offset);
      if (n <= kPackBytes) s.push_owned(std::string_view(*first).substr(stream.output_offset, n));
      else {
        s.output_.push_back({{}, first, stream.output_offset, n});
        s.output_bytes_ += n;
      }
      size -= n;
      stream.output_offset += n;
      if (stream.output_offset == first->size()) {
        first.reset();
        stream.output_offset = 0;
        ++stream.output_first;
      }
    }
    if (stream.output_first == stream.output.size()) {
      stream.output.clear();
      stream.output_first = 0;
    } else if (stream.output_first >= 32) {
      stream.output.erase(stream.output.begin(), stream.output.begin() + static_cast<std::ptrdiff_t>(stream.output_first));
      stream.output_first = 0;
    }
    stream.progress = s.time_.mono();
    if (stream.output_bytes <= s.limits_.write_queue_bytes_max) stream.wake();
    return 0;
  }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
    self(user).on_begin_frame(*head);
    return 0;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) { return self(user).on_begin_headers(*frame); }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                    std::size_t value_size, std::uint8_t, void* user) {
    self(user).on_header(*frame, {reinterpret_cast<const char*>(name), name_size}, {reinterpret_cast<const char*>(value), value_size});
    return 0;
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& s = self(user);
    s.activity_ = s.time_.mono();
    if (s.over_budget(*frame)) {
      s.calm_down();
      return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS) s.on_headers(*frame);
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    H2Stream* stream = ends ? s.find_stream(frame->hd.stream_id) : nullptr;
    if (stream != nullptr) {
      stream->input_end = true;
      stream->wake();
    }
    return 0;
  }

  static int data_received(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* user) {
    H2Session& s = self(user);
    // The connection's window is never held back by one slow reader; the stream's is what bounds memory.
    nghttp2_session_consume_connection(session, size);
    H2Stream* stream = s.find_stream(id);
    if (stream == nullptr || stream->discard_input) {
      nghttp2_session_consume_stream(session, id, size);
      return 0;
    }
    stream->input.append(reinterpret_cast<const char*>(data), size);
    stream->progress = s.time_.mono();
    stream->wake();
    return 0;
  }

  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).on_frame_sent(*frame);
    return 0;
  }

  static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    H2Session& s = self(user);
    if (H2Stream* stream = s.find_stream(id)) {
      stream->closed = true;
      stream->error = error;
      stream->wake();
    }
    s.on_stream_closed(id, error);
    return 0;
  }
};

H2Session::H2Session(async::Executor executor, async::Time& time, const Limits& limits, std::unique_ptr<Transport> transport)
    : executor_(executor), time_(time), limits_(limits), transport_(std::move(transport)), unblocked_(executor) {
  activity_ = time.mono();
}

H2Session::~H2Session() { nghttp2_session_del(session_); }

Result<> H2Session::start_session(Side side, std::uint32_t stream_window, std::int32_t connection_window) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) return fail(Code::kResourceExhausted, "http2: no memory");
  nghttp2_session_callbacks_set_send_callback(callbacks, Callbacks::send);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::send_data);
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, Callbacks::begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::frame_received);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::data_received);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::frame_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::stream_closed);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // A server's are kept for a while, so that DATA behind a stream's end is seen to be late; of HEADERS, ClosedStreams knows.
  nghttp2_option_set_no_closed_streams(option, side == Side::kClient ? 1 : 0);
  // Our own budget (over_budget) comes first and says why; this one would just fail the session.
  nghttp2_option_set_max_outbound_ack(option, limits_.control_budget + 1000);
  nghttp2_option_set_max_settings(option, 32);
  nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096);
  nghttp2_mem memory{nullptr, allocate, release, allocate_zeroed, reallocate};
  int made = side == Side::kServer ? nghttp2_session_server_new3(&session_, callbacks, this, option, &memory)
                                   : nghttp2_session_client_new3(&session_, callbacks, this, option, &memory);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  if (made != 0) return fail(Code::kResourceExhausted, "http2: no memory");
  std::vector<nghttp2_settings_entry> settings{{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits_.header_bytes_max)}};
  if (side == Side::kServer) settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.concurrent_streams_max});
  else settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, connection_window);
  return {};
}

nghttp2_data_provider H2Session::provider_of(H2Stream& stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::read_data;
  return provider;
}

// nghttp2 does not write through these pointers.
nghttp2_nv H2Session::field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

async::Task<Result<>> H2Session::run(std::string initial) {
  async::Scope scope(executor_);
  scope.spawn(read_loop(std::move(initial), scope));
  scope.spawn(write_loop());
  schedule_flush();
  Result<> ended = co_await scope.join();
  close();
  co_return ended;
}

void H2Session::close() {
  open_ = false;
  transport_->close();
}

void H2Session::calm_down() {
  nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
  schedule_flush();
}

async::Task<Result<>> H2Session::read_loop(std::string initial, async::Scope& scope) {
  Result<> fed = feed(initial);
  initial = {};
  while (fed && open_) {
    Result<Pumped> pumped = pump();
    flush();
    if (!pumped && pumped.error().code() == Code::kInvalidArgument) nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
    if (!pumped || *pumped == Pumped::kEnd) break;
    if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0 && output_empty()) break;
    if (*pumped == Pumped::kBudget) {  // no wait: TLS may hold all of the rest, which no socket tells of
      co_await async::asio::post(executor_, async::use_task);
      continue;
    }
    Result<> readable = co_await transport_->wait_readable();
    if (!readable) break;  // closed on our side
  }
  flush();  // a GOAWAY that says why
  scope.cancel();
  co_return Result<>();
}

async::Task<Result<>> H2Session::write_loop() {
  for (;;) {
    while (!blocked_) CO_TRY(co_await unblocked_.wait());
    CO_TRY(co_await transport_->wait_writable());
    blocked_ = false;
    flush();
  }
}

Result<> H2Session::feed(std::string_view bytes) {
  ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (n < 0) return fail(Code::kInvalidArgument, cat("http2: ", nghttp2_strerror(static_cast<int>(n))));
  return {};
}

// Everything that is there, up to a budget: a busy peer must not hold the loop.
Result<H2Session::Pumped> H2Session::pump() {
  std::array<std::byte, kReadBytes> buffer;
  for (int i = 0; i < kReadsPerTurn; ++i) {
    TRY_ASSIGN(Transport::Moved n, transport_->try_read(buffer));
    if (!n) return Pumped::kDrained;
    if (*n == 0) return Pumped::kEnd;
    TRY(feed(as_text(std::span(buffer).first(*n))));
    if (*n < buffer.size()) return Pumped::kDrained;  // the wait tells when there is more
  }
  return Pumped::kBudget;
}

void H2Session::push_owned(std::string_view bytes) {
  if (output_.empty() || output_.back().shared || output_.back().size + bytes.size() > kReadBytes) output_.push_back({});
  Part& last = output_.back();
  if (last.owned.size() > kReadBytes / 8 && last.owned.capacity() < kReadBytes) last.owned.reserve(kReadBytes);  // many streams have something to say
  last.owned += bytes;
  last.size += bytes.size();
  output_bytes_ += bytes.size();
}

void H2Session::schedule_flush() {
  if (flush_scheduled_ || !open_) return;
  flush_scheduled_ = true;
  async::asio::post(executor_, [weak = weak_from_this()] {
    std::shared_ptr<H2Session> self = weak.lock();
    if (!self) return;
    self->flush_scheduled_ = false;
    if (self->open_) self->flush();
  });
}

void H2Session::flush() {
  if (!open_) return;
  for (int round = 0; open_ && !blocked_; ++round) {
    if (round == kFlushesPerTurn) {
      schedule_flush();
      break;
    }
    if (nghttp2_session_send(session_) != 0) return close();
    if (output_.empty()) break;
    std::array<iovec, kWriteParts> parts;
    std::size_t count = 0;
    for (auto it = output_.begin(); it != output_.end() && count < parts.size(); ++it)
      parts[count++] = {const_cast<char*>(it->data()), it->size};
    Result<Transport::Moved> moved = transport_->try_write(std::span(parts).first(count));
    if (!moved) return close();
    if (!*moved) {
      blocked_ = true;
      write_progress_ = time_.mono();
      unblocked_.wake_all();
      break;
    }
    output_bytes_ -= **moved;
    for (std::size_t left = **moved; left > 0;) {
      Part& first = output_.front();
      std::size_t n = std::min(left, first.size);
      first.offset += n;
      first.size -= n;
      left -= n;
      if (first.size == 0) output_.pop_front();
    }
    if (output_.empty()) output_.shrink_to_fit();
  }
  on_flushed();
  if (open_ && output_.empty() && nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) close();
}

void H2Session::push(H2Stream& stream, SharedBytes bytes) {
  if (!bytes || bytes->empty()) return;
  if (stream.output_bytes == 0) stream.progress = time_.mono();
  stream.output_bytes += bytes->size();
  stream.output.push_back(std::move(bytes));
}

LowerNames::LowerNames(const Headers& headers) { lower_.reserve(headers.size()); }

std::string_view LowerNames::next(std::string_view name) {
  if (std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; })) return name;
  return lower_.emplace_back(to_lower(name));
}

Result<> H2Session::queue(H2Stream& stream, SharedBytes bytes) {
  if (stream.closed || !open_) return fail(Code::kUnavailable, "http2: peer went away");
  push(stream, std::move(bytes));
  nghttp2_session_resume_data(session_, stream.id);
  schedule_flush();
  return {};
}

async::Task<Result<>> H2Session::write(H2Stream& stream, SharedBytes bytes) {
  CO_TRY(queue(stream, std::move(bytes)));
  co_return co_await wait_room(stream);
}

async::Task<Result<>> H2Session::wait_room(H2Stream& stream) {
  while (is_full(stream)) {
    if (!stream.changed) stream.changed = std::make_unique<async::Notify>(executor_);
    CO_TRY(co_await stream.changed->wait());
    if (stream.closed || !open_) co_return fail(Code::kUnavailable, "http2: peer went away");
  }
  co_return Result<>();
}

void H2Session::end_output(H2Stream& stream, Headers trailers) {
  stream.output_end = true;
  stream.trailers = std::move(trailers);
  if (stream.closed || !open_) return;
  nghttp2_session_resume_data(session_, stream.id);
  schedule_flush();
}

void H2Session::reset(H2Stream& stream, std::uint32_t error) {
  if (stream.closed || !open_) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error);
  schedule_flush();
}

async::Task<Result<bool>> H2Session::wait_input(H2Stream& stream) {
  while (stream.input.empty()) {
    if (stream.input_end) co_return false;
    if (stream.closed || !open_) co_return fail(Code::kUnavailable, "http2: stream ended early");
    if (!stream.changed) stream.changed = std::make_unique<async::Notify>(executor_);
    stream.reading = true;
    stream.progress = time_.mono();
    Result<> woken = co_await stream.changed->wait();
    stream.reading = false;
    CO_TRY(std::move(woken));
  }
  co_return true;
}

void H2Session::consumed(H2Stream& stream, std::size_t bytes) {
  if (stream.closed || !open_) return;
  nghttp2_session_consume_stream(session_, stream.id, bytes);
  schedule_flush();
}

}  // namespace monopod::http
