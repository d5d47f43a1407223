// Answers of the proxy's own: errors, redirects, direct responses.
#include "base/strings.h"
#include "http/reason.h"
#include "proxy/stream/http_session.h"

namespace monopod::proxy {

void HttpSession::reply(int status, std::string_view body, std::string_view details) { reply_with(status, {}, body, details); }

void HttpSession::reply_with(int status, std::string_view location, std::string_view body, std::string_view details) {
  Exchange& e = *exchange_;
  e.phase = Exchange::Phase::kReplying;
  e.status = status;
  e.details = details;
  e.moved_ms = worker_.now_ms();
  e.wake_ms = kNever;
  e.down.clear();
  // A body that has not come is not waited for.
  if (!e.request_body.done && e.request_body.framing != Framing::kNone && e.body_at < input_end_) {
    Outbox ignored;
    BodyProgress::Taken taken = e.request_body.take({input_ + e.body_at, input_end_ - e.body_at}, ignored);
    if (!taken.bad) e.body_at += taken.bytes;
  }
  if (!e.request_body.done || e.request.wants_upgrade || !slot_->current || worker_.draining()) e.close_after = true;
  bool no_body = status == 204 || status == 304;
  if (e.request.count > 0 && location.empty() && (e.grpc_web.on || is_grpc(e.request))) {
    // Callers of gRPC read no status of HTTP: theirs, without a message.
    e.response_edits.add(e.arena, "content-type", e.grpc_web.text_answer ? "application/grpc-web-text+proto" : e.grpc_web.on ? "application/grpc-web+proto" : "application/grpc");
    e.response_edits.add(e.arena, "grpc-status", cat(grpc_status_for(status)));
    e.response_edits.add(e.arena, "grpc-message", trim(body));
    status = 200;
    no_body = false;
    body = {};
  }
  // An empty head of our own, so that filters have one to work on.
  e.response.count = 0;
  e.response.keep_alive = true;
  e.response.status = status;
  std::string_view line = e.arena.join({"HTTP/1.1 ", cat(status), " ", http::reason_phrase(status), "\r\n\r\n"});
  e.response.base = line.data();
  e.response.size = line.size();
  e.response.line_end = static_cast<std::uint16_t>(line.size() - 2);
  if (!location.empty()) e.response_edits.add(e.arena, "location", location);
  if (!no_body) e.response_edits.add(e.arena, "content-length", cat(body.size()));
  if (!no_body && !body.empty() && e.response_edits.find(e.response, "content-type").empty()) e.response_edits.add(e.arena, "content-type", "text/plain");
  if (e.route != nullptr && details != "refused_head") e.response_edits.apply(e.route->spec.response_headers, e.response, e.arena);
  const auto& filters = runtime_->config->filters;
  for (std::size_t i = std::min(filters.size(), e.next_filter); i-- > 0;) filters[i]->on_response(e.response, e.response_edits, e.arena);
  if (e.close_after) e.response_edits.add(e.arena, "connection", "close");
  else if (e.request.http_1_0) e.response_edits.add(e.arena, "connection", "keep-alive");
  if (e.explained) explain_answer(e.response_edits);
  bool with_body = !no_body && e.request.method != "HEAD" && !body.empty();
  if (socket_.is_stream()) {
    socket_.stream()->send_head(e.response, e.response_edits, {}, !with_body);
  } else {
    e.down.add({line.data(), e.response.line_end});
    e.response_edits.write(e.response, e.down);
  }
  if (with_body) e.down.add(body.size() <= kSlabBytes / 2 ? e.arena.join({body}) : body);
  rearm();
}

bool HttpSession::flush_reply() {
  Exchange& e = *exchange_;
  Ending ending;
  Moved::Kind kind = e.down.flush(socket_, e.sent, &ending);
  if (kind == Moved::kFailed) return abort("client_closed"), false;
  if (kind != Moved::kBytes) return false;
  finish();
  return !closed();
}

}  // namespace monopod::proxy
