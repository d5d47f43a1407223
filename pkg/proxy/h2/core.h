// One connection of HTTP/2, either side: the state machine of RFC 9113 between a socket and streams. Streams' users are not called while frames are
// read: what happened is noted, and told at the end of the turn. What is sent is bytes in the order it was said, so that a reset overtakes nothing.
//
//   socket ─► turn(): read ─► FrameReader ─► on_*() ─► H2Stream (notes) ─► deliver(): user->on_ready() ─► out_, lent_ ─► flush() ─► socket
//             core.cc                        core_frames.cc                                               core_output.cc
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/budget.h"
#include "http/closed_streams.h"
#include "proxy/codec/hpack.h"
#include "proxy/h2/frames.h"
#include "proxy/h2/stream.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {

class H2Core {
 public:
  enum class Side : std::uint8_t { kServer, kClient };
  // socket is set up when turn() is called first. wakes: whose on_ready() calls turn().
  H2Core(Worker& worker, Socket& socket, Pollable& wakes, Side side);
  virtual ~H2Core();
  H2Core(const H2Core&) = delete;
  H2Core& operator=(const H2Core&) = delete;

  // Says what we are; before everything else.
  void open();
  void feed(std::string_view bytes);
  // Reads, tells and writes as far as it goes. False: the connection is done with; then fail_all().
  bool turn();
  void fail_all();
  void go_away();
  bool leaving() const { return leaving_; }
  bool terminated() const { return terminated_; }
  bool idle() const { return streams_.empty(); }
  std::size_t stream_count() const { return streams_.size(); }
  // Of a client: streams that have sent no head.
  std::size_t unsent_count() const { return unsent_.size(); }
  bool has_users() const;
  std::uint64_t moved_ms() const { return moved_ms_; }

  // For streams.
  Worker& worker() { return host_; }
  Socket& socket() { return wire_; }
  Side side() const { return side_; }
  void schedule();
  void note(H2Stream& stream, std::uint32_t events);
  // It is destroyed: nothing is told to it.
  void forget(H2Stream& stream);
  void consume(H2Stream& stream, std::size_t bytes);
  void reset(H2Stream& stream, H2Error error);
  void user_gone(H2Stream& stream);
  // A head or a trailer: begin_fields(), add_field() for each, then one of the others; nothing else is written meanwhile.
  void begin_fields();
  void add_field(std::string_view lowercase_name, std::string_view value, bool secret = false) { encoder_.add(out_.tail(), lowercase_name, value, secret); }
  // Opens a stream of a client. has_room_for_stream() was true.
  void end_request(H2Stream& stream, bool ends);
  // interim: another head follows.
  void end_response(H2Stream& stream, bool ends, bool interim);
  // Of a client: whether the peer takes an extended CONNECT (RFC 8441); nothing until its SETTINGS came.
  std::optional<bool> takes_extended_connect() const { return got_settings_ ? std::optional(extended_connect_) : std::nullopt; }
  bool has_room_for_stream() const { return streams_.size() < peer_streams_max_; }
  // Takes what stream lends, as far as there is room. Large pieces go out from where they lie. False: the connection is lost.
  bool pump(H2Stream& stream);
  virtual bool connected() const { return true; }

 protected:
  // A request's head is whole: someone begins to use it. Server only.
  virtual void on_request(const std::shared_ptr<H2Stream>& stream) = 0;
  virtual void on_stream_gone() {}
  // A server: streams linger; end_lingering() is to be called in kLateRequestMs.
  virtual void on_lingering() {}
  // Resets those that lingered for long enough. False: there are others.
  bool end_lingering();
  // Of a client: a stream that has no id yet. It says when it has one, or ends; fail_all() tells it, too.
  void add_unsent(std::shared_ptr<H2Stream> stream) { unsent_.push_back(std::move(stream)); }
  const std::vector<std::shared_ptr<H2Stream>>& unsent() const { return unsent_; }
  void note_unsent();
  std::uint32_t peer_streams_max() const { return peer_streams_max_; }

  Worker& host_;
  Socket& wire_;
  bool leaving_ = false;

 private:
  // core_frames.cc: what comes.
  using Piece = FrameReader::Piece;
  void on_piece(const Piece& piece);
  void on_data(const Piece& piece);
  void on_content(H2Stream& stream, std::string_view content);
  void on_headers(const FrameHead& head, std::string_view payload);
  void on_continuation(const FrameHead& head, std::string_view payload);
  bool judge_headers(std::int32_t id);
  H2Stream* stream_of_block(std::int32_t id, bool& refused);
  void on_block(std::string_view block);
  bool read_block(std::string_view block, H2Stream*& stream);
  bool take_field(H2Stream& stream, const HpackField& field);
  void finish_block(H2Stream& stream, bool ends);
  void on_input_end(H2Stream& stream);
  void on_priority(const FrameHead& head, std::string_view payload);
  void on_reset(const FrameHead& head, std::string_view payload);
  void on_settings(const FrameHead& head, std::string_view payload);
  bool apply_setting(Setting setting, std::uint32_t value);
  bool set_initial_window(std::uint32_t value);
  void on_goaway(const FrameHead& head, std::string_view payload);
  void on_window_update(const FrameHead& head, std::string_view payload);
  bool is_idle(std::int32_t id) const;
  void spend_control(std::string_view why);
  void announce_connection_window(std::size_t bytes);
  // The peer broke a rule: of a stream, of the connection.
  void fail_stream(H2Stream& stream, H2Error error);
  void terminate(H2Error error);
  void calm_down(std::string_view why);

  H2Stream* find(std::int32_t id) const;
  void add(std::shared_ptr<H2Stream> stream);
  std::shared_ptr<H2Stream> take_unsent(H2Stream& stream);
  void close_stream(H2Stream& stream, H2Error error);
  // The whole answer is out, and nobody reads the request's rest (RFC 9113 section 8.1). What is on its way is judged as if somebody did; the reset
  // follows when more comes than may be on its way, or after a while.
  void linger(H2Stream& stream);
  bool done() const { return terminated_ || (streams_.empty() && (went_away_ || peer_went_away_)); }
  void deliver();

  // core_output.cc: what leaves.
  void append_frame(FrameType type, std::uint8_t flags, std::int32_t id, std::string_view payload);
  void append_reset(std::int32_t id, H2Error error);
  void append_window_update(std::int32_t id, std::size_t bytes);
  void append_goaway(H2Error error);
  void end_fields(std::int32_t id, bool ends);
  void append_data(H2Stream& stream, std::size_t size, bool ends);
  void append_trailers(H2Stream& stream);
  void end_output(H2Stream& stream);
  void lend_out(H2Stream& stream);
  void wait_for_room(H2Stream& stream);
  bool wake_waiting();
  void send_parked();
  std::size_t room() const;
  bool flush();
  enum class Sent : std::uint8_t { kAll, kPart, kLost };
  Sent send_lent();

  Pollable& wakes_;
  Side side_;
  FrameReader reader_;
  HpackDecoder decoder_;
  HpackEncoder encoder_;

  std::vector<std::shared_ptr<H2Stream>> streams_, unsent_;
  std::array<H2Stream*, 64> slots_{};  // by id, of those
  std::vector<std::shared_ptr<H2Stream>> closed_streams_;  // that may stand in the lists below
  std::vector<H2Stream*> ready_, running_, requests_, waiting_;
  struct Lingering {
    std::int32_t id;
    std::uint64_t since_ms;
  };
  std::vector<Lingering> lingering_;  // the longest first; some may be over
  std::int32_t last_id_ = 0;  // a server: the highest that came; a client: the last that it opened

  // A block of fields that is not whole.
  std::string block_;
  std::int32_t block_id_ = 0;
  std::uint8_t block_flags_ = 0;
  std::size_t head_wire_bytes_ = 0;
  bool in_head_ = false;
  bool got_settings_ = false;
  bool extended_connect_ = false;  // the peer takes it
  std::size_t content_left_ = 0;  // of a DATA frame whose bytes come: what is not padding

  // Windows: what we may send, what the peer may send and what of it was not announced anew.
  std::int64_t window_out_ = kWindowInitial, initial_window_out_ = kWindowInitial;
  std::int64_t window_in_ = 0;
  std::size_t unannounced_ = 0;
  std::uint32_t peer_streams_max_ = 0xffffffff;

  ByteQueue out_;
  std::size_t fields_at_ = 0;  // of out_'s tail: the block that is being written
  // Bytes that are not in out_, but belong behind so many of its bytes. None outlives pump().
  struct Lent {
    std::size_t behind;
    std::string_view bytes;
  };
  std::vector<Lent> lent_;
  std::size_t lent_bytes_ = 0;
  bool lost_ = false;

  http::Budget resets_, controls_;
  http::ClosedStreams closed_;
  bool in_turn_ = false, terminated_ = false, went_away_ = false, peer_went_away_ = false;
  std::uint64_t moved_ms_ = 0, heard_ms_ = 0;
};

}  // namespace monopod::proxy
