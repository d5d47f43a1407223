// One stream of HTTP/2 as the socket of an HTTP/1.1 message each way: what comes in frames is read as text and chunks, what is written as text and
// chunks leaves in frames. So a stream goes through the very code that a connection of HTTP/1.1 goes through, on either side.
//
//   frames ─► add_field, add_data, end_input ─► text_ ─► read()        write() ─► decode() ─► nghttp2_submit_* , out_ ─► frames
//
// Bounded both ways: text_ by the stream's window, which opens as the reader reads; out_ by kStreamOutputBytesMax, past which write() blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/codec/chunked.h"
#include "proxy/codec/head.h"
#include "proxy/io/poller.h"
#include "proxy/io/socket.h"

namespace monopod::proxy {

class H2Core;

// Bytes that come in at the end and leave at the front; what left is forgotten before long.
class ByteQueue {
 public:
  std::string& tail() { return bytes_; }  // to append to
  std::size_t size() const { return bytes_.size() - at_; }
  const char* front() const { return bytes_.data() + at_; }
  void pop(std::size_t n) {
    at_ += n;
    if (at_ == bytes_.size()) {
      bytes_.clear();
    } else if (at_ >= kForgetBytes) {
      bytes_.erase(0, at_);
    } else {
      return;
    }
    at_ = 0;
  }
  void release() { bytes_ = {}, at_ = 0; }

 private:
  static constexpr std::size_t kForgetBytes = 64U << 10;
  std::string bytes_;
  std::size_t at_ = 0;
};

class H2Stream final : public StreamPeer, public std::enable_shared_from_this<H2Stream> {
 public:
  explicit H2Stream(H2Core& core) : core_(&core) {}

  // StreamPeer: the user's side.
  Moved read(char* into, std::size_t size) override;
  Moved write(std::span<const iovec> parts) override;
  void end_writing() override;
  void on_closed() override;
  int carrier_fd() const override;

  // The core's side. Who uses the stream hears of it through on_ready().
  void set_user(Pollable* user) { user_ = user; }
  Pollable* user() const { return user_; }
  void detach() { core_ = nullptr; }
  bool connected() const;  // the carrier is set up
  bool lost() const { return closed_ || core_ == nullptr; }

  std::int32_t id = 0;  // 0: a client's that has not sent its head
  bool head_request = false;      // of HEAD: the answer has no body
  bool input_ended() const { return input_ended_; }
  bool head_done() const { return head_done_; }

  // Input. False: the peer broke a rule that nghttp2 does not know.
  void begin_head();
  bool add_field(std::string_view name, std::string_view value);
  bool finish_request_head(bool ends);
  bool finish_response_head(bool ends);
  bool add_trailer(std::string_view name, std::string_view value);
  void add_data(std::string_view bytes);
  void end_input();
  // The list is larger than it may be: status 431.
  bool oversized() const { return list_bytes_ > kHeadBytesMax || fields_ > kFieldsMax - 8; }
  std::size_t list_bytes() const { return list_bytes_; }

  // Output, for nghttp2: moves size bytes, no more than there are, into a frame.
  void move_output(std::string& into, std::size_t size);
  std::size_t output_bytes() const { return out_.size(); }
  bool output_empty() const { return out_.size() == 0; }
  bool output_done() const { return output_done_; }
  bool output_blocked() const { return blocked_; }
  const std::vector<std::string>& trailers() const { return trailers_out_; }  // "name: value\r\n"
  void mark_closed() { closed_ = true; }
  bool closed() const { return closed_; }
  bool deferred = false;       // nghttp2 waits for output
  bool reset_by_us = false;
  bool discards = false;       // nobody reads what is still to come
  std::uint64_t opened_ms = 0; // a client's
  std::uint32_t events = 0;    // to be told to the user
  bool queued = false;         // in the core's list of those

 private:
  bool decode(std::string_view bytes);
  bool decode_head(std::string_view& bytes);
  bool decode_body(std::string_view& bytes);
  bool submit_head(const Head& head);
  void keep_output(std::string_view bytes) { out_.tail().append(bytes); }

  H2Core* core_;
  Pollable* user_ = nullptr;

  // Input.
  std::string method_, path_, authority_, status_, lines_, cookie_, trailers_in_;
  std::size_t list_bytes_ = 0, fields_ = 0, trailer_bytes_ = 0;
  bool has_host_ = false, has_length_ = false, chunked_in_ = false, head_done_ = false, input_ended_ = false;
  ByteQueue text_;
  std::size_t unconsumed_ = 0;  // bytes of DATA whose window is not given back

  // Output.
  enum class Output : std::uint8_t { kHead, kBody, kDone } output_ = Output::kHead;
  std::string pending_;  // what is no whole head or line yet
  ByteQueue out_;
  Framing framing_ = Framing::kNone;
  std::uint64_t left_ = 0;
  ChunkedBody chunks_{};
  std::vector<std::string> trailers_out_;
  bool output_done_ = false, blocked_ = false, closed_ = false;
};

inline constexpr std::size_t kStreamOutputBytesMax = 64U << 10;

}  // namespace monopod::proxy
