// From a head to a cluster: path, route, filters, and what the route says.
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"
#include "proxy/route/path.h"
#include "proxy/stream/http_session.h"
#include "proxy/upstream/hash_table.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kWebSocketKeyBytes = 16;  // RFC 6455 section 4.1

// RFC 6455 section 4.2.2.
std::string accept_websocket(std::string_view key) { return format_base64(pki::sha1(cat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))); }

}  // namespace

bool HttpSession::begin() {
  Exchange& e = *exchange_;
  if (runtime_ != slot_->current) runtime_ = slot_->current;
  state_ = State::kExchange;
  stats_->requests_active.add();
  e.begun_ms = e.moved_ms = worker_.now_ms();
  e.request_body.begin(e.request, false);
  e.request_body.note_end(socket_);
  e.body_at = e.request.size;
  e.received = e.request.size;
  e.host = e.request.host;
  e.close_after = !e.request.keep_alive;
  e.phase = Exchange::Phase::kPaused;
  e.target = e.request.path;
  if (e.target.starts_with('/')) {
    PathVerdict verdict = normalize_path(e.target, runtime_->config->spec.merge_slashes, e.rewritten);
    if (verdict == PathVerdict::kRefused) {
      e.close_after = true;  // whoever tries one tries others
      return reply(400, "ambiguous path\n", "refused_path"), true;
    }
    if (verdict == PathVerdict::kRewritten) e.target = e.rewritten;
  }
  std::size_t mark = std::min(e.target.find('?'), e.target.size());
  e.path = e.target.substr(0, mark);
  e.query = e.target.substr(std::min(mark + 1, e.target.size()));
  set_forwarded();
  e.route = runtime_->config->routes->find(e.host, {.head = e.request, .path = e.path, .query = e.query}, e.budget);
  if (e.budget.spent) return reply(400, "request takes too long to match\n", "match_budget"), true;
  if (e.route != nullptr) e.timeout = e.route->spec.timeout;
  if (socket_.is_stream()) heed_grpc_timeout();
  if (runtime_->snapshot->tracing) begin_trace();
  if (runtime_->config->spec.explain_header) note_explained();
  run_filters();
  return true;
}

// The caller's patience counts where it is less than the route's.
void HttpSession::heed_grpc_timeout() {
  Exchange& e = *exchange_;
  const FieldSpan* field = e.request.find("grpc-timeout");
  std::optional<Milliseconds> asked = field == nullptr ? std::nullopt : parse_grpc_timeout(e.request.value(*field));
  if (asked && (e.timeout.count() == 0 || *asked < e.timeout)) e.timeout = *asked;
}

// Who the client is: strangers are not believed, whatever they send; a proxy before us is added to.
void HttpSession::set_forwarded() {
  Exchange& e = *exchange_;
  bool edge = runtime_->config->spec.edge;
  if (edge) {
    for (std::size_t i = 0; i < e.request.count; ++i) {
      FieldName id = e.request.fields[i].id;
      if (id == FieldName::kXForwarded || id == FieldName::kForwarded || id == FieldName::kInternal) e.request.fields[i].dropped = true;
    }
  } else if (const FieldSpan* list = e.request.find("x-forwarded-for")) {
    std::string_view all = e.request.value(*list);
    for (std::size_t i = 0; i < e.request.count; ++i) {
      const FieldSpan& f = e.request.fields[i];
      if (&f != list && equals_lowercase(e.request.name(f), "x-forwarded-for")) all = e.arena.join({all, ", ", e.request.value(f)});
    }
    e.request_edits.set(e.request, e.arena, "x-forwarded-for", e.arena.join({all, ", ", remote_.format_ip()}));
    if (e.request.find("x-forwarded-proto") == nullptr) e.request_edits.add(e.arena, "x-forwarded-proto", runtime_->config->tls ? "https" : "http");
    return;
  }
  std::string_view lines = client_text().forwarded;
  std::size_t first = lines.find('\n') + 1;
  e.request_edits.add_line(lines.substr(0, first), std::string_view("x-forwarded-for").size());
  bool has_proto = !edge && e.request.find("x-forwarded-proto") != nullptr;
  if (!has_proto) e.request_edits.add_line(lines.substr(first), std::string_view("x-forwarded-proto").size());
}

RequestView HttpSession::view() {
  Exchange& e = *exchange_;
  static const PeerIdentity kNobody;
  if (!e.has_source) remote_.copy_ip(e.source);
  e.has_source = true;
  return {.head = e.request, .edits = e.request_edits, .answer_edits = e.response_edits, .arena = e.arena, .path = e.path, .query = e.query, .route = e.route, .source = e.source, .remote = remote_,
          .host = e.host, .peer = peer_ ? *peer_ : kNobody, .tls = socket_.tls(), .now_ms = worker_.now_ms(), .rng = worker_.rng(), .budget = e.budget, .grpc_web = e.grpc_web};
}

void HttpSession::run_filters() {
  Exchange& e = *exchange_;
  const auto& filters = runtime_->config->filters;
  if (e.answer) {
    Verdict verdict = filters[e.next_filter - 1]->on_answer(view(), *std::exchange(e.answer, nullptr));
    if (!obey(verdict)) return;
  }
  while (e.next_filter < filters.size()) {
    Verdict verdict = filters[e.next_filter++]->on_request(view());
    if (!obey(verdict)) return;
  }
  route_request();
}

bool HttpSession::obey(Verdict& verdict) {
  Exchange& e = *exchange_;
  if (verdict.kind == Verdict::kAnswer) return reply(verdict.status, verdict.body, verdict.details), false;
  if (e.budget.spent) return reply(400, "request takes too long to match\n", "match_budget"), false;
  if (verdict.kind == Verdict::kContinue) return true;
  if (verdict.kind == Verdict::kCall) {
    e.phase = Exchange::Phase::kCalling;
    e.call = SideCall::start(runtime_->clusters[verdict.call->cluster], std::move(verdict.call->text), verdict.call->timeout, *this);
  } else {
    e.phase = Exchange::Phase::kPaused;
    e.wake_ms = worker_.now_ms() + verdict.pause_ms;
  }
  return rearm(), false;
}

void HttpSession::on_side_answer(SideAnswer answer) {
  if (!exchange_) return;
  [[maybe_unused]] SideCall* over = exchange_->call.release();
  exchange_->answer = std::make_unique<SideAnswer>(std::move(answer));
  worker_.poller().again(*this);
}

void HttpSession::route_request() {
  Exchange& e = *exchange_;
  if (e.route == nullptr) return reply(404, "no route\n", "no_route");
  const RouteSpec& spec = e.route->spec;
  if (spec.direct_response) return reply(spec.direct_response->status, spec.direct_response->body, "direct_response");
  if (spec.redirect) {
    const RedirectSpec& r = *spec.redirect;
    std::string_view scheme = !r.scheme.empty() ? std::string_view(r.scheme) : socket_.tls() ? "https" : "http";
    std::string_view host = r.host.empty() ? e.host : std::string_view(r.host);
    std::string_view rest = spec.path.kind == PathMatch::Kind::kPrefix ? e.path.substr(spec.path.text.size()) : std::string_view();
    std::string_view path = !r.path.empty() ? std::string_view(r.path) : r.prefix.empty() ? e.path : e.arena.join({r.prefix, rest});
    std::string_view query = r.strip_query || e.query.empty() ? std::string_view() : e.arena.join({"?", e.query});
    return reply_with(r.status, e.arena.join({scheme, "://", host, path, query}), "", "redirect");
  }
  if (spec.request_bytes_max > 0 && e.request.framing == Framing::kLength && e.request.length > spec.request_bytes_max) return reply(413, "request body too large\n", "body_too_large");
  if (!spec.prefix_rewrite.empty()) {
    std::string_view rest = e.target.substr(spec.path.text.size());
    bool slash = !spec.prefix_rewrite.ends_with('/') && !rest.starts_with('/') && !rest.empty() && !rest.starts_with('?');
    if (spec.prefix_rewrite.ends_with('/') && rest.starts_with('/')) rest.remove_prefix(1);
    e.target = e.arena.join({spec.prefix_rewrite, slash ? "/" : "", rest});
  }
  std::string_view host = !spec.host_rewrite.empty() ? std::string_view(spec.host_rewrite) : e.request.absolute_target ? e.request.host : std::string_view();
  if (!host.empty()) e.request_edits.set(e.request, e.arena, "host", host);
  e.request_edits.apply(spec.request_headers, e.request, e.arena);
  for (std::size_t i = 0; i < e.request.count; ++i) {
    FieldSpan& f = e.request.fields[i];
    if (f.id == FieldName::kUpgrade) f.dropped = !(spec.allow_upgrade && e.request.wants_upgrade);
  }
  if (e.request.wants_upgrade && spec.allow_upgrade) e.request_edits.add(e.arena, "connection", "upgrade");
  else e.request.wants_upgrade = false;
  if (e.request.extended_connect && !e.request.wants_upgrade) return reply(501, "the route takes no upgrades\n", "upgrade_refused");
  if (e.route->mirror_cluster != kNoCluster) plan_mirror();
  e.hash = worker_.rng().next();
  for (const HashKey& key : spec.hash) {
    std::string_view text = key.kind == HashKey::Kind::kHeader ? e.request_edits.find(e.request, key.name) : key.kind == HashKey::Kind::kPath ? e.path : std::string_view();
    if (key.kind == HashKey::Kind::kSourceAddress) text = e.arena.join({remote_.format_ip()});
    if (text.empty()) continue;
    e.hash = stable_hash(text);
    break;
  }
  e.cluster = runtime_->clusters[e.route->cluster_for(e.route->targets.size() > 1 ? worker_.rng().next() : 0)];
  if (e.request.wants_upgrade && !plan_upgrade()) return;
  attempt();
}

bool HttpSession::plan_upgrade() {
  Exchange& e = *exchange_;
  if (!e.cluster->config().spec.http2) {
    if (e.request.extended_connect) add_websocket_key();
    return true;
  }
  if (e.request.extended_connect) return true;
  const FieldSpan* asked = e.request.find("upgrade");
  if (asked == nullptr || !equals_lowercase(e.request.value(*asked), "websocket") || e.request.method != "GET") {
    e.request.wants_upgrade = false;  // a wish that may be passed over (RFC 9110 section 7.8)
    return true;
  }
  std::string_view key = e.request_edits.find(e.request, "sec-websocket-key");
  if (parse_base64(key).value_or("").size() != kWebSocketKeyBytes) return reply(400, "sec-websocket-key is no key\n", "invalid_upgrade"), false;
  e.websocket_accept = e.arena.join({accept_websocket(key)});
  e.request_edits.remove(e.request, "sec-websocket-key");
  return true;
}

// For an endpoint of HTTP/1.1: what a client asked for by an extended CONNECT has none (RFC 8441 section 5.1).
void HttpSession::add_websocket_key() {
  Exchange& e = *exchange_;
  std::uint64_t bytes[] = {worker_.rng().next(), worker_.rng().next()};
  static_assert(sizeof bytes == kWebSocketKeyBytes);
  std::string key = format_base64({reinterpret_cast<const char*>(bytes), sizeof bytes});
  e.request_edits.set(e.request, e.arena, "sec-websocket-key", key);
  e.websocket_accept = e.arena.join({accept_websocket(key)});
}

}  // namespace monopod::proxy
