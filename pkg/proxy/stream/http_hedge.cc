// Hedging: a request that is slow to be answered is sent to another endpoint as well. Who answers first is the exchange's own try from then on, and
// what the other would have said is not read. (Dean and Barroso, The Tail at Scale, 2013.)
//
//   request sent ── delay ──► start_hedge() ─► step_hedge(): connect, send, look ─► promote(): the own try is reset
//        └─ answer ─► drop_hedges()
#include <algorithm>

#include "proxy/stream/http_session.h"
#include "proxy/stream/tcp_session.h"

namespace monopod::proxy {

void HttpSession::plan_hedge() {
  Exchange& e = *exchange_;
  std::uint64_t delay = static_cast<std::uint64_t>(e.route->spec.hedge.delay.count());
  if (may_hedge() && delay > 0 && e.hedge_at_ms == kNever) e.hedge_at_ms = worker_.now_ms() + delay;
}

bool HttpSession::may_hedge() const {
  const Exchange& e = *exchange_;
  return e.hedged < e.route->spec.hedge.max && e.replayable && e.request_sent && !e.head_done && !e.request.wants_upgrade && e.phase == Exchange::Phase::kForwarding;
}

// False: there is no room, or no budget, for another.
bool HttpSession::start_hedge() {
  Exchange& e = *exchange_;
  Cluster& cluster = *e.cluster;
  e.hedge_at_ms = kNever;
  ++e.hedged;
  auto hedge = std::make_unique<Hedge>();
  hedge->endpoint = cluster.pick(e.hash, e.endpoint.get(), original_.get());
  if (hedge->endpoint == nullptr || !cluster.begin_retry(!e.retry_counted)) return false;
  e.retry_counted = true;
  if (!cluster.begin_request(*hedge->endpoint)) return false;
  std::optional<std::string> failed;
  bool own_connection = cluster.config().spec.proxy_protocol != ClusterSpec::ProxyProtocol::kNone;
  hedge->upstream = cluster.take(*hedge->endpoint, own_connection, failed, &remote_);
  if (hedge->upstream == nullptr) return cluster.end_request(*hedge->endpoint), false;
  hedge->upstream->set_user(this);
  if (own_connection && !hedge->upstream->ready()) hedge->upstream->set_preface(proxy_preface(cluster.config().spec, remote_, socket_.carrier_fd()));
  hedge->begun_ms = worker_.now_ms();
  cluster.stats().hedges.add();
  ++e.attempts;
  e.hedges.push_back(std::move(hedge));
  plan_hedge();
  return true;
}

// The request anew, from the slab. False: it cannot be sent.
bool HttpSession::begin_hedge(Hedge& hedge) {
  Exchange& e = *exchange_;
  hedge.begun = true;
  hedge.body.begin(e.request, hedge.upstream->socket().is_stream());
  if (e.grpc_web.text_request) hedge.body.coding = BodyProgress::Coding::kFromBase64;
  hedge.body.note_end(socket_);
  if (!write_request_head(*hedge.upstream, *hedge.endpoint, hedge.up, hedge.body.done)) return false;
  std::size_t at = e.request.size;
  while (!hedge.body.done) {
    BodyProgress::Taken taken = hedge.body.take({input_ + at, e.body_at - at}, hedge.up);
    at += taken.bytes;
    if (taken.bad || (taken.bytes == 0 && !hedge.body.done)) return false;
  }
  return true;
}

HttpSession::HedgeStep HttpSession::step_hedge(Hedge& hedge) {
  Socket& socket = hedge.upstream->socket();
  if (!hedge.begun) {
    UpstreamConnection::Progress progress = hedge.upstream->advance();
    if (progress != UpstreamConnection::Progress::kReady) return progress == UpstreamConnection::Progress::kWaiting ? HedgeStep::kWaits : HedgeStep::kFailed;
    if (!begin_hedge(hedge)) return HedgeStep::kFailed;
  }
  if (!hedge.all_sent) {
    Ending ending{hedge.body.trailers};
    Moved::Kind kind = hedge.up.flush(socket, hedge.sent, &ending);
    if (kind != Moved::kBytes) return kind == Moved::kBlocked ? HedgeStep::kWaits : HedgeStep::kFailed;
    hedge.all_sent = true;
  }
  if (!socket.can_read()) return HedgeStep::kWaits;
  if (socket.is_stream()) return socket.peer_lost() ? HedgeStep::kFailed : HedgeStep::kAnswers;
  char byte = 0;
  if (!socket.tls()) {
    Moved::Kind next = socket.peek(&byte, 1).kind;
    return next == Moved::kBytes ? HedgeStep::kAnswers : next == Moved::kBlocked ? HedgeStep::kWaits : HedgeStep::kFailed;
  }
  if (socket.peer_lost()) return HedgeStep::kFailed;
  return socket.is_quiet() ? HedgeStep::kWaits : HedgeStep::kAnswers;  // a ticket is no answer
}

bool HttpSession::pump_hedges() {
  Exchange& e = *exchange_;
  for (std::size_t i = 0; i < e.hedges.size();) {
    switch (step_hedge(*e.hedges[i])) {
      case HedgeStep::kWaits: ++i; break;
      case HedgeStep::kAnswers: promote(i); return true;
      case HedgeStep::kFailed:
        e.cluster->observe(*e.hedges[i]->endpoint, 0);
        drop_hedge(*e.hedges[i]);
        e.hedges.erase(e.hedges.begin() + static_cast<std::ptrdiff_t>(i));
        break;
    }
  }
  return false;
}

bool HttpSession::promote_hedge() {
  Exchange& e = *exchange_;
  // One that is half sent cannot be gone on with: the lines of its chunks are its own.
  auto found = std::ranges::find_if(e.hedges, [](const auto& hedge) { return hedge->all_sent || !hedge->begun; });
  if (found == e.hedges.end()) return false;
  promote(static_cast<std::size_t>(found - e.hedges.begin()));
  return true;
}

void HttpSession::promote(std::size_t index) {
  Exchange& e = *exchange_;
  std::unique_ptr<Hedge> hedge = std::move(e.hedges[index]);
  e.hedges.erase(e.hedges.begin() + static_cast<std::ptrdiff_t>(index));
  if (e.upstream != nullptr) e.cluster->give(std::exchange(e.upstream, nullptr), false);
  if (std::exchange(e.counted, false)) e.cluster->end_request(*e.endpoint);
  e.cluster->stats().hedges_won.add();
  e.endpoint = hedge->endpoint;
  e.upstream = hedge->upstream;
  e.counted = true;
  e.try_begun_ms = hedge->begun_ms;
  e.sent_up = hedge->sent;
  e.reply_at = e.reply_end = 0;
  e.unparsed = e.send_failed = false;
  e.up.clear();
  e.phase = hedge->begun ? Exchange::Phase::kForwarding : Exchange::Phase::kConnecting;  // start_request() writes it
  rearm();
}

void HttpSession::drop_hedge(Hedge& hedge) {
  Cluster& cluster = *exchange_->cluster;
  cluster.give(std::exchange(hedge.upstream, nullptr), false);
  cluster.end_request(*hedge.endpoint);
}

void HttpSession::drop_hedges() {
  Exchange& e = *exchange_;
  for (auto& hedge : e.hedges) drop_hedge(*hedge);
  e.hedges.clear();
  e.hedge_at_ms = kNever;
}

}  // namespace monopod::proxy
