// One connection of HTTP/2, either side: nghttp2's state machine between a socket and streams. Streams are not called from within nghttp2: what
// happened to them is noted, and told at the end of the turn.
//
//   socket ─► turn(): read ─► nghttp2 ─► H2Stream (notes) ─► deliver(): user->on_ready() ─► flush(): nghttp2 ─► socket
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <vector>

#include "http/budget.h"
#include "http/closed_streams.h"
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

  // False: nghttp2 has no memory.
  bool open();
  void feed(std::string_view bytes);
  // Reads, tells and writes as far as it goes. False: the connection is done with; then fail_all().
  bool turn();
  void fail_all();
  void go_away();
  bool leaving() const { return leaving_; }
  bool idle() const { return streams_.empty(); }
  std::size_t stream_count() const { return streams_.size(); }
  bool has_users() const;
  std::uint64_t moved_ms() const { return moved_ms_; }

  // For streams.
  Worker& worker() { return host_; }
  Socket& socket() { return wire_; }
  nghttp2_session* session() { return session_; }
  Side side() const { return side_; }
  void schedule();
  void note(H2Stream& stream, std::uint32_t events);
  void consume(H2Stream& stream, std::size_t bytes);
  void reset(H2Stream& stream, std::uint32_t error);
  void user_gone(H2Stream& stream);
  // For a head's fields: room that is kept.
  std::vector<nghttp2_nv>& scratch() { return scratch_; }
  // Opens a stream of a client. False: not taken.
  bool submit_request(H2Stream& stream, const std::vector<nghttp2_nv>& fields, bool with_body);
  bool submit_response(H2Stream& stream, const std::vector<nghttp2_nv>& fields, bool with_body);
  bool submit_interim(H2Stream& stream, const std::vector<nghttp2_nv>& fields);
  // Takes what stream lends, as far as there is room. Large pieces go out from where they lie. False: the connection is lost.
  bool pump(H2Stream& stream);
  virtual bool connected() const { return true; }

 protected:
  // A request's head is whole: someone begins to use it. Server only.
  virtual void on_request(const std::shared_ptr<H2Stream>& stream) = 0;
  virtual void on_stream_gone() {}
  // Of a client, without an id: fail_all() tells it, too.
  void adopt_unsent(std::shared_ptr<H2Stream> stream) { unsent_.push_back(std::move(stream)); }
  std::uint32_t peer_streams_max() const;

  Worker& host_;
  Socket& wire_;
  bool leaving_ = false;

 private:
  struct Callbacks;
  H2Stream* find(std::int32_t id);
  void calm_down(std::string_view why);
  bool over_budget(const nghttp2_frame& frame);
  void judge_late(std::int32_t id);
  void on_frame(const nghttp2_frame& frame);
  void on_head(const nghttp2_frame& frame, H2Stream& stream);
  void deliver();
  void collect();
  bool flush();
  enum class Sent : std::uint8_t { kAll, kPart, kLost };
  Sent send_lent();
  void add(std::shared_ptr<H2Stream> stream);
  void drop(H2Stream& stream);

  Pollable& wakes_;
  Side side_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::shared_ptr<H2Stream>> streams_;
  H2Stream* of_head_ = nullptr;  // whose fields come; null: nobody's
  std::vector<std::shared_ptr<H2Stream>> ready_, running_, requests_, unsent_;
  std::vector<nghttp2_nv> scratch_;
  ByteQueue out_;
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
  std::size_t head_wire_bytes_ = 0;  // of a head that is not whole
  bool in_head_ = false, in_turn_ = false, calmed_ = false;
  std::uint64_t moved_ms_ = 0, heard_ms_ = 0;
};

// nghttp2 does not write through these pointers. flags: NGHTTP2_NV_FLAG_NO_COPY_* for what is a literal, in lower case.
inline nghttp2_nv h2_field(std::string_view name, std::string_view value, std::uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), flags};
}

}  // namespace monopod::proxy
