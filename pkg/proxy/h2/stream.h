// One stream of HTTP/2 as the socket of a message each way: heads as spans (codec/head_list.h), content as bytes, trailers as lines. So a stream goes
// through the very code that a connection of HTTP/1.1 goes through, on either side.
//
//   frames ─► HeadList, content_ ─► take_head(), read()        send_head() ─► a block of fields        write() ─► lent_ ─► frames
//
// Bounded both ways: content_ by the stream's window, which opens as the reader reads; write() takes what leaves at once and keeps nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/codec/head_list.h"
#include "proxy/h2/message_rules.h"
#include "proxy/io/poller.h"
#include "proxy/io/socket.h"

namespace monopod::proxy {

class H2Core;
class Worker;

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
  void assign(std::string bytes) {
    bytes_ = std::move(bytes);
    at_ = 0;
  }

 private:
  static constexpr std::size_t kForgetBytes = 64U << 10;
  std::string bytes_;
  std::size_t at_ = 0;
};

class H2Stream final : public StreamPeer {
 public:
  explicit H2Stream(H2Core& core);
  ~H2Stream() override;

  // StreamPeer: the user's side.
  Moved take_head(char* into, Head& head) override;
  bool send_head(const Head& head, const HeadEdits& edits, std::string_view target, bool ends) override;
  Moved read(char* into, std::size_t size) override;
  bool at_end() const override { return input_ended_ && content_.size() == 0; }
  std::string_view trailers() const override { return trailers_in_; }
  Moved write(std::span<const iovec> parts, const Ending* ending) override;
  bool ended() const override { return output_done_; }
  void on_closed() override;
  int carrier_fd() const override;

  // The core's side. Who uses the stream hears of it through on_ready().
  void set_user(Pollable* user) { user_ = user; }
  Pollable* user() const { return user_; }
  void detach() { core_ = nullptr; }
  bool connected() const;  // the carrier is set up
  std::optional<bool> takes_extended_connect() const;  // of the carrier's peer: H2Core's
  bool lost() const { return closed_ || core_ == nullptr; }

  std::int32_t id = 0;  // 0: a client's that has not sent its head
  std::size_t position = 0;  // in the core's list
  bool input_ended() const { return input_ended_; }
  bool head_done() const { return head_done_; }

  // Input. The list that is being filled; a head is done once, or after interim ones.
  HeadList& begin_head(std::unique_ptr<HeadList> list);
  HeadList& list() { return *last_; }
  // False: the peer broke a rule that MessageRules does not know.
  bool finish_request_head(bool ends);
  bool finish_response_head(bool ends);
  bool add_trailer(std::string_view name, std::string_view value);
  void add_data(std::string_view bytes);
  void end_input() { input_ended_ = true; }

  // Output: what write() lends while it runs.
  std::size_t lent_bytes() const { return lent_bytes_; }
  // The next bytes of it, of one part, no more than size.
  std::string_view take_lent(std::size_t size);
  const Ending* ending() const { return ending_; }
  void end_output() { output_done_ = true; }
  // There is room: the user is told so where it waits for it.
  void want_output();
  // Sends the head that waited for the endpoint to take another stream. False: there is none.
  bool send_parked();
  MessageRules::Asked asked() const { return asked_; }
  void mark_closed() { closed_ = true; }
  bool closed() const { return closed_; }
  bool reset_by_us = false;
  bool discards = false;       // nobody reads what is still to come
  bool lingers = false;        // a server's, whose answer is out
  bool waits = false;          // in the core's list of those who wait for room
  MessageRules rules;          // of what comes
  std::int64_t window_out = 0, window_in = 0;
  std::size_t unannounced = 0;        // of window_in: what was read
  H2Stream* next_in_slot = nullptr;   // of the core's
  std::uint64_t opened_ms = 0; // a client's
  std::uint32_t events = 0;    // to be told to the user
  bool queued = false;         // in the core's list of those

 private:
  template <typename F>
  void each_field(const Head& head, const HeadEdits& edits, std::string_view target, F f);

  H2Core* core_;
  Worker& host_;
  Pollable* user_ = nullptr;

  // Input.
  std::unique_ptr<HeadList> heads_;  // that the user has not taken; the oldest first
  HeadList* last_ = nullptr;         // of them
  std::string trailers_in_;
  std::size_t trailer_bytes_ = 0;
  ByteQueue content_;
  bool head_done_ = false, input_ended_ = false;
  MessageRules::Asked asked_ = MessageRules::Asked::kOther;  // by the request that was sent

  // Output.
  std::span<const iovec> lent_{};
  std::size_t lent_at_ = 0, lent_bytes_ = 0;  // lent_at_: of its first part
  const Ending* ending_ = nullptr;
  std::string parked_;  // a request's fields, "name\0value\0" and whether it is secret
  bool head_sent_ = false, output_done_ = false, blocked_ = false, closed_ = false;
};

}  // namespace monopod::proxy
