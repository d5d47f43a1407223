// From a cluster to the head of an answer: endpoint, connection, request head, retries.
#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "http/reason.h"
#include "proxy/stream/http_session.h"
#include "proxy/stream/tcp_session.h"

namespace monopod::proxy {
namespace {

bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" || method == "PUT" || method == "DELETE";
}

// "te: trailers" may go on where the endpoint speaks HTTP/2: gRPC's servers insist on it.
void keep_te(Head& head) {
  for (std::size_t i = 0; i < head.count; ++i)
    if (head.fields[i].id == FieldName::kTe && equals_lowercase(head.value(head.fields[i]), "trailers")) head.fields[i].dropped = false;
}

}  // namespace

void HttpSession::attempt() {
  Exchange& e = *exchange_;
  Cluster& cluster = *e.cluster;
  const ClusterSpec& spec = cluster.config().spec;
  e.endpoint = cluster.pick(e.hash, e.fresh ? nullptr : e.endpoint.get(), original_.get());
  if (e.endpoint == nullptr && cluster.awaits_names() && cluster.wait(*this)) {
    e.phase = Exchange::Phase::kCapacity;
    return rearm();
  }
  if (e.endpoint == nullptr) return reply(503, "no healthy upstream\n", "no_endpoint");
  if (!cluster.begin_request(*e.endpoint)) {
    cluster.stats().overflows.add();
    return reply(503, "upstream overflow\n", "requests_overflow");
  }
  e.counted = true;
  std::optional<std::string> failed;
  bool own_connection = spec.proxy_protocol != ClusterSpec::ProxyProtocol::kNone;  // it says who the client is: not another's
  e.upstream = cluster.take(*e.endpoint, e.fresh || own_connection, failed, &remote_);
  e.try_begun_ms = worker_.now_ms();
  if (e.upstream == nullptr) {
    release_upstream(false);
    if (failed) return attempt_failed("connect_failed", false);
    if (!cluster.wait(*this)) {
      cluster.stats().overflows.add();
      return reply(503, "upstream overflow\n", "pending_overflow");
    }
    e.phase = Exchange::Phase::kCapacity;
    return rearm();
  }
  ++e.attempts;
  e.upstream->set_user(this);
  if (asks_by_connect()) e.upstream->await_extended_connect();
  if (e.upstream->ready()) return start_request();
  if (own_connection) e.upstream->set_preface(proxy_preface(spec, remote_, socket_.carrier_fd()));
  e.phase = Exchange::Phase::kConnecting;
  rearm();
}

void HttpSession::start_request() {
  Exchange& e = *exchange_;
  e.phase = Exchange::Phase::kForwarding;
  e.request_body.begin(e.request, e.upstream->socket().is_stream());
  if (e.grpc_web.text_request) e.request_body.coding = BodyProgress::Coding::kFromBase64;
  e.request_body.note_end(socket_);
  e.body_at = e.request.size;
  e.request_sent = e.send_failed = false;
  e.sent_up = 0;
  e.reply_at = e.reply_end = 0;
  e.unparsed = false;
  e.up.clear();
  e.send_failed = !write_request_head(*e.upstream, *e.endpoint, e.up, e.request_body.done && !asks_by_connect());
  if (e.upstream->socket().is_stream()) e.sent_up = e.request.size;
  // What of the body came with the head leaves with it.
  e.received = e.request.size;
  if (!e.request_body.done && e.body_at < input_end_) {
    std::size_t taken = e.request_body.take({input_ + e.body_at, input_end_ - e.body_at}, e.up).bytes;
    e.body_at += taken;
    e.received += taken;
    if (body_too_large()) return;
  }
  rearm();
}

bool HttpSession::write_request_head(UpstreamConnection& to, const Endpoint& endpoint, Outbox& out, bool ends) {
  Exchange& e = *exchange_;
  const Head& head = e.request;
  if (e.host.empty()) e.request_edits.set(e.request, e.arena, "host", endpoint.label);  // HTTP/1.0 need not say; the others must
  if (StreamPeer* stream = to.socket().stream()) {
    keep_te(e.request);
    return stream->send_head(head, e.request_edits, e.target, ends);
  }
  bool recoded = e.grpc_web.text_request && head.framing == Framing::kLength;
  if (head.framing == Framing::kStream || recoded) e.request_edits.set(e.request, e.arena, "transfer-encoding", "chunked");
  bool as_it_came = !head.http_1_0 && !head.listed && e.target.data() == head.target.data() && e.target.size() == head.target.size();
  if (as_it_came) out.add({head.base, head.line_end});
  else out.add(e.arena.join({head.method, " ", e.target, " HTTP/1.1\r\n"}));
  e.request_edits.write(e.request, out);
  return true;
}

bool HttpSession::may_retry(bool before_sending) const {
  const Exchange& e = *exchange_;
  if (e.head_done || !e.replayable) return false;
  return before_sending || is_idempotent(e.request.method);
}

void HttpSession::connect_failed() {
  Exchange& e = *exchange_;
  if (!e.upstream->lacks_extended_connect()) return attempt_failed("connect_failed", false);
  // Nothing is wrong with the endpoint, nor will another attempt find it otherwise.
  release_upstream(false);
  reply(502, "the endpoint takes no WebSockets: its HTTP/2 settings do not announce extended CONNECT\n", "no_extended_connect");
}

// No answer came of the attempt.
void HttpSession::attempt_failed(std::string_view details, bool timed_out) {
  Exchange& e = *exchange_;
  bool connected = e.phase == Exchange::Phase::kForwarding;
  bool reused = e.upstream != nullptr && e.upstream->reused();
  bool stale = connected && reused && !timed_out && e.reply_end == 0;
  if (Endpoint* lost = e.endpoint.get(); !e.hedges.empty() && promote_hedge()) {
    (connected ? e.cluster->stats().resets : e.cluster->stats().connect_failures).add();
    return e.cluster->observe(*lost, 0);
  }
  log::debug("attempt failed", {{"cluster", e.cluster->config().spec.name}, {"endpoint", e.endpoint->label}, {"why", details},
                                {"reason", e.upstream != nullptr ? std::string_view(e.upstream->failure()) : std::string_view()}});
  release_upstream(false);
  e.up.clear();
  // A pooled connection that its owner closed just now says nothing about the endpoint: once more, on a new one.
  if (stale && !e.fresh && may_retry(e.sent_up == 0)) {
    e.fresh = true;
    --e.attempts;
    return attempt();
  }
  (connected ? e.cluster->stats().resets : e.cluster->stats().connect_failures).add();
  e.cluster->observe(*e.endpoint, 0);
  const RetrySpec& retry = e.route->spec.retry;
  bool wanted = connected ? retry.on_reset : retry.on_connect_failure;
  if (wanted && e.retries < retry.attempts && may_retry(!connected || e.sent_up == 0) && e.cluster->begin_retry(!e.retry_counted)) return schedule_retry();
  if (timed_out) return reply(504, "upstream timed out\n", details);
  reply(connected ? 502 : 503, connected ? "upstream closed the connection\n" : "upstream connect error\n", details);
}

// Exponential back-off with full jitter.
void HttpSession::schedule_retry() {
  Exchange& e = *exchange_;
  e.retry_counted = true;
  e.hedge_at_ms = kNever;
  e.fresh = false;
  auto base = static_cast<std::uint64_t>(e.route->spec.retry.backoff.count());
  std::uint64_t ceiling = std::min(base << std::min(e.retries, 10U), base * 10);
  ++e.retries;
  e.phase = Exchange::Phase::kBackoff;
  e.wake_ms = worker_.now_ms() + (ceiling == 0 ? 0 : worker_.rng().below(ceiling));
  rearm();
}

void HttpSession::read_response_head() {
  Exchange& e = *exchange_;
  e.unparsed = false;
  switch (parse_response_head(e.reply + e.reply_at, e.reply_end - e.reply_at, e.request.method == "HEAD", e.response)) {
    case Parsed::kPartial:
      if (e.reply_end == kSlabBytes) {  // behind informational answers
        std::copy(e.reply + e.reply_at, e.reply + e.reply_end, e.reply);
        e.reply_end -= std::exchange(e.reply_at, 0);
      }
      return;
    case Parsed::kDone: return on_response_head();
    case Parsed::kBad: break;
  }
  log::debug("bad answer", {{"cluster", e.cluster->config().spec.name}, {"endpoint", e.endpoint->label}, {"why", e.response.refusal.why}});
  e.cluster->observe(*e.endpoint, 502);
  release_upstream(false);
  reply(502, "invalid answer from upstream\n", "invalid_answer");
}

// True where there was one.
bool HttpSession::read_stream_head() {
  Exchange& e = *exchange_;
  Moved head = e.upstream->socket().stream()->take_head(e.reply, e.response);
  if (head.kind == Moved::kBlocked) return false;
  if (head.kind != Moved::kBytes) return attempt_failed("upstream_reset", false), true;
  e.moved_ms = worker_.now_ms();
  e.reply_at = 0;
  e.reply_end = head.bytes;
  on_response_head();
  return true;
}

// What an extended CONNECT is answered with becomes what an upgrade is answered with; keys are of HTTP/1.1 alone (RFC 8441 section 5.1).
void HttpSession::take_connect_answer() {
  Exchange& e = *exchange_;
  Head& head = e.response;
  for (std::size_t i = 0; i < head.count; ++i) {
    FieldSpan& f = head.fields[i];
    if (f.id == FieldName::kContentLength || equals_lowercase(head.name(f), "sec-websocket-accept")) f.dropped = true;
  }
  head.status = 101;
  head.framing = Framing::kNone;
  if (socket_.is_stream()) return;
  e.response_edits.add(e.arena, "upgrade", "websocket");
  e.response_edits.add(e.arena, "sec-websocket-accept", e.websocket_accept);
}

void HttpSession::on_response_head() {
  Exchange& e = *exchange_;
  if (asks_by_connect() && e.response.status / 100 == 2) take_connect_answer();
  int status = e.response.status;
  if (status == 101 && !e.request.wants_upgrade) {
    release_upstream(false);
    return reply(502, "upstream switches protocols unasked\n", "unasked_upgrade");
  }
  if (status < 200 && status != 101) return forward_informational();
  if (status == 101 && e.request.extended_connect && !asks_by_connect() && e.response_edits.find(e.response, "sec-websocket-accept") != e.websocket_accept) {
    release_upstream(false);
    return reply(502, "upstream accepts another WebSocket than was asked for\n", "invalid_answer");
  }
  int grpc = -1;
  bool outlier = e.cluster->config().spec.outlier.has_value();
  if (outlier || !e.route->spec.retry.on_grpc_statuses.empty()) grpc = grpc_status_of(e.response);
  e.grpc_awaited = outlier && grpc < 0 && is_grpc(e.response);
  if (!e.grpc_awaited) e.cluster->observe(*e.endpoint, is_grpc_failure(grpc) ? 503 : status, worker_.now_ms() - e.try_begun_ms);
  if (retry_status(grpc)) {
    if (promote_hedge()) return;
    if (e.retries < e.route->spec.retry.attempts && e.cluster->begin_retry(!e.retry_counted)) {
      release_upstream(false);
      return schedule_retry();
    }
  }
  if (!e.hedges.empty()) drop_hedges();
  e.status = status;
  e.reply_at += e.response.size;
  e.response_body.begin(e.response, e.request.http_1_0 || socket_.is_stream());
  e.response_body.watches_trailer = e.grpc_awaited;
  if (e.grpc_web.on && is_grpc(e.response)) answer_grpc_web();
  e.response_body.note_end(e.upstream->socket());
  e.tunnel = status == 101;
  forward_response_head();
}

bool HttpSession::retry_status(int grpc) const {
  const Exchange& e = *exchange_;
  const RetrySpec& retry = e.route->spec.retry;
  int status = e.response.status;
  if ((status < 400 && grpc < 0) || (e.retries >= retry.attempts && e.hedges.empty()) || !e.replayable || !e.request_sent) return false;
  return std::ranges::find(retry.on_grpc_statuses, grpc) != retry.on_grpc_statuses.end() || (retry.on_5xx && status >= 500) || (retry.on_gateway_error && status >= 502 && status <= 504) || std::ranges::find(retry.on_statuses, status) != retry.on_statuses.end();
}

void HttpSession::forward_informational() {
  Exchange& e = *exchange_;
  if (++e.informational > kInformationalMax) {
    release_upstream(false);
    return reply(502, "too many informational answers\n", "informational_flood");
  }
  if (socket_.is_stream()) {
    socket_.stream()->send_head(e.response, HeadEdits(), {}, false);
  } else if (!e.request.http_1_0) {
    add_status_line();
    HeadEdits().write(e.response, e.down);
  }
  e.reply_at += e.response.size;
  e.unparsed = e.reply_at < e.reply_end;
}

void HttpSession::add_status_line() {
  Exchange& e = *exchange_;
  const Head& head = e.response;
  if (head.http_1_0 || head.listed) e.down.add(e.arena.join({"HTTP/1.1 ", cat(head.status), " ", head.listed ? http::reason_phrase(head.status) : head.reason, "\r\n"}));
  else e.down.add({head.base, head.line_end});
}

void HttpSession::keep_logged_headers() {
  Exchange& e = *exchange_;
  for (const std::string& name : runtime_->config->log_format.response_headers()) {
    std::string_view value = e.response_edits.find(e.response, name);
    e.logged_headers.push_back(value.empty() ? value : e.arena.join({value}));
  }
}

void HttpSession::forward_response_head() {
  Exchange& e = *exchange_;
  Head& head = e.response;
  e.head_done = true;
  e.response_edits.apply(e.route->spec.response_headers, head, e.arena);
  const auto& filters = runtime_->config->filters;
  for (std::size_t i = filters.size(); i-- > 0;) filters[i]->on_response(head, e.response_edits, e.arena);
  bool recoded = e.response_body.transforms() && head.framing == Framing::kLength;
  if ((head.framing == Framing::kStream || recoded) && !e.response_body.content_only) e.response_edits.add(e.arena, "transfer-encoding", "chunked");
  if ((head.framing == Framing::kChunked || head.framing == Framing::kStream) && e.request.http_1_0) {
    e.close_after = true;
    for (std::size_t i = 0; i < head.count; ++i)
      if (head.fields[i].id == FieldName::kTransferEncoding || head.fields[i].id == FieldName::kTrailer) head.fields[i].dropped = true;
  }
  bool refused_upgrade = e.request.wants_upgrade && !e.tunnel;
  if (head.framing == Framing::kUntilClose || refused_upgrade || !slot_->current || worker_.draining()) e.close_after = true;
  if (!e.request_body.done) e.close_after = true;  // an early answer: what is left of the request is not waited for
  if (e.tunnel && socket_.is_stream()) {
    head.status = e.status = 200;  // as an extended CONNECT is answered (RFC 8441 section 5)
    for (std::size_t i = 0; i < head.count; ++i)
      if (equals_lowercase(head.name(head.fields[i]), "sec-websocket-accept")) head.fields[i].dropped = true;
  } else if (e.tunnel) {
    e.response_edits.add(e.arena, "connection", "upgrade");
    for (std::size_t i = 0; i < head.count; ++i)
      if (head.fields[i].id == FieldName::kUpgrade) head.fields[i].dropped = false;
  } else if (e.close_after) {
    e.response_edits.add(e.arena, "connection", "close");
  } else if (e.request.http_1_0) {
    e.response_edits.add(e.arena, "connection", "keep-alive");
  }
  if (e.explained) explain_answer(e.response_edits);
  if (!runtime_->config->log_format.response_headers().empty()) keep_logged_headers();
  if (socket_.is_stream()) {
    e.sent += head.size;
    socket_.stream()->send_head(head, e.response_edits, {}, e.response_body.done && !e.tunnel);  // a stream that is lost says so with the first byte
  } else {
    add_status_line();
    e.response_edits.write(head, e.down);
  }
  if (!e.tunnel && e.reply_at < e.reply_end) e.reply_at += e.response_body.take({e.reply + e.reply_at, e.reply_end - e.reply_at}, e.down).bytes;
}

void HttpSession::answer_grpc_web() {
  Exchange& e = *exchange_;
  std::string_view type = e.response.value(*e.response.find("content-type"));
  bool text = e.grpc_web.text_answer;
  e.response_edits.set(e.response, e.arena, "content-type", e.arena.join({text ? "application/grpc-web-text" : "application/grpc-web", type.substr(std::string_view("application/grpc").size())}));
  e.response_body.trailer_as_message = true;
  if (!text || e.response.framing == Framing::kNone) return;
  e.response_body.coding = BodyProgress::Coding::kToBase64;
  if (e.response.framing == Framing::kUntilClose) e.response_body.content_only = true;
  for (std::size_t i = 0; i < e.response.count; ++i)
    if (e.response.fields[i].id == FieldName::kContentLength) e.response.fields[i].dropped = true;
}

}  // namespace monopod::proxy
