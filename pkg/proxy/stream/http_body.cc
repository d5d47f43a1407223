// Bodies both ways. A direction reads, sends all of it, and reads again: what it holds is one slab, and a slow reader holds the writer back.
#include <algorithm>
#include <cstring>

#include "proxy/stream/http_session.h"

namespace monopod::proxy {

bool HttpSession::pump_exchange() {
  bool any = false;
  if (!exchange_->request_sent && !exchange_->send_failed) any = pump_request();
  if (closed() || state_ != State::kExchange || exchange_->phase != Exchange::Phase::kForwarding) return !closed();
  any = pump_response() || any;
  return any && !closed();
}

bool HttpSession::pump_request() {
  Exchange& e = *exchange_;
  bool whole = e.request_body.done && !asks_by_connect();  // a tunnel's bytes follow
  if (!e.up.empty() || Outbox::wants_end(e.upstream->socket(), whole)) {
    std::uint64_t before = e.sent_up;
    Ending ending{e.request_body.trailers};
    Moved::Kind kind = e.up.flush(e.upstream->socket(), e.sent_up, whole ? &ending : nullptr);
    if (e.sent_up != before) e.moved_ms = worker_.now_ms();
    if (kind == Moved::kFailed) e.send_failed = true;  // what it answered before it closed may be there
    if (kind != Moved::kBytes) return kind == Moved::kFailed;
  }
  if (e.pipe_up && e.pipe_up->held > 0) {
    Moved moved = splice_out(*e.pipe_up, e.upstream->socket(), true);
    if (moved.kind == Moved::kFailed) e.send_failed = true;
    if (moved.kind != Moved::kBytes) return false;
  }
  if (!e.request_body.done) return read_request_body();
  e.request_sent = true;
  if (e.pipe_up) worker_.pipes().give(std::move(e.pipe_up));
  if (e.route->spec.hedge.max > 0) plan_hedge();
  rearm();  // now the time of the whole request counts
  return true;
}

// Of a body in chunks, whose length shows as it comes; their lines count.
bool HttpSession::body_too_large() {
  Exchange& e = *exchange_;
  std::uint64_t limit = e.route->spec.request_bytes_max;
  if (limit == 0 || e.received - e.request.size <= limit) return false;
  release_upstream(false);
  if (e.head_done) {
    abort("body_too_large");
  } else {
    e.up.clear();
    reply(413, "request body too large\n", "body_too_large");
  }
  return true;
}

bool HttpSession::read_request_body() {
  Exchange& e = *exchange_;
  if (e.request_body.has_step(e.body_at < input_end_)) {
    BodyProgress::Taken taken = e.request_body.take({input_ + e.body_at, input_end_ - e.body_at}, e.up);
    if (taken.bad) {
      release_upstream(false);
      if (e.head_done) return abort("invalid_body"), false;
      e.up.clear();
      reply(400, "invalid request body\n", "invalid_body");
      return true;
    }
    e.body_at += taken.bytes;
    e.received += taken.bytes;
    if (body_too_large()) return true;
    if (taken.bytes > 0 || e.request_body.done) return true;
  }
  // All that came is sent, but for the begin of a line.
  bool as_it_is = !e.request_body.transforms() && !e.mirror;
  if (as_it_is && e.request_body.framing == Framing::kLength && e.request_body.left >= kSpliceBytesMin && socket_.can_splice() && e.upstream->socket().can_splice()) {
    e.replayable = false;
    bool failed = false;
    std::uint64_t before = e.request_body.left;
    bool moved = splice_body(socket_, e.upstream->socket(), e.pipe_up, e.request_body.left, e.received, failed);
    if (failed) return abort("client_closed"), false;
    e.request_body.done = e.request_body.left == 0;
    if (e.request_body.left != before) return moved;
    if (e.pipe_up) return moved;
  }
  if (!socket_.can_read()) return false;
  if (input_end_ == kSlabBytes) {
    std::size_t rest = input_end_ - e.body_at;
    if (e.mirror) keep_for_mirror();
    std::memmove(input_ + e.request.size, input_ + e.body_at, rest);
    e.replayable = false;
    e.body_at = e.request.size;
    input_end_ = e.request.size + rest;
  }
  Moved moved = socket_.read(input_ + input_end_, kSlabBytes - input_end_);
  if (moved.kind == Moved::kBlocked) return false;
  e.request_body.note_end(socket_);
  if (moved.kind == Moved::kEnd && e.request_body.all_in) return true;
  if (moved.kind != Moved::kBytes) return abort("client_closed"), false;
  input_end_ += moved.bytes;
  e.moved_ms = worker_.now_ms();
  return true;
}

// One turn through the pipe. True where something moved; the pipe may hold bytes then.
bool HttpSession::splice_body(Socket& from, Socket& to, std::unique_ptr<Pipe>& pipe, std::uint64_t& left, std::uint64_t& count, bool& failed) {
  if (!pipe) pipe = worker_.pipes().take();
  if (!pipe || !from.can_read()) return false;
  Moved in = splice_in(from, *pipe, left);
  if (in.kind == Moved::kBlocked) return false;
  if (in.kind != Moved::kBytes) {
    failed = true;
    return false;
  }
  left -= in.bytes;
  count += in.bytes;
  exchange_->moved_ms = worker_.now_ms();
  failed = splice_out(*pipe, to, left > 0).kind == Moved::kFailed;
  return true;
}

bool HttpSession::pump_response() {
  Exchange& e = *exchange_;
  bool whole = e.head_done && e.response_body.done && !e.tunnel;
  if (!e.down.empty() || Outbox::wants_end(socket_, whole)) {
    std::uint64_t before = e.sent;
    Ending ending{e.response_body.trailers};
    Moved::Kind kind = e.down.flush(socket_, e.sent, whole ? &ending : nullptr);
    if (e.sent != before) e.moved_ms = worker_.now_ms();
    if (kind == Moved::kFailed) return abort("client_closed"), false;
    if (kind != Moved::kBytes) return false;
  }
  if (e.pipe_down && e.pipe_down->held > 0) {
    Moved moved = splice_out(*e.pipe_down, socket_, e.response_body.left > 0);
    if (moved.kind == Moved::kFailed) return abort("client_closed"), false;
    if (moved.kind != Moved::kBytes) return false;
  }
  if (e.head_done && e.tunnel) return begin_tunnel(), true;
  if (whole) {
    if (e.pipe_down) worker_.pipes().give(std::move(e.pipe_down));
    return finish(), true;
  }
  return read_response_body();
}

bool HttpSession::read_response_body() {
  Exchange& e = *exchange_;
  Socket& upstream = e.upstream->socket();
  if (e.unparsed && !upstream.is_stream()) return read_response_head(), true;
  if (e.head_done && e.response_body.has_step(e.reply_at < e.reply_end)) {
    BodyProgress::Taken taken = e.response_body.take({e.reply + e.reply_at, e.reply_end - e.reply_at}, e.down);
    if (taken.bad) return abort("invalid_answer_body"), false;
    e.reply_at += taken.bytes;
    if (taken.bytes > 0 || e.response_body.done) return true;
  }
  bool spliceable = e.head_done && !e.response_body.transforms() && socket_.can_splice() && upstream.can_splice() && e.reply_at == e.reply_end;
  if (spliceable && e.response_body.framing == Framing::kLength && (e.pipe_down || e.response_body.left >= kSpliceBytesMin)) {
    bool failed = false;
    bool moved = splice_body(upstream, socket_, e.pipe_down, e.response_body.left, e.sent, failed);
    if (failed) return abort("upstream_cut"), false;
    e.response_body.done = e.response_body.left == 0;
    if (moved || e.pipe_down) return moved;
  }
  if (!upstream.can_read()) {
    // Nothing can be sent and nothing will come.
    if (e.send_failed && !e.head_done) return attempt_failed("upstream_reset", false), true;
    return false;
  }
  if (e.reply == nullptr) e.reply = worker_.slabs().take();
  if (!e.head_done && upstream.is_stream()) return read_stream_head();
  if (e.head_done) {
    // Everything before reply_at is sent; what stands behind it is the begin of a chunk's line.
    std::size_t rest = e.reply_end - e.reply_at;
    if (rest > 0) std::memmove(e.reply, e.reply + e.reply_at, rest);
    e.reply_at = 0;
    e.reply_end = rest;
  }
  Moved moved = upstream.read(e.reply + e.reply_end, kSlabBytes - e.reply_end);
  if (moved.kind == Moved::kBlocked) return false;
  e.response_body.note_end(upstream);
  if (moved.kind == Moved::kEnd && e.response_body.all_in) return true;
  if (moved.kind == Moved::kBytes) {
    e.reply_end += moved.bytes;
    e.moved_ms = worker_.now_ms();
    e.unparsed = !e.head_done;
    return true;
  }
  if (!e.head_done) return attempt_failed("upstream_reset", false), true;
  if (e.response_body.framing == Framing::kUntilClose && moved.kind == Moved::kEnd) {
    e.response_body.end_here(e.down);
    return true;
  }
  return abort("upstream_cut"), false;  // the client must see that it is not whole
}

void HttpSession::begin_tunnel() {
  Exchange& e = *exchange_;
  state_ = State::kTunnel;
  duplex_ = std::make_unique<Duplex>(worker_.slabs(), worker_.pipes());
  duplex_->up.preload({input_ + e.body_at, input_end_ - e.body_at});
  duplex_->down.preload({e.reply + e.reply_at, e.reply_end - e.reply_at});
  worker_.slabs().give(std::exchange(e.reply, nullptr));
  e.moved_ms = worker_.now_ms();
  deadline_ms_ = worker_.now_ms() + kTunnelIdleMsMin;
  arm(deadline_ms_);
}

bool HttpSession::pump_tunnel() {
  Exchange& e = *exchange_;
  std::uint64_t before = duplex_->moved();
  Duplex::Outcome outcome = duplex_->pump(socket_, e.upstream->socket());
  if (duplex_->moved() != before) deadline_ms_ = worker_.now_ms() + kTunnelIdleMsMin;
  if (outcome == Duplex::Outcome::kBusy) worker_.poller().again(*this);
  if (outcome == Duplex::Outcome::kBusy || outcome == Duplex::Outcome::kWaiting) return false;
  e.received += duplex_->up.moved();
  e.sent += duplex_->down.moved();
  e.details = outcome == Duplex::Outcome::kEnded ? "upgraded" : "upgraded_reset";
  abort(e.details);
  return false;
}

}  // namespace monopod::proxy
