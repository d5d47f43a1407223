#include "proxy/observe/tracing.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "codec/json.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {
namespace {

bool is_id(std::string_view text, std::size_t digits) {
  auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == digits && std::ranges::all_of(text, is_digit) && text.find_first_not_of('0') != std::string_view::npos;
}

// B3 allows trace ids of 16 digits.
std::string widen(std::string_view id) { return id.size() == 16 ? cat("0000000000000000", id) : std::string(id); }

bool take(std::string_view trace, std::string_view span, TraceContext& out) {
  if (!(is_id(trace, 32) || is_id(trace, 16)) || !is_id(span, 16)) return false;
  out.trace_id = widen(trace);
  out.parent_id = std::string(span);
  return true;
}

json::Value attribute(std::string_view name, std::string_view text) {
  std::string clean;  // bytes of strangers: JSON wants UTF-8
  for (char c : text.substr(0, kAttributeBytesMax)) clean += static_cast<unsigned char>(c) < 0x80 ? c : '?';
  return json::Object{{"key", name}, {"value", json::Object{{"stringValue", std::move(clean)}}}};
}
json::Value attribute(std::string_view name, std::uint64_t number) { return json::Object{{"key", name}, {"value", json::Object{{"intValue", cat(number)}}}}; }

std::string format_span(const SpanRecord& r) {
  std::int64_t start = std::chrono::duration_cast<std::chrono::nanoseconds>(r.start.time_since_epoch()).count();
  json::Array attributes{attribute("http.request.method", r.method), attribute("url.path", r.path), attribute("server.address", r.host), attribute("client.address", r.client),
                         attribute("network.protocol.version", r.protocol.substr(r.protocol.find('/') + 1)), attribute("http.response.status_code", static_cast<std::uint64_t>(r.status)),
                         attribute("http.route", r.route), attribute("monopod.listener", r.listener), attribute("monopod.details", r.details)};
  if (!r.cluster.empty()) attributes.push_back(attribute("monopod.cluster", r.cluster));
  if (!r.endpoint.empty()) attributes.push_back(attribute("network.peer.address", r.endpoint));
  if (r.attempts > 1) attributes.push_back(attribute("http.request.resend_count", std::uint64_t{r.attempts} - 1));
  json::Object span{{"traceId", r.trace.context.trace_id}, {"spanId", r.trace.span_id}, {"name", cat(r.method, r.route.empty() ? "" : " ", r.route)}, {"kind", 2},
                    {"startTimeUnixNano", cat(start)}, {"endTimeUnixNano", cat(start + static_cast<std::int64_t>(r.duration_ms) * 1'000'000)}, {"attributes", std::move(attributes)}};
  if (!r.trace.context.parent_id.empty()) span["parentSpanId"] = r.trace.context.parent_id;
  if (r.status >= 500 || r.status == 0) span["status"] = json::Object{{"code", 2}};
  return json::format(span);
}

}  // namespace

TraceContext parse_trace_context(const TraceFields& fields) {
  TraceContext out;
  // 00-<trace>-<parent>-<flags>; later versions may go on behind the flags (W3C Trace Context section 3.2).
  std::vector<std::string_view> w3c = split(fields.traceparent, '-');
  bool version = w3c.size() >= 4 && w3c[0].size() == 2 && w3c[0] != "ff" && (w3c[0] != "00" || w3c.size() == 4) && w3c[3].size() == 2 && w3c[1].size() == 32;
  if (version && take(w3c[1], w3c[2], out)) {
    out.decided = true;
    out.sampled = ((w3c[3][1] <= '9' ? w3c[3][1] - '0' : w3c[3][1] - 'a' + 10) & 1) != 0;
    return out;
  }
  std::vector<std::string_view> b3 = split(fields.b3, '-');
  std::string_view sampled = fields.x_sampled;
  bool single = b3.size() >= 2 && take(b3[0], b3[1], out);
  if (single) sampled = b3.size() > 2 ? b3[2] : std::string_view();
  else if (fields.b3 == "0" || fields.b3 == "1" || fields.b3 == "d") sampled = fields.b3;  // a decision without a trace
  else if (!take(fields.x_trace_id, fields.x_span_id, out) && fields.x_sampled != "0" && fields.x_sampled != "1") return out;
  out.decided = !sampled.empty();
  out.sampled = sampled == "1" || sampled == "d" || sampled == "true";
  return out;
}

std::string Tracer::make_id(std::size_t digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (std::uint64_t bits = 0; out.size() < digits; bits >>= 4) {
    if (out.size() % 16 == 0) bits = worker_.rng().next() | 1;
    out += kDigits[bits & 15];
  }
  return out;
}

void Tracer::use(const std::optional<TracingSpec>& spec, std::shared_ptr<Cluster> cluster) {
  spec_ = spec;
  cluster_ = std::move(cluster);
}

void Tracer::add(const SpanRecord& span) {
  if (!spec_ || waiting_.size() >= kSpansMax) {
    ++dropped_;
    return;
  }
  waiting_.push_back(format_span(span));
  if (waiting_.size() == 1) worker_.wheel().arm(*this, worker_.now_ms() + kSpanDelayMs);
  if (waiting_.size() >= kSpansPerBatch) flush();
}

// One batch at a time is under way; what comes meanwhile waits.
void Tracer::flush() {
  if (!cluster_ || waiting_.empty() || call_) return;
  sending_ = std::min(waiting_.size(), kSpansPerBatch);
  std::string spans;
  for (std::size_t i = 0; i < sending_; ++i) spans += cat(i == 0 ? "" : ",", waiting_[i]);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(sending_));
  std::string resource = json::format(json::Object{{"attributes", json::Array{attribute("service.name", spec_->service)}}});
  std::string body = cat(R"({"resourceSpans":[{"resource":)", resource, R"(,"scopeSpans":[{"scope":{"name":"monopod.proxy"},"spans":[)", spans, "]}]}]}");
  std::string text = cat("POST ", spec_->path, " HTTP/1.1\r\nhost: ", spec_->host, "\r\ncontent-type: application/json\r\ncontent-length: ", body.size(), "\r\n\r\n", body);
  call_ = SideCall::start(cluster_, std::move(text), Milliseconds(5'000), *this);
}

void Tracer::on_side_answer(SideAnswer answer) {
  [[maybe_unused]] SideCall* over = call_.release();
  bool taken = answer.good() && answer.status >= 200 && answer.status < 300;
  (taken ? exported_ : dropped_) += sending_;
  if (!taken) log::warn("spans were not taken", {{"spans", sending_}, {"why", answer.good() ? cat("status ", answer.status) : answer.failure}});
  if (!waiting_.empty()) worker_.wheel().arm(*this, worker_.now_ms() + (waiting_.size() >= kSpansPerBatch ? 0 : kSpanDelayMs));
}

}  // namespace monopod::proxy
