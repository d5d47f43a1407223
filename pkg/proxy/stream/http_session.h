// A client's HTTP/1 connection: one request after the other, each forwarded on a pooled connection. Everything is a step that goes on until a socket
// would block; events of either side and the timer take the next step.
//
//   read_head ─► begin ─► run_filters ─► attempt ─► pump_request ─┐            http_session.cc   the connection: heads, turns, deadlines, the end
//       ▲                                   ▲  └──► pump_response ─┤           http_request.cc   from a head to a cluster
//       │                                   └─ retry ──────────────┤           http_attempt.cc   from a cluster to an answer's head
//       └──────────────── finish ◄─────────────────────────────────┘           http_body.cc      bodies both ways, tunnels
//                                                                              http_reply.cc     answers of the proxy's own
#pragma once

#include <memory>

#include "proxy/listener/downstream.h"
#include "proxy/stream/duplex.h"
#include "proxy/stream/exchange.h"

namespace monopod::proxy {

class HttpSession final : public Pooled, public Downstream, private UpstreamUser, private Waiter, private SideCallUser, private LogHeaders {
 public:
  using Downstream::Downstream;
  ~HttpSession() override;
  // Of a stream: there is a request, or the socket ended.
  void begin_stream() {
    wait_for_request();
    on_ready(EPOLLIN);
  }

  void on_drain() override;

 private:
  enum class State : std::uint8_t { kReading, kExchange, kTunnel, kLinger };

  // Downstream
  void on_established() override;
  void drive() override;
  void on_deadline() override;
  bool idle() const override { return established() && state_ == State::kReading && !exchange_; }
  // UpstreamUser, Waiter
  void on_upstream_ready() override { drive(); }
  void on_capacity() override;
  void on_side_answer(SideAnswer answer) override;
  // LogHeaders
  std::string_view request_header(std::string_view lowercase_name) const override;
  std::string_view response_header(std::size_t index) const override;

  // http_session.cc: a step returns true where the next may follow at once.
  bool step();
  bool wake();
  bool read_head();
  bool take_head();
  void refuse_head();
  bool parse_buffered();
  bool fill();
  void wait_for_request();
  bool begins_http2() const;
  void switch_to_http2(std::string_view initial);
  void finish();
  void abort(std::string_view details);  // the client or the answer is lost: close without a word
  void linger();
  bool drain_linger();
  void record();
  void release_upstream(bool reusable);
  void release_input();
  std::uint64_t deadline() const;
  void rearm() { arm(deadline()); }

  // http_request.cc
  bool begin();
  bool find_route();
  void set_forwarded();
  void heed_grpc_timeout();
  void begin_trace();
  void end_trace(std::uint64_t duration_ms);
  void note_explained();   // whether the client asks
  void explain_answer(HeadEdits& edits);
  void run_filters();
  // False: the filters do not go on now.
  bool obey(Verdict& verdict);
  RequestView view();
  void route_request();
  // What becomes of an upgrade that the route allows. False: answered.
  bool plan_upgrade();
  void add_websocket_key();
  // It goes on as an extended CONNECT (RFC 8441).
  bool asks_by_connect() const { return exchange_->request.wants_upgrade && exchange_->cluster->config().spec.http2; }

  // http_attempt.cc
  void attempt();
  void start_request();
  // ends: nothing follows. False: the stream is lost.
  bool write_request_head(UpstreamConnection& to, const Endpoint& endpoint, Outbox& out, bool ends);
  void attempt_failed(std::string_view details, bool timed_out);
  bool may_retry(bool before_sending) const;
  void schedule_retry();
  void read_response_head();
  bool read_stream_head();
  void on_response_head();
  void take_connect_answer();
  void connect_failed();
  void answer_grpc_web();
  bool retry_status(int grpc) const;  // whether the route wants that. grpc: status of an answer without a message; -1: none
  void forward_response_head();
  void forward_informational();
  void add_status_line();
  void keep_logged_headers();

  // http_mirror.cc
  void plan_mirror();
  void keep_for_mirror();  // what the buffer has no room for any more
  void send_mirror();      // after the answer

  // http_hedge.cc
  void plan_hedge();  // the whole request is sent
  bool may_hedge() const;
  bool start_hedge();
  bool begin_hedge(Hedge& hedge);
  enum class HedgeStep : std::uint8_t { kWaits, kFailed, kAnswers };
  HedgeStep step_hedge(Hedge& hedge);
  // True: one answers, and is the exchange's own try now.
  bool pump_hedges();
  // The exchange's own try came to nothing: a hedge that is under way takes its place. False: there is none.
  bool promote_hedge();
  void promote(std::size_t index);
  void drop_hedge(Hedge& hedge);
  void drop_hedges();

  // http_body.cc: true where something moved.
  bool pump_exchange();
  bool pump_request();
  bool read_request_body();
  bool body_too_large();
  bool pump_response();
  bool read_response_body();
  bool splice_body(Socket& from, Socket& to, std::unique_ptr<Pipe>& pipe, std::uint64_t& left, std::uint64_t& count, bool& failed);
  void begin_tunnel();
  bool pump_tunnel();

  // http_reply.cc
  void reply(int status, std::string_view body, std::string_view details);
  void reply_with(int status, std::string_view location, std::string_view body, std::string_view details);
  bool flush_reply();

  State state_ = State::kReading;
  char* input_ = nullptr;  // slab: head, then body, then what the client sent ahead
  std::size_t input_end_ = 0;
  bool unparsed_ = false;      // bytes of input_ that no parser has seen
  bool served_ = false;        // a request before this one
  bool skipped_line_ = false;  // an empty line stood before the request
  std::uint64_t deadline_ms_ = kNever;  // of kReading, kTunnel and kLinger
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<Duplex> duplex_;
};

}  // namespace monopod::proxy
