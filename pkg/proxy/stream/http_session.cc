#include "proxy/stream/http_session.h"

#include <algorithm>
#include <cstring>

#include "proxy/h2/downstream.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

std::uint64_t count_ms(Milliseconds ms) { return static_cast<std::uint64_t>(ms.count()); }

}  // namespace

HttpSession::~HttpSession() {
  if (exchange_) {
    if (exchange_->cluster) exchange_->cluster->stop_waiting(*this);
    release_upstream(false);
    worker_.exchanges().give(std::move(exchange_));
  }
  worker_.slabs().give(input_);
}

void HttpSession::on_established() {
  if (socket_.tls() && is_http2(socket_.ssl())) return switch_to_http2({});
  wait_for_request();
}

// HTTP/2 by prior knowledge begins with what no HTTP/1 server takes for a request (RFC 9113 section 3.4).
bool HttpSession::begins_http2() const {
  std::string_view came(input_, std::min(input_end_, kHttp2Preface.size()));
  return !served_ && came.size() >= 12 && kHttp2Preface.starts_with(came) && socket_.can_splice() && runtime_->config->spec.http2;
}

// The connection, with what came of it, is another's from now on.
void HttpSession::switch_to_http2(std::string_view initial) {
  auto* next = new H2Downstream(*this);  // closes itself, by retire()
  next->begin(initial);
  close();
}

void HttpSession::wait_for_request() {
  state_ = State::kReading;
  deadline_ms_ = worker_.now_ms() + count_ms(runtime_->config->spec.idle_timeout);
  arm(deadline_ms_);
}

void HttpSession::on_drain() {
  if (state_ == State::kReading && input_end_ == 0) close();
}

void HttpSession::drive() {
  for (int turn = 0; turn < kStepsPerTurn; ++turn)
    if (closed() || !step()) return;
  worker_.poller().again(*this);
}

bool HttpSession::step() {
  switch (state_) {
    case State::kReading: return read_head();
    case State::kTunnel: return pump_tunnel();
    case State::kLinger: return drain_linger();
    case State::kExchange: break;
  }
  if (socket_.peer_lost() && !closed()) {
    abort("client_reset");
    return false;
  }
  Exchange& e = *exchange_;
  switch (e.phase) {
    case Exchange::Phase::kCapacity: return false;
    case Exchange::Phase::kCalling: return e.answer != nullptr && (run_filters(), true);
    case Exchange::Phase::kPaused:
    case Exchange::Phase::kBackoff: return wake();
    case Exchange::Phase::kReplying: return flush_reply();
    case Exchange::Phase::kConnecting:
      switch (e.upstream->advance()) {
        case UpstreamConnection::Progress::kWaiting: return false;
        case UpstreamConnection::Progress::kFailed: connect_failed(); return true;
        case UpstreamConnection::Progress::kReady: start_request(); return true;
      }
      return false;
    case Exchange::Phase::kForwarding: return (!e.hedges.empty() && pump_hedges()) || pump_exchange();
  }
  return false;
}

// Goes on after a pause that is over.
bool HttpSession::wake() {
  Exchange& e = *exchange_;
  if (e.wake_ms > worker_.now_ms()) return false;
  e.wake_ms = kNever;
  if (e.phase == Exchange::Phase::kPaused) run_filters();
  else attempt();
  return true;
}

// Reads once. False: nothing came, or the connection ended.
bool HttpSession::fill() {
  if (!socket_.can_read()) {
    if (input_end_ == 0) release_input();
    return false;
  }
  if (input_ == nullptr) input_ = worker_.slabs().take();
  Moved moved = socket_.read(input_ + input_end_, kSlabBytes - input_end_);
  if (moved.kind == Moved::kBlocked) {
    if (input_end_ == 0) release_input();
    return false;
  }
  if (moved.kind != Moved::kBytes) return close(), false;
  if (input_end_ == 0) {
    deadline_ms_ = worker_.now_ms() + count_ms(runtime_->config->spec.header_timeout);
    arm(deadline_ms_);
  }
  input_end_ += moved.bytes;
  unparsed_ = true;
  return true;
}

bool HttpSession::read_head() {
  if (socket_.is_stream()) return take_head();
  if (!unparsed_ && !fill()) return false;
  return parse_buffered();
}

// Of a stream: it is whole, and has one request.
bool HttpSession::take_head() {
  if (!slot_->current || !slot_->current->config->routes) return close(), false;
  input_ = worker_.slabs().take();
  exchange_ = worker_.exchanges().take(worker_.slabs());
  Moved head = socket_.stream()->take_head(input_, exchange_->request);
  if (head.kind != Moved::kBytes) return close(), false;
  input_end_ = head.bytes;
  if (exchange_->request.refusal.status != 0) return refuse_head(), true;
  return begin();
}

void HttpSession::refuse_head() {
  Exchange& e = *exchange_;
  stats_->refused_heads.add();
  runtime_ = slot_->current;
  state_ = State::kExchange;
  stats_->requests_active.add();
  e.begun_ms = worker_.now_ms();
  e.request.keep_alive = false;
  e.request.count = 0;
  e.request_body.done = false;  // what follows is not known
  e.request.method = {};
  reply(e.request.refusal.status, e.request.refusal.why, "refused_head");
}

bool HttpSession::parse_buffered() {
  // An empty line before a request is a courtesy to old clients (RFC 9112 section 2.2); one is enough.
  if (input_end_ >= 2 && input_[0] == '\r' && input_[1] == '\n' && !std::exchange(skipped_line_, true)) {
    input_end_ -= 2;
    std::memmove(input_, input_ + 2, input_end_);
  }
  unparsed_ = false;
  if (input_end_ == 0) return true;
  if (!slot_->current || !slot_->current->config->routes) return close(), false;  // gone, or another protocol's now
  if (!exchange_) {
    exchange_ = worker_.exchanges().take(worker_.slabs());
    exchange_->begun_ms = worker_.now_ms();
  }
  Exchange& e = *exchange_;
  switch (parse_request_head(input_, input_end_, e.request)) {
    case Parsed::kPartial: return true;  // reads on
    case Parsed::kDone: break;
    case Parsed::kBad:
      if (begins_http2()) return switch_to_http2({input_, input_end_}), false;
      refuse_head();
      return true;
  }
  return begin();
}

void HttpSession::release_input() {
  worker_.slabs().give(std::exchange(input_, nullptr));
  input_end_ = 0;
}

void HttpSession::on_capacity() {
  if (!exchange_ || exchange_->phase != Exchange::Phase::kCapacity) return;
  exchange_->phase = Exchange::Phase::kBackoff;
  exchange_->wake_ms = worker_.now_ms();
  worker_.poller().again(*this);
}

void HttpSession::release_upstream(bool reusable) {
  Exchange& e = *exchange_;
  if (!e.hedges.empty()) drop_hedges();
  if (e.upstream != nullptr) e.cluster->give(std::exchange(e.upstream, nullptr), reusable);
  if (std::exchange(e.counted, false)) e.cluster->end_request(*e.endpoint);
}

void HttpSession::finish() {
  Exchange& e = *exchange_;
  bool whole = e.request_body.done && e.request_sent;
  bool reusable = whole && e.response.keep_alive && e.response.framing != Framing::kUntilClose && e.reply_at == e.reply_end && !e.response.http_1_0 && !e.tunnel &&
                  e.upstream != nullptr && !e.upstream->socket().is_stream() && e.upstream->socket().is_quiet();
  if (e.grpc_awaited) e.cluster->observe(*e.endpoint, is_grpc_failure(e.response_body.grpc_status) ? 503 : e.status);
  release_upstream(reusable);
  if (e.mirror) send_mirror();
  record();
  bool keep = !e.close_after && e.request_body.done;
  std::size_t next = e.body_at;
  bool lingers = !keep && !socket_.is_stream() && (!e.request_body.done || next < input_end_);
  worker_.exchanges().give(std::move(exchange_));
  if (!keep) {
    if (lingers) return linger();
    socket_.shutdown_write();
    return close();
  }
  if (!slot_->current || worker_.draining()) return close();
  input_end_ -= next;
  if (input_end_ > 0) std::memmove(input_, input_ + next, input_end_);
  unparsed_ = input_end_ > 0;
  skipped_line_ = false;
  served_ = true;
  wait_for_request();
}

void HttpSession::abort(std::string_view details) {
  if (exchange_) {
    Exchange& e = *exchange_;
    if (e.details == "via_upstream") e.details = details;
    if (e.cluster) e.cluster->stop_waiting(*this);
    release_upstream(false);
    record();
    worker_.exchanges().give(std::move(exchange_));
  }
  close();
}

// The answer is out, the request is not all in: a close now would reset the connection and take the answer back (RFC 9112 section 9.6).
void HttpSession::linger() {
  socket_.shutdown_write();
  state_ = State::kLinger;
  input_end_ = 0;
  deadline_ms_ = worker_.now_ms() + kLingerMs;
  arm(deadline_ms_);
}

bool HttpSession::drain_linger() {
  if (!socket_.can_read()) return false;
  if (input_ == nullptr) input_ = worker_.slabs().take();
  Moved moved = socket_.read(input_, kSlabBytes);
  if (moved.kind == Moved::kBytes) return true;
  if (moved.kind != Moved::kBlocked) close();
  return false;
}

std::uint64_t HttpSession::deadline() const {
  if (state_ != State::kExchange) return deadline_ms_;
  const Exchange& e = *exchange_;
  std::uint64_t due = e.wake_ms;
  auto limit = [&due](std::uint64_t from, Milliseconds for_ms) {
    if (for_ms.count() > 0) due = std::min(due, from + count_ms(for_ms));
  };
  if (e.phase == Exchange::Phase::kReplying || e.route == nullptr) {
    limit(e.moved_ms, Milliseconds(60'000));
    return due;
  }
  limit(e.moved_ms, e.route->spec.idle_timeout);
  if (e.phase == Exchange::Phase::kConnecting) limit(e.try_begun_ms, e.cluster->config().spec.connect_timeout);
  if (e.request_body.done) limit(e.begun_ms, e.timeout);
  if (!e.head_done && e.attempts > 0 && e.phase == Exchange::Phase::kForwarding) {
    limit(e.try_begun_ms, e.route->spec.retry.per_try_timeout);
    due = std::min(due, e.hedge_at_ms);
  }
  return due;
}

void HttpSession::on_deadline() {
  std::uint64_t due = deadline();
  if (worker_.now_ms() < due) return arm(due);
  if (state_ == State::kTunnel) return abort("idle_timeout");
  if (state_ != State::kExchange) {
    if (state_ == State::kReading && exchange_) {  // part of a head came
      exchange_->request.keep_alive = false;
      exchange_->request.count = 0;
      exchange_->request.method = {};
      exchange_->request_body.done = false;
      runtime_ = slot_->current ? slot_->current : runtime_;
      state_ = State::kExchange;
      stats_->requests_active.add();
      reply(408, "request head took too long\n", "head_timeout");
      return drive();
    }
    return close();
  }
  Exchange& e = *exchange_;
  if (e.wake_ms <= worker_.now_ms()) return drive();
  if (e.phase == Exchange::Phase::kReplying || e.head_done) return abort("timeout");
  if (e.hedge_at_ms <= worker_.now_ms()) {
    e.hedge_at_ms = kNever;
    if (may_hedge()) start_hedge();
    rearm();
    return drive();
  }
  bool overall = e.request_body.done && e.timeout.count() > 0 && worker_.now_ms() >= e.begun_ms + count_ms(e.timeout);
  bool client_slow = !e.request_body.done && e.up.empty();
  if (e.cluster && !client_slow) e.cluster->stats().timeouts.add();
  if (!overall && !client_slow && e.attempts > 0 && e.upstream != nullptr) {
    if (may_hedge() && start_hedge()) e.try_begun_ms = worker_.now_ms();  // instead of a reset: both may yet answer
    else attempt_failed(e.phase == Exchange::Phase::kConnecting ? "connect_timeout" : "try_timeout", true);
    if (exchange_) rearm();
    return drive();
  }
  if (e.cluster) e.cluster->stop_waiting(*this);
  if (e.endpoint != nullptr && e.upstream != nullptr && !client_slow) e.cluster->observe(*e.endpoint, 0);
  release_upstream(false);
  if (client_slow) reply(408, "request body took too long\n", "body_timeout");
  else reply(504, "upstream request timeout\n", "request_timeout");
  drive();
}

void HttpSession::record() {
  Exchange& e = *exchange_;
  if (state_ != State::kExchange && state_ != State::kTunnel) return;
  stats_->requests_active.subtract();
  if (e.retry_counted) e.cluster->end_retry();
  auto by_class = static_cast<std::size_t>(e.status / 100 % 6);
  stats_->by_class[by_class].add();
  std::uint64_t duration = worker_.now_ms() - e.begun_ms;
  std::size_t bucket = 0;
  while (bucket < kDurationBoundsMs.size() && duration > kDurationBoundsMs[bucket]) ++bucket;
  stats_->duration[bucket].add();
  stats_->duration_sum_ms.add(duration);
  stats_->bytes_received.add(e.received);
  stats_->bytes_sent.add(e.sent);
  if (e.route != nullptr) runtime_->routes[e.route->index]->by_class[by_class].add();
  if (e.cluster) e.cluster->stats().by_class[by_class].add();
  if (e.trace) end_trace(duration);
  if (!runtime_->log) return;
  std::string_view host;
  if (e.endpoint != nullptr) host = e.endpoint->label;
  worker_.log(*runtime_->log, runtime_->config->log_format,
              {.start = RealClock().wall() - Milliseconds(duration), .method = e.request.method, .path = e.target, .authority = e.host, .protocol = socket_.is_stream() ? "HTTP/2" : e.request.http_1_0 ? "HTTP/1.0" : "HTTP/1.1",
               .details = e.details, .upstream_host = host, .upstream_cluster = e.cluster ? std::string_view(e.cluster->config().spec.name) : std::string_view(),
               .route = e.route != nullptr ? std::string_view(e.route->name) : std::string_view(), .remote_address = client_text().address,
               .peer_uri = peer_ && !peer_->uris.empty() ? std::string_view(peer_->uris.front()) : std::string_view(), .listener = runtime_->config->spec.name, .status = e.status, .bytes_received = e.received,
               .bytes_sent = e.sent, .duration_ms = duration, .attempts = e.attempts, .headers = this});
}

std::string_view HttpSession::request_header(std::string_view name) const {
  for (std::size_t i = 0; i < exchange_->request.count; ++i)
    if (equals_lowercase(exchange_->request.name(exchange_->request.fields[i]), name)) return exchange_->request.value(exchange_->request.fields[i]);
  return {};
}

std::string_view HttpSession::response_header(std::size_t index) const {
  return index < exchange_->logged_headers.size() ? exchange_->logged_headers[index] : std::string_view();
}

}  // namespace monopod::proxy
